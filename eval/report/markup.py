"""HTML and SVG by functions, which escape text; numbers as people read them.

`el("td", name)` escapes `name`; `el("td", el("b", name))` keeps the inner markup. So a name
with `<script>` in it stays text wherever it is shown.
"""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeGuard

VOID = ("img", "meta", "br")
UNKNOWN = "–"


class Html(str):
    """Markup. Every other string is text, to be escaped."""

    __slots__ = ()


def esc(inside: object) -> Html:
    """Markup as it is, anything else as text."""
    return inside if isinstance(inside, Html) else Html(html.escape(str(inside), quote=True))


def join(parts: Iterable[object]) -> Html:
    """Parts one after another."""
    return Html("".join(esc(part) for part in parts))


def el(name: str, /, *inside: object, **attributes: object) -> Html:
    """An element: `el("th", "α", scope="row")`.

    A trailing underscore goes (`class_`), others turn to hyphens (`stroke_width`); an
    attribute that is None is left out; floats are cut to two decimals.
    """
    text = ""
    for key, value in attributes.items():
        if value is not None:
            value = f"{value:.2f}" if isinstance(value, float) else value
            text += f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value), quote=True)}"'
    return Html(f"<{name}{text}>" + ("" if name in VOID else f"{join(inside)}</{name}>"))


def name(text: str) -> Html:
    """Someone's name or file, kept apart from the direction of the text around it."""
    return el("bdi", text)


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


def between(figure: Mapping | None, show=number) -> str:
    """The interval of a figure: 0.29 to 0.37; empty where there is none."""
    if not figure or not known(figure.get("low")) or not known(figure.get("high")):
        return ""
    return f"{show(figure['low'])} to {show(figure['high'])}"


def of(rate: Mapping | None) -> str:
    """A count: 217 of 220."""
    return f"{rate['count']} of {rate['of']}" if rate and rate.get("of") else UNKNOWN


def many(n: int, one: str, more: str = "") -> str:
    """A count and its noun: 1 output, 2 outputs."""
    return f"{n} {one if n == 1 else more or one + 's'}"


def table(
    caption: object,
    head: Sequence[object],
    rows: Sequence[Sequence[object]],
    *,
    limit: int = 40,
    class_: str | None = None,
    rest: str = "figures.json",
) -> Html:
    """A table in a box that scrolls by itself; the first cell of a row names it.

    Rows beyond `limit` are counted, and `rest` says where they are.
    """
    more = len(rows) - limit
    body = join(
        el("tr", el("th", row[0], scope="row"), *(_cell(cell) for cell in row[1:]))
        for row in rows[:limit]
    )
    left = el("p", f"{more} more rows are in {rest}.", class_="note") if more > 0 else ""
    return join(
        [
            scrolling(
                el(
                    "table",
                    captioned(caption),
                    el("thead", el("tr", *(el("th", title, scope="col") for title in head))),
                    el("tbody", body),
                    class_=class_,
                ),
                str(caption),
            ),
            left,
        ]
    )


def captioned(words: object) -> Html:
    """A caption that stays in view while its table scrolls."""
    return el("caption", el("span", words))


def _cell(cell: object) -> Html:
    """A cell as given, or one around it."""
    made = isinstance(cell, Html) and cell.startswith("<td")
    return cell if made else el("td", cell)  # type: ignore[return-value]


def scrolling(inside: object, label: str) -> Html:
    """A box that scrolls sideways where the page is narrow; the keyboard reaches it too."""
    return el("div", inside, class_="scroll", tabindex="0", role="region", aria_label=label)


def definitions(pairs: Iterable[tuple[object, object]]) -> Html:
    """Terms and what they are."""
    return el("dl", *(join([el("dt", term), el("dd", what)]) for term, what in pairs))


def section(title: str, *inside: object) -> Html:
    """A part of the page under its heading, which links find by `anchor`."""
    heading = f"{anchor(title)}-title"
    top = el("h2", title, id=heading)
    return el("section", top, *inside, id=anchor(title), aria_labelledby=heading)


def anchor(title: str) -> str:
    """The name that links to a section use."""
    return title.lower().replace(" ", "-")
