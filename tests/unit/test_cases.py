"""Which images are looked at, and where in them; at asymmetric counts, worked out by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from analysis.subjects.cases.sentences import describe_difference, describe_images, tabulate_cases
from analysis.subjects.cases.table import (
    Box,
    around,
    best_images,
    finding_images,
    found_at_least,
    image_ious,
    image_mious,
    object_box,
    worst_images,
)
from trainable.data.components import find_objects
from trainable.measure.image_counts import ImageCounts
from trainable.measure.object_errors import are_found, count_objects, pixel_hits

NAMES = ("road", "person", "bike")
THINGS = (1, 2)


def counts_of(pixels, sized=None, images=None, scenes=None):
    """Counts of three classes; `pixels`: (images, 3, 3); `sized`: {(image, class, bin): (objects, missed, alarms)}."""
    pixels = np.array(pixels, dtype=np.int64)
    objects = np.zeros((len(pixels), 3, 8, 3), dtype=np.int64)
    for place, values in (sized or {}).items():
        objects[place] = values
    images = images or tuple(f"i{number}" for number in range(len(pixels)))
    return ImageCounts(
        images=tuple(images),
        scenes=tuple(scenes or images),
        class_names=NAMES,
        class_colors=np.array([(128, 64, 0), (255, 0, 0), (0, 0, 255)], dtype=np.uint8),
        things=np.array([False, True, True]),
        counts=pixels,
        sized_objects=objects,
    )


def plain(tp, rest=10):
    """An image of road alone."""
    return [(tp, rest - tp, 0), (0, 0, 0), (0, 0, 0)]


def test_an_images_miou_is_over_the_classes_that_occur_in_it():
    counts = counts_of(
        [
            [(6, 2, 4), (1, 3, 0), (0, 0, 5)],  # road 6/12, person 1/4; bike is predicted and does not occur
            [(0, 0, 0), (0, 0, 3), (2, 0, 6)],
            [(0, 0, 0), (0, 0, 0), (0, 0, 0)],
        ]
    )
    nan = math.nan
    np.testing.assert_array_equal(image_ious(counts), [[0.5, 0.25, nan], [nan, nan, 0.25], [nan] * 3])
    np.testing.assert_array_equal(image_mious(counts), [0.375, 0.25, nan])


def test_best_and_worst_images_are_of_different_scenes():
    counts = counts_of(
        [plain(9), plain(8), plain(7), plain(2), plain(3), [(0, 0, 0)] * 3], scenes=["a", "a", "b", "c", "c", "d"]
    )
    assert best_images(counts, 2) == (0, 2)
    assert worst_images(counts, 2) == (3, 2)
    assert best_images(counts, 9) == (0, 2, 4)
    assert worst_images(counts, 9) == (3, 2, 1)


def test_ties_go_by_id_whatever_the_order():
    counts = counts_of([plain(5), plain(5), plain(5)], images=["c", "a", "b"])
    assert best_images(counts, 2) == (1, 2)
    assert worst_images(counts, 2) == (1, 2)


def test_worst_images_are_others_than_those_left_out():
    counts = counts_of([plain(5), plain(6)])
    assert worst_images(counts, 2, leave_out=(1,)) == (0,)
    assert worst_images(counts, 2, leave_out=(0, 1)) == ()


def test_without_a_labelled_pixel_no_image_is_best_or_worst():
    counts = counts_of([[(0, 0, 7), (0, 0, 0), (0, 0, 0)]])
    assert best_images(counts, 2) == worst_images(counts, 2) == ()


ONE = {(0, 1, 1): (5, 1, 0), (0, 1, 3): (2, 2, 4), (0, 2, 0): (3, 0, 0), (1, 2, 2): (4, 4, 1)}
OTHER = {(0, 1, 1): (5, 4, 2), (0, 1, 3): (2, 1, 0), (0, 2, 0): (3, 1, 0), (1, 2, 2): (4, 1, 0)}


def two(scenes=None):
    pixels = [[(5, 0, 0), (9, 3, 0), (2, 1, 0)]] * 2
    return counts_of(pixels, ONE, scenes=scenes), counts_of(pixels, OTHER, scenes=scenes)


def test_objects_found_are_counted_by_size_so_that_sizes_do_not_cancel():
    one, other = two()
    assert found_at_least(one, other).tolist() == [[0, 3, 1], [0, 0, 0]]
    assert found_at_least(other, one).tolist() == [[0, 1, 0], [0, 0, 3]]
    assert found_at_least(one, one).sum() == 0


def test_images_with_found_objects_the_most_first():
    one, other = two()
    assert finding_images(one, other, 2) == (0,)
    assert finding_images(other, one, 2) == (1, 0)
    assert finding_images(other, one, 1) == (1,)
    assert finding_images(*two(scenes=["s", "s"])[::-1], 2) == (1,)
    assert finding_images(one, one, 2) == ()


def test_ties_of_objects_go_by_pixels_of_their_classes_then_by_id():
    sized = {(row, 1, 2): (2, 0, 0) for row in range(4)}
    missing = {(row, 1, 2): (2, 1, 0) for row in range(4)}
    # What bike gains in the first image is of a class of which no more objects are found.
    hits = ((9, 9), (12, 0), (11, 0), (12, 0))
    one = counts_of([[(0, 0, 0), (tp, 20 - tp, 0), (bike, 9 - bike, 0)] for tp, bike in hits], sized, images="dbca")
    other = counts_of([[(0, 0, 0), (8, 12, 0), (0, 9, 0)]] * 4, missing, images="dbca")
    assert finding_images(one, other, 4) == (3, 1, 2, 0)


@pytest.mark.parametrize("change", ["images", "class_names", "pixels", "objects"])
def test_counts_of_another_truth_cannot_be_compared(change):
    one, other = two()
    other = {
        "images": lambda: replace(other, images=("i0", "x")),
        "class_names": lambda: replace(other, class_names=("road", "person", "cat")),
        "pixels": lambda: replace(other, counts=np.add(other.counts, (1, 0, 0))),
        "objects": lambda: replace(other, sized_objects=np.add(other.sized_objects, (1, 0, 0))),
    }[change]()
    with pytest.raises(ValueError, match="the same images, classes and objects"):
        finding_images(one, other, 2)


@pytest.mark.parametrize("seed", range(5))
def test_found_objects_are_those_that_are_not_counted_as_missed_and_the_bound_holds(seed):
    generator = np.random.default_rng(seed)
    truth = np.kron(generator.choice(3, (12, 17), p=[0.7, 0.2, 0.1]), np.ones((2, 3))).astype(np.uint8)
    objects = find_objects(truth, THINGS)
    sized, found = [], []
    for share in (0.2, 0.35):
        prediction = np.where(generator.random(truth.shape) < share, truth, generator.choice(3, truth.shape))
        prediction = prediction.astype(np.uint8)
        sized.append(count_objects(prediction, truth, objects, THINGS, 7, 3))
        found.append(are_found(pixel_hits(prediction, objects), objects) & (objects.sizes >= 7))
        large = objects.sizes >= 7
        for label in THINGS:
            assert (large & ~found[-1] & (objects.labels == label)).sum() == sized[-1][label, :, 1].sum()
    one, other = (replace(counts_of([plain(1)]), sized_objects=entry[None]) for entry in sized)
    for label in THINGS:
        exactly = (found[1] & ~found[0] & (objects.labels == label)).sum()
        assert found_at_least(other, one)[0, label] <= exactly
    assert found_at_least(other, one).sum() > 0


def test_an_object_is_found_at_half_of_its_pixels():
    truth = np.zeros((3, 8), dtype=np.uint8)
    truth[1, 1:5] = 1
    objects = find_objects(truth, THINGS)
    prediction = np.zeros_like(truth)
    prediction[1, 2:3] = 1
    assert are_found(pixel_hits(prediction, objects), objects).tolist() == [False]
    prediction[1, 2:4] = 1
    assert are_found(pixel_hits(prediction, objects), objects).tolist() == [True]
    nothing = find_objects(np.zeros_like(truth), THINGS)
    assert are_found(pixel_hits(prediction, nothing), nothing).tolist() == []


def test_the_box_of_an_object_is_the_rectangle_around_its_pixels():
    truth = np.zeros((9, 7), dtype=np.uint8)
    truth[0, 0] = 1
    truth[[3, 4, 5], [5, 4, 3]] = 2
    objects = find_objects(truth, THINGS)
    assert object_box(objects, 0, 7) == (0, 0, 1, 1)
    assert object_box(objects, 1, 7) == Box(3, 3, 6, 6)


def test_an_enlarged_part_has_the_object_in_its_middle_and_the_images_proportions():
    part = around(Box(300, 500, 340, 520), 600, 1200)  # three times its height of 40 decides
    assert part == (260, 390, 380, 630)
    assert around(Box(100, 100, 102, 101), 200, 400) == (85, 68, 117, 132)  # 32 rows at least


@pytest.mark.parametrize("box", [(0, 0, 2, 3), (598, 1190, 600, 1200), (0, 0, 600, 1200), (10, 0, 590, 4)])
def test_an_enlarged_part_lies_within_the_image_and_holds_the_object(box):
    box = Box(*box)
    top, left, bottom, right = around(box, 600, 1200)
    assert 0 <= top <= box.top < box.bottom <= bottom <= 600
    assert 0 <= left <= box.left < box.right <= right <= 1200
    assert (right - left) == 2 * (bottom - top)


def test_an_image_smaller_than_the_least_part_is_enlarged_whole():
    assert around(Box(1, 1, 2, 2), 20, 50) == (0, 0, 20, 50)


def test_the_table_has_a_row_for_each_chosen_image_and_class(made_trial):
    counts = counts_of(
        [plain(3), [(6, 2, 4), (1, 3, 0), (0, 0, 5)]],
        {(1, 1, 2): (2, 1, 0), (1, 2, 0): (0, 0, 3)},
        scenes=["a", "b"],
    )
    table = tabulate_cases(made_trial(7, {"name": "dice"}), counts, (1, 0))
    assert table["run_id"].unique().tolist() == ["run-t0007"]
    assert table[["rank", "image", "scene", "class"]].to_numpy().tolist() == [
        [1, "i1", "b", "road"], [1, "i1", "b", "person"], [1, "i1", "b", "bike"], [2, "i0", "a", "road"]
    ]  # fmt: skip
    assert table["miou"].tolist() == [0.375, 0.375, 0.375, 0.3]
    assert table["true_positives"].tolist() == [6, 1, 0, 3]
    assert table["false_negatives"].tolist() == [2, 3, 0, 7]
    assert table["false_positives"].tolist() == [4, 0, 5, 0]
    np.testing.assert_array_equal(table["iou"], [0.5, 0.25, math.nan, 0.3])
    assert table[["objects", "missed_objects", "false_alarms"]].to_numpy().tolist() == [
        [0, 0, 0], [2, 1, 0], [0, 0, 3], [0, 0, 0]
    ]  # fmt: skip


def test_images_are_described_over_all_of_dev():
    person_lost = [(4, 6, 0), (0, 2, 0), (0, 0, 0)]
    both_lost = [(9, 1, 0), (0, 2, 0), (0, 1, 0)]
    counts = counts_of([plain(3), person_lost, both_lost, plain(8)])
    assert describe_images(counts) == (
        "Over all 4 labelled dev images an image's own mIoU lies between .200 and .800, with a median of .300; "
        "in 2 of them a class that occurs has no pixel right (person in 2 and bike in 1)."
    )
    assert describe_images(counts_of([plain(3), plain(8), [(0, 0, 0)] * 3])).endswith(
        "Over all 2 labelled dev images an image's own mIoU lies between .300 and .800, with a median of .550."
    )


def test_one_image_is_not_described():
    assert describe_images(counts_of([plain(3), [(0, 0, 0)] * 3])) == ""


def test_the_difference_is_described_in_both_directions_with_false_alarms():
    one, other = two()
    text = describe_difference("t0007", one, "t0000", other)
    assert text.startswith(
        "Over all 2 dev images with 14 objects, t0007 finds at least 4 (person 3, bike 1) that t0000 misses, and "
        "misses at least 4 (bike 3, person 1) that t0000 finds, as far as the counts by image, class and size tell; "
        "t0007 has 5 false alarms, t0000 2."
    )
    assert "none that t0000 misses, and misses none that" in describe_difference("t0007", one, "t0000", one)
