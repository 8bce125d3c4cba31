"""The GPU run: throughput by batch in both precisions, compile time, round trips.

One process, so that the weights are copied to the device once. Device memory is that of each
program, as the compiler reports it (arguments, results, temporaries), and the process's peak. The
largest batches are measured last, if there is time.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from bench.speed import models
from bench.speed.ours import compile_timed
from glow_jax import pixels
from glow_jax.flops import flops_per_image

REPEATS = 7
SECONDS = 420  # seconds after which no batch is begun
BATCHES = (1, 16, 64, 256, 4, 128, 32, 8, 2)  # in order of interest
Row = dict[str, Any]


class NoDevice(Exception):
    """JAX sees no GPU."""


def run(preset: str, seed: int, batches: tuple[int, ...] = BATCHES) -> Row:
    """Every batch size in `exact` and `fast`.

    Returns:
        "device", "ceilings" (TFLOP/s of large matmuls), "gpu" (the rows, by precision and
        batch), "skipped" (batches for which there was no time), "peak_device_mb".

    Raises:
        NoDevice: JAX has no GPU here.
    """
    if jax.default_backend() != "gpu":
        raise NoDevice(f"JAX runs on {jax.default_backend()!r} here; a GPU run needs jax[cuda12]")
    return measured(preset, seed, batches)


def measured(preset: str, seed: int, batches: tuple[int, ...] = BATCHES) -> Row:
    """`run` on JAX's default device."""
    start = time.perf_counter()
    device = jax.devices()[0]
    ceilings = matmul_ceilings(8192 if device.platform == "gpu" else 1024)
    config = models.preset(preset)
    model = models.random_model(config, seed)
    states = {name: nnx.split(model.fold(name)) for name in ("exact", "fast")}
    del model

    rows, skipped = [], []
    for batch in batches:
        for precision, (graph, state) in states.items():
            row: Row = {"preset": preset, "precision": precision, "batch": batch, "seed": seed}
            if time.perf_counter() - start > SECONDS:
                skipped.append({"precision": precision, "batch": batch})
                continue
            _progress(f"{precision}, batch {batch}")
            images = models.random_images(config, batch, seed)
            gflop = flops_per_image(config) * batch / 1e9
            try:
                row |= _round(graph, state, images, gflop, ceilings["bf16"])
            except jax.errors.JaxRuntimeError as error:  # out of memory
                row["error"] = str(error).split("\n", 1)[0][:200]
            rows.append(row)
    rows.sort(key=lambda row: (row["precision"], row["batch"]))
    statistics_of = device.memory_stats() or {}
    return {
        "device": device.device_kind,
        "ceilings": ceilings,
        "gpu": rows,
        "skipped": skipped,
        "peak_device_mb": statistics_of.get("peak_bytes_in_use", 0) / 1e6,
        "seconds": time.perf_counter() - start,
    }


def _round(
    graph: nnx.GraphDef, state: nnx.State, images: jax.Array, gflop: float, bf16: float
) -> Row:
    """Compile and time both directions, and measure the round-trip error."""

    def encode(state: nnx.State, images: jax.Array) -> tuple[jax.Array, ...]:
        return nnx.merge(graph, state).encode(images)

    def decode(state: nnx.State, eps: tuple[jax.Array, ...]) -> jax.Array:
        # Not rounded to bytes, so that the error can be measured.
        return nnx.merge(graph, state).decode_x(eps)

    row: Row = {}
    eps, row["encode"] = _direction(encode, state, images, images.shape[0], gflop, bf16)
    back, row["decode"] = _direction(decode, state, eps, images.shape[0], gflop, bf16)
    row["round_trip"] = round_trip(pixels.centred(images), back)
    return row


def _direction(
    function: Callable, state: nnx.State, argument: Any, batch: int, gflop: float, bf16: float
) -> tuple[Any, Row]:
    compiled, figures = compile_timed(function, state, argument)
    walls = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        result = jax.block_until_ready(compiled(state, argument))
        walls.append(time.perf_counter() - begin)
    wall = statistics.median(walls)
    memory = compiled.memory_analysis()
    sizes = ("argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")
    return result, figures | {
        "wall_s": wall,
        "runs": walls,
        "images_per_s": batch / wall,
        "tflop_per_s": gflop / wall / 1e3,
        "share_of_bf16": gflop / wall / 1e3 / bf16,
        "device_mb": sum(getattr(memory, size, 0) for size in sizes) / 1e6,
    }


def round_trip(x: jax.Array, back: jax.Array) -> Row:
    """Error of x -> eps -> x in grey levels (1/256), over the finite values."""
    error = 256 * np.abs(np.asarray(x, np.float64) - np.asarray(back, np.float64))
    finite = np.isfinite(error)
    kept = error[finite] if finite.any() else np.array([np.inf])
    return {
        "max": float(kept.max()),
        "mean": float(kept.mean()),
        "non_finite": int((~finite).sum()),
    }


def matmul_ceilings(size: int, repeats: int = 10) -> dict[str, float]:
    """TFLOP/s of large square products: bfloat16, and float32 at full precision."""
    rates = {}
    for name, dtype, precision in (
        ("bf16", jnp.bfloat16, jax.lax.Precision.DEFAULT),
        ("float32", jnp.float32, jax.lax.Precision.HIGHEST),
    ):
        a = jax.random.normal(jax.random.key(0), (size, size), dtype)
        product = jax.jit(lambda a, precision=precision: jnp.matmul(a, a, precision=precision))
        product(a).block_until_ready()
        walls = []
        for _ in range(REPEATS):
            begin = time.perf_counter()
            for _ in range(repeats):
                last = product(a)
            last.block_until_ready()
            walls.append((time.perf_counter() - begin) / repeats)
        rates[name] = 2 * size**3 / statistics.median(walls) / 1e12
    return rates


def _progress(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)
