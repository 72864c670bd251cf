"""The end of a search: what is printed, and the exit code."""

import io
import os
import shlex
import signal
import sys
import types
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from aerosweep.cli import app
from aerosweep.closing import closing_lines, exit_code, resume_command, runnable
from aerosweep.terminal.image_progress import ImageProgress
from search.config.search_config import SearchConfig
from trainable.record.record_types import EndMarker, EpochRecord, TrialSnapshot, TrialSpec


@pytest.fixture(autouse=True)
def environment_on_path(monkeypatch):
    """As after `. .venv/bin/activate`."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


@dataclass
class Outcome:
    """What `search.run.launch.SearchOutcome` is."""

    trials: list = field(default_factory=list)
    folder: str = "/runs/small"
    tracking_uri: str = "sqlite:////runs/mlflow.db"
    ui_command: str = "mlflow ui --backend-store-uri sqlite:////runs/mlflow.db"
    interrupted: str | None = None
    signal: int | None = None
    resume_needed: bool = False


def trial(number, reason="completed"):
    epochs = (EpochRecord(1, 60_000, 0.5, 1, {"miou": 0.5}),)
    config = {"model": {"architecture": "unet", "encoder": "resnet18"}, "loss": {"name": "dice"}}
    end = EndMarker(reason, "", 0, 1, epochs) if reason else None
    return TrialSnapshot(TrialSpec(f"t{number:04d}", number, {}, config, False, 0), epochs, end, 1)


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome([trial(0), trial(1, "failed")]), 0),
        (Outcome([trial(0, "pruned")]), 0),
        (Outcome([trial(0, "failed"), trial(1, "failed")]), 1),
        (Outcome([trial(0, "failed"), trial(1, "diverged")]), 1),
        (Outcome([trial(0), trial(1, None)], interrupted="the time budget is spent", resume_needed=True), 0),
        (Outcome([], interrupted="the time budget is spent", resume_needed=True), 0),
        (Outcome([trial(0, None)], interrupted="SIGINT", signal=signal.SIGINT, resume_needed=True), 130),
        (Outcome([trial(0, "failed")], interrupted="SIGTERM", signal=15, resume_needed=True), 143),
    ],
)
def test_the_exit_code(outcome, code):
    assert exit_code(outcome) == code


def config(trials=8, **confirm):
    values = {"name": "small", "dataset": {"layout": "synthetic"}, "budget": {"trials": trials}, "confirm": confirm}
    values["space"] = {"data": {"color_jitter": {"low": 0, "high": 1}}}
    return SearchConfig.model_validate(values)


def test_a_finished_search_says_where_things_are_and_how_to_confirm_it():
    assert closing_lines(Outcome([trial(0)]), config(), ["aerosweep", "search", "x.yaml"]) == [
        "leaderboard  /runs/small/leaderboard.csv",
        "MLflow UI    mlflow ui --backend-store-uri sqlite:////runs/mlflow.db",
        "Optuna       optuna-dashboard /runs/small/optuna.journal",
        "confirm      aerosweep confirm /runs/small",
    ]


def test_nothing_is_said_of_confirming_one_trial_or_what_will_be_confirmed_anyway():
    for one in (config(trials=1), config(after_search=True)):
        assert not any("confirm" in line for line in closing_lines(Outcome([trial(0)]), one, ["aerosweep"]))


def test_an_interrupted_search_says_how_to_go_on():
    outcome = Outcome([trial(0), trial(1, None)], interrupted="SIGINT", signal=2, resume_needed=True)
    assert closing_lines(outcome, config(), ["/venv/bin/aerosweep", "search", "my search.yaml"])[-3:] == [
        "stopped early (SIGINT) with 1 of 8 trials ended",
        "report       aerosweep report /runs/small",
        "continue     aerosweep search 'my search.yaml' --resume",
    ]


def test_commands_work_where_the_environment_is_not_activated(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    bin_folder = Path(sys.executable).parent
    assert runnable("mlflow ui --port 1") == "mlflow ui --port 1"
    monkeypatch.setenv("PATH", "/nowhere")
    assert runnable("mlflow ui --port 1") == f"{bin_folder}/mlflow ui --port 1"
    assert runnable("no-such-program x") == "no-such-program x"
    monkeypatch.chdir(bin_folder.parent)
    assert runnable("mlflow ui --port 1") == "bin/mlflow ui --port 1"


def test_no_dashboard_command_for_a_journal_in_a_bucket():
    lines = closing_lines(Outcome([trial(0)], folder="s3://bucket/small"), config(), ["aerosweep"])
    assert not any("optuna-dashboard" in line for line in lines)
    assert lines[0] == "leaderboard  s3://bucket/small/leaderboard.csv"


def test_a_folder_with_a_space_is_quoted():
    lines = closing_lines(Outcome([trial(0)], folder="/my runs/small"), config(), ["aerosweep"])
    assert lines[2] == "Optuna       optuna-dashboard '/my runs/small/optuna.journal'"


def test_the_resume_command_is_the_same_command_line():
    argv = ["/a/aerosweep/__main__.py", "search", "x.yaml", "--set", "space.data.crop=[64x64, 96x96]", "--resume"]
    assert resume_command(argv) == "python -m aerosweep search x.yaml --set 'space.data.crop=[64x64, 96x96]' --resume"
    assert shlex.split(resume_command(argv))[3:] == argv[1:]


@pytest.fixture
def launch(monkeypatch, tmp_path):
    """Stands in for search.run.launch; `outcome` is what the next search returns, `calls` what it was asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "search.yaml").write_text(
        "name: small\ndataset: {layout: synthetic}\nspace: {data: {color_jitter: {low: 0, high: 1}}}\n"
    )
    module = types.ModuleType("search.run.launch")
    module.outcome, module.calls = Outcome([trial(0)]), []

    def run_search(config, **options):
        module.calls.append((config, options))
        options["on_decode"](1, 1)
        options["say"]("a [line] of the launch")
        return module.outcome

    module.run_search = run_search
    monkeypatch.setitem(sys.modules, "search.run.launch", module)
    projections = types.ModuleType("search.project.search_projections")
    projections.sync_search = lambda config, say: f"{config.name}: nothing was missing"
    monkeypatch.setitem(sys.modules, "search.project.search_projections", projections)
    return module


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_search_runs_and_prints_the_leaderboard(launch, tmp_path):
    result = run("search", "search.yaml", "--output", "out", "--resume", "--address", "auto", "--set", "seed=4")
    assert result.exit_code == 0, result.output
    ((config, options),) = launch.calls
    assert (config.storage, config.seed) == (str(tmp_path / "out"), 4)
    assert (options["resume"], options["address"]) == (True, "auto")
    assert result.stdout.startswith(f"small: 60 trials, 30 epochs at the most, recorded in {tmp_path}/out/small\n")
    for part in ("decoding 1 images", "a [line] of the launch", "t0000", "0.500", "leaderboard.csv", "mlflow ui"):
        assert part in result.stdout
    assert result.stderr == ""


