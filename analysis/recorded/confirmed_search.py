"""The confirmation of a recorded search: its configurations with what the networks did on val, and what is missing."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from analysis.evidence.confirmation import ConfirmedTrial
from analysis.evidence.scene_scores import SplitCounts
from analysis.recorded.recorded_search import RecordedSearch, RecordedTrial
from analysis.words.number_words import counted, listed
from trainable.measure.val_counts import ValCounts

_UNFINISHED: Final = ("running", "interrupted")


def confirmed_trials(search: RecordedSearch) -> list[ConfirmedTrial]:
    """The configurations that were measured on val at least once, the best by dev first.

    Runs that ended without counts are `lost`; runs that have not ended are neither. Runs on another val split than most
    are left out: `missing_of_confirmation` names them.
    """
    measured = _measured(search)
    known = [trial for trial in search.trials if any(run.confirms == trial.trial_id for run, _ in measured)]
    trials = [_confirmed(search, trial, measured) for trial in known]
    return sorted(trials, key=lambda trial: (math.isnan(trial.dev), -trial.dev, trial.trial))


def missing_of_confirmation(search: RecordedSearch) -> list[str]:
    """What a reader of the confirmation must know is not in it, a sentence each; empty where it is whole."""
    measured = _measured(search)
    used = {run.run_id for run, _ in measured}
    waiting = [run.trial_id for run in search.runs if run.state in _UNFINISHED]
    lost = [run.trial_id for run in search.runs if run.state in ("diverged", "failed")]
    bare = [run.trial_id for run in search.runs if run.ended and _readable(run) is None]
    ended = [run for run in search.runs if run.ended and run.trial_id not in bare]
    orphans = [run.trial_id for run in ended if not _has_trial(search, run)]
    other = [run.trial_id for run in ended if _has_trial(search, run) and run.run_id not in used]
    found = [
        _said(waiting, "has not ended and is not counted yet", "have not ended and are not counted yet"),
        _said(lost, "diverged or failed and is in no mean", "diverged or failed and are in no mean"),
        _said(bare, "ended without readable counts of val and is left out", "ended without readable counts of val and are left out"),  # noqa: E501
        _said(orphans, "confirms a trial that is not recorded and is left out", "confirm trials that are not recorded and are left out"),  # noqa: E501
        _said(other, "saw another val split than the others and is left out", "saw another val split than the others and are left out"),  # noqa: E501
    ]  # fmt: skip
    return [*filter(None, found), *_uneven(search, measured)]


def _measured(search: RecordedSearch) -> list[tuple[RecordedTrial, ValCounts]]:
    """Runs of known trials with their counts, those on the val split that most of them saw."""
    runs = [(run, counts) for run in search.runs if run.ended and (counts := _readable(run)) is not None]
    runs = [(run, counts) for run, counts in runs if _has_trial(search, run)]
    splits = [_split_of(counts) for _, counts in runs]
    if not splits:
        return []
    most = Counter(splits).most_common(1)[0][0]
    return [pair for pair, split in zip(runs, splits, strict=True) if split == most]


def _readable(run: RecordedTrial) -> ValCounts | None:
    """The counts of a run, or None where there are none that statistics can be made of."""
    counts = run.val
    try:
        if counts is not None:
            SplitCounts(counts.counts, counts.objects).by_scene(counts.scenes)
            SplitCounts(counts.adjusted_counts, counts.objects)
    except ValueError:
        return None
    return counts


def _split_of(counts: ValCounts) -> tuple[object, ...]:
    """What is the same for networks that were measured on the same images."""
    pixels = counts.counts[..., :2].sum(axis=2)
    return counts.class_names, counts.images, counts.scenes, pixels.tobytes(), counts.objects[..., 0].tobytes()


def _confirmed(
    search: RecordedSearch, trial: RecordedTrial, measured: Sequence[tuple[RecordedTrial, ValCounts]]
) -> ConfirmedTrial:
    mine = [(run, counts) for run, counts in measured if run.confirms == trial.trial_id]
    lost = [
        run
        for run in search.runs
        if run.confirms == trial.trial_id and run.state not in _UNFINISHED and _readable(run) is None
    ]
    return ConfirmedTrial(
        trial=trial.trial_id,
        label=trial.label,
        loss=trial.loss,
        reasons=(),
        baseline=trial.baseline,
        dev=trial.objective,
        epochs=mine[0][0].epochs,
        runs=tuple(counts for _, counts in mine),
        lost=len(lost),
        run_ids=tuple(run.run_id for run, _ in mine),
    )


def _has_trial(search: RecordedSearch, run: RecordedTrial) -> bool:
    return any(trial.trial_id == run.confirms for trial in search.trials)


def _said(names: Sequence[str], one: str, several: str) -> str:
    """`The run t0004-s1 has not ended ...`; empty for no names."""
    if not names:
        return ""
    shown = [*names[:6], counted(len(names) - 6, "other")] if len(names) > 7 else names
    return f"The run {names[0]} {one}." if len(names) == 1 else f"The runs {listed(list(shown))} {several}."


def _uneven(search: RecordedSearch, measured: Iterable[tuple[RecordedTrial, ValCounts]]) -> list[str]:
    """That configurations have unequal numbers of seeds, or runs unequal lengths."""
    epochs: dict[str, set[int]] = {}
    seeds: Counter[str] = Counter()
    for run, _ in measured:
        epochs.setdefault(run.confirms, set()).add(run.epochs)
        seeds[run.confirms] += 1
    said = []
    if len(set(seeds.values())) > 1:
        parts = [f"{trial} has {counted(number, 'seed')}" for trial, number in sorted(seeds.items())]
        said.append(f"The configurations were not confirmed equally often: {listed(parts)}.")
    if len(set().union(*epochs.values())) > 1:
        parts = [f"{trial} {_range(lengths)}" for trial, lengths in sorted(epochs.items())]
        said.append(f"The confirming runs are not of one length in epochs: {listed(parts)}.")
    return said


def _range(lengths: Iterable[int]) -> str:
    ordered = sorted(lengths)
    return f"{ordered[0]} to {ordered[-1]}" if len(ordered) > 1 else f"{ordered[0]}"
