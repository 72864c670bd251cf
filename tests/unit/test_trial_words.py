"""A trial's loss in words."""

import pytest

from trainable.config.loss_config import LossConfig
from trainable.record.trial_words import loss_text


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        ({"name": "compound"}, "ce+dice w=.50"),
        (
            {"name": "compound", "class_weight_power": 0.25, "region": "iou", "region_weight": 1.0},
            "ce(cw=.25)+iou w=1.00",
        ),
        (
            {"name": "compound", "pixel": "focal", "focal_gamma": 2, "region": "tversky", "alpha": 0.7, "beta": 0.3},
            "focal(g=2.00)+tversky a=.70 b=.30 g=1.00 w=.50",
        ),
        (
            {"name": "compound", "pixel": "focal", "focal_gamma": 2, "class_weight_power": 0.5, "region_weight": 0.2},
            "focal(g=2.00 cw=.50)+dice w=.20",
        ),
        ({"name": "cross_entropy", "class_weight_power": 0.5}, "cross_entropy cw=.50"),
        ({"name": "cross_entropy", "class_weight_power": 0.0}, "cross_entropy"),
        ({"name": "focal", "focal_gamma": 1.5, "class_weight_power": 1.0}, "focal g=1.50 cw=1.00"),
        ({"name": "tversky", "alpha": 0.6, "beta": 0.4, "gamma_on": "mean"}, "tversky a=.60 b=.40 g=1.00 on mean"),
        ({"name": "mine.losses:Poly1", "options": {"epsilon": 0.5}}, "Poly1 epsilon=.5"),
        (
            {"name": "losses:Mix", "options": {"a": -0.25, "b": 12.3456, "c": 3, "d": True, "e": "soft", "f": 1e-5}},
            "Mix a=-.25 b=12.3 c=3 d=true e=soft f=1e-05",
        ),
        ({"name": "losses:Plain"}, "Plain"),
    ],
)
def test_a_loss_in_words(loss, text):
    """The same whether the config has its defaults filled in, as the record has, or not."""
    assert loss_text({"loss": loss}) == text
    assert loss_text({"loss": LossConfig(**loss).model_dump(mode="json")}) == text


def test_without_a_loss_it_is_the_default():
    assert loss_text({}) == "cross_entropy"
