"""A config that cannot be meant is refused: the rule, the value with its line and column, and the remedy."""

import os
import re
import sys
import tempfile
import types
from contextlib import contextmanager
from pathlib import Path

import pytest

from trainable.config.loss_registry import LOSS_NAMES

SEARCH = "name: small\ndataset: {layout: synthetic}\n"
MEND = "Mend it there, or a little above"
QUOTES = "Put it into quotes"
ONE_OF_THEM = "Choose one of them"
NUMBER = "Give a number"
WHOLE = "Give a whole number"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _nothing_starts(monkeypatch):
    """A launch would be a test that failed: the mistake was not seen."""

    def refuse(*args, **kwargs):
        raise AssertionError("the search was started")

    launch = types.ModuleType("search.run.launch")
    launch.run_search = refuse
    monkeypatch.setitem(sys.modules, "search.run.launch", launch)


def at(line, column):
    return rf"bad\.yaml line {line}, column {column} must be YAML"


NO_YAML = {
    "an unclosed bracket": (
        "name: x\nspace: {a: [1, 2}\n", at(2, 17), r"while parsing a flow sequence: expected ',' or '\]', but got '}'",
        MEND,
    ),
    "an unclosed quote": (
        'name: "x\nseed: 3\n', at(3, 1), "while scanning a quoted scalar: found unexpected end of stream", MEND
    ),
    "a tab": (
        "name: x\nbudget:\n\ttrials: 3\n", at(3, 1),
        r"while scanning for the next token: found character '\\t' that cannot start any token", MEND,
    ),
    "a colon in a value": (
        "name: x\nstorage: a: b\n", at(2, 11), "mapping values are not allowed here", MEND,
    ),
    "a wrong indent": (
        "budget:\n  trials: 3\n hours: 2\n", at(3, 2),
        "while parsing a block mapping: expected <block end>, but found '<block mapping start>'", MEND,
    ),
    "a second document": (
        f"{SEARCH}---\n{SEARCH}", at(3, 1), "expected a single document in the stream: found another document", MEND
    ),
    "a doubled key": (f"{SEARCH}seed: 1\nseed: 2\n", at(4, 1), "the key 'seed' is given twice", MEND),
    "a doubled key in a section": (
        f"{SEARCH}budget: {{trials: 3, trials: 4}}\n", at(3, 21), "the key 'trials' is given twice", MEND
    ),
    "a number as a key": (f"{SEARCH}1: 2\n", at(3, 1), "the key '1', which reads as 1 and not as text", QUOTES),
    "a yes as a key": (f"{SEARCH}yes: 2\n", at(3, 1), "the key 'yes', which reads as true and not as text", QUOTES),
    "a decimal comma": (
        f"{SEARCH}budget: {{hours: 1,5}}\n", at(3, 19), "the key '5', which reads as 5 and not as text", QUOTES
    ),
    "a list as a key": (
        f"{SEARCH}[a, b]: 2\n", at(3, 1), "while constructing a mapping: found unhashable key", MEND
    ),
    "code": (
        'name: !!python/object/apply:os.mkdir ["made"]\n', at(1, 7),
        "could not determine a constructor for the tag 'tag:yaml.org,2002:python/object/apply:os.mkdir'", MEND,
    ),
    "a tag that its value does not fit": (f"{SEARCH}seed: !!bool 3\n", at(3, 7), "'3', which is no bool", MEND),
    "an alias of nothing": (f"{SEARCH}seed: *x\n", at(3, 7), "found undefined alias 'x'", MEND),
    "a recursion": (
        "a: &a {b: *a}\n", r"bad\.yaml must be YAML", "nesting without an end", "Remove the alias, or the nesting"
    ),
    "a control character": (
        "name: a\x00b\n", at(1, 8), r"the control character '\\x00'", "Remove it there"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_YAML)
def test_what_is_no_yaml_is_refused_with_its_line_and_column(case, refused, require_one_problem):
    text, rule, value, remedy = NO_YAML[case]
    Path("bad.yaml").write_text(text)
    require_one_problem(refused("search", "bad.yaml"), rule, value, remedy)


NO_MAPPING = {
    "an empty file": ("", "an empty file"),
    "a comment": ("# nothing yet\n", "an empty file"),
    "a list": ("- a\n- b\n", r"list \['a', 'b'\]"),
    "a word": ("hello\n", "str 'hello'"),
}


@pytest.mark.parametrize("case", NO_MAPPING)
def test_what_is_no_mapping_is_refused(case, refused, require_one_problem):
    text, value = NO_MAPPING[case]
    Path("bad.yaml").write_text(text)
    rule = r"bad\.yaml must hold a mapping of keys to values"
    require_one_problem(refused("search", "bad.yaml"), rule, value, "Write KEY: VALUE lines")


def test_what_is_no_text_file_is_refused(refused, require_one_problem):
    Path("folder").mkdir()
    Path("image.png").write_bytes(b"\x89PNG\r\n\x1a\n\xff")
    Path("latin.yaml").write_bytes("name: x  # für\n".encode("latin-1"))
    readable = "the config must be a readable YAML file"
    require_one_problem(
        refused("search", "nowhere.yaml"), "the config must be a YAML file", r"nowhere\.yaml, which does not exist",
        "Check the path",
    )  # fmt: skip
    require_one_problem(refused("search", "folder"), readable, "folder: Is a directory", "Check the path")
    for name in ("image.png", "latin.yaml"):
        require_one_problem(
            refused("search", name), readable, f"{name}: it is not UTF-8 text", "Check the path, or save it as UTF-8"
        )


NAME = "name must begin with a letter or digit and go on with letters, .* 100 at the most"
RENAME = r"Rename it \(it names a folder\); a name of digits only needs quotes"
OBJECTIVE = r"objective must be one of miou, thing_miou, .* of a class \(recall/person\)"
LOSS = f"must be one of {', '.join(LOSS_NAMES)}, or your own as package.module:Class"
ARCHITECTURE = r"space\.model\.architecture must be one of unet, .* dpt, or your own as package.module:Class"
FOLDER = "Give a folder, new or not"

VALUES = {
    # unknown keys at every depth
    "an unknown section": (
        "budgets: {trials: 3}", 1, r"budgets is not a key of the config", r"\{'trials': 3\}",
        r"Did you mean budget\? The keys at the top level are name, .*",
    ),
    "an unknown key": (
        "budget: {trails: 3}", 10, r"budget\.trails is not a key of the config", "3",
        r"Did you mean budget\.trials\? The keys of budget are trials, max_epochs, hours",
    ),
    "a key of another section": (
        "budget: {grace_epochs: 3}", 10, r"budget\.grace_epochs is not a key of the config", "3",
        r"Did you mean scheduler\.grace_epochs\? The keys of budget are .*",
    ),
    "an unknown key of the space": (
        "space: {loss: {aplha: 3}}", 16, r"space\.loss\.aplha is not a key of the config", "3",
        r"Did you mean space\.loss\.alpha\? The keys of space\.loss are name, .*",
    ),
    "an unknown key of a range": (
        "space: {optimizer: {learning_rate: {min: 1, max: 2}}}", 21,
        r"space\.optimizer\.learning_rate as a range reads \{low, high\[, log\]\}", r"\{'min': 1, 'max': 2\}",
        r"Write for example \{low: 0.1, high: 1.0\}",
    ),
    "a dotted key": (
        "budget.trials: 3", 1, r"budget\.trials must be nested in the file: only --set takes dotted keys", "3",
        r"Write budget: \{trials: ...\}",
    ),
    # ranges and choices
    "a reversed range": (
        "space: {optimizer: {weight_decay: {low: 0.1, high: 0.01}}}", 21,
        r"space\.optimizer\.weight_decay must have low below high", r"\{'low': 0.1, 'high': 0.01\}",
        "Swap them, or give a scalar to fix it",
    ),
    "an empty range": (
        "space: {optimizer: {weight_decay: {low: 0.1, high: 0.1}}}", 21,
        r"space\.optimizer\.weight_decay must have low below high", r"\{'low': 0.1, 'high': 0.1\}",
        "Swap them, or give a scalar to fix it",
    ),
    "a log range from 0": (
        "space: {optimizer: {weight_decay: {low: 0, high: 1, log: true}}}", 21,
        r"space\.optimizer\.weight_decay on a log scale must begin above 0", "0.0", "Raise low, or remove log",
    ),
    "no choice": (
        "space: {model: {encoder: []}}", 17, r"space\.model\.encoder must name at least one value", r"\[\]",
        "Give a list of values, or a scalar",
    ),
    "a doubled choice": (
        "space: {data: {batch_size: [4, 4.0]}}", 16, r"space\.data\.batch_size must not name a value twice",
        r"\[4, 4.0\]", "Remove the double",
    ),
    # numbers
    "no trial": ("budget: {trials: 0}", 10, r"budget\.trials must be at least 1", "0", "Raise it"),
    "negative epochs": ("budget: {max_epochs: -3}", 10, r"budget\.max_epochs must be at least 1", "-3", "Raise it"),
    "no hour": ("budget: {hours: 0}", 10, r"budget\.hours must be above 0", "0", "Raise it"),
    "nothing to confirm": ("confirm: {top: 0}", 11, r"confirm\.top must be at least 1", "0", "Raise it"),
    "nothing at once": (
        "resources: {max_concurrent: 0}", 13, r"resources\.max_concurrent must be at least 1", "0", "Raise it"
    ),
    "less than Ray counts": (
        "resources: {cpus_per_trial: 1e-9}", 13,
        r"resources\.cpus_per_trial must be 0.0001 or above, the least that Ray counts", "1e-09", "Raise it",
    ),
    "a negative seed": ("seed: -1", 1, "seed must be at least 0", "-1", "Raise it"),
    "a seed of more than 32 bits": ("seed: 4294967297", 1, "seed must be at most 2147483648", "4294967297", "Lower it"),
    "a grace period beyond the end": (
        "budget: {max_epochs: 8}\nscheduler: {grace_epochs: 9}", (4, 13),
        r"scheduler\.grace_epochs must be at most budget\.max_epochs \(8\)", "9",
        "Lower it, or train longer; where the two are the same, no trial is stopped early",
    ),
    "alpha and beta at 0": (
        "space: {loss: {name: tversky, alpha: 0, beta: 0}}", 31,
        r"space\.loss\.alpha and space\.loss\.beta must not both reach 0", "0 and 0", "Raise one of them: .*",
    ),
    "NaN": (
        "space: {optimizer: {learning_rate: .nan}}", 21, r"space\.optimizer\.learning_rate must be a finite number",
        "nan", "Give a number that is neither infinite nor NaN",
    ),
    "an endless budget": (
        "budget: {hours: .inf}", 10, r"budget\.hours must be a finite number", "inf",
        "Give a number that is neither infinite nor NaN",
    ),
    # types, and what YAML makes of words and numbers
    "a word for a number": ("budget: {trials: many}", 10, r"budget\.trials must be a whole number", "'many'", WHOLE),
    "an empty value": (
        "budget: {trials: }", 10, r"budget\.trials must be a whole number", "null",
        r"Give it a value, or remove budget\.trials",
    ),
    "yes for a number": ("budget: {hours: yes}", 10, r"budget\.hours must be a number", "true", r"Mend budget\.hours"),
    "yes for a number of the space": (
        "space: {optimizer: {learning_rate: on}}", 21, r"space\.optimizer\.learning_rate must be a number", "true",
        NUMBER,
    ),
    "yes for a weight of the loss": (
        "space: {loss: {name: tversky, alpha: yes, beta: 1}}", 31, r"space\.loss\.alpha must be a number", "true",
        NUMBER,
    ),
    "no for a file of weights": (
        "space: {model: {encoder_weights: no}}", 17, r"space\.model\.encoder_weights must be text", "false",
        "Write it as text, in quotes if need be",
    ),
    "hours and minutes": ("budget: {hours: 12:30}", 10, r"budget\.hours must be a number", "'12:30'", NUMBER),
    "a hexadecimal number": ("seed: 0x10", 1, "seed must be a whole number", "'0x10'", WHOLE),
    "a small number for a whole one": ("seed: 1e-3", 1, "seed must be a whole number", "0.001", WHOLE),
    "a date": ("seed: 2025-01-31", 1, "seed must be a whole number", "'2025-01-31'", WHOLE),
    "text for a section": (
        "space: {loss: dice}", 9, r"space\.loss must be a mapping of keys to values", "'dice'",
        r"Write KEY: VALUE lines below it, or \{KEY: VALUE\}",
    ),
    "NaN for an option": (
        "space: {loss: {name: 'json:JSONDecoder', options: {strict: .nan}}}", 52,
        r"space\.loss\.options\.strict must be text, a finite number, true or false, or a list or range of them", "nan",
        "Give it such a value",
    ),
    "options of nobody": (
        "space: {loss: {options: {a: 1}}}", 26,
        r"space\.loss\.options\.a must be a keyword argument of a class that space\.loss\.name names",
        r"\['cross_entropy'\]", "Remove it, or name your own class",
    ),
    # names
    "an unknown architecture": (
        "space: {model: {architecture: [unet, Deeplabv3+]}}", 17, ARCHITECTURE, r"'Deeplabv3\+'",
        rf"Did you mean deeplabv3plus\? {ONE_OF_THEM}",
    ),
    "an unknown loss": (
        "space: {loss: {name: tverski}}", 16, rf"space\.loss\.name {LOSS}", "'tverski'",
        rf"Did you mean tversky\? {ONE_OF_THEM}",
    ),
    "an unknown term of a loss": (
        "space: {loss: {name: compound, pixel: foca}}", 32, r"space\.loss\.pixel must be one of cross_entropy, focal",
        "'foca'", rf"Did you mean focal\? {ONE_OF_THEM}",
    ),
    "an unknown objective": ("objective: mIoU", 1, OBJECTIVE, "'mIoU'", rf"Did you mean miou\? {ONE_OF_THEM}"),
    "an objective of no class": ("objective: recall/", 1, OBJECTIVE, "'recall/'", "Mend objective"),
    "an unknown precision": (
        "runtime: {precision: int8}", 11, r"runtime\.precision must be one of auto, fp32, bf16, fp16", "'int8'",
        ONE_OF_THEM,
    ),
    "fp16 without a GPU": (
        "runtime: {precision: fp16}\nresources: {gpus_per_trial: 0}", 11, r"runtime\.precision fp16 needs a GPU",
        r"resources\.gpus_per_trial 0", r"Set runtime\.precision to auto, bf16 or fp32, or give the trials a GPU",
    ),
    # sizes
    "a crop that no encoder takes": (
        "space: {data: {crop: 100x100}}", 16, r"space\.data\.crop must have sides that are multiples of 32 .*",
        "'100x100'", r"Mend space\.data\.crop",
    ),
    "a crop that is no size": (
        "space: {data: {crop: [64, 64]}}", 16, r"space\.data\.crop must read HEIGHTxWIDTH in pixels, such as 512x512",
        "64", r"Mend space\.data\.crop",
    ),
    # baselines
    "a baseline outside of the space": (
        "space: {loss: {name: [dice, iou]}}\nbaselines: [{loss: {name: focal}}]", (4, 1),
        r"baselines\[0\] must lie in the space, and space\.loss\.name is one of \['dice', 'iou'\]", "loss.name=focal",
        r"Widen space\.loss\.name, or .*",
    ),
    "a baseline between whole numbers": (
        "space: {data: {batch_size: {low: 2, high: 8}}}\nbaselines: [{data: {batch_size: 2.5}}]", (4, 1),
        r"baselines\[0\] must lie in the space, and space\.data\.batch_size is a whole number of 2..8",
        r"data\.batch_size=2.5", r"Widen space\.data\.batch_size, or .*",
    ),
    "a baseline with an unknown key": (
        "space: {loss: {name: [dice, iou]}}\nbaselines: [{loss: {naem: dice}}]", (4, 1),
        r"baselines\[0\] must name keys of a space", r"loss\.naem: 'dice'",
        r"Did you mean loss\.name\? The keys of loss are name, .*",
    ),
    "a baseline with an unknown section": (
        "baselines: [{los: {name: dice}}]", 1, r"baselines\[0\] must name keys of a space", r"los\.name: 'dice'",
        r"Did you mean loss\? The keys at the top level are model, loss, optimizer, data",
    ),
    # places
    "storage that is a file": ("storage: bad.yaml", 1, "storage must be a folder", r"the file '.*/bad\.yaml'", FOLDER),
    "storage below a file": ("storage: bad.yaml/x", 1, "storage must be a folder", r"the file '.*/bad\.yaml'", FOLDER),
    "storage of nobody": (
        "storage: ~no-such-user/runs", 1, "storage must be a path",
        "'~no-such-user/runs': Could not determine home directory", "Mend the path",
    ),
    "storage with too long a name": (
        f"storage: {'a' * 300}", 1, "storage must be a path", r"'a+\.\.\.: File name too long", "Mend the path"
    ),
    "a bucket without a name": (
        "storage: s3://\ntracking: {uri: http://tracker}", 1,
        "storage must be a path or the URL of a folder in a file system that fsspec knows", "'s3://'",
        "Give a path, or for example s3://bucket/searches",
    ),
    "a bucket with one slash": (
        "storage: s3:/bucket\ntracking: {uri: http://tracker}", 1,
        "storage must be a path or the URL of a folder in a file system that fsspec knows", "'s3:/bucket'",
        "Give a path, or for example s3://bucket/searches",
    ),
    "a cache that is a file": (
        "resources: {cache_dir: bad.yaml}", 13, r"resources\.cache_dir must be a folder", r"the file '.*/bad\.yaml'",
        FOLDER,
    ),
    "an empty tracker": (
        "tracking: {uri: ''}", 12, r"tracking\.uri must not be empty", "''", "Give it a value, or remove the key"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", VALUES)
def test_a_bad_value_is_refused_with_its_line_and_column(case, refused, require_one_problem):
    text, place, rule, value, remedy = VALUES[case]
    Path("bad.yaml").write_text(f"{SEARCH}{text}\n")
    line, column = place if isinstance(place, tuple) else (3, place)
    placed = rf"{value} \(bad\.yaml line {line}, column {column}\)"
    require_one_problem(refused("search", "bad.yaml"), rule, placed, remedy)


@pytest.mark.parametrize("name", ["a/b", "..", "../up", "''", "-x", "a b", "a" * 101, "7", "no", "null"])
def test_a_name_that_is_no_name_for_a_folder_is_refused(name, refused, require_one_problem):
    Path("bad.yaml").write_text(f"dataset: {{layout: synthetic}}\nname: {name}\n")
    require_one_problem(refused("search", "bad.yaml"), NAME, r".* \(bad\.yaml line 2, column 1\)", RENAME)


def test_a_storage_that_has_a_file_in_the_searchs_place_is_refused(refused, require_one_problem):
    Path("bad.yaml").write_text(f"{SEARCH}storage: .\n")
    Path("small").write_text("not a folder")
    value = r"the file '.*/small' \(bad\.yaml line 3, column 1\)"
    require_one_problem(refused("search", "bad.yaml"), "storage must be a folder", value, FOLDER)


@pytest.mark.parametrize("command", ["search", "train"])
def test_a_root_in_the_home_of_nobody_is_refused(command, refused, require_one_problem):
    name = "name: x\n" if command == "search" else ""
    Path("bad.yaml").write_text(f"{name}dataset:\n  layout: aeroscapes\n  root: ~no-such-user/set\n")
    value = rf"'~no-such-user/set': Could not .* \(bad\.yaml line {4 if name else 3}, column 3\)"
    require_one_problem(refused(command, "bad.yaml"), r"dataset\.root must be a path", value, "Mend the path")


def test_a_mistake_made_on_the_command_line_is_placed_there(refused, require_one_problem):
    Path("bad.yaml").write_text(f"{SEARCH}space: {{optimizer: {{weight_decay: 0.1}}}}\n")
    printed = refused("search", "bad.yaml", "--set", "space.optimizer.learning_rate.min=3")
    value = r"\{'min': 3\} \(--set space\.optimizer\.learning_rate\.min=3\)"
    remedy = r"Write for example \{low: 0.1, high: 1.0\}"
    require_one_problem(printed, r"space\.optimizer\.learning_rate as a range reads .*", value, remedy)


@contextmanager
def as_nobody():
    """Work as somebody who may not write everywhere, as root may."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_folders_in_which_nothing_may_be_made_are_refused(monkeypatch, refused):
    with tempfile.TemporaryDirectory() as name:  # pytest's own is for its owner alone
        place = Path(name)
        place.chmod(0o755)
        monkeypatch.chdir(place)
        for closed, mode in (("shut", 0o555), ("hidden", 0o600)):
            (place / closed).mkdir(mode=mode)
        (place / "bad.yaml").write_text(f"{SEARCH}storage: shut/runs\nresources: {{cache_dir: hidden/cache}}\n")
        with as_nobody():
            storage, cache = refused("search", "bad.yaml").splitlines()[1:]
        remedy = r"Give another folder, or see to it that you may write there"
        value = r"'.*/shut/runs/small', and nothing can be written to .*/shut \(bad\.yaml line 3, column 1\)"
        assert re.fullmatch(rf"  storage must be a folder that can be made; got {value}\. {remedy}\.", storage)
        value = r"'.*/hidden/cache'.* \(bad\.yaml line 4, column 13\)"
        assert re.fullmatch(rf"  resources\.cache_dir must be a folder.*; got {value}\. {remedy}\.", cache)
        (place / "shut").chmod(0o755)
        (place / "shut/runs/small").mkdir(parents=True)
        (place / "shut").chmod(0o555)
        with as_nobody(), pytest.raises(AssertionError, match="the search was started"):
            refused("search", "bad.yaml", "--set", "resources.cache_dir=null")
