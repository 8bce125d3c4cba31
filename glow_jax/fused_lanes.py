"""The coupling network of a level as one kernel of a TPU: the form "fused", in Pallas.

It computes what `lanes.apply_lanes` does, of the same arrays (H, C, L), whose lanes are columns of
pixels. Without it, the compiler writes 3x3 neighbourhoods, hidden layers and taps to memory, each
by an operation of its own. In the kernel they stay inside: a block of rows is gathered and
multiplied three times, and its taps are added to the rows around it. `lanes.apply_lanes` is the
reference; it runs on other platforms, and for gradients.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float

from glow_jax.coupling_network import activation
from glow_jax.lanes import LANES, Borders, LaneWeights, apply_lanes, ring
from glow_jax.products import Products

HCL = Float[Array, "H C L"]

MOST_LANES = 1024  # of a block of images; so many columns of a hidden layer are computed at once
MOST_PIXELS = 2**17  # of a group, whose arrays then take at most 12 MiB
VMEM_BYTES = 2**26  # of a TPU's own memory, which has 128 MiB
SUBLANES = 8  # of a TPU's tile


class FusedWeights(NamedTuple):
    """A network's weights, with a leading axis K of K networks: `LaneWeights`, transposed.

    in_kernel (width, 9 C_in + N), hidden_kernel (width, width), hidden_bias (width, 1). out_kernel
    (9 D, width): the taps of three rows and three columns, each of C_out channels and zeros up to
    D, a multiple of `SUBLANES`. ring (1, N, C_out).
    """

    in_kernel: Array
    hidden_kernel: Array
    hidden_bias: Array
    out_kernel: Array
    ring: Array


def fused_weights(weights: LaneWeights) -> FusedWeights:
    """Weights in this form, from those of all steps (leading axis K)."""
    k, _, rows, hidden = weights.out_kernel.shape
    taps = weights.out_kernel.reshape(k, 9, rows // 3, hidden)
    taps = jnp.pad(taps, ((0, 0), (0, 0), (0, -(rows // 3) % SUBLANES), (0, 0)))
    return FusedWeights(
        weights.in_kernel[:, 0].transpose(0, 2, 1),
        weights.hidden_kernel[:, 0].transpose(0, 2, 1),
        weights.hidden_bias,
        taps.reshape(k, -1, hidden),
        weights.ring,
    )


def _lane_weights(weights: FusedWeights) -> LaneWeights:
    """The weights of one network in the reference's form."""
    hidden, n_out = weights.out_kernel.shape[1], weights.ring.shape[-1]
    taps = weights.out_kernel.reshape(3, 3, -1, hidden)[:, :, :n_out]
    return LaneWeights(
        weights.in_kernel.T[None],
        weights.hidden_kernel.T[None],
        weights.hidden_bias,
        taps.reshape(3, -1, hidden),
        weights.ring,
    )


def group_size(batch: Any, height: int, width: int) -> int:
    """Images of a group: the most that fit and fill whole tiles of lanes; 0 if there are none.

    Args:
        batch: images; of a symbolic batch, a group has one.
        height: of an image at the level, in pixels.
        width: likewise.
    """
    most = MOST_PIXELS // (height * width)
    sizes = range(1, min(batch, most) + 1) if isinstance(batch, int) else range(1, min(1, most) + 1)
    return max((n for n in sizes if batch % n == 0 and _block_size(n, width)), default=0)