def test_the_address_may_come_from_the_environment(launch, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    run("search", "search.yaml")
    assert launch.calls[0][1]["address"] == "10.0.0.1:6379"


def test_search_warns_of_what_is_odd(launch):
    result = run("search", "search.yaml", "--set", "budget.max_epochs=5", "--set", "scheduler.grace_epochs=5")
    assert "(scheduler.grace_epochs, 5) is not below budget.max_epochs (5): no trial" in result.stdout
    result = run("search", "search.yaml", "--set", "space={loss: {name: [dice, iou]}}")
    assert "warning: space has only 2 points, and none is trained twice" in result.stdout
    assert "small: 2 trials, 30 epochs" in result.stdout


def test_train_runs_one_trial(launch):
    result = run("train", "--set", "dataset.layout=synthetic", "--set", "loss.name=iou")
    assert result.exit_code == 0
    config, options = launch.calls[0]
    assert config.budget.trials == 1
    assert config.name.startswith("train-deeplabv3plus-iou-")
    assert (options["resume"], options["address"]) == (False, None)


def test_all_failed_is_one(launch):
    launch.outcome = Outcome([trial(0, "failed")])
    assert run("search", "search.yaml").exit_code == 1


def test_sync_prints_its_summary(launch):
    result = run("sync", "search.yaml")
    assert (result.exit_code, result.stdout) == (0, "small: nothing was missing\n")


def test_the_bar_comes_with_the_first_image_and_goes_with_the_last():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with ImageProgress("decoding", console) as progress:
        assert console.file.getvalue() == ""
        progress(1, 3)
        progress(3, 3)
        shown = console.file.getvalue()
    assert "decoding" in shown
    assert console.file.getvalue() == shown
