"""A supervisor launches a driver again when it dies, stops it when it is told to, and gives up when nothing helps."""

import os
import re
import signal
import subprocess
import sys

import pytest
import typer
from waiting import PATIENCE, has_ended, wait_until

from aerosweep.user_errors import without_traceback
from search.jobs.supervisor import Patience, Supervisor
from search.record.lease import Lease, SearchTakenError
from trainable.errors import SearchFaultError
from trainable.record.storage import Storage

QUICK = Patience(first_wait=0.01, longest_wait=0.04, stop=PATIENCE, taken=PATIENCE, taken_wait=0.01)
KILLED = "os.kill(os.getpid(), signal.SIGKILL)"

DRIVER = """
import os, signal, sys, time
from pathlib import Path

HERE = Path(__file__).parent
RECORD = HERE / "search"


def epoch():
    from trainable.record.record_types import EpochRecord, TrialSpec
    from trainable.record.storage import Storage
    from trainable.record.trial_record import TrialRecord

    record = TrialRecord(Storage(str(RECORD)), "t0000")
    record.create(TrialSpec("t0000", 0, {{}}, {{}}, False, 0))
    number = len(record.epochs()) + 1
    record.append(EpochRecord(number, 0, 0.5, 1, {{}}))


def meta():
    RECORD.mkdir(exist_ok=True)
    (RECORD / "search.json").write_text('{{"search_id": "x", "name": "x", "data_fingerprint": "x", "created_ms": 0}}')


PLAN = {plan!r}
launch = len(list(HERE.glob("launch-*")))
(HERE / f"launch-{{launch}}").write_text(" ".join(sys.argv[1:]))
exec(PLAN[min(launch, len(PLAN) - 1)])
"""
"""A driver whose launches each do what a line of Python says; of more launches than lines, the last again."""

SUPERVISE = """
import sys
from search.jobs.supervisor import Patience, Supervisor
from trainable.record.storage import Storage
sys.addaudithook(lambda event, arguments: event == "subprocess.Popen" and print("launched", flush=True))
driver, folder, patience = sys.argv[1:]
command = [sys.executable, driver]
sys.exit(Supervisor(command, Storage(folder), resume=False, patience=eval(patience)).run())
"""


def write_driver(folder, *plan):
    path = folder / "driver.py"
    path.write_text(DRIVER.format(plan=plan))
    return path


def supervisor(folder, *plan, resume=False, patience=QUICK, hours=None):
    command = [sys.executable, str(write_driver(folder, *plan))]
    return Supervisor(command, Storage(str(folder / "search")), resume=resume, hours=hours, patience=patience)


def launches(folder):
    """The arguments of each launch."""
    return [path.read_text() for path in sorted(folder.glob("launch-*"), key=lambda path: int(path.name[7:]))]


