"""Plates of one trial, and of two trials' confusion."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.patches import PathPatch, Rectangle

from analysis.report.figures import trial_plates
from analysis.subjects.canvas import styled
from analysis.subjects.confusion.plate import confusion_plate, matrix_difference_plate
from analysis.subjects.curves.plate import class_iou_plate, loss_curves_plate, training_curves_plate
from analysis.subjects.misclassified.plate import misclassified_plate
from analysis.subjects.palette import CLASS_COLORS, SAFE_COLORS
from analysis.subjects.plate import Unavailable
from trainable.data.image_set import LabelClass


def drawn(plate, palette=CLASS_COLORS):
    """The figure, rendered; a warning of matplotlib fails the test."""
    with styled():
        figure = plate.draw(palette)
        figure.draw_without_rendering()
    return figure


def texts(axes):
    return [text.get_text() for text in axes.texts]


def overlapping(axes):
    """Pairs of texts on the same axes that overlap."""
    shown = [text for text in axes.texts if text.get_text()]
    boxes = [text.get_window_extent() for text in shown]
    return [
        (shown[i].get_text(), shown[j].get_text())
        for i in range(len(boxes))
        for j in range(i)
        if boxes[i].overlaps(boxes[j])
    ]


def outside(figure):
    """Texts that leave the figure."""
    shown = [text for axes in figure.axes for text in [*axes.texts, axes.title, *tick_labels(axes)] if text.get_text()]
    return [text.get_text() for text in shown if not contains(figure.bbox, text.get_window_extent())]


def tick_labels(axes):
    """Those that are drawn: ticks beyond the limits are not."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        yield from (tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high)


def contains(outer, inner):
    return (
        inner.x0 >= outer.x0 - 1 and inner.x1 <= outer.x1 + 1 and inner.y0 >= outer.y0 - 1 and inner.y1 <= outer.y1 + 1
    )


@pytest.fixture
def best(searched_losses):
    return searched_losses.trial("t0004")


@pytest.fixture
def many():
    """Twenty-five classes with long names, one white, some of few pixels, and two that never occur."""
    generator = np.random.default_rng(1)
    classes = tuple(
        LabelClass(
            f"construction vehicle {label}", (255, 255, 255) if label == 1 else (9 * label, 0, 0), label % 2 == 0
        )
        for label in range(25)
    )
    pixels = (10 ** generator.uniform(2, 6, 25)).astype(int)
    matrix = np.floor(pixels[:, None] * generator.dirichlet(np.full(25, 0.2), 25)).astype(np.int64)
    matrix[[3, 8]] = 0
    return classes, matrix


def with_matrix(trial, matrix):
    """The trial with another confusion matrix."""
    source = type(trial.source)()
    source.histories = trial.source.histories
    rows = [[label, *row] for label, row in enumerate(matrix.tolist())]
    text = "\n".join(",".join(map(str, row)) for row in [["true"] * (len(matrix) + 1), *rows])
    source.artifacts = trial.source.artifacts | {(trial.run_id, "confusion_matrix.csv"): text.encode()}
    return replace(trial, source=source)


def test_every_plate_of_a_trial_is_made_and_drawn_without_a_warning(searched_losses, best):
    plates = [make() for _, make in trial_plates(best, searched_losses.classes)]

    assert [plate.key for plate in plates] == [
        "training_curves_t0004",
        "class_iou_t0004",
        "confusion_t0004",
        "misclassified_t0004",
    ]
    for plate in plates:
        assert set(plate.table["run_id"]) == {"run-t0004"}
        assert set(plate.table["trial_id"]) == {"t0004"}
        for palette in (CLASS_COLORS, SAFE_COLORS):
            figure = drawn(plate, palette)
            assert outside(figure) == []
            assert [overlapping(axes) for axes in figure.axes] == [[]] * len(figure.axes)


def test_titles_are_those_of_the_plates(searched_losses, best):
    assert all(title == make().title for title, make in trial_plates(best, searched_losses.classes))


