"""Charts as inline SVG: lines over alpha, bars by AU, the frontier. No script, font or file."""

from collections.abc import Sequence
from dataclasses import dataclass

from eval.report.axes import (
    BOTTOM,
    CHAR_PX,
    HEIGHT,
    INSET,
    LABEL_PX,
    RIGHT,
    TOP,
    WIDTH,
    Scale,
    axes,
    label_of,
    spread,
    svg,
    text,
    ticks,
)
from eval.report.markup import Html, el, join, number

BAR_PX, ROW_PX, NAMES_PX = 7, 29, 178


@dataclass(frozen=True)
class Line:
    """Points (x, y), and where known (x, low, high) around them; `tone` is its colour, 1-3."""

    label: str
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float, float]] = ()
    tone: int = 1


@dataclass(frozen=True)
class Spot:
    """A point of the frontier, its label, and whether no other point beats it in both."""

    x: float
    y: float
    label: str
    efficient: bool


def line_chart(
    lines: Sequence[Line],
    title: str,
    x_label: str,
    y_label: str,
    *,
    levels: Sequence[tuple[float, str]] = (),
    mark: tuple[float, str] | None = None,
) -> Html:
    """Lines over x from y = 0, labelled at their right ends.

    Args:
        lines: each with at least one point.
        title: the text alternative.
        x_label, y_label: with units where they have any.
        levels: dotted horizontal lines and their labels.
        mark: a dotted vertical line and its label.
    """
    xs = [x for line in lines for x, _ in line.points]
    ys = [0.0, *(y for line in lines for _, y in line.points), *(y for y, _ in levels)]
    ys += [y for line in lines for _, *pair in line.band for y in pair]
    names = [line.label for line in lines] + [label for _, label in levels]
    x, y, parts = axes(xs, ys, x_label, y_label, right=14 + CHAR_PX * max(map(len, names)))
    for value, _ in levels:
        parts.append(
            el("path", d=f"M{x.start - INSET:.1f} {y(value):.1f}H{x.end + 4:.1f}", class_="dotted")
        )
    parts += [_mark(x, *mark)] if mark else []
    parts += [_band(line, x, y) for line in lines] + [_line(line, x, y) for line in lines]
    ends = [(x(line.points[-1][0]), line.points[-1][1]) for line in lines]
    ends += [(x.end, value) for value, _ in levels]
    classes = [f"ink{line.tone} strong" for line in lines] + ["quiet"] * len(levels)
    heights = spread([y(value) + 4 for _, value in ends], TOP + 4, HEIGHT - BOTTOM)
    for name, class_, (at, _), height in zip(names, classes, ends, heights, strict=True):
        parts.append(text(name, at + 8, height, class_=class_))
    return svg(title, parts)


def _mark(x: Scale, value: float, label: str) -> Html:
    at, floor = x(value), HEIGHT - BOTTOM
    late = at > (x.start + x.end) / 2
    line = el("path", d=f"M{at:.1f} {TOP}V{floor}", class_="dotted")
    side = {"text_anchor": "end"} if late else {}
    return join([line, text(label, at + (-5 if late else 5), floor - 6, class_="quiet", **side)])


def _band(line: Line, x: Scale, y: Scale) -> Html:
    """The interval around a line; a whisker where there is a single point."""
    if len(line.band) == 1:
        at, low, high = line.band[0]
        d = f"M{x(at):.1f} {y(low):.1f}V{y(high):.1f}"
        return el("path", d=d, class_=f"stroke{line.tone}")
    there = [f"{x(at):.1f} {y(high):.1f}" for at, _, high in line.band]
    back = [f"{x(at):.1f} {y(low):.1f}" for at, low, _ in reversed(line.band)]
    return (
        el("path", d=f"M{'L'.join(there + back)}Z", class_=f"band{line.tone}") if there else Html()
    )


def _line(line: Line, x: Scale, y: Scale) -> Html:
    """The line, and a dot a point that says its value."""
    path = "L".join(f"{x(at):.1f} {y(value):.1f}" for at, value in line.points)
    radius = 3.5 if len(line.points) <= 30 else 1.5
    drawn = el("path", d=f"M{path}", class_=f"stroke{line.tone}")
    return join([drawn, *(_dot(line, x, y, point, radius) for point in line.points)])


def _dot(line: Line, x: Scale, y: Scale, point: tuple[float, float], radius: float) -> Html:
    said = el("title", f"{line.label}: {number(point[1], 3)} at {label_of(point[0])}")
    return el("circle", said, cx=x(point[0]), cy=y(point[1]), r=radius, class_=f"fill{line.tone}")


