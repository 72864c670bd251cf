"""The soak: hundreds of short trials while processes are killed; nothing may be lost, and nothing done twice.

    python tests/soak.py --trials 300

A real MLflow server, a real driver with a Ray of its own, and SIGKILL: to a random trial's process every few seconds
(or so many times), to the driver and to the server at random moments. A killed driver is resumed and a killed server
started again at once. `soak_audit` then compares what was trained with the record, and the record with MLflow and
Optuna. Linux only: it finds processes in /proc.
"""

import argparse
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import soak_audit
import yaml
from ports import free_port
from rich.console import Console
from waiting import has_ended, wait_until

from aerosweep.terminal.progress import PlainView
from search.config.search_config import SearchConfig
from search.project.search_projections import sync_search
from search.run.launch import run_search
from trainable.ray_trainable import TRIAL_ID, SegmentationTrainable
from trainable.record.storage import Storage
from trainable.record.trial_record import TrialRecord
from trainable.training import EpochOutcome

SLOTS = 3
DUE = "due"
"""The file that says how many trials have ended when the next fault is due."""
TRIAL_PROCESS = "Trainable"
"""In the title that Ray gives a process: `ray::ResourceTrainable.train`, `ray::SoakTrainable`."""


class SoakTrainer:
    """Trains nothing for a moment, in a way that shows whether it continued where it had stopped."""

    def __init__(self, record: TrialRecord, log: Path) -> None:
        self._record = record
        self._log = log
        self._number = int(record.trial_id.removeprefix("t"))
        self._epochs = 0
        self._value = self._number

    def run_epoch(self, epoch: int, should_stop: Callable[[], bool]) -> EpochOutcome:
        wait_for_faults(self._log.parent)
        if self._number == soak_audit.ALWAYS_FAILS and epoch == 2:
            raise RuntimeError(soak_audit.FAILURE)
        self._write("begin", epoch)
        time.sleep(random.uniform(0.2, 0.5))
        self._epochs += 1
        self._value = soak_audit.learn(self._value, epoch)
        self._write("end", epoch)
        if soak_audit.diverges(self._number) and epoch == 2:
            return EpochOutcome({}, diverged="the training loss became nan in epoch 2")
        return EpochOutcome({"miou": soak_audit.miou(self._value), soak_audit.TRAINED_EPOCHS: float(self._epochs)})

    def _write(self, moment: str, epoch: int) -> None:
        """Append a line in one write, which other processes' lines cannot cut in two."""
        line = {
            "trial": self._record.trial_id,
            "epoch": epoch,
            "attempt": self._record.attempts(),
            "moment": moment,
            "durable": self._record.folder.read(f"epochs/{epoch:04d}.json") is not None,
            "time": time.time(),
        }
        with self._log.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def state(self) -> dict[str, Any]:
        return {"epochs": self._epochs, "value": self._value}

    def load_state(self, state: dict[str, Any]) -> None:
        self._epochs, self._value = state["epochs"], state["value"]

    def weights(self) -> dict[str, Any]:
        return {}


def ended_trials(folder: Path) -> int:
    """How many trials of the soak in a folder have ended."""
    return sum(1 for _ in (folder / soak_audit.SEARCH).glob("trials/*/end.json"))


def wait_for_faults(folder: Path) -> None:
    """No trial goes on while a fault is due: with a fast search, or a slow look at it, it would come too late."""
    while ended_trials(folder) >= int((folder / DUE).read_text()):
        time.sleep(0.05)


class SoakTrainable(SegmentationTrainable):
    """The real trainable around `SoakTrainer`."""

    def build(self, config: Any, data: Any, compute: Any) -> SoakTrainer:
        search = Storage(self._assignment["aerosweep_folder"])
        return SoakTrainer(
            TrialRecord(search, self._assignment[TRIAL_ID]), search.local_path.parent / soak_audit.TRAINED_LOG
        )


def drive(config_file: str, *options: str) -> int:
    """The driver's process."""
    config = read_config(Path(config_file))
    view = PlainView(Console(width=200))
    resume = "--resume" in options
    outcome = run_search(config, resume=resume, address=None, view=view, say=view.say, trainable=SoakTrainable)
    return int(outcome.resume_needed)


