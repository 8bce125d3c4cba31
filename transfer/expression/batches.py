"""Batches of one size, so that a compiled function sees one shape."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

BATCH_SIZE = 64


def batches(n: int) -> list[slice]:
    """Slices of BATCH_SIZE that cover n rows; the last one may be shorter."""
    return [slice(start, min(start + BATCH_SIZE, n)) for start in range(0, n, BATCH_SIZE)]


def fill(batch: np.ndarray) -> np.ndarray:
    """A batch filled up to BATCH_SIZE rows with copies of its first row."""
    return np.concatenate([batch, np.repeat(batch[:1], BATCH_SIZE - len(batch), axis=0)])


def in_batches(function: Callable[[jax.Array], Any], images: np.ndarray) -> Any:
    """What a function gives for rows, computed batch by batch: NumPy arrays of N rows.

    Args:
        function: of BATCH_SIZE rows, whose array, or arrays in a tuple, have a row for each.
        images: (N, ...), N at least 1.
    """

    def of(batch: np.ndarray) -> Any:
        found = function(jnp.asarray(fill(batch)))
        return jax.tree.map(lambda a: np.asarray(a)[: len(batch)], found)

    parts = [of(images[batch]) for batch in batches(len(images))]
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
