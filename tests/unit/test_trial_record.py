"""A trial's record: what was written is what is read, and a part of a file is nothing."""

import json
import logging
from dataclasses import asdict

import pytest

from trainable.errors import InputError, SearchFaultError
from trainable.record.metric_names import metric_safe
from trainable.record.record_format import NewerRecordError
from trainable.record.record_types import EpochRecord, TrialSpec, ValRecord, trial_name
from trainable.record.storage import Storage
from trainable.record.trial_record import TrialRecord, load_trials, require_specs


@pytest.fixture
def search(tmp_path):
    return Storage(str(tmp_path / "search"))


@pytest.fixture
def record(search):
    return TrialRecord(search, "t0003")


def spec(number=3, **changes):
    values = {
        "trial_id": trial_name(number),
        "number": number,
        "params": {"loss.alpha": 0.7, "model.architecture": "unet"},
        "config": {"loss": {"alpha": 0.7, "gamma": None}},
        "baseline": False,
        "created_ms": 1,
    }
    return TrialSpec(**(values | changes))


def epoch(number, objective=0.5, **changes):
    values = {
        "epoch": number,
        "time_ms": 10 * number,
        "objective": objective,
        "best_epoch": 1,
        "metrics": {"miou": 0.1 * number, "iou/person": 1 / 3},
        "attempt": 2,
        "node": "n1",
        "device": "cpu",
    }
    return EpochRecord(**(values | changes))


def test_epochs_are_read_as_they_were_written(record):
    written = [epoch(1), epoch(2, metrics={}), epoch(3, diverged="the training loss became nan")]
    for entry in written:
        record.append(entry)
    assert record.epochs() == tuple(written)


def test_epochs_are_in_the_order_of_their_numbers(record):
    for number in (2, 1, 3):
        record.append(epoch(number))
    assert [entry.epoch for entry in record.epochs()] == [1, 2, 3]


def test_more_epochs_than_their_names_have_digits(record):
    files = {f"{number:04d}.json": json.dumps(asdict(epoch(number))).encode() for number in range(1, 10_002)}

    class Folder:
        url = "memory"

        def names(self, folder):
            return sorted(files)

        def read_many(self, names):
            return {name: files[name.removeprefix("epochs/")] for name in names}

    record.folder = Folder()
    assert len(record.epochs()) == 10_001


def test_a_trial_that_was_never_started_has_no_epochs_and_attempts(record):
    assert record.epochs() == ()
    assert record.attempts() == 0


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"[1]"])
def test_a_damaged_epoch_is_named_and_ends_the_history(record, caplog, damage):
    for number in (1, 2, 3):
        record.append(epoch(number))
    data = record.folder.read("epochs/0002.json")
    record.folder.write("epochs/0002.json", damage(data))
    with caplog.at_level(logging.WARNING):
        assert [entry.epoch for entry in record.epochs()] == [1]
    assert "trials/t0003/epochs/0002.json is no whole record" in caplog.text


def test_a_gap_is_named_and_ends_the_history(record, caplog):
    for number in (1, 2, 4):
        record.append(epoch(number))
    with caplog.at_level(logging.WARNING):
        assert [entry.epoch for entry in record.epochs()] == [1, 2]
    assert "t0003/epochs/0004.json does not follow epoch 2" in caplog.text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_have_is_not_written(record, value):
    for wrong in (epoch(1, objective=value), epoch(1, metrics={"miou": value})):
        with pytest.raises(ValueError, match="not JSON compliant"):
            record.append(wrong)
    assert record.epochs() == ()


def test_attempts_are_counted_and_say_where_they_ran(record):
    assert record.start_attempt("n1", "cpu", 0) == 1
    assert record.start_attempt("n2", "NVIDIA H100", 4) == 2
    assert record.attempts() == 2
    facts = json.loads(record.folder.read("attempts/0002.json"))
    assert facts["node"] == "n2"
    assert facts["device"] == "NVIDIA H100"
    assert facts["continued_from"] == 4


def test_a_trial_is_read_as_it_stands(search, record):
    record.create(spec())
    record.start_attempt("n1", "cpu", 0)
    record.append(epoch(1))
    (trial,) = load_trials(search)
    assert trial.spec == spec()
    assert trial.epochs == (epoch(1),)
    assert trial.end is None
    assert trial.attempts == 1
    assert trial.state == "unfinished"


def test_the_end_marker_holds_the_whole_history(search, record):
    record.create(spec())
    record.start_attempt("n1", "cpu", 0)
    history = (epoch(1, 0.2), epoch(2, 0.4, best_epoch=2), epoch(3, 0.4, best_epoch=2))
    for entry in history:
        record.append(entry)
    marker = record.end("pruned", "below the best 1/3 at epoch 3", history)
    search.delete_folder("trials/t0003/epochs")
    (trial,) = load_trials(search)
    assert trial.end == marker
    assert trial.epochs == history
    assert trial.state == "pruned"
    assert trial.attempts == 1
    assert trial.objective == 0.4
    assert trial.best == history[1]


