"""FHOG: Felzenszwalb's 31-channel histograms of oriented gradients, as dlib computes them.

Each pixel's gradient (central differences, the colour channel where it is longest) goes to one
of 18 orientations, shared bilinearly among the four nearest cells. Every cell is normalised by
the energy of the four blocks of 2 x 2 cells that hold it, clipped, and summed to 18 signed
orientations, 9 unsigned ones and 4 of texture. The outermost cells are dropped.

Source: Felzenszwalb et al., Object Detection with Discriminatively Trained Part-Based Models,
2010, section 6; dlib `image_transforms/fhog.h: impl_extract_fhog_features`.
"""

import functools

import numpy as np

ORIENTATIONS = 18
CHANNELS = 31
# dlib's rounded unit vectors, which determine the orientation of a gradient.
COS = np.array([1, 0.9397, 0.7660, 0.5, 0.1736, -0.1736, -0.5, -0.7660, -0.9397], np.float32)
SIN = np.array([0, 0.3420, 0.6428, 0.8660, 0.9848, 0.9848, 0.8660, 0.6428, 0.3420], np.float32)
TINY = 1e-4


def fhog(image: np.ndarray, cell: int = 8) -> np.ndarray:
    """FHOG of a picture.

    Args:
        image: (H, W, 3), any number type, any range (the features depend on contrast only through
            `TINY`, which is chosen for 0-255).
        cell: side of a cell, pixels.

    Returns:
        (H // cell - 2, W // cell - 2, 31) float32, sizes rounded to whole cells.
    """
    pixels = np.asarray(image, np.float32)
    rows, columns = (int(n / cell + 0.5) for n in pixels.shape[:2])
    orientation, length = _gradients(pixels)
    height, width = length.shape
    signed = np.arange(ORIENTATIONS)[:, None, None] == orientation
    votes = np.where(signed, length, np.float32(0))
    down = _shares(height, rows, cell)
    across = _shares(width, columns, cell)
    histogram = down @ votes @ across.T
    return _normalised(histogram.transpose(1, 2, 0))


def _gradients(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orientation (0-17) and length of the gradient at each pixel except those of the border."""
    dx = pixels[1:-1, 2:] - pixels[1:-1, :-2]
    dy = pixels[2:, 1:-1] - pixels[:-2, 1:-1]
    longest = (dx * dx + dy * dy).argmax(-1, keepdims=True)
    dx = np.take_along_axis(dx, longest, -1)
    dy = np.take_along_axis(dy, longest, -1)
    dots = dx * COS + dy * SIN
    # Opposite orientations come last, so of two equal ones the first is used, as in dlib.
    both = np.stack([dots, -dots], -1).reshape(*dots.shape[:2], ORIENTATIONS)
    best = both.argmax(-1)
    return best // 2 + 9 * (best % 2), np.sqrt(dx * dx + dy * dy)[..., 0]


@functools.cache
def _shares(pixels: int, cells: int, cell: int) -> np.ndarray:
    """The share of each inner pixel's gradient that each cell gets: (cells, pixels)."""
    position = (np.arange(1, pixels + 1) + 0.5) / cell - 0.5
    distance = np.abs(np.arange(cells)[:, None] - position)
    return np.maximum(0, 1 - distance).astype(np.float32)


def _normalised(histogram: np.ndarray) -> np.ndarray:
    """(rows, columns, 18) histograms to (rows - 2, columns - 2, 31) features."""
    unsigned = histogram[..., :9] + histogram[..., 9:]
    energy = (unsigned**2).sum(-1)
    block = energy[:-1, :-1] + energy[1:, :-1] + energy[:-1, 1:] + energy[1:, 1:]
    limit = 0.2 * np.sqrt(block + TINY)
    # The blocks that contain an inner cell: below right, above right, below left, above left.
    limits = np.stack([limit[1:, 1:], limit[:-1, 1:], limit[1:, :-1], limit[:-1, :-1]], -1)
    limits = limits[:, :, None]
    gains = 0.1 / limits
    inner = np.s_[1:-1, 1:-1, :, None]
    signed = np.minimum(histogram[inner], limits) * gains
    plain = np.minimum(unsigned[inner], limits) * gains
    texture = signed.sum(2) * (2 * 0.2357)
    return np.concatenate([signed.sum(-1), plain.sum(-1), texture], -1)
