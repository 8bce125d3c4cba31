"""Parse alphas: numbers, ranges, and "auto"."""

import math
from collections.abc import Sequence

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line

MAX_ALPHAS = 1000  # limit for one job
MAX_ALPHA = 1e6
LARGE_ALPHA = 2.0  # beyond it faces were seen to tear: some at 2.5, all at 3
MIN_STEP = 1e-9  # of a range, whose alphas are rounded to 10 decimals
AUTO = "auto"  # the largest alpha inside a trust region; stored as NaN among numbers


def parse_alphas(words: Sequence[str]) -> tuple[float, ...]:
    """Alphas from words: numbers, FIRST:LAST:STEP with both ends, or "auto" (NaN).

    Raises:
        InputError: a word is none of these, a range's steps do not end at LAST, or there are too
            many alphas.
    """
    alphas: list[float] = []
    for word in words:
        if word.strip().lower() == AUTO:
            alphas.append(np.nan)
            continue
        try:
            numbers = [_number(part) for part in word.split(":")]
        except ValueError:
            numbers = []
        if len(numbers) not in (1, 3) or not all(abs(n) <= MAX_ALPHA for n in numbers):
            raise InputError(
                f"alpha {word!r}: use a number such as 0.4, FIRST:LAST:STEP, or {AUTO}, within "
                f"{MAX_ALPHA:g} of 0"
            )
        if len(numbers) == 3:
            numbers = _range(word, *numbers)
        alphas += numbers
    unique = tuple(dict.fromkeys(alphas))
    if len(unique) > MAX_ALPHAS:
        raise InputError(f"{len(unique)} alphas; at most {MAX_ALPHAS} in one job")
    return unique


def _number(text: str) -> float:
    """A number, perhaps with the minus sign of word processors; "0_5" is none, as Python has it.

    Raises:
        ValueError: it is none.
    """
    if "_" in text:
        raise ValueError
    return float(text.replace("\u2212", "-"))


def _range(word: str, first: float, last: float, step: float) -> list[float]:
    if step < MIN_STEP or last < first or (last - first) / step > MAX_ALPHAS:
        raise InputError(
            f"alpha {word!r}: FIRST:LAST:STEP needs FIRST <= LAST, STEP > 0 and at most "
            f"{MAX_ALPHAS} steps"
        )
    exact = (last - first) / step
    n_steps = round(exact)
    if abs(exact - n_steps) > 1e-6:
        below, above = (f"{first + (math.floor(exact) + i) * step:.10g}" for i in (0, 1))
        raise InputError(
            f"alpha {word!r}: LAST is no whole number of STEPs from FIRST; end at {below} or "
            f"{above}, or use another STEP"
        )
    return [round(first + i * step, 10) for i in range(n_steps + 1)]


def large_alpha_line(alphas: np.ndarray) -> str | None:
    """A notice about the largest of alphas (N,), NaN for "auto"; None if none is large."""
    low, high = np.fmin.reduce(alphas, initial=0.0), np.fmax.reduce(alphas, initial=0.0)
    largest = high if high >= -low else low
    if abs(largest) <= LARGE_ALPHA:
        return None
    return f"alpha {largest:g}: beyond {LARGE_ALPHA:g} and -{LARGE_ALPHA:g} faces may tear"


def parse_alpha(text: str) -> float:
    """One alpha of a table: a number, or "auto" (NaN).

    Raises:
        InputError: it is neither, or beyond MAX_ALPHA.
    """
    text = text.strip()
    if text.lower() == AUTO:
        return math.nan
    try:
        value = _number(text)
    except ValueError:
        value = math.inf
    if not abs(value) <= MAX_ALPHA:
        described = f"alpha {one_line(text)!r}" if text else "no alpha"
        comma = " with a decimal point" if "," in text else ""
        raise InputError(f"{described}; use a number{comma} within {MAX_ALPHA:g} of 0, or {AUTO}")
    return value


def alpha_text(alpha: float) -> str:
    """An alpha as text for a file name."""
    return AUTO if math.isnan(alpha) else f"{alpha:.10g}"
