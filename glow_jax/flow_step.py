"""A step of flow: actnorm, 1x1 convolution or permutation, coupling; in training form and folded.

`forward(h)` and `inverse(h)` return `(h, logdet)` as in `layers`.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from glow_jax.config import GlowConfig
from glow_jax.coupling import Coupling, CouplingRule, Network
from glow_jax.coupling_network import (
    Form,
    NetworkWeights,
    apply_network,
    form_for,
    laid_out,
    normalised_input,
)
from glow_jax.kept_programs import kept
from glow_jax.lanes import (
    Borders,
    apply_lanes,
    fills_lanes,
    group_size,
    lane_weights,
)
from glow_jax.layers import (
    LOGSCALE_FACTOR,
    ActNorm,
    ChannelPermutation,
    Conv1x1,
    Conv1x1LU,
    Fixed,
    Randomness,
    per_sample,
)
from glow_jax.products import Products, matmul

BHWC = Float[Array, "B H W C"]
PerSample = Float[Array, " B"]
Matmul = Callable[[Array, Array], Array]


class Step(nnx.Module):
    """One step of flow in training form: actnorm, 1x1 convolution or permutation, coupling."""

    def __init__(self, config: GlowConfig, n_channels: int, *, rngs: Randomness, dtype: jnp.dtype):
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


# The program runs once: that LLVM optimises it would cost more than that gains.
SOONEST = {"xla_backend_optimization_level": 0}
Parts = tuple[Array, NetworkWeights]  # matrices (K, C, C) and the network's weights


def parts_of(levels: Sequence[Step]) -> list[Parts]:
    """What folding computes of every level's stacked steps, in one program."""
    graphs, states = zip(*(nnx.split(steps) for steps in levels), strict=True)
    found: list[Parts] = _all_parts(graphs, states)
    return found


@functools.partial(kept, static=(0,), compiler_options=SOONEST)
def _all_parts(graphs: tuple[Any, ...], states: tuple[Any, ...]) -> list[Parts]:
    def parts(graph: Any, state: Any) -> Parts:
        step = nnx.merge(graph, state)
        return step.inv_conv.matrix(), step.coupling.network.weights()

    return [
        jax.vmap(functools.partial(parts, graph))(state)
        for graph, state in zip(graphs, states, strict=True)
    ]


