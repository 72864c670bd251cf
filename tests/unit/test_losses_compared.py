"""Losses at equal effort: which trials count, what is expected of each loss, and what is said of it."""

import math

import numpy as np
import pandas as pd
import pytest

from analysis.evidence.expected_best import chances_of_best, expected_at_best, tabulate_expected
from analysis.recorded.loss_trials import ending_of, shortest_length, tabulate_trials
from analysis.subjects.losses_compared.sentences import describe_dropped, describe_losses, loss_titles
from analysis.subjects.losses_compared.table import (
    compare_classes,
    compare_losses,
    find_dropped,
    tabulate_endings,
    tabulate_points,
)


def cell(frame, **where):
    for column, value in where.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1
    return frame.iloc[0]


@pytest.fixture(scope="module")
def trials(searched_losses):
    return tabulate_trials(searched_losses)


def table(**of_losses):
    """Full-length trials: of each loss pairs of objective and person IoU."""
    rows = [
        {
            "run_id": f"run-{loss}{number}",
            "trial_id": f"{loss}{number}",
            "loss": loss,
            "ending": "full",
            "epochs": 6,
            "objective": objective,
            "early_epoch": 6,
            "early_objective": objective,
            "miou": objective,
            "thing_miou": iou,
            "stuff_miou": 0.5,
            "iou/person": iou,
            "recall/person": iou,
            "precision/person": iou,
        }
        for loss, pairs in of_losses.items()
        for number, (objective, iou) in enumerate(pairs)
    ]
    return pd.DataFrame(rows)


class TestChances:
    def test_the_better_half_at_two_draws(self):
        assert chances_of_best([0.2, 0.9], 2).tolist() == [0.25, 0.75]

    def test_equal_trials_share_evenly_whatever_their_order(self):
        assert chances_of_best([0.5, 0.1, 0.5], 2) == pytest.approx([4 / 9, 1 / 9, 4 / 9])

    @pytest.mark.parametrize(("values", "n"), [([], 1), ([0.5], 0), ([0.5, math.nan], 2)])
    def test_refused(self, values, n):
        with pytest.raises(ValueError, match="the best of n needs n >= 1"):
            chances_of_best(values, n)

    def test_the_score_is_that_of_the_best_by_the_objective(self):
        mean, std = expected_at_best([0.2, 0.9], [1.0, 0.0], 2)
        assert mean == 0.25
        assert std == pytest.approx(math.sqrt(0.25 * 0.75))


class TestTrials:
    def test_how_each_ended(self, trials):
        assert dict(zip(trials["trial_id"], trials["ending"], strict=True)) == {
            "t0000": "full", "t0001": "full", "t0002": "full", "t0003": "full", "t0004": "full", "t0005": "early",
            "t0006": "full", "t0007": "early", "t0008": "diverged", "t0009": "full", "t0010": "failed",
            "t0011": "unended",
        }  # fmt: skip

    def test_a_trial_that_ended_without_a_score_failed(self, made_trial):
        assert ending_of(made_trial(0, {"name": "dice"}, epochs=0), 6) == "failed"

    def test_a_trial_that_was_stopped_at_the_last_epoch_is_full(self, made_trial):
        assert ending_of(made_trial(0, {"name": "dice"}, state="pruned"), 6) == "full"

    def test_scores_come_from_the_counts_of_the_best_epoch(self, trials, searched_losses):
        counts = searched_losses.trial("t0004").image_counts.counts.sum(axis=0).astype(float)
        tp, fn, fp = counts.T
        ious = tp / (tp + fn + fp)
        row = cell(trials, trial_id="t0004")
        assert row["miou"] == pytest.approx(ious.mean())
        assert row["thing_miou"] == pytest.approx(ious[[1, 3]].mean())
        assert row["stuff_miou"] == pytest.approx(ious[[0, 2]].mean())
        assert row["iou/bike"] == pytest.approx(ious[3])
        assert row["recall/plant"] == pytest.approx(tp[2] / (tp[2] + fn[2]))
        assert row["precision/road"] == pytest.approx(tp[0] / (tp[0] + fp[0]))

    def test_only_full_length_trials_have_scores(self, trials):
        assert trials.loc[trials["ending"] != "full", ["miou", "iou/person"]].isna().all(axis=None)
        assert trials.loc[trials["ending"] == "full", ["miou", "iou/person"]].notna().all(axis=None)

    def test_only_ended_trials_have_an_objective(self, trials):
        assert trials.loc[trials["objective"].isna(), "ending"].tolist() == ["diverged", "failed", "unended"]

    def test_the_objective_of_all_ended_trials_where_the_shortest_ended(self, trials, searched_losses):
        assert shortest_length(searched_losses) == 2
        curve = searched_losses.trial("t0004").objective_curve
        assert cell(trials, trial_id="t0004")["early_objective"] == curve.loc[2]
        assert trials["early_epoch"].dropna().unique().tolist() == [2]

    def test_a_class_never_predicted_has_precision_0(self, made_search, made_trial):
        trial = made_trial(0, {"name": "dice"}, recall=-9.0)  # finds no person
        row = tabulate_trials(made_search([trial])).iloc[0]
        assert row[["iou/person", "recall/person", "precision/person"]].tolist() == [0, 0, 0]

    def test_no_trial(self, made_search):
        assert len(tabulate_trials(made_search([]))) == 0


