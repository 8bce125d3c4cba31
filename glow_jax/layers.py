"""Layers that are linear in the channels, and squeeze; each has `forward(h)` and `inverse(h)`.

Both return `(h, logdet)`, where logdet is that of the direction computed, shape (B,), in nats,
summed over H, W and C. Parameters and conventions are OpenAI's (openai/glow, `tfops.py` and
`model.py`): every log-scale is multiplied by 3 in use, biases are added before scaling.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from glow_jax.products import matmul

BHWC = Float[Array, "B H W C"]
PerSample = Float[Array, " B"]
Randomness = nnx.Rngs | None  # None: zeros in place of random numbers

LOGSCALE_FACTOR = 3.0


class Fixed(nnx.Variable):
    """A value that is not trained: permutations, signs, folded weights."""


def squeeze(h: BHWC) -> Float[Array, "B H//2 W//2 4*C"]:
    """Move each 2x2 block of pixels into channels: output channel = 4 c + 2 dy + dx.

    Source: openai/glow `tfops.py: squeeze2d`; TensorFlow's space_to_depth orders otherwise.
    """
    b, height, width, c = h.shape
    h = h.reshape(b, height // 2, 2, width // 2, 2, c)
    return h.transpose(0, 1, 3, 5, 2, 4).reshape(b, height // 2, width // 2, 4 * c)


def unsqueeze(h: BHWC) -> Float[Array, "B 2*H 2*W C//4"]:
    """Inverse of `squeeze`."""
    b, height, width, c = h.shape
    h = h.reshape(b, height, width, c // 4, 2, 2)
    return h.transpose(0, 1, 4, 2, 5, 3).reshape(b, 2 * height, 2 * width, c // 4)


def per_sample(h: BHWC, logdet_per_pixel: Array) -> PerSample:
    """The log-determinant of each sample, from that of one pixel, which is the same for all."""
    return jnp.full((h.shape[0],), h.shape[1] * h.shape[2] * logdet_per_pixel, h.dtype)


class ActNorm(nnx.Module):
    """y = (x + bias) * exp(3 logs), per channel.

    Source: Kingma & Dhariwal 2018, table 1; openai/glow `tfops.py: actnorm`.
    """

    def __init__(self, n_channels: int, *, dtype: jnp.dtype):
        self.bias = nnx.Param(jnp.zeros(n_channels, dtype))
        self.logs = nnx.Param(jnp.zeros(n_channels, dtype))

    def scale(self) -> Array:
        """exp(3 logs), shape (C,)."""
        return jnp.exp(LOGSCALE_FACTOR * self.logs[...])

    def forward(self, h: BHWC) -> tuple[BHWC, PerSample]:
        logdet = LOGSCALE_FACTOR * self.logs[...].sum()
        return (h + self.bias[None, None, None]) * self.scale()[None, None, None], per_sample(
            h, logdet
        )

    def inverse(self, h: BHWC) -> tuple[BHWC, PerSample]:
        logdet = -LOGSCALE_FACTOR * self.logs[...].sum()
        return h / self.scale()[None, None, None] - self.bias[None, None, None], per_sample(
            h, logdet
        )

    def initialise(self, h: BHWC) -> None:
        """Set bias and logs so that the output for `h` has mean 0 and deviation 1 per channel.

        Source: openai/glow `tfops.py: actnorm_center, actnorm_scale`, which also add 1e-6
        to the deviation.
        """
        mean = h.mean((0, 1, 2))
        deviation = jnp.sqrt(jnp.square(h - mean[None, None, None]).mean((0, 1, 2)))
        self.bias[...] = -mean
        self.logs[...] = -jnp.log(deviation + 1e-6) / LOGSCALE_FACTOR


class Conv1x1(nnx.Module):
    """Invertible 1x1 convolution with a dense matrix: y = x @ W at every pixel.

    logdet = H W log|det W|. Source: Kingma & Dhariwal 2018, section 3.2; openai/glow
    `model.py: invertible_1x1_conv`.
    """

    def __init__(self, n_channels: int, *, rngs: Randomness, dtype: jnp.dtype):
        self.kernel = nnx.Param(_random_rotation(rngs, n_channels, dtype))

    def matrix(self) -> Array:
        """W, shape (C, C), applied to row vectors."""
        return self.kernel[...]

    def _logdet(self) -> Array:
        return jnp.linalg.slogdet(self.matrix())[1]

    def forward(self, h: BHWC) -> tuple[BHWC, PerSample]:
        return matmul(h, self.matrix()), per_sample(h, self._logdet())

    def inverse(self, h: BHWC) -> tuple[BHWC, PerSample]:
        return matmul(h, jnp.linalg.inv(self.matrix())), per_sample(h, -self._logdet())


class Conv1x1LU(nnx.Module):
    """Invertible 1x1 convolution with W = P L (U + diag(sign exp(log_s))).

    P[i, indices[i]] = 1. L is unit lower and U strictly upper triangular; the other entries of the
    stored arrays are ignored. logdet = H W sum(log_s). Source: Kingma & Dhariwal 2018, equation 10.
    """

    def __init__(self, n_channels: int, *, rngs: Randomness, dtype: jnp.dtype):
        rotation = _random_rotation(rngs, n_channels, dtype)
        permutation = lower = upper = rotation
        if rngs is not None:
            permutation, lower, upper = jax.scipy.linalg.lu(rotation)
        diagonal = jnp.diag(upper)
        self.indices = Fixed(jnp.argmax(permutation, axis=1).astype(jnp.int32))
        self.lower = nnx.Param(jnp.tril(lower, -1))
        self.upper = nnx.Param(jnp.triu(upper, 1))
        self.log_s = nnx.Param(jnp.log(jnp.abs(diagonal)))
        self.sign_s = Fixed(jnp.sign(diagonal))

    def _factors(self) -> tuple[Array, Array]:
        identity = jnp.eye(self.lower.shape[-1], dtype=self.lower.dtype)
        lower = jnp.tril(self.lower[...], -1) + identity
        diagonal = self.sign_s[...] * jnp.exp(self.log_s[...])
        return lower, jnp.triu(self.upper[...], 1) + jnp.diag(diagonal)

    def matrix(self) -> Array:
        """W, shape (C, C), applied to row vectors."""
        lower, upper = self._factors()
        return matmul(lower, upper)[self.indices[...]]

    def forward(self, h: BHWC) -> tuple[BHWC, PerSample]:
        return matmul(h, self.matrix()), per_sample(h, self.log_s[...].sum())

    def inverse(self, h: BHWC) -> tuple[BHWC, PerSample]:
        lower, upper = self._factors()
        solve = jax.scipy.linalg.solve_triangular
        identity = jnp.eye(lower.shape[-1], dtype=lower.dtype)
        inverse = solve(upper, solve(lower, identity, lower=True, unit_diagonal=True))
        h = matmul(h, inverse[:, self.indices[...]])
        return h, per_sample(h, -self.log_s[...].sum())


class ChannelPermutation(nnx.Module):
    """y[..., j] = x[..., indices[j]]: a fixed reversal or shuffle, logdet 0.

    Source: openai/glow `tfops.py: reverse_features, shuffle_features`.
    """

    def __init__(
        self,
        n_channels: int,
        kind: Literal["reverse", "shuffle"],
        *,
        rngs: Randomness,
        dtype: jnp.dtype,
    ):
        del dtype
        indices = jnp.arange(n_channels - 1, -1, -1, dtype=jnp.int32)
        if kind == "shuffle" and rngs is not None:
            indices = jax.random.permutation(rngs.params(), indices)
        self.indices = Fixed(indices)

    def matrix(self) -> Array:
        """The permutation as W, shape (C, C), applied to row vectors."""
        size = self.indices.shape[-1]
        return jnp.zeros((size, size)).at[self.indices[...], jnp.arange(size)].set(1)

    def forward(self, h: BHWC) -> tuple[BHWC, PerSample]:
        return h[..., self.indices[...]], jnp.zeros(h.shape[0], h.dtype)

    def inverse(self, h: BHWC) -> tuple[BHWC, PerSample]:
        return h[..., jnp.argsort(self.indices[...])], jnp.zeros(h.shape[0], h.dtype)


def _random_rotation(rngs: Randomness, size: int, dtype: jnp.dtype) -> Array:
    """A random orthogonal matrix, the paper's initial 1x1 convolution."""
    if rngs is None:
        return jnp.zeros((size, size), dtype)
    key = rngs.params()
    return jnp.linalg.qr(jax.random.normal(key, (size, size), dtype))[0]


class ZeroConv(nnx.Module):
    """A 3x3 convolution that starts at zero: (conv(x) + bias) * exp(3 logs).

    Source: openai/glow `tfops.py: conv2d_zeros`; the bias is scaled too.
    """

    def __init__(self, n_in: int, n_out: int, *, dtype: jnp.dtype):
        self.kernel = nnx.Param(jnp.zeros((3, 3, n_in + 1, n_out), dtype))
        self.bias = nnx.Param(jnp.zeros(n_out, dtype))
        self.logs = nnx.Param(jnp.zeros(n_out, dtype))

    def weights(self) -> tuple[Array, Array]:
        """Kernel (3, 3, C_in + 1, C_out) and bias (C_out,), scales folded in."""
        scale = jnp.exp(LOGSCALE_FACTOR * self.logs[...])
        return self.kernel[...] * scale[None, None, None], self.bias[...] * scale
