"""The decoded image set as memory-mapped uint8 arrays, built once a node and shared by all its trials."""

import hashlib
import json
import os
import re
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image

from trainable.data.components import Objects, find_objects
from trainable.data.files.free_space import require_space
from trainable.data.files.masks import decode_pair
from trainable.data.files.pictures import UNDECODABLE, decode_image
from trainable.data.image_set import ImageSet, Sample
from trainable.errors import InputError

_FORMAT_VERSION: Final = 3
"""Part of the key: a change of the layout below makes old caches invisible."""

_BYTES_PER_PIXEL: Final = 5
"""On the disk: RGB, label, and 4 bytes a pixel of an object, which no more than a quarter of all pixels are."""

Progress = Callable[[int, int], None]


class ImageCache:
    """Decoded images and masks of an image set; slices of the maps, nothing is copied until it is used.

    Args:
        folder: A folder that `open_cache` built.

    Attributes:
        fingerprint: Hash of all image and mask bytes, of scenes, splits, classes and the encoding: the same data on
            two machines have the same fingerprint.
        pixel_counts: int64 (samples x classes), valid pixels of each class in each image.
        shapes: int64 (samples x 2), height and width.
        digests: uint8 (samples x 16), hashes of the bytes of each image and its mask.
    """

    def __init__(self, folder: Path) -> None:
        meta = json.loads((folder / "meta.json").read_text())
        self.folder = folder
        self.fingerprint: str = meta["fingerprint"]
        self.shapes: NDArray[np.int64] = _table(folder / "shapes.npy")
        self.pixel_counts: NDArray[np.int64] = _table(folder / "pixel_counts.npy")
        self.digests: NDArray[np.uint8] = _table(folder / "digests.npy")
        self._offsets = _starts(self.shapes.prod(axis=1))
        # As plain arrays, of which a slice costs a fifth of a memmap's.
        self._images = np.asarray(np.memmap(folder / "images.u8", dtype=np.uint8, mode="r"))
        self._masks = np.asarray(np.memmap(folder / "masks.u8", dtype=np.uint8, mode="r"))
        # A row an object: its image, its class, its pixels.
        table: NDArray[np.int64] = _table(folder / "objects.npy")
        self._object_labels = np.ascontiguousarray(table[:, 1])
        self._object_starts = _starts(table[:, 2])
        self._first_objects = _starts(np.bincount(table[:, 0], minlength=len(self.shapes)))
        self._object_pixels = _map(folder / "object_pixels.i32")

    def __len__(self) -> int:
        return len(self.shapes)

    def image(self, index: int) -> NDArray[np.uint8]:
        """The RGB image `index`, uint8 HxWx3, a read-only view of the map."""
        height, width = self.shapes[index]
        start = 3 * self._offsets[index]
        return self._images[start : start + 3 * height * width].reshape(height, width, 3)

    def mask(self, index: int) -> NDArray[np.uint8]:
        """The labels of image `index`, uint8 HxW with 255 where ignored, a read-only view of the map."""
        height, width = self.shapes[index]
        start = self._offsets[index]
        return self._masks[start : start + height * width].reshape(height, width)

    def objects(self, index: int) -> Objects:
        """The objects of all thing classes in image `index`, whatever their size; their pixels are of the map."""
        first, last = self._first_objects[index : index + 2]
        starts = self._object_starts[first : last + 1]
        return Objects(self._object_labels[first:last], starts - starts[0], self._object_pixels[starts[0] : starts[-1]])


def open_cache(image_set: ImageSet, cache_dir: Path, on_progress: Progress | None = None) -> ImageCache:
    """Open the cache of `image_set` below `cache_dir`, building it first where it is missing.

    Concurrent callers on a node wait for one build. A changed, added or removed file, or a changed encoding, gives
    another key and so another cache.

    Args:
        image_set: What to decode.
        cache_dir: Where the caches of this node lie.
        on_progress: Called with (images done, images in all) while a cache is built.

    Raises:
        InputError: An image or mask cannot be used, or the disk has too little space.
    """
    name = re.sub(r"[^\w.-]", "_", image_set.name)[:100]
    folder = cache_dir / f"{name}-{cache_key(image_set)}"
    if (folder / "meta.json").exists():
        return ImageCache(folder)
    cache_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / "meta.json").exists():
            _build(image_set, folder, on_progress or _silent)
    return ImageCache(folder)


def cache_key(image_set: ImageSet) -> str:
    """16 hex digits that change with any file's path, size or time of change, the classes or the encoding."""
    digest = hashlib.blake2b(f"{_FORMAT_VERSION}{_describe(image_set)}".encode(), digest_size=8)
    for sample in image_set:
        for path in (sample.image, sample.mask):
            status = path.stat()
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def _describe(image_set: ImageSet) -> str:
    classes = [asdict(entry) for entry in image_set.classes]
    encoding = [image_set.encoding.kind, sorted(image_set.encoding.ids.items()),
                sorted(image_set.encoding.colors.items())]  # fmt: skip
    samples = [(sample.id, sample.scene, sample.split) for sample in image_set]
    return json.dumps([samples, classes, encoding])


