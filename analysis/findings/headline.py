"""The first screen's sentences: what the search found, on val where it was confirmed, with how far to trust it.

Who is compared with whom is set by dev, in `analysis.findings.compared_pair`. What leads is set by the truth: the thing
class that val can judge best (`judged_things`), or mIoU where no thing occurs. So nothing that was measured on val
chooses what is said of it. The verdict of a sentence is the verdict of its first number; the others have their own
intervals in `Findings.claims`, and `why` says which of them may be chance.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.evidence.claims import Claim, caution_of_many
from analysis.evidence.scene_bootstrap import interval_of_mean
from analysis.evidence.scene_scores import STUFF_MIOU
from analysis.findings.compared_pair import CROSS_ENTROPY, Pair, confirmed_pairs, confirmed_sides, scored_trials
from analysis.findings.compared_side import Side, judged_things
from analysis.findings.dev_findings import dev_statements
from analysis.findings.pair_claims import SUMMARY, PairClaims, claims_frame, pair_claims
from analysis.findings.report_texts import Statement
from analysis.recorded.confirmed_search import missing_of_confirmation
from analysis.recorded.recorded_search import RecordedSearch
from analysis.words.configuration_words import other_differences
from analysis.words.gain_words import alarms_words, found_words, metric_title, says_no_difference
from analysis.words.number_words import counted, interval, listed, short, signed


@dataclass(frozen=True, eq=False)
class Findings:
    """What the first screen says.

    Attributes:
        statements: The verdict first.
        notes: What a reader must know before quoting any of it.
        claims: Every number of the statements with its interval, as of `analysis.findings.pair_claims.claims_frame`;
            no rows where nothing was confirmed.
    """

    statements: list[Statement]
    notes: list[str]
    claims: pd.DataFrame


def findings(search: RecordedSearch) -> Findings:
    """Say what a search found: of its confirmation, or of dev where there is none."""
    sides = confirmed_sides(search)
    missing = missing_of_confirmation(search)
    if not sides:
        return Findings(dev_statements(search), missing, claims_frame([]))
    pairs = confirmed_pairs(search)
    if not pairs:
        return Findings([_alone(sides[0])], [*missing, *_unconfirmed_best(search, sides)], claims_frame([]))
    judged = [pair_claims(pair, search.relevant_gain, lead_only=place > 0) for place, pair in enumerate(pairs)]
    said = [_lead(claims) for claims in judged] + _others(judged[0])
    notes = [*missing, *_unconfirmed_best(search, sides), *_notes(judged)]
    return Findings(said, notes, claims_frame(judged))


def statements(search: RecordedSearch) -> list[Statement]:
    """The sentences alone; see `findings`."""
    return findings(search).statements


def _lead(claims: PairClaims) -> Statement:
    """The whole comparison in a sentence."""
    pair = claims.pair
    candidate, reference = pair.candidate, pair.reference
    head = (
        f"{candidate.title} ({candidate.trial_id}) against {pair.role} ({pair.reference_words}), confirmed over "
        f"{_seeds(candidate, reference)} on {_scenes(claims)}"
    )
    first = next(iter(claims.plain))
    if not pair.judged_things:
        return _statement(claims, first, f"{head}: {_measured(claims.plain[first])}.", [])
    name = pair.judged_things[0]
    parts = _parts_of_class(claims, name)
    if STUFF_MIOU in claims.plain:
        parts.append((STUFF_MIOU, f"{metric_title(STUFF_MIOU)} {signed(claims.plain[STUFF_MIOU].difference)}"))
    return _statement(claims, first, f"{head}: {_joined(claims.plain[first], parts)}.", parts)


def _others(claims: PairClaims) -> list[Statement]:
    """A short statement for each other thing class, and for the means."""
    said = []
    for name in claims.pair.judged_things[1:]:
        parts = _parts_of_class(claims, name)
        first = f"iou/{name}"
        said.append(_statement(claims, first, f"{_joined(claims.plain[first], parts)}.", parts))
    means = [name for name in SUMMARY if name in claims.plain and name != next(iter(claims.plain))]
    return said + [_statement(claims, name, f"{_measured(claims.plain[name])}.", []) for name in means]


def _parts_of_class(claims: PairClaims, name: str) -> list[tuple[str, str]]:
    """What else is said of a class: metric and words."""
    miss = claims.plain[f"miss_rate/{name}"]
    alarms = claims.plain[f"false_alarms_per_image/{name}"]
    parts = [
        (miss.metric, found_words(miss.value_candidate, miss.value_reference, name)),
        (alarms.metric, alarms_words(alarms.difference)),
    ]
    return [(metric, words) for metric, words in parts if words]


def _joined(first: Claim, parts: Sequence[tuple[str, str]]) -> str:
    return ", ".join([_measured(first), *(words for _, words in parts)])


def _measured(claim: Claim) -> str:
    """`person IoU +.083 [+.041, +.125]`; what cannot be measured is said."""
    title = metric_title(claim.metric)
    if math.isnan(claim.difference):
        return f"{title} undefined"
    return f"{title} {signed(claim.difference)} {interval(claim.low, claim.high)}"


def _statement(claims: PairClaims, first: str, text: str, others: Sequence[tuple[str, str]]) -> Statement:
    claim = claims.plain[first]
    told = [claims.plain[metric] for metric, words in others if not says_no_difference(words)]
    why = [claim.why, _adjusted(claims, first), _may_be_chance(told)]
    return Statement(text, claim.verdict, " ".join(filter(None, why)))


def _adjusted(claims: PairClaims, metric: str) -> str:
    """That a gain vanishes when both sides are logit-adjusted; empty where it does not."""
    if not claims.moved_only_the_operating_point(metric):
        return ""
    left = claims.adjusted[metric]
    return (
        f"With both sides logit-adjusted {signed(left.difference)} {interval(left.low, left.high)} is left, which is "
        "not supported: it may be a moved operating point, which the reference reaches without training again."
    )


def _may_be_chance(others: Sequence[Claim]) -> str:
    """Which of a sentence's other numbers have an interval that holds no difference, or none at all."""
    names = [metric_title(claim.metric) for claim in others if not (claim.low > 0 or claim.high < 0)]
    if not names:
        return ""
    return f"Chance may explain the {'difference' if len(names) == 1 else 'differences'} in {listed(names)}."


