"""The objective over alpha, beta and gamma: which trials are points, what their ranks say, how they are drawn."""

import math
import warnings

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy.stats import spearmanr

from analysis.subjects.canvas import styled
from analysis.subjects.tversky_landscape.figure import draw_tversky
from analysis.subjects.tversky_landscape.table import (
    REFERENCE_POINTS,
    at_reference,
    count_compounds,
    describe_tversky,
    rank_correlation,
    tabulate_tversky,
)

TVERSKY = {"name": "tversky", "alpha": 0.62, "beta": 0.31, "gamma": 1.1}


def points(*rows):
    """Full-length trials: loss, alpha, beta, gamma, objective."""
    frame = pd.DataFrame(rows, columns=["loss", "alpha", "beta", "gamma", "objective"])
    frame["trial_id"] = [f"t{number:04d}" for number in range(len(frame))]
    frame["run_id"] = "run-" + frame["trial_id"]
    return frame.assign(
        ending="full", epochs=6, model="Unet", gamma_on="class", alpha_share=frame.alpha / (frame.alpha + frame.beta)
    )


class TestPoints:
    def test_tversky_dice_and_iou_lie_in_one_plane(self, searched_losses):
        frame = tabulate_tversky(searched_losses).set_index("trial_id")
        assert frame.index.tolist() == ["t0002", "t0003", "t0004", "t0005", "t0006", "t0009", "t0010", "t0011"]
        columns = ["loss", "alpha", "beta", "gamma"]
        assert frame.loc["t0002", columns].tolist() == ["dice", 0.5, 0.5, 1.0]
        assert frame.loc["t0004", columns].tolist() == ["tversky", 0.62, 0.31, 1.1]
        assert frame.loc["t0004", "alpha_share"] == pytest.approx(2 / 3)
        assert frame.loc["t0005", ["ending", "epochs"]].tolist() == ["early", 2]

    def test_iou_is_at_one(self, made_search, made_trial):
        frame = tabulate_tversky(made_search([made_trial(0, {"name": "iou"})]))
        assert frame[["alpha", "beta", "gamma"]].iloc[0].tolist() == [1, 1, 1]

    def test_diverged_and_failed_trials_have_no_objective(self, made_search, made_trial):
        states = ("completed", "diverged", "failed", "running")
        frame = tabulate_tversky(made_search([made_trial(n, TVERSKY, state=s) for n, s in enumerate(states)]))
        assert frame["objective"].isna().tolist() == [False, True, True, False]
        assert frame["ending"].tolist() == ["full", "diverged", "failed", "unended"]

    def test_compounds_are_no_points(self, made_search, made_trial):
        compound = {"name": "compound", "region": "tversky", "alpha": 0.3, "beta": 0.7}
        search = made_search([made_trial(0, compound), made_trial(1, {"name": "compound"}), made_trial(2, TVERSKY)])
        assert tabulate_tversky(search)["trial_id"].tolist() == ["t0002"]
        assert count_compounds(search) == 1

    def test_reference_points_are_at_gamma_1(self):
        frame = points(("tversky", 0.7, 0.3, 1, 0.5), ("tversky", 0.7, 0.3, 2, 0.5), ("tversky", 0.3, 0.7, 1, 0.5))
        assert at_reference(frame).tolist() == [True, False, False]

    def test_no_trial(self, made_search):
        assert tabulate_tversky(made_search([])).empty


