"""The report of a search of sixty trials, from MLflow on SQLite to the page, without the cases' inference.

The trials are made up, and recorded as a search records them: thirty epochs, the metrics of twelve classes, counts of
four hundred dev images, and a confirmation of five configurations over three seeds on 35 scenes. There is no peer that
makes such a page; the figure stands beside the limit of a minute that we have set ourselves.

    python -m benchmarks.report --json benchmarks/results/report.json
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from analysis.recorded.mlflow_reader import read_search
from analysis.report.files import write_report
from analysis.report.search_report import compose_search_report
from benchmarks.result import Row, lower_is_better, publish
from search.project.mlflow_projection import MlflowProjection, SearchIdentity
from trainable.data.image_set import ImageSet, LabelClass, MaskEncoding
from trainable.measure.image_counts import ImageCounts
from trainable.measure.split_metrics import split_metrics
from trainable.measure.val_counts import ValCounts
from trainable.record.record_types import EndMarker, EpochRecord, TrialSnapshot, TrialSpec, ValRecord
from trainable.record.storage import Storage
from trainable.record.trial_record import (
    CONFUSION_MATRIX_FILE,
    PER_IMAGE_COUNTS_FILE,
    VAL_COUNTS_FILE,
    VAL_MATRIX_FILE,
    TrialRecord,
)
from trainable.trial_config import TrialConfig

EPOCHS, DEV_IMAGES, VAL_IMAGES, SCENES = 30, 400, 648, 35
LIMIT_SECONDS = 60.0
NAMES = ["background", "person", "bike", "car", "drone", "boat", "animal", "obstacle", "construction", "plant", "road"]
CLASSES = tuple(
    LabelClass(name, (20 * place, 255 - 20 * place, 97), 1 <= place <= 7) for place, name in enumerate([*NAMES, "sky"])
)
IMAGE_SET = ImageSet("made up", CLASSES, MaskEncoding("ids"), ())
LOSSES: tuple[dict[str, Any], ...] = (
    {"name": "cross_entropy"},
    {"name": "focal", "focal_gamma": 2.0},
    {"name": "dice"},
    {"name": "iou"},
    {"name": "tversky"},
)


def main() -> None:
    """Time reading, composing and writing, and publish their sums."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--trials", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="report-") as name:
        record(Path(name), options.trials)
        rows = measure(Path(name), options.trials)
    publish("report", rows, options.json)


def measure(folder: Path, trials: int) -> list[Row]:
    """Seconds of each part and of all."""
    seconds: dict[str, float] = {}
    search = timed(seconds, "read", lambda: read_search(f"sqlite:///{folder}/mlflow.db", "made-up"))
    document = timed(seconds, "compose", lambda: compose_search_report(search, None, "none here", top=3))
    timed(seconds, "draw and write", lambda: write_report(document, folder / "report", "png"))
    print(", ".join(f"{part} {value:.1f} s" for part, value in seconds.items()))
    case = f"report of {trials} trials, peer: the limit, s"
    return [lower_is_better(case, sum(seconds.values()), LIMIT_SECONDS)]


def timed(seconds: dict[str, float], part: str, call: Callable[[], Any]) -> Any:
    """The result of a call, whose time is noted."""
    began = time.perf_counter()
    result = call()
    seconds[part] = time.perf_counter() - began
    return result


def record(folder: Path, trials: int) -> None:
    """Record a made-up search in MLflow, the way a search does."""
    storage = Storage(str(folder / "made-up"))
    config = {"budget": {"max_epochs": EPOCHS, "trials": trials}, "confirm": {"relevant_gain": 0.01}}
    identity = SearchIdentity("0" * 32, "made-up", config, "f00d", None, "miou")
    location = ("aerosweep", (folder / "mlartifacts").as_uri())
    projection = MlflowProjection(f"sqlite:///{folder}/mlflow.db", *location, identity, storage)
    generator = np.random.default_rng(0)
    snapshots = [made_trial(storage, number, generator) for number in range(trials)]
    for snapshot in snapshots:
        projection.project(snapshot)
    runs = storage.child("confirm")
    confirmation = MlflowProjection(f"sqlite:///{folder}/mlflow.db", *location, identity, runs)
    for source in snapshots[: len(LOSSES)]:
        for seed in (1, 2, 3):
            confirmation.project(made_trial(runs, seed, generator, source))
    projection.finish(snapshots, set(), live=False)


