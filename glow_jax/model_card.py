"""A model's card, card.json: its origin, licence and data, and the likelihood of held-out pictures.

The fields are free (origin, licence, data, ...), except for those in this module,
`expressions_of` (`transfer.models`) and `coarser_levels_of` (`shared_levels`).
"""

import json
from pathlib import Path
from string import digits
from typing import Any

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.files import read_json_object, write_atomically
from glow_jax.io.messages import counted

BUNDLED = Path(__file__).parent / "models"  # directories of the models in the package
CARD = "card.json"
# Likelihood of held-out pictures: their number, and quantiles of bits/dim.
KNOWN_BITS = "known_bits_per_dim"
HELD_OUT_BITS = "held_out_bits_per_dim"  # mean over held-out pictures, at the trained bits
MIN_CALIBRATION = 100  # pictures
QUANTILES = (0.5, 0.95, 0.99, 0.999)
FAR_QUANTILE = "0.999"


def bundled_names() -> list[str]:
    """Names of the models in the package: by kind, then from small pictures to large ones."""
    names = [path.parent.name for path in BUNDLED.glob(f"*/{CARD}")]
    return sorted(names, key=lambda name: (name.rstrip(digits), len(name), name))


def read_card(path: Path) -> dict[str, Any]:
    """The `card.json` of a checkpoint directory.

    Raises:
        InputError: it is missing or malformed.
    """
    try:
        return read_json_object(path / CARD)
    except InputError as error:
        raise InputError(f"{path}: not a whole checkpoint: {error}") from None


def calibrate(path: Path, bits_per_dim: np.ndarray) -> dict[str, float]:
    """Write quantiles of the bits/dim of held-out pictures into a model's card.

    The fingerprint does not change, because it depends on config and weights only.

    Args:
        path: the checkpoint directory.
        bits_per_dim: (N,) `bits_per_dim` of held-out pictures.

    Returns:
        Quantiles by name.

    Raises:
        InputError: too few pictures, a likelihood that is not finite, or the card cannot be
            read or written.
    """
    if len(bits_per_dim) < MIN_CALIBRATION or not np.isfinite(bits_per_dim).all():
        raise InputError(
            f"{counted(len(bits_per_dim), 'picture')}: {MIN_CALIBRATION} or more are needed, all "
            "with finite bits/dim"
        )
    values = np.quantile(np.asarray(bits_per_dim, np.float64), QUANTILES)
    quantiles = {f"{q:g}": round(float(v), 4) for q, v in zip(QUANTILES, values, strict=True)}
    card = read_card(path) | {KNOWN_BITS: {"pictures": len(bits_per_dim), "quantiles": quantiles}}
    write_atomically(path / CARD, (json.dumps(card, indent=2) + "\n").encode())
    return quantiles


def far_limit(path: Path) -> float | None:
    """Bits/dim above which a picture is unlikely under a model; None if the card has no such limit.

    The limit is the 99.9th percentile of held-out pictures, from `calibrate`.

    Raises:
        InputError: the card cannot be read.
    """
    try:
        limit = float(read_card(path)[KNOWN_BITS]["quantiles"][FAR_QUANTILE])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return limit if np.isfinite(limit) else None
