"""The cache of decoded images: what the decoder says, built once, whole or absent."""

import dataclasses
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from waiting import PATIENCE, has_ended, wait_until

from trainable.data.components import find_objects
from trainable.data.files.masks import decode_pair
from trainable.data.image_cache import cache_key, open_cache
from trainable.data.image_set import IGNORED, ImageSet, MaskEncoding
from trainable.errors import InputError

CLASSES = 4


@pytest.fixture
def pairs():
    generator = np.random.default_rng(0)
    shapes = [(5, 7), (8, 3), (5, 7), (1, 11), (6, 6)]
    return [
        (generator.integers(0, 256, (*shape, 3)), generator.choice([0, 1, 3, IGNORED], size=shape)) for shape in shapes
    ]


@pytest.fixture
def image_set(tmp_path, pairs, write_image_set):
    return write_image_set(tmp_path / "set", pairs, CLASSES)


@pytest.fixture
def cache_dir(tmp_path):
    return tmp_path / "caches"


def folders(cache_dir):
    return sorted(path.name for path in cache_dir.iterdir() if path.is_dir()) if cache_dir.exists() else []


def test_holds_what_the_decoder_says(image_set, cache_dir, pairs):
    cache = open_cache(image_set, cache_dir)
    assert len(cache) == len(pairs)
    for index, (image, mask) in enumerate(pairs):
        decoded = decode_pair(image_set.samples[index], image_set.encoding)
        for given, expected in zip((cache.image(index), cache.mask(index)), decoded, strict=True):
            assert given.dtype == np.uint8
            np.testing.assert_array_equal(given, expected)
        np.testing.assert_array_equal(cache.image(index), image)
        np.testing.assert_array_equal(cache.mask(index), mask)
        assert tuple(cache.shapes[index]) == mask.shape


def test_counts_valid_pixels_by_class(image_set, cache_dir, pairs):
    counts = open_cache(image_set, cache_dir).pixel_counts
    assert counts.dtype == np.int64
    expected = [[np.sum(mask == label) for label in range(CLASSES)] for _, mask in pairs]
    np.testing.assert_array_equal(counts, expected)


def with_things(image_set, labels):
    classes = [dataclasses.replace(entry, thing=label in labels) for label, entry in enumerate(image_set.classes)]
    return dataclasses.replace(image_set, classes=tuple(classes))


@pytest.mark.parametrize("things", [(0, 3), (1,), (2,), ()])
def test_objects_are_those_of_the_masks(image_set, cache_dir, pairs, things):
    """Class 2 has no pixel in any mask."""
    cache = open_cache(with_things(image_set, things), cache_dir)
    for index, (_, mask) in enumerate(pairs):
        given, expected = cache.objects(index), find_objects(mask.astype(np.uint8), things)
        for name in ("labels", "starts", "pixels", "sizes"):
            np.testing.assert_array_equal(getattr(given, name), getattr(expected, name))
            assert getattr(given, name).dtype == getattr(expected, name).dtype


def test_an_image_without_an_object_between_images_with_some(tmp_path, cache_dir, write_image_set):
    masks = [np.array([[1, 0, 1]]), np.zeros((2, 2)), np.array([[0, 0], [1, 1], [0, 2]])]
    image_set = write_image_set(tmp_path / "gap", [(np.zeros((*mask.shape, 3)), mask) for mask in masks], 3)
    cache = open_cache(with_things(image_set, (1, 2)), cache_dir)
    assert [cache.objects(index).labels.tolist() for index in range(3)] == [[1, 1], [], [1, 2]]
    assert [cache.objects(index).starts.tolist() for index in range(3)] == [[0, 1, 2], [0], [0, 2, 3]]
    assert [cache.objects(index).pixels.tolist() for index in range(3)] == [[0, 2], [], [2, 3, 5]]


def test_is_read_only(image_set, cache_dir):
    cache = open_cache(image_set, cache_dir)
    with pytest.raises(ValueError, match="read-only"):
        cache.image(0)[0, 0] = 0