@pytest.fixture
def start(tmp_path):
    """`start(*plan, patience=QUICK)`: a supervisor in a process of its own, which ends with the test."""
    processes = []

    def start(*plan, patience=QUICK):
        driver = write_driver(tmp_path, *plan)
        command = [sys.executable, "-c", SUPERVISE, str(driver), str(tmp_path / "search"), repr(patience)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def wait_for(path, process):
    return wait_until(lambda: path.exists() and path.read_text(), f"{path}", unless=has_ended(process))


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_end_of_a_search_is_the_end_of_its_job(tmp_path, code):
    assert supervisor(tmp_path, f"sys.exit({code})").run() == code
    assert len(launches(tmp_path)) == 1


@pytest.mark.parametrize("death", [KILLED, "os.kill(os.getpid(), signal.SIGSEGV)", "sys.exit(3)", "sys.exit(70)"])
def test_a_driver_that_dies_is_launched_again(tmp_path, death):
    assert supervisor(tmp_path, f"meta(); {death}", "sys.exit(0)").run() == 0
    assert launches(tmp_path) == ["", "--resume"]


def test_a_driver_that_died_before_its_search_was_written_begins_it_again(tmp_path):
    assert supervisor(tmp_path, KILLED, f"meta(); {KILLED}", "sys.exit(0)").run() == 0
    assert launches(tmp_path) == ["", "", "--resume"]


def test_a_resume_is_one_from_its_first_launch_on(tmp_path):
    assert supervisor(tmp_path, KILLED, "sys.exit(0)", resume=True).run() == 0
    assert launches(tmp_path) == ["--resume", "--resume"]


def test_it_gives_up_after_five_failures_in_a_row_and_says_why(tmp_path, capsys):
    with pytest.raises(
        SearchFaultError, match=r"5 launches in a row without a new epoch.*last was ended by SIGKILL"
    ) as e:
        supervisor(tmp_path, f"print('the disk burns', file=sys.stderr, flush=True); {KILLED}").run()
    assert e.value.exit_code == 3
    assert e.value.__notes__ == ["    the last that it said:", "    the disk burns"]
    assert len(launches(tmp_path)) == 5
    assert capsys.readouterr().err.count("the disk burns") == 5


def test_it_waits_longer_from_failure_to_failure(tmp_path, capsys):
    with pytest.raises(SearchFaultError):
        supervisor(tmp_path, "sys.exit(3)").run()
    said = capsys.readouterr().out
    assert re.findall(r"exited with 3.*starting it again in (\S+) s", said) == ["0.01", "0.02", "0.04", "0.04"]


def test_progress_is_what_gives_it_new_patience(tmp_path, capsys):
    plan = [KILLED] * 4 + [f"epoch(); {KILLED}"] + [KILLED] * 4 + ["sys.exit(0)"]
    assert supervisor(tmp_path, *plan).run() == 0
    assert len(launches(tmp_path)) == 10
    waits = re.findall(r"again in (\S+) s", capsys.readouterr().out)
    assert waits == ["0.01", "0.02", "0.04", "0.04", "0.01", "0.01", "0.02", "0.04", "0.04"]


def test_progress_of_earlier_launches_does_not_count(tmp_path):
    write_driver(tmp_path, "epoch(); meta()")
    subprocess.run([sys.executable, str(tmp_path / "driver.py")], check=True)
    with pytest.raises(SearchFaultError, match="5 launches"):
        supervisor(tmp_path, KILLED, resume=True).run()


def test_storage_that_is_out_of_reach_between_launches_is_a_failure_like_others(tmp_path):
    unreadable = "(RECORD / 'search.json').mkdir(parents=True)"
    with pytest.raises(SearchFaultError, match="5 launches in a row") as e:
        supervisor(tmp_path, f"{unreadable}; sys.exit(3)").run()
    assert "search.json" in " ".join(e.value.__notes__)
    assert len(launches(tmp_path)) == 1


def test_the_time_budget_is_that_of_all_launches_together(tmp_path):
    assert supervisor(tmp_path, f"meta(); {KILLED}", "sys.exit(0)", hours=1).run() == 0
    first, second = launches(tmp_path)
    assert "hours" not in first
    left = float(re.search(r"--resume --set budget\.hours=(\S+)$", second)[1])
    assert 0.5 < left < 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_the_driver_and_is_final(tmp_path, start, number):
    trap = (
        f"signal.signal({int(number)}, lambda *_: (print('whole', flush=True), sys.exit({128 + number})))\n"
        "(HERE / 'ready').write_text('x')\ntime.sleep(3600)"
    )
    process = start(trap)
    wait_for(tmp_path / "ready", process)
    process.send_signal(number)
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert "whole" in said
    assert len(launches(tmp_path)) == 1


def test_a_stopped_driver_that_dies_of_it_is_not_launched_again(tmp_path, start):
    process = start("(HERE / 'ready').write_text('x'); time.sleep(3600)")
    wait_for(tmp_path / "ready", process)
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    assert len(launches(tmp_path)) == 1


def test_a_driver_that_does_not_stop_is_killed(tmp_path, start):
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN); (HERE / 'ready').write_text('x'); time.sleep(3600)"
    process = start(deaf, patience=Patience(stop=0.5))
    wait_for(tmp_path / "ready", process)
    process.terminate()
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGKILL
    assert "did not end within 0.5 s: killing it" in said


