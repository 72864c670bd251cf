"""Hyperparameter importance: who is compared with whom, at which epoch, and what is said of it."""

from dataclasses import replace

import numpy as np
import optuna
import pandas as pd
import pytest

from analysis.report.figures import SETTINGS, search_plates
from analysis.subjects.canvas import styled
from analysis.subjects.importance.plate import importance_plate
from analysis.subjects.importance.table import (
    IMPORTANCE_COLUMNS,
    describe_importance,
    left_out,
    parameter_groups,
    tabulate_importance,
    tabulate_tried,
    why_not,
)
from analysis.subjects.palette import CLASS_COLORS
from analysis.subjects.plate import Unavailable


def tried(count=14, strength=1.0):
    """Trials of Tversky of which alpha decides, and the learning rate does nothing."""
    generator = np.random.default_rng(5)
    alpha = generator.permutation(np.linspace(0.1, 1.0, count))
    noise = generator.random(count)
    return pd.DataFrame({
        "run_id": [f"run{n}" for n in range(count)], "trial_id": [f"t{n:04d}" for n in range(count)],
        "loss": "tversky", "epoch": 3, "objective": strength * alpha + 0.02 * noise,
        "loss.alpha": alpha, "optimizer.learning_rate": 10 ** generator.uniform(-4, -2, count),
        "model.encoder": "resnet34",
    })  # fmt: skip


@pytest.fixture(scope="module")
def decided():
    return tabulate_importance(tried())


@pytest.fixture(scope="module")
def searched(request):
    """A search of sixteen trials of two losses: Tversky finds what its alpha lets it, the other little."""
    make_trial, make_search = request.getfixturevalue("made_trial"), request.getfixturevalue("made_search")
    generator = np.random.default_rng(2)
    trials = []
    for number in range(18):
        alpha = float(generator.uniform(0.1, 1))
        tversky = number % 3 != 0
        loss = {"name": "tversky", "alpha": alpha, "beta": 0.3} if tversky else {"name": "focal", "focal_gamma": 2.0}
        state = "pruned" if number == 4 else "diverged" if number == 7 else "completed"
        trial = make_trial(number, loss, recall=alpha if tversky else 0.1, state=state, epochs=3 if number == 4 else 6)
        rate = float(generator.uniform(1e-4, 1e-2))
        trials.append(replace(trial, params=trial.params | {"optimizer.learning_rate": rate}))
    return make_search(trials)


def test_trials_are_compared_at_the_epoch_that_all_reached(searched):
    frame = tabulate_tried(searched)
    assert frame["epoch"].unique().tolist() == [3]
    assert len(frame) == 17  # without the one that diverged
    first = frame.set_index("trial_id").loc["t0000"]
    assert first["objective"] == pytest.approx((0.4 + 0.5 * 0.1) * (1 - np.exp(-1.5)))
    assert first["loss.alpha"] is None
    assert first["loss.focal_gamma"] == 2.0
    assert first["run_id"] == "run-t0000"


def test_a_search_without_trials_has_an_empty_table(made_search):
    assert tabulate_tried(made_search([])).empty
    assert tabulate_importance(tabulate_tried(made_search([]))).empty


def test_conditional_parameters_are_assessed_among_the_trials_that_have_them(searched):
    groups = parameter_groups(tabulate_tried(searched))
    assert {own: (len(group), list(group.columns[5:])) for own, group in groups.items()} == {
        (): (17, ["loss.name", "optimizer.learning_rate"]),
        # Of one value are beta, and the focal gamma, which leaves no group of its own.
        ("loss.alpha",): (11, ["loss.alpha", "optimizer.learning_rate"]),
    }


def test_a_parameter_of_one_value_is_left_out(decided):
    assert decided["parameter"].tolist() == ["loss.alpha", "optimizer.learning_rate"]


def test_what_decides_is_far_above_the_noise(decided):
    alpha, rate = decided.to_dict("records")
    assert alpha["importance"] > 0.8 > alpha["noise"]
    assert rate["importance"] < 0.2
    assert alpha["low"] <= alpha["high"] <= 1
    assert (alpha["trials"], alpha["epoch"], alpha["group"], alpha["losses"]) == (14, 3, "", "tversky")
    assert "Among 14 trials, at epoch 3 on dev, loss.alpha matters most: " in describe_importance(decided)


def test_chance_alone_supports_nothing():
    frame = tried()
    frame["objective"] = np.random.default_rng(1).random(14)
    assert describe_importance(tabulate_importance(frame)) == ""


