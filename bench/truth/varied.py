"""Copies of a picture of a face that differ as photographs of one person do: in crop and in light.

Not in expression, and not in pose beyond a turn in the plane of the picture.
"""

import numpy as np
from PIL import Image

ZOOM, TURN, SHIFT = 0.04, 4.0, 0.02  # at most: of the scale, degrees, shares of the side
GAMMA, TINT = 0.25, 0.06  # largest logarithm of the exponent; deviation of each colour's factor
PLANE = 0.15  # light from a side: at most this share brighter there, of each of two sides


def varied(rng: np.random.Generator, picture: np.ndarray, side: int) -> np.ndarray:
    """A copy, uint8 (side, side, 3), of a picture of a face, uint8 (S, S, 3), of any side S.

    It is mirrored or not, turned, scaled, moved, and lit anew.
    """
    n = len(picture)
    scale, angle = 1 + rng.uniform(-ZOOM, ZOOM), np.deg2rad(rng.uniform(-TURN, TURN))
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    right, down = n / 2 * (1 - cos) + n * rng.uniform(-SHIFT, SHIFT, 2)
    turn = (cos, sin, right - n / 2 * sin, -sin, cos, down + n / 2 * sin)
    image = Image.fromarray(picture).transform(
        (n, n), Image.Transform.AFFINE, turn, Image.Resampling.BICUBIC
    )
    values = np.asarray(image.resize((side, side), Image.Resampling.LANCZOS), float) / 255
    values = values ** np.exp(rng.uniform(-GAMMA, GAMMA)) * (1 + TINT * rng.normal(size=3))
    along = np.linspace(-1, 1, side)
    across, downwards = rng.uniform(-PLANE, PLANE, 2)
    values *= (1 + across * along[None] + downwards * along[:, None])[..., None]
    if rng.random() < 0.5:
        values = values[:, ::-1]
    return np.clip(np.rint(values * 255), 0, 255).astype(np.uint8)