@dataclass(frozen=True)
class _Decoded:
    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    objects: Objects
    pixel_counts: list[int]
    digest: bytes


def _build(image_set: ImageSet, folder: Path, on_progress: Progress) -> None:
    # Built aside and renamed: a cache is whole or absent, also after a kill. The name is always the same, so that
    # what a killed build left is not left for ever; the lock keeps others out.
    temporary = folder.with_name(f"{folder.name}.building")
    shutil.rmtree(temporary, ignore_errors=True)
    shapes = np.array([_size(sample) for sample in image_set], dtype=np.int64).reshape(-1, 2)
    require_space(folder.parent, _BYTES_PER_PIXEL * int(shapes.prod(axis=1).sum()), "the decoded images")
    temporary.mkdir()
    try:
        tables = _write_maps(image_set, shapes, temporary, on_progress)
        for name, table in {"shapes": shapes, **tables}.items():
            np.save(temporary / f"{name}.npy", table)
        meta = {"fingerprint": _fingerprint(image_set, tables["digests"]), "samples": len(image_set)}
        (temporary / "meta.json").write_text(json.dumps(meta))
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _write_maps(
    image_set: ImageSet, shapes: NDArray[np.int64], folder: Path, on_progress: Progress
) -> dict[str, NDArray[Any]]:
    """Write pixels, labels and objects; what is left are tables with a row a sample, or a row an object."""
    counts = np.zeros((len(image_set), len(image_set.classes)), dtype=np.int64)
    objects = [np.zeros((0, 3), dtype=np.int64)]
    digests = np.zeros((len(image_set), 16), dtype=np.uint8)
    with (
        (folder / "images.u8").open("wb") as images,
        (folder / "masks.u8").open("wb") as masks,
        (folder / "object_pixels.i32").open("wb") as object_pixels,
    ):
        for index, item in enumerate(_decode_all(image_set)):
            if item.image.shape[:2] != tuple(shapes[index]):
                changed = image_set.samples[index].image
                raise InputError("an image must not change while it is read", changed, "Start again when it is whole")
            for file, array in ((images, item.image), (masks, item.mask), (object_pixels, item.objects.pixels)):
                file.write(array.data)
            counts[index] = item.pixel_counts
            labels, sizes = item.objects.labels, item.objects.sizes
            objects.append(np.stack([np.full_like(labels, index), labels, sizes], axis=1))
            digests[index] = np.frombuffer(item.digest, dtype=np.uint8)
            on_progress(index + 1, len(image_set))
        for file in (images, masks, object_pixels):
            # Before the rename: after a power cut the name must not stand for empty maps.
            file.flush()
            os.fsync(file.fileno())
    return {"pixel_counts": counts, "objects": np.concatenate(objects), "digests": digests}


def _fingerprint(image_set: ImageSet, digests: NDArray[np.uint8]) -> str:
    digest = hashlib.blake2b(_describe(image_set).encode(), digest_size=16)
    digest.update(digests.tobytes())
    return digest.hexdigest()


def _decode_all(image_set: ImageSet) -> Iterator[_Decoded]:
    """Decode with all cores, two images a core ahead of the writer at most: the whole set may not fit in memory."""
    workers = os.cpu_count() or 1
    ahead: deque[Future[_Decoded]] = deque()
    with ThreadPoolExecutor(max_workers=workers) as threads:
        for sample in image_set:
            ahead.append(threads.submit(_decode, sample, image_set))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _decode(sample: Sample, image_set: ImageSet) -> _Decoded:
    image, mask = decode_pair(sample, image_set.encoding)
    digest = hashlib.blake2b(sample.image.read_bytes(), digest_size=16)
    digest.update(sample.mask.read_bytes())
    # In a quarter of the time of numpy's bincount, which copies to 64 bits first.
    counts = Image.fromarray(mask).histogram()[: len(image_set.classes)]
    return _Decoded(image, mask, find_objects(mask, image_set.thing_labels), counts, digest.digest())


def _size(sample: Sample) -> tuple[int, int]:
    """Height and width by the image's header."""
    try:
        with Image.open(sample.image) as image:
            return image.height, image.width
    except UNDECODABLE:
        height, width, _ = decode_image(sample.image).shape  # says what is wrong with it
        return height, width


def _table(file: Path) -> NDArray[Any]:
    """Read a table; nothing in it is ever unpickled."""
    try:
        with file.open("rb") as content:
            table: NDArray[Any] = np.lib.format.read_array(content, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        remedy = f"Delete {file.parent}: they are decoded anew"
        raise InputError("the decoded images must be whole", f"a damaged {file}", remedy) from error
    return table


def _map(file: Path) -> NDArray[np.int32]:
    """A map of the file; an empty file, which cannot be mapped, is an empty array."""
    if file.stat().st_size == 0:
        return np.zeros(0, dtype=np.int32)
    return np.memmap(file, dtype=np.int32, mode="r")


def _starts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each part begins, and the end of the last."""
    return np.concatenate([np.zeros(1, dtype=np.int64), lengths.cumsum()])


def _silent(done: int, total: int) -> None:
    """Report nothing."""