def test_a_stop_between_two_launches_is_the_end(start):
    process = start(KILLED, patience=Patience(first_wait=60))
    assert process.stdout.readline() == "launched\n"
    assert "starting it again in 60 s" in process.stdout.readline()
    process.terminate()
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    assert "launched" not in said


STOPPING_DRIVER = """
from search.run.stop_flag import StopFlag
flag = StopFlag(None)
with flag.caught_signals():
    (HERE / 'ready').write_text(str(os.getpid()))
    for told in ('once', 'twice'):
        flag.signal = None
        (HERE / told).write_text('x')
        while flag.reason() is None:
            time.sleep(0.01)
    (HERE / 'closed').write_text('whole')
sys.exit(128 + flag.signal)
"""


def test_a_stop_that_reaches_the_driver_twice_is_one(tmp_path, start):
    """As `ray job stop` does it: it signals the supervisor and the driver, and the supervisor passes it on."""
    process = start(STOPPING_DRIVER)
    driver = int(wait_for(tmp_path / "ready", process))
    wait_for(tmp_path / "once", process)
    os.kill(driver, signal.SIGTERM)
    wait_for(tmp_path / "twice", process)
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    assert (tmp_path / "closed").exists()


def test_a_driver_ends_with_its_supervisor(tmp_path, start):
    orphan = "from search.jobs.supervisor import end_with_supervisor; end_with_supervisor()\n"
    orphan += "(HERE / 'ready').write_text(str(os.getpid())); time.sleep(3600)"
    process = start(orphan)
    driver = int(wait_for(tmp_path / "ready", process))
    process.kill()
    process.communicate(timeout=PATIENCE)
    wait_until(lambda: is_gone(driver), "the end of the driver")


def test_the_lease_of_a_driver_lost_with_its_machine_is_waited_for(tmp_path, capsys):
    assert supervisor(tmp_path, "sys.exit(75)", "sys.exit(75)", "sys.exit(0)", resume=True).run() == 0
    assert len(launches(tmp_path)) == 3
    assert capsys.readouterr().out.count(f"waiting for the other driver to end, {PATIENCE:g} s at the most") == 1


def test_a_relaunch_waits_for_a_lease_too(tmp_path):
    assert supervisor(tmp_path, f"meta(); {KILLED}", "sys.exit(75)", "sys.exit(0)").run() == 0
    assert launches(tmp_path) == ["", "--resume", "--resume"]


def test_a_driver_that_lives_is_not_waited_for_for_ever(tmp_path):
    patience = Patience(taken=0.5, taken_wait=0.1)
    assert supervisor(tmp_path, "sys.exit(75)", resume=True, patience=patience).run() == SearchTakenError.exit_code
    assert len(launches(tmp_path)) > 1


def test_a_new_search_does_not_wait_for_a_lease(tmp_path):
    assert supervisor(tmp_path, "sys.exit(75)").run() == SearchTakenError.exit_code
    assert len(launches(tmp_path)) == 1


def test_a_lease_that_is_taken_has_an_exit_code_of_its_own(tmp_path):
    def launch():
        with Lease(Storage(str(tmp_path))):
            pass

    with Lease(Storage(str(tmp_path))), pytest.raises(typer.Exit) as stopped:
        without_traceback(launch)()
    assert stopped.value.exit_code == SearchTakenError.exit_code == 75


def test_an_error_of_ours_is_no_search_in_which_nothing_worked():
    code = "from aerosweep import cli\ndef app(): raise RuntimeError('ours')\ncli.app = app\ncli.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 70
    assert done.stderr.splitlines()[-1] == "RuntimeError: ours"


def test_a_supervisor_is_light():
    code = (
        "import sys, search.jobs.supervisor; from search.config.config_file import load_search_config\n"
        "print([m for m in ('torch', 'ray', 'mlflow', 'optuna') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
