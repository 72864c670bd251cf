"""Storage on S3, served on loopback: the cases of the local folder, and what only S3 has."""

import pickle

import boto3
import pytest

from trainable.record.storage import Storage, StorageError


@pytest.fixture(scope="module")
def client(s3):
    return boto3.client("s3")


@pytest.fixture
def storage(client, request):
    return Storage(f"s3://searches/runs/{request.node.name}")


def put(client, storage, name, data):
    """Write as another process would: not through this storage."""
    client.put_object(Bucket="searches", Key=f"{storage.url.removeprefix('s3://searches/')}/{name}", Body=data)


def test_reads_what_was_written_and_nothing_where_nothing_was(storage):
    storage.write("a/b.json", b"12")
    storage.write("a/b.json", b"3")
    assert storage.read("a/b.json") == b"3"
    assert storage.read("a/c.json") is None
    assert storage.read("no/folder.json") is None


def test_what_is_created_is_never_replaced(storage):
    assert storage.create("a/b", b"first")
    assert not storage.create("a/b", b"second")
    assert storage.read("a/b") == b"first"


def test_a_bucket_that_is_not_there_is_named(client):
    with pytest.raises(StorageError, match=r"s3://nowhere must be readable and writable.*to write s3://nowhere/a"):
        Storage("s3://nowhere").write("a", b"1")


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


def test_characters_of_patterns_are_taken_as_they_are(client):
    storage, neighbour = Storage("s3://searches/run [1] *"), Storage("s3://searches/run 1 x")
    storage.write("a/1", b"1")
    neighbour.write("a/1", b"another's")
    assert storage.read_many(["a/1"]) == {"a/1": b"1"}
    assert storage.names("a") == ["1"]
    storage.delete_folder("a")
    assert storage.names() == []
    assert neighbour.read("a/1") == b"another's"


def test_deleting_is_silent_where_nothing_is(storage):
    storage.write("a/b", b"1")
    storage.write("a/c", b"2")
    storage.write("ab/c", b"3")
    storage.delete("a/b")
    storage.delete("a/b")
    assert storage.names("a") == ["c"]
    storage.delete_folder("a")
    storage.delete_folder("a")
    assert storage.names() == ["ab"]


def test_is_pickled_by_its_url(storage):
    storage.write("a", b"1")
    assert pickle.loads(pickle.dumps(storage)).read("a") == b"1"


def test_sees_what_another_process_wrote_after_a_listing(storage, client):
    storage.write("epochs/0001.json", b"1")
    assert storage.names("epochs") == ["0001.json"]
    put(client, storage, "epochs/0002.json", b"2")
    assert storage.read("epochs/0002.json") == b"2"
    assert storage.names("epochs") == ["0001.json", "0002.json"]
    put(client, storage, "epochs/0003.json", b"3")
    assert storage.read_many(["epochs/0002.json", "epochs/0003.json"]) == {
        "epochs/0002.json": b"2",
        "epochs/0003.json": b"3",
    }
    put(client, storage, "best/0001/a", b"4")
    storage.names("best/0001")
    put(client, storage, "best/0001/b", b"5")
    storage.delete_folder("best/0001")
    assert storage.names("best") == []


def test_a_large_object_that_another_process_replaced_is_read_whole(storage, client):
    put(client, storage, "checkpoints/1.pt", b"a" * 60 * 2**20)
    storage.names("checkpoints")
    put(client, storage, "checkpoints/1.pt", b"b" * 70 * 2**20)
    assert storage.read("checkpoints/1.pt") == b"b" * 70 * 2**20


def test_an_object_that_stands_for_the_folder_is_not_a_name(storage, client):
    put(client, storage, "trials/", b"")
    storage.write("trials/t0000/end.json", b"1")
    put(client, storage, "trials/t0000/", b"")
    assert storage.names("trials") == ["t0000"]
    assert storage.names("trials/t0000") == ["end.json"]


def test_has_no_unfinished_parts_and_no_path(storage):
    storage.delete_unfinished("checkpoints")
    with pytest.raises(ValueError, match="is not on a local file system"):
        _ = storage.local_path
