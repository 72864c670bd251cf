"""Plates of the scenes: what they say, what they draw, and when they cannot be made."""

from dataclasses import replace
from itertools import pairwise

import pytest
from matplotlib.text import Text

from analysis.report.figures import SCENES, search_plates
from analysis.subjects.canvas import styled
from analysis.subjects.palette import CLASS_COLORS
from analysis.subjects.plate import Unavailable
from analysis.subjects.scenes.figure import choose_rows
from analysis.subjects.scenes.plate import scene_gains_plate, scene_scores_plate
from trainable.measure.image_counts import ImageCounts

CLOSE = (("cross_entropy", 0.5), ("dice", 0.52))


def drawn(plate):
    with styled():
        figure = plate.draw(CLASS_COLORS)
        figure.draw_without_rendering()
    return figure


def row_names(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def overlapping(axes):
    """Pairs of neighbouring row names whose boxes overlap."""
    boxes = [label.get_window_extent() for label in axes.get_yticklabels() if label.get_text()]
    return [pair for pair in pairwise(boxes) if pair[0].overlaps(pair[1])]


def test_scores_of_a_confirmed_search(confirmed_losses):
    plate = scene_scores_plate(confirmed_losses)
    assert plate.says.startswith("On val, the worst scenes are s")
    assert "not confirmed" not in plate.says.lower()
    assert "small ones single seeds" in plate.shows
    assert set(plate.table["run_id"]) == {f"run-{t}-s{seed}" for t in ("t0004", "t0000") for seed in (1, 2, 3)}
    assert len(plate.table) == 2 * 3 * 6 * 2
    figure = drawn(plate)
    panels = figure.axes
    assert [axes.get_title(loc="left") for axes in panels] == ["mIoU", "thing mIoU"]
    means = plate.table[(plate.table["role"] == "candidate") & (plate.table["metric"] == "miou")]
    order = means.groupby("scene")["score"].mean().sort_values().index.tolist()
    assert row_names(panels[0]) == order
    assert not overlapping(panels[0])
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["candidate: Tversky (.62, .31, 1.1) on Unet (t0004)", "reference: cross entropy on Unet (t0000)"]


def test_the_numbers_of_small_gains_do_not_overlap(made_search, made_trial):
    trials = [made_trial(n, {"name": name}, recall=recall) for n, (name, recall) in enumerate(CLOSE)]
    figure = drawn(scene_gains_plate(made_search(trials)))
    labels = [label for axes in figure.axes for label in axes.get_xticklabels()]
    boxes = [label.get_window_extent() for label in labels if label.get_text()]
    assert len(boxes) > 4
    assert not [pair for pair in pairwise(boxes) if pair[0].padded(4).overlaps(pair[1])]


def test_gains_of_a_confirmed_search(confirmed_losses):
    plate = scene_gains_plate(confirmed_losses)
    assert plate.says.startswith(
        "On val, the difference in mIoU is +.309 [+.278, +.339], and the candidate is ahead in"
    )
    assert "whichever scene is left out" in plate.says
    assert "the best cross entropy trial (t0000, Unet) in each scene of val" in plate.shows
    left, right = drawn(plate).axes
    points = right.get_lines()[0]
    assert sorted(points.get_xdata().tolist()) == sorted(plate.table["without"].tolist())
    assert sorted(left.get_lines()[0].get_xdata().tolist()) == sorted(plate.table["gain"].tolist())
    assert row_names(left) == plate.table.sort_values("without", ascending=False)["scene"].tolist()
    titles = [axes.get_title(loc="left") for axes in (left, right)]
    assert titles[1] == "Overall difference without the scene\n(dashed: with all, +.309)"


def test_no_text_is_cut_where_names_are_long(made_search, made_trial, made_run):
    loss = {"name": "compound", "pixel": "focal", "focal_gamma": 2.25, "region": "tversky", "alpha": 0.62, "beta": 0.31}
    trials = [made_trial(n, loss | {"class_weight_power": 0.5, "gamma_on": "mean", "gamma": 1 + n}) for n in (0, 1)]
    runs = [made_run(trial, 1, recall=0.4 + place / 5) for place, trial in enumerate(trials)]
    for run in runs:
        scenes = tuple(f"2018_flight_over_the_long_river_{scene}" for scene in run.val.scenes)
        run.source.artifacts[run.run_id, "val_counts.npz"] = replace(run.val, scenes=scenes).to_bytes()
        del run.__dict__["val"]
    search = made_search(trials, runs)
    for plate in (scene_scores_plate(search), scene_gains_plate(search)):
        figure = drawn(plate)
        texts = [*figure.axes[0].get_yticklabels(), *(text for legend in figure.legends for text in legend.get_texts())]
        texts += [text for axes in figure.axes for text in axes.findobj(Text) if "\n" in text.get_text()]
        with styled():
            boxes = [text.get_window_extent() for text in texts]
        assert max(box.x1 for box in boxes) <= figure.bbox.x1
        assert min(box.x0 for box in boxes) >= 0


def test_an_unconfirmed_search_is_shown_on_dev_and_said_to_be(searched_losses):
    for plate in (scene_scores_plate(searched_losses), scene_gains_plate(searched_losses)):
        assert plate.says.startswith("On dev, ")
        assert plate.says.endswith("Not confirmed: one training run a trial, ranked on the split that it was tuned on.")
        assert "seeds" not in plate.shows
        drawn(plate)


@pytest.mark.parametrize("scenes", [2, 30, 106])
def test_any_number_of_scenes_is_readable(made_search, made_trial, made_run, scenes):
    plain = made_trial(0, {"name": "cross_entropy"}, recall=0.3)
    best = made_trial(1, {"name": "dice"}, recall=0.7)
    runs = [made_run(t, seed, recall=r, scenes=scenes) for t, r in ((plain, 0.3), (best, 0.7)) for seed in (1, 2)]
    search = made_search([plain, best], runs)
    for plate in (scene_scores_plate(search), scene_gains_plate(search)):
        figure = drawn(plate)
        assert figure.get_figheight() < 9
        assert not overlapping(figure.axes[0])
        names = row_names(figure.axes[0])
        assert len(figure.axes) == (4 if scenes > 30 else 2)
        if scenes > 30:
            assert f"... {scenes - 24} more ..." in names
            assert any(f"all {scenes}" in name for axes in figure.axes for name in row_names(axes))
            assert f"Of {scenes} scenes the first and the last have a row" in plate.shows
        else:
            assert len(names) == scenes


def test_all_scenes_are_points_of_the_strip(made_search, made_trial, made_run):
    trials = [made_trial(0, {"name": "cross_entropy"}), made_trial(1, {"name": "dice"}, recall=0.7)]
    runs = [made_run(trial, 1, recall=0.4, scenes=40) for trial in trials]
    figure = drawn(scene_gains_plate(made_search(trials, runs)))
    assert len(figure.axes[2].get_lines()[0].get_xdata()) == 40


def test_rows_are_all_scenes_or_both_ends():
    assert choose_rows(["a", "b"]).scenes == ["a", "b"]
    cut = choose_rows([f"s{number}" for number in range(40)])
    assert (cut.hidden, len(cut.scenes), cut.scenes[11:14]) == (16, 25, ["s11", None, "s28"])
    assert cut.positions["s28"] == 13


def test_the_sides_of_one_loss_have_two_colours(made_search, made_trial):
    trials = [made_trial(0, {"name": "dice"}, recall=0.4), made_trial(1, {"name": "dice"}, recall=0.6)]
    legend = drawn(scene_scores_plate(made_search(trials))).legends[0]
    assert len({line.get_color() for line in legend.get_lines()}) == 2


def test_one_trial_has_scores_but_no_gains(made_search, made_trial):
    search = made_search([made_trial(0, {"name": "dice"})])
    plate = scene_scores_plate(search)
    assert set(plate.table["role"]) == {"candidate"}
    drawn(plate)
    with pytest.raises(Unavailable, match="It takes two trials that ended; one trial has"):
        scene_gains_plate(search)


def test_a_single_confirmed_configuration_is_shown_alone_on_val(confirmed_losses):
    search = replace(confirmed_losses, runs=tuple(r for r in confirmed_losses.runs if r.confirms == "t0003"))
    plate = scene_scores_plate(search)
    assert plate.table["trial_id"].unique().tolist() == ["t0003"]
    assert plate.says.startswith("On val, ")
    assert scene_gains_plate(search).table["split"].unique().tolist() == ["dev"]


def one_scene(trial):
    counts = ImageCounts.from_bytes(trial.source.artifacts[trial.run_id, "per_image_counts.npz"])
    changed = replace(counts, scenes=tuple("same" for _ in counts.scenes))
    trial.source.artifacts[trial.run_id, "per_image_counts.npz"] = changed.to_bytes()
    return trial


def test_one_scene_no_trial_and_no_counts_are_unavailable(made_search, made_trial):
    single = made_search([one_scene(made_trial(n, {"name": name})) for n, name in enumerate(("dice", "iou"))])
    bare = made_search([made_trial(n, {"name": name}, counted=False) for n, name in enumerate(("dice", "iou"))])
    for search, message in (
        (single, "It takes two scenes of dev to compare scenes; there is one."),
        (made_search([]), "It takes .* that ended; "),
        (bare, "has no counts by image"),
    ):
        for _, build in search_plates(search, SCENES):
            with pytest.raises(Unavailable, match=message):
                build()


def test_other_images_are_unavailable(made_search, made_trial):
    trials = [made_trial(0, {"name": "dice"}), made_trial(1, {"name": "iou"})]
    counts = ImageCounts.from_bytes(trials[0].source.artifacts["run-t0000", "per_image_counts.npz"])
    counts.counts[0, 0, 1] += 5
    trials[0].source.artifacts["run-t0000", "per_image_counts.npz"] = counts.to_bytes()
    with pytest.raises(Unavailable, match="did not see the same images"):
        scene_gains_plate(made_search(trials))


def test_a_search_without_things_has_one_panel(made_search, made_trial):
    trials = [made_trial(n, {"name": name}, recall=r) for n, name, r in ((0, "dice", 0.6), (1, "iou", 0.3))]
    for trial in trials:
        counts = ImageCounts.from_bytes(trial.source.artifacts[trial.run_id, "per_image_counts.npz"])
        changed = replace(counts, things=~counts.things & False)
        trial.source.artifacts[trial.run_id, "per_image_counts.npz"] = changed.to_bytes()
    figure = drawn(scene_scores_plate(made_search(trials)))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["mIoU"]
