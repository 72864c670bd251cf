"""Configurations, numbers and gains in words."""

import math

import pytest

from analysis.words.configuration_words import architecture_title, configuration_words, loss_words, other_differences
from analysis.words.gain_words import alarms_words, found_words, metric_title, says_no_difference
from analysis.words.number_words import (
    counted,
    interval,
    listed,
    objects_of,
    sentence,
    short,
    shortened,
    signed,
    trimmed,
)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ({"name": "tversky", "alpha": 0.62, "beta": 0.31, "gamma": 1.1}, "Tversky (.62, .31, 1.1)"),
        ({"name": "tversky", "alpha": 0.7, "beta": 0.3}, "Tversky (.7, .3, 1)"),
        (
            {"name": "tversky", "alpha": 0.7, "beta": 0.3, "gamma": 2, "gamma_on": "mean"},
            "Tversky (.7, .3, 2 on the mean)",
        ),
        ({"name": "focal", "focal_gamma": 2.0}, "focal (gamma 2)"),
        (
            {"name": "focal", "focal_gamma": 0.25, "class_weight_power": 0.5},
            "focal (gamma .25, class weights to the power .5)",
        ),
        ({"name": "cross_entropy"}, "cross entropy"),
        ({}, "cross entropy"),
        (
            {"name": "cross_entropy", "class_weight_power": 1.0, "alpha": None},
            "cross entropy (class weights to the power 1)",
        ),
        ({"name": "dice"}, "Dice"),
        ({"name": "iou"}, "IoU"),
        ({"name": "compound"}, "cross entropy + Dice (.5 of Dice)"),
        (
            {
                "name": "compound",
                "pixel": "focal",
                "region": "tversky",
                "focal_gamma": 2,
                "alpha": 0.7,
                "beta": 0.3,
                "region_weight": 0.35,
            },
            "focal (gamma 2) + Tversky (.7, .3, 1) (.35 of Tversky)",
        ),
        (
            {"name": "poly:PolyLoss", "options": {"epsilon": -0.5, "mean": True, "n": 3}},
            "PolyLoss (epsilon -0.5, mean true, n 3)",
        ),
    ],
)
def test_losses_are_named_as_a_paper_would(loss, words):
    assert loss_words({"loss": loss} if loss else {}) == words


@pytest.mark.parametrize(
    ("name", "title"),
    [("unet", "Unet"), ("deeplabv3plus", "DeepLabV3+"), ("deeplabv3", "DeepLabV3"), ("fpn", "fpn"), ("a.b:Net", "Net")],
)
def test_architectures(name, title):
    assert architecture_title({"model": {"architecture": name}}) == title
    assert configuration_words({"model": {"architecture": name}}) == f"cross entropy on {title}"


def test_what_differs_beside_the_loss():
    one = {"loss": {"name": "dice"}, "seed": 1, "optimizer": {"learning_rate": 0.1}, "model": {"encoder": "a"}}
    other = {"loss": {"name": "iou"}, "seed": 2, "optimizer": {"learning_rate": 0.2}, "model": {"encoder": "a", "x": 1}}
    assert other_differences(one, other) == ["model.x", "optimizer.learning_rate"]
    assert other_differences(one, one) == []


@pytest.mark.parametrize(
    ("candidate", "reference", "words"),
    [
        (0.37, 0.61, "4 of every 10 overlooked persons found"),
        (0.6, 0.61, "2 of every 100 overlooked persons found"),
        (0.6095, 0.61, "fewer than 1 of every 100 overlooked persons found"),
        (0.01, 0.61, "98 of every 100 overlooked persons found"),
        (0.0001, 0.61, "nearly all overlooked persons found"),
        (0.0, 0.61, "all overlooked persons found"),
        (0.61, 0.37, "4 of every 10 found persons lost"),
        (0.3, 0.0, "3 of every 10 found persons lost"),
        (1.0, 0.37, "all found persons lost"),
        (0.0, 0.0, "no persons overlooked by either"),
        (1.0, 1.0, "all persons overlooked by both"),
        (0.4, 0.4, "as many persons overlooked"),
        (math.nan, 0.4, ""),
        (0.4, math.nan, ""),
    ],
)
def test_overlooked_objects_in_words(candidate, reference, words):
    assert found_words(candidate, reference, "person") == words


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (1.2, "1.2 more false alarms an image"),
        (-0.25, ".25 fewer false alarms an image"),
        (0.004, "as many false alarms an image"),
        (0.0, "as many false alarms an image"),
        (math.nan, ""),
    ],
)
def test_false_alarms_in_words(difference, words):
    assert alarms_words(difference) == words


def test_words_that_say_no_difference():
    alike = ["as many persons overlooked", "no persons overlooked by either", "all persons overlooked by both"]
    assert all(map(says_no_difference, alike))
    assert not says_no_difference("all overlooked persons found")


def test_metrics_have_titles():
    names = ["miou", "thing_miou", "stuff_miou", "iou/person", "miss_rate/bus", "recall/car", "pixel_accuracy"]
    titles = [
        "mIoU",
        "thing mIoU",
        "stuff mIoU",
        "person IoU",
        "missed bus objects",
        "car recall",
        "pixel accuracy",
    ]
    assert [metric_title(name) for name in names] == titles


def test_numbers():
    assert [short(v) for v in (0.0834, -0.004, 1.2, 0.0, math.nan)] == [".083", "-.004", "1.200", ".000", "-"]
    assert [signed(v) for v in (0.0834, -0.004, -0.0001, 0.0001)] == ["+.083", "-.004", ".000", ".000"]
    assert interval(0.041, 0.125) == "[+.041, +.125]"
    assert interval(math.nan, 0.1) == "[no interval]"
    assert [trimmed(v) for v in (0.62, 1.1, 2.0, 0.001, 10.0)] == [".62", "1.1", "2", "0", "10"]


def test_long_names_lose_their_middle():
    assert shortened("a" * 10, 10) == "a" * 10
    assert shortened("sequence_0001_frame_0077", 11) == "seque…_0077"
    assert shortened("sequence_0001_frame_0077", 10) == "seque…0077"


def test_lists_and_plurals():
    assert [counted(n, "seed") for n in (0, 1, 2)] == ["0 seeds", "1 seed", "2 seeds"]
    assert [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    given = ("person", "people", "bus", "Land (unpaved)", "baby")
    assert [objects_of(name) for name in given] == [
        "persons",
        "people",
        "bus objects",
        "Land (unpaved) objects",
        "baby objects",
    ]
    assert [sentence("a b"), sentence("A b.")] == ["A b.", "A b."]


def test_what_only_one_of_two_architectures_has_is_not_named_beside_them():
    one = {"model": {"architecture": "unet", "output_stride": None, "encoder": "resnet18"}}
    other = {"model": {"architecture": "deeplabv3plus", "output_stride": 16, "encoder": "resnet34"}}
    assert other_differences(one, other) == ["model.architecture", "model.encoder"]
    same = {"model": other["model"] | {"output_stride": 8}}
    assert other_differences(same, other) == ["model.output_stride"]
