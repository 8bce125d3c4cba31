"""A contact sheet of a job: expressions, reference pictures, and the outputs by alpha."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from glow_jax.io.messages import drawable
from glow_jax.io.pictures import read_image
from glow_jax.io.terminal import printable
from transfer.jobs.alphas import AUTO
from transfer.jobs.job import Job
from transfer.jobs.pasted_tiles import PastedTiles
from transfer.jobs.prefetch import LoadPicture
from transfer.jobs.references import reference_file
from transfer.methods import EDITS, method_class, method_names

MIN_TILE_PX = 128
GAP_PX = 6
LABEL_PX = 22
MAX_STEPS = 16  # columns of an interpolation
INK, QUIET, BACKGROUND = (30, 30, 34), (110, 110, 116), (250, 250, 248)


class Key(NamedTuple):
    """One series of outputs: numbers of a target, an expression's picture and a source."""

    target: int
    expression: int
    source: int


def job_sheet(
    job: Job, out: Path, load: LoadPicture, pasted: PastedTiles | None = None
) -> np.ndarray:
    """One row for each target and expression, labelled; of edits, one for each picture.

    Columns of a transfer: the picture of the expression, the reference pictures of source and
    target, then the outputs by alpha. A cell without a picture says why. Where no source has
    another picture than the expression's, the column of source references is left out. The label
    marks expressions that were estimated absolutely. Columns of edits: the picture, then the
    outputs by alpha; of an interpolation only the outputs, at most MAX_STEPS of them.

    Args:
        job: a finished job of one method, with an output at least.
        out: its folder.
        load: a path to pixels, as the job was run with.
        pasted: of outputs that were pasted: photographs are shown in place of what the model saw,
            and in place of reference pictures the target's photograph that was edited, and the
            source's if there is only one beside the expression's.

    Returns:
        uint8 (H, W, 3).
    """
    series = series_of(job, out)
    alphas = list(dict.fromkeys(alpha for made in series.values() for alpha in made))
    name = method_names()[job.plan.method[0]]
    if name in EDITS:
        heading, lead = _of_edits(job, series, load, name, pasted)
        alphas = _spread(alphas, MAX_STEPS) if name == "interpolate" else alphas
    else:
        heading, lead = _of_transfers(job, series, out, load, pasted)
    rows = [
        [*lead[key], *(_output(made.get(a), pasted) for a in alphas)]
        for key, made in series.items()
    ]
    labels = [label_of(job, key) for key in series]
    return grid(rows, [*heading, *(f"alpha {a}" for a in alphas)], labels)


def series_of(job: Job, out: Path) -> dict[Key, dict[str, Path]]:
    """From target, expression and source to the outputs that were made, by the text of alpha."""
    plan, series = job.plan, dict[Key, dict[str, Path]]()
    for row in np.sort(job.order).tolist():
        item = job.item(row)
        if (out / item.file).exists():
            key = Key(int(plan.target[row]), int(plan.expression[row]), int(plan.source[row]))
            alpha = AUTO if np.isnan(item.alpha) else f"{item.alpha:g}"
            series.setdefault(key, {})[alpha] = out / item.file
    return series


def label_of(job: Job, key: Key) -> str:
    """A line under the outputs of one target and expression."""
    plan = job.plan
    shown, target = Path(plan.files[key.expression]).stem, plan.names[key.target]
    name = method_names()[plan.method[0]]
    if name == "interpolate":
        return printable(f"{target} to {plan.names[key.source]}: {plan.title}")
    if name in EDITS:
        return printable(f"{target}: {plan.title}")
    absolute = " (estimated absolutely)" if _is_alone(job, key) else ""
    return printable(f"{shown} on {target}{absolute}")


def _of_edits(
    job: Job, series: Iterable[Key], load: LoadPicture, name: str, pasted: PastedTiles | None
) -> tuple[list[str], dict[Key, list[np.ndarray | str]]]:
    """Headings and tiles before the outputs."""
    if name == "interpolate":
        return [], {key: [] for key in series}
    files = {key: job.plan.files[key.expression] for key in series}
    return ["picture"], {key: [_shown(file, load, pasted)] for key, file in files.items()}


