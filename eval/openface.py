"""Action Units by OpenFace 2's static models, on dlib's landmarks, without its C++.

The face is aligned to 112 x 112 pixels by its rigid landmarks, and what is outside it is set to
black. Its FHOG and the parameters of the fitted point distribution model go through one linear
support-vector machine per AU. The models' files are OpenFace's (academic licence, not shipped):
point to the `AU_predictors` folder of an OpenFace.

Source: Baltrusaitis et al., OpenFace 2.0, FG 2018; OpenFace `Face_utils.cpp: AlignFaceMask`,
`FaceAnalyser.cpp`, `SVR_static_lin_regressors.cpp`, `SVM_static_lin.cpp`.
"""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eval.faces import find_face, working_size
from eval.fhog import fhog
from eval.files import Picture
from eval.pdm import MODES, POINTS, read_point_model
from eval.reading import Reading, unknown
from eval.table import AUS
from eval.warp import similarity, transform_points, warp
from glow_jax.io.errors import InputError
from glow_jax.io.files import read_bytes
from glow_jax.io.messages import one_line

SIZE = 112
SCALE = 0.7  # pixels a millimetre of the mean shape
RIGID = [1, 2, 3, 4, 12, 13, 14, 15, *range(27, 30), *range(31, 37), *range(39, 43), 45, 46, 47]
RAISED = [0, 16, *range(17, 27)]  # brows and temples, which are moved up to include the forehead
RAISED_BY = 30 / 0.7 * SCALE
FLOAT64 = 6  # OpenCV's number of this type
FEATURES = 12 * 12 * 31 + 3 * POINTS + MODES


class Linear(NamedTuple):
    """(f - mean) . weights + bias; for presence, the class on either side of 0."""

    mean: np.ndarray
    weights: np.ndarray
    bias: float
    above: float
    below: float


