"""A trained network from a search's record."""

from torch import nn

from trainable.config.sections import ModelConfig
from trainable.config.user_class import in_one_line
from trainable.errors import InputError
from trainable.network.model import build_model
from trainable.record.checkpoint import from_bytes
from trainable.record.storage import Storage
from trainable.record.trial_record import WEIGHTS_FILE, TrialRecord, load_trials


def load_trained_model(folder: str, trial_id: str) -> nn.Module:
    """Load the weights of a trial's best epoch.

    Args:
        folder: Of the search: a path or an fsspec URL.
        trial_id: A trial whose weights were kept: one of the best, or the best of its loss.

    Returns:
        The network in evaluation mode, on the CPU. It maps float NCHW images, normalised with
        `trainable.batches.normalise.normalise`, sides multiples of 32, to logits_NCHW.

    Raises:
        InputError: No such trial, or its weights were not kept or are damaged.
    """
    search = Storage(folder)
    trials = {trial.spec.trial_id: trial for trial in load_trials(search)}
    if trial_id not in trials:
        raise InputError(f"a trial of the search in {folder}", repr(trial_id), f"Choose one of {', '.join(trials)}")
    best = trials[trial_id].best
    record = TrialRecord(search, trial_id)
    data = None if best is None else record.folder.read(record.best_file(best, WEIGHTS_FILE))
    if best is None or data is None:
        raise InputError(
            "weights are kept for the best trials and the best of each loss",
            f"none for {trial_id}",
            "Raise confirm.top in the search's config, or train this configuration again with `aerosweep train`",
        )
    weights = f"{record.folder.url}/{record.best_file(best, WEIGHTS_FILE)}"
    try:
        return model_from_weights(ModelConfig.model_validate(trials[trial_id].spec.config["model"]), data)
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file makes the reader raise
        raise InputError(
            f"{weights} must hold the trial's weights",
            in_one_line(error),
            "Train this configuration again with `aerosweep train`",
        ) from error


def model_from_weights(config: ModelConfig, data: bytes) -> nn.Module:
    """Rebuild a network from its config and the bytes of its weights file.

    Args:
        config: As the trial had it.
        data: What `weights.pt` holds.
    """
    content = from_bytes(data)
    plain = config.model_copy(update={"encoder_weights": "none"})
    model = build_model(plain, num_classes=len(content["class_names"]))
    model.load_state_dict(content["state_dict"])
    return model.eval()
