"""Steps of flow with pixels in the lanes of a TPU: the form "lanes" of the coupling network.

A TPU divides an array's last axis into 128 lanes, and the one before it into 8 sublanes. With
channels last, a level of 12 channels leaves most lanes empty. Here arrays are (H, C, L): a lane is
a column of pixels of one of several images side by side, L = images x W. The first product gathers
3x3 neighbourhoods; the last is a convolution over rows, whose results for the left, the same and
the right column are added by shifts. A group of images is small enough for its hidden layers to
stay in the chip's own memory. The function is that of `coupling_network.apply_network`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from glow_jax.coupling_network import (
    NetworkWeights,
    activation,
    without_edge,
)
from glow_jax.products import PASSES, Products

HCL = Float[Array, "H C L"]

# Of one hidden layer of a group of images. A TPU has 128 MiB for two of them and smaller arrays.
GROUP_BYTES = 2**25
LANES = 128
ROWS = 16  # of bfloat16 in a tile


class LaneWeights(NamedTuple):
    """A network's weights, with a leading axis K of K networks.

    in_kernel (1, 9 C_in + N, width): 9 taps, tap-major, their edge indicators, and the bias; zeros
    make the rows a multiple of `ROWS`, without which the compiler lays it out anew in each step.
    hidden_kernel (1, width, width), hidden_bias (width, 1). out_kernel (3, 3 C_out, width): of
    three rows, the taps of three columns. ring (1, N, C_out): what the padding ring adds, the last
    bias, and zeros.
    """

    in_kernel: Array
    hidden_kernel: Array
    hidden_bias: Array
    out_kernel: Array
    ring: Array


class Borders(NamedTuple):
    """Where neighbours are missing: the same for all steps.

    left, right (1, 1, L): 0 in a lane whose column has no neighbour on that side, else 1. outside
    (H, 10, L): the edge indicator of the 9 neighbours, and a channel of ones.
    """

    left: Array
    right: Array
    outside: Array


def lane_weights(weights: NetworkWeights) -> LaneWeights:
    """Weights in this form, from those of all steps (leading axis K)."""
    k, hidden, _ = weights.out_kernel.shape
    weights = without_edge(weights)
    channels, edge = weights.in_kernel.reshape(k, -1, hidden), weights.in_edge
    assert edge is not None
    zeros = n_others(channels.shape[1]) - 10
    others = jnp.concatenate([edge, weights.in_bias[:, None]], axis=1).astype(channels.dtype)
    ring = jnp.concatenate([weights.ring.reshape(k, 9, -1), weights.out_bias[:, None]], axis=1)
    others, ring = (jnp.pad(a, ((0, 0), (0, zeros), (0, 0))) for a in (others, ring))
    return LaneWeights(
        jnp.concatenate([channels, others], axis=1)[:, None],
        weights.hidden_kernel[:, None],
        weights.hidden_bias[..., None],
        weights.out_kernel.reshape(k, hidden, 3, -1).transpose(0, 2, 3, 1),
        ring[:, None],
    )


def n_others(n_channels: int) -> int:
    """Rows of a first product besides its channels: 10, and zeros up to a multiple of `ROWS`."""
    return -(n_channels + 10) % ROWS + 10


def borders(height: int, width: int, n_images: int, n_rows: int, dtype: jnp.dtype) -> Borders:
    """The borders of images side by side; `outside` has `n_rows` rows, from `n_others`."""
    column = jnp.tile(jnp.arange(width), n_images)
    left, right = ((column != edge).astype(dtype)[None, None] for edge in (0, width - 1))
    ones = jnp.ones((height, 1, width * n_images), dtype)
    beside = jnp.concatenate([ones * left, ones, ones * right], axis=1)
    inside = jnp.concatenate([_from_row(beside, i) for i in (-1, 0, 1)], axis=1)
    zeros = ((0, 0), (0, n_rows - 10), (0, 0))
    outside = jnp.pad(jnp.concatenate([1 - inside, ones], axis=1), zeros)
    # Without the barrier the compiler computes them in every step.
    return Borders(*jax.lax.optimization_barrier((left, right, outside)))


def group_size(batch: Any, n_pixels: int, hidden: int, precision: Products) -> int:
    """Images of a group: as many as fit, in groups of equal size; 1 for a symbolic batch."""
    if not isinstance(batch, int):
        return 1
    bytes_each = 2 if precision == "fast" else 4
    most = max(1, GROUP_BYTES // (bytes_each * n_pixels * hidden))
    return max(n for n in range(1, batch + 1) if batch % n == 0 and n <= most)


def fills_lanes(width: int, n_images: int) -> bool:
    """Whether a group of images fills at least half of the lanes."""
    return 2 * width * n_images >= LANES


def to_lanes(h: Float[Array, "B H W C"], n_images: int) -> Float[Array, "G L H 1 C"]:
    """Groups of images as batches of columns, each an image of width 1."""
    _, height, width, channels = h.shape
    h = h.reshape(-1, n_images, height, width, channels).transpose(0, 1, 3, 2, 4)
    return h.reshape(-1, n_images * width, height, 1, channels)


def from_lanes(h: Float[Array, "G L H 1 C"], width: int) -> Float[Array, "B H W C"]:
    """Inverse of `to_lanes`."""
    height, channels = h.shape[2], h.shape[4]
    return h.reshape(-1, width, height, channels).transpose(0, 2, 1, 3)


def matmul_lanes(h: Float[Array, "L H 1 C"], kernel: Array) -> Float[Array, "L H 1 D"]:
    """h @ kernel, as `products.matmul`, of a batch of columns.

    For a matrix product the compiler would put rows in the lanes, and copy them back afterwards.
    """
    x = _product(h[:, :, 0].transpose(1, 2, 0), kernel[None], (2, 1, 0), "exact")
    return x.transpose(2, 0, 1)[:, :, None]


def apply_lanes(
    x: HCL, weights: LaneWeights, borders: Borders, precision: Products, leaky_slope: float
) -> Float[Array, "H D L"]:
    """f(x), as `coupling_network.apply_network`, of one group of images."""
    columns = [_from_lane(x, -1) * borders.left, x, _from_lane(x, 1) * borders.right]
    beside = jnp.concatenate(columns, axis=1)
    taps = [_from_row(beside, i) for i in (-1, 0, 1)]
    p = jnp.concatenate([*taps, borders.outside], axis=1)
    p = activation(_product(p, weights.in_kernel, (2, 1, 0), precision), leaky_slope)
    p = _product(p, weights.hidden_kernel, (2, 1, 0), precision)
    p = activation(p + weights.hidden_bias[None], leaky_slope)
    p = _product(_apart(p, precision), weights.out_kernel, (1, 2, 0), precision, x.dtype)
    left, same, right = jnp.split(p, 3, axis=1)
    left, right = _from_lane(left, -1) * borders.left, _from_lane(right, 1) * borders.right
    return ring(borders, weights.ring) + same + left + right


def ring(borders: Borders, weights: Float[Array, "1 N D"]) -> Float[Array, "H D L"]:
    """What the padding ring and the last bias add to the network's result."""
    return _product(borders.outside, weights, (2, 1, 0), "exact")


