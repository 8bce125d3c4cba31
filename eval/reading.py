"""The Action Units that a reader measures in one picture."""

import dataclasses

import numpy as np

from eval.table import AUS


def unknown() -> np.ndarray:
    """(17,) NaN."""
    return np.full(len(AUS), np.nan)


@dataclasses.dataclass(frozen=True)
class Reading:
    """Action Units of the largest face of a picture, in the order of `eval.table.AUS`.

    Attributes:
        faces: how many faces were found.
        level: (17,) intensities, 0-5; NaN where the reader abstains or there is no face.
        change: (17,) values whose differences between two pictures of one person are the changes
            of the intensities; equal to `level` if the reader has no better estimate.
        present: (17,) presence flags, 1 or 0; NaN unknown.
        problem: why there is no measurement; empty if there is one.
    """

    faces: int
    level: np.ndarray = dataclasses.field(default_factory=unknown)
    change: np.ndarray = dataclasses.field(default_factory=unknown)
    present: np.ndarray = dataclasses.field(default_factory=unknown)
    problem: str = ""


def relative(picture: Reading, neutral: Reading) -> np.ndarray:
    """(17,) intensities of a picture, measured as the change from another picture of the person.

    The level of the other picture is added, so that picture need not be neutral.
    """
    return np.clip(neutral.level + picture.change - neutral.change, 0, 5)


def from_columns(row: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Intensities and presence flags of OpenFace's columns `AU01_r` and `AU01_c`.

    Raises:
        ValueError: a cell is no number.
    """

    def cells(suffix: str) -> np.ndarray:
        return np.array([float(row.get(f"{au}_{suffix}") or "nan") for au in AUS])

    return np.clip(cells("r"), 0, 5), cells("c")
