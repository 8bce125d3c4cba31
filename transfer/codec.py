"""A flow as functions: encode, decode and likelihood, with the properties that a job needs."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

Images = UInt8[np.ndarray, "B H W C"]
FloatImages = Float[np.ndarray, "B H W C"]
ROUND_TRIP_BOUND = 0.5  # grey levels: with a smaller error every byte comes back
PARTS = 3  # times the size of a batch: parts of images that are computed at once
Latents = Any  # a pytree of float arrays (B, ...)


class Quantised(NamedTuple):
    """Decoded pictures on the device that computed them, with their bytes and counts.

    Attributes:
        values: (B, H, W, C) grey levels, not clipped.
        images: uint8 (B, H, W, C), as `to_bytes` makes them.
        n_clipped: (B,) number of values outside the range of bytes.
        largest: (B,) largest absolute value; NaN where a value is NaN.
    """

    values: Any
    images: Any
    n_clipped: Any
    largest: Any


class RoundTrip(NamedTuple):
    """Latents of images, and the error of decoding these, in grey levels.

    Attributes:
        latents: as of `Codec.encode`.
        largest, mean: (B,) over all values of an image; infinite where a value is not finite.
    """

    latents: Any
    largest: Any
    mean: Any


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
        part_size: (height, width) of the parts of images that `part_bits` takes, pixels.
        part_bits: as `bits_per_dim`, of parts of images, cut out anywhere; None where a model takes
            images of one size only.
        exact: codec of the same model with full float32 products, slower, for images whose round
            trip errs by `round_trip_bound` or more; None if this codec has such products already.
        round_trip_bound: least error, in grey levels, at which `exact` encodes an image again.
        bytes_per_image: approximate memory of a device per image while it computes.
        devices: devices that share every batch; empty where JAX's default device computes.
        place: function that puts a batch of NumPy arrays onto the devices.
        decode_there: `decode` and the quantisation on an accelerator, so that bytes are copied to
            the host instead of float32 values; None where the host quantises (on a CPU).
        round_trip_there: `round_trip`, measured on an accelerator; None where the host measures.
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
    part_size: tuple[int, int] = (0, 0)
    part_bits: Callable[[Images], Float[np.ndarray, " B"]] | None = None
    exact: "Codec | None" = None
    round_trip_bound: float = ROUND_TRIP_BOUND
    bytes_per_image: int = 2**24
    devices: tuple[Any, ...] = ()
    place: Callable[[Any], Any] = lambda batch: batch
    decode_there: Callable[[Latents], Quantised] | None = None
    round_trip_there: Callable[[Images], RoundTrip] | None = None

    @property
    def n_devices(self) -> int:
        """Number of devices; the size of a batch is a multiple of it."""
        return max(1, len(self.devices))

    def round_trip(self, images: Images) -> RoundTrip:
        """Encode images, decode the latents, and measure the error; the result is on the host."""
        if self.round_trip_there is not None:
            found: RoundTrip = jax.device_get(self.round_trip_there(images))
            return found
        latents = self.encode(images)
        values = np.asarray(self.decode(latents), np.float64)
        largest, mean = _errors(values, images, np)
        return RoundTrip(jax.tree.map(np.asarray, latents), largest, mean)


def in_batches(codec: Codec, size: int) -> Codec:
    """A codec of the same model that takes any number of images.

    It computes batches of `size` images, and of PARTS times as many parts, so that one shape is
    compiled of each. The last batch is filled up
    with copies of its first image.

    On a CPU rows at the end of a batch that repeat its first row are not computed. The size of the
    batches does not change the numbers there (bundled models, sizes 4 to 16, jaxlib 0.10.2).
    """
    on_host = codec.round_trip_there is None

    def fixed(function: Callable[[Any], Any], size: int = size) -> Callable[[Any], Any]:
        def call(batch: Any) -> Any:
            n = len(jax.tree.leaves(batch)[0])
            own = n_without_copies(batch) if on_host else n
            if n == own == size:
                return function(codec.place(batch))
            parts = []
            for start in range(0, own, size):
                part = jax.tree.map(lambda a, s=start: np.asarray(a[s : min(s + size, own)]), batch)
                result = function(codec.place(jax.tree.map(lambda a: padded(a, size), part)))
                parts.append(jax.tree.map(np.asarray, result))
            return jax.tree.map(lambda *a: padded(np.concatenate(a)[:own], n), *parts)

        return call

    return dataclasses.replace(
        codec,
        encode=fixed(codec.encode),
        encode_float=fixed(codec.encode_float),
        decode=fixed(codec.decode),
        bits_per_dim=fixed(codec.bits_per_dim),
        part_bits=codec.part_bits and fixed(codec.part_bits, PARTS * size),
        exact=None if codec.exact is None else in_batches(codec.exact, size),
        decode_there=codec.decode_there and fixed(codec.decode_there),
        round_trip_there=codec.round_trip_there and fixed(codec.round_trip_there),
    )


def n_without_copies(batch: Any) -> int:
    """Number of rows of a batch without those at its end that are copies of its first row."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(batch)]
    n = len(leaves[0])
    while n > 1 and all(np.array_equal(leaf[n - 1], leaf[0]) for leaf in leaves):
        n -= 1
    return n


def padded(array: np.ndarray, size: int) -> np.ndarray:
    """An array filled up to `size` rows with copies of its first row."""
    missing = size - len(array)
    return np.concatenate([array, np.repeat(array[:1], missing, axis=0)]) if missing else array


def on_accelerator(encode: Callable[[Any], Any], decode_x: Callable[[Any], Any]) -> dict[str, Any]:
    """`decode_there` and `round_trip_there` of a `Codec`, by small programs of their own.

    Args:
        encode: function from uint8 images to latents, on the devices.
        decode_x: function from latents to x in [-0.5, 0.5), on the devices.
    """

    @jax.jit
    def quantise(x: jax.Array) -> Quantised:
        return quantised((x.astype(jnp.float32) + 0.5) * 256)

    @jax.jit
    def errors(x: jax.Array, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        return _errors((x.astype(jnp.float32) + 0.5) * 256, images, jnp)

    def round_trip(images: Any) -> RoundTrip:
        images = jnp.asarray(images)
        latents = encode(images)
        return RoundTrip(latents, *errors(decode_x(latents), images))

    return {"decode_there": lambda eps: quantise(decode_x(eps)), "round_trip_there": round_trip}


def quantised(values: jax.Array) -> Quantised:
    """Grey levels (B, H, W, C) with their bytes and counts."""
    in_range = jnp.clip(jnp.floor(values), 0, 255)
    images = jnp.where(jnp.isfinite(values), in_range, 127).astype(jnp.uint8)
    return Quantised(values, images, n_clipped(values), jnp.abs(values).max((1, 2, 3)))


def n_clipped(values: Any) -> Any:
    """(B,) number of grey levels (B, H, W, C) outside the range of bytes."""
    return ((values < 0) | (values >= 256)).sum((1, 2, 3))


def _errors(values: Any, images: Any, xp: Any) -> tuple[Any, Any]:
    """Largest and mean error (B,) of grey levels from the centres of bytes."""
    errors = xp.abs(values - (images.astype(values.dtype) + 0.5)).reshape(len(images), -1)
    errors = xp.where(xp.isfinite(errors), errors, np.inf)
    return errors.max(1), errors.mean(1)


def to_bytes(pixels: FloatImages) -> Images:
    """Continuous grey levels to bytes: floor, clipped; non-finite pixels become mid-grey."""
    return np.where(np.isfinite(pixels), np.clip(np.floor(pixels), 0, 255), 127).astype(np.uint8)
