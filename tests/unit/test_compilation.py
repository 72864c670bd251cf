"""`runtime.compile`: what is compiled once serves the trials after it; a machine that cannot compile says so."""

import weakref

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch._inductor import config as inductor

from trainable.config.sections import DataConfig, ModelConfig, RuntimeConfig
from trainable.device import Compute, free_memory
from trainable.errors import SearchFaultError
from trainable.network.compilation import _make_room, compile_seconds, require_compiler
from trainable.training import Training
from trainable.trial_config import TrialConfig

CPU = Compute(torch.device("cpu"), torch.float32)


class Smallest(nn.Module):
    """A network that compiles in seconds.

    Args:
        num_classes: Channels of the logits.
        bias: Of its only layer.
    """

    def __init__(self, num_classes: int, bias: bool = True) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, num_classes, 1, bias=bias)

    def forward(self, images_NCHW):
        return self.layer(images_NCHW).sigmoid()


@pytest.fixture
def config(synthetic_config):
    """Makes a config of the smallest network, compiled or not."""

    def make(compile=True, bias=True):
        return TrialConfig(
            dataset=synthetic_config,
            model=ModelConfig(architecture=f"{__name__}:Smallest", encoder_weights="none", options={"bias": bias}),
            data=DataConfig(batch_size=8, crop="32x32"),
            runtime=RuntimeConfig(compile=compile),
            max_epochs=2,
        )

    return make


@pytest.fixture(autouse=True)
def of_its_own(tmp_path, monkeypatch):
    """A cache on disk in which nothing is; what other tests compiled is forgotten, and what these did."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "kernels"))
    monkeypatch.setattr("trainable.training.build_model", lambda config, classes: Smallest(classes, **config.options))
    forget()
    yield
    forget()


def forget():
    torch.compiler.reset()
    _make_room.cache_clear()
    require_compiler.cache_clear()
    counters.clear()


def train(config, data):
    return Training(config, data, CPU).run_epoch(1, lambda: False)


def looked_up():
    return {name: counters["inductor"][f"fxgraph_cache_{name}"] for name in ("miss", "hit")}


def test_trials_of_one_kind_compile_once_and_others_find_their_kernels_on_disk(config, synthetic_data):
    first = train(config(), synthetic_data)
    (note,) = first.notes
    assert note.endswith(" s of epoch 1 went into compiling the network")
    assert looked_up()["miss"] >= 3, "forward, backward and evaluation"
    assert inductor.compile_threads == torch.get_num_threads(), "a trial's share of the machine"

    counters.clear()
    before = compile_seconds()
    again = train(config(), synthetic_data)
    assert (again.notes, again.metrics["train_loss"]) == ((), first.metrics["train_loss"])
    assert (looked_up(), compile_seconds()) == ({"miss": 0, "hit": 0}, before)

    train(config(bias=False), synthetic_data)
    counters.clear()
    back = train(config(), synthetic_data)
    assert back.metrics["train_loss"] == first.metrics["train_loss"]
    assert looked_up()["miss"] == 0
    assert looked_up()["hit"] >= 3
    assert compile_seconds() > before


def test_a_compiled_network_learns_what_it_learns_otherwise(config, synthetic_data):
    plain, fast = (train(config(compile=way), synthetic_data).metrics for way in (False, True))
    for name in ("train_loss", "dev_loss", "miou"):
        assert fast[name] == pytest.approx(plain[name], rel=1e-4)


def test_what_was_compiled_does_not_hold_the_network_of_a_trial_that_is_over(config, synthetic_data):
    training = Training(config(), synthetic_data, CPU)
    training.run_epoch(1, lambda: False)
    network = weakref.ref(training._model)
    del training
    free_memory()
    assert network() is None


def test_a_machine_that_cannot_compile_is_told_before_anything_is_trained(config, synthetic_data):
    rule = r"runtime\.compile true needs a C\+\+ compiler and Python's headers on every machine that trains"
    with (
        inductor.patch({"cpp.cxx": (None, "/nowhere/g++")}),
        pytest.raises(SearchFaultError, match=rf"{rule}; got .*/nowhere/g\+\+.*runtime\.compile=false\."),
    ):
        Training(config(), synthetic_data, CPU)
