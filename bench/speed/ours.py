"""The contestant glow_jax: a Glow compiled ahead of time, so that compilation can be timed."""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from bench.speed import models
from glow_jax.flops import flops_per_image

MATMULS = (1024, 2048, 4096)


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A prepared contestant.

    Attributes:
        facts: measurements of its preparation, as JSON values.
        runs: by name, functions that do the work and wait for the result.
    """

    facts: dict[str, Any]
    runs: dict[str, Callable[[], object]]


def prepare(spec: dict[str, Any]) -> Contestant:
    """Build the model and compile the requested directions.

    Args:
        spec: preset, batch, folded, unroll, precision, directions, seed.
    """
    start = time.perf_counter()
    config = models.preset(spec["preset"])
    model = models.random_model(config, spec["seed"])
    if spec["folded"]:
        model = model.fold(spec["precision"], spec["unroll"])
    else:
        for level in model.levels:
            level.unroll = spec["unroll"]
    facts: dict[str, Any] = {"build_s": time.perf_counter() - start}
    graph, state = nnx.split(model)
    del model

    def encode(state: nnx.State, images: jax.Array) -> tuple[jax.Array, ...]:
        return nnx.merge(graph, state).encode(images)

    def decode(state: nnx.State, eps: tuple[jax.Array, ...]) -> jax.Array:
        return nnx.merge(graph, state).decode(eps)

    images = models.random_images(config, spec["batch"], spec["seed"])
    rng = np.random.default_rng(spec["seed"])
    eps = tuple(
        jnp.asarray(0.3 * rng.standard_normal((spec["batch"], *shape), dtype=np.float32))
        for shape in config.latent_shapes
    )
    runs: dict[str, Callable[[], object]] = {}
    for name, function, argument in (("encode", encode, images), ("decode", decode, eps)):
        if name in spec["directions"]:
            compiled, facts[name] = compile_timed(function, state, argument)
            if name == "encode" and "decode" in spec["directions"]:
                eps = compiled(state, images)  # decode the encoded latents
            runs[name] = _waiting(compiled, state, argument if name == "encode" else eps)
    if len(spec["directions"]) == 2:
        decoded = np.asarray(compiled(state, eps), int)
        facts["bytes_changed"] = int((decoded != np.asarray(images, int)).sum())
    gflop = flops_per_image(config) * spec["batch"] / 1e9
    products, gflop_of_products = matmuls()
    facts["gflop"] = dict.fromkeys(runs, gflop) | gflop_of_products
    return Contestant(facts, runs | products)


def compile_timed(function: Callable, *arguments: Any) -> tuple[Any, dict[str, float]]:
    """The compiled program, run once, and the seconds of tracing, compiling, the first run."""
    times = [time.perf_counter()]
    lowered = jax.jit(function).lower(*arguments)
    times.append(time.perf_counter())
    compiled = lowered.compile()
    times.append(time.perf_counter())
    jax.block_until_ready(compiled(*arguments))
    times.append(time.perf_counter())
    lower, build, first = np.diff(times).tolist()
    return compiled, {"lower_s": lower, "compile_s": build, "first_run_s": first}


def _waiting(compiled: Callable, *arguments: Any) -> Callable[[], object]:
    return lambda: jax.block_until_ready(compiled(*arguments))


def matmuls() -> tuple[dict[str, Callable[[], object]], dict[str, float]]:
    """Square float32 products at full precision, "matmul 1024" and so on, and their GFLOP."""
    runs: dict[str, Callable[[], object]] = {}
    gflop = {}
    product = jax.jit(lambda a: jnp.matmul(a, a, precision=jax.lax.Precision.HIGHEST))
    for size in MATMULS:
        a = jax.random.normal(jax.random.key(size), (size, size))
        repeats = (max(MATMULS) // size) ** 2

        def run(a: jax.Array, repeats: int) -> None:
            for _ in range(repeats):
                product(a).block_until_ready()

        run(a, 1)
        runs[f"matmul {size}"] = functools.partial(run, a, repeats)
        gflop[f"matmul {size}"] = 2 * size**3 * repeats / 1e9
    return runs, gflop
