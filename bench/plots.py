"""Plots by matplotlib, which the extra `bench` installs: curves, intervals, a training run.

Results are written without it too: `is_available` says whether there can be a plot.
"""

import dataclasses
import importlib.util
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glow_jax.io.pictures import write_image
from glow_jax.io.provenance import Provenance, SourceType

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, RULE, PAPER = "#1e1e22", "#6e6e76", "#e2e2de", "#fafaf8"
COLOURS = (  # Okabe & Ito's without yellow, which colour-blind people can distinguish
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7"),
    *("#56b4e9", "#e69f00", "#785ef0", "#8c564b"),
)
DPI = 100
WIDTH, HEIGHT = 1200, 640


@dataclasses.dataclass(frozen=True)
class Curve:
    """Points (x, y) of one name; NaN breaks the line. `marks` are drawn as dots."""

    name: str
    points: Sequence[tuple[float, float]]
    marks: Sequence[tuple[float, float]] = ()


@dataclasses.dataclass(frozen=True)
class Interval:
    """A point (x, y), the interval of its y, and its label; the label may be empty."""

    x: float
    y: float
    low: float
    high: float
    label: str = ""


def is_available() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def lines(
    title: str, x_label: str, y_label: str, curves: Sequence[Curve], *, log: bool = False
) -> np.ndarray:
    """Curves, named at the right; uint8 (640, 1200, 3).

    Args:
        title, x_label, y_label: texts of the plot.
        curves: curves with at least one point; values are positive.
        log: whether x has a tick per power of two and y one per power of ten, for rates against
            batch sizes; else both axes begin at 0.
    """
    figure, axes = _axes(title, x_label, y_label)
    for curve, colour in zip(curves, itertools.cycle(COLOURS), strict=False):
        axes.plot(*_columns(curve.points), color=colour, linewidth=2)
        (dots,) = axes.plot(*_columns(curve.marks), "o", color=colour, markersize=8, clip_on=False)
        dots.set_in_layout(False)
        marker = "o" if curve.marks else ""
        axes.plot([], [], color=colour, linewidth=2, marker=marker, label=curve.name)
    if log:
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_locator(_no_ticks())
    else:
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
    _short_numbers(axes)
    _legend(axes)
    return _pixels(figure)


def frontier(
    title: str,
    x_label: str,
    y_label: str,
    curves: Mapping[str, Sequence[Interval]],
    ends: Iterable[str] = (),
) -> np.ndarray:
    """Curves of points with intervals; a square for a curve of one point; uint8 (1000, 1500, 3).

    Args:
        title, x_label, y_label: texts of the plot.
        curves: curves by name; the labels of a curve's first and last points are drawn.
        ends: names of curves that are black and named beside their first point.
    """
    figure, axes = _axes(title, x_label, y_label, size=(1500, 1000), scale=1.3)
    colours = itertools.cycle(COLOURS)
    for name, points in curves.items():
        is_end = name in ends
        colour = INK if is_end else next(colours)
        axes.vlines(
            *([p.x for p in points], [p.low for p in points], [p.high for p in points]),
            color=colour,
            alpha=0.35,
            linewidth=2.5,
        )
        marker = "o" if len(points) > 1 else "s"
        xs, ys = [p.x for p in points], [p.y for p in points]
        axes.plot(xs, ys, marker=marker, markersize=11, color=colour, linewidth=3, label=name)
        for point in (points[0], points[-1]) if len(points) > 1 else ():
            _note(axes, point, point.label, colour, (10, -16))
        if is_end:
            _note(axes, points[0], name, INK, (0, 14), ha="center")
    axes.margins(x=0.09)
    axes.set_ylim(bottom=min(axes.get_ylim()[0], 0.0))
    _short_numbers(axes)
    _legend(axes)
    return _pixels(figure)


def training_run(steps: Sequence[int], curves: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Bits/dim by step, the last value beside each name; uint8 (700, 1200, 3).

    The y axis ends at the 98th percentile of the known values, because the first steps are far
    above.
    """
    figure, axes = _axes("bits/dim by step of training", "step", "bits/dim", size=(WIDTH, 700))
    for (name, values), colour in zip(curves.items(), COLOURS, strict=False):
        axes.plot(steps, values, color=colour, linewidth=2.5, label=f"{name}: {values[-1]:.3f}")
    known = np.concatenate([np.asarray(values, float) for values in curves.values()])
    known = known[np.isfinite(known)]
    if known.size:
        low, high = known.min(), np.percentile(known, 98)
        room = 0.05 * max(high - low, 1e-6)
        axes.set_ylim(low - room, high + room)
    axes.set_xlim(left=0)
    axes.legend(loc="upper right", frameon=False, labelcolor=INK, fontsize=15)
    return _pixels(figure)


def save(
    path: Path, picture: np.ndarray, made_by: str, source: SourceType = "algorithmicMedia"
) -> None:
    """Write a plot with its provenance; its folder is made if it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, picture, Provenance(source, "none", {"made_by": made_by}))


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _axes(
    title: str,
    x_label: str,
    y_label: str,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    scale: float = 1.0,
) -> tuple["Figure", "Axes"]:
    """A figure of `size` pixels and its axes, without pyplot, which would keep the figure."""
    from matplotlib.figure import Figure

    inches = size[0] / DPI, size[1] / DPI
    figure = Figure(figsize=inches, dpi=DPI, facecolor=PAPER)
    figure.set_layout_engine("constrained", w_pad=0.25, h_pad=0.25)
    axes = figure.add_subplot(facecolor=PAPER)
    axes.set_title(title, loc="left", color=INK, fontsize=18 * scale, pad=16)
    axes.set_xlabel(x_label, color=QUIET, fontsize=14 * scale, labelpad=10)
    axes.set_ylabel(y_label, color=QUIET, fontsize=14 * scale, labelpad=10)
    axes.tick_params(colors=QUIET, labelsize=13 * scale, length=5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color=RULE, linewidth=1.5)
    axes.set_axisbelow(True)
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(QUIET)
    return figure, axes


def _short_numbers(axes: "Axes") -> None:
    """Ticks without needless zeros: 1, 0.8."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")


def _legend(axes: "Axes") -> None:
    """Names to the right of the axes."""
    size = 14 * (axes.get_figure().get_figwidth() / 12 if axes.get_figure() else 1)  # type: ignore[union-attr]
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, labelcolor=INK, fontsize=size
    )


def _note(
    axes: "Axes", point: Interval, text: str, colour: str, offset: tuple[int, int], **more: Any
) -> None:
    axes.annotate(
        *(text, (point.x, point.y), offset),
        textcoords="offset points",
        color=colour,
        fontsize=15,
        **more,
    )


def _no_ticks() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _pixels(figure: "Figure") -> np.ndarray:
    """uint8 (H, W, 3) of a figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def known(value: float | None) -> float | None:
    """The value if it is a finite number."""
    return value if value is not None and math.isfinite(value) else None
