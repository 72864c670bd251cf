"""The objective over the Tversky loss's parameters.

Alpha weighs false negatives, beta false positives; gamma is the exponent of what a class lacks.
Dice and IoU are points of the same plane (`trainable.losses`), so their trials belong into it.
"""

import itertools
import math
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from analysis.recorded.loss_trials import ending_of
from analysis.recorded.recorded_search import RecordedSearch, RecordedTrial
from analysis.words.configuration_words import architecture_title
from analysis.words.gain_words import metric_title
from analysis.words.number_words import short, trimmed
from trainable.config.loss_registry import LOSS_DEFAULTS

REFERENCE_POINTS: Final = {"Dice": (0.5, 0.5), "IoU": (1.0, 1.0), "Tversky baseline": (0.7, 0.3)}
"""Alpha and beta of losses that are used without any search; gamma is 1."""

COLUMNS: Final = [
    "run_id", "trial_id", "loss", "model", "ending", "epochs", "alpha", "beta", "gamma", "gamma_on", "alpha_share",
    "objective",
]  # fmt: skip

_POINTS_OF_LOSSES: Final = {"dice": "Dice", "iou": "IoU"}
_ALL_ORDERS: Final = 7
"""Up to so many values, every order is counted (5,040); above, so many random ones are."""
_DRAWS: Final = 10_000


def tabulate_tversky(search: RecordedSearch) -> pd.DataFrame:
    """Tabulate the trials whose loss is a point of the plane: Tversky, Dice, IoU.

    Returns:
        A row for each in order, with the columns run_id, trial_id, loss, model (with its encoder where these differ),
        ending (one of `analysis.recorded.loss_trials.ENDINGS`), epochs, alpha, beta, gamma, gamma_on, alpha_share
        (alpha / (alpha + beta)) and objective (its best on dev so far; NaN where it diverged, failed or has none yet).
    """
    trials = [trial for trial in search.trials if trial.loss in ("tversky", *_POINTS_OF_LOSSES)]
    frame = pd.DataFrame([_row(trial, search.max_epochs) for trial in trials], columns=COLUMNS)
    encoders = [str(trial.config.get("model", {}).get("encoder", "")) for trial in trials]
    return frame.assign(model=frame["model"] + [f" {e}" for e in encoders]) if len(set(encoders)) > 1 else frame


def _row(trial: RecordedTrial, max_epochs: int) -> dict[str, Any]:
    loss = trial.config["loss"]
    named = _POINTS_OF_LOSSES.get(trial.loss)
    alpha, beta = REFERENCE_POINTS[named] if named else (float(loss["alpha"]), float(loss["beta"]))
    gamma, gamma_on = (LOSS_DEFAULTS[key] if named else loss.get(key) for key in ("gamma", "gamma_on"))
    ending = ending_of(trial, max_epochs)
    return {
        "run_id": trial.run_id,
        "trial_id": trial.trial_id,
        "loss": trial.loss,
        "model": architecture_title(trial.config),
        "ending": ending,
        "epochs": trial.epochs,
        "alpha": alpha,
        "beta": beta,
        "gamma": float(gamma or 1.0),
        "gamma_on": gamma_on or LOSS_DEFAULTS["gamma_on"],
        "alpha_share": alpha / (alpha + beta),
        "objective": math.nan if ending in ("diverged", "failed") else trial.objective,
    }


def count_compounds(search: RecordedSearch) -> int:
    """How many trials have a Tversky term within a compound loss: they are no points of the plane."""
    losses = [trial.config.get("loss", {}) for trial in search.trials]
    return sum(loss.get("name") == "compound" and loss.get("region") == "tversky" for loss in losses)


def at_reference(frame: pd.DataFrame) -> "pd.Series[bool]":
    """Which rows of `tabulate_tversky` lie at a point of `REFERENCE_POINTS`, at gamma 1."""
    at_point = [(a, b) in REFERENCE_POINTS.values() for a, b in zip(frame["alpha"], frame["beta"], strict=True)]
    return pd.Series(at_point, index=frame.index, dtype=bool) & (frame["gamma"] == 1)


