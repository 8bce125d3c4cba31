"""Heat maps of expression × AU as tables, so that every cell keeps its number and its headings."""

from collections.abc import Mapping, Sequence

from eval.report.context import short_names
from eval.report.markup import Html, captioned, el, join, known, name, number, scrolling
from eval.table import NAMES

ROWS = 40
"""At most this many expressions, those with the largest mean error."""


def heat_maps(figures: Mapping) -> Html:
    """AU error of the outputs, and how it differs from doing nothing."""
    cells = {(row["expression"], row["au"]): row for row in figures["expression"]["heat"]}
    aus = figures["expression"]["aus_read"]
    every = list(dict.fromkeys(expression for expression, _ in cells))
    if not aus or not every:
        return el("p", "Not measured.", class_="note")
    shown = _worst(every, figures["expression"]["by_expression"])
    left = len(every) - len(shown)
    note = f" The {ROWS} expressions with the largest error; {left} more are in figures.json."
    note = note if left else ""
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
        said = "The same minus the error of doing nothing: − (blue) is better, + (orange) is worse."
        maps.append(_map(said, shown, aus, change, True))
    return join(maps)


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
) -> Html:
    """One heat map; colours are in proportion to its largest cell."""
    there = [abs(v) for (e, _), v in values.items() if v is not None and e in set(expressions)]
    top = max(there, default=0.0) or 1.0
    shorts = short_names(expressions)
    heads = [el("th", str(int(au[2:])), scope="col", title=f"{au} {NAMES[au]}") for au in aus]
    rows = [
        el(
            "tr",
            el("th", name(shorts[expression]), scope="row"),
            *(_cell(values.get((expression, au)), top, signed) for au in aus),
        )
        for expression in expressions
    ]
    grid = el(
        "table",
        captioned(caption),
        el("thead", el("tr", el("th", "AU", scope="col"), *heads)),
        el("tbody", *rows),
        class_="heat",
    )
    return scrolling(grid, caption)


def _cell(value: float | None, top: float, signed: bool) -> Html:
    """A number on its colour; the style sheet keeps text readable on the strongest."""
    if not known(value):
        return el("td", number(None))
    assert value is not None
    share = f"--share:{100 * min(abs(value) / top, 1.0):.0f}%"
    plus = "+" if signed and round(value, 2) > 0 else ""
    class_ = "worse" if signed and value > 0 else None
    return el("td", plus + number(value), style=share, class_=class_)
