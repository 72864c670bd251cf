"""Which points the trials of a search have: each once, whatever became of it."""

import shutil
from dataclasses import replace

import pytest

from search.config.search_config import SearchConfig
from search.decide.conductor import Conductor
from search.decide.search_plan import SearchPlan
from search.project.leaderboard import leaderboard
from search.project.optuna_journal import OptunaJournal
from search.space.points import config_identity
from trainable.record.record_types import EndMarker, EpochRecord, TrialSnapshot, trial_name
from trainable.record.storage import Storage
from trainable.record.trial_record import TrialRecord, load_trials

TWO = {"model": {"architecture": ["unet", "fpn"]}}
SIX = {"model": {"architecture": ["unet", "fpn"]}, "loss": {"name": ["dice", "iou", "cross_entropy"]}}
STRIDES = {
    "model": {"architecture": ["unet", "deeplabv3"], "output_stride": [8, 16]},
    "optimizer": {"learning_rate": {"low": 1e-4, "high": 1e-2}},
}


def config(space, trials=8, **changes):
    values = {"name": "x", "dataset": {"layout": "synthetic"}, "space": space, "budget": {"trials": trials}}
    return SearchConfig.model_validate(values | changes)


def suggested(config, known=None):
    """The specs that a plan suggests until it has no more; `known` grows by them."""
    plan, known = SearchPlan(config), {} if known is None else known
    specs = []
    while spec := plan.next_spec(known, len(known)):
        assert plan.total(known) > len(known)
        known[spec.trial_id] = TrialSnapshot(spec)
        specs.append(spec)
    assert plan.total(known) == len(known)
    return specs


def points(specs):
    return [config_identity(spec.config) for spec in specs]


def test_a_finite_space_ends_when_each_of_its_points_has_a_trial():
    assert SearchPlan(config(TWO, trials=4)).total({}) == 2
    specs = suggested(config(TWO, trials=4))
    assert {spec.params["model.architecture"] for spec in specs} == {"unet", "fpn"}
    assert len(specs) == 2
    assert len(set(points(suggested(config(SIX, trials=60))))) == 6
    assert len(set(points(suggested(config(SIX, trials=5))))) == 5
    assert len(suggested(config({}, trials=5))) == 1


def test_a_baseline_is_not_suggested_again():
    specs = suggested(config(SIX, trials=60, baselines="seed"))
    assert [spec.baseline for spec in specs] == [True] * 6
    one = suggested(config(SIX, trials=60, baselines=[{"loss": {"name": "iou"}}]))
    assert [spec.baseline for spec in one] == [True] + [False] * 5
    assert len(set(points(one))) == 6


def test_of_equal_baselines_one_is_trained():
    twice = [{}, {"loss": {"name": "dice"}}, {"loss": {"name": "iou"}}, {"model": {"architecture": "unet"}}]
    specs = suggested(config(SIX, trials=3, baselines=twice))
    assert [(spec.params["loss.name"], spec.baseline) for spec in specs[:2]] == [("dice", True), ("iou", True)]
    assert not specs[2].baseline


@pytest.mark.parametrize("reason", ["completed", "pruned", "diverged", "failed", None])
def test_no_point_is_tried_again_however_its_trial_ended(reason):
    (first,) = suggested(config(TWO, trials=1))
    epochs = (EpochRecord(1, 0, 0.9, 1, {}),)
    end = EndMarker(reason, "", 0, 1, epochs) if reason else None
    specs = suggested(config(TWO, trials=9), {first.trial_id: TrialSnapshot(first, epochs, end)})
    assert [spec.trial_id for spec in specs] == ["t0001"]
    assert specs[0].params != first.params


def test_points_that_an_older_record_has_twice_count_once():
    first, second = suggested(config(SIX, trials=2))
    again = [replace(first, trial_id=trial_name(number), number=number) for number in (2, 3)]
    known = {spec.trial_id: TrialSnapshot(spec) for spec in (first, second, *again)}
    assert SearchPlan(config(SIX, trials=60)).total(known) == 4 + 4
    assert len(set(points([*suggested(config(SIX, trials=60), known), first, second]))) == 6
    assert SearchPlan(config(SIX, trials=3)).total(known) == len(known)


def test_where_the_data_lie_and_how_they_are_trained_makes_no_other_point():
    (first,) = suggested(config(TWO, trials=1))
    moved = first.config | {"dataset": {"layout": "aeroscapes", "root": "/elsewhere"}, "runtime": {"max_attempts": 9}}
    known = {"t0000": TrialSnapshot(replace(first, config=moved))}
    assert len(suggested(config(TWO, trials=9), known)) == 1


