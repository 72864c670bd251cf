"""Evaluation against a naive loop over images, one at a time and whole."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.segmentation import MeanIoU

from trainable.data.image_cache import open_cache
from trainable.data.image_set import IGNORED
from trainable.device import Compute
from trainable.losses import CrossEntropyLoss, TverskyLoss
from trainable.measure.confusion import class_metrics
from trainable.measure.evaluation import Scoring, evaluate
from trainable.measure.fitted_tiles import FittedTiles
from trainable.measure.object_errors import count_objects
from trainable.measure.tiles import Tiling

CPU = Compute(torch.device("cpu"), torch.float32)
CLASSES = 4
SCORING = Scoring((1, 3), 2, np.log([0.6, 0.1, 0.25, 0.05]), (-0.5, 0.0, 0.5, 1.0))
SHAPES = [(20, 31), (64, 64), (20, 31), (5, 90), (33, 32)]


class Local(nn.Module):
    """Logits of a pixel from that pixel alone."""

    def __init__(self, classes=CLASSES):
        super().__init__()
        torch.manual_seed(1)
        self.layer = nn.Conv2d(3, classes, 1)
        self.seen = []

    def forward(self, pixels):
        self.seen.append(tuple(pixels.shape))
        return self.layer(pixels)


@pytest.fixture
def network():
    return Local()


@pytest.fixture
def cache(array_cache):
    generator = np.random.default_rng(3)
    return array_cache(
        [
            (
                generator.integers(0, 256, (*shape, 3)),
                generator.choice([0, 1, 2, IGNORED], shape, p=[0.5, 0.2, 0.1, 0.2]),
            )
            for shape in SHAPES
        ],
        CLASSES,
        SCORING.thing_labels,
    )


def logits_of(network, image):
    """Normalised by hand: ImageNet's mean and standard deviation of values in 0..1."""
    pixels = (image / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    with torch.no_grad():
        return network.layer(torch.from_numpy(pixels).float().permute(2, 0, 1)[None])


def naive_matrix(network, image, mask):
    predicted = logits_of(network, image).argmax(dim=1)[0].numpy()
    matrix = np.zeros((CLASSES, CLASSES), dtype=np.int64)
    for true, guess in zip(mask.ravel(), predicted.ravel(), strict=True):
        if true != IGNORED:
            matrix[true, guess] += 1
    return matrix


def test_counts_are_those_of_a_loop_over_images(network, cache):
    indices = [4, 0, 2, 3]
    result = evaluate(network, CrossEntropyLoss(ignore_index=IGNORED), cache, indices, CPU, SCORING)
    expected = np.stack([naive_matrix(network, cache.image(index), cache.mask(index)) for index in indices])
    np.testing.assert_array_equal(result.per_image, expected)
    np.testing.assert_array_equal(result.matrix, expected.sum(axis=0))
    assert result.per_image.dtype == np.int64


def test_adjusted_counts_are_those_of_logits_with_the_prior_taken_off(network, cache):
    indices = [4, 0, 3]
    result = evaluate(network, CrossEntropyLoss(ignore_index=IGNORED), cache, indices, CPU, SCORING)
    assert result.adjusted.shape == (4, 3, CLASSES, CLASSES)
    for tau, matrices in zip(SCORING.taus, result.adjusted, strict=True):
        for index, matrix in zip(indices, matrices, strict=True):
            lead = torch.from_numpy(tau * SCORING.log_prior).float().view(1, -1, 1, 1)
            predicted = (logits_of(network, cache.image(index)) - lead).argmax(dim=1)[0].numpy()
            scored = cache.mask(index) != IGNORED
            expected = np.zeros((CLASSES, CLASSES), dtype=np.int64)
            np.add.at(expected, (cache.mask(index)[scored], predicted[scored]), 1)
            np.testing.assert_array_equal(matrix, expected)
    np.testing.assert_array_equal(result.adjusted[1], result.per_image)
    assert (result.adjusted[3] != result.per_image).any()


def test_one_tau_or_none_gives_the_same_as_it_gives_among_others(network, cache):
    criterion = CrossEntropyLoss(ignore_index=IGNORED)
    among = evaluate(network, criterion, cache, range(5), CPU, SCORING)
    for taus in ((1.0,), (0.0,), ()):
        alone = evaluate(network, criterion, cache, range(5), CPU, dataclasses.replace(SCORING, taus=taus))
        places = [SCORING.taus.index(tau) for tau in taus]
        np.testing.assert_array_equal(alone.adjusted, among.adjusted[places])


def test_objects_are_counted_in_each_image(network, cache):
    indices = [4, 0, 3]
    result = evaluate(network, CrossEntropyLoss(ignore_index=IGNORED), cache, indices, CPU, SCORING)
    assert result.objects.shape == (3, CLASSES, 3)
    for index, counts in zip(indices, result.sized_objects, strict=True):
        predicted = logits_of(network, cache.image(index)).argmax(dim=1)[0].numpy().astype(np.uint8)
        expected = count_objects(predicted, cache.mask(index), cache.objects(index), (1, 3), 2, CLASSES)
        np.testing.assert_array_equal(counts, expected)
    assert result.objects[:, 1].any()
    assert not result.objects[:, [0, 2]].any()


def test_per_image_counts_are_hits_misses_and_false_alarms(network, cache):
    result = evaluate(network, CrossEntropyLoss(ignore_index=IGNORED), cache, [0, 1], CPU, SCORING)
    for matrix, counts in zip(result.per_image, result.per_image_counts, strict=True):
        for label in range(CLASSES):
            hits = matrix[label, label]
            assert counts[label].tolist() == [hits, matrix[label].sum() - hits, matrix[:, label].sum() - hits]


def test_mean_iou_is_that_of_torchmetrics(network, array_cache):
    generator = np.random.default_rng(5)
    pairs = [(generator.integers(0, 256, (16, 24, 3)), generator.integers(0, CLASSES, (16, 24))) for _ in range(3)]
    cache = array_cache(pairs, CLASSES)
    result = evaluate(network, CrossEntropyLoss(), cache, range(3), CPU, SCORING)
    # As one image of 48 rows: torchmetrics averages over images, ours counts over the split.
    metric = MeanIoU(CLASSES, input_format="index")
    predicted = torch.cat([logits_of(network, image).argmax(dim=1) for image, _ in pairs], dim=1)
    metric.update(predicted, torch.from_numpy(np.concatenate([mask for _, mask in pairs]))[None])
    assert class_metrics(result.matrix).mean_iou == pytest.approx(float(metric.compute()), abs=1e-6)


@pytest.mark.parametrize(
    "criterion", [CrossEntropyLoss(ignore_index=IGNORED), TverskyLoss(alpha=0.7, beta=0.2, ignore_index=IGNORED)]
)
def test_loss_is_the_mean_over_passes_by_scored_pixels(network, cache, criterion):
    """Here every image is alone in its pass, but for the two of one size."""
    result = evaluate(network, criterion, cache, range(5), CPU, SCORING)
    total, weight = 0.0, 0
    for group in ([0, 2], [1], [3], [4]):
        logits = torch.cat([logits_of(network, cache.image(index)) for index in group])
        target = torch.from_numpy(np.stack([cache.mask(index) for index in group])).long()
        scored = int((target != IGNORED).sum())
        total += float(criterion(logits, target)) * scored
        weight += scored
    assert result.loss == pytest.approx(total / weight, rel=1e-5)


def test_cross_entropy_is_the_mean_over_all_scored_pixels(network, cache):
    result = evaluate(network, CrossEntropyLoss(ignore_index=IGNORED), cache, range(5), CPU, SCORING)
    losses = [
        nn.functional.cross_entropy(
            logits_of(network, cache.image(index)),
            torch.from_numpy(cache.mask(index).copy()).long()[None],
            ignore_index=IGNORED,
            reduction="none",
        )[torch.from_numpy(cache.mask(index).copy())[None] != IGNORED]
        for index in range(5)
    ]
    assert result.loss == pytest.approx(float(torch.cat(losses).mean()), rel=1e-5)


def test_the_criterion_sees_logits_once_and_as_they_are(network, cache):
    seen = []

    class Spy(nn.Module):
        def forward(self, logits, target):
            seen.append((logits, target))
            return logits.sum() * 0

    evaluate(network, Spy(), cache, [1], CPU, SCORING)
    ((logits, target),) = seen
    torch.testing.assert_close(logits, logits_of(network, cache.image(1)))
    assert logits.dtype == torch.float32
    assert target.dtype == torch.int64
    np.testing.assert_array_equal(target[0].numpy(), cache.mask(1))


def test_tiles_give_what_whole_images_give(network, array_cache):
    generator = np.random.default_rng(0)
    pairs = [(generator.integers(0, 256, (*s, 3)), generator.integers(0, CLASSES, s)) for s in [(150, 70), (97, 201)]]
    cache = array_cache(pairs, CLASSES, SCORING.thing_labels)
    criterion = CrossEntropyLoss(ignore_index=IGNORED)
    whole = evaluate(network, criterion, cache, [0, 1], CPU, SCORING)
    passes = len(network.seen)
    fitted = FittedTiles(tiling=Tiling(48, 10))
    tiled = evaluate(network, criterion, cache, [0, 1], CPU, SCORING, fitted)
    assert fitted.take_notes() == ()
    assert len(network.seen) - passes == 4 * 2 + 3 * 5
    for name in ("per_image", "objects", "adjusted"):
        np.testing.assert_array_equal(getattr(tiled, name), getattr(whole, name))
    assert whole.objects[:, :, 2].any()
    assert tiled.loss == pytest.approx(whole.loss, rel=1e-5)


def test_a_tile_is_scored_where_it_has_context(array_cache):
    """A network that looks 8 pixels around gives the same in tiles of that overlap."""

    class Around(nn.Module):
        def forward(self, pixels):
            mean = nn.functional.avg_pool2d(pixels, 17, stride=1, padding=8, count_include_pad=False)
            return torch.cat([mean, pixels[:, :1] * 0], dim=1)

    generator = np.random.default_rng(0)
    # Sides of whole strides: padding would be seen too.
    cache = array_cache([(generator.integers(0, 256, (128, 160, 3)), generator.integers(0, 4, (128, 160)))], CLASSES)
    criterion = CrossEntropyLoss()
    whole = evaluate(Around(), criterion, cache, [0], CPU, SCORING)
    tiled = evaluate(Around(), criterion, cache, [0], CPU, SCORING, FittedTiles(tiling=Tiling(64, 32)))
    np.testing.assert_array_equal(tiled.per_image, whole.per_image)


def test_networks_are_given_whole_strides(network, cache):
    evaluate(network, CrossEntropyLoss(ignore_index=IGNORED), cache, range(5), CPU, SCORING)
    assert sorted(network.seen) == sorted([(2, 3, 32, 32), (1, 3, 64, 64), (1, 3, 32, 96), (1, 3, 64, 32)])


def test_padding_is_never_scored(cache):
    class PaddingIsThree(nn.Module):
        """Predicts class 3 on padding (zero in every channel, which no pixel is) and class 0 elsewhere."""

        def forward(self, pixels):
            padding = (pixels == 0).all(dim=1)
            return torch.stack([~padding, padding * 0, padding * 0, padding], dim=1).float()

    result = evaluate(PaddingIsThree(), CrossEntropyLoss(ignore_index=IGNORED), cache, range(5), CPU, SCORING)
    assert result.matrix[:, 3].sum() == 0
    assert result.matrix.sum() == sum(int((cache.mask(index) != IGNORED).sum()) for index in range(5))


def test_an_empty_split_has_no_counts_and_no_loss(network, cache):
    result = evaluate(network, CrossEntropyLoss(), cache, [], CPU, SCORING)
    assert result.per_image.shape == (0, CLASSES, CLASSES)
    assert result.per_image_counts.shape == (0, CLASSES, 3)
    assert result.objects.shape == (0, CLASSES, 3)
    assert result.adjusted.shape == (4, 0, CLASSES, CLASSES)
    assert result.matrix.sum() == 0
    assert math.isnan(result.loss)


def test_a_split_without_a_scored_pixel_has_no_loss(network, array_cache):
    cache = array_cache([(np.zeros((8, 8, 3)), np.full((8, 8), IGNORED))], CLASSES)
    result = evaluate(network, CrossEntropyLoss(ignore_index=IGNORED), cache, [0], CPU, SCORING)
    assert math.isnan(result.loss)
    assert result.matrix.sum() == 0


def test_runs_in_evaluation_mode_without_gradients(cache):
    class Modal(Local):
        def forward(self, pixels):
            assert not self.training
            assert not torch.is_grad_enabled()
            return super().forward(pixels)

    network = Modal().train()
    evaluate(network, CrossEntropyLoss(ignore_index=IGNORED), cache, [0], CPU, SCORING)


def test_reduced_precision_counts_and_loses_in_float32(network, cache):
    compute = Compute(torch.device("cpu"), torch.bfloat16)
    seen = []

    class Spy(nn.Module):
        def forward(self, logits, target):
            seen.append(logits.dtype)
            return logits.sum() * 0

    reduced = evaluate(network, Spy(), cache, range(5), compute, SCORING)
    exact = evaluate(network, Spy(), cache, range(5), CPU, SCORING)
    assert set(seen) == {torch.float32}
    assert np.abs(reduced.matrix - exact.matrix).sum() < 0.02 * exact.matrix.sum()


def test_works_on_the_maps_of_a_cache(network, tmp_path, write_image_set, cache):
    pairs = [(cache.image(index), cache.mask(index)) for index in range(5)]
    mapped = open_cache(write_image_set(tmp_path / "set", pairs, CLASSES), tmp_path / "caches")
    criterion = CrossEntropyLoss(ignore_index=IGNORED)
    np.testing.assert_array_equal(
        evaluate(network, criterion, mapped, range(5), CPU, SCORING).per_image,
        evaluate(network, criterion, cache, range(5), CPU, SCORING).per_image,
    )
