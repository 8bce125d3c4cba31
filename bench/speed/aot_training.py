"""A training step compiled for TPUs that are not here: the kind "training" of `bench.speed.aot`.

The state (weights, their average, moments of the optimiser) is updated in place, so a device needs
the arguments and the temporaries of the step. Each device has the row's batch.
"""

import dataclasses
import time
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bench.speed import models
from glow_jax.config import GlowConfig
from glow_jax.flops import flops_per_image
from glow_jax.model import Glow
from glow_jax.training.parallel import AXIS
from glow_jax.training.presets import PRESETS
from glow_jax.training.step import TrainConfig, make_step, started

# A backward pass multiplies twice as much as a forward pass; recomputation is not counted.
PASSES = 3
Row = dict[str, Any]


def compiled_step(case: Row, devices: list[Any]) -> tuple[Any, float, int]:
    """The training step of a row.

    Args:
        case: "model", a preset of `glow_jax.PRESETS` or 64, 128, 256, with "coupling";
            "precision", of the coupling networks; "batch", images a device.
        devices: of `aot.topology`; they share the batch.

    Returns:
        The compiled object, which cannot be run here; seconds to compile; and FLOP a device.
    """
    name, batch = case["model"], case["batch"]
    if name in PRESETS:
        config = PRESETS[name].config
    else:
        config = dataclasses.replace(models.preset(name), coupling=case["coupling"])
    recipe = TrainConfig(1000, batch * len(devices), precision=case["precision"])
    compiled, seconds = compile_step(config, recipe, devices)
    return compiled, seconds, PASSES * flops_per_image(config) * batch


def compile_step(
    model_config: GlowConfig, config: TrainConfig, devices: list[Any]
) -> tuple[Any, float]:
    """Compile the training step for devices that are not here, and time it.

    Args:
        model_config: the model; its weights are not made.
        config: the recipe; `batch_size` is of all devices together.
        devices: of `aot.topology`.

    Returns:
        The compiled object, and seconds.
    """
    abstract = nnx.eval_shape(lambda: Glow(model_config, rngs=nnx.Rngs(0)))
    graph, params, *others = nnx.split(abstract, nnx.Param, ...)
    # Permutations and signs are constants of the program: zeros of their shapes stand for them.
    fixed = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), others[0])

    def state_of(params: nnx.State) -> Any:
        return started(nnx.merge(graph, params, fixed), config)[2]

    mesh = Mesh(np.array(devices), (AXIS,))
    whole, rows = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), (AXIS,)))
    state = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=whole),
        jax.eval_shape(state_of, params),
    )
    shape = (config.batch_size, *model_config.image_shape)
    images = jax.ShapeDtypeStruct(shape, np.uint8, sharding=rows)
    start = time.perf_counter()
    step: Any = make_step(graph, fixed, config, mesh)
    lowered = step.trace(state, images).lower(lowering_platforms=(devices[0].platform,))
    return lowered.compile(), time.perf_counter() - start
