"""Pictures of the truth benchmark: contact sheets, and the frontier of identity and expression."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bench import plots
from bench.plots import Interval, known
from bench.truth.names import shown_as
from bench.truth.scores import Output, Reference
from bench.truth.tables import BASELINES, Row, value_at
from glow_jax.io.messages import counted
from transfer.jobs.sheet import grid

ENDS = tuple(map(shown_as, ("none", "oracle")))  # the bounds of methods; named in the plot


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

    One curve per method over alpha, with the bootstrap interval of each gain; a square for a
    method without a curve. No transfer can be nearer to the photographs than the oracle's point is,
    since an expression moves embeddings too.

    Args:
        rows: of `tables.table`.
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
    of = f"{setting} setting"
    if k is not None:
        of += f", {counted(k, 'picture')} of each person"
    return plots.frontier(
        f"{of[0].upper()}{of[1:]}; numbers are alpha",
        "distance to the target's photographs (DeepFace, Dlib)",
        "AU gain against the truth",
        curves,
        ends=[name for name in curves if name in ENDS],
    )


def _curves(rows: Sequence[Row], setting: str, k: int | None) -> dict[str, list[Interval]]:
    """Points of each method and k, by alpha; k is named where the methods differ in it."""
    chosen = [
        row
        for row in rows
        if row["setting"] == setting and (k is None or row["k"] == k or row["method"] in BASELINES)
    ]
    many = len({row["k"] for row in chosen if row["method"] not in BASELINES}) > 1
    curves: dict[str, list[tuple[float, Interval]]] = {}
    for row in chosen:
        x, y = known(row["to_target"]), known(value_at(row, "vs_truth.gain"))
        if x is None or y is None:
            continue
        low, high = map(known, value_at(row, "vs_truth.gain_95"))
        alpha = known(row["alpha"]) or 0.0
        point = Interval(x, y, y if low is None else low, y if high is None else high, f"{alpha:g}")
        name = shown_as(row["method"])
        if many and name not in ENDS:
            name = f"{name}, {counted(row['k'], 'picture')}"
        curves.setdefault(name, []).append((alpha, point))
    return {
        name: [point for _, point in sorted(curve, key=lambda pair: pair[0])]
        for name, curve in curves.items()
    }


def write_png(picture: np.ndarray, path: Path) -> None:
    """Save a picture of generated and rendered faces with its provenance; makes the folder."""
    from glow_jax.io.pictures import write_image
    from glow_jax.io.provenance import Provenance

    path.parent.mkdir(parents=True, exist_ok=True)
    recipe = {"made_by": "python -m bench.truth"}
    write_image(
        path, picture, Provenance("compositeWithTrainedAlgorithmicMedia", "several", recipe)
    )
