"""An evaluation that runs out of memory is made again in smaller passes, and counts every pixel once."""

import dataclasses
import re

import numpy as np
import pytest
import torch
from torch import nn

from trainable.data.image_set import IGNORED
from trainable.device import Compute
from trainable.errors import InputError
from trainable.losses import CrossEntropyLoss, TverskyLoss
from trainable.measure.evaluation import Evaluation, Scoring, evaluate
from trainable.measure.fitted_tiles import FittedTiles
from trainable.measure.prediction import predict_labels
from trainable.measure.tiles import TILE, Tiling

CPU = Compute(torch.device("cpu"), torch.float32)
CLASSES = 4
SCORING = Scoring((1, 3), 2, np.log([0.6, 0.1, 0.25, 0.05]), (-0.5, 0.0, 0.5, 1.0))
CRITERION = CrossEntropyLoss(ignore_index=IGNORED)
SHAPES = [(32, 64)] * 7 + [(96, 128), (70, 30), (192, 192)]
EVERY = range(len(SHAPES))


class Room(nn.Module):
    """A network that looks around a pixel and has memory for so many pixels at once."""

    def __init__(self, pixels=10**9, error=torch.OutOfMemoryError, least=0):
        super().__init__()
        torch.manual_seed(1)
        self.layer = nn.Conv2d(3, CLASSES, 5, padding=2)
        self.norm = nn.BatchNorm2d(CLASSES)
        self.pixels, self.error, self.least = pixels, error, least
        self.seen = []

    def forward(self, images):
        count = images.shape[0] * images.shape[2] * images.shape[3]
        self.seen.append(count)
        if count > self.pixels:
            raise self.error(f"no room for {count} pixels")
        assert images.shape[2] * images.shape[3] >= self.least, "too small a view"
        return self.norm(self.layer(images))


@pytest.fixture
def cache(array_cache):
    generator = np.random.default_rng(3)
    pairs = [
        (generator.integers(0, 256, (*shape, 3)), generator.choice([0, 1, 2, IGNORED], shape, p=[0.5, 0.2, 0.1, 0.2]))
        for shape in SHAPES
    ]
    return array_cache(pairs, CLASSES, SCORING.thing_labels)


def run(network, cache, fitted=None, criterion=CRITERION, indices=EVERY):
    return evaluate(network, criterion, cache, indices, CPU, SCORING, fitted)


def assert_same(given, expected):
    for field in dataclasses.fields(Evaluation):
        if field.name != "loss":
            np.testing.assert_array_equal(getattr(given, field.name), getattr(expected, field.name))
    assert given.loss == pytest.approx(expected.loss, rel=1e-5)


def test_fewer_images_at_once_change_no_count(cache):
    """The pass that fails comes after others that had been counted."""
    expected = run(Room(), cache)
    network, fitted = Room(pixels=4 * 32 * 64), FittedTiles()
    small = range(7)
    given = run(network, cache, fitted, indices=small)
    assert network.seen == [7 * 2048, 4 * 2048, 3 * 2048]
    assert fitted.take_notes() == ("out of memory evaluating 7 images at once: from here on 4 at once",)
    np.testing.assert_array_equal(given.per_image, expected.per_image[:7])
    np.testing.assert_array_equal(given.adjusted, expected.adjusted[:, :7])
    np.testing.assert_array_equal(given.sized_objects, expected.sized_objects[:7])
    assert given.loss == pytest.approx(run(Room(), cache, indices=small).loss, rel=1e-5)


def test_what_had_been_counted_before_memory_ran_out_is_not_counted_twice(cache):
    """Equal to an evaluation that begins with the passes that fit."""
    network, fitted = Room(pixels=160 * 160), FittedTiles(smallest=32 * 32)
    given = run(network, cache, fitted)
    tried = network.seen.index(192 * 192)
    assert tried > 2, "passes before it were counted"
    assert fitted.tiling.side < TILE
    plain = Room()
    expected = run(plain, cache, FittedTiles(tiling=fitted.tiling))
    assert_same(given, expected)
    assert given.matrix.sum() == sum(int((cache.mask(index) != IGNORED).sum()) for index in range(len(SHAPES)))
    assert max(plain.seen) <= network.pixels
    assert network.seen[tried + 1 :] == plain.seen


