"""The first screen's sentences: who is compared, what leads, what is said where little is known."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.evidence.claims import Verdict
from analysis.evidence.scene_bootstrap import interval_of_mean
from analysis.findings.compared_pair import choose_pair, compared_pair, confirmed_pairs, dev_pair
from analysis.findings.compared_side import NothingToCompare
from analysis.findings.headline import findings, statements


class Contender:
    def __init__(self, loss, dev, baseline=False):
        self.loss, self.dev, self.baseline = loss, dev, baseline


@pytest.mark.parametrize(
    ("contenders", "reference", "role"),
    [
        ([("tversky", 0.9), ("dice", 0.8, True), ("cross_entropy", 0.5), ("cross_entropy", 0.4)], 2, "cross entropy"),
        ([("cross_entropy", 0.9), ("dice", 0.8), ("focal", 0.7, True), ("cross_entropy", 0.6)], 2, "baseline"),
        ([("cross_entropy", 0.9, True), ("dice", 0.8), ("focal", 0.7, True)], 1, "next best"),
        ([("tversky", 0.9), ("dice", 0.8), ("focal", 0.7, True)], 2, "baseline"),
        ([("tversky", 0.9), ("dice", 0.8), ("focal", 0.7)], 1, "next best"),
        ([("cross_entropy", 0.9), ("cross_entropy", 0.8)], 1, "next best"),
    ],
)
def test_who_is_compared_is_set_by_dev(contenders, reference, role):
    made = [Contender(*values) for values in contenders]
    candidate, found, words = choose_pair(made)
    assert candidate is made[0]
    assert found is made[reference]
    assert role in words


def test_the_lead_sentence_has_every_number_and_its_claims_verdict(confirmed_losses):
    found = findings(confirmed_losses)
    lead = found.statements[0]
    assert lead.text.startswith(
        "Tversky (.62, .31, 1.1) on Unet (t0004) against the best cross entropy trial (t0000, Unet), confirmed over "
        "3 seeds on 6 scenes of val: person IoU +.600 [+.546, +.654], 8 of every 10 overlooked persons found, as many "
        "false alarms an image, stuff mIoU +.005."
    )
    claim = found.claims.iloc[0]
    assert (claim["metric"], claim["candidate"], claim["reference"]) == ("iou/person", "t0004", "t0000")
    assert lead.verdict is Verdict.SUPPORTED
    assert lead.verdict.value == claim["verdict"]
    assert lead.why.startswith(claim["why"])


def test_the_best_baseline_is_a_second_sentence_and_the_rest_are_short(confirmed_losses):
    texts = [statement.text for statement in statements(confirmed_losses)]
    assert "against the best baseline (t0003, Tversky (.7, .3, 1) on Unet)" in texts[1]
    assert [text.partition(" +")[0] for text in texts[2:]] == ["bike IoU", "mIoU", "thing mIoU"]


def test_no_second_sentence_where_the_best_baseline_is_the_reference(confirmed_losses):
    kept = [run for run in confirmed_losses.runs if run.confirms in ("t0004", "t0000")]
    pairs = confirmed_pairs(replace(confirmed_losses, runs=tuple(kept)))
    assert [(pair.candidate.trial_id, pair.reference.trial_id) for pair in pairs] == [("t0004", "t0000")]


def test_claims_are_those_of_the_sides_with_their_runs(confirmed_losses):
    claims = findings(confirmed_losses).claims
    pair = confirmed_pairs(confirmed_losses)[0]
    row = claims[(claims["metric"] == "thing_miou") & ~claims["adjusted"]].iloc[0]
    value = interval_of_mean(pair.candidate.networks, pair.candidate.metric("thing_miou")).value
    assert row["value_candidate"] == pytest.approx(value, abs=1e-12)
    assert row["difference"] == pytest.approx(row["value_candidate"] - row["value_reference"], abs=1e-12)
    assert row["candidate_run_ids"] == "run-t0004-s1;run-t0004-s2;run-t0004-s3"
    assert (row["seeds_candidate"], row["seeds_reference"]) == (3, 3)
    assert set(claims.loc[claims["adjusted"], "metric"]) == {
        "iou/person", "iou/bike", "stuff_miou", "miou", "thing_miou"
    }  # fmt: skip


def test_the_caution_counts_the_claims_that_have_an_interval(confirmed_losses):
    found = findings(confirmed_losses)
    plain = found.claims[~found.claims["adjusted"]]
    assert found.notes[-1].startswith(f"{int(plain['low'].notna().sum())} claims at 95 %")


def rewritten(search, change):
    """The search with every run's counts changed: `change(counts, run) -> counts`."""
    runs = []
    for run in search.runs:
        source = type(run.source)()
        source.histories = run.source.histories
        source.artifacts = {(run.run_id, "val_counts.npz"): change(run.val, run).to_bytes()}
        runs.append(replace(run, source=source))
    return replace(search, runs=tuple(runs))


