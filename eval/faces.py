"""Faces in pictures: dlib's detectors and its 68 landmarks.

dlib's quick frontal detector (HOG) misses one face in 25 of rendered people, mostly dark ones;
where it finds none, dlib's slower network (MMOD) is asked.

The landmark model (ERT; Kazemi & Sullivan, CVPR 2014) was trained on iBUG 300-W and comes with
PyPI's `face_recognition_models`.
"""

import dataclasses
import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eval.errors import InputError

SHORT_SIDE = 256
NETWORK_SIDE = 160  # pixels of the shorter side that the network looks at
NETWORK_LEAST = 40  # its filters do not fit into less
LONG_SIDE = 640

Box = tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True)
class Face:
    """The largest face of a picture.

    Attributes:
        landmarks: (68, 2) float64, x right and y down, pixels of `working_size(picture)`.
        box: left, top, right, bottom, pixels.
        count: how many faces the picture holds.
    """

    landmarks: np.ndarray
    box: Box
    count: int


def working_size(picture: np.ndarray, short_side: int = SHORT_SIDE) -> np.ndarray:
    """A picture big enough for a detector, small enough to be quick.

    The shorter side is brought up to `short_side`, the longer one down to 640, bicubically.

    Args:
        picture: (H, W, 3) uint8 RGB.
        short_side: pixels.
    """
    height, width = picture.shape[:2]
    scale = max(1.0, short_side / min(height, width))
    scale = min(scale, LONG_SIDE / max(height, width))
    if scale == 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def find_face(picture: np.ndarray) -> Face | None:
    """The largest face and its landmarks; None if there is none.

    Args:
        picture: (H, W, 3) uint8 RGB, of `working_size`.

    Raises:
        InputError: dlib or its landmark file is not installed.
    """
    picture = np.ascontiguousarray(picture)
    boxes = _dlib_models()[1](picture, 1)  # at twice the size: it looks for faces of 80 pixels
    if not boxes:
        boxes = _found_by_network(picture)
    if not boxes:
        return None
    # Among equals the first by position, so that a picture always gives the same face.
    largest = max(boxes, key=lambda box: (box.area(), -box.left(), -box.top()))
    box = largest.left(), largest.top(), largest.right(), largest.bottom()
    return Face(landmarks_in(picture, box), box, len(boxes))


def _found_by_network(picture: np.ndarray) -> list[Any]:
    """Boxes that dlib's MMOD network finds, in the picture's pixels."""
    dlib = _dlib_models()[0]
    scale = min(1.0, NETWORK_SIDE / min(picture.shape[:2]))
    height, width = (max(1, round(n * scale)) for n in picture.shape[:2])
    if min(height, width) < NETWORK_LEAST:
        return []
    small = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
    boxes = [found.rect for found in _network()(np.asarray(small), 0)]
    return [
        dlib.rectangle(*(round(v / scale) for v in (b.left(), b.top(), b.right(), b.bottom())))
        for b in boxes
    ]


def landmarks_in(picture: np.ndarray, box: Box) -> np.ndarray:
    """(68, 2) landmarks of the face in a known box.

    Args:
        picture: (H, W, 3) uint8 RGB.
        box: left, top, right, bottom, pixels; may reach out of the picture.
    """
    dlib, _, predictor = _dlib_models()
    shape = predictor(np.ascontiguousarray(picture), dlib.rectangle(*box))
    return np.array([(p.x, p.y) for p in shape.parts()], np.float64)


@functools.cache
def _dlib_models() -> tuple[Any, Any, Any]:
    try:
        import dlib
    except ImportError:
        raise InputError("dlib is not installed: pip install 'glow-jax[eval]'") from None
    predictor = dlib.shape_predictor(str(dlib_file("shape_predictor_68_face_landmarks.dat")))
    return dlib, dlib.get_frontal_face_detector(), predictor


@functools.cache
def _network() -> Any:
    dlib = _dlib_models()[0]
    return dlib.cnn_face_detection_model_v1(str(dlib_file("mmod_human_face_detector.dat")))


def dlib_file(name: str) -> Path:
    """Where `face_recognition_models` keeps a weight file.

    Raises:
        InputError: the package, or the file in it, is not there.
    """
    # Not imported: its __init__ needs pkg_resources, which new setuptools lack.
    found = importlib.util.find_spec("face_recognition_models")
    if found is None or not found.submodule_search_locations:
        raise InputError("face_recognition_models is not installed: pip install 'glow-jax[eval]'")
    path = Path(found.submodule_search_locations[0]) / "models" / name
    if not path.is_file():
        raise InputError(f"{path}: not there; reinstall face_recognition_models")
    return path
