"""A real search: Ray, training, the record, MLflow on SQLite, the Optuna journal, all queried back."""

import csv
import io
import json
from pathlib import Path

import mlflow
import numpy as np
import optuna
import pytest
from rich.console import Console

from aerosweep.terminal.progress import PlainView
from search.config.search_config import SearchConfig
from search.project.search_projections import sync_search
from search.run.launch import run_search
from trainable.data.dataset_config import DatasetConfig
from trainable.data.trial_data import open_trial_data
from trainable.device import ResourceShare, choose_compute
from trainable.losses.loss_factory import build_loss
from trainable.measure.confusion import class_metrics
from trainable.measure.evaluation import Scoring, evaluate
from trainable.measure.image_counts import ImageCounts
from trainable.measure.logit_adjustment import log_priors
from trainable.network.trained_model import load_trained_model
from trainable.record.file_names import files_of
from trainable.record.storage import Storage
from trainable.record.trial_record import TrialRecord
from trainable.trial_config import TrialConfig

pytestmark = pytest.mark.filterwarnings("default")  # Ray, MLflow and SQLAlchemy warn of each other


def launch(values, address, resume=False, trainable=None):
    config = SearchConfig.model_validate(values).absolute()
    output = io.StringIO()
    view = PlainView(Console(file=output, width=200))
    outcome = run_search(config, resume=resume, address=address, view=view, say=view.say, trainable=trainable)
    return config, outcome, output.getvalue()


@pytest.fixture(scope="module")
def searched(ray_address, search_cache, make_small_search, tmp_path_factory):
    return launch(make_small_search(tmp_path_factory.mktemp("runs"), search_cache), ray_address)


@pytest.fixture(scope="module")
def client(searched):
    _, outcome, _ = searched
    return mlflow.MlflowClient(tracking_uri=outcome.tracking_uri)


@pytest.fixture(scope="module")
def runs(client):
    experiment = client.get_experiment_by_name("aerosweep")
    return client.search_runs([experiment.experiment_id])


@pytest.fixture(scope="module")
def children(runs):
    return {run.data.tags["aerosweep.trial"]: run for run in runs if "mlflow.parentRunId" in run.data.tags}


def test_every_trial_of_the_budget_ended_and_some_were_stopped_early(searched):
    _, outcome, _ = searched
    assert [trial.spec.trial_id for trial in outcome.trials] == [f"t{number:04d}" for number in range(7)]
    assert all(trial.state == "completed" and len(trial.epochs) == 3 for trial in outcome.trials[:4])
    assert {trial.state for trial in outcome.trials[4:]} <= {"completed", "pruned"}
    assert outcome.interrupted is None
    assert not outcome.resume_needed


def test_the_baselines_cover_every_model_with_every_loss(searched):
    _, outcome, _ = searched
    combinations = {
        (trial.spec.config["model"]["architecture"], trial.spec.config["loss"]["name"])
        for trial in outcome.trials
        if trial.spec.baseline
    }
    assert len(combinations) == 4


def test_training_learns_and_beats_the_majority_class_three_times(searched, search_cache):
    config, outcome, _ = searched
    data = open_trial_data(config.dataset, search_cache)
    pixels = data.cache.pixel_counts[list(data.splits.dev)].sum(axis=0)
    majority = pixels.max() / pixels.sum() / (pixels > 0).sum()
    assert max(trial.objective for trial in outcome.trials) > 3 * majority
    first = [trial.epochs[0].metrics["train_loss"] for trial in outcome.trials[:4]]
    last = [trial.epochs[-1].metrics["train_loss"] for trial in outcome.trials[:4]]
    assert all(after < before for before, after in zip(first, last, strict=True))


def test_one_parent_and_one_run_a_trial(runs, children, searched):
    _, outcome, _ = searched
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    assert sorted(children) == [trial.spec.trial_id for trial in outcome.trials]
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {parents[0].info.run_id}
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_one_point_a_metric_and_epoch_with_the_records_time(client, children, searched):
    _, outcome, _ = searched
    for trial in outcome.trials:
        run_id = children[trial.spec.trial_id].info.run_id
        for metric in ("objective", "train_loss", "miou", "iou/person"):
            points = client.get_metric_history(run_id, metric)
            expected = [(e.epoch, e.time_ms, e.metrics[metric]) for e in trial.epochs if metric in e.metrics]
            assert [(p.step, p.timestamp, pytest.approx(p.value)) for p in points] == expected
            assert expected


def test_params_and_tags_say_what_ran(children, searched):
    _, outcome, _ = searched
    for trial in outcome.trials:
        run = children[trial.spec.trial_id]
        assert run.data.params["model.architecture"] == trial.spec.config["model"]["architecture"]
        assert run.data.params["loss.name"] == trial.spec.config["loss"]["name"]
        rate = trial.spec.config["optimizer"]["learning_rate"]
        assert float(run.data.params["optimizer.learning_rate"]) == pytest.approx(rate)
        if trial.spec.config["loss"]["name"] == "tversky":
            assert float(run.data.params["loss.alpha"]) == pytest.approx(trial.spec.config["loss"]["alpha"])
        tags = run.data.tags
        assert tags["aerosweep.state"] == trial.state
        assert tags["aerosweep.search"] == "small"
        assert tags["aerosweep.device"] == "cpu"
        assert tags["aerosweep.attempts"] == "1"
        assert len(tags["aerosweep.data_fingerprint"]) == 32


