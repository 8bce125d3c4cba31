"""Action Units by the Python toolbox py-feat, which downloads its weights from its hub."""

from typing import Any

import numpy as np

from eval.files import Picture
from eval.reading import Reading, unknown
from eval.table import AUS
from glow_jax.io.errors import InputError
from glow_jax.io.messages import install_hint, reason


class PyFeat:
    """py-feat's Detectorv1: RetinaFace, MobileFaceNet, and gradient-boosted trees per AU.

    Its AUs are probabilities, 0-1; they are shown times 5, so that one table serves all readers.

    Attributes:
        name, key, notes: as of the other readers.
    """

    def __init__(self) -> None:
        """Load it.

        Raises:
            InputError: it is not installed, or its weights cannot be fetched.
        """
        try:
            import feat
        except Exception as error:  # other types too, if the version of a dependency does not fit
            raise InputError(
                f"py-feat cannot be imported ({reason(error)}): {install_hint('py-feat')}"
            ) from None
        try:
            self._detector = feat.Detectorv1(
                emotion_model=None, identity_model=None, gaze_model=None
            )
        except (
            Exception
        ) as error:  # the client raises its own errors, those of requests, and OSError
            raise InputError(f"py-feat's weights cannot be fetched ({reason(error)})") from None
        self.name = f"py-feat {feat.__version__}"
        self.key = self.name
        self.notes = ["py-feat's AUs are probabilities (0-1), shown times 5: not intensities."]

    def read(self, pictures: list[Picture]) -> list[Reading]:
        """Readings of pictures; where py-feat fails, with `problem` instead of numbers."""
        return [self._read(picture) for picture in pictures]

    def _read(self, picture: Picture) -> Reading:
        import torch

        pixels = torch.from_numpy(picture.pixels.transpose(2, 0, 1)[None].copy())
        try:
            found = self._detector.detect(pixels, data_type="tensor", progress_bar=False)
            return _reading(found.to_dict("records"))
        except Exception as error:
            return Reading(0, problem=f"py-feat failed ({reason(error)})")


def _reading(rows: list[dict[str, Any]]) -> Reading:
    faces = [row for row in rows if np.isfinite(row.get("FaceScore", np.nan))]
    if not faces:
        return Reading(0, problem="no face found")
    face = max(faces, key=lambda row: row["FaceRectWidth"] * row["FaceRectHeight"])
    level = unknown()
    for i, au in enumerate(AUS):
        level[i] = np.clip(5 * float(face.get(au, np.nan)), 0, 5)
    return Reading(len(faces), level, level)
