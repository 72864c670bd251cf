"""The plates of objects and of their trade-off: what they show, say, draw, and when they cannot be made."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.report.figures import THINGS, search_plates
from analysis.subjects.canvas import styled
from analysis.subjects.misses.plate import confirmed_plate, missed_plate
from analysis.subjects.palette import CLASS_COLORS
from analysis.subjects.plate import Unavailable
from analysis.subjects.trade_off.figure import loss_markers
from analysis.subjects.trade_off.plate import trade_off_plate
from trainable.measure.image_counts import ImageCounts

CE, DICE, FOCAL = {"name": "cross_entropy"}, {"name": "dice"}, {"name": "focal", "focal_gamma": 2.0}


def drawn(plate):
    with styled():
        figure = plate.draw(CLASS_COLORS)
        figure.canvas.draw()
    return figure


def texts(axes):
    return [text.get_text() for text in axes.texts]


def overlaps(texts):
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    return [(a, b) for place, a in enumerate(boxes) for b in boxes[place + 1 :] if a.overlaps(b)]


def with_classes(trial, names, thing=True):
    """The trial with counts of other classes, each as the person of the made search."""
    made = trial.image_counts
    count = len(names)
    counts = ImageCounts(
        images=made.images, scenes=made.scenes, class_names=tuple(names),
        class_colors=np.zeros((count, 3), np.uint8), things=np.full(count, thing),
        counts=np.repeat(made.counts[:, [1]], count, axis=1),
        sized_objects=np.repeat(made.sized_objects[:, [1]], count, axis=1) * int(thing),
    )  # fmt: skip
    source = type(trial.source)()
    source.histories = trial.source.histories
    source.artifacts = {(trial.run_id, "per_image_counts.npz"): counts.to_bytes()}
    return replace(trial, source=source)


def test_the_confirmed_plate_is_there_only_where_the_search_was_confirmed(searched_losses, confirmed_losses):
    assert [title for title, _ in search_plates(searched_losses, THINGS)] == [
        "What finding more things costs",
        "Missed objects and false alarms",
    ]
    plates = [make() for _, make in search_plates(confirmed_losses, THINGS)]
    assert [plate.key for plate in plates] == ["thing_trade_off", "missed_objects", "missed_objects_confirmed"]
    assert [plate.title for plate in plates] == [title for title, _ in search_plates(confirmed_losses, THINGS)]


def test_the_trade_off_says_how_many_trials_of_what_length(searched_losses):
    plate = trade_off_plate(searched_losses)
    assert "(7 of 6 epochs; 2 stopped early, hollow and on no front)" in plate.shows
    assert len(plate.table) == 9
    assert plate.says.startswith("On dev the front of recall and precision has 1 of 3 trials with Tversky.")
    assert "t0004 (Tversky)" in plate.alt


def test_the_trade_off_names_what_lacks_counts(made_trial, made_search):
    trials = [made_trial(n, DICE, recall=r, counted=n < 3) for n, r in enumerate((0.3, 0.4, 0.5, 0.6))]
    assert "3 of 6 epochs; 1 trial without recorded counts left out" in trade_off_plate(made_search(trials)).shows


def test_the_trade_off_draws_each_trial_the_best_and_the_front(searched_losses):
    figure = drawn(trade_off_plate(searched_losses))
    pixels, objects = figure.axes
    assert pixels.get_xlabel() == "thing recall (higher is better)"
    assert objects.get_ylabel() == "thing miss rate (lower is better)"
    points = [line for line in pixels.lines if line.get_marker() not in ("None", "", None)]
    assert len(points) == 9 + 1
    assert sum(line.get_markerfacecolor() == "none" for line in points) == 2 + 1
    assert "t0004" in texts(pixels)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["cross entropy", "focal", "Dice", "Tversky", "stopped early", "best by the objective",
                      "front of full-length trials"]  # fmt: skip


def test_ids_on_a_crowded_front_do_not_overlap(made_trial, made_search):
    trials = []
    for number in range(30):
        trial = made_trial(number, DICE if number % 2 else CE, recall=0.2 + 0.02 * number)
        counts = trial.image_counts
        counts.counts[:, [1, 3], 2] = 4 * number  # the more is found, the more is wrong
        trial.source.artifacts[trial.run_id, "per_image_counts.npz"] = counts.to_bytes()
        trials.append(replace(trial))
    figure = drawn(trade_off_plate(made_search(trials)))
    pixels = figure.axes[0]
    ids = [text for text in pixels.texts if text.get_text().startswith("t0")]
    assert len(ids) >= 5
    assert not overlaps(ids)


def test_markers_are_the_same_whichever_losses_there_are():
    assert loss_markers(["dice"])["dice"] == loss_markers(["cross_entropy", "dice", "mine:Loss"])["dice"]
    assert len(set(loss_markers(["cross_entropy", "focal", "dice", "iou", "tversky", "compound", "a:B"]).values())) == 7


def test_one_trial_is_no_trade_off(made_trial, made_search):
    with pytest.raises(Unavailable, match="two trials that ended with recorded counts; 1 did"):
        trade_off_plate(made_search([made_trial(0, CE)]))
    with pytest.raises(Unavailable, match="0 did"):
        trade_off_plate(made_search([]))


def test_without_things_there_are_no_such_plates(made_trial, made_search):
    search = made_search([with_classes(made_trial(n, CE), ["road", "plant"], thing=False) for n in range(3)])
    for make in (trade_off_plate, missed_plate, confirmed_plate):
        with pytest.raises(Unavailable, match="no thing classes"):
            make(search)


def test_without_true_pixels_or_objects_it_says_so(made_trial, made_search):
    trials = [made_trial(n, CE) for n in range(3)]
    for trial in trials:
        counts = trial.image_counts
        counts.counts[:, [1, 3], :2] = 0
        counts.sized_objects[..., :2] = 0
        trial.source.artifacts[trial.run_id, "per_image_counts.npz"] = counts.to_bytes()
    search = made_search([replace(trial) for trial in trials])
    with pytest.raises(Unavailable, match="dev has none"):
        trade_off_plate(search)
    with pytest.raises(Unavailable, match="no object of a thing class that is large enough"):
        missed_plate(search)


def test_without_objects_the_trade_off_is_of_pixels_alone(made_trial, made_search):
    trials = [made_trial(n, CE, recall=0.2 + 0.1 * n) for n in range(3)]
    for trial in trials:
        counts = trial.image_counts
        counts.sized_objects[:] = 0
        trial.source.artifacts[trial.run_id, "per_image_counts.npz"] = counts.to_bytes()
    plate = trade_off_plate(made_search([replace(trial) for trial in trials]))
    assert "missed objects" not in plate.shows
    assert len(drawn(plate).axes) == 1


def test_missed_objects_are_of_the_best_trial_of_each_loss(searched_losses):
    plate = missed_plate(searched_losses)
    assert plate.table[["loss", "trial_id", "run_id", "epochs"]].drop_duplicates().values.tolist() == [
        ["tversky", "t0004", "run-t0004", 6],
        ["dice", "t0002", "run-t0002", 6],
        ["focal", "t0001", "run-t0001", 6],
        ["cross_entropy", "t0000", "run-t0000", 6],
    ]
    assert "objects below 4 pixels do not count" in plate.shows
    assert "on dev (12 images)" in plate.shows
    assert plate.says.startswith("Objects under 64 pixels on dev: cross entropy (t0000) misses 86 % (77 to 92 %) of 84")


def test_a_bin_without_objects_is_shown_as_none(searched_losses):
    figure = drawn(missed_plate(searched_losses))
    classes, _, sizes, _ = figure.axes
    assert [label.get_text() for label in classes.get_yticklabels()] == ["all things (108)", "person (72)", "bike (36)"]
    assert texts(classes) == []
    assert texts(sizes) == ["no objects"]
    assert sizes.get_yticklabels()[0].get_text() == "4-15 (84)"


def test_a_loss_of_early_trials_or_without_counts_is_named(made_trial, made_search):
    trials = [
        made_trial(0, CE, recall=0.2, state="pruned", epochs=2),
        made_trial(1, DICE, recall=0.6),
        made_trial(2, FOCAL, recall=0.4, counted=False),
    ]
    plate = missed_plate(made_search(trials))
    assert "left out for want of comparable counts: t0002 (focal)" in plate.shows
    assert plate.says == ""
    legend = [text.get_text() for text in drawn(plate).legends[0].get_texts()]
    assert legend == ["Dice: t0001, 6 epochs", "cross entropy: t0000, 2 of 6 epochs"]


def test_without_counts_there_are_no_missed_objects(made_trial, made_search):
    with pytest.raises(Unavailable, match="recorded counts"):
        missed_plate(made_search([made_trial(0, CE, counted=False)]))
    with pytest.raises(Unavailable, match="recorded counts"):
        missed_plate(made_search([]))


def test_confirmed_misses_are_means_over_seeds_on_val(confirmed_losses):
    plate = confirmed_plate(confirmed_losses)
    rows = plate.table[plate.table["by"] == "all"].set_index("loss")
    assert list(rows.index) == ["tversky", "dice", "cross_entropy"]
    assert rows.loc["tversky", "run_id"] == "run-t0004-s1;run-t0004-s2;run-t0004-s3"
    by_seed = []
    for run in confirmed_losses.runs[:3]:
        sums = run.val.sized_objects.sum(axis=(0, 1, 2))
        by_seed.append(sums[1] / sums[0])
    assert rows.loc["tversky", "miss_rate"] == pytest.approx(np.mean(by_seed))
    assert (rows.loc["tversky", "low"], rows.loc["tversky", "high"]) == (min(by_seed), max(by_seed))
    assert plate.says.startswith("Objects under 64 pixels on val, means over seeds: cross entropy (t0000) misses 79 %")
    assert "tversky" not in plate.alt
    assert "Tversky: t0004, 6 epochs, 3 seeds: misses 11 % of 108 objects" in plate.alt


def test_many_classes_of_long_names_are_drawn_apart(made_trial, made_search):
    names = [f"a very long name of class number {n}" for n in range(25)]
    trials = [
        with_classes(made_trial(n, loss, recall=0.3 + 0.2 * n), names) for n, loss in enumerate((CE, DICE, FOCAL))
    ]
    figure = drawn(missed_plate(made_search(trials)))
    labels = figure.axes[0].get_yticklabels()
    assert len(labels) == 26
    assert not overlaps(labels)
    assert labels[25].get_text() == "a very long \N{HORIZONTAL ELLIPSIS}s number 24 (72)"
    assert len({label.get_text() for label in labels}) == 26
    assert figure.get_size_inches()[1] <= 10
