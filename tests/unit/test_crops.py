"""Training crops: drawn by seed, epoch and position alone, and cut where they say."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from trainable.batches.crops import CropSampler, Window, cut
from trainable.config.sections import DataConfig
from trainable.data.image_set import IGNORED

PLAIN = {"scale_min": 1.0, "scale_max": 1.0, "horizontal_flip": False, "color_jitter": 0.0}
HEIGHT, WIDTH = 80, 112


def coded_pair(number, shape=(HEIGHT, WIDTH), label=0):
    """An image whose pixels say where they are: row, column, image."""
    rows, columns = np.indices(shape)
    image = np.stack([rows, columns, np.full(shape, number)], axis=-1)
    return image, np.full(shape, label)


@pytest.fixture
def cache(array_cache):
    pairs = [coded_pair(number) for number in range(6)]
    pairs[4][1][70, 100] = 2  # one pixel of a rare class in one image
    pairs[5][1][:40] = 1
    return array_cache(pairs, 3)


def sampler(cache, indices=range(6), seed=0, **changes):
    config = DataConfig(**({"batch_size": 4, "crop": "32x64"} | changes))
    return CropSampler(cache, list(indices), config, seed)


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_crops_made_side_by_side_are_the_same(cache):
    drawn = sampler(cache, copy_paste=1.0, rare_class_first=0.5)
    with ThreadPoolExecutor(4) as threads:
        for epoch in range(1, 9):
            assert same(drawn.batch(epoch, 0, threads.map), drawn.batch(epoch, 0))


def test_shapes_and_types(cache):
    images, target = sampler(cache).batch(1, 0)
    assert images.shape == (4, 3, 32, 64)
    assert images.dtype == torch.uint8
    assert target.shape == (4, 32, 64)
    assert target.dtype == torch.uint8


def test_the_same_seed_gives_the_same_batch_whatever_was_drawn_before(cache):
    first, second = sampler(cache, rare_class_first=0.5), sampler(cache, rare_class_first=0.5)
    second.batch(1, 0)
    second.batch(5, 1)
    assert same(first.batch(3, 1), second.batch(3, 1))


@pytest.mark.parametrize(("epoch", "step", "seed"), [(2, 0, 0), (1, 1, 0), (1, 0, 1)])
def test_another_epoch_step_or_seed_gives_another_batch(cache, epoch, step, seed):
    assert not same(sampler(cache).batch(1, 0), sampler(cache, seed=seed).batch(epoch, step))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_batch_for_a_gpu_is_the_same_in_pinned_memory(cache):
    config = DataConfig(batch_size=4, crop="32x64")
    pinned = CropSampler(cache, list(range(6)), config, 0, pinned=True).batch(1, 0)
    assert all(part.is_pinned() for part in pinned)
    assert same(pinned, sampler(cache).batch(1, 0))


def images_of(batch):
    return [int(image[2, 0, 0]) for image in batch[0]]


def test_an_epoch_shows_every_image_as_often_as_asked(cache):
    drawn = sampler(cache, **PLAIN, crops_per_image=2, batch_size=4)
    assert drawn.steps == 3
    shown = [number for step in range(3) for number in images_of(drawn.batch(1, step))]
    assert sorted(shown[:6]) == sorted(shown[6:]) == [*range(6)]
    assert shown[:6] != shown[6:]


def test_the_order_changes_with_the_epoch(cache):
    drawn = sampler(cache, **PLAIN, batch_size=6)
    orders = {tuple(images_of(drawn.batch(epoch, 0))) for epoch in range(1, 9)}
    assert len(orders) > 5


def test_the_last_batch_is_filled_from_the_start_of_the_epoch(cache):
    drawn = sampler(cache, **PLAIN, batch_size=4)
    assert drawn.steps == 2
    first, last = images_of(drawn.batch(1, 0)), images_of(drawn.batch(1, 1))
    assert last[2:] == first[:2]


def test_fewer_images_than_a_batch_fill_one(cache):
    drawn = sampler(cache, indices=[3], **PLAIN, batch_size=4)
    assert drawn.steps == 1
    assert images_of(drawn.batch(1, 0)) == [3, 3, 3, 3]


def test_only_the_given_images_are_shown(cache):
    drawn = sampler(cache, indices=[1, 3], **PLAIN, rare_class_first=0.5, batch_size=2)
    assert {number for epoch in range(1, 20) for number in images_of(drawn.batch(epoch, 0))} == {1, 3}


def test_without_distortion_a_crop_is_a_slice(cache):
    images, target = sampler(cache, **PLAIN).batch(1, 0)
    for image_CHW, target_HW in zip(images.numpy(), target.numpy(), strict=True):
        top, left, number = (int(value) for value in image_CHW[:, 0, 0])
        source = cache.image(number)[top : top + 32, left : left + 64]
        np.testing.assert_array_equal(image_CHW, source.transpose(2, 0, 1))
        np.testing.assert_array_equal(target_HW, cache.mask(number)[top : top + 32, left : left + 64])


def test_trials_that_differ_in_the_share_of_class_first_share_the_other_draws(cache):
    """Where both draw image first, both draw the same crop, distortion included."""
    none, some = sampler(cache, rare_class_first=0.0), sampler(cache, rare_class_first=0.5)
    equal = 0
    for epoch in range(1, 6):
        for one, other in zip(*(zip(*drawn.batch(epoch, 0), strict=True) for drawn in (none, some)), strict=True):
            equal += same(one, other)
    assert 5 <= equal <= 15


def test_a_crop_that_is_drawn_class_first_is_flipped_as_it_else_were(array_cache):
    cache = array_cache([coded_pair(0)], 1)

    def flips(share):
        drawn = sampler(
            cache, indices=[0], **(PLAIN | {"horizontal_flip": True}), rare_class_first=share, batch_size=16
        )
        return [bool(image[1, 0, 1] < image[1, 0, 0]) for image in drawn.batch(1, 0)[0]]

    assert flips(0.0) == flips(1.0)
    assert {*flips(0.0)} == {True, False}


def test_trials_that_differ_in_color_jitter_share_places_and_flips(cache):
    plain, coloured = sampler(cache, color_jitter=0.0), sampler(cache, color_jitter=0.4)
    assert torch.equal(plain.batch(1, 0)[1], coloured.batch(1, 0)[1])
    assert not torch.equal(plain.batch(1, 0)[0], coloured.batch(1, 0)[0])


def test_class_first_draws_each_class_alike(cache):
    drawn = sampler(cache, **PLAIN, rare_class_first=1.0, batch_size=6)
    targets = torch.cat([drawn.batch(epoch, 0)[1] for epoch in range(1, 51)])
    has_rare = (targets == 2).flatten(1).any(dim=1).float().mean()
    # The one pixel of class 2 lies in every crop that is drawn for it, a third of all, and in few others.
    assert 0.25 < has_rare < 0.45


def test_image_first_rarely_shows_the_rare_class(cache):
    drawn = sampler(cache, **PLAIN, rare_class_first=0.0, batch_size=6)
    targets = torch.cat([drawn.batch(epoch, 0)[1] for epoch in range(1, 51)])
    assert (targets == 2).flatten(1).any(dim=1).float().mean() < 0.15


def test_padding_is_black_and_ignored(array_cache):
    small = array_cache([(np.full((20, 30, 3), 200), np.ones((20, 30)))], 2)
    images, target = sampler(small, indices=[0], **PLAIN).batch(1, 0)
    for image_CHW, target_HW in zip(images, target, strict=True):
        assert (target_HW == 1).sum() == 20 * 30
        assert ((target_HW == 1) | (target_HW == IGNORED)).all()
        assert (image_CHW[:, target_HW == IGNORED] == 0).all()
        assert (image_CHW[:, target_HW == 1] == 200).all()


def test_an_image_that_is_large_enough_is_never_padded(cache):
    drawn = sampler(cache, scale_min=1.0, scale_max=2.0, rare_class_first=0.5)
    for epoch in range(1, 20):
        assert (drawn.batch(epoch, 0)[1] != IGNORED).all()


def test_all_places_occur(array_cache):
    """The first and the last place of a window too."""
    cache = array_cache([coded_pair(0, (34, 65))], 1)
    drawn = sampler(cache, indices=[0], **PLAIN, batch_size=8)
    places = {tuple(image[:2, 0, 0].tolist()) for epoch in range(1, 11) for image in drawn.batch(epoch, 0)[0]}
    assert places == {(top, left) for top in (0, 1, 2) for left in (0, 1)}


def test_scale_magnifies(array_cache):
    """At scale 2 a square of 8 pixels becomes one of 16."""
    image, mask = coded_pair(0)
    mask[40:48, 40:48] = 1
    cache = array_cache([(image, mask)], 2)
    flat = PLAIN | {"rare_class_first": 1.0, "batch_size": 8}
    for scale, pixels in ((1.0, 64), (2.0, 256), (0.5, 16)):
        drawn = sampler(cache, indices=[0], **(flat | {"scale_min": scale, "scale_max": scale}))
        targets = torch.cat([drawn.batch(epoch, 0)[1] for epoch in range(1, 5)])
        counts = (targets == 1).flatten(1).sum(dim=1)
        assert counts.max() == pixels


def test_scales_are_spread_between_their_bounds(cache):
    """How far the rows of the source are apart in the crop tells its scale."""
    drawn = sampler(cache, **(PLAIN | {"scale_min": 0.5, "scale_max": 2.0}), crop="32x32", batch_size=6)
    slopes = []
    for epoch in range(1, 31):
        for image_CHW, target_HW in zip(*drawn.batch(epoch, 0), strict=True):
            if (target_HW != IGNORED).all():
                slopes.append((int(image_CHW[0, 24, 16]) - int(image_CHW[0, 8, 16])) / 16)
    scales = 1 / np.array(slopes)
    assert 0.45 < scales.min() < 0.6
    assert 1.6 < scales.max() < 2.4
    assert 0.9 < np.exp(np.log(scales).mean()) < 1.1  # uniform in the logarithm


@pytest.mark.parametrize(("flip", "axis"), [("horizontal_flip", 1), ("vertical_flip", 0)])
def test_flips_turn_half_of_the_crops_image_and_mask_alike(array_cache, flip, axis):
    image, _ = coded_pair(0)
    cache = array_cache([(image, image[..., axis])], 200)  # a pixel's label is its row or column
    drawn = sampler(cache, indices=[0], **(PLAIN | {flip: True}), batch_size=8)
    turned = 0
    for epoch in range(1, 11):
        for image_CHW, target_HW in zip(*drawn.batch(epoch, 0), strict=True):
            assert torch.equal(image_CHW[axis], target_HW)
            steps = target_HW.long().diff(dim=axis)
            assert (steps == steps[0, 0]).all()
            turned += int(steps[0, 0] == -1)
    assert 25 < turned < 55


def test_color_jitter_leaves_the_labels(array_cache):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3))
    cache = array_cache([(image, image[..., 0] // 86)], 3)
    drawn = sampler(cache, indices=[0], **(PLAIN | {"color_jitter": 1.0}), crop="64x64")
    images, target = drawn.batch(1, 0)
    assert (target == torch.from_numpy(image[..., 0] // 86)).all()
    assert len({tuple(picture.flatten().tolist()) for picture in images}) == 4


DRAWN = {"crop": "64x96", "scale_min": 0.4, "scale_max": 3.0, "vertical_flip": True, "rare_class_first": 0.3}


@pytest.mark.parametrize("color_jitter", [0.0, 0.2, 1.0])
def test_a_crop_is_what_torchvision_makes_of_its_plan(array_cache, color_jitter):
    generator = np.random.default_rng(0)
    shapes = [(80, 112), (50, 70), (200, 90)]
    pairs = [(generator.integers(0, 256, (*shape, 3)), generator.integers(0, 3, shape)) for shape in shapes]
    cache = array_cache(pairs, 3)
    drawn = sampler(cache, range(3), **DRAWN, color_jitter=color_jitter, batch_size=3)
    plans = []
    for epoch in range(1, 9):
        for position, (image_CHW, target_HW) in enumerate(zip(*drawn.batch(epoch, 0), strict=True)):
            plans.append(drawn.plan(epoch, position))
            wanted_CHW, wanted_HW = by_torchvision(cache, plans[-1], (64, 96), color_jitter)
            assert torch.equal(image_CHW, wanted_CHW)
            assert torch.equal(target_HW, wanted_HW)
    assert {flips_of(plan) for plan in plans} == {(a, b) for a in (False, True) for b in (False, True)}
    assert {plan.index for plan in plans} == {0, 1, 2}


def flips_of(plan):
    return tuple(plan.numbers[flip][0] < 0.5 for flip in ("horizontal_flip", "vertical_flip"))


def by_torchvision(cache, plan, size, color_jitter):
    image, mask = (array.copy() for array in cut(cache, plan.index, plan.window))
    image_CHW = F.resize(torch.from_numpy(image).permute(2, 0, 1), list(size), antialias=True)
    mask_1HW = F.resize(torch.from_numpy(mask)[None], list(size), InterpolationMode.NEAREST_EXACT)
    for flipped, flip in zip(flips_of(plan), (F.horizontal_flip, F.vertical_flip), strict=True):
        if flipped:
            image_CHW, mask_1HW = flip(image_CHW), flip(mask_1HW)
    if color_jitter > 0:
        brightness, contrast, saturation = (1 + color_jitter * (2 * n - 1) for n in plan.numbers["color_jitter"])
        image_CHW = F.adjust_brightness(image_CHW, brightness)
        image_CHW = F.adjust_contrast(image_CHW, contrast)
        image_CHW = F.adjust_saturation(image_CHW, saturation)
    return image_CHW, mask_1HW[0]


def test_the_numbers_of_the_augmentations_follow_those_of_the_place(cache):
    drawn = sampler(cache, seed=5, vertical_flip=True, color_jitter=0.3)
    generator = np.random.default_rng((5, 2, 4))
    generator.random(7)
    across, down, *colours = generator.random(5).tolist()
    wanted = {"horizontal_flip": (across,), "vertical_flip": (down,), "color_jitter": tuple(colours)}
    assert drawn.plan(2, 3).numbers == wanted


def test_cut_reaches_beyond_on_every_side(array_cache):
    cache = array_cache([coded_pair(0, (4, 5), label=1)], 2)
    image, mask = cut(cache, 0, Window(-1, -2, 7, 9))
    assert mask.shape == (7, 9)
    assert image.shape == (7, 9, 3)
    assert (mask[1:5, 2:7] == 1).all()
    assert (mask == 1).sum() == 20
    np.testing.assert_array_equal(image[1:5, 2:7], cache.image(0))


def test_cut_inside_copies_nothing(cache):
    image, mask = cut(cache, 0, Window(3, 4, 10, 20))
    assert np.shares_memory(image, cache.image(0))
    assert np.shares_memory(mask, cache.mask(0))


def test_a_batch_may_be_written_to(cache):
    images, target = sampler(cache, **PLAIN).batch(1, 0)
    images.zero_()
    target.zero_()
    assert cache.image(1)[5, 5, 0] == 5
