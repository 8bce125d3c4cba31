"""Matrix products and 3x3 convolutions in three precisions.

OpenAI's convolutions have one more input channel, the edge indicator, which is 1 on the padding
ring and 0 inside (openai/glow `tfops.py: add_edge_padding`).
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

BHWC = Float[Array, "B H W C"]
Products = Literal["exact", "high", "fast"]
# Precision of convolutions; in "fast" their factors are bfloat16.
PASSES = {
    "exact": jax.lax.Precision.HIGHEST,
    "high": jax.lax.Precision.HIGH,
    "fast": jax.lax.Precision.DEFAULT,
}


def matmul(x: Array, kernel: Array, precision: Products = "exact") -> Array:
    """x @ kernel, accumulated in x's dtype.

    "exact" asks for full float32 products (JAX's default is TF32 on GPUs and bfloat16 on
    TPUs, which breaks a flow's inverse silently); "high" is three bfloat16 passes on a TPU, with
    which a round trip must be checked; "fast" multiplies in bfloat16.
    """
    if precision == "fast":
        return _bfloat16_matmul(x, kernel)
    if precision == "high":
        return jnp.matmul(x, kernel, precision=jax.lax.Precision.HIGH)
    return jnp.matmul(x, kernel, precision=jax.lax.Precision.HIGHEST)


@jax.custom_vjp
def _bfloat16_matmul(x: Array, kernel: Array) -> Array:
    """x @ kernel of bfloat16 factors, accumulated in x's dtype; so are its two gradients.

    JAX's own gradient multiplies the float32 cotangent with a bfloat16 factor, which no
    hardware does at bfloat16's speed, and rounds the result to bfloat16 once more.
    """
    x16, kernel16 = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    return jnp.matmul(x16, kernel16, preferred_element_type=x.dtype)


def _bfloat16_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _bfloat16_matmul(x, kernel), (x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))


def _bfloat16_backward(factors: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    x16, kernel16 = factors
    out16 = cotangent.astype(jnp.bfloat16)
    rows, columns = x16.reshape(-1, x16.shape[-1]), out16.reshape(-1, out16.shape[-1])
    for_x = jnp.matmul(out16, kernel16.T, preferred_element_type=cotangent.dtype)
    return for_x, jnp.matmul(rows.T, columns, preferred_element_type=cotangent.dtype)


_bfloat16_matmul.defvjp(_bfloat16_forward, _bfloat16_backward)


def patches(x: BHWC) -> Float[Array, "B H W K"]:
    """Gather 3x3 neighbourhoods of x and of the edge indicator: K = 9 (C + 1), tap-major.

    Columns first, then rows: XLA makes a kernel for each slice, and 6 compile sooner than 9.
    """
    height, width = x.shape[1:3]
    padded = with_edge(x)
    columns = jnp.concatenate([padded[:, :, j : j + width] for j in range(3)], axis=-1)
    return jnp.concatenate([columns[:, i : i + height] for i in range(3)], axis=-1)


def with_edge(x: BHWC) -> Float[Array, "B H+2 W+2 C+1"]:
    """Pad x by a ring of zeros, and append the edge indicator as the last channel."""
    ring = ((0, 0), (1, 1), (1, 1), (0, 0))
    edge = jnp.pad(jnp.zeros((*x.shape[:3], 1), x.dtype), ring, constant_values=1)
    return jnp.concatenate([jnp.pad(x, ring), edge], axis=-1)


def conv3x3(x: BHWC, kernel: Float[Array, "3 3 C+1 D"]) -> Float[Array, "B H W D"]:
    """3x3 convolution with the edge indicator as the kernel's last input channel."""
    return matmul(patches(x), kernel.reshape(-1, kernel.shape[-1]))
