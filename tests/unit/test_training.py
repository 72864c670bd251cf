"""One trial's training: the same seed gives the same numbers, interrupted or not."""

import itertools
import json
import math
import re
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

from trainable.batches.batch_feed import BatchFeed
from trainable.config.loss_config import LossConfig
from trainable.config.sections import DataConfig, OptimizerConfig
from trainable.device import Compute, free_memory
from trainable.errors import InputError
from trainable.measure.confusion import class_metrics
from trainable.measure.evaluation import evaluate
from trainable.measure.logit_adjustment import TAUS
from trainable.network.model import build_model
from trainable.record.checkpoint import from_bytes, to_bytes
from trainable.record.storage import Storage
from trainable.record.trial_record import TrialRecord
from trainable.schedule import learning_rate_factor
from trainable.training import InterruptedTraining, Training
from trainable.trial_run import Host, TrialRun

CPU = Compute(torch.device("cpu"), torch.float32)
BF16 = Compute(torch.device("cpu"), torch.bfloat16)
FP16 = Compute(torch.device("cpu"), torch.float16)
TIMES = {"images_per_second", "peak_memory_mb", "data_wait"}
STEPS = 4  # 25 train images in batches of 8


@pytest.fixture
def config(dropout_trial):
    """The trial that most tests here train."""
    return dropout_trial


def never():
    return False


def numbers(metrics):
    return {name: value for name, value in metrics.items() if name not in TIMES}


def run(training, epochs, first=1):
    return [numbers(training.run_epoch(epoch, never).metrics) for epoch in range(first, epochs + 1)]


def start(folder, training, config):
    return TrialRun(
        TrialRecord(folder, "t0000"), training, "miou", tuple("abcdefghijkl"), Host("cpu"), config.max_epochs
    )


def test_the_same_seed_gives_the_same_numbers_exactly(config, synthetic_data):
    first = run(Training(config, synthetic_data, CPU), 2)
    torch.rand(3)
    assert run(Training(config, synthetic_data, CPU), 2) == first


def test_another_seed_gives_other_numbers(config, synthetic_data):
    other = config.model_copy(update={"seed": 1})
    assert run(Training(other, synthetic_data, CPU), 1) != run(Training(config, synthetic_data, CPU), 1)


@pytest.mark.parametrize("compute", [CPU, BF16], ids=["fp32", "bf16"])
def test_a_trial_interrupted_and_continued_gives_what_one_that_never_was_gives(
    config, synthetic_data, tmp_path, compute
):
    whole, parts = Storage(str(tmp_path / "whole")), Storage(str(tmp_path / "parts"))
    trial = start(whole, Training(config, synthetic_data, compute), config)
    expected = [numbers(trial.step().metrics) for _ in range(3)]

    trial = start(parts, Training(config, synthetic_data, compute), config)
    given = [numbers(trial.step().metrics)]
    asked = itertools.count()
    with pytest.raises(InterruptedTraining):
        trial.step(lambda: next(asked) == 2)
    assert len(TrialRecord(parts, "t0000").epochs()) == 1

    torch.manual_seed(77)
    trial = start(parts, Training(config, synthetic_data, compute), config)
    given += [numbers(trial.step().metrics) for _ in range(2)]
    assert given == expected
    saved = [sorted(folder.names("trials/t0000/checkpoints")) for folder in (whole, parts)]
    assert [[name[:4] for name in names] for names in saved] == [["0001", "0002"]] * 2  # then the number of the start
    for pair in zip(*saved, strict=True):
        files = [
            folder.read(f"trials/t0000/checkpoints/{name}") for folder, name in zip((whole, parts), pair, strict=True)
        ]
        assert_equal(*map(from_bytes, files))


def assert_equal(one, other):
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
        assert one.stride() == other.stride()
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        for pair in zip(one, other, strict=True):
            assert_equal(*pair)
    else:
        assert one == other


def test_the_state_is_read_with_weights_only(config, synthetic_data):
    training = Training(config, synthetic_data, CPU)
    training.run_epoch(1, never)
    state = training.state()
    assert state.keys() == {"model", "optimizer", "scaler", "micro_batches", "tiling", "random"}
    assert_equal(from_bytes(to_bytes(state)), state)


def test_should_stop_is_asked_before_every_step(config, synthetic_data):
    asked = []
    Training(config, synthetic_data, CPU).run_epoch(1, lambda: asked.append(1))
    assert len(asked) == STEPS


