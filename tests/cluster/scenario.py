"""A search on a cluster while a host is unplugged, its driver is killed and another host joins; what was seen of it."""

import json
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import yaml
from cluster import TOKEN, Cluster
from waiting import PATIENCE, has_ended, wait_until

BUCKET = "searches"
NAME = "plugged"
TRIALS, EPOCHS = 7, 16
SEARCH = {
    "name": NAME,
    "dataset": {"layout": "aeroscapes", "root": f"s3://{BUCKET}/made"},
    "storage": f"s3://{BUCKET}",
    "space": {
        "model": {"architecture": "unet", "encoder": "tu-tf_mobilenetv3_small_100", "encoder_weights": "none"},
        "loss": {"name": "patient:PatientCrossEntropy"},
        "optimizer": {"learning_rate": {"low": 1e-3, "high": 1e-2, "log": True}},
        "data": {"batch_size": 4, "crop": "64x64"},
    },
    # Nobody is stopped early: every trial is to have all of its epochs, whatever happened to it.
    "budget": {"trials": TRIALS, "max_epochs": EPOCHS},
    "scheduler": {"grace_epochs": EPOCHS},
    "report": {"write": False},
    "runtime": {"precision": "fp32"},
}


# Slow without work: however fast the machine is, there is time to do something to it in the middle.
PATIENT = """
import time

from trainable.losses import CrossEntropyLoss


class PatientCrossEntropy(CrossEntropyLoss):
    def forward(self, logits, target):
        time.sleep(0.1)
        return super().forward(logits, target)
"""


@dataclass
class Scenario:
    """What was seen.

    Attributes:
        exit_code: Of `aerosweep submit`.
        printed: By it.
        unplugged: Name of the lost host.
        lost: Trials that it was at, by id, and how many durable epochs each had.
        checkpoints: Keys of the checkpoints that there were on S3 when it was lost, by trial.
        joined: Name of the host that joined.
        drivers: Process ids of the drivers on the head, the killed one first.
        seconds: When what happened, since the search was submitted.
    """

    exit_code: int = -1
    printed: str = ""
    unplugged: str = ""
    lost: dict[str, int] = field(default_factory=dict)
    checkpoints: dict[str, list[str]] = field(default_factory=dict)
    joined: str = ""
    drivers: list[int] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


