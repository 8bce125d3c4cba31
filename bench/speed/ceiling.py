"""The matmul rate of a device: what a model's speed is a share of."""

import statistics
import time

import jax
import jax.numpy as jnp

REPEATS = 5
# The smallest sizes leave a large device idle; the largest is begun only if the time allows it.
SIZES = {"cpu": (1024, 2048), "gpu": (4096, 8192, 16384), "tpu": (4096, 8192, 16384)}
LONGEST = 0.25  # seconds of one product, beyond which no larger one is measured
# How a product is asked for: type, and XLA's precision of it.
KINDS = {
    "bf16": (jnp.bfloat16, jax.lax.Precision.DEFAULT),
    "float32 high": (jnp.float32, jax.lax.Precision.HIGH),
    "float32": (jnp.float32, jax.lax.Precision.HIGHEST),
}


def matmul_ceilings(sizes: tuple[int, ...], kinds: tuple[str, ...] = tuple(KINDS)) -> dict:
    """TFLOP/s of square products, the best of all sizes.

    "bf16"; "float32 high", three bfloat16 passes on a TPU and TF32 on a GPU; and "float32", at full
    precision.
    """
    rates: dict[str, float] = {}
    for name in kinds:
        dtype, precision = KINDS[name]
        for size in sizes:
            a = jax.random.normal(jax.random.key(0), (size, size), dtype)
            product = jax.jit(lambda a, precision=precision: jnp.matmul(a, a, precision=precision))
            product(a).block_until_ready()
            seconds = _seconds(product, a)
            rates[name] = max(rates.get(name, 0.0), 2 * size**3 / seconds / 1e12)
            if seconds > LONGEST:
                break
    return rates


def _seconds(product: jax.stages.Wrapped, a: jax.Array) -> float:
    """Of one product; several are queued, so that the host's part does not count."""
    begin = time.perf_counter()
    product(a).block_until_ready()
    n = max(1, min(10, round(0.05 / (time.perf_counter() - begin))))
    walls = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        for _ in range(n):
            last = product(a)
        last.block_until_ready()
        walls.append((time.perf_counter() - begin) / n)
    return statistics.median(walls)
