"""The contact sheet of aligned faces: people, their crops, and the photographs left out."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from glow_jax.io.messages import drawable
from glow_jax.io.terminal import printable

MAX_COLUMNS, MAX_ROWS, MAX_LINES = 8, 60, 30
TILE_PX, GAP_PX, LINE_PX, HEAD_PX = 128, 10, 17, 30
INK, QUIET, PAPER, WARNING = (30, 30, 34), (110, 110, 116), (250, 250, 248), (200, 90, 20)


class Tile(NamedTuple):
    """A crop on the sheet.

    Attributes:
        file: path of the crop.
        lines: two lines of text below the crop.
        warn: whether the crop has a frame that marks it as unlikely under the model.
    """

    file: str
    lines: tuple[str, str]
    warn: bool


def align_sheet(
    people: dict[str, list[Tile]],
    left_out: Sequence[str],
    load: Callable[[str], UInt8[np.ndarray, "S S 3"]],
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw the sheet. If not all crops fit, the first ones of each person are shown.

    Args:
        people: tiles by the person's name, in the order of the sheet.
        left_out: one line for each photograph that could not be used.
        load: function from the path of a crop to its pixels.
    """
    shown = _fitting(people)
    lines = [_cut(line, 130) for line in left_out[:MAX_LINES]]
    if len(left_out) > MAX_LINES:
        lines.append(f"and {len(left_out) - MAX_LINES} more: failures.csv")
    step_x, step_y = TILE_PX + GAP_PX, TILE_PX + 2 * LINE_PX + GAP_PX
    columns = max(4, min(MAX_COLUMNS, max((len(tiles) for tiles in shown.values()), default=0)))
    rows = sum(-(-len(tiles) // columns) for tiles in shown.values())
    height = GAP_PX + HEAD_PX * len(shown) + step_y * rows
    height += HEAD_PX + LINE_PX * len(lines) if lines else 0
    width = max(GAP_PX + step_x * columns, 760 if lines else 0)
    sheet = Image.new("RGB", (width, height + GAP_PX), PAPER)
    draw, y = ImageDraw.Draw(sheet), GAP_PX
    for name, tiles in shown.items():
        hidden = len(people[name]) - len(tiles)
        more = f" ({hidden} more: align.csv)" if hidden else ""
        heading = printable(f"{name or 'files'}: {len(people[name])}{more}")
        draw.text((GAP_PX, y + 4), drawable(_cut(heading, 80)), INK, ImageFont.load_default(17))
        y += HEAD_PX
        for start in range(0, len(tiles), columns):
            for column, tile in enumerate(tiles[start : start + columns]):
                _draw_tile(sheet, draw, (GAP_PX + column * step_x, y), tile, load(tile.file))
            y += step_y
    if lines:
        draw.text((GAP_PX, y + 4), f"left out: {len(left_out)}", INK, ImageFont.load_default(17))
        y += HEAD_PX
        for line in lines:
            draw.text((GAP_PX, y), drawable(line), QUIET, ImageFont.load_default(12))
            y += LINE_PX
    return np.asarray(sheet)


def _draw_tile(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    tile: Tile,
    pixels: np.ndarray,
) -> None:
    x, y = at
    picture = Image.fromarray(pixels).resize((TILE_PX, TILE_PX), Image.Resampling.BICUBIC)
    if tile.warn:
        draw.rectangle((x - 3, y - 3, x + TILE_PX + 2, y + TILE_PX + 2), WARNING)
    sheet.paste(picture, at)
    for i, line in enumerate(tile.lines):
        colour = WARNING if tile.warn and i else (INK, QUIET)[i]
        place = (x, y + TILE_PX + 2 + i * LINE_PX)
        draw.text(place, drawable(_cut(line, 21)), colour, ImageFont.load_default(12))


def _fitting(people: dict[str, list[Tile]]) -> dict[str, list[Tile]]:
    """The first tiles of each person, in about MAX_ROWS rows at most."""
    shown = dict(list(people.items())[:MAX_ROWS])
    rows = max(1, MAX_ROWS // max(1, len(shown)))
    return {name: tiles[: rows * MAX_COLUMNS] for name, tiles in shown.items()}


def _cut(text: str, n: int) -> str:
    return text if len(text) <= n else text[: n - 1] + "…"
