"""Decode edited latents and never return a number that is not finite."""

from collections.abc import Callable

import jax
import numpy as np

from transfer.codec import FloatImages, Latents
from transfer.methods.base import Decoded

MAX_VALUE = 1024.0  # grey levels: a decoded picture beyond this has left what the flow knows
HALVINGS = 5  # of an edit, before the unedited picture is taken
MID_GREY = 127.5


def decode_safely(
    decode: Callable[[Latents], FloatImages], unedited: Latents, edited: Latents
) -> Decoded:
    """Decode edited latents; where a picture is not finite, take half of its edit, and half again.

    Args:
        decode: of the flow.
        unedited: latents (B, ...) of pictures that exist, to which an edit is taken back.
        edited: latents that are wanted, of the same shapes.
    """
    values = np.array(decode(edited))
    kept, lost = np.ones(len(values)), np.zeros(len(values), int)
    for i in np.flatnonzero(out_of_range(values)).tolist():
        one, other = (jax.tree.map(lambda a, i=i: a[i : i + 1], z) for z in (unedited, edited))
        for share in [*(0.5**n for n in range(1, HALVINGS + 1)), 0.0]:
            # At share 0 the edit is left out, not multiplied: 0 * inf is NaN.
            some = jax.tree.map(lambda b, e, s=share: b + s * (e - b) if s else b, one, other)
            values[i], kept[i] = np.asarray(decode(some))[0], share
            if not out_of_range(values[i : i + 1])[0]:
                break
        finite = np.isfinite(values[i])
        lost[i] = (~finite).any(-1).sum()
        values[i][~finite] = MID_GREY
    return Decoded(values, kept, lost)


def out_of_range(values: FloatImages) -> np.ndarray:
    """(B,) bool: pictures with numbers that are not finite, or far out of any picture's range."""
    return ~(np.abs(values).max((1, 2, 3)) < MAX_VALUE)  # a NaN makes the maximum NaN
