"""A metric is a function and an entry: what follows from that, everywhere that a metric is shown or decides."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from aerosweep.terminal.confirmation_view import claims_table, confirmed_table
from aerosweep.terminal.leaderboard_table import leaderboard_table
from analysis.evidence.confirmation import ConfirmedTrial, judge
from analysis.evidence.scene_scores import SplitCounts, scene_metric
from analysis.words.gain_words import metric_title
from search.config.search_config import SearchConfig
from search.decide.sampler import directions, worst_values
from search.project.leaderboard import leaderboard
from search.run.preflight.search_checks import check_objective
from trainable.config.metric_registry import METRICS, MetricEntry
from trainable.config.objectives import Objective, class_objectives, is_minimised, plain_objectives
from trainable.data.image_set import ImageSet, LabelClass, MaskEncoding
from trainable.errors import InputError
from trainable.measure.split_metrics import adjusted_metrics, split_metrics
from trainable.measure.val_counts import ValCounts
from trainable.record.record_types import EndMarker, EpochRecord, TrialSnapshot, TrialSpec

CLASSES = ("road", "person", "sky", "car")
THINGS = (1, 3)
IMAGE_SET = ImageSet(
    "four",
    tuple(LabelClass(name, (0, 0, 0), label in THINGS) for label, name in enumerate(CLASSES)),
    MaskEncoding("ids"),
    (),
)
MATRICES = np.array(
    [
        [[60, 2, 3, 5], [4, 6, 0, 0], [1, 0, 9, 0], [2, 0, 0, 8]],
        [[30, 0, 1, 0], [2, 9, 1, 0], [0, 0, 0, 0], [0, 3, 0, 4]],
    ]
)
OBJECTS = np.zeros((2, 4, 3), dtype=np.int64)
OBJECTS[:, 1] = [[3, 1, 0], [2, 2, 4]]
OBJECTS[:, 3] = [[1, 0, 0], [4, 1, 1]]

FUNCTIONS = """
def weighted_iou(sums):
    true = sums.tp + sums.fn
    return (true * sums.tp / (true + sums.fp)).sum(axis=1) / true.sum(axis=1)

def alarms_per_object(sums):
    return sums.alarms.sum(axis=1) / sums.objects.sum(axis=1)

def dice(sums):
    return 2 * sums.tp / (2 * sums.tp + sums.fn + sums.fp)
