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
    Bar,
    Dot,
    Drawing,
    Path,
    Scale,
    Shape,
    Text,
    axes,
    label_of,
    spread,
    ticks,
)
from eval.report.numbers import number

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
) -> Drawing:
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
        parts.append(Path(f"M{x.start - INSET:.1f} {y(value):.1f}H{x.end + 4:.1f}", "dotted"))
    parts += _mark(x, *mark) if mark else []
    parts += [shape for line in lines for shape in _band(line, x, y)]
    parts += [shape for line in lines for shape in _line(line, x, y)]
    ends = [(x(line.points[-1][0]), line.points[-1][1]) for line in lines]
    ends += [(x.end, value) for value, _ in levels]
    styles = [f"ink{line.tone} strong" for line in lines] + ["quiet"] * len(levels)
    heights = spread([y(value) + 4 for _, value in ends], TOP + 4, HEIGHT - BOTTOM)
    for name, style, (at, _), height in zip(names, styles, ends, heights, strict=True):
        parts.append(Text(name, at + 8, height, style))
    return Drawing(title, parts)


def _mark(x: Scale, value: float, label: str) -> list[Shape]:
    at, floor = x(value), HEIGHT - BOTTOM
    is_late = at > (x.start + x.end) / 2
    line = Path(f"M{at:.1f} {TOP}V{floor}", "dotted")
    anchor = "end" if is_late else ""
    return [line, Text(label, at + (-5 if is_late else 5), floor - 6, "quiet", anchor)]


def _band(line: Line, x: Scale, y: Scale) -> list[Shape]:
    """The interval around a line; a whisker where there is a single point."""
    if not line.band:
        return []
    if len(line.band) == 1:
        at, low, high = line.band[0]
        return [Path(f"M{x(at):.1f} {y(low):.1f}V{y(high):.1f}", f"stroke{line.tone}")]
    there = [f"{x(at):.1f} {y(high):.1f}" for at, _, high in line.band]
    back = [f"{x(at):.1f} {y(low):.1f}" for at, low, _ in reversed(line.band)]
    return [Path(f"M{'L'.join(there + back)}Z", f"band{line.tone}")]


def _line(line: Line, x: Scale, y: Scale) -> list[Shape]:
    """The line, and a dot for each point, titled with its value."""
    path = "L".join(f"{x(at):.1f} {y(value):.1f}" for at, value in line.points)
    radius = 3.5 if len(line.points) <= 30 else 1.5
    dots = [
        Dot(
            *(x(at), y(value), radius, f"fill{line.tone}"),
            f"{line.label}: {number(value, 3)} at {label_of(at)}",
        )
        for at, value in line.points
    ]
    return [Path(f"M{path}", f"stroke{line.tone}"), *dots]


def bar_chart(
    rows: Sequence[tuple[str, Sequence[float]]],
    names: Sequence[str],
    title: str,
    x_label: str,
    top: float,
) -> Drawing:
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
    parts: list[Shape] = [Path(f"M{x(tick):.1f} {ceiling}V{floor}", "grid") for tick in across]
    parts += [Text(label_of(t), x(t), floor + 16, anchor="middle") for t in across]
    parts.append(Text(x_label, (x.start + x.end) / 2, floor + 34, anchor="middle"))
    for row, (label, group) in enumerate(rows):
        y = ceiling + ROW_PX * row
        parts.append(Text(label, NAMES_PX - 8, y + ROW_PX / 2 + 4, anchor="end"))
        for place, (name, value) in enumerate(zip(names, group, strict=True)):
            if value == value:
                top_px, width = y + 4 + BAR_PX * place, max(x(value) - x.start, 0.0)
                words = f"{label}, {name}: {number(value)}"
                parts.append(Bar(x.start, top_px, width, BAR_PX - 1.5, f"bar{place + 1}", words))
    return Drawing(title, parts + _legend(names), height=floor + 42)


def _legend(names: Sequence[str]) -> list[Shape]:
    """What the bars are, in their order."""
    parts: list[Shape] = []
    at = 6.0
    for place, name in enumerate(names):
        parts += [Bar(at, 6, 14, 8, f"bar{place + 1}", name), Text(name, at + 19, 14)]
        at += 19 + CHAR_PX * len(name) + 14
    return parts


def frontier_chart(spots: Sequence[Spot], title: str, x_label: str, y_label: str) -> Drawing:
    """Points in the plane; the efficient ones are filled and joined, the others hollow."""
    x, y, parts = axes([s.x for s in spots], [s.y for s in spots], x_label, y_label, inset=True)
    best = sorted((s for s in spots if s.efficient), key=lambda s: (s.x, s.y))
    path = "L".join(f"{x(s.x):.1f} {y(s.y):.1f}" for s in best)
    parts += [Path(f"M{path}", "stroke1")] if best else []
    for spot in spots:
        state = "efficient" if spot.efficient else "not efficient"
        words = f"{spot.label}, {state}: {label_of(spot.x)}, {number(spot.y, 3)}"
        parts.append(Dot(x(spot.x), y(spot.y), 4.5, "fill1" if spot.efficient else "hollow", words))
    return Drawing(title, parts + _labels(spots, x, y))


def _labels(spots: Sequence[Spot], x: Scale, y: Scale) -> list[Shape]:
    """Labels where one fits beside its point without touching others; efficient points first."""
    taken = [(x(s.x) - 5, y(s.y) - 5, x(s.x) + 5, y(s.y) + 5) for s in spots]
    parts: list[Shape] = []
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
                parts.append(Text(spot.label, left, foot, "strong" if spot.efficient else ""))
                break
    return parts


def _touch(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether two boxes (left, top, right, bottom) overlap."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
