"""The invertible layers of a step of flow, each `forward(h)` and `inverse(h)`.

Both return `(h, logdet)`; the logdet is that of the direction just run, shape (B,), nats,
summed over H, W and C. Parameters and conventions are OpenAI's (openai/glow, `tfops.py` and
`model.py`): every log-scale is multiplied by 3 in use, biases are added before scaling.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from glow_jax.config import GlowConfig, Precision
from glow_jax.coupling import NetworkWeights, apply_network, conv3x3, matmul

BHWC = Float[Array, "B H W C"]
PerSample = Float[Array, " B"]

LOGSCALE_FACTOR = 3.0
NETWORK_INIT_STD = 0.05


class Fixed(nnx.Variable):
    """A value that no optimiser may touch: permutations, signs, folded weights."""


def squeeze(h: BHWC) -> Float[Array, "B H//2 W//2 4*C"]:
    """Trade 2x2 pixels for channels: out channel = 4 c + 2 dy + dx.

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


def _per_sample(h: BHWC, logdet_per_pixel: Array) -> PerSample:
    """The same log-determinant at every pixel, summed, for each sample."""
    return jnp.full((h.shape[0],), h.shape[1] * h.shape[2] * logdet_per_pixel, h.dtype)


class ActNorm(nnx.Module):
    """y = (x + bias) * exp(3 logs), a channel at a time.

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
        return (h + self.bias[None, None, None]) * self.scale()[None, None, None], _per_sample(
            h, logdet
        )

    def inverse(self, h: BHWC) -> tuple[BHWC, PerSample]:
        logdet = -LOGSCALE_FACTOR * self.logs[...].sum()
        return h / self.scale()[None, None, None] - self.bias[None, None, None], _per_sample(
            h, logdet
        )

    def initialise(self, h: BHWC) -> None:
        """Set bias and logs so that `h` comes out with mean 0 and deviation 1 a channel.

        Source: openai/glow `tfops.py: actnorm_center, actnorm_scale` (1e-6 beside the
        deviation is theirs).
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

    def __init__(self, n_channels: int, *, rngs: nnx.Rngs, dtype: jnp.dtype):
        self.kernel = nnx.Param(_random_rotation(rngs.params(), n_channels, dtype))

    def matrix(self) -> Array:
        """W, shape (C, C), applied to row vectors."""
        return self.kernel[...]

    def _logdet(self) -> Array:
        return jnp.linalg.slogdet(self.matrix())[1]

    def forward(self, h: BHWC) -> tuple[BHWC, PerSample]:
        return matmul(h, self.matrix()), _per_sample(h, self._logdet())

    def inverse(self, h: BHWC) -> tuple[BHWC, PerSample]:
        return matmul(h, jnp.linalg.inv(self.matrix())), _per_sample(h, -self._logdet())


class Conv1x1LU(nnx.Module):
    """Invertible 1x1 convolution with W = P L (U + diag(sign exp(log_s))).

    P[i, indices[i]] = 1. L is unit lower and U strictly upper triangular whatever their other
    entries hold. logdet = H W sum(log_s). Source: Kingma & Dhariwal 2018, equation 10.
    """

    def __init__(self, n_channels: int, *, rngs: nnx.Rngs, dtype: jnp.dtype):
        rotation = _random_rotation(rngs.params(), n_channels, dtype)
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
        return matmul(h, self.matrix()), _per_sample(h, self.log_s[...].sum())

    def inverse(self, h: BHWC) -> tuple[BHWC, PerSample]:
        lower, upper = self._factors()
        solve = jax.scipy.linalg.solve_triangular
        identity = jnp.eye(lower.shape[-1], dtype=lower.dtype)
        inverse = solve(upper, solve(lower, identity, lower=True, unit_diagonal=True))
        h = matmul(h, inverse[:, self.indices[...]])
        return h, _per_sample(h, -self.log_s[...].sum())


class ChannelPermutation(nnx.Module):
    """y[..., j] = x[..., indices[j]]: a fixed reversal or shuffle, logdet 0.

    Source: openai/glow `tfops.py: reverse_features, shuffle_features`.
    """

    def __init__(
        self,
        n_channels: int,
        kind: Literal["reverse", "shuffle"],
        *,
        rngs: nnx.Rngs,
        dtype: jnp.dtype,
    ):
        del dtype
        indices = jnp.arange(n_channels - 1, -1, -1, dtype=jnp.int32)
        if kind == "shuffle":
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


def _random_rotation(key: jax.Array, size: int, dtype: jnp.dtype) -> Array:
    """A random orthogonal matrix, the paper's initial 1x1 convolution."""
    return jnp.linalg.qr(jax.random.normal(key, (size, size), dtype))[0]