def test_a_stop_before_the_first_step_changes_nothing(config, synthetic_data):
    training = Training(config, synthetic_data, CPU)
    before = to_bytes(training.state())
    with pytest.raises(InterruptedTraining):
        training.run_epoch(1, lambda: True)
    assert_equal(from_bytes(before), training.state())


def feed_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("batch-feed")]


@pytest.fixture
def drawn_ahead(monkeypatch):
    """Batches are drawn by threads, as for a GPU."""
    monkeypatch.setattr("trainable.training.BatchFeed", lambda draw, steps, threads: BatchFeed(draw, steps, threads=3))


def run_noting_who_draws(training):
    """The metrics of an epoch, and the threads that made its crops."""
    write_crop, threads = training._sampler._write_crop, set()

    def note(*arguments):
        threads.add(threading.current_thread().name)
        write_crop(*arguments)

    training._sampler._write_crop = note
    return numbers(training.run_epoch(1, never).metrics), threads


def test_a_cpu_draws_in_the_loop_what_threads_draw_for_a_gpu(config, synthetic_data, request):
    metrics, threads = run_noting_who_draws(Training(config, synthetic_data, CPU))
    assert threads == {threading.current_thread().name}

    request.getfixturevalue("drawn_ahead")
    ahead, threads = run_noting_who_draws(Training(config, synthetic_data, CPU))
    assert threads
    assert threads <= {f"batch-feed-crops_{number}" for number in range(3)}
    assert ahead == metrics


def test_for_a_gpu_as_many_threads_draw_as_the_trial_has_cores(config, synthetic_data, monkeypatch):
    asked = []

    def feed(draw, steps, threads):
        asked.append(threads)
        return BatchFeed(draw, steps, threads=threads)

    monkeypatch.setattr("trainable.training.BatchFeed", feed)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    training = Training(config, synthetic_data, CPU)
    training.run_epoch(1, never)
    training._on_gpu = True
    training.run_epoch(2, never)
    assert asked == [0, 3]


@pytest.mark.usefixtures("drawn_ahead")
def test_an_epoch_leaves_no_thread_however_it_ends(config, synthetic_data):
    training = Training(config, synthetic_data, CPU)
    asked = itertools.count()
    with pytest.raises(InterruptedTraining) as caught:
        training.run_epoch(1, lambda: next(asked) == 2)
    assert feed_threads() == [], f"while {caught.value!r} still holds the frames of the loop"
    training.run_epoch(1, never)
    assert feed_threads() == []


@pytest.mark.usefixtures("drawn_ahead")
def test_what_drawing_raises_ends_the_epoch_as_it_is(config, synthetic_data):
    training = Training(config, synthetic_data, CPU)
    batch = training._sampler.batch

    def fail(epoch, step, each):
        if step == 2:
            raise InputError("the decoded images must be whole", "a damaged map", "Delete it")
        return batch(epoch, step, each)

    training._sampler.batch = fail
    with pytest.raises(InputError, match=r"the decoded images must be whole; got a damaged map\. Delete it"):
        training.run_epoch(1, never)
    assert feed_threads() == []


def test_the_share_of_an_epoch_that_waited_for_data_is_measured(config, synthetic_data):
    training = Training(config, synthetic_data, CPU)
    batch = training._sampler.batch

    def draw_slowly(epoch, step, each):
        time.sleep(0.2)
        return batch(epoch, step, each)

    training._sampler.batch = draw_slowly
    metrics = training.run_epoch(1, never).metrics
    seconds = STEPS * config.data.batch_size / metrics["images_per_second"]
    assert 0.2 <= metrics["data_wait"] * seconds <= seconds, "the first batch is waited for at least"


class Breaks(nn.Module):
    """The criterion, with a loss of its own from the n-th call on, in training or in evaluation."""

    def __init__(self, criterion, value, in_training, calls=0):
        super().__init__()
        self.criterion, self.value, self.in_training, self.calls = criterion, value, in_training, calls

    def forward(self, logits, target):
        loss = self.criterion(logits, target)
        if torch.is_grad_enabled() != self.in_training:
            return loss
        self.calls -= 1
        return loss * self.value if self.calls < 0 else loss


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("phase", ["training", "dev"])
def test_a_loss_that_is_no_number_ends_the_trial_as_diverged(config, synthetic_data, tmp_path, value, phase):
    training = Training(config, synthetic_data, CPU)
    trial = start(Storage(str(tmp_path)), training, config)
    assert trial.step().objective > 0
    training._criterion = Breaks(training._criterion, value, phase == "training")
    record = trial.step()
    assert re.fullmatch(f"the {phase} loss became (nan|inf) in epoch 2", record.diverged)
    assert record.objective == 0.0
    text = Storage(str(tmp_path)).read("trials/t0000/epochs/0002.json").decode()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert json.loads(text)["metrics"]["objective"] == 0.0


