"""One suite for every loss: a new one costs a line in LOSSES."""

import copy
import functools
import pickle

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainable.losses import CompoundLoss, CrossEntropyLoss, DiceLoss, FocalLoss, IoULoss, TverskyLoss, softmax_terms
from trainable.losses.additive import adds_up, takes_any_dtype

IGNORED = 255
WEIGHTS = [0.5, 2.0, 1.0, 4.0]


def cross_entropy_and_dice(*, region_weight, class_weights=None, ignore_index=None):
    pixel = CrossEntropyLoss(class_weights=class_weights, ignore_index=ignore_index)
    return CompoundLoss(pixel=pixel, region=DiceLoss(ignore_index=ignore_index), region_weight=region_weight)


def focal_and_tversky(*, gamma, alpha, beta, gamma_on="class", region_weight, ignore_index=None):
    region = TverskyLoss(alpha=alpha, beta=beta, gamma=1.3, gamma_on=gamma_on, ignore_index=ignore_index)
    pixel = FocalLoss(gamma=gamma, class_weights=WEIGHTS, ignore_index=ignore_index)
    return CompoundLoss(pixel=pixel, region=region, region_weight=region_weight)


LOSSES = [
    (CrossEntropyLoss, {}),
    (CrossEntropyLoss, {"class_weights": WEIGHTS}),
    (FocalLoss, {"gamma": 2.0}),
    (FocalLoss, {"gamma": 0.5, "class_weights": WEIGHTS}),
    (DiceLoss, {}),
    (IoULoss, {}),
    (TverskyLoss, {"alpha": 0.7, "beta": 0.2}),
    (TverskyLoss, {"alpha": 0.7, "beta": 0.2, "gamma": 0.6}),
    (TverskyLoss, {"alpha": 0.7, "beta": 0.2, "gamma": 1.5, "gamma_on": "mean"}),
    (cross_entropy_and_dice, {"region_weight": 0.3}),
    (cross_entropy_and_dice, {"region_weight": 0.8, "class_weights": WEIGHTS}),
    (focal_and_tversky, {"region_weight": 0.6, "gamma": 2.0, "alpha": 0.7, "beta": 0.2}),
    (focal_and_tversky, {"region_weight": 1.0, "gamma": 0.5, "alpha": 0.7, "beta": 0.2, "gamma_on": "mean"}),
]


@pytest.fixture(
    params=LOSSES, ids=lambda entry: "-".join([entry[0].__name__, *(f"{k}={v}" for k, v in entry[1].items())])
)
def entry(request):
    return request.param


@pytest.fixture
def build(entry):
    """Builds the loss anew: `build(ignore_index=...)`."""
    constructor, parameters = entry
    return functools.partial(constructor, **parameters)


@pytest.fixture
def loss(build):
    return build(ignore_index=IGNORED)


@pytest.fixture
def logits():
    return torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def target():
    """Class 3 is absent, the first row ignored."""
    labels = torch.randint(0, 3, (2, 6, 8), generator=torch.Generator().manual_seed(1))
    labels[:, 0] = IGNORED
    return labels


def gradient_of(loss, logits, target):
    leaf = logits.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    loss(leaf, target).backward()
    return leaf.grad


def test_is_a_finite_float32_scalar(loss, logits, target):
    value = loss(logits, target)
    assert value.shape == ()
    assert value.dtype == torch.float32
    assert 0 < value.item() < float("inf")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_gradient_has_the_logits_shape_and_dtype(loss, logits, target, dtype):
    assert loss(logits.to(dtype), target).dtype == torch.float32
    gradient = gradient_of(loss, logits.to(dtype), target)
    assert gradient.shape == logits.shape
    assert gradient.dtype == dtype
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


def test_a_step_down_the_gradient_lowers_the_loss(loss, logits, target):
    gradient = gradient_of(loss, logits, target)
    assert loss(logits - 0.1 * gradient / gradient.norm(), target) < loss(logits, target)


def test_ignored_pixels_are_inert(loss, logits, target):
    moved = logits.clone()
    moved[:, :, 0] = 30 * torch.rand(2, 4, 8)
    assert torch.equal(loss(moved, target), loss(logits, target))
    assert (gradient_of(loss, logits, target)[:, :, 0] == 0).all()
    torch.testing.assert_close(loss(logits[:, :, 1:], target[:, 1:]), loss(logits, target))


