"""Format numbers for people."""

import math
from collections.abc import Callable, Mapping
from typing import TypeGuard

UNKNOWN = "–"


def known(value: object) -> TypeGuard[float]:
    """Whether it is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def number(value: object, digits: int = 2) -> str:
    """0.33; with a true minus sign; a dash where it is unknown."""
    if not known(value):
        return UNKNOWN
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def percent(value: object) -> str:
    """98.6 %, from a share of 1."""
    return f"{number(100 * value, 1)} %" if known(value) else UNKNOWN


def between(figure: Mapping | None, show: Callable[[object], str] = number) -> str:
    """The interval of a figure: 0.29 to 0.37; empty where there is none."""
    if not figure or not known(figure.get("low")) or not known(figure.get("high")):
        return ""
    return f"{show(figure['low'])} to {show(figure['high'])}"


def of(rate: Mapping | None) -> str:
    """A count: 217 of 220."""
    return f"{rate['count']} of {rate['of']}" if rate and rate.get("of") else UNKNOWN