def write_config(folder: Path, options: argparse.Namespace, uri: str) -> Path:
    values = {
        "name": soak_audit.SEARCH,
        "dataset": {"layout": "synthetic", "images": 40, "size": "64x64"},
        "storage": str(folder),
        "space": {
            "model": {"encoder": "resnet18", "encoder_weights": "none"},
            "optimizer": {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "warmup_epochs": 0},
            "data": {"crop": "64x64"},
        },
        "budget": {"trials": options.trials, "max_epochs": soak_audit.MAX_EPOCHS},
        "scheduler": {"grace_epochs": soak_audit.RUNGS[0], "reduction_factor": 2},
        "resources": {"cpus_per_trial": 0.25, "max_concurrent": SLOTS, "cache_dir": str(folder / "cache")},
        "runtime": {"precision": "fp32", "max_attempts": options.max_attempts},
        "tracking": {"uri": uri},
    }
    path = folder / "soak.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def read_config(path: Path) -> SearchConfig:
    return SearchConfig.model_validate(yaml.safe_load(path.read_text())).absolute()


class Process(NamedTuple):
    """A process as /proc has it; `began` (ticks since boot) tells it from a later one with the same id."""

    pid: int
    parent: int
    began: int
    zombie: bool

    @property
    def identity(self) -> tuple[int, int]:
        return self.pid, self.began

    @property
    def title(self) -> str:
        with suppress(OSError):
            return Path(f"/proc/{self.pid}/cmdline").read_text().replace("\0", " ").strip()
        return ""


def processes() -> dict[int, Process]:
    """All processes of this machine by id."""
    found = {}
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            pid = int(folder.name)
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            found[pid] = Process(pid, int(fields[1]), int(fields[19]), fields[0] == "Z")
    return found


def descendants(ancestor: int) -> list[Process]:
    """The processes below one, at any depth."""
    everybody = list(processes().values())
    found: list[Process] = []
    generation = {ancestor}
    while generation:
        children = [process for process in everybody if process.parent in generation]
        found += children
        generation = {process.pid for process in children}
    return found


class MlflowServer:
    """A real server over an SQLite file, which is killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.uri = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--backend-store-uri", f"sqlite:///{self._folder / soak_audit.STORE}", "--workers", "1"]
        command += ["--artifacts-destination", str(self._folder / soak_audit.ARTIFACTS)]
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        self._process = spawn(command, self._folder / "server.log", environment)

    def wait_until_healthy(self) -> None:
        wait_until(self._is_healthy, f"an MLflow server at {self.uri}", unless=has_ended(self._process))

    def _is_healthy(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=10) as answer:
            return bool(answer.read() == b"OK")
        return False

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def spawn(command: list[str], log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a process in a group of its own."""
    with log.open("ab") as file:
        return subprocess.Popen(
            command, cwd=log.parent, stdout=file, stderr=file, env=environment, start_new_session=True
        )