def test_nothing_but_ignored_pixels_is_zero_with_zero_gradient(loss, logits):
    target = torch.full((2, 6, 8), IGNORED)
    assert loss(logits, target).item() == 0
    assert (gradient_of(loss, logits, target) == 0).all()


def test_ignoring_is_optional(build, loss, logits, target):
    every_pixel = build()
    valid = target.where(target != IGNORED, 0)
    torch.testing.assert_close(every_pixel(logits, valid), loss(logits, valid))
    with pytest.raises(ValueError, match=r"in 0\.\.3 or be ignore_index \(None\); got 255"):
        every_pixel(logits, target)


def test_an_ignored_class_is_like_an_ignored_label(build, loss, logits, target):
    ignoring_two = build(ignore_index=2)
    torch.testing.assert_close(
        ignoring_two(logits, target.where(target != IGNORED, 2)), loss(logits, target.where(target != 2, IGNORED))
    )


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_any_integer_target_will_do(loss, logits, target, dtype):
    assert torch.equal(loss(logits, target.to(dtype)), loss(logits, target))


def test_memory_layout_does_not_matter(loss, logits, target):
    expected, gradient = loss(logits, target), gradient_of(loss, logits, target)
    channels_last = logits.to(memory_format=torch.channels_last)
    strided = torch.empty(2, 4, 6, 16)[..., ::2].copy_(logits)
    transposed = logits.transpose(2, 3).contiguous().transpose(2, 3)
    for same in (channels_last, strided, transposed):
        torch.testing.assert_close(loss(same, target), expected)
        torch.testing.assert_close(gradient_of(loss, same, target), gradient)
    strided_target = target.transpose(1, 2).contiguous().transpose(1, 2)
    torch.testing.assert_close(loss(logits, strided_target), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_gradient_has_the_logits_layout(loss, logits, target, dtype, memory_format):
    leaf = logits.to(dtype, memory_format=memory_format).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf, target), leaf)  # backward() would copy it into the leaf's layout
    assert gradient.stride() == leaf.stride()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_bfloat16_logits_need_no_float32_copy(loss, logits, target, memory_format):
    logits = logits.bfloat16().to(memory_format=memory_format)
    assert torch.equal(loss(logits, target), loss(logits.float(), target))
    assert torch.equal(gradient_of(loss, logits, target), gradient_of(loss, logits.float(), target).bfloat16())


class LargeTensors(TorchDispatchMode):
    """Records the dtypes of the tensors that are allocated in it with room for `size` elements or more."""

    def __init__(self, size):
        super().__init__()
        self.size = size
        self.dtypes = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        result = operator(*args, **(kwargs or {}))
        given = {tensor.untyped_storage().data_ptr() for tensor in tensors_in((args, kwargs))}
        for tensor in tensors_in(result):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in given and storage.nbytes() >= self.size * tensor.itemsize:
                self.dtypes.append(tensor.dtype)
        return result


def tensors_in(tree):
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_of_the_logits_size_only_the_gradient_is_allocated(loss, logits, target, dtype, memory_format, monkeypatch):
    monkeypatch.setattr(softmax_terms, "_rows_at_once", lambda logits: 2)
    leaf = logits.to(dtype, memory_format=memory_format).requires_grad_()
    with LargeTensors(leaf.numel()) as large:
        value = loss(leaf, target)
        assert large.dtypes == []
        value.backward()
    assert large.dtypes == [dtype]


