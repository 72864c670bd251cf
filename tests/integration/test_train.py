"""`aerosweep train`: one configuration through the path of a search, recorded like one."""

import subprocess
import sys

import mlflow
import pytest
from waiting import PATIENCE

from trainable.network.trained_model import load_trained_model
from trainable.record.storage import Storage
from trainable.record.trial_record import load_trials

SETTINGS = {
    "dataset.layout": "synthetic",
    "dataset.images": "40",
    "dataset.size": "64x64",
    "model.architecture": "deeplabv3plus",
    "model.encoder": "tu-tf_mobilenetv3_small_100",
    "model.encoder_weights": "none",
    "loss.name": "tversky",
    "loss.alpha": "0.7",
    "loss.beta": "0.3",
    "loss.gamma": "1.0",
    "data.crop": "64x64",
    "budget.max_epochs": "2",
}


@pytest.mark.filterwarnings("default")
def test_one_configuration_is_trained_and_recorded(tmp_path, search_cache):
    command = [sys.executable, "-m", "aerosweep", "train", "--output", str(tmp_path / "runs")]
    for key, value in (SETTINGS | {"resources.cache_dir": str(search_cache)}).items():
        command += ["--set", f"{key}={value}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (path for path in (tmp_path / "runs").iterdir() if path.name.startswith("train-deeplabv3plus-tversky-"))
    (trial,) = load_trials(Storage(str(folder)))
    assert (trial.state, len(trial.epochs)) == ("completed", 2)
    loss = {key: value for key, value in trial.spec.config["loss"].items() if value}
    assert loss == {"name": "tversky", "alpha": 0.7, "beta": 0.3, "gamma": 1.0, "gamma_on": "class"}
    assert load_trained_model(str(folder), "t0000") is not None
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/runs/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("aerosweep").experiment_id])
    assert {run.data.tags.get("aerosweep.trial") for run in runs} == {None, "t0000"}
    assert {run.info.status for run in runs} == {"FINISHED"}
