"""The plates of predictions: what they show and say, and what they say where they cannot be made."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle

from analysis.subjects.canvas import WIDTH, styled
from analysis.subjects.cases import trials as case_trials
from analysis.subjects.cases.figure import Case, Panel, color_panel, draw_cases, shown_classes
from analysis.subjects.cases.plate import case_plates
from analysis.subjects.cases.table import Box
from analysis.subjects.palette import CLASS_COLORS, SAFE_COLORS
from analysis.subjects.plate import Unavailable
from trainable.data.image_set import IGNORED, LabelClass
from trainable.measure.image_counts import ImageCounts
from trainable.measure.object_errors import count_objects

HEIGHT, WIDE = 60, 90
CLASSES = (
    LabelClass("road", (128, 128, 0), False),
    LabelClass("person", (255, 127, 14), True),
    LabelClass("plant", (0, 64, 0), False),
    LabelClass("bike", (0, 128, 0), True),
)
IMAGES, SCENES = ("a1", "a2", "b1", "c1", "d1"), ("a", "a", "b", "c", "d")


KEYS = ("cases_best", "cases_worst", "cases_found", "cases_lost")


def by_key(plates):
    """What makes each plate, by the plate's key."""
    return dict(zip(KEYS, (build for _, build in plates), strict=True))


def truth_of(number):
    """Road over plant; two persons of different size and a bike on it; the last image has no thing."""
    labels = np.zeros((HEIGHT, WIDE), dtype=np.uint8)
    labels[35 + number :] = 2
    labels[0, : number + 1] = IGNORED
    if number < 4:
        labels[10:14, 20:23] = 1
        labels[20:22, 70:73] = 1
        labels[50:53, 5:10] = 3
    return labels


TRUTH = [truth_of(number) for number in range(5)]


def without(labels, *parts, taken_for=0):
    labels = labels.copy()
    for rows, columns in parts:
        labels[rows, columns] = taken_for
    return np.where(labels == IGNORED, np.uint8(0), labels)


LARGE, SMALL, BIKE = np.s_[10:14, 20:23], np.s_[20:22, 70:73], np.s_[50:53, 5:10]
BEST = [
    without(TRUTH[0]), without(TRUTH[1], SMALL), without(TRUTH[2], BIKE, taken_for=2),
    without(TRUTH[3], LARGE, SMALL, np.s_[35:45, :]), without(TRUTH[4]),
]  # fmt: skip
BASELINE = [
    without(TRUTH[0], LARGE, SMALL), without(TRUTH[1], LARGE, SMALL, BIKE), without(TRUTH[2], SMALL),
    without(TRUTH[3], LARGE), without(TRUTH[4]),
]  # fmt: skip


def counts_of(predictions, cache):
    pixels, sized = [], []
    for number, predicted in enumerate(predictions):
        truth = TRUTH[number]
        scored = truth != IGNORED
        pixels.append([
            [((truth == c) & (predicted == c)).sum(), ((truth == c) & (predicted != c)).sum(),
             (scored & (truth != c) & (predicted == c)).sum()] for c in range(4)
        ])  # fmt: skip
        sized.append(count_objects(predicted, truth, cache.objects(number), (1, 3), 4, 4))
    return ImageCounts(
        images=IMAGES,
        scenes=SCENES,
        class_names=tuple(entry.name for entry in CLASSES),
        class_colors=np.array([entry.color for entry in CLASSES], dtype=np.uint8),
        things=np.array([entry.thing for entry in CLASSES]),
        counts=np.array(pixels, dtype=np.int64),
        sized_objects=np.array(sized),
    )


class Network:
    """The interface of `analysis.recorded.predictions.Predictor` over labels that a test gives."""

    made = ()
    changed = 0

    def __init__(self, trial, counts, data):
        Network.made = (*Network.made, trial.trial_id)
        self.predictions = BEST if trial.trial_id == "t0004" else BASELINE

    def labels(self, row):
        return self.predictions[row]

    def changed_pixels(self, row):
        return Network.changed