def test_weights_that_break_in_the_last_step_are_noticed(config, synthetic_data):
    """The loss was still finite then, and labels of NaN logits would make a plausible mIoU."""
    training = Training(config, synthetic_data, CPU)
    step = training._optimizer.step
    steps = itertools.count(1)

    def break_last():
        step()
        if next(steps) == STEPS:
            training._optimizer.param_groups[0]["params"][-1].data.fill_(math.nan)

    training._optimizer.step = break_last
    assert training.run_epoch(1, never).diverged == "the dev loss became nan in epoch 1"


def test_metrics_are_finite_and_leave_out_what_does_not_exist(config, synthetic_data):
    metrics = Training(config, synthetic_data, CPU).run_epoch(1, never).metrics
    assert all(math.isfinite(value) for value in metrics.values())
    assert "iou/road" in metrics
    assert "iou/boat" not in metrics, "the set has none"
    assert {"train_loss", "dev_loss", "miou", "thing_miou", "worst_class_iou", "pixel_accuracy"} < metrics.keys()


def test_an_epoch_counts_the_dev_images(config, synthetic_data):
    outcome = Training(config, synthetic_data, CPU).run_epoch(1, never)
    dev = list(synthetic_data.splits.dev)
    assert outcome.matrix.sum() == synthetic_data.cache.pixel_counts[dev].sum()
    found = outcome.image_counts
    assert found.counts.shape == (len(dev), 12, 3)
    assert found.images == tuple(synthetic_data.image_set.samples[index].id for index in dev)
    assert found.scenes == tuple(synthetic_data.image_set.samples[index].scene for index in dev)
    assert found.classes == synthetic_data.image_set.classes
    assert outcome.metrics["miou"] == class_metrics(outcome.matrix).mean_iou
    things = list(synthetic_data.image_set.thing_labels)
    truth = [find_large(synthetic_data.cache.objects(index), config.evaluation.min_object_pixels) for index in dev]
    assert found.objects.shape == (len(dev), 12, 3)
    np.testing.assert_array_equal(found.objects[:, :, 0], truth)
    true, missed, _ = found.objects[:, things].sum(axis=0).T
    assert outcome.metrics["thing_miss_rate"] == pytest.approx((missed[true > 0] / true[true > 0]).mean())


def find_large(objects, least):
    return np.bincount(objects.labels[objects.sizes >= least], minlength=12)


def test_the_adjustment_is_fitted_to_the_objective(config, synthetic_data):
    """At its best it is no worse than none, and the prior is that of the training split."""
    for objective in ("thing_recall", "pixel_accuracy"):
        training = Training(config.model_copy(update={"objective": objective}), synthetic_data, CPU)
        train = synthetic_data.cache.pixel_counts[list(synthetic_data.splits.train)].sum(axis=0)
        present = train > 0
        np.testing.assert_allclose(training._scoring.log_prior[present], np.log(train[present] / train.sum()))
        metrics = training.run_epoch(1, never).metrics
        assert metrics["adjusted/tau"] in TAUS
        assert metrics[f"adjusted/{objective}"] >= metrics[objective]
        assert {"adjusted/miou", "adjusted/iou/road", "adjusted/recall/road"} < metrics.keys()


def test_the_weights_reproduce_the_epoch(config, synthetic_data):
    training = Training(config, synthetic_data, CPU)
    outcome = training.run_epoch(1, never)
    model = build_model(config.model, 12)
    model.load_state_dict(from_bytes(to_bytes(training.weights())))
    again = evaluate(
        model, training._criterion, synthetic_data.cache, synthetic_data.splits.dev, CPU, training._scoring
    )
    np.testing.assert_array_equal(again.matrix, outcome.matrix)
    np.testing.assert_array_equal(again.sized_objects, outcome.image_counts.sized_objects)
    assert again.loss == outcome.metrics["dev_loss"]