def test_training_curves_mark_the_best_epoch_on_both_axes(made_trial):
    trial = made_trial(3, {"name": "dice"})
    trial.source.histories[trial.run_id]["miou"] = [0.1, 0.2, 0.5, 0.4, 0.3, 0.2]
    trial.source.histories[trial.run_id]["objective"] = [0.1, 0.2, 0.5, 0.5, 0.5, 0.5]
    trial.source.histories[trial.run_id]["dev_loss"] = [6.0, 5, 4, 3, 2, 1]
    losses, scores = drawn(training_curves_plate(trial)).axes

    dots = {(line.get_xdata()[0], line.get_ydata()[0]) for ax in (losses, scores) for line in ax.lines
            if line.get_marker() == "o"}  # fmt: skip
    assert dots == {(3, 4.0), (3, 0.5)}
    assert texts(losses) == ["epoch 3   mIoU .500   dev loss 4"]
    assert [line.get_linestyle() for line in losses.lines][:2] == ["--", "-"]
    assert losses.get_ylabel() == "loss"
    assert scores.get_ylabel() == "mIoU on dev"


def test_training_curves_of_one_epoch_have_whole_epochs_on_the_axis(made_trial):
    losses, _ = drawn(training_curves_plate(made_trial(0, {"name": "dice"}, epochs=1, max_epochs=1))).axes
    left, right = losses.get_xlim()
    assert [tick for tick in losses.get_xticks() if left <= tick <= right] == [1]


def test_training_curves_without_dev_loss_say_so(made_trial):
    trial = made_trial(3, {"name": "dice"}, objective="thing_miou")
    del trial.source.histories[trial.run_id]["dev_loss"]
    plate = training_curves_plate(replace(trial, metrics={"miou": 0, "thing_miou": 0, "train_loss": 0, "objective": 0}))

    assert "not recorded, and so not drawn: dev loss" in plate.shows
    figure = drawn(plate)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["train loss", "mIoU on dev", "thing mIoU on dev", "best epoch"]


def test_a_diverged_loss_takes_a_logarithmic_axis(made_trial):
    trial = made_trial(8, {"name": "focal", "focal_gamma": 0.7}, state="diverged")
    history = trial.source.histories[trial.run_id]
    history.loc[5, "dev_loss"], history.loc[6, ["miou", "dev_loss"]], history.loc[6, "objective"] = 3000.0, np.nan, 0.0
    plate = training_curves_plate(trial)
    figure = drawn(plate)

    assert figure.axes[0].get_yscale() == "log"
    assert figure.axes[0].get_ylabel() == "loss (logarithmic)"
    assert "diverged here" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert "diverged after 6 of 6 epochs" in plate.shows
    assert "longer" not in plate.says


def test_a_trial_without_epochs_has_no_curves(searched_losses):
    failed = searched_losses.trial("t0010")
    for _, make in trial_plates(failed, searched_losses.classes):
        with pytest.raises(Unavailable, match="t0010"):
            make()


def test_the_heat_map_has_the_best_epochs_numbers(searched_losses, best):
    plate = class_iou_plate(best, searched_losses.classes)
    axes = drawn(plate).axes[0]
    rise = 1 - np.exp(-3)

    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "person  0.60 %", "bike  0.40 %", "road  50 %", "plant  49 %",
    ]  # fmt: skip
    assert [label.get_fontweight() for label in axes.get_yticklabels()] == ["bold", "bold", "normal", "normal"]
    values = [0.75, 0.75**2, 0.9, 0.8]
    assert texts(axes) == [f"{value * rise:.3f}".removeprefix("0") for value in values]
    assert axes.images[0].get_array().shape == (4, 6)


def test_the_heat_map_names_what_it_leaves_out(searched_losses, best):
    plate = class_iou_plate(best, (*searched_losses.classes, LabelClass("boat", (0, 0, 9), True)))
    assert "not drawn, as dev has no pixel of them: boat" in plate.shows
    assert "boat" in drawn(plate).axes[0].get_xlabel()


def test_no_known_class_is_no_heat_map(best):
    with pytest.raises(Unavailable, match="no trial recorded its classes"):
        class_iou_plate(best, ())


