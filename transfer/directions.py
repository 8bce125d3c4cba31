"""Attribute directions: the difference of two mean latents, and the file that holds it.

    d = mean(latents of pictures with the attribute) - mean(latents of pictures without it)

on the flow's standardised latents, as in section 5 of "Glow" and in its demonstration. A file is an
ordinary .npz without objects:

version       1
model         name of the flow
fingerprint   SHA-256 of the flow's config and weights; a direction fits this flow only
pictures      (2,) number of pictures with the attribute, and without it
separation    how far apart the two groups are along the direction; see `Direction`
level0 ...    float32 (H, W, C), the difference at each level of the flow, the finest first

Source: Kingma & Dhariwal, NeurIPS 2018; openai/glow `demo/align_face.py, server.py`.
"""

import dataclasses
import hashlib
import io
import math
import os
from pathlib import Path

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.files import write_atomically
from glow_jax.io.messages import one_line, reason
from glow_jax.io.npz import read_npz

VERSION = 1
MAX_BYTES = 2**28  # of all arrays of a file, unpacked: a flow of 2048 x 2048 pixels has 50 MB
MAX_LEVELS = 16
NAMED = ("version", "model", "fingerprint", "pictures", "separation")


@dataclasses.dataclass(frozen=True, eq=False)
class Direction:
    """A direction in a flow's latent space; see the module.

    Attributes:
        levels: float32 (H, W, C) of each level, the finest first.
        model: name of the flow.
        fingerprint: SHA-256 of the flow's config and weights.
        n_with, n_without: pictures that the means were taken over.
        separation: distance of the two groups' means along the direction, in standard deviations
            of the pictures about the mean of their group; NaN if it is not known.
        name: for labels, such as the name of the file without its suffix.
    """

    levels: tuple[np.ndarray, ...]
    model: str
    fingerprint: str
    n_with: int
    n_without: int
    separation: float
    name: str = "direction"

    @property
    def is_zero(self) -> bool:
        """Whether the direction changes nothing."""
        return not any(level.any() for level in self.levels)

    @property
    def sha256(self) -> str:
        """SHA-256 of the levels, hexadecimal."""
        digest = hashlib.sha256()
        for level in self.levels:
            digest.update(repr(level.shape).encode() + np.ascontiguousarray(level, "<f4").tobytes())
        return digest.hexdigest()


def save_direction(path: str | os.PathLike, direction: Direction) -> None:
    """Write a direction atomically.

    Raises:
        InputError: the file cannot be written.
    """
    arrays = {
        "version": np.array(VERSION),
        "model": np.array(direction.model),
        "fingerprint": np.array(direction.fingerprint),
        "pictures": np.array([direction.n_with, direction.n_without]),
        "separation": np.array(direction.separation),
    }
    arrays |= {f"level{i}": np.asarray(a, np.float32) for i, a in enumerate(direction.levels)}
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **arrays)
    write_atomically(Path(path), out.getvalue())


def load_direction(path: str | os.PathLike) -> Direction:
    """Read a file of `save_direction`.

    Raises:
        InputError: there is no such file, it is damaged or too large, or it holds no direction.
    """
    arrays = read_npz(Path(path), MAX_BYTES)
    try:
        return _checked(arrays, Path(path).stem)
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else reason(error)
        why = f"not a direction of `glow-jax direction` ({what})"
        raise InputError(f"{one_line(path)}: {why}") from None


def _checked(arrays: dict[str, np.ndarray], name: str) -> Direction:
    """The direction in a file's arrays; raises KeyError or ValueError where it is none."""
    if (version := int(arrays["version"])) != VERSION:
        raise ValueError(f"version {version}; this glow-jax reads version {VERSION}")
    n = len(arrays) - len(NAMED)
    if not 1 <= n <= MAX_LEVELS:
        raise ValueError(f"{n} levels; 1 to {MAX_LEVELS} are accepted")
    levels = tuple(arrays[f"level{i}"] for i in range(n))
    for i, level in enumerate(levels):
        if level.dtype != np.float32 or level.ndim != 3 or not np.isfinite(level).all():
            raise ValueError(f"level{i} is not a float32 array (H, W, C) of finite numbers")
    model, fingerprint = str(arrays["model"]), str(arrays["fingerprint"])
    if not model.isprintable():
        raise ValueError("the name of the model is not printable")
    n_with, n_without = (int(number) for number in arrays["pictures"])
    return Direction(
        levels, model, fingerprint, n_with, n_without, float(arrays["separation"]), name
    )


def check_fits(direction: Direction, name: str, fingerprint: str) -> None:
    """Raise InputError if a direction is of another flow than the one with this fingerprint."""
    if direction.fingerprint != fingerprint:
        raise InputError(
            f"the direction {one_line(direction.name)!r} was made with model "
            f"{one_line(direction.model)!r}, and does not fit model {name!r}: the latents of two "
            "models have nothing in common; make it again with this model"
        )


def separation(along: tuple[np.ndarray, np.ndarray]) -> float:
    """`Direction.separation` from the coordinates (N,) of each group's pictures.

    NaN where each group has one picture, of which no deviation is known.
    """
    n = sum(map(len, along))
    if n < 3:
        return math.nan
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in along)
    distance = float(along[0].mean() - along[1].mean())
    return distance / max(math.sqrt(squares / (n - 2)), 1e-12)
