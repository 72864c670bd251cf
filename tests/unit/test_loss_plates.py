"""Plates of losses: whole for an ordinary search, and for a poor one whole or with a reason."""

import dataclasses
import warnings

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from analysis.report.figures import LOSSES, search_plates
from analysis.subjects.canvas import styled
from analysis.subjects.palette import CLASS_COLORS
from analysis.subjects.plate import Unavailable
from trainable.measure.image_counts import ImageCounts

TITLES = ["Losses compared", "Losses compared, class by class", "The Tversky landscape"]
TVERSKY = {"name": "tversky", "alpha": 0.7, "beta": 0.3}


def plate_of(search, title):
    return dict(search_plates(search, LOSSES))[title]()


def drawn(plate):
    """The figure, drawn with all its texts and without any warning."""
    with warnings.catch_warnings(), styled():
        warnings.simplefilter("error")
        figure = plate.draw(CLASS_COLORS)
        FigureCanvasAgg(figure).draw()
    return figure


def overlapping(texts, figure):
    """Pairs of texts that share a pixel."""
    boxes = [(t.get_text(), t.get_window_extent(figure.canvas.get_renderer())) for t in texts if t.get_text()]
    return [(a, b) for n, (a, box) in enumerate(boxes) for b, other in boxes[n + 1 :] if box.overlaps(other)]


def wide_counts(classes, seed):
    generator = np.random.default_rng(seed)
    counts = generator.integers(1, 100, (4, classes, 3))
    names = tuple(f"class number {n} of many" for n in range(classes))
    return ImageCounts(
        images=tuple("abcd"), scenes=tuple("abcd"), class_names=names, class_colors=np.zeros((classes, 3), np.uint8),
        things=np.arange(classes) % 3 == 0, counts=counts, sized_objects=np.zeros((4, classes, 8, 3), np.int64),
    )  # fmt: skip


@pytest.fixture(scope="module")
def wide_search(made_search, made_trial):
    """Seven losses, two trials each, 25 classes."""
    losses = [
        {"name": "cross_entropy"}, {"name": "focal", "focal_gamma": 2.0}, {"name": "dice"}, {"name": "iou"}, TVERSKY,
        {"name": "compound"}, {"name": "my_package.losses:PolynomialCrossEntropyLoss"},
    ]  # fmt: skip
    trials = [made_trial(n, losses[n % 7], recall=0.1 + 0.04 * n) for n in range(14)]
    for number, trial in enumerate(trials):
        trial.source.artifacts[trial.run_id, "per_image_counts.npz"] = wide_counts(25, number).to_bytes()
    return made_search(trials)


@pytest.mark.parametrize("title", TITLES)
def test_every_plate_of_an_ordinary_search(searched_losses, title):
    plate = plate_of(searched_losses, title)
    assert plate.title == title
    assert plate.shows.endswith(".")
    assert plate.alt
    assert len(plate.table)
    assert not {"run_id", "run_ids"}.isdisjoint(plate.table.columns)
    assert drawn(plate).axes


def test_keys_differ(searched_losses):
    keys = [make().key for _, make in search_plates(searched_losses, LOSSES)]
    assert keys == ["losses_compared", "losses_by_class", "tversky_landscape", "loss_curves"]


@pytest.mark.parametrize("title", TITLES)
def test_a_search_without_trials(made_search, title):
    with pytest.raises(Unavailable, match=r"No trial|none of the 0|0 of 0"):
        plate_of(made_search([]), title)


@pytest.mark.parametrize("title", TITLES)
def test_a_search_whose_trials_all_failed(made_search, made_trial, title):
    losses = [TVERSKY, {"name": "dice"}]
    search = made_search([made_trial(n, loss, state="failed", epochs=0) for n, loss in enumerate(losses)])
    with pytest.raises(Unavailable, match=r"score|counts"):
        plate_of(search, title)