def test_confusion_is_in_percent_of_rows_with_true_pixels(searched_losses, best):
    axes = drawn(confusion_plate(best, searched_losses.classes)).axes[0]
    assert texts(axes) == ["100.0", "25.0", "75.0", "8.2", "91.8", "45.0", "55.0",
                           "true pixels", "60,000", "720", "58,800", "480"]  # fmt: skip
    assert {text.get_text(): text.get_color() for text in axes.texts}["91.8"] == "white"
    assert {text.get_text(): text.get_color() for text in axes.texts}["8.2"] == "black"


def test_confusion_of_many_classes_prints_no_small_values_and_hatches_empty_rows(best, many):
    classes, matrix = many
    plate = confusion_plate(with_matrix(best, matrix), classes)
    figure = drawn(plate)
    axes = figure.axes[0]

    assert "values below 1 % are not printed" in plate.shows
    assert "hatched rows have no true pixels: construction vehicle 3 and construction vehicle 8" in plate.shows
    assert sum(patch.get_hatch() is not None for patch in axes.patches) == 2
    shares = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    assert len(axes.texts) == (shares >= 1).sum() + 2 + 1 + 25
    assert overlapping(axes) == []
    assert outside(figure) == []


@pytest.mark.parametrize("wrong", [np.zeros((4, 4), dtype=np.int64), np.ones((3, 3), dtype=np.int64)])
def test_a_matrix_that_says_nothing_is_unavailable(searched_losses, best, wrong):
    with pytest.raises(Unavailable, match="confusion matrix of t0004"):
        confusion_plate(with_matrix(best, wrong), searched_losses.classes)


def test_the_difference_is_centred_on_zero(searched_losses, best):
    plate = matrix_difference_plate(best, searched_losses.trial("t0000"), searched_losses.classes)
    axes = drawn(plate).axes[0]

    assert texts(axes)[:4] == ["\N{MINUS SIGN}55.0", "+55.0", "\N{MINUS SIGN}50.0", "+50.0"]
    assert axes.images[0].get_clim() == pytest.approx((-55.0, 55.0))
    assert set(plate.table["baseline_run_id"]) == {"run-t0000"}
    assert (
        "person taken for road fell from 80 % to 25 % of person pixels (-396 pixels; found: 20 % to 75 %)" in plate.says
    )


@pytest.mark.parametrize(
    ("lost", "number", "words"),
    [
        (0, 3, "(3 runs of each from fresh seeds, added up)"),
        (1, 2, "(the first 2 runs of each from fresh seeds"),
    ],
)
def test_the_difference_of_confirmed_trials_adds_up_as_many_runs_of_each(confirmed_losses, lost, number, words):
    sides = [confirmed_losses.trial(trial_id) for trial_id in ("t0004", "t0000")]
    runs, others = ([run for run in confirmed_losses.runs if run.confirms == side.trial_id] for side in sides)
    plate = matrix_difference_plate(*sides, confirmed_losses.classes, runs, others[: 3 - lost])

    assert plate.title.endswith("on val")
    assert words in plate.shows
    assert plate.says.startswith(f"On val, t0004 against t0000, {number} training runs each, added up: ")
    assert set(plate.table["run_id"]) == {";".join(f"run-t0004-s{seed}" for seed in range(1, number + 1))}
    assert set(plate.table["baseline_run_id"]) == {";".join(f"run-t0000-s{seed}" for seed in range(1, number + 1))}
    assert plate.table["pixels_best"].sum() == plate.table["pixels_baseline"].sum() == number * 12 * 10_000
    assert plate.table["pixels_best"].tolist() == sum(run.val_matrix for run in runs[:number]).ravel().tolist()


def test_no_difference_is_unavailable(searched_losses, best):
    twin = replace(best, run_id="run-twin", trial_id="t0099")
    twin.source.artifacts["run-twin", "confusion_matrix.csv"] = best.source.artifact(
        "run-t0004", "confusion_matrix.csv"
    )
    other = with_matrix(best, 2 * best.matrix)
    for baseline, why in (
        (best, "is the baseline itself"),
        (twin, "are equal"),
        (replace(other, run_id="run-t0004"), "itself"),
    ):
        with pytest.raises(Unavailable, match=why):
            matrix_difference_plate(best, baseline, searched_losses.classes)


def test_matrices_of_other_images_are_unavailable(searched_losses, best):
    other = with_matrix(searched_losses.trial("t0000"), 2 * best.matrix)
    with pytest.raises(Unavailable, match="measured on other pixels"):
        matrix_difference_plate(best, other, searched_losses.classes)


