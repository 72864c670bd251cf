"""A real search of two objectives, from the config to the Optuna study."""

import csv
import io
import itertools

import optuna
import pytest
from rich.console import Console

from aerosweep.terminal.progress import PlainView
from search.config.search_config import SearchConfig
from search.decide.sampler import Observation, suggest_point
from search.project.search_projections import sync_search
from search.run.launch import run_search
from trainable.record.storage import Storage

pytestmark = pytest.mark.filterwarnings("default")  # Ray, MLflow and SQLAlchemy warn of each other

OBJECTIVES = ("miou", "recall/road")
TRIALS, BASELINES = 5, 2


@pytest.fixture(scope="module")
def searched(ray_address, search_cache, make_small_search, tmp_path_factory):
    values = make_small_search(
        tmp_path_factory.mktemp("runs"),
        search_cache,
        name="two",
        objective=list(OBJECTIVES),
        baselines=[{"model.architecture": name, "loss.name": "cross_entropy"} for name in ("unet", "deeplabv3plus")],
        budget={"trials": TRIALS, "max_epochs": 2},
        resources={"cache_dir": str(search_cache), "max_concurrent": 1},
    )
    config = SearchConfig.model_validate(values).absolute()
    output = io.StringIO()
    view = PlainView(Console(file=output, width=200), clock=itertools.count(0, 60).__next__)
    outcome = run_search(config, resume=False, address=ray_address, view=view, say=view.say)
    return config, outcome, output.getvalue()


@pytest.fixture(scope="module")
def front(searched):
    """Ids of the completed trials that no other completed one beats, by the definition."""
    _, outcome, _ = searched
    full = {
        trial.spec.trial_id: (trial.objective, trial.best.metrics["recall/road"])
        for trial in outcome.trials
        if trial.state == "completed"
    }
    return {
        trial_id
        for trial_id, (miou, recall) in full.items()
        if not any(a >= miou and b >= recall and (a, b) != (miou, recall) for a, b in full.values())
    }


def test_the_first_objective_decides_epochs_and_early_stopping(searched):
    _, outcome, _ = searched
    assert [trial.state in ("completed", "pruned") for trial in outcome.trials] == [True] * TRIALS
    assert all(trial.state == "completed" for trial in outcome.trials[:BASELINES])
    for trial in outcome.trials:
        assert trial.spec.config["objective"] == "miou"
        assert trial.objective == max(epoch.metrics["miou"] for epoch in trial.epochs)


def test_the_leaderboard_has_both_objectives_and_the_front(searched, front):
    _, outcome, _ = searched
    rows = list(csv.DictReader(io.StringIO(Storage(outcome.folder).read("leaderboard.csv").decode())))
    assert {row["trial"] for row in rows if row["pareto"] == "true"} == front
    recalls = {trial.spec.trial_id: trial.best.metrics["recall/road"] for trial in outcome.trials}
    assert {row["trial"]: float(row["recall/road"]) for row in rows} == pytest.approx(recalls, abs=1e-6)
    objectives = sorted((trial.objective for trial in outcome.trials), reverse=True)
    assert [float(row["objective"]) for row in rows] == pytest.approx(objectives, abs=1e-6)


def test_the_journal_is_a_study_of_two_objectives_with_the_same_front(searched, front):
    _, outcome, _ = searched
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(f"{outcome.folder}/optuna.journal")
    )
    study = optuna.load_study(study_name="two", storage=storage)
    assert study.metric_names == list(OBJECTIVES)
    assert len(study.trials) == TRIALS
    assert {trial.user_attrs["aerosweep_trial"] for trial in study.best_trials} == front


def test_what_was_suggested_follows_from_the_record(searched):
    """One trial at a time, so what the sampler knew of is what ended before."""
    config, outcome, _ = searched
    last = outcome.trials[-1]
    known = [Observation.of(trial, OBJECTIVES) for trial in outcome.trials[:-1]]
    point = suggest_point(config.parsed_space, known, config.seed, last.spec.number, OBJECTIVES)
    assert config.parsed_space.searched(point) == last.spec.params


def test_the_progress_counts_the_front(searched):
    *_, output = searched
    assert " on the front" in output


def test_sync_changes_nothing_when_nothing_is_missing(searched):
    config, outcome, _ = searched
    folder = Storage(outcome.folder)
    names = ("leaderboard.csv", "optuna.journal")
    before = [folder.read(name) for name in names]
    assert "nothing was missing" in sync_search(config, lambda line: None)
    assert [folder.read(name) for name in names] == before
