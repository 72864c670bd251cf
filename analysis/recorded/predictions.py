"""What a recorded trial's network predicts on dev images; the one part of the analysis that runs networks."""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from analysis.recorded.recorded_search import RecordedTrial
from trainable.config.user_class import in_one_line
from trainable.data.image_set import IGNORED
from trainable.data.trial_data import TrialData
from trainable.device import Compute, ResourceShare, choose_compute
from trainable.errors import InputError
from trainable.measure.confusion import confusion_matrices, outcome_counts
from trainable.measure.fitted_tiles import FittedTiles
from trainable.measure.image_counts import ImageCounts
from trainable.measure.prediction import predict_labels
from trainable.network.trained_model import model_from_weights
from trainable.record.checkpoint import from_bytes
from trainable.trial_config import TrialConfig

_KEPT: Final = (
    "Those of the best trials, the best of each loss and the best baseline are logged when a search ends: let it end, "
    "or run `aerosweep sync` where its folder is; a higher confirm.top in the next search's config keeps more"
)


class Predictor:
    """Labels dev images with the network of a trial, each image once.

    Args:
        trial: Its weights are loaded here.
        counts: What it was recorded to do on dev.
        data: The image set.

    Raises:
        InputError: The weights were not kept or cannot be used, or the image set is not the recorded one.
    """

    def __init__(self, trial: RecordedTrial, counts: ImageCounts, data: TrialData) -> None:
        check_same_data(counts, data)
        self._trial_id = trial.trial_id
        self._counts = counts
        self._data = data
        self._model, self._compute = _load(trial, counts.class_names)
        self._labels: dict[int, NDArray[np.uint8]] = {}
        self._fitted = FittedTiles()  # one for all images: what did not fit is not tried again

    def labels(self, row: int) -> NDArray[np.uint8]:
        """The predicted labels of a dev image, uint8 (H, W), at native resolution and tiled as in evaluation.

        Args:
            row: Of the counts.

        Raises:
            InputError: The network cannot be run.
        """
        if row not in self._labels:
            data = self._data
            try:
                predicted = predict_labels(self._model, data.cache, data.splits.dev, row, self._compute, self._fitted)
            except Exception as error:  # whatever a network of the user's own raises, or a GPU that others use
                raise InputError(
                    f"the network of {self._trial_id} must run on {self._counts.images[row]}",
                    in_one_line(error),
                    "If memory ran out, set CUDA_VISIBLE_DEVICES to nothing and it is run on the CPU",
                ) from error
            self._labels[row] = predicted
        return self._labels[row]

    def changed_pixels(self, row: int) -> int:
        """How many labels of a dev image differ from those that were counted in training, at least; 0 as a rule."""
        target = self._data.cache.mask(self._data.splits.dev[row])
        counted = _count(self.labels(row), target, len(self._counts.class_names))
        tp, fn, fp = (counted - self._counts.counts[row]).T
        # A changed pixel leaves one predicted class and joins another, and makes or ends one miss at most.
        return max(int(np.abs(tp + fp).sum()) // 2, int(np.abs(fn).sum()))


def check_same_data(counts: ImageCounts, data: TrialData) -> None:
    """Check that the dev images and masks of an image set are those that were counted.

    Raises:
        InputError: Other classes, other images, or other masks.
    """
    names = tuple(entry.name for entry in data.image_set.classes)
    remedy = "Restore the image set that was searched on, or make the report where it lies"
    if names != counts.class_names:
        rule = f"the image set must have the {len(counts.class_names)} recorded classes"
        raise InputError(f"{rule} ({', '.join(counts.class_names)})", f"{len(names)} ({', '.join(names)})", remedy)
    images = tuple(data.image_set.samples[index].id for index in data.splits.dev)
    if images != counts.images:
        raise InputError("dev must be made of the recorded images", _other_images(images, counts.images), remedy)
    truth = counts.counts[..., :2].sum(axis=2)
    other = (data.cache.pixel_counts[list(data.splits.dev)] != truth).any(axis=1)
    if other.any():
        raise InputError("masks must be those that were counted", f"another mask of {images[other.argmax()]}", remedy)


def _other_images(images: tuple[str, ...], recorded: tuple[str, ...]) -> str:
    missing = [image for image in recorded if image not in set(images)]
    if missing:
        return f"{len(images)} images of {len(recorded)}, without {missing[0]}"
    return f"{len(images)} images where {len(recorded)} were recorded, or in another order"


def _load(trial: RecordedTrial, class_names: tuple[str, ...]) -> tuple[nn.Module, Compute]:
    """The network on the device that is there, in the precision that it was trained in where the device has it."""
    data = trial.weights()
    if data is None:
        raise InputError(f"the weights of {trial.trial_id} must be in MLflow", "none", _KEPT)
    try:
        config = TrialConfig.model_validate(trial.config)
        known = tuple(from_bytes(data)["class_names"])
        model = model_from_weights(config.model, data)
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file, or a network of the user's own, makes the reader raise
        raise InputError(
            f"the weights of {trial.trial_id} must be whole and fit its network",
            in_one_line(error),
            "Train this configuration again with `aerosweep train`",
        ) from error
    if known != class_names:
        raise InputError(
            f"the weights of {trial.trial_id} must be of a network for the {len(class_names)} recorded classes",
            f"one for {len(known)} ({', '.join(known)})",
            "Train this configuration again with `aerosweep train`",
        )
    compute = _compute(config)
    return model.to(compute.device, memory_format=compute.memory_format), compute  # type: ignore[call-overload]


def _compute(config: TrialConfig) -> Compute:
    share = ResourceShare(gpus=1 if torch.cuda.is_available() else 0)
    precision = config.runtime.precision
    return choose_compute("auto" if precision == "fp16" and share.gpus == 0 else precision, share)


def _count(prediction_HW: NDArray[np.uint8], target_HW: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """True positives, false negatives and false positives of each class, (C, 3)."""
    # A copy: torch warns of maps that cannot be written to.
    prediction, target = (torch.from_numpy(labels_HW[None].copy()) for labels_HW in (prediction_HW, target_HW))
    counts: NDArray[np.int64] = outcome_counts(confusion_matrices(prediction, target, classes, IGNORED))[0].numpy()
    return counts
