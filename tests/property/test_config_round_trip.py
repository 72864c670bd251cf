"""A config that is written and read back is the same."""

import string
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from search.config.config_file import load_search_config
from search.config.config_yaml import dump_yaml
from search.config.search_config import SearchConfig
from search.decide.sampler import suggest_point
from search.decide.search_plan import trial_config
from trainable.trial_config import TrialConfig

untimed = settings(deadline=None)

names = st.text(string.ascii_letters + string.digits, min_size=1, max_size=1).flatmap(
    lambda first: st.text(string.ascii_letters + string.digits + "._-", max_size=20).map(lambda rest: first + rest)
)
positive = st.floats(1e-6, 4.0)
DESCRIPTION = {
    "root": "/data/1", "images": "*/1e3.jpg", "masks": "*/null.png", "encoding": "rgb", "scene_regex": "^[0-9]+: #",
    "classes": [{"name": "no", "color": "#3C1098", "thing": True}, {"name": "1e5", "colors": ["#8429F6", [1, 2, 3]]}],
    "ignored": ["#000000"],
}  # fmt: skip
"""A description but for its name and splits, of texts that YAML may take for something else."""


def scalar_list_or_range(numbers):
    ranges = st.tuples(numbers, numbers).filter(lambda pair: pair[0] < pair[1])
    return st.one_of(
        numbers,
        st.lists(numbers, min_size=1, max_size=3, unique=True),
        st.builds(lambda pair, log: {"low": pair[0], "high": pair[1], "log": log}, ranges, st.booleans()),
    )


losses = st.fixed_dictionaries(
    {
        "name": st.just(["cross_entropy", "focal", "dice", "iou", "tversky"]),
        "alpha": scalar_list_or_range(positive),
        "beta": scalar_list_or_range(positive),
        "focal_gamma": scalar_list_or_range(positive),
    },
    optional={
        "gamma": scalar_list_or_range(positive),
        "gamma_on": st.sampled_from(["class", "mean", ["class", "mean"]]),
    },
)
models = st.fixed_dictionaries(
    {},
    optional={
        "architecture": st.lists(st.sampled_from(["unet", "fpn", "deeplabv3"]), min_size=1, unique=True),
        "encoder_weights": st.sampled_from(["none", "imagenet"]),
        "output_stride": st.sampled_from([8, 16, [8, 16]]),
    },
)
optimizers = st.fixed_dictionaries({}, optional={"learning_rate": scalar_list_or_range(positive)})
data = st.fixed_dictionaries(
    {},
    optional={
        "batch_size": st.one_of(st.integers(2, 64), st.just({"low": 2, "high": 8})),
        "crop": st.sampled_from(["64x96", ["64x96", "512x512"]]),
        "horizontal_flip": st.one_of(st.booleans(), st.just([True, False])),
        "rare_class_first": scalar_list_or_range(st.floats(1e-3, 1.0)),
    },
)
datasets = st.one_of(
    st.builds(
        lambda n, seed: {"layout": "synthetic", "images": n, "seed": seed}, st.integers(40, 500), st.integers(0, 9)
    ),
    st.builds(lambda share: {"layout": "aeroscapes", "root": "/data/aero", "dev_share": share}, st.floats(0.01, 0.9)),
    st.just({"layout": "described", "description": "/data/set.yaml"}),
    st.builds(
        lambda name, split, root: {
            "layout": "described",
            "root": root,
            "description": DESCRIPTION | {"name": name, "split": split},
        },
        names,
        st.sampled_from([{"by": "share"}, {"by": "scene", "train": ["1", "yes"], "val": ["02"]}]),
        st.sampled_from(["s3://bucket/a b", "/data/set", None]),
    ),
)
searches = st.builds(
    lambda **parts: SearchConfig.model_validate(parts),
    name=names,
    dataset=datasets,
    storage=st.sampled_from(["/runs", "/a b/ü", "/runs: x #1", "/yes"]),
    objective=st.sampled_from(["miou", "thing_miou", "worst_class_iou"]),
    space=st.fixed_dictionaries({"model": models, "loss": losses, "optimizer": optimizers, "data": data}),
    budget=st.fixed_dictionaries(
        {"trials": st.integers(1, 10_000), "max_epochs": st.integers(1, 500), "hours": st.one_of(st.none(), positive)}
    ),
    resources=st.fixed_dictionaries(
        {
            "cpus_per_trial": st.sampled_from(["auto", 0.5, 1, 4]),
            "gpus_per_trial": st.sampled_from(["auto", 0, 0.25, 1]),
        }
    ),
    seed=st.integers(0, 2**31),
)


@untimed
@example(config=SearchConfig(name="1e5", dataset={"layout": "synthetic"}, storage="/runs"))
@given(config=searches)
def test_a_search_config_survives_yaml(config):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "search.yaml")
        path.write_text(dump_yaml(config.model_dump(mode="json")), encoding="utf-8")
        assert load_search_config(path, [], None) == config


@untimed
@given(config=searches, number=st.integers(0, 50))
def test_a_trial_config_survives_json(config, number):
    trial = trial_config(config, suggest_point(config.parsed_space, [], config.seed, number))
    assert TrialConfig.model_validate_json(trial.model_dump_json()) == trial
    assert TrialConfig.model_validate(trial.model_dump(mode="json")) == trial
