"""Heat maps of expression × AU, as tables: every cell keeps its number and its headings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eval.report.context import short_names
from eval.report.numbers import known, number
from eval.table import NAMES

ROWS = 40
"""At most this many expressions, those with the largest mean error."""


@dataclass(frozen=True)
class HeatCell:
    """A number on its colour: `share` is the colour's strength in percent, None for no colour."""

    text: str
    share: int | None = None
    is_worse: bool = False


@dataclass(frozen=True)
class HeatMap:
    """Expressions (rows) by AUs; `head` is the label and the title of each AU's column."""

    caption: str
    head: Sequence[tuple[str, str]]
    rows: Sequence[tuple[str, Sequence[HeatCell]]]


def heat_maps(figures: Mapping) -> list[HeatMap]:
    """AU error of the outputs, and how it differs from doing nothing; none if nothing was read."""
    cells = {(row["expression"], row["au"]): row for row in figures["expression"]["heat"]}
    aus = figures["expression"]["aus_read"]
    every = list(dict.fromkeys(expression for expression, _ in cells))
    if not aus or not every:
        return []
    shown = _worst(every, figures["expression"]["by_expression"])
    left = len(every) - len(shown)
    more = f"{left} more {'is' if left == 1 else 'are'} in figures.json"
    note = f" The {ROWS} expressions with the largest error; {more}." if left else ""
    error = {key: row["error"] for key, row in cells.items()}
    change = {
        key: row["error"] - row["no_transfer"]
        for key, row in cells.items()
        if known(row["error"]) and known(row["no_transfer"])
    }
    maps = [
        _map(f"AU error of the outputs (0–5; stronger is worse).{note}", shown, aus, error, False)
    ]
    if change:
        words = "That minus the error of doing nothing: − (blue) is better, + (orange) is worse."
        maps.append(_map(words, shown, aus, change, True))
    return maps


def _worst(expressions: Sequence[str], by_expression: Sequence[Mapping]) -> list[str]:
    """Those with the largest mean error, in the given order."""
    error = {row["expression"]: row["error"] or 0.0 for row in by_expression}
    kept = set(sorted(expressions, key=lambda key: -error.get(key, 0.0))[:ROWS])
    return [key for key in expressions if key in kept]


def _map(
    caption: str,
    expressions: Sequence[str],
    aus: Sequence[str],
    values: Mapping[tuple[str, str], float | None],
    signed: bool,
) -> HeatMap:
    """One heat map; colours are in proportion to its largest cell."""
    there = [abs(v) for (e, _), v in values.items() if v is not None and e in set(expressions)]
    top = max(there, default=0.0) or 1.0
    shorts = short_names(expressions)
    head = [(str(int(au[2:])), f"{au} {NAMES[au]}") for au in aus]
    rows = [
        (shorts[expression], [_cell(values.get((expression, au)), top, signed) for au in aus])
        for expression in expressions
    ]
    return HeatMap(caption, head, rows)


def _cell(value: float | None, top: float, signed: bool) -> HeatCell:
    """A number on its colour; the style sheet keeps text readable on the strongest."""
    if not known(value):
        return HeatCell(number(None))
    plus = "+" if signed and round(value, 2) > 0 else ""
    share = round(100 * min(abs(value) / top, 1.0))
    return HeatCell(plus + number(value), share, is_worse=signed and value > 0)