def test_bands_have_the_true_classs_colour(searched_losses, best):
    plate = misclassified_plate(best, searched_losses.classes)
    everything, things = drawn(plate).axes
    bands = [patch for patch in everything.patches if isinstance(patch, PathPatch)]

    assert len(bands) == 3
    assert {band.get_facecolor()[:3] for band in bands} == {
        (1.0, 127 / 255, 14 / 255), (0, 64 / 255, 0), (0, 128 / 255, 0),
    }  # fmt: skip
    assert texts(things) == ["bike  55 %", "person  45 %", "road  100 %"]
    heights = [patch.get_height() for patch in things.patches if isinstance(patch, Rectangle)]
    assert heights[0] / heights[1] == pytest.approx(216 / 180)


def test_flows_of_many_classes_are_labelled_without_overlap(best, many):
    classes, matrix = many
    plate = misclassified_plate(with_matrix(best, matrix), classes)
    figure = drawn(plate)

    assert "classes with less than 1% of a side are drawn together as other" in plate.shows
    assert outside(figure) == []
    for axes in figure.axes:
        assert overlapping(axes) == []
        assert any(text.startswith("other (") for text in texts(axes))
    bands = [patch for patch in figure.axes[0].patches if isinstance(patch, PathPatch)]
    assert max(min(band.get_facecolor()[:3]) for band in bands) <= 0.75  # white is seen on white


@pytest.mark.parametrize(
    ("matrix", "things", "said"),
    [
        ([[5, 1], [0, 9]], (False, False), "the data set has no thing class"),
        ([[5, 1], [0, 9]], (False, True), "no pixel of a thing is misclassified"),
    ],
)
def test_without_misclassified_things_there_is_one_diagram(best, matrix, things, said):
    classes = [LabelClass(name, (9, 9, 9), thing) for name, thing in zip(("a", "b"), things, strict=True)]
    plate = misclassified_plate(with_matrix(best, np.array(matrix)), classes)
    assert said in plate.shows
    assert len(drawn(plate).axes) == 1


def test_nothing_misclassified_is_unavailable(best):
    classes = [LabelClass("a", (0, 0, 0), False), LabelClass("b", (0, 0, 0), True)]
    with pytest.raises(Unavailable, match="all of the 5 on dev are right"):
        misclassified_plate(with_matrix(best, np.diag([2, 3])), classes)


def test_loss_curves_have_one_curve_a_loss_and_thin_pruned_ones(searched_losses):
    plate = loss_curves_plate(searched_losses)
    figure = drawn(plate)
    (axes,) = figure.axes

    assert sorted(line.get_linewidth() for line in axes.lines if len(line.get_xdata()) > 1) == [0.7] * 2 + [1.8] * 4
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[0] == "t0004: Tversky (.62, .31, 1.1) on Unet (best of 4)"
    assert labels[4:] == ["best epoch by the objective", "thin: pruned trials of the loss"]
    assert not figure.legends[0].get_window_extent().overlaps(axes.get_window_extent())


def test_loss_curves_of_unequal_length_are_marked_and_said(made_trial, made_search):
    search = made_search(
        [
            made_trial(0, {"name": "dice"}, objective="thing_miou"),
            made_trial(1, {"name": "iou"}, state="pruned", epochs=2, objective="thing_miou"),
            made_trial(2, {"name": "focal", "focal_gamma": 2.0}, state="diverged"),
        ],
        objectives=("thing_miou",),
    )
    plate = loss_curves_plate(search)
    figure = drawn(plate)

    assert [axes.get_ylabel() for axes in figure.axes] == ["mIoU on dev", "thing mIoU on dev"]
    assert [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "X"] == [2]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[1] == "t0001: IoU on Unet (the only one, pruned after 2 of 6 epochs)"
    assert "left out, as no trial of it ended with a score: focal" in plate.shows
    assert plate.says == ""


def test_a_search_without_an_ended_trial_has_no_loss_curves(made_search):
    with pytest.raises(Unavailable, match="none of the 0 has"):
        loss_curves_plate(made_search([]))
