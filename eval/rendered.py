"""Action Units by linear models trained on rendered people, whose AUs are known.

dlib's 68 landmarks align the face to a fixed size. FHOG of the face, FHOG of the mouth at twice
that size, and the aligned landmarks go through one linear model per AU. Features are averaged over
a picture and its mirror image, so that left and right count alike.

There are two models per AU: one of the *level*, and one of the *change* from another picture of
the same person, in which properties of the person cancel. `rendered.npz` has the models, and the
quality of each AU on held-out people; `python -m eval.cli.fit_rendered` makes it.
"""

import dataclasses
import hashlib
import io
from pathlib import Path

import numpy as np

from eval.faces import Face, find_face, landmarks_in, working_size
from eval.fhog import fhog
from eval.files import Picture
from eval.reading import Reading, unknown
from eval.table import AUS
from eval.warp import similarity, transform_points, warp
from glow_jax.io.errors import InputError
from glow_jax.io.files import read_bytes
from glow_jax.io.landmarks68 import STEADY
from glow_jax.io.messages import one_line, reason

BUNDLED = Path(__file__).with_name("rendered.npz")
FACE_SIZE = (112, 112)
MOUTH_SIZE = (96, 112)
MOUTH_SCALE = 2
FEATURES = 31 * (12 * 12 + 10 * 12) + 2 * 68
LANDMARK_WEIGHT = 0.1  # weight of a landmark's displacement by one pixel, beside FHOG's 0-0.4
PRESENT = 1.0  # intensity (0-5) from which an AU counts as present
QUALITY = tuple(f"{of}{figure}" for of in ("", "change_") for figure in ("r", "mae", "slope"))
# Correlation with the truth on held-out people below which the reader abstains from an AU.
WORST_R = 0.5


@dataclasses.dataclass(frozen=True)
class Models:
    """The content of `rendered.npz`.

    Attributes:
        template: (68, 2) landmarks of the mean face in an aligned face, pixels.
        level, change: (features, 17) weights; zero for an AU from which the reader abstains.
        bias: (17,) bias of the level.
        quality: (17,) on held-out people, by figure: `r`, `mae`, `slope`, and each `change_…`.
    """

    template: np.ndarray
    level: np.ndarray
    change: np.ndarray
    bias: np.ndarray
    quality: dict[str, np.ndarray]


class RenderedReader:
    """Reads pictures with the bundled models, or those of a file.

    Attributes:
        name: for the report.
        key: changes when the models do.
        notes: remarks for the report, one sentence each.
    """

    def __init__(self, path: Path = BUNDLED):
        """Read the models.

        Raises:
            InputError: the file is missing or malformed.
        """
        data = read_bytes(path)
        self.models = _read_models(data, path)
        self.key = hashlib.sha256(data).hexdigest()[:16]
        self.name = "linear models trained on rendered people"
        self.readable = self.models.quality["r"] >= WORST_R
        blind = [au for au, ok in zip(AUS, self.readable, strict=True) if not ok]
        self.notes = [
            "Trained on rendered people who do not exist; how well it reads photographs is open.",
            "An intensity is read as the change from the person's reference picture; r, error and "
            "slope are of that, on rendered people who were not trained on.",
            f"Not read: {', '.join(blind) or 'none'}.",
        ]

    @property
    def quality(self) -> list[dict[str, object]]:
        """r, error and slope of each AU's change on held-out rendered people."""
        figures = self.models.quality
        return [
            {
                "au": au,
                "r": float(figures["change_r"][i]),
                "mae": float(figures["change_mae"][i]),
                "slope": float(figures["change_slope"][i]),
            }
            for i, au in enumerate(AUS)
            if self.readable[i]
        ]

    def read(self, pictures: list[Picture]) -> list[Reading]:
        """Readings of pictures; without a face, with `problem` instead of numbers."""
        return [self._read(picture) for picture in pictures]

    def _read(self, picture: Picture) -> Reading:
        pixels = working_size(picture.pixels)
        face = find_face(pixels)
        if face is None:
            return Reading(0, problem="no face found")
        seen = features(pixels, face, self.models.template)
        level, change, present = unknown(), unknown(), unknown()
        ok = self.readable
        level[ok] = np.clip(seen @ self.models.level + self.models.bias, 0, 5)[ok]
        change[ok] = (seen @ self.models.change)[ok]
        present[ok] = np.where(np.isnan(level[ok]), np.nan, level[ok] >= PRESENT)
        return Reading(face.count, level, change, present)


def features(pixels: np.ndarray, face: Face, template: np.ndarray) -> np.ndarray:
    """(8320,) float32: FHOG of face and mouth, and landmarks, mean of both mirror images.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        face: in it.
        template: (68, 2), symmetric about the middle of the aligned face.
    """
    left, top, right, bottom = face.box
    last = pixels.shape[1] - 1
    mirror = np.ascontiguousarray(pixels[:, ::-1])
    mirror_box = last - right, top, last - left, bottom
    one = _features(pixels, face.landmarks, template)
    other = _features(mirror, landmarks_in(mirror, mirror_box), template)
    return (one + other) / 2


def _features(pixels: np.ndarray, landmarks: np.ndarray, template: np.ndarray) -> np.ndarray:
    matrix = similarity(landmarks[STEADY], template[STEADY])
    shape = transform_points(landmarks, matrix) - template
    mouth = mouth_matrix(template) @ np.vstack([matrix, [0, 0, 1]])
    parts = [
        fhog(warp(pixels, matrix, FACE_SIZE)).ravel(),
        fhog(warp(pixels, mouth, MOUTH_SIZE)).ravel(),
        shape.ravel() * LANDMARK_WEIGHT,
    ]
    return np.concatenate(parts).astype(np.float32)


def mouth_matrix(template: np.ndarray) -> np.ndarray:
    """(2, 3) map from the aligned face to the picture of its mouth, which is in the middle."""
    height, width = MOUTH_SIZE
    centre = np.array([(FACE_SIZE[1] - 1) / 2, template[48:].mean(0)[1]])
    middle = np.array([(width - 1) / 2, 0.45 * height])
    return np.column_stack([np.eye(2) * MOUTH_SCALE, middle - MOUTH_SCALE * centre])


def _read_models(data: bytes, path: Path) -> Models:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name], np.float64) for name in file.files}
        weights = (FEATURES, len(AUS))
        shapes = {"template": (68, 2), "level": weights, "change": weights, "bias": weights[1:]}
        good = all(
            arrays[name].shape == shape and np.isfinite(arrays[name]).all()
            for name, shape in shapes.items()
        )
        good &= all(arrays[name].shape == weights[1:] for name in QUALITY)
        models = Models(
            arrays["template"],
            arrays["level"].astype(np.float32),
            arrays["change"].astype(np.float32),
            arrays["bias"],
            {kind: arrays[kind] for kind in QUALITY},
        )
    except Exception as error:  # the archive, its members or their headers may be damaged
        raise InputError(f"{one_line(path)}: not AU models ({reason(error)})") from None
    if not good:
        raise InputError(f"{one_line(path)}: not AU models (arrays of other shapes, or not finite)")
    return models
