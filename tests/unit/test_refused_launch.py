"""What only networks, images or the user's modules can tell is refused by the launch, before it writes anything."""

from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


SMALL = "timm-mobilenetv3_small_100"
SWIN = "tu-swin_tiny_patch4_window7_224"


@pytest.fixture
def launched(synthetic_config, synthetic_cache_dir, monkeypatch, refused):
    """Runs a search that a launch must refuse, with overrides; it ends as a test that failed where anything starts."""
    import search.run.launch

    def refuse(*args, **kwargs):
        raise AssertionError("the search was started")

    monkeypatch.setattr(search.run.launch, "Lease", refuse)
    dataset = f"{{layout: synthetic, images: {synthetic_config.images}, size: {synthetic_config.size}}}"
    model = f"{{architecture: unet, encoder: {SMALL}, encoder_weights: none}}"
    Path("bad.yaml").write_text(
        f"name: small\ndataset: {dataset}\nresources: {{cache_dir: {synthetic_cache_dir}}}\n"
        f"space: {{model: {model}, data: {{crop: 64x64, batch_size: 4}}}}\n"
    )
    return lambda *overrides: refused("search", "bad.yaml", *(f"--set={text}" for text in overrides))


SINGLE_PIXEL = "a BatchNorm layer of it sees a single pixel of each, which has no variance"

LAUNCHES = {
    "an unknown encoder": (
        ["space.model.encoder=[resnet18, resnet19]"],
        r"model\.encoder must be an encoder of segmentation_models_pytorch, or tu-NAME for one of timm", "'resnet19'",
        r"Did you mean resnet1\d+\? See smp\.encoders\..*",
    ),
    "an encoder of timm without its prefix": (
        ["space.model.encoder=convnext_tiny"], r"model\.encoder must be .*", "'convnext_tiny'",
        r"Did you mean tu-convnext_tiny\? See .*",
    ),
    "weights that are not there": (
        ["space.model.encoder_weights=nowhere.pt"],
        r"model\.encoder_weights must be imagenet, none or the path of a state dict", r"'.*/nowhere\.pt'",
        "Give the path of an existing file, or set it to none to train from random weights",
    ),
    "weights that are misspelled": (
        ["space.model.encoder_weights=imagnet"], r"model\.encoder_weights must be .*", r"'.*/imagnet'",
        r"Did you mean imagenet\? Give the path of .*",
    ),
    "weights of another network": (
        ["space.model.encoder_weights=other.pt"],
        rf"model\.encoder_weights must be a state dict of {SMALL} that loads with weights_only",
        r".*/other\.pt: RuntimeError: Error\(s\) in loading state_dict .*", r"Save it with torch\.save.*",
    ),
    "a batch of one where BatchNorm needs two": (
        ["space.data.batch_size=1", "space.model.architecture=[unet, deeplabv3plus]"],
        rf"data\.batch_size must be at least 2 for deeplabv3plus with {SMALL} on crops of 64x64: {SINGLE_PIXEL}", "1",
        r"Raise it, or use another network\. To leave it out: --set 'space\.model\.exclude=\[{architecture: "
        r"deeplabv3plus}\]' .*",
    ),
    "a range of batches from one where BatchNorm needs two": (
        ["space.data.batch_size={low: 1, high: 4}", "space.data.crop=[64x64, 32x32]"],
        rf"data\.batch_size must be at least 2 for unet with {SMALL} on crops of 32x32: {SINGLE_PIXEL}", "1",
        "Raise it, or use another network",
    ),
    "a crop that an architecture cannot take": (
        ["space.model.architecture=pan"], rf"data\.crop must be a size that pan with {SMALL} can be trained on",
        "64x64: .*Output size is too small", "Use other crops, or another network",
    ),
    "an encoder of one input size, which the crops have and the images have not": (
        [f"space.model.encoder=[{SWIN}, {SMALL}]", "space.data.crop=224x224"],
        f"unet with {SWIN} must run on 64x96 pixels, as evaluation shows it images of dev and val",
        r"Input height \(64\) doesn't match model \(224\)",
        r"Use another encoder: no crop mends it\. To leave it out: --set 'space\.model\.exclude=\[{encoder: "
        rf"{SWIN}}}\]' \(or `exclude` in space\.model of the file\)",
    ),
    "a module that is not there": (
        ["space.loss.name=nowhere:Loss"], "nowhere:Loss must name a module that can be imported",
        "ModuleNotFoundError: No module named 'nowhere'", "Start the command in the folder that has it, .*",
    ),
    "an objective of an unknown class": (
        ["objective=recall/persn"], "objective recall/persn must name a class of synthetic-.*", "persn",
        r"Did you mean recall/person\? The classes are background, person, .*",
    ),
    "a root that is not there": (
        ["dataset={layout: aeroscapes, root: nowhere}"], "the root of an aeroscapes set must have the folders .*",
        ".*/nowhere: no such folder", r"Correct dataset\.root or .*",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LAUNCHES)
def test_what_a_launch_can_tell_is_refused_before_it_writes(case, launched, require_one_problem):
    overrides, rule, value, remedy = LAUNCHES[case]
    torch.save({"layer.weight": torch.zeros(1)}, "other.pt")
    require_one_problem(launched(*overrides), rule, value, remedy)


def test_all_networks_that_cannot_be_had_are_named_at_once(launched):
    printed = launched("space.model.encoder=[resnet19, resnet20]", "space.loss.name=[dice, 'nowhere:Loss']")
    assert printed.startswith("error: 3 problems:\n")


def test_what_is_left_out_as_the_message_says_is_no_problem_any_more(launched):
    with pytest.raises(AssertionError, match="the search was started"):
        launched(
            f"space.model.encoder=[{SWIN}, {SMALL}]", "space.data.crop=224x224",
            f"space.model.exclude=[{{encoder: {SWIN}}}]",
        )  # fmt: skip


def test_one_training_is_told_without_a_space(synthetic_config, synthetic_cache_dir, refused, require_one_problem):
    values = {
        "dataset": f"{{layout: synthetic, images: {synthetic_config.images}, size: {synthetic_config.size}}}",
        "resources.cache_dir": synthetic_cache_dir, "model.architecture": "unet", "model.encoder": SWIN,
        "model.encoder_weights": "none", "data.crop": "224x224", "data.batch_size": 4,
    }  # fmt: skip
    printed = refused("train", *(f"--set={key}={value}" for key, value in values.items()))
    require_one_problem(
        printed,
        f"unet with {SWIN} must run on 64x96 pixels, as evaluation shows it images of dev and val",
        r"Input height \(64\) doesn't match model \(224\)",
        "Use another encoder: no crop mends it",
    )


def test_a_batch_of_one_passes_where_the_network_can_train_on_it(launched):
    with pytest.raises(AssertionError, match="the search was started"):
        launched("space.data.batch_size=1")


def test_a_machine_on_which_ray_cannot_start_is_refused_before_the_images_are_looked_at(launched, monkeypatch):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/proc/version")
    printed = launched("dataset={layout: aeroscapes, root: nowhere}")
    assert printed.startswith("error: Ray needs a folder for its sockets and logs (TMPDIR); got /proc/version/ray: ")
