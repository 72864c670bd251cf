"""Shares and ratios as captions write them."""


def percent(share: float) -> str:
    """A share as a percentage with two digits at least: `97.5 %`, `38 %`, `1.4 %`, `0.029 %`."""
    value = 100 * share
    if value == 0 or value >= 99.95:
        return f"{value:.0f} %"
    if value >= 90:
        return f"{value:.1f} %"
    exponent = int(f"{value:.1e}".split("e")[1])  # after rounding: 0.0996 has that of 0.10
    digits = max(0, 1 - exponent)
    return f"{value:.{digits}f} %"


def times(ratio: float) -> str:
    """A ratio: `1.6`, `1,279`."""
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}"
