"""Crops of photographs: the transform from a photograph to an aligned crop, and its resampling.

Faces are aligned as in CelebA-HQ (`glow_jax.io.landmarks68.crop_transform`).

Beyond its borders the photograph is extended by its reflection, which is blurred more the farther
out it is. Where a crop is smaller than its square in the photograph, a triangle filter two crop
pixels wide is used. It aliases little, does not ring, and is the usual filter that is most similar
to that of the renders on which `faces64` was trained.

A point is (right, down) in pixels; (0.5, 0.5) is the centre of the first pixel. A transform is an
affine map (2, 3) from a photograph's pixels to sides of the crop (0-1). Pure functions of arrays.

Source: NVlabs/ffhq-dataset `download_ffhq.py` (the extension).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

Pixels = UInt8[np.ndarray, "H W 3"]
Crop = UInt8[np.ndarray, "S S 3"]
Points = Float[np.ndarray, "N 2"]
Transform = Float[np.ndarray, "2 3"]

# Photograph pixels per crop pixel before the last resampling; more are averaged first.
SAMPLES_PER_PIXEL = 3
BORDER = 0.1  # sides of the crop that are read around the square, for the filters
MIN_REFLECTION = 0.3  # width of a reflection, in sides of the crop
REFLECTION_BLUR = 0.02  # sigma of a reflection's blur, in sides of the crop


def side_of(transform: Transform) -> float:
    """The side of a crop, pixels of the photograph."""
    return float(1 / np.sqrt(np.linalg.det(transform[:, :2])))


def transform_points(points: Points, transform: Transform) -> Points:
    """(N, 2) points, transformed."""
    return points @ transform[:, :2].T + transform[:, 2]


def inverse(transform: Transform) -> Transform:
    """The transform from sides of the crop back to the photograph's pixels."""
    back = np.linalg.inv(transform[:, :2])
    return np.column_stack([back, -back @ transform[:, 2]])


def crop(photograph: Pixels, transform: Transform, size: int) -> Crop:
    """The crop of a photograph, uint8 (size, size, 3).

    Memory grows with `size`, not with the side of the square in the photograph.

    Args:
        photograph: uint8 RGB.
        transform: from its pixels to sides of the crop.
        size: side of the crop, pixels.

    Raises:
        ValueError: the whole square is outside the photograph.
    """
    side, back = side_of(transform), inverse(transform)
    corners = transform_points(np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]), back)
    border = max(BORDER * side, 3.0)
    low = np.floor(corners.min(0) - border).astype(int)
    high = np.ceil(corners.max(0) + border).astype(int)
    ends = np.array(photograph.shape[1::-1])
    start, stop = np.clip(low, 0, ends), np.clip(high, 0, ends)
    if (start >= stop).any():
        raise ValueError("the face is outside the photograph")
    inside = photograph[start[1] : stop[1], start[0] : stop[0]]
    whole = Image.fromarray(np.ascontiguousarray(inside))
    shrunk = max(1.0, side / size / SAMPLES_PER_PIXEL)
    part = whole.resize([max(1, round(n / shrunk)) for n in whole.size], Image.Resampling.LANCZOS)
    scale = np.array(part.size) / whole.size
    missing = np.ceil(np.concatenate([start - low, high - stop]) * np.tile(scale, 2)).astype(int)
    pixels, added = _extended(np.asarray(part, np.float32), missing.tolist(), side / shrunk)
    n = size * max(1, int(np.ceil(side / shrunk / size - 1e-6)))
    turn = back[:, :2] * scale[:, None] / n
    shift = (back[:, 2] - start) * scale + added
    coefficients = (*turn[0], shift[0], *turn[1], shift[1])
    channels = []
    for channel in np.moveaxis(pixels, 2, 0):  # as floats, because Pillow rounds bytes down
        sampled = Image.fromarray(np.ascontiguousarray(channel)).transform(
            (n, n), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC
        )
        channels.append(np.asarray(sampled.resize((size, size), Image.Resampling.BILINEAR)))
    return np.clip(np.rint(np.stack(channels, -1)), 0, 255).astype(np.uint8)


def _extended(
    part: Float[np.ndarray, "H W 3"], missing: Sequence[int], side: float
) -> tuple[Float[np.ndarray, "H2 W2 3"], tuple[int, int]]:
    """A part of a photograph, extended by its blurred reflection where the photograph ends.

    Args:
        part: a part of the photograph, which ends at the photograph's border on every side where
            pixels are missing.
        missing: number of pixels missing at the left, top, right and bottom.
        side: side of the crop, pixels of `part`.

    Returns:
        The extended part, and the numbers of pixels added at the left and top.
    """
    width_px = round(MIN_REFLECTION * side)
    left, top, right, bottom = (max(n, width_px) if n > 0 else 0 for n in missing)
    if not max(left, top, right, bottom):
        return part, (0, 0)
    from scipy import ndimage  # late: imports of scipy take a tenth of a first call

    wide = np.pad(part, ((top, bottom), (left, right), (0, 0)), "reflect")
    height, width = wide.shape[:2]
    row, column = np.arange(height)[:, None], np.arange(width)[None]
    # depth: 0 at the photograph's border, 1 at the outer end of the reflection, negative inside
    depth = np.full((height, width), -np.inf, np.float32)
    distances = (column, row, width - 1 - column, height - 1 - row)
    for n, distance in zip((left, top, right, bottom), distances, strict=True):
        if n:
            depth = np.maximum(depth, 1 - distance / np.float32(n))
    blurred = ndimage.gaussian_filter(wide, (REFLECTION_BLUR * side, REFLECTION_BLUR * side, 0))
    wide += (blurred - wide) * np.clip(3 * depth + 1, 0, 1)[..., None]
    middle = np.median(part, axis=(0, 1)).astype(np.float32)
    wide += (middle - wide) * np.clip(depth, 0, 1)[..., None]
    return wide, (left, top)
