"""Which hyperparameters the objective depends on: fANOVA importance with its spread and what chance alone would give.

All trials are compared by the objective at the epoch that every one of them reached, so that one that was stopped early
is held to no more than it had time for. Diverged trials are left out: their objective is a made-up 0, which would
outweigh all that was measured. A parameter that only some trials have is assessed among those.

Importance is the share of the variance of the objective, as a random forest over the values tried predicts it, that a
parameter accounts for by itself (Hutter et al. 2014, An efficient approach for assessing hyperparameter importance). Of
Optuna's evaluators PED-ANOVA takes parameters that some trials lack, but needs five trials or more in the best tenth;
the impurity of a forest favours parameters of many values. Numbers are taken by their rank among the values tried: a
search does not record which were searched by orders of magnitude, and ranks do not depend on it.

A forest finds something in anything. So the objectives are shuffled over the trials, and the greatest importance that
any parameter then has is the noise; what exceeds it in all shuffles is by chance in 1 of 20 searches at most (Westfall
and Young 1993, Resampling-based multiple testing). It takes the trials as independent, which those of TPE are not: read
it as a guard.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.recorded.loss_trials import ending_of, shortest_length
from analysis.recorded.recorded_search import RecordedSearch
from analysis.words.number_words import counted, listed, short

if TYPE_CHECKING:  # Optuna takes long to import
    from optuna.distributions import BaseDistribution

FEWEST_TRIALS: Final = 10
"""A group of fewer has no importances."""

SHUFFLES: Final = 19
"""The greatest of 19 is exceeded by a twentieth like them 1 time in 20."""

RESAMPLES: Final = 20

IMPORTANCE_COLUMNS: Final = [
    "group", "losses", "parameter", "trials", "epoch", "importance", "low", "high", "noise", "run_ids",
]  # fmt: skip

_FIXED: Final = ("run_id", "trial_id", "loss", "epoch", "objective")
_TREES: Final = 16
_TREES_FOR: Final = 100
"""Trials; of more there are fewer trees, as each takes longer."""

_SPREAD: Final = (0.05, 0.95)

Importances = dict[str, float]


def tabulate_tried(search: RecordedSearch) -> pd.DataFrame:
    """Tabulate what was tried and what it scored by the epoch that all trials reached.

    Returns:
        A row for each trial that ended with a score, with the columns run_id, trial_id, loss, epoch, objective (the
        running best at that epoch on dev), and one for each searched parameter, None where it does not exist.
    """
    epoch = shortest_length(search)
    scored = [trial for trial in search.trials if ending_of(trial, search.max_epochs) in ("full", "early")]
    names = sorted({name for trial in scored for name in trial.params})
    rows = [
        [trial.run_id, trial.trial_id, trial.loss, epoch, float(trial.objective_curve.iloc[epoch - 1])]
        + [trial.params.get(name) for name in names]
        for trial in scored
    ]
    frame = pd.DataFrame(rows, columns=[*_FIXED, *names], dtype=object)
    return frame.astype({"epoch": int, "objective": float})


def parameter_groups(tried: pd.DataFrame) -> dict[tuple[str, ...], pd.DataFrame]:
    """Split the trials by which parameters they have.

    Args:
        tried: As of `tabulate_tried`.

    Returns:
        First, under the empty key, all trials with the parameters that all of them have; then for each set of
        parameters that exist together the trials that have them, with all parameters that those have. Parameters of
        one value in a group have no importance, and are left out of it.
    """
    names = [name for name in tried.columns if name not in _FIXED]
    having: dict[tuple[int, ...], list[str]] = {}
    for name in names:
        having.setdefault(tuple(np.flatnonzero(tried[name].notna())), []).append(name)
    everywhere = tuple(range(len(tried)))
    groups: dict[tuple[str, ...], pd.DataFrame] = {(): _varied(tried, names)}
    for rows, own in having.items():
        if rows != everywhere:
            group = _varied(tried.iloc[list(rows)], names)
            varied = tuple(name for name in own if name in group)
            groups |= {varied: group} if varied else {}
    return groups


def _varied(trials: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    kept = [name for name in names if trials[name].notna().all() and trials[name].nunique() > 1]
    return trials[[*_FIXED, *kept]].reset_index(drop=True)


def why_not(group: pd.DataFrame) -> str:
    """Why a group has no importances: `only 7 trials of the 10 that are needed`; empty where it has."""
    if len(group) < FEWEST_TRIALS:
        return f"only {counted(len(group), 'trial')} of the {FEWEST_TRIALS} that are needed"
    if len(group.columns) < len(_FIXED) + 2:
        return "there are not two parameters to weigh against each other"
    if np.ptp(group["objective"].to_numpy()) == 0:
        return "all trials have the same objective"
    return ""


def left_out(tried: pd.DataFrame) -> list[str]:
    """The groups that have no importances, and why: `loss.alpha, loss.beta (only 7 trials of ...)`.

    Args:
        tried: As of `tabulate_tried`.
    """
    reasons = {own: why_not(group) for own, group in parameter_groups(tried).items()}
    return [f"{', '.join(own) or 'all trials'} ({reason})" for own, reason in reasons.items() if reason]


def tabulate_importance(tried: pd.DataFrame) -> pd.DataFrame:
    """Tabulate the importance of each parameter in each group that has importances (see `why_not`).

    Args:
        tried: As of `tabulate_tried`.

    Returns:
        Columns `IMPORTANCE_COLUMNS`. group: the parameters that only its trials have, comma-separated, empty for all
        trials; losses: comma-separated; trials and epoch: how many were compared, and at which; importance: in 0..1;
        low, high: 5 % and 95 % of `RESAMPLES` bootstrap resamples of the trials; noise: see the module; run_ids: of the
        trials, semicolon-joined. The most important of a group first.
    """
    rows = []
    for own, group in parameter_groups(tried).items():
        if why_not(group):
            continue
        losses, run_ids = ", ".join(sorted(set(group["loss"]))), ";".join(group["run_id"])
        for name, (value, low, high, noise) in _with_spread(group).items():
            epoch = int(group["epoch"].iloc[0])
            rows.append([", ".join(own), losses, name, len(group), epoch, value, low, high, noise, run_ids])
    return pd.DataFrame(rows, columns=IMPORTANCE_COLUMNS)


def _with_spread(group: pd.DataFrame) -> dict[str, tuple[float, float, float, float]]:
    """Importance, low, high and noise of each parameter, the most important first."""
    generator = np.random.default_rng(0)
    objectives = group["objective"].to_numpy()
    all_rows = np.arange(len(group))
    with _quiet_optuna():
        assess = _assessor(group)
        drawn = [assess(all_rows, generator.permutation(objectives)) for _ in range(SHUFFLES)]
        resampled = []
        for _ in range(RESAMPLES):
            rows = generator.integers(0, len(group), len(group))
            resampled.append(assess(rows, objectives[rows]))
        found = assess(all_rows, objectives)
    noise = max((max(each.values()) for each in drawn if each), default=math.nan)
    ends = {name: _ends([each[name] for each in resampled if each]) for name in found}
    ordered = sorted(found.items(), key=lambda item: -item[1])
    return {name: (value, *ends[name], noise) for name, value in ordered}


def _ends(values: list[float]) -> tuple[float, float]:
    low, high = np.quantile(values, _SPREAD) if values else (math.nan, math.nan)
    return float(low), float(high)


def _assessor(group: pd.DataFrame) -> Callable[[NDArray[np.int64], NDArray[np.float64]], Importances]:
    """What computes the importances where the trials of these rows have these objectives."""
    import optuna
    from optuna.importance import FanovaImportanceEvaluator

    names = [name for name in group.columns if name not in _FIXED]
    trees = max(4, _TREES * _TREES_FOR // max(len(group), _TREES_FOR))
    encoded = {name: _encoded(group[name]) for name in names}
    domains = {name: domain for name, (domain, _) in encoded.items()}
    points = [{name: values[row] for name, (_, values) in encoded.items()} for row in range(len(group))]

    def assess(rows: NDArray[np.int64], objectives: NDArray[np.float64]) -> Importances:
        study = optuna.create_study(direction="maximize")
        pairs: Iterator[tuple[int, float]] = zip(rows.tolist(), objectives.tolist(), strict=True)
        study.add_trials(
            [optuna.create_trial(params=points[row], distributions=domains, value=value) for row, value in pairs]
        )
        try:
            found: Mapping[str, Any] = FanovaImportanceEvaluator(n_trees=trees, seed=0).evaluate(study)
        except RuntimeError:  # a resample of equal objectives, which no tree can split
            return {}
        return {name: float(found[name]) for name in names}

    return assess


def _encoded(values: "pd.Series[Any]") -> "tuple[BaseDistribution, list[Any]]":
    """A parameter's domain and values for Optuna: numbers by rank, the mean one of equals; all else by name."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        ranks = values.astype(float).rank().tolist()
        return FloatDistribution(min(ranks), max(ranks)), ranks
    words = [str(value) for value in values]
    return CategoricalDistribution(sorted(set(words))), words


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Keep Optuna from announcing each study; how it logs otherwise is left alone."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def describe_importance(frame: pd.DataFrame) -> str:
    """Say which parameters exceed the noise, a sentence a group; nothing of a group where none does.

    One is said to matter most where its interval is also above those of all others.

    Args:
        frame: As of `tabulate_importance`.
    """
    return " ".join(filter(None, (_describe_group(group) for _, group in frame.groupby("group", sort=False))))


def _describe_group(group: pd.DataFrame) -> str:
    standing = group[group["importance"] > group["noise"]]
    if standing.empty:
        return ""
    first = group.iloc[0]
    among = f"the {first['trials']} trials with {first['group']}" if first["group"] else f"{first['trials']} trials"
    where = f"Among {among}, at epoch {first['epoch']} on dev,"
    noise = f"where the objectives are shuffled none exceeds {short(first['noise'], 2)}"
    if first["low"] > group["high"].iloc[1:].max():
        spread = f"{short(first['low'], 2)} to {short(first['high'], 2)} over resamples"
        return f"{where} {first['parameter']} matters most: {short(first['importance'], 2)} ({spread}); {noise}."
    named = zip(standing["parameter"], standing["importance"], strict=True)
    parts = [f"{name} ({short(value, 2)})" for name, value in named]
    stand = "stand out, in no order that so few trials tell" if len(parts) > 1 else "stands out"
    return f"{where} {listed(parts)} {stand}; {noise}."