def test_what_did_not_fit_is_not_tried_again_nor_said_again(cache):
    network, fitted = Room(pixels=160 * 160), FittedTiles(smallest=32 * 32)
    first = run(network, cache, fitted)
    (note,) = fitted.take_notes()
    assert note == (
        f"out of memory evaluating 192x192 pixels at once: from here on in tiles of {fitted.tiling.side} pixels, "
        "which see less of what surrounds them: the scores are not quite those of whole images"
    )
    network.seen.clear()
    assert_same(run(network, cache, fitted), first)
    assert max(network.seen) <= network.pixels
    assert fitted.take_notes() == ()


def test_a_region_loss_counts_the_same_pixels(cache):
    """Its mean over passes is another where passes are others; the counts are not."""
    criterion = TverskyLoss(alpha=0.7, beta=0.3, ignore_index=IGNORED)
    given = run(Room(pixels=3 * 2048), cache, criterion=criterion, indices=range(7))
    np.testing.assert_array_equal(given.per_image, run(Room(), cache, indices=range(7)).per_image)
    assert np.isfinite(given.loss)


def test_labels_are_predicted_in_the_passes_that_were_counted(cache):
    network, fitted = Room(pixels=160 * 160), FittedTiles(smallest=32 * 32)
    counted = run(network, cache, fitted)
    for again in (fitted, FittedTiles(smallest=32 * 32)):  # also where it has to find out by itself
        labels = predict_labels(network, cache, range(len(SHAPES)), 9, CPU, again)
        scored = cache.mask(9) != IGNORED
        matrix = np.zeros((CLASSES, CLASSES), dtype=np.int64)
        np.add.at(matrix, (cache.mask(9)[scored], labels[scored]), 1)
        np.testing.assert_array_equal(matrix, counted.per_image[9])


def test_where_not_even_a_view_of_the_smallest_size_fits_it_is_refused_with_the_reason(cache):
    network, fitted = Room(pixels=1000), FittedTiles(smallest=64 * 64)
    message = (
        r"an evaluation must fit into memory; got out of memory on (\d+)x(\d+) pixels, which are not divided further. "
        r"Use a smaller encoder, or run fewer trials at once \(resources\.max_concurrent\)\."
    )
    with pytest.raises(InputError, match=message) as caught:
        run(network, cache, fitted, indices=[9])
    height, width = map(int, re.search(message, str(caught.value)).groups())
    assert height * width <= 64 * 64
    assert len(network.seen) < 10


def test_a_network_that_takes_no_smaller_tile_is_refused_and_not_started_again(cache):
    """A network of one input size: out of memory there is the end."""
    with pytest.raises(
        InputError, match=r"out of memory on 192x192 pixels, and on smaller ones: AssertionError: too sm"
    ):
        run(Room(pixels=160 * 160, least=192 * 192), cache, FittedTiles(smallest=32 * 32), indices=[9])


@pytest.mark.parametrize("error", [RuntimeError, ValueError, OSError])
def test_another_error_is_none_of_memory(cache, error):
    network, fitted = Room(pixels=0, error=error), FittedTiles()
    with pytest.raises(error, match="no room for"):
        run(network, cache, fitted)
    assert fitted.tiling == Tiling()
    assert len(network.seen) == 1


def test_memory_that_numpy_does_not_get_is_memory_too(cache):
    network = Room(pixels=4 * 2048, error=MemoryError)
    run(network, cache, indices=range(7))
    assert network.seen == [7 * 2048, 4 * 2048, 3 * 2048]


def test_the_tensors_of_a_failed_pass_are_gone_before_the_next(cache):
    alive = []

    class Holds(Room):
        def forward(self, images):
            assert not [reference for reference in alive if reference() is not None]
            logits = super().forward(images[:1]) if len(images) == 1 else None
            if logits is None:
                held = torch.zeros(8)
                import weakref

                alive.append(weakref.ref(held))
                raise torch.OutOfMemoryError("no room")
            return logits

    run(Holds(), cache, indices=range(7))
    assert len(alive) == 3, "7, 4 and 2 images"