def _block_size(n_images: int, width: int) -> int:
    """Images of a group that are computed at once; 0 if none fill whole tiles of lanes."""
    sizes = range(1, min(n_images, MOST_LANES // width) + 1)
    return max((n for n in sizes if n_images % n == 0 and n * width % LANES == 0), default=0)


def apply_fused(
    x: HCL,
    weights: FusedWeights,
    borders: Borders,
    precision: Products,
    leaky_slope: float,
    width: int,
) -> Float[Array, "H D L"]:
    """f(x), as `lanes.apply_lanes`; in programs for a TPU by the kernel.

    Args:
        x: the conditioning half of the channels of a group of images.
        weights: of one network.
        borders: of the group.
        precision: "high" or "fast".
        leaky_slope: slope below zero of both hidden activations; 0 is ReLU.
        width: of an image, in pixels.
    """

    def reference(x: HCL, weights: FusedWeights, borders: Borders) -> Float[Array, "H D L"]:
        return apply_lanes(x, _lane_weights(weights), borders, precision, leaky_slope)

    def on_tpu(x: HCL, weights: FusedWeights, borders: Borders) -> Float[Array, "H D L"]:
        return run_kernel(x, weights, borders, leaky_slope, width)

    @jax.custom_vjp
    def apply(*inputs: Any) -> Float[Array, "H D L"]:
        out: Array = jax.lax.platform_dependent(*inputs, tpu=on_tpu, default=reference)
        return out

    def backward(inputs: Any, cotangent: Array) -> Any:
        return jax.vjp(reference, *inputs)[1](cotangent)

    apply.defvjp(lambda *inputs: (apply(*inputs), inputs), backward)
    found: Array = apply(x, weights, borders)
    return found


def run_kernel(
    x: HCL,
    weights: FusedWeights,
    borders: Borders,
    leaky_slope: float,
    width: int,
    interpret: bool = False,
) -> Float[Array, "H D L"]:
    """As `apply_fused`, by the kernel; with `interpret`, JAX's interpreter runs it anywhere."""
    height, n_in, all_lanes = x.shape
    lanes = _block_size(all_lanes // width, width) * width
    n_out, taps = weights.ring.shape[-1], len(weights.out_kernel) // 9
    n_rows = max(n for n in range(1, height + 1) if height % n == 0 and n * lanes <= MOST_LANES)
    outside = borders.outside
    kernels = (weights.in_kernel, weights.hidden_kernel, weights.hidden_bias, weights.out_kernel)

    def whole(a: Array) -> pl.BlockSpec:
        return pl.BlockSpec(a.shape, lambda images, rows: (0,) * a.ndim)

    def of_images(n_channels: int) -> pl.BlockSpec:
        return pl.BlockSpec((height, n_channels, lanes), lambda images, rows: (0, 0, images))

    found = pl.pallas_call(
        functools.partial(_kernel, leaky_slope=leaky_slope, width=width, n_rows=n_rows),
        grid=(all_lanes // lanes, height // n_rows),
        in_specs=[
            of_images(n_in),
            pl.BlockSpec((n_rows, outside.shape[1], lanes), lambda images, rows: (rows, 0, images)),
            *(whole(a) for a in kernels),
        ],
        out_specs=of_images(n_out),
        out_shape=jax.ShapeDtypeStruct((height, n_out, all_lanes), x.dtype),
        scratch_shapes=[
            pltpu.VMEM((weights.in_kernel.shape[-1], n_rows * lanes), x.dtype),
            pltpu.VMEM((2, taps, lanes), x.dtype),
        ],
        compiler_params=pltpu.CompilerParams(vmem_limit_bytes=VMEM_BYTES),
        interpret=interpret,
    )(x, outside, *kernels)
    return found + ring(borders, weights.ring)


def _kernel(
    x: Any,
    outside: Any,
    in_kernel: Any,
    hidden_kernel: Any,
    hidden_bias: Any,
    out_kernel: Any,
    out: Any,
    patches: Any,
    begun: Any,
    leaky_slope: float,
    width: int,
    n_rows: int,
) -> None:
    """One block: rows of a block of images. Arguments up to `begun` are references.

    The rows of the same images come one after another. x (H, C, L) and out (H, C_out, L) have all
    rows of the images; of outside there are the block's. patches: 3x3 neighbourhoods, (9 C + N,
    rows x L). begun (2, D, L): sums of taps of the row above the block and of its first row, from
    the block before.
    """
    height, n_in, lanes = x.shape
    n_out, first = out.shape[1], pl.program_id(1) * n_rows
    at_start, at_end = first == 0, first + n_rows == height
    for row in range(-1, n_rows + 1):
        missing = at_start if row < 0 else at_end if row == n_rows else False
        here = jnp.where(missing, 0, x[jnp.clip(first + row, 0, height - 1)])
        beside = _beside(here, here, here, width=width)
        for tap in range(3):  # of the block's row that has this one above, in it, or below
            target = row + 1 - tap
            if 0 <= target < n_rows:
                for side, columns in enumerate(beside):
                    at = pl.ds((3 * tap + side) * n_in, n_in)
                    patches[at, pl.ds(target * lanes, lanes)] = columns
    for row in range(n_rows):
        patches[9 * n_in :, pl.ds(row * lanes, lanes)] = outside[row]
    p = activation(_product(in_kernel[...], patches[...]), leaky_slope)
    p = activation(_product(hidden_kernel[...], p) + hidden_bias[...], leaky_slope)
    p = _product(out_kernel[...], p)

    sums = [jnp.where(at_start, 0, begun[0]), jnp.where(at_start, 0, begun[1])]
    sums += [jnp.zeros_like(sums[0])] * n_rows  # of rows from the one above the block on
    for row in range(n_rows):
        taps = jnp.split(p[:, row * lanes : (row + 1) * lanes], 9)
        for i in range(3):
            left, same, right = _beside(*taps[3 * i : 3 * i + 3], width=width)
            sums[row + 2 - i] += left + same + right
    begun[0], begun[1] = sums[-2:]

    @pl.when(jnp.logical_not(at_start))
    def _() -> None:
        out[first - 1] = sums[0][:n_out]

    for row in range(n_rows - 1):
        out[first + row] = sums[row + 1][:n_out]

    @pl.when(at_end)
    def _() -> None:
        out[height - 1] = sums[-2][:n_out]


def _beside(left: Array, same: Array, right: Array, *, width: int) -> tuple[Array, Array, Array]:
    """What the columns to the left, the same and to the right have, in arrays (D, L).

    Lane l has what `left` has in lane l - 1, or 0 in the first column of an image; and so on.
    """
    column = jax.lax.broadcasted_iota(jnp.int32, left.shape, 1) % width
    left = jnp.where(column == 0, 0, pltpu.roll(left, 1, 1))
    right = jnp.where(column == width - 1, 0, pltpu.roll(right, right.shape[1] - 1, 1))
    return left, same, right


def _product(kernel: Array, x: Float[Array, "C N"]) -> Float[Array, "D N"]:
    """kernel @ x in one bfloat16 pass if the kernel is bfloat16, else in three."""

    def one_pass(kernel: Array, x: Array) -> Array:
        return jnp.dot(kernel, x, preferred_element_type=jnp.float32)

    if kernel.dtype == jnp.bfloat16:
        return one_pass(kernel, x.astype(jnp.bfloat16))
    (kernel, kernel_rest), (x, x_rest) = _high_and_rest(kernel), _high_and_rest(x)
    return one_pass(kernel, x) + (one_pass(kernel, x_rest) + one_pass(kernel_rest, x))


def _high_and_rest(x: Array) -> tuple[Array, Array]:
    """x rounded to bfloat16, and the rest, in bfloat16 as well.

    By the bits, because compilers take a conversion to bfloat16 and back for the identity.
    """
    bits = (jax.lax.bitcast_convert_type(x, jnp.int32) + 0x8000) & ~0xFFFF
    high = jax.lax.bitcast_convert_type(bits, jnp.float32)
    return high.astype(jnp.bfloat16), (x - high).astype(jnp.bfloat16)
