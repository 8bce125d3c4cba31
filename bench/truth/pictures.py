"""Pictures of the truth benchmark: contact sheets, and the frontier of identity and expression."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bench.truth.scores import Output, Reference
from bench.truth.tables import BASELINES, Row, value_at
from transfer.jobs.sheet import grid

INK, QUIET, RULE, PAPER = (30, 30, 34), (110, 110, 118), (226, 226, 222), (250, 250, 248)
COLOURS = (  # Okabe & Ito's, less yellow: apart for the colour-blind too
    *((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167)),
    *((86, 180, 233), (230, 159, 0), (120, 94, 240), (140, 86, 75)),
)
ENDS = ("none", "oracle")  # of what can be reached; named in the plot
WIDTH, HEIGHT = 1500, 1000
LEFT, RIGHT, TOP, BOTTOM = 130, 400, 110, 120
FONT_PX, SMALL_PX = 26, 20


def contact_sheet(
    references: Sequence[Reference], outputs: Sequence[Output], names: Mapping[str, str] | None
) -> np.ndarray:
    """Rows are references; columns the source, the base, the truth, and each method's output.

    Args:
        references: a few; their sources' pictures may be of another size.
        outputs: of them; one without any stays blank.
        names: headings by `column_of` an output, in order; None shows every one, by that name.

    Returns:
        uint8 (H, W, 3), tiles at least 128 pixels high.

    Raises:
        ValueError: no references.
    """
    if not references:
        raise ValueError("a contact sheet needs at least one reference")
    columns = dict(names or {column_of(o): column_of(o) for o in outputs})
    made = {(o.key, column_of(o)): o.image for o in outputs}
    blank = np.full_like(references[0].base, 255)
    rows = []
    for one in references:
        source = _resized(one.source_expression, one.base.shape)
        tiles = [made.get((one.key, column), blank) for column in columns]
        rows.append([source, one.base, one.truth, *tiles])
    header = ["source", "target, edited", "truth", *columns.values()]
    labels = [f"{r.expression}, {r.source} to {r.target} ({r.setting})" for r in references]
    return grid(rows, header, labels)


def column_of(output: Output) -> str:
    """An output's method, alpha and k: "paper-eps 0.5 k=1"."""
    alpha = "" if math.isnan(output.alpha) else f" {output.alpha:g}"
    return f"{output.method}{alpha} k={output.k}"


