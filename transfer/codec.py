"""What this package asks of a flow: three functions and a name."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from transfer.expressions import Expressions

Images = UInt8[np.ndarray, "B H W C"]
Grey = Float[np.ndarray, "B H W C"]
Latents = Any  # a pytree of float arrays (B, ...)


@dataclasses.dataclass(frozen=True)
class Codec:
    """An invertible model as seen from here.

    Attributes:
        name, fingerprint: which model it is.
        size: (height, width) of its images, pixels.
        channels: of its images.
        precision: how it computes; outputs of one precision are not another's.
        encode: uint8 images to latents.
        encode_grey: continuous grey levels, as `decode` gives them, to latents.
        decode: latents to continuous grey levels; a byte b is the interval [b, b + 1), so an
            exact round trip gives b + 0.5. May be non-finite off the model's manifold.
        bits_per_dim: of uint8 images, (B,).
        expressions: what is known of expressions in this model's latents, if anything.
        exact: a slower codec of the same model for images whose round trip misses the bound.
    """

    name: str
    fingerprint: str
    size: tuple[int, int]
    channels: int
    precision: str
    encode: Callable[[Images], Latents]
    encode_grey: Callable[[Grey], Latents]
    decode: Callable[[Latents], Grey]
    bits_per_dim: Callable[[Images], Float[np.ndarray, " B"]]
    exact: "Codec | None" = None
    expressions: Expressions | None = None


def to_bytes(grey: Grey) -> Images:
    """Continuous grey levels to bytes: floor, clipped; non-finite pixels become mid-grey."""
    return np.where(np.isfinite(grey), np.clip(np.floor(grey), 0, 255), 127).astype(np.uint8)
