"""Face detectors and measurements of Action Units from the judge (`eval`).

Apart from the command line, this is the only module of `transfer` that imports `eval`. It does so
inside its functions, because `eval` needs the extra `eval` of this package.
"""

import functools
from pathlib import Path
from typing import Any

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.messages import brief
from glow_jax.io.packages import need
from transfer.photos.align import FaceDetector
from transfer.photos.pose import Pose, pose_of


def face_detector(name: str, *, turned: bool = True) -> FaceDetector:
    """A face detector of the judge, by name, such as "dlib".

    Args:
        name: of the detector.
        turned: whether faces are found in photographs that lie on their side, too.

    Raises:
        InputError: there is no such detector, or a package that it needs is not installed.
    """
    from eval.detectors import DLIB
    from eval.detectors import face_detector as detector

    if name != DLIB:
        _check_detector(name)
    return detector(name, turned=turned)


def _check_detector(name: str) -> None:
    """Raise InputError unless DeepFace, which must be installed, has a detector of this name."""
    need("eval", "deepface")
    from eval.identity import load_deepface
    from glow_jax.io.cache_folders import cache_folder

    modeling = load_deepface(cache_folder()).modules.modeling
    known = getattr(modeling, "AVAILABLE_MODELS", {}).get("face_detector", {})
    if known and name not in known:  # else DeepFace says it
        others = ", ".join(sorted(set(known) - {"dlib"}))
        raise InputError(f"`detector` is {brief(name)}; use dlib, or one of DeepFace: {others}")


def measure_aus(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Levels and changes (both (A,)) of Action Units in an aligned face, measured by the judge.

    See `transfer.photos.neutral.Measurement`; None where the judge finds no face.

    Raises:
        InputError: a package that the judge needs is not installed.
    """
    from eval.files import Picture

    reading = _reader().read([Picture(Path("crop"), "", pixels)])[0]
    return None if reading.problem else (reading.level, reading.change)


def check_measuring() -> None:
    """Raise InputError unless the packages that `measure_aus` needs are installed."""
    from eval.faces import load_dlib

    load_dlib()
    need("eval", "cv2")


def pose_of_picture(pixels: np.ndarray) -> Pose | None:
    """The pose of an aligned face, degrees; None where the judge finds no face."""
    from eval.faces import find_face, working_size

    face = find_face(working_size(pixels))
    return None if face is None else pose_of(face.landmarks)


@functools.cache
def _reader() -> Any:
    from eval.rendered import RenderedReader

    return RenderedReader()
