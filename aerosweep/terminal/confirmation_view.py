"""A confirmation on the terminal and as CSV: val scores first, then every claim with its verdict."""

import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import astuple, fields

from rich.table import Table
from rich.text import Text

from aerosweep.terminal.text_table import text_table
from analysis.evidence.claims import Claim, caution_of_many
from analysis.evidence.confirmation import (
    SUMMARY_METRICS,
    Confirmation,
    ConfirmedRow,
    ConfirmedTrial,
    moved_only_the_operating_point,
)
from analysis.evidence.scene_bootstrap import MeanInterval
from analysis.words.number_words import short, signed
from search.decide.confirm_plan import FOLDER, Candidate
from search.project.csv_table import csv_bytes
from trainable.config.metric_registry import METRICS
from trainable.errors import InputError
from trainable.measure.val_counts import ValCounts
from trainable.record.record_types import TrialSnapshot
from trainable.record.storage import Storage
from trainable.record.trial_record import VAL_COUNTS_FILE, TrialRecord
from trainable.record.trial_words import loss_name, model_and_loss


def confirmed_trials(
    folder: Storage, chosen: Sequence[Candidate], runs: Sequence[TrialSnapshot]
) -> list[ConfirmedTrial]:
    """The configurations that were measured on val at least once.

    Args:
        folder: Of the search.
        chosen: Every trial that runs were made for.
        runs: Of the confirmation.
    """
    found = []
    for candidate in chosen:
        trial = candidate.trial
        ended = [run for run in runs if run.spec.confirms == trial.spec.trial_id and run.end is not None]
        measured = [run for run in ended if run.val is not None]
        if measured:
            found.append(
                ConfirmedTrial(
                    trial=trial.spec.trial_id,
                    label=model_and_loss(trial.spec.config),
                    loss=loss_name(trial.spec.config),
                    reasons=candidate.reasons,
                    baseline=trial.spec.baseline,
                    dev=trial.objective or 0.0,
                    epochs=len(measured[0].epochs),
                    runs=tuple(_counts(folder, run) for run in measured),
                    lost=len(ended) - len(measured),
                )
            )
    return found


def _counts(folder: Storage, run: TrialSnapshot) -> ValCounts:
    record = TrialRecord(folder.child(FOLDER), run.spec.trial_id)
    name = record.val_file(run.val, VAL_COUNTS_FILE) if run.val else VAL_COUNTS_FILE
    data = record.folder.read(name)
    try:
        return ValCounts.from_bytes(data or b"")
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{record.folder.url}/{name} must be the whole file that the run wrote",
            "none" if data is None else f"{type(error).__name__}: {error}",
            f"Delete the folder {record.folder.url} and run `aerosweep confirm` again: the run is made anew",
        ) from error


def confirmed_table(confirmation: Confirmation, objectives: Sequence[str]) -> Table:
    """The configurations by their scores on val: mean and spread over seeds, interval over scenes.

    Two lines a configuration, so that it is to be read on 80 columns.
    """
    shown = [name for name in dict.fromkeys([*objectives, *SUMMARY_METRICS]) if name in confirmation.rows[0].scores]
    table = text_table(
        f"Confirmed on val: {confirmation.images} images of {confirmation.scenes} scenes, fresh seeds, "
        "epochs chosen on dev",
        _caption(confirmation, shown[0]),
    )
    table.add_column("trial", no_wrap=True)
    table.add_column("model and loss", min_width=14, overflow="fold")
    table.add_column("n", justify="right", no_wrap=True)
    for name in shown:
        table.add_column(_title(name, name.replace("/", "/ ")), justify="right", overflow="fold", min_width=5)
        if name == shown[0]:
            table.add_column("95 %", justify="right", no_wrap=True)
    table.add_column("adj.", justify="right", no_wrap=True)
    table.add_column("dev", justify="right", no_wrap=True)
    for place, row in enumerate(confirmation.rows):
        table.add_row(*_cells(row, confirmation, shown), style="bold" if place == 0 else "")
    return table


def _title(metric: str, otherwise: str) -> str:
    entry = METRICS.get(metric)
    return entry.narrow_column if entry and entry.narrow_column else otherwise


def _cells(row: ConfirmedRow, confirmation: Confirmation, shown: Sequence[str]) -> list[Text]:
    trial = row.trial
    mark = "\nref" if trial is confirmation.reference else ""
    lost = f"\n-{trial.lost}" if trial.lost else ""
    cells = [f"{trial.trial}{mark}", trial.label.replace(", ", ",\n", 1), f"{len(trial.runs)}{lost}"]
    for name in shown:
        score = row.scores[name]
        cells.append(_with_spread(score))
        if name == shown[0]:
            cells.append("none" if math.isnan(score.low) else f"{_short(score.low)}-\n{_short(score.high)}")
    adjusted = row.adjusted.get(shown[0], row.adjusted["miou"])
    cells += [f"{_short(adjusted.value)}\ntau {short(row.tau, 2)}", _short(trial.dev)]
    return [Text(cell) for cell in cells]


