"""A batch trained in parts has the gradient of the whole batch, and leaves behind what one pass over it leaves."""

import gc
import re
import weakref

import pytest
import torch
from torch import nn

from trainable.batches.normalise import normalise
from trainable.config.sections import DataConfig, ModelConfig
from trainable.data.dataset_config import DatasetConfig
from trainable.device import Compute
from trainable.errors import InputError
from trainable.losses import CompoundLoss, CrossEntropyLoss, DiceLoss, FocalLoss, IoULoss, TverskyLoss
from trainable.micro_batches import MicroBatches
from trainable.trial_config import TrialConfig

CPU = Compute(torch.device("cpu"), torch.float32)
BF16 = Compute(torch.device("cpu"), torch.bfloat16)
IGNORED = 255
CLASSES = 5
WEIGHTS = [0.5, 2.0, 1.0, 4.0, 3.0]


class Hardest(nn.Module):
    """A loss of a user's own, of the hardest pixels of the whole batch: no sum of anything over its parts."""

    def forward(self, logits, target):
        losses = nn.functional.cross_entropy(logits, target, ignore_index=IGNORED, reduction="none")
        return losses.flatten().topk(500).values.mean()


class SquaredDice(DiceLoss):
    """A user's own too: what the counts of its parent make is not its value."""

    def forward(self, logits, target):
        return super().forward(logits, target) ** 2 + Hardest()(logits, target)


class Drawn(nn.Module):
    """A user's own that looks at pixels drawn at random."""

    def forward(self, logits, target):
        losses = nn.functional.cross_entropy(logits, target, ignore_index=IGNORED, reduction="none").flatten()
        return losses[torch.randint(len(losses), (500,))].mean()


def compound(gamma_on):
    return CompoundLoss(
        pixel=FocalLoss(gamma=1.7, class_weights=WEIGHTS, ignore_index=IGNORED),
        region=TverskyLoss(alpha=0.7, beta=0.2, gamma=1.3, gamma_on=gamma_on, ignore_index=IGNORED),
        region_weight=0.6,
    )


LOSSES = {
    "cross entropy": CrossEntropyLoss(ignore_index=IGNORED),
    "weighted cross entropy": CrossEntropyLoss(class_weights=WEIGHTS, ignore_index=IGNORED),
    "focal": FocalLoss(gamma=2.0, class_weights=WEIGHTS, ignore_index=IGNORED),
    "focal below 1": FocalLoss(gamma=0.5, ignore_index=IGNORED),
    "dice": DiceLoss(ignore_index=IGNORED),
    "iou": IoULoss(ignore_index=IGNORED),
    "tversky by class": TverskyLoss(alpha=0.7, beta=0.2, gamma=1.3, gamma_on="class", ignore_index=IGNORED),
    "tversky of the mean": TverskyLoss(alpha=0.7, beta=0.2, gamma=1.3, gamma_on="mean", ignore_index=IGNORED),
    "tversky below 1": TverskyLoss(alpha=0.3, beta=0.9, gamma=0.6, ignore_index=IGNORED),
    "compound by class": compound("class"),
    "compound of the mean": compound("mean"),
    "own": Hardest(),
    "own on top of ours": SquaredDice(ignore_index=IGNORED),
}


