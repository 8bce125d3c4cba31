"""Choose the largest alpha whose output stays inside a trust region of the flow."""

from collections.abc import Callable

import numpy as np

from glow_jax.io.errors import InputError
from transfer.codec import Codec, Images
from transfer.methods.base import Decoded

AUTO_ALPHAS = tuple(np.arange(1.5, 0.24, -0.125).tolist())
MAX_BITS_LOST = 0.05  # bits/dim by which an output may be less likely than the unedited picture
MAX_CLIPPED_SHARE = 0.02  # share of an output's values that may be outside the range of bytes


def largest_alphas(
    edit: Callable[[np.ndarray], Decoded], codec: Codec, unedited: Images, max_alphas: np.ndarray
) -> np.ndarray:
    """(B,) float32: for each edit the largest alpha whose output is inside the trust region.

    Each of AUTO_ALPHAS is tried on the whole batch; the smallest is used where no output is inside.

    Args:
        edit: function from alphas (B,) to outputs.
        codec: the flow.
        unedited: the pictures that are edited, uint8 (B, H, W, C).
        max_alphas: (B,) upper limits; larger alphas are not tried.

    Raises:
        InputError: the model has no likelihood.
    """
    allowed = np.asarray(codec.bits_per_dim(unedited)) + MAX_BITS_LOST
    if np.isnan(allowed).all():
        raise InputError(f"model {codec.name!r} has no likelihood, which alpha auto needs")
    found = np.full(len(unedited), AUTO_ALPHAS[-1], np.float32)
    undecided = np.ones(len(unedited), bool)
    for alpha in AUTO_ALPHAS:
        decoded = edit(np.full(len(unedited), alpha, np.float32))
        bits = np.asarray(codec.bits_per_dim(decoded.images))
        trusted = undecided & (bits <= allowed) & (decoded.clipped <= MAX_CLIPPED_SHARE)
        trusted &= alpha <= max_alphas
        found[trusted] = alpha
        undecided &= ~trusted
        if not undecided.any():
            break
    return found