def test_the_learning_rate_is_that_of_the_schedule(config, synthetic_data):
    config = config.model_copy(update={"optimizer": OptimizerConfig(learning_rate=0.002, warmup_epochs=1)})
    training = Training(config, synthetic_data, CPU)
    rates = [metrics["learning_rate"] for metrics in run(training, 2)]
    last_steps = [STEPS - 1, 2 * STEPS - 1]
    assert rates == [0.002 * learning_rate_factor(step, STEPS, 3 * STEPS) for step in last_steps]


def test_bf16_learns_what_fp32_learns(config, synthetic_data):
    exact, reduced = (run(Training(config, synthetic_data, compute), 2) for compute in (CPU, BF16))
    for epoch in (0, 1):
        assert reduced[epoch]["train_loss"] == pytest.approx(exact[epoch]["train_loss"], rel=0.02)
        assert reduced[epoch]["train_loss"] != exact[epoch]["train_loss"]


def test_weights_and_loss_stay_float32_in_bf16(config, synthetic_data):
    training = Training(config, synthetic_data, BF16)
    seen = []

    class Spy(nn.Module):
        def forward(self, logits, target):
            seen.append(logits.dtype)
            return nn.functional.cross_entropy(logits, target, ignore_index=255)

    training._criterion = Spy()
    training.run_epoch(1, never)
    assert set(seen) == {torch.float32}
    assert {value.dtype for value in training.weights().values()} == {torch.float32, torch.int64}


@pytest.mark.parametrize("compute", [CPU, FP16], ids=["fp32", "fp16"])
def test_a_state_of_another_memory_format_and_of_no_fused_step_continues_the_same(config, synthetic_data, compute):
    training = Training(config, synthetic_data, compute)
    training.run_epoch(1, never)
    state = to_bytes(training.state())
    older = from_bytes(state)
    for group in older["optimizer"]["param_groups"]:
        group["fused"] = None
    moments = older["optimizer"]["state"]
    for number, values in moments.items():
        moments[number] = {name: value.contiguous() for name, value in values.items()}
    continued = []
    for begun in (from_bytes(state), older):
        training.load_state(begun)
        continued.append((numbers(training.run_epoch(2, never).metrics), to_bytes(training.weights())))
    assert continued[0][0] == continued[1][0]
    assert_equal(*(from_bytes(weights) for _, weights in continued))


class Gapped(nn.Conv2d):
    """A network with a weight that has gaps in memory, or none."""

    def __init__(self, gaps):
        super().__init__(3, 12, 1)
        self.bias = nn.Parameter(torch.zeros(24)[::2] if gaps else torch.zeros(12))


def test_weights_with_gaps_in_memory_are_trained_like_others(config, synthetic_data, monkeypatch):
    learnt = []
    for gaps in (False, True):
        monkeypatch.setattr("trainable.training.build_model", lambda *_, gaps=gaps: Gapped(gaps))
        training = Training(config, synthetic_data, CPU)
        training.run_epoch(1, never)
        learnt.append(training.weights())
    torch.testing.assert_close(learnt[1], learnt[0])


@pytest.mark.parametrize(("before", "after"), [(CPU, FP16), (FP16, CPU), (BF16, CPU), (CPU, BF16)])
def test_a_trial_continues_in_another_precision(config, synthetic_data, before, after):
    """The next machine may have another device."""
    training = Training(config, synthetic_data, before)
    training.run_epoch(1, never)
    other = Training(config, synthetic_data, after)
    other.load_state(from_bytes(to_bytes(training.state())))
    assert math.isfinite(other.run_epoch(2, never).metrics["train_loss"])


def limit(training, room):
    """Let the network run out of memory where it is trained on more than `room` images at once."""
    forward = training._model.forward

    def limited(images):
        if training._model.training and len(images) > room:
            raise torch.OutOfMemoryError(f"no room for {len(images)} images")
        return forward(images)

    training._model.forward = limited
    return training


class Plain(nn.Sequential):
    """A network without BatchNorm."""

    def __init__(self, _, num_classes):
        super().__init__(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, num_classes, 3, padding=1))


