"""Configs as users write them."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from search.config.config_check import config_keys
from search.config.config_file import (
    config_warnings,
    inlined,
    load_recorded_config,
    load_search_config,
    load_train_config,
)
from search.config.config_yaml import dump_yaml
from search.config.data_source import describe_source, load_data_source, source_of_file
from search.config.search_config import SearchConfig
from search.config.train_config import TrainConfig
from search.space.space import Choice, Fixed, Range
from trainable.config.loss_registry import LOSS_DEFAULTS, LOSS_NAMES
from trainable.config.objectives import class_objectives, plain_objectives
from trainable.data.dataset_yaml import Description
from trainable.data.files.cache_dir import default_cache_dir
from trainable.errors import InputError

DESIGN = """
name: aeroscapes
dataset: {layout: aeroscapes, root: data/aeroscapes, dev_share: 0.15}
storage: runs
objective: miou
space:
  model:
    {architecture: [unet, deeplabv3, deeplabv3plus], encoder: [resnet34], encoder_weights: imagenet, output_stride: 16}
  loss:
    name: [cross_entropy, focal, dice, iou, tversky]
    alpha: {low: 0.1, high: 1.0}
    beta: {low: 0.1, high: 1.0}
    gamma: {low: 0.5, high: 2.0}
    focal_gamma: {low: 0.25, high: 3.0}
  optimizer: {learning_rate: {low: 1.0e-4, high: 3.0e-3, log: true}, weight_decay: 1.0e-4}
  data: {batch_size: 8, crop: 512x512, rare_class_first: {low: 0.0, high: 0.5}}
