"""Features of a face's landmarks: edges in a small square around each of them, and their shape.

The edges are histograms of oriented gradients, as in `transfer.expression.features`. They are at
the landmarks themselves, and so show by how much each of them is beside its place (as in the
supervised descent method; Xiong & De la Torre 2013).
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from glow_jax.io.landmarks68 import N_LANDMARKS
from transfer.expression.features import (
    CELL,
    N_ORIENTATIONS,
    bilinear,
    histograms,
    luma_of,
    placed,
    shape_of,
)

SIDE = 12  # pixels of a square
N_PATCH_FEATURES = N_LANDMARKS * (N_ORIENTATIONS * (SIDE // CELL) ** 2 + 2)


def patch_features(
    images: UInt8[Array, "B H W 3"],
    landmarks: Float[Array, "B 68 2"],
    template: np.ndarray | Array,
    scale: float | Array,
) -> tuple[Float[Array, "B F"], Float[Array, "B 2 2"]]:
    """The features of landmarks, F = N_PATCH_FEATURES, in which left and right differ.

    Args:
        images: RGB bytes, of any size.
        landmarks: right and down, in sides of the picture.
        template: (68, 2) of `transfer.expression.features.make_template`.
        scale: pixels of the squares per distance between the eyes: the larger, the finer.

    Returns:
        The features, and rotation times scale from the template to the picture, pixels.
    """
    luma = luma_of(images.astype(jnp.float32))
    points, turn, shift = placed(luma, landmarks, template)
    down, right = np.mgrid[:SIDE, :SIDE].astype(np.float32) + 0.5 - SIDE / 2
    square = jnp.asarray(np.stack([right, down], -1)) / scale
    place = jnp.einsum("bij,hwj->bhwi", turn, square, precision="highest")
    place = place[:, None] + points[:, :, None, None]
    edges = histograms(bilinear(luma, place).reshape(-1, SIDE, SIDE))
    parts = edges.reshape(len(luma), -1), shape_of(points, turn, shift, template)
    return jnp.concatenate(parts, 1), turn
