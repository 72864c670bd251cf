"""Does a confirmation tell a real gain from none? Networks really trained, on made images at three imbalance levels.

For each made image set three configurations-with-seeds are trained, as a confirmation trains and measures them:

- the reference: Dice, crops drawn at random, seeds 1 to n;
- a gain that was planted: the same with crops drawn rare class first, seeds 1 to n (crops are so small that at random
  most of them have no thing, and a region loss learns nothing of a class that the batch does not have);
- nothing: the reference's own configuration again, with the seeds n + 1 to 2 n.

A claim that the third beats the reference should be called supported in at most 2.5 % (5 % in either direction). That
is one claim an image set; `nothing, shuffled` are the claims of every way to deal the 2 n networks of the reference's
configuration to two sides, which estimates the same rate from more, though not from independent ones. The peer is what
papers do: the higher mean over the seeds wins.

    python -m benchmarks.confirm_calibration --json benchmarks/results/confirm_calibration.json
"""

import argparse
import itertools
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from analysis.evidence.claims import Claim, Configuration, Verdict, compare
from analysis.evidence.scene_scores import SplitCounts, scene_metric
from benchmarks.result import machine
from trainable.data.files.cache_dir import default_cache_dir
from trainable.data.trial_data import open_trial_data
from trainable.device import ResourceShare, choose_compute, limit_process
from trainable.measure.val_counts import ValCounts
from trainable.record.storage import Storage
from trainable.record.trial_record import VAL_COUNTS_FILE, TrialRecord
from trainable.training import Training
from trainable.trial_config import TrialConfig
from trainable.trial_run import Host, TrialRun

LEVELS: Final = (0.5, 1.0, 2.0)
"""Imbalance: things are so many times rarer than in AeroScapes."""
METRICS: Final = ("miou", "thing_miou")
PLANTED: Final = 0.7
"""Share of crops that are drawn rare class first."""
EPOCHS: Final = 6
KINDS: Final = ("planted", "nothing", "nothing, shuffled")


@dataclass(frozen=True)
class Job:
    """One network to train: which image set, how crops are drawn, which seed."""

    imbalance: float
    image_set: int
    rare_class_first: float
    seed: int


def trial_config(job: Job) -> TrialConfig:
    """The config of a job."""
    return TrialConfig.model_validate(
        {
            "dataset": {
                "layout": "synthetic",
                "images": 96,
                "size": "96x128",
                "scenes": 32,
                "imbalance": job.imbalance,
                "seed": job.image_set,
            },
            "model": {"architecture": "benchmarks.tiny_network:TinyNetwork"},
            "loss": {"name": "dice"},
            "optimizer": {"learning_rate": 0.02},
            "data": {
                "batch_size": 8,
                "crop": "32x32",
                "crops_per_image": 8,
                "rare_class_first": job.rare_class_first,
                "scale_min": 0.9,
                "scale_max": 1.2,
            },
            "objective": "thing_miou",
            "max_epochs": EPOCHS,
            "seed": job.seed,
        }
    )


def train(job: Job) -> tuple[Job, ValCounts]:
    """Train and measure as a confirmation does, the record in a temporary folder."""
    config = trial_config(job)
    share = ResourceShare(cpus=1)
    limit_process(share)
    data = open_trial_data(config.dataset, default_cache_dir())
    with tempfile.TemporaryDirectory() as folder:
        record = TrialRecord(Storage(folder), "run")
        names = tuple(entry.name for entry in data.image_set.classes)
        trainer = Training(config, data, choose_compute("auto", share))
        run = TrialRun(record, trainer, config.objective, names, Host("cpu"), config.max_epochs)
        for _ in range(config.max_epochs):
            run.step()
        run.measure_val()
        val = record.val()
        content = record.folder.read(record.val_file(val, VAL_COUNTS_FILE)) if val else None
    if content is None:
        raise RuntimeError(f"{job} was not measured")
    return job, ValCounts.from_bytes(content)


def judge(name: str, candidate: Sequence[ValCounts], reference: Sequence[ValCounts]) -> list[Claim]:
    """The claims of a candidate, by every metric."""
    sides = [
        Configuration(side, [SplitCounts(run.counts, run.objects).by_scene(run.scenes) for run in runs])
        for side, runs in ((name, candidate), ("reference", reference))
    ]
    things = np.flatnonzero(reference[0].things).tolist()
    return [compare(*sides, scene_metric(metric, reference[0].class_names, things)) for metric in METRICS]


