"""All decisions of a search, without Ray: a loop in place of Tune, epochs made up."""

import shutil

import pytest

from search.config.search_config import SearchConfig
from search.decide.conductor import Conductor
from search.decide.search_plan import SearchPlan
from trainable.errors import InputError, SearchFaultError
from trainable.record.record_types import EpochRecord
from trainable.record.storage import Storage
from trainable.record.trial_record import TrialRecord, load_trials

MAX_EPOCHS = 4


def config(**changes):
    values = {
        "name": "made-up",
        "dataset": {"layout": "synthetic"},
        "space": {
            "model": {"architecture": ["unet", "deeplabv3plus"]},
            "loss": {"name": ["dice", "focal"], "focal_gamma": {"low": 0.5, "high": 3.0}},
            "optimizer": {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}},
        },
        "budget": {"trials": 8, "max_epochs": MAX_EPOCHS},
        "scheduler": {"grace_epochs": 1, "reduction_factor": 2},
    }
    return SearchConfig.model_validate(values | changes)


MAX_ATTEMPTS = 3


class MadeUpSearch:
    """Trains by formula: a trial's objective grows with its learning rate and its epoch."""

    def __init__(self, folder, **changes):
        self.folder = folder
        self.heard = []
        self.plan = SearchPlan(config(**changes))
        self.conductor = Conductor(self.plan, folder, self.heard.append, MAX_ATTEMPTS)
        self.conductor.recover()

    def train(self, spec, epoch, diverged=None):
        objective = 0.0 if diverged else min(1.0, spec.params["optimizer.learning_rate"] * 50) * epoch / MAX_EPOCHS
        record = EpochRecord(epoch, 1000 + epoch, objective, epoch, {"objective": objective}, diverged=diverged)
        TrialRecord(self.folder, spec.trial_id).append(record)
        return record

    def run_trial(self, epochs=MAX_EPOCHS):
        """Run the next trial to its end, or `epochs` epochs of it; None where there is no next."""
        spec = self.conductor.next_trial()
        if spec is None:
            return None
        for epoch in range(len(self.conductor.trials[spec.trial_id].epochs) + 1, epochs + 1):
            if not self.conductor.epoch_done(spec.trial_id, self.train(spec, epoch)):
                break
        return spec

    def run(self):
        while self.run_trial():
            pass


@pytest.fixture
def folder(tmp_path):
    return Storage(str(tmp_path / "made-up"))


def test_a_search_ends_every_trial_of_its_budget_once(folder):
    search = MadeUpSearch(folder)
    search.run()
    recorded = load_trials(folder)
    assert [trial.spec.trial_id for trial in recorded] == [f"t{number:04d}" for number in range(8)]
    assert {trial.state for trial in recorded} == {"completed", "pruned"}
    assert all(len(trial.epochs) == MAX_EPOCHS for trial in recorded if trial.state == "completed")
    assert search.conductor.left == 0
    assert search.conductor.running == frozenset()
    assert list(search.conductor.trials.values()) == recorded


def test_a_trial_is_on_record_when_it_is_handed_out(folder):
    spec = MadeUpSearch(folder).conductor.next_trial()
    (recorded,) = load_trials(folder)
    assert recorded.spec == spec
    assert recorded.end is None
    assert recorded.spec.config["loss"]["name"] == spec.params["loss.name"]


def test_a_new_conductor_continues_unfinished_trials_first_and_then_the_budget(folder):
    first = MadeUpSearch(folder)
    first.run_trial()
    first.run_trial(epochs=0)
    first.run_trial()
    second = MadeUpSearch(folder)
    assert second.run_trial().trial_id == "t0001"
    assert second.run_trial().trial_id == "t0003"
    second.run()
    assert len(load_trials(folder)) == 8
    assert all(trial.end for trial in load_trials(folder))


def test_a_search_cut_anywhere_suggests_what_an_uncut_one_does(folder, tmp_path):
    uncut = MadeUpSearch(folder)
    uncut.run()
    cut_folder = Storage(str(tmp_path / "cut"))
    for _ in range(3):
        search = MadeUpSearch(cut_folder)
        search.run_trial()
        search.run_trial()
    MadeUpSearch(cut_folder).run()
    assert [t.spec.params for t in load_trials(cut_folder)] == [t.spec.params for t in load_trials(folder)]
    assert [(t.state, len(t.epochs)) for t in load_trials(cut_folder)] == [
        (t.state, len(t.epochs)) for t in load_trials(folder)
    ]


def test_a_larger_budget_extends_with_all_observations(folder):
    MadeUpSearch(folder).run()
    before = load_trials(folder)
    longer = MadeUpSearch(folder, budget={"trials": 11, "max_epochs": MAX_EPOCHS})
    assert longer.conductor.left == 3
    longer.run()
    assert load_trials(folder)[:8] == before
    assert len(load_trials(folder)) == 11


