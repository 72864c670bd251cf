"""How many observations TPE should look at: a search by formula, with the limit that we have and with another.

The formula is a smooth optimum in a conditional space like that of a search (model, loss, the Tversky parameters,
learning rate), with the noise of one seed of training. What counts is how good the suggestions are: the mean, without
the noise, of the last hundred, and the best one; medians over seeds.

    python -m benchmarks.observation_limit --json benchmarks/results/observation_limit.json
"""

import argparse
import math
import random
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from unittest.mock import patch

import optuna

from benchmarks.result import Row, publish
from search.decide import sampler
from search.decide.sampler import Observation, Sampler
from search.space.space import Value
from search.space.space_parsing import parse_space

NOISE: Final = 0.015
SPACE: Final = parse_space(
    {
        "model": {"architecture": ["unet", "deeplabv3", "deeplabv3plus"]},
        "loss": {
            "name": ["cross_entropy", "focal", "tversky"],
            "alpha": {"low": 0.1, "high": 1.0},
            "beta": {"low": 0.1, "high": 1.0},
            "gamma": {"low": 0.5, "high": 2.0},
            "focal_gamma": {"low": 0.25, "high": 3.0},
        },
        "optimizer": {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}},
        "data": {"rare_class_first": {"low": 0.0, "high": 0.5}},
    }
)


def main() -> None:
    """Search with both limits and publish what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--other", type=int, default=1000, help="the limit to compare ours with")
    parser.add_argument("--trials", type=int, default=1200)
    parser.add_argument("--seeds", type=int, default=4)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    limits = (sampler.MAX_OBSERVATIONS, options.other)
    found = {limit: [search(limit, options.trials, seed) for seed in range(options.seeds)] for limit in limits}
    rows = []
    for count in (options.trials // 4, options.trials // 2, options.trials):
        late = [statistics.median(statistics.mean(values[count - 100 : count]) for values in found[k]) for k in limits]
        best = [statistics.median(max(values[:count]) for values in found[k]) for k in limits]
        rows.append(
            Row(f"mean of the last 100 of {count} trials, peer: {limits[1]} observations", *late, late[0] / late[1])
        )
        rows.append(Row(f"best of {count} trials, likewise", *best, best[0] / best[1]))
    publish("observation_limit", rows, options.json)


def search(limit: int, trials: int, seed: int) -> Sequence[float]:
    """The objective of every trial, without its noise."""
    noise, observed, values = random.Random(seed), Sampler(SPACE, seed), []
    observations: list[Observation] = []
    with patch.object(sampler, "MAX_OBSERVATIONS", limit):
        for number in range(trials):
            point = observed.point(observations, number)
            values.append(objective(point))
            measured = (min(1.0, max(0.0, values[-1] + noise.gauss(0, NOISE))),)
            params = dict(SPACE.searched(point))
            observations.append(Observation(params, "completed", measured, measured, str(number)))
    return values


def objective(point: Mapping[str, Value]) -> float:
    """A made-up mIoU, at most 0.64."""

    def off(key: str, best: float) -> float:
        return (float(point[key]) - best) ** 2

    value = 0.5 + {"unet": 0.02, "deeplabv3": 0.0, "deeplabv3plus": 0.04}[str(point["model.architecture"])]
    value -= 0.05 * (math.log10(float(point["optimizer.learning_rate"])) + 2.7) ** 2
    value -= 0.3 * off("data.rare_class_first", 0.31)
    if point["loss.name"] == "tversky":
        value += 0.1 - 0.3 * off("loss.alpha", 0.62) - 0.25 * off("loss.beta", 0.31) - 0.04 * off("loss.gamma", 1.3)
    elif point["loss.name"] == "focal":
        value += 0.05 - 0.02 * off("loss.focal_gamma", 1.7)
    return value


if __name__ == "__main__":
    main()
