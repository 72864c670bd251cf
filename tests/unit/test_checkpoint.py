"""Checkpoints: read back exactly, never executed, and passed over when damaged."""

import io
import pickle

import pytest
import torch

from trainable.record.checkpoint import Checkpoints, from_bytes, to_bytes
from trainable.record.storage import Storage


@pytest.fixture
def folder(tmp_path):
    return Storage(str(tmp_path / "t0000"))


@pytest.fixture
def checkpoints(folder):
    return Checkpoints(folder)


@pytest.fixture
def refused():
    """What was refused, and why."""
    return []


def state(epoch):
    return {"model": {"weight": torch.full((300,), float(epoch))}, "step": epoch}


def stored(folder):
    return folder.names("checkpoints")


def damage(folder, epoch, change):
    name = f"checkpoints/{epoch:04d}.pt"
    folder.write(name, change(folder.read(name)))


def flip_a_weight(data):
    """Another number where epoch 3's weights are."""
    place = data.find(torch.full((50,), 3.0).numpy().tobytes())
    assert place > 0
    return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]


DAMAGES = {
    "truncated": lambda data: data[: len(data) // 2],
    "without its end": lambda data: data[:-1],
    "empty": lambda data: b"",
    "flipped": flip_a_weight,
    "garbage": lambda data: b"\x00" * len(data),
    "another format": lambda data: to_bytes({"format": 99, "epoch": 3, "state": {}}),
    "another epoch's": lambda data: to_bytes({"format": 1, "epoch": 2, "state": {}}),
    "without a state": lambda data: to_bytes({"format": 1, "epoch": 3}),
    "not a dict": lambda data: to_bytes(torch.zeros(2)),
}


def test_the_newest_is_read_back(checkpoints, refused):
    for epoch in (1, 2):
        checkpoints.save(epoch, state(epoch))
    epoch, loaded = checkpoints.load_newest(2, refused.append)
    assert epoch == 2
    assert loaded["step"] == 2
    assert torch.equal(loaded["model"]["weight"], state(2)["model"]["weight"])


def test_none_is_none(checkpoints, refused):
    assert checkpoints.load_newest(5, refused.append) is None


def test_one_beyond_the_last_record_does_not_count(checkpoints, refused):
    for epoch in (1, 2, 3):
        checkpoints.save(epoch, state(epoch))
    assert checkpoints.load_newest(2, refused.append)[0] == 2
    assert checkpoints.load_newest(0, refused.append) is None


@pytest.mark.parametrize("change", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_one_is_named_and_the_one_before_is_taken(checkpoints, folder, refused, change):
    for epoch in (2, 3):
        checkpoints.save(epoch, state(epoch))
    damage(folder, 3, change)
    epoch, loaded = checkpoints.load_newest(3, refused.append)
    assert epoch == 2
    assert loaded["step"] == 2
    (line,) = refused
    assert "t0000/checkpoints/0003.pt is damaged and passed over" in line


def test_all_damaged_is_none(checkpoints, folder, refused):
    for epoch in (2, 3):
        checkpoints.save(epoch, state(epoch))
        damage(folder, epoch, DAMAGES["truncated"])
    assert checkpoints.load_newest(3, refused.append) is None


class Malice:
    """Leaves a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def zipped(content):
    return to_bytes(content)


def legacy(content):
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


@pytest.mark.parametrize("form", [zipped, legacy, pickle.dumps])
@pytest.mark.filterwarnings("error")
def test_a_malicious_pickle_is_refused_and_never_executed(checkpoints, folder, tmp_path, refused, form):
    trace = tmp_path / "executed"
    checkpoints.save(2, state(2))
    folder.write("checkpoints/0003.pt", form({"format": 1, "epoch": 3, "state": Malice(trace)}))
    assert checkpoints.load_newest(3, refused.append)[0] == 2
    (line,) = refused
    assert "0003.pt is damaged and passed over" in line
    assert "weights_only" not in line, "torch's advice to execute it"
    assert not trace.exists()
    pickle.loads(pickle.dumps(Malice(trace))).close()
    assert trace.exists(), "the pickle would have done its work"


def test_two_are_kept(checkpoints, folder):
    for epoch in (1, 2, 3, 4):
        checkpoints.save(epoch, state(epoch))
        checkpoints.prune(newest=epoch)
    assert stored(folder) == ["0003.pt", "0004.pt"]


def test_what_lies_beyond_the_newest_is_not_kept_in_its_place(checkpoints, folder):
    """After a damaged record an early epoch is trained again, beside checkpoints of later ones."""
    for epoch in (1, 2, 5, 6):
        checkpoints.save(epoch, state(epoch))
    checkpoints.prune(newest=2)
    assert stored(folder) == ["0001.pt", "0002.pt"]


def test_names_of_others_are_left_alone(checkpoints, folder, refused):
    folder.write("checkpoints/notes.txt", b"mine")
    checkpoints.save(1, state(1))
    checkpoints.prune(newest=1)
    assert checkpoints.load_newest(1, refused.append)[0] == 1
    checkpoints.clear()
    assert stored(folder) == ["notes.txt"]


def test_order_is_by_number(checkpoints, refused):
    for epoch in (9_999, 10_000):
        checkpoints.save(epoch, state(epoch))
    assert checkpoints.load_newest(10_000, refused.append)[0] == 10_000


def test_bytes_hold_tensors_and_plain_values():
    values = {"a": torch.arange(3), "b": [1, 2.5, "x", None], "c": {"d": (1, 2)}, "e": torch.get_rng_state()}
    read = from_bytes(to_bytes(values))
    assert torch.equal(read["a"], values["a"])
    assert torch.equal(read["e"], values["e"])
    assert read["b"] == values["b"]
    assert read["c"] == values["c"]