def test_the_class_that_leads_is_the_one_that_val_can_judge_best(confirmed_losses):
    def without_persons(counts, run):
        """Persons remain in two scenes only: bikes are in six."""
        kept = np.isin(counts.scenes, ("s0", "s1"))[:, None]
        pixels, objects = counts.counts.copy(), counts.sized_objects.copy()
        pixels[:, 1, :2] *= kept
        objects[:, 1, :, :2] *= kept[..., None]
        return replace(counts, counts=pixels, adjusted_counts=pixels, sized_objects=objects)

    search = rewritten(confirmed_losses, without_persons)
    said = statements(search)
    assert ": bike IoU +" in said[0].text
    person = next(statement for statement in said if statement.text.startswith("person IoU"))
    assert "[no interval]" in person.text
    assert person.verdict is Verdict.CANNOT_BE_TOLD
    assert "It takes 5 scenes" in person.why


def test_a_gain_that_adjustment_matches_is_said_to_be_a_moved_operating_point(confirmed_losses):
    best = next(run.val for run in confirmed_losses.runs if run.confirms == "t0004")

    def adjusted(counts, run):
        """Adjusted, every network does the same."""
        return replace(counts, adjusted_counts=best.counts)

    said = statements(rewritten(confirmed_losses, adjusted))
    assert said[0].verdict is Verdict.SUPPORTED
    assert "With both sides logit-adjusted .000 [.000, .000] is left, which is not supported" in said[0].why
    assert "operating point" not in statements(confirmed_losses)[0].why


def test_a_search_without_things_leads_with_miou(confirmed_losses):
    def no_things(counts, run):
        return replace(counts, things=np.zeros(4, dtype=bool), sized_objects=np.zeros_like(counts.sized_objects))

    said = statements(rewritten(confirmed_losses, no_things))
    assert "of val: mIoU +.309 [+.278, +.339]." in said[0].text
    assert len(said) == 2  # two references, nothing else


def test_a_thing_that_val_does_not_have_is_noted(confirmed_losses):
    def no_bikes(counts, run):
        pixels, objects = counts.counts.copy(), counts.sized_objects.copy()
        pixels[:, 3, :2], objects[:, 3] = 0, 0
        return replace(counts, counts=pixels, adjusted_counts=pixels, sized_objects=objects)

    found = findings(rewritten(confirmed_losses, no_bikes))
    assert "Nothing is said of bike: val has none." in found.notes
    assert not any("bike" in statement.text for statement in found.statements)


def test_one_seed_gives_no_interval_and_no_verdict(confirmed_losses):
    search = replace(confirmed_losses, runs=tuple(r for r in confirmed_losses.runs if r.trial_id.endswith("-s1")))
    found = findings(search)
    assert "confirmed over 1 seed on" in found.statements[0].text
    assert "[no interval]" in found.statements[0].text
    assert {statement.verdict for statement in found.statements} == {Verdict.CANNOT_BE_TOLD}
    assert "It takes 2 seeds of each side; there are 1 and 1." in found.statements[0].why
    assert not any("by chance" in note for note in found.notes)


def test_two_scenes_of_val_give_no_interval(confirmed_losses, made_run):
    runs = [
        made_run(confirmed_losses.trial(trial), seed, recall=recall + seed / 100, scenes=2)
        for trial, recall in (("t0004", 0.8), ("t0000", 0.2))
        for seed in (1, 2)
    ]
    lead = statements(replace(confirmed_losses, runs=tuple(runs)))[0]
    assert "on 2 scenes of val: person IoU +.6" in lead.text
    assert lead.verdict is Verdict.CANNOT_BE_TOLD
    assert "It takes 5 scenes" in lead.why


def test_unequal_seeds_are_said(confirmed_losses):
    runs = [run for run in confirmed_losses.runs if run.trial_id != "t0000-s3"]
    assert "confirmed over 3 and 2 seeds on" in statements(replace(confirmed_losses, runs=tuple(runs)))[0].text


