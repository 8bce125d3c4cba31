"""Correct activations by how far landmarks moved between two pictures of one person.

Activations are estimated from edges (`transfer.expression.features`), and a displacement of the
landmarks follows from them; the landmarks themselves are found in both pictures, too. Where the two
disagree, the posterior mean under a linear Gaussian model is taken:

    moved = D a + P p + e,    a ~ N(estimate, ACTIVATION_ERROR²),    p ~ N(0, 1),
                              e ~ N(0, LANDMARK_ERROR²)

D are the displacements at activation 1, P what a turned head, another lens and another crop do to
the landmarks of a mean face. So a turn between the two pictures is not taken for an expression.
"""

import numpy as np
from jaxtyping import Float

from glow_jax.io.landmarks68 import JAW, LEFT_EYE, N_LANDMARKS, RIGHT_EYE, STEADY
from transfer.expression.model import MAX_ACTIVATION, ExpressionModel
from transfer.expression.teacher import UNREAD
from transfer.photos.pose import MEAN_FACE

# Standard deviations: of an estimated activation, and of a landmark's movement, in distances
# between the eyes.
ACTIVATION_ERROR, LANDMARK_ERROR, JAW_ERROR = 0.1, 0.03, 0.055
STRENGTH = 1.1  # with it landmarks move as far in the target as in the source, on average

Points = Float[np.ndarray, "68 2"]


def movement(after: Points, before: Points) -> Points:
    """The displacements of landmarks, right and down in the frame of the eyes of `before`.

    Args:
        after, before: of two pictures of one person, right and down in sides of the picture.

    Returns:
        In distances between the eyes, as `ExpressionModel.displacements`.
    """
    x, y = before[LEFT_EYE].mean(0) - before[RIGHT_EYE].mean(0)
    return (after - before) @ np.array([[x, -y], [y, x]]) / (x * x + y * y)


def corrected(
    model: ExpressionModel, activations: Float[np.ndarray, " A"], moved: Points
) -> Float[np.ndarray, " A"]:
    """Activations that agree better with what the landmarks did, float32; see the module.

    Units that MediaPipe could not teach (`transfer.expression.teacher`) are left as they are.

    Args:
        model: of expressions.
        activations: estimated from edges.
        moved: of `movement`.
    """
    displacements = np.asarray(model.displacements, np.float64).reshape(len(model.aus), -1)
    error = np.full((N_LANDMARKS, 2), LANDMARK_ERROR)
    error[JAW] = JAW_ERROR
    known = np.array([unit not in UNREAD for unit in model.aus])
    causes = np.concatenate([displacements[known], POSES.reshape(len(POSES), -1)])
    deviation = np.where(np.arange(len(causes)) < known.sum(), ACTIVATION_ERROR, 1.0)
    weighted = causes / error.ravel() ** 2
    precision = weighted @ causes.T + np.diag(deviation**-2.0)
    missing = moved.ravel() - activations @ displacements
    found = np.array(activations, np.float64)
    found[known] += np.linalg.solve(precision, weighted @ missing)[: known.sum()]
    return np.clip(STRENGTH * found, -MAX_ACTIVATION, MAX_ACTIVATION).astype(np.float32)


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