def deals(runs: Sequence[ValCounts]) -> Iterable[tuple[list[ValCounts], list[ValCounts]]]:
    """Every way to deal an even number of networks to two sides."""
    for chosen in itertools.combinations(range(len(runs)), len(runs) // 2):
        yield [runs[i] for i in chosen], [run for i, run in enumerate(runs) if i not in chosen]


@dataclass(frozen=True)
class Rates:
    """What became of the claims of one kind.

    Attributes:
        imbalance: Level; 0 stands for all.
        kind: `planted`, `nothing`, or `nothing, shuffled`.
        metric: By what.
        claims: How many.
        supported: Share called supported.
        not_supported: Share called not supported.
        cannot_be_told: The rest.
        peer_supported: Share in which the mean over seeds was higher.
        mean_difference: Over all claims.
    """

    imbalance: float
    kind: str
    metric: str
    claims: int
    supported: float
    not_supported: float
    cannot_be_told: float
    peer_supported: float
    mean_difference: float


def rates(imbalance: float, kind: str, metric: str, claims: Sequence[Claim]) -> Rates:
    """Summarise claims."""
    verdicts = Counter(claim.verdict for claim in claims)
    differences = [claim.difference for claim in claims]
    return Rates(
        imbalance,
        kind,
        metric,
        len(claims),
        verdicts[Verdict.SUPPORTED] / len(claims),
        verdicts[Verdict.NOT_SUPPORTED] / len(claims),
        verdicts[Verdict.CANNOT_BE_TOLD] / len(claims),
        float(np.mean([difference > 0 for difference in differences])),
        float(np.mean(differences)),
    )


def summarise(claims: Iterable[tuple[float, str, Claim]]) -> list[Rates]:
    """A row for each level, kind and metric, and one for all levels together."""
    known = list(claims)
    rows = []
    for kind in KINDS:
        for metric in METRICS:
            of_kind = [(level, claim) for level, k, claim in known if k == kind and claim.metric == metric]
            rows += [rates(level, kind, metric, [c for at, c in of_kind if at == level]) for level in LEVELS]
            rows.append(rates(0.0, kind, metric, [claim for _, claim in of_kind]))
    return rows


def show(rows: Sequence[Rates], seeds: int) -> None:
    """Print the table."""
    table = Table(title=f"Claims of a confirmation with {seeds} seeds")
    for title in ("imbalance", "gain", "metric", "claims", "supported", "not supp.", "cannot tell", "peer: higher mean",
                  "mean diff."):  # fmt: skip
        table.add_column(title, justify="right")
    for row in rows:
        level = f"{row.imbalance:g}" if row.imbalance else "all"
        shares = (row.supported, row.not_supported, row.cannot_be_told, row.peer_supported)
        cells = [level, row.kind, row.metric, f"{row.claims}", *(f"{share:.0%}" for share in shares)]
        table.add_row(*cells, f"{row.mean_difference:+.3f}")
    Console(width=120).print(table)


def run(repetitions: int, seeds: int, workers: int) -> tuple[list[Rates], list[dict[str, Any]]]:
    """Train everything and judge it."""
    jobs = [
        Job(level, image_set, rare_class_first, seed)
        for level in LEVELS
        for image_set in range(repetitions)
        for rare_class_first, first in ((0.0, 1), (PLANTED, 1), (0.0, seeds + 1))
        for seed in range(first, first + seeds)
    ]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        counts = {}
        for done, (job, found) in enumerate(pool.map(train, jobs), start=1):
            counts[job] = found
            if done % (3 * seeds) == 0:
                print(f"{done}/{len(jobs)} networks trained", flush=True)
    claims: list[tuple[float, str, Claim]] = []
    for level in LEVELS:
        for image_set in range(repetitions):
            reference = [counts[Job(level, image_set, 0.0, seed)] for seed in range(1, seeds + 1)]
            planted = [counts[Job(level, image_set, PLANTED, seed)] for seed in range(1, seeds + 1)]
            nothing = [counts[Job(level, image_set, 0.0, seed)] for seed in range(seeds + 1, 2 * seeds + 1)]
            pairs = [("planted", planted, reference), ("nothing", nothing, reference)]
            pairs += [("nothing, shuffled", *sides) for sides in deals([*reference, *nothing])]
            claims += [(level, kind, claim) for kind, *sides in pairs for claim in judge(kind, *sides)]
    return summarise(claims), [{"imbalance": level, "kind": kind} | asdict(claim) for level, kind, claim in claims]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=8, help="image sets at each imbalance level")
    parser.add_argument("--seeds", type=int, default=3, help="of each configuration")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    rows, claims = run(options.repetitions, options.seeds, options.workers)
    show(rows, options.seeds)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "name": "confirm_calibration",
            "rows": [asdict(row) for row in rows],
            "claims": claims,
            "machine": machine(),
        }
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
