"""A recorded search that was never run, for the statistics, figures and plates; command lines that are refused."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from aerosweep.cli import app
from analysis.recorded.recorded_search import RecordedSearch, RecordedTrial
from trainable.data.dataset_config import DatasetConfig
from trainable.data.image_set import LabelClass
from trainable.measure.image_counts import ImageCounts
from trainable.measure.val_counts import ValCounts
from trainable.trial_config import TrialConfig

CLASSES = (
    LabelClass("road", (128, 128, 0), False),
    LabelClass("person", (255, 127, 14), True),
    LabelClass("plant", (0, 64, 0), False),
    LabelClass("bike", (0, 128, 0), True),
)
PIXELS = np.array([5000, 60, 4900, 40])
"""Of each class in each image."""
OBJECTS = np.array([0, 6, 0, 3])


class MadeSource:
    """The interface of `analysis.recorded.recorded_search.RunSource` over what a test gives."""

    def __init__(self):
        self.histories = {}
        self.artifacts = {}

    def history(self, run_id, names):
        return self.histories[run_id].reindex(columns=list(names))

    def artifact(self, run_id, name):
        return self.artifacts.get((run_id, name))


def make_matrix(recall):
    """A confusion matrix of one image: of the things the share `recall` is found, the rest is taken for road."""
    matrix = np.diag(PIXELS)
    for label, found in ((1, recall), (3, recall**2)):
        hits = round(PIXELS[label] * found)
        matrix[label, label], matrix[label, 0] = hits, PIXELS[label] - hits
    matrix[2, 0] += 400
    matrix[2, 2] -= 400
    return matrix


def make_counts(recall, scenes=6, seed=0, kind=ImageCounts, **more):
    """Counts of two images a scene; a network that finds this share of the things, more or less by scene."""
    generator = np.random.default_rng(seed)
    by_scene = np.clip(recall + generator.normal(0, 0.05, scenes), 0, 1)
    matrices = np.stack([make_matrix(r) for r in np.repeat(by_scene, 2)])
    tp = matrices.diagonal(axis1=1, axis2=2)
    counts = np.stack([tp, matrices.sum(axis=2) - tp, matrices.sum(axis=1) - tp], axis=2)
    sized = np.zeros((2 * scenes, len(CLASSES), 8, 3), dtype=np.int64)
    for label in (1, 3):
        sized[:, label, 1, 0] = OBJECTS[label] - 1
        sized[:, label, 3, 0] = 1
        sized[:, label, 1, 1] = np.round((OBJECTS[label] - 1) * (1 - np.repeat(by_scene, 2)))
        sized[:, label, 2, 2] = generator.poisson(0.5, 2 * scenes)
    return kind(
        images=tuple(f"s{scene}_{frame}" for scene in range(scenes) for frame in range(2)),
        scenes=tuple(f"s{scene}" for scene in range(scenes) for _ in range(2)),
        class_names=tuple(entry.name for entry in CLASSES),
        class_colors=np.array([entry.color for entry in CLASSES], dtype=np.uint8),
        things=np.array([entry.thing for entry in CLASSES]),
        counts=counts.astype(np.int64),
        sized_objects=sized,
        **more,
    )


def csv_of(matrix):
    names = [entry.name for entry in CLASSES]
    rows = [",".join(["true \\ predicted", *names])]
    return "\n".join([*rows, *(",".join([n, *map(str, row)]) for n, row in zip(names, matrix, strict=True))]).encode()


def make_history(recall, epochs):
    """Every recorded metric that plates read, rising with the epochs."""
    rise = 1 - np.exp(-np.arange(1, epochs + 1) / 2)
    frame = pd.DataFrame({"miou": (0.4 + 0.5 * recall) * rise}, index=pd.RangeIndex(1, epochs + 1, name="epoch"))
    frame["objective"] = frame["miou"].cummax()
    frame["train_loss"], frame["dev_loss"] = 1.5 - rise, 1.6 - rise
    frame["thing_miou"] = recall * rise
    frame["pixel_accuracy"] = 0.9 * rise
    for name, level in (("road", 0.9), ("person", recall), ("plant", 0.8), ("bike", recall**2)):
        frame[f"iou/{name}"] = level * rise
        frame[f"recall/{name}"] = level * rise
        frame[f"precision/{name}"] = 0.95 * rise
    return frame


def make_trial(number, loss, *, recall=0.5, state="completed", epochs=6, max_epochs=6, baseline=False, seed=None,
               counted=True, architecture="unet", objective="miou"):  # fmt: skip
    """A trial of the made search; `loss` is the config's section, `recall` how many thing pixels it finds."""
    trial_id = f"t{number:04d}"
    source, run_id = MadeSource(), f"run-{trial_id}"
    config = TrialConfig.model_validate(
        {
            "dataset": DatasetConfig(layout="synthetic"),
            "loss": loss,
            "model": {"architecture": architecture, "encoder_weights": "none"},
            "max_epochs": max_epochs,
            "objective": objective,
        }
    ).model_dump(mode="json")
    history = make_history(recall, epochs)
    source.histories[run_id] = history
    if counted and epochs and state in ("completed", "pruned"):
        source.artifacts[run_id, "per_image_counts.npz"] = make_counts(recall, seed=number).to_bytes()
        source.artifacts[run_id, "confusion_matrix.csv"] = csv_of(12 * make_matrix(recall))
    return RecordedTrial(
        source=source,
        run_id=run_id,
        trial_id=trial_id,
        state=state,
        baseline=baseline,
        params={f"loss.{key}": value for key, value in loss.items()} | {"model.architecture": architecture},
        config=config,
        metrics=dict(history.iloc[-1]) if epochs else {},
        minutes=0.5 * epochs,
    )


