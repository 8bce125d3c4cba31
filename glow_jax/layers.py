"""The invertible layers of a step of flow, each `forward(h)` and `inverse(h)`.

Both return `(h, logdet)`; the logdet is that of the direction just run, shape (B,), nats,
summed over H, W and C. Parameters and conventions are OpenAI's (openai/glow, `tfops.py` and
`model.py`): every log-scale is multiplied by 3 in use, biases are added before scaling.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from glow_jax.config import Conditioning, GlowConfig, Precision
from glow_jax.coupling import NetworkWeights, activation, apply_network, conv3x3, matmul

BHWC = Float[Array, "B H W C"]
PerSample = Float[Array, " B"]
Part = Float[Array, "B H _W _C"]  # half the channels, or half the columns
Network = Callable[[Array], tuple[Array, Array | None]]  # x1 to f(x1) and the scale's parameter

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

    def __init__(self, config: GlowConfig, n_channels: int, *, rngs: nnx.Rngs, dtype: jnp.dtype):
        def normal(*shape: int) -> nnx.Param:
            return nnx.Param(NETWORK_INIT_STD * jax.random.normal(rngs.params(), shape, dtype))

        n_in = n_changed = n_channels // 2
        if config.conditioning in ("odd", "even"):  # half the columns, all the channels
            n_in = n_changed = n_channels
        n_out = n_changed if config.coupling == "additive" else 2 * n_changed
        width = config.hidden_width
        self.in_kernel = normal(3, 3, n_in + 1, width)
        self.in_norm = ActNorm(width, dtype=dtype)
        self.hidden_kernel = normal(width, width)
        self.hidden_norm = ActNorm(width, dtype=dtype)
        self.out = ZeroConv(width, n_out, dtype=dtype)
        self.leaky_slope = config.leaky_slope
        self.has_input_norm = config.input_norm
        if config.input_norm:
            self.input_scale = nnx.Param(jnp.ones(n_in, dtype))
            self.input_bias = nnx.Param(jnp.zeros(n_in, dtype))
        self.scale = config.scale if config.coupling == "affine" else None
        self.scale_parameter: nnx.Variable
        if self.scale == "exp_tanh":
            self.scale_parameter = nnx.Param(jnp.ones(n_changed, dtype))
        elif self.scale == "sigmoid_plus":
            self.scale_parameter = Fixed(jnp.zeros(n_changed, dtype))

    def weights(self) -> NetworkWeights:
        """Fold both actnorms and the log-scales: (x W + b) * s = x (W s) + b s."""
        in_scale, hidden_scale = self.in_norm.scale(), self.hidden_norm.scale()
        in_kernel = self.in_kernel[...].reshape(-1, in_scale.shape[0])
        kernel, bias = self.out.weights()
        n_in, n_out = kernel.shape[2:]
        taps = kernel.transpose(2, 0, 1, 3).reshape(n_in, 9 * n_out)
        has_parameter = self.scale in ("exp_tanh", "sigmoid_plus")
        return NetworkWeights(
            in_kernel=in_kernel * in_scale[None],
            in_bias=self.in_norm.bias[...] * in_scale,
            hidden_kernel=self.hidden_kernel[...] * hidden_scale[None],
            hidden_bias=self.hidden_norm.bias[...] * hidden_scale,
            out_kernel=taps[:-1],
            ring=taps[-1],
            out_bias=bias,
            input_scale=self.input_scale[...] if self.has_input_norm else None,
            input_bias=self.input_bias[...] if self.has_input_norm else None,
            scale_parameter=self.scale_parameter[...] if has_parameter else None,
        )

    def initialise(self, h: BHWC) -> None:
        """Data-dependent initialisation of both hidden actnorms, in order."""
        if self.has_input_norm:
            h = h * self.input_scale[None, None, None] + self.input_bias[None, None, None]
            h = jax.nn.relu(h)
        for norm, stop in ((self.in_norm, "in"), (self.hidden_norm, "hidden")):
            norm.initialise(self._hidden(h, stop))

    def _hidden(self, h: BHWC, stop: str) -> Float[Array, "B H W D"]:
        """The input of one of the two actnorms."""
        h = conv3x3(h, self.in_kernel[...])
        if stop == "in":
            return h
        h = activation(self.in_norm.forward(h)[0], self.leaky_slope)
        return matmul(h, self.hidden_kernel[...])


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


class CouplingRule(NamedTuple):
    """What a coupling does with its network's output; fields as in `GlowConfig`."""

    affine: bool
    scale: str
    scale_first: bool
    conditioning: Conditioning

    @classmethod
    def of(cls, config: GlowConfig) -> "CouplingRule":
        affine = config.coupling == "affine"
        return cls(affine, config.scale, config.scale_first, config.conditioning)

    def log_scale(self, raw: BHWC, parameter: Array | None) -> BHWC:
        """log s of the network's raw scale output."""
        if self.scale == "exp":
            return raw
        if self.scale == "exp_tanh":
            assert parameter is not None
            return parameter[None, None, None] * jnp.tanh(raw)
        if self.scale == "sigmoid_plus":
            assert parameter is not None
            return jnp.log(jax.nn.sigmoid(raw + 2) + parameter[None, None, None])
        sign = -1 if self.scale == "inverse_sigmoid" else 1
        return sign * jax.nn.log_sigmoid(raw + 2)

    def forward(self, h: BHWC, network: Network) -> tuple[BHWC, PerSample]:
        """Encode direction: change one part of h by the network's output on the other."""
        x1, x2 = split(h, self.conditioning)
        out, parameter = network(x1)
        if not self.affine:
            return merge(x1, x2 + out, self.conditioning), jnp.zeros(h.shape[0], h.dtype)
        shift, log_s = out[..., 0::2], self.log_scale(out[..., 1::2], parameter)
        scale = jnp.exp(log_s)
        y2 = x2 * scale + shift if self.scale_first else (x2 + shift) * scale
        return merge(x1, y2, self.conditioning), log_s.sum((1, 2, 3))

    def inverse(self, h: BHWC, network: Network) -> tuple[BHWC, PerSample]:
        """Decode direction: the inverse of `forward`."""
        x1, y2 = split(h, self.conditioning)
        out, parameter = network(x1)
        if not self.affine:
            return merge(x1, y2 - out, self.conditioning), jnp.zeros(h.shape[0], h.dtype)
        shift, log_s = out[..., 0::2], self.log_scale(out[..., 1::2], parameter)
        inverse_scale = jnp.exp(-log_s)
        x2 = (y2 - shift) * inverse_scale if self.scale_first else y2 * inverse_scale - shift
        return merge(x1, x2, self.conditioning), -log_s.sum((1, 2, 3))


