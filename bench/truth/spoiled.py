"""Pictures as poor as people's are: small, compressed, in odd light, or noisy."""

import io

import numpy as np
from PIL import Image

SMALL_PX, SMALL_QUALITY = 88, 75  # a face of about 50 pixels, as JPEG
QUALITY = 30  # of JPEG at full size
NOISE = 14.0  # standard deviation, grey levels
# Bounds of light: factor of all, factors of each channel, and exponent; at the middle of two
# opposite sides the light is brighter and darker by PLANE.
EXPOSURE, CAST, GAMMA, PLANE = (0.55, 1.25), (0.85, 1.15), (0.8, 1.3), 0.25

KINDS = ("small", "jpeg", "light", "noise")


def spoiled(kind: str, rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """A worse copy of a picture, uint8 (S, S, 3).

    Args:
        kind: one of KINDS.
        rng: for "light" and "noise".
        picture: uint8 (S, S, 3).
    """
    if kind == "small":
        less = Image.fromarray(picture).resize((SMALL_PX, SMALL_PX), Image.Resampling.BICUBIC)
        small = Image.fromarray(_compressed(less, SMALL_QUALITY))
        return np.asarray(small.resize(picture.shape[1::-1], Image.Resampling.BICUBIC))
    if kind == "jpeg":
        return _compressed(Image.fromarray(picture), QUALITY)
    values = picture.astype(float)
    if kind == "light":
        angle, along = rng.uniform(0, 2 * np.pi), np.linspace(-1, 1, len(picture))
        light = np.cos(angle) * along[None, :, None] + np.sin(angle) * along[:, None, None]
        factors = rng.uniform(*EXPOSURE) * rng.uniform(*CAST, 3) * (1 + PLANE * light)
        values = 255 * (values / 255) ** rng.uniform(*GAMMA) * factors
    else:
        values += rng.normal(0, NOISE, values.shape)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _compressed(image: Image.Image, quality: int) -> np.ndarray:
    kept = io.BytesIO()
    image.save(kept, "JPEG", quality=quality)
    with Image.open(kept) as again:
        return np.asarray(again.convert("RGB"))