class TestLosses:
    def test_panels_and_rows_state_n_and_epochs(self, searched_losses):
        axes = drawn(plate_of(searched_losses, TITLES[0])).axes
        assert [panel.get_title() for panel in axes] == [
            "mIoU (objective)\n6 epochs\nbest of 1", "thing mIoU\n6 epochs\nbest of 1",
            "stuff mIoU\n6 epochs\nbest of 1", "mIoU (objective)\nall trials, epoch 2\nbest of 1",
        ]  # fmt: skip
        assert [label.get_text() for label in axes[0].get_yticklabels()] == [
            "Tversky\n3 full, 1 early, 1 not ended", "Dice\n2 full, 1 failed", "focal\n1 full, 1 diverged",
            "cross entropy\n1 full, 1 early",
        ]  # fmt: skip

    def test_a_single_trial_has_no_error_bar(self, searched_losses):
        plate = plate_of(searched_losses, TITLES[0])
        first = drawn(plate).axes[0]
        assert len(first.collections) == 2  # the spreads of Tversky and Dice
        assert "focal .523, no spread known (1 full, 1 diverged)" in plate.alt
        legend = [text.get_text() for text in drawn(plate).legends[0].get_texts()]
        assert "n = 1: the only trial, no spread known" in legend

    def test_the_table_has_every_dot_and_diamond(self, searched_losses):
        table = plate_of(searched_losses, TITLES[0]).table
        assert table["drawn"].value_counts().to_dict() == {"one trial": 3 * 7 + 9, "expected best": 16}
        assert table.loc[table["drawn"] == "one trial", ["run_id", "value"]].notna().all(axis=None)

    def test_two_trials_of_a_loss_are_no_evidence(self, searched_losses):
        assert plate_of(searched_losses, TITLES[0]).says == ""

    def test_one_loss_is_no_comparison(self, made_search, made_trial):
        with pytest.raises(Unavailable, match=r"this one has dice alone. Name more in space\.loss\.name"):
            plate_of(made_search([made_trial(n, {"name": "dice"}) for n in range(3)]), TITLES[0])

    def test_no_full_length_trial(self, made_search, made_trial):
        trials = [
            made_trial(n, loss, state="pruned", epochs=2 + n) for n, loss in enumerate([TVERSKY, {"name": "dice"}])
        ]
        plate = plate_of(made_search(trials), TITLES[0])
        assert [axes.get_title() for axes in drawn(plate).axes] == ["mIoU (objective)\nall trials, epoch 2\nbest of 1"]

    def test_a_loss_without_full_length_trials_is_said_to_have_none(self, made_search, made_trial):
        trials = [made_trial(0, TVERSKY), made_trial(1, {"name": "dice"}, state="pruned", epochs=2)]
        axes = drawn(plate_of(made_search(trials), TITLES[0])).axes
        assert [[text.get_text() for text in panel.texts] for panel in axes] == [["no trial"]] * 3 + [[]]

    def test_counts_that_were_not_recorded(self, made_search, made_trial):
        trials = [made_trial(n, loss, counted=False) for n, loss in enumerate([TVERSKY, {"name": "dice"}])]
        plate = plate_of(made_search(trials), TITLES[0])
        assert len(drawn(plate).axes) == 1
        assert plate.shows.endswith(
            "(left out: 2 full-length trials have no counts by image, and so the objective alone)."
        )

    def test_a_data_set_without_things(self, made_search, made_trial, made_counts):
        trials = [made_trial(n, loss) for n, loss in enumerate([TVERSKY, {"name": "dice"}])]
        counts = dataclasses.replace(made_counts(0.5), things=np.zeros(4, bool)).to_bytes()
        for trial in trials:
            trial.source.artifacts[trial.run_id, "per_image_counts.npz"] = counts
        plate = plate_of(made_search(trials), TITLES[0])
        assert [axes.get_title().partition("\n")[0] for axes in drawn(plate).axes] == ["mIoU (objective)", "stuff mIoU"]
        assert plate.shows.endswith("(left out: no thing mIoU, since dev has no such class).")

    def test_texts_of_the_widest_search_do_not_overlap(self, wide_search):
        search = dataclasses.replace(wide_search, objectives=("worst_class_iou",))
        figure = drawn(plate_of(search, TITLES[0]))
        texts = [axes.title for axes in figure.axes] + list(figure.axes[0].get_yticklabels())
        # Ticks beyond the axis' ends have labels that are not drawn.
        ticks = [(t, axes.get_xlim()) for axes in figure.axes for t in axes.get_xticklabels()]
        texts += [t for t, (low, high) in ticks if low <= t.get_position()[0] <= high] + figure.legends[0].get_texts()
        assert overlapping(texts, figure) == []


