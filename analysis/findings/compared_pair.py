"""Which two configurations of a search are compared, by rules that were set before anybody looked at val.

1. The candidate is the configuration with the best objective on dev.
2. The reference is the best cross entropy by dev. If the candidate is cross entropy itself, or there is none, it is
   what `analysis.evidence.confirmation.choose_reference` gives; if that is the candidate too, the next by dev.
3. The best baseline by dev is a second reference, if it is another trial than both.

Of a confirmed search, dev ranks the configurations that were measured on val, and val decides nothing but the verdict.
Otherwise dev ranks the trials that ran equally long, at the full length where two did.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, TypeVar

from analysis.evidence.confirmation import ConfirmedTrial, Ranked, choose_reference
from analysis.findings.compared_side import NothingToCompare, Side, dev_side, judged_things
from analysis.recorded.confirmed_search import confirmed_trials
from analysis.recorded.recorded_search import RecordedSearch, RecordedTrial
from analysis.words.configuration_words import loss_title, loss_words

CROSS_ENTROPY: Final = "cross_entropy"
BEST_CROSS_ENTROPY: Final = "the best cross entropy trial"
BEST_BASELINE: Final = "the best baseline"
NEXT_BEST: Final = "the next best trial by dev"

_Ranked = TypeVar("_Ranked", bound=Ranked)


@dataclass(frozen=True, eq=False, kw_only=True)
class Pair:
    """A candidate and what it is compared with, on the same images.

    Attributes:
        candidate: What is claimed to be better.
        reference: What it is compared with.
        role: What the reference is: `the best cross entropy trial`.
        split: `val` where both were confirmed, else `dev`.
    """

    candidate: Side
    reference: Side
    role: str
    split: Literal["val", "dev"]

    @property
    def class_names(self) -> tuple[str, ...]:
        """In label order."""
        return self.candidate.runs[0].class_names

    @property
    def reference_words(self) -> str:
        """`t0000, Unet`, with the loss where the role does not say it already."""
        reference = self.reference
        said = self.role == BEST_CROSS_ENTROPY and loss_words(reference.trial.config) == loss_title(CROSS_ENTROPY)
        return f"{reference.trial_id}, {reference.architecture if said else reference.title}"

    @cached_property
    def judged_things(self) -> list[str]:
        """The thing classes that occur, the one that the split can judge best first."""
        return judged_things(self.candidate)

    @cached_property
    def absent_things(self) -> list[str]:
        """The thing classes that do not occur."""
        return [name for label in self.candidate.things if (name := self.class_names[label]) not in self.judged_things]


def choose_pair(contenders: Sequence[_Ranked]) -> tuple[_Ranked, _Ranked, str]:
    """The candidate, the reference and what that is, by rules 1 and 2.

    Args:
        contenders: At least two, the best by dev first.
    """
    candidate, *others = contenders
    plain = [contender for contender in contenders if contender.loss == CROSS_ENTROPY]
    if plain and candidate.loss != CROSS_ENTROPY:
        return candidate, plain[0], BEST_CROSS_ENTROPY
    reference = choose_reference(contenders)
    if reference is None or reference is candidate:
        return candidate, others[0], NEXT_BEST
    return candidate, reference, BEST_BASELINE


def confirmed_sides(search: RecordedSearch) -> list[Side]:
    """The configurations that were measured on val, the best by dev first."""
    return [_confirmed_side(search, trial) for trial in confirmed_trials(search)]


def confirmed_pairs(search: RecordedSearch) -> list[Pair]:
    """The candidate against its reference, and against the best baseline; empty where fewer than two were confirmed."""
    sides = confirmed_sides(search)
    if len(sides) < 2:
        return []
    candidate, reference, role = choose_pair(sides)
    pairs = [Pair(candidate=candidate, reference=reference, role=role, split="val")]
    baseline = next((side for side in sides if side.baseline), None)
    if baseline is not None and baseline is not candidate and baseline is not reference:
        pairs.append(Pair(candidate=candidate, reference=baseline, role=BEST_BASELINE, split="val"))
    return pairs


def _confirmed_side(search: RecordedSearch, trial: ConfirmedTrial) -> Side:
    return Side(
        trial=search.trial(trial.trial),
        dev=trial.dev,
        runs=trial.runs,
        run_ids=trial.run_ids,
        epochs=trial.epochs,
        lost=trial.lost,
    )


@dataclass(frozen=True, eq=False)
class _Contender:
    """A trial as it ended on dev, its counts not read yet."""

    trial: RecordedTrial

    @property
    def loss(self) -> str:
        return self.trial.loss

    @property
    def baseline(self) -> bool:
        return self.trial.baseline

    @property
    def dev(self) -> float:
        return self.trial.objective


def scored_trials(search: RecordedSearch) -> list[RecordedTrial]:
    """Trials that ended with an objective, the best on dev first."""
    return [trial for trial in search.ranked if math.isfinite(trial.objective)]


def comparable_trials(search: RecordedSearch) -> list[RecordedTrial]:
    """Trials that ended and ran equally long, the best on dev first: of the full length if two did, else all."""
    scored = scored_trials(search)
    full = [trial for trial in scored if trial.epochs >= search.max_epochs]
    return full if len(full) > 1 else scored


def dev_pair(search: RecordedSearch) -> Pair:
    """The candidate against its reference on dev, one network each.

    Raises:
        NothingToCompare: Fewer than two trials ended, or one of the two has no counts.
    """
    trials = comparable_trials(search)
    if len(trials) < 2:
        few = "one trial has" if trials else "no trial has"
        raise NothingToCompare(f"It takes two trials that ended; {few}. Search on, then make the report again.")
    candidate, reference, role = choose_pair([_Contender(trial) for trial in trials])
    return Pair(candidate=dev_side(candidate.trial), reference=dev_side(reference.trial), role=role, split="dev")


def compared_pair(search: RecordedSearch) -> Pair:
    """The first pair: on val where the search was confirmed, else on dev.

    Raises:
        NothingToCompare: There is none.
    """
    pairs = confirmed_pairs(search)
    return pairs[0] if pairs else dev_pair(search)


def first_side(search: RecordedSearch) -> tuple[Side, Literal["val", "dev"]]:
    """The candidate alone, and the split that it was measured on; for what needs no reference.

    Raises:
        NothingToCompare: No trial ended, or the best has no counts.
    """
    sides = confirmed_sides(search)
    if sides:
        return sides[0], "val"
    trials = comparable_trials(search)
    if not trials:
        raise NothingToCompare("It takes a trial that ended; none has. Search on, then make the report again.")
    return dev_side(trials[0]), "dev"