@pytest.fixture
def network(monkeypatch):
    monkeypatch.setattr(case_trials, "Predictor", Network)
    monkeypatch.setattr(Network, "made", ())
    monkeypatch.setattr(Network, "changed", 0)
    return Network


@pytest.fixture
def data(array_cache):
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (HEIGHT, WIDE, 3)) for _ in TRUTH]
    cache = array_cache(list(zip(images, TRUTH, strict=True)), 4, (1, 3))
    return SimpleNamespace(cache=cache, splits=SimpleNamespace(dev=range(5)))


@pytest.fixture
def trials(made_trial, data):
    best = made_trial(4, {"name": "dice"})
    baseline = made_trial(0, {"name": "cross_entropy"}, baseline=True)
    for trial, predictions in ((best, BEST), (baseline, BASELINE)):
        trial.source.artifacts[trial.run_id, "per_image_counts.npz"] = counts_of(predictions, data.cache).to_bytes()
    return best, baseline


@pytest.fixture
def plates(network, trials, data):
    return by_key(case_plates(*trials, data))


def drawn(plate, palette=CLASS_COLORS):
    with styled():
        figure = plate.draw(palette)
        FigureCanvasAgg(figure).draw()
    return figure


def panels(figure):
    return [axes for part in figure.subfigs for axes in part.axes]


def headings(figure):
    return [part.get_suptitle() for part in figure.subfigs if part.axes]


def boxes(axes, solid=True):
    """Outlines of a panel as (left, top, right, bottom), with their margin."""
    return [
        patch.get_bbox().extents.round(1).tolist()
        for patch in axes.patches
        if isinstance(patch, Rectangle) and (patch.get_linestyle() == "solid") == solid
    ]


def test_there_are_four_plates_by_key(plates):
    assert {key: build().key for key, build in plates.items()} == dict(zip(KEYS, KEYS, strict=True))
    for key, make in plates.items():
        plate = make()
        assert plate.key == key
        assert plate.shows_classes
        assert plate.photographs
        assert plate.shows.endswith(".")
        assert plate.alt.startswith("Photographs")


def test_best_images_with_their_own_miou(plates):
    plate = plates["cases_best"]()
    figure = drawn(plate)
    assert headings(figure) == ["a1: mIoU 1.000 over 4 classes", "d1: mIoU 1.000 over 2 classes"]
    titles = [axes.get_title() for axes in panels(figure)]
    assert titles == ["image", "true labels", "predicted by t0004"] * 2
    assert plate.table["image"].unique().tolist() == ["a1", "d1"]
    assert plate.table["run_id"].unique().tolist() == ["run-t0004"]
    assert "t0004 (Dice on Unet)" in plate.shows
    assert "at most one a scene (dev has 4)" in plate.shows
    assert "a1: mIoU 1.000; IoU of road 1.00, person 1.00, plant 1.00, bike 1.00." in plate.alt


def test_worst_images_are_of_the_rest(plates):
    plate = plates["cases_worst"]()
    assert headings(drawn(plate)) == ["c1: mIoU .630 over 4 classes", "b1: mIoU .748 over 4 classes"]
    assert plate.says.startswith("Over all 5 labelled dev images an image's own mIoU lies between .630 and 1.000")
    assert "in 2 of them a class that occurs has no pixel right (person in 1 and bike in 1)" in plate.says