class CouplingNetwork(nnx.Module):
    """f of a coupling, in training form: conv 3x3 and 1x1 with actnorm, zero conv 3x3.

    The 3x3 kernels' last input channel is the weight of the edge indicator (coupling.py).
    Source: openai/glow `model.py: f`, `tfops.py: conv2d, conv2d_zeros`.
    """

    def __init__(
        self, n_in: int, n_out: int, hidden_width: int, *, rngs: nnx.Rngs, dtype: jnp.dtype
    ):
        def normal(*shape: int) -> nnx.Param:
            return nnx.Param(NETWORK_INIT_STD * jax.random.normal(rngs.params(), shape, dtype))

        self.in_kernel = normal(3, 3, n_in + 1, hidden_width)
        self.in_norm = ActNorm(hidden_width, dtype=dtype)
        self.hidden_kernel = normal(hidden_width, hidden_width)
        self.hidden_norm = ActNorm(hidden_width, dtype=dtype)
        self.out = ZeroConv(hidden_width, n_out, dtype=dtype)

    def weights(self) -> NetworkWeights:
        """Fold both actnorms and the log-scales: (x W + b) * s = x (W s) + b s."""
        in_scale, hidden_scale = self.in_norm.scale(), self.hidden_norm.scale()
        in_kernel = self.in_kernel[...].reshape(-1, in_scale.shape[0])
        kernel, bias = self.out.weights()
        n_in, n_out = kernel.shape[2:]
        taps = kernel.transpose(2, 0, 1, 3).reshape(n_in, 9 * n_out)
        return NetworkWeights(
            in_kernel=in_kernel * in_scale[None],
            in_bias=self.in_norm.bias[...] * in_scale,
            hidden_kernel=self.hidden_kernel[...] * hidden_scale[None],
            hidden_bias=self.hidden_norm.bias[...] * hidden_scale,
            out_kernel=taps[:-1],
            ring=taps[-1],
            out_bias=bias,
        )

    def initialise(self, h: BHWC) -> None:
        """Data-dependent initialisation of both hidden actnorms, in order."""
        for norm, stop in ((self.in_norm, "in"), (self.hidden_norm, "hidden")):
            norm.initialise(self._hidden(h, stop))

    def _hidden(self, h: BHWC, stop: str) -> Float[Array, "B H W D"]:
        """The input of one of the two actnorms."""
        h = conv3x3(h, self.in_kernel[...])
        if stop == "in":
            return h
        return matmul(jax.nn.relu(self.in_norm.forward(h)[0]), self.hidden_kernel[...])


class ZeroConv(nnx.Module):
    """A 3x3 convolution that starts at zero: (conv(x) + bias) * exp(3 logs).

    Source: openai/glow `tfops.py: conv2d_zeros`; the bias is inside the scale.
    """

    def __init__(self, n_in: int, n_out: int, *, dtype: jnp.dtype):
        self.kernel = nnx.Param(jnp.zeros((3, 3, n_in + 1, n_out), dtype))
        self.bias = nnx.Param(jnp.zeros(n_out, dtype))
        self.logs = nnx.Param(jnp.zeros(n_out, dtype))

    def weights(self) -> tuple[Array, Array]:
        """Kernel (3, 3, C_in + 1, C_out) and bias (C_out,), scales folded in."""
        scale = jnp.exp(LOGSCALE_FACTOR * self.logs[...])
        return self.kernel[...] * scale[None, None, None], self.bias[...] * scale


class Coupling(nnx.Module):
    """Half the channels pass through and decide what happens to the other half.

    additive: y2 = x2 + f(x1), logdet 0. affine: y2 = (x2 + t) * s with t = f(x1)[0::2],
    s = sigmoid(f(x1)[1::2] + 2), logdet = sum log s. Source: openai/glow
    `model.py: revnet2d_step`; add first, then multiply.
    """

    def __init__(self, config: GlowConfig, n_channels: int, *, rngs: nnx.Rngs, dtype: jnp.dtype):
        half = n_channels // 2
        n_out = half if config.coupling == "additive" else n_channels
        self.network = CouplingNetwork(half, n_out, config.hidden_width, rngs=rngs, dtype=dtype)
        self.affine = config.coupling == "affine"
        self.checkpoint = config.checkpoint_coupling
        self.precision: Precision = "exact"

    def _network(self, x1: BHWC) -> Float[Array, "B H W D"]:
        def run(x1: Array, weights: NetworkWeights) -> Array:
            return apply_network(x1, weights, self.precision)

        if self.checkpoint:
            run = jax.checkpoint(run)
        return run(x1, self.network.weights())

    def forward(self, h: BHWC) -> tuple[BHWC, PerSample]:
        return couple(h, self._network, self.affine)

    def inverse(self, h: BHWC) -> tuple[BHWC, PerSample]:
        return uncouple(h, self._network, self.affine)


def couple(h: BHWC, network, affine: bool) -> tuple[BHWC, PerSample]:
    """Encode direction of a coupling, given its network as a function of x1."""
    x1, x2 = jnp.split(h, 2, axis=-1)
    out = network(x1)
    if not affine:
        return jnp.concatenate([x1, x2 + out], axis=-1), jnp.zeros(h.shape[0], h.dtype)
    shift, raw = out[..., 0::2], out[..., 1::2] + 2
    logdet = jax.nn.log_sigmoid(raw).sum((1, 2, 3))
    return jnp.concatenate([x1, (x2 + shift) * jax.nn.sigmoid(raw)], axis=-1), logdet


