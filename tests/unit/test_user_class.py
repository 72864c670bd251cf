"""Losses and models of the user's own: what their constructors get, and every mistake found before a search starts."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from search.config.search_config import SearchConfig
from search.run.preflight.network_checks import model_configs
from search.run.preflight.search_checks import check_search, user_losses
from search.space.space_parsing import parse_space
from trainable.config.loss_config import LossConfig
from trainable.config.sections import ModelConfig
from trainable.config.user_class import accepted, construct, load_class
from trainable.errors import InputError
from trainable.losses import CompoundLoss, CrossEntropyLoss, DiceLoss, FocalLoss, IoULoss, TverskyLoss
from trainable.losses.additive import adds_up, takes_any_dtype
from trainable.losses.loss_factory import build_loss
from trainable.losses.user_loss import check_loss
from trainable.network.model import build_model, check_names

CLASSES = 4
COUNTS = np.array([400, 100, 25, 0], dtype=np.int64)
WEIGHTS = [0.75, 1.5, 3.0, 0.75]
"""Of these counts at power 0.5."""

MODULE = '''
import torch
from torch import nn
from torch.nn import functional as F

from trainable.losses import AdditiveLoss, CrossEntropyLoss, TverskyLoss

not_a_class = 3


class Poly(nn.Module):
    """Poly-1 (Leng et al. 2022)."""

    def __init__(self, epsilon, ignore_index=255):
        super().__init__()
        self.epsilon, self.ignore_index = epsilon, ignore_index

    def forward(self, logits, target):
        assert logits.dtype == torch.float32 and target.dtype == torch.int64
        valid = target != self.ignore_index
        ce = F.cross_entropy(logits, target, ignore_index=self.ignore_index, reduction="none")
        return ((ce + self.epsilon * (1 - torch.exp(-ce))) * valid).sum() / valid.sum().clamp(min=1)


class Plain(nn.Module):
    """No constructor of its own; what the others change a line of."""

    def forward(self, logits, target):
        valid = target != 255
        loss = F.cross_entropy(logits, target, ignore_index=255, reduction="none")
        return self.reduce(logits, loss, valid)

    def reduce(self, logits, loss, valid):
        return loss.sum() / valid.sum().clamp(min=1)


class Callable:
    def __call__(self, logits, target):
        return Plain()(logits, target)


class Sums(AdditiveLoss):
    """Statistics that add up over the parts of a batch."""

    def statistics(self, logits, target):
        valid = target != 255
        loss = F.cross_entropy(logits.float(), target, ignore_index=255, reduction="none")
        return torch.stack((loss.sum(), valid.sum()))

    def loss_from_statistics(self, statistics):
        return statistics[0] / statistics[1].clamp(min=1)


class Means(Sums):
    """The mean of the parts' means."""

    def statistics(self, logits, target):
        sums = super().statistics(logits, target)
        return torch.stack((self.loss_from_statistics(sums), torch.ones(())))


class Called(TverskyLoss):
    """Its call is not the loss of its statistics."""

    def __call__(self, logits, target):
        return 3 * super().__call__(logits, target)


class Half(CrossEntropyLoss):
    """Derived from ours, it computes with what it is given."""

    def statistics(self, logits, target):
        assert logits.dtype == torch.float32
        return super().statistics(logits, target)


class Everything(Plain):
    def __init__(self, num_classes, *, ignore_index, class_weights, extra=1, **more):
        super().__init__()
        self.given = dict(num_classes=num_classes, ignore_index=ignore_index, class_weights=class_weights, extra=extra)
        self.given |= more


class Uncallable:
    pass


class PerPixel(Plain):
    def reduce(self, logits, loss, valid):
        return loss


class Number(Plain):
    def reduce(self, logits, loss, valid):
        return loss.sum().item()


class Detached(Plain):
    def reduce(self, logits, loss, valid):
        return loss.mean().detach()


class Elsewhere(Plain):
    def reduce(self, logits, loss, valid):
        return torch.ones((), requires_grad=True) * 2


class Flat(Plain):
    def reduce(self, logits, loss, valid):
        return (logits.round() * 0).sum()


class Infinite(Plain):
    def reduce(self, logits, loss, valid):
        return loss.sum() / 0


class BadGradient(Plain):
    def reduce(self, logits, loss, valid):
        return torch.where(valid, loss, loss * 0).sum() + (logits * 0).sqrt().sum()


class BadBackward(Plain):
    def reduce(self, logits, loss, valid):
        value = loss.sum()
        value.register_hook(lambda gradient: 1 / 0)
        return value


