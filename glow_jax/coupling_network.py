"""The coupling network f: three convolutions as three matrix products.

A 3x3 -> 1x1 -> 3x3 network is a per-pixel MLP between a gather from neighbours and a scatter to
neighbours, so no convolution is applied to the wide hidden layer. On a CPU this is 2-5 times faster
than XLA's convolutions, forward and backward (bench/speed).

OpenAI's convolutions have one more input channel, the edge indicator, which is 1 on the padding
ring and 0 inside (openai/glow `tfops.py: add_edge_padding`). The first product includes the
indicator in its patches, which are narrow. The last product leaves it out: on the padding ring all
other activations are 0, so padding the scattered output with the indicator's weights gives the same
sum.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from glow_jax.products import PASSES, Products, matmul, patches

BHWC = Float[Array, "B H W C"]
# How the three products are computed; all forms are the same function to rounding.
# "rows": matrix products over all pixels, on a CPU in strips; "convolution_in": the first product
# is a convolution, the last a matrix product and a sum of shifted taps; "convolution": both are
# convolutions; "lanes" and "fused": as `glow_jax.lanes` and `glow_jax.fused_lanes` describe.
Form = Literal["rows", "convolution_in", "convolution", "lanes", "fused"]

# Pixels times hidden units of a strip that, with the weights, fits into a core's cache; measured.
STRIP_ELEMENTS = 2**19
# With a symbolic batch, an image that would fill less of a strip than 1 / 4 shares its products.
MIN_STRIPS_PER_IMAGE = 4


class NetworkWeights(NamedTuple):
    """The weights of f's three products, with every normalisation and log-scale folded in.

    in_kernel (3, 3, C_in + 1, width), hidden_kernel (width, width), out_kernel
    (width, 9 C_out), ring (9 C_out): what the padding ring adds, biases (width), (width),
    (C_out). Only where the config asks for them: input_scale, input_bias (C_in) of a
    normalisation before the first product, scale_parameter (changed channels) of the scale.
    `without_edge` moves the edge indicator's weights into in_edge (9, width); in_kernel then is
    (3, 3, C_in, width).
    """

    in_kernel: Array
    in_bias: Array
    hidden_kernel: Array
    hidden_bias: Array
    out_kernel: Array
    ring: Array
    out_bias: Array
    in_edge: Array | None = None
    input_scale: Array | None = None
    input_bias: Array | None = None
    scale_parameter: Array | None = None


def _scatter(taps: Float[Array, "B H W K"], ring: Float[Array, " K"]) -> BHWC:
    """Sum nine shifted taps: the output half of a 3x3 convolution; K = 9 C_out.

    Split, pad and slice transpose to concatenate, slice and pad, so that the gradient is as
    cheap as the sum; an indexed form's was ten times slower.
    """
    height, width = taps.shape[1:3]
    total = _ring_map(height, width, ring)
    for tap, h in enumerate(jnp.split(taps, 9, axis=-1)):
        i, j = divmod(tap, 3)
        h = jnp.pad(h, ((0, 0), (1, 1), (1, 1), (0, 0)))
        total = total + h[:, i : i + height, j : j + width]
    return total


def _outside(height: int, width: int) -> np.ndarray:
    """(1, H, W, 9): the edge indicator of 3x3 neighbourhoods, a constant of the program."""
    ring = np.pad(np.zeros((height, width)), 1, constant_values=1)
    taps = [ring[i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return np.stack(taps, -1)[None]


def _ring_map(height: int, width: int, ring: Float[Array, " K"]) -> Float[Array, "1 H W D"]:
    """What the padding ring adds to the last convolution: not zero at the border only."""
    indicator = patches(jnp.zeros((1, height, width, 0), ring.dtype))
    return matmul(indicator, ring.reshape(9, -1))


def activation(h: Array, leaky_slope: float) -> Array:
    """ReLU, or LeakyReLU where the slope is not 0."""
    return jax.nn.leaky_relu(h, leaky_slope) if leaky_slope else jax.nn.relu(h)


def _strips(batch: Any, n_pixels: int, hidden: int, platform: str | None) -> Any:
    """Number of equal strips that keep the hidden layer in the cache; 1 if strips do not help.

    A symbolic batch (of `jax.export`) has strips of one image each, or of less.
    """
    if (platform or jax.default_backend()) != "cpu":
        return 1
    if not isinstance(batch, int):
        few = n_pixels * hidden * MIN_STRIPS_PER_IMAGE <= STRIP_ELEMENTS
        return 1 if few else batch * _strips(1, n_pixels, hidden, platform)
    n_pixels *= batch
    for strips in range(1, n_pixels + 1):
        if n_pixels % strips == 0 and n_pixels // strips * hidden <= STRIP_ELEMENTS:
            return strips
    return n_pixels


def form_for(
    platform: str, n_in: int, hidden: int, n_pixels: int, precision: Products = "exact"
) -> Form:
    """The form of a folded network on a platform, such as "cpu", "cuda" or "tpu".

    This is the one place that chooses. On a CPU, rows were measured as fastest (bench/speed). On a
    TPU the choice is by the compiler's model (`bench.speed.aot`); nothing was measured there:
    one kernel takes the fewest cycles where channels are few and pixels many; it has no products
    of six passes ("exact"), with which pixels in the lanes take fewest in wide networks. Elsewhere
    convolutions do. Other platforms keep the rows: there is neither a measurement nor a model.

    Args:
        platform: on which the program will run.
        n_in: channels of the network's input.
        hidden: channels of its hidden layers.
        n_pixels: of one image at the network's level.
        precision: of the products.
    """
    if platform != "tpu":
        return "rows"
    few = n_in <= 48
    if precision != "exact" and few and hidden >= 128 and n_pixels >= 64 and not _on_old_tpu():
        return "fused"
    return "lanes" if few and hidden >= 256 and n_pixels >= 256 else "convolution"


def _on_old_tpu() -> bool:
    """Whether JAX runs on a TPU v2 or v3, for which Pallas has no bfloat16 products."""
    here = jax.devices()[0].device_kind if jax.default_backend() == "tpu" else ""
    return here.startswith(("TPU v2", "TPU v3"))


def laid_out(weights: NetworkWeights, precision: Products, platform: str) -> NetworkWeights:
    """Weights in the layout with which a platform's program has the least work in each call.

    On a TPU the compiler lays an array out anew in each step unless its second last axis fills
    tiles, as C_in does and C_in + 1 does not. In "fast" it would also convert the factors in each
    step. On other platforms the weights stay as they are.
    """
    if platform != "tpu":
        return weights
    weights = without_edge(weights)
    if precision == "fast":
        factors = ("in_kernel", "hidden_kernel", "out_kernel")
        weights = weights._replace(
            **{name: getattr(weights, name).astype(jnp.bfloat16) for name in factors}
        )
    return weights


def without_edge(weights: NetworkWeights) -> NetworkWeights:
    """The same weights, with those of the edge indicator in `in_edge`; leading axes are kept."""
    if weights.in_edge is not None:
        return weights
    *leading, _, _, _, width = weights.in_kernel.shape
    edge = weights.in_kernel[..., -1, :].reshape(*leading, 9, width)
    return weights._replace(in_kernel=weights.in_kernel[..., :-1, :], in_edge=edge)


def apply_network(
    h: BHWC,
    weights: NetworkWeights,
    precision: Products = "exact",
    leaky_slope: float = 0.0,
    platform: str | None = None,
    form: Form = "rows",
) -> Float[Array, "B H W D"]:
    """f(h): relu(conv3x3) -> relu(conv1x1) -> conv3x3.

    On CPU it walks over strips of pixels whose hidden layers fit in cache, and a gradient
    recomputes them strip by strip, which is faster than reading them back.

    Args:
        h: the conditioning half of the channels.
        weights: folded weights.
        precision: precision of the products; sums, biases and the result keep h's dtype, except
            that hidden layers are bfloat16 in "fast" convolutions.
        leaky_slope: slope below zero of both hidden activations; 0 is ReLU.
        platform: that the program is for, such as "tpu"; JAX's default backend by default.
        form: how the products are computed; not "lanes" or "fused", which are of whole levels.

    Source: openai/glow `model.py: f`.
    """
    assert form not in ("lanes", "fused"), "glow_jax.lanes computes whole levels in these forms"
    h = normalised_input(h, weights)
    if form != "rows":
        out = _convolved(h, weights, precision, leaky_slope, form)
        return out + weights.out_bias[None, None, None]
    taps = _taps_of_rows(h, weights, precision, leaky_slope, platform)
    return _scatter(taps, weights.ring) + weights.out_bias[None, None, None]


def normalised_input(h: BHWC, weights: NetworkWeights) -> BHWC:
    """The normalisation and ReLU before the first product, in models that have them."""
    if weights.input_scale is None:
        return h
    assert weights.input_bias is not None
    h = h * weights.input_scale[None, None, None] + weights.input_bias[None, None, None]
    return jax.nn.relu(h)


def _taps_of_rows(
    h: BHWC, weights: NetworkWeights, precision: Products, leaky_slope: float, platform: str | None
) -> Float[Array, "B H W K"]:
    """The form "rows", up to the taps that `_scatter` sums.

    On a GPU the hidden layers of "fast" are bfloat16, so that bias and ReLU need no float32 copy.
    """
    inner = jnp.bfloat16 if precision == "fast" and platform == "cuda" else h.dtype
    in_bias, hidden_bias = (b.astype(inner) for b in (weights.in_bias, weights.hidden_bias))
    assert weights.in_edge is None, "these weights are laid out for another form"
    in_kernel = weights.in_kernel.reshape(-1, weights.in_kernel.shape[-1])

    def pixel_network(p: Array) -> Array:
        p = matmul(p.astype(inner), in_kernel, precision) + in_bias[None]
        p = matmul(activation(p, leaky_slope), weights.hidden_kernel, precision) + hidden_bias[None]
        p = activation(p, leaky_slope).astype(h.dtype)
        return matmul(p, weights.out_kernel, precision)

    batch, height, width, _ = h.shape
    rows = patches(h).reshape(batch * height * width, -1)
    strips = _strips(batch, height * width, weights.hidden_kernel.shape[0], platform)
    if isinstance(strips, int) and strips == 1:
        taps = pixel_network(rows)
    else:
        strip_network = jax.checkpoint(pixel_network, prevent_cse=False)
        taps = jax.lax.map(strip_network, rows.reshape(strips, -1, rows.shape[-1]))
    return taps.reshape(batch, height, width, -1)


def _convolved(
    h: BHWC, weights: NetworkWeights, precision: Products, leaky_slope: float, form: Form
) -> Float[Array, "B H W D"]:
    """The forms with convolutions, without the last bias.

    In "fast" a product's result is bfloat16, so that bias and ReLU need no float32 copy of it.
    """
    dtype, inner = h.dtype, jnp.bfloat16 if precision == "fast" else h.dtype
    width = weights.hidden_kernel.shape[0]
    weights = without_edge(weights)
    assert weights.in_edge is not None
    outside = jnp.asarray(_outside(h.shape[1], h.shape[2]), dtype)
    in_bias = matmul(outside, weights.in_edge.astype(dtype)) + weights.in_bias[None, None, None]
    h = _convolution(h, weights.in_kernel, "SAME", precision, inner)
    h = activation(h + in_bias.astype(inner), leaky_slope)
    h = _convolution(h, weights.hidden_kernel[None, None], "VALID", precision, inner)
    h = activation(h + weights.hidden_bias[None, None, None].astype(inner), leaky_slope)
    if form == "convolution_in":
        taps = _convolution(h, weights.out_kernel[None, None], "VALID", precision, dtype)
        return _scatter(taps, weights.ring)
    out_kernel = weights.out_kernel.reshape(width, 3, 3, -1).transpose(1, 2, 0, 3)
    out = _convolution(h, out_kernel, "SAME", precision, dtype)
    return out + matmul(outside, weights.ring.reshape(9, -1))


def _convolution(
    h: BHWC, kernel: Array, padding: str, precision: Products, dtype: Any
) -> Float[Array, "B _ _ D"]:
    """A convolution whose sums are rounded once, to `dtype`."""
    if precision == "fast":
        h, kernel = h.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    return jax.lax.conv_general_dilated(
        h,
        kernel,
        (1, 1),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=PASSES[precision],
        preferred_element_type=dtype,
    )