class Search:
    """A conductor that tries all points that are left, and whose trials end at once."""

    def __init__(self, folder, **changes):
        self.specs = []
        settings = config(SIX, trials=60, **changes).model_copy(update={"seed": 5})
        self.conductor = Conductor(SearchPlan(settings), folder, lambda trial: None, 3)
        self.conductor.recover()

    def run(self, most=100):
        while len(self.specs) < most and (spec := self.conductor.next_trial()):
            self.specs.append(spec)
            self.conductor.trial_failed(spec.trial_id, "out of memory")
        return [spec.params for spec in self.specs]


def test_a_search_of_a_spent_space_is_done(tmp_path):
    folder = Storage(str(tmp_path / "search"))
    search = Search(folder)
    assert search.conductor.left == 6
    search.run()
    assert (len(load_trials(folder)), search.conductor.left) == (6, 0)
    assert Search(folder).conductor.left == 0
    assert Search(folder).run() == []


def test_a_search_cut_anywhere_goes_on_with_the_points_that_an_uncut_one_tries(tmp_path):
    uncut = Search(Storage(str(tmp_path / "uncut"))).run()
    folder, cut = Storage(str(tmp_path / "cut")), []
    for most in (1, 2, 1, 9):
        cut += Search(folder).run(most)
    assert cut == uncut


@pytest.mark.parametrize("deleted", [1, 4])
def test_a_deleted_trial_is_tried_again_and_no_other(tmp_path, deleted):
    """The first five are baselines: what is made up for is the one that is missing, not the one of that number."""
    baselines = [{"loss": {"name": loss}, "model": {"architecture": "unet"}} for loss in SIX["loss"]["name"]]
    baselines += [{"loss": {"name": loss}, "model": {"architecture": "fpn"}} for loss in ("dice", "iou")]
    folder = Storage(str(tmp_path / "search"))
    search = Search(folder, baselines=baselines)
    search.run()
    shutil.rmtree(folder.local_path / "trials" / trial_name(deleted))
    (again,) = Search(folder, baselines=baselines).run()
    assert again == search.specs[deleted].params
    assert (load_trials(folder)[-1].spec.trial_id, load_trials(folder)[-1].spec.baseline) == ("t0006", True)


def as_recorded_before(spec, stride):
    """A spec as it was recorded when an output stride was searched for every network."""
    model = spec.config["model"] | {"output_stride": stride}
    return replace(spec, params=spec.params | {"model.output_stride": stride}, config=spec.config | {"model": model})


def test_a_stride_in_the_record_of_a_network_that_has_none_is_no_matter(tmp_path):
    folder = Storage(str(tmp_path / "search"))
    unets = []
    for spec in suggested(config(STRIDES, trials=24)):
        if spec.params["model.architecture"] == "unet":
            assert "model.output_stride" not in spec.params
            assert spec.config["model"]["output_stride"] is None
            spec = as_recorded_before(spec, 8 if len(unets) % 2 else 16)
            unets.append(spec)
        record = TrialRecord(folder, spec.trial_id)
        record.create(spec)
        record.end("completed", "", (EpochRecord(1, 0, spec.number / 30, 1, {"miou": spec.number / 30}),))
    assert len(unets) > 4
    conductor = Conductor(SearchPlan(config(STRIDES, trials=28)), folder, lambda trial: None, 3)
    conductor.recover()
    resumed = [conductor.next_trial() for _ in range(4)]
    assert conductor.next_trial() is None
    assert not set(points(resumed)) & set(points(unets))
    trials = load_trials(folder)
    assert len(leaderboard(trials, ("miou",))) > 0
    journal = OptunaJournal(folder, "x", config(STRIDES).parsed_space)
    for trial in trials:
        journal.project(trial)


def test_a_baseline_that_was_recorded_with_a_stride_is_not_trained_again():
    (unet,) = suggested(config(STRIDES, trials=1, baselines=[{"model": {"architecture": "unet"}}]))
    for baseline in ({"architecture": "unet"}, {"architecture": "unet", "output_stride": 8}):
        known = {"t0000": TrialSnapshot(as_recorded_before(unet, 8))}
        (next_one,) = suggested(config(STRIDES, trials=2, baselines=[{"model": baseline}]), known)
        assert not next_one.baseline
