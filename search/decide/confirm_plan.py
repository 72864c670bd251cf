"""The runs of a confirmation: the trials that matter, trained again from fresh seeds to the end, measured on val."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from search.config.search_config import ConfirmConfig, SearchConfig
from search.decide.plan import Ending, ended_by_epochs
from search.decide.ranking import ranked
from trainable.record.record_types import EpochRecord, TrialSnapshot, TrialSpec, now_ms
from trainable.record.trial_words import loss_name
from trainable.trial_config import TrialConfig

FOLDER: Final = "confirm"
"""Below the search's folder, with a record of the same form."""


@dataclass(frozen=True)
class Candidate:
    """A trial that is worth confirming.

    Attributes:
        trial: As the search recorded it.
        reasons: Why: `rank 1`, `best tversky`, `best baseline`.
    """

    trial: TrialSnapshot
    reasons: tuple[str, ...]


def candidates(trials: Iterable[TrialSnapshot], confirm: ConfirmConfig) -> list[Candidate]:
    """The trials to confirm, best first: the best K, the best of each loss, the best baseline.

    Args:
        trials: Of the search; unfinished, failed and diverged ones are passed over.
        confirm: Which ones are wanted.
    """
    order = [trial for trial in ranked(trials) if trial.end is not None]
    reasons: dict[str, list[str]] = {trial.spec.trial_id: [] for trial in order}
    for rank, trial in enumerate(order[: confirm.top], start=1):
        reasons[trial.spec.trial_id].append(f"rank {rank}")
    if confirm.best_of_each_loss:
        best: dict[str, str] = {}
        for trial in order:
            best.setdefault(loss_name(trial.spec.config), trial.spec.trial_id)
        for name, trial_id in best.items():
            reasons[trial_id].append(f"best {name}")
    baseline = next((trial.spec.trial_id for trial in order if trial.spec.baseline), None)
    if confirm.best_baseline and baseline is not None:
        reasons[baseline].append("best baseline")
    return [Candidate(trial, tuple(why)) for trial in order if (why := reasons[trial.spec.trial_id])]


def chosen_ids(trials: Iterable[TrialSnapshot], confirm: ConfirmConfig) -> set[str]:
    """Ids of the candidates."""
    return {candidate.trial.spec.trial_id for candidate in candidates(trials, confirm)}


def confirmed_candidates(
    trials: Iterable[TrialSnapshot], runs: Iterable[TrialSnapshot], confirm: ConfirmConfig
) -> list[Candidate]:
    """Every trial that runs were made for, best first, with the reasons for which it would be chosen now.

    Args:
        trials: Of the search.
        runs: Of its confirmation.
        confirm: Which ones are wanted now; an earlier launch may have wanted others.
    """
    known = list(trials)
    reasons = {candidate.trial.spec.trial_id: candidate.reasons for candidate in candidates(known, confirm)}
    sources = {run.spec.confirms for run in runs}
    found = [trial for trial in ranked(known) if trial.spec.trial_id in sources]
    return [Candidate(trial, reasons.get(trial.spec.trial_id, ("chosen earlier",))) for trial in found]


class ConfirmPlan:
    """Plans a confirmation's runs; none is ever stopped early.

    Runs of an earlier launch that are no longer planned, because the search was extended since, are finished and kept.

    Args:
        config: The search.
        chosen: What to confirm.
    """

    def __init__(self, config: SearchConfig, chosen: Sequence[Candidate]) -> None:
        self._config = config
        # A seed of all candidates before the next seed: stopped half-way, every candidate has as many runs.
        self._planned = {
            run_id(candidate.trial, number): (candidate.trial, number)
            for number in range(1, config.confirm.seeds + 1)
            for candidate in chosen
        }

    def total(self, known: Mapping[str, TrialSnapshot]) -> int:
        """The runs of the plan and those of earlier plans."""
        return len({*self._planned, *known})

    def next_spec(self, known: Mapping[str, TrialSnapshot], number: int) -> TrialSpec | None:
        """The next planned run that has not begun."""
        for trial_id, (source, seed_number) in self._planned.items():
            if trial_id not in known:
                return self._spec(trial_id, number, source, seed_number)
        return None

    def _spec(self, trial_id: str, place: int, source: TrialSnapshot, number: int) -> TrialSpec:
        changes = {
            "dataset": self._config.dataset,
            "runtime": self._config.runtime,
            "max_epochs": self._config.budget.max_epochs,
            "seed": fresh_seed(self._config.seed, number),
        }
        return TrialSpec(
            trial_id=trial_id,
            number=place,
            params=source.spec.params,
            config=TrialConfig.model_validate(source.spec.config | changes).model_dump(mode="json"),
            baseline=source.spec.baseline,
            created_ms=now_ms(),
            confirms=source.spec.trial_id,
        )

    def judges(self, epoch: int) -> bool:
        """Never."""
        return False

    def remember(self, trial_id: str, epochs: Iterable[EpochRecord]) -> None:
        """Nothing: nobody is judged by others."""

    def stops(self, trial: TrialSnapshot, epoch: EpochRecord) -> Ending | None:
        """Never: what is compared is trained equally long."""
        return None

    def ended(self, trial: TrialSnapshot) -> Ending | None:
        """Diverged, or trained to the end and measured on val."""
        ending = ended_by_epochs(trial, self._config.budget.max_epochs)
        if ending is not None and ending[0] == "completed" and trial.val is None:
            return None
        return ending


def run_id(source: TrialSnapshot, number: int) -> str:
    """The id of the run that trains a trial again with its `number`-th fresh seed, from 1: `t0007-s1`."""
    return f"{source.spec.trial_id}-s{number}"


def fresh_seed(seed: int, number: int) -> int:
    """The `number`-th seed, from 1, that the search did not use; the same for all candidates."""
    return seed + number