def _resized(picture: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if picture.shape == shape:
        return picture
    size = shape[1], shape[0]
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def frontier(rows: Sequence[Row], setting: str, k: int | None = None) -> np.ndarray:
    """Identity against expression: distance to the target (x) and AU gain against the truth (y).

    A curve a method over alpha, with the bootstrap interval of each gain; a square for a method
    without a curve. The oracle's point is the one to reach: an expression moves embeddings too, so
    that no transfer is nearer to the photographs than the truth is.

    Args:
        rows: of `truth_tables.table`.
        setting: whose rows.
        k: only methods that saw so many pictures, and baselines; None for all.

    Returns:
        uint8 (1000, 1500, 3).

    Raises:
        ValueError: no row of this setting and k has both figures.
    """
    curves = _curves(rows, setting, k)
    if not curves:
        raise ValueError(f"setting {setting!r}, k {k}: no row has both a gain and a distance")
    sheet = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    draw = ImageDraw.Draw(sheet)
    frame = _frame([point for curve in curves.values() for point in curve])
    of = setting if k is None else f"{setting}, k={k}"
    _axes(draw, frame, f"Expression against identity ({of}); numbers are alpha")
    colours = itertools.cycle(COLOURS)
    for i, (name, curve) in enumerate(curves.items()):
        ends = name.split(" ")[0] in ENDS
        colour = INK if ends else next(colours)
        _curve(draw, frame, curve, colour)
        height = TOP + i * (FONT_PX + 12)
        _mark(draw, (WIDTH - RIGHT + 40, height + FONT_PX / 2), colour, square=len(curve) == 1)
        draw.text((WIDTH - RIGHT + 60, height), name, INK, font(FONT_PX))
        if ends:
            x, y = frame.place(curve[0].x, curve[0].y)
            draw.text((x - 16, y - 8), name, INK, font(SMALL_PX), anchor="rb")
    return np.asarray(sheet)


@dataclasses.dataclass(frozen=True)
class _Point:
    """A row in the plot: distance, gain and its interval; alpha, None without."""

    x: float
    y: float
    low: float
    high: float
    alpha: float | None


@dataclasses.dataclass(frozen=True)
class _Frame:
    """Ticks of both axes; the first and the last are the frame's edges."""

    x: list[float]
    y: list[float]

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of a point."""
        across = (x - self.x[0]) / (self.x[-1] - self.x[0])
        up = (y - self.y[0]) / (self.y[-1] - self.y[0])
        width, height = WIDTH - RIGHT - LEFT, HEIGHT - BOTTOM - TOP
        return LEFT + across * width, HEIGHT - BOTTOM - up * height


def _curves(rows: Sequence[Row], setting: str, k: int | None) -> dict[str, list[_Point]]:
    """Points of each method and k, by alpha; k is named where the methods differ in it."""
    chosen = [
        row
        for row in rows
        if row["setting"] == setting and (k is None or row["k"] == k or row["method"] in BASELINES)
    ]
    many = len({row["k"] for row in chosen if row["method"] not in BASELINES}) > 1
    curves: dict[str, list[_Point]] = {}
    for row in chosen:
        x, y = _known(row["to_target"]), _known(value_at(row, "vs_truth.gain"))
        if x is None or y is None:
            continue
        low, high = map(_known, value_at(row, "vs_truth.gain_95"))
        point = _Point(
            x, y, y if low is None else low, y if high is None else high, _known(row["alpha"])
        )
        name = f"{row['method']} k={row['k']}" if many else row["method"]
        curves.setdefault(name, []).append(point)
    return {name: sorted(curve, key=lambda p: p.alpha or 0) for name, curve in curves.items()}


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _frame(points: Sequence[_Point]) -> _Frame:
    from eval.report.axes import ticks

    x = [point.x for point in points]
    y = [0.0, *(end for point in points for end in (point.low, point.high))]
    return _Frame(ticks(min(x), max(x)), ticks(min(y), max(y)))


def _axes(draw: ImageDraw.ImageDraw, frame: _Frame, title: str) -> None:
    from eval.report.axes import label_of

    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    for value in frame.y:
        height = frame.place(frame.x[0], value)[1]
        draw.line([(LEFT, height), (right, height)], RULE, 2)
        draw.text((LEFT - 14, height), label_of(value), QUIET, font(SMALL_PX), anchor="rm")
    for value in frame.x:
        across = frame.place(value, frame.y[0])[0]
        draw.line([(across, floor), (across, floor + 8)], QUIET, 2)
        draw.text((across, floor + 14), label_of(value), QUIET, font(SMALL_PX), anchor="mt")
    draw.text((LEFT, 24), title, INK, font(FONT_PX + 4))
    draw.text(
        ((LEFT + right) / 2, HEIGHT - 34),
        "distance to the target's photographs (DeepFace, Dlib)",
        *(INK, font(FONT_PX)),
        anchor="mm",
    )
    _upright(draw, "AU gain against the truth", (36, (TOP + floor) // 2))


def _upright(draw: ImageDraw.ImageDraw, text: str, centre: tuple[int, int]) -> None:
    """Text that runs upwards."""
    face = font(FONT_PX)
    box = face.getbbox(text)
    strip = Image.new("L", (math.ceil(box[2]), math.ceil(box[3]) + 4), 0)
    ImageDraw.Draw(strip).text((0, 0), text, 255, face)
    strip = strip.rotate(90, expand=True)
    draw.bitmap((centre[0] - strip.width // 2, centre[1] - strip.height // 2), strip, INK)


def _curve(
    draw: ImageDraw.ImageDraw, frame: _Frame, curve: list[_Point], colour: tuple[int, int, int]
) -> None:
    """Intervals, the line, a mark a point, and alpha beside the first and the last."""
    faint = tuple((c + 2 * p) // 3 for c, p in zip(colour, PAPER, strict=True))
    for point in curve:
        draw.line([frame.place(point.x, point.low), frame.place(point.x, point.high)], faint, 3)
    places = [frame.place(point.x, point.y) for point in curve]
    if len(places) > 1:
        draw.line(places, colour, 4, joint="curve")
    for place in places:
        _mark(draw, place, colour, square=len(places) == 1)
    for i in {0, len(curve) - 1} if len(curve) > 1 else ():
        x, y = places[i]
        draw.text((x + 12, y + 4), f"{curve[i].alpha or 0:g}", colour, font(SMALL_PX))


def _mark(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    colour: tuple[int, int, int],
    *,
    square: bool,
) -> None:
    x, y = place
    box = (x - 8, y - 8, x + 8, y + 8)
    (draw.rectangle if square else draw.ellipse)(box, colour)


def font(size: int) -> Any:
    return ImageFont.load_default(size)


def write_png(picture: np.ndarray, path: Path) -> None:
    """Save a picture of generated and rendered faces, saying so; its folder made where missing."""
    from glow_jax.io.pictures import write_image
    from glow_jax.io.provenance import Provenance

    path.parent.mkdir(parents=True, exist_ok=True)
    recipe = {"made_by": "python -m bench.truth"}
    write_image(
        path, picture, Provenance("compositeWithTrainedAlgorithmicMedia", "several", recipe)
    )
