"""How often a claim is called supported where nothing is real, and where a gain is: simulated networks.

A network's recall of a class in a scene is the class's, plus the scene's ease, plus what the configuration does to the
scene, plus its seed's luck, plus the luck of that seed in that scene. Scenes weigh the same, or as a log-normal of
sigma 2, where one of eight holds half. The peer is what papers have: Welch's test on the seeds' scores.

The rule holds where false claims are at most 2.5 % (one side of 95 %), give or take the simulation's error.

    python -m benchmarks.claims_calibration --json benchmarks/results/claims_calibration.json
"""

import argparse
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from analysis.evidence.claims import Claim, Configuration, DifferenceError, Verdict, compare
from analysis.evidence.scene_scores import SceneCounts, scene_metric
from benchmarks.result import machine

SCENES: Final = (5, 8, 20, 35)
SEEDS: Final = (2, 3, 5)
SIZES: Final = {"equal": 0.0, "heavy": 2.0}
"""Sigma of the logarithm of a scene's pixels."""
LAYOUTS: Final = ("one class", "rare classes")
"""`iou/thing_0`; or `thing_miou` of three classes: in every scene, in a third of them, in one."""
GAIN: Final = 0.08


@dataclass(frozen=True)
class Spread:
    """Standard deviations of a recall.

    Attributes:
        scene: Of a configuration's effect on a scene.
        seed: Of a seed's luck in all scenes.
        both: Of a seed's luck in one scene.
    """

    scene: float
    seed: float
    both: float


SPREADS: Final = {
    "scenes": Spread(0.04, 0.003, 0.01),
    "seeds": Spread(0.005, 0.02, 0.005),
    "alike": Spread(0.03, 0.015, 0.0),
    "both at once": Spread(0.02, 0.01, 0.04),
}


@dataclass(frozen=True)
class Cell:
    """What is simulated: scenes, seeds of each side, and names from `SIZES`, `SPREADS` and `LAYOUTS`."""

    scenes: int
    seeds: int
    sizes: str
    spread: str
    layout: str


@dataclass(frozen=True)
class Rates:
    """Shares of simulated comparisons.

    Attributes:
        supported: Called supported.
        peer_supported: The peer's.
        covered: Those whose interval holds the real difference.
    """

    supported: float
    peer_supported: float
    covered: float