class TestClasses:
    def test_two_losses_and_their_cells(self, made_search, made_trial):
        search = made_search([made_trial(0, TVERSKY, recall=0.6), made_trial(1, {"name": "dice"}, recall=0.1)])
        figure = drawn(plate_of(search, TITLES[1]))
        panels = figure.axes[:3]
        assert [axes.get_title() for axes in panels] == [
            f"{name}\nbest of 1, 6 epochs" for name in ("IoU", "recall", "precision")
        ]
        rows = [label.get_text() for label in panels[0].get_yticklabels()]
        assert rows == ["things", "person", "bike", "stuff", "road", "plant"]
        assert [label.get_text() for label in panels[0].get_xticklabels()] == ["Tversky (1)", "Dice (1)"]
        assert len(panels[0].texts) == 8

    def test_a_dropped_class_is_said(self, made_search, made_trial):
        search = made_search([made_trial(0, TVERSKY, recall=0.6), made_trial(1, {"name": "dice"}, recall=-9.0)])
        assert plate_of(search, TITLES[1]).says.startswith(
            "By IoU on dev (never: below .01), Dice (1 trial) never finds person, and Tversky reaches .6"
        )

    def test_what_is_left_out_is_said(self, made_search, made_trial, made_counts):
        trials = [made_trial(0, TVERSKY), made_trial(1, {"name": "dice"}, counted=False)]
        counts = made_counts(0.5)
        emptied = counts.counts.copy()
        emptied[:, 3, :2] = 0
        without = dataclasses.replace(counts, counts=emptied)
        trials[0].source.artifacts["run-t0000", "per_image_counts.npz"] = without.to_bytes()
        plate = plate_of(made_search(trials), TITLES[1])
        assert plate.shows.endswith(
            "(left out: dev has none of bike; no trial of Dice ran so long and has counts; 1 full-length trial has no "
            "counts by image)."
        )
        drawn(plate)

    def test_25_classes_and_7_losses(self, wide_search):
        figure = drawn(plate_of(wide_search, TITLES[1]))
        assert len(figure.axes[0].texts) == 7 * 25
        labels = [*figure.axes[0].get_yticklabels(), *(t for axes in figure.axes[:3] for t in axes.get_xticklabels())]
        assert overlapping([*labels, *(axes.title for axes in figure.axes[:3])], figure) == []
        assert all(overlapping(axes.texts[:14], figure) == [] for axes in figure.axes[:3])

    def test_no_full_length_trial(self, made_search, made_trial):
        with pytest.raises(Unavailable, match="ran all 6 epochs and recorded their counts by image; 0 of 1"):
            plate_of(made_search([made_trial(0, TVERSKY, state="pruned", epochs=2)]), TITLES[1])


class TestTversky:
    def test_no_tversky_trial(self, made_search, made_trial):
        trials = [
            made_trial(0, {"name": "dice"}),
            made_trial(1, {"name": "compound", "region": "tversky"} | ALPHA_BETA),
        ]
        with pytest.raises(Unavailable, match=r"\(1 had a Tversky term .* Add tversky to space\.loss\.name"):
            plate_of(made_search(trials), TITLES[2])

    def test_none_with_a_score(self, made_search, made_trial):
        trials = [made_trial(0, TVERSKY, state="diverged"), made_trial(1, {"name": "dice"})]
        with pytest.raises(Unavailable, match=r"None of the 1 Tversky trials has a score \(1 diverged\)"):
            plate_of(made_search(trials), TITLES[2])

    def test_what_is_left_out_or_differs_is_said(self, made_search, made_trial):
        mean = TVERSKY | {"gamma": 2.0, "gamma_on": "mean"}
        trials = [
            made_trial(0, TVERSKY),
            made_trial(1, mean, architecture="deeplabv3"),
            made_trial(2, TVERSKY, state="failed", epochs=0),
            made_trial(3, {"name": "compound", "region": "tversky"} | ALPHA_BETA),
        ]
        plate = plate_of(made_search(trials), TITLES[2])
        note = (
            "1 trial with a Tversky term in a compound loss left out: another loss; 1 trial without a score left out; "
            "points are of 2 models, which move the objective as well; in 1 trial gamma is the exponent of the mean "
            "over classes"
        )
        assert plate.shows.endswith(f"({note}).")
        assert drawn(plate).legends[0].get_title().get_text().replace("\n", " ") == note
        assert plate.table["trial_id"].tolist() == ["t0000", "t0001"]

    def test_one_trial_says_nothing(self, made_search, made_trial):
        plate = plate_of(made_search([made_trial(0, TVERSKY)]), TITLES[2])
        assert plate.says == ""
        drawn(plate)


ALPHA_BETA = {"alpha": 0.4, "beta": 0.6}