def test_is_built_once_and_says_how_far_it_is(image_set, cache_dir):
    heard = []
    open_cache(image_set, cache_dir, lambda done, total: heard.append((done, total)))
    assert heard == [(done, 5) for done in (1, 2, 3, 4, 5)]
    heard.clear()
    open_cache(image_set, cache_dir, lambda done, total: heard.append((done, total)))
    assert heard == []
    assert len(folders(cache_dir)) == 1


def test_order_is_kept_however_many_images_are_decoded_ahead(tmp_path, cache_dir, write_image_set):
    pairs = [(np.full((2, 3, 3), value), np.zeros((2, 3))) for value in range(60)]
    cache = open_cache(write_image_set(tmp_path / "many", pairs, 2), cache_dir)
    assert [int(cache.image(index)[0, 0, 0]) for index in range(60)] == list(range(60))


def test_concurrent_threads_build_once(image_set, cache_dir):
    heard = []
    with ThreadPoolExecutor(4) as threads:
        caches = list(
            threads.map(
                lambda _: open_cache(image_set, cache_dir, lambda *_: (heard.append(1), time.sleep(0.02))), range(4)
            )
        )
    assert len(heard) == len(image_set)
    assert len({cache.fingerprint for cache in caches}) == 1
    assert len(folders(cache_dir)) == 1


PROGRAM = """if True:
    import os, pickle, sys, time
    from pathlib import Path
    from trainable.data.image_cache import open_cache
    folder = Path(sys.argv[1])
    image_set = pickle.loads((folder / "set.pickle").read_bytes())
    def progress(done, total):
        with (folder / "built").open("a") as file:
            file.write("x")
        while len(list(folder.glob("ready*"))) < int(sys.argv[2]):
            time.sleep(0.01)
    (folder / f"ready{os.getpid()}").touch()
    cache = open_cache(image_set, folder / "caches", progress)
    print(cache.fingerprint, int(cache.image(0).sum()))
"""


