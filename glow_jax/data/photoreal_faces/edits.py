"""Edits of the generator's modulations that change an expression and little else.

`edits.npz` has one edit per name, which is added to the modulations of `generator.EDITED` at
strength 1. All but two edits are sparse: they change the 60 channels in which the gradient of
MediaPipe's blendshape (logit), averaged over four people, is largest relative to the channel's
effect on the picture. The change of a channel is its gradient divided by that effect's square.
Gradients agree between people (cosine .3 to .7 of 3456 numbers for brows, lids and smiles). `smile`
and `jaw`, whose gradients are not useful at a closed mouth, are directions of a ridge regression of
the blendshape on the style (2,672 people, 80 principal components), in the layers of 16 and 32
pixels only.
"""

import functools
import hashlib
from importlib import resources
from importlib.resources.abc import Traversable
from typing import NamedTuple

import numpy as np

from glow_jax.data.photoreal_faces.generator import Edit


class Expression(NamedTuple):
    """An expression to generate.

    Args:
        edits: names of edits, and the factor of the strength of each.
        asked: blendshapes (left and right averaged) whose mean has to rise.
        least: smallest rise that is accepted.
    """

    edits: dict[str, float]
    asked: tuple[str, ...]
    least: float


EXPRESSIONS = {
    "smile": Expression({"smile": 1.0}, ("mouthSmile",), 0.3),
    "toothy smile": Expression({"smile": 1.0, "upper lip up": 0.6}, ("mouthUpperUp",), 0.25),
    "jaw drop": Expression({"jaw": 1.5, "lower lip down": 0.5}, ("jawOpen",), 0.12),
    "lips part": Expression({"lower lip down": 1.0}, ("mouthLowerDown",), 0.2),
    "upper lip up": Expression({"upper lip up": 1.0}, ("mouthUpperUp",), 0.25),
    "pucker": Expression({"pucker": 1.0}, ("mouthPucker",), 0.25),
    "lips pressed": Expression({"press": 1.0}, ("mouthPress",), 0.12),
    "lips stretched": Expression({"stretch": 1.0}, ("mouthStretch",), 0.15),
    "frown": Expression({"frown": 1.0}, ("mouthFrown",), 0.1),
    "blink": Expression({"blink": 1.0}, ("eyeBlink",), 0.3),
    "squint": Expression({"squint": 1.0}, ("eyeSquint",), 0.2),
    "brows up": Expression({"brows up": 1.0}, ("browInnerUp", "browOuterUp"), 0.15),
    "brows down": Expression({"brows down": 1.0}, ("browDown",), 0.25),
    "anger": Expression({"brows down": 0.8, "press": 0.6}, ("browDown",), 0.25),
    "surprise": Expression(
        {"brows up": 1.0, "lower lip down": 0.8}, ("browInnerUp", "browOuterUp"), 0.12
    ),
    "disgust": Expression({"upper lip up": 0.7, "brows down": 0.6}, ("mouthUpperUp",), 0.25),
}


@functools.cache
def edits() -> dict[str, Edit]:
    """The edits by name, float32, at strength 1."""
    with _file().open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        names, values = arrays["names"], arrays["edits"].astype(np.float32)
    return {str(name): value for name, value in zip(names, values, strict=True)}


def edits_sha256() -> str:
    """SHA-256 of the edits' file, for the description of the data set."""
    return hashlib.sha256(
        resources.files(__package__).joinpath("edits.npz").read_bytes()
    ).hexdigest()


def edit_of(expression: Expression, strength: float) -> Edit:
    """The change of the modulations by an expression."""
    known = edits()
    parts = [np.float32(strength * share) * known[name] for name, share in expression.edits.items()]
    return np.stack(parts).sum(axis=0, keepdims=True)[0]


def _file() -> Traversable:
    return resources.files(__package__).joinpath("edits.npz")
