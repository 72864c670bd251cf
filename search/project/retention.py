"""What is kept of the trials that have ended: everything small of all, the weights of the few worth confirming."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from trainable.record.checkpoint import Checkpoints
from trainable.record.file_names import files_of
from trainable.record.record_types import TrialSnapshot
from trainable.record.storage import Storage
from trainable.record.trial_record import WEIGHTS_FILE, TrialRecord, load_trials

_BEST_FOLDER: Final = "best"


class Retention:
    """Deletes what an ended trial needs no more: its checkpoints, and its weights unless it is a keeper.

    The confusion matrix and the per-image counts stay, and an unfinished trial is never touched.

    Args:
        folder: The folder of the search.
        keeps: Of trials that have ended, the ids of those whose weights stay; whom it leaves out of some, it leaves out
            of more.
    """

    def __init__(self, folder: Storage, keeps: Callable[[Iterable[TrialSnapshot]], set[str]]) -> None:
        self.name = f"retention in {folder.url}"
        self._folder = folder
        self._keeps = keeps
        self._keepers: dict[str, TrialSnapshot] | None = None
        self._cleaned: set[str] = set()
        self._holders: dict[str, TrialSnapshot] = {}

    def project(self, trial: TrialSnapshot) -> None:
        """Clean up after a trial that has ended, and after the keepers that it has outdone."""
        if trial.end is None:
            return
        if self._keepers is None:
            self._keepers = self._keepers_so_far()
        self._keepers = self._chosen({**self._keepers, trial.spec.trial_id: trial})
        if trial.spec.trial_id not in self._cleaned:
            self._clean(trial)
        for trial_id in sorted(self._holders.keys() - self._keepers.keys()):
            self._delete_weights(self._holders[trial_id])

    def _keepers_so_far(self) -> dict[str, TrialSnapshot]:
        """Without those of earlier launches, the first trial of this one would pass for the best."""
        return self._chosen({each.spec.trial_id: each for each in load_trials(self._folder) if each.end is not None})

    def _chosen(self, ended: Mapping[str, TrialSnapshot]) -> dict[str, TrialSnapshot]:
        return {trial_id: ended[trial_id] for trial_id in self._keeps(ended.values())}

    def _clean(self, trial: TrialSnapshot) -> None:
        """Delete all that no ended trial needs; what is left may hold weights."""
        folder = TrialRecord(self._folder, trial.spec.trial_id).folder
        Checkpoints(folder).clear()
        folder.delete_unfinished("")  # what killed workers have left half-written
        best = files_of(trial.best) if trial.best else ""
        for name in folder.names(_BEST_FOLDER):
            # A worker that died between its best files and its record, or between its record and its cleaning up.
            if name != best:
                folder.delete_folder(f"{_BEST_FOLDER}/{name}")
        self._cleaned.add(trial.spec.trial_id)
        self._holders[trial.spec.trial_id] = trial

    def _delete_weights(self, trial: TrialSnapshot) -> None:
        record = TrialRecord(self._folder, trial.spec.trial_id)
        if trial.best is not None:
            record.folder.delete(record.best_file(trial.best, WEIGHTS_FILE))
        del self._holders[trial.spec.trial_id]
