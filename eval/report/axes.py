"""Axes and shapes of the report's charts: round ticks, scales, labels that keep apart.

A chart is a list of shapes, which templates/chart.html writes as inline SVG. Colours are classes
that report.css sets for light, dark and print. Every chart is 420 units wide, so that text of 12
units is still readable on a phone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 420, 280
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 16, 46
INSET = 6
"""Between the left end of the grid and the first value."""
LABEL_PX = 14
"""Lines of text nearer than this overlap."""
CHAR_PX = 7.8
"""Width of a character of bold 12-unit text, on the safe side."""


@dataclass(frozen=True)
class Scale:
    """Maps [low, high] to [start, end] in drawing units."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


@dataclass(frozen=True)
class Path:
    """A line or an area: the `d` of an SVG path."""

    d: str
    style: str
    kind: str = "path"


@dataclass(frozen=True)
class Text:
    """Words at a place; `anchor` is SVG's text-anchor, `turned` whether they run upwards."""

    words: str
    x: float
    y: float
    style: str = ""
    anchor: str = ""
    turned: bool = False
    kind: str = "text"


@dataclass(frozen=True)
class Dot:
    """A circle, and the words that the pointer brings up."""

    x: float
    y: float
    radius: float
    style: str
    title: str
    kind: str = "dot"


@dataclass(frozen=True)
class Bar:
    """A rectangle by its upper left corner, and the words that the pointer brings up."""

    x: float
    y: float
    width: float
    height: float
    style: str
    title: str
    kind: str = "bar"


Shape = Path | Text | Dot | Bar


@dataclass(frozen=True)
class Drawing:
    """Shapes, drawn in their order, and a title for those who cannot see them."""

    title: str
    shapes: Sequence[Shape]
    height: float = HEIGHT


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers (1, 2, 2.5 or 5 times a power of ten) that enclose the range.

    A range of no width is widened first.
    """
    if not high > low:
        wide = 0.1 * abs(low) or 0.1
        low, high = low - wide, high + wide
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def label_of(value: float) -> str:
    """A tick's label, without needless zeros."""
    return f"{value:.6g}".replace("-", "−")


def spread(wanted: Sequence[float], low: float, high: float, gap: float = LABEL_PX) -> list[float]:
    """Heights near the wanted ones, at least `gap` apart, inside [low, high] where they fit."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = list(wanted)
    floor = low
    for i in order:
        placed[i] = max(placed[i], floor)
        floor = placed[i] + gap
    ceiling = high
    for i in reversed(order):
        placed[i] = min(placed[i], ceiling)
        ceiling = placed[i] - gap
    return placed


def axes(
    xs: Sequence[float],
    ys: Sequence[float],
    x_label: str,
    y_label: str,
    right: float = RIGHT,
    inset: bool = False,
) -> tuple[Scale, Scale, list[Shape]]:
    """The two scales, and what is drawn for them: grid, ticks and names.

    The y axis ends at round numbers. So does the x axis where it is `inset` or a single value;
    otherwise the data fill it.
    """
    across, up = ticks(min(xs), max(xs)), ticks(min(ys), max(ys))
    low, high = across[0], across[-1]
    if min(xs) < max(xs) and not inset:
        low, high = min(xs), max(xs)
        across = [tick for tick in across if low - 1e-9 <= tick <= high + 1e-9]
    left = max(LEFT, 26 + CHAR_PX * max(len(label_of(t)) for t in up))
    floor = HEIGHT - BOTTOM
    x, y = Scale(low, high, left + INSET, WIDTH - right), Scale(up[0], up[-1], floor, TOP)
    parts: list[Shape] = [
        Path(f"M{left:.1f} {y(t):.1f}H{x.end + 4:.1f}", "grid" if t else "zero") for t in up
    ]
    parts.append(Path(f"M{left:.1f} {floor}H{x.end + 4:.1f}", "zero"))
    parts += [Text(label_of(t), left - 5, y(t) + 4, anchor="end") for t in up]
    parts += [Path(f"M{x(t):.1f} {floor}v4", "zero") for t in across]
    parts += [Text(label_of(t), x(t), floor + 18, anchor="middle") for t in across]
    parts.append(Text(x_label, (x.start + x.end) / 2, HEIGHT - 8, anchor="middle"))
    parts.append(Text(y_label, 13, (TOP + floor) / 2, anchor="middle", turned=True))
    return x, y, parts
