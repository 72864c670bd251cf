"""Views cover every pixel of every image exactly once, whatever the shapes."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trainable.measure.tiles import BATCH_PIXELS, OVERLAP, TILE, Tiling, tiles

SIDES = st.one_of(st.integers(1, 4000), st.sampled_from([TILE - 1, TILE, TILE + 1, 2 * TILE, 2 * TILE + 1, 1280, 720]))
SHAPES = st.lists(st.tuples(SIDES, SIDES), max_size=4)
SMALL_SHAPES = st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), min_size=1, max_size=4)
TILINGS = st.builds(
    lambda side, share, batch: Tiling(side, side // 2 * share // 8, batch),
    st.integers(8, 400),
    st.integers(0, 8),
    st.integers(1, BATCH_PIXELS),
)


def scored(tile):
    """The rows and columns of the image that a view scores."""
    rows, columns = tile.keep
    return (
        (tile.window.top + rows.start, tile.window.top + rows.stop),
        (tile.window.left + columns.start, tile.window.left + columns.stop),
    )


def as_array(shapes):
    return np.array(shapes, dtype=np.int64).reshape(-1, 2)


@settings(max_examples=60, deadline=None)
@given(SHAPES)
@example([(1280, 720)] * 3)
@example([(2 * TILE + 1, 3), (3, 2 * TILE + 1)])
@example([(1, 1), (4000, 4000)])
def test_every_pixel_is_scored_exactly_once(shapes):
    seen = [np.zeros(shape, dtype=np.uint8) for shape in shapes]
    for tile in tiles(as_array(shapes)):
        (top, bottom), (left, right) = scored(tile)
        for position in tile.positions:
            seen[position][top:bottom, left:right] += 1
    for shape, counts in zip(shapes, seen, strict=True):
        assert counts.shape == shape
        assert (counts == 1).all()


@settings(max_examples=200, deadline=None)
@given(SMALL_SHAPES, TILINGS)
@example([(300, 1), (1, 300)], Tiling(8, 4, 1))
def test_every_pixel_is_scored_exactly_once_at_any_size_of_a_pass(shapes, tiling):
    seen = [np.zeros(shape, dtype=np.uint8) for shape in shapes]
    for tile in tiles(as_array(shapes), tiling):
        (top, bottom), (left, right) = scored(tile)
        for position in tile.positions:
            seen[position][top:bottom, left:right] += 1
    assert all((counts == 1).all() for counts in seen)


def pixels(tile):
    return len(tile.positions) * tile.window.height * tile.window.width


@settings(max_examples=200, deadline=None)
@given(SMALL_SHAPES, TILINGS)
def test_what_did_not_fit_is_seen_in_smaller_passes(shapes, tiling):
    """As often as it is asked for, down to the smallest tiles; and what is as large elsewhere is divided too."""
    while (largest := max(tiles(as_array(shapes), tiling), key=pixels)) and pixels(largest) > 1024:
        count = len(largest.positions)
        tiling = tiling.with_images(largest, (count + 1) // 2) if count > 1 else tiling.divided(largest)
        assert 2 * tiling.overlap <= tiling.side
        alike = [
            tile
            for tile in tiles(as_array(shapes), tiling)
            if len(tile.positions) == count and tile.window == largest.window and tile.keep == largest.keep
        ]
        assert not [tile for tile in alike if set(tile.positions) & set(largest.positions)]


@settings(max_examples=200, deadline=None)
@given(SHAPES)
def test_windows_lie_inside_their_images_and_hold_what_is_scored(shapes):
    for tile in tiles(as_array(shapes)):
        window, (rows, columns) = tile.window, tile.keep
        assert 0 <= rows.start < rows.stop <= window.height
        assert 0 <= columns.start < columns.stop <= window.width
        for position in tile.positions:
            height, width = shapes[position]
            assert window.top >= 0
            assert window.top + window.height <= height
            assert window.left >= 0
            assert window.left + window.width <= width


@settings(max_examples=200, deadline=None)
@given(SHAPES)
def test_a_pass_is_bounded(shapes):
    for tile in tiles(as_array(shapes)):
        pixels = len(tile.positions) * tile.window.height * tile.window.width
        assert pixels <= max(BATCH_PIXELS, 1.5 * TILE**2, (TILE + 2 * OVERLAP) ** 2)


@settings(max_examples=200, deadline=None)
@given(st.tuples(SIDES, SIDES))
def test_an_inner_side_has_its_overlap(shape):
    for tile in tiles(as_array([shape])):
        window = tile.window
        spans = zip(scored(tile), ((window.top, window.height), (window.left, window.width)), shape, strict=True)
        for (begin, end), (start, length), side in spans:
            assert begin - start == min(OVERLAP, begin)
            assert start + length - end == min(OVERLAP, side - end)


def test_images_of_one_size_go_through_together():
    batches = [len(tile.positions) for tile in tiles(as_array([(360, 640)] * 9))]
    assert batches == [4, 4, 1]
    mixed = list(tiles(as_array([(360, 640), (360, 320)] * 3)))
    assert sorted(tile.positions for tile in mixed) == [(0, 2, 4), (1, 3, 5)]


def test_no_images_give_no_views():
    assert list(tiles(as_array([]))) == []