"""


@pytest.fixture
def further(tmp_path, monkeypatch):
    """A metric over all classes, one over the things, which is better when lower, and one of a class."""
    (tmp_path / "metrics_of_a_test.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(tmp_path)
    entries = {
        "weighted_iou": MetricEntry("metrics_of_a_test:weighted_iou", "classes", "weighted IoU", "w. IoU"),
        "thing_alarms": MetricEntry(
            "metrics_of_a_test:alarms_per_object",
            "things",
            "false alarms an object",
            "al/obj",
            narrow_column="of obj.",
            lower_is_better=True,
            of_objects=True,
            is_share=False,
            lies_in="objects",
        ),
        "dice": MetricEntry("metrics_of_a_test:dice", "class", "Dice", "Dice"),
    }
    for name, entry in entries.items():
        monkeypatch.setitem(METRICS, name, entry)


EXPECTED = {
    "weighted_iou": (101 * 90 / 110 + 22 * 15 / 27 + 10 * 9 / 15 + 17 * 12 / 22) / 150,
    "thing_alarms": 5 / 10,
    "dice/person": 30 / 42,
}


def counts():
    tp = np.diagonal(MATRICES, axis1=1, axis2=2)
    return np.stack([tp, MATRICES.sum(axis=2) - tp, MATRICES.sum(axis=1) - tp], axis=2)


@pytest.mark.usefixtures("further")
def test_it_is_recorded():
    recorded = split_metrics(MATRICES.sum(axis=0), OBJECTS, IMAGE_SET)
    assert {name: recorded[name] for name in EXPECTED} == pytest.approx(EXPECTED)
    assert all(type(value) is float for value in recorded.values())
    adjusted = adjusted_metrics(MATRICES.sum(axis=0), 0.5, IMAGE_SET)
    assert {"adjusted/weighted_iou", "adjusted/dice/car"} <= adjusted.keys()
    assert "adjusted/thing_alarms" not in adjusted, "objects are counted without adjustment"


@pytest.mark.usefixtures("further")
def test_it_is_computed_of_weighted_scenes():
    scenes = SplitCounts(counts(), OBJECTS).by_scene(["a", "b"])
    for name, value in EXPECTED.items():
        assert scene_metric(name, CLASSES, THINGS).on_all(scenes) == pytest.approx(value)
    drawn = scene_metric("thing_alarms", CLASSES, THINGS)(scenes, np.array([[1.0, 1.0], [2.0, 0.0], [1.0, 2.0]]))
    assert drawn.tolist() == pytest.approx([5 / 10, 0, 10 / 16])
    assert scene_metric("thing_alarms", CLASSES, THINGS).scene_shares(scenes).tolist() == pytest.approx(
        [(3 / 5 + 1 / 5) / 2, (2 / 5 + 4 / 5) / 2]
    )


@pytest.mark.usefixtures("further")
def test_it_may_be_an_objective():
    objective = TypeAdapter(Objective)
    for name in EXPECTED:
        assert objective.validate_python(name) == name
    assert "weighted_iou, thing_alarms" in ", ".join(plain_objectives())
    assert class_objectives()[-1] == "dice"
    assert [is_minimised(name) for name in EXPECTED] == [False, True, False]
    assert directions(list(EXPECTED)) == ["maximize", "minimize", "maximize"]
    assert worst_values([], list(EXPECTED)) == (0.0, 1e3, 0.0)
    given = {"name": "x", "dataset": {"layout": "synthetic"}, "space": {}}
    assert SearchConfig(**given, objective=["dice/car", "thing_alarms"]).objectives == ("dice/car", "thing_alarms")
    with pytest.raises(ValidationError, match=r"objective must begin with one that grows.*Put it later in the list\. "):
        SearchConfig(**given, objective="thing_alarms")


@pytest.mark.usefixtures("further")
def test_it_is_checked_against_the_images(synthetic_data):
    check_objective(["weighted_iou", "thing_alarms"], synthetic_data)
    stuff = tuple(replace(entry, thing=False) for entry in synthetic_data.image_set.classes)
    without = replace(synthetic_data, image_set=replace(synthetic_data.image_set, classes=stuff))
    check_objective(["weighted_iou", f"dice/{stuff[0].name}"], without)
    with pytest.raises(InputError, match="objective thing_alarms needs a thing class that occurs on dev"):
        check_objective(["thing_alarms"], without)


def printed(*tables):
    console = Console(file=io.StringIO(), width=120)
    for table in tables:
        console.print(table)
    return console.file.getvalue()


@pytest.mark.usefixtures("further")
def test_it_has_titles():
    assert [metric_title(name) for name in EXPECTED] == ["weighted IoU", "false alarms an object", "person Dice"]
    config = {"model": {"architecture": "unet", "encoder": "resnet18"}, "loss": {"name": "dice"}}
    epoch = EpochRecord(1, 60_000, 0.125, 1, {"weighted_iou": 0.125, "thing_alarms": 12.5, "dice/person": 0.25})
    spec = TrialSpec("t0000", 0, {}, config, False, 0)
    trial = TrialSnapshot(spec, (epoch,), EndMarker("completed", "", 0, 1, (epoch,)), 1)
    shown = printed(leaderboard_table(leaderboard([trial], list(EXPECTED)), 5))
    assert {"w. IoU", "al/obj", "Dice", "12.50", "0.250"} <= {part.strip() for part in re.split("  +|\n", shown)}


@pytest.mark.usefixtures("further")
def test_it_is_confirmed():
    val = ValCounts(
        images=("1", "2"),
        scenes=("a", "b"),
        class_names=CLASSES,
        class_colors=np.zeros((4, 3), dtype=np.uint8),
        things=np.isin(np.arange(4), THINGS),
        counts=counts(),
        adjusted_counts=counts(),
        sized_objects=OBJECTS[:, :, None],
        tau=0.0,
    )
    trials = [ConfirmedTrial(name, "U-Net", "dice", (), name == "t0", 0.5, 3, (val,)) for name in ("t0", "t1")]
    confirmation = judge(trials, list(EXPECTED), 0.01)
    row = confirmation.rows[0]
    assert {name: row.scores[name].value for name in EXPECTED} == pytest.approx(EXPECTED)
    assert {"weighted_iou", "dice/person"} <= row.adjusted.keys()
    assert "thing_alarms" not in row.adjusted
    shown = printed(confirmed_table(confirmation, list(EXPECTED)), claims_table(confirmation, list(EXPECTED)))
    assert "of obj." in shown
    assert "weighted_iou" in shown


def test_a_metric_of_all_scenes_is_what_a_trial_records_bit_for_bit():
    """Of twelve classes: numpy rounds the sums of so many by their places."""
    generator = np.random.default_rng(3)
    matrices = generator.integers(0, 10**6, (6, 12, 12)) * (np.arange(12) % 5 > 0)[:, None]
    things = tuple(range(1, 12))
    true = generator.integers(0, 9, (6, 12)) * (np.arange(12) > 1)
    objects = np.stack([true, generator.binomial(true, 0.4), generator.integers(0, 4, (6, 12))], axis=2)
    objects[:, 0] = 0
    classes = tuple(LabelClass(f"c{label}", (0, 0, 0), label in things) for label in range(12))
    recorded = split_metrics(matrices.sum(axis=0), objects, ImageSet("twelve", classes, MaskEncoding("ids"), ()))
    tp = np.diagonal(matrices, axis1=1, axis2=2)
    of_images = np.stack([tp, matrices.sum(axis=2) - tp, matrices.sum(axis=1) - tp], axis=2)
    scenes = SplitCounts(of_images, objects).by_scene(["a", "b", "a", "c", "c", "d"])
    names = [entry.name for entry in classes]
    assert len(recorded) > 40
    for name, value in recorded.items():
        assert scene_metric(name, names, things).on_all(scenes) == value, name
