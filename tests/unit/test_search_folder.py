"""Whether a launch may use a folder, and what a resume may change."""

import pytest

from search.config.search_config import SearchConfig
from search.record.search_folder import read_meta, startable, write_search
from trainable.data.data_identity import DataChangedError, DataIdentity, SampleIdentity
from trainable.errors import InputError
from trainable.record.storage import Storage


def config(**changes):
    values = {
        "name": "folder",
        "dataset": {"layout": "synthetic"},
        "space": {"optimizer": {"learning_rate": {"low": 1e-4, "high": 1e-2}}},
        "budget": {"trials": 5, "max_epochs": 4},
    }
    return SearchConfig.model_validate(values | changes)


@pytest.fixture
def folder(tmp_path):
    return Storage(str(tmp_path / "folder"))


def data(name):
    """An image set whose only file is other in every data set."""
    return DataIdentity(name, {"a_1": SampleIdentity(name, "a", "train")})


@pytest.fixture
def begun(folder):
    write_search(config(), folder, data("data-1"))
    folder.write("trials/t0000/config.json", b"{}")
    return folder


def test_a_first_launch_needs_an_empty_folder_and_no_resume(folder):
    startable(config(), folder, False, print)
    with pytest.raises(InputError, match=r"--resume needs a search in .*none there"):
        startable(config(), folder, True, print)


def test_a_second_launch_needs_resume(begun):
    startable(config(), begun, True, print)
    with pytest.raises(InputError, match=r"a search of 1 trials there\. Continue it with --resume"):
        startable(config(), begun, False, print)


def test_a_launch_that_failed_before_its_first_trial_can_be_started_again(folder):
    write_search(config(), folder, data("data-1"))
    startable(config(seed=4), folder, False, print)
    startable(config(), folder, True, print)
    assert folder.names("trials") == []


def test_data_that_were_mended_before_the_first_trial_are_no_change(folder):
    first = write_search(config(), folder, data("data-1"))
    assert write_search(config(), folder, data("data-2")).data_fingerprint != first.data_fingerprint
    assert DataIdentity.read(folder, "data-2") == data("data-2")


@pytest.mark.parametrize(
    ("name", "rule"),
    [("search.json", "must say which search this is"), ("search.yaml", "the config that the search began with")],
)
def test_a_damaged_file_of_the_search_is_named(begun, name, rule):
    begun.write(name, b'{"search_id": "x", ')
    with pytest.raises(InputError, match=rf"{name} must .*{rule.removeprefix('must ')}"):
        startable(config(), begun, True, print)


@pytest.mark.parametrize(
    "change",
    [
        {"budget": {"trials": 50, "max_epochs": 4, "hours": 3}},
        {"resources": {"max_concurrent": 1}},
        {"tracking": {"uri": "http://127.0.0.1:5000"}},
        {"confirm": {"top": 7}},
        {"runtime": {"max_attempts": 9}},
        {"storage": "elsewhere"},
    ],
)
def test_what_a_resume_may_change(begun, change):
    assert config(**change) != config(), "a change that is none would pass for nothing"
    startable(config(**change), begun, True, print)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objective": "thing_miou"}, r"objective was miou and is thing_miou"),
        ({"seed": 1}, r"seed was 0 and is 1"),
        ({"budget": {"trials": 5, "max_epochs": 8}}, r"budget\.max_epochs was 4 and is 8"),
        ({"space": {}}, r"space\.optimizer\.learning_rate was .* and is None"),
        ({"dataset": {"layout": "synthetic", "images": 64}}, r"dataset\.images was 120 and is 64"),
        ({"scheduler": {"grace_epochs": 2}}, r"scheduler\.grace_epochs was None and is 2"),
        ({"runtime": {"precision": "fp32"}}, r"runtime\.precision was auto and is fp32"),
    ],
)
def test_what_a_resume_may_not_change(begun, change, message):
    with pytest.raises(InputError, match=message):
        startable(config(**change), begun, True, print)


def test_other_data_are_refused(begun):
    identity = read_meta(begun)
    assert write_search(config(), begun, data("data-1")) == identity
    with pytest.raises(DataChangedError, match=r"that it began with; got 1 sample with another image or mask \(a_1\)"):
        write_search(config(), begun, data("data-2"))


def test_two_searches_of_one_name_are_two(folder, tmp_path):
    other = Storage(str(tmp_path / "other"))
    assert write_search(config(), folder, data("d")).search_id != write_search(config(), other, data("d")).search_id