def test_found_objects_are_boxed_and_the_largest_is_enlarged(plates):
    plate = plates["cases_found"]()
    figure = drawn(plate)
    # Of scene a the image with the more pixels recovered; b1 has one such object.
    assert headings(figure) == [
        "a2: 1 person, 1 bike; mIoU .916 best trial, .497 baseline",
        "b1: 1 person; mIoU .748 best trial, .916 baseline",
    ]
    first = panels(figure)[:8]
    assert [axes.get_title() for axes in first] == [
        "image", "true labels", "baseline t0000", "best trial t0004",
        "dashed part, 1.9 times larger", "bike", "0 % right, mostly road", "100 % right",
    ]  # fmt: skip
    margin = 0.02 * WIDE
    person, bike = (20 - 0.5, 10 - 0.5, 23 - 0.5, 14 - 0.5), (5 - 0.5, 50 - 0.5, 10 - 0.5, 53 - 0.5)
    for axes in first[:4]:
        expected = [np.add(box, (-margin, -margin, margin, margin)) for box in (person, bike)]
        np.testing.assert_allclose(boxes(axes), expected, atol=0.051)
        assert len(boxes(axes, solid=False)) == 1
        assert axes.get_xlim() == (-0.5, WIDE - 0.5)
    for axes in first[4:]:
        assert len(boxes(axes)) == 1
        assert boxes(axes, solid=False) == []
        assert axes.get_xlim() == (-0.5, 47.5)
        assert axes.get_ylim() == (HEIGHT - 0.5, HEIGHT - 32.5)


def test_what_is_found_is_said_over_all_images_not_those_shown(plates):
    says = plates["cases_found"]().says
    assert says.startswith(
        "Over all 5 dev images with 12 objects, t0004 finds at least 5 (person 4, bike 1) that t0000 misses, and "
        "misses at least 2 (person 1, bike 1) that t0000 finds"
    )
    assert "t0004 has 0 false alarms, t0000 0" in says
    lost = plates["cases_lost"]()
    assert "t0000 finds at least 2 (person 1, bike 1) that t0004 misses, and misses at least 5 (person 4, " in lost.says


def test_lost_objects_are_the_reverse(plates):
    plate = plates["cases_lost"]()
    figure = drawn(plate)
    assert [heading.partition(";")[0] for heading in headings(figure)] == ["b1: 1 bike", "c1: 1 person"]
    assert [axes.get_title() for axes in panels(figure)][5:8] == ["bike", "100 % right", "0 % right, mostly plant"]
    assert plate.title == "Objects that the baseline finds and the best trial misses"
    assert "the baseline, t0000 (cross entropy on Unet), finds" in plate.shows


def test_the_table_has_both_trials_and_what_is_drawn(plates):
    table = plates["cases_found"]().table
    assert set(zip(table["run_id"], table["trial_id"], strict=True)) == {("run-t0004", "t0004"), ("run-t0000", "t0000")}
    assert table["image"].unique().tolist() == ["a2", "b1"]
    person = table[(table["image"] == "a2") & (table["class"] == "person")].set_index("trial_id")
    assert person["objects"].to_dict() == {"t0004": 2, "t0000": 2}
    assert person["missed_objects"].to_dict() == {"t0004": 1, "t0000": 2}


def test_networks_are_loaded_once_for_all_plates_and_only_where_needed(plates, network):
    plates["cases_best"]()
    plates["cases_worst"]()
    assert network.made == ("t0004",)
    plates["cases_found"]()
    plates["cases_lost"]()
    assert sorted(network.made) == ["t0000", "t0004"]


def test_predictions_that_differ_from_the_counted_are_said(plates, network):
    assert "Run again" not in plates["cases_worst"]().says
    network.changed = 7
    says = plates["cases_worst"]().says
    assert "t0004 on c1 in at least 7 pixels of 5396; t0004 on b1 in at least 7 pixels of 5397" in says
    assert "t0000" not in says
    assert "t0000 on b1 in at least 7 pixels of 5397" in plates["cases_found"]().says


def test_objects_that_the_predictions_made_here_do_not_have_are_not_drawn(plates, network, monkeypatch):
    monkeypatch.setattr(network, "labels", lambda self, row: BEST[row] if row == 1 else self.predictions[row])
    network.changed = 30
    plate = plates["cases_found"]()
    assert [heading.partition(":")[0] for heading in headings(drawn(plate))] == ["b1"]
    assert plate.table["image"].unique().tolist() == ["b1"]
    assert "t0000 on a2 in at least 30 pixels" in plate.says
    monkeypatch.setattr(network, "labels", lambda self, row: BEST[row])
    with pytest.raises(Unavailable, match=r"have no such object as was counted\. Run again"):
        plates["cases_found"]()


