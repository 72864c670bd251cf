"""Crops of any image at any scale: full size, the class inside, labels of the image or none."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from trainable.batches.crops import CropSampler, _nearest, _start
from trainable.config.sections import DataConfig
from trainable.data.image_set import IGNORED


@given(
    side=st.integers(1, 300),
    length=st.integers(1, 300),
    place=st.floats(0, 1, exclude_max=True),
    anchor=st.none() | st.floats(0, 1, exclude_max=True),
)
def test_a_window_holds_its_anchor_and_stays_inside_where_it_can(side, length, place, anchor):
    pixel = None if anchor is None else int(anchor * length)
    start = _start(place, side, length, pixel)
    if side <= length:
        assert start >= 0
        assert start + side <= length
    else:
        assert start <= 0
        assert start + side >= length
    if pixel is not None:
        assert start <= pixel < start + side


@settings(max_examples=300, deadline=None)
@given(length=st.integers(1, 5000), wanted=st.integers(1, 2100))
def test_labels_are_taken_from_where_torch_takes_them(length, wanted):
    places = np.arange(length)
    bytes_2L1 = torch.from_numpy(np.stack([places % 256, places // 256]).astype(np.uint8))[..., None]
    low, high = F.resize(bytes_2L1, [wanted, 1], InterpolationMode.NEAREST_EXACT)[..., 0].numpy().astype(np.int64)
    np.testing.assert_array_equal(_nearest(length, wanted), 256 * high + low)


@settings(max_examples=60, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 150), st.integers(1, 150)), min_size=1, max_size=3),
    scales=st.tuples(st.floats(0.3, 4), st.floats(0.3, 4)).map(sorted),
    class_first=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_any_image_gives_full_crops_of_its_own_labels(array_cache, shapes, scales, class_first, seed):
    generator = np.random.default_rng(seed)
    pairs = [(generator.integers(0, 256, (*shape, 3)), generator.choice([0, 1, IGNORED], shape)) for shape in shapes]
    pairs[0][1][0, 0] = 2
    config = DataConfig(
        batch_size=3,
        crop="32x64",
        rare_class_first=class_first,
        scale_min=scales[0],
        scale_max=scales[1],
        vertical_flip=True,
    )
    sampler = CropSampler(array_cache(pairs, 3), range(len(pairs)), config, seed)
    images, target = sampler.batch(1, 0)
    assert images.shape == (3, 3, 32, 64)
    assert target.shape == (3, 32, 64)
    assert set(target.unique().tolist()) <= {0, 1, 2, IGNORED}


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    place=st.tuples(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True)),
    scale=st.floats(1, 4),
    seed=st.integers(0, 1000),
)
def test_a_crop_drawn_for_a_class_has_it_however_few_its_pixels(array_cache, shape, place, scale, seed):
    """At scale 1 and above: below it, single pixels can fall between the samples."""
    mask = np.full(shape, IGNORED)
    mask[int(place[0] * shape[0]), int(place[1] * shape[1])] = 1
    config = DataConfig(batch_size=2, crop="32x32", rare_class_first=1.0, scale_min=scale, scale_max=scale)
    sampler = CropSampler(array_cache([(np.zeros((*shape, 3)), mask)], 2), [0], config, seed)
    _, target = sampler.batch(1, 0)
    assert (target == 1).flatten(1).any(dim=1).all()
