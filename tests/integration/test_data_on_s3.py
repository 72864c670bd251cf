"""An image set on S3, served on loopback: copied once a node, and the same data as in a folder."""

import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import boto3
import pytest
import yaml
from ports import free_port
from rich.console import Console
from typer.testing import CliRunner
from waiting import PATIENCE, has_ended, wait_until

from aerosweep.cli import app
from aerosweep.terminal.progress import PlainView
from search.config.config_file import inlined
from search.config.search_config import SearchConfig
from search.run.launch import run_search
from trainable.data.data_identity import DataChangedError
from trainable.data.dataset_config import DatasetConfig
from trainable.data.layouts.aeroscapes import AEROSCAPES_CLASSES
from trainable.data.synthetic.synthesize import synthesize
from trainable.data.trial_data import open_trial_data

pytestmark = pytest.mark.filterwarnings("default")

IMAGES = 40
DESCRIPTION = {
    "name": "from above",
    "images": "JPEGImages/*.jpg",
    "masks": "SegmentationClass/*.png",
    "encoding": "ids",
    "classes": [
        {"name": entry.name, "id": label, "thing": entry.thing} for label, entry in enumerate(AEROSCAPES_CLASSES)
    ],
    "scene_regex": "^[0-9]+",
    "split": {"by": "list", "train": "ImageSets/trn.txt", "val": "ImageSets/val.txt"},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small image set in a folder."""
    folder = tmp_path_factory.mktemp("made") / "aero"
    synthesize(folder, IMAGES, (64, 64), 0, scenes=8)
    return folder


def upload(client, folder, prefix):
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            client.upload_file(str(path), "searches", f"{prefix}/{path.relative_to(folder).as_posix()}")


@pytest.fixture(scope="module")
def on_s3(s3, made):
    """The same set on S3, beside files that belong to no layout."""
    client = boto3.client("s3")
    upload(client, made, "sets/aero")
    for name in ("README.md", "JPEGImages/._000001_001.jpg", "JPEGImages/"):
        client.put_object(Bucket="searches", Key=f"sets/aero/{name}", Body=b"")
    return f"{s3}/sets/aero"


def listens(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def own_server(tmp_path):
    """An S3 server of the test's own: its environment, a client, and what it was asked for."""
    port = free_port()
    log = tmp_path / "s3.log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    keys = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "testing")
    environment = (
        os.environ | keys | {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    )
    with log.open("wb") as opened:
        server = subprocess.Popen(command, stdout=opened, stderr=opened)
    try:
        wait_until(lambda: listens(port), "an S3 server", unless=has_ended(server, log.read_text))
        client = boto3.client(
            "s3", endpoint_url=environment["AWS_ENDPOINT_URL"], region_name="us-east-1",
            aws_access_key_id="testing", aws_secret_access_key="testing",
        )  # fmt: skip
        client.create_bucket(Bucket="searches")
        yield environment, client, lambda: re.findall(r'"GET /searches/(\S+) HTTP[^"]*" 20', log.read_text())
    finally:
        server.kill()  # it keeps nothing
        server.wait()


def identity(data):
    samples = [(sample.id, sample.scene, sample.split) for sample in data.image_set]
    return data.cache.fingerprint, samples, data.splits, data.image_set.classes, data.warnings


@pytest.mark.parametrize("layout", ["aeroscapes", "described"])
def test_a_set_on_s3_is_the_same_data_as_in_a_folder(on_s3, made, tmp_path, layout):
    description = DESCRIPTION | {"root": "/replaced"} if layout == "described" else None
    here, there = (
        open_trial_data(DatasetConfig(layout=layout, root=root, description=description), tmp_path / name)
        for root, name in ((made, "a"), (on_s3, "b"))
    )
    assert identity(there) == identity(here)
    assert there.image_set.name == here.image_set.name
    (copy,) = (tmp_path / "b").glob("copy-*/aero")
    files = {path.relative_to(copy): path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert files == {path.relative_to(made): path.read_bytes() for path in made.rglob("*") if path.is_file()}


OPEN = """
import json, sys
from pathlib import Path
from trainable.data.data_identity import DataChangedError
from trainable.data.dataset_config import DatasetConfig
from trainable.data.trial_data import open_trial_data

decoded = []
print("ready", flush=True)
sys.stdin.readline()
data = open_trial_data(DatasetConfig(layout="aeroscapes", root="s3://searches/aero"), Path(sys.argv[1]),
                       lambda done, total: decoded.append(done))
print(json.dumps([str(data.cache.folder), str(data.image_set.samples[0].image), len(decoded)]))
"""


def test_eight_processes_that_start_at_once_make_one_copy_and_one_cache(own_server, made, tmp_path):
    environment, client, gets = own_server
    upload(client, made, "aero")
    command = [sys.executable, "-c", OPEN, str(tmp_path / "cache")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, env=environment, **pipes) for _ in range(8)]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        found = [json.loads(process.communicate(timeout=PATIENCE)[0]) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    folders, images, decoded = zip(*found, strict=True)
    assert len(set(folders)) == len(set(images)) == 1
    assert sorted(decoded) == [0] * 7 + [IMAGES]
    files = sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())
    assert sorted(name.removeprefix("aero/") for name in gets() if "list-type" not in name) == files
    assert len(list((tmp_path / "cache").glob("*/"))) == 2


COPY = """
import os, signal, sys
from pathlib import Path
from s3fs import S3FileSystem
from trainable.data.layouts.aeroscapes import AEROSCAPES_FILES
from trainable.data.files.remote_folder import local_folder

get_file, files_to_go = S3FileSystem._get_file, int(sys.argv[2])

async def get_file_and_die_of_the_last(*args, **kwargs):
    global files_to_go
    await get_file(*args, **kwargs)
    files_to_go -= 1
    if files_to_go == 0:
        os.kill(os.getpid(), signal.SIGKILL)

S3FileSystem._get_file = get_file_and_die_of_the_last
print(local_folder("s3://searches/large", AEROSCAPES_FILES, Path(sys.argv[1])))
"""


def test_a_copy_that_was_killed_is_no_copy_and_the_next_is_whole(own_server, tmp_path):
    environment, client, _ = own_server
    names = [f"JPEGImages/{number}.jpg" for number in range(300)]
    for name in names:
        client.put_object(Bucket="searches", Key=f"large/{name}", Body=name.encode() * 10_000)
    command = [sys.executable, "-c", COPY, str(tmp_path / "cache")]
    killed = subprocess.run([*command, "70"], env=environment, check=False, timeout=PATIENCE)
    assert killed.returncode == -signal.SIGKILL
    copied = len(list(tmp_path.glob("cache/copy-*.building/large/JPEGImages/*.jpg")))
    assert 0 < copied < len(names), "in the middle"
    assert len(list(tmp_path.glob("cache/copy-*/"))) == 1
    assert not list(tmp_path.glob("cache/copy-*-*"))
    done = subprocess.run(
        [*command, "-1"], env=environment, capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    (copy,) = tmp_path.glob("cache/copy-*/large")
    assert done.stdout == f"{copy}\n"
    assert {path.relative_to(copy).as_posix(): path.stat().st_size for path in copy.rglob("*.jpg")} == {
        name: len(name) * 10_000 for name in names
    }


def test_commands_name_what_is_wrong_with_a_url(on_s3, s3, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def run(command, root):
        layout = ["--set", "dataset.layout=aeroscapes", "--set", f"dataset.root={root}"]
        return CliRunner().invoke(app, ["data", command, *layout])

    checked = run("check", on_s3)
    assert checked.exit_code == 0, checked.output
    for root, message in (
        (
            "s3://no-such-bucket/aero",
            "got 'The specified bucket does not exist' when asked to list s3://no-such-bucket/",
        ),
        (f"{s3}/nothing", f"got {s3}/nothing without any file of 'JPEGImages/**/*.jpg' and 'SegmentationClass/"),
    ):
        refused = run("stats", root)
        assert refused.exit_code == 2
        assert (
            "the root of an image set must be a folder that has the files of its layout; " + message in refused.stderr
        )
        assert "Correct the URL (dataset.root, or root in the description)." in refused.stderr
        found = run("check", root)
        assert found.exit_code == 1
        assert f"problem: the root of an image set must be a folder that has the files of its layout; {message}" in found.output  # fmt: skip  # noqa: E501


def test_a_search_whose_description_and_images_are_elsewhere_goes_on_after_they_have_moved(
    on_s3, made, make_small_search, tmp_path
):
    (tmp_path / "set.yaml").write_text(yaml.safe_dump(DESCRIPTION | {"root": on_s3}))
    values = make_small_search(tmp_path / "runs", tmp_path / "cache", baselines="none")
    values |= {"dataset": {"layout": "described", "description": str(tmp_path / "set.yaml")}}
    values["scheduler"] = {"grace_epochs": 1, "reduction_factor": 2}
    view = PlainView(Console(file=io.StringIO()))

    values["budget"] = {"trials": 1, "max_epochs": 1}

    def launch(resume, **dataset):
        values["dataset"] |= dataset
        config = inlined(SearchConfig.model_validate(values).absolute())
        (tmp_path / "set.yaml").rename(tmp_path / "away.yaml")  # as on a machine that lacks it
        # On a Ray of its own: its workers inherit the credentials from here.
        outcome = run_search(config, resume=resume, address=None, view=view, say=view.say)
        (tmp_path / "away.yaml").rename(tmp_path / "set.yaml")
        return outcome

    first = launch(resume=False)
    assert [trial.state for trial in first.trials] == ["completed"]
    recorded = yaml.safe_load((tmp_path / "runs/small/search.yaml").read_text())
    assert recorded["dataset"]["description"]["root"] == on_s3
    # Nothing is left to do; that the data are still the same is found out all the same.
    assert launch(resume=True, root=str(made)).trials == first.trials
    mask = made / "SegmentationClass/000001_001.png"
    before = mask.read_bytes()
    shutil.copy(made / "SegmentationClass/000001_002.png", mask)
    try:
        with pytest.raises(DataChangedError, match=r"got 1 sample with another image or mask \(000001_001\)"):
            launch(resume=True)
    finally:
        mask.write_bytes(before)