def test_a_truncated_end_marker_is_named_and_not_an_end(search, record, caplog):
    record.create(spec())
    record.append(epoch(1))
    record.end("completed", "trained 1 epochs", [epoch(1)])
    data = record.folder.read("end.json")
    record.folder.write("end.json", data[:-5])
    with caplog.at_level(logging.WARNING):
        (trial,) = load_trials(search)
    assert trial.end is None
    assert trial.epochs == (epoch(1),)
    assert "trials/t0003/end.json is no whole record" in caplog.text


def test_a_trial_without_a_whole_card_is_named_and_left_out(search, record, caplog):
    record.create(spec())
    TrialRecord(search, "t0004").folder.write("config.json", b'{"trial_id"')
    with caplog.at_level(logging.WARNING):
        assert [trial.spec.trial_id for trial in load_trials(search)] == ["t0003"]
    assert "trials/t0004/config.json" in caplog.text


def test_trials_are_in_the_order_of_their_suggestion(search):
    for number in (10_000, 9_999, 0):
        TrialRecord(search, trial_name(number)).create(spec(number))
    assert [trial.spec.number for trial in load_trials(search)] == [0, 9_999, 10_000]


def test_an_empty_folder_has_no_trials(search):
    assert load_trials(search) == []


def test_a_trial_without_epochs_has_no_objective(search, record):
    record.create(spec())
    (trial,) = load_trials(search)
    assert trial.objective is None
    assert trial.best is None


def test_metric_names_keep_what_mlflow_allows():
    assert metric_safe("Low Vegetation-2.b_x") == "Low Vegetation-2.b_x"
    assert metric_safe("car/truck (all)") == "car_truck _all_"


def test_an_epoch_that_another_process_recorded_meanwhile_is_not_written_over(record):
    """A worker that was taken for dead, while its successor trained on."""
    record.append(epoch(1))
    with pytest.raises(RuntimeError, match="epoch 1 of t0003 was recorded by another process meanwhile"):
        record.append(epoch(1, objective=0.9))
    assert record.epochs() == (epoch(1),)


def test_records_that_stand_in_the_way_are_set_aside_and_nothing_else(record):
    for number in (1, 2, 3):
        record.append(epoch(number))
    record.folder.write("epochs/0002.json", b"damaged")
    third = record.folder.read("epochs/0003.json")
    found = record.epoch_files()
    assert (found.durable, found.rest) == ((epoch(1),), ("epochs/0002.json", "epochs/0003.json"))
    record.set_aside(found.rest, 4)
    assert record.folder.names("epochs") == ["0001.json"]
    assert record.folder.read("set_aside/0004-epochs-0002.json") == b"damaged"
    assert record.folder.read("set_aside/0004-epochs-0003.json") == third


NEWER = [{"format": 99}, {"a_field_of_tomorrow": 1}]


@pytest.mark.parametrize("change", NEWER, ids=["format", "field"])
@pytest.mark.parametrize("name", ["config.json", "epochs/0001.json", "failures/0001.json", "end.json"])
def test_a_record_of_a_newer_version_is_refused_and_named(search, record, name, change):
    record.create(spec())
    record.start_attempt("n1", "cpu", 0)
    record.append(epoch(1))
    record.add_failure("its process died", counted=True)
    if name == "end.json":
        record.end("completed", "", [epoch(1)])
    record.folder.write(name, json.dumps(json.loads(record.folder.read(name)) | change).encode())
    with pytest.raises(NewerRecordError, match=rf"t0003/{name} must be of a format that this version"):
        load_trials(search)
    with pytest.raises(SearchFaultError):  # as a worker tells it, no trial is to blame
        load_trials(search)


def test_a_newer_epoch_in_an_end_marker_and_a_newer_measurement_are_refused_too(search, record):
    record.create(spec(confirms="t0001"))
    record.end("completed", "", [epoch(1)])
    marker = json.loads(record.folder.read("end.json"))
    marker["history"][0]["a_field_of_tomorrow"] = 1
    record.folder.write("end.json", json.dumps(marker).encode())
    with pytest.raises(NewerRecordError, match="unknown fields: a_field_of_tomorrow"):
        load_trials(search)
    record.end("completed", "", [epoch(1)])
    record.add_val(ValRecord(1, 50, {"miou": 0.5}), {})
    record.folder.write("val/record.json", json.dumps({"format": 3}).encode())
    with pytest.raises(NewerRecordError, match=r"val/record\.json"):
        load_trials(search)


def test_a_newer_record_behind_a_damaged_one_is_refused_too(record):
    for number in (1, 2):
        record.append(epoch(number))
    record.folder.write("epochs/0001.json", b"damaged")
    record.folder.write("epochs/0002.json", b'{"format": 99}')
    with pytest.raises(NewerRecordError, match=r"epochs/0002\.json"):
        record.epochs()