class TestExpected:
    def test_n_is_that_of_the_loss_with_least(self):
        frame = tabulate_expected(
            table(dice=[(0.2, 0.6), (0.8, 0.4), (0.5, 0.1)], iou=[(0.3, 0.2), (0.4, 0.3)]), ["miou"]
        )
        assert frame["n_equal"].tolist() == [2, 2]
        assert frame["trials"].tolist() == [3, 2]
        assert frame["expected_best"].tolist() == pytest.approx([(0.2 + 3 * 0.5 + 5 * 0.8) / 9, (0.3 + 3 * 0.4) / 4])

    def test_a_class_is_scored_by_the_trial_that_is_best_by_the_objective(self):
        frame = tabulate_expected(table(dice=[(0.2, 0.6), (0.8, 0.4)], iou=[(0.3, 0.2), (0.4, 0.3)]), ["iou/person"])
        row = cell(frame, loss="dice")
        assert row["expected_best"] == pytest.approx((0.6 + 3 * 0.4) / 4)

    def test_a_single_trial_has_no_spread(self):
        frame = tabulate_expected(table(dice=[(0.2, 0.6), (0.8, 0.4)], iou=[(0.3, 0.2)]), ["miou"])
        assert cell(frame, loss="iou")["expected_best"] == 0.3
        assert math.isnan(cell(frame, loss="iou")["expected_best_std"])
        assert cell(frame, loss="dice")["expected_best_std"] == pytest.approx(0.3)

    def test_trials_without_the_score_are_left_out(self):
        trials = table(dice=[(0.2, 0.6), (0.8, math.nan)], iou=[(0.3, 0.2)])
        row = cell(tabulate_expected(trials, ["iou/person"]), loss="dice")
        assert (row["trials"], row["expected_best"]) == (1, 0.6)


