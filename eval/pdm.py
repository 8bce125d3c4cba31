"""OpenFace's point distribution model: a 3D face of 68 points fitted to points in a picture.

    shape(g, q) = s R(r) (mean + V q) + t       orthographic, the depth dropped

with scale s, rotation r (Euler angles), translation t and q the model's own parameters, each
with the prior N(0, eigenvalue).

Source: Baltrusaitis et al., OpenFace 2.0, FG 2018; OpenFace `PDM.cpp: CalcParams`.
"""

import dataclasses
from pathlib import Path

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.files import read_bytes
from glow_jax.io.messages import one_line

MAX_MODEL_BYTES = 2**24  # OpenFace's own has 0.2 MB
POINTS = 68
MODES = 34
ITERATIONS = 50
DAMPING = 0.75


@dataclasses.dataclass(frozen=True)
class PointModel:
    """mean (68, 3) in millimetres, components (68, 3, 34), eigenvalues (34,)."""

    mean: np.ndarray
    components: np.ndarray
    eigenvalues: np.ndarray

    def descriptor(self, q: np.ndarray) -> np.ndarray:
        """V q, x of all points, then y, then z, and q: 204 + 34 numbers."""
        return np.concatenate([(self.components @ q).T.ravel(), q])

    def fit(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Damped Gauss-Newton from the mean shape, frontal, in the points' bounding box.

        Args:
            points: (68, 2) pixels.

        Returns:
            pose: (6,) scale, three angles (radians), translation (pixels).
            q: (34,).
        """
        box = np.ptp(points, axis=0) / np.ptp(self.mean[:, :2], axis=0)
        centre = (points.max(0) + points.min(0)) / 2
        pose = np.array([box.mean(), 0, 0, 0, *centre])
        q = np.zeros(len(self.eigenvalues))
        prior = np.concatenate([np.zeros(6), 1 / self.eigenvalues])
        error = np.inf
        for _ in range(ITERATIONS):
            shape = self.mean + self.components @ q
            rotation = euler_to_matrix(pose[1:4])
            left = points - (pose[0] * shape @ rotation[:2].T + pose[4:])
            if np.linalg.norm(left) > 0.999 * error:
                break
            error = float(np.linalg.norm(left))
            jacobian = self._jacobian(shape, rotation, pose[0])
            gradient = jacobian.T @ left.ravel()
            gradient[6:] -= q / self.eigenvalues
            step = DAMPING * np.linalg.solve(jacobian.T @ jacobian + np.diag(prior), gradient)
            pose[0] += step[0]
            pose[1:4] = matrix_to_euler(rotation @ _small_rotation(step[1:4]))
            pose[4:] += step[4:6]
            q = q + step[6:]
        return pose, q

    def _jacobian(self, shape: np.ndarray, rotation: np.ndarray, scale: float) -> np.ndarray:
        """Of the flattened points (136) to scale, rotation, translation and q: (136, 40)."""
        columns = np.empty((POINTS, 2, 6 + len(self.eigenvalues)))
        columns[:, :, 0] = shape @ rotation[:2].T
        x, y, z = shape.T
        zero = np.zeros(POINTS)
        # d(w x p) / dw: the points move by the cross product with a small rotation vector.
        for i, moved in enumerate(((zero, -z, y), (z, zero, -x), (-y, x, zero))):
            columns[:, :, 1 + i] = scale * np.stack(moved, -1) @ rotation[:2].T
        columns[:, 0, 4], columns[:, 1, 4] = 1, 0
        columns[:, 0, 5], columns[:, 1, 5] = 0, 1
        columns[:, :, 6:] = scale * np.einsum("rc,pcm->prm", rotation[:2], self.components)
        return columns.reshape(2 * POINTS, -1)


def euler_to_matrix(angles: np.ndarray) -> np.ndarray:
    """R = Rx Ry Rz (OpenFace `RotationHelpers.h: Euler2RotationMatrix`)."""
    (s1, s2, s3), (c1, c2, c3) = np.sin(angles), np.cos(angles)
    return np.array(
        [
            [c2 * c3, -c2 * s3, s2],
            [c1 * s3 + c3 * s1 * s2, c1 * c3 - s1 * s2 * s3, -c2 * s1],
            [s1 * s3 - c1 * c3 * s2, c3 * s1 + c1 * s2 * s3, c1 * c2],
        ]
    )


def matrix_to_euler(rotation: np.ndarray) -> np.ndarray:
    """The angles of `euler_to_matrix`, radians."""
    return np.array(
        [
            np.arctan2(-rotation[1, 2], rotation[2, 2]),
            np.arcsin(np.clip(rotation[0, 2], -1, 1)),
            np.arctan2(-rotation[0, 1], rotation[0, 0]),
        ]
    )


def _small_rotation(vector: np.ndarray) -> np.ndarray:
    """The rotation nearest to I + [vector]x."""
    x, y, z = vector
    u, _, vt = np.linalg.svd(np.array([[1, -z, y], [z, 1, -x], [-y, x, 1]]))
    return u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt


def read_point_model(path: Path) -> PointModel:
    """OpenFace's text file: mean, components and eigenvalues, each after its rows, columns, type.

    Raises:
        InputError: the file is missing or malformed.
    """
    try:
        lines = read_bytes(path, MAX_MODEL_BYTES).decode("ascii").splitlines()
        words = [w for line in lines if not line.lstrip().startswith("#") for w in line.split()]
        matrices, at = [], 0
        for _ in range(3):
            rows, columns = int(words[at]), int(words[at + 1])
            end = at + 3 + rows * columns
            matrices.append(np.array(words[at + 3 : end], float).reshape(rows, columns))
            at = end
        mean, components, eigenvalues = matrices
        # Rows of the file: x of every point, then y, then z.
        model = PointModel(
            mean.reshape(3, POINTS).T,
            components.reshape(3, POINTS, MODES).transpose(1, 0, 2),
            eigenvalues.reshape(MODES),
        )
    except InputError:
        raise
    except (ValueError, IndexError, OverflowError):
        raise InputError(f"{one_line(path)}: not an OpenFace point distribution model") from None
    if not (all(np.isfinite(matrix).all() for matrix in matrices) and (eigenvalues > 0).all()):
        raise InputError(f"{one_line(path)}: a point distribution model with impossible numbers")
    return model