def refused(best, baseline, data, key="cases_found", why=""):
    with pytest.raises(Unavailable) as caught:
        by_key(case_plates(best, baseline, data, why))[key]()
    return str(caught.value)


def test_without_a_trial_a_baseline_or_a_difference(network, trials, data):
    best, baseline = trials
    for key in ("cases_best", "cases_found"):
        assert "no trial has ended" in refused(None, None, data, key)
    assert "no baseline of this search has ended" in refused(best, None, data)
    assert "t0004 (Dice on Unet) is both" in refused(best, best, data)
    same = replace(baseline, source=best.source, run_id="other")
    best.source.artifacts["other", "per_image_counts.npz"] = best.source.artifacts[best.run_id, "per_image_counts.npz"]
    text = refused(best, same, data)
    assert text == "Of 12 objects in 5 dev images the counts show none that t0004 finds and t0000 misses."
    by_key(case_plates(best, None, data))["cases_best"]()


def test_without_counts_or_with_others(network, trials, data, made_trial):
    best, _ = trials
    assert "t0009 has no counts by image" in refused(
        made_trial(9, {"name": "iou"}, counted=False), None, data, "cases_best"
    )
    assert "must be counted on the same images" in refused(
        best, made_trial(1, {"name": "focal", "focal_gamma": 2.0}), data
    )


def with_counts(trial, counts):
    trial.source.artifacts[trial.run_id, "per_image_counts.npz"] = counts.to_bytes()
    return replace(trial)  # without what was decoded before


def test_without_the_image_set(network, trials):
    for key in ("cases_worst", "cases_lost"):
        text = refused(*trials, None, key, "/old/place is no folder")
        assert "cannot be read: /old/place is no folder. Make the report where they lie." in text
    assert "cannot be read: none was given." in refused(*trials, None)


def test_without_objects(network, trials, data):
    best, baseline = (
        with_counts(trial, replace(trial.image_counts, sized_objects=np.zeros((5, 4, 8, 3), np.int64)))
        for trial in trials
    )
    assert "5 dev images have none" in refused(best, baseline, data)


def first_rows(counts, number):
    return replace(
        counts, images=counts.images[:number], scenes=counts.scenes[:number], counts=counts.counts[:number],
        sized_objects=counts.sized_objects[:number],
    )  # fmt: skip


def test_one_image_is_the_best_and_none_the_worst(network, trials, data):
    best = with_counts(trials[0], first_rows(trials[0].image_counts, 1))
    plates = by_key(case_plates(best, None, data))
    plate = plates["cases_best"]()
    assert plate.says == ""
    assert len(headings(drawn(plate))) == 1
    assert "dev, of 1 labelled image, has none beside those" in refused(best, None, data, "cases_worst")


def test_without_labelled_pixels_or_images(network, trials, data):
    counts = trials[0].image_counts
    blank = with_counts(trials[0], replace(counts, counts=np.zeros_like(counts.counts)))
    assert "none of the 5 dev images has a labelled pixel" in refused(blank, None, data, "cases_best")
    empty = with_counts(trials[0], first_rows(counts, 0))
    for key in ("cases_best", "cases_worst"):
        assert "none of the 0 dev images" in refused(empty, None, data, key)
    assert "0 dev images have none" in refused(empty, with_counts(trials[1], first_rows(counts, 0)), data)


def test_what_the_network_lacks_is_passed_on(trials, data, monkeypatch):
    """The true predictor, of a trial without weights."""
    monkeypatch.setattr("analysis.recorded.predictions.check_same_data", lambda *_: None)
    for key in ("cases_best", "cases_found"):
        text = refused(*trials, data, key)
        assert text.startswith("Predictions cannot be drawn: the weights of t0004 must be in MLflow; got none.")


