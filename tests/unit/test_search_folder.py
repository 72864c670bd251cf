"""Whether a launch may use a folder, and what a resume may change."""

import json

import pytest
import yaml

from search.config.search_config import SearchConfig
from search.record.search_folder import read_meta, startable, write_search
from trainable.data.data_identity import DataChangedError, DataIdentity, SampleIdentity
from trainable.errors import InputError
from trainable.record.record_format import NewerRecordError
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
        ({"scheduler": {"grace_epochs": 3}}, r"scheduler\.grace_epochs was 2 and is 3"),
        ({"runtime": {"precision": "fp32"}}, r"runtime\.precision was auto and is fp32"),
    ],
)
def test_what_a_resume_may_not_change(begun, change, message):
    with pytest.raises(InputError, match=message):
        startable(config(**change), begun, True, print)


def test_a_resume_may_leave_networks_out_that_could_never_be_trained(folder):
    """What an earlier version began may have them: the remedy that its resume names must be allowed."""
    both = {"architecture": ["unet", "deeplabv3plus"], "encoder": ["resnet18", "vgg11"]}
    write_search(config(space={"model": both}), folder, data("data-1"))
    folder.write("trials/t0000/config.json", b"{}")
    exclude = [{"architecture": "deeplabv3plus", "encoder": "vgg11"}]
    changed = config(space={"model": both | {"exclude": exclude}})
    startable(changed, folder, True, print)
    write_search(changed, folder, data("data-1"))
    startable(config(space={"model": both}), folder, True, print)
    with pytest.raises(InputError, match=r"space\.model\.encoder was"):
        startable(config(space={"model": both | {"encoder": ["resnet18"]}}), folder, True, print)


def test_other_data_are_refused(begun):
    identity = read_meta(begun)
    assert write_search(config(), begun, data("data-1")) == identity
    with pytest.raises(DataChangedError, match=r"that it began with; got 1 sample with another image or mask \(a_1\)"):
        write_search(config(), begun, data("data-2"))


def test_two_searches_of_one_name_are_two(folder, tmp_path):
    other = Storage(str(tmp_path / "other"))
    assert write_search(config(), folder, data("d")).search_id != write_search(config(), other, data("d")).search_id


def without(folder, *keys):
    """Leave keys out of the recorded config, as the version before they were added did."""
    values = yaml.safe_load(folder.read("search.yaml"))
    for key in keys:
        *sections, name = key.split(".")
        place = values
        for section in sections:
            place = place[section]
        del place[name]
    folder.write("search.yaml", yaml.safe_dump(values).encode())


def recorded_with(folder, **changes):
    folder.write("search.yaml", yaml.safe_dump(yaml.safe_load(folder.read("search.yaml")) | changes).encode())


def test_a_key_that_a_later_version_added_with_a_default_is_no_difference(begun):
    without(begun, "evaluation", "runtime.compile", "scheduler.reduction_factor", "dataset.dev_seed", "report")
    assert startable(config(), begun, True, print) == config()


def test_a_key_that_a_later_version_added_may_not_be_set_otherwise(begun):
    without(begun, "runtime.compile", "evaluation")
    with pytest.raises(InputError, match=r"runtime\.compile was False and is True"):
        startable(config(runtime={"compile": True}), begun, True, print)
    with pytest.raises(InputError, match=r"evaluation\.min_object_pixels was 4 and is 9"):
        startable(config(evaluation={"min_object_pixels": 9}), begun, True, print)


def test_what_a_resume_leaves_open_stays_as_it_was_where_a_default_has_changed(begun):
    recorded_with(begun, scheduler={"grace_epochs": 3, "reduction_factor": 2}, objective="thing_miou")
    said = []
    tracking = {"uri": "http://me:secret@tracker:5000"}
    continued = startable(config(scheduler={"reduction_factor": 2}, tracking=tracking), begun, True, said.append)
    assert (continued.scheduler.grace_epochs, continued.objective) == (3, "thing_miou")
    assert continued.tracking.uri == tracking["uri"], "a password is no part of a record"
    assert any(
        "objective stays thing_miou, as the search began (a new search would have miou)" in line for line in said
    )
    with pytest.raises(InputError, match=r"scheduler\.grace_epochs was 3 and is 1"):
        startable(config(scheduler={"grace_epochs": 1, "reduction_factor": 2}), begun, True, print)


@pytest.mark.parametrize(("recorded", "given"), [(2, None), (None, 2)], ids=["then a number", "now a number"])
def test_a_first_rung_that_is_left_open_and_the_same_one_spelled_out_are_no_difference(begun, recorded, given):
    """A third of four epochs, rounded up."""
    recorded_with(begun, scheduler={"grace_epochs": recorded, "reduction_factor": 3})
    said = []
    changed = config(scheduler={} if given is None else {"grace_epochs": given})
    assert startable(changed, begun, True, said.append) == changed
    assert said == []


def test_a_first_rung_that_was_another_one_is_told_as_a_number(begun):
    recorded_with(begun, scheduler={"grace_epochs": 3, "reduction_factor": 3})
    said = []
    assert startable(config(), begun, True, said.append).first_rung == 3
    assert said == ["note: scheduler.grace_epochs stays 3, as the search began (a new search would have 2)"]


@pytest.mark.parametrize("key", ["of_tomorrow", "report", "space"])
def test_a_recorded_key_that_this_version_does_not_know_is_refused(begun, key):
    before = begun.read("search.yaml")
    values = yaml.safe_load(before)
    recorded_with(begun, **{key: 1 if key == "of_tomorrow" else values[key] | {"of_tomorrow": 1}})
    with pytest.raises(NewerRecordError, match=r"recorded search\.yaml must be of a format .* the key .*of_tomorrow"):
        startable(config(), begun, True, print)


def test_a_search_of_a_newer_version_is_refused(begun):
    begun.write("search.json", json.dumps(json.loads(begun.read("search.json")) | {"format": 3}).encode())
    with pytest.raises(NewerRecordError, match=r"search\.json must be of a format .* got format 3"):
        read_meta(begun)


def test_a_search_of_format_1_is_read_and_from_the_next_launch_on_of_this_one(begun):
    identity = read_meta(begun)
    values = json.loads(begun.read("search.json"))
    begun.write("search.json", json.dumps({key: values[key] for key in values if key != "format"}).encode())
    assert read_meta(begun) == identity
    assert write_search(config(), begun, data("data-1")) == identity
    assert json.loads(begun.read("search.json"))["format"] == 2
