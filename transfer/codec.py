"""A flow as functions: encode, decode, likelihood, and the facts that a job needs of it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

Images = UInt8[np.ndarray, "B H W C"]
FloatImages = Float[np.ndarray, "B H W C"]
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
        encode_float: continuous grey levels, as `decode` gives them, to latents.
        decode: latents to continuous grey levels; a byte b is the interval [b, b + 1), so an
            exact round trip gives b + 0.5. May be non-finite off the model's manifold.
        bits_per_dim: of uint8 images, (B,).
        exact: a slower codec of the same model for images whose round trip misses the bound.
        bytes_per_image: of a device's memory while it computes, roughly.
        devices: that a batch is shared out over, if they are several.
        place: a batch of NumPy arrays onto those devices, where that is worth while.
    """

    name: str
    fingerprint: str
    size: tuple[int, int]
    channels: int
    precision: str
    encode: Callable[[Images], Latents]
    encode_float: Callable[[FloatImages], Latents]
    decode: Callable[[Latents], FloatImages]
    bits_per_dim: Callable[[Images], Float[np.ndarray, " B"]]
    exact: "Codec | None" = None
    bytes_per_image: int = 2**24
    devices: tuple[Any, ...] = ()
    place: Callable[[Any], Any] = lambda batch: batch

    @property
    def n_devices(self) -> int:
        """A batch's size is a multiple of it."""
        return max(1, len(self.devices))


def in_batches(codec: Codec, size: int) -> Codec:
    """The same model for any number of images: it computes `size` at once, one compiled shape.

    Images that are missing in a batch are copies of its first.
    """

    def fixed(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def call(batch: Any) -> Any:
            n = len(jax.tree.leaves(batch)[0])
            if n == size:
                return function(codec.place(batch))
            parts = []
            for start in range(0, n, size):
                part = jax.tree.map(lambda a, s=start: np.asarray(a[s : s + size]), batch)
                result = function(codec.place(jax.tree.map(lambda a: padded(a, size), part)))
                parts.append(jax.tree.map(np.asarray, result))
            return jax.tree.map(lambda *a: np.concatenate(a)[:n], *parts)

        return call

    return dataclasses.replace(
        codec,
        encode=fixed(codec.encode),
        encode_float=fixed(codec.encode_float),
        decode=fixed(codec.decode),
        bits_per_dim=fixed(codec.bits_per_dim),
        exact=None if codec.exact is None else in_batches(codec.exact, size),
    )


def padded(array: np.ndarray, size: int) -> np.ndarray:
    """Repeat the first entry up to `size`."""
    missing = size - len(array)
    return np.concatenate([array, np.repeat(array[:1], missing, axis=0)]) if missing else array


def to_bytes(pixels: FloatImages) -> Images:
    """Continuous grey levels to bytes: floor, clipped; non-finite pixels become mid-grey."""
    return np.where(np.isfinite(pixels), np.clip(np.floor(pixels), 0, 255), 127).astype(np.uint8)
