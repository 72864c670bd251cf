"""The images change while a search runs: the next process that opens them finds out, and the search stops."""

import io
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from ray import cloudpickle
from rich.console import Console

from aerosweep.terminal.progress import PlainView
from search.config.search_config import SearchConfig
from search.run.launch import run_search
from trainable.data.synthetic.synthesize import synthesize
from trainable.errors import SearchFaultError
from trainable.ray_trainable import SegmentationTrainable
from trainable.record.storage import Storage
from trainable.record.trial_record import load_trials
from trainable.training import EpochOutcome

pytestmark = pytest.mark.filterwarnings("default")
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module


class Relabelling:
    """In its second epoch somebody replaces a mask, and the process dies."""

    def __init__(self, masks):
        self.masks = masks

    def run_epoch(self, epoch, should_stop):
        kept = self.masks / "kept"
        if epoch == 2 and not kept.exists():
            first, second = sorted(self.masks.glob("*.png"))[:2]
            shutil.copy(first, kept)
            shutil.copy(second, first)
            os.kill(os.getpid(), signal.SIGKILL)
        return EpochOutcome({"miou": 0.1 * epoch})

    def state(self):
        return {"any": 1}

    def load_state(self, state):
        pass

    def weights(self):
        return {}


class RelabellingTrainable(SegmentationTrainable):
    def build(self, config, data, compute):
        return Relabelling(config.dataset.root / "SegmentationClass")


def test_a_mask_that_changes_stops_the_search_by_name_and_put_back_it_goes_on(
    ray_address, search_cache, make_small_search, tmp_path
):
    root = tmp_path / "set"
    synthesize(root, 40, (32, 32), 0, scenes=8)
    values = make_small_search(tmp_path / "runs", search_cache, baselines="none")
    values |= {"budget": {"trials": 2, "max_epochs": 3}, "dataset": {"layout": "aeroscapes", "root": str(root)}}
    values["space"]["data"]["crop"] = "32x32"
    values["scheduler"] = {"grace_epochs": 3, "reduction_factor": 2}
    # One at a time: a warm process, which has the images open as they were, would take the trial of the dead one.
    values["resources"]["max_concurrent"] = 1
    config = SearchConfig.model_validate(values).absolute()
    view = PlainView(Console(file=io.StringIO()))

    def launch(resume):
        return run_search(
            config, resume=resume, address=ray_address, view=view, say=view.say, trainable=RelabellingTrainable
        )

    with pytest.raises(SearchFaultError) as fault:
        launch(resume=False)
    mask = min((root / "SegmentationClass").glob("*.png"))
    assert f"got 1 sample with another image or mask ({mask.stem})" in str(fault.value)
    with pytest.raises(SearchFaultError, match=rf"another image or mask \({mask.stem}\)"):
        launch(resume=True)
    assert not any(trial.end for trial in load_trials(Storage(config.folder)) if trial.state == "failed")

    shutil.copy(Path(root, "SegmentationClass", "kept"), mask)
    outcome = launch(resume=True)
    assert [trial.state for trial in outcome.trials] == ["completed", "completed"]
    assert all([epoch.epoch for epoch in trial.epochs] == [1, 2, 3] for trial in outcome.trials)