@pytest.fixture
def few_draws(monkeypatch):
    monkeypatch.setattr("analysis.subjects.importance.table.SHUFFLES", 2)
    monkeypatch.setattr("analysis.subjects.importance.table.RESAMPLES", 2)


@pytest.mark.usefixtures("few_draws")
def test_only_the_order_of_numbers_counts():
    frame = tried()
    frame["optimizer.learning_rate"] = np.log(frame["optimizer.learning_rate"])
    frame["loss.alpha"] = frame["loss.alpha"] ** 5
    pd.testing.assert_frame_equal(tabulate_importance(frame), tabulate_importance(tried()))


@pytest.mark.usefixtures("few_draws")
def test_words_truths_and_numbers_are_all_assessed_and_optuna_is_left_as_it_was():
    frame = tried()
    frame["data.flip"] = [n % 2 == 0 for n in range(14)]
    frame["model.architecture"] = ["unet", "deeplabv3"] * 7
    optuna.logging.set_verbosity(optuna.logging.INFO)
    found = tabulate_importance(frame)
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    assert set(found["parameter"]) == {"loss.alpha", "optimizer.learning_rate", "data.flip", "model.architecture"}
    assert found["importance"].between(0, 1).all()
    assert set(found["run_ids"]) == {";".join(frame["run_id"])}


def test_too_few_trials_equal_objectives_and_a_single_parameter_have_no_importances():
    groups = parameter_groups(tried(9))
    assert why_not(groups[()]) == "only 9 trials of the 10 that are needed"
    assert tabulate_importance(tried(9)).columns.tolist() == IMPORTANCE_COLUMNS
    equal = tried().assign(objective=0.25)
    assert left_out(equal) == ["all trials (all trials have the same objective)"]
    assert tabulate_importance(equal).empty
    single = tried().drop(columns="loss.alpha")
    assert left_out(single) == ["all trials (there are not two parameters to weigh against each other)"]


def rows(*values, group=""):
    return [[group, "tversky", name, 30, 4, value, low, high, 0.3, "r1;r2"] for name, value, low, high in values]


def test_one_that_clears_all_others_is_said_to_matter_most():
    frame = pd.DataFrame(rows(("loss.name", 0.6, 0.5, 0.7), ("x", 0.35, 0.1, 0.45)), columns=IMPORTANCE_COLUMNS)
    assert describe_importance(frame) == (
        "Among 30 trials, at epoch 4 on dev, loss.name matters most: .60 (.50 to .70 over resamples); where the "
        "objectives are shuffled none exceeds .30."
    )


def test_those_whose_intervals_meet_are_named_without_an_order():
    values = (("loss.name", 0.45, 0.35, 0.6), ("x", 0.35, 0.1, 0.45), ("y", 0.1, 0.0, 0.2))
    frame = pd.DataFrame(rows(*values, group="loss.alpha, loss.beta"), columns=IMPORTANCE_COLUMNS)
    assert describe_importance(frame) == (
        "Among the 30 trials with loss.alpha, loss.beta, at epoch 4 on dev, loss.name (.45) and x (.35) stand out, in "
        "no order that so few trials tell; where the objectives are shuffled none exceeds .30."
    )
    below = pd.DataFrame(rows(("x", 0.29, 0.1, 0.9)), columns=IMPORTANCE_COLUMNS)
    assert describe_importance(below) == ""


def test_the_plate_shows_each_group_with_its_trials_and_epoch(searched):
    ((title, make),) = search_plates(searched, SETTINGS)
    plate = make()
    assert plate.title == title == "Hyperparameter importance"
    assert "on dev at epoch 3 (of 6, the last that all 17 trials reached)" in plate.shows
    assert plate.shows.endswith("left out: 1 trial that diverged.")
    assert set(plate.table["trials"]) == {17, 11}
    assert "matters most" in plate.says
    with styled():
        figure = plate.draw(CLASS_COLORS)
        figure.canvas.draw()
    everything, tversky = figure.axes
    assert everything.get_title(loc="left") == "all trials: n = 17, objective at epoch 3"
    assert tversky.get_title(loc="left") == "trials with alpha (tversky): n = 11, objective at epoch 3"
    assert len(tversky.patches) == 2
    assert tversky.get_yticklabels()[0].get_text() == "loss.alpha"
    assert tversky.get_xlabel() == "importance: share of the objective's variance"


def test_too_few_trials_make_no_plate(searched_losses, made_search):
    with pytest.raises(Unavailable, match="9 trials of the 10 that are needed"):
        importance_plate(searched_losses)
    with pytest.raises(Unavailable, match="0 trials of the 10"):
        importance_plate(made_search([]))
