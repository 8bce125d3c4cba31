"""A sheet that shows what each Action Unit does to a face of a person who does not exist."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from transfer.codec import to_bytes
from transfer.expression.action_units import ACTION_UNITS, COMBINATIONS
from transfer.expression.model import ExpressionModel
from transfer.expression.paint import with_expression
from transfer.jobs.sheet import GAP_PX, grid

PERSON = Path(__file__).parent / "demo" / "people" / "person-41" / "neutral-6.png"
COLUMNS = 2  # blocks of rows side by side
HEADER = ("picture", "lowest", "0.5", "1")


def au_sheet(model: ExpressionModel, picture: np.ndarray) -> np.ndarray:
    """One row for each unit and combination: the picture, the lowest activation, 0.5, and 1.

    Args:
        model: expressions.
        picture: uint8 (H, W, 3), an aligned face with a neutral expression.

    Returns:
        uint8 (H', W', 3).
    """
    labels, activations = zip(*_rows(model.aus), strict=True)
    rows = [[picture, *_painted(model, picture, np.stack(some))] for some in activations]
    height = -(-len(rows) // COLUMNS)
    blocks = [
        grid(rows[start : start + height], HEADER, labels[start : start + height])
        for start in range(0, len(rows), height)
    ]
    tallest = max(len(block) for block in blocks)
    filled = [np.pad(b, ((0, tallest - len(b)), (0, 4 * GAP_PX), (0, 0)), "edge") for b in blocks]
    return np.concatenate(filled, 1)


def _rows(aus: tuple[str, ...]) -> Iterator[tuple[str, list[np.ndarray]]]:
    """A label, and the activations (A,) to show, of each row."""
    for name in aus:
        unit = ACTION_UNITS.get(name)
        low = unit.low if unit else -0.5
        label = f"{name}  {unit.word}, lowest {low:g}" if unit else name
        yield label, [np.float32(level) * _one(aus, (name,)) for level in (low, 0.5, 1)]
    for word, names in COMBINATIONS.items():
        if set(names) <= set(aus):
            some = [np.float32(level) * _one(aus, names) for level in (0, 0.5, 1)]
            yield f"{word}: {', '.join(names)}, lowest 0", some


def _one(aus: tuple[str, ...], names: tuple[str, ...]) -> np.ndarray:
    return np.array([name in names for name in aus], np.float32)


def _painted(model: ExpressionModel, picture: np.ndarray, activations: np.ndarray) -> np.ndarray:
    images = np.repeat(picture[None], len(activations), 0)
    return to_bytes(with_expression(model, images, activations))