def _fixed(array: np.ndarray, dtype: jnp.dtype) -> Fixed:
    """An array on the device; jnp.asarray would compile a program for each shape."""
    return Fixed(jax.device_put(array.astype(dtype), may_alias=False))


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

    def __init__(
        self,
        steps: Step,
        parts: Parts,
        config: GlowConfig,
        precision: Products,
        dtype: jnp.dtype,
        platform: str | None = None,
    ):
        """Fold K stacked steps.

        Args:
            steps: a `Step` whose arrays have a leading axis K.
            parts: of `parts_of`.
            config: the model's.
            precision: of the coupling networks' products.
            dtype: of the folded arrays.
            platform: that programs are for, such as "tpu"; None is JAX's default backend.
        """
        matrices, network = parts
        w = np.asarray(matrices, np.float64)
        bias = np.asarray(steps.norm.bias[...], np.float64)
        logs = LOGSCALE_FACTOR * np.asarray(steps.norm.logs[...], np.float64)
        with np.errstate(over="ignore"):  # a scale beyond the dtype's range becomes infinite
            scaled = (np.exp(logs)[..., None] * w).astype(dtype).astype(np.float64)
        self.kernel = _fixed(scaled, dtype)
        self.shift = _fixed(np.einsum("kc,kcd->kd", bias, scaled), dtype)
        self.inverse_kernel = _fixed(_inverse(scaled), dtype)
        self.bias = _fixed(bias, dtype)
        logdet = logs.sum(-1) + np.linalg.slogdet(w)[1]
        self.logdet_per_pixel = _fixed(logdet, dtype)
        self.rule = CouplingRule.of(config)
        self.leaky_slope = config.leaky_slope
        self.precision = precision
        self.platform = platform
        self._set_network(network)

    def lay_out(self, platform: str) -> None:
        """Prepare the weights for a platform, in place; the steps were folded for a CPU."""
        self.platform = platform
        self._set_network(self._weights())

    def _set_network(self, network: NetworkWeights) -> None:
        arrays = laid_out(network, self.precision, self._platform)._asdict()
        self.network = nnx.data({k: Fixed(a) for k, a in arrays.items() if a is not None})

    def form(self, batch: Any, height: int, width: int, n_channels: int) -> Form:
        """How the networks of a level are computed, for images of height x width."""
        halves = self.rule.conditioning in ("first", "second")  # else half of the columns
        n_in = n_channels // 2 if halves else n_channels
        for precision in (self.precision, "exact"):  # whose forms have no kernel
            form = form_for(self._platform, n_in, self._hidden, height * width, precision)
            if form not in ("lanes", "fused"):
                return form
            n_images = self.group_size(form, batch, height, width)
            if halves and n_images > 0 and fills_lanes(width, n_images):
                return form
        return "convolution"

    def group_size(self, form: Form, batch: Any, height: int, width: int) -> int:
        """Images that are computed at once in the form "lanes" or "fused"; 0 if none can be."""
        if form == "fused":
            from glow_jax import fused_lanes  # Pallas takes long to import

            return fused_lanes.group_size(batch, height, width)
        return group_size(batch, height * width, self._hidden, self.precision)

    @property
    def _platform(self) -> str:
        return self.platform or jax.default_backend()

    @property
    def _hidden(self) -> int:
        """Channels of the networks' hidden layers."""
        return int(self.network["hidden_bias"][...].shape[-1])

    def _weights(self) -> NetworkWeights:
        return NetworkWeights(**{name: leaf[...] for name, leaf in self.network.items()})

    def lane_weights(self, form: Form) -> Any:
        """The weights of all steps, for `lane_network`: `LaneWeights` or `FusedWeights`."""
        weights = lane_weights(self._weights())
        if form == "fused":
            from glow_jax.fused_lanes import fused_weights

            return fused_weights(weights)
        return weights

    def lane_network(self, form: Form, lanes: Any, borders: Borders, width: int) -> Network:
        """The network of one step in the form "lanes" or "fused".

        Args:
            form: of the level.
            lanes: the step's weights, of `lane_weights`.
            borders: of the group.
            width: of an image, in pixels.

        Returns:
            A function of batches of columns (L, H, 1, C).
        """
        run: Callable[..., Array] = apply_lanes
        if form == "fused":
            from glow_jax.fused_lanes import apply_fused

            run = functools.partial(apply_fused, width=width)

        def network(x1: BHWC) -> tuple[Float[Array, "B H W D"], Array | None]:
            weights = self._weights()
            x = normalised_input(x1, weights)[:, :, 0].transpose(1, 2, 0)
            out = run(x, lanes, borders, self.precision, self.leaky_slope)
            return out.transpose(2, 0, 1)[:, :, None], weights.scale_parameter

        return network

    def _network(self, x1: BHWC) -> tuple[Float[Array, "B H W D"], Array | None]:
        weights = self._weights()
        form = form_for(self._platform, x1.shape[-1], self._hidden, x1.shape[1] * x1.shape[2])
        if form in ("lanes", "fused"):  # `model.Level` runs these
            form = "convolution"
        out = apply_network(x1, weights, self.precision, self.leaky_slope, self._platform, form)
        return out, weights.scale_parameter

    def forward(
        self, h: BHWC, network: Network | None = None, matmul: Matmul = matmul
    ) -> tuple[BHWC, PerSample]:
        logdet = per_sample(h, self.logdet_per_pixel[...])
        h = matmul(h, self.kernel[...]) + self.shift[None, None, None]
        h, coupling = self.rule.forward(h, network or self._network)
        return h, logdet + coupling

    def inverse(
        self, h: BHWC, network: Network | None = None, matmul: Matmul = matmul
    ) -> tuple[BHWC, PerSample]:
        logdet = -per_sample(h, self.logdet_per_pixel[...])
        h, coupling = self.rule.inverse(h, network or self._network)
        h = matmul(h, self.inverse_kernel[...]) - self.bias[None, None, None]
        return h, logdet + coupling
