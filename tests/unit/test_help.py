"""`--help` reads well, has an example that parses, and is there at once."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from aerosweep.cli import app

ROOT = Path(__file__).parents[2]
COMMANDS = [
    ["search"],
    ["train"],
    ["confirm"],
    ["leaderboard"],
    ["sync"],
    ["data", "check"],
    ["data", "stats"],
    ["data", "synthesize"],
    ["submit"],
    ["job", "status"],
    ["job", "logs"],
    ["job", "stop"],
    ["server"],
    ["supervise"],
]


def help_of(*command):
    result = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "120", "NO_COLOR": "1"})
    assert result.exit_code == 0, result.output
    return result.stdout


def test_every_command_is_listed_with_what_it_does():
    text = help_of()
    for name in ("search", "train", "confirm", "leaderboard", "sync", "data", "submit", "job", "server"):
        assert re.search(rf"\b{name} +[A-Z]", text)
    assert "supervise" not in text
    assert re.search(r"\bsynthesize +[A-Z]", help_of("data"))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_a_purpose_and_an_example_that_parses(command):
    text = help_of(*command)
    example = " ".join(re.search(r"Example: (aerosweep .*)", text, re.DOTALL)[1].split())
    program, *arguments = shlex.split(example)
    assert program == "aerosweep"
    assert arguments[: len(command)] == command
    parser = get_command(app)
    for name in command:
        parser = parser.commands[name]
    parser.make_context("x", arguments[len(command) :])  # raises where an option does not exist


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_option_is_explained_to_users_not_developers(command):
    text = help_of(*command)
    assert "Args:" not in text
    parser = get_command(app)
    for name in command:
        parser = parser.commands[name]
    assert all(getattr(parameter, "help", None) for parameter in parser.params)


def test_the_options_of_the_design_are_there():
    for command in ("search", "train"):
        text = help_of(command)
        assert all(option in text for option in ("--set", "--output", "--resume", "--address"))
    assert "--resume" not in help_of("sync")


def test_the_example_of_train_is_a_valid_config():
    from search.config.config_file import load_train_config

    text = help_of("train")
    example = shlex.split(" ".join(re.search(r"Example: aerosweep (.*)", text, re.DOTALL)[1].split()))
    overrides = [example[place + 1] for place, word in enumerate(example) if word == "--set"]
    assert load_train_config(None, overrides, None).parsed_space.domains["loss.alpha"].value == 0.7


def test_the_version_is_that_of_the_package():
    from importlib.metadata import version

    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"aerosweep {version('aerosweep')}\n")


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from aerosweep import cli; sys.argv = ['aerosweep', '--help']\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'ray', 'mlflow', 'optuna', 'pandas', 'numpy', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[]"
