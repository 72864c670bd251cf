"""The report of a search: what stands where."""

import shlex
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Final

from analysis.findings.compared_pair import Pair, compared_pair
from analysis.findings.compared_side import NothingToCompare
from analysis.findings.headline import findings
from analysis.findings.paper_table import paper_table
from analysis.recorded.recorded_search import RecordedSearch, RecordedTrial
from analysis.report.data_section import data_section, missing_data_section
from analysis.report.document import Document, Section
from analysis.report.figures import LOSSES, SCENES, SETTINGS, THINGS, search_plates, trial_plates
from analysis.report.gather import Builder, gather
from analysis.report.method import method_paragraph
from analysis.subjects.cases.plate import case_plates
from analysis.subjects.confusion.plate import matrix_difference_plate
from analysis.subjects.plate import Plate, Unavailable
from analysis.words.configuration_words import configuration_words
from analysis.words.gain_words import metric_title
from analysis.words.number_words import counted
from trainable.data.trial_data import TrialData

_STATES: Final = ("completed", "pruned", "diverged", "failed", "interrupted", "running")


def compose_search_report(
    search: RecordedSearch, data: TrialData | None, why_no_data: str, *, top: int, folder: str | None = None
) -> Document:
    """Arrange all that a search says; what cannot be made leaves a place that says why.

    Args:
        search: The search, over or not.
        data: Its images, or None.
        why_no_data: The reason for that, without a full stop.
        top: How many of the best trials are shown one by one.
        folder: Of the search, where it is known better than MLflow knows it.
    """
    found = findings(search)
    command, why = _next_command(search, folder or search.folder)
    return Document(
        title=f"{search.name}: {counted(len(search.trials), 'trial')}",
        facts=_facts(search, data),
        statements=found.statements,
        claims=None if found.claims.empty else found.claims,
        notes=[*found.notes, *search.problems, *_cautions(search)],
        command=command,
        command_why=why,
        table=paper_table(search),
        method=method_paragraph(search, search.settings),
        sections=[*_sections(search, data, why_no_data, top)],
    )


def _sections(search: RecordedSearch, data: TrialData | None, why_no_data: str, top: int) -> Iterator[Section]:
    yield Section(
        "losses",
        "Losses compared",
        "What each loss reaches, class by class, at equal effort and equal length.",
        gather(search_plates(search, LOSSES)),
    )
    yield Section(
        "things",
        "Things: found, missed, invented",
        "A rare object that is found costs false alarms. What that costs, by loss, by class and by size.",
        gather(search_plates(search, THINGS)),
    )
    yield Section(
        "pair",
        "The best trial against its reference",
        "What it repaired, what it broke, in which scenes, and what that looks like.",
        gather(_pair_plates(search, data, why_no_data)),
    )
    yield Section(
        "search",
        "What mattered in the search",
        "Which of the searched settings moved the objective.",
        gather(search_plates(search, SETTINGS)),
    )
    for place, trial in enumerate(search.ranked[:top], start=1):
        yield _trial_section(search, place, trial)
    yield data_section(data) if data is not None else missing_data_section(why_no_data)


def _trial_section(search: RecordedSearch, place: int, trial: RecordedTrial) -> Section:
    rank = "The best trial on dev" if place == 1 else f"Number {place} on dev"
    return Section(
        f"trial-{trial.trial_id}",
        f"{rank}: {trial.trial_id}, {configuration_words(trial.config)}",
        f"{trial.state.capitalize()} after {counted(trial.epochs, 'epoch')}; MLflow run {trial.run_id}.",
        gather(trial_plates(trial, search.classes)),
    )


def _pair_plates(search: RecordedSearch, data: TrialData | None, why_no_data: str) -> list[Builder]:
    try:
        pair = compared_pair(search)
    except NothingToCompare as nothing:
        why = str(nothing)
        best = search.ranked[0] if search.ranked else None
        return [
            ("What was repaired, what was broken", lambda: _unavailable(why)),
            *search_plates(search, SCENES),
            *case_plates(best, None, data, why_no_data),
        ]
    best, reference = pair.candidate.trial, pair.reference.trial
    return [
        ("What was repaired, what was broken", lambda: _difference_plate(search, pair)),
        *search_plates(search, SCENES),
        *case_plates(best, reference, data, why_no_data),
    ]


def _difference_plate(search: RecordedSearch, pair: Pair) -> Plate:
    """On the split that the pair is judged by: of runs that confirm it, else of the trials themselves."""
    found = {run.run_id: run for run in search.runs}
    sides = (pair.candidate, pair.reference)
    runs = [[found[run_id] for run_id in side.run_ids] if pair.split == "val" else [] for side in sides]
    return matrix_difference_plate(sides[0].trial, sides[1].trial, search.classes, *runs)


def _unavailable(why: str) -> Plate:
    raise Unavailable(why)


def _next_command(search: RecordedSearch, folder: str | None) -> tuple[str | None, str]:
    """What to run next, and why; nothing where it has been run, or the folder is not known."""
    if search.runs or len(search.ranked) < 2 or folder is None:
        return None, ""
    why = "trains the best configurations again from fresh seeds and measures each once on val: whether a gain is real"
    return f"aerosweep confirm {shlex.quote(folder)}", why


def _facts(search: RecordedSearch, data: TrialData | None) -> list[tuple[str, str]]:
    states = Counter(trial.state for trial in search.trials)
    ended = ", ".join(f"{states[state]} {state}" for state in _STATES if states[state])
    facts = [
        ("Search", f"{search.name}, {search.state}"),
        ("Trials", f"{len(search.trials)} of {search.budget} ({ended or 'none'}), {search.max_epochs} epochs at most"),
        ("Objective", f"{', '.join(map(metric_title, search.objectives))} on dev"),
        ("Images", _images(search, data)),
        ("Begun", _when(search.started_ms)),
        ("MLflow", f"{search.where}, run {search.run_id}"),
        ("Made by", f"aerosweep {version('aerosweep')}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
    ]
    return [(label, value) for label, value in facts if value]


def _images(search: RecordedSearch, data: TrialData | None) -> str:
    if data is None:
        return search.dataset.layout if search.dataset else ""
    splits = data.splits
    sizes = f"{len(splits.train)} train, {len(splits.dev)} dev, {len(splits.val)} val"
    return f"{data.image_set.name}, {len(data.image_set)} images ({sizes})"


def _when(started_ms: int) -> str:
    return f"{datetime.fromtimestamp(started_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC" if started_ms else ""


def _cautions(search: RecordedSearch) -> list[str]:
    """What the reader must know of the whole."""
    cautions = []
    if search.dataset is not None and search.dataset.is_made:
        cautions.append(
            "The images are made, not photographed: this shows how the system works, and is no evidence about losses."
        )
    if search.state not in ("completed", "failed"):
        cautions.append(f"The search is {search.state}: it has {len(search.trials)} of its {search.budget} trials.")
    return cautions
