"""Every claim that the first screen makes of a pair of confirmed configurations, with what logit adjustment leaves."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Final

import pandas as pd

from analysis.evidence.claims import Claim, Configuration, compare, vanishes_when_adjusted
from analysis.evidence.confirmation import OBJECT_KINDS
from analysis.evidence.scene_scores import STUFF_MIOU
from analysis.findings.compared_pair import Pair

SUMMARY: Final = ("miou", "thing_miou")
"""What a statement of its own is made of, beside each thing class."""

OF_A_CLASS: Final = ("iou", *OBJECT_KINDS)
"""What is claimed of each thing class."""


@dataclass(frozen=True, eq=False)
class PairClaims:
    """The claims of one pair.

    Attributes:
        pair: On val.
        plain: Claims by metric, in the order of the statements.
        adjusted: Of the pixel metrics, after logit adjustment of both sides.
    """

    pair: Pair
    plain: dict[str, Claim]
    adjusted: dict[str, Claim]

    def moved_only_the_operating_point(self, metric: str) -> bool:
        """Whether a gain `vanishes_when_adjusted`."""
        return metric in self.adjusted and vanishes_when_adjusted(self.plain[metric], self.adjusted[metric])


def claim_metrics(pair: Pair, *, lead_only: bool = False) -> list[str]:
    """What is claimed of a pair: each thing class that occurs, the leading one first, then stuff and the means.

    Args:
        pair: The configurations.
        lead_only: Only what the first sentence of a pair holds.
    """
    things = pair.judged_things[:1] if lead_only else pair.judged_things
    by_class = [f"{kind}/{name}" for name in things for kind in OF_A_CLASS]
    stuff = [STUFF_MIOU] if len(pair.candidate.things) < len(pair.class_names) else []
    means = [] if things and lead_only else list(SUMMARY if things else SUMMARY[:1])
    return [*by_class, *(stuff if things else []), *means]


def pair_claims(pair: Pair, relevant_gain: float, *, lead_only: bool = False) -> PairClaims:
    """Judge a pair by every metric that is said of it.

    Args:
        pair: On val.
        relevant_gain: The least difference that would matter.
        lead_only: Only what the first sentence holds.
    """
    names = claim_metrics(pair, lead_only=lead_only)
    plain = {name: claim(pair, name, relevant_gain) for name in names}
    of_pixels = [name for name in names if not pair.candidate.metric(name).entry.of_objects]
    return PairClaims(pair, plain, {name: claim(pair, name, relevant_gain, adjusted=True) for name in of_pixels})


def claim(pair: Pair, name: str, relevant_gain: float, *, adjusted: bool = False) -> Claim:
    """Judge a pair by one metric.

    Args:
        pair: On val.
        name: Of the metric.
        relevant_gain: The least difference that would matter.
        adjusted: After logit adjustment of both sides.
    """
    candidate, reference = (
        Configuration(side.trial_id, side.adjusted_networks if adjusted else side.networks)
        for side in (pair.candidate, pair.reference)
    )
    return compare(candidate, reference, pair.candidate.metric(name), relevant_gain=relevant_gain)


def claims_frame(judged: Iterable[PairClaims]) -> pd.DataFrame:
    """Every claim as a row: the fields of `Claim`, `adjusted`, and the run ids of both sides, semicolon-joined.

    Seeds are two columns. The rows come in the order of the statements, the adjusted ones of a pair last.
    """
    rows = [
        _row(found, claims.pair, adjusted)
        for claims in judged
        for adjusted, of_kind in ((False, claims.plain), (True, claims.adjusted))
        for found in of_kind.values()
    ]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


_COLUMNS: Final = (
    *(field.name for field in fields(Claim) if field.name not in ("seeds", "verdict", "why")),
    "adjusted", "seeds_candidate", "seeds_reference", "verdict", "why", "candidate_run_ids", "reference_run_ids",
)  # fmt: skip


def _row(found: Claim, pair: Pair, adjusted: bool) -> dict[str, object]:
    values = {field.name: getattr(found, field.name) for field in fields(Claim)}
    seeds = values.pop("seeds")
    return values | {
        "adjusted": adjusted,
        "seeds_candidate": seeds[0],
        "seeds_reference": seeds[1],
        "verdict": found.verdict.value,
        "candidate_run_ids": ";".join(pair.candidate.run_ids),
        "reference_run_ids": ";".join(pair.reference.run_ids),
    }
