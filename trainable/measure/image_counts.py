"""What a network did on each image of a split: all that statistics over images, scenes and object sizes need."""

import io
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from trainable.data.image_set import LabelClass


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageCounts:
    """Counts by image; N images, C classes, B bins of object size.

    Attributes:
        images: Ids of the images, (N,).
        scenes: The scene of each image, (N,).
        class_names: In label order, (C,).
        class_colors: RGB of each class, uint8 (C, 3).
        things: Which classes are things, bool (C,).
        counts: int64 (N, C, 3): pixels that are true positives, false negatives, false positives.
        sized_objects: int64 (N, C, B, 3): true objects, missed ones, false alarms, in the bins of
            `trainable.measure.object_errors.SIZE_EDGES`; zeros for stuff.
    """

    images: tuple[str, ...]
    scenes: tuple[str, ...]
    class_names: tuple[str, ...]
    class_colors: NDArray[np.uint8]
    things: NDArray[np.bool_]
    counts: NDArray[np.int64]
    sized_objects: NDArray[np.int64]

    @property
    def objects(self) -> NDArray[np.int64]:
        """int64 (N, C, 3): objects of all sizes."""
        objects: NDArray[np.int64] = self.sized_objects.sum(axis=2)
        return objects

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """The classes as their image set described them."""
        parts = zip(self.class_names, self.class_colors.tolist(), self.things.tolist(), strict=True)
        return tuple(LabelClass(name, (red, green, blue), thing) for name, (red, green, blue), thing in parts)

    def to_bytes(self) -> bytes:
        """As a compressed npz file without pickled objects."""
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {field.name: _array(getattr(self, field.name)) for field in fields(self)}
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote; nothing is unpickled.

        Raises:
            ValueError: It is no such file.
            KeyError: A part is missing.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as parts:
                return cls(**{field.name: _value(parts[field.name]) for field in fields(cls)})
        except ValueError as error:
            # numpy's own message goes on to say how to execute what is pickled in it.
            raise ValueError("it holds something else than counts and names") from error


def _array(value: Any) -> NDArray[Any]:
    return np.array(value, dtype=np.str_) if isinstance(value, tuple) else np.asarray(value)


def _value(array: NDArray[Any]) -> Any:
    """What `_array` was made of: names, a number, or the array itself."""
    if array.dtype.kind == "U":
        return tuple(array.tolist())
    return float(array) if array.ndim == 0 else array