def test_a_single_confirmed_configuration_is_compared_with_nothing(confirmed_losses):
    search = replace(confirmed_losses, runs=tuple(r for r in confirmed_losses.runs if r.confirms == "t0003"))
    found = findings(search)
    (only,) = found.statements
    assert only.verdict is None
    assert only.text.startswith("Tversky (.7, .3, 1) on Unet (t0003) has person IoU .6")
    assert "only configuration measured on val" in only.text
    assert "The best trial on dev, t0004, is not among the confirmed ones." in found.notes
    assert "The best cross entropy trial on dev, t0000, is not among the confirmed ones." in found.notes
    assert found.claims.empty


def test_a_gain_of_another_network_is_not_one_of_the_loss(made_search, made_trial, made_run):
    plain = made_trial(0, {"name": "cross_entropy"}, recall=0.2)
    best = made_trial(1, {"name": "dice"}, recall=0.6, architecture="deeplabv3plus")
    runs = [made_run(t, seed, recall=r) for t, r in ((plain, 0.2), (best, 0.6)) for seed in (1, 2)]
    notes = findings(made_search([plain, best], runs)).notes
    assert notes[0] == (
        "t0001 and t0000 also differ in model.architecture: a gain is that of the whole configuration, not of the "
        "loss alone."
    )


def test_dev_is_said_to_be_dev(searched_losses):
    found = findings(searched_losses)
    best, pair = found.statements
    assert best.text == (
        "The best on dev of 9 trials that ended (2 stopped early) is Tversky (.62, .31, 1.1) on Unet (t0004): mIoU "
        ".736 in 6 epochs; not confirmed: one training run a trial, ranked on the split that it was tuned on."
    )
    assert pair.text.startswith(
        "On dev (6 scenes), Tversky (.62, .31, 1.1) on Unet (t0004) against the best cross entropy trial (t0000, Unet)"
        ": person IoU +.544, 7 of every 10 overlooked persons found"
    )
    assert pair.text.endswith("not confirmed: one training run a trial, ranked on the split that it was tuned on.")
    assert {best.verdict, pair.verdict} == {None}
    assert found.claims.empty
    assert "candidate_run_ids" in found.claims


def test_runs_that_have_only_begun_leave_the_search_unconfirmed(confirmed_losses):
    runs = [replace(run, state="running") for run in confirmed_losses.runs[:2]]
    found = findings(replace(confirmed_losses, runs=tuple(runs)))
    assert "not confirmed" in found.statements[0].text
    assert found.notes == ["The runs t0004-s1 and t0004-s2 have not ended and are not counted yet."]


def test_no_trial_and_one_trial(made_search, made_trial):
    (none,) = statements(made_search([]))
    assert none.text == "No trial of 1 has ended. There is nothing to say yet."
    going = [made_trial(n, {"name": "dice"}, state=state, epochs=0) for n, state in enumerate(("running", "failed"))]
    (begun,) = statements(made_search(going, budget=5))
    assert begun.text == "No trial of 5 has ended: 1 failed and 1 running. There is nothing to say yet."
    best, alone = statements(made_search([made_trial(0, {"name": "dice"})]))
    assert best.text.startswith("The best on dev of 1 trial that ended is Dice on Unet (t0000): mIoU ")
    assert alone.text == "Only one trial has ended, so that there is nothing to compare it with."


def test_trials_without_counts_are_said(made_search, made_trial):
    trials = [made_trial(n, {"name": name}, counted=False) for n, name in enumerate(("dice", "cross_entropy"))]
    said = statements(made_search(trials))
    assert said[1].text.startswith("No two trials can be compared. t0000 has no counts by image")


def test_dev_compares_trials_of_the_full_length_where_there_are_two(made_search, made_trial):
    short = made_trial(0, {"name": "tversky", "alpha": 0.7, "beta": 0.3}, recall=0.99, epochs=5, state="pruned")
    full = [made_trial(1, {"name": "dice"}, recall=0.6), made_trial(2, {"name": "cross_entropy"}, recall=0.3)]
    pair = dev_pair(made_search([short, *full]))
    assert (pair.candidate.trial_id, pair.reference.trial_id, pair.split) == ("t0001", "t0002", "dev")
    uneven = statements(made_search([short, full[1]]))[1].text
    assert "t0002, Unet), 5 against 6 epochs: " in uneven


def test_the_pair_is_of_val_where_two_were_confirmed(confirmed_losses, searched_losses, made_search):
    assert compared_pair(confirmed_losses).split == "val"
    assert compared_pair(searched_losses).split == "dev"
    with pytest.raises(NothingToCompare, match="It takes two trials that ended; no trial has"):
        compared_pair(made_search([]))
