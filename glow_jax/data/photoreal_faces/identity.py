"""dlib's face embedding, whose distances tell whether two pictures show the same person."""

import numpy as np
from jaxtyping import Float, UInt8

from glow_jax.data.photoreal_faces.files import INSTALL, network_file
from glow_jax.io.errors import InputError

# Corners of the eyes and the nose's base, of the 68, in the order of dlib's five landmarks.
_FIVE = (45, 42, 36, 39, 33)


class Embedder:
    """dlib's ResNet-29: pictures of one real person are mostly less than 0.6 apart.

    It is the network of DeepFace's model `Dlib`. The face is cut out by MediaPipe's landmarks, not
    by dlib's detector: that moves an embedding by 0.1 (seen on four people).

    Raises:
        InputError: dlib or face_recognition_models is not installed.
    """

    def __init__(self) -> None:
        try:
            import dlib
        except ImportError as error:
            raise InputError(f"{error.name} is not installed; {INSTALL}") from None
        self._dlib = dlib
        self._network = dlib.face_recognition_model_v1(str(network_file("embedding")))

    def __call__(
        self, picture: UInt8[np.ndarray, "H W 3"], landmarks: Float[np.ndarray, "68 2"]
    ) -> Float[np.ndarray, "128"]:
        """The embedding of the face whose landmarks are given, as shares of the sides."""
        height, width = picture.shape[:2]
        at = np.rint(landmarks[list(_FIVE)] * (width, height)).astype(int)
        points = self._dlib.points([self._dlib.point(int(x), int(y)) for x, y in at])
        face = self._dlib.rectangle(0, 0, width, height)
        shape = self._dlib.full_object_detection(face, points)
        return np.array(self._network.compute_face_descriptor(np.ascontiguousarray(picture), shape))