def made_trial(
    folder: Storage, number: int, generator: np.random.Generator, source: TrialSnapshot | None = None
) -> TrialSnapshot:
    """A trial, or a run that confirms one, with the files of its best epoch."""
    loss = dict(LOSSES[number % len(LOSSES)])
    if loss["name"] == "tversky":
        loss |= dict(zip(("alpha", "beta", "gamma"), generator.uniform(0.2, 1.0, 3).tolist(), strict=True))
    trial_id = f"t{number:04d}" if source is None else f"{source.spec.trial_id}-s{number}"
    config = source.spec.config if source else trial_config(loss)
    searched = ("name", "alpha", "beta", "gamma", "focal_gamma")
    params = {f"loss.{key}": config["loss"][key] for key in searched if config["loss"][key] is not None}
    spec = TrialSpec(trial_id, number, params, config, number < 15, 1_000_000, source.spec.trial_id if source else "")
    recall = float(generator.uniform(0.1, 0.9))
    dev = counts(ImageCounts, DEV_IMAGES, recall, generator)
    epochs = tuple(epoch_record(epoch, dev) for epoch in range(1, EPOCHS + 1))
    files = {PER_IMAGE_COUNTS_FILE: dev.to_bytes(), CONFUSION_MATRIX_FILE: matrix_csv(dev)}
    record = TrialRecord(folder, trial_id)
    record.create(spec)
    for name, data in files.items():
        record.folder.write(record.best_file(epochs[-1], name), data)
    val = None
    if source is not None:
        val = counts(ValCounts, VAL_IMAGES, recall, generator, tau=0.0)
        record.folder.write(VAL_COUNTS_FILE, val.to_bytes())
        record.folder.write(VAL_MATRIX_FILE, matrix_csv(val))
        val = ValRecord(EPOCHS, 2_000_000, {"miou": recall})
    end = EndMarker("completed", "", 2_000_000, 1, epochs)
    return TrialSnapshot(spec, epochs, end, 1, val)


def trial_config(loss: dict[str, Any]) -> dict[str, Any]:
    """The resolved config of a trial with this loss."""
    values = {"dataset": {"layout": "synthetic"}, "loss": loss, "max_epochs": EPOCHS}
    return TrialConfig.model_validate(values).model_dump(mode="json")


def counts(kind: Any, images: int, recall: float, generator: np.random.Generator, **more: float) -> Any:
    """Counts of a network that finds about this share of everything."""
    truth = np.random.default_rng(images)  # of a split: the same for all of its networks, or none could be compared
    pixels = np.where([entry.thing for entry in CLASSES], 3_000, 150_000) * truth.integers(0, 3, (images, 12))
    found = generator.binomial(pixels, recall)
    wrong = generator.binomial(pixels, (1 - recall) / 2)
    objects = np.zeros((images, 12, 8, 3), dtype=np.int64)
    objects[:, 1:8, 2:6, 0] = truth.integers(0, 4, (images, 7, 4))
    objects[..., 1] = generator.binomial(objects[..., 0], 1 - recall)
    objects[:, 1:8, 2:4, 2] = generator.poisson(0.3, (images, 7, 2))
    adjusted = {} if kind is ImageCounts else {"adjusted_counts": np.stack([found, pixels - found, wrong], axis=2)}
    return kind(
        images=tuple(f"{image % SCENES:03d}_{image:03d}" for image in range(images)),
        scenes=tuple(f"{image % SCENES:03d}" for image in range(images)),
        class_names=tuple(entry.name for entry in CLASSES),
        class_colors=np.array([entry.color for entry in CLASSES], dtype=np.uint8),
        things=np.array([entry.thing for entry in CLASSES]),
        counts=np.stack([found, pixels - found, wrong], axis=2),
        sized_objects=objects,
        **adjusted,
        **more,
    )


def matrix(of: ImageCounts) -> np.ndarray[Any, np.dtype[np.int64]]:
    """A confusion matrix with these true positives, whose mistakes all go to the next class."""
    tp, fn, _ = of.counts.sum(axis=0).T
    return np.diag(tp) + np.roll(np.diag(fn), 1, axis=1)


def matrix_csv(of: ImageCounts) -> bytes:
    """The file of that matrix."""
    rows = [",".join([name, *map(str, row)]) for name, row in zip(of.class_names, matrix(of).tolist(), strict=True)]
    return "\n".join([",".join(["x", *of.class_names]), *rows]).encode()


def epoch_record(epoch: int, dev: ImageCounts) -> EpochRecord:
    """An epoch on the way to what these counts say."""
    final = split_metrics(matrix(dev), dev.objects, IMAGE_SET)
    metrics = {name: value * epoch / EPOCHS for name, value in final.items()}
    metrics |= {f"adjusted/{name}": value for name, value in metrics.items()}
    metrics |= {"train_loss": 1 / epoch, "dev_loss": 1.1 / epoch, "objective": metrics["miou"]}
    return EpochRecord(epoch, 1_000_000 + epoch, metrics["miou"], epoch, metrics, 1, "node", "cpu")


if __name__ == "__main__":
    main()
