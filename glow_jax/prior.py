"""The Gaussian priors of the latents, and the standardisation z <-> eps.

The mean and log standard deviation of a level's latent z2 are predicted from the other part z1, the
next level's input; those of the top latent are learned, or it is standard normal.

Source: Kingma & Dhariwal 2018, section 3.1; openai/glow `model.py: split2d, prior`,
`tfops.py: gaussian_diag`.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from glow_jax.config import GlowConfig
from glow_jax.layers import LOGSCALE_FACTOR, ZeroConv
from glow_jax.products import conv3x3, matmul

BHWC = Float[Array, "B H W C"]
OfLatent = Float[Array, "B H W D"]
PerSample = Float[Array, " B"]
Labels = Int[Array, " B"] | Float[Array, "B Y"]


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


def draw_eps(
    key: jax.Array,
    shapes: Sequence[tuple[int, ...]],
    n: int,
    temperature: float | Float[Array, ""],
    dtype: DTypeLike = jnp.float32,
) -> tuple[Float[Array, "B ..."], ...]:
    """Standard normal eps of `n` images, times `temperature`; `shapes` are one image's.

    Drawn as vectors, which gives the same numbers as arrays and compiles nine times as fast.
    """

    def drawn(key: jax.Array, shape: tuple[int, ...]) -> Float[Array, "B ..."]:
        return jax.random.normal(key, (n * math.prod(shape),), dtype).reshape(n, *shape)

    keys = jax.random.split(key, len(shapes))
    return tuple(
        jnp.asarray(temperature, dtype) * drawn(k, shape)
        for k, shape in zip(keys, shapes, strict=True)
    )


class SplitPrior(nnx.Module):
    """mu and logs of a level's z2, from z1, the part that is the next level's input."""

    def __init__(self, n_passed: int, n_split: int, *, dtype: jnp.dtype):
        self.conv = ZeroConv(n_passed, 2 * n_split, dtype=dtype)

    def statistics(self, z1: BHWC, label: Labels | None = None) -> tuple[OfLatent, OfLatent]:
        """mu and logs, each of z2's shape; interleaved in the convolution's output."""
        del label  # only the top prior depends on it
        kernel, bias = self.conv.weights()
        h = conv3x3(z1, kernel) + bias[None, None, None]
        return h[..., 0::2], h[..., 1::2]


class TopPrior(nnx.Module):
    """mu and logs of the last level's z: learned, shifted by a class, or standard normal.

    The learned part is OpenAI's convolution of zeros, in which only the weights of the edge
    indicator (so mu and logs differ at the border), the bias and the log-scale have an effect.
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
        classes = class_vectors(label, self.n_classes, like)
        if classes is None:
            return jnp.zeros((1, 1, 1, 1), like.dtype)
        h = matmul(classes, self.class_kernel[...]) + self.class_bias[None]
        return (h * jnp.exp(LOGSCALE_FACTOR * self.class_logs[None]))[:, None, None]


class PositionPrior(nnx.Module):
    """mu and logs of a latent as constants, one per position and channel, and per class.

    Source: normflows `distributions/base.py`: DiagGaussian, ClassCondDiagGaussian, GlowBase.
    """

    def __init__(self, config: GlowConfig, level: int, *, dtype: jnp.dtype):
        shape = (max(config.n_classes, 1), *config.latent_shapes[level])
        self.n_classes = config.n_classes
        self.mu = nnx.Param(jnp.zeros(shape, dtype))
        self.logs = nnx.Param(jnp.zeros(shape, dtype))

    def statistics(self, like: BHWC, label: Labels | None) -> tuple[BHWC, BHWC]:
        """mu and logs, (B, H, W, C); of `like` only the batch size and the type are used.

        Raises:
            ValueError: as `class_vectors`.
        """
        classes = class_vectors(label, self.n_classes, like)

        def of(parameter: nnx.Param[Array]) -> Array:
            if classes is None:
                return jnp.broadcast_to(parameter[...], (like.shape[0], *parameter.shape[1:]))
            flat = matmul(classes, parameter[...].reshape(self.n_classes, -1))
            return flat.reshape(-1, *parameter.shape[1:])

        return of(self.mu), of(self.logs)


def class_vectors(label: Labels | None, n_classes: int, like: BHWC) -> Float[Array, "B Y"] | None:
    """One-hot rows of whole-number labels; rows of attributes as they are; None without classes.

    Raises:
        ValueError: the model has classes and no label is given, or the reverse; or the label
            is neither one whole number a sample nor one row of `n_classes` numbers a sample.
    """
    if label is None and n_classes:
        raise ValueError(f"the model has {n_classes} classes, but no label is given")
    if label is None:
        return None
    if not n_classes:
        raise ValueError("the model has no classes, but a label is given")
    if label.shape == like.shape[:1] and jnp.issubdtype(label.dtype, jnp.integer):
        return jax.nn.one_hot(label, n_classes, dtype=like.dtype)
    if label.shape == (like.shape[0], n_classes) and jnp.issubdtype(label.dtype, jnp.floating):
        return label.astype(like.dtype)
    raise ValueError(
        f"label is {label.dtype} of shape {label.shape}; need whole numbers of shape "
        f"{like.shape[:1]}, or attributes as floats of shape {(like.shape[0], n_classes)}"
    )
