"""What readers of several PyTorch families share."""

import itertools
from typing import Any

import numpy as np

from glow_jax.convert.build import Source, lu_matrix
from glow_jax.convert.options import Options
from glow_jax.io.errors import InputError

MAX_CHANNELS = 4096
# What a family feeds the flow, of our x = u8 / 256 - 0.5: factor and offset.
UNIT = (1.0, 0.5)  # u8 / 256
UNIT_255 = (256 / 255, 128 / 255)  # u8 / 255


def coupling_of(source: Source, name: str, last: tuple[int, ...]) -> str:
    """Which coupling, from the output channels of a first step's last convolution."""
    n_channels, shape = last[0], source.shape(name, 4)
    if shape[0] not in (n_channels, n_channels // 2):
        raise InputError(
            f"{name} has {shape[0]} outputs; {n_channels} channels need {n_channels // 2} "
            f"(additive) or {n_channels} (affine)"
        )
    return "affine" if shape[0] == n_channels else "additive"


def image_channels(n_channels: int, name: str) -> int:
    """Image channels, from the channels of the first level."""
    if n_channels % 4:
        raise InputError(f"{name} has {n_channels} channels; a squeezed image has a multiple of 4")
    return n_channels // 4


def runs_of(indices: list[int], step: int, gap: int, what: str) -> list[list[int]]:
    """Split a flat list's step positions into levels: `step` apart inside, `gap` between.

    Raises:
        InputError: other distances, which mean that steps are missing.
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
    """How many of 0, 1, 2, … a pattern's first group takes; no number may be left out."""
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
    """A 1x1 convolution as the matrix for our row vectors, and whether it came in LU factors.

    Theirs multiplies columns: y_o = sum_i W[o, i] x_i, so ours is the transpose.
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
    """A normalisation of the flow itself must be invertible."""
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
