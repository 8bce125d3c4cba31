"""Decode edited latents to values that are always finite."""

from collections.abc import Callable

import jax
import numpy as np

from transfer.codec import FloatImages, Latents, Quantised
from transfer.methods.base import Decoded

MAX_VALUE = 1024.0  # grey levels: a picture with larger values counts as not decoded
HALVINGS = 5  # halvings of an edit, before the unedited picture is used
MID_GREY = 127.5


def decode_safely(
    decode: Callable[[Latents], FloatImages],
    unedited: Latents,
    edited: Latents,
    decode_there: Callable[[Latents], Quantised] | None = None,
) -> Decoded:
    """Decode edited latents; where a picture is out of range, halve its edit until it is in range.

    Args:
        decode: the flow's function from latents to grey levels.
        unedited: latents (B, ...) without the edit.
        edited: latents (B, ...) with the edit.
        decode_there: `Codec.decode_there`, which quantises on an accelerator; its values are copied
            to the host only if one is out of range.
    """
    n = len(jax.tree.leaves(edited)[0])
    kept, lost = np.ones(n), np.zeros(n, int)
    if decode_there is None:
        values = np.array(decode(edited))
    else:
        there = decode_there(edited)
        images, n_clipped, largest = jax.device_get(there[1:])
        if (largest < MAX_VALUE).all():
            found = Quantised(there.values, images, n_clipped, largest)
            return Decoded(there.values, kept, lost, found)
        values = np.array(there.values)
    for i in np.flatnonzero(out_of_range(values)).tolist():
        one, other = (jax.tree.map(lambda a, i=i: a[i : i + 1], z) for z in (unedited, edited))
        for share in [*(0.5**n for n in range(1, HALVINGS + 1)), 0.0]:
            # At share 0 the edit is not multiplied by 0, because 0 * inf is NaN.
            some = jax.tree.map(lambda b, e, s=share: b + s * (e - b) if s else b, one, other)
            values[i], kept[i] = np.asarray(decode(some))[0], share
            if not out_of_range(values[i : i + 1])[0]:
                break
        finite = np.isfinite(values[i])
        lost[i] = (~finite).any(-1).sum()
        values[i][~finite] = MID_GREY
    return Decoded(values, kept, lost)


def out_of_range(values: FloatImages) -> np.ndarray:
    """(B,) bool: pictures with values that are not finite, or as large as MAX_VALUE."""
    return ~(np.abs(values).max((1, 2, 3)) < MAX_VALUE)  # a NaN makes the maximum NaN