class OpenFaceModels:
    """The static models of a folder.

    Attributes:
        name: for the report.
        key: changes when the models do.
        notes: remarks for the report, one sentence each.
    """

    def __init__(self, folder: str | Path):
        """Read the models.

        Raises:
            InputError: a file is missing or malformed.
        """
        folder = Path(folder)
        self._points = read_point_model(_find(folder, "In-the-wild_aligned_PDM_68.txt"))
        self._triangles = _read_triangles(_find(folder, "tris_68_full.txt"))
        self._intensity: dict[str, Linear] = {}
        self._presence: dict[str, Linear] = {}
        listing = _find(folder, "AU_all_static.txt")
        for line in _text(listing).splitlines():
            name, _, au = line.strip().partition(" ")
            if au.strip() not in AUS:
                continue
            kind = self._presence if name.startswith("svm") else self._intensity
            kind[au.strip()] = _read_linear(listing.parent / name, presence=name.startswith("svm"))
        missing = [au for au in AUS if au not in self._intensity]
        if missing:
            raise InputError(f"{one_line(listing)}: no intensity models of {', '.join(missing)}")
        digest = hashlib.sha256(b"openface-static-2" + self._triangles.tobytes())
        digest.update(self._points.mean.tobytes() + self._points.components.tobytes())
        digest.update(self._points.eigenvalues.tobytes())
        for models in (self._intensity, self._presence):
            for au, model in sorted(models.items()):
                digest.update(f"{au} {model[2:]}".encode())
                digest.update(model.mean.tobytes() + model.weights.tobytes())
        self.key = digest.hexdigest()[:16]
        self.name = "OpenFace 2 static models on dlib landmarks"
        self.notes = ["OpenFace's models are for research only (its academic licence)."]

    def read(self, pictures: list[Picture]) -> list[Reading]:
        """Readings of pictures; without a face, with `problem` instead of numbers."""
        return [self._read(working_size(picture.pixels)) for picture in pictures]

    def _read(self, pixels: np.ndarray) -> Reading:
        face = find_face(pixels)
        if face is None:
            return Reading(0, problem="no face found")
        features = self.features(pixels, face.landmarks)
        level, present = unknown(), unknown()
        for i, au in enumerate(AUS):
            level[i] = np.clip(_value(self._intensity[au], features), 0, 5)
            if au in self._presence:
                model = self._presence[au]
                value = _value(model, features)
                if np.isfinite(value):
                    present[i] = model.above if value > 0 else model.below
        return Reading(face.count, level, level, present)

    def features(self, pixels: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """(4702,) FHOG, deviations and parameters of the point model.

        Args:
            pixels: (H, W, 3) uint8 RGB.
            landmarks: (68, 2) in its pixels.
        """
        pose, q = self._points.fit(landmarks)
        mean = self._points.mean[:, :2] * SCALE
        matrix = similarity(landmarks[RIGID], mean[RIGID])
        # The centre of the fitted model is placed in the middle, not the centre of the landmarks.
        matrix[:, 2] = SIZE / 2 - matrix[:, :2] @ pose[4:]
        outline = transform_points(landmarks, matrix)
        outline[RAISED, 1] -= RAISED_BY
        mask = _inside(outline[self._triangles])
        face = warp(pixels, matrix, (SIZE, SIZE)) * mask[..., None]
        # BGR, as in OpenFace: of equal gradients FHOG uses that of the first channel.
        return np.concatenate([fhog(face[..., ::-1]).ravel(), self._points.descriptor(q)])


def _value(model: Linear, features: np.ndarray) -> float:
    return float((features - model.mean) @ model.weights + model.bias)


def _inside(triangles: np.ndarray) -> np.ndarray:
    """(112, 112) uint8: 1 at pixels within any of the (N, 3, 2) triangles."""
    y, x = np.mgrid[:SIZE, :SIZE]
    mask = np.zeros((SIZE, SIZE), bool)
    for corners in triangles:
        ends = np.roll(corners, -1, axis=0)
        sides = [
            (bx - ax) * (y - ay) - (by - ay) * (x - ax)
            for (ax, ay), (bx, by) in zip(corners, ends, strict=True)
        ]
        mask |= np.all([s >= 0 for s in sides], axis=0) | np.all([s <= 0 for s in sides], axis=0)
    return mask.astype(np.uint8)


def _find(folder: Path, name: str) -> Path:
    """The path of a file anywhere below OpenFace's model folder."""
    if not os.path.isdir(folder):
        raise InputError(f"{one_line(folder)}: no such folder of OpenFace models")
    places = [folder / name, *sorted(folder.glob(f"*/{name}")), *sorted(folder.glob(f"*/*/{name}"))]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise InputError(
            f"{one_line(folder)}: no {name} in it; point to the AU_predictors folder of OpenFace 2"
        )
    return found


def _text(path: Path) -> str:
    return read_bytes(path).decode("ascii", errors="replace")


def _read_triangles(path: Path) -> np.ndarray:
    """(N, 3) indices of landmarks, after their rows, columns and type."""
    try:
        words = np.array(_text(path).split(), int)
        triangles = words[3:].reshape(words[0], 3)
        good = triangles.min() >= 0 and triangles.max() < POINTS
    except (ValueError, IndexError, OverflowError):
        good = False
    if not good:
        raise InputError(f"{one_line(path)}: not OpenFace's list of triangles")
    return triangles


def _read_linear(path: Path, presence: bool) -> Linear:
    """int32 type; float64 matrices of means and weights, each after rows, columns and type; bias.

    A presence model ends with the class above 0 and the one below.
    """
    if not os.path.isfile(path):
        raise InputError(f"{one_line(path)}: not there; AU_all_static.txt lists it")
    data = read_bytes(path)
    tail = 3 if presence else 1
    size = 4 + 2 * (12 + 8 * FEATURES) + 8 * tail
    if len(data) != size:
        raise InputError(f"{one_line(path)}: {len(data)} bytes; a static model has {size}")
    for at in (4, 16 + 8 * FEATURES):
        rows, columns, kind = (int(n) for n in np.frombuffer(data, "<i4", 3, at))
        if rows * columns != FEATURES or kind != FLOAT64:
            raise InputError(f"{one_line(path)}: not a static model of {FEATURES} float64")
    mean = np.frombuffer(data, "<f8", FEATURES, 16)
    weights = np.frombuffer(data, "<f8", FEATURES, 16 + 8 * FEATURES + 12)
    last = np.frombuffer(data, "<f8", tail, size - 8 * tail)
    if not all(np.isfinite(a).all() for a in (mean, weights, last)):
        raise InputError(f"{one_line(path)}: holds numbers that are not finite")
    above, below = (float(v) for v in last[1:]) if presence else (1.0, 0.0)
    return Linear(mean, weights, float(last[0]), above, below)
