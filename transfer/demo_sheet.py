"""The sheet of the demo: each expression on each target by each method, in full photographs."""

from pathlib import Path

import numpy as np
from PIL import Image

from glow_jax.io.output_schema import PASTED_TABLE, RESULTS
from glow_jax.io.pictures import read_image, write_image
from glow_jax.io.provenance import Provenance, read_provenance
from glow_jax.io.tables import read_rows
from transfer.complete import SHEET
from transfer.jobs.sheet import grid

TILE_PX = 192


def write_demo_sheet(out: Path, source: Path) -> Path | None:
    """Write OUT/sheet.png of a batch whose outputs were pasted back; None if none was made.

    The first row shows the source and the targets. Each other row shows the picture of an
    expression and then, for each target, one output by each method.

    Args:
        out: the batch's folder.
        source: a picture of the source without an expression.

    Raises:
        InputError: a picture cannot be read.
        OutputError: the sheet cannot be written.
    """
    results = {row["id"]: row for row in read_rows(out / RESULTS)}
    pasted = [results[row["id"]] | row for row in read_rows(out / PASTED_TABLE)]
    if not pasted:
        return None
    shown = {(r["expression"], r["photograph"], r["method"]): out / r["pasted"] for r in pasted}
    alphas = {row["method"]: f"{row['method']}, alpha {float(row['alpha']):g}" for row in pasted}
    expressions, targets, methods = (list(dict.fromkeys(part)) for part in zip(*shown, strict=True))
    first: list[np.ndarray | str] = [_tile(source)]
    for target in targets:
        first += [_tile(Path(target)), *[""] * (len(methods) - 1)]
    rows = [first]
    for expression in expressions:
        keys = [(expression, target, method) for target in targets for method in methods]
        files = [shown.get(key) for key in keys]
        rows.append([_tile(Path(expression)), *map(_tile_or_words, files)])
    heading = ["expression", *([alphas[method] for method in methods] * len(targets))]
    labels = ["source and targets", *(Path(expression).stem for expression in expressions)]
    made = read_provenance(next(iter(shown.values())))
    assert made is not None, "pasted photographs have a record"
    record = Provenance(made.source_type, made.model, {"job": [row["id"] for row in pasted]})
    write_image(out / SHEET, grid(rows, heading, labels), record)
    return out / SHEET


def _tile_or_words(file: Path | None) -> np.ndarray | str:
    return "not made" if file is None else _tile(file)


def _tile(file: Path) -> np.ndarray:
    picture = Image.fromarray(read_image(file))
    return np.asarray(picture.resize((TILE_PX, TILE_PX), Image.Resampling.LANCZOS))
