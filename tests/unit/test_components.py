"""Objects of a label image, against a flood fill."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainable.data.components import find_objects


def flood(labels_HW, thing_labels):
    """(label, ascending flat positions) of each object, found pixel by pixel."""
    height, width = labels_HW.shape
    seen, found = set(), []
    for first in range(height * width):
        label = int(labels_HW[divmod(first, width)])
        if first in seen or label not in thing_labels:
            continue
        seen.add(first)
        waiting, pixels = [first], []
        while waiting:
            pixels.append(waiting.pop())
            row, column = divmod(pixels[-1], width)
            for r in range(max(0, row - 1), min(height, row + 2)):
                for c in range(max(0, column - 1), min(width, column + 2)):
                    if labels_HW[r, c] == label and r * width + c not in seen:
                        seen.add(r * width + c)
                        waiting.append(r * width + c)
        found.append((label, sorted(pixels)))
    return found


def as_list(objects):
    parts = zip(objects.labels, pairwise(objects.starts), strict=True)
    return [(int(label), objects.pixels[start:end].tolist()) for label, (start, end) in parts]


def test_components_touch_at_corners_and_are_of_one_class():
    labels = np.array(
        [
            [0, 1, 9, 1, 255],
            [1, 9, 9, 3, 1],
            [9, 9, 0, 9, 9],
            [3, 3, 1, 9, 0],
        ],
        dtype=np.uint8,
    )
    objects = find_objects(labels, (0, 1, 3))
    expected = [(0, [0]), (1, [1, 5]), (1, [3, 9]), (3, [8]), (0, [12]), (3, [15, 16]), (1, [17]), (0, [19])]
    assert as_list(objects) == expected
    assert objects.sizes.tolist() == [1, 2, 2, 1, 1, 2, 1, 1]


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 12), st.floats(0.1, 1), st.integers(0, 2**32))
def test_objects_are_those_of_a_flood_fill(height, width, share, seed):
    generator = np.random.default_rng(seed)
    labels = np.where(generator.random((height, width)) < share, generator.integers(0, 5, (height, width)), 255)
    assert as_list(find_objects(labels.astype(np.uint8), (0, 2, 4))) == flood(labels, (0, 2, 4))


def test_more_components_than_16_bits_count():
    labels = np.full((600, 600), 7, dtype=np.uint8)
    labels[::2, ::2] = 254
    objects = find_objects(labels, [254])
    rows, columns = np.mgrid[0:600:2, 0:600:2]
    np.testing.assert_array_equal(objects.pixels, (rows * 600 + columns).ravel())
    assert (objects.sizes == 1).all()
    assert len(objects.labels) == 300 * 300 > 2**16


@pytest.mark.parametrize(
    ("labels", "things"), [(np.ones((3, 4)), ()), (np.ones((3, 4)), (0, 2)), (np.ones((0, 4)), (1,))]
)
def test_an_image_may_have_none(labels, things):
    objects = find_objects(labels.astype(np.uint8), things)
    assert as_list(objects) == []
    assert objects.starts.tolist() == [0]
    assert objects.pixels.shape == objects.sizes.shape == (0,)


def test_read_only_and_strided_labels_are_taken():
    labels = np.random.default_rng(1).integers(0, 3, (14, 10)).astype(np.uint8)
    labels.flags.writeable = False
    assert as_list(find_objects(labels[::2, ::-1], (1, 2))) == flood(labels[::2, ::-1], (1, 2))


def test_types():
    objects = find_objects(np.ones((2, 2), dtype=np.uint8), (1,))
    assert (objects.labels.dtype, objects.starts.dtype, objects.pixels.dtype) == (np.int64, np.int64, np.int32)