class TestCompared:
    def test_full_and_early_are_apart(self, trials):
        compared = compare_losses(trials, "miou")
        kinds = compared[["comparison", "metric", "epochs", "n_equal"]].drop_duplicates()
        assert sorted(kinds.itertuples(index=False, name=None)) == [
            ("early", "objective", 2, 1), ("full", "objective", 6, 1), ("full", "stuff_miou", 6, 1),
            ("full", "thing_miou", 6, 1),
        ]  # fmt: skip

    def test_another_objective_has_miou_beside_it(self, trials):
        metrics = compare_losses(trials, "thing_miou").query("comparison == 'full'")["metric"].drop_duplicates()
        assert metrics.tolist() == ["objective", "miou", "stuff_miou"]

    def test_pruned_trials_count_in_the_early_comparison_alone(self, trials):
        compared = compare_losses(trials, "miou")
        counts = [
            cell(compared, comparison=kind, metric="objective", loss="tversky")["trials"] for kind in ("full", "early")
        ]
        assert counts == [3, 4]

    def test_the_best_loss_comes_first(self, trials):
        losses = compare_losses(trials, "miou")["loss"].drop_duplicates().tolist()
        assert losses == ["tversky", "dice", "focal", "cross_entropy"]

    def test_nothing_was_stopped(self, trials):
        compared = compare_losses(trials[trials["ending"] != "early"], "miou")
        assert compared["comparison"].unique().tolist() == ["full"]

    def test_a_loss_whose_trials_were_all_stopped_has_no_full_length_score(self, trials):
        some = trials[(trials["loss"] != "cross_entropy") | (trials["ending"] == "early")]
        row = cell(compare_losses(some, "miou"), comparison="full", metric="objective", loss="cross_entropy")
        assert row["trials"] == 0
        assert math.isnan(row["expected_best"])
        assert compare_losses(some, "miou")["loss"].iloc[-1] == "cross_entropy"

    def test_a_metric_that_nothing_has_is_left_out(self, trials):
        compared = compare_losses(trials.assign(thing_miou=np.nan), "miou")
        assert "thing_miou" not in set(compared["metric"])

    def test_nothing_to_compare(self, trials):
        failed = trials[trials["ending"] == "failed"]
        assert compare_losses(failed, "miou").empty
        assert tabulate_points(failed, compare_losses(failed, "miou")).empty

    def test_points_are_the_trials_behind(self, trials):
        points = tabulate_points(trials, compare_losses(trials, "miou"))
        early = points[points["comparison"] == "early"]
        assert early["trial_id"].tolist() == [f"t000{n}" for n in (0, 1, 2, 3, 4, 5, 6, 7, 9)]
        full = points[(points["comparison"] == "full") & (points["metric"] == "objective")]
        assert full["trial_id"].tolist() == [f"t000{n}" for n in (0, 1, 2, 3, 4, 6, 9)]
        assert cell(full, trial_id="t0004")["value"] == cell(trials, trial_id="t0004")["objective"]

    def test_endings(self, trials):
        endings = tabulate_endings(trials)
        assert endings.loc["tversky"].tolist() == [3, 1, 0, 0, 1]
        assert endings.loc["dice"].tolist() == [2, 0, 0, 1, 0]
        assert endings.loc["focal"].tolist() == [1, 0, 1, 0, 0]


class TestClasses:
    def test_things_come_first(self, trials):
        frame = compare_classes(trials, ["person", "bike"])
        assert frame["class"].drop_duplicates().tolist() == ["person", "bike", "road", "plant"]
        assert frame.drop_duplicates("class")["thing"].tolist() == [True, True, False, False]
        assert len(frame) == 4 * 3 * 4

    def test_a_row_names_its_trials(self, trials):
        row = cell(compare_classes(trials, ["person"]), loss="dice", metric="recall", **{"class": "bike"})
        assert (row["trial_ids"], row["run_ids"]) == ("t0002;t0006", "run-t0002;run-t0006")
        assert (row["trials"], row["epochs"], row["n_equal"]) == (2, 6, 1)

    def test_a_class_that_does_not_occur_has_no_row(self, trials):
        frame = compare_classes(trials.assign(**{"iou/bike": np.nan}), ["person", "bike"])
        assert "bike" not in set(frame["class"])

    def test_no_full_length_trial(self, trials):
        assert compare_classes(trials[trials["ending"] == "early"], ["person"]).empty