@pytest.fixture(scope="module", autouse=True)
def quick_collections():
    """Out of memory asks the garbage collector, which in a process of tests has a million objects to look through."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(params=LOSSES, ids=str)
def criterion(request):
    return LOSSES[request.param]


def make_network(*extra, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *extra, nn.ReLU(), nn.Conv2d(8, CLASSES, 3, padding=1))


def make_batch(size):
    """The last class is in the first image only, of the last image everything is ignored."""
    generator = torch.Generator().manual_seed(size)
    images = torch.randint(0, 256, (size, 3, 32, 64), dtype=torch.uint8, generator=generator)
    target = torch.randint(0, CLASSES - 1, (size, 32, 64), generator=generator)
    target[0, 3:20] = CLASSES - 1
    target[:, 0] = IGNORED
    target[-1] = IGNORED
    return images, target


def make_micro_batches(network, size, parts=1, compute=CPU, scale=None):
    config = TrialConfig(
        dataset=DatasetConfig(layout="synthetic"),
        model=ModelConfig(architecture="unet", encoder_weights="none"),
        data=DataConfig(batch_size=size, crop="32x64"),
    )
    scaler = torch.amp.GradScaler("cpu", init_scale=scale or 1.0, enabled=scale is not None)
    micro_batches = MicroBatches(config, network, network, compute, scaler)
    micro_batches.parts = parts
    return micro_batches


def train(network, criterion, size, parts=1, **options):
    """The loss of one batch, and the gradients that it leaves."""
    loss = make_micro_batches(network, size, parts, **options).backward(criterion, *make_batch(size))
    return loss, gradients(network)


def gradients(network):
    return torch.cat([parameter.grad.flatten() for parameter in network.parameters()])


def assert_equal_within(given, expected, tolerance):
    assert expected.norm() > 0
    assert (given - expected).norm() <= tolerance * expected.norm()


@pytest.mark.parametrize("size", [5, 6])
@pytest.mark.parametrize("parts", [2, 3, 4])
def test_the_gradient_in_parts_is_that_of_the_whole_batch(criterion, size, parts):
    network = make_network()
    loss, expected = train(network, criterion, size)
    loss_in_parts, given = train(network, criterion, size, parts)
    assert loss_in_parts.item() == pytest.approx(loss.item(), rel=1e-6)
    assert not loss_in_parts.requires_grad
    assert_equal_within(given, expected, 1e-5)


def test_a_fixed_batch_norm_does_not_disturb_it(criterion):
    network = make_network(nn.BatchNorm2d(8)).eval()
    _, expected = train(network, criterion, 6)
    assert_equal_within(train(network, criterion, 6, 4)[1], expected, 1e-5)


def test_the_mean_over_parts_would_be_another_gradient():
    """What two passes are for, and that the batch tells one from the other."""
    network, criterion = make_network(), LOSSES["tversky by class"]
    _, expected = train(network, criterion, 6)
    network.zero_grad()
    for images, target in zip(*(whole.tensor_split(3) for whole in make_batch(6)), strict=True):
        (criterion(network(normalise(images, CPU.device)), target) / 3).backward()
    assert (gradients(network) - expected).norm() > 0.05 * expected.norm()


def test_a_batch_of_nothing_but_ignored_pixels_has_no_gradient():
    network = make_network()
    images, target = make_batch(4)
    for criterion in (LOSSES["focal"], LOSSES["dice"], compound("class")):
        loss = make_micro_batches(network, 4, 3).backward(criterion, images, torch.full_like(target, IGNORED))
        assert loss == 0
        assert (gradients(network) == 0).all()


def test_the_gradient_is_that_of_the_scaled_loss(criterion):
    """fp16 needs it, lest small gradients become 0."""
    network = make_network()
    loss, expected = train(network, criterion, 6)
    for parts in (1, 3):
        scaled_loss, given = train(network, criterion, 6, parts, scale=1024.0)
        assert scaled_loss.item() == pytest.approx(loss.item(), rel=1e-6)
        assert_equal_within(given / 1024, expected, 1e-5)


def test_reduced_precision_computes_the_same_in_parts(criterion):
    network = make_network().to(memory_format=BF16.memory_format)
    loss, expected = train(network, criterion, 6, compute=BF16)
    loss_in_parts, given = train(network, criterion, 6, 3, compute=BF16)
    assert loss_in_parts.item() == pytest.approx(loss.item(), rel=1e-5)
    assert loss.item() != train(network, criterion, 6)[0].item()
    assert_equal_within(given, expected, 0.02)


def test_our_losses_take_the_logits_as_the_network_computed_them_and_others_float32(criterion):
    seen = []
    with criterion.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype)):
        train(make_network(), criterion, 6, compute=BF16)
    own = isinstance(criterion, (Hardest, SquaredDice))
    assert seen == [torch.float32 if own else torch.bfloat16]


@pytest.mark.parametrize("parts", [1, 3])
def test_a_loss_derived_from_ours_with_statistics_of_its_own_is_given_float32(parts):
    seen = []

    class Derived(DiceLoss):
        def statistics(self, logits, target):
            seen.append(logits.dtype)
            return super().statistics(logits, target)

    train(make_network(), Derived(ignore_index=IGNORED), 6, parts, compute=BF16)
    assert set(seen) == {torch.float32}


def test_a_step_replaces_the_gradient_of_the_step_before(criterion):
    network = make_network()
    for parts in (1, 3):
        _, once = train(network, criterion, 6, parts)
        assert torch.equal(train(network, criterion, 6, parts)[1], once)


@pytest.mark.parametrize("criterion", [LOSSES["tversky by class"], Drawn()], ids=["ours", "a loss that draws"])
def test_both_passes_draw_the_same_numbers_and_the_next_step_goes_on_after_them(criterion):
    network = make_network(nn.Dropout(0.5))
    images, target = make_batch(6)

    torch.manual_seed(5)
    logits = [network(normalise(part, CPU.device)) for part in images.tensor_split(3)]
    criterion(torch.cat(logits), target).backward()
    expected, random = gradients(network), torch.get_rng_state()

    torch.manual_seed(5)
    _, given = train(network, criterion, 6, 3)
    assert_equal_within(given, expected, 1e-5)
    assert torch.equal(torch.get_rng_state(), random)


def test_running_statistics_move_once_a_part(criterion):
    network = make_network(nn.BatchNorm2d(8))
    expected = make_network(nn.BatchNorm2d(8))
    images, _ = make_batch(5)
    for part in images.tensor_split(2):
        expected(normalise(part, CPU.device))
    train(network, criterion, 5, 2)
    assert network[1].num_batches_tracked == 2
    for given, buffer in zip(network.buffers(), expected.buffers(), strict=True):
        assert torch.equal(given, buffer)


class Gate(nn.Module):
    """Memory for so many images in training; counts the images that came."""

    def __init__(self, room, error=torch.OutOfMemoryError, text="no room", only_with_gradient=False):
        super().__init__()
        self.room, self.error, self.text, self.only_with_gradient = room, error, text, only_with_gradient
        self.seen = []

    def forward(self, values):
        if self.training:
            self.seen.append(len(values))
            if len(values) > self.room and (values.requires_grad or not self.only_with_gradient):
                raise self.error(self.text)
        return values


def test_out_of_memory_halves_the_micro_batch_and_keeps_the_batch():
    gate = Gate(room=3)
    network = make_network(gate)
    micro_batches = make_micro_batches(network, 8)
    loss = micro_batches.backward(LOSSES["tversky by class"], *make_batch(8))
    assert gate.seen == [8, 4, *2 * [2, 2, 2, 2]], "two passes"
    assert (micro_batches.size, micro_batches.parts) == (2, 4)
    assert micro_batches.take_notes() == (
        "out of memory with 8 images at once: from here on 4 at once, the effective batch stays 8",
        "out of memory with 4 images at once: from here on 2 at once, the effective batch stays 8",
    )
    given = gradients(network)
    gate.room = 8
    expected_loss, expected = train(network, LOSSES["tversky by class"], 8)
    assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-6)
    assert_equal_within(given, expected, 1e-5)

    gate.room, gate.seen = 3, []
    micro_batches.backward(LOSSES["tversky by class"], *make_batch(8))
    assert gate.seen == 2 * [2, 2, 2, 2], "the next step does not try again what did not fit"
    assert micro_batches.take_notes() == ()


def test_the_note_says_that_batch_norm_sees_smaller_batches():
    micro_batches = make_micro_batches(make_network(Gate(room=3), nn.BatchNorm2d(8)), 5)
    micro_batches.backward(LOSSES["dice"], *make_batch(5))
    (note,) = micro_batches.take_notes()
    assert note.endswith("from here on 3 at once, the effective batch stays 5; BatchNorm sees the smaller batches")


def test_a_step_that_ran_out_of_memory_half_way_leaves_no_trace():
    """In the second pass, when a part has moved the running statistics and drawn its numbers already."""
    results = []
    for parts, tried in ((2, [3, 3, 3]), (3, [])):
        gate = Gate(room=2, only_with_gradient=True)
        network = make_network(nn.Dropout(0.5), nn.BatchNorm2d(8), gate)
        micro_batches = make_micro_batches(network, 6, parts)
        torch.manual_seed(5)
        loss = micro_batches.backward(LOSSES["focal"], *make_batch(6))
        assert gate.seen == [*tried, *2 * [2, 2, 2]]
        results.append([loss, gradients(network), torch.get_rng_state(), *network.buffers()])
    for given, expected in zip(*results, strict=True):
        assert torch.equal(given, expected)


def test_the_tensors_of_a_failed_pass_are_gone_before_the_next():
    alive, held = [], []

    class Watch(Gate):
        def forward(self, values):
            alive.append([reference() is not None for reference in held])
            held.append(weakref.ref(values))
            return super().forward(values)

    make_micro_batches(make_network(Watch(room=4)), 8).backward(LOSSES["dice"], *make_batch(8))
    assert alive[1] == [False]


class Greedy(nn.Module):
    """Asks for more memory than there can be."""

    def forward(self, values):
        if self.training and len(values) > 4:
            torch.empty(2**52, dtype=torch.uint8)
        return values


def test_memory_that_the_cpus_allocator_does_not_get_is_out_of_memory_too():
    micro_batches = make_micro_batches(make_network(Greedy()), 8)
    micro_batches.backward(LOSSES["dice"], *make_batch(8))
    assert micro_batches.size == 4


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
    ],
)
def test_the_libraries_own_words_for_it_are_known(text):
    micro_batches = make_micro_batches(make_network(Gate(room=4, error=RuntimeError, text=text)), 8)
    micro_batches.backward(LOSSES["dice"], *make_batch(8))
    assert micro_batches.size == 4


def test_memory_that_ran_out_while_compiling_is_memory_too():
    """torch.compile raises an error of its own, from the one that it met."""

    class Compiles(nn.Module):
        def forward(self, values):
            if self.training and len(values) > 4:
                raise RuntimeError("backend='inductor' raised") from torch.OutOfMemoryError("no room")
            return values

    micro_batches = make_micro_batches(make_network(Compiles()), 8)
    micro_batches.backward(LOSSES["dice"], *make_batch(8))
    assert micro_batches.size == 4


def test_where_one_crop_alone_does_not_fit_even_without_gradient_it_fails_with_the_reason():
    class Full(nn.Module):
        def forward(self, values):
            raise torch.OutOfMemoryError("no room")

    with pytest.raises(InputError, match="a training step must fit into memory"):
        make_micro_batches(make_network(Full()), 8).backward(LOSSES["dice"], *make_batch(8))


def test_another_error_is_not_taken_for_it():
    gate = Gate(room=4, error=RuntimeError, text="The size of tensor a (2) must match the size of tensor b (3)")
    micro_batches = make_micro_batches(make_network(gate), 8)
    with pytest.raises(RuntimeError, match="must match the size"):
        micro_batches.backward(LOSSES["dice"], *make_batch(8))
    assert gate.seen == [8]
    assert micro_batches.parts == 1


class Pooled(nn.Module):
    """A branch that pools to 1x1, as DeepLabV3's: its BatchNorm cannot train on one image."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(8)

    def forward(self, values):
        return values + self.norm(values.mean(dim=(2, 3), keepdim=True))