def test_end_markers_that_a_dead_driver_owed_are_written_without_training(folder):
    search = MadeUpSearch(folder)
    whole, diverged = search.conductor.next_trial(), search.conductor.next_trial()
    for epoch in range(1, MAX_EPOCHS + 1):
        search.train(whole, epoch)
    search.train(diverged, 1, diverged="the training loss became nan in epoch 1")
    again = MadeUpSearch(folder)
    states = {trial.spec.trial_id: trial.state for trial in load_trials(folder)}
    assert states == {"t0000": "completed", "t0001": "diverged"}
    assert again.conductor.next_trial().trial_id == "t0002"


def test_a_trial_whose_process_died_waits_for_another_start_before_new_ones_until_it_is_given_up(folder):
    search = MadeUpSearch(folder)
    dying, other = search.conductor.next_trial(), search.conductor.next_trial()
    for _ in range(MAX_ATTEMPTS - 1):
        search.conductor.attempt_failed(dying.trial_id, "its process died", counted=True)
        assert search.conductor.running == {other.trial_id}
        assert search.conductor.next_trial() == dying
    search.conductor.attempt_failed(dying.trial_id, "its process died again", counted=True)
    trial = search.conductor.trials[dying.trial_id]
    assert (trial.state, trial.end.detail) == ("failed", "its process died again")
    assert search.conductor.next_trial().trial_id == "t0002"


def test_failures_are_counted_over_launches_and_lost_machines_are_not(folder):
    search = MadeUpSearch(folder)
    spec = search.conductor.next_trial()
    record = TrialRecord(folder, spec.trial_id)
    for launch in range(MAX_ATTEMPTS - 1):
        for _ in range(3):
            record.start_attempt("node", "cpu", 0)
            search.conductor.attempt_failed(spec.trial_id, "its machine was lost", counted=False)
            assert search.conductor.next_trial() == spec
        record.start_attempt("node", "cpu", 0)
        search.conductor.attempt_failed(spec.trial_id, "its process died", counted=True)
        assert record.attempts() == launch + 1
        search = MadeUpSearch(folder)
        assert search.conductor.next_trial() == spec
    record.start_attempt("node", "cpu", 0)
    search.conductor.attempt_failed(spec.trial_id, "its process died", counted=True)
    trial = search.conductor.trials[spec.trial_id]
    assert (trial.state, trial.end.attempts) == ("failed", MAX_ATTEMPTS)


def test_a_failure_that_turned_out_to_be_a_lost_machine_no_longer_counts(folder):
    search = MadeUpSearch(folder)
    spec = search.conductor.next_trial()
    for _ in range(MAX_ATTEMPTS + 2):
        TrialRecord(folder, spec.trial_id).start_attempt("node", "cpu", 0)
        failure = search.conductor.attempt_failed(spec.trial_id, "its process died", counted=True)
        search.conductor.excuse(spec.trial_id, failure)
        assert search.conductor.next_trial() == spec
    TrialRecord(folder, spec.trial_id).start_attempt("node", "cpu", 0)
    while search.conductor.epoch_done(
        spec.trial_id, search.train(spec, len(search.conductor.trials[spec.trial_id].epochs) + 1)
    ):
        pass
    assert load_trials(folder)[0].attempts == 1


def test_diverged_and_failed_trials_end_and_the_search_goes_on(folder):
    search = MadeUpSearch(folder)
    spec = search.conductor.next_trial()
    assert not search.conductor.epoch_done(spec.trial_id, search.train(spec, 1, diverged="loss became inf"))
    failed = search.conductor.next_trial()
    search.conductor.trial_failed(failed.trial_id, "RuntimeError: no space")
    search.run()
    trials = load_trials(folder)
    assert (trials[0].state, trials[0].end.detail) == ("diverged", "loss became inf")
    assert (trials[1].state, trials[1].end.detail) == ("failed", "RuntimeError: no space")
    assert len(trials) == 8


def test_baselines_come_first_and_are_never_stopped_early(folder):
    search = MadeUpSearch(folder, baselines="seed", budget={"trials": 10, "max_epochs": MAX_EPOCHS})
    search.run()
    trials = load_trials(folder)
    assert [trial.spec.baseline for trial in trials] == [True] * 4 + [False] * 6
    assert all(trial.state == "completed" for trial in trials[:4])
    assert any(trial.state == "pruned" for trial in trials[4:])


def test_an_epoch_that_comes_twice_is_taken_once(folder):
    search = MadeUpSearch(folder)
    spec = search.conductor.next_trial()
    record = search.train(spec, 1)
    search.conductor.epoch_done(spec.trial_id, record)
    search.conductor.epoch_done(spec.trial_id, record)
    assert search.conductor.trials[spec.trial_id].epochs == (record,)


