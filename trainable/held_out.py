"""What a network did on the held-out val split, image by image: all that statistics over scenes need."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class HeldOutCounts:
    """Counts on val; N images, C classes.

    Attributes:
        images: Ids of the images, (N,).
        scenes: The scene of each image, (N,).
        class_names: In label order, (C,).
        things: Which classes are things, bool (C,).
        counts: int64 (N, C, 3): pixels that are true positives, false negatives, false positives.
        adjusted_counts: The same after logit adjustment with the tau that was fitted on dev.
        objects: int64 (N, C, 3): true objects, missed ones, false alarms; zeros for stuff.
        tau: The strength of the adjustment.
    """

    images: tuple[str, ...]
    scenes: tuple[str, ...]
    class_names: tuple[str, ...]
    things: NDArray[np.bool_]
    counts: NDArray[np.int64]
    adjusted_counts: NDArray[np.int64]
    objects: NDArray[np.int64]
    tau: float

    def to_bytes(self) -> bytes:
        """As a compressed npz file without pickled objects."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            images=np.array(self.images, dtype=np.str_),
            scenes=np.array(self.scenes, dtype=np.str_),
            class_names=np.array(self.class_names, dtype=np.str_),
            things=self.things,
            counts=self.counts,
            adjusted_counts=self.adjusted_counts,
            objects=self.objects,
            tau=np.float64(self.tau),
        )
        return buffer.getvalue()

    @staticmethod
    def from_bytes(data: bytes) -> "HeldOutCounts":
        """Read what `to_bytes` wrote; nothing is unpickled.

        Raises:
            ValueError: It is no such file.
            KeyError: A part is missing.
        """
        with np.load(io.BytesIO(data), allow_pickle=False) as parts:
            return HeldOutCounts(
                images=tuple(parts["images"].tolist()),
                scenes=tuple(parts["scenes"].tolist()),
                class_names=tuple(parts["class_names"].tolist()),
                things=parts["things"],
                counts=parts["counts"],
                adjusted_counts=parts["adjusted_counts"],
                objects=parts["objects"],
                tau=float(parts["tau"]),
            )


@dataclass(frozen=True, eq=False)
class HeldOutOutcome:
    """What measuring a network on val gave.

    Attributes:
        metrics: Finite values under the names of `trainable.trial_record`.
        matrix: int64 (C x C), rows true.
        counts: Image by image.
    """

    metrics: dict[str, float]
    matrix: NDArray[np.int64]
    counts: HeldOutCounts
