"""Predictions of recorded weights: exactly those that were counted; what is missing or damaged is named."""

import io
import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from analysis.recorded.predictions import Predictor, check_same_data
from analysis.recorded.recorded_search import RecordedTrial
from trainable.config.sections import DataConfig, ModelConfig, RuntimeConfig
from trainable.data.image_set import IGNORED
from trainable.device import Compute
from trainable.errors import InputError
from trainable.measure.fitted_tiles import FittedTiles
from trainable.measure.object_errors import count_objects
from trainable.measure.prediction import predict_labels
from trainable.measure.tiles import Tiling
from trainable.record.checkpoint import from_bytes, to_bytes
from trainable.record.storage import Storage
from trainable.record.trial_record import PER_IMAGE_COUNTS_FILE, WEIGHTS_FILE, TrialRecord
from trainable.training import Training
from trainable.trial_config import TrialConfig
from trainable.trial_run import Host, TrialRun

CPU = Compute(torch.device("cpu"), torch.float32)


class Source:
    """The artifacts of one run."""

    def __init__(self, artifacts):
        self.artifacts = artifacts

    def artifact(self, run_id, name):
        return self.artifacts.get(name)


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch):
    """The network was trained there: a GPU changes last bits."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture(scope="module")
def trained(synthetic_config, synthetic_data, tmp_path_factory):
    """A trial that trained for an epoch, as its record has it."""
    config = TrialConfig(
        dataset=synthetic_config,
        model=ModelConfig(encoder="timm-mobilenetv3_small_100", encoder_weights="none"),
        data=DataConfig(batch_size=8, crop="32x32"),
        runtime=RuntimeConfig(precision="fp32"),
        max_epochs=1,
    )
    record = TrialRecord(Storage(str(tmp_path_factory.mktemp("search"))), "t0003")
    names = tuple(entry.name for entry in synthetic_data.image_set.classes)
    TrialRun(record, Training(config, synthetic_data, CPU), "miou", names, Host("cpu"), 1).step()
    files = {
        name: record.folder.read(record.best_file(record.epochs()[0], name))
        for name in (WEIGHTS_FILE, PER_IMAGE_COUNTS_FILE)
    }
    return RecordedTrial(
        source=Source(files), run_id="r3", trial_id="t0003", state="completed", params={},
        config=config.model_dump(mode="json"), metrics={},
    )  # fmt: skip


@pytest.fixture
def predictor(trained, synthetic_data):
    return Predictor(trained, trained.image_counts, synthetic_data)


def with_weights(trial, data):
    return replace(trial, source=Source({WEIGHTS_FILE: data}))


def test_predictions_are_exactly_those_that_were_counted(predictor, trained, synthetic_data):
    counts, data = trained.image_counts, synthetic_data
    assert len(counts.images) > 3
    seen = set()
    for row, index in enumerate(data.splits.dev):
        labels, truth = predictor.labels(row), data.cache.mask(index)
        assert labels.dtype == np.uint8
        for label in range(data.num_classes):
            of_class, true = labels == label, truth == label
            hits = (of_class & true).sum()
            outside = (of_class & ~true & (truth != IGNORED)).sum()
            assert counts.counts[row, label].tolist() == [hits, true.sum() - hits, outside]
        objects = data.cache.objects(index)
        sized = count_objects(labels, truth, objects, data.image_set.thing_labels, 4, data.num_classes)
        np.testing.assert_array_equal(counts.sized_objects[row], sized)
        assert predictor.changed_pixels(row) == 0
        seen |= set(np.unique(labels).tolist())
    assert len(seen) > 1


def test_changed_pixels_are_a_lower_bound_from_the_counts(trained, synthetic_data):
    counts = trained.image_counts
    changed = counts.counts.copy()
    true = int(changed[1, :, 0].argmax())
    changed[1, true] += [-3, 3, 0]  # 3 pixels less right,
    changed[1, (true + 1) % 12, 2] += 3  # which are another class
    changed[2, 4, 2] += 5  # 5 wrong pixels are wrong otherwise
    changed[2, 7, 2] -= 5
    predictor = Predictor(trained, replace(counts, counts=changed), synthetic_data)
    assert [predictor.changed_pixels(row) for row in range(3)] == [0, 3, 5]


def test_other_weights_are_noticed(trained, synthetic_data):
    content = from_bytes(trained.weights())
    name = next(name for name in content["state_dict"] if name.startswith("segmentation_head") and "bias" in name)
    content["state_dict"][name] += torch.linspace(0, 9, 12)
    other = Predictor(with_weights(trained, to_bytes(content)), trained.image_counts, synthetic_data)
    assert other.changed_pixels(0) > 100


def test_an_image_goes_through_the_network_once(predictor, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "analysis.recorded.predictions.predict_labels",
        lambda *arguments: calls.append(arguments[3]) or predict_labels(*arguments),
    )
    first = predictor.labels(2)
    predictor.changed_pixels(2)
    assert predictor.labels(2) is first
    predictor.labels(0)
    assert calls == [2, 0]


class Local(nn.Module):
    """Logits of a pixel from that pixel alone."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.layer = nn.Conv2d(3, 4, 1)

    def forward(self, pixels):
        assert not torch.is_grad_enabled()
        assert not self.training
        return self.layer(pixels)


