"""What a confirmation trains again, in which order, and when a run of it has ended."""

import pytest

from search.config.search_config import ConfirmConfig, SearchConfig
from search.decide.confirm_plan import ConfirmPlan, candidates, chosen_ids
from search.run.confirm import plan_lines
from trainable.record.record_types import EndMarker, EpochRecord, TrialSnapshot, TrialSpec, ValRecord, trial_name
from trainable.trial_config import TrialConfig

MAX_EPOCHS = 4


def trial(number, objective, loss="dice", reason="completed", epochs=2, baseline=False):
    """A trial of a search, with a config that says where it was suggested."""
    config = SEARCH_TRIAL | {"loss": {"name": loss} | ({"focal_gamma": 2.0} if loss == "focal" else {})}
    spec = TrialSpec(trial_name(number), number, {"loss.name": loss}, config, baseline, 0)
    history = tuple(EpochRecord(epoch, 0, objective, 1, {}) for epoch in range(1, epochs + 1))
    return TrialSnapshot(spec, history, EndMarker(reason, "", 0, 1, history) if reason else None)


SEARCH_TRIAL = TrialConfig.model_validate(
    {"dataset": {"layout": "synthetic", "images": 40}, "max_epochs": MAX_EPOCHS, "seed": 7}
).model_dump(mode="json")


def ids(trials, **confirm):
    return chosen_ids(trials, ConfirmConfig.model_validate(confirm))


def search(**confirm):
    values = {"name": "made-up", "dataset": {"layout": "synthetic", "images": 40}, "seed": 7}
    values["space"] = {"data": {"color_jitter": {"low": 0, "high": 1}}}
    return SearchConfig.model_validate(values | {"budget": {"max_epochs": MAX_EPOCHS}, "confirm": confirm})


def test_the_best_are_chosen_and_the_earlier_of_equals():
    trials = [trial(0, 0.3), trial(1, 0.5), trial(2, 0.5), trial(3, 0.4)]
    assert ids(trials, top=1, best_of_each_loss=False) == {"t0001"}
    assert ids(reversed(trials), top=1, best_of_each_loss=False) == {"t0001"}
    assert ids(trials, top=3, best_of_each_loss=False) == {"t0001", "t0002", "t0003"}
    assert ids(trials, top=9, best_of_each_loss=False) == {"t0000", "t0001", "t0002", "t0003"}


def test_the_best_of_each_loss_is_chosen_besides():
    trials = [trial(0, 0.9), trial(1, 0.8), trial(2, 0.1, "focal"), trial(3, 0.2, "focal"), trial(4, 0.15, "iou")]
    assert ids(trials, top=2) == {"t0000", "t0001", "t0003", "t0004"}
    assert ids(trials, top=2, best_of_each_loss=False) == {"t0000", "t0001"}


def test_the_best_baseline_is_chosen_besides():
    trials = [trial(0, 0.1, baseline=True), trial(1, 0.3, baseline=True), trial(2, 0.9), trial(3, 0.8)]
    assert ids(trials, top=1) == {"t0001", "t0002"}
    assert ids(trials, top=1, best_baseline=False) == {"t0002"}


def test_candidates_come_best_first_and_say_why():
    trials = [trial(0, 0.3, "focal", baseline=True), trial(1, 0.5), trial(2, 0.4)]
    chosen = candidates(trials, ConfirmConfig(top=1))
    assert [(each.trial.spec.trial_id, each.reasons) for each in chosen] == [
        ("t0001", ("rank 1", "best dice")),
        ("t0000", ("best focal", "best baseline")),
    ]


@pytest.mark.parametrize("reason", ["failed", "diverged", None])
def test_a_trial_that_did_not_end_soundly_is_not_chosen(reason):
    assert ids([trial(0, 0.9, reason=reason), trial(1, 0.1)], top=1) == {"t0001"}


def test_a_pruned_trial_may_be_chosen_and_one_without_epochs_may_not():
    assert ids([trial(0, 0.9, reason="pruned"), trial(1, 0.95, "iou", epochs=0)], top=2) == {"t0000"}


def test_of_no_trials_none_is_chosen():
    assert ids([], top=3) == set()


