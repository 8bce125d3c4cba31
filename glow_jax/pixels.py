"""uint8 pixels to and from the flow's x: quantisation, in OpenAI's convention.

x = bin / n_bins - 0.5 (+ an offset inside the bin), n_bins = 2 ** n_bits, so x is in
[-0.5, 0.5). Never divided by 255. Source: openai/glow `model.py: preprocess, postprocess`.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Integer, UInt8

Images = UInt8[Array, "B H W C"]
BHWC = Float[Array, "B H W C"]


def bins(images: Images, n_bits: int) -> Integer[Array, "B H W C"]:
    """Quantise bytes to `n_bits`: floor(u8 / 2 ** (8 - n_bits)), in [0, 2 ** n_bits).

    Raises:
        ValueError: `n_bits` is not from 1 to 8.
    """
    _check_bits(n_bits)
    quantised: Array = images // jnp.uint8(2 ** (8 - n_bits))
    return quantised


def centred(images: Images, n_bits: int = 8, dtype: DTypeLike = jnp.float32) -> BHWC:
    """Map bytes to bin centres, the deterministic input of an encode: x in (-0.5, 0.5).

    The centre of a bin is half a bin away from either edge, so rounding errors of a round trip do
    not change a byte.
    """
    x: Array = (bins(images, n_bits).astype(dtype) + 0.5) / 2**n_bits - 0.5
    return x


def dequantised(
    key: jax.Array, images: Images, n_bits: int, dtype: DTypeLike = jnp.float32
) -> BHWC:
    """Map bytes to their bin plus uniform noise over it, the input of training: x in [-0.5, 0.5).

    Source: Kingma & Dhariwal 2018, section 2, equation 2.
    """
    noise = jax.random.uniform(key, images.shape, dtype)
    x: Array = (bins(images, n_bits).astype(dtype) + noise) / 2**n_bits - 0.5
    return x


def to_uint8(x: BHWC, n_bits: int = 8) -> Images:
    """Map x back to bytes: clip(floor((x + 0.5) * n_bins) * 256 / n_bins, 0, 255).

    With fewer than 8 bits this is OpenAI's `postprocess`, which returns the lower edge of each bin.
    Non-finite x becomes mid-grey (127); callers can count it with `jnp.isfinite` before.
    """
    _check_bits(n_bits)
    value = jnp.floor((x + 0.5) * 2**n_bits) * 2 ** (8 - n_bits)
    value = jnp.where(jnp.isfinite(value), jnp.clip(value, 0, 255), 127)
    return value.astype(jnp.uint8)


def to_uint8_on_host(x: np.ndarray) -> np.ndarray:
    """`to_uint8` at 8 bits, of a NumPy array: the same bytes, and nothing is compiled."""
    with np.errstate(over="ignore"):  # what becomes infinite is mid-grey
        value = np.floor((x + x.dtype.type(0.5)) * x.dtype.type(256))
    return np.where(np.isfinite(value), np.clip(value, 0, 255), 127).astype(np.uint8)


def logit(x: BHWC, alpha: float) -> tuple[BHWC, Float[Array, " B"]]:
    """y = log(p / (1 - p)), p = alpha + (1 - 2 alpha)(x + 0.5); and log |det dy/dx|, nats.

    Source: Dinh et al. 2017, section 4.1; chrischute/glow `models/glow/glow.py`.
    """
    p = alpha + (1 - 2 * alpha) * (x + 0.5)
    log_p, log_q = jnp.log(p), jnp.log1p(-p)
    logdet = math.log(1 - 2 * alpha) - log_p - log_q
    return log_p - log_q, logdet.sum((1, 2, 3))


def unlogit(y: BHWC, alpha: float) -> tuple[BHWC, Float[Array, " B"]]:
    """Inverse of `logit`, with log |det dx/dy|."""
    logdet = jax.nn.log_sigmoid(y) + jax.nn.log_sigmoid(-y) - math.log(1 - 2 * alpha)
    return (jax.nn.sigmoid(y) - alpha) / (1 - 2 * alpha) - 0.5, logdet.sum((1, 2, 3))


def _check_bits(n_bits: int) -> None:
    if n_bits not in range(1, 9):
        raise ValueError(f"n_bits is {n_bits}; use a whole number from 1 to 8")
