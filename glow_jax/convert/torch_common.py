"""Functions that the converters of several PyTorch families share."""

import itertools
from typing import Any

import numpy as np

from glow_jax.convert.build import Source, lu_matrix
from glow_jax.convert.options import Options
from glow_jax.io.errors import InputError

MAX_CHANNELS = 4096
# The input of a family's flow as factor * x + offset of our x = u8 / 256 - 0.5.
UNIT = (1.0, 0.5)  # u8 / 256
UNIT_255 = (256 / 255, 128 / 255)  # u8 / 255


def coupling_of(source: Source, name: str, last: tuple[int, ...]) -> str:
    """The kind of coupling, from the output channels of the first step's last convolution."""
    n_channels, shape = last[0], source.shape(name, 4)
    if shape[0] not in (n_channels, n_channels // 2):
        raise InputError(
            f"{name} has {shape[0]} outputs; {n_channels} channels need {n_channels // 2} "
            f"(additive) or {n_channels} (affine)"
        )
    return "affine" if shape[0] == n_channels else "additive"


def image_channels(n_channels: int, name: str) -> int:
    """The number of image channels, from the channels of the first level."""
    if n_channels % 4:
        raise InputError(f"{name} has {n_channels} channels; a squeezed image has a multiple of 4")
    return n_channels // 4


def runs_of(indices: list[int], step: int, gap: int, what: str) -> list[list[int]]:
    """Split the indices of steps in a flat list into levels.

    Within a level the indices differ by `step`, between two levels by `gap`.

    Raises:
        InputError: another difference, which means that steps are missing.
    """
    levels = [[indices[0]]]
    for before, index in itertools.pairwise(indices):
        if index - before == step:
            levels[-1].append(index)
        elif index - before == gap:
            levels.append([index])
        else:
            raise InputError(f"{what}.{before + step} is missing: is the state_dict incomplete?")
    return levels


def count(source: Source, pattern: str, what: str) -> int:
    """The number n of values 0 … n - 1 of a pattern's first group; none of them may be missing."""
    found = {int(m.group(1)) for m in source.names(pattern)}
    if not found:
        raise InputError(f"no {what} found")
    if found != set(range(len(found))):
        missing = min(set(range(max(found))) - found)
        raise InputError(f"{what} {missing} is missing: is the state_dict incomplete?")
    return len(found)


def matrix_of(
    source: Source, name: str, n: int, *, plain: str, lu: tuple[str, ...], flat: bool
) -> tuple[np.ndarray, bool]:
    """A 1x1 convolution as a matrix for row vectors, and whether the source has LU factors.

    The source multiplies columns, y_o = sum_i W[o, i] x_i, so ours is the transpose.
    """
    if n > MAX_CHANNELS:
        raise InputError(f"{name}: {n} channels; no known Glow has more than {MAX_CHANNELS}")
    p, lower, upper, sign, log_s = (f"{name}.{part}" for part in lu)
    if lower in source:
        w = lu_matrix(
            source.take(p, n, n),
            source.take(lower, n, n),
            source.take(upper, n, n),
            source.vector(sign, n),
            source.vector(log_s, n),
        )
        return np.ascontiguousarray(w.T), True
    w = source.take(f"{name}.{plain}", *((n, n) if flat else (n, n, 1, 1)))
    return np.ascontiguousarray(w.reshape(n, n).T), False


def checked_scale(source: Source, name: str, scale: np.ndarray) -> np.ndarray:
    """Return the scale of an actnorm, which must not be 0, because the flow must be invertible."""
    if (scale == 0).any():
        source.wrong(f"{name} has a scale of zero: the step cannot be inverted")
        return np.ones_like(scale)
    return scale


def config_fields(
    options: Options, first: int, width: int, coupling: str, name: str, **more: Any
) -> dict[str, Any]:
    height, columns = options.image_size
    return {
        "image_height": height,
        "image_width": columns,
        "n_channels": image_channels(first, name),
        "hidden_width": width,
        "coupling": coupling,
        "n_bits": options.bits,
        **more,
    }
