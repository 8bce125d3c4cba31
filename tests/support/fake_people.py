"""A generator and a reader for tests of `photoreal_faces`: fast, deterministic, without networks.

A picture carries in bands of rows how much of each edit went into it, and the reader reads that.
Run as a program, it makes a folder of single pictures, slowly, to be killed:

    python -m tests.support.fake_people OUT SECONDS
"""

import functools
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glow_jax.data.photoreal_faces.edits import edits
from glow_jax.data.photoreal_faces.labels import Label
from glow_jax.data.photoreal_faces.pairs import Tools, make_pairs
from glow_jax.data.photoreal_faces.people import SIZES_PX, Person
from glow_jax.data.photoreal_faces.shards import make_folder
from glow_jax.data.photoreal_faces.singles import make_people, people_plan
from glow_jax.data.photoreal_faces.workers import Made, Make, Rejected
from glow_jax.data.synthetic_faces.people import BLENDSHAPES

NO_FACE, SMILES, TURNED = 2, 3, 5  # numbers of people: no face; needs a smile taken off; profile
MOVES = {
    "smile": "mouthSmile", "jaw": "jawOpen", "blink": "eyeBlink", "brows up": "browInnerUp",
    "brows down": "browDown", "squint": "eyeSquint", "pucker": "mouthPucker",
    "press": "mouthPress", "lower lip down": "mouthLowerDown", "upper lip up": "mouthUpperUp",
    "stretch": "mouthStretch", "frown": "mouthFrown",
}  # fmt: skip
BAND = 32  # rows of a picture of 512 pixels
SINGLE = ("browInnerUp", "jawOpen", "mouthPucker", "mouthShrugLower")
NAMES = [n for b in BLENDSHAPES.values() for n in ((b,) if b in SINGLE else (b + "Left", b + "Right"))]  # fmt: skip # noqa: E501
ALL_NAMES = [*NAMES, *(f"other{i}" for i in range(52 - len(NAMES)))]


@functools.cache
def strengths_of_edit() -> np.ndarray:
    """A matrix that makes strengths of a sum of edits."""
    return np.linalg.pinv(np.stack([edits()[name] for name in MOVES]).astype(np.float64))


@functools.cache
def noise() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(100, 140, (128, 128, 3)).astype(np.uint8)
    return coarse.repeat(4, 0).repeat(4, 1)


def draw(person: Person, edit: Any = None) -> np.ndarray:
    """Noise; in band 0 the person's number, in the others the strengths of the edits."""
    picture = noise().copy()
    strengths = np.zeros(len(MOVES))
    if edit is not None:
        strengths = edit.astype(np.float64) @ strengths_of_edit()
    picture[:BAND] = person.number
    for i, strength in enumerate(strengths, 1):
        picture[i * BAND : (i + 1) * BAND] = np.clip(round(100 + 40 * strength), 0, 255)
    return picture


def read(picture: np.ndarray) -> Label | None:
    """The strengths as blendshapes; a strong jaw turns the head."""
    band = BAND * len(picture) // 512
    number = int(picture[0, 0, 0])
    if number == NO_FACE:
        return None
    strengths = {n: (int(picture[i * band, 0, 0]) - 100) / 40 for i, n in enumerate(MOVES, 1)}
    shapes = dict.fromkeys(ALL_NAMES, 0.05)
    for name, moved in MOVES.items():
        smiling = 0.5 if name == "smile" and number == SMILES else 0.1
        for key in (moved, f"{moved}Left", f"{moved}Right"):
            if key in shapes:
                shapes[key] = float(np.clip(smiling + 0.3 * strengths[name], 0, 1))
    yaw = 50.0 if number == TURNED else 1.0 + 4 * strengths["jaw"]
    return Label(shapes, np.linspace(0.2, 0.8, 136).reshape(68, 2), (yaw, 0.0, 0.0))


def embed(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Far from everybody's once brows go down."""
    band = BAND * len(picture) // 512
    index = 1 + list(MOVES).index("brows down")
    return np.full(128, (int(picture[index * band, 0, 0]) - 100) / 40)


def start_people(seconds: float = 0.0, dies: int | None = None) -> Make:
    """Single pictures; `dies` is the number of a person who kills the worker."""
    make = make_people(0, draw, read)

    def slowly(number: int) -> Sequence[Made | Rejected]:
        time.sleep(seconds)
        if number == dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return make(number)

    return slowly


def start_pairs() -> Make:
    return make_pairs(0, Tools(draw, read, embed))


def unable() -> Make:
    raise ModuleNotFoundError("No module named 'openvino'")


if __name__ == "__main__":
    from tests.support.fake_people import start_people as imported  # workers need its name

    out, pause = sys.argv[1:]
    plan = people_plan(range(66), SIZES_PX, 0)
    make_folder(Path(out), plan, functools.partial(imported, float(pause)), workers=2)
