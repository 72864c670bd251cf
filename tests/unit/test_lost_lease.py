"""A launch whose lease another driver took over: the user learns it, whenever that was, and nothing more is written."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import search.run.confirm
import search.run.launch
from aerosweep.cli import app
from search.config.search_config import SearchConfig
from search.record.driver_process import DriverProcess
from search.record.lease import Lease
from search.record.search_folder import SearchMeta
from search.record.signs_of_life import file_of, last_generation
from trainable.errors import SearchFaultError
from trainable.record.storage import Storage

ELSEWHERE = {"token": "another's", **DriverProcess("elsewhere", 7, "another machine").facts()}
CONFIG = """
name: small
dataset: {{layout: synthetic, images: {images}, size: {size}}}
resources: {{cache_dir: {cache}}}
report: {{write: false}}
space:
  model: {{architecture: unet, encoder: timm-mobilenetv3_small_100, encoder_weights: none}}
  data: {{crop: 64x64, batch_size: 4}}
"""


class LosingLaunch:
    """A run of Tune to its end, while which nothing was heard of the driver: another has taken over."""

    left = 0

    def __init__(self, config, name, plan, folder, lease, *more):
        self._lease = lease

    def run(self, *_):
        plain = self._lease.folder.guarded(lambda: None)
        plain.write(file_of(last_generation(plain) + 1), json.dumps(ELSEWHERE).encode())
        self._lease.renew()
        return SimpleNamespace(reason=lambda: None, signal=None)


@pytest.fixture
def launched(tmp_path, monkeypatch, synthetic_config, synthetic_cache_dir):
    """Runs a search from the command line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(search.run.launch, "TuneLaunch", LosingLaunch)
    text = CONFIG.format(images=synthetic_config.images, size=synthetic_config.size, cache=synthetic_cache_dir)
    Path("search.yaml").write_text(text)
    return lambda: CliRunner().invoke(app, ["search", "search.yaml"])


def test_a_search_that_lost_its_lease_after_the_last_turn_says_so(tmp_path, launched):
    result = launched()
    assert result.exit_code == SearchFaultError.exit_code, result.output
    assert "error: a search has one driver at a time" in result.output
    assert "process 7 on elsewhere, which took over while this one was not heard of" in result.output
    assert "Traceback" not in result.output
    folder = Storage(str(tmp_path / "runs" / "small"))
    assert json.loads(folder.read(file_of(2))) == ELSEWHERE
    assert "leaderboard.csv" not in folder.names()


def test_a_search_that_another_driver_began_while_images_were_decoded_is_not_gone_on_with(
    tmp_path, launched, monkeypatch
):
    folder = Storage(str(tmp_path / "runs" / "small"))
    meta = json.dumps({"search_id": "x", "name": "small", "data_fingerprint": "x", "created_ms": 0}).encode()

    class LateLease(Lease):
        def __enter__(self):
            folder.write("search.json", meta)
            folder.write("trials/t0000/config.json", b"{}")
            return super().__enter__()

    monkeypatch.setattr(search.run.launch, "Lease", LateLease)
    result = launched()
    assert result.exit_code == 2, result.output
    assert "a new search needs a folder of its own" in result.output
    assert folder.read("search.json") == meta


def test_a_confirmation_that_lost_its_lease_after_the_last_turn_is_no_success(tmp_path, monkeypatch):
    monkeypatch.setattr(search.run.confirm, "TuneLaunch", LosingLaunch)
    config = SearchConfig.model_validate(
        {"name": "small", "storage": str(tmp_path), "dataset": {"layout": "synthetic"}, "space": {}}
    )
    meta = SearchMeta("id", "small", "data", 0)
    with (
        Lease(Storage(config.folder)) as lease,
        pytest.raises(SearchFaultError, match="process 7 on elsewhere, which took over"),
    ):
        search.run.confirm._run(config, meta, lease, [], None, "cache", None, print)