def _seeds(candidate: Side, reference: Side) -> str:
    one, other = len(candidate.runs), len(reference.runs)
    return counted(one, "seed") if one == other else f"{one} and {counted(other, 'seed')}"


def _scenes(claims: PairClaims) -> str:
    """`35 scenes of val`, with how many have the leading class where not all do."""
    pair = claims.pair
    total = len(pair.candidate.networks[0].names)
    having = next(iter(claims.plain.values())).scenes
    with_class = f" ({having} with {pair.judged_things[0]})" if pair.judged_things and having < total else ""
    return f"{counted(total, 'scene')} of val{with_class}"


def _alone(side: Side) -> Statement:
    """The one configuration that was measured on val: what it scores, and that nothing is claimed."""
    things = judged_things(side)
    name = f"iou/{things[0]}" if things else "miou"
    score = interval_of_mean(side.networks, side.metric(name))
    width = "" if score.why_none else f" [{short(score.low)}, {short(score.high)}]"
    return Statement(
        f"{side.title} ({side.trial_id}) has {metric_title(name)} {short(score.value)}{width} on val, over "
        f"{counted(len(side.runs), 'seed')}. It is the only configuration measured on val, so that nothing can be "
        "said of a gain.",
        None,
        score.why_none or "",
    )


def _unconfirmed_best(search: RecordedSearch, sides: Sequence[Side]) -> list[str]:
    """That a better trial on dev was not confirmed: the best of all, or the best cross entropy."""
    confirmed = {side.trial_id for side in sides}
    scored = scored_trials(search)
    plain = [trial for trial in scored if trial.loss == CROSS_ENTROPY]
    best = {trials[0].trial_id: what for trials, what in ((plain, "cross entropy trial"), (scored, "trial")) if trials}
    return [
        f"The best {what} on dev, {trial_id}, is not among the confirmed ones."
        for trial_id, what in best.items()
        if trial_id not in confirmed
    ]


def _notes(judged: Sequence[PairClaims]) -> list[str]:
    """What else must be known of the pairs."""
    first = judged[0].pair
    notes = []
    if first.absent_things:
        notes.append(f"Nothing is said of {listed(first.absent_things)}: val has none.")
    for claims in judged:
        notes += _confounded(claims.pair)
    with_interval = [c for claims in judged for c in claims.plain.values() if not math.isnan(c.low)]
    if with_interval:
        notes.append(caution_of_many(len(with_interval)))
    return notes


def _confounded(pair: Pair) -> list[str]:
    """That the two differ in more than the loss."""
    candidate, reference = pair.candidate, pair.reference
    keys = other_differences(candidate.trial.config, reference.trial.config)
    if not keys:
        return []
    also = "also " if candidate.trial.config.get("loss") != reference.trial.config.get("loss") else ""
    return [
        f"{candidate.trial_id} and {reference.trial_id} {also}differ in {listed(keys)}: a gain is that of the whole "
        "configuration, not of the loss alone."
    ]