def test_classes_are_drawn_in_the_palettes_colors(plates):
    plate = plates["cases_found"]()
    for palette in (CLASS_COLORS, SAFE_COLORS):
        figure = drawn(plate, palette)
        (legend,) = figure.subfigs[-1].legends
        assert [text.get_text() for text in legend.get_texts()] == ["road", "person", "plant", "bike"]
        faces = [patch.get_facecolor()[:3] for patch in legend.get_patches()]
        assert faces == palette.floats(CLASSES)


def test_panels_are_the_image_and_labels_over_it():
    colors = np.array([(200, 0, 0), (0, 100, 0)], dtype=np.uint8)
    image = np.full((4, 6, 3), 100, dtype=np.uint8)
    labels = np.zeros((4, 6), dtype=np.uint8)
    labels[1, 2], labels[0, 0] = 1, IGNORED
    np.testing.assert_array_equal(color_panel(image, None, colors), image)
    panel = color_panel(image, labels, colors)
    assert panel[0, 0].tolist() == [100, 100, 100]
    assert panel[0, 1].tolist() == [165, 35, 35]
    assert panel[1, 2].tolist() == [35, 100, 35]


def test_a_large_image_is_made_smaller_and_small_objects_stay_visible():
    colors = np.array([(0, 0, 0), (255, 255, 255)], dtype=np.uint8)
    labels = np.zeros((1100, 1601), dtype=np.uint8)
    labels[781, 1001] = 1
    panel = color_panel(np.zeros((*labels.shape, 3), dtype=np.uint8), labels, colors)
    assert panel.shape == (367, 534, 3)
    assert panel[260, 333, 0] == 18  # 0.65 * 255 / 9
    assert panel.astype(int).sum() == 3 * 18


def case_of(classes, shape=(40, 64), heading="image", columns=4):
    labels = (np.arange(shape[0] * shape[1]) // 7 % classes).astype(np.uint8).reshape(shape)
    panel = Panel("best trial t0004", labels, named=True, enlarged_title="100 % right")
    image = np.full((*shape, 3), 90, dtype=np.uint8)
    box = Box(3, 4, 7, 9)
    return Case(
        heading,
        image,
        (Panel("image", None, enlarged_title="image"), *[panel] * (columns - 1)),
        (box,),
        Box(0, 0, 20, 32),
    )


@pytest.mark.parametrize(("height", "width"), [(40, 64), (90, 40), (30, 300)])
@pytest.mark.parametrize("classes", [1, 25])
def test_texts_lie_within_the_figure_and_do_not_overlap(height, width, classes):
    names = [
        LabelClass(f"a class of a long name, number {n}", (n, 9 * n, 250 - 9 * n), n % 2 == 1) for n in range(classes)
    ]
    cases = [case_of(classes, (height, width), heading="folder/of/a/long/name/" * 5 + end) for end in ("one", "two")]
    with styled():
        figure = draw_cases(cases, names, CLASS_COLORS)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        texts = [part._suptitle for part in figure.subfigs[:-1]]
        texts += [axes.title for axes in panels(figure)]
        texts += figure.subfigs[-1].legends[0].get_texts()
        extents = [text.get_window_extent(renderer) for text in texts]
    assert len(texts) == 2 + 16 + classes
    for extent in extents:
        assert extent.x0 >= 0
        assert extent.y0 >= 0
        assert extent.x1 <= figure.bbox.width
        assert extent.y1 <= figure.bbox.height
    assert not any(one.overlaps(other) for one, other in itertools.combinations(extents, 2))
    assert figure.get_size_inches()[0] == WIDTH


def test_names_of_things_are_not_written_over_them(plates):
    axes = panels(drawn(plates["cases_best"]()))[1]
    assert {text.get_text() for text in axes.texts} == {"road", "plant"}


def test_the_legend_has_the_classes_that_are_shown():
    classes = [LabelClass(name, (0, 0, 0), False) for name in "abc"]
    labels = np.array([[2, 2], [0, IGNORED]], dtype=np.uint8)
    case = Case("x", np.zeros((2, 2, 3), np.uint8), (Panel("image", None), Panel("truth", labels)))
    assert shown_classes([case], len(classes)) == [0, 2]
