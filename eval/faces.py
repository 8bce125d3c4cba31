"""Faces in pictures: dlib's detectors and its 68 landmarks.

dlib's fast frontal detector (HOG) misses 1 in 25 faces of rendered people, mostly dark ones. If it
finds none, dlib's slower network detector (MMOD) is used.

The landmark model (ERT; Kazemi & Sullivan, CVPR 2014) was trained on iBUG 300-W and comes with
PyPI's `face_recognition_models`.
"""

import contextlib
import dataclasses
import functools
import importlib.util
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from glow_jax.io import kept_files
from glow_jax.io.cache_folders import cache_folder
from glow_jax.io.errors import InputError
from glow_jax.io.landmarks68 import MIRROR
from glow_jax.io.messages import install_hint, reason
from glow_jax.io.packages import need

SHORT_SIDE = 256
NETWORK_SIDE = 160  # shorter side in pixels at which the network searches
PHOTOGRAPH_NETWORK_SIDE = 480  # the same for photographs, in which faces are smaller
NETWORK_LEAST = 40  # smallest side in pixels that the network's filters accept
LONG_SIDE = 640
SEARCHED_SIDE = 1600  # longer side in pixels at which photographs are searched
CERTAIN = 1.0  # score of dlib's fast detector from which a face is upright; see `_score`
SCORED_SIDE = 160  # side in pixels to which a face's box is resized for `_score`
REFINED_SIDE = 240  # side in pixels to which a face's box is resized to find its landmarks

Box = tuple[int, int, int, int]

_OF_THREAD = threading.local()
_LOADING = threading.Lock()  # threads that begin together load what they share once


@dataclasses.dataclass(frozen=True)
class Face:
    """The largest face of a picture.

    Attributes:
        landmarks: (68, 2) float64, x right and y down, pixels of `working_size(picture)`.
        box: left, top, right, bottom, pixels.
        count: number of faces in the picture.
    """

    landmarks: np.ndarray
    box: Box
    count: int


@dataclasses.dataclass(frozen=True)
class Found:
    """One of the faces of a photograph.

    Attributes:
        landmarks: (68, 2) float64, x right and y down, pixels of the photograph; (0.5, 0.5) is the
            centre of the first pixel.
        box: left, top, right, bottom, in the same unit; may extend beyond the photograph.
    """

    landmarks: np.ndarray
    box: tuple[float, float, float, float]


def working_size(picture: np.ndarray, short_side: int = SHORT_SIDE) -> np.ndarray:
    """A picture resized for the detector: large enough to find faces, small enough to be fast.

    The shorter side is enlarged to `short_side`, the longer one reduced to 640, bicubically.

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
    boxes = dlib_boxes(picture)
    if not boxes:
        return None
    # Of equally large faces the position decides, so that a picture always gives the same face.
    box = max(boxes, key=lambda b: ((b[2] - b[0] + 1) * (b[3] - b[1] + 1), -b[0], -b[1]))
    return Face(landmarks_in(picture, box), box, len(boxes))


def dlib_boxes(picture: np.ndarray, network_side: int = NETWORK_SIDE) -> list[Box]:
    """Boxes of the faces that dlib's fast detector finds, or, if there are none, its network.

    Args:
        picture: (H, W, 3) uint8 RGB; the fast detector finds faces of 40 pixels or more.
        network_side: shorter side in pixels at which the network searches; it finds faces of 80
            pixels or more.
    """
    picture = np.ascontiguousarray(picture)
    # At twice the size, because the detector finds faces of 80 pixels or more.
    boxes = list(_own("quick", _detector)(picture, 1)) or _found_by_network(picture, network_side)
    return [(b.left(), b.top(), b.right(), b.bottom()) for b in boxes]


def photograph_boxes(picture: np.ndarray) -> list[Box]:
    """`dlib_boxes` of a picture in which faces may be small."""
    return dlib_boxes(picture, PHOTOGRAPH_NETWORK_SIDE)


def find_faces(
    picture: np.ndarray,
    boxes_in: Callable[[np.ndarray], list[Box]] = photograph_boxes,
    *,
    turned: bool = True,
) -> list[Found]:
    """All faces of a photograph, with landmarks found at one resolution for all faces.

    A large photograph is searched at `SEARCHED_SIDE` pixels. Landmarks are the mean of those of
    the face and of its mirror image, both resized to `REFINED_SIDE` pixels.

    dlib's landmarks need an upright face, but its network and DeepFace's detectors also find turned
    ones. If no face has a `_score` of CERTAIN, the photograph is searched after the quarter turn
    that gives dlib's fast detector the highest score, and the faces that are found so are the
    result if one of them has that score. Coordinates are those of the photograph as given.

    Args:
        picture: (H, W, 3) uint8 RGB, any size.
        boxes_in: function from a picture to boxes like dlib's, from the brows to the chin.
        turned: whether the photograph may be turned.

    Raises:
        InputError: dlib or its landmark file is not installed.
    """
    found = _search(picture, boxes_in)
    if not turned or _is_upright(picture, found):
        return found
    small = working_size(picture)
    scores = [_best_score(np.rot90(small, turns)) for turns in (1, 2, 3)]
    if max(scores) <= 0:
        return found
    turns = 1 + int(np.argmax(scores))
    other = np.ascontiguousarray(np.rot90(picture, turns))
    in_other = _search(other, boxes_in)
    if not _is_upright(other, in_other):
        return found
    return [_turned_back(face, other, turns) for face in in_other]


def _is_upright(picture: np.ndarray, faces: list[Found]) -> bool:
    """Whether one of a picture's faces is upright for certain."""
    return any(_score(picture, face) >= CERTAIN for face in faces)