class SeesIgnored(Plain):
    def reduce(self, logits, loss, valid):
        return super().reduce(logits, loss, valid) + logits.square().mean()


class NaNWithoutPixels(Plain):
    def reduce(self, logits, loss, valid):
        return loss.sum() / valid.sum()


class OneHot(nn.Module):
    def forward(self, logits, target):
        return (logits * F.one_hot(target, logits.shape[1]).movedim(-1, 1)).mean()


class Learns(Plain):
    def __init__(self):
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(()))


class Raises(Plain):
    def __init__(self, epsilon=1.0):
        raise ValueError("epsilon must be\\n positive")


class Net(nn.Module):
    def __init__(self, num_classes, width=4, encoder_weights="missing"):
        super().__init__()
        self.encoder_weights = encoder_weights
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, num_classes, 1))

    def forward(self, images):
        return self.body(images)


class Tall(Net):
    def forward(self, images):
        return self.body(images)[:, :, ::2]


class OneChannelMore(Net):
    def __init__(self, num_classes):
        super().__init__(num_classes + 1)


class Dictionary(Net):
    def forward(self, images):
        return {"out": self.body(images)}


class Breaks(Net):
    def forward(self, images):
        raise RuntimeError("no such layer")


class NoClasses(nn.Module):
    def __init__(self, width=4):
        super().__init__()
