"""Levels that a checkpoint shares with a bundled model of smaller pictures.

A model that was grown by levels of details, which alone were trained, has all other levels in
common with the model that it was grown from. Its checkpoint may leave them out, and name that model
in its card, with its fingerprint.
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from glow_jax.config import GlowConfig
from glow_jax.io.errors import InputError
from glow_jax.weight_files import Weights

# Fields of the card: name and fingerprint of a bundled model.
COARSER, COARSER_FINGERPRINT = "coarser_levels_of", "coarser_levels_fingerprint"
OF_LEVELS = ("levels", "splits")  # arrays that belong to one level each, by its number
OF_SIZE = ("image_height", "image_width", "n_levels", "n_steps", "n_detail_levels")


def n_own(name: str, config: GlowConfig, coarser: GlowConfig) -> int:
    """How many levels, finest first, a model has beside those of the model `name`, `coarser`.

    Raises:
        InputError: the other levels are not of the form of `coarser`'s.
    """
    n = config.n_levels - coarser.n_levels
    fields = [f.name for f in dataclasses.fields(GlowConfig) if f.name not in OF_SIZE]
    same = (
        all(getattr(config, name) == getattr(coarser, name) for name in fields)
        and n > 0
        and config.n_detail_levels == n + coarser.n_detail_levels
        and config.image_shape[:2] == tuple(side << n for side in coarser.image_shape[:2])
        and config.steps[n:] == coarser.steps
    )
    if not same:
        raise InputError(
            f"the model's config is not that of {name} with more levels, which split off details"
        )
    return n


def own_levels(weights: Weights, n: int) -> Weights:
    """The arrays of the finest n levels."""
    return {kind: {str(i): weights[kind][str(i)] for i in range(n)} for kind in OF_LEVELS}


def joined(own: Weights, coarser: Weights, n: int) -> Weights:
    """All arrays: those of the finest n levels, and those of a model's levels as the others."""
    shifted: dict[str, Any] = dict(coarser)
    for kind in OF_LEVELS:
        of_kind = coarser.get(kind, {})  # a model of one level has no splits
        others = {str(int(i) + n): arrays for i, arrays in of_kind.items()}
        shifted[kind] = {**own[kind], **others}
    return shifted


def left_out(weights: Weights, coarser: Weights, n: int) -> Weights:
    """The finest n levels of a model whose others are those of `coarser`, as they are stored.

    Raises:
        ValueError: another level differs.
    """
    own = own_levels(weights, n)
    same = jax.tree.map(
        lambda a, b: np.array_equal(a, b.astype(a.dtype)), weights, joined(own, coarser, n)
    )
    if not all(jax.tree.leaves(same)):
        raise ValueError("the model's other levels are not those of the coarser model")
    return own
