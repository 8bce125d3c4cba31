"""A contact sheet of a job: expressions, reference pictures, and the outputs by alpha."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from glow_jax.io.pictures import read_image
from glow_jax.io.terminal import printable
from transfer.jobs.alphas import AUTO
from transfer.jobs.job import Job
from transfer.jobs.prefetch import LoadPicture
from transfer.jobs.references import reference_file
from transfer.methods import method_class, method_names

MIN_TILE_PX = 128
GAP_PX = 6
LABEL_PX = 22
INK, QUIET, BACKGROUND = (30, 30, 34), (110, 110, 116), (250, 250, 248)


def job_sheet(job: Job, out: Path, load: LoadPicture) -> np.ndarray:
    """One row for each target and expression, labelled.

    Columns: the picture of the expression, the reference pictures of source and target, then the
    outputs by alpha. A cell without a picture says why. Where no source has another picture than
    the expression's, the column of source references is left out. The label marks expressions
    that were estimated absolutely.

    Args:
        job: a finished job of one method, with an output at least.
        out: its folder.
        load: a path to pixels, as the job was run with.

    Returns:
        uint8 (H, W, 3).
    """
    plan, series = job.plan, dict[tuple[int, int, int], dict[str, Path]]()
    alone = set[tuple[int, int, int]]()
    for row in np.sort(job.order).tolist():
        item = job.item(row)
        key = (int(plan.target[row]), int(plan.expression[row]), int(plan.source[row]))
        if job.alone[row]:
            alone.add(key)
        if (out / item.file).exists():
            alpha = AUTO if np.isnan(item.alpha) else f"{item.alpha:g}"
            series.setdefault(key, {})[alpha] = out / item.file
    alphas = list(dict.fromkeys(alpha for made in series.values() for alpha in made))
    kind = method_class(method_names()[plan.method[0]]).reference_name
    has_sources = not alone.issuperset(series)
    people = [f"source {kind}"] * has_sources + [f"target {kind}"]
    header = ["expression", *people, *(f"alpha {a}" for a in alphas)]
    rows, labels = [], []
    for (target, picture, source), made in series.items():
        shown = _rgb(load(plan.files[picture]))
        is_alone = (target, picture, source) in alone
        of_source = None if is_alone else reference_file(out, "source", plan.names[source])
        of_target = reference_file(out, "target", plan.names[target])
        references = [_tile(of_source, f"no {kind} picture")] * has_sources
        references.append(_tile(of_target, f"no {kind} picture"))
        rows.append([shown, *references, *(_tile(made.get(a), "not made") for a in alphas)])
        absolute = " (estimated absolutely)" if is_alone else ""
        label = f"{Path(plan.files[picture]).stem} on {plan.names[target]}{absolute}"
        labels.append(printable(label))
    return grid(rows, header, labels)


def _tile(file: Path | None, otherwise: str) -> np.ndarray | str:
    """The picture in a file, or words where there is none."""
    return read_image(file) if file is not None and file.exists() else otherwise


def grid(
    rows: Sequence[Sequence[np.ndarray | str]], header: Sequence[str], labels: Sequence[str]
) -> np.ndarray:
    """Lay out uint8 (H, W, 3) tiles with a heading over every column and a label under rows.

    Args:
        rows: the tiles, all of one size, a picture at least; words stand in a cell without one.
        header: a heading for each column.
        labels: a label for each row.
    """
    height, width = next(t.shape[:2] for row in rows for t in row if not isinstance(t, str))
    scale = max(1, -(-MIN_TILE_PX // min(height, width)))
    tile_h, tile_w = height * scale, width * scale
    step_y, step_x = tile_h + LABEL_PX + GAP_PX, tile_w + GAP_PX
    top = LABEL_PX + GAP_PX
    sheet = Image.new("RGB", (GAP_PX + step_x * len(header), top + step_y * len(rows)), BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for column, text in enumerate(header):
        draw.text((GAP_PX + column * step_x, 6), text, INK, font)
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
        draw.text((GAP_PX, y + tile_h + 2), label, INK, font)
    return np.asarray(sheet)


def _rgb(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
