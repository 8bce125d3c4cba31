"""Batches of one size, so that a compiled function sees one shape."""

import numpy as np

BATCH_SIZE = 64


def batches(n: int) -> list[slice]:
    """Slices of BATCH_SIZE that cover n rows; the last one may be shorter."""
    return [slice(start, min(start + BATCH_SIZE, n)) for start in range(0, n, BATCH_SIZE)]


def fill(batch: np.ndarray) -> np.ndarray:
    """A batch filled up to BATCH_SIZE rows with copies of its first row."""
    return np.concatenate([batch, np.repeat(batch[:1], BATCH_SIZE - len(batch), axis=0)])