def make_run(trial, seed, *, recall, scenes=6):
    """A run that confirms a trial: the network of a fresh seed, measured on val."""
    source, run_id = MadeSource(), f"run-{trial.trial_id}-s{seed}"
    counts = make_counts(recall, scenes, 100 + seed, ValCounts, tau=0.0, adjusted_counts=np.zeros((2 * scenes, 4, 3), np.int64))  # fmt: skip  # noqa: E501
    counts = replace(counts, adjusted_counts=counts.counts)
    source.artifacts[run_id, "val_counts.npz"] = counts.to_bytes()
    source.artifacts[run_id, "val_confusion_matrix.csv"] = csv_of(2 * scenes * make_matrix(recall))
    source.histories[run_id] = make_history(recall, 6)
    return replace(
        trial, source=source, run_id=run_id, trial_id=f"{trial.trial_id}-s{seed}", confirms=trial.trial_id,
        metrics=trial.metrics | {"val/miou": 0.5 + 0.4 * recall},
    )  # fmt: skip


def make_search(trials, runs=(), **changes):
    """A search of these trials."""
    search = RecordedSearch(
        name="made",
        search_id="0123456789abcdef",
        run_id="run-parent",
        state="completed",
        where="sqlite:///runs/mlflow.db",
        objectives=("miou",),
        max_epochs=6,
        budget=max(len(trials), 1),
        relevant_gain=0.01,
        trials=tuple(trials),
        runs=tuple(runs),
        dataset=DatasetConfig(layout="synthetic"),
        data_fingerprint="f00d",
    )
    return replace(search, **changes)


LOSSES = (
    ({"name": "cross_entropy"}, 0.2, "completed", True),
    ({"name": "focal", "focal_gamma": 2.0}, 0.3, "completed", True),
    ({"name": "dice"}, 0.5, "completed", True),
    ({"name": "tversky", "alpha": 0.7, "beta": 0.3, "gamma": 1.0}, 0.6, "completed", True),
    ({"name": "tversky", "alpha": 0.62, "beta": 0.31, "gamma": 1.1}, 0.75, "completed", False),
    ({"name": "tversky", "alpha": 0.2, "beta": 0.9, "gamma": 1.6}, 0.25, "pruned", False),
    ({"name": "dice"}, 0.45, "completed", False),
    ({"name": "cross_entropy"}, 0.15, "pruned", False),
    ({"name": "focal", "focal_gamma": 0.7}, 0.35, "diverged", False),
    ({"name": "tversky", "alpha": 0.9, "beta": 0.1, "gamma": 0.6}, 0.65, "completed", False),
    ({"name": "dice"}, 0.5, "failed", False),
    ({"name": "tversky", "alpha": 0.5, "beta": 0.6, "gamma": 1.3}, 0.4, "running", False),
)


@pytest.fixture(scope="session")
def made_trial():
    """Makes a trial: see `make_trial`."""
    return make_trial


@pytest.fixture(scope="session")
def made_run():
    """Makes a run of a confirmation: see `make_run`."""
    return make_run


@pytest.fixture(scope="session")
def made_search():
    """Makes a search of trials: see `make_search`."""
    return make_search


@pytest.fixture(scope="session")
def made_counts():
    """Makes counts by image: see `make_counts`."""
    return make_counts


@pytest.fixture(scope="session")
def searched_losses():
    """A search of twelve trials of four losses, in all states, not confirmed; Tversky t0004 is the best."""
    trials = []
    for number, (loss, recall, state, baseline) in enumerate(LOSSES):
        epochs = {"pruned": 2, "failed": 0, "running": 3}.get(state, 6)
        trials.append(make_trial(number, loss, recall=recall, state=state, epochs=epochs, baseline=baseline))
    return make_search(trials)


@pytest.fixture(scope="session")
def confirmed_losses(searched_losses):
    """The same, confirmed: four configurations over three seeds on six scenes."""
    chosen = [searched_losses.trial(trial_id) for trial_id in ("t0004", "t0003", "t0002", "t0000")]
    recalls = (0.8, 0.62, 0.52, 0.2)
    runs = [make_run(t, s, recall=r + 0.01 * s) for t, r in zip(chosen, recalls, strict=True) for s in (1, 2, 3)]
    return replace(searched_losses, runs=tuple(runs))


@pytest.fixture
def refused():
    """`refused(*arguments)`: what a refused command line prints as its error, having checked what holds for all."""

    def run(*arguments):
        before = sorted(Path.cwd().rglob("*"))
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 2, (result.output, result.exception)
        assert "Traceback" not in result.output
        assert sorted(Path.cwd().rglob("*")) == before, "something was written"
        return result.stderr

    return run


@pytest.fixture
def require_one_problem():
    """`require_one_problem(printed, rule, value, remedy)`: the parts of the only problem, by regular expressions."""

    def require(printed, rule, value, remedy):
        assert "problems:" not in printed
        assert re.fullmatch(rf"error: {rule}; got {value}\. {remedy}\.\n", printed, re.DOTALL), printed

    return require