'''


@pytest.fixture(scope="module", autouse=True)
def _module(tmp_path_factory):
    folder = tmp_path_factory.mktemp("user")
    (folder / "own_classes.py").write_text(MODULE)
    (folder / "own_broken.py").write_text("import nothing_of_this_name")
    (folder / "own_empty.py").write_text("")
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


def loss_config(name, **options):
    return LossConfig(name=f"own_classes:{name}", options=options)


def model_config(name, **options):
    return ModelConfig(architecture=f"own_classes:{name}", encoder_weights="none", options=options)


def search_config(loss, model):
    return SearchConfig.model_validate(
        {
            "name": "own",
            "dataset": {"layout": "synthetic"},
            "space": {"model": {"encoder_weights": "none"} | model, "loss": loss, "data": {"crop": "64x96"}},
        }
    )


# --- finding classes, and what their constructors take


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("own_missing:Loss", r"own_missing:Loss must name a module that can be imported; got ModuleNotFoundError"),
        ("own_broken:Loss", r"own_broken:Loss must name a module .*; got ModuleNotFoundError: .*nothing_of_this_name"),
        ("own_classes:Polly", r"own_classes:Polly must name a class of own_classes; got no class Polly.*Poly, Plain"),
        ("own_classes:not_a_class", r"must name a class of own_classes; got no class not_a_class"),
        ("own_empty:Loss", r"own_empty:Loss must name a class of own_empty; .*Define it there"),
    ],
)
def test_a_class_that_cannot_be_had_is_refused(reference, message):
    for function in (load_class, lambda name: check_loss(LossConfig(name=name), CLASSES)):
        with pytest.raises(InputError, match=message):
            function(reference)
    with pytest.raises(InputError, match=message):
        check_names(ModelConfig(architecture=reference))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Poly", ("epsilon", "ignore_index")),
        ("Plain", ()),  # nn.Module's own constructor is written (*args, **kwargs), and refuses them all
        ("Callable", ()),
        ("Everything", ("epsilon", "num_classes", "ignore_index")),  # it has **more
    ],
)
def test_what_a_constructor_takes(name, expected):
    assert accepted(f"own_classes:{name}", ("epsilon", "num_classes", "ignore_index")) == expected


def test_an_offer_is_taken_where_the_constructor_names_it_and_options_go_first():
    poly = construct("own_classes:Poly", {"epsilon": 2}, {"ignore_index": 255, "num_classes": 3})
    assert (poly.epsilon, poly.ignore_index) == (2, 255)
    assert construct("own_classes:Poly", {"epsilon": 2, "ignore_index": 7}, {"ignore_index": 255}).ignore_index == 7


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "Poly",
            {},
            r"Poly must be made with ignore_index=255; got missing .*'epsilon'. It takes epsilon, ignore_index",
        ),
        ("Poly", {"epsilon": 1, "alpha": 2}, r"got an unexpected keyword argument 'alpha'\. It takes epsilon, ignore"),
        ("Plain", {"epsilon": 1}, r"made with epsilon=1; got .*unexpected.*'epsilon'\. It takes no keyword arguments"),
        ("Raises", {"epsilon": -1}, r"Raises must accept epsilon=-1; got ValueError: epsilon must be positive\. Mend"),
        ("Raises", {}, r"Raises must accept no arguments; got ValueError"),
    ],
)
def test_wrong_arguments_are_refused_with_those_that_the_class_takes(name, options, message):
    with pytest.raises(InputError, match=message):
        check_loss(loss_config(name, **options), CLASSES)


# --- losses


def test_built_in_losses_are_built_with_their_parameters():
    compound = LossConfig(
        name="compound",
        pixel="focal",
        region="tversky",
        region_weight=0.3,
        focal_gamma=1.5,
        alpha=0.8,
        beta=0.1,
        class_weight_power=0.5,
    )
    expected = [
        (LossConfig(), CrossEntropyLoss()),
        (LossConfig(class_weight_power=0.5), CrossEntropyLoss(class_weights=WEIGHTS)),
        (LossConfig(name="focal", focal_gamma=2), FocalLoss(gamma=2.0)),
        (LossConfig(name="dice"), DiceLoss()),
        (LossConfig(name="iou"), IoULoss()),
        (
            LossConfig(name="tversky", alpha=0.7, beta=0.2, gamma=1.5, gamma_on="mean"),
            TverskyLoss(alpha=0.7, beta=0.2, gamma=1.5, gamma_on="mean"),
        ),
        (LossConfig(name="compound"), CompoundLoss(pixel=CrossEntropyLoss(), region=DiceLoss(), region_weight=0.5)),
        (
            compound,
            CompoundLoss(
                pixel=FocalLoss(gamma=1.5, class_weights=WEIGHTS),
                region=TverskyLoss(alpha=0.8, beta=0.1),
                region_weight=0.3,
            ),
        ),
    ]
    for config, loss in expected:
        assert repr(build_loss(config, COUNTS)) == repr(loss).replace("ignore_index=None", "ignore_index=255")


def test_a_loss_gets_its_options_and_what_it_takes_of_the_rest():
    loss = build_loss(loss_config("Everything", extra=2, further=True), COUNTS)
    assert loss.given == {
        "num_classes": 4, "ignore_index": 255, "class_weights": None, "extra": 2, "further": True,
    }  # fmt: skip


@pytest.mark.parametrize("config", ["Poly", "Plain", "Callable"])
def test_a_good_loss_passes(config):
    options = {"epsilon": 1.5} if config == "Poly" else {}
    assert check_loss(loss_config(config, **options), CLASSES) is None
    loss = build_loss(loss_config(config, **options), COUNTS)
    assert isinstance(loss.to("cpu"), nn.Module)


def test_poly_at_epsilon_0_is_cross_entropy():
    logits = torch.randn(2, CLASSES, 3, 5, generator=torch.Generator().manual_seed(0))
    target = torch.randint(0, CLASSES, (2, 3, 5))
    target[:, 0] = 255
    value = build_loss(loss_config("Poly", epsilon=0.0), COUNTS)(logits, target)
    torch.testing.assert_close(value, build_loss(LossConfig(), COUNTS)(logits, target))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Uncallable", r"must be callable as loss\(logits_NCHW, target_NHW\); got no __call__\. Derive it"),
        ("PerPixel", r"must return one number, a tensor of shape \(\); got shape \(2, 6, 10\)\. Take the mean"),
        ("Number", r"must return one number, a tensor of shape \(\); got float\."),
        ("Detached", r"must be differentiable by the logits of a batch; got a number without a gradient\."),
        ("Elsewhere", r"must be differentiable by .*; got a number that does not depend on them\."),
        ("Flat", r"must have a gradient by the logits; got zero at every pixel\."),
        ("Infinite", r"must return a finite number for a batch; got inf\. Divide by the number of valid pixels"),
        ("BadGradient", r"must have a finite gradient for a batch; got 480 values that are not\."),
        ("BadBackward", r"must be differentiable by the logits of a batch; got ZeroDivisionError: "),
        ("SeesIgnored", r"must have no gradient at ignored pixels; got one at 40 of 40\. Leave out .* label is 255"),
        ("NaNWithoutPixels", r"must return a finite number for a batch of nothing but ignored pixels; got nan\. Div"),
        ("OneHot", r"must take logits \(2, 4, 6, 10\) .* labels in 0\.\.3 or 255, ignored; got \w+: .*leave out the"),
        (
            "Means",
            r"must have statistics that add up over the parts of a batch.*; got \S+ of a batch and \S+ of its parts",
        ),
        ("Learns", r"must have no parameters that learn: .*; got temperature\. Make them buffers"),
    ],
)
def test_a_loss_that_breaks_the_contract_is_refused(name, message):
    with pytest.raises(InputError, match=rf"^own_classes:{name} {message}"):
        check_loss(loss_config(name), CLASSES)


def test_an_additive_loss_of_ones_own_is_accepted_and_trained_by_the_sums_of_its_parts():
    check_loss(loss_config("Sums"), CLASSES)
    assert adds_up(build_loss(loss_config("Sums"), COUNTS))
    assert not adds_up(build_loss(loss_config("Plain"), COUNTS))


def test_a_loss_whose_call_is_its_own_is_no_sum():
    check_loss(loss_config("Called", alpha=0.7, beta=0.3), CLASSES)
    assert not adds_up(build_loss(loss_config("Called", alpha=0.7, beta=0.3), COUNTS))


def test_float32_is_promised_to_every_class_that_is_not_ours():
    assert takes_any_dtype(build_loss(LossConfig(), COUNTS))
    for name in ("Half", "Sums", "Plain"):
        assert not takes_any_dtype(build_loss(loss_config(name), COUNTS))


def test_trying_a_loss_leaves_the_random_numbers_alone():
    state = torch.get_rng_state()
    check_loss(loss_config("Plain"), CLASSES)
    assert torch.equal(torch.get_rng_state(), state)


# --- models


def test_a_model_gets_the_classes_its_options_and_what_it_takes_of_the_rest():
    config = model_config("Net", width=6)
    check_names(config)
    model = build_model(config, CLASSES)
    assert model(torch.zeros(1, 3, 8, 8)).shape == (1, CLASSES, 8, 8)
    assert model.body[0].out_channels == 6
    assert model.encoder_weights == "none"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Uncallable", r"own_classes:Uncallable must be a torch\.nn\.Module; got a class derived from object\."),
        ("NoClasses", r"NoClasses must be made with num_classes=4; got .*unexpected.*'num_classes'\. It takes width"),
        (
            "Tall",
            r"Tall must give logits .* = \(2, 4, 64, 96\) for images of 64x96 in training; got \(2, 4, 32, 96\)\. G",
        ),
        ("OneChannelMore", r"OneChannelMore must give logits .* got \(2, 5, 64, 96\)\."),
        ("Dictionary", r"Dictionary must give logits .*; got dict\."),
        ("Breaks", r"size that own_classes:Breaks can be trained on; got 64x96: no such layer\. Mend its forward"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(name, message):
    with pytest.raises(InputError, match=message):
        check_search(search_config({"name": "dice"}, {"architecture": ["unet", f"own_classes:{name}"]}), CLASSES)


def test_every_network_at_the_ends_of_its_options_is_looked_at():
    own = "own_classes:Net"
    space = parse_space({"model": {"architecture": ["unet", own], "options": {"width": {"low": 2, "high": 9}}}})
    assert [(model.architecture, model.options) for model in model_configs(space)] == [
        ("unet", {}), (own, {"width": 2}), (own, {"width": 9}),
    ]  # fmt: skip


# --- losses of a space

LOSS = {"name": ["dice", "own_classes:Poly", "own_classes:Plain"], "options": {"epsilon": {"low": -1.0, "high": 4.0}}}


def test_every_loss_of_a_space_is_looked_at_at_the_ends_of_its_options():
    assert user_losses(parse_space({"loss": LOSS})) == [
        loss_config("Poly", epsilon=-1.0), loss_config("Poly", epsilon=4.0), loss_config("Plain"),
    ]  # fmt: skip


def test_resolved_losses_are_looked_at_once():
    resolved = [LossConfig(), loss_config("Poly", epsilon=0.5), loss_config("Plain")]
    assert user_losses(parse_space({"loss": LOSS}), resolved)[2:] == [loss_config("Plain"), resolved[1]]


def test_a_good_search_passes():
    assert check_search(search_config(LOSS, {"architecture": "own_classes:Net"}), CLASSES) is None


def test_a_search_with_a_bad_loss_is_refused():
    loss = LOSS | {"name": ["own_classes:Poly", "own_classes:PerPixel"]}
    with pytest.raises(InputError, match="own_classes:PerPixel must return one number"):
        check_search(search_config(loss, {"architecture": "own_classes:Net"}), CLASSES)


def test_an_option_that_the_class_needs_and_the_space_lacks_is_named():
    with pytest.raises(InputError, match=r"own_classes:Poly must be made with .*'epsilon'"):
        check_search(search_config({"name": "own_classes:Poly"}, {"architecture": "own_classes:Net"}), CLASSES)
