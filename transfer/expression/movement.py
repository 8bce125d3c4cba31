"""Correct activations by how far landmarks moved between two pictures of one person.

Activations are estimated from features (edges and landmark shape, `transfer.expression.features`),
and a movement of the landmarks follows from them; the landmarks themselves are found in both
pictures, too. Where the two disagree, the posterior mean of a under a linear Gaussian model is
taken:

    moved = D a + P p + e,    a ~ N(estimate, ACTIVATION_ERROR²),    p ~ N(0, 1),
                              e ~ N(0, LANDMARK_ERROR²), of the jaw line N(0, JAW_ERROR²)

D are the displacements at activation 1; P is what a turned head, another lens and another crop do
to the landmarks of a mean face, so that a turn between the two pictures is not taken for an
expression. Only models that were adapted to photographs (`ExpressionModel.smoothing`) use this
module: landmarks of others are too inexact.

Source: Rasmussen & Williams 2006, section 2.1 (Bayesian linear regression).
"""

import numpy as np
from jaxtyping import Float

from glow_jax.io.landmarks68 import JAW, LEFT_EYE, N_LANDMARKS, RIGHT_EYE, STEADY
from transfer.expression.model import MAX_ACTIVATION, ExpressionModel
from transfer.expression.teacher import UNREAD
from transfer.photos.pose import MEAN_FACE

ACTIVATION_ERROR = 0.1  # standard deviation of an estimated activation
# Standard deviations of a landmark's movement, in distances between the eyes.
LANDMARK_ERROR, JAW_ERROR = 0.03, 0.055
# Units that are not corrected: those that MediaPipe could not teach, and the jaw drop, because a
# chin moves down in a nod too (corrected, its r fell from .79 to .65).
KEPT = (*UNREAD, "AU26")
# Factors of the activations of a transfer, with which parts of the target's face move as far as the
# source's did, by MediaPipe's landmarks of the outputs. The factor is 1 for the units of AS_READ,
# which lower the corners of the mouth (AU15), raise the chin (AU17), part the lips (AU25) and drop
# the jaw (AU26), and STRENGTH for all others.
STRENGTH = 1.3
AS_READ = ("AU15", "AU17", "AU25", "AU26")

Points = Float[np.ndarray, "68 2"]
Activations = Float[np.ndarray, "N A"]


def movement(after: Points, before: Points) -> Points:
    """The displacements of landmarks, right and down in the frame of the eyes of `before`.

    Args:
        after, before: of two pictures of one person, right and down in sides of the picture.

    Returns:
        In distances between the eyes, as `ExpressionModel.displacements`.
    """
    x, y = before[LEFT_EYE].mean(0) - before[RIGHT_EYE].mean(0)
    return (after - before) @ np.array([[x, -y], [y, x]]) / (x * x + y * y)


def agreeing(
    model: ExpressionModel, activations: Activations, moved: Float[np.ndarray, "N 68 2"]
) -> Activations:
    """Activations that agree better with what the landmarks did, float32; see the module.

    The units of KEPT are left as they are; all are clipped to +- MAX_ACTIVATION.

    Args:
        model: of expressions.
        activations: estimated from features.
        moved: of `movement`, in each picture.
    """
    displacements = _displacements(model)
    missing = moved.reshape(len(moved), -1) - activations @ displacements
    found = activations + missing @ _gain(model)
    return np.clip(found, -MAX_ACTIVATION, MAX_ACTIVATION).astype(np.float32)


def as_strong(
    model: ExpressionModel, activations: Float[np.ndarray, "*N A"]
) -> Float[np.ndarray, "*N A"]:
    """The activations that a transfer uses, from those that were read against a neutral picture.

    With a model that was not adapted to photographs they are the same. Otherwise all but the units
    of AS_READ are multiplied by STRENGTH, and all are clipped to +- MAX_ACTIVATION.
    """
    if model.smoothing is None:
        return activations
    factors = np.where(np.isin(model.aus, AS_READ), 1, STRENGTH).astype(np.float32)
    return np.clip(factors * activations, -MAX_ACTIVATION, MAX_ACTIVATION)


def noise_of(model: ExpressionModel) -> Float[np.ndarray, " A"]:
    """Standard deviations of the change that `agreeing` makes where no landmark moved."""
    return np.linalg.norm(_errors()[:, None] * _gain(model), axis=0)


def _gain(model: ExpressionModel) -> Float[np.ndarray, "136 A"]:
    """From movements that an estimate does not explain to its correction."""
    displacements = _displacements(model)
    known = np.array([unit not in KEPT for unit in model.aus])
    causes = np.concatenate([displacements[known], POSES.reshape(len(POSES), -1)])
    deviation = np.where(np.arange(len(causes)) < known.sum(), ACTIVATION_ERROR, 1.0)
    weighted = causes / _errors() ** 2
    precision = weighted @ causes.T + np.diag(deviation**-2.0)
    gain = np.zeros(displacements.T.shape)
    gain[:, known] = np.linalg.solve(precision, weighted).T[:, : known.sum()]
    return gain


def _displacements(model: ExpressionModel) -> Float[np.ndarray, "A 136"]:
    return np.asarray(model.displacements, np.float64).reshape(len(model.aus), -1)


def _errors() -> Float[np.ndarray, "136"]:
    errors = np.full((N_LANDMARKS, 2), LANDMARK_ERROR)
    errors[JAW] = JAW_ERROR
    return errors.ravel()


def _poses() -> Float[np.ndarray, "7 68 2"]:
    """Movements of a mean face's landmarks by shift, size, roll, yaw, pitch and width."""
    face = MEAN_FACE * (1, -1, 1)
    left, right = face[LEFT_EYE].mean(0), face[RIGHT_EYE].mean(0)
    x, y, z = ((face - (left + right) / 2) / np.linalg.norm(left - right)).T
    z = z - z[STEADY].mean()  # so that the steady landmarks hardly move when the head turns
    none, all_ = np.zeros(N_LANDMARKS), np.ones(N_LANDMARKS)
    shifts = [(all_, none), (none, all_)]
    turns = [(-y, x), (z, none), (none, z)]
    return np.stack([np.stack(one, 1) for one in (*shifts, (x, y), *turns, (x, none))])


POSES = _poses()
