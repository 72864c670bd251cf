"""Objects pasted into crops: exact, only where a label is, and drawn apart from everything else."""

import numpy as np
import pytest
import torch

from trainable.batches.copy_paste import ObjectPaster
from trainable.batches.crops import CropSampler
from trainable.config.sections import DataConfig
from trainable.data.image_set import IGNORED

PLAIN = {"scale_min": 1.0, "scale_max": 1.0, "horizontal_flip": False, "color_jitter": 0.0, "crop": "32x64"}
SHAPE = (40, 70)
CAR, BIRD, ROAD = 1, 2, 0
HOOK = [(0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (2, 3)]  # neither its own mirror image nor full in its box


def pair(objects=(), shape=SHAPE, label=ROAD):
    """Grey ground; each pixel of an object says which of its pixels it is."""
    image, mask = np.full((*shape, 3), 100), np.full(shape, label)
    for thing, top, left, places in objects:
        for number, (row, column) in enumerate(places):
            image[top + row, left + column] = (200, thing, number)
            mask[top + row, left + column] = thing
    return image, mask


def config(**changes):
    return DataConfig(**(PLAIN | {"batch_size": 4, "copy_paste": 1.0} | changes))


@pytest.fixture
def cache(array_cache):
    """Ground without a thing, and two images with some."""
    pairs = [pair(), pair([(CAR, 5, 8, HOOK)]), pair([(BIRD, 20, 30, [(0, 0)])])]
    return array_cache(pairs, 3, [CAR, BIRD])


def paste(cache, epoch=1, position=0, shape=(32, 64), indices=(0, 1, 2), seed=0, label=ROAD, **changes):
    """A crop of plain ground after a paste."""
    image, mask = (np.array(array, dtype=np.uint8) for array in pair((), shape, label))
    ObjectPaster(cache, indices, config(**changes), seed).paste(image, mask, epoch, position)
    return image, mask


def pasted(image, mask):
    """The pasted pixels by their numbers, and their label."""
    where = np.argwhere(mask != ROAD)
    (label,) = {int(mask[row, column]) for row, column in where}
    assert (image[mask == ROAD] == 100).all()
    for row, column in where:
        assert tuple(image[row, column][:2]) == (200, label)
    return label, {int(image[row, column][2]): (int(row), int(column)) for row, column in where}


def whole(cache, count=20, **changes):
    """Pastes of the hook that lie inside as a whole."""
    crops = [paste(cache, position=position, indices=[1], **changes) for position in range(count)]
    return [places for label, places in (pasted(*crop) for crop in crops) if len(places) == len(HOOK)]


def test_the_objects_exact_pixels_and_label_are_pasted(cache):
    found = whole(cache)
    assert len(found) > 10
    for places in found:
        top, left = places[0]
        assert places == {number: (top + row, left + column) for number, (row, column) in enumerate(HOOK)}


def test_objects_are_flipped_left_to_right_half_of_the_time_where_crops_are(cache):
    mirrored = 0
    found = whole(cache, 60, horizontal_flip=True)
    for places in found:
        top, left = places[0]
        sign = 1 if places[5][1] > left else -1
        assert places == {number: (top + row, left + sign * column) for number, (row, column) in enumerate(HOOK)}
        mirrored += sign == -1
    assert 0.3 < mirrored / len(found) < 0.7


def test_middles_are_spread_over_the_crop(cache):
    """The middle of a single pixel is the pixel."""
    places = [pasted(*paste(cache, position=position, indices=[2]))[1][0] for position in range(400)]
    rows, columns = np.array(places).T
    assert (rows.min(), rows.max()) == (0, 31)
    assert (columns.min(), columns.max()) == (0, 63)
    assert abs(rows.mean() - 15.5) < 1.5
    assert abs(columns.mean() - 31.5) < 3


def test_ignored_pixels_stay_as_they_are(cache):
    for position in range(30):
        image, mask = (np.array(array, dtype=np.uint8) for array in pair((), (6, 8)))
        mask[:, :4] = IGNORED
        before = image.copy()
        ObjectPaster(cache, [1], config(), 0).paste(image, mask, 1, position)
        assert (mask[:, :4] == IGNORED).all()
        np.testing.assert_array_equal(image[:, :4], before[:, :4])


def test_an_object_larger_than_the_crop_is_cut(array_cache):
    image, mask = pair()
    mask[:, 3:67] = CAR
    image[:, 3:67] = (200, CAR, 7)
    large = array_cache([(image, mask)], 3, [CAR])
    for position in range(10):
        image, mask = paste(large, position=position, indices=[0], shape=(8, 8))
        assert (mask[4, 4], tuple(image[4, 4])) == (CAR, (200, CAR, 7))  # its middle is inside, so a part is


def test_classes_are_drawn_alike_however_many_objects_they_have(array_cache):
    cars = pair([(CAR, 4 * row, 6 * column, HOOK) for row in range(9) for column in range(11)])
    cache = array_cache([cars, pair([(BIRD, 20, 30, [(0, 0)])])], 3, [CAR, BIRD])
    labels = [pasted(*paste(cache, position=position, indices=[0, 1]))[0] for position in range(300)]
    assert 0.4 < np.mean(np.array(labels) == BIRD) < 0.6


def test_objects_of_a_class_are_drawn_alike_in_all_images(array_cache):
    """Three birds in one image and one in another: each a quarter of the time."""
    first, second = pair([(BIRD, 2, column, [(0, 0)]) for column in (3, 9, 15)]), pair([(BIRD, 2, 3, [(0, 0)])])
    for number, column in enumerate((3, 9, 15)):
        first[0][2, column, 2] = number
    second[0][2, 3, 2] = 3
    cache = array_cache([pair(), first, second], 3, [BIRD])
    seen = [next(iter(pasted(*paste(cache, position=position))[1])) for position in range(400)]
    assert np.bincount(seen, minlength=4) == pytest.approx([100] * 4, abs=30)


def test_only_training_images_give_objects(cache):
    assert all(pasted(*paste(cache, position=position, indices=[0, 2]))[0] == BIRD for position in range(20))


def test_a_set_without_things_stays_as_it_is(array_cache):
    cache = array_cache([pair(), pair([(CAR, 5, 8, HOOK)])], 3)
    assert (paste(cache, indices=[0, 1])[1] == ROAD).all()


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_about_so_many_crops_get_an_object(cache, share):
    has = [(paste(cache, position=position, copy_paste=share)[1] != ROAD).any() for position in range(400)]
    assert np.mean(has) == pytest.approx(share, abs=0.07)


def test_the_same_draw_whatever_was_drawn_before_and_whatever_the_share(cache):
    alone = paste(cache, epoch=3, position=5)
    paster = ObjectPaster(cache, [0, 1, 2], config(copy_paste=0.999), 0)
    image, mask = (np.array(array, dtype=np.uint8) for array in pair((), (32, 64)))
    for position in range(4):
        paster.paste(image.copy(), mask.copy(), 2, position)
    paster.paste(image, mask, 3, 5)
    np.testing.assert_array_equal(image, alone[0])
    np.testing.assert_array_equal(mask, alone[1])


@pytest.mark.parametrize("other", [{"epoch": 2}, {"position": 1}, {"seed": 1}])
def test_another_epoch_position_or_seed_pastes_otherwise(cache, other):
    assert (paste(cache)[1] != paste(cache, **other)[1]).any()


def sampler(cache, **changes):
    return CropSampler(cache, [0, 1, 2], config(**changes), 0)


DISTORTED = {"horizontal_flip": True, "color_jitter": 0.0, "scale_min": 0.6, "scale_max": 1.7}


def test_crops_are_else_the_same_with_and_without(cache):
    """Place, zoom and flip are shared: the labels differ where something was pasted and nowhere else."""
    none, some, always = (sampler(cache, **DISTORTED, copy_paste=share) for share in (0.0, 0.5, 1.0))
    untouched = 0
    for epoch in range(1, 8):
        targets = [drawn.batch(epoch, 0)[1] for drawn in (none, some, always)]
        for plain, half, full in zip(*targets, strict=True):
            assert torch.equal(half, plain) or torch.equal(half, full)
            assert ((full == plain) | (full == CAR) | (full == BIRD)).all()
            untouched += torch.equal(half, plain)
    assert 4 < untouched < 24


def test_objects_take_the_magnification_of_their_crop(array_cache):
    """A square of 8 pixels at scale 2 is one of 16, like what lay in the crop before."""
    square = [(row, column) for row in range(8) for column in range(8)]
    cache = array_cache([pair(shape=(200, 200)), pair([(CAR, 5, 8, square)])], 3, [CAR])
    for scale, pixels in ((1.0, 64), (2.0, 256), (0.5, 16)):
        drawn = CropSampler(cache, [0], config(scale_min=scale, scale_max=scale), 0)
        drawn._paster = ObjectPaster(cache, [1], config(), 0)
        counts = torch.cat([drawn.batch(epoch, 0)[1] for epoch in range(1, 9)]).eq(CAR).flatten(1).sum(dim=1)
        assert counts.max() == pixels


def test_the_maps_are_not_written_to(cache):
    sampler(cache).batch(1, 0)
    assert (cache.mask(0) == ROAD).all()
