"""The most neutral pictures of a person, by Action Units and pose.

    score = sum max(change - median change, 0)² + sum level² + (yaw² + pitch²) / 20²

with intensities 0-5 and degrees; the sums are over Action Units (AUs). The first term ranks well if
most of the person's pictures are neutral, the second if most are not; a turn of 20 degrees counts
as much as one AU of intensity 1. On rendered people (64 pixels, pose and light differ in every
picture), the best of 8 pictures is neutral in 93 % of draws if half of the 8 are neutral, and in
79 % if a quarter is.

The measurements of Action Units are arguments; the command line uses those of the judge.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, UInt8

from transfer.photos.pose import Pose

TURN_DEG = 20.0  # yaw or pitch that counts as much as one AU of intensity 1
MAX_DEFAULT = 8  # largest number of pictures that `chosen` selects by default


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Action Units and pose of a face.

    Attributes:
        level: (A,) intensities, 0-5; NaN for an AU that is not measured.
        change: (A,) intensities plus an unknown offset per person, more precise than `level` in
            differences between pictures of one person; NaN for an AU that is not measured.
        pose: degrees.
    """

    level: np.ndarray
    change: np.ndarray
    pose: Pose


MeasureExpression = Callable[[UInt8[np.ndarray, "H W 3"]], Measurement | None]
"""A function from an aligned face to its measurement; None if no face is found."""


def scores(measurements: Sequence[Measurement | None]) -> Float[np.ndarray, " N"]:
    """The score of each picture of one person; see the module.

    Infinite without a measurement, and where an AU is not measured that is in another picture.

    Args:
        measurements: one per picture, all of the same AU reader.
    """
    found = [i for i, measurement in enumerate(measurements) if measurement is not None]
    result = np.full(len(measurements), np.inf)
    if not found:
        return result
    measured = [measurement for measurement in measurements if measurement is not None]
    level, change = (
        _of_read_aus(np.stack([getattr(m, name) for m in measured]).astype(np.float64))
        for name in ("level", "change")
    )
    turned = np.array([[m.pose.yaw, m.pose.pitch] for m in measured]) / TURN_DEG
    excess = np.maximum(change - np.nanmedian(change, axis=0), 0)
    score = (excess**2).sum(1) + (level**2).sum(1) + (turned**2).sum(1)
    result[found] = np.where(np.isnan(score), np.inf, score)
    return result


def _of_read_aus(values: np.ndarray) -> np.ndarray:
    """The columns of the AUs that are read in some picture."""
    return values[:, ~np.isnan(values).all(axis=0)]


def order(score: Float[np.ndarray, " N"]) -> list[int]:
    """Indices of pictures, the most neutral first; equal scores keep their order."""
    return np.argsort(score, kind="stable").tolist()


def ranks(score: Float[np.ndarray, " N"]) -> list[int]:
    """The rank of each picture, from 1 for the most neutral."""
    places = order(score)
    result = [0] * len(places)
    for rank, i in enumerate(places, 1):
        result[i] = rank
    return result


def chosen(score: Float[np.ndarray, " N"], n: int | None = None) -> list[int]:
    """Indices of the pictures to use, the most neutral first.

    Args:
        score: from `scores`.
        n: how many to select; None selects half of them, at least 1 and at most MAX_DEFAULT.

    Returns:
        Indices. Pictures without a measurement are left out; if no picture has one, one index.
    """
    if n is None:
        n = min(MAX_DEFAULT, max(1, len(score) // 2))
    places = order(score)
    return [i for i in places[:n] if np.isfinite(score[i])] or places[:1]
