"""The scores table: the check of its columns, types and ranges, and its rows in groups."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from eval.table import AUS, COLUMNS, IDENTITY, KEYS, OF
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line

Figures = dict[str, Any]
"""Numbers by name, in nested dicts and lists, of which a report is made."""

EXTRAS = ("bits_per_dim", "non_finite_pixels", "clipped_share", "seconds")
"""Numbers that a table may also carry; nothing is computed from them here."""

TEXT = ("id", *KEYS, "file")
NUMBERS = tuple(name for name in COLUMNS if name not in TEXT)
SLACK = 1e-6  # of rounding, in a file or a sum
RANGES = {
    **dict.fromkeys(("faces", *IDENTITY), (0.0, np.inf)),
    **dict.fromkeys(("verified", *(f"{au}_present" for au in AUS)), (0.0, 1.0)),
    **dict.fromkeys((*AUS, *(f"{au}_{of}" for of in OF for au in AUS)), (0.0, 5.0)),
}
"""Least and greatest: faces are counts, distances have no bound, intensities are 0-5."""


WHOLE = ("faces", "verified", *(f"{au}_present" for au in AUS))
"""Counts, and flags that are 1 or 0."""


# pandas' own strings: pyarrow's, which it takes where pyarrow is installed, cannot hold file
# names that are not UTF-8.
any_names = pd.option_context("mode.string_storage", "python")


@any_names
def check_scores(frame: pd.DataFrame, places: Sequence[str] | None = None) -> pd.DataFrame:
    """A copy with text as str and every number as float64, NaN where unknown.

    Args:
        frame: a scores table (`eval.table.COLUMNS`, `EXTRAS` if it has them), in any order.
            Numbers may come as text; blank text is unknown. `file` may be empty: no picture.
        places: what a message calls each row; "row 1", "row 2" … by default.

    Raises:
        InputError: columns are missing or doubled, an id or a name is missing, an id occurs
            twice, or a cell is not a number, infinite or out of its range. Says which.
    """
    _check_columns(frame)
    places = places or [f"row {n}" for n in range(1, len(frame) + 1)]
    extras = [name for name in EXTRAS if name in frame]
    columns = {name: _text(frame[name], places) for name in TEXT}
    columns |= {name: _numbers(frame[name], places) for name in (*NUMBERS, *extras)}
    twice = np.flatnonzero(columns["id"].duplicated())
    if len(twice):
        name = columns["id"][twice[0]]
        first = places[int(np.flatnonzero(columns["id"] == name)[0])]
        raise InputError(
            f"{places[twice[0]]}: id {one_line(name)!r} again (first: {first}); ids are unique"
        )
    return pd.DataFrame(columns)


def _check_columns(frame: pd.DataFrame) -> None:
    missing = [name for name in COLUMNS if name not in frame]
    if missing:
        more = f" and {len(missing) - 6} more" if len(missing) > 6 else ""
        raise InputError(f"the scores table has no column {', '.join(missing[:6])}{more}")
    double = frame.columns[frame.columns.duplicated()]
    if len(double):
        raise InputError(f"the scores table has the column {one_line(double[0])!r} twice")


def _text(column: pd.Series, places: Sequence[str]) -> pd.Series:
    """A column of names; only `file` may be empty."""
    blank = column.isna().to_numpy()
    text = pd.Series(["" if b else str(v) for v, b in zip(column, blank, strict=True)], dtype=str)
    empty = np.flatnonzero(text.str.strip() == "")
    if len(empty) and column.name != "file":
        raise InputError(f"{places[empty[0]]}, column {column.name}: empty; it needs a name")
    return text


def _numbers(column: pd.Series, places: Sequence[str]) -> pd.Series:
    """A column of numbers as float64."""

    def refuse(bad: np.ndarray, what: str) -> None:
        rows = np.flatnonzero(bad)
        if len(rows):
            value = one_line(column.iloc[rows[0]])[:40]
            raise InputError(f"{places[rows[0]]}, column {column.name}: {value!r} {what}")

    numbers = pd.to_numeric(column, errors="coerce").to_numpy(float, na_value=np.nan)
    unread = np.isnan(numbers) & column.notna().to_numpy()
    if unread.any():  # "nan" and blank text are unknown, not wrong
        words = column.astype(str).str.strip().str.lower()
        refuse(unread & ~words.isin(("", "nan")).to_numpy(), "is not a number")
    refuse(np.isinf(numbers), "is not finite")
    low, high = RANGES.get(str(column.name), (-np.inf, np.inf))
    out = (numbers < low - SLACK) | (numbers > high + SLACK)
    refuse(out, f"is below {low:g}" if np.isinf(high) else f"is not within {low:g} to {high:g}")
    if column.name in WHOLE:
        refuse(np.abs(numbers - np.round(numbers)) > SLACK, "is not a whole number")
        numbers = np.round(numbers)
    return pd.Series(numbers)


def groups(values: pd.Series) -> list[tuple[Any, np.ndarray]]:
    """Each distinct value, ascending, with its rows' numbers; NaN is one value, None, the last."""
    labels, codes = np.unique(values.to_numpy(), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    rows = np.split(order, np.cumsum(np.bincount(codes, minlength=1))[:-1])
    names = [None if label != label else label for label in labels.tolist()]
    return list(zip(names, rows, strict=False))  # without a row, np.split still gives one


def series_of(scores: pd.DataFrame) -> np.ndarray:
    """Number of each row's series (expression, source, target): (R,) of 0 … S-1."""
    return scores.groupby(list(KEYS)).ngroup().to_numpy(int)