def test_tiles_make_up_the_whole_image(array_cache):
    generator = np.random.default_rng(0)
    shapes = [(97, 201), (20, 31), (20, 31)]
    pairs = [(generator.integers(0, 256, (*shape, 3)), generator.integers(0, 4, shape)) for shape in shapes]
    cache, network = array_cache(pairs, 4), Local()
    expected = []
    for image, _ in pairs:
        pixels = (image / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
        logits = network.layer(torch.from_numpy(pixels).float().permute(2, 0, 1)[None])
        expected.append(logits.argmax(dim=1)[0].numpy())
    fitted = FittedTiles(tiling=Tiling(48, 10))
    for indices in ((0, 1, 2), (2, 0)):
        for position, index in enumerate(indices):
            labels = predict_labels(network.train(), cache, indices, position, CPU, fitted)
            np.testing.assert_array_equal(labels, expected[index])
            assert labels.dtype == np.uint8


def test_weights_that_were_not_kept(trained, synthetic_data):
    with pytest.raises(InputError, match="the weights of t0003 must be in MLflow; got none"):
        Predictor(with_weights(trained, None), trained.image_counts, synthetic_data)


def flipped(data):
    """A bit of the largest tensor is another."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entry = max(archive.infolist(), key=lambda info: info.file_size)
    place = entry.header_offset + 30 + len(entry.filename) + entry.file_size // 2
    return data[:place] + bytes([data[place] ^ 64]) + data[place + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        flipped,
        lambda data: b"",
        lambda data: pickle.dumps(print),
        lambda data: to_bytes({"state_dict": from_bytes(data)["state_dict"]}),
        lambda data: to_bytes(from_bytes(data) | {"state_dict": {}}),
        lambda data: to_bytes(from_bytes(data) | {"class_names": ["a", "b"]}),
    ],
    ids=["half", "a bit", "empty", "a pickle", "no names", "no weights", "two classes"],
)
def test_damaged_weights_are_named_in_a_line(trained, synthetic_data, damage):
    broken = with_weights(trained, damage(trained.weights()))
    with pytest.raises(InputError, match="the weights of t0003 must be whole and fit its network") as caught:
        Predictor(broken, trained.image_counts, synthetic_data)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_weights_of_other_classes(trained, synthetic_data):
    content = from_bytes(trained.weights())
    content["class_names"] = ["sky", *content["class_names"][1:]]
    with pytest.raises(InputError, match=r"for the 12 recorded classes; got one for 12 \(sky, "):
        Predictor(with_weights(trained, to_bytes(content)), trained.image_counts, synthetic_data)


def test_a_network_whose_class_is_gone(trained, synthetic_data):
    config = {**trained.config, "model": {**trained.config["model"], "architecture": "nowhere:Net"}}
    with pytest.raises(InputError, match="nowhere:Net must name a module that can be imported"):
        Predictor(replace(trained, config=config), trained.image_counts, synthetic_data)


def test_a_network_that_fails_on_an_image(predictor, trained, monkeypatch):
    def fail(*_):
        raise RuntimeError("out of memory:\n 3 GiB")

    monkeypatch.setattr("analysis.recorded.predictions.predict_labels", fail)
    image = trained.image_counts.images[1]
    with pytest.raises(InputError, match=f"t0003 must run on {image}; got RuntimeError: out of memory: 3 GiB"):
        predictor.labels(1)


def test_what_was_trained_in_half_precision_on_a_gpu_runs_on_the_cpu(trained, synthetic_data):
    config = {**trained.config, "runtime": {**trained.config["runtime"], "precision": "fp16"}}
    predictor = Predictor(replace(trained, config=config), trained.image_counts, synthetic_data)
    size = predictor.labels(0).size
    assert predictor.changed_pixels(0) < 0.02 * size


def test_an_image_set_of_other_classes(trained, synthetic_data):
    fewer = replace(synthetic_data, image_set=replace(synthetic_data.image_set, classes=()))
    with pytest.raises(InputError, match=r"the 12 recorded classes \(background, person, .*; got 0"):
        check_same_data(trained.image_counts, fewer)


def test_an_image_set_of_other_images(trained, synthetic_data):
    counts, splits = trained.image_counts, synthetic_data.splits
    fewer = replace(synthetic_data, splits=replace(splits, dev=splits.dev[1:]))
    total = len(counts.images)
    with pytest.raises(InputError, match=f"{total - 1} images of {total}, without {counts.images[0]}"):
        check_same_data(counts, fewer)
    turned = replace(synthetic_data, splits=replace(splits, dev=splits.dev[::-1]))
    with pytest.raises(InputError, match="or in another order"):
        check_same_data(counts, turned)


def test_an_image_set_of_other_masks(trained, synthetic_data):
    counts = trained.image_counts
    changed = counts.counts.copy()
    changed[2, 0, 1] += 1
    with pytest.raises(InputError, match=f"another mask of {counts.images[2]}"):
        check_same_data(replace(counts, counts=changed), synthetic_data)
