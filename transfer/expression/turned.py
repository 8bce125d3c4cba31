"""Displacements in a head that is turned to a side, from those in a face that looks at the camera.

A smile pulls the corners of a mouth outwards and, around the teeth, backwards. In a head that is
turned by an angle y (yaw), a landmark that moves by x to the right and z to the camera is seen to
move by

    x cos y + z sin y

so the corner on the far side moves less than from the front, and the other one farther. The angle y
is positive where the head turns to the picture's right; pitch is neglected.
`displacements` of expressions are of faces on average turned to neither side, and have no z. It is
estimated from x and from the movement up, by factors for each part of the face that were fitted on
the 53 expressions of ICT FaceKit (MIT; Li et al., CVPR 2020; `python -m bench.truth.depth`).
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from glow_jax.io.landmarks68 import BROWS, JAW, LIPS, N_LANDMARKS, eye_distance
from transfer.expression.openings import between_eyes
from transfer.photos.pose import MEAN_FACE

Landmarks = Float[Array, "B 68 2"]

MAX_TANGENT = 0.6  # of 31 degrees; a head that is turned farther counts as turned so far
EYES = eye_distance(MEAN_FACE)
# Parts of the face, and two factors, whose products add up to the movement towards the camera: one
# of the movement outwards times the distance from the middle of the face (in distances between the
# eyes), and one of the movement upwards.
DEPTHS = ((JAW, -0.31, 0.99), (BROWS, -1.19, -0.08), (LIPS, -2.11, 0.47))


def tangents(landmarks: Landmarks) -> Float[Array, " B"]:
    """The tangents of the angles by which heads are turned, of at most +- MAX_TANGENT.

    Positive where a head turns to the picture's right, which moves what is near the camera, such as
    the nose, to the right. As in `transfer.photos.pose`, the landmarks of a mean face are fitted by
    least squares.

    Args:
        landmarks: right and down in a picture, in any unit.
    """
    centred = landmarks - landmarks.mean(1, keepdims=True)
    right = (centred * between_eyes(landmarks)[:, None]).sum(-1)
    fit = np.linalg.pinv(MEAN_FACE - MEAN_FACE.mean(0))[[0, 2]]
    x, z = jnp.dot(right, jnp.asarray(fit.T, right.dtype), precision="highest").T
    return jnp.clip(z / jnp.maximum(x, 1e-9), -MAX_TANGENT, MAX_TANGENT)


def of_turned(displacements: Landmarks, tangent: Float[Array, " B"]) -> Landmarks:
    """The displacements in faces whose heads are turned.

    Args:
        displacements: right and down in the frame of the eyes, in distances between them, of faces
            that look at the camera.
        tangent: of `tangents`.

    Returns:
        Right and down, in distances between the eyes as they are seen.
    """
    right, down = displacements[..., 0], displacements[..., 1]
    outwards, upwards = jnp.asarray(_depth_factors(), displacements.dtype)
    towards = outwards[None] * right - upwards[None] * down
    tangent = tangent[:, None]
    # The distance between the eyes, which is the unit, is seen shortened by the cosine.
    return jnp.stack([right + tangent * towards, down * jnp.sqrt(1 + tangent**2)], -1)


def _depth_factors() -> Float[np.ndarray, "2 68"]:
    """Movements to the camera per movement to the right and per movement upwards."""
    factors = np.zeros((2, N_LANDMARKS))
    for part, outwards, upwards in DEPTHS:
        factors[0, part], factors[1, part] = outwards * MEAN_FACE[part, 0] / EYES, upwards
    return factors
