"""Scores scene by scene, and whether a gain is spread over the scenes or carried by one.

A scene's mIoU is the mean IoU over the classes that occur in that scene, so that the mean over scenes is not the mIoU
of the split. What a scene carries is therefore measured by leaving it out: the difference between two configurations on
all other scenes together.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from analysis.evidence.scene_bootstrap import leave_one_out_scores
from analysis.evidence.scene_scores import Metric, SceneCounts, shared_scenes
from analysis.findings.compared_pair import Pair
from analysis.findings.compared_side import Side
from analysis.words.gain_words import metric_title
from analysis.words.number_words import counted, listed, short, signed

SCENE_METRICS: Final = ("miou", "thing_miou")
"""What is shown of each scene."""

MIN_DIFFERENCE: Final = 0.0005
"""Differences below are zero at the three decimals that are shown, and nothing can be said of who carries them."""


def tabulate_scores(sides: Sequence[tuple[str, Side]], metrics: Sequence[str] = SCENE_METRICS) -> pd.DataFrame:
    """Score every network on every scene by itself.

    Args:
        sides: The role (`candidate`, `reference`) and the configuration.
        metrics: Names, as of `analysis.evidence.scene_scores.scene_metric`.

    Returns:
        Columns role, trial_id, configuration, run_id, scene, images, metric, score: a row for each network, scene and
        metric. Rows without a score, where a scene has nothing that the metric measures, are left out.
    """
    rows = [
        {
            "role": role,
            "trial_id": side.trial_id,
            "configuration": side.title,
            "run_id": run_id,
            "scene": scene,
            "images": images,
            "metric": name,
            "score": score,
        }
        for role, side in sides
        for run_id, network in zip(side.run_ids, side.networks, strict=True)
        for name in metrics
        for scene, images, score in zip(
            network.names, network.images.tolist(), scene_scores(network, side.metric(name)), strict=True
        )
        if not math.isnan(score)
    ]
    columns = ["role", "trial_id", "configuration", "run_id", "scene", "images", "metric", "score"]
    return pd.DataFrame(rows, columns=columns)


def scene_scores(network: SceneCounts, metric: Metric) -> list[float]:
    """The metric of each scene by itself, in the order of its names; NaN where it has nothing to measure."""
    scores: list[float] = metric(network, np.eye(len(network.names))).tolist()
    return scores


def mean_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """The mean over networks: index scene, columns (metric, role); NaN where there is none."""
    return scores.pivot_table(index="scene", columns=["metric", "role"], values="score", aggfunc="mean")


def worst_scenes(scores: pd.DataFrame, metric: str = "miou", role: str = "candidate") -> "pd.Series[float]":
    """Mean score by scene of one side, the worst scene first; equal ones by name."""
    mine = scores[(scores["metric"] == metric) & (scores["role"] == role)]
    return mine.groupby("scene", sort=True)["score"].mean().sort_values(kind="stable")


def describe_scores(scores: pd.DataFrame, split: str) -> str:
    """Name the worst scenes of the candidate, and how far the best is from them; empty for equal scenes."""
    by_scene = worst_scenes(scores)
    if len(by_scene) < 2 or by_scene.iloc[-1] - by_scene.iloc[0] < MIN_DIFFERENCE:
        return ""
    number = min(3, len(by_scene) // 2)
    parts = [f"{scene} ({short(value)})" for scene, value in by_scene.iloc[:number].items()]
    title = "the worst scene is" if number == 1 else "the worst scenes are"
    return (
        f"On {split}, {title} {listed(parts)}; the median over {counted(len(by_scene), 'scene')} is "
        f"{short(float(by_scene.median()))} mIoU and the best, {by_scene.index[-1]}, has "
        f"{short(float(by_scene.iloc[-1]))}."
    )


def tabulate_gains(pair: Pair, metric: str = "miou") -> pd.DataFrame:
    """What each scene adds to a difference.

    Args:
        pair: Two configurations on the same images.
        metric: By what.

    Returns:
        A row for each scene that both were measured on, by name, with the columns scene, images, candidate, reference
        and gain (its own scores, means over networks; NaN where it has nothing to measure), without (the difference on
        all other scenes together; NaN where nothing is left to measure), overall (the difference on all), metric,
        split, candidate_trial_id, reference_trial_id, candidate_run_ids and reference_run_ids.

    Raises:
        ValueError: The two saw other images of a scene.
    """
    scored = pair.candidate.metric(metric)
    number = len(pair.candidate.networks)
    networks = shared_scenes([*pair.candidate.networks, *pair.reference.networks])
    single = np.array([scene_scores(network, scored) for network in networks]).reshape(len(networks), -1)
    others = leave_one_out_scores(networks, scored)
    all_scenes = np.array([scored.on_all(network) for network in networks])
    return pd.DataFrame(
        {
            "scene": list(networks[0].names),
            "images": networks[0].images,
            "candidate": single[:number].mean(axis=0),
            "reference": single[number:].mean(axis=0),
            "gain": single[:number].mean(axis=0) - single[number:].mean(axis=0),
            "without": others[:number].mean(axis=0) - others[number:].mean(axis=0),
            "overall": all_scenes[:number].mean() - all_scenes[number:].mean(),
            "metric": metric,
            "split": pair.split,
            "candidate_trial_id": pair.candidate.trial_id,
            "reference_trial_id": pair.reference.trial_id,
            "candidate_run_ids": ";".join(pair.candidate.run_ids),
            "reference_run_ids": ";".join(pair.reference.run_ids),
        }
    )


def describe_gains(gains: pd.DataFrame, interval: str = "") -> str:
    """Whether a difference is spread over the scenes or carried by one; empty where there is no difference to carry.

    Args:
        gains: As of `tabulate_gains`.
        interval: Of the overall difference, in words.
    """
    overall = float(gains["overall"].iloc[0]) if len(gains) else math.nan
    if math.isnan(overall) or abs(overall) < MIN_DIFFERENCE:
        return ""
    title = metric_title(str(gains["metric"].iloc[0]))
    ahead = int((gains["gain"] > 0).sum())
    judged = int(gains["gain"].notna().sum())
    head = (
        f"On {gains['split'].iloc[0]}, the difference in {title} is {f'{signed(overall)} {interval}'.strip()}, and the "
        f"candidate is ahead in {ahead} of {counted(judged, 'scene')}."
    )
    return f"{head} {_leaving_one_out(gains, overall)}".strip()


def _leaving_one_out(gains: pd.DataFrame, overall: float) -> str:
    """What becomes of the difference without each scene."""
    kept = gains.dropna(subset="without")
    if kept.empty:
        return ""
    # In the direction of the difference: 1 where nothing changes, 0 where nothing is left.
    left = kept["without"] / overall
    least = kept.iloc[int(left.to_numpy().argmin())]
    others = int((left <= 0).sum()) - 1
    also = f" (nor without any of {counted(others, 'other')} alone)" if others > 0 else ""
    if left.min() <= 0:
        return f"Without scene {least['scene']} nothing is left of it: {signed(least['without'])}{also}."
    if left.min() < 0.5:
        return f"Scene {least['scene']} carries more than half of it: without it, it is {signed(least['without'])}."
    low, high = signed(kept["without"].min()), signed(kept["without"].max())
    return f"It stays {f'between {low} and {high}' if low != high else f'at {low}'} whichever scene is left out."