def rank_correlation(x: ArrayLike, y: ArrayLike) -> tuple[float, float]:
    """Compute Spearman's rank correlation and its two-sided p value, by permutation.

    Every order counts up to 7 values; above, 10,000 random orders of a fixed seed, with the observed one added (Phipson
    & Smyth 2010, Permutation p-values should never be zero).

    Args:
        x: (N,), finite.
        y: (N,), finite.

    Returns:
        rho in -1..1 and p in 0..1; both NaN for fewer than three values, and where one of the two does not vary.
    """
    first, second = _standardised(x), _standardised(y)
    if len(first) < 3 or not first.any() or not second.any():
        return math.nan, math.nan
    rho = float(first @ second)
    if len(first) <= _ALL_ORDERS:
        orders = np.array(list(itertools.permutations(range(len(first)))))
        extra = 0
    else:
        orders = np.random.default_rng(0).permuted(np.tile(np.arange(len(first)), (_DRAWS, 1)), axis=1)
        extra = 1
    as_far = int((np.abs(second[orders] @ first) >= abs(rho) - 1e-12).sum())
    return rho, (as_far + extra) / (len(orders) + extra)


def _standardised(values: ArrayLike) -> NDArray[np.float64]:
    """Ranks of mean 0 and length 1, so that their product is Spearman's rho; zeros where nothing varies."""
    ranks = np.asarray(rankdata(np.asarray(values, dtype=np.float64)), dtype=np.float64)
    centred = ranks - ranks.mean() if ranks.size else ranks
    length = float(np.linalg.norm(centred))
    return centred / length if length > 0 else np.zeros_like(centred)


def describe_tversky(frame: pd.DataFrame, objective: str, relevant_gain: float) -> str:
    """Say where the best trial lies, against the reference points, and whether the objective goes with alpha's share.

    Only trials that ran the full length count. The correlation is said where p < 0.05.

    Args:
        frame: As of `tabulate_tversky`.
        objective: Name of the objective.
        relevant_gain: The least difference that would matter.
    """
    full = frame[(frame["ending"] == "full") & frame["objective"].notna()]
    said = [sentence for sentence in (_best(full, objective, relevant_gain), _trend(full, objective)) if sentence]
    if said:
        said.append("Single training runs, scored on the split that the search tuned on: weak evidence.")
    return " ".join(said)


def _best(full: pd.DataFrame, objective: str, relevant_gain: float) -> str:
    """The best searched trial against the best at a reference point; nothing where one of the two does not exist."""
    reference = full[at_reference(full)]
    searched = full.drop(index=reference.index)
    if searched.empty or reference.empty or not full["objective"].max() > 0:
        return ""
    best, base = (rows.iloc[int(rows["objective"].argmax())] for rows in (searched, reference))
    models = full["model"].nunique() > 1
    gain = best["objective"] - base["objective"]
    apart = f"{short(abs(gain))} {'above' if gain > 0 else 'below'}"
    compared = apart if abs(gain) >= relevant_gain else f"less than {trimmed(relevant_gain, 3)} from"
    return (
        f"The best of {len(searched)} full-length searched {'point' if len(searched) == 1 else 'points'} is "
        f"{_place(best, models)}, with {metric_title(objective)} {short(best['objective'])} on dev: "
        f"{compared} the best of {len(reference)} at the reference points, "
        f"{_place(base, models)}, {short(base['objective'])}."
    )


def _place(row: "pd.Series[Any]", models: bool) -> str:
    """Of a trial: `t0004 (alpha .62, beta .31, gamma 1.10)`."""
    values = ", ".join(f"{name} {row[name]:.2f}".replace(" 0.", " .") for name in ("alpha", "beta", "gamma"))
    return f"{row['trial_id']} ({row['model'] + ', ' if models else ''}{values})"


def _trend(full: pd.DataFrame, objective: str) -> str:
    tversky = full[full["loss"] == "tversky"]
    rho, p = rank_correlation(tversky["alpha_share"], tversky["objective"])
    if not p < 0.05:
        return ""
    models = full["model"].nunique()
    across = f", across {models} models" if models > 1 else ""
    return (
        f"{metric_title(objective)} {'rises' if rho > 0 else 'falls'} with alpha / (alpha + beta): rank correlation "
        f"{f'{rho:.2f}'.replace('0.', '.')} over {len(tversky)} full-length Tversky trials{across} "
        f"({'p < .001' if p < 0.001 else f'p = {p:.3f}'.replace('0.', '.')}, permutation)."
    )
