import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex

from analysis.subjects.canvas import styled
from analysis.subjects.class_distribution.figure import draw_class_bars, draw_class_scale
from analysis.subjects.class_distribution.table import (
    describe_rarity,
    describe_shares,
    shown_splits,
    tabulate_class_distribution,
)
from analysis.words.share_words import percent, times
from trainable.data.image_set import LabelClass
from trainable.data.scene_split import SplitAssignment

CLASSES = tuple(
    LabelClass(name, (0, 0, 0), name in ("bike", "boat", "car")) for name in ("sky", "bike", "road", "boat", "car")
)
COUNTS = np.array([[50, 1, 900, 0, 49], [0, 0, 990, 0, 10], [20, 2, 970, 0, 8], [0, 8, 492, 0, 0], [100, 0, 400, 0, 0]])
SCENES = ["a", "a", "b", "c", "c"]
SPLITS = {"train": [0, 1, 2], "val": [3, 4]}


@pytest.fixture
def frame():
    return tabulate_class_distribution(COUNTS, SPLITS, SCENES, CLASSES)


def draw(figure):
    figure.draw_without_rendering()
    return figure


def test_classes_are_sorted_by_the_pixels_of_all_splits_and_shares_are_of_the_split(frame):
    assert frame["class"].tolist() == [name for name in ("road", "sky", "car", "bike", "boat") for _ in range(2)]
    assert frame["split"].tolist() == ["train", "val"] * 5
    assert frame["pixels"].tolist() == [2860, 892, 70, 100, 67, 0, 3, 8, 0, 0]
    assert frame["pixel_share"].tolist() == pytest.approx(
        [2860 / 3000, 0.892, 70 / 3000, 0.1, 67 / 3000, 0, 0.001, 0.008, 0, 0]
    )
    assert frame["image_share"].tolist() == pytest.approx([1, 1, 2 / 3, 1 / 2, 1, 0, 2 / 3, 1 / 2, 0, 0])
    assert frame["of_images"].tolist() == [3, 2] * 5
    assert frame["of_scenes"].tolist() == [2, 1] * 5
    assert frame["thing"].tolist() == [False] * 4 + [True] * 6


def test_dev_counts_to_train_unless_asked_apart():
    splits = SplitAssignment((0, 4), (2,), (1, 3))
    assert shown_splits(splits) == {"train": (0, 2, 4), "val": (1, 3)}
    assert shown_splits(splits, dev_apart=True) == {"train": (0, 4), "dev": (2,), "val": (1, 3)}


def test_the_sentences_have_the_numbers(frame):
    assert describe_shares(frame) == (
        "The 2 most frequent of 5 classes have 98.0 % of the labelled pixels. "
        "The 3 thing classes together have 1.9 % of them. No mask has a pixel of boat."
    )
    assert describe_rarity(frame) == (
        "The rarest thing, bike, has 0.27 % of the pixels and is in 60 % of the images; "
        "road has 341 times as many pixels. No pixel of car is in val."
    )


def test_the_rarest_class_that_differs_most_is_named_with_its_scenes():
    counts = COUNTS + np.array([0, 0, 0, 0, 5])
    said = describe_rarity(tabulate_class_distribution(counts, SPLITS, SCENES, CLASSES))
    assert said.endswith(
        "Of the 3 rarest classes, bike differs most: 0.10 % of the pixels of train (2 scenes) "
        "and 0.79 % of val (1 scene)."
    )


def described(counts, things, splits=None):
    classes = [LabelClass(f"c{i}", (0, 0, 0), i in things) for i in range(len(counts[0]))]
    splits = splits or {"train": [0], "val": [1]}
    frame = tabulate_class_distribution(np.array(counts), splits, ["a", "b"], classes)
    return describe_shares(frame), describe_rarity(frame)


def test_two_balanced_classes_are_not_called_unequal():
    assert described([[50, 50], [52, 48]], {1}) == (
        "It takes both classes to have 95 % of the labelled pixels. The only thing class, c1, has 49 % of them.",
        "The only thing that occurs, c1, has 49 % of the pixels and is in 100 % of the images. "
        "In train and val, c1 has about the same share of the pixels.",
    )


def test_without_things_the_rarest_class_is_named_and_a_lone_class_has_no_rarity():
    assert described([[99, 1], [97, 3]], set()) == (
        "The most frequent of 2 classes has 98.0 % of the labelled pixels.",
        "The rarest class, c1, has 2.0 % of the pixels and is in 100 % of the images; c0 has 49 times as many pixels. "
        "The splits differ in c1: 1.0 % of the pixels of train (1 scene) and 3.0 % of val (1 scene).",
    )
    assert described([[9, 0], [9, 0]], {1}) == (
        "The most frequent of 2 classes has 100 % of the labelled pixels. No mask has a pixel of c1.",
        "",
    )