def _with_spread(score: MeanInterval) -> str:
    if math.isnan(score.value):
        return "-"
    return _short(score.value) + ("" if math.isnan(score.seed_sd) else f"\n±{_short(score.seed_sd)}")


def _short(value: float) -> str:
    return short(value, _decimals(value))


def _signed(value: float) -> str:
    return signed(value, _decimals(value))


def _decimals(value: float) -> int:
    """Fewer where a number is large: the tables are to be read on 80 columns."""
    return 3 if abs(value) < 10 else 1


def _caption(confirmation: Confirmation, first: str) -> str:
    parts = [
        "n: seeds (below: lost ones); ± standard deviation over seeds; 95 %: over scenes",
        "adj.: after logit adjustment, tau fitted on dev",
    ]
    why = confirmation.rows[0].scores[first].why_none
    if why:
        parts.insert(0, f"no interval: {why[0].lower()}{why[1:].rstrip('.')}")
    return "; ".join(parts)


def claims_table(confirmation: Confirmation, objectives: Sequence[str]) -> Table:
    """Every configuration against the reference by the objectives and the summary metrics; reasons are numbered."""
    reference = confirmation.reference
    title = f"Claims against {reference.trial} ({reference.label})" if reference else "Claims"
    table = text_table(title)
    table.add_column("trial", no_wrap=True)
    table.add_column("metric", overflow="fold")
    table.add_column("difference", justify="right", no_wrap=True)
    table.add_column("95 %", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    claims = headline(confirmation, objectives)
    numbers = {why: number for number, why in enumerate(dict.fromkeys(claim.why for claim in claims), start=1)}
    for claim in claims:
        interval = "none" if math.isnan(claim.low) else f"{_signed(claim.low)} to {_signed(claim.high)}"
        cells = [claim.candidate, _title(claim.metric, claim.metric), _signed(claim.difference), interval]
        table.add_row(*(Text(cell) for cell in [*cells, f"{claim.verdict.value} ({numbers[claim.why]})"]))
    return table


def reasons(confirmation: Confirmation, objectives: Sequence[str]) -> list[str]:
    """The reasons that the table of claims numbers."""
    whys = dict.fromkeys(claim.why for claim in headline(confirmation, objectives))
    return [f"({number}) {why}" for number, why in enumerate(whys, start=1)]


def headline(confirmation: Confirmation, objectives: Sequence[str]) -> list[Claim]:
    """The claims that are shown: by the objectives and the summary metrics."""
    return [claim for claim in confirmation.claims if claim.metric in (*objectives, *SUMMARY_METRICS)]


def closing_notes(confirmation: Confirmation, objectives: Sequence[str]) -> list[str]:
    """What else there is to know before any of it is quoted."""
    notes = []
    if confirmation.reference is None:
        notes.append(
            "no claims: the search has neither a baseline nor a cross entropy trial to compare with. "
            "Add `baselines: strong`, or cross_entropy to space.loss.name"
        )
    for row in confirmation.rows:
        if moved_only_the_operating_point(confirmation, row.trial.trial, objectives[0]):
            notes.append(
                f"{row.trial.trial}: its gain in {objectives[0]} is not supported once both sides are logit-adjusted: "
                "it may be a moved operating point, which the reference reaches without training again"
            )
    judged = [claim for claim in headline(confirmation, objectives) if not math.isnan(claim.low)]
    if judged:
        notes.append(caution_of_many(len(judged)))
    return notes


def confirmed_csv(confirmation: Confirmation) -> bytes:
    """Every score of every configuration, UTF-8; a value that does not exist is an empty cell."""
    head = ["trial", "model_and_loss", "reference", "reasons", "dev_objective", "epochs", "lost_seeds"]
    names = [field.name for field in fields(MeanInterval)]
    rows: list[list[object]] = []
    for row in confirmation.rows:
        trial = row.trial
        start = [trial.trial, trial.label, trial is confirmation.reference, "; ".join(trial.reasons)]
        for adjusted, scores in ((False, row.scores), (True, row.adjusted)):
            common = [*start, trial.dev, trial.epochs, trial.lost, adjusted, row.tau]
            rows += [[*common, *astuple(score)] for score in scores.values()]
    return csv_bytes([*head, "adjusted", "tau", *names], rows)


def claims_csv(confirmation: Confirmation) -> bytes:
    """Every claim, with and without logit adjustment, UTF-8."""
    names = [field.name for field in fields(Claim)]
    rows = [
        [adjusted, *(getattr(claim, name) for name in names)]
        for adjusted, claims in ((False, confirmation.claims), (True, confirmation.adjusted_claims))
        for claim in claims
    ]
    return csv_bytes(["adjusted", *names], rows)
