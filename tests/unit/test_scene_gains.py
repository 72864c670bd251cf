"""Scores by scene, and the difference without each scene, against a computation by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.findings.compared_pair import Pair, compared_pair
from analysis.findings.compared_side import Side
from analysis.subjects.scenes.table import (
    describe_gains,
    describe_scores,
    scene_scores,
    tabulate_gains,
    tabulate_scores,
    worst_scenes,
)
from trainable.measure.image_counts import ImageCounts

CLASSES = ("road", "person", "boat")


def side(trial, tp, fp, run_ids=("r1",)):
    """Networks of three scenes of unequal size; a person lies in b and c, a boat in c alone."""
    truth = np.array([[100, 0, 0], [90, 10, 0], [300, 40, 5]])
    runs = [
        ImageCounts(
            images=("a1", "b1", "c1"),
            scenes=("a", "b", "c"),
            class_names=CLASSES,
            class_colors=np.zeros((3, 3), dtype=np.uint8),
            things=np.array([False, True, True]),
            counts=np.stack([hits, truth - hits, np.array(fp)], axis=2),
            sized_objects=np.zeros((3, 3, 8, 3), dtype=np.int64),
        )
        for hits in np.array(tp)
    ]
    return Side(trial=trial, dev=0.5, runs=tuple(runs), run_ids=run_ids, epochs=6)


@pytest.fixture
def pair(made_trial):
    candidate = side(
        made_trial(1, {"name": "dice"}),
        [[[100, 0, 0], [80, 8, 0], [290, 30, 4]], [[90, 0, 0], [85, 6, 0], [280, 20, 2]]],
        [[0, 0, 0], [2, 10, 0], [3, 6, 1]],
        ("c1", "c2"),
    )
    reference = side(
        made_trial(0, {"name": "cross_entropy"}),
        [[[95, 0, 0], [90, 1, 0], [299, 3, 0]]],
        [[0, 1, 0], [9, 0, 0], [35, 1, 0]],
        ("r1",),
    )
    return Pair(candidate=candidate, reference=reference, role="the best cross entropy trial", split="val")


def naive_miou(run, scenes):
    """mIoU over the classes that occur in these scenes, in plain Python."""
    ious = []
    for label in range(3):
        tp = sum(int(run.counts[s, label, 0]) for s in scenes)
        fn = sum(int(run.counts[s, label, 1]) for s in scenes)
        fp = sum(int(run.counts[s, label, 2]) for s in scenes)
        if tp + fn:
            ious.append(tp / (tp + fn + fp))
    return sum(ious) / len(ious)


def naive_difference(pair, scenes):
    means = [np.mean([naive_miou(run, scenes) for run in s.runs]) for s in (pair.candidate, pair.reference)]
    return means[0] - means[1]


def test_gains_and_leaving_out_are_those_of_a_plain_computation(pair):
    gains = tabulate_gains(pair)
    assert gains["scene"].tolist() == ["a", "b", "c"]
    assert gains["gain"].tolist() == pytest.approx([naive_difference(pair, [s]) for s in range(3)], abs=1e-12)
    without = [naive_difference(pair, [s for s in range(3) if s != left]) for left in range(3)]
    assert gains["without"].tolist() == pytest.approx(without, abs=1e-12)
    assert gains["overall"].tolist() == pytest.approx([naive_difference(pair, [0, 1, 2])] * 3, abs=1e-12)
    assert gains.loc[0, ["candidate_run_ids", "reference_run_ids"]].tolist() == ["c1;c2", "r1"]


def test_a_scene_without_things_has_no_thing_miou(pair):
    gains = tabulate_gains(pair, "thing_miou")
    assert gains["gain"].isna().tolist() == [True, False, False]
    scores = tabulate_scores([("candidate", pair.candidate)])
    assert scores.groupby("metric")["scene"].unique().map(list).to_dict() == {
        "miou": ["a", "b", "c"],
        "thing_miou": ["b", "c"],
    }


def test_scores_are_a_row_for_each_network_scene_and_metric(pair):
    scores = tabulate_scores([("candidate", pair.candidate), ("reference", pair.reference)], ["miou"])
    assert len(scores) == 2 * 3 + 3
    row = scores[(scores["run_id"] == "c2") & (scores["scene"] == "b")].iloc[0]
    assert row["score"] == pytest.approx(naive_miou(pair.candidate.runs[1], [1]), abs=1e-12)
    assert (row["role"], row["trial_id"], row["images"]) == ("candidate", "t0001", 1)
    assert scene_scores(pair.reference.networks[0], pair.reference.metric("miou"))[2] == pytest.approx(
        naive_miou(pair.reference.runs[0], [2]), abs=1e-12
    )


def test_the_worst_scene_comes_first_and_equal_ones_by_name():
    scores = pd.DataFrame(
        {"role": "candidate", "metric": "miou", "scene": list("cabcab"), "score": [0.5, 0.4, 0.5, 0.7, 0.6, 0.7]}
    )
    assert worst_scenes(scores).to_dict() == {"a": 0.5, "b": 0.6, "c": 0.6}
    assert worst_scenes(scores).index.tolist() == ["a", "b", "c"]
    assert describe_scores(scores, "val") == (
        "On val, the worst scene is a (.500); the median over 3 scenes is .600 mIoU and the best, c, has .600."
    )
    assert describe_scores(scores[scores["scene"] == "a"], "val") == ""
    assert describe_scores(scores.assign(score=0.5), "val") == ""


def gains_of(gain, without, overall):
    return pd.DataFrame(
        {
            "scene": [f"s{number}" for number in range(len(gain))],
            "gain": gain,
            "without": without,
            "overall": overall,
            "metric": "miou",
            "split": "val",
        }
    )


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        (
            gains_of([0.1, 0.2, -0.1], [0.05, 0.04, 0.07], 0.055),
            "On val, the difference in mIoU is +.055, and the candidate is ahead in 2 of 3 scenes. It stays between "
            "+.040 and +.070 whichever scene is left out.",
        ),
        (
            gains_of([0.1, 0.9, -0.1], [0.05, -0.003, 0.07], 0.055),
            "On val, the difference in mIoU is +.055, and the candidate is ahead in 2 of 3 scenes. Without scene s1 "
            "nothing is left of it: -.003.",
        ),
        (
            gains_of([0.1, 0.9, 0.4], [0.05, -0.003, 0.0], 0.055),
            "On val, the difference in mIoU is +.055, and the candidate is ahead in 3 of 3 scenes. Without scene s1 "
            "nothing is left of it: -.003 (nor without any of 1 other alone).",
        ),
        (
            gains_of([0.1, 0.9, 0.4], [0.05, 0.02, 0.06], 0.055),
            "On val, the difference in mIoU is +.055, and the candidate is ahead in 3 of 3 scenes. Scene s1 carries "
            "more than half of it: without it, it is +.020.",
        ),
        (
            gains_of([-0.1, -0.2], [-0.05, -0.06], -0.055),
            "On val, the difference in mIoU is -.055, and the candidate is ahead in 0 of 2 scenes. It stays between "
            "-.060 and -.050 whichever scene is left out.",
        ),
        (
            gains_of([-0.1, -0.9], [-0.1, 0.01], -0.055),
            "On val, the difference in mIoU is -.055, and the candidate is ahead in 0 of 2 scenes. Without scene s1 "
            "nothing is left of it: +.010.",
        ),
        (
            gains_of([0.2, np.nan], [np.nan, 0.055], 0.055),
            "On val, the difference in mIoU is +.055, and the candidate is ahead in 1 of 1 scene. It stays at +.055 "
            "whichever scene is left out.",
        ),
        (gains_of([0.1, -0.1], [0.1, -0.1], 0.0004), ""),
        (gains_of([0.1, -0.1], [0.1, -0.1], np.nan), ""),
        (gains_of([], [], []), ""),
    ],
)
def test_whether_a_gain_is_spread_or_carried_by_one_scene(gains, said):
    assert describe_gains(gains) == said


def test_the_interval_stands_beside_the_difference():
    assert "+.055 [-.010, +.120], and" in describe_gains(gains_of([0.1, 0.2], [0.05, 0.06], 0.055), "[-.010, +.120]")


def test_sides_of_other_images_are_refused(pair):
    changed = pair.candidate.runs[0].counts.copy()
    changed[1, 0, 1] += 7
    runs = (replace(pair.candidate.runs[0], counts=changed),)
    other = Side(trial=pair.candidate.trial, dev=0.5, runs=runs, run_ids=("x",), epochs=6)
    with pytest.raises(ValueError, match="scene b has other images or another truth"):
        tabulate_gains(replace(pair, candidate=other))


def test_the_made_search_is_compared_on_val(confirmed_losses):
    gains = tabulate_gains(compared_pair(confirmed_losses))
    assert gains["split"].unique().tolist() == ["val"]
    assert len(gains) == 6
    assert (gains["without"] > 0.25).all()
