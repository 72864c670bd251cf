"""What this machine lacks for Ray is said before images are decoded, with what to set."""

import os
import shutil
import stat
from collections import namedtuple
from contextlib import nullcontext
from pathlib import Path

import pytest

from search.run.preflight import machine_checks
from search.run.preflight.machine_checks import check_machine, check_shared_memory, check_token_folder
from search.run.ray_folder import check_ray_folder, ray_folder
from trainable.config.sections import RuntimeConfig
from trainable.errors import InputError, SearchFaultError

LONG = "x" * 80
"""As long as schedulers like: /scratch/local/slurm/job.12345678.node0001/tmp and more."""
SOCKET = "session_2026-11-29_01-35-47_653178_4194304/sockets/plasma_store"


@pytest.fixture(autouse=True)
def _a_new_user(monkeypatch, tmp_path):
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)


def noted(runtime=None, address=None):
    said = []
    check_machine(runtime or RuntimeConfig(), address, said.append)
    return said


def test_a_folder_that_is_too_long_for_sockets_is_replaced_and_the_user_told(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path / LONG))
    (note,) = noted()
    assert note.startswith("note: TMPDIR is too long for the sockets of Ray, which takes 39 bytes (")
    assert str(tmp_path / LONG) in note
    assert note.endswith("RAY_TMPDIR can name another folder")
    with ray_folder() as folder:
        assert len(os.fsencode(folder / SOCKET)) <= 107
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700, "others of this machine cannot enter it"
        folder.mkdir()
        (folder / "log").write_text("of Ray")
    assert not folder.parent.exists(), "no scheduler clears it away"


def test_the_longest_folder_that_ray_takes_is_kept(monkeypatch, tmp_path):
    longest = "/tmp/" + "y" * 34
    monkeypatch.setenv("TMPDIR", longest)
    assert noted() == []
    with ray_folder() as folder:
        assert str(folder) == f"{longest}/ray"
        assert len(os.fsencode(folder / SOCKET)) == 107
    assert not Path(longest).exists(), "a check makes nothing"


def test_ray_has_a_variable_of_its_own_which_must_be_right(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path / LONG))
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    assert noted() == []
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / LONG))
    with pytest.raises(InputError, match=r"^RAY_TMPDIR must have at most 39 bytes.*export RAY_TMPDIR=/tmp\)\.$"):
        noted()


@pytest.mark.parametrize("below", ["", "/further/down"])
def test_a_folder_that_cannot_be_written_is_refused_with_the_variable(below, monkeypatch):
    monkeypatch.setenv("TMPDIR", f"/proc/version{below}")
    rule = rf"Ray needs a folder for its sockets and logs \(TMPDIR\); got /proc/version{below}/ray: Not a directory\. "
    with pytest.raises(InputError, match=rule + "Set RAY_TMPDIR to a folder that you can write"):
        noted()


def test_an_empty_variable_is_none(monkeypatch):
    monkeypatch.setenv("TMPDIR", "")
    with ray_folder() as folder:
        assert str(folder) == "/tmp/ray"


def test_a_full_disk_is_refused_before_ray_waits_for_what_it_cannot_write(monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100 * 2**30, 100 * 2**30, 2**20))
    with pytest.raises(InputError, match="1 MiB free, less than 50 MiB"):
        check_ray_folder()


def test_a_machine_without_shared_memory_is_refused(tmp_path):
    check_shared_memory(tmp_path)
    with pytest.raises(InputError, match=r"Ray needs shared memory .*; got no such folder\. Mount it"):
        check_shared_memory(tmp_path / "shm")


@pytest.mark.parametrize(("platform", "refused"), [("linux", True), ("darwin", False)])
def test_shared_memory_is_asked_for_where_ray_uses_it(monkeypatch, tmp_path, platform, refused):
    """On a Mac there is no such folder, and Ray uses its folder for temporary files."""
    monkeypatch.setattr(machine_checks, "_SHARED_MEMORY", tmp_path / "shm")
    monkeypatch.setattr(machine_checks.sys, "platform", platform)
    with pytest.raises(InputError, match="Ray needs shared memory") if refused else nullcontext():
        noted()


def test_a_home_in_which_ray_cannot_keep_its_token_is_refused_unless_it_has_one(monkeypatch, tmp_path):
    check_token_folder()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"Ray needs a home folder.*Set HOME to a folder that you can write"):
        check_token_folder()
    for name, value in (("RAY_AUTH_TOKEN", "secret"), ("RAY_AUTH_MODE", "disabled")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            check_token_folder()


def test_a_cluster_that_is_joined_asks_nothing_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", "/proc/version")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / LONG))
    monkeypatch.setenv("HOME", "/proc/version")
    monkeypatch.setattr(machine_checks, "_SHARED_MEMORY", tmp_path / "shm")
    assert noted(RuntimeConfig(compile=True), "10.0.0.1:6379") == []


def test_a_machine_that_cannot_compile_is_refused_where_its_own_trials_would_have_to(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "/nowhere/g++")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    with pytest.raises(SearchFaultError, match=r"runtime\.compile true needs a C\+\+ compiler .*/nowhere/g\+\+"):
        noted(RuntimeConfig(compile=True))
    assert noted(RuntimeConfig(compile=False)) == []
