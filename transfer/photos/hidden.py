"""Whether the eyes or the mouth of a face may be hidden, by a mask, a hand or dark glasses.

Where nothing is seen of a face, the face detector's landmarks follow a typical one, and those of
the expression model follow the edges that are there. Where the two differ much, at least one is
wrong. Dark glasses have edges like eyes; they are recognised by how dark they are compared with the
cheeks. How often this finds what is hidden is measured by `python -m bench.truth.hidden`
(docs/results/reading.md).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from glow_jax.io.errors import InputError
from glow_jax.io.landmarks68 import LEFT_EYE, LIPS, RIGHT_EYE, eye_distance
from glow_jax.io.messages import one_line
from transfer.expression.estimate import read
from transfer.expression.model import ExpressionModel
from transfer.grey import LUMA
from transfer.photos.align import Aligned
from transfer.photos.crop import transform_points

Landmarks = Float[np.ndarray, "68 2"]

MAX_APART = 0.08  # mean distance between the two detectors' landmarks, distances between the eyes
# Mean luma of an eye and its surroundings over that of the cheek below, of the lighter eye. One of
# 100 photoreal people has less, mostly because of dark glasses; one of 20 has less than 0.5.
MIN_LIGHT = 0.3
# Ellipses over eyes and cheeks: half width, half height and how far below the eye, as above.
EYE, CHEEK = (0.35, 0.2, 0.0), (0.25, 0.12, 0.55)


def hidden_in(model: ExpressionModel | None, face: Aligned) -> tuple[str, ...]:
    """Which of "eyes" and "mouth" may be hidden in a face with details.

    Empty for a model that was not adapted to photographs, whose landmarks are too inexact, or that
    finds none: the outputs that need them fail with the reason.
    """
    if model is None or model.smoothing is None or face.details is None:
        return ()
    detected = transform_points(face.landmarks, face.transform)
    try:
        found = read(model, face.details[None]).landmarks[0]
    except InputError:
        return ()
    return hidden_parts(face.details, detected, found)


def hidden_parts(
    pixels: UInt8[np.ndarray, "H W 3"], detected: Landmarks, found: Landmarks
) -> tuple[str, ...]:
    """Which of "eyes" and "mouth" may be hidden; "eyes" where one of them may.

    Args:
        pixels: an aligned face.
        detected: landmarks of the face detector, right and down in sides of the picture.
        found: landmarks of the expression model, in the same unit.
    """
    away = np.linalg.norm(detected - found, axis=-1) / eye_distance(found)
    parts = {"eyes": (RIGHT_EYE, LEFT_EYE), "mouth": (LIPS,)}
    seen = {p: all(away[one].mean() <= MAX_APART for one in where) for p, where in parts.items()}
    seen["eyes"] = seen["eyes"] and light_of_eyes(pixels, found) >= MIN_LIGHT
    return tuple(part for part, is_seen in seen.items() if not is_seen)


def light_of_eyes(pixels: UInt8[np.ndarray, "H W 3"], landmarks: Landmarks) -> float:
    """Mean luma of the lighter eye and its surroundings over that of the cheek below.

    1 where a cheek is black or outside the picture.
    """
    luma = pixels @ np.array(LUMA)
    size = np.array(luma.shape[::-1])
    places = np.moveaxis(np.indices(luma.shape)[::-1], 0, -1) + 0.5
    unit = eye_distance(landmarks)

    def mean(eye: slice, ellipse: tuple[float, float, float]) -> float:
        width, height, below = ellipse
        centre = (landmarks[eye].mean(0) + np.array([0, below * unit])) * size
        inside = (((places - centre) / (size * unit * np.array([width, height]))) ** 2).sum(-1) < 1
        return float(luma[inside].mean()) if inside.any() else 0.0

    shares = [
        mean(eye, EYE) / cheek if (cheek := mean(eye, CHEEK)) else 1.0
        for eye in (RIGHT_EYE, LEFT_EYE)
    ]
    return max(shares)


def hidden_line(path: str, parts: Sequence[str]) -> str:
    """A line about a picture in which parts of the face may be hidden."""
    return (
        f"{one_line(path)}: the {' and the '.join(parts)} may be hidden or misdetected; "
        "check the outputs made from this picture"
    )