def _search(picture: np.ndarray, boxes_in: Callable[[np.ndarray], list[Box]]) -> list[Found]:
    """All faces of a photograph, as if it were upright."""
    height, width = picture.shape[:2]
    scale = min(max(1.0, SHORT_SIDE / min(height, width)), SEARCHED_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    searched = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
    x, y = width / size[0], height / size[1]
    boxes = [(b[0] * x, b[1] * y, (b[2] + 1) * x, (b[3] + 1) * y) for b in boxes_in(searched)]
    return [Found(_refined(picture, box), box) for box in boxes]


def _score(picture: np.ndarray, face: Found) -> float:
    """The score of dlib's fast detector for the surroundings of a face, or 0.

    Of the faces of 120 photographs, 110 score above 1 and the others 0.3 or more; of photographs
    that are upside down, faces score at most 0.75, and of those on their sides 0.
    """
    side = max(face.box[2] - face.box[0], face.box[3] - face.box[1], 1.0)
    left, top = (max(0, int(v - side / 2)) for v in face.box[:2])
    part = picture[top : int(face.box[3] + side / 2) + 1, left : int(face.box[2] + side / 2) + 1]
    if not part.size:
        return 0.0
    scale = 2 * SCORED_SIDE / max(part.shape[:2])
    size = max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale))
    return _best_score(np.asarray(Image.fromarray(part).resize(size, Image.Resampling.BICUBIC)), 0)


def _best_score(picture: np.ndarray, upsampled: int = 1) -> float:
    """The highest score of dlib's fast detector in a picture, or 0.

    It finds faces of 80 pixels, or with `upsampled` 1 of 40.
    """
    # a copy: dlib refuses the strides of a turned view that is one pixel wide
    _, scores, _ = _own("quick", _detector).run(picture.copy(), upsampled, 0.0)
    return max(scores, default=0.0)


def _turned_back(face: Found, picture: np.ndarray, turns: int) -> Found:
    """A face of `picture`, a photograph turned counter-clockwise, in the photograph itself."""
    points = np.concatenate([face.landmarks, np.reshape(face.box, (2, 2))])
    for turn in range(turns):
        width = picture.shape[turn % 2]
        points = np.column_stack([width - points[:, 1], points[:, 0]])
    corners = points[-2:]
    return Found(points[:-2], (*corners.min(0), *corners.max(0)))


