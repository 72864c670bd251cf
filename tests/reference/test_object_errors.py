"""Missed objects and false alarms against loops over pixels, written from the definition."""

import numpy as np
import pytest

from trainable.batches.crops import Window
from trainable.data.components import find_objects
from trainable.data.image_set import IGNORED
from trainable.measure import object_errors as object_counts
from trainable.measure.object_errors import ObjectCounter, count_objects
from trainable.measure.tiles import Tile

CLASSES = 5
BINS = [(1, 3), (4, 15), (16, 63), (64, 255), (256, 1023), (1024, 4095), (4096, 16383), (16384, 10**9)]
THINGS = (1, 3)


def components(labels_HW, label):
    """The 8-connected sets of (row, column) of a label."""
    left = {(int(row), int(column)) for row, column in np.argwhere(labels_HW == label)}
    while left:
        component, waiting = set(), [left.pop()]
        while waiting:
            row, column = waiting.pop()
            component.add((row, column))
            for neighbour in [(row + down, column + across) for down in (-1, 0, 1) for across in (-1, 0, 1)]:
                if neighbour in left:
                    left.remove(neighbour)
                    waiting.append(neighbour)
        yield component


def size_bin(pixels):
    (place,) = [place for place, (least, most) in enumerate(BINS) if least <= len(pixels) <= most]
    return place


def naive(prediction, target, least):
    counts = np.zeros((CLASSES, len(BINS), 3), dtype=np.int64)
    erased = np.where(target == IGNORED, IGNORED, prediction)
    for label in THINGS:
        for true in components(target, label):
            if len(true) >= least:
                counts[label, size_bin(true), 0] += 1
                counts[label, size_bin(true), 1] += sum(prediction[pixel] == label for pixel in true) * 2 < len(true)
        for predicted in components(erased, label):
            if len(predicted) >= least:
                counts[label, size_bin(predicted), 2] += not any(target[pixel] == label for pixel in predicted)
    return counts


def count(prediction, target, least=1):
    """Of all sizes."""
    return count_by_size(prediction, target, least).sum(axis=1)


def count_by_size(prediction, target, least):
    prediction, target = (np.array(labels, dtype=np.uint8) for labels in (prediction, target))
    return count_objects(prediction, target, find_objects(target, THINGS), THINGS, least, CLASSES)


def picture(text):
    """Labels by digit; `.` is class 0 and `x` is ignored."""
    rows = [row.strip().replace(".", "0") for row in text.strip().splitlines()]
    return np.array([[IGNORED if mark == "x" else int(mark) for mark in row] for row in rows], dtype=np.uint8)


@pytest.mark.parametrize("band", [1, 25, 60, 2**21])
@pytest.mark.parametrize("least", [1, 2, 3, 7])
@pytest.mark.parametrize("seed", range(12))
def test_counts_are_those_of_the_loops(monkeypatch, seed, least, band):
    """In one band of rows, in some, and row by row."""
    monkeypatch.setattr(object_counts, "BAND_PIXELS", band)
    generator = np.random.default_rng(seed)
    shape = (int(generator.integers(3, 17)), int(generator.integers(3, 23)))
    target = generator.choice([0, 1, 2, 3, IGNORED], shape, p=[0.45, 0.2, 0.1, 0.1, 0.15])
    wrong = generator.choice(CLASSES, shape, p=[0.5, 0.15, 0.1, 0.2, 0.05])
    prediction = np.where((generator.random(shape) < 0.5) & (target != IGNORED), target, wrong)
    expected = naive(prediction, target, least)
    np.testing.assert_array_equal(count_by_size(prediction, target, least), expected)
    assert not expected[[0, 2, 4]].any()


@pytest.mark.parametrize("band", [1, 12, 18, 24, 30, 2**21])
def test_a_component_goes_through_any_number_of_bands(monkeypatch, band):
    """Two spirals that hold each other; one reaches a true object, the other one none, nor does what lies beside."""
    monkeypatch.setattr(object_counts, "BAND_PIXELS", band)
    prediction = picture("""
        1.3333
        1.3..3
        1.3.13
        1..1.3
        .111.3
        3....3
        .3333.""")
    target = np.zeros_like(prediction)
    target[0, 0] = 1
    counts = count_by_size(prediction, target, 1)
    np.testing.assert_array_equal(counts, naive(prediction, target, 1))
    assert counts[1].sum(axis=0).tolist() == [1, 0, 0]
    assert counts[3, 2].tolist() == [0, 0, 1]
    assert counts.sum() == 2


def test_objects_are_counted_by_their_own_size():
    """A missed object by that of the truth, a false alarm by that of the prediction, whatever the other's."""
    target = np.zeros((40, 40), dtype=np.uint8)
    target[:8, :8] = 1  # 64 pixels, missed
    target[10:12, :8] = 3  # 16 pixels, found
    prediction = np.zeros_like(target)
    prediction[:1, :3] = 1
    prediction[10:13, :9] = 3
    prediction[20:36, 20:36] = 1  # 256 pixels of nothing
    counts = count_by_size(prediction, target, 1)
    assert {tuple(place): int(counts[tuple(place)]) for place in np.argwhere(counts)} == {
        (1, 3, 0): 1,
        (1, 3, 1): 1,
        (3, 2, 0): 1,
        (1, 4, 2): 1,
    }