def test_out_of_memory_changes_how_a_batch_is_computed_and_not_what_is_learnt(config, synthetic_data, monkeypatch):
    monkeypatch.setattr("trainable.training.build_model", Plain)
    whole = Training(config, synthetic_data, CPU)
    parts = limit(Training(config, synthetic_data, CPU), room=3)
    for epoch in (1, 2):
        expected, given = (training.run_epoch(epoch, never) for training in (whole, parts))
        assert (expected.metrics["micro_batch_size"], given.metrics["micro_batch_size"]) == (8, 2)
        for name in ("train_loss", "dev_loss", "miou"):
            assert given.metrics[name] == pytest.approx(expected.metrics[name], rel=1e-4)
    for name, weights in whole.weights().items():
        torch.testing.assert_close(parts.weights()[name], weights, rtol=1e-3, atol=1e-4)


def test_out_of_memory_is_noted_once_and_remembered_by_the_state(config, synthetic_data):
    whole = limit(Training(config, synthetic_data, CPU), room=4)
    outcome = whole.run_epoch(1, never)
    assert outcome.notes == (
        "out of memory with 8 images at once: from here on 4 at once, the effective batch stays 8; "
        "BatchNorm sees the smaller batches",
    )
    assert outcome.metrics["micro_batch_size"] == 4
    state = from_bytes(to_bytes(whole.state()))
    expected = whole.run_epoch(2, never)
    assert expected.notes == ()

    continued = Training(config, synthetic_data, CPU)  # with room for the whole batch, which makes no difference
    continued.load_state(state)
    given = continued.run_epoch(2, never)
    assert given.notes == ()
    assert numbers(given.metrics) == numbers(expected.metrics)
    assert_equal(continued.state(), whole.state())


def test_a_note_reaches_the_user_also_where_the_trial_diverged(config, synthetic_data):
    training = limit(Training(config, synthetic_data, CPU), room=4)
    training._criterion = Breaks(training._criterion, math.nan, in_training=True)
    outcome = training.run_epoch(1, never)
    assert outcome.diverged
    assert outcome.notes[0].startswith("out of memory with 8 images at once")


def test_a_state_of_before_there_were_micro_batches_is_one_of_whole_batches(config, synthetic_data):
    training = Training(config, synthetic_data, CPU)
    state = training.state()
    del state["micro_batches"]
    training.load_state(state)
    assert training.run_epoch(1, never).metrics["micro_batch_size"] == 8


def test_where_the_network_cannot_be_trained_on_less_it_fails_with_the_reason(config, synthetic_data):
    training = limit(Training(config, synthetic_data, CPU), room=1)
    message = "out of memory at micro-batches of 2 images, the smallest parts of a batch of 8 that deeplabv3plus can be"
    with pytest.raises(InputError, match=message):
        training.run_epoch(1, never)


VIEW = 64 * 96
"""Pixels of an image of the synthetic set."""


def limit_view(training, pixels):
    """Let the network run out of memory where it evaluates more than so many pixels at once; returns what it saw."""
    forward, seen = training._model.forward, []

    def limited(images):
        count = images.shape[0] * images.shape[2] * images.shape[3]
        if not training._model.training:
            seen.append(count)
            if count > pixels:
                raise torch.OutOfMemoryError(f"no room for {count} pixels")
        return forward(images)

    training._model.forward = limited
    return seen


def test_an_evaluation_that_does_not_fit_sees_fewer_images_at_once_and_scores_the_same(config, synthetic_data):
    expected = Training(config, synthetic_data, CPU).run_epoch(1, never)
    limited = Training(config, synthetic_data, CPU)
    seen = limit_view(limited, 2 * VIEW)
    given = limited.run_epoch(1, never)
    np.testing.assert_array_equal(given.matrix, expected.matrix)
    np.testing.assert_array_equal(given.image_counts.sized_objects, expected.image_counts.sized_objects)
    other = {"dev_loss"}  # a region loss is one of a pass
    assert {name: value for name, value in numbers(given.metrics).items() if name not in other} == {
        name: value for name, value in numbers(expected.metrics).items() if name not in other
    }
    images = len(synthetic_data.splits.dev)
    assert given.notes[0] == (
        f"out of memory evaluating {images} images at once: from here on {(images + 1) // 2} at once"
    )
    assert sum(count for count in seen if count <= 2 * VIEW) == images * VIEW
    seen.clear()
    assert limited.run_epoch(2, never).notes == ()
    assert max(seen) <= 2 * VIEW