def planned(config, trials, known=()):
    """The specs of a whole plan, each known before the next is asked for."""
    plan = ConfirmPlan(config, candidates(trials, config.confirm))
    seen = {run.spec.trial_id: run for run in known}
    specs = []
    while (spec := plan.next_spec(seen, len(seen))) is not None:
        seen[spec.trial_id] = TrialSnapshot(spec)
        specs.append(spec)
    assert plan.total(seen) == len(seen)
    return specs


def test_every_candidate_is_trained_with_one_fresh_seed_before_any_gets_its_second():
    specs = planned(search(top=2, seeds=2), [trial(0, 0.3), trial(1, 0.5)])
    assert [spec.trial_id for spec in specs] == ["t0001-s1", "t0000-s1", "t0001-s2", "t0000-s2"]
    assert [spec.config["seed"] for spec in specs] == [8, 8, 9, 9]
    assert [spec.confirms for spec in specs] == ["t0001", "t0000"] * 2
    assert [spec.number for spec in specs] == [0, 1, 2, 3]


def test_a_run_differs_from_its_trial_in_the_seed_alone():
    source = trial(3, 0.5, "focal", reason="pruned", baseline=True)
    (spec,) = planned(search(top=1, seeds=1), [source])
    assert spec.config == TrialConfig.model_validate(source.spec.config | {"seed": 8}).model_dump(mode="json")
    assert spec.config["max_epochs"] == MAX_EPOCHS
    assert (spec.baseline, spec.params, spec.role) == (True, source.spec.params, "confirm")


def test_a_later_launch_plans_what_is_missing_and_keeps_what_is_there():
    trials = [trial(0, 0.3), trial(1, 0.5)]
    first = planned(search(top=1, seeds=2), trials)
    known = [TrialSnapshot(spec) for spec in first]
    assert [spec.trial_id for spec in planned(search(top=1, seeds=3), trials, known)] == ["t0001-s3"]
    better = [*trials, trial(2, 0.9)]
    assert [spec.trial_id for spec in planned(search(top=1, seeds=2), better, known)] == ["t0002-s1", "t0002-s2"]


def test_a_run_has_ended_when_it_was_measured_on_val_and_not_before():
    config = search(top=1, seeds=1)
    (spec,) = planned(config, [trial(0, 0.5)])
    plan = ConfirmPlan(config, [])
    epochs = tuple(EpochRecord(epoch, 0, 0.5, 1, {}) for epoch in range(1, MAX_EPOCHS + 1))
    assert plan.ended(TrialSnapshot(spec, epochs[:-1])) is None
    assert plan.ended(TrialSnapshot(spec, epochs)) is None
    measured = TrialSnapshot(spec, epochs, val=ValRecord(1, 0, {"miou": 0.4}))
    assert plan.ended(measured) == ("completed", f"trained {MAX_EPOCHS} epochs")


def test_a_run_that_diverged_has_ended_without_a_measurement():
    config = search(top=1, seeds=1)
    (spec,) = planned(config, [trial(0, 0.5)])
    epochs = (EpochRecord(1, 0, 0.0, 1, {}, diverged="the training loss became nan in epoch 1"),)
    assert ConfirmPlan(config, []).ended(TrialSnapshot(spec, epochs)) == ("diverged", epochs[0].diverged)


def test_no_run_is_stopped_early():
    config = search(top=1, seeds=1)
    (spec,) = planned(config, [trial(0, 0.5)])
    worst = EpochRecord(2, 0, 0.0, 1, {})
    assert ConfirmPlan(config, []).stops(TrialSnapshot(spec, (worst,)), worst) is None


def test_the_plan_is_told_with_what_may_change_and_what_cannot_be_said():
    config = search(top=1, seeds=1)
    trials = [trial(0, 0.5), trial(1, 0.3, "focal")]
    lines = plan_lines(config, trials, candidates(trials, config.confirm))
    assert lines[0].startswith("confirming 2 configurations x 1 fresh seeds, 4 epochs each")
    assert lines[1] == "  t0000 deeplabv3plus, dice (rank 1, best dice)"
    assert "58 trials of its budget to go" in lines[3]
    assert "from a single seed nothing can be said" in lines[4]
    more = search(top=1, seeds=3)
    assert not any("single seed" in line for line in plan_lines(more, trials, candidates(trials, more.confirm)))