class TestSaid:
    def test_a_lead_beyond_the_spreads(self):
        trials = table(
            tversky=[(0.80, 0.5), (0.80, 0.5), (0.83, 0.5)],
            dice=[(0.50, 0.5), (0.50, 0.5), (0.53, 0.5)],
            focal=[(0.10, 0.5), (0.20, 0.5), (0.20, 0.5)],
        )
        said = describe_losses(compare_losses(trials, "miou"), "miou", 0.01)
        assert said == (
            "On dev, Tversky has the highest expected mIoU of the best of 3 full-length trials, .821 \u00b1 .014 (of 3 "
            "trials); next is Dice with .521 \u00b1 .014 (of 3 trials), .300 lower. Each trial is one training run, "
            "scored on the split that the search tuned on: weak evidence."
        )

    def test_a_lead_on_things_is_said_apart(self):
        trials = table(tversky=[(0.8, 0.6)] * 3, dice=[(0.8, 0.2)] * 3)
        said = describe_losses(compare_losses(trials, "miou"), "miou", 0.01)
        assert said.startswith("On dev, Tversky has the highest expected thing mIoU of the best of 3")

    @pytest.mark.parametrize(
        "trials",
        [
            table(tversky=[(0.8, 0.5), (0.8, 0.5)], dice=[(0.5, 0.5)] * 3),
            table(tversky=[(0.8, 0.5)], dice=[(0.5, 0.5)]),
            table(tversky=[(0.8, 0.5), (0.2, 0.5), (0.5, 0.5)], dice=[(0.6, 0.5), (0.3, 0.5), (0.3, 0.5)]),
            table(tversky=[(0.0, 0.0)] * 3, dice=[(0.0, 0.0)] * 3),
            table(tversky=[(0.8, 0.5)] * 3),
            table(tversky=[(0.809, 0.5)] * 3, dice=[(0.8, 0.5)] * 3),
        ],
        ids=["two trials", "one trial", "within the spreads", "all zero", "one loss", "too small"],
    )
    def test_nothing_is_said(self, trials):
        assert describe_losses(compare_losses(trials, "miou"), "miou", 0.01) == ""

    def test_dropped(self):
        trials = table(
            cross_entropy=[(0.4, 0.0), (0.5, 0.009)], dice=[(0.5, 0.1), (0.5, 0.31)], focal=[(0.5, 0.004)],
            iou=[(0.5, 0.02)],
        )  # fmt: skip
        dropped = find_dropped(trials, ["person", "boat"])
        assert dropped.to_dict("list") == {
            "class": ["person"] * 2, "loss": ["cross_entropy", "focal"], "trials": [2, 1], "found_by": ["dice"] * 2,
            "found_in": ["dice1"] * 2, "found": [0.31] * 2,
        }  # fmt: skip
        assert describe_dropped(dropped) == (
            "By IoU on dev (never: below .01), cross entropy (2 trials) and focal (1 trial) never find person, and "
            "Dice reaches .310 (dice1). Each trial is one training run, scored on the split that the search tuned on: "
            "weak evidence."
        )

    def test_a_class_that_one_trial_finds_is_not_dropped(self):
        assert find_dropped(table(cross_entropy=[(0.4, 0.0), (0.5, 0.01)], dice=[(0.5, 0.4)]), ["person"]).empty

    def test_a_class_that_no_loss_finds_is_not_dropped(self):
        assert find_dropped(table(cross_entropy=[(0.4, 0.0)], dice=[(0.5, 0.0999)]), ["person"]).empty
        assert describe_dropped(find_dropped(table(dice=[(0.5, 0.0)]), ["person"])) == ""

    def test_the_fourth_class_is_counted(self):
        rows = [[f"class{n}", "focal", 1, "dice", "t1", 0.5] for n in range(4)]
        dropped = pd.DataFrame(rows, columns=["class", "loss", "trials", "found_by", "found_in", "found"])
        assert "class2" in describe_dropped(dropped)
        assert "class3" not in describe_dropped(dropped)
        assert "; 1 more such class in the table." in describe_dropped(dropped)

    def test_names_of_losses(self):
        assert loss_titles(["dice", "mine.losses:Poly", "a.b:Twin", "a.c:Twin", "m:" + "Long" * 9]) == {
            "dice": "Dice",
            "mine.losses:Poly": "Poly",
            "a.b:Twin": "a.b:Twin",
            "a.c:Twin": "a.c:Twin",
            "m:" + "Long" * 9: "LongLongLong\N{HORIZONTAL ELLIPSIS}ongLongLong",
        }