def test_smaller_tiles_are_remembered_by_the_state(config, synthetic_data, tmp_path):
    """Through a whole trial: one that goes on elsewhere measures as one that was never interrupted."""
    whole = Training(config, synthetic_data, CPU)
    limit_view(whole, VIEW - 1)
    record = start(Storage(str(tmp_path / "whole")), whole, config)
    expected = [record.step() for _ in range(2)]
    assert "in tiles of 32 pixels" in record.take_notes()[-1]
    assert [epoch.metrics["evaluation_tile"] for epoch in expected] == [32, 32]

    first = Training(config, synthetic_data, CPU)
    limit_view(first, VIEW - 1)
    start(Storage(str(tmp_path / "parts")), first, config).step()
    second = Training(config, synthetic_data, CPU)  # with room for whole images, which makes no difference
    seen = limit_view(second, 10**9)
    record = start(Storage(str(tmp_path / "parts")), second, config)
    assert numbers(record.step().metrics) == numbers(expected[1].metrics)
    assert record.take_notes() == []
    assert max(seen) < VIEW


def test_a_state_of_before_there_were_smaller_tiles_is_one_of_whole_images(config, synthetic_data):
    training = Training(config, synthetic_data, CPU)
    state = training.state()
    del state["tiling"]
    training.load_state(state)
    assert "evaluation_tile" not in training.run_epoch(1, never).metrics


def test_val_is_measured_in_smaller_passes_too(config, synthetic_data):
    plain, limited = (Training(config, synthetic_data, CPU) for _ in range(2))
    limit_view(limited, 2 * VIEW)
    weights = plain.weights()
    expected, given = (training.measure_val(dict(weights), 0.5) for training in (plain, limited))
    np.testing.assert_array_equal(given.matrix, expected.matrix)
    np.testing.assert_array_equal(given.counts.adjusted_counts, expected.counts.adjusted_counts)
    assert expected.notes == ()
    assert given.notes[0].startswith("out of memory evaluating")


def test_an_evaluation_that_fits_in_no_way_ends_the_trial_with_the_reason(config, synthetic_data):
    training = Training(config, synthetic_data, CPU)
    limit_view(training, 0)
    with pytest.raises(InputError, match="an evaluation must fit into memory; got out of memory on "):
        training.run_epoch(1, never)


def test_an_optimizer_whose_state_does_not_fit_ends_the_trial_with_the_reason(config, synthetic_data):
    training = Training(config, synthetic_data, CPU)

    def step(*_):
        raise torch.OutOfMemoryError("no room")

    training._optimizer.step = step
    with pytest.raises(
        InputError, match=r"an optimizer's state must fit into memory; got out of memory\. Use a smaller"
    ):
        training.run_epoch(1, never)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("parts", [1, 2])
def test_a_step_does_not_wait_for_the_gpu(config, synthetic_data, dtype, parts):
    training = Training(config, synthetic_data, Compute(torch.device("cuda"), dtype))
    training._micro_batches.parts = parts
    training.run_epoch(1, never)  # with what is made once
    training._model.train()
    batch = training._sampler.batch(2, 0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss = training._step(STEPS, batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert loss.isfinite()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_a_batch_that_does_not_fit_on_the_gpu_is_trained_in_parts(config, synthetic_data, dtype):
    gpu = Compute(torch.device("cuda"), dtype)
    config = config.model_copy(update={"data": DataConfig(batch_size=16, crop="256x256")})
    whole = Training(config, synthetic_data, gpu).run_epoch(1, never)
    needed = torch.cuda.max_memory_allocated()
    free_memory()
    torch.cuda.set_per_process_memory_fraction(0.6 * needed / torch.cuda.get_device_properties(0).total_memory)
    try:
        training = Training(config, synthetic_data, gpu)
        outcome = training.run_epoch(1, never)
        assert outcome.metrics["micro_batch_size"] in (8, 4, 2)
        assert outcome.notes[0].startswith("out of memory with 16 images at once")
        assert outcome.metrics["train_loss"] == pytest.approx(whole.metrics["train_loss"], rel=0.2)
        assert training.run_epoch(2, never).notes == ()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_five_epochs_learn_something(config, synthetic_data):
    config = config.model_copy(
        update={"max_epochs": 5, "data": DataConfig(batch_size=4, crop="64x64"), "loss": LossConfig()}
    )
    metrics = run(Training(config, synthetic_data, CPU), 5)
    assert metrics[-1]["train_loss"] < 0.7 * metrics[0]["train_loss"]
    assert max(entry["miou"] for entry in metrics) > 2 * 0.04, "the majority class alone has 0.04"
