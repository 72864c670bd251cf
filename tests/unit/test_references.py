"""Imports that no linter sees: of programs in strings, of docs and notebooks. All name what is there."""

import importlib
import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACES = ("README.md", "CONTRIBUTING.md", "docs/*.md", "docs/*.ipynb", "tests/**/*.py", "benchmarks/*.py", "examples/*")
IMPORT = re.compile(
    r"(?:\bfrom|\bimport| -m) ((?:trainable|search|analysis|aerosweep)(?:\.\w+)*)(?: import (\w+(?:, \w+)*))?"
)
MADE_UP = {"test_one_place.py", "test_references.py"}
"""They name modules that are not there."""


def missing(text):
    """What a text imports and nobody has."""
    for module, names in IMPORT.findall(text):
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            yield module
            continue
        for name in names.split(", ") if names else ():
            if not hasattr(importlib.import_module(module), name) and not importlib.util.find_spec(f"{module}.{name}"):
                yield f"{module}.{name}"


def test_what_is_imported_is_there():
    files = [file for place in PLACES for file in ROOT.glob(place) if file.is_file() and file.name not in MADE_UP]
    assert len(files) > 150
    absent = {str(file.relative_to(ROOT)): [*missing(file.read_text(errors="replace"))] for file in files}
    assert {file: names for file, names in absent.items() if names} == {}


def test_what_is_not_there_is_found():
    assert list(missing("from trainable.losses import Dice, DiceLoss, region")) == ["trainable.losses.Dice"]
    assert list(missing("import trainable.losses.losses.more; python -m search.launch; python -m search.config")) == [
        "trainable.losses.losses.more",
        "search.launch",
    ]