class Bucket:
    """The store, seen from the laptop's network."""

    def __init__(self, cluster: Cluster):
        self._host = cluster.laptop
        self._client = boto3.client(
            "s3",
            endpoint_url=cluster.s3["AWS_ENDPOINT_URL"],
            aws_access_key_id=cluster.s3["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=cluster.s3["AWS_SECRET_ACCESS_KEY"],
            region_name=cluster.s3["AWS_DEFAULT_REGION"],
        )

    def create(self) -> None:
        with self._host.network():
            self._client.create_bucket(Bucket=BUCKET)

    def upload(self, folder: Path, prefix: str) -> None:
        """Uploads the files of a folder."""
        with self._host.network():
            for path in folder.rglob("*"):
                if path.is_file():
                    self._client.put_object(
                        Bucket=BUCKET, Key=f"{prefix}/{path.relative_to(folder)}", Body=path.read_bytes()
                    )

    def keys(self, prefix: str) -> list[str]:
        """All keys below a prefix, sorted."""
        with self._host.network():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
            return sorted(item["Key"] for page in pages for item in page.get("Contents", ()))

    def read(self, key: str) -> dict:
        """A JSON file."""
        with self._host.network():
            return json.loads(self._client.get_object(Bucket=BUCKET, Key=key)["Body"].read())


class Record:
    """The record of the search on S3."""

    def __init__(self, bucket: Bucket):
        self._bucket = bucket
        self._read: dict[str, dict] = {}

    def keys(self, part: str = "") -> dict[str, list[str]]:
        """Keys of the files of a part (`epochs`) by trial."""
        found: dict[str, list[str]] = {}
        for key in self._bucket.keys(f"{NAME}/trials/"):
            _, _, trial, rest = key.split("/", 3)
            if rest.startswith(f"{part}/"):
                found.setdefault(trial, []).append(key)
        return found

    def files(self, part: str) -> dict[str, list[dict]]:
        """What the files of a part say, by trial, in order; they never change, so each is read once."""
        listed = self.keys(part)
        for key in (key for keys in listed.values() for key in keys):
            if key not in self._read:
                self._read[key] = self._bucket.read(key)
        return {trial: [self._read[key] for key in keys] for trial, keys in listed.items()}

    def end(self, trial: str) -> dict:
        """The end marker of a trial."""
        return self._bucket.read(f"{NAME}/trials/{trial}/end.json")

    def ended(self) -> set[str]:
        """Trials that have an end marker."""
        return {key.split("/")[2] for key in self._bucket.keys(f"{NAME}/trials/") if key.endswith("/end.json")}

    def at(self, node: str) -> dict[str, int]:
        """Trials whose last start was at a node and that have not ended, and how many durable epochs each has."""
        starts, epochs, ended = self.files("attempts"), self.keys("epochs"), self.ended()
        return {
            trial: len(epochs.get(trial, ()))
            for trial, files in starts.items()
            if files[-1]["node"] == node and trial not in ended
        }

    def starts_by_node(self) -> Counter:
        """How many starts each node has seen."""
        return Counter(start["node"] for starts in self.files("attempts").values() for start in starts)


def play(cluster: Cluster, bucket: Bucket) -> Scenario:
    """Runs the search and does to its cluster what is to be done."""
    seen, record, begin = Scenario(), Record(bucket), time.monotonic()
    (cluster.laptop.home / "search.yaml").write_text(yaml.safe_dump(SEARCH))
    (cluster.laptop.home / "patient.py").write_text(PATIENT)
    log = cluster.folder / "submit.log"
    submit = cluster.laptop.start(log, "aerosweep", "submit", "search.yaml", "--cluster", "cluster.yaml", **TOKEN)

    def note(what: str) -> None:
        seen.seconds[what] = round(time.monotonic() - begin, 1)
        print(f"{seen.seconds[what]:6.1f} s  {what}", flush=True)

    def until(holds, what: str):
        value = wait_until(holds, what, unless=has_ended(submit, lambda: f"see {log}"), every=1)
        note(what)
        return value

    victim = cluster.workers[1]
    until(lambda: len(record.starts_by_node()) == 3, "trials at three hosts")
    seen.joined = cluster.join().name
    note("a fourth host is switched on")
    middle = range(2, EPOCHS // 2)
    until(lambda: any(epochs in middle for epochs in record.at(victim.name).values()), "a trial in its middle")
    cluster.lan.unplug(victim.name)
    seen.unplugged, seen.lost, seen.checkpoints = victim.name, record.at(victim.name), record.keys("checkpoints")
    note("a host unplugged")
    until(lambda: not record.at(victim.name), "the lost trials go on elsewhere")
    seen.drivers += until(lambda: drivers(cluster), "the driver is there")
    cluster.head.run("kill", f"-{signal.SIGKILL.name[3:]}", str(seen.drivers[0]))
    seen.drivers += until(lambda: set(drivers(cluster)) - set(seen.drivers), "another driver")
    until(lambda: record.starts_by_node()[seen.joined], "trials at the joined host")
    wait_until(lambda: submit.poll() is not None, "the search is over", seconds=2 * PATIENCE, every=1)
    note("the search is over")
    seen.exit_code, seen.printed = submit.returncode, log.read_text(errors="replace")
    return seen


def drivers(cluster: Cluster) -> list[int]:
    """Ids, on the head, of the processes that drive a search."""
    found = cluster.head.run("pgrep", "-f", "aerosweep search search.yaml", check=False)
    return [int(line) for line in found.stdout.split()]
