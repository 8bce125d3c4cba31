"""The log of a training run: a table, pictures, TensorBoard's events.

A resumed run removes the rows that were logged after its checkpoint, so that every step is in the
log once.
"""

import contextlib
import csv
import importlib
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glow_jax import pixels
from glow_jax.io import output_folders
from glow_jax.io.errors import InputError
from glow_jax.io.files import read_bytes, write_atomically
from glow_jax.io.messages import install_hint, one_line, reason
from glow_jax.io.pictures import tiled, write_image
from glow_jax.io.provenance import Provenance
from glow_jax.model import Glow
from glow_jax.prior import draw_eps

FIELDS = [
    "step",
    "bits_per_dim",
    "gradient_norm",
    "learning_rate",
    "images_per_second",
    "held_out_bits_per_dim",
    "condition_number",
    "skipped_steps",
]
TEMPERATURE = 0.7
NO_TENSORBOARD = (
    "TensorBoard's events are not written, the figures are in log.csv (tensorboardX is not "
    f"installed: {install_hint('train')})"
)
Row = dict[str, Any]


# -- the table


def rows_up_to(file: Path, step: int) -> list[dict[str, str]]:
    """The whole rows of a log up to `step`; none if there is no log."""
    if not os.path.lexists(file):
        return []
    text = io.StringIO(read_bytes(file).decode(errors="replace"), newline="")
    try:
        rows = [r for r in csv.DictReader(text) if None not in r.values() and list(r) == FIELDS]
    except csv.Error as error:
        raise InputError(f"{one_line(file)}: {reason(error)}") from None
    return [r for r in rows if re.fullmatch(r"\d{1,18}", r["step"]) and int(r["step"]) <= step]


def truncate(file: Path, step: int) -> None:
    """Drop rows that a killed run logged after its last checkpoint."""
    kept = io.StringIO(newline="")
    writer = csv.DictWriter(kept, FIELDS)
    writer.writeheader()
    writer.writerows(rows_up_to(file, step))
    write_atomically(file, kept.getvalue().encode())


def append(file: Path, row: Row) -> None:
    """Add a row to the log."""
    text = io.StringIO(newline="")
    csv.DictWriter(text, FIELDS).writerow({k: _text(v) for k, v in row.items()})
    output_folders.append(file, text.getvalue().encode())


def _text(value: int | float) -> str:
    if isinstance(value, int):
        return str(value)
    return f"{value:.5f}" if abs(value) >= 0.01 or value == 0 else f"{value:.5g}"


# -- pictures


def pictures(model: Glow, originals: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Two sheets of a model's pictures, with as many samples as there are originals.

    samples: at temperature 0.7, from the same noise for the same seed.
    reconstructions: pairs of rows, the originals at the model's bits and, below, their
    reconstructions; a difference shows that the flow is numerically not invertible.
    """
    n, n_bits = len(originals), model.config.n_bits
    columns = max(1, round(np.sqrt(n)))
    drawn = draw_eps(jax.random.key(seed), model.config.latent_shapes, n, TEMPERATURE, model.dtype)
    eps = model.encode(jnp.asarray(originals), n_bits=n_bits)
    both = tuple(jnp.concatenate(pair) for pair in zip(drawn, eps, strict=True))
    samples, back = np.split(np.asarray(pixels.to_uint8(model.decode_x(both), n_bits)), 2)
    step = np.uint8(2 ** (8 - n_bits))
    pairs = [
        np.concatenate([originals[i : i + columns] // step * step, back[i : i + columns]])
        for i in range(0, n - n % columns, columns)
    ]
    return {
        "samples": tiled(samples, columns),
        "reconstructions": tiled(np.concatenate(pairs), columns),
    }


def write_pictures(folder: Path, step: int, sheets: Mapping[str, np.ndarray], seed: int) -> None:
    """Write a step's sheets as PNG files with their provenance."""
    for name, sheet in sheets.items():
        made = "trained" if name == "samples" else "compositeWithTrained"
        recipe = {"step": step, "seed": seed, "temperature": TEMPERATURE}
        provenance = Provenance(f"{made}AlgorithmicMedia", "in training", recipe)  # type: ignore[arg-type]
        write_image(folder / f"{name}_{step:08d}.png", sheet, provenance)


# -- TensorBoard

Board = Callable[[Row, Mapping[str, np.ndarray]], None]


@contextlib.contextmanager
def tensorboard(folder: Path, step: int, note: Callable[[str], None]) -> Iterator[Board]:
    """A function that writes a row and its sheets as TensorBoard events.

    Args:
        folder: for its event files.
        step: step of the checkpoint from which the run is resumed; TensorBoard hides later events.
        note: called with one line where tensorboardX is missing.
    """
    try:
        writer = importlib.import_module("tensorboardX").SummaryWriter(
            str(folder), purge_step=step + 1
        )
    except ImportError:
        note(NO_TENSORBOARD)
        yield lambda row, sheets: None
        return

    def send(row: Row, sheets: Mapping[str, np.ndarray]) -> None:
        for name, value in row.items():
            if name != "step":
                writer.add_scalar(name, value, row["step"])
        for name, sheet in sheets.items():
            writer.add_image(name, sheet, row["step"], dataformats="HWC")
        writer.flush()

    try:
        yield send
    finally:
        writer.close()
