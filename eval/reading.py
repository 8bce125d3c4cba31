"""The Action Units read in one picture."""

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
        change: (17,) values whose difference between two pictures of one person is how much each
            intensity changed; equal to `level` where the reader has nothing better.
        present: (17,) presence flags, 1 or 0; NaN unknown.
        problem: why nothing was read; empty if something was.
    """

    faces: int
    level: np.ndarray = dataclasses.field(default_factory=unknown)
    change: np.ndarray = dataclasses.field(default_factory=unknown)
    present: np.ndarray = dataclasses.field(default_factory=unknown)
    problem: str = ""


def relative(picture: Reading, neutral: Reading) -> np.ndarray:
    """(17,) intensities of a picture, read as the change from another of the same person.

    The level of the other picture is added, so it need not be neutral.
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