def test_artifacts_load_and_give_the_recorded_scores(client, children, searched, tmp_path):
    _, outcome, _ = searched
    for trial in outcome.trials:
        run_id = children[trial.spec.trial_id].info.run_id
        table = client.download_artifacts(run_id, "confusion_matrix.csv", str(tmp_path))
        with open(table, newline="") as file:  # noqa: PTH123
            matrix = np.array([[int(cell) for cell in row[1:]] for row in list(csv.reader(file))[1:]])
        assert class_metrics(matrix).mean_iou == pytest.approx(trial.best.metrics["miou"], abs=1e-12)
        path = client.download_artifacts(run_id, "per_image_counts.npz", str(tmp_path))
        found = ImageCounts.from_bytes(Path(path).read_bytes())
        assert (found.counts[:, :, 0].sum(axis=0) == np.diagonal(matrix)).all()
        with open(client.download_artifacts(run_id, "config.json", str(tmp_path))) as file:  # noqa: PTH123
            assert json.load(file)["config"]["loss"] == trial.spec.config["loss"]


def test_kept_weights_reproduce_the_recorded_miou(searched, search_cache):
    config, outcome, _ = searched
    best = max(outcome.trials, key=lambda trial: trial.objective)
    model = load_trained_model(outcome.folder, best.spec.trial_id)
    trial = TrialConfig.model_validate(best.spec.config)
    data = open_trial_data(DatasetConfig.model_validate(config.dataset), search_cache)
    compute = choose_compute("fp32", ResourceShare())
    train_pixels = data.cache.pixel_counts[list(data.splits.train)].sum(axis=0)
    scoring = Scoring(data.image_set.thing_labels, 4, log_priors(train_pixels), taus=(0.0,))
    criterion = build_loss(trial.loss, train_pixels)
    again = evaluate(model, criterion, data.cache, data.splits.dev, compute, scoring)
    assert class_metrics(again.matrix).mean_iou == pytest.approx(best.best.metrics["miou"], abs=1e-3)


def test_weights_are_kept_for_the_best_the_best_of_each_loss_and_the_best_baseline_only(searched, client, children):
    _, outcome, _ = searched
    ranked = sorted(outcome.trials, key=lambda trial: -trial.objective)
    losses = {}
    for trial in ranked:
        losses.setdefault(trial.spec.config["loss"]["name"], trial.spec.trial_id)
    folder = Storage(outcome.folder)
    kept = {
        trial.spec.trial_id
        for trial in outcome.trials
        if TrialRecord(folder, trial.spec.trial_id).folder.read(f"best/{files_of(trial.best)}/weights.pt")
    }
    best_baseline = next(trial.spec.trial_id for trial in ranked if trial.spec.baseline)
    assert kept == {ranked[0].spec.trial_id, best_baseline, *losses.values()}
    assert all(not folder.names(f"trials/{trial.spec.trial_id}/checkpoints") for trial in outcome.trials)
    logged = {
        trial_id
        for trial_id, run in children.items()
        if any(artifact.path == "weights.pt" for artifact in client.list_artifacts(run.info.run_id))
    }
    assert logged == kept


def test_the_journal_has_every_trial(searched):
    _, outcome, _ = searched
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(f"{outcome.folder}/optuna.journal")
    )
    study = optuna.load_study(study_name="small", storage=storage)
    states = {trial.user_attrs["aerosweep_trial"]: trial.state.name for trial in study.trials}
    assert states == {
        trial.spec.trial_id: "COMPLETE" if trial.state == "completed" else "PRUNED" for trial in outcome.trials
    }


def test_the_leaderboard_is_ranked(searched):
    _, outcome, _ = searched
    rows = list(csv.DictReader(io.StringIO(Storage(outcome.folder).read("leaderboard.csv").decode())))
    objectives = [float(row["objective"]) for row in rows]
    assert objectives == sorted(objectives, reverse=True)
    assert len(rows) == 7


def test_plain_lines_tell_of_each_trial(searched):
    _, outcome, output = searched
    for trial in outcome.trials:
        assert sum(line.startswith(f"{trial.spec.trial_id} {trial.state}") for line in output.splitlines()) == 1


def test_sync_changes_nothing_when_nothing_is_missing(searched):
    config, _, _ = searched
    assert "nothing was missing" in sync_search(config, lambda line: None)


def test_a_finished_search_extends_with_all_that_it_has(ray_address, searched, make_small_search, search_cache):
    config, outcome, _ = searched
    longer = make_small_search(config.storage, search_cache, budget={"trials": 9, "max_epochs": 3})
    _, extended, _ = launch(longer, ray_address, resume=True)
    assert extended.trials[:7] == outcome.trials
    assert [trial.state in ("completed", "pruned") for trial in extended.trials[7:]] == [True, True]
