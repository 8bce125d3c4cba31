"""The coupling layer: a part x1 of the channels conditions a change of the other part x2.

`forward(h)` and `inverse(h)` return `(h, logdet)` as in `layers`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from glow_jax.config import Conditioning, GlowConfig, Precision
from glow_jax.coupling_network import NetworkWeights, activation, apply_network
from glow_jax.layers import ActNorm, Fixed, Randomness, ZeroConv
from glow_jax.products import conv3x3, matmul

BHWC = Float[Array, "B H W C"]
PerSample = Float[Array, " B"]
Part = Float[Array, "B H _W _C"]  # half the channels, or half the columns
Network = Callable[
    [Array], tuple[Array, Array | None]
]  # a function from x1 to f(x1) and the scale's parameter

NETWORK_INIT_STD = 0.05


class CouplingNetwork(nnx.Module):
    """f of a coupling, in training form: conv 3x3 and 1x1 with actnorm, zero conv 3x3.

    The 3x3 kernels' last input channel is the weight of the edge indicator (`coupling_network`).
    Source: openai/glow `model.py: f`, `tfops.py: conv2d, conv2d_zeros`.
    """

    def __init__(self, config: GlowConfig, n_channels: int, *, rngs: Randomness, dtype: jnp.dtype):
        def normal(*shape: int) -> nnx.Param:
            if rngs is None:
                return nnx.Param(jnp.zeros(shape, dtype))
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
        kernel, bias = self.out.weights()
        n_in, n_out = kernel.shape[2:]
        taps = kernel.transpose(2, 0, 1, 3).reshape(n_in, 9 * n_out)
        has_parameter = self.scale in ("exp_tanh", "sigmoid_plus")
        return NetworkWeights(
            in_kernel=self.in_kernel[...] * in_scale[None, None, None],
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


class CouplingRule(NamedTuple):
    """How a coupling uses the output of its network; the fields are those of `GlowConfig`."""

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
        """Encode direction: transform x2 with the network's output for x1."""
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
    """The coupling layer: one half of the channels is unchanged, and conditions the other half.

    additive: y2 = x2 + f(x1), logdet 0. affine: y2 = (x2 + t) * s with t = f(x1)[0::2],
    s = sigmoid(f(x1)[1::2] + 2), logdet = sum log s. Source: openai/glow
    `model.py: revnet2d_step`; add first, then multiply. `GlowConfig` names the variants.
    """

    def __init__(self, config: GlowConfig, n_channels: int, *, rngs: Randomness, dtype: jnp.dtype):
        self.network = CouplingNetwork(config, n_channels, rngs=rngs, dtype=dtype)
        self.rule = CouplingRule.of(config)
        self.checkpoint = config.checkpoint_coupling
        self.leaky_slope = config.leaky_slope
        self.precision: Precision = "exact"
        self.platform: str | None = None  # that a program is for; JAX's default backend

    def _network(self, x1: BHWC) -> tuple[Float[Array, "B H W D"], Array | None]:
        def run(x1: Array, weights: NetworkWeights) -> Array:
            return apply_network(x1, weights, self.precision, self.leaky_slope, self.platform)

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
