"""Checkpoints: read back exactly, never executed, and passed over when damaged."""

import io
import pickle

import pytest
import torch

from trainable.record.checkpoint import Checkpoints, from_bytes, to_bytes
from trainable.record.record_format import NewerRecordError
from trainable.record.record_types import EpochRecord
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


def durable(epochs, start=1):
    """The records of epochs that a start has trained."""
    return [EpochRecord(epoch, 0, 0.5, 1, {}, start=start) for epoch in range(1, epochs + 1)]


def state(epoch):
    return {"model": {"weight": torch.full((300,), float(epoch))}, "step": epoch}


def stored(folder):
    return folder.names("checkpoints")


def damage(folder, epoch, change):
    name = f"checkpoints/{epoch:04d}-0001.pt"
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
    "a format that never was": lambda data: to_bytes({"format": 0, "epoch": 3, "state": {}}),
    "another epoch's": lambda data: to_bytes({"format": 1, "epoch": 2, "state": {}}),
    "without a state": lambda data: to_bytes({"format": 1, "epoch": 3}),
    "not a dict": lambda data: to_bytes(torch.zeros(2)),
}


def test_the_newest_is_read_back(checkpoints, refused):
    for epoch in (1, 2):
        checkpoints.save(epoch, 1, state(epoch))
    epoch, loaded = checkpoints.load_newest(durable(2), refused.append)
    assert epoch == 2
    assert loaded["step"] == 2
    assert torch.equal(loaded["model"]["weight"], state(2)["model"]["weight"])


def test_none_is_none(checkpoints, refused):
    assert checkpoints.load_newest(durable(5), refused.append) is None


def test_one_beyond_the_last_record_does_not_count(checkpoints, refused):
    for epoch in (1, 2, 3):
        checkpoints.save(epoch, 1, state(epoch))
    assert checkpoints.load_newest(durable(2), refused.append)[0] == 2
    assert checkpoints.load_newest(durable(0), refused.append) is None


@pytest.mark.parametrize("change", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_one_is_named_and_the_one_before_is_taken(checkpoints, folder, refused, change):
    for epoch in (2, 3):
        checkpoints.save(epoch, 1, state(epoch))
    damage(folder, 3, change)
    epoch, loaded = checkpoints.load_newest(durable(3), refused.append)
    assert epoch == 2
    assert loaded["step"] == 2
    (line,) = refused
    assert "t0000/checkpoints/0003-0001.pt is damaged and passed over" in line


def test_all_damaged_is_none(checkpoints, folder, refused):
    for epoch in (2, 3):
        checkpoints.save(epoch, 1, state(epoch))
        damage(folder, epoch, DAMAGES["truncated"])
    assert checkpoints.load_newest(durable(3), refused.append) is None


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
    checkpoints.save(2, 1, state(2))
    folder.write("checkpoints/0003-0001.pt", form({"format": 1, "epoch": 3, "state": Malice(trace)}))
    assert checkpoints.load_newest(durable(3), refused.append)[0] == 2
    (line,) = refused
    assert "0003-0001.pt is damaged and passed over" in line
    assert "weights_only" not in line, "torch's advice to execute it"
    assert not trace.exists()
    pickle.loads(pickle.dumps(Malice(trace))).close()
    assert trace.exists(), "the pickle would have done its work"


def test_two_are_kept(checkpoints, folder):
    for epoch in (1, 2, 3, 4):
        checkpoints.save(epoch, 1, state(epoch))
        checkpoints.prune(durable(epoch), epoch)
    assert stored(folder) == ["0003-0001.pt", "0004-0001.pt"]


def test_damaged_ones_of_later_epochs_are_not_kept_in_the_place_of_the_newest(checkpoints, folder):
    """After damage an early epoch is trained again, beside checkpoints of later ones."""
    for epoch in (1, 2, 5, 6):
        checkpoints.save(epoch, 1, state(epoch))
    checkpoints.prune(durable(6), 2)
    assert stored(folder) == ["0001-0001.pt", "0002-0001.pt"]


def test_one_whose_epoch_is_not_durable_yet_stays(checkpoints, folder):
    """Another start may be about to write its record."""
    for epoch in (1, 2, 3, 4):
        checkpoints.save(epoch, 1, state(epoch))
    checkpoints.prune(durable(3), 3)
    assert stored(folder) == ["0002-0001.pt", "0003-0001.pt", "0004-0001.pt"]


def test_one_of_another_start_than_the_record_says_does_not_count(checkpoints, folder, refused):
    checkpoints.save(1, 1, state(1))
    checkpoints.save(2, 1, state(7))
    checkpoints.save(2, 2, state(2))
    records = [*durable(1), *durable(2, start=2)[1:]]
    assert checkpoints.load_newest(records, refused.append)[1]["step"] == 2
    checkpoints.prune(records, 2)
    assert stored(folder) == ["0001-0001.pt", "0002-0002.pt"]


def test_one_of_format_1_is_named_by_its_epoch_alone(checkpoints, folder, refused):
    folder.write("checkpoints/0003.pt", to_bytes({"format": 1, "epoch": 3, "state": state(3)}))
    assert checkpoints.load_newest(durable(3, start=0), refused.append)[0] == 3


def test_one_of_a_newer_version_is_refused_and_not_passed_over(checkpoints, folder, refused):
    for epoch in (2, 3):
        checkpoints.save(epoch, 1, state(epoch))
    damage(folder, 3, lambda data: to_bytes({"format": 99, "epoch": 3, "state": {}}))
    with pytest.raises(NewerRecordError, match=r"0003-0001\.pt must be of a format .* got format 99"):
        checkpoints.load_newest(durable(3), refused.append)


def test_names_of_others_are_left_alone(checkpoints, folder, refused):
    folder.write("checkpoints/notes.txt", b"mine")
    checkpoints.save(1, 1, state(1))
    checkpoints.prune(durable(1), 1)
    assert checkpoints.load_newest(durable(1), refused.append)[0] == 1
    checkpoints.clear()
    assert stored(folder) == ["notes.txt"]


def test_order_is_by_number(checkpoints, refused):
    for epoch in (9_999, 10_000):
        checkpoints.save(epoch, 1, state(epoch))
    assert checkpoints.load_newest(durable(10_000), refused.append)[0] == 10_000


def test_bytes_hold_tensors_and_plain_values():
    values = {"a": torch.arange(3), "b": [1, 2.5, "x", None], "c": {"d": (1, 2)}, "e": torch.get_rng_state()}
    read = from_bytes(to_bytes(values))
    assert torch.equal(read["a"], values["a"])
    assert torch.equal(read["e"], values["e"])
    assert read["b"] == values["b"]
    assert read["c"] == values["c"]
