"""The source's shut lids in a photograph of the target.

A warp compresses an eye between its lids, and drags brows and lashes along; lids that shut have to
be drawn (`transfer.expression.lids`). Where the source's picture shows shut eyes too, a photograph
shows these: the source's picture is warped so that its landmarks are at the target's after the
expression, and its lids are blended in, with colours matched at the edge of a mask
(`transfer.photos.paste.paste_lids`). This module makes the mask. Pure functions of arrays.
"""

import numpy as np
from PIL import Image, ImageDraw

from glow_jax.io.landmarks68 import eye_distance
from transfer.expression.lids import BROWS, CORNERS, LOWER, OPEN, SHUT, UPPER
from transfer.photos.paste import GRID, Landmarks, Mask

# Openings between which the source's eye counts as shut, and as open, in distances between the
# eyes; shut eyes of photoreal people have 0.016, open ones 0.1.
SOURCE_SHUT, SOURCE_OPEN = 0.03, 0.05
# The mask's edge: beyond the corners, above the upper lid and below the lower lid.
OUTER, INNER = 0.12, 0.06  # widths of the eye
ABOVE = 0.5  # share of the way from the lid to the brow
BELOW = 0.18  # widths of the eye
MIN_LENGTH = 1e-6  # sides of the crop, against division by 0
BLUR = 0.012  # sigma of the mask's soft edge, in sides of the crop


def lids_mask(before: Landmarks, after: Landmarks, shown: Landmarks) -> Mask:
    """The share (0-1) of the source's lids in each point of the crop, float32 (GRID, GRID).

    Args:
        before, after: landmarks of the target without and with the expression, in sides of a crop.
        shown: landmarks of the source with the expression, in sides of its crop.

    Returns:
        0 around an eye that the expression does not shut, or that is open in the source's picture.
    """
    from scipy import ndimage  # late: imports of scipy take a tenth of a first call

    mask = np.zeros((GRID, GRID), np.float32)
    apart = eye_distance(shown)
    for eye in (0, 1):
        opening = _opening(shown, eye) / max(apart, MIN_LENGTH)
        shut = _smooth_step((SOURCE_OPEN - opening) / (SOURCE_OPEN - SOURCE_SHUT))
        share = _shuts(before, after, eye) * shut
        if share > 0:
            image = Image.new("L", (GRID, GRID))
            points = [(x * GRID - 0.5, y * GRID - 0.5) for x, y in _outline(after, eye)]
            ImageDraw.Draw(image).polygon(points, fill=255)
            soft = ndimage.gaussian_filter(np.asarray(image, np.float32) / 255, BLUR * GRID)
            mask = np.maximum(mask, np.float32(share) * soft)
    return mask


def shuts_an_eye(before: Landmarks, after: Landmarks) -> bool:
    """Whether an expression shuts an eye of the target."""
    return any(_shuts(before, after, eye) > 0 for eye in (0, 1))


def _shuts(before: Landmarks, after: Landmarks, eye: int) -> float:
    """How much (0-1) an expression shuts an eye, as `transfer.expression.lids` counts it."""
    left = (_opening(after, eye) + MIN_LENGTH) / (_opening(before, eye) + MIN_LENGTH)
    return _smooth_step((OPEN - left) / (OPEN - SHUT))


def _opening(landmarks: Landmarks, eye: int) -> float:
    """The mean distance between the lids of an eye, in the unit of the landmarks."""
    return float(np.linalg.norm(landmarks[LOWER[eye]] - landmarks[UPPER[eye]], axis=-1).mean())


def _outline(landmarks: Landmarks, eye: int) -> np.ndarray:
    """(N, 2) corners of the polygon around an eye."""
    outer, inner = landmarks[CORNERS[eye]] if eye == 0 else landmarks[CORNERS[eye]][::-1]
    across = inner - outer
    down = np.array([-across[1], across[0]]) * (1 if eye == 0 else -1)
    upper, lower, brow = (landmarks[ends[eye]] for ends in (UPPER, LOWER, BROWS))
    top, bottom = upper + ABOVE * (brow - upper), lower + BELOW * down
    if eye == 1:
        top, bottom = top[::-1], bottom[::-1]
    return np.stack([outer - OUTER * across, *top, inner + INNER * across, *bottom[::-1]])


def _smooth_step(t: float) -> float:
    t = min(max(t, 0.0), 1.0)
    return t * t * (3 - 2 * t)