def test_every_change_is_told_with_the_state_at_that_moment(folder):
    search = MadeUpSearch(folder)
    spec = search.run_trial()
    told = [(len(trial.epochs), trial.state) for trial in search.heard if trial.spec.trial_id == spec.trial_id]
    assert told[0] == (0, "unfinished")
    assert told[-1] == (MAX_EPOCHS, "completed")
    assert [epochs for epochs, _ in told] == sorted(epochs for epochs, _ in told)


def test_an_epoch_whose_result_never_came_is_read_from_the_record(folder):
    search = MadeUpSearch(folder)
    spec = search.conductor.next_trial()
    first, second = search.train(spec, 1), search.train(spec, 2)
    search.conductor.epoch_done(spec.trial_id, second)
    assert search.conductor.trials[spec.trial_id].epochs == (first, second)


def test_an_epoch_that_comes_again_is_not_judged_again(folder):
    search = MadeUpSearch(folder, scheduler={"grace_epochs": 2, "reduction_factor": 2})
    weak = search.conductor.next_trial()
    records = [search.train(weak, epoch) for epoch in (1, 2)]
    assert all(search.conductor.epoch_done(weak.trial_id, record) for record in records)
    for number in range(1, 4):
        search.plan.remember(f"strong{number}", [EpochRecord(2, 0, 1.0, 2, {})])
    assert search.conductor.epoch_done(weak.trial_id, records[-1])


def test_a_trial_whose_card_is_damaged_is_refused_and_its_number_not_given_to_another(folder):
    MadeUpSearch(folder).run_trial()
    folder.write("trials/t0000/config.json", b'{"trial_id": "t00')
    with pytest.raises(InputError, match=r"trials/t0000/config\.json must say what t0000 is"):
        MadeUpSearch(folder)


def delete_trial(folder, trial_id):
    shutil.rmtree(folder.local_path / "trials" / trial_id)


@pytest.mark.parametrize("deleted", ["t0001", "t0003"], ids=["in the middle", "the last"])
def test_the_number_of_a_deleted_trial_is_not_given_again_and_no_other_trial_is_written_over(folder, deleted):
    search = MadeUpSearch(folder)
    for _ in range(3):
        search.run_trial()
    search.run_trial(epochs=2)  # t0003 has two durable epochs, and is not done
    delete_trial(folder, deleted)
    before = {trial.spec.trial_id: (trial.spec, trial.epochs) for trial in load_trials(folder)}
    again = MadeUpSearch(folder)
    again.run()
    trials = {trial.spec.trial_id: trial for trial in load_trials(folder)}
    assert len(trials) == 8
    assert deleted not in trials
    assert sorted(trials)[-1] == "t0008", "the budget is spent on new numbers"
    for trial_id, (spec, epochs) in before.items():
        assert trials[trial_id].spec == spec
        assert trials[trial_id].epochs[: len(epochs)] == epochs


def test_numbers_go_on_where_the_note_of_them_is_damaged_or_gone(folder):
    search = MadeUpSearch(folder)
    for _ in range(3):
        search.run_trial()
    delete_trial(folder, "t0001")
    folder.write("numbers.json", b"{")
    assert MadeUpSearch(folder).conductor.next_trial().trial_id == "t0003"
    folder.delete("numbers.json")
    assert MadeUpSearch(folder).run_trial().trial_id == "t0003"
    assert MadeUpSearch(folder).conductor.next_trial().trial_id == "t0004"


def test_a_trial_that_another_driver_created_meanwhile_is_not_written_over(folder):
    first, second = MadeUpSearch(folder), MadeUpSearch(folder)
    spec = first.conductor.next_trial()
    with pytest.raises(SearchFaultError, match="a trial's number is given once"):
        second.conductor.next_trial()
    assert load_trials(folder)[0].spec == spec


def at_the_rung(folder, *objectives, diverges=()):
    """A search whose trials stand at the first rung, epoch 2; those in `diverges` have diverged there."""
    search = MadeUpSearch(folder, scheduler={"grace_epochs": 2, "reduction_factor": 2})
    for number, objective in enumerate(objectives):
        spec = search.conductor.next_trial()
        for epoch in (1, 2):
            diverged = "nan" if epoch == 2 and number in diverges else None
            record = EpochRecord(epoch, 0, 0.0 if diverged else objective, 1, {}, diverged=diverged)
            TrialRecord(folder, spec.trial_id).append(record)
            search.conductor.epoch_done(spec.trial_id, record)
    return search


def judged_next(search, folder, objective):
    spec = search.conductor.next_trial()
    while spec.trial_id in search.conductor.trials and search.conductor.trials[spec.trial_id].epochs:
        spec = search.conductor.next_trial()  # those that wait after a restart
    goes_on = True
    for epoch in (1, 2):
        record = EpochRecord(epoch, 0, objective, 1, {})
        TrialRecord(folder, spec.trial_id).append(record)
        goes_on = search.conductor.epoch_done(spec.trial_id, record)
    return goes_on


