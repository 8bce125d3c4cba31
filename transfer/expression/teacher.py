"""MediaPipe's labels of photoreal people, put into the terms of the renders' true labels.

`glow-jax generate` labels its pictures with MediaPipe's landmarks and blendshapes. Its 68 points
lie elsewhere on a face than those of the renders, and a full expression of a render does not read
1. The constants are medians over 818 renders of 140 people, read by MediaPipe at 256 pixels and
compared with the truth (`python -m bench.truth.teacher`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from glow_jax.io.blendshapes import mean_of_sides
from glow_jax.io.errors import InputError
from glow_jax.io.landmarks68 import LEFT_EYE, RIGHT_EYE
from glow_jax.io.messages import reason
from transfer.expression.pairs import Pairs

# MediaPipe's point less that of the renders, in thousandths of the distance between the eyes: right
# along the line between them, and down.
RIGHT = (
    *(-6, -5, -29, 29, 10, -89, -8, 46, 0, -46, 8, 89, -10, -29, 29, 5, 6),
    *(8, -29, -67, -91, -56, 56, 91, 67, 29, -8, 0, 0, 0, 0, 21, -20, 0, 20, -21),
    *(-10, 11, -4, 0, 4, 26, 0, 4, -11, 10, -26, -4),
    *(19, 52, 6, 0, -6, -52, -19, -68, -52, 0, 52, 68, 6, 74, 0, -74, -6, -81, 0, 81),
)
DOWN = (
    *(44, -49, -100, 143, 33, -95, -12, 40, -2, 40, -12, -95, 33, 143, -100, -49, 44),
    *(-27, -2, -9, -7, -14, -14, -7, -9, -2, -27, -23, 39, 72, -4, -72, -34, -44, -34, -72),
    *(-20, -19, -12, -19, 0, 5, -19, -12, -19, -20, 5, 0),
    *(-12, -16, -2, 4, -2, -16, -12, 21, 0, -11, 0, 21, -15, -22, -28, -22, -15, 3, -9, 3),
)
# What a full smile and a full jaw drop of a render read: regression of the change on the truth.
FULL_READING = 0.72
# Units whose readings hardly vary (standard deviation below .03 over 3,900 photoreal people).
UNREAD = ("AU5", "AU6", "AU9", "AU14")
# Blendshapes (left and right averaged) of a neutral face are at most these.
NEUTRAL_AT_MOST = {"mouthSmile": 0.3, "jawOpen": 0.1, "mouthUpperUp": 0.2, "eyeBlink": 0.4}


class Taught(NamedTuple):
    """Photoreal pictures of one size, and what MediaPipe says of them.

    Attributes:
        images: uint8 (N, H, W, 3).
        activations: (N, A), 0 in a neutral face on average; NaN for units that are not read.
        landmarks: (N, 68, 2), at the renders' points, right and down in sides of the picture.
        people: (N,) identity numbers.
        neutral: (N,) bool, whether the face is nearly neutral.
        bases: (N,) index of the neutral picture that a picture is the pair of; -1 without one.
    """

    images: np.ndarray
    activations: np.ndarray
    landmarks: np.ndarray
    people: np.ndarray
    neutral: np.ndarray
    bases: np.ndarray


def taught(images: np.ndarray, labels: Sequence[Mapping[str, Any]], aus: Sequence[str]) -> Taught:
    """Pictures and their labels of `glow-jax generate`, in the terms of the renders.

    Args:
        images: uint8 (N, H, W, 3).
        labels: one per image, with landmarks as shares of the picture's sides.
        aus: names of the A units.

    Raises:
        InputError: a label lacks a field, or holds something else in it; no face is neutral.
    """
    try:
        readings = np.array([[row["aus"][au] for au in aus] for row in labels], np.float32)
        landmarks = np.array([row["landmarks"] for row in labels], np.float32)
        people = np.array([row["identity"] for row in labels])
        neutral = np.array([is_neutral(row["blendshapes"]) for row in labels])
        landmarks = landmarks.reshape(-1, 68, 2)
        place = {row["file"]: i for i, row in enumerate(labels)}
        bases = np.array([_base(row, place) for row in labels], int)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"labels: not those of photoreal faces ({reason(error)})") from None
    if not neutral.any():
        raise InputError("labels: no photoreal face is neutral; use more people")
    activations = (readings - readings[neutral].mean(0)) / np.float32(FULL_READING)
    activations[:, [au in UNREAD for au in aus]] = np.nan
    return Taught(images, activations, at_renders_points(landmarks), people, neutral, bases)


def pairs_of(taught: Taught) -> Pairs:
    """The pairs of pictures, maybe none; a change of 0 for units that are not read."""
    after = np.flatnonzero(taught.bases >= 0)
    before = taught.bases[after]
    change = np.nan_to_num(taught.activations[after] - taught.activations[before])
    marks = taught.landmarks[before], taught.landmarks[after]
    return Pairs(taught.images[before], taught.images[after], change, *marks)


def _base(row: Mapping[str, Any], place: Mapping[str, int]) -> int:
    """The index of a picture's neutral one, -1 if there is none or it is that picture itself."""
    neutral = row.get("neutral")
    return -1 if neutral is None or neutral == row["file"] else place.get(neutral, -1)


def is_neutral(blendshapes: Mapping[str, float]) -> bool:
    """Whether a face's blendshapes are nearly those of a neutral face."""
    return all(mean_of_sides(blendshapes, name) <= most for name, most in NEUTRAL_AT_MOST.items())


def at_renders_points(landmarks: Float[np.ndarray, "N 68 2"]) -> Float[np.ndarray, "N 68 2"]:
    """MediaPipe's landmarks, shifted to the points of the face at which the renders' lie."""
    across = landmarks[:, LEFT_EYE].mean(1) - landmarks[:, RIGHT_EYE].mean(1)
    x, y = across[:, :1], across[:, 1:]
    right, down = np.array(RIGHT, np.float32)[None] / 1000, np.array(DOWN, np.float32)[None] / 1000
    return landmarks - np.stack([right * x - down * y, right * y + down * x], -1)
