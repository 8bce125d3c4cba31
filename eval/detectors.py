"""Face detectors by name: dlib's, which needs no network, or any of DeepFace's."""

import functools
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from eval.faces import Box, Found, find_faces, landmarks_in, load_dlib
from eval.identity import load_deepface, quietly
from glow_jax.io.cache_folders import cache_folder
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason
from glow_jax.io.packages import need

DLIB = "dlib"
# The box of dlib's detector, measured on renders, in units of the root mean square of the
# landmarks' distances from their mean.
SIDE, RAISED = 2.84, 0.13

_ONE_AT_A_TIME = threading.Lock()


def face_detector(
    name: str = DLIB, home: Path | None = None, *, turned: bool = True
) -> Callable[[np.ndarray], list[Found]]:
    """`find_faces` with a detector, by name; it may be called from several threads.

    Args:
        name: "dlib", or a detector of DeepFace, such as "retinaface".
        home: folder for the weights that DeepFace downloads; None is
            `glow_jax.io.cache_folders.cache_home()`.
        turned: whether faces are found in photographs that lie on their side, too.

    Raises:
        InputError: there is no such detector, or a package that it needs is not installed.
    """
    load_dlib()  # its landmarks are used with every detector
    if name == DLIB:
        return functools.partial(find_faces, turned=turned)
    need("eval", "deepface")
    home = cache_folder() if home is None else home
    build = load_deepface(home).modules.modeling.build_model
    quietly(f"face detector {one_line(name)}", build, "face_detector", name)
    boxes_in = functools.partial(deepface_boxes, name, home)
    return functools.partial(find_faces, boxes_in=boxes_in, turned=turned)


def deepface_boxes(name: str, home: Path, picture: np.ndarray) -> list[Box]:
    """Boxes of the faces that a DeepFace detector finds, converted to boxes like dlib's.

    Detectors define the box of a face differently, and dlib's landmarks depend on the box.
    Therefore landmarks are found in the detector's box, and the result is dlib's box around them.

    Args:
        name: name of the detector.
        home: folder for the detector's weights.
        picture: (H, W, 3) uint8 RGB.

    Raises:
        InputError: DeepFace fails.
    """
    # DeepFace expects BGR; a copy, since it may write into its input.
    image = np.ascontiguousarray(picture[..., ::-1])
    try:
        with _ONE_AT_A_TIME:  # not all of DeepFace's detectors are thread-safe
            faces = load_deepface(home).DeepFace.extract_faces(
                image, detector_backend=name, enforce_detection=False, align=False
            )
    except Exception as error:  # DeepFace's detectors raise many types of errors
        why = reason(error)
        raise InputError(f"face detector {one_line(name)}: DeepFace failed ({why})") from None
    # If there is no face, DeepFace returns the whole picture with confidence 0.
    areas = [face["facial_area"] for face in faces if face["confidence"] > 0]
    boxes = [(a["x"], a["y"], a["x"] + a["w"] - 1, a["y"] + a["h"] - 1) for a in areas]
    return [_around(landmarks_in(picture, box)) for box in boxes]


def _around(landmarks: np.ndarray) -> Box:
    middle = landmarks.mean(0)
    radius = float(np.sqrt(((landmarks - middle) ** 2).sum(1).mean()))
    middle = middle - (0, RAISED * radius)
    left, top, right, bottom = (
        round(v) for v in (*(middle - SIDE / 2 * radius), *(middle + SIDE / 2 * radius))
    )
    return left, top, right, bottom
