"""Curves as numbers and sentences."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.subjects.curves.class_table import absent_classes, describe_class_iou, tabulate_class_iou
from analysis.subjects.curves.loss_table import (
    BEST,
    PRUNED,
    describe_loss_curves,
    losses_without_score,
    tabulate_loss_curves,
)
from analysis.subjects.curves.table import describe_end, describe_training, tabulate_training
from trainable.data.image_set import LabelClass


def with_history(trial, **columns):
    """The trial with other curves; a running best is the objective unless it is given."""
    history = pd.DataFrame(columns, index=pd.RangeIndex(1, 1 + len(next(iter(columns.values()))), name="epoch"))
    if "objective" not in history:
        history["objective"] = history["miou"].cummax()
    source = type(trial.source)()
    source.histories[trial.run_id] = history
    source.artifacts = trial.source.artifacts
    return replace(trial, source=source, metrics=dict.fromkeys(history.columns, 0.0))


@pytest.fixture
def trial(made_trial):
    return made_trial(7, {"name": "dice"})


def test_the_best_epoch_counts_from_one(trial):
    frame = tabulate_training(with_history(trial, miou=[0.2, 0.5, 0.4], train_loss=[3.0, 2, 1], dev_loss=[4.0, 3, 2]))

    assert frame["epoch"].tolist() == [1, 2, 3]
    assert frame.loc[frame["best"], ["epoch", "miou", "dev_loss"]].to_numpy().tolist() == [[2, 0.5, 3.0]]
    assert set(frame["run_id"]) == {"run-t0007"}
    assert set(frame["trial_id"]) == {"t0007"}


def test_the_best_epoch_is_by_the_objective(made_trial):
    trial = made_trial(0, {"name": "dice"}, objective="thing_miou")
    frame = tabulate_training(
        with_history(trial, miou=[0.6, 0.5], thing_miou=[0.1, 0.3], train_loss=[2, 1], objective=[0.1, 0.3])
    )

    assert frame["thing_miou"].tolist() == [0.1, 0.3]
    assert frame["best"].tolist() == [False, True]
    assert describe_training(frame, "thing_miou").startswith(
        "Thing mIoU on dev was highest in the last epoch (2, .300)"
    )


def test_what_is_not_recorded_or_not_finite_is_nan(trial):
    frame = tabulate_training(with_history(trial, miou=[0.2, np.nan], train_loss=[1.0, np.inf], objective=[0.2, 0.0]))

    assert frame["dev_loss"].isna().all()
    assert frame["train_loss"].tolist()[0] == 1.0
    assert np.isnan(frame["train_loss"].tolist()[1])
    assert frame["best"].tolist() == [True, False]


def test_a_trial_that_diverged_at_once_has_no_best_epoch(trial):
    assert not tabulate_training(with_history(trial, miou=[np.nan], train_loss=[9.0], objective=[0.0]))["best"].any()


@pytest.mark.parametrize(
    ("miou", "said"),
    [
        ([0.2, 0.5, 0.4], "mIoU on dev was highest in epoch 2 (.500) and .400 in the last, 3."),
        (
            [0.2, 0.3, 0.6],
            "mIoU on dev was highest in the last epoch (3, .600): a longer training might have gained more.",
        ),
        ([0.2, 0.3, np.nan], "mIoU on dev was highest in epoch 2 (.300), the last with a score."),
        ([0.2], ""),
        ([0.2, np.nan], ""),
        ([np.nan, np.nan], ""),
    ],
)
def test_training_in_words(trial, miou, said):
    objective = pd.Series(miou).cummax().fillna(0).tolist()
    frame = tabulate_training(with_history(trial, miou=miou, train_loss=miou, objective=objective))
    assert describe_training(frame, "miou") == said


@pytest.mark.parametrize(
    ("train", "dev", "overfits"),
    [
        ([5, 4, 3, 2, 1.0], [2, 1, 1.2, 1.3, 1.4], True),
        ([5, 4, 3, 2, 1.0], [2, 1, 1.2, 1.05, 1.4], False),  # one of the last three is back
        ([5, 1, 3, 2, 1.0], [2, 1, 1.2, 1.3, 1.4], False),  # train loss did not fall
        ([3, 2, 1.0], [1, 1.2, 1.4], False),  # too short to tell
        ([5, 4, 3, 2, 1.0], [-2, -3, -1, -1, -1], False),  # shares of a negative loss mean nothing
    ],
)
def test_overfitting_needs_dev_loss_to_rise_for_good(trial, train, dev, overfits):
    frame = tabulate_training(with_history(trial, miou=[0.5] * len(train), train_loss=train, dev_loss=dev))
    said = describe_training(frame, "miou")
    assert ("it overfits" in said) == overfits
    if overfits:
        assert said.endswith(
            "Dev loss was lowest in epoch 2 (1) and has risen to 1.4, while train loss fell from 4 to 1: it overfits."
        )


def test_ends_in_words(made_trial):
    assert describe_end(made_trial(0, {"name": "dice"}), 6) == "completed, 6 epochs"
    assert describe_end(made_trial(0, {"name": "dice"}, epochs=1), 1) == "completed, 1 epoch"
    assert describe_end(made_trial(0, {"name": "dice"}, state="pruned", epochs=2), 6) == "pruned after 2 of 6 epochs"


CLASSES = (
    LabelClass("road", (0, 0, 0), False),
    LabelClass("person", (1, 0, 0), True),
    LabelClass("plant", (2, 0, 0), False),
    LabelClass("bike", (3, 0, 0), True),
)


def test_class_iou_puts_things_first_and_the_more_frequent_above(made_trial):
    trial = made_trial(1, {"name": "dice"}, recall=0.4)
    frame = tabulate_class_iou(trial, CLASSES)

    assert frame["class"].drop_duplicates().tolist() == ["person", "bike", "road", "plant"]
    shares = frame.drop_duplicates("class").set_index("class")["pixel_share"]
    assert shares.tolist() == [0.006, 0.004, 0.5, 0.49]
    last = frame[(frame["class"] == "bike") & frame["best"]].iloc[0]
    assert last["epoch"] == 6
    assert last["iou"] == pytest.approx(0.16 * (1 - np.exp(-3)))
    assert len(frame) == 4 * 6


def test_classes_that_never_occur_are_left_out_and_named(trial):
    there = {"iou/person": [0.0, 0.005], "iou/road": [0.5, 0.9], "iou/bike": [np.nan, np.nan]}
    frame = tabulate_class_iou(with_history(trial, miou=[0.1, 0.2], **there), CLASSES)

    assert frame["class"].drop_duplicates().tolist() == ["person", "road"]
    assert absent_classes(frame, CLASSES) == ["plant", "bike"]
    assert describe_class_iou(frame) == (
        "In the best epoch (2) IoU on dev is lowest for person (0.60 % of the dev pixels), .005, and highest for road, "
        ".900. IoU stayed below .01 in every epoch for person."
    )


def test_class_iou_says_nothing_of_one_class_or_of_equal_ones(trial):
    one = tabulate_class_iou(with_history(trial, miou=[0.1], **{"iou/road": [0.5]}), CLASSES)
    equal = tabulate_class_iou(with_history(trial, miou=[0.1], **{"iou/road": [0.0], "iou/bike": [0.0]}), CLASSES)
    assert describe_class_iou(one) == describe_class_iou(equal) == ""


def test_class_iou_without_counts_has_no_shares(made_trial):
    frame = tabulate_class_iou(made_trial(8, {"name": "dice"}, state="diverged"), CLASSES)
    assert frame["pixel_share"].isna().all()
    assert "of the dev pixels" not in describe_class_iou(frame)


def test_loss_curves_are_of_the_best_trials_and_the_pruned_ones(searched_losses):
    frame = tabulate_loss_curves(searched_losses)

    best = frame[frame["role"] == BEST].drop_duplicates("trial_id")
    assert best[["loss", "trial_id", "trials_of_loss"]].to_numpy().tolist() == [
        ["tversky", "t0004", 4],
        ["dice", "t0002", 2],
        ["focal", "t0001", 1],
        ["cross_entropy", "t0000", 2],
    ]
    assert frame[frame["role"] == PRUNED].groupby("trial_id")["epoch"].max().to_dict() == {"t0005": 2, "t0007": 2}
    assert (frame.groupby("trial_id")["best"].sum() == 1).all()
    assert losses_without_score(searched_losses) == []


def test_losses_compared_in_words(searched_losses):
    frame = tabulate_loss_curves(searched_losses)
    rise = 1 - np.exp(-3)
    said = describe_loss_curves(frame, "miou", 6, 0.01)

    assert f"t0004, mIoU {0.775 * rise:.3f}".replace("0.", ".") in said
    assert f"Dice (t0002, best of 2) by {0.125 * rise:.3f}".replace("0.", ".") in said
    assert said.endswith("ranked on the split it was tuned on, and a loss with more trials had more chances.")
    assert describe_loss_curves(frame, "miou", 6, 0.2) == ""  # closer than what would matter
    assert describe_loss_curves(frame, "miou", 7, 0.01) == ""  # none ran that long


def test_a_loss_whose_best_trial_was_pruned_is_not_compared(made_trial, made_search):
    search = made_search(
        [made_trial(0, {"name": "dice"}, recall=0.9), made_trial(1, {"name": "iou"}, state="pruned", epochs=2)]
    )
    frame = tabulate_loss_curves(search)
    assert frame.groupby("loss")["epochs"].first().to_dict() == {"dice": 6, "iou": 2}
    assert describe_loss_curves(frame, "miou", 6, 0.0) == ""


def test_losses_of_which_no_trial_ended_are_named(made_trial, made_search):
    search = made_search([made_trial(0, {"name": "dice"}), made_trial(1, {"name": "iou"}, state="diverged")])
    assert losses_without_score(search) == ["IoU"]
    assert tabulate_loss_curves(made_search([])).empty
