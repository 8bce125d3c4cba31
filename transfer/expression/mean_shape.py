"""The mean shape of faces, in whose frame residuals are, and its masks of face and mouth."""

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import Delaunay

from glow_jax.io.landmarks68 import INNER_LIPS, LEFT_EYE, MIRROR, RIGHT_EYE, raised_brows

Shape = Float[np.ndarray, "68 2"]
Mask = Float[np.ndarray, "S S"]

OPENING_AUS = {
    "AU26": 0.7,
    "AU25": 0.5,
    "AU5": 0.3,
}  # activations of the mean shape: mouth and eyes are open
# Distance of the face mask above the brows, in distances from the eyes to the chin.
FOREHEAD_HEIGHT = 0.2
# Width of the edge over which the face mask falls from 1 to 0, in sides of the picture.
RIM_WIDTH = 0.06
OVERSAMPLING = 8  # pixels drawn per pixel of the mouth mask's side


def mean_shape_of(
    landmarks: Float[np.ndarray, "N 68 2"], displacements: np.ndarray, aus: tuple[str, ...]
) -> Shape:
    """(68, 2) float32: the mean of neutral landmarks, symmetric, with mouth and eyes open.

    The mouth is open so that its inside has a place on the mean shape.

    Args:
        landmarks: in sides of the picture.
        displacements: (A, 68, 2) of `ExpressionModel`.
        aus: names of the A units.
    """
    mean = landmarks.mean(0)
    mean = (mean + (1, 0) + mean[MIRROR] * (-1, 1)) / 2
    across = mean[LEFT_EYE].mean(0) - mean[RIGHT_EYE].mean(0)
    opening = sum(OPENING_AUS.get(au, 0.0) * displacements[i] for i, au in enumerate(aus))
    return (mean + np.hypot(*across) * opening).astype(np.float32)


def face_mask(shape: Shape, side: int) -> Mask:
    """(side, side) float32: 1 within the hull of landmarks and forehead, smoothly 0 outside.

    Residuals are 0 where the mask is 0.
    """
    points = np.concatenate([shape, raised_brows(shape, FOREHEAD_HEIGHT)])
    axis = (np.arange(side) + 0.5) / side
    inside = Delaunay(points).find_simplex(np.stack(np.meshgrid(axis, axis), -1)) >= 0
    distance = ndimage.distance_transform_edt(~inside) / side
    return np.clip(1 - distance / RIM_WIDTH, 0, 1).astype(np.float32)


def mouth_mask_of(shape: Shape, side: int) -> Mask:
    """(side, side) float32: 1 between a shape's lips, less on their rim, 0 outside."""
    large = OVERSAMPLING * side
    image = Image.new("L", (large, large))
    lips = [(x, y) for x, y in shape[INNER_LIPS] * OVERSAMPLING * side - 0.5]
    ImageDraw.Draw(image).polygon(lips, fill=255)
    return np.asarray(image.resize((side, side), Image.Resampling.BOX), np.float32) / 255
