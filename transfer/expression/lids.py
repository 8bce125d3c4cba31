"""Closed lids: the line of lashes that is drawn where an expression shuts an eye.

A warp can only compress the eye that shows between two lids, never hide it: what is left of a shut
eye is a thin, reddish line. Along the line where the displaced lids meet, this module removes it
and adds the skin above the lid, darker where the lashes lie. Pure functions of arrays.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from glow_jax.io.landmarks68 import LOWER_EDGES, UPPER_EDGES
from transfer.expression.features import mean_colour
from transfer.expression.openings import between_eyes, smooth_step

Landmarks = Float[Array, "B 68 2"]

# Landmarks of the right and of the left eye: the corners, from left to right in the picture, the
# upper lids, and the lower lids below them; and, above the upper lids, of the brows.
CORNERS = np.array([[36, 39], [42, 45]])
UPPER, LOWER = (edges[:4].reshape(2, 2) for edges in (UPPER_EDGES, LOWER_EDGES))
BROWS = np.array([[19, 20], [23, 24]])
SKIN = 0.4  # where the colour of a lid is taken: share of the way from the lid to the brow
# Opening of the eye, as a share of its opening before, with which the line begins, and is whole.
OPEN, SHUT = 0.5, 0.3
WIDTH = 0.03  # half of the line's width, in distances between the eyes, beside half the opening
FULL = 1.6  # the line covers the eye wholly up to about 0.4 of its half width
LASHES = 0.65  # half of the lashes' width, as a share of WIDTH
SHADE = 0.45  # share of the skin's brightness that the lashes take
SHADOW = 0.85  # brightness of a shut lid, in that of the skin above it


def closed_lids(
    images: UInt8[Array, "B H W 3"], before: Landmarks, after: Landmarks, size: tuple[int, int]
) -> Float[Array, "B h w 4"]:
    """The lines of both eyes, as an edit of pictures whose landmarks were displaced.

    Args:
        images: before the expression, RGB bytes.
        before: landmarks of `images`, in sides of the picture.
        after: the same landmarks with the expression.
        size: (h, w), height and width of the result.

    Returns:
        Three channels to add, grey levels; the fourth is the share (0-1) of the picture that is
        removed. All are 0 where no eye shuts.
    """
    height, width = size
    row, column = jnp.meshgrid(
        (jnp.arange(height, dtype=after.dtype) + 0.5) / height,
        (jnp.arange(width, dtype=after.dtype) + 0.5) / width,
        indexing="ij",
    )
    places = jnp.stack([column, row], -1)[None]
    apart = jnp.linalg.norm(between_eyes(before), axis=-1)
    edit = jnp.zeros((len(after), height, width, 4), after.dtype)
    for eye in (0, 1):
        colour = _lid_colour(images, before, eye)[:, None, None]
        shut = _shut(before, after, eye)
        share, lashes = _line(places, after, eye, apart)
        share = share * shut[:, None, None]
        painted = SHADOW * colour * (1 - SHADE * lashes[..., None])
        edit += jnp.concatenate([share[..., None] * painted, share[..., None]], -1)
    return edit


def _opening(landmarks: Landmarks, eye: int) -> Float[Array, " B"]:
    """The mean distance between the lids of an eye, in sides of the picture."""
    gaps = landmarks[:, LOWER[eye]] - landmarks[:, UPPER[eye]]
    return jnp.linalg.norm(gaps, axis=-1).mean(1)


def _shut(before: Landmarks, after: Landmarks, eye: int) -> Float[Array, " B"]:
    """How much (0-1) an expression shuts an eye."""
    left = _opening(after, eye) / jnp.maximum(_opening(before, eye), 1e-6)
    return smooth_step((OPEN - left) / (OPEN - SHUT))


def _lid_colour(
    images: UInt8[Array, "B H W 3"], landmarks: Landmarks, eye: int
) -> Float[Array, "B 3"]:
    """The mean colour between an upper lid and its brow, grey levels."""
    lid, brow = landmarks[:, UPPER[eye]], landmarks[:, BROWS[eye]]
    return mean_colour(images, lid + SKIN * (brow - lid))


def _line(
    places: Float[Array, "1 h w 2"], landmarks: Landmarks, eye: int, apart: Float[Array, " B"]
) -> tuple[Float[Array, "B h w"], Float[Array, "B h w"]]:
    """Shares of the pixels that belong to the line between the lids, and to the lashes in it."""
    start, end = landmarks[:, CORNERS[eye][0]], landmarks[:, CORNERS[eye][1]]
    axis = end - start
    square = jnp.maximum((axis**2).sum(-1), 1e-12)[:, None]
    normal = jnp.stack([-axis[:, 1], axis[:, 0]], -1)  # downwards; the unit is the eye's width

    def local(points: Array) -> tuple[Array, Array]:
        away = points - start.reshape(-1, *[1] * (points.ndim - 2), 2)
        parts = [
            jnp.einsum("b...c,bc->b...", away, one, precision="highest") for one in (axis, normal)
        ]
        unit = square.reshape(-1, *[1] * (points.ndim - 2))
        return parts[0] / unit, parts[1] / unit

    middle = (landmarks[:, UPPER[eye]] + landmarks[:, LOWER[eye]]) / 2
    t, depth = local(middle)
    bow = 4 * t * (1 - t)
    sag = (depth * bow).sum(1) / jnp.maximum((bow**2).sum(1), 1e-6)  # of a parabola
    along, down = local(jnp.broadcast_to(places, (len(landmarks), *places.shape[1:])))
    curve = 4 * along * (1 - along)
    eye_width = jnp.sqrt(square)[:, :, None]
    unit = apart[:, None, None]
    off = jnp.abs(down - sag[:, None, None] * curve) * eye_width / unit
    half = WIDTH + (_opening(landmarks, eye) / apart / 2)[:, None, None]
    ends = jnp.clip(curve / 0.6, 0, 1)
    share = jnp.clip(FULL * smooth_step(1 - off / half), 0, 1)
    lashes = jnp.exp(-((off / (LASHES * WIDTH)) ** 2))
    inside = (along > 0) & (along < 1)
    return jnp.where(inside, share * ends, 0), lashes
