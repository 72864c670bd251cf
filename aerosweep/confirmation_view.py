"""A confirmation on the terminal and as CSV: val scores first, then every claim with its verdict."""

import csv
import io
import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import astuple, fields
from typing import Final

from rich import box
from rich.table import Table
from rich.text import Text

from analysis.claims import Claim, caution_of_many
from analysis.confirmation import (
    SUMMARY_METRICS,
    Confirmation,
    ConfirmedRow,
    ConfirmedTrial,
    moved_only_the_operating_point,
)
from analysis.scene_bootstrap import MeanInterval
from search.confirm_program import FOLDER, Candidate, loss_name
from search.trial_line import model_and_loss
from trainable.errors import InputError
from trainable.held_out import HeldOutCounts
from trainable.storage import Storage
from trainable.trial_record import HELD_OUT_COUNTS_FILE, TrialRecord, TrialSnapshot

_DECIMALS: Final = 6
_TITLES: Final = {
    "miou": "mIoU",
    "thing_miou": "things",
    "thing_miss_rate": "missed",
    "thing_false_alarms_per_image": "alarms",
}


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
        ended = [run for run in runs if run.card.confirms == trial.card.trial_id and run.end is not None]
        measured = [run for run in ended if run.held_out is not None]
        if measured:
            found.append(
                ConfirmedTrial(
                    trial=trial.card.trial_id,
                    label=model_and_loss(trial),
                    loss=loss_name(trial),
                    reasons=candidate.reasons,
                    baseline=trial.card.baseline,
                    dev=trial.objective or 0.0,
                    epochs=len(measured[0].epochs),
                    runs=tuple(_counts(folder, run) for run in measured),
                    lost=len(ended) - len(measured),
                )
            )
    return found


def _counts(folder: Storage, run: TrialSnapshot) -> HeldOutCounts:
    record = TrialRecord(folder.child(FOLDER), run.card.trial_id)
    data = record.folder.read(HELD_OUT_COUNTS_FILE)
    try:
        return HeldOutCounts.from_bytes(data or b"")
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{record.folder.url}/{HELD_OUT_COUNTS_FILE} must be the whole file that the run wrote",
            "none" if data is None else f"{type(error).__name__}: {error}",
            f"Delete the folder {record.folder.url} and run `aerosweep confirm` again: the run is made anew",
        ) from error


def confirmed_table(confirmation: Confirmation, objectives: Sequence[str]) -> Table:
    """The configurations by their scores on val: mean and spread over seeds, interval over scenes."""
    shown = [name for name in dict.fromkeys([*objectives, *SUMMARY_METRICS]) if name in confirmation.rows[0].scores]
    table = Table(
        title=f"Confirmed on val: {confirmation.images} images of {confirmation.scenes} scenes, fresh seeds, "
        "epochs chosen on dev",
        caption=Text(_caption(confirmation, shown[0])),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for title in ("#", "trial", "model and loss", "n"):
        table.add_column(title, justify="right" if title in "#n" else "left", no_wrap=title != "model and loss")
    for name in shown:
        table.add_column(_TITLES.get(name, name), justify="right", no_wrap=True)
        if name == shown[0]:
            table.add_column("95 % over scenes", justify="right", no_wrap=True)
    table.add_column("adjusted", justify="right", no_wrap=True)
    table.add_column("dev", justify="right", no_wrap=True)
    for place, row in enumerate(confirmation.rows, start=1):
        table.add_row(*_cells(place, row, confirmation, shown), style="bold" if place == 1 else "")
    return table


def _cells(place: int, row: ConfirmedRow, confirmation: Confirmation, shown: Sequence[str]) -> list[Text]:
    trial = row.trial
    mark = " ref" if trial is confirmation.reference else ""
    lost = f" ({trial.lost} lost)" if trial.lost else ""
    cells = [str(place), f"{trial.trial}{mark}", trial.label, f"{len(trial.runs)}{lost}"]
    for name in shown:
        score = row.scores[name]
        cells.append(_with_spread(score))
        if name == shown[0]:
            cells.append("none" if math.isnan(score.low) else f"{_short(score.low)} to {_short(score.high)}")
    adjusted = row.adjusted.get(shown[0], row.adjusted["miou"])
    cells += [f"{_short(adjusted.value)} (tau {row.tau:.2g})", _short(trial.dev)]
    return [Text(cell) for cell in cells]


def _with_spread(score: MeanInterval) -> str:
    if math.isnan(score.value):
        return "-"
    return _short(score.value) + ("" if math.isnan(score.seed_sd) else f" ±{_short(score.seed_sd)}")


def _short(value: float) -> str:
    """Three decimals without the leading zero; a dash where there is no value."""
    if math.isnan(value):
        return "-"
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def _caption(confirmation: Confirmation, first: str) -> str:
    parts = ["± standard deviation over seeds", "adjusted: after logit adjustment, tau fitted on dev"]
    why = confirmation.rows[0].scores[first].why_none
    if why:
        parts.insert(0, f"no interval: {why[0].lower()}{why[1:].rstrip('.')}")
    return "; ".join(parts)


def claims_table(confirmation: Confirmation, objectives: Sequence[str]) -> Table:
    """Every configuration against the reference by the objectives and the summary metrics."""
    reference = confirmation.reference
    title = f"Claims against {reference.trial} ({reference.label})" if reference else "Claims"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("trial", no_wrap=True)
    table.add_column("metric", no_wrap=True)
    table.add_column("difference", justify="right", no_wrap=True)
    table.add_column("95 %", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("why")
    for claim in headline(confirmation, objectives):
        interval = "" if math.isnan(claim.low) else f"{_signed(claim.low)} to {_signed(claim.high)}"
        cells = [claim.candidate, _TITLES.get(claim.metric, claim.metric), _signed(claim.difference), interval]
        table.add_row(*(Text(cell) for cell in [*cells, claim.verdict.value, claim.why]))
    return table


def _signed(value: float) -> str:
    if math.isnan(value):
        return "-"
    sign = "" if round(value, 3) == 0 else "-" if value < 0 else "+"
    return sign + _short(abs(value))


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
                "it may be a moved operating point, which cross entropy reaches without training again"
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
        start = [trial.trial, trial.label, str(trial is confirmation.reference).lower(), "; ".join(trial.reasons)]
        for adjusted, scores in (("false", row.scores), ("true", row.adjusted)):
            common = [*start, trial.dev, trial.epochs, trial.lost, adjusted, row.tau]
            rows += [[*common, *astuple(score)] for score in scores.values()]
    return _csv([*head, "adjusted", "tau", *names], rows)


def claims_csv(confirmation: Confirmation) -> bytes:
    """Every claim, with and without logit adjustment, UTF-8."""
    names = [field.name for field in fields(Claim)]
    rows = [
        [adjusted, *(getattr(claim, name) for name in names)]
        for adjusted, claims in (("false", confirmation.claims), ("true", confirmation.adjusted_claims))
        for claim in claims
    ]
    return _csv(["adjusted", *names], rows)


def _csv(head: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([_csv_cell(value) for value in row] for row in rows)
    return text.getvalue().encode()


def _csv_cell(value: object) -> object:
    if isinstance(value, float):
        return "" if math.isnan(value) else round(value, _DECIMALS)
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(map(str, value)) if isinstance(value, tuple) else value
