"""The names that users write: imported from one place, wherever they are defined."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import aerosweep
from aerosweep import TverskyLoss, load_trained_model
from trainable import losses
from trainable.network import trained_model

HOME = Path(aerosweep.__file__)


def promised():
    """The names that a type checker is told of."""
    (told,) = (node for node in ast.parse(HOME.read_text()).body if isinstance(node, ast.If))
    return {alias.asname: node.module for node in told.body for alias in node.names}


def test_a_public_name_is_the_thing_itself():
    assert TverskyLoss is losses.TverskyLoss
    assert load_trained_model is trained_model.load_trained_model


@pytest.mark.parametrize("name", promised())
def test_what_a_type_checker_is_told_is_what_is_imported(name):
    assert getattr(aerosweep, name) is getattr(sys.modules[promised()[name]], name)
    assert name in dir(aerosweep)


def test_every_loss_that_a_config_can_name_is_public():
    built_in = {name for name in losses.__all__ if name not in ("PixelLoss", "RegionLoss")}
    assert built_in <= promised().keys()


def test_nothing_heavy_is_imported_before_a_name_is_asked_for():
    code = "import sys, aerosweep; print([m for m in ('torch', 'numpy', 'mlflow', 'trainable') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HOME.parents[1])
    assert done.stdout.strip() == "[]"


def test_another_name_is_refused_as_python_does():
    with pytest.raises(AttributeError, match="module 'aerosweep' has no attribute 'DiceLos'"):
        aerosweep.DiceLos  # noqa: B018