def test_records_of_format_1_have_no_number_and_are_read(search, record):
    for name, content in (
        ("config.json", asdict(spec())),
        ("epochs/0001.json", {key: value for key, value in asdict(epoch(1)).items() if key != "start"}),
        ("failures/0001.json", {"number": 1, "start": 1, "reason": "died", "counted": True, "time_ms": 3}),
    ):
        record.folder.write(name, json.dumps(content).encode())
    (trial,) = load_trials(search)
    assert (trial.spec, trial.epochs) == (spec(), (epoch(1),))
    assert record.best_file(trial.best, "weights.pt") == "best/0001/weights.pt"
    assert [failure.reason for failure in record.failures()] == ["died"]


def test_what_is_written_says_its_format_and_names_its_files_by_their_start(record):
    record.append(epoch(1, start=12))
    assert json.loads(record.folder.read("epochs/0001.json"))["format"] == 2
    assert record.best_file(record.epochs()[0], "weights.pt") == "best/0001-0012/weights.pt"


def test_a_spec_is_never_written_over(record):
    record.create(spec())
    with pytest.raises(SearchFaultError, match="a trial's number is given once"):
        record.create(spec(params={"loss.alpha": 0.1}))
    assert json.loads(record.folder.read("config.json"))["params"]["loss.alpha"] == 0.7


@pytest.mark.parametrize("harm", ["damaged", "deleted"])
def test_a_failure_is_never_written_over(record, harm):
    for number in (1, 2, 3):
        record.start_attempt("n1", "cpu", 0)
        record.add_failure(f"failure {number}", counted=True)
    if harm == "damaged":
        record.folder.write("failures/0002.json", b"{")
    else:
        record.folder.delete("failures/0001.json")
    record.start_attempt("n1", "cpu", 0)
    assert record.add_failure("failure 4", counted=True).number == 4
    assert [each.reason for each in record.failures()][-2:] == ["failure 3", "failure 4"]


def test_a_start_is_never_written_over(record):
    for _ in range(3):
        record.start_attempt("n1", "cpu", 0)
    record.folder.delete("attempts/0001.json")
    third = record.folder.read("attempts/0003.json")
    assert record.start_attempt("n2", "cpu", 5) == 4
    assert record.folder.read("attempts/0003.json") == third


def test_a_card_that_cannot_be_read_is_an_error_and_one_that_was_never_written_is_none(search, record):
    record.create(spec())
    search.write("trials/t0004/epochs/.writing-1", b"")  # killed before its spec
    require_specs(search, ["t0003"])
    search.write("trials/t0004/config.json", b'{"trial_id": "t00')
    with pytest.raises(
        InputError, match=r"trials/t0004/config\.json must say what t0004 is.*of the run t0004 in MLflow"
    ):
        require_specs(search, ["t0003"])


def test_a_trial_with_epochs_and_no_card_is_an_error(search, record):
    record.create(spec())
    record.append(epoch(1))
    record.folder.delete("config.json")
    with pytest.raises(InputError, match=r"t0003/config\.json must say what t0003 is; got no such file"):
        require_specs(search, [])
    search.delete_folder("trials/t0003")  # the remedy
    require_specs(search, [])


def test_a_confirmation_whose_measurement_is_damaged_has_not_ended(search, record):
    record.create(spec(confirms="t0001"))
    record.append(epoch(1))
    record.end("completed", "trained 1 epochs", [epoch(1)])
    record.add_val(ValRecord(1, 50, {"miou": 0.5}), {})
    (whole,) = load_trials(search)
    assert whole.end is not None
    record.folder.write("val/record.json", b'{"epoch": 1, ')
    (damaged,) = load_trials(search)
    assert damaged.end is None
    assert damaged.epochs == (epoch(1),)


def test_failures_are_recorded_by_their_start_and_those_that_are_excused_are_no_attempts(tmp_path):
    record = TrialRecord(Storage(str(tmp_path)), "t0000")
    assert record.add_failure("died before it could say that it started", counted=True).start == 0
    assert record.start_attempt("a", "cpu", 0) == 1
    lost = record.add_failure("its machine was lost", counted=False)
    assert (lost.number, lost.start) == (2, 1)
    assert record.start_attempt("b", "cpu", 2) == 2
    assert record.attempts() == 1, "the same attempt goes on elsewhere"
    died = record.add_failure("its process died; sqlite://u:secret@h/db", counted=True)
    assert "secret" not in died.reason
    assert record.add_failure("died before it could say that it started", counted=False).start == 0
    assert record.start_attempt("c", "cpu", 3) == 3
    record.excuse(died)
    assert [failure.counted for failure in record.failures()] == [True, False, False, False]
    assert record.attempts() == 1
    assert [
        node["node"]
        for node in map(
            json.loads, record.folder.read_many([f"attempts/{n}" for n in record.folder.names("attempts")]).values()
        )
    ] == ["a", "b", "c"]
