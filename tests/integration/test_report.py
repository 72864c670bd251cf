"""The report of a real search, confirmed and recorded in a real MLflow store, as its user gets it."""

import csv
import html
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml
from ports import free_port
from rich.console import Console
from typer.testing import CliRunner

from aerosweep.cli import app
from aerosweep.report_commands import report_at_the_end
from analysis.recorded.mlflow_reader import read_search
from analysis.report.attached import attach_report
from analysis.report.document import MissingPlate
from analysis.report.opened_data import open_data
from analysis.report.search_report import compose_search_report
from search.config.config_file import load_recorded_config
from search.project.search_projections import mlflow_projection
from search.record.search_folder import read_meta
from trainable.errors import InputError
from trainable.measure.confusion import class_metrics
from trainable.record.storage import Storage
from trainable.record.trial_record import load_trials

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def aerosweep(monkeypatch):
    """Runs a command in a folder: `aerosweep(*arguments, cwd)` returns its exit code and what it printed."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def run(*arguments, cwd):
        monkeypatch.chdir(cwd)
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


@pytest.fixture(scope="module")
def place(smoke):
    return smoke


@pytest.fixture(scope="module")
def uri(place):
    return f"sqlite:///{place}/runs/mlflow.db"


@pytest.fixture(scope="module")
def search(uri):
    return read_search(uri, "smoke")


def missing(document):
    """Titles of the figures that could not be made, and why."""
    plates = [plate for section in document.sections for plate in section.plates]
    return [(plate.title, plate.why) for plate in plates if isinstance(plate, MissingPlate)]


OF_IMAGES = (
    "average_image", "average_image_by_class", "class_distribution", "class_distribution_log", "example_images",
)  # fmt: skip
"""Figures whose numbers come from no run."""


def page_of(done):
    assert done.exit_code == 0, done.output
    (path,) = re.findall(r"^report +(\S+)$", done.output, re.MULTILINE)
    return Path(path)


def test_a_confirmed_search_ends_with_its_report(place, search):
    path = place / "runs" / "smoke" / "report" / "report.html"
    assert f"report       {path}" in (place / "printed").read_text()
    page = path.read_text()
    assert "smoke: 5 trials" in page
    assert "defect" not in page, "a figure failed"
    statements = compose_search_report(search, None, "not opened", top=1).statements
    assert any(statement.verdict for statement in statements)
    for statement in statements:
        assert html.escape(statement.text, quote=False) in page.replace("&#39;", "'").replace("&#34;", '"')
    assert page.count("<figure") >= 15


def test_the_report_is_an_artifact_of_the_searchs_run(place, uri, search, tmp_path):
    client = mlflow.MlflowClient(uri)
    path = client.download_artifacts(search.run_id, "report/report.html", str(tmp_path))
    assert Path(path).read_bytes() == (place / "runs" / "smoke" / "report" / "report.html").read_bytes()


def test_what_is_read_is_what_was_recorded(place, search):
    recorded = {trial.spec.trial_id: trial for trial in load_trials(Storage(str(place / "runs" / "smoke")))}
    assert [trial.trial_id for trial in search.trials] == sorted(recorded)
    assert (search.name, search.state, search.objectives, search.max_epochs) == ("smoke", "completed", ("miou",), 2)
    assert search.problems == ()
    for trial in search.trials:
        expected = recorded[trial.trial_id]
        assert (trial.state, trial.baseline) == (expected.state, expected.spec.baseline)
        assert (trial.params, trial.config) == (expected.spec.params, expected.spec.config)
        assert trial.epochs == len(expected.epochs)
        assert trial.objective == expected.objective
        assert trial.best_epoch == expected.best.epoch
        assert trial.objective_curve.tolist() == [epoch.objective for epoch in expected.epochs]
        for epoch in expected.epochs:
            row = trial.history.loc[epoch.epoch].dropna().to_dict()
            assert row == epoch.metrics
        assert class_metrics(trial.matrix).mean_iou == pytest.approx(expected.best.metrics["miou"], abs=1e-12)
        np.testing.assert_array_equal(trial.image_counts.counts[:, :, 0].sum(axis=0), np.diagonal(trial.matrix))


def test_what_is_read_of_a_confirmation_is_what_was_measured(place, search):
    runs = {run.spec.trial_id: run for run in load_trials(Storage(str(place / "runs" / "smoke" / "confirm")))}
    assert [run.trial_id for run in search.runs] == sorted(runs)
    for run in search.runs:
        assert run.confirms == runs[run.trial_id].spec.confirms
        measured = runs[run.trial_id].val.metrics["miou"]
        assert class_metrics(run.val_matrix).mean_iou == pytest.approx(measured, abs=1e-12)
        np.testing.assert_array_equal(run.val.counts[:, :, 0].sum(axis=0), np.diagonal(run.val_matrix))
        assert run.metrics["val/miou"] == measured


def test_a_search_is_found_by_name_id_and_run(search, uri):
    for key in (search.search_id, search.run_id):
        assert read_search(uri, key).run_id == search.run_id


def test_a_search_that_is_not_there_is_named_with_those_that_are(uri, tmp_path):
    with pytest.raises(InputError, match=r"'missing'.*It has smoke"):
        read_search(uri, "missing")
    with pytest.raises(InputError, match="no file"):
        read_search(f"sqlite:///{tmp_path}/none.db", "small")
    assert not (tmp_path / "none.db").exists()


def test_the_report_by_name_from_another_folder(aerosweep, uri, search, tmp_path):
    done = aerosweep("report", "smoke", "--tracking-uri", uri, "--top", 1, "--format", "svg", cwd=tmp_path)
    page = page_of(done)
    assert page == Path("report-smoke/report.html")
    figures = tmp_path / page.parent / "figures"
    assert list(figures.glob("*.svg"))
    assert not list(figures.glob("*.png"))
    known = {trial.run_id for trial in (*search.trials, *search.runs)}
    tables = [*figures.glob("*.csv"), figures.parent / "claims.csv", figures.parent / "table.csv"]
    for table in tables:
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert rows, table.name
        columns = [name for name in rows[0] if "run_id" in name]
        run_ids = {run_id for row in rows for name in columns for run_id in row[name].split(";")}
        assert run_ids - {""} <= known, table.name
        assert run_ids or table.stem in OF_IMAGES, table.name


def test_an_interrupted_search_without_weights_still_has_a_report(aerosweep, place, tmp_path):
    """One trial has not ended, the best has lost its weights, and the tracker is another one."""
    shutil.copytree(place / "runs", tmp_path / "runs", ignore=shutil.ignore_patterns("confirm", "report"))
    folder = tmp_path / "runs" / "smoke"
    (folder / "trials" / "t0004" / "end.json").unlink()
    for weights in folder.glob("trials/*/best/*/weights.pt"):
        weights.unlink()
    values = yaml.safe_load((folder / "search.yaml").read_text()) | {"storage": str(tmp_path / "runs")}
    values["tracking"] = {"uri": f"sqlite:///{tmp_path}/other.db"}
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(values))
    done = aerosweep("sync", "search.yaml", cwd=tmp_path)
    assert done.exit_code == 0, done.output
    page = page_of(aerosweep("report", "search.yaml", cwd=tmp_path))
    text = page.read_text()
    assert "1 interrupted" in text
    assert "not confirmed" in text
    assert "aerosweep confirm" in text
    assert re.search(r"the weights of t\d{4} must be in MLflow", text)
    assert "defect" not in text


def test_a_search_that_still_runs_is_reported_from_mlflow_alone(place, tmp_path):
    """As MLflow has it in the middle: one trial has ended, one runs, nothing is summed up."""
    folder, uri = Storage(str(place / "runs" / "smoke")), f"sqlite:///{tmp_path}/half.db"
    ended, running = load_trials(folder)[:2]
    config = load_recorded_config(folder.url, [], None)
    config = config.model_copy(update={"tracking": config.tracking.model_copy(update={"uri": uri})})
    projection = mlflow_projection(config, folder, read_meta(folder))
    projection.project(ended)
    projection.project(replace(running, end=None, epochs=running.epochs[:1]))
    half = read_search(uri, "smoke")
    document = compose_search_report(half, None, "not opened", top=1)
    assert "1 running" in dict(document.facts)["Trials"]
    assert not [title for title, why in missing(document) if "defect" in why]


def test_a_tracker_that_is_gone_costs_the_report_nothing_but_its_place_there(place):
    port = free_port()
    page = place / "runs" / "smoke" / "report" / "report.html"
    assert f"port={port}" in attach_report(f"http://127.0.0.1:{port}", "0" * 32, page)


def test_a_report_that_fails_at_the_end_says_so_and_is_no_failure_of_the_search(place, tmp_path):
    config = load_recorded_config(str(place / "runs" / "smoke"), [], None)
    lost = config.model_copy(
        update={"tracking": config.tracking.model_copy(update={"uri": f"sqlite:///{tmp_path}/x.db"})}
    )
    lines = []
    report_at_the_end(lost, Console(file=io.StringIO()), lines.append)
    (line,) = lines
    assert re.match(r"the report could not be written .*; try `.*aerosweep report .*/runs/smoke`", line)


def test_the_notebook_runs_on_another_search(uri, search):
    notebook = json.loads((Path(__file__).parents[2] / "docs" / "report.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    code = "\n".join(line for line in "\n".join(cells).splitlines() if not line.startswith("%"))
    code = code.replace('"sqlite:///../runs/mlflow.db"', repr(uri)).replace(
        'SEARCH = "smoke"', f'SEARCH = "{search.search_id}"'
    )
    names = {}
    exec(compile(code, "report.ipynb", "exec"), names)
    assert names["plate"].key.startswith("matrix_difference")
    assert names["trial"].trial_id == names["search"].ranked[0].trial_id


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give SEARCH or --dataset FILE; got neither"),
        (["smoke", "--dataset", "set.yaml"], "give SEARCH or --dataset FILE; got both"),
        (["smoke"], "no file"),
        (["--dataset", "missing.yaml"], "missing.yaml"),
    ],
)
def test_mistakes_end_with_one_line(aerosweep, arguments, message, tmp_path):
    done = aerosweep("report", *arguments, cwd=tmp_path)
    assert done.exit_code == 2
    assert message in done.output
    assert len(done.output.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_data_that_moved_or_changed_are_refused_with_the_reason(search, tmp_path):
    import dataclasses

    data, why = open_data(search, None)
    assert why == ""
    assert data.cache.fingerprint == search.data_fingerprint
    _, why = open_data(dataclasses.replace(search, data_fingerprint="0123456789abcdef"), None)
    assert "not those that the search saw" in why
    moved = search.dataset.model_copy(update={"layout": "aeroscapes", "root": tmp_path / "gone"})
    data, why = open_data(dataclasses.replace(search, dataset=moved), None)
    assert data is None
    assert str(tmp_path / "gone") in why
    assert "--root" in why


def test_the_report_of_an_image_set_alone(aerosweep, tmp_path):
    made = aerosweep("data", "synthesize", "made", "--images", 40, "--size", "64x96", cwd=tmp_path)
    assert made.exit_code == 0, made.output
    (tmp_path / "set.yaml").write_text(yaml.safe_dump({"dataset": {"layout": "aeroscapes", "root": "made"}}))
    page = page_of(aerosweep("report", "--dataset", "set.yaml", cwd=tmp_path))
    text = (tmp_path / page).read_text()
    assert "40 images" in text
    assert text.count("<figure") >= 4
    assert "defect" not in text
