"""Pasting into any crop: labels become thing labels or stay, and what is ignored stays."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trainable.batches.copy_paste import ObjectPaster
from trainable.config.sections import DataConfig
from trainable.data.image_set import IGNORED

sides = st.integers(1, 60)


@settings(max_examples=80, deadline=None)
@given(
    shapes=st.lists(st.tuples(sides, sides), min_size=1, max_size=3),
    crop=st.tuples(sides, sides),
    things=st.sets(st.integers(0, 3), max_size=3),
    seed=st.integers(0, 2**31),
    position=st.integers(0, 1000),
)
def test_labels_only_ever_become_thing_labels_and_pixels_come_from_their_object(
    array_cache, shapes, crop, things, seed, position
):
    generator = np.random.default_rng(seed)
    labels = [0, 1, 2, 3, IGNORED]
    masks = [generator.choice(labels, shape, p=[0.1, 0.3, 0.1, 0.2, 0.3]) for shape in shapes]
    # A training pixel's colour is its label; ground of a crop has other colours.
    cache = array_cache([(np.stack([mask] * 3, axis=-1), mask) for mask in masks], 4, sorted(things))
    image, mask = np.full((*crop, 3), 77, np.uint8), generator.choice(labels, crop).astype(np.uint8)
    before = mask.copy()
    config = DataConfig(copy_paste=1.0, horizontal_flip=bool(seed % 2))
    ObjectPaster(cache, range(len(masks)), config, seed).paste(image, mask, 1, position)
    changed = (image != 77).any(axis=-1)
    assert ((mask == IGNORED) == (before == IGNORED)).all()
    assert not changed[before == IGNORED].any()
    assert (mask[~changed] == before[~changed]).all()
    assert len(set(mask[changed].tolist())) <= 1
    assert set(mask[changed].tolist()) <= things
    assert (image[changed] == mask[changed][:, None]).all()
