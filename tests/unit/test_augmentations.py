"""One suite for every augmentation: a new one is a class and a field of DataConfig, and costs nothing here."""

from itertools import product
from typing import Annotated

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from trainable.batches.augmentation import Augmentations
from trainable.batches.crops import CropSampler
from trainable.config.augmentation import Augmentation, augmentations_of
from trainable.config.sections import DataConfig
from trainable.config.user_class import load_class
from trainable.data.image_set import IGNORED

MARKS = dict(augmentations_of(DataConfig))
HEIGHT, WIDTH = 32, 64


@pytest.fixture(params=MARKS)
def name(request):
    return request.param


def on(name):
    """The first of some values that the field takes."""
    for value in (True, 0.5, 1):
        try:
            return getattr(DataConfig(**{name: value}), name)
        except ValidationError:
            continue
    raise AssertionError(f"none of the values fits {name}")


ALL_ON = {name: on(name) for name in MARKS}
ALL_OFF = dict.fromkeys(MARKS, 0)


def make(name):
    return load_class(MARKS[name].implementation)(ALL_ON[name])


def some_numbers(augmentation):
    """The bounds, and numbers between them."""
    bounds = list(product((0.0, np.nextafter(1.0, 0.0)), repeat=augmentation.draws))
    return bounds + np.random.default_rng(0).random((20, augmentation.draws)).tolist()


def crop(channels_last=True):
    """Noise, with labels and IGNORED."""
    generator = np.random.default_rng(1)
    image_HWC = torch.from_numpy(generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    mask_HW = torch.from_numpy(generator.choice([0, 1, 2, IGNORED], (HEIGHT, WIDTH)).astype(np.uint8))
    image_CHW = image_HWC.permute(2, 0, 1)
    return image_CHW if channels_last else image_CHW.contiguous(), mask_HW


def changed(augmentation, numbers, channels_last=True):
    image_CHW, mask_HW = crop(channels_last)
    augmentation(image_CHW, mask_HW, numbers)
    return image_CHW, mask_HW


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_fields_are_listed_in_order():
    assert list(MARKS)[:3] == ["horizontal_flip", "vertical_flip", "color_jitter"]
    assert all(isinstance(mark, Augmentation) for mark in MARKS.values())


def test_says_how_many_numbers_it_draws(name):
    draws = load_class(MARKS[name].implementation).draws
    assert type(draws) is int
    assert len(Augmentations(DataConfig(**ALL_ON)).draw(np.random.default_rng(0))[name]) == draws


@pytest.mark.parametrize("channels_last", [True, False])
def test_works_in_place_and_keeps_type_shape_and_order_in_memory(name, channels_last):
    augmentation = make(name)
    for numbers in some_numbers(augmentation):
        pair = crop(channels_last)
        before = [(part.data_ptr(), part.dtype, part.shape, part.stride()) for part in pair]
        assert augmentation(*pair, numbers) is None
        assert [(part.data_ptr(), part.dtype, part.shape, part.stride()) for part in pair] == before


def test_changes_some_crops(name):
    augmentation = make(name)
    assert any(not same(changed(augmentation, numbers), crop()) for numbers in some_numbers(augmentation))


def test_labels_move_and_change_in_no_other_way(name):
    augmentation, before = make(name), crop()[1]
    for numbers in some_numbers(augmentation):
        after = changed(augmentation, numbers)[1]
        assert torch.equal(after.flatten().sort().values, before.flatten().sort().values)


def test_the_numbers_alone_decide(name):
    """Neither what was changed before, nor the order in memory, nor anyone's random state."""
    augmentation, other = make(name), make(name)
    for number, numbers in enumerate(some_numbers(augmentation)):
        first = changed(augmentation, numbers)
        torch.manual_seed(number)
        assert same(first, changed(augmentation, numbers))
        assert same(first, changed(augmentation, numbers, channels_last=False))
    assert same(changed(other, numbers), changed(augmentation, numbers))


def test_one_that_is_off_changes_nothing(name):
    others = Augmentations(DataConfig(**(ALL_ON | {name: 0})))
    numbers = others.draw(np.random.default_rng(0))
    assert [*numbers] == [each for each in MARKS if each != name]
    expected, found = crop(), crop()
    for each, its_numbers in numbers.items():
        make(each)(*expected, its_numbers)
    others.apply(*found, numbers)
    assert same(found, expected)


def test_with_all_off_a_crop_stays_as_it_is():
    none = Augmentations(DataConfig(**ALL_OFF))
    numbers = none.draw(np.random.default_rng(0))
    assert numbers == {}
    found = crop()
    none.apply(*found, numbers)
    assert same(found, crop())


def test_one_that_is_off_is_not_made(name, monkeypatch):
    def refuse(self, value):
        raise AssertionError(f"made with {value}")

    monkeypatch.setattr(load_class(MARKS[name].implementation), "__init__", refuse)
    Augmentations(DataConfig(**(ALL_ON | {name: 0})))
    with pytest.raises(AssertionError, match="made with"):
        Augmentations(DataConfig(**(ALL_OFF | {name: ALL_ON[name]})))


def numbers_of(config, seed):
    generator = np.random.default_rng(seed)
    return Augmentations(config).draw(generator), generator.random()


def test_its_numbers_do_not_depend_on_the_values_of_others(name):
    for seed in range(5):
        among_others, then = numbers_of(DataConfig(**ALL_ON), seed)
        alone, then_alone = numbers_of(DataConfig(**(ALL_OFF | {name: ALL_ON[name]})), seed)
        assert alone == {name: among_others[name]}
        assert then == then_alone


class Inverted:
    draws = 2

    def __init__(self, value):
        self.value = value

    def __call__(self, image_CHW, mask_HW, numbers):
        if numbers[1] < self.value:
            image_CHW.bitwise_not_()


class Extended(DataConfig):
    inverted: Annotated[float, Augmentation(f"{__name__}:Inverted")] = 0.0


def test_a_new_one_is_a_class_and_a_field(array_cache):
    """And leaves the crops of the others as they were."""
    noise = np.random.default_rng(2).integers(0, 256, (80, 90, 3))
    cache = array_cache([(noise, noise[..., 0] // 86)], 3)
    drawn = {"batch_size": 4, "crop": f"{HEIGHT}x{WIDTH}", **ALL_ON}
    configs = (DataConfig(**drawn), Extended(**drawn), Extended(**drawn, inverted=1.0))
    without, switched_off, switched_on = (CropSampler(cache, [0], config, 0).batch(1, 0) for config in configs)
    assert same(without, switched_off)
    assert same(switched_on, (~without[0], without[1]))