baselines: seed
budget: {trials: 60, max_epochs: 30, hours: 12}
scheduler: {grace_epochs: 10, reduction_factor: 3}
confirm: {top: 3, seeds: 3, best_of_each_loss: true}
resources: {cpus_per_trial: auto, gpus_per_trial: auto, max_concurrent: null, cache_dir: null}
runtime: {precision: auto, compile: false, epoch_timeout_minutes: 60, max_attempts: 3}
tracking: {uri: null, experiment: aerosweep}
seed: 0
"""
SMALL = "name: small\ndataset: {layout: synthetic}\n"


DESCRIBED = """
name: tiles
root: data
images: images/*.jpg
masks: masks/*.png
encoding: rgb
classes: [{name: roof, color: "#3C1098", thing: true}, {name: land, colors: ["#8429F6", [1, 2, 3]]}]
ignored: ["#000000"]
scene_regex: "^[0-9]+"
split: {by: share, val: 0.2}
"""
OF_A_FILE = "name: small\ndataset: {layout: described, description: sets/tiles.yaml}\n"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def write(text):
    path = Path("search.yaml")
    path.write_text(text)
    return path


def load(text, *overrides, output=None):
    return load_search_config(write(text), overrides, output)


def problems(text, *overrides):
    with pytest.raises(InputError) as caught:
        load(text, *overrides)
    return str(caught.value)


def test_the_config_of_the_design_loads_with_absolute_paths(tmp_path):
    config = load(DESIGN)
    assert config.storage == str(tmp_path / "runs")
    assert config.dataset.root == tmp_path / "data/aeroscapes"
    assert config.folder == str(tmp_path / "runs/aeroscapes")
    domains = config.parsed_space.domains
    assert domains["model.architecture"] == Choice(("unet", "deeplabv3", "deeplabv3plus"))
    assert domains["model.encoder"] == Fixed("resnet34")
    assert domains["optimizer.learning_rate"] == Range(1e-4, 3e-3, log=True, integer=False)
    assert config_warnings(config) == []


def test_a_small_config_has_the_defaults():
    config = load(SMALL)
    assert (config.budget.trials, config.budget.max_epochs, config.objective) == (60, 30, "miou")


def test_overrides_win_over_the_file_and_the_last_one_wins():
    config = load(SMALL + "seed: 1\n", "seed=2", "seed=3", "budget.trials=8")
    assert (config.seed, config.budget.trials) == (3, 8)


def test_an_override_may_create_any_key():
    config = load(SMALL, "space.optimizer.learning_rate={low: 1e-4, high: 1e-2, log: true}", "tracking.experiment=mine")
    assert config.parsed_space.domains["optimizer.learning_rate"] == Range(1e-4, 1e-2, log=True, integer=False)
    assert config.tracking.experiment == "mine"


def test_an_override_reaches_into_a_range():
    text = SMALL + "space: {data: {rare_class_first: {low: 0.1, high: 0.5}}}\n"
    assert load(text, "space.data.rare_class_first.high=0.9").parsed_space.domains["data.rare_class_first"] == Range(
        0.1, 0.9, log=False, integer=False
    )


def test_an_override_may_hold_equals_signs_and_be_empty():
    config = load(SMALL + "budget: {hours: 3}\n", "tracking.uri=https://host/?a=b", "budget.hours=")
    assert config.tracking.uri == "https://host/?a=b"
    assert config.budget.hours is None


def test_output_is_storage(tmp_path):
    assert load(SMALL, "storage=elsewhere", output="here").storage == str(tmp_path / "here")


def test_a_url_stays_as_it_is():
    config = load(SMALL, "tracking.uri=http://tracker", output="s3://bucket/searches")
    assert config.folder == "s3://bucket/searches/small"


def test_paths_of_encoder_weights_become_absolute(tmp_path):
    config = load(SMALL, "space.model.encoder_weights=[none, weights/r34.pt]")
    assert config.parsed_space.domains["model.encoder_weights"] == Choice(("none", str(tmp_path / "weights/r34.pt")))


@pytest.mark.parametrize("number", ["1e-3", "1.0e-3", "0.001", "1E-3"])
def test_floats_are_read_as_people_write_them(number):
    assert load(SMALL, f"space.optimizer.weight_decay={number}").parsed_space.domains[
        "optimizer.weight_decay"
    ] == Fixed(0.001)


@pytest.mark.parametrize(("number", "seed"), [("010", 10), ("1_000", 1000), ("+3", 3), ("0", 0)])
def test_whole_numbers_are_decimal(number, seed):
    assert load(SMALL, f"seed={number}").seed == seed


@pytest.mark.parametrize("name", ["2025-01-31", "007", "0x10"])
def test_what_is_no_number_to_a_reader_is_a_fine_name(name):
    assert load(f"name: {name}\ndataset: {{layout: synthetic}}\n").name == name


def test_yes_and_no_are_true_and_false():
    assert load(SMALL, "runtime.compile=yes", "report.write=no").runtime.compile is True


@pytest.mark.parametrize(("max_epochs", "first"), [(1, 1), (2, 1), (3, 1), (4, 2), (9, 3), (30, 10), (100, 34)])
def test_trials_are_first_compared_after_a_third_of_the_training(max_epochs, first):
    config = load(SMALL, f"budget.max_epochs={max_epochs}", "scheduler.reduction_factor=2")
    assert config.first_rung == first
    stops_nobody = any("no trial will be stopped early" in text for text in config_warnings(config))
    searched = load(SMALL, f"budget.max_epochs={max_epochs}", "space.data.color_jitter={low: 0, high: 1}")
    assert any("no trial will be stopped early" in text for text in config_warnings(searched)) == (max_epochs == 1)
    assert not stops_nobody, "a space of one point has one trial"
    assert load(yaml.safe_dump(config.model_dump(mode="json"))) == config
    assert load(SMALL, f"budget.max_epochs={max_epochs}", "scheduler.grace_epochs=1").first_rung == 1


def test_what_is_told_of_a_config_elsewhere_has_numbers_for_what_follows_from_others():
    resolved = load(SMALL, "budget.max_epochs=9", "space.data.color_jitter=[0.1, 0.2]").resolved()
    assert (resolved.scheduler.grace_epochs, resolved.budget.trials) == (3, 2)


def test_a_search_has_no_more_trials_than_its_space_has_points():
    assert load(SMALL, "space.loss.name=[dice, iou]").most_trials == 2
    assert load(SMALL, "space.loss.name=[dice, iou]", "budget.trials=1").most_trials == 1
    assert load(SMALL, "space.data.color_jitter={low: 0, high: 1}").most_trials == 60


def test_an_empty_section_is_its_defaults():
    assert load(SMALL + "tracking:\nspace:\n  loss:\n").tracking.experiment == "aerosweep"


def test_anchors_and_merges_work():
    text = SMALL + "budget: &b {trials: 3}\nscheduler: {grace_epochs: 2}\n"
    assert load(text).budget.trials == 3


def test_every_problem_is_named_with_its_place():
    message = problems(
        SMALL + "objective: iou\nbudget:\n  trails: 3\n  trials: many\n", "seed=-1", "space.loss.name=dise"
    )
    assert message.splitlines() == [
        "5 problems:",
        f"  objective must be one of {', '.join(plain_objectives())}, or {', '.join(class_objectives())} of a class "
        "(recall/person); got 'iou' (search.yaml line 3, column 1). Did you mean miou? Choose one of them.",
        f"  space.loss.name must be one of {', '.join(LOSS_NAMES)}, or your own as "
        "package.module:Class; got 'dise' (--set space.loss.name=dise). Did you mean dice? Choose one of them.",
        "  budget.trials must be a whole number; got 'many' (search.yaml line 6, column 3). Give a whole number.",
        "  budget.trails is not a key of the config; got 3 (search.yaml line 5, column 3). Did you mean budget.trials? "
        "The keys of budget are trials, max_epochs, hours.",
        "  seed must be at least 0; got -1 (--set seed=-1). Raise it.",
    ]


def test_an_objective_is_a_name_or_a_list_of_names():
    assert load(SMALL, "objective=recall/person").objectives == ("recall/person",)
    several = load(SMALL, "objective=[thing_recall, miss_rate/car & van, thing_miss_rate]")
    assert several.objectives == ("thing_recall", "miss_rate/car _ van", "thing_miss_rate"), "as they are recorded"
    one = load(SMALL, "objective=[thing_miou]")
    assert one == load(SMALL, "objective=thing_miou")
    assert load(yaml.safe_dump(several.model_dump(mode="json"))) == several


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("[miou, recal/Person]", r"must be one of .*; got 'recal/Person' .*Did you mean recall/Person\? Choose"),
        ("recall", r"must be one of .*; got 'recall' .*Did you mean thing_recall\? Choose"),
        ("nothing", r"must be one of .*; got 'nothing' .* Mend objective\."),
        (
            "3",
            r"objective must name an objective, or in a search a list of them; got 3 .*Write for example miou, or \[",
        ),
        ("[miou, 3]", r"objective must name an objective, .*; got 3 "),
        ("[]", r"objective must name at least one; got \[\] "),
        ("[miou, recall/a b, miou]", r"objective must not name one twice; got \['miou', 'recall/a b', 'miou'\] "),
        ("[recall/a&b, recall/a_b]", "objective must not name one twice"),
        (
            "[thing_miss_rate, miou]",
            r"objective must begin with one that grows: the first drives early stopping and the best epoch; "
            r"got 'thing_miss_rate' .* Put it later in the list, or use thing_recall\.",
        ),
        ("[miss_rate/car, miou]", r"must begin with one that grows.* or use recall/car\."),
        ("thing_false_alarms_per_image", r"must begin with one that grows.* or use thing_precision\."),
    ],
)
def test_a_wrong_objective_is_one_problem_with_its_remedy(objective, message):
    text = problems(SMALL, f"objective={objective}")
    assert re.search(message, text)
    assert "problems:" not in text


def test_two_wrong_names_are_two_problems():
    assert problems(SMALL, "objective=[mio, recal/car]").startswith("2 problems:")


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("thing_miss_rate", r"must begin with one that grows"),
        ("[miou, thing_miou]", r"must name an objective, or in a search a list of them"),
        ("mou", r"Did you mean miou\?"),
    ],
)
def test_train_takes_one_objective_that_grows(objective, message):
    with pytest.raises(InputError, match=message):
        load_train_config(None, ["dataset.layout=synthetic", f"objective={objective}"], None)
    assert load_train_config(None, ["dataset.layout=synthetic", "objective=recall/a&b"], None).objective == "recall/a_b"


def test_problems_behind_an_unknown_key_are_named_too():
    message = problems(SMALL, "space.losses=3", "space.data.batch_size=0", "resources.gpus_per_trial=1.5", "epochs=4")
    assert len(message.splitlines()) == 1 + 4


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("budget.trails=3", "budget.trials"),
        ("learning_rate=0.1", "space.optimizer.learning_rate"),
        ("space.model.alpha=0.1", "space.loss.alpha"),
        ("space.los=3", "space.loss"),
        ("epochs=3", "budget.max_epochs"),
    ],
)
def test_a_misplaced_or_misspelled_key_is_recognised(override, meant):
    assert f"Did you mean {meant}? " in problems(SMALL, override)


def test_tracking_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracker")
    assert load(SMALL, output="s3://bucket/x").storage == "s3://bucket/x"


def test_fractions_of_a_core_and_a_gpu_are_fine():
    resources = load(SMALL, "resources={cpus_per_trial: 0.5, gpus_per_trial: 0.25}").resources
    assert (resources.cpus_per_trial, resources.gpus_per_trial) == (0.5, 0.25)
    assert load(SMALL, "resources={cpus_per_trial: 4, gpus_per_trial: 0}").resources.gpus_per_trial == 0


@pytest.mark.parametrize(
    ("overrides", "warning"),
    [
        (["space.data.color_jitter=[0.1, 0.2]", "budget.max_epochs=1"], "no trial will be stopped early"),
        (
            ["space.data.color_jitter=[0.1, 0.2]", "budget.max_epochs=4", "scheduler.grace_epochs=4"],
            "the first rung (scheduler.grace_epochs, 4) is not below budget.max_epochs (4): no trial will be stopped",
        ),
        ([], "space has only one point, and none is trained twice: the search ends before budget.trials (60)"),
        (["space.loss.name=[dice, iou]"], "space has only 2 points, and none is trained twice"),
        (
            ["space.loss.name=[dice, iou]", "baselines=[{}, {loss: {name: dice}}, {loss: {name: iou}}]"],
            "baselines has 3 points, 2 of them different: none is trained twice",
        ),
        (
            ["space.loss.name=[dice, iou]", "baselines=seed", "budget.trials=1"],
            "budget.trials (1) is below the 2 baselines",
        ),
    ],
)
def test_what_is_allowed_but_odd_is_warned_of(overrides, warning):
    assert any(warning in text for text in config_warnings(load(SMALL, *overrides)))


def test_train_makes_a_search_of_one_fixed_trial_that_nothing_stops():
    config = load_train_config(
        None,
        ["dataset.layout=synthetic", "loss={name: tversky, alpha: 0.7, beta: 0.3}", "budget.max_epochs=4"],
        None,
    )
    assert config.budget.trials == 1
    assert config.baselines == "none"
    assert config.scheduler.grace_epochs >= config.budget.max_epochs == 4
    domains = config.parsed_space.domains
    assert all(isinstance(domain, Fixed) for domain in domains.values())
    assert domains["loss.alpha"] == Fixed(0.7)
    assert re.fullmatch(r"train-deeplabv3plus-tversky-[0-9a-f]{6}", config.name)
    assert config_warnings(config) == []


def name_of(*overrides):
    return load_train_config(None, ["dataset.layout=synthetic", *overrides], None).name


def test_the_name_of_a_training_stands_for_what_is_trained():
    assert name_of("loss.name=dice") == name_of("loss.name=dice")
    assert name_of("loss.name=dice", "storage=elsewhere", "budget.hours=1") == name_of("loss.name=dice")
    assert name_of("loss.name=dice", "seed=1") != name_of("loss.name=dice")
    assert name_of("loss.name=dice", "budget.max_epochs=3") != name_of("loss.name=dice")
    assert name_of("name=mine") == "mine"


def test_train_reads_a_file_too():
    config = load_train_config(write("dataset: {layout: synthetic}\nmodel: {architecture: unet}\n"), [], "out")
    assert config.parsed_space.domains["model.architecture"] == Fixed("unet")


def test_a_search_config_written_out_loads_again():
    config = load(DESIGN)
    again = load(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    assert again == config


def write_description(text=DESCRIBED):
    Path("sets").mkdir(exist_ok=True)
    Path("sets/tiles.yaml").write_text(text)


def test_a_description_travels_with_the_config_that_names_it(tmp_path):
    write_description()
    config = inlined(load(OF_A_FILE))
    Path("sets/tiles.yaml").unlink()
    assert config.dataset.description == Description.model_validate(yaml.safe_load(DESCRIBED)).with_root(tmp_path / "sets/data")  # fmt: skip  # noqa: E501
    again = load(dump_yaml(config.model_dump(mode="json")))
    assert again == config == inlined(again)
    assert inlined(load(SMALL)) == load(SMALL)


@pytest.mark.parametrize("root", ["s3://bucket/tiles", "/data/tiles"])
def test_a_description_that_says_where_its_images_are_still_says_so(root):
    write_description(DESCRIBED.replace("root: data", f"root: {root}"))
    assert str(inlined(load(OF_A_FILE)).dataset.description.root) == root


def test_what_is_wrong_with_a_description_is_named_by_its_file(tmp_path):
    write_description(DESCRIBED.replace("rgb", "png").replace("name: land", "name: a/b"))
    with pytest.raises(InputError) as caught:
        inlined(load(OF_A_FILE))
    first, encoding, name = str(caught.value).splitlines()
    assert first == "2 problems:"
    file = tmp_path / "sets/tiles.yaml"
    assert encoding.startswith(f"  encoding: Input should be 'ids' or 'rgb'; got {file}: 'png'.")
    assert name.startswith("  classes.1.name: a class name must consist of")
    assert f"got {file}: 'a/b'." in name
    Path("sets/tiles.yaml").unlink()
    with pytest.raises(InputError, match=rf"dataset\.description must be a YAML file; got {file}: no such file"):
        inlined(load(OF_A_FILE))


def test_what_is_wrong_with_a_description_in_a_config_is_named_by_its_line():
    lines = "".join(f"    {line}\n" for line in DESCRIBED.replace("root: data", "root: /data").strip().splitlines())
    text = f"name: small\ndataset:\n  layout: described\n  description:\n{lines}"
    assert load(text).dataset.description.classes[1].mask_colors == ((0x84, 0x29, 0xF6), (1, 2, 3))
    message = problems(text.replace("rgb", "png").replace("#8429F6", "8429F6"), "dataset.description.image=x")
    assert message.splitlines() == [
        "3 problems:",
        "  dataset.description.encoding: Input should be 'ids' or 'rgb'; got 'png' (search.yaml line 9, column 5). "
        "Correct the value.",
        "  dataset.description.classes.1.colors.0: a colour must be '#RRGGBB' or [red, green, blue]; got '8429F6' "
        "(search.yaml line 10, column 5). Write for example '#3C1098', in quotes.",
        "  dataset.description.image must be a key that descriptions have; got dataset.description.image "
        "(--set dataset.description.image=x). Remove it or correct its spelling.",
    ]
    relative = problems(text.replace("root: /data", "root: data"))
    assert "dataset.description.root must be absolute, or a URL" in relative
    assert "got data (search.yaml line 6, column 5). Write the whole path, or set dataset.root." in relative
    assert load(text.replace("root: /data", "root: data"), "dataset.root=s3://b/x").dataset.root == "s3://b/x"


def test_the_data_commands_take_a_root_elsewhere(tmp_path):
    write_description()
    source = describe_source(Path("sets/tiles.yaml"), "s3://bucket/tiles")
    assert (source.dataset.root, source.dataset.description) == ("s3://bucket/tiles", tmp_path / "sets/tiles.yaml")
    assert (
        source_of_file(write(SMALL.replace("synthetic", "aeroscapes, root: x")), "s3://b/x").dataset.root == "s3://b/x"
    )
    with pytest.raises(InputError, match=r"dataset\.root must hold no password .*; got s3://key:\*\*\*@b \(--root"):
        describe_source(Path("sets/tiles.yaml"), "s3://key:s3cret@b")


def test_the_data_commands_read_the_data_part_only(tmp_path):
    source = load_data_source(
        write("dataset: {layout: synthetic}\nseed: 3\nresources: {cache_dir: c}\nspace: {loss: 3}\n"), []
    )
    assert (source.dataset.layout, source.cache_dir) == ("synthetic", tmp_path / "c")
    assert load_data_source(None, ["dataset.layout=synthetic"]).dataset.images == 120


def test_the_cache_lies_where_the_user_keeps_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache_dir() == tmp_path / "xdg/aerosweep"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # invalid by the specification
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache/aerosweep"


def test_the_config_reads_without_optuna_and_torch():
    import subprocess
    import sys

    heavy = "[m for m in ('optuna', 'torch', 'ray', 'mlflow') if m in sys.modules]"
    code = f"import sys, search.config.config_file; print({heavy})"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("model", [SearchConfig, TrainConfig])
def test_every_key_is_documented(model: type[BaseModel]):
    guide = (Path(__file__).parents[2] / "docs/config.md").read_text()
    searchable = ("model", "loss", "optimizer", "data")
    for key in config_keys(model):
        if model is TrainConfig and key.partition(".")[0] in searchable:
            key = f"space.{key}"
        documented = f"| `{key}` |" in guide or f"# `{key}`\n" in guide
        assert documented, f"docs/config.md does not name {key}"


def test_the_guide_documents_no_other_key():
    guide = (Path(__file__).parents[2] / "docs/config.md").read_text()
    assert set(re.findall(r"^\| `([^`]+)` \|", guide, re.MULTILINE)) <= set(config_keys(SearchConfig))


def test_the_defaults_of_the_guide_are_those_of_the_code():
    guide = (Path(__file__).parents[2] / "docs/config.md").read_text()
    documented = dict(re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", guide, re.MULTILINE))
    assert len(documented) > 30
    sections = {"space.model": "model", "space.loss": "loss", "space.optimizer": "optimizer", "space.data": "data"}
    train = TrainConfig(dataset={"layout": "synthetic"})
    search = SearchConfig(name="x", dataset={"layout": "synthetic"})
    for key, text in documented.items():
        holder, _, name = key.rpartition(".")
        section = (
            getattr(train, sections[holder]) if holder in sections else getattr(search, holder) if holder else search
        )
        default = getattr(section, name)
        # Filled in where the loss has them.
        implied = {f"space.loss.{parameter}": value for parameter, value in LOSS_DEFAULTS.items()}
        assert yaml.safe_load(text) == implied.get(key, default), key


def test_the_examples_of_the_guide_load():
    guide = (Path(__file__).parents[2] / "docs/config.md").read_text()
    search, train = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    assert config_warnings(load(search)) == []
    assert load_train_config(write(train), [], None).budget.max_epochs == 30


def recorded(text, folder):
    """A search's folder as a launch leaves it, as far as its config goes."""
    config = load(text, output=str(Path(folder).parent))
    Path(folder).mkdir(parents=True)
    Path(folder, "search.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    return config


def test_a_recorded_search_is_found_by_its_folder_and_by_its_config_file():
    config = recorded(DESIGN, "out/aeroscapes")
    assert load_recorded_config("out/aeroscapes/", ["confirm.seeds=5"], None).confirm.seeds == 5
    assert load_recorded_config("out/aeroscapes", [], None) == config
    assert load_recorded_config("search.yaml", [], "out") == config


def test_a_search_that_was_moved_is_found_where_it_is(tmp_path):
    recorded(SMALL, "out/small")
    Path("elsewhere").mkdir()
    Path("out/small").rename("elsewhere/small")
    assert load_recorded_config("elsewhere/small", [], None).folder == str(tmp_path / "elsewhere/small")


def test_two_gpus_of_an_earlier_version_are_read_as_the_one_that_its_trials_used():
    recorded(SMALL, "out/small")
    file = Path("out/small/search.yaml")
    file.write_text(file.read_text().replace("gpus_per_trial: auto", "gpus_per_trial: 2.0"))
    assert load_recorded_config("out/small", [], None).resources.gpus_per_trial == 1
    assert load_recorded_config("out/small", ["resources.gpus_per_trial=0.5"], None).resources.gpus_per_trial == 0.5
    with pytest.raises(InputError, match=r"resources\.gpus_per_trial must be at most 1: .*; got 2 \(--set resources"):
        load_recorded_config("out/small", ["resources.gpus_per_trial=2"], None)


def test_the_remedy_for_two_gpus_works_in_a_search_and_in_a_training():
    many, one = "resources.gpus_per_trial=2", "resources.gpus_per_trial=1"
    loads = (
        lambda *overrides: load(SMALL, *overrides),
        lambda *overrides: load_train_config(None, ["dataset.layout=synthetic", *overrides], None),
    )
    for loaded in loads:
        with pytest.raises(InputError, match=f"Set {one}"):
            loaded(many)
        assert loaded(many, one).resources.gpus_per_trial == 1


@pytest.mark.parametrize(
    ("search", "output", "message"),
    [
        ("nowhere", None, r"SEARCH must be the folder of a recorded search, or its config file; got nowhere"),
        ("out/small", "out", r"--output goes with a config file; got the folder out/small\. Leave --output out"),
        ("out/other", None, r"the folder of a search must keep the search's name; got other for small\. Rename"),
        ("search.yml", None, r"SEARCH must be the folder of a recorded search"),
    ],
)
def test_what_is_no_recorded_search_is_refused(search, output, message):
    recorded(SMALL, "out/small")
    Path("out/other").mkdir()
    Path("out/other/search.yaml").write_text(Path("out/small/search.yaml").read_text())
    with pytest.raises(InputError, match=message):
        load_recorded_config(search, [], output)