@pytest.mark.parametrize(
    ("size", "layers", "tried", "last"),
    [
        (8, [], [8, 4, 2, 1], "1 image"),
        (6, [], [6, 3, 2, 1], "1 image"),
        (5, [], [5, 3, 2, 1], "1 image"),
        (8, [Pooled()], [8, 4, 2], "2 images"),
        (7, [Pooled()], [7, 4, 3], "3 images"),
        (6, [Pooled()], [6, 3, 2], "2 images"),
        (5, [Pooled()], [5, 3], "3 images"),
        (3, [Pooled()], [3], "3 images"),
        (2, [Pooled()], [2], "2 images"),
    ],
)
def test_where_no_smaller_part_can_be_trained_it_fails_with_the_reason(size, layers, tried, last):
    gate = Gate(room=0)
    micro_batches = make_micro_batches(make_network(gate, *layers), size)
    message = (
        f"a training step must fit into memory; got out of memory at micro-batches of {last}, the smallest parts of a "
        f"batch of {size} that unet can be trained on. Use smaller crops or a smaller encoder, or run fewer trials at "
        "once (resources.max_concurrent)."
    )
    with pytest.raises(InputError, match=re.escape(message)):
        micro_batches.backward(LOSSES["dice"], *make_batch(size))
    assert gate.seen == tried
