"""Numbers, names and lists as the report has them."""

import math
from collections.abc import Sequence
from typing import Final

_OWN_PLURALS: Final = ("people", "sheep", "cattle", "fish", "aircraft")


def short(value: float, decimals: int = 3) -> str:
    """A number without its leading zero: `.083`, `1.200`, `-.004`; a dash for NaN.

    Args:
        value: Any number.
        decimals: Digits behind the point.
    """
    if math.isnan(value):
        return "-"
    text = f"{abs(value):.{decimals}f}"
    sign = "-" if value < 0 and float(text) else ""
    return sign + (text[1:] if text.startswith("0.") else text)


def signed(value: float, decimals: int = 3) -> str:
    """A difference: `+.083`, `-.004`; no sign where it rounds to zero, a dash for NaN."""
    text = short(value, decimals)
    return f"+{text}" if value > 0 and float(text) else text


def interval(low: float, high: float, decimals: int = 3) -> str:
    """An interval of a difference: `[+.041, +.125]`, or `[no interval]` where an end is NaN."""
    if math.isnan(low) or math.isnan(high):
        return "[no interval]"
    return f"[{signed(low, decimals)}, {signed(high, decimals)}]"


def trimmed(value: float, decimals: int = 2) -> str:
    """A parameter without needless zeros: `.62`, `1.1`, `2`."""
    text = short(value, decimals)
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def counted(number: int, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def shortened(name: str, longest: int) -> str:
    """A name that fits, its middle left out where it is too long: names differ at their ends.

    Args:
        name: Of a class, an image, a scene, a loss.
        longest: Characters of the result at most, at least 3.
    """
    if len(name) <= longest:
        return name
    return f"{name[: longest // 2]}\N{HORIZONTAL ELLIPSIS}{name[len(name) - (longest - longest // 2 - 1) :]}"


def objects_of(class_name: str) -> str:
    """Several objects of a class: `persons`, `buses` as `bus objects`, since a class may be called anything."""
    simple = class_name.isascii() and class_name.isalpha() and class_name.islower()
    if class_name in _OWN_PLURALS:
        return class_name
    if simple and class_name[-1] not in "sxzy" and not class_name.endswith(("ch", "sh")):
        return f"{class_name}s"
    return f"{class_name} objects"


def sentence(text: str) -> str:
    """The text with a capital letter first and a full stop last, unless it ends in a mark already."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