def test_a_second_derivative_is_refused(loss, logits, target):
    leaf = logits.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf, target), leaf, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_a_graph_that_is_kept_gives_the_same_gradient_again(loss, logits, target):
    leaf = logits.requires_grad_()
    value = loss(leaf, target)
    first, again = (torch.autograd.grad(value, leaf, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, again)


@pytest.mark.parametrize("shape", [(0, 4, 6, 8), (2, 4, 0, 8), (2, 4, 6, 0)])
def test_a_batch_without_pixels_is_zero(loss, shape):
    logits = torch.zeros(shape)
    n, _, height, width = shape
    target = torch.zeros(n, height, width).long()
    assert loss(logits, target).item() == 0
    assert gradient_of(loss, logits, target).shape == shape


def test_autocast_changes_nothing(loss, logits, target):
    expected = loss(logits.bfloat16(), target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(logits.bfloat16(), target)
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)


def test_arguments_are_left_as_they_were(loss, logits, target):
    before = logits.clone(), target.clone()
    loss(logits, target)
    assert torch.equal(logits, before[0])
    assert torch.equal(target, before[1])


def test_the_host_never_waits_for_the_device(loss):
    # Fake tensors have a device and no values: whatever would fetch one raises.
    with FakeTensorMode(allow_non_fake_inputs=True):
        logits = torch.randn(2, 4, 6, 8, device="cuda", requires_grad=True)
        value = loss.to("cuda")(logits, torch.zeros(2, 6, 8, dtype=torch.uint8, device="cuda"))
        assert value.device.type == "cuda"
        assert value.shape == ()
        with pytest.raises(DataDependentOutputException):
            value.item()


def test_repr_shows_the_hyperparameters(entry, loss):
    shown = repr(loss)
    for name, value in entry[1].items():
        if name == "class_weights":
            assert "class_weights=[0.5, 2, 1, 4]" in shown
        else:
            assert f"{name}={value!r}" in shown
    assert f"ignore_index={IGNORED}" in shown


def test_state_dict_roundtrip(entry, build, loss, logits, target):
    other_weights = {"class_weights": [1.0] * 4} if "class_weights" in entry[1] else {}
    other = build(ignore_index=IGNORED, **other_weights)
    other.load_state_dict(loss.state_dict())
    assert torch.equal(other(logits, target), loss(logits, target))
    assert list(loss.parameters()) == []


def test_copies_and_pickles(loss, logits, target):
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(other(logits, target), loss(logits, target))


def test_arguments_are_keyword_only(entry, loss):
    with pytest.raises(TypeError, match="positional argument"):
        type(loss)(*entry[1].values(), IGNORED)


@pytest.mark.parametrize(
    ("logits_shape", "target", "message"),
    [
        ((4, 6, 8), torch.zeros(6, 8).long(), r"logits must be \(N, C, H, W\).*got \(4, 6, 8\)"),
        ((2, 1, 6, 8), torch.zeros(2, 6, 8).long(), r"at least 2 classes; got \(2, 1, 6, 8\)"),
        ((2, 4, 6, 8), torch.zeros(2, 1, 6, 8).long(), r"\(N, H, W\) = \(2, 6, 8\).*got \(2, 1, 6, 8\)"),
        ((2, 4, 6, 8), torch.zeros(2, 8, 6).long(), r"\(N, H, W\) = \(2, 6, 8\).*got \(2, 8, 6\)"),
        ((2, 4, 6, 8), torch.zeros(2, 6, 8), "target must have an integer dtype; got torch.float32"),
        ((2, 4, 6, 8), torch.zeros(2, 6, 8).bool(), "target must have an integer dtype; got torch.bool"),
        ((2, 4, 6, 8), torch.full((2, 6, 8), 4), r"in 0\.\.3 or be ignore_index \(255\); got 4"),
        ((2, 4, 6, 8), torch.full((2, 6, 8), -1), "got -1"),
    ],
)
def test_wrong_input_is_refused(loss, logits_shape, target, message):
    with pytest.raises(ValueError, match=message):
        loss(torch.zeros(logits_shape), target)


def test_integer_logits_are_refused(loss, target):
    with pytest.raises(ValueError, match=r"logits must be floating point; got torch\.int64"):
        loss(torch.zeros(2, 4, 6, 8).long(), target)


TVERSKY = {"alpha": 0.7, "beta": 0.3}
COMPOUND = {"pixel": CrossEntropyLoss(), "region": DiceLoss(), "region_weight": 0.5}


@pytest.mark.parametrize(
    ("loss_class", "parameters", "message"),
    [
        (TverskyLoss, TVERSKY | {"alpha": -0.1}, r"alpha must be finite and >= 0; got -0\.1\. "),
        (TverskyLoss, TVERSKY | {"alpha": float("nan")}, "alpha must be finite and >= 0; got nan"),
        (TverskyLoss, TVERSKY | {"beta": -1}, "beta must be finite and >= 0; got -1"),
        (TverskyLoss, TVERSKY | {"beta": float("inf")}, "beta must be finite and >= 0; got inf"),
        (TverskyLoss, {"alpha": 0, "beta": 0}, r"alpha \+ beta must be > 0; got 0"),
        (TverskyLoss, TVERSKY | {"gamma": 0}, "gamma must be finite and > 0; got 0"),
        (TverskyLoss, TVERSKY | {"gamma": float("inf")}, "gamma must be finite and > 0; got inf"),
        (TverskyLoss, TVERSKY | {"gamma_on": "pixel"}, "gamma_on must be 'class' or 'mean'; got 'pixel'"),
        (FocalLoss, {"gamma": -0.5}, r"gamma must be finite and >= 0; got -0\.5\. Use 0 for cross entropy"),
        (FocalLoss, {"gamma": float("nan")}, "gamma must be finite and >= 0; got nan"),
        (CrossEntropyLoss, {"class_weights": [[1.0, 2.0]]}, r"one for each class; got shape \(1, 2\)"),
        (CrossEntropyLoss, {"class_weights": []}, r"got shape \(0,\)"),
        (CrossEntropyLoss, {"class_weights": [1.0, 0.0, 2.0]}, r"positive finite numbers.*got \[0\.0\]"),
        (FocalLoss, {"gamma": 1, "class_weights": [1.0, float("nan")]}, r"got \[nan\]"),
        (CompoundLoss, COMPOUND | {"region_weight": 1.1}, r"region_weight must be in 0\.\.1; got 1\.1\. Try 0\.5"),
        (CompoundLoss, COMPOUND | {"region_weight": -0.1}, r"region_weight must be in 0\.\.1; got -0\.1"),
        (CompoundLoss, COMPOUND | {"region_weight": float("nan")}, r"region_weight must be in 0\.\.1; got nan"),
        (CompoundLoss, COMPOUND | {"pixel": DiceLoss()}, "pixel must be a PixelLoss; got DiceLoss"),
        (CompoundLoss, COMPOUND | {"region": CrossEntropyLoss()}, "region must be a RegionLoss; got CrossEntropyLoss"),
        (CompoundLoss, COMPOUND | {"region": DiceLoss(ignore_index=7)}, "the same ignore_index; got None and 7"),
    ],
)
def test_wrong_hyperparameters_are_refused(loss_class, parameters, message):
    with pytest.raises(ValueError, match=message):
        loss_class(**parameters)


def test_the_statistics_of_parts_add_up_to_those_of_the_batch(build, logits, target):
    loss = build(ignore_index=IGNORED)
    assert adds_up(loss)
    assert takes_any_dtype(loss)
    parts = [loss.statistics(*part) for part in zip(logits.split(1), target.split(1), strict=True)]
    torch.testing.assert_close(torch.stack(parts).sum(dim=0), loss.statistics(logits, target))
    assert torch.equal(loss.loss_from_statistics(loss.statistics(logits, target)), loss(logits, target))


class OtherForward(DiceLoss):
    def forward(self, logits, target):
        return super().forward(logits, target) ** 2


class OtherStatistics(DiceLoss):
    """Additive: its value is still a function of its statistics alone."""

    def statistics(self, logits, target):
        return 2 * super().statistics(logits, target)


def test_a_derived_loss_adds_up_unless_its_value_is_not_that_of_its_statistics():
    assert not adds_up(OtherForward())
    assert adds_up(OtherStatistics())
    assert not adds_up(torch.nn.CrossEntropyLoss())
    patched = DiceLoss()
    patched.forward = lambda logits, target: logits.mean()
    assert not adds_up(patched)


@pytest.mark.parametrize(
    "loss",
    [
        CrossEntropyLoss(class_weights=[1, 2]),
        FocalLoss(gamma=1, class_weights=[1, 2]),
        cross_entropy_and_dice(region_weight=0.4, class_weights=[1, 2]),
    ],
    ids=lambda loss: repr(loss),
)
def test_wrong_number_of_weights_is_refused(loss, logits):
    with pytest.raises(ValueError, match="one weight for each of the 4 channels of the logits; got 2"):
        loss(logits, torch.zeros(2, 6, 8).long())


def test_weights_may_be_a_tensor_and_are_copied(logits, target):
    weights = torch.tensor(WEIGHTS)
    loss = CrossEntropyLoss(class_weights=weights, ignore_index=IGNORED)
    before = loss(logits, target)
    weights.mul_(3)
    assert torch.equal(loss(logits, target), before)
    assert torch.equal(
        loss(logits, target), CrossEntropyLoss(class_weights=WEIGHTS, ignore_index=IGNORED)(logits, target)
    )