def test_the_loops_see_misses_and_false_alarms_of_both_things():
    """Else the comparison above shows nothing."""
    generator = np.random.default_rng(0)
    target = generator.choice([0, 1, 2, 3], (20, 30), p=[0.6, 0.2, 0.1, 0.1])
    prediction = generator.choice([0, 1, 2, 3], (20, 30), p=[0.6, 0.1, 0.1, 0.2])
    counts = naive(prediction, target, 1).sum(axis=1)
    assert (counts[[1, 3]] > 0).all()
    assert (counts[[1, 3], 1] < counts[[1, 3], 0]).all()


def test_an_object_is_missed_below_half_and_not_at_half():
    target = picture("1111.111.3333")
    prediction = picture("11...1...3...")
    assert count(prediction, target)[[1, 3]].tolist() == [[2, 1, 0], [1, 1, 0]]


def test_touching_objects_of_two_classes_are_two():
    target = picture("""
        11.
        .33
        .33""")
    prediction = picture("""
        33.
        .33
        .33""")
    # The class 3 component reaches over the missed object but is that of the true one.
    assert count(prediction, target)[[1, 3]].tolist() == [[1, 1, 0], [1, 0, 0]]


def test_touching_objects_of_one_class_are_one():
    target = picture("11.\n..1")
    assert count(picture("11.\n..."), target)[1].tolist() == [1, 0, 0]


def test_a_neighbour_of_an_object_is_a_false_alarm():
    assert count(picture("..1"), picture("11."))[1].tolist() == [1, 1, 1]


def test_an_object_of_another_class_does_not_excuse():
    assert count(picture("11."), picture("33."))[[1, 3]].tolist() == [[0, 0, 1], [1, 1, 0]]


@pytest.mark.parametrize(("least", "expected"), [(2, [2, 1, 1]), (3, [1, 0, 1]), (4, [0, 0, 0])])
def test_sizes_at_the_limit(least, expected):
    target = picture("111..11......")
    prediction = picture("111......111.")
    assert count(prediction, target, least)[1].tolist() == expected


def test_a_true_object_too_small_to_count_excuses_a_prediction():
    assert count(picture("1111"), picture("1..."), least=2)[1].tolist() == [0, 0, 0]


def test_what_is_predicted_on_ignored_pixels_is_not_there():
    target = picture("..xx..xx.11")
    prediction = picture("..11..11.11")
    assert count(prediction, target)[1].tolist() == [1, 0, 0]
    # One component over the ignored pixels, two without them; each has 2 pixels that are scored.
    assert count(picture("111111"), picture("..xx.."), least=2)[1].tolist() == [0, 0, 2]
    assert count(picture("111111"), picture("..xx.."), least=3)[1].tolist() == [0, 0, 0]


def test_an_image_without_things():
    assert not count(np.zeros((3, 4)), np.zeros((3, 4))).any()
    target = np.zeros((3, 4), dtype=np.uint8)
    assert not count_objects(target, target, find_objects(target, ()), (), 1, CLASSES).any()


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2)])
def test_tiles_are_put_together_before_objects_are_made(array_cache, order):
    """Objects and false alarms lie across the tiles' borders; a tile sees more than what is scored of it."""
    generator = np.random.default_rng(8)
    target = np.kron(generator.choice([0, 1, 3, IGNORED], (7, 9)), np.ones((3, 4))).astype(np.uint8)
    prediction = np.kron(generator.choice([0, 1, 3], (11, 13)), np.ones((2, 3))).astype(np.uint8)[:21, :36]
    other = np.full((4, 5), 1, dtype=np.uint8)
    cache = array_cache([(np.zeros((*mask.shape, 3)), mask) for mask in (other, target)], CLASSES, THINGS)
    counter = ObjectCounter(cache, [1, 0], THINGS, 5)
    tiles = [
        Tile((0,), Window(top, left, height, width), (slice(*rows), slice(*columns)))
        for top, height, rows in [(0, 12, (0, 10)), (8, 13, (2, 13))]
        for left, width, columns in [(0, 17, (0, 15)), (10, 26, (5, 26))]
    ]
    for number in order:
        window, (rows, columns) = tiles[number].window, tiles[number].keep
        assert not counter.counts[0].any()
        seen = prediction[window.top : window.top + window.height, window.left : window.left + window.width]
        counter.add(tiles[number], seen[None, rows, columns])
    np.testing.assert_array_equal(counter.counts[0], naive(prediction, target, 5))
    assert counter.counts[0, :, 2].any()
    counter.add(Tile((1,), Window(0, 0, 4, 5), (slice(0, 4), slice(0, 5))), other[None])
    assert counter.counts[1].sum(axis=1).tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
