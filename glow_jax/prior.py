"""The Gaussian priors of the latents, and the standardisation z <-> eps.

A level's latent z2 has mean and log standard deviation predicted from the half z1 that goes
on; the top latent has learned ones, or none. Source: Kingma & Dhariwal 2018, section 3.1;
openai/glow `model.py: split2d, prior`, `tfops.py: gaussian_diag`.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from glow_jax.config import GlowConfig
from glow_jax.coupling import conv3x3, matmul
from glow_jax.layers import LOGSCALE_FACTOR, ZeroConv

BHWC = Float[Array, "B H W C"]
PerSample = Float[Array, " B"]
Labels = Int[Array, " B"]


def standardise(z: BHWC, mu: BHWC, logs: BHWC) -> BHWC:
    """eps = (z - mu) / exp(logs)."""
    return (z - mu) * jnp.exp(-logs)


def unstandardise(eps: BHWC, mu: BHWC, logs: BHWC) -> BHWC:
    """z = mu + exp(logs) eps."""
    return mu + jnp.exp(logs) * eps


def log_density(z: BHWC, mu: BHWC, logs: BHWC) -> PerSample:
    """log N(z; mu, exp(logs) ** 2), nats, summed over H, W and C."""
    eps = standardise(z, mu, logs)
    return -0.5 * (math.log(2 * math.pi) + 2 * logs + jnp.square(eps)).sum((1, 2, 3))


class SplitPrior(nnx.Module):
    """mu and logs of a level's z2, from the z1 that goes on to the next level."""

    def __init__(self, n_channels: int, *, dtype: jnp.dtype):
        self.conv = ZeroConv(n_channels // 2, n_channels, dtype=dtype)

    def statistics(self, z1: BHWC) -> tuple[BHWC, BHWC]:
        """mu and logs, each of z1's shape; interleaved in the convolution's output."""
        kernel, bias = self.conv.weights()
        h = conv3x3(z1, kernel) + bias[None, None, None]
        return h[..., 0::2], h[..., 1::2]


class TopPrior(nnx.Module):
    """mu and logs of the last level's z: learned, shifted by a class, or standard normal.

    The learned part is OpenAI's convolution of zeros, of which only the edge indicator's
    weights matter (so mu and logs differ at the border), the bias and the log-scale.
    """

    def __init__(self, config: GlowConfig, *, dtype: jnp.dtype):
        self.shape = config.level_shape(config.n_levels - 1)
        self.n_classes = config.n_classes
        size = 2 * self.shape[2]
        self.conv = ZeroConv(0, size, dtype=dtype) if config.learned_top_prior else None
        if self.n_classes:
            self.class_kernel = nnx.Param(jnp.zeros((self.n_classes, size), dtype))
            self.class_bias = nnx.Param(jnp.zeros(size, dtype))
            self.class_logs = nnx.Param(jnp.zeros(size, dtype))

    def statistics(self, like: BHWC, label: Labels | None) -> tuple[BHWC, BHWC]:
        """mu and logs of `like`'s shape; halves of the convolution's output, not interleaved.

        Raises:
            ValueError: the model has classes and no label is given, or the reverse; or it is
                not one whole number a sample.
        """
        height, width, channels = self.shape
        h = jnp.zeros((1, height, width, 2 * channels), like.dtype)
        if self.conv is not None:
            kernel, bias = self.conv.weights()
            h = conv3x3(h[..., :0], kernel) + bias[None, None, None]
        h = h + self._of_class(label, like)
        h = jnp.broadcast_to(h, (*like.shape[:3], 2 * channels))
        return h[..., :channels], h[..., channels:]

    def _of_class(self, label: Labels | None, like: BHWC) -> Float[Array, "_ 1 1 D"]:
        if label is None and self.n_classes:
            raise ValueError(f"the model has {self.n_classes} classes, but no label is given")
        if label is None:
            return jnp.zeros((1, 1, 1, 1), like.dtype)
        if not self.n_classes:
            raise ValueError("the model has no classes, but a label is given")
        if label.shape != like.shape[:1] or not jnp.issubdtype(label.dtype, jnp.integer):
            raise ValueError(
                f"label is {label.dtype} of shape {label.shape}; need whole numbers of shape "
                f"{like.shape[:1]}"
            )
        one_hot = jax.nn.one_hot(label, self.n_classes, dtype=like.dtype)
        h = matmul(one_hot, self.class_kernel[...]) + self.class_bias[None]
        return (h * jnp.exp(LOGSCALE_FACTOR * self.class_logs[None]))[:, None, None]