def _apart(hidden: HCL, precision: Products) -> HCL:
    """The last hidden layer; in "fast" the compiler does not fuse the products on both sides of it.

    Fused they take 1.2 to 1.4 times as long as apart.
    """
    if precision != "fast":
        return hidden
    return jax.lax.optimization_barrier(hidden.astype(jnp.bfloat16))


def _from_lane(x: HCL, offset: int) -> HCL:
    """Lane l of the result is lane l + offset of x, or 0."""
    zero = jnp.zeros((), x.dtype)
    return jax.lax.pad(x, zero, ((0, 0, 0), (0, 0, 0), (-offset, offset, 0)))


def _from_row(x: HCL, offset: int) -> HCL:
    """Row i of the result is row i + offset of x, or 0."""
    zero = jnp.zeros((), x.dtype)
    return jax.lax.pad(x, zero, ((-offset, offset, 0), (0, 0, 0), (0, 0, 0)))


def _product(
    x: HCL,
    kernel: Array,
    kernel_spec: tuple[int, ...],
    precision: Products,
    dtype: jnp.dtype | None = None,
) -> Float[Array, "H D L"]:
    """A convolution over rows of 1 or 3 taps, accumulated in `dtype`, by default that of x.

    `kernel_spec` names the kernel's axes of outputs, inputs and rows.
    """
    dtype = dtype or x.dtype
    if precision == "fast":
        x, kernel = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    pad = kernel.shape[kernel_spec[2]] // 2
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (1,),
        [(pad, pad)],
        dimension_numbers=jax.lax.ConvDimensionNumbers((2, 1, 0), kernel_spec, (2, 1, 0)),
        precision=PASSES[precision],
        preferred_element_type=dtype,
    )
