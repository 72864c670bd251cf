import numpy as np
import pytest
from matplotlib.colors import PowerNorm

from analysis.evidence.mask_statistics import MaskStatistics
from analysis.subjects.canvas import styled
from analysis.subjects.mean_image.figure import draw_average_image, draw_class_maps, mix_colors
from analysis.subjects.mean_image.table import (
    average_image,
    describe_evenness,
    describe_positions,
    locate_things,
    shrink,
    tabulate_average_image,
)


def make_statistics(ninths):
    """Statistics of images of 3 x 6 pixels, whose things fill ninths."""
    ninths = np.array(ninths, dtype=np.int64)
    images, things = ninths.shape[:2]
    presence = ninths.sum(axis=0).astype(np.float32).repeat(2, axis=2) / 2
    return MaskStatistics(
        thing_labels=tuple(range(things)), pixel_counts=ninths.sum(axis=(2, 3)), thing_ninths=ninths, presence=presence,
        shapes=np.tile([3, 6], (images, 1)),
    )  # fmt: skip


MIDDLE = [[0, 1, 0], [8, 9, 7], [1, 0, 1]]
TOP = [[4, 0, 0], [0, 0, 0], [0, 0, 0]]
NONE = np.zeros((3, 3), dtype=int)
ANYWHERE = [np.roll(TOP, (shift % 3, shift // 3), (0, 1)) for shift in range(9)]


def test_the_average_image_is_a_share_of_images():
    statistics = make_statistics([[TOP], [NONE], [NONE], [TOP]])
    assert average_image(statistics).shape == (1, 3, 6)
    assert average_image(statistics)[0, 0].tolist() == [1, 1, 0, 0, 0, 0]


def test_shrinking_averages_square_blocks_and_drops_the_rest():
    shares = np.arange(1 * 5 * 7, dtype=np.float32).reshape(1, 5, 7)
    assert shrink(shares, 7) is not None
    np.testing.assert_array_equal(shrink(shares, 7), shares)
    np.testing.assert_array_equal(shrink(shares, 4), [[[4, 6, 8], [18, 20, 22]]])
    np.testing.assert_array_equal(shrink(shares[:, :1], 4), [[[0.5, 2.5, 4.5]]])


def test_the_table_has_the_mean_of_each_coarse_cell():
    shares = np.zeros((2, 20, 33), dtype=np.float32)
    shares[1, :3, 31:] = 0.6  # 20 rows in 9 parts: the first has 3; 33 columns in 16: the last has 2
    frame = tabulate_average_image(shares, ["a", "b"])
    assert len(frame) == 2 * 9 * 16
    assert frame[frame["share"] > 0].to_dict("records") == [
        {"class": "b", "row": 0, "column": 15, "share": pytest.approx(0.6)}
    ]


def test_positions_are_counted_by_third_and_judged_by_scene():
    statistics = make_statistics([[MIDDLE, TOP, NONE]] * 12)
    scenes = [f"s{i // 2}" for i in range(12)]
    middle, top, none = locate_things(statistics, scenes, ["m", "t", "n"])
    assert (middle.images, middle.scenes) == (12, 6)
    assert middle.thirds == pytest.approx((1 / 27, 24 / 27, 2 / 27))
    assert middle.distance == pytest.approx(24 / 27 - 1 / 3)
    assert middle.low == pytest.approx(24 / 27)  # all scenes are alike
    assert middle.supported
    assert top.thirds == (1, 0, 0)
    assert top.distance == pytest.approx(8 / 9)
    assert (none.images, none.scenes, none.supported) == (0, 0, False)
    assert describe_positions([middle, top, none]) == (
        "Of m, 89 % of the pixels lie in the middle third of the image (6 scenes). "
        "Of t, 100 % of the pixels lie in the top third of the image (6 scenes)."
    )
    assert describe_evenness([middle, top, none]) == ""


def test_few_scenes_say_nothing_however_many_images_they_have():
    (thing,) = locate_things(make_statistics([[TOP]] * 40), [f"s{i % 4}" for i in range(40)], ["t"])
    assert np.isnan(thing.low)
    assert describe_positions([thing]) == describe_evenness([thing]) == ""


def test_scenes_that_differ_support_no_third():
    statistics = make_statistics([[ninths] for ninths in ANYWHERE + ANYWHERE[:1]])
    (thing,) = locate_things(statistics, [f"s{i}" for i in range(10)], ["bike"])
    assert not thing.supported
    assert (
        describe_positions([thing])
        == "For bike, no third of the height is fuller than differences between scenes explain."
    )
    assert describe_evenness([thing]) == (
        "Of the classes in 10 scenes or more, bike is the least evenly spread: 8.9 % of its pixels would have to move "
        "for each ninth of the image (3 x 3) to have as many."
    )
    assert describe_positions([thing] * 5).startswith("For 5 thing classes, no third")


def test_one_scene_that_has_most_pixels_is_no_support():
    """Nine scenes at the bottom, of few pixels, and one at the top with nearly all."""
    bottom = np.roll(TOP, 2, axis=0)
    ninths = [[100 * np.array(TOP)]] + [[bottom]] * 9
    (thing,) = locate_things(make_statistics(ninths), [f"s{i}" for i in range(10)], ["bike"])
    assert thing.fullest == 0
    assert not thing.supported


def test_colors_are_mixed_by_share_over_white():
    shares = np.array([[[0.0, 0.25, 0.75]], [[0.0, 0.0, 0.25]]])
    painted = mix_colors(shares, np.array([[1, 0, 0], [0, 0, 1.0]]), PowerNorm(0.5, vmin=0, vmax=1))
    np.testing.assert_allclose(painted, [[[1, 1, 1], [1, 0.5, 0.5], [0.75, 0, 0.25]]])


def test_the_map_has_a_legend_of_its_classes_and_a_color_bar_up_to_its_maximum():
    shares = np.zeros((2, 9, 16))
    shares[0, 2:5, 3:6], shares[1, 4, 4:9] = 0.2, 0.1
    with styled():
        figure = draw_average_image(shares, ["person", "bike"], [(1, 0, 0), (0, 0, 1)])
        figure.draw_without_rendering()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["person", "bike"]
    bar = figure.axes[1]
    assert bar.get_ylim() == pytest.approx((0, 0.3))
    assert "share of images" in bar.get_ylabel()


def test_small_maps_have_a_scale_each_and_no_empty_axes():
    shares = np.zeros((4, 9, 16))
    for thing in range(4):
        shares[thing, thing, thing] = 0.01 * (thing + 1)
    names = ["a class with a very long name indeed", "b", "c", "d"]
    with styled():
        figure = draw_class_maps(shares, names, [1, 2, 3, 1200])
        figure.draw_without_rendering()
    panels = [axes for axes in figure.axes if axes.get_images()]
    assert len(figure.axes) == 2 * len(panels) == 8
    assert [axes.get_images()[0].get_clim() for axes in panels] == [pytest.approx((0, 0.01 * n)) for n in (1, 2, 3, 4)]
    assert panels[3].get_title(loc="left") == "d\n1,200 images"
    titles = [axes.title for axes in panels] + [axes._left_title for axes in panels]
    boxes = [title.get_window_extent() for title in titles if title.get_text()]
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    assert all(box.x0 >= 0 and box.x1 <= figure.get_window_extent().width for box in boxes)
