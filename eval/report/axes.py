"""Axes for charts in inline SVG: round ticks, scales, labels that keep apart.

Colours are classes that report.css sets for light, dark and print. Everything is drawn 420 units
wide, so that 12-unit text is still readable on a phone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from eval.report.markup import Html, el

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
) -> tuple[Scale, Scale, list[Html]]:
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
    parts = [
        el("path", d=f"M{left:.1f} {y(t):.1f}H{x.end + 4:.1f}", class_="grid" if t else "zero")
        for t in up
    ]
    parts.append(el("path", d=f"M{left:.1f} {floor}H{x.end + 4:.1f}", class_="zero"))
    parts += [text(label_of(t), left - 5, y(t) + 4, text_anchor="end") for t in up]
    parts += [el("path", d=f"M{x(t):.1f} {floor}v4", class_="zero") for t in across]
    parts += [text(label_of(t), x(t), floor + 18, text_anchor="middle") for t in across]
    parts.append(text(x_label, (x.start + x.end) / 2, HEIGHT - 8, text_anchor="middle"))
    turned = f"translate(13 {(TOP + floor) / 2:g}) rotate(-90)"
    parts.append(el("text", y_label, transform=turned, text_anchor="middle"))
    return x, y, parts


def text(words: str, x: float, y: float, **attributes: object) -> Html:
    """Words at a place, in drawing units."""
    return el("text", words, x=float(x), y=float(y), **attributes)


def svg(title: str, parts: Sequence[Html], height: float = HEIGHT) -> Html:
    """The drawing, with its title for those who cannot see it."""
    box = f"0 0 {WIDTH} {height:g}"
    return el("svg", el("title", title), *parts, viewBox=box, role="img", class_="chart")