class Soak:
    """A search, and what is done to it.

    Args:
        folder: For everything that it writes.
        options: As they come from the command line.
    """

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.faults = Counter({"trial processes killed": 0, "drivers killed": 0, "servers killed": 0})
        self._folder = folder
        self._options = options
        self._random = random.Random(options.seed)
        self._server = MlflowServer(folder)
        self._config = write_config(folder, options, self._server.uri)
        self._driver_log = folder / "driver.log"
        self._driver: subprocess.Popen[bytes] | None = None
        self._seen: set[tuple[int, int]] = set()

    def run(self) -> int:
        """Run the search to its end, with faults; the last driver's exit code."""
        self._plan = self._make_plan()
        self._write_due()
        self._server.start()
        self._start_driver()
        self._inject()
        assert not self._plan, f"the search has ended, and faults are still to come: {self._plan}"
        if self._driver.returncode:
            print(f"the driver ended with {self._driver.returncode}: {self._driver_log.read_text()[-2000:]}")
        return self._driver.returncode

    def sync(self) -> str:
        """What `aerosweep sync` has to say: it fills in what a server that came back too late has missed."""
        self._server.wait_until_healthy()
        return sync_search(read_config(self._config), print)

    def end(self) -> list[str]:
        """Kill what still runs; the titles of the drivers' processes that had to be killed."""
        self._server.kill()
        if self._driver is not None:
            self._driver.kill()
            self._driver.wait()
        with suppress(AssertionError):
            wait_until(lambda: not self._left_over(), "the end of all processes")
        titles = [process.title for process in self._left_over()]
        for process in self._alive():
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        return titles

    def _left_over(self) -> list[Process]:
        """All but the agents of a Ray whose driver was killed: they look for its store for a minute and then end."""
        return [process for process in self._alive() if not process.title.endswith("Agent")]

    def _inject(self) -> None:
        kill_at = self._next_kill()
        while self._driver.poll() is None:
            time.sleep(0.2)
            self._seen |= {process.identity for process in descendants(self._driver.pid)}
            if self._plan and ended_trials(self._folder) >= self._plan[0][0] and self._plan[0][1]():
                self._plan.pop(0)
                self._write_due()
            if time.monotonic() >= kill_at:
                self._kill_trial_process()
                kill_at = self._next_kill()

    def _make_plan(self) -> list[tuple[int, Callable[[], bool]]]:
        options = self._options
        plan = self._moments(self._kill_driver, options.driver_kills)
        plan += self._moments(self._restart_server, options.server_restarts)
        plan += self._moments(self._kill_trial_process, options.trial_kills or 0)
        return sorted(plan, key=lambda due: due[0])

    def _moments(self, fault: Callable[[], bool], count: int) -> list[tuple[int, Callable[[], bool]]]:
        """Random numbers of ended trials at which a fault is due, one in each of `count` equal parts of the search.

        More trials are left then than are at their last epoch: those that are not wait for it.
        """
        trials = self._options.trials
        part = min(0.8 * trials, trials - SLOTS - 2) / max(1, count)
        return [(round(1 + part * (place + self._random.random())), fault) for place in range(count)]

    def _write_due(self) -> None:
        """Say when the next fault is due."""
        due = self._plan[0][0] if self._plan else 10**9
        written = self._folder / f".{DUE}"
        written.write_text(str(due))
        written.rename(self._folder / DUE)

    def _alive(self) -> list[Process]:
        return [each for each in processes().values() if each.identity in self._seen and not each.zombie]

    def _start_driver(self, *options: str) -> None:
        environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
        command = [sys.executable, __file__, "drive", str(self._config), *options]
        self._driver = spawn(command, self._driver_log, environment)

    def _kill_driver(self) -> bool:
        """The driver alone: its Ray has to notice by itself, and the next driver is there at once."""
        self._driver.kill()
        self._driver.wait()
        assert self._driver.returncode == -signal.SIGKILL, "it ended by itself"
        self.faults["drivers killed"] += 1
        self._start_driver("--resume")
        return True

    def _restart_server(self) -> bool:
        self._server.kill()
        self.faults["servers killed"] += 1
        time.sleep(self._random.uniform(0, 3))
        self._server.start()
        return True

    def _next_kill(self) -> float:
        """When a trial's process is to be killed; never, where the plan says how often."""
        if self._options.trial_kills is not None:
            return math.inf
        return time.monotonic() + self._options.kill_every * self._random.uniform(0.5, 1.5)

    def _kill_trial_process(self) -> bool:
        """False where there is none at present."""
        running = [process for process in descendants(self._driver.pid) if TRIAL_PROCESS in process.title]
        if not running:
            return False
        try:
            os.kill(self._random.choice(running).pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self.faults["trial processes killed"] += 1
        return True


def publish(soak: Soak, found: soak_audit.Audit, left_over: list[str], synced: str, seconds: float) -> None:
    """Print what was done to the search, what came of it, and every finding."""
    rows = [*soak.faults.items(), ("trials", found.states.total())]
    rows += [(f"  {state}", count) for state, count in sorted(found.states.items())]
    rows += [("epochs", found.epochs), ("starts of trials", found.starts), ("repeated in flight", found.repeated)]
    rows += [("processes left over", len(left_over)), ("seconds", round(seconds))]
    rows += [("duplicates", len(found.duplicates)), ("losses", len(found.losses))]
    for name, count in rows:
        print(f"{name:<24}{count:>8}")
    print(f"sync: {synced}")
    for finding in [*found.duplicates, *found.losses, *(f"left over: {title}" for title in left_over)]:
        print(f"- {finding}")


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--driver-kills", type=int, default=2)
    parser.add_argument("--server-restarts", type=int, default=2)
    parser.add_argument(
        "--kill-every", type=float, default=5.0, metavar="SECONDS", help="a trial's process, on average"
    )
    parser.add_argument("--trial-kills", type=int, metavar="COUNT", help="so many, at random moments, in place of that")
    parser.add_argument("--max-attempts", type=int, default=20, help="starts of a trial: more than chance will kill it")
    parser.add_argument("--seed", type=int, default=0, help="of the faults' moments and victims")
    parser.add_argument("--folder", type=Path, help="a new one, kept; else a temporary one, kept if something is found")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Run a soak; 1 if something was lost, done twice or left running."""
    if argv[:1] == ["drive"]:
        return drive(*argv[1:])
    options = parse(argv)
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="aerosweep-soak-"))).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    soak = Soak(folder, options)
    try:
        exit_code = soak.run()
        synced = soak.sync()
    finally:
        left_over = soak.end()
    repeats = soak.faults["trial processes killed"] + SLOTS * soak.faults["drivers killed"]
    found = soak_audit.audit(folder, options.trials, repeats)
    publish(soak, found, left_over, synced, time.monotonic() - began)
    failed = bool(exit_code or found.duplicates or found.losses or left_over)
    if failed:
        print(f"see {folder}")
    elif options.folder is None:
        shutil.rmtree(folder)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