@pytest.mark.parametrize("restarted", [False, True], ids=["one launch", "after a restart"])
def test_a_trial_that_diverges_at_a_rung_counts_there_in_every_launch(folder, restarted):
    """Of 0.4 and 0.6 the median is 0.5; with the 0 of the one that diverged, 0.4."""
    search = at_the_rung(folder, 0.4, 0.6, 0.9, diverges=[2])
    if restarted:
        search = MadeUpSearch(folder, scheduler={"grace_epochs": 2, "reduction_factor": 2})
    assert judged_next(search, folder, 0.45)


@pytest.mark.parametrize("heard", [True, False], ids=["the driver lived", "the driver died before it heard"])
def test_an_epoch_at_a_rung_is_judged_whoever_hears_of_it(folder, heard):
    search = at_the_rung(folder, 0.6, 0.8)
    weak = search.conductor.next_trial()
    for epoch in (1, 2):
        record = EpochRecord(epoch, 0, 0.1, 1, {})
        TrialRecord(folder, weak.trial_id).append(record)
        if epoch == 1 or heard:
            search.conductor.epoch_done(weak.trial_id, record)
    again = MadeUpSearch(folder, scheduler={"grace_epochs": 2, "reduction_factor": 2})
    assert again.conductor.trials[weak.trial_id].state == "pruned"


def test_an_epoch_that_was_judged_is_not_judged_again_after_a_restart(folder):
    """It stood against fewer trials then, and was let through."""
    search = at_the_rung(folder, 0.3, 0.8, 0.9)
    assert search.conductor.trials["t0000"].end is None
    again = MadeUpSearch(folder, scheduler={"grace_epochs": 2, "reduction_factor": 2})
    assert again.conductor.trials["t0000"].end is None


def test_epochs_of_a_process_that_died_without_a_word_are_judged_before_it_is_started_again(folder):
    search = at_the_rung(folder, 0.6, 0.8)
    weak = search.conductor.next_trial()
    for epoch in (1, 2):
        TrialRecord(folder, weak.trial_id).append(EpochRecord(epoch, 0, 0.1, 1, {}))
    search.conductor.attempt_failed(weak.trial_id, "its process died", counted=True)
    assert search.conductor.trials[weak.trial_id].state == "pruned"


def test_a_trial_that_was_complete_when_its_last_start_failed_is_complete(folder):
    search = MadeUpSearch(folder)
    spec = search.conductor.next_trial()
    for epoch in range(1, MAX_EPOCHS + 1):
        search.train(spec, epoch)
    for _ in range(MAX_ATTEMPTS - 1):
        TrialRecord(folder, spec.trial_id).add_failure("its process died", counted=True)
    search.conductor.attempt_failed(spec.trial_id, "its process died", counted=True)
    assert search.conductor.trials[spec.trial_id].state == "completed"


class OneAttempt(MadeUpSearch):
    def __init__(self, folder, attempts=1):
        super().__init__(folder)
        self.conductor = Conductor(self.plan, folder, self.heard.append, attempts)
        self.conductor.recover()


def test_a_last_attempt_whose_machine_then_proves_lost_is_none(folder):
    search = OneAttempt(folder)
    spec = search.conductor.next_trial()
    failure = search.conductor.attempt_failed(spec.trial_id, "its process died", counted=True, suspected=True)
    assert search.conductor.trials[spec.trial_id].end is None
    assert search.conductor.awaiting == {spec.trial_id}
    assert search.conductor.running == frozenset(), "its place is free meanwhile"
    search.conductor.excuse(spec.trial_id, failure)
    assert search.conductor.next_trial() == spec


def test_a_last_attempt_whose_machine_is_still_there_was_the_last(folder):
    search = OneAttempt(folder)
    spec = search.conductor.next_trial()
    search.conductor.attempt_failed(spec.trial_id, "its process died", counted=True, suspected=True)
    search.conductor.convict(spec.trial_id)
    trial = search.conductor.trials[spec.trial_id]
    assert (trial.state, trial.end.detail) == ("failed", "its process died")
    assert search.conductor.awaiting == frozenset()


def test_an_earlier_attempt_that_may_yet_be_excused_keeps_a_trial_from_being_given_up(folder):
    search = OneAttempt(folder, attempts=2)
    spec = search.conductor.next_trial()
    lost = search.conductor.attempt_failed(spec.trial_id, "its process died", counted=True, suspected=True)
    assert search.conductor.next_trial() == spec
    search.conductor.attempt_failed(spec.trial_id, "RuntimeError", counted=True)
    assert search.conductor.trials[spec.trial_id].end is None
    search.conductor.excuse(spec.trial_id, lost)
    assert search.conductor.next_trial() == spec
