"""The first screen's sentences of a search that was not confirmed: what dev says, and that it is weak evidence."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from analysis.evidence.scene_scores import STUFF_MIOU
from analysis.findings.compared_pair import Pair, dev_pair, scored_trials
from analysis.findings.compared_side import NothingToCompare
from analysis.findings.report_texts import Statement
from analysis.recorded.recorded_search import RecordedSearch, RecordedTrial
from analysis.words.configuration_words import configuration_words
from analysis.words.gain_words import alarms_words, found_words, metric_title
from analysis.words.number_words import counted, listed, short, signed

UNCONFIRMED: Final = "not confirmed: one training run a trial, ranked on the split that it was tuned on"


def dev_statements(search: RecordedSearch) -> list[Statement]:
    """What dev says of a search, without a verdict."""
    trials = scored_trials(search)
    if not trials:
        return [Statement(_none_ended(search))]
    best = Statement(_best(search, trials))
    if len(trials) == 1:
        return [best, Statement("Only one trial has ended, so that there is nothing to compare it with.")]
    try:
        return [best, Statement(_compared(dev_pair(search)))]
    except NothingToCompare as reason:
        return [best, Statement(f"No two trials can be compared. {reason}")]


def _none_ended(search: RecordedSearch) -> str:
    """`No trial of 12 has ended: 3 running, 2 failed.`."""
    states = Counter(trial.state for trial in search.trials)
    parts = [f"{number} {state}" for state, number in sorted(states.items())]
    return f"No trial of {search.budget} has ended{': ' + listed(parts) if parts else ''}. There is nothing to say yet."


def _best(search: RecordedSearch, trials: Sequence[RecordedTrial]) -> str:
    best = trials[0]
    pruned = sum(trial.state == "pruned" for trial in trials)
    ended = counted(len(trials), "trial") + (f" that ended ({pruned} stopped early)" if pruned else " that ended")
    return (
        f"The best on dev of {ended} is {configuration_words(best.config)} ({best.trial_id}): "
        f"{metric_title(search.objectives[0])} {short(best.objective)} in {counted(best.epochs, 'epoch')}; "
        f"{UNCONFIRMED}."
    )


def _compared(pair: Pair) -> str:
    """The candidate against its reference, on dev."""
    candidate, reference = pair.candidate, pair.reference
    scenes = counted(len(candidate.networks[0].names), "scene")
    head = f"On dev ({scenes}), {candidate.title} ({candidate.trial_id}) against {pair.role} ({pair.reference_words})"
    lengths = (
        f", {candidate.epochs} against {counted(reference.epochs, 'epoch')}"
        if candidate.epochs != reference.epochs
        else ""
    )
    return f"{head}{lengths}: {', '.join(dev_gains(pair))}; {UNCONFIRMED}."


def dev_gains(pair: Pair) -> list[str]:
    """The differences of a pair on dev in words, the leading thing class's IoU first; mIoU where no thing occurs."""
    if not pair.judged_things:
        return [f"mIoU {_difference(pair, 'miou')}"]
    name = pair.judged_things[0]
    misses = [side.value(f"miss_rate/{name}") for side in (pair.candidate, pair.reference)]
    alarms = [side.value(f"false_alarms_per_image/{name}") for side in (pair.candidate, pair.reference)]
    stuff = len(pair.candidate.things) < len(pair.class_names)
    parts = [
        f"{name} IoU {_difference(pair, f'iou/{name}')}",
        found_words(misses[0], misses[1], name),
        alarms_words(alarms[0] - alarms[1]),
        f"stuff mIoU {_difference(pair, STUFF_MIOU)}" if stuff else "",
        f"mIoU {_difference(pair, 'miou')}",
    ]
    return [part for part in parts if part]


def _difference(pair: Pair, metric: str) -> str:
    return signed(pair.candidate.value(metric) - pair.reference.value(metric))
