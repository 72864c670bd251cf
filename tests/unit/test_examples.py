"""The examples load as they stand, and say what the README says of them."""

from pathlib import Path

import pytest

from search.config.config_file import config_warnings, load_search_config
from search.decide.sampler import suggest_point
from search.decide.search_plan import trial_config
from search.space.baselines import baseline_points
from search.space.space import Fixed

EXAMPLES = Path(__file__).parents[2] / "examples"
MODELS = {"unet", "deeplabv3", "deeplabv3plus"}
LOSSES = {"cross_entropy", "focal", "dice", "iou", "tversky"}
STRONG_LOSSES = {"cross_entropy", "focal", "tversky", "compound"}


def example(name, *overrides):
    return load_search_config(EXAMPLES / name, overrides, None)


def baselines(config):
    return baseline_points(config.baselines, config.parsed_space)


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("smoke.yaml", []),
        ("aeroscapes.yaml", []),
        ("dubai.yaml", [f"dataset.description={EXAMPLES}/dubai_tiles.yaml"]),
        ("rare_classes.yaml", []),
    ],
)
def test_every_baseline_of_an_example_is_a_valid_trial(name, overrides):
    config = example(name, *overrides)
    for point in baselines(config):
        assert trial_config(config, point).loss.name in LOSSES | STRONG_LOSSES
    assert config_warnings(config) == []


def test_smoke_covers_two_models_with_five_losses_leaves_trials_to_stop_early_and_is_confirmed():
    config = example("smoke.yaml")
    points = baselines(config)
    models = {"unet", "deeplabv3plus"}
    assert {(p["model.architecture"], p["loss.name"]) for p in points} == {(m, loss) for m in models for loss in LOSSES}
    assert config.budget.trials >= len(points) + 4
    assert config.first_rung < config.budget.max_epochs
    assert all(p["model.encoder_weights"] == "none" for p in points), "nothing may be downloaded"
    assert (config.confirm.after_search, config.confirm.seeds, config.report.write) == (True, 3, True)


def test_the_aeroscapes_baselines_have_the_seed_studys_settings():
    config = example("aeroscapes.yaml")
    points = [trial_config(config, point) for point in baselines(config)]
    assert len(points) == 15
    for trial in points:
        assert (trial.data.batch_size, trial.max_epochs, trial.optimizer.learning_rate) == (8, 30, 1e-3)
        assert (trial.model.encoder, trial.model.encoder_weights) == ("resnet34", "imagenet")
    (tversky,) = [t.loss for t in points if t.loss.name == "tversky" and t.model.architecture == "deeplabv3plus"]
    assert (tversky.alpha, tversky.beta, tversky.gamma) == (0.7, 0.3, 1.0)


def test_rare_classes_searches_all_that_helps_them():
    config = example("rare_classes.yaml")
    assert config.objectives == ("miou", "thing_miss_rate")
    assert (config.baselines, config.confirm.after_search) == ("strong", True)
    points = baselines(config)
    architectures = {point["model.architecture"] for point in points}
    assert {(p["model.architecture"], p["loss.name"]) for p in points} == {
        (architecture, loss) for architecture in architectures for loss in STRONG_LOSSES
    }
    assert config.budget.trials > 5 * len(points)
    searched = {key for key, domain in config.parsed_space.domains.items() if not isinstance(domain, Fixed)}
    assert searched >= {
        *(
            "model.architecture",
            "model.encoder",
            "model.output_stride",
            "data.crop",
            "data.scale_min",
            "data.scale_max",
        ),
        *(
            "loss.name",
            "loss.pixel",
            "loss.region",
            "loss.region_weight",
            "loss.class_weight_power",
            "loss.focal_gamma",
        ),
        *("loss.alpha", "loss.beta", "loss.gamma", "data.rare_class_first", "data.copy_paste"),
    }


def test_every_point_of_rare_classes_is_a_valid_trial():
    config = example("rare_classes.yaml")
    trials = [
        trial_config(config, suggest_point(config.parsed_space, [], 0, number, config.objectives))
        for number in range(60)
    ]
    assert {trial.loss.name for trial in trials} == LOSSES | STRONG_LOSSES
