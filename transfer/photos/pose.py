"""The pose of a face from its 68 landmarks.

The landmarks of a mean face are fitted to those of the picture by a scaled orthographic projection,

    landmarks = s R[:2] mean + t,    R = R_z(roll) R_x(-pitch) R_y(yaw)

s R[:2] is the polar factor of the least-squares 2 x 3 matrix: the nearest scaled rotation.

Source of the mean face: ICT FaceKit (MIT; Li et al., CVPR 2020), its neutral head's landmarks in
cm: x to the picture's right, y up, z to the camera.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

MEAN_FACE = np.array([
    (-7.4, 3.7, 3.7), (-7.3, 1.5, 3.9), (-6.9, -0.5, 4.5), (-6.6, -2.4, 5.2),
    (-5.7, -4.5, 6.1), (-4.3, -6.2, 7.3), (-3.1, -6.9, 8.8), (-1.5, -7.3, 10.3),
    (0.0, -7.6, 10.4), (1.5, -7.3, 10.3), (3.1, -6.9, 8.8), (4.3, -6.2, 7.3), (5.7, -4.5, 6.1),
    (6.6, -2.4, 5.2), (6.9, -0.5, 4.5), (7.3, 1.5, 3.9), (7.4, 3.7, 3.7), (-5.8, 5.2, 7.9),
    (-4.9, 6.0, 9.0), (-3.8, 6.3, 9.8), (-2.4, 6.2, 10.5), (-1.2, 5.9, 10.7), (1.2, 5.9, 10.7),
    (2.4, 6.2, 10.5), (3.8, 6.3, 9.8), (4.9, 6.0, 9.0), (5.8, 5.2, 7.9), (0.0, 3.7, 10.7),
    (0.0, 2.6, 11.5), (0.0, 1.6, 12.3), (0.0, 0.4, 13.1), (-1.3, -1.1, 10.9),
    (-0.6, -1.1, 11.4), (0.0, -1.2, 11.6), (0.6, -1.1, 11.4), (1.3, -1.1, 10.9),
    (-4.5, 3.4, 8.6), (-3.9, 3.9, 9.4), (-2.8, 3.9, 9.5), (-1.8, 3.3, 9.2), (-2.7, 3.1, 9.4),
    (-3.9, 3.1, 9.2), (1.8, 3.3, 9.2), (2.8, 3.9, 9.5), (3.9, 3.9, 9.4), (4.5, 3.4, 8.6),
    (3.9, 3.1, 9.2), (2.7, 3.1, 9.4), (-2.5, -3.5, 10.2), (-1.7, -2.8, 11.2),
    (-0.7, -2.4, 11.7), (0.0, -2.5, 11.8), (0.7, -2.4, 11.7), (1.7, -2.8, 11.2),
    (2.5, -3.5, 10.2), (1.8, -4.1, 10.9), (1.0, -4.3, 11.4), (0.0, -4.4, 11.5),
    (-1.0, -4.3, 11.4), (-1.8, -4.1, 10.9), (-2.2, -3.5, 10.1), (-1.0, -3.3, 11.1),
    (0.0, -3.3, 11.3), (1.0, -3.3, 11.1), (2.2, -3.5, 10.1), (1.1, -3.4, 11.0),
    (0.0, -3.4, 11.3), (-1.1, -3.4, 11.0),
])  # fmt: skip


class Pose(NamedTuple):
    """Angles in degrees: yaw to the person's left, pitch up, roll anticlockwise in the picture."""

    yaw: float
    pitch: float
    roll: float


def pose_of(landmarks: Float[np.ndarray, "68 2"]) -> Pose:
    """The pose of a face, with an error of a few degrees from the face's shape and the lens.

    Args:
        landmarks: right and down in a picture, any unit.

    Raises:
        ValueError: the landmarks lie on one line.
    """
    points = (landmarks - landmarks.mean(0)) * (1, -1)
    mean = MEAN_FACE - MEAN_FACE.mean(0)
    matrix = (np.linalg.pinv(mean) @ points).T
    u, scales, vt = np.linalg.svd(matrix, full_matrices=False)
    if not scales[1] > 1e-6 * scales[0]:
        raise ValueError("the landmarks lie on one line")
    right, up = u @ vt
    towards = np.cross(right, up)
    yaw = np.arctan2(-towards[0], towards[2])
    pitch = -np.arcsin(np.clip(towards[1], -1, 1))
    roll = np.arctan2(-right[1], up[1])
    return Pose(*(float(v) for v in np.rad2deg((yaw, pitch, roll))))