def uncouple(h: BHWC, network, affine: bool) -> tuple[BHWC, PerSample]:
    """Decode direction of a coupling, given its network as a function of x1."""
    x1, y2 = jnp.split(h, 2, axis=-1)
    out = network(x1)
    if not affine:
        return jnp.concatenate([x1, y2 - out], axis=-1), jnp.zeros(h.shape[0], h.dtype)
    shift, raw = out[..., 0::2], out[..., 1::2] + 2
    logdet = -jax.nn.log_sigmoid(raw).sum((1, 2, 3))
    return jnp.concatenate([x1, y2 / jax.nn.sigmoid(raw) - shift], axis=-1), logdet


class Step(nnx.Module):
    """One step of flow in training form: actnorm, channel mixing, coupling."""

    def __init__(self, config: GlowConfig, n_channels: int, *, rngs: nnx.Rngs, dtype: jnp.dtype):
        self.norm = ActNorm(n_channels, dtype=dtype)
        self.mix: Conv1x1 | Conv1x1LU | ChannelPermutation
        if config.permutation == "dense":
            self.mix = Conv1x1(n_channels, rngs=rngs, dtype=dtype)
        elif config.permutation == "lu":
            self.mix = Conv1x1LU(n_channels, rngs=rngs, dtype=dtype)
        else:
            self.mix = ChannelPermutation(n_channels, config.permutation, rngs=rngs, dtype=dtype)
        self.coupling = Coupling(config, n_channels, rngs=rngs, dtype=dtype)

    def forward(self, h: BHWC) -> tuple[BHWC, PerSample]:
        h, norm = self.norm.forward(h)
        h, mix = self.mix.forward(h)
        h, coupling = self.coupling.forward(h)
        return h, norm + mix + coupling

    def inverse(self, h: BHWC) -> tuple[BHWC, PerSample]:
        h, coupling = self.coupling.inverse(h)
        h, mix = self.mix.inverse(h)
        h, norm = self.norm.inverse(h)
        return h, norm + mix + coupling

    def initialise(self, h: BHWC) -> BHWC:
        """Data-dependent initialisation of every actnorm in the step; returns its output."""
        self.norm.initialise(h)
        h = self.mix.forward(self.norm.forward(h)[0])[0]
        self.coupling.network.initialise(jnp.split(h, 2, axis=-1)[0])
        return self.coupling.forward(h)[0]


class FoldedStep(nnx.Module):
    """One step in inference form: an affine map of the channels, then the coupling.

    Actnorm and channel mixing become y = x @ kernel + shift and x = y @ inverse_kernel -
    bias, the inverse computed in float64; the coupling's network has its scales folded in.
    Built for all K steps of a level at once: every array has a leading K axis.
    """

    def __init__(self, steps: Step, config: GlowConfig, precision: Precision, dtype: jnp.dtype):
        """Fold K stacked steps.

        Args:
            steps: a `Step` whose arrays have a leading axis K.
            config: the model's.
            precision: of the coupling networks' products.
            dtype: of the folded arrays.
        """
        graph, state = nnx.split(steps)

        def parts(state: nnx.State) -> tuple[Array, NetworkWeights]:
            step = nnx.merge(graph, state)
            return step.mix.matrix(), step.coupling.network.weights()

        matrices, network = jax.jit(jax.vmap(parts))(state)
        w = np.asarray(matrices, np.float64)
        bias = np.asarray(steps.norm.bias[...], np.float64)
        logs = LOGSCALE_FACTOR * np.asarray(steps.norm.logs[...], np.float64)
        scaled = (np.exp(logs)[..., None] * w).astype(dtype).astype(np.float64)
        self.kernel = Fixed(jnp.asarray(scaled, dtype))
        self.shift = Fixed(jnp.asarray(np.einsum("kc,kcd->kd", bias, scaled), dtype))
        self.inverse_kernel = Fixed(jnp.asarray(np.linalg.inv(scaled), dtype))
        self.bias = Fixed(jnp.asarray(bias, dtype))
        logdet = logs.sum(-1) + np.linalg.slogdet(w)[1]
        self.logdet_per_pixel = Fixed(jnp.asarray(logdet, dtype))
        self.network = nnx.data(tuple(map(Fixed, network)))
        self.affine = config.coupling == "affine"
        self.precision = precision

    def _network(self, x1: BHWC) -> Float[Array, "B H W D"]:
        weights = NetworkWeights(*(leaf[...] for leaf in self.network))
        return apply_network(x1, weights, self.precision)

    def forward(self, h: BHWC) -> tuple[BHWC, PerSample]:
        logdet = _per_sample(h, self.logdet_per_pixel[...])
        h = matmul(h, self.kernel[...]) + self.shift[None, None, None]
        h, coupling = couple(h, self._network, self.affine)
        return h, logdet + coupling

    def inverse(self, h: BHWC) -> tuple[BHWC, PerSample]:
        logdet = -_per_sample(h, self.logdet_per_pixel[...])
        h, coupling = uncouple(h, self._network, self.affine)
        h = matmul(h, self.inverse_kernel[...]) - self.bias[None, None, None]
        return h, logdet + coupling
