"""Recall against precision, and misses against false alarms: what is on the front, and what is said of it."""

import math
from dataclasses import replace

import pandas as pd
import pytest

from analysis.subjects.trade_off.table import TRADE_OFF_COLUMNS, describe_trade_off, tabulate_trade_off

DICE, TVERSKY, CE = {"name": "dice"}, {"name": "tversky", "alpha": 0.7, "beta": 0.3}, {"name": "cross_entropy"}


def with_counts(trial, made_counts, person, objects=(6, 3, 2)):
    """The trial with these pixels (true positives, false negatives, false positives) and objects in its first image."""
    counts = made_counts(0.5)
    counts.counts[:, [1, 3]] = 0
    counts.counts[0, 1] = person
    counts.counts[0, 3] = (30, 10, 10)
    counts.sized_objects[:] = 0
    counts.sized_objects[0, 1, 2] = objects
    trial.source.artifacts[trial.run_id, "per_image_counts.npz"] = counts.to_bytes()
    return trial


def test_values_are_those_of_the_counts(made_trial, made_search, made_counts):
    trial = with_counts(made_trial(0, DICE), made_counts, (10, 30, 10))
    row = tabulate_trade_off(made_search([trial])).iloc[0]
    assert (row["trial_id"], row["run_id"], row["loss"], row["ending"]) == ("t0000", "run-t0000", "dice", "full")
    assert (row["epochs"], row["best_epoch"]) == (6, 6)
    assert row["thing_recall"] == pytest.approx((0.25 + 0.75) / 2)
    assert row["thing_precision"] == pytest.approx((0.5 + 0.75) / 2)
    assert row["thing_miss_rate"] == pytest.approx(0.5)
    assert row["thing_false_alarms_per_image"] == pytest.approx(2 / 12)


def test_the_front_is_of_full_length_trials_that_find_something(made_trial, made_search, made_counts):
    trials = [
        with_counts(made_trial(0, DICE), made_counts, (10, 30, 10), (6, 3, 2)),
        with_counts(made_trial(1, TVERSKY), made_counts, (30, 10, 90), (6, 1, 9)),
        with_counts(made_trial(2, DICE, state="pruned", epochs=2), made_counts, (39, 1, 0), (6, 0, 0)),
        with_counts(made_trial(3, DICE), made_counts, (9, 31, 10), (6, 3, 3)),
        with_counts(made_trial(4, CE), made_counts, (0, 40, 0), (6, 6, 0)),
        made_trial(5, DICE, state="failed", epochs=0),
        made_trial(6, DICE, counted=False),
    ]
    frame = tabulate_trade_off(made_search(trials)).set_index("trial_id").sort_index()
    assert list(frame.index) == ["t0000", "t0001", "t0002", "t0003", "t0004"]
    assert frame["pixel_front"].tolist() == [True, True, False, False, False]
    assert frame["object_front"].tolist() == [True, True, False, False, False]
    assert frame.loc["t0002", "ending"] == "early"


def test_without_true_objects_there_are_no_objects_to_trade(made_trial, made_search, made_counts):
    trial = with_counts(made_trial(0, DICE), made_counts, (10, 30, 10), (0, 0, 5))
    row = tabulate_trade_off(made_search([trial])).iloc[0]
    assert math.isnan(row["thing_miss_rate"])
    assert math.isnan(row["thing_false_alarms_per_image"])
    assert row["pixel_front"]
    assert not row["object_front"]


def test_no_trials_make_an_empty_table(made_search, made_trial):
    assert list(tabulate_trade_off(made_search([])).columns) == TRADE_OFF_COLUMNS
    broken = replace(made_trial(0, DICE), metrics={})
    assert tabulate_trade_off(made_search([broken])).empty


def row(number, loss, recall, precision, front, ending="full"):
    values = (f"run{number}", f"t{number:04d}", loss, ending, 6, 6, 0.5, recall, precision, 0.1, 0.2, front, False)
    return dict(zip(TRADE_OFF_COLUMNS, values, strict=True))


def test_the_price_of_recall_is_said():
    rows = [
        row(4, "tversky", 0.82, 0.41, True),
        row(2, "dice", 0.5, 0.77, True),
        row(5, "tversky", 0.7, 0.6, True),
        row(1, "tversky", 0.3, 0.3, False),
        row(0, "cross_entropy", 0.1, 0.2, False),
        row(9, "dice", 0.9, 0.9, False, "early"),
    ]
    assert describe_trade_off(pd.DataFrame(rows)) == (
        "On dev the front of recall and precision has 2 of 3 trials with Tversky and 1 of 1 trial with Dice. t0004 "
        "(Tversky) has the highest thing recall, .82, with precision .41; against the front's most precise, t0002 "
        "(Dice), that is +.32 recall and -.36 precision."
    )


def test_a_front_of_one_is_said_as_such():
    rows = [row(4, "tversky", 0.82, 0.8, True), row(2, "dice", 0.5, 0.7, False), row(1, "dice", 0.4, 0.7, False)]
    assert describe_trade_off(pd.DataFrame(rows)).endswith(
        "t0004 (Tversky) has both the highest thing recall, .82, and the highest precision, .80."
    )


def test_too_few_trials_support_nothing_and_nothing_found_has_no_price():
    rows = [row(4, "tversky", 0.009, 0.17, True), row(2, "dice", 0.0, 0.0, False), row(1, "dice", 0.0, 0.0, False)]
    assert describe_trade_off(pd.DataFrame(rows[:2])) == ""
    said = "None of 3 full-length trials finds 1 % of the things' pixels on dev."
    assert describe_trade_off(pd.DataFrame(rows)) == said