def _refined(picture: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """(68, 2) landmarks in the picture's pixels, of the face in a box."""
    height, width = picture.shape[:2]
    side = max(box[2] - box[0], box[3] - box[1], 1.0)
    left, top = (max(0, int(v - side / 2)) for v in box[:2])
    right = max(min(width, int(box[2] + side / 2) + 1), left + 1)
    bottom = max(min(height, int(box[3] + side / 2) + 1), top + 1)
    part = Image.fromarray(picture[top:bottom, left:right])
    scale = REFINED_SIDE / side
    size = max(1, round(part.width * scale)), max(1, round(part.height * scale))
    x, y = size[0] / part.width, size[1] / part.height
    small = np.asarray(part.resize(size, Image.Resampling.BICUBIC))
    here = (
        round((box[0] - left) * x),
        round((box[1] - top) * y),
        round((box[2] - left) * x) - 1,
        round((box[3] - top) * y) - 1,
    )
    one = landmarks_in(small, here) + 0.5
    last = size[0] - 1
    mirror = np.ascontiguousarray(small[:, ::-1])
    other = landmarks_in(mirror, (last - here[2], here[1], last - here[0], here[3])) + 0.5
    other = np.column_stack([size[0] - other[:, 0], other[:, 1]])[MIRROR]
    return (one + other) / 2 / (x, y) + (left, top)


def _found_by_network(picture: np.ndarray, side: int) -> list[Any]:
    """Boxes that dlib's MMOD network finds, in the picture's pixels."""
    dlib = _dlib_models()[0]
    scale = min(1.0, side / min(picture.shape[:2]))
    height, width = (max(1, round(n * scale)) for n in picture.shape[:2])
    if min(height, width) < NETWORK_LEAST:
        return []
    small = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
    boxes = [found.rect for found in _own("network", _network)(np.asarray(small), 0)]
    return [
        dlib.rectangle(*(round(v / scale) for v in (b.left(), b.top(), b.right(), b.bottom())))
        for b in boxes
    ]


def landmarks_in(picture: np.ndarray, box: Box) -> np.ndarray:
    """(68, 2) landmarks of the face in a known box.

    Args:
        picture: (H, W, 3) uint8 RGB.
        box: left, top, right, bottom, pixels; may extend beyond the picture.
    """
    dlib, predictor = _dlib_models()
    shape = predictor(np.ascontiguousarray(picture), dlib.rectangle(*box))
    return np.array([(p.x, p.y) for p in shape.parts()], np.float64)


def load_dlib() -> Any:
    """The module dlib.

    Raises:
        InputError: it or its landmark file is not installed.
    """
    need("eval", "dlib")
    dlib_file("shape_predictor_68_face_landmarks.dat")
    try:
        import dlib
    except ImportError as error:
        raise InputError(
            f"dlib cannot be imported ({reason(error)}): {install_hint('eval')}"
        ) from None
    return dlib


def _dlib_models() -> tuple[Any, Any]:
    """The module dlib, and its landmark model."""
    with _LOADING:
        return _loaded_models()


@functools.cache
def _loaded_models() -> tuple[Any, Any]:
    dlib = load_dlib()
    predictor = dlib.shape_predictor(str(dlib_file("shape_predictor_68_face_landmarks.dat")))
    return dlib, predictor


def _own(name: str, make: Callable[[], Any]) -> Any:
    """A detector for this thread only, because dlib's detectors have state and release the GIL."""
    if not hasattr(_OF_THREAD, name):
        setattr(_OF_THREAD, name, make())
    return getattr(_OF_THREAD, name)


def _detector() -> Any:
    """dlib's fast frontal detector."""
    kind = load_dlib().fhog_object_detector
    detector = kind.__new__(kind)
    with _LOADING:
        detector.__setstate__((_detector_bytes(),))
    return detector


@functools.cache
def _detector_bytes() -> bytes:
    """dlib's fast detector as bytes, kept in the cache folder: dlib unpacks it in 0.4 CPU seconds.

    Without a cache folder that can be used, dlib unpacks it.
    """
    dlib = load_dlib()
    path = None
    with contextlib.suppress(InputError):
        path = cache_folder("dlib") / f"frontal-detector-{dlib.__version__}"
        if (data := kept_files.read(path)) is not None:
            return data
    (made,) = dlib.get_frontal_face_detector().__getstate__()
    if path is not None:
        kept_files.write(path, made)
    return bytes(made)


def _network() -> Any:
    dlib = _dlib_models()[0]
    return dlib.cnn_face_detection_model_v1(str(dlib_file("mmod_human_face_detector.dat")))


def dlib_file(name: str) -> Path:
    """The path of a weight file in the package `face_recognition_models`.

    Raises:
        InputError: the package, or the file in it, is missing.
    """
    # The package is not imported: it needs pkg_resources, which new versions of setuptools lack.
    need("eval", "face_recognition_models")
    found = importlib.util.find_spec("face_recognition_models")
    assert found is not None and found.submodule_search_locations
    path = Path(found.submodule_search_locations[0]) / "models" / name
    if not path.is_file():
        raise InputError(f"{path} is missing; reinstall face_recognition_models")
    return path