def start(tmp_path, processes):
    """A process that opens the cache; while it builds it, it waits until so many are about to open it."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path), str(processes)], stdout=subprocess.PIPE, text=True
    )


@pytest.fixture
def pickled(tmp_path, image_set):
    (tmp_path / "set.pickle").write_bytes(pickle.dumps(image_set))


@pytest.mark.usefixtures("pickled")
def test_two_processes_build_once(tmp_path, image_set):
    processes = [start(tmp_path, 2) for _ in range(2)]
    outputs = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    assert outputs[0] == outputs[1] != ""
    assert (tmp_path / "built").read_text() == "x" * len(image_set)


@pytest.mark.usefixtures("pickled")
def test_a_killed_build_leaves_no_cache_and_no_litter(tmp_path, image_set, cache_dir, pairs):
    process = start(tmp_path, 2)  # the other never comes
    try:
        wait_until((tmp_path / "built").exists, "the first image", unless=has_ended(process))
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    (left,) = folders(cache_dir)
    assert left.endswith(".building")
    cache = open_cache(image_set, cache_dir)
    np.testing.assert_array_equal(cache.image(0), pairs[0][0])
    assert folders(cache_dir) == [cache.folder.name]


def test_a_failed_build_leaves_nothing(image_set, cache_dir):
    def fail(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_cache(image_set, cache_dir, fail)
    assert folders(cache_dir) == []


def rewrite(path):
    pixels = np.array(Image.open(path))
    pixels.flat[0] = 1 - pixels.flat[0] if pixels.flat[0] in (0, 1) else 0
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_a_changed_file_gives_another_cache(image_set, cache_dir, kind):
    before = open_cache(image_set, cache_dir)
    path = getattr(image_set.samples[2], kind)
    rewrite(path)
    after = open_cache(image_set, cache_dir)
    assert after.fingerprint != before.fingerprint
    assert after.folder != before.folder
    given = after.image(2) if kind == "image" else after.mask(2)
    np.testing.assert_array_equal(given, np.array(Image.open(path)))


def test_a_touched_file_is_decoded_again_and_is_the_same_data(image_set, cache_dir):
    before = open_cache(image_set, cache_dir)
    os.utime(image_set.samples[0].image, (1, 1))
    after = open_cache(image_set, cache_dir)
    assert after.folder != before.folder
    assert after.fingerprint == before.fingerprint


def test_fewer_samples_or_another_encoding_give_another_cache(image_set, cache_dir):
    fewer = dataclasses.replace(image_set, samples=image_set.samples[1:])
    encoding = MaskEncoding("ids", ids={0: 1, 1: 0, 2: 2, 3: 3, IGNORED: IGNORED})
    swapped = dataclasses.replace(image_set, encoding=encoding)
    caches = [open_cache(each, cache_dir) for each in (image_set, fewer, swapped)]
    assert len({cache.fingerprint for cache in caches}) == 3
    assert len({cache.folder for cache in caches}) == 3
    np.testing.assert_array_equal(caches[2].mask(0) == 0, caches[0].mask(0) == 1)


def test_the_fingerprint_does_not_depend_on_where_the_files_lie(tmp_path, pairs, cache_dir, write_image_set):
    here, there = (write_image_set(tmp_path / name, pairs, CLASSES) for name in ("here", "there/deeper"))
    assert cache_key(here) != cache_key(there)
    assert open_cache(here, cache_dir).fingerprint == open_cache(there, cache_dir).fingerprint


def test_too_little_space_is_refused_before_any_work(image_set, cache_dir, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**40, 2**40 - 256 * 2**20, 256 * 2**20))
    heard = []
    with pytest.raises(InputError, match=r"need 0\.3 GiB in .*caches; got 0\.2 GiB free\. .*resources\.cache_dir"):
        open_cache(image_set, cache_dir, lambda *done: heard.append(done))
    assert heard == []
    assert folders(cache_dir) == []


def test_enough_space_is_five_bytes_a_pixel_and_a_reserve(image_set, cache_dir, monkeypatch, pairs):
    usage = namedtuple("usage", "total used free")
    needed = 5 * sum(mask.size for _, mask in pairs) + 256 * 2**20
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, needed - 1))
    with pytest.raises(InputError):
        open_cache(image_set, cache_dir)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, needed))
    open_cache(image_set, cache_dir)


def test_image_and_mask_of_differing_sizes_are_refused(image_set, cache_dir):
    Image.fromarray(np.zeros((5, 8), dtype=np.uint8)).save(image_set.samples[0].mask)
    with pytest.raises(InputError, match=r"one size; got .*000_mask\.png: image 5x7, mask 5x8"):
        open_cache(image_set, cache_dir)
    assert folders(cache_dir) == []


def test_a_file_that_is_no_image_is_named(image_set, cache_dir):
    image_set.samples[3].image.write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"003\.png"):
        open_cache(image_set, cache_dir)
    assert folders(cache_dir) == []


def test_a_set_may_have_any_name(image_set, cache_dir):
    named: ImageSet = dataclasses.replace(image_set, name="../Cars & roads/2026")
    folder = open_cache(named, cache_dir).folder
    assert folder.parent == cache_dir
    assert folder.name.startswith(".._Cars___roads_2026-")


@pytest.mark.parametrize("name", ["shapes", "pixel_counts", "digests", "objects"])
@pytest.mark.parametrize("damage", [lambda data: data[:40], lambda data: b"", lambda data: pickle.dumps([1])])
def test_a_damaged_table_is_named_with_what_to_delete(image_set, cache_dir, name, damage):
    folder = open_cache(image_set, cache_dir).folder
    table = folder / f"{name}.npy"
    table.write_bytes(damage(table.read_bytes()))
    with pytest.raises(InputError, match=rf"got a damaged {table}\. Delete {folder}: they are decoded anew"):
        open_cache(image_set, cache_dir)
