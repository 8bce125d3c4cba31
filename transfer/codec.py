"""A flow as functions: encode, decode and likelihood, with the properties that a job needs."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

Images = UInt8[np.ndarray, "B H W C"]
FloatImages = Float[np.ndarray, "B H W C"]
ROUND_TRIP_BOUND = 0.5  # grey levels: with a smaller error every byte comes back
Latents = Any  # a pytree of float arrays (B, ...)


@dataclasses.dataclass(frozen=True)
class Codec:
    """An invertible model as functions of batches.

    Attributes:
        name: of the model.
        fingerprint: SHA-256 of the model's config and weights.
        size: (height, width) of the model's images, pixels.
        channels: number of channels of the model's images.
        precision: "exact" or "fast"; outputs differ between the two.
        encode: function from uint8 images to latents.
        encode_float: function from continuous grey levels, as `decode` returns them, to latents.
        decode: function from latents to continuous grey levels. A byte b is the interval
            [b, b + 1), so an exact round trip gives b + 0.5. Latents far from those of pictures
            may decode to values that are not finite.
        bits_per_dim: function from uint8 images to bits/dim, (B,).
        exact: codec of the same model with full float32 products, slower, for images whose round
            trip misses `round_trip_bound`; None if this codec has such products already.
        round_trip_bound: error in grey levels from which on `exact` encodes the image again.
        bytes_per_image: approximate memory of a device per image while it computes.
        devices: devices that share every batch; empty where JAX's default device computes.
        place: function that puts a batch of NumPy arrays onto the devices.
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
    round_trip_bound: float = ROUND_TRIP_BOUND
    bytes_per_image: int = 2**24
    devices: tuple[Any, ...] = ()
    place: Callable[[Any], Any] = lambda batch: batch

    @property
    def n_devices(self) -> int:
        """Number of devices; the size of a batch is a multiple of it."""
        return max(1, len(self.devices))


def in_batches(codec: Codec, size: int) -> Codec:
    """A codec of the same model that takes any number of images.

    It computes batches of `size` images, so that one shape is compiled. The last batch is filled up
    with copies of its first image.
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
    """An array filled up to `size` rows with copies of its first row."""
    missing = size - len(array)
    return np.concatenate([array, np.repeat(array[:1], missing, axis=0)]) if missing else array


def to_bytes(pixels: FloatImages) -> Images:
    """Continuous grey levels to bytes: floor, clipped; non-finite pixels become mid-grey."""
    return np.where(np.isfinite(pixels), np.clip(np.floor(pixels), 0, 255), 127).astype(np.uint8)