def split(h: BHWC, conditioning: Conditioning) -> tuple[Part, Part]:
    """The part x1 that conditions the coupling, and the part x2 that the coupling changes.

    "odd" and "even" are squares of a checkerboard, coloured by the parity of channel + row +
    column; each part keeps all channels and half the columns (normflows `Split`).
    """
    if conditioning in ("first", "second"):
        first, second = jnp.split(h, 2, axis=-1)
        return (first, second) if conditioning == "first" else (second, first)
    left, right = h[:, :, 0::2], h[:, :, 1::2]
    swap = _odd_rows(left)
    odd, even = jnp.where(swap, left, right), jnp.where(swap, right, left)
    return (odd, even) if conditioning == "odd" else (even, odd)


def merge(x1: BHWC, x2: BHWC, conditioning: Conditioning) -> Part:
    """Inverse of `split`."""
    if conditioning in ("first", "second"):
        return jnp.concatenate([x1, x2] if conditioning == "first" else [x2, x1], axis=-1)
    odd, even = (x1, x2) if conditioning == "odd" else (x2, x1)
    swap = _odd_rows(odd)
    pairs = jnp.stack([jnp.where(swap, odd, even), jnp.where(swap, even, odd)], axis=3)
    return pairs.reshape(*odd.shape[:2], 2 * odd.shape[2], odd.shape[3])


def _odd_rows(h: BHWC) -> Bool[Array, "1 H 1 C"]:
    """Where channel + row is odd: there the odd square is in the left, even column."""
    rows, channels = jnp.arange(h.shape[1]), jnp.arange(h.shape[3])
    return ((rows[:, None] + channels[None]) % 2 == 1)[None, :, None, :]


class Coupling(nnx.Module):
    """Half the channels pass through and decide what happens to the other half.

    additive: y2 = x2 + f(x1), logdet 0. affine: y2 = (x2 + t) * s with t = f(x1)[0::2],
    s = sigmoid(f(x1)[1::2] + 2), logdet = sum log s. Source: openai/glow
    `model.py: revnet2d_step`; add first, then multiply. `GlowConfig` names the variants.
    """

    def __init__(self, config: GlowConfig, n_channels: int, *, rngs: nnx.Rngs, dtype: jnp.dtype):
        self.network = CouplingNetwork(config, n_channels, rngs=rngs, dtype=dtype)
        self.rule = CouplingRule.of(config)
        self.checkpoint = config.checkpoint_coupling
        self.leaky_slope = config.leaky_slope
        self.precision: Precision = "exact"

    def _network(self, x1: BHWC) -> tuple[Float[Array, "B H W D"], Array | None]:
        def run(x1: Array, weights: NetworkWeights) -> Array:
            return apply_network(x1, weights, self.precision, self.leaky_slope)

        if self.checkpoint:
            run = jax.checkpoint(run)
        weights = self.network.weights()
        return run(x1, weights), weights.scale_parameter

    def forward(self, h: BHWC) -> tuple[BHWC, PerSample]:
        return self.rule.forward(h, self._network)

    def inverse(self, h: BHWC) -> tuple[BHWC, PerSample]:
        return self.rule.inverse(h, self._network)

    def initialise(self, h: BHWC) -> BHWC:
        """Data-dependent initialisation of the network; returns the output."""
        self.network.initialise(split(h, self.rule.conditioning)[0])
        return self.forward(h)[0]


