"""A user's mistake gives a message that says the rule, the value and the remedy, exit code 2, and writes nothing."""

import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aerosweep.cli import app

SEARCH = "name: small\ndataset: {layout: synthetic}\n"
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "search.yaml").write_text(SEARCH)


@pytest.fixture(autouse=True)
def _nothing_starts(monkeypatch):
    """A launch would be a test that failed: the mistake was not seen."""
    launch = types.ModuleType("search.run.launch")

    def refuse(*args, **kwargs):
        raise AssertionError("the search was started")

    projections = types.ModuleType("search.project.search_projections")
    launch.run_search = projections.sync_search = refuse
    monkeypatch.setitem(sys.modules, "search.run.launch", launch)
    monkeypatch.setitem(sys.modules, "search.project.search_projections", projections)


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(*arguments):
    """The message of a refused command line, having checked what holds for all of them."""
    before = sorted(Path.cwd().rglob("*"))
    result = run(*arguments)
    assert result.exit_code == 2, (result.output, result.exception)
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert sorted(Path.cwd().rglob("*")) == before, "something was written"
    return result.stderr


FILES = {
    "no name": ("dataset: {layout: synthetic}\n", r"error: name must be given; got none \(bad\.yaml\)\. Add name"),
    "no dataset": ("name: x\n", r"error: dataset must be given; got none \(bad\.yaml\)\. Add dataset"),
    "empty dataset": (
        "name: x\ndataset:\n",
        r"error: dataset must be given; got none \(bad\.yaml line 2, column 1\)",
    ),
    "scalar for a section": (
        f"{SEARCH}budget: 60\n",
        r"error: budget must be a mapping of keys to values; got 60 \(bad\.yaml line 3, column 1\)",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_a_bad_file_is_refused(case):
    text, message = FILES[case]
    Path("bad.yaml").write_text(text)
    assert re.search(message, refused("search", "bad.yaml"), re.DOTALL)


OVERRIDES = {
    "unknown key": (
        ["budget.trails=3"],
        r"budget\.trails is not a key of the config; got 3 \(--set budget\.trails=3\)\. Did you mean budget\.trials\? "
        r"The keys of budget are trials, max_epochs, hours\.",
    ),
    "unknown key at the top": (
        ["epochs=3"],
        r"epochs is not a key.*Did you mean budget\.max_epochs\? The keys at the top level are name,",
    ),
    "unknown key of the space": (
        ["space.loss.aplha=1"],
        r"space\.loss\.aplha is not a key.*Did you mean space\.loss\.alpha\?",
    ),
    "unknown section of the space": (
        ["space.losses.name=dice"],
        r"space\.losses is not a key.*Did you mean space\.loss\?",
    ),
    "section without space": (["loss.name=dice"], r"loss is not a key.*Did you mean space\.loss\?"),
    "text for a number": (["budget.trials=many"], r"budget\.trials must be a whole number; got 'many'"),
    "fraction for a whole number": (["budget.trials=1.5"], r"budget\.trials must be a whole number; got 1\.5"),
    "zero trials": (["budget.trials=0"], r"budget\.trials must be at least 1; got 0 .*Raise it"),
    "zero hours": (["budget.hours=0"], r"budget\.hours must be above 0; got 0"),
    "endless hours": (["budget.hours=.inf"], r"budget\.hours must be a finite number; got inf"),
    "negative seed": (["seed=-1"], r"seed must be at least 0; got -1"),
    "an objective that falls": (
        ["objective=[thing_miss_rate, miou]"],
        r"objective must begin with one that grows: .*; got 'thing_miss_rate'.*or use thing_recall",
    ),
    "unknown objective": (
        ["objective=mIoU"],
        r"objective must be one of miou, thing_miou, .* of a class .*; got 'mIoU'.*Did you mean miou\?",
    ),
    "unknown loss": (
        ["space.loss.name=tverski"],
        r"space\.loss\.name must be one of cross_entropy, .*; got 'tverski'.*Did you mean tversky\?",
    ),
    "custom loss": (["space.loss.name=pkg.mod.Class"], r"space\.loss\.name must be one of .*; got 'pkg\.mod\.Class'"),
    "tversky without beta": (["space.loss={name: tversky, alpha: 0.5}"], r"loss\.name tversky needs space\.loss\.beta"),
    "alpha under dice": (
        ["space.loss={name: dice, alpha: 0.5}"],
        r"space\.loss\.alpha exists only under tversky, or compound with tversky; got space\.loss\.name \['dice'\]",
    ),
    "alpha and beta at zero": (
        ["space.loss={name: tversky, alpha: 0, beta: {low: 0, high: 1}}"],
        r"alpha and space\.loss\.beta must not both reach 0",
    ),
    "range upside down": (
        ["space.loss={name: focal, focal_gamma: {low: 3, high: 1}}"],
        r"focal_gamma must have low below high",
    ),
    "range without high": (
        ["space.optimizer.learning_rate={low: 3}"],
        r"learning_rate as a range reads \{low, high\[, log\]\}",
    ),
    "log range from zero": (
        ["space.optimizer.weight_decay={low: 0, high: 1, log: true}"],
        r"weight_decay on a log scale must begin above 0",
    ),
    "range of names": (
        ["space.model.encoder={low: a, high: b}"],
        r"encoder is searched in a list of values, not in a range",
    ),
    "empty choice": (["space.model.encoder=[]"], r"space\.model\.encoder must name at least one value"),
    "doubled choice": (["space.model.encoder=[a, a]"], r"space\.model\.encoder must not name a value twice"),
    "null in the space": (["space.data.crop=null"], r"space\.data\.crop must be a value; got null"),
    "odd crop": (
        ["space.data.crop=500x500"],
        r"space\.data\.crop must have sides that are multiples of 32.*; got '500x500'",
    ),
    "crop that is no size": (["space.data.crop=512"], r"space\.data\.crop must read HEIGHTxWIDTH in pixels.*; got 512"),
    "no image a batch": (["space.data.batch_size=[0, 8]"], r"space\.data\.batch_size must be at least 1; got 0"),
    "an empty number": (
        ["budget.trials="],
        r"budget\.trials must be a whole number; got null .*Give it a value, or remove budget\.trials",
    ),
    "NaN": (
        ["space.optimizer.learning_rate=.nan"],
        r"space\.optimizer\.learning_rate must be a finite number; got nan",
    ),
    "scales that cross": (
        ["space.data.scale_min={low: 0.5, high: 2}"],
        r"scale_min must nowhere exceed space\.data\.scale_max; got up to 2 and down to 1\.5",
    ),
    "warm-up without end": (
        ["space.optimizer.warmup_epochs=5", "budget.max_epochs=5"],
        r"warmup_epochs must be below budget\.max_epochs \(5\); got 5",
    ),
    "baseline outside of the space": (
        ["space.loss.name=[dice, iou]", "baselines=[{loss: {name: focal}}]"],
        r"baselines\[0\] must lie in the space.*got loss\.name=focal",
    ),
    "unknown baselines": (["baselines=all"], r"baselines must be seed, strong, none or a list of points; got 'all'"),
    "one and a half GPUs": (
        ["resources.gpus_per_trial=1.5"],
        r"resources\.gpus_per_trial must be at most 1: a trial trains on one GPU, others would idle; got 1\.5 ",
    ),
    "two GPUs": (
        ["resources.gpus_per_trial=2"],
        r"resources\.gpus_per_trial must be at most 1: .*; got 2 .*Set resources\.gpus_per_trial=1: a search fills",
    ),
    "two and a half cores": (
        ["resources.cpus_per_trial=2.5"],
        r"resources\.cpus_per_trial must be a whole number, or below 1",
    ),
    "no core": (["resources.cpus_per_trial=0"], r"resources\.cpus_per_trial must be a number above 0 or auto; got 0"),
    "every GPU": (
        ["resources.gpus_per_trial=all"],
        r"resources\.gpus_per_trial must be a number from 0 to 1, or auto; got 'all'",
    ),
    "a name with a slash": (["name=a/b"], r"name must begin with a letter or digit.*; got 'a/b'"),
    "a bucket without a tracker": (
        ["storage=s3://bucket/x"],
        r"tracking\.uri must be given when storage is no local path \(s3://bucket/x\)",
    ),
    "an unknown file system": (
        ["storage=s4://bucket/x"],
        r"storage must be a path or the URL of a folder in a file system that fsspec knows; got 's4://bucket/x'",
    ),
    "storage that is a file": (["storage=search.yaml"], r"storage must be a folder; got the file"),
    "a layout without its root": (
        ["dataset={layout: aeroscapes}"],
        r"dataset\.layout aeroscapes needs dataset\.root; got none .*Give the folder",
    ),
    "an unknown layout": (
        ["dataset={layout: aeroscape}"],
        r"dataset\.layout must be one of aeroscapes, described, synthetic; got 'aeroscape'.*Did you mean aeroscapes\?",
    ),
    "a share of everything": (["dataset.dev_share=1"], r"dataset\.dev_share must be below 1; got 1"),
    "an unknown precision": (
        ["runtime.precision=int8"],
        r"runtime\.precision must be one of auto, fp32, bf16, fp16; got 'int8'",
    ),
    "text for yes or no": (["runtime.compile=maybe"], r"runtime\.compile must be true or false; got 'maybe'"),
    "no equals sign": (["seed"], r"--set must read KEY=VALUE, the key dotted; got 'seed'"),
    "no key": (["=3"], r"--set must read KEY=VALUE, the key dotted; got '=3'"),
    "value that is no YAML": (
        ["space.model.encoder=[a"],
        r"--set space\.model\.encoder=\[a line 1, column \d+ must be YAML",
    ),
    "key below a value": (
        ["name.first=x"],
        r"name must be a mapping for name\.first to be set; got 'small' \(--set name\.first=x\)",
    ),
}


@pytest.mark.parametrize("case", OVERRIDES)
def test_a_bad_override_is_refused(case):
    overrides, message = OVERRIDES[case]
    assert re.search(message, refused("search", "search.yaml", *(f"--set={text}" for text in overrides)), re.DOTALL)


def test_sync_reads_its_config_as_search_does():
    assert "budget.trials must be at least 1" in refused("sync", "search.yaml", "--set", "budget.trials=0")


TRAIN = {
    "space": (
        ["space.loss.name=dice"],
        r"train takes no space; got .*write model, loss, optimizer and data at the top level",
    ),
    "trials": (["budget.trials=3"], r"train takes no budget\.trials; got 3.*train runs one trial"),
    "baselines": (["baselines=seed"], r"train takes no baselines"),
    "list": (
        ["loss.name=[dice, iou]"],
        r"loss\.name must be one of .*; got \['dice', 'iou'\].*Give one of them, not a list",
    ),
    "range": (
        ["optimizer.learning_rate={low: 1, high: 2}"],
        r"optimizer\.learning_rate must be a number; got \{'low': 1, 'high': 2\}",
    ),
    "missing parameter": (
        ["loss.name=focal"],
        r"loss\.name focal needs loss\.focal_gamma; got none .*Add --set loss\.focal_gamma=VALUE",
    ),
    "foreign parameter": (
        ["loss.alpha=1"],
        r"loss\.alpha exists only under tversky, or compound with tversky; got loss\.name cross_entropy .*Remove it",
    ),
    "zero": (["loss={name: tversky, alpha: 0, beta: 0}"], r"loss\.alpha \+ loss\.beta must be above 0"),
    "warm-up": (
        ["optimizer.warmup_epochs=30"],
        r"optimizer\.warmup_epochs must be below budget\.max_epochs \(30\); got 30",
    ),
    "crop": (["data.crop=33x33"], r"data\.crop must have sides that are multiples of 32"),
    "misspelled": (["optimiser.learning_rate=1"], r"optimiser is not a key.*Did you mean optimizer\?"),
}


@pytest.mark.parametrize("case", TRAIN)
def test_a_bad_training_is_refused(case):
    overrides, message = TRAIN[case]
    arguments = [f"--set={text}" for text in ["dataset.layout=synthetic", *overrides]]
    assert re.search(message, refused("train", *arguments), re.DOTALL)


def test_train_needs_a_dataset():
    assert "error: dataset must be given; got none. Add dataset to the config, or --set dataset" in refused("train")


DATA = {
    "nothing": (["check"], r"dataset must be given"),
    "misspelled section": (
        ["check", "--set", "datset.layout=synthetic"],
        r"datset is not a key.*Did you mean dataset\?",
    ),
    "both": (
        ["check", "search.yaml", "--description", "set.yaml"],
        r"--description takes the place of CONFIG and --set; got both",
    ),
    "root alone": (["stats", "search.yaml", "--root", "x"], r"--root goes with --description; got x"),
    "no description": (["stats", "--description", "nowhere.yaml"], r"nowhere\.yaml"),
    "no root": (["stats", "--set", "dataset={layout: aeroscapes, root: nowhere}"], r"nowhere"),
    "csv in no folder": (
        ["stats", "search.yaml", "--csv", "nowhere/x.csv"],
        r"--csv must be a file in a folder that exists",
    ),
    "too few images": (
        ["synthesize", "made", "--images", "3"],
        r"dataset\.images must be at least 40; got 3 \(--images 3\)",
    ),
    "small images": (
        ["synthesize", "made", "--size", "8x8"],
        r"both sides of dataset\.size must lie in 64\.\.\d+; got 8x8 \(--size 8x8\)",
    ),
    "size that is none": (["synthesize", "made", "--size", "big"], r"must be HEIGHTxWIDTH in pixels; got 'big'"),
    "folder with something in it": (["synthesize", "."], r"FOLDER must be new or empty"),
    "file for a folder": (["synthesize", "search.yaml"], r"FOLDER must be new or empty"),
}


@pytest.mark.parametrize("case", DATA)
def test_a_bad_data_command_is_refused(case):
    arguments, message = DATA[case]
    assert re.search(message, refused("data", *arguments), re.DOTALL)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search"], "Missing argument"),
        (["serach", "x"], "No such command"),
        (["search", "search.yaml", "--resum"], "No such option"),
        (["data", "synthesize", "made", "--images", "many"], "Invalid value"),
    ],
)
def test_a_bad_command_line_is_refused(arguments, message):
    assert message in refused(*arguments)


def test_ctrl_c_is_no_traceback(monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["search.run.launch"], "run_search", interrupted)
    result = run("search", "search.yaml")
    assert result.exit_code == 130
    assert result.stderr == "interrupted\n"


def test_a_mistake_that_only_the_launch_can_see_ends_the_same_way(monkeypatch):
    from trainable.errors import InputError

    def refuse(*args, **kwargs):
        raise InputError("dataset.root must be a folder", "nowhere", "Mend the path")

    monkeypatch.setattr(sys.modules["search.run.launch"], "run_search", refuse)
    result = run("search", "search.yaml")
    assert result.exit_code == 2
    assert result.stderr == "error: dataset.root must be a folder; got nowhere. Mend the path.\n"


def test_the_real_process_ends_with_two_and_one_line(tmp_path):
    command = [
        sys.executable,
        "-m",
        "aerosweep",
        "search",
        str(tmp_path / "search.yaml"),
        "--set",
        "seed=-1",
        "--output",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "error: seed must be at least 0; got -1 (--set seed=-1). Raise it.\n"
    assert not (tmp_path / "out").exists()
