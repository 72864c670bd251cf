"""A refactoring must reproduce the losses: a short training against its stored record.

`record_golden_curve.py` beside this file records it, and says when to.
"""

import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("record_golden_curve.py")


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("record_golden_curve", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def stored(script):
    if not script.GOLDEN_CURVE.exists():
        pytest.fail(f"{script.GOLDEN_CURVE} is missing: restore it from git, or record it with {SCRIPT.name}")
    return json.loads(script.GOLDEN_CURVE.read_text())


def test_training_reproduces_the_recorded_curve(script, stored, synthetic_data, synthetic_config):
    """Tolerances are some times what other vector instructions (SSE4.1, AVX2, AVX-512) were seen to change."""
    assert synthetic_config == script.CONFIG.dataset
    curve = script.golden_curve(synthetic_data)
    same_data = synthetic_data.cache.fingerprint == stored["data_fingerprint"]
    assert len(curve) == len(stored["epochs"])
    for number, (given, expected) in enumerate(zip(curve, stored["epochs"], strict=True), start=1):
        where = f"epoch {number}, recorded with torch {stored['torch']}, on {'the same' if same_data else 'OTHER'} data"
        assert given["train_loss"] == pytest.approx(expected["train_loss"], rel=5e-3), where
        assert given["dev_loss"] == pytest.approx(expected["dev_loss"], rel=0.03), where
        assert given["miou"] == pytest.approx(expected["miou"], abs=0.015), where
