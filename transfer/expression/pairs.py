"""The data that an expression model is fitted on: rendered faces with true labels, and pairs."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.messages import reason

CALIBRATION_SHARE = 10  # one person in so many is held out to calibrate the AU regressor


@dataclasses.dataclass(frozen=True)
class Faces:
    """Rendered pictures and their true labels, in any order.

    Attributes:
        images: uint8 (N, H, W, 3).
        aus: names of the A Action Units.
        activations: (N, A), 0-1.
        landmarks: (N, 68, 2), right and down in sides of the picture.
        people: (N,) identity numbers.
        conditions: (N,) numbers; pictures of one person and condition differ in expression only.
    """

    images: np.ndarray
    aus: tuple[str, ...]
    activations: np.ndarray
    landmarks: np.ndarray
    people: np.ndarray
    conditions: np.ndarray

    @classmethod
    def from_labels(
        cls, images: np.ndarray, labels: Sequence[dict[str, Any]], aus: tuple[str, ...]
    ) -> "Faces":
        """The faces of a folder that `glow-jax render` wrote.

        Args:
            images: uint8 (N, H, W, 3).
            labels: rows of the folder's labels.jsonl, one per image.
            aus: names of the units.

        Raises:
            InputError: a label lacks a field, or holds something else in it.
        """
        side = images.shape[1]
        try:
            return cls(
                images,
                aus,
                np.array([[row["aus"].get(au, 0.0) for au in aus] for row in labels], float),
                np.array([row["landmarks"] for row in labels], float).reshape(-1, 68, 2) / side,
                np.array([row["identity"] for row in labels]),
                np.array([row["condition"] for row in labels]),
            )
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"labels: not those of rendered faces ({reason(error)})") from None

    def of(self, rows: np.ndarray) -> "Faces":
        """The pictures that `rows`, indices or booleans, selects."""
        arrays = (self.activations, self.landmarks, self.people, self.conditions)
        return Faces(self.images[rows], self.aus, *(a[rows] for a in arrays))

    @property
    def neutral(self) -> np.ndarray:
        """(N,) bool: pictures without any activation."""
        return self.activations.sum(1) == 0


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pairs of pictures that differ in the expression only: a neutral and an expressive one.

    Attributes:
        neutral, expressive: uint8 (N, H, W, 3).
        aus: (N, A) true activations of `expressive`.
        neutral_landmarks, landmarks: (N, 68, 2) of `neutral` and `expressive`, right and down in
            sides of the picture.
    """

    neutral: np.ndarray
    expressive: np.ndarray
    aus: np.ndarray
    neutral_landmarks: np.ndarray
    landmarks: np.ndarray


def split(faces: Faces) -> tuple[Faces, Faces]:
    """Training people, and calibration people: those whose number is a multiple of 10."""
    held_out = faces.people % CALIBRATION_SHARE == 0
    return faces.of(~held_out), faces.of(held_out)


def pairs_of(faces: Faces) -> Pairs:
    """Every expressive picture with the neutral one of the same person and condition.

    Raises:
        InputError: there are none.
    """
    neutral: dict[tuple[int, int], int] = {}
    for i in np.flatnonzero(faces.neutral):
        neutral.setdefault((int(faces.people[i]), int(faces.conditions[i])), int(i))
    keys = list(zip(faces.people.tolist(), faces.conditions.tolist(), strict=True))
    found = [(neutral[keys[i]], i) for i in np.flatnonzero(~faces.neutral) if keys[i] in neutral]
    if not found:
        raise InputError(
            "no pairs of a neutral and an expressive picture of one person and condition; "
            "render with setting pairs"
        )
    before, after = np.array(found).T
    return Pairs(
        faces.images[before],
        faces.images[after],
        faces.activations[after],
        faces.landmarks[before],
        faces.landmarks[after],
    )


def differences(raw: np.ndarray, faces: Faces) -> tuple[np.ndarray, np.ndarray]:
    """Differences of raw activations from neutral, and the true activations (both N, A).

    One row per expressive picture of a person who has neutral ones: its raw activations less the
    mean of those of all the person's neutral pictures, in any condition.

    Args:
        raw: raw activations of `faces`, a row per picture.
        faces: with their true labels.

    Raises:
        InputError: no person has both kinds of picture.
    """
    neutral = faces.neutral
    found = []
    for i in np.flatnonzero(~neutral):
        same = neutral & (faces.people == faces.people[i])
        if same.any():
            found.append((raw[i] - raw[same].mean(0), faces.activations[i]))
    if not found:
        raise InputError("no person has neutral and expressive pictures to calibrate with")
    estimated, true = (np.array(column) for column in zip(*found, strict=True))
    return estimated, true