def bar_chart(
    rows: Sequence[tuple[str, Sequence[float]]],
    names: Sequence[str],
    title: str,
    x_label: str,
    top: float,
) -> Html:
    """Groups of horizontal bars, from 0.

    Args:
        rows: a label and one value for each of `names`; NaN draws no bar.
        names: what the bars of a group are, top to bottom; at most three.
        title: the text alternative.
        x_label: with its unit.
        top: the axis ends at a round number from here.
    """
    across = ticks(0.0, top)
    x = Scale(0.0, across[-1], NAMES_PX, WIDTH - RIGHT)
    ceiling, floor = 26, 26 + ROW_PX * len(rows)
    parts = [el("path", d=f"M{x(tick):.1f} {ceiling}V{floor}", class_="grid") for tick in across]
    parts += [text(label_of(t), x(t), floor + 16, text_anchor="middle") for t in across]
    parts.append(text(x_label, (x.start + x.end) / 2, floor + 34, text_anchor="middle"))
    for row, (label, group) in enumerate(rows):
        y = ceiling + ROW_PX * row
        parts.append(text(label, NAMES_PX - 8, y + ROW_PX / 2 + 4, text_anchor="end"))
        for place, (name, value) in enumerate(zip(names, group, strict=True)):
            if value == value:
                said = el("title", f"{label}, {name}: {number(value)}")
                parts.append(_bar(x, y + 4 + BAR_PX * place, value, f"bar{place + 1}", said))
    parts.append(_legend(names))
    return svg(title, parts, height=floor + 42)


def _bar(x: Scale, y: float, value: float, class_: str, said: Html) -> Html:
    width = max(x(value) - x.start, 0.0)
    return el("rect", said, x=x.start, y=y, width=width, height=BAR_PX - 1.5, class_=class_)


def _legend(names: Sequence[str]) -> Html:
    """What the bars are, in their order."""
    parts, at = [], 6.0
    for place, name in enumerate(names):
        said = el("title", name)
        parts.append(el("rect", said, x=at, y=6, width=14, height=8, class_=f"bar{place + 1}"))
        parts.append(text(name, at + 19, 14))
        at += 19 + CHAR_PX * len(name) + 14
    return join(parts)


def frontier_chart(spots: Sequence[Spot], title: str, x_label: str, y_label: str) -> Html:
    """Points in the plane; the efficient ones are filled and joined, the others hollow."""
    x, y, parts = axes([s.x for s in spots], [s.y for s in spots], x_label, y_label, inset=True)
    best = sorted((s for s in spots if s.efficient), key=lambda s: (s.x, s.y))
    path = "L".join(f"{x(s.x):.1f} {y(s.y):.1f}" for s in best)
    parts += [el("path", d=f"M{path}", class_="stroke1")] if best else []
    for spot in spots:
        state = "efficient" if spot.efficient else "not efficient"
        said = f"{spot.label}, {state}: {label_of(spot.x)}, {number(spot.y, 3)}"
        class_ = "fill1" if spot.efficient else "hollow"
        parts.append(
            el("circle", el("title", said), cx=x(spot.x), cy=y(spot.y), r=4.5, class_=class_)
        )
    return svg(title, parts + _labels(spots, x, y))


def _labels(spots: Sequence[Spot], x: Scale, y: Scale) -> list[Html]:
    """Labels where one fits beside its point without touching others; efficient points first."""
    taken = [(x(s.x) - 5, y(s.y) - 5, x(s.x) + 5, y(s.y) + 5) for s in spots]
    parts = []
    for spot in sorted(spots, key=lambda s: not s.efficient):
        wide = CHAR_PX * len(spot.label)
        # Below right and above left first: the line through efficient points rises.
        places = [(7.0, 15.0), (-7.0 - wide, -7.0), (-wide / 2, -9.0), (8.0, 4.0)]
        places += [(-8.0 - wide, 4.0), (-wide / 2, 19.0), (7.0, -7.0), (-7.0 - wide, 15.0)]
        for right, down in places:
            left, foot = x(spot.x) + right, y(spot.y) + down
            box = (left, foot - LABEL_PX + 4, left + wide, foot + 2)
            inside = (
                box[0] > x.start - INSET
                and box[2] < WIDTH
                and box[1] > 0
                and box[3] < HEIGHT - BOTTOM
            )
            if inside and not any(_touch(box, other) for other in taken):
                taken.append(box)
                parts.append(
                    text(spot.label, left, foot, class_="strong" if spot.efficient else None)
                )
                break
    return parts


def _touch(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether two boxes (left, top, right, bottom) overlap."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
