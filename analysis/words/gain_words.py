"""What a candidate changes for objects, in words: overlooked ones that are found, and false alarms."""

import math

from analysis.evidence.scene_scores import STUFF_MIOU
from analysis.words.number_words import objects_of, short
from trainable.config.metric_registry import metric_entry


def metric_title(metric: str) -> str:
    """A metric as a sentence has it: `person IoU`, `thing mIoU`, `missed persons`; another by its own words."""
    kind, _, name = metric.partition("/")
    entry = metric_entry(metric)
    if not name:
        titles = {STUFF_MIOU: "stuff mIoU"}
        return entry.title if entry else titles.get(metric, metric.replace("_", " "))
    if entry is None:
        return f"{name} {kind}"
    return (entry.class_title or f"{{name}} {entry.title}").format(name=name, objects=objects_of(name))


def found_words(miss_candidate: float, miss_reference: float, class_name: str) -> str:
    """How many of the reference's overlooked objects the candidate finds, net: `4 of every 10 overlooked bikes found`.

    Args:
        miss_candidate: Share of the true objects that the candidate misses, in 0..1 or NaN.
        miss_reference: Likewise of the reference.
        class_name: Of the objects.

    Returns:
        Empty where a share is NaN. Where the candidate misses more, the share of what the reference finds that is lost.
    """
    if math.isnan(miss_candidate) or math.isnan(miss_reference):
        return ""
    things = objects_of(class_name)
    if miss_candidate == miss_reference:
        equal = {0.0: f"no {things} overlooked by either", 1.0: f"all {things} overlooked by both"}
        return equal.get(miss_reference, f"as many {things} overlooked")
    if miss_candidate < miss_reference:
        share = (miss_reference - miss_candidate) / miss_reference
        return f"{_out_of(share)} overlooked {things} found"
    share = (miss_candidate - miss_reference) / (1 - miss_reference)
    return f"{_out_of(share)} found {things} lost"


def says_no_difference(words: str) -> bool:
    """Whether words of `found_words` or `alarms_words` say that the two sides are alike."""
    return words.startswith(("as many ", "no ")) or words.endswith(" by both")


def _out_of(share: float) -> str:
    """`4 of every 10`; of every 100 where tens would round to none or to all; `all` for a whole share."""
    if share == 1:
        return "all"
    for whole in (10, 100):
        if 0 < round(share * whole) < whole:
            return f"{round(share * whole)} of every {whole}"
    return "nearly all" if share > 0.5 else "fewer than 1 of every 100"


def alarms_words(difference: float, class_name: str = "") -> str:
    """How many more or fewer false alarms there are an image: `1.2 more false alarms an image`.

    Args:
        difference: Of false alarms an image, candidate less reference; NaN gives the empty string.
        class_name: Of the alarms, if the sentence does not say it already.
    """
    if math.isnan(difference):
        return ""
    what = f"false {class_name} alarms an image" if class_name else "false alarms an image"
    decimals = 1 if abs(difference) >= 1 else 2
    size = short(abs(difference), decimals)
    if not float(size):
        return f"as many {what}"
    return f"{size} {'more' if difference > 0 else 'fewer'} {what}"