def _of_transfers(
    job: Job,
    series: dict[Key, dict[str, Path]],
    out: Path,
    load: LoadPicture,
    pasted: PastedTiles | None,
) -> tuple[list[str], dict[Key, list[np.ndarray | str]]]:
    """Headings and tiles before the outputs."""
    plan, kind = job.plan, method_class(method_names()[job.plan.method[0]]).reference_name
    has_sources = not all(_is_alone(job, key) for key in series)
    lead: dict[Key, list[np.ndarray | str]] = {}
    for key, made in series.items():
        of_source = reference_file(out, "source", plan.names[key.source])
        of_target = reference_file(out, "target", plan.names[key.target])
        source = None if _is_alone(job, key) else of_source
        only = _only_other(job, key)
        source_tile = (
            _tile(source, f"no {kind} picture")
            if pasted is None or only is None
            else pasted.face(only)
        )
        tiles = [source_tile] * has_sources
        edited = None if pasted is None else pasted.edited(made.values())
        tiles.append(_tile(of_target, f"no {kind} picture") if edited is None else edited)
        lead[key] = [_shown(plan.files[key.expression], load, pasted), *tiles]
    people = [f"source {kind}"] * has_sources + ["target" if pasted else f"target {kind}"]
    return ["expression", *people], lead


def _only_other(job: Job, key: Key) -> str | None:
    """The source's only picture beside the expression's; None if there are several or none."""
    others = [i for i in job.plan.pictures[key.source] if i != key.expression]
    return job.plan.files[others[0]] if len(others) == 1 else None


def _is_alone(job: Job, key: Key) -> bool:
    plan = job.plan
    rows = (plan.target == key.target) & (plan.expression == key.expression)
    return bool(job.alone[rows & (plan.source == key.source)].any())


def _spread(values: list[str], most: int) -> list[str]:
    """At most so many of the values, evenly, with the first and the last."""
    if len(values) <= most:
        return values
    places = np.linspace(0, len(values) - 1, most).round().astype(int)
    return [values[i] for i in places.tolist()]


def _shown(file: str, load: LoadPicture, pasted: PastedTiles | None) -> np.ndarray:
    """A picture that the job read."""
    return rgb(load(file)) if pasted is None else pasted.face(file)


def _output(file: Path | None, pasted: PastedTiles | None) -> np.ndarray | str:
    """An output, in its photograph where it was pasted."""
    found = None if pasted is None or file is None else pasted.result(file)
    return _tile(file, "not made") if found is None else found


def _tile(file: Path | None, otherwise: str) -> np.ndarray | str:
    """The picture in a file, or words where there is none."""
    return read_image(file) if file is not None and file.exists() else otherwise


def grid(
    rows: Sequence[Sequence[np.ndarray | str]],
    header: Sequence[str],
    labels: Sequence[str],
    tile_px: int = MIN_TILE_PX,
) -> np.ndarray:
    """Lay out uint8 (H, W, 3) tiles with a heading over every column and a label under rows.

    Args:
        rows: the tiles, a picture at least; words stand in a cell without one. All become as large
            as the first.
        header: a heading for each column.
        labels: a label for each row.
        tile_px: smallest side of a tile, to which smaller ones are enlarged by a whole number.
    """
    height, width = next(t.shape[:2] for row in rows for t in row if not isinstance(t, str))
    scale = max(1, -(-tile_px // min(height, width)))
    tile_h, tile_w = height * scale, width * scale
    step_y, step_x = tile_h + LABEL_PX + GAP_PX, tile_w + GAP_PX
    top = LABEL_PX + GAP_PX
    sheet = Image.new("RGB", (GAP_PX + step_x * len(header), top + step_y * len(rows)), BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for column, text in enumerate(header):
        draw.text((GAP_PX + column * step_x, 6), drawable(text), INK, font)
    for r, (row, label) in enumerate(zip(rows, labels, strict=True)):
        y = top + r * step_y
        for column, tile in enumerate(row):
            x = GAP_PX + column * step_x
            if isinstance(tile, str):
                middle = x + tile_w / 2, y + tile_h / 2
                draw.text(middle, tile, QUIET, font, anchor="mm")
                continue
            picture = Image.fromarray(tile).resize((tile_w, tile_h), Image.Resampling.BICUBIC)
            sheet.paste(picture, (x, y))
        draw.text((GAP_PX, y + tile_h + 2), drawable(label), INK, font)
    return np.asarray(sheet)


def rgb(pixels: np.ndarray) -> np.ndarray:
    """A picture (H, W, 1 or 3) with three channels."""
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
