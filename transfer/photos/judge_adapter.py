"""† What the judge's package lends: what finds faces, and what reads Action Units.

The only place where `transfer` needs `eval` and its extra, and it needs them when called.
"""

import functools
from pathlib import Path
from typing import Any

import numpy as np

from transfer.photos.align import FaceDetector
from transfer.photos.pose import Pose, pose_of


def face_detector(name: str) -> FaceDetector:
    """The judge's detector of a name.

    Raises:
        InputError: it is not there, or what it needs is not installed.
    """
    from eval.detectors import face_detector as detector

    return detector(name)


def measure_aus(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Action Units of an aligned face by the judge's reader: levels and changes, 0-5.

    Raises:
        InputError: what the reader needs is not installed.
    """
    from eval.files import Picture

    reading = _reader().read([Picture(Path("crop"), "", pixels)])[0]
    return None if reading.problem else (reading.level, reading.change)


def pose_of_picture(pixels: np.ndarray) -> Pose | None:
    """The pose of an aligned face, degrees; None where the judge finds no face."""
    from eval.faces import find_face, working_size

    face = find_face(working_size(pixels))
    return None if face is None else pose_of(face.landmarks)


@functools.cache
def _reader() -> Any:
    from eval.rendered import RenderedReader

    return RenderedReader()