class TestRanks:
    def test_every_order_of_few(self):
        # Of the 120 orders of five values, the rising and the falling one are as far from 0.
        assert rank_correlation([1, 2, 3, 4, 9], [0.1, 0.2, 0.4, 0.5, 0.6]) == (pytest.approx(1), 2 / 120)

    def test_four_are_never_enough(self):
        assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]) == (pytest.approx(-1), 2 / 24)

    def test_against_scipy(self):
        x, y = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5], [2, 7, 1, 8, 2, 8, 1, 8, 2, 8, 4]
        rho, p = rank_correlation(x, y)
        expected = spearmanr(x, y)
        assert rho == pytest.approx(expected.statistic)
        assert p == pytest.approx(expected.pvalue, abs=0.03)
        assert rank_correlation(x, y) == (rho, p)

    def test_many_are_never_certain(self):
        assert rank_correlation(range(30), range(30))[1] == 1 / 10_001

    @pytest.mark.parametrize(("x", "y"), [([], []), ([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [2, 2, 2])])
    def test_nothing_to_correlate(self, x, y):
        assert all(math.isnan(value) for value in rank_correlation(x, y))


class TestSaid:
    def test_the_best_point_against_the_best_reference(self, searched_losses):
        said = describe_tversky(tabulate_tversky(searched_losses), "miou", 0.01)
        assert said == (
            "The best of 2 full-length searched points is t0004 (alpha .62, beta .31, gamma 1.10), with mIoU .736 on "
            "dev: .071 above the best of 3 at the reference points, t0003 (alpha .70, beta .30, gamma 1.00), .665. "
            "Single training runs, scored on the split that the search tuned on: weak evidence."
        )

    def test_a_gain_that_does_not_matter(self):
        frame = points(("dice", 0.5, 0.5, 1, 0.6), ("tversky", 0.7, 0.4, 1, 0.605))
        assert "mIoU .605 on dev: less than .01 from the best of 1 at" in describe_tversky(frame, "miou", 0.01)

    def test_the_search_did_worse(self):
        frame = points(("dice", 0.5, 0.5, 1, 0.6), ("tversky", 0.7, 0.4, 1, 0.5))
        assert "mIoU .500 on dev: .100 below the best of 1 at" in describe_tversky(frame, "miou", 0.01)

    def test_models_are_named_where_they_differ(self):
        frame = points(("dice", 0.5, 0.5, 1, 0.6), ("tversky", 0.7, 0.4, 1, 0.5)).assign(model=["Unet", "DeepLabV3"])
        assert "t0001 (DeepLabV3, alpha .70" in describe_tversky(frame, "miou", 0.01)

    def test_a_trend(self):
        rows = [("tversky", alpha, 1 - alpha, 1.5, 0.4 + alpha / 2) for alpha in (0.1, 0.3, 0.4, 0.6, 0.9)]
        assert describe_tversky(points(*rows), "miou", 0.01).startswith(
            "mIoU rises with alpha / (alpha + beta): rank correlation 1.00 over 5 full-length Tversky trials "
            "(p = .017, permutation)."
        )

    def test_trials_that_were_stopped_make_no_trend(self):
        rows = [("tversky", alpha, 1 - alpha, 1.5, 0.4 + alpha / 2) for alpha in (0.1, 0.3, 0.4, 0.6, 0.9)]
        assert describe_tversky(points(*rows).assign(ending=["early", *["full"] * 4]), "miou", 0.01) == ""

    @pytest.mark.parametrize(
        "rows",
        [
            [("tversky", 0.7, 0.3, 1, 0.6)],
            [("tversky", 0.7, 0.4, 1, 0.6)],
            [("tversky", 0.7, 0.4, 1, 0.0), ("dice", 0.5, 0.5, 1, 0.0)],
            [("tversky", 0.7, 0.3, 1, 0.6), ("tversky", 0.7, 0.3, 1, 0.5), ("dice", 0.5, 0.5, 1, 0.2)],
        ],
        ids=["one at a reference", "one elsewhere", "all zero", "fixed"],
    )
    def test_nothing_is_said(self, rows):
        assert describe_tversky(points(*rows), "miou", 0.01) == ""


class TestDrawn:
    @staticmethod
    def draw(frame, note=""):
        with warnings.catch_warnings(), styled():
            warnings.simplefilter("error")
            figure = draw_tversky(frame, REFERENCE_POINTS, "mIoU", 6, note)
            FigureCanvasAgg(figure).draw()
        return figure

    @staticmethod
    def markers(axes):
        """Of the trials: marker, place and whether it is filled; crosses and lines mark no trial with a score."""
        return [
            (line.get_marker(), line.get_xdata()[0], line.get_ydata()[0], line.get_markerfacecolor() != "none")
            for line in axes.lines
            if line.get_marker() in ("o", "s", "^")
        ]

    def test_every_trial_is_a_point(self, searched_losses):
        frame = tabulate_tversky(searched_losses)
        plane, along_gamma = self.draw(frame).axes[:2]
        assert sorted(self.markers(plane)) == [
            ("^", 0.5, 0.6, False), ("o", 0.2, 0.9, False), ("o", 0.62, 0.31, True), ("o", 0.7, 0.3, True),
            ("o", 0.9, 0.1, True), ("s", 0.5, 0.5, True), ("s", 0.5, 0.5, True),
        ]  # fmt: skip
        assert sorted(x for _, x, _, _ in self.markers(along_gamma)) == [0.6, 1, 1, 1, 1.1, 1.3, 1.6]

    def test_axes_say_which_error_is_which(self, searched_losses):
        plane, along_gamma, *bars = self.draw(tabulate_tversky(searched_losses)).axes
        assert plane.get_xlabel() == "alpha (weight of false negatives)"
        assert plane.get_ylabel() == "beta (weight of false positives)"
        assert (along_gamma.get_xlabel(), along_gamma.get_ylabel()) == ("gamma (exponent)", "mIoU on dev, best epoch")
        assert [bar.get_xlabel() for bar in bars] == ["mIoU on dev, best epoch", "alpha / (alpha + beta)"]

    def test_reference_points_and_the_best_are_named(self, searched_losses):
        plane = self.draw(tabulate_tversky(searched_losses)).axes[0]
        texts = [text.get_text() for text in plane.texts]
        assert {"Dice (.5, .5)", "IoU (1, 1)", "Tversky baseline (.7, .3)", "t0004"} <= set(texts)

    @pytest.mark.parametrize("alpha", [0.42, 0.58])
    def test_no_point_hides_the_name_of_a_reference(self, alpha):
        frame = points(("tversky", alpha, 0.45, 1, 0.5), ("dice", 0.5, 0.5, 1, 0.6))
        plane = self.draw(frame).axes[0]
        (name,) = [text for text in plane.texts if text.get_text() == "Dice (.5, .5)"]
        point = plane.transData.transform((alpha, 0.45))
        assert not name.get_window_extent().padded(2).contains(*point)

    def test_the_best_lies_on_top(self, searched_losses):
        last = self.markers(self.draw(tabulate_tversky(searched_losses)).axes[0])[-1]
        assert last == ("o", 0.62, 0.31, True)

    def test_diverged_trials_are_crosses(self, made_search, made_trial):
        trials = [made_trial(0, TVERSKY), made_trial(1, TVERSKY | {"alpha": 0.2}, state="diverged")]
        figure = self.draw(tabulate_tversky(made_search(trials)))
        crosses = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
        assert [list(line.get_xdata()) for line in crosses] == [[0.2]]
        assert "diverged: no value" in [text.get_text() for text in figure.legends[0].get_texts()]

    def test_one_point(self):
        figure = self.draw(points(("tversky", 0.7, 0.3, 1, 0.6)), note="a long note " * 20)
        assert len(self.markers(figure.axes[0])) == 1
        assert [text.get_text() for text in figure.legends[0].get_texts()] == [
            "all 6 epochs", "loss used without a search, gamma 1",
        ]  # fmt: skip
        assert "\n" in figure.legends[0].get_title().get_text()

    def test_large_weights_fit(self):
        plane = self.draw(points(("tversky", 7.0, 3.0, 1, 0.6))).axes[0]
        assert plane.get_xlim()[1] > 7
