"""A contact sheet of a job: what went in, the means, and the outputs by alpha."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from glow_jax.images import read_image
from transfer.job import Job
from transfer.run import mean_file

MIN_TILE_PX = 128
GAP_PX = 6
LABEL_PX = 22
INK, PAPER = (30, 30, 34), (250, 250, 248)


def job_sheet(job: Job, out: Path) -> np.ndarray:
    """One row for each target and expression, labelled.

    Columns: the source with the expression, the source mean, the target mean, then the
    outputs by alpha.

    Args:
        job: a finished job.
        out: its folder.

    Returns:
        uint8 (H, W, 3).
    """
    outputs = {(i.target.name, i.expression.sha256, i.alpha): out / i.file for i in job.items}
    kind = "mean" if job.method == "paper" else "neutral"
    header = [
        "expression",
        f"source {kind}",
        f"target {kind}",
        *(f"alpha {a:g}" for a in job.alphas),
    ]
    source_mean = read_image(mean_file(out, "source", job.source))
    rows, labels = [], []
    for target in job.targets:
        target_mean = read_image(mean_file(out, "target", target))
        for shot in job.expressions:
            made = [read_image(outputs[target.name, shot.sha256, a]) for a in job.alphas]
            rows.append([_rgb(shot.pixels), source_mean, target_mean, *made])
            labels.append(f"{shot.path.stem} on {target.name}")
    return grid(rows, header, labels)


def grid(
    rows: Sequence[Sequence[np.ndarray]], header: Sequence[str], labels: Sequence[str]
) -> np.ndarray:
    """Lay out uint8 (H, W, 3) tiles with a heading over every column and a label under rows."""
    height, width = rows[0][0].shape[:2]
    scale = max(1, -(-MIN_TILE_PX // min(height, width)))
    tile_h, tile_w = height * scale, width * scale
    step_y, step_x = tile_h + LABEL_PX + GAP_PX, tile_w + GAP_PX
    top = LABEL_PX + GAP_PX
    sheet = Image.new("RGB", (GAP_PX + step_x * len(header), top + step_y * len(rows)), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for column, text in enumerate(header):
        draw.text((GAP_PX + column * step_x, 6), text, INK, font)
    for r, (row, label) in enumerate(zip(rows, labels, strict=True)):
        y = top + r * step_y
        for column, tile in enumerate(row):
            picture = Image.fromarray(tile).resize((tile_w, tile_h), Image.Resampling.BICUBIC)
            sheet.paste(picture, (GAP_PX + column * step_x, y))
        draw.text((GAP_PX, y + tile_h + 2), label, INK, font)
    return np.asarray(sheet)


def _rgb(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