def simulate_pair(
    cell: Cell, gain: float, generator: np.random.Generator
) -> tuple[list[SceneCounts], list[SceneCounts]]:
    """Make the networks of a candidate, whose recalls are better by the gain, and of a reference."""
    spread, classes = SPREADS[cell.spread], 1 if cell.layout == "one class" else 3
    shape = (2, cell.seeds, cell.scenes, classes)
    normal = generator.normal
    recall = 0.6 + normal(0, 0.1, (cell.scenes, classes)) + normal(0, spread.scene, (2, 1, cell.scenes, classes))
    recall = recall + normal(0, spread.seed, (2, cell.seeds, 1, classes)) + normal(0, spread.both, shape)
    recall[0] += gain
    pixels = 1e6 * np.exp(normal(0, SIZES[cell.sizes], (cell.scenes, classes)))
    for label, most in enumerate((cell.scenes, cell.scenes // 3, 1)[:classes]):
        pixels[generator.permutation(cell.scenes)[most:], label] = 0
    counted = pixels.astype(np.int64)
    candidate, reference = [[_network(counted, seed) for seed in side] for side in recall]
    return candidate, reference


def _network(pixels: NDArray[np.int64], recall: NDArray[np.float64]) -> SceneCounts:
    """Counts of true positives and false negatives, without false positives, so that the IoU is the recall."""
    tp = np.rint(np.clip(recall, 0, 1) * pixels).astype(np.int64)
    counts = np.stack([tp, pixels - tp, np.zeros_like(tp)], axis=2)
    names = tuple(f"{scene:03d}" for scene in range(len(pixels)))
    return SceneCounts(names, counts, np.zeros_like(counts), np.ones(len(pixels), dtype=np.int64))


def judge_pair(
    cell: Cell, candidate: Sequence[SceneCounts], reference: Sequence[SceneCounts], draws: int
) -> tuple[Claim, bool]:
    """Our claim, and whether the peer supports it."""
    classes = [f"thing_{label}" for label in range(candidate[0].counts.shape[1])]
    metric = scene_metric("thing_miou", classes, range(len(classes)))
    claim = compare(Configuration("candidate", candidate), Configuration("reference", reference), metric, draws=draws)
    scores = [np.array([metric.on_all(network) for network in side]) for side in (candidate, reference)]
    welch = DifferenceError(0.0, 1.0, (scores[0].var(ddof=1), scores[1].var(ddof=1)), (cell.seeds, cell.seeds))
    return claim, bool(scores[0].mean() - scores[1].mean() > welch.half_width(0.95))


def measure(cell: Cell, gain: float, runs: int, draws: int) -> Rates:
    """Simulate and judge comparisons; the same ones whenever the arguments are the same."""
    choices = (list(SIZES).index(cell.sizes), list(SPREADS).index(cell.spread), LAYOUTS.index(cell.layout))
    generator = np.random.default_rng([cell.scenes, cell.seeds, *choices, int(gain > 0)])
    judged = [judge_pair(cell, *simulate_pair(cell, gain, generator), draws) for _ in range(runs)]
    return Rates(
        supported=float(np.mean([claim.verdict is Verdict.SUPPORTED for claim, _ in judged])),
        peer_supported=float(np.mean([peer for _, peer in judged])),
        covered=float(np.mean([claim.low <= gain <= claim.high for claim, _ in judged])),
    )


def all_cells() -> Iterable[Cell]:
    """Every combination."""
    return itertools.starmap(Cell, itertools.product(SCENES, SEEDS, SIZES, SPREADS, LAYOUTS))


Measured = tuple[Cell, Rates, Rates]
"""A cell, without a real difference and with a gain."""


def publish_rates(rows: Sequence[Measured], runs: int, json_file: Path | None) -> None:
    """Print a line for each layout, sizes, scenes and seeds: the worst of its spreads; write all cells."""
    title = f"claims called supported, % of {runs} (the worst spread of each)"
    table = Table("layout", "sizes", "scenes", "seeds", "false", "peer's false", "covered", "power", title=title)
    by_line = sorted(rows, key=lambda row: (row[0].layout, row[0].sizes, row[0].scenes, row[0].seeds))
    for line, group in itertools.groupby(by_line, lambda row: (*astuple(row[0])[:3], row[0].layout)):
        _, null, real = zip(*group, strict=True)
        scenes, seeds, sizes, layout = line
        worst = (
            max(rates.supported for rates in null),
            max(rates.peer_supported for rates in null),
            min(rates.covered for rates in null),
            min(rates.supported for rates in real),
        )
        table.add_row(layout, sizes, str(scenes), str(seeds), *(f"{100 * share:.1f}" for share in worst))
    Console().print(table)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        cells = [asdict(cell) | {"null": asdict(null), "real": asdict(real)} for cell, null, real in rows]
        content = {"name": "claims_calibration", "runs": runs, "gain": GAIN, "rows": cells, "machine": machine()}
        json_file.write_text(json.dumps(content, indent=1) + "\n")


def main() -> None:
    """Simulate every cell and publish the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--runs", type=int, default=500, help="comparisons a cell, each with and without a gain")
    parser.add_argument("--draws", type=int, default=400, help="of the bootstrap")
    options = parser.parse_args()
    rows = [
        (cell, measure(cell, 0.0, options.runs, options.draws), measure(cell, GAIN, options.runs, options.draws))
        for cell in all_cells()
    ]
    publish_rates(rows, options.runs, options.json)


if __name__ == "__main__":
    main()
