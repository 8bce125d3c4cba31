"""A training step compiled for TPUs that are not here: see `bench.speed.aot`."""

import time
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from glow_jax.config import GlowConfig
from glow_jax.model import Glow
from glow_jax.training.parallel import AXIS
from glow_jax.training.step import TrainConfig, make_step, started


def compile_step(
    model_config: GlowConfig, config: TrainConfig, devices: list[Any]
) -> tuple[Any, float]:
    """Compile a training step for devices that are not here, and time it.

    Args:
        model_config: the model; no weight is made.
        config: the recipe; `batch_size` is over all devices.
        devices: of `aot.topology`.

    Returns:
        The compiled object, which cannot be run here, and seconds.
    """
    graph, params, fixed = nnx.split(
        nnx.eval_shape(lambda: Glow(model_config, rngs=nnx.Rngs(0))), nnx.Param, ...
    )
    fixed = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), fixed)  # permutations and signs
    shapes = jax.eval_shape(
        lambda params: started(nnx.merge(graph, params, fixed), config)[2], params
    )
    mesh = Mesh(np.array(devices), (AXIS,))
    whole, rows = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), (AXIS,)))
    state = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=whole), shapes)
    images = jax.ShapeDtypeStruct(
        (config.batch_size, *model_config.image_shape), np.uint8, sharding=rows
    )
    start = time.perf_counter()
    step: Any = make_step(graph, fixed, config, mesh)
    compiled = step.trace(state, images).lower(lowering_platforms=("tpu",)).compile()
    return compiled, time.perf_counter() - start