class Step(nnx.Module):
    """One step of flow in training form: actnorm, 1x1 convolution or permutation, coupling."""

    def __init__(self, config: GlowConfig, n_channels: int, *, rngs: nnx.Rngs, dtype: jnp.dtype):
        self.norm = ActNorm(n_channels, dtype=dtype)
        self.inv_conv: Conv1x1 | Conv1x1LU | ChannelPermutation
        if config.permutation == "dense":
            self.inv_conv = Conv1x1(n_channels, rngs=rngs, dtype=dtype)
        elif config.permutation == "lu":
            self.inv_conv = Conv1x1LU(n_channels, rngs=rngs, dtype=dtype)
        else:
            self.inv_conv = ChannelPermutation(
                n_channels, config.permutation, rngs=rngs, dtype=dtype
            )
        self.coupling = Coupling(config, n_channels, rngs=rngs, dtype=dtype)

    def forward(self, h: BHWC) -> tuple[BHWC, PerSample]:
        h, norm = self.norm.forward(h)
        h, inv_conv = self.inv_conv.forward(h)
        h, coupling = self.coupling.forward(h)
        return h, norm + inv_conv + coupling

    def inverse(self, h: BHWC) -> tuple[BHWC, PerSample]:
        h, coupling = self.coupling.inverse(h)
        h, inv_conv = self.inv_conv.inverse(h)
        h, norm = self.norm.inverse(h)
        return h, norm + inv_conv + coupling

    def initialise(self, h: BHWC) -> BHWC:
        """Data-dependent initialisation of every actnorm in the step; returns its output."""
        self.norm.initialise(h)
        h = self.inv_conv.forward(self.norm.forward(h)[0])[0]
        return self.coupling.initialise(h)


def _inverse(matrices: np.ndarray) -> np.ndarray:
    """Inverses of matrices (K, C, C).

    Raises:
        ValueError: one is singular.
    """
    try:
        return np.linalg.inv(matrices)
    except np.linalg.LinAlgError:
        raise ValueError("a 1x1 convolution has a singular matrix, hence no inverse") from None


class FoldedStep(nnx.Module):
    """One step in inference form: an affine map of the channels, then the coupling.

    Actnorm and 1x1 convolution become y = x @ kernel + shift and x = y @ inverse_kernel -
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
            return step.inv_conv.matrix(), step.coupling.network.weights()

        matrices, network = jax.jit(jax.vmap(parts))(state)
        w = np.asarray(matrices, np.float64)
        bias = np.asarray(steps.norm.bias[...], np.float64)
        logs = LOGSCALE_FACTOR * np.asarray(steps.norm.logs[...], np.float64)
        with np.errstate(over="ignore"):  # a scale beyond the type's range stays infinite
            scaled = (np.exp(logs)[..., None] * w).astype(dtype).astype(np.float64)
        self.kernel = Fixed(jnp.asarray(scaled, dtype))
        self.shift = Fixed(jnp.asarray(np.einsum("kc,kcd->kd", bias, scaled), dtype))
        self.inverse_kernel = Fixed(jnp.asarray(_inverse(scaled), dtype))
        self.bias = Fixed(jnp.asarray(bias, dtype))
        logdet = logs.sum(-1) + np.linalg.slogdet(w)[1]
        self.logdet_per_pixel = Fixed(jnp.asarray(logdet, dtype))
        self.network = nnx.data(
            {k: Fixed(a) for k, a in network._asdict().items() if a is not None}
        )
        self.rule = CouplingRule.of(config)
        self.leaky_slope = config.leaky_slope
        self.precision = precision

    def _network(self, x1: BHWC) -> tuple[Float[Array, "B H W D"], Array | None]:
        weights = NetworkWeights(**{name: leaf[...] for name, leaf in self.network.items()})
        out = apply_network(x1, weights, self.precision, self.leaky_slope)
        return out, weights.scale_parameter

    def forward(self, h: BHWC) -> tuple[BHWC, PerSample]:
        logdet = _per_sample(h, self.logdet_per_pixel[...])
        h = matmul(h, self.kernel[...]) + self.shift[None, None, None]
        h, coupling = self.rule.forward(h, self._network)
        return h, logdet + coupling

    def inverse(self, h: BHWC) -> tuple[BHWC, PerSample]:
        logdet = -_per_sample(h, self.logdet_per_pixel[...])
        h, coupling = self.rule.inverse(h, self._network)
        h = matmul(h, self.inverse_kernel[...]) - self.bias[None, None, None]
        return h, logdet + coupling
