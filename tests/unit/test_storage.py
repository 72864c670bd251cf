"""Storage on a local folder: names are whole or absent."""

import errno
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from s3fs.errors import translate_boto_error
from waiting import PATIENCE

from trainable.record.storage import Storage, StorageError


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path / "search"))


def files_below(folder):
    return sorted(path.name for path in Path(folder).rglob("*") if path.is_file())


def test_reads_what_was_written_and_nothing_where_nothing_was(storage):
    storage.write("a/b.json", b"12")
    assert storage.read("a/b.json") == b"12"
    assert storage.read("a/c.json") is None
    assert storage.read("no/folder.json") is None


def test_writing_replaces_and_leaves_no_other_file(storage):
    storage.write("a/b.json", b"a longer text")
    storage.write("a/b.json", b"x")
    assert storage.read("a/b.json") == b"x"
    assert files_below(storage.local_path) == ["b.json"]


def test_what_is_created_is_never_replaced(storage):
    assert storage.create("a/b", b"first")
    assert not storage.create("a/b", b"second")
    assert storage.read("a/b") == b"first"
    assert files_below(storage.local_path) == ["b"]


def test_of_many_that_create_the_same_name_one_succeeds(storage):
    start = threading.Barrier(8)
    written = []

    def create(number):
        start.wait()
        if storage.create("a/b", b"%d" % number):
            written.append(b"%d" % number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert written == [storage.read("a/b")]
    assert files_below(storage.local_path) == ["b"]


@pytest.fixture
def no_hard_links(monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)


def test_creating_does_without_hard_links_where_there_are_none(storage, no_hard_links):
    assert storage.create("a/b", b"first")
    assert not storage.create("a/b", b"second")
    assert storage.read("a/b") == b"first"
    assert files_below(storage.local_path) == ["b"]


def test_of_two_that_create_a_name_at_once_without_hard_links_one_succeeds(storage, no_hard_links, monkeypatch):
    """The second comes when the first has looked and has not written yet."""
    monkeypatch.setattr("trainable.record.storage._RESERVED_SECONDS", PATIENCE)
    exists, second = Path.exists, []

    def look(path):
        there = exists(path)
        if path.name == "b" and not second:
            second.append(threading.Thread(target=lambda: second.append(storage.create("a/b", b"second"))))
            second[0].start()
            second[0].join(timeout=0.3)
        return there

    monkeypatch.setattr(Path, "exists", look)
    assert storage.create("a/b", b"first")
    second[0].join()
    assert second[1] is False
    assert storage.read("a/b") == b"first"
    assert files_below(storage.local_path) == ["b"]


def test_what_a_writer_that_was_killed_has_reserved_is_named(storage, no_hard_links, monkeypatch):
    monkeypatch.setattr("trainable.record.storage._RESERVED_SECONDS", 0.05)
    storage.write("a/.writing-b", b"")
    with pytest.raises(StorageError, match=r"a writer that was killed has left .*/a/\.writing-b: delete it when none"):
        storage.create("a/b", b"1")
    storage.delete_unfinished("")
    assert storage.create("a/b", b"1")


def test_a_link_that_was_made_and_answered_with_an_error_was_made(storage, monkeypatch):
    """As NFS does it, when the first answer is lost and the request is repeated."""
    link = os.link

    def lose_the_answer(*names):
        link(*names)
        link(*names)

    monkeypatch.setattr(os, "link", lose_the_answer)
    assert storage.create("a/b", b"first")
    assert not storage.create("a/b", b"second")
    assert storage.read("a/b") == b"first"


def test_what_was_cleared_away_before_it_had_its_name_is_written_again(storage, monkeypatch):
    """By a driver that has just begun, and takes it for the rest of one that was killed."""
    link, cleared = os.link, []

    def clear_away(temporary, path):
        if not cleared:
            cleared.append(storage.delete_unfinished(""))
        link(temporary, path)

    monkeypatch.setattr(os, "link", clear_away)
    assert storage.create("a/b", b"1")
    assert storage.read("a/b") == b"1"


def of_server(code, message):
    """An error of an S3 server, as s3fs raises it."""
    return translate_boto_error(ClientError({"Error": {"Code": code, "Message": message}}, "PutObject"))


@pytest.mark.parametrize("code", ["PreconditionFailed", "412"])
def test_a_server_that_does_not_say_which_precondition_failed_is_understood(monkeypatch, code):
    """MinIO's answer has no Condition, which s3fs looks for."""
    storage = Storage("memory://create")

    def refuse(path, data, mode="overwrite"):
        raise of_server(code, "At least one of the pre-conditions you specified did not hold")

    monkeypatch.setattr(storage._fs, "pipe_file", refuse)
    assert storage.create("a/b", b"1") is False


def test_two_conditional_writes_that_a_server_lets_conflict_are_repeated(monkeypatch):
    storage = Storage("memory://create")
    pipe, answers = storage._fs.pipe_file, ["ConditionalRequestConflict"] * 2
    monkeypatch.setattr("trainable.record.storage._CONFLICT_WAITS", (0, 0))

    def conflict(path, data, mode="overwrite"):
        if answers:
            raise of_server(answers.pop(), "A conflicting conditional operation is currently in progress")
        pipe(path, data, mode)

    monkeypatch.setattr(storage._fs, "pipe_file", conflict)
    assert storage.create("a/b", b"1")
    answers += ["ConditionalRequestConflict"] * 3
    with pytest.raises(StorageError, match="A conflicting conditional operation"):
        storage.create("a/c", b"1")
    answers.clear()
    storage.delete("a/b")


class NotAllowedError(Exception):
    """Why nothing may be changed."""


def test_a_guarded_folder_asks_before_each_change_there_and_below(storage):
    storage.write("a/b", b"1")

    def refuse():
        raise NotAllowedError

    guarded = storage.guarded(refuse)
    for change in (
        lambda folder: folder.write("a/b", b"2"),
        lambda folder: folder.create("a/c", b"2"),
        lambda folder: folder.delete("a/b"),
        lambda folder: folder.delete_folder("a"),
        lambda folder: folder.delete_unfinished(""),
    ):
        for folder in (guarded, guarded.child("a")):
            with pytest.raises(NotAllowedError):
                change(folder)
    assert guarded.child("a").read("b") == b"1"
    assert files_below(storage.local_path) == ["b"]
    pickle.loads(pickle.dumps(guarded)).write("a/b", b"a worker's")


@pytest.mark.parametrize(
    "refusal",
    [
        NotImplementedError("conditional writes"),
        OSError(errno.EIO, "A header you provided implies functionality that is not implemented"),
        OSError(errno.EIO, "An error occurred (NotImplemented) when calling the PutObject operation"),
    ],
)
def test_creating_does_without_conditional_writes_where_a_server_has_none(monkeypatch, refusal):
    storage = Storage("memory://create")
    pipe = storage._fs.pipe_file

    def refuse(path, data, mode="overwrite"):
        if mode == "create":
            raise refusal
        pipe(path, data)

    monkeypatch.setattr(storage._fs, "pipe_file", refuse)
    assert storage.create("a/b", b"first")
    assert not storage.create("a/b", b"second")
    assert storage.read("a/b") == b"first"
    storage.delete("a/b")


def test_names_are_sorted_and_of_one_folder(storage):
    for name in ("epochs/0002.json", "epochs/0001.json", "best/0001/weights.pt", "end.json"):
        storage.write(name, b"1")
    assert storage.names("epochs") == ["0001.json", "0002.json"]
    assert storage.names() == ["best", "end.json", "epochs"]
    assert storage.names("absent") == []


def test_read_many_leaves_out_what_is_absent(storage):
    storage.write("a", b"1")
    storage.write("b", b"2")
    assert storage.read_many(["b", "c", "a", "no/d"]) == {"b": b"2", "a": b"1"}
    assert storage.read_many([]) == {}


def test_read_many_raises_what_is_not_absence(storage):
    storage.write("folder/a", b"1")
    with pytest.raises(StorageError, match=r"'Is a directory' when asked to read .*/folder"):
        storage.read_many(["folder"])


def test_characters_of_patterns_are_taken_as_they_are(tmp_path):
    storage = Storage(str(tmp_path / "run [1] *?"))
    storage.write("a/1", b"1")
    Storage(str(tmp_path / "run 1 xx")).write("a/1", b"another's")
    assert storage.read_many(["a/1"]) == {"a/1": b"1"}
    assert storage.names("a") == ["1"]
    storage.delete_folder("a")
    assert storage.names() == []
    assert Storage(str(tmp_path / "run 1 xx")).read("a/1") == b"another's"


def test_deleting_is_silent_where_nothing_is(storage):
    storage.write("a/b", b"1")
    storage.write("a/c", b"2")
    storage.delete("a/b")
    storage.delete("a/b")
    assert storage.names("a") == ["c"]
    storage.delete_folder("a")
    storage.delete_folder("a")
    assert storage.names() == []


def test_a_child_is_the_folder_below(storage):
    child = storage.child("trials", "t0001")
    child.write("end.json", b"1")
    assert storage.read("trials/t0001/end.json") == b"1"
    assert child.url == f"{storage.url}/trials/t0001"


def test_is_pickled_by_its_url(storage):
    storage.write("a", b"1")
    copy = pickle.loads(pickle.dumps(storage))
    assert copy.url == storage.url
    assert copy.read("a") == b"1"


def test_a_trailing_slash_means_nothing(tmp_path):
    Storage(f"{tmp_path}/x/").write("a", b"1")
    assert Storage(f"{tmp_path}/x").read("a") == b"1"


def test_local_path_is_refused_elsewhere():
    with pytest.raises(ValueError, match="memory://search is not on a local file system"):
        _ = Storage("memory://search").local_path


@pytest.mark.parametrize("moment", ["write", "fsync", "rename"])
def test_an_error_while_writing_leaves_what_was_there(storage, monkeypatch, moment):
    storage.write("a/b", b"before")

    def fail(*_):
        raise OSError(errno.ENOSPC, "no space left")

    match moment:
        case "write":
            monkeypatch.setattr(Path, "open", fail)
        case "fsync":
            monkeypatch.setattr(os, "fsync", fail)
        case "rename":
            monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(StorageError, match=r"'no space left' when asked to write .*/a/b\. Free space there"):
        storage.write("a/b", b"after")
    monkeypatch.undo()
    assert storage.read("a/b") == b"before"
    assert files_below(storage.local_path) == ["b"]


def test_a_kill_between_file_and_name_leaves_nothing_listed(storage):
    """The process dies: no cleaning up runs."""
    storage.write("checkpoints/0001.pt", b"1")
    program = """if True:
        import os, sys
        from pathlib import Path
        from trainable.record.storage import Storage
        Path.replace = lambda *_: os._exit(9)
        Storage(sys.argv[1]).write("checkpoints/0002.pt", b"2")
    """
    assert subprocess.run([sys.executable, "-c", program, storage.url], check=False).returncode == 9
    assert len(files_below(storage.local_path)) == 2
    assert storage.names("checkpoints") == ["0001.pt"]
    assert storage.read("checkpoints/0002.pt") is None
    storage.delete_unfinished("checkpoints")
    assert files_below(storage.local_path) == ["0001.pt"]


def test_bytes_are_on_the_disk_before_they_have_a_name(storage, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append("fsync"))
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: (calls.append("rename"), replace(self, to)))
    storage.write("a", b"1")
    assert calls == ["fsync", "rename"]


def test_a_reader_never_sees_a_part(storage):
    contents = [bytes([value]) * 200_000 for value in (1, 2)]
    storage.write("a", contents[0])
    done = threading.Event()

    def write():
        for turn in range(60):
            storage.write("a", contents[turn % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(storage.read("a"))
        assert storage.names() == ["a"]
    writer.join()
    assert seen <= set(contents)
