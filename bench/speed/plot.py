"""A line plot as a picture, with Pillow alone."""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from bench.truth.pictures import COLOURS, INK, PAPER, QUIET, RULE, font
from glow_jax.io.pictures import write_image
from glow_jax.io.provenance import Provenance

WIDTH, HEIGHT = 1200, 640
LEFT, RIGHT, TOP, BOTTOM = 110, 330, 90, 90


@dataclasses.dataclass(frozen=True)
class Curve:
    """Points (x, y) of one name; `marks` are those of its points that are drawn as dots."""

    name: str
    points: Sequence[tuple[float, float]]
    marks: Sequence[tuple[float, float]] = ()


def lines(
    title: str, x_label: str, y_label: str, curves: Sequence[Curve], *, log: bool = False
) -> np.ndarray:
    """Curves, named at the right; uint8 (640, 1200, 3).

    Args:
        title, x_label, y_label: what is drawn.
        curves: at least one point, positive.
        log: whether x has a tick a power of two and y one a power of ten, for rates against batch
            sizes; else y begins at 0.
    """
    points = [p for c in curves for p in (*c.points, *c.marks)]
    xs = [math.log2(x) if log else x for x, _ in points]
    across = (
        [float(i) for i in range(math.floor(min(xs)), math.ceil(max(xs)) + 1)]
        if log
        else _ticks(max(xs))
    )
    across = across if len(across) > 1 else [across[0], across[0] + 1]
    ys = [math.log10(y) if log else y for _, y in points]
    up = (
        [float(i) for i in range(math.floor(min(ys)), math.ceil(max(ys)) + 1)]
        if log
        else _ticks(max(ys))
    )
    up = up if len(up) > 1 else [up[0], up[0] + 1]
    sheet = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    draw = ImageDraw.Draw(sheet)
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x, y = (math.log2(point[0]), math.log10(point[1])) if log else point
        x = (x - across[0]) / (across[-1] - across[0])
        y = (y - up[0]) / (up[-1] - up[0])
        return LEFT + x * (right - LEFT), floor - y * (floor - TOP)

    for value in up:
        height = floor - (value - up[0]) / (up[-1] - up[0]) * (floor - TOP)
        draw.line([(LEFT, height), (right, height)], RULE, 2)
        said = 10**value if log else value
        draw.text((LEFT - 12, height), f"{said:g}", QUIET, font(20), anchor="rm")
    for value in across:
        x = LEFT + (value - across[0]) / (across[-1] - across[0]) * (right - LEFT)
        draw.line([(x, floor), (x, floor + 8)], QUIET, 2)
        said = 2**value if log else value
        draw.text((x, floor + 14), f"{said:g}", QUIET, font(20), anchor="mt")
    draw.text((LEFT, 16), title, INK, font(28))
    draw.text((LEFT, TOP - 32), y_label, QUIET, font(20))
    draw.text(((LEFT + right) / 2, HEIGHT - 28), x_label, QUIET, font(20), anchor="mm")
    for i, (curve, colour) in enumerate(zip(curves, itertools.cycle(COLOURS), strict=False)):
        places = [place(p) for p in curve.points]
        if len(places) > 1:
            draw.line(places, colour, 3, joint="curve")
        for x, y in map(place, curve.marks):
            draw.ellipse((x - 6, y - 6, x + 6, y + 6), colour)
        height = TOP + 36 * i
        draw.rectangle((right + 30, height + 4, right + 48, height + 22), colour)
        draw.text((right + 58, height), curve.name, INK, font(20))
    return np.asarray(sheet)


def _ticks(most: float) -> list[float]:
    """About five round numbers from 0 on (the judge's `ticks` needs the extra `eval`)."""
    rough = most / 5 or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    return [i * step for i in range(math.ceil(most / step - 1e-9) + 1)]


def save(path: Path, picture: np.ndarray, made_by: str) -> None:
    """Write a plot; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, picture, Provenance("algorithmicMedia", "none", {"made_by": made_by}))