def test_one_split_alone_is_not_compared():
    assert described([[99, 1], [97, 3]], {1}, {"val": [0, 1]})[1].endswith("49 times as many pixels.")


def test_percentages_keep_two_digits():
    shares = (0, 1, 0.9996, 0.975, 0.9, 0.38, 0.014, 0.00029, 0.000999, 0.0000012)
    assert [percent(s) for s in shares] == [
        "0 %", "100 %", "100 %", "97.5 %", "90.0 %", "38 %", "1.4 %", "0.029 %", "0.10 %", "0.00012 %",
    ]  # fmt: skip
    assert [times(ratio) for ratio in (1.55, 9.94, 12.4, 1279.2)] == ["1.6", "9.9", "12", "1,279"]


def test_bars_stand_on_two_axes_one_for_each_split(frame):
    with styled():
        figure = draw(draw_class_bars(frame))
    pixels, images = figure.axes
    assert [[bar.get_height() for bar in bars] for bars in pixels.containers] == [
        frame.loc[frame["split"] == split, "pixel_share"].tolist() for split in ("train", "val")
    ]
    assert [bar.get_height() for bar in images.containers[1]] == frame.loc[
        frame["split"] == "val", "image_share"
    ].tolist()
    lefts = sorted(bars[0].get_x() for axes in (pixels, images) for bars in axes.containers)
    assert np.diff(lefts).min() >= pixels.containers[0][0].get_width() - 1e-9  # side by side
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "train: pixels", "train: images", "val: pixels", "val: images",
    ]  # fmt: skip
    labels = pixels.get_xticklabels()
    assert [label.get_text() for label in labels] == ["road", "sky", "car", "bike", "boat"]
    assert [label.get_fontweight() for label in labels] == ["normal"] * 2 + ["bold"] * 3
    assert [(text.get_text(), text.xy) for text in pixels.texts] == [("none", (4, 0))]


def test_on_the_logarithmic_scale_what_does_not_occur_has_no_point_but_a_word(frame):
    with styled():
        figure = draw(draw_class_scale(frame))
    pixels, images = figure.axes
    points = [artist for artist in pixels.collections if isinstance(artist, PathCollection)]
    assert [[float(x) for x, _ in dots.get_offsets().filled(np.nan)] for dots in points] == [
        pytest.approx([2860 / 3000, 70 / 3000, 67 / 3000, 0.001, np.nan], nan_ok=True),
        pytest.approx([0.892, 0.1, np.nan, 0.008, np.nan], nan_ok=True),
    ]
    assert pixels.get_xscale() == "log"
    assert pixels.get_xlim()[0] < 0.001
    assert [text.get_text() for text in pixels.texts] == [
        "95.3 %", "2.3 %", "2.2 %", "0.10 %", "none", "train", "89 %", "10 %", "none", "0.80 %", "none", "val",
    ]  # fmt: skip
    assert [text.get_text() for text in images.texts][:5] == ["100 %", "67 %", "100 %", "67 %", "none"]
    assert len(pixels.patches) == 3  # rows of things


def boxes_of(figure):
    return [text.get_window_extent() for axes in figure.axes for text in axes.texts if text.get_text()]


@pytest.mark.parametrize(("classes", "splits"), [(2, 2), (12, 3), (25, 3)])
def test_many_long_names_keep_texts_apart(classes, splits):
    random = np.random.default_rng(0)
    counts = random.integers(1, 10 ** random.integers(1, 8, classes), (9, classes))
    counts[:, classes // 2] = 0
    entries = [LabelClass(f"a class with a long name {i}", (0, 0, 0), i % 3 == 1) for i in range(classes)]
    rows = {name: list(range(3 * i, 3 * i + 3)) for i, name in enumerate(("train", "dev", "val")[-splits:])}
    frame = tabulate_class_distribution(counts, rows, list("abcdefghi"), entries)
    with styled():
        figures = [draw(draw_class_bars(frame)), draw(draw_class_scale(frame))]
    for figure in figures:
        boxes = boxes_of(figure)
        assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
        width = figure.get_window_extent().width
        assert all(box.x0 >= -1 and box.x1 <= width + 1 for box in boxes)
    colors = {to_hex(bars[0].get_facecolor()) for axes in figures[0].axes for bars in axes.containers}
    assert len(colors) == 2 * splits
