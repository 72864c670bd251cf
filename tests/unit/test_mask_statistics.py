import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.evidence import mask_statistics
from analysis.evidence.mask_statistics import choose_grid, count_cached_masks, count_masks
from trainable.data.dataset_config import DatasetConfig
from trainable.data.image_cache import open_cache
from trainable.data.image_set import ImageSet, LabelClass, MaskEncoding, Sample
from trainable.data.read_image_set import read_image_set
from trainable.errors import InputError

REPOSITORY = Path(__file__).parents[2]
DATA = Path(os.environ.get("AEROSWEEP_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
PARTS = ("pixel_counts", "thing_ninths", "presence", "shapes")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return read_image_set(DatasetConfig(layout="synthetic", images=40, size="64x96"), folder), folder


def test_a_cache_gives_the_same_as_the_files(made):
    image_set, folder = made
    cache = open_cache(image_set, folder)
    files, cached = count_masks(image_set), count_cached_masks(image_set, cache)
    for part in PARTS:
        np.testing.assert_array_equal(getattr(files, part), getattr(cached, part))
    np.testing.assert_array_equal(files.pixel_counts, cache.pixel_counts)
    assert files.presence.sum() == files.pixel_counts[:, list(image_set.thing_labels)].sum() > 0
    assert files.images == 40


def test_a_grid_that_is_too_large_is_reduced_in_the_same_way_from_both(made, monkeypatch):
    image_set, folder = made
    monkeypatch.setattr(mask_statistics, "MOST_CELLS", 32 * 48)
    files, cached = count_masks(image_set), count_cached_masks(image_set, open_cache(image_set, folder))
    assert files.grid == cached.grid == (32, 48)
    assert files.resampled
    assert not files.sizes_differ
    np.testing.assert_array_equal(files.presence, cached.presence)
    things = list(image_set.thing_labels)
    assert files.presence.sum() == pytest.approx(files.pixel_counts[:, things].sum() / 4, rel=1e-5)


def test_progress_is_told_mask_by_mask(made):
    told = []
    count_masks(made[0], lambda done, total: told.append((done, total)))
    assert told == [(done, 40) for done in range(1, 41)]


def test_nothing_is_written_and_no_image_is_opened(made, tmp_path):
    image_set, _ = made
    samples = tuple(type(s)(s.id, tmp_path / "no such image", s.mask, s.scene, s.split) for s in image_set)
    without = ImageSet("without", image_set.classes, image_set.encoding, samples)
    np.testing.assert_array_equal(count_masks(without).presence, count_masks(image_set).presence)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("shapes", "grid"),
    [
        ([(720, 1280)] * 3, (720, 1280)),
        ([(1440, 2560)], (720, 1280)),
        ([(1280, 720)], (1280, 720)),
        ([(10, 40), (30, 20), (20, 80)], (20, 40)),
        ([(1, 3)], (1, 3)),
    ],
)
def test_the_grid_is_the_median_size_within_the_limit(shapes, grid):
    assert choose_grid(np.array(shapes)) == grid


def test_a_set_without_things_counts_pixels_and_has_no_presence(tmp_path):
    mask = tmp_path / "m.png"
    Image.fromarray(np.array([[0, 1, 1], [1, 1, 255]], dtype=np.uint8)).save(mask)
    classes = (LabelClass("a", (0, 0, 0), False), LabelClass("b", (1, 1, 1), False))
    encoding = MaskEncoding("ids", ids={0: 0, 1: 1, 255: 255})
    sample = lone_sample(mask)
    statistics = count_masks(ImageSet("x", classes, encoding, (sample,)))
    assert statistics.pixel_counts.tolist() == [[1, 4]]
    assert statistics.presence.shape == (0, 2, 3)


def lone_sample(mask):
    return Sample("m", mask, mask, "s", "train")


def test_an_empty_set_and_a_broken_mask_are_refused(tmp_path):
    classes, encoding = (LabelClass("a", (0, 0, 0), True),), MaskEncoding("ids", ids={0: 0})
    with pytest.raises(InputError, match="must have an image"):
        count_masks(ImageSet("x", classes, encoding, ()))
    broken = tmp_path / "m.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(InputError, match="a mask must be decodable"):
        count_masks(ImageSet("x", classes, encoding, (lone_sample(broken),)))
    Image.fromarray(np.array([[0, 7]], dtype=np.uint8)).save(broken)
    with pytest.raises(InputError, match="id 7"):
        count_masks(ImageSet("x", classes, encoding, (lone_sample(broken),)))


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no folder {DATA}; set AEROSWEEP_TEST_DATA to the real images")
def test_real_tiles_of_all_sizes_and_encodings():
    config = DatasetConfig(
        layout="described", description=REPOSITORY / "examples/dubai_tiles.yaml", root=DATA / "dubai"
    )
    image_set = read_image_set(config, Path("unused"))
    whole = ImageSet("x", image_set.classes, image_set.encoding, image_set.samples[::9])
    statistics = count_masks(whole)
    shares = statistics.presence[0].mean() / statistics.images
    of_images = statistics.pixel_counts[:, 0] / statistics.shapes.prod(axis=1)
    assert statistics.sizes_differ
    assert shares == pytest.approx(of_images.mean(), rel=0.002)  # cells of unequal numbers of pixels
