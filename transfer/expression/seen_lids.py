"""A bound on absolute estimates: eyes are shut no further than the picture shows.

Without a neutral picture of the person, naturally narrow eyes, and the narrow eyes of a smile, are
taken for eyes that shut (`transfer.expression.absolute`). How far eyes are open is seen in the
picture. The units that shut eyes are therefore scaled so that the mean face's eyes, after the
expression, are about as open as those of the picture. Pure functions of arrays.
"""

import numpy as np
from jaxtyping import Float

from glow_jax.io.landmarks68 import LEFT_EYE, RIGHT_EYE
from transfer.expression.lids import LOWER, UPPER
from transfer.expression.model import ExpressionModel

UNITS = ("AU6", "AU7", "AU45")  # that shut eyes
# By how much eyes may be less open than those of the mean face before they count as shut, in
# distances between the eyes; the deviation between neutral people is 0.026.
NARROWER = 0.01


def no_more_shut(
    model: ExpressionModel,
    activations: Float[np.ndarray, "N A"],
    landmarks: Float[np.ndarray, "N 68 2"],
) -> Float[np.ndarray, "N A"]:
    """Absolute activations that shut eyes no further than pictures show.

    Unchanged for a model that was not adapted to photographs.

    Args:
        model: the expression model.
        activations: of the pictures.
        landmarks: of the pictures, right and down in sides of the picture.
    """
    shutting = [i for i, au in enumerate(model.aus) if au in UNITS]
    if model.smoothing is None or not shutting:
        return activations
    moves = np.asarray(model.displacements, np.float64)
    opens = (moves[:, LOWER, 1] - moves[:, UPPER, 1]).mean((1, 2))  # by each unit
    change = np.minimum(activations[:, shutting] * opens[shutting], 0)
    mean_face = opening(np.asarray(model.template, np.float64)[None])
    most = np.minimum(opening(landmarks.astype(np.float64)) - (mean_face - NARROWER), 0)
    total = np.minimum(change.sum(1), -1e-9)
    share = np.clip(most / total, 0, 1)[:, None]
    bounded = activations.copy()
    bounded[:, shutting] *= np.where(change < 0, share, 1)
    return bounded


def opening(landmarks: Float[np.ndarray, "N 68 2"]) -> Float[np.ndarray, " N"]:
    """How far eyes are open, in distances between the eyes; the mean of both eyes."""
    across = landmarks[:, LEFT_EYE].mean(1) - landmarks[:, RIGHT_EYE].mean(1)
    down = np.stack([-across[:, 1], across[:, 0]], -1) / (across**2).sum(-1, keepdims=True)
    gaps = landmarks[:, LOWER] - landmarks[:, UPPER]
    return np.asarray(np.einsum("nepc,nc->nep", gaps, down).mean((1, 2)))
