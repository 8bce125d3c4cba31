"""Compute held-out bits/dim of a model, and of a training run."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import UInt8

from glow_jax.data import ArraySource, Source
from glow_jax.model import Glow
from glow_jax.model_card import HELD_OUT_BITS
from glow_jax.training import parallel
from glow_jax.training.step import TrainState, make_bits_per_dim

BATCH = 50
Images = UInt8[np.ndarray, "_ H W C"]


def evaluator(
    graph: nnx.GraphDef, fixed: nnx.State, mesh: Mesh
) -> Callable[[nnx.State, Source, int], float]:
    """A function (params, source, n): mean bits/dim of a source's first n images.

    The dequantisation noise is one draw (seed 0), the same for any number of devices.
    """
    compiled = make_bits_per_dim(graph, fixed, mesh)

    def measure(params: nnx.State, source: Source, n: int) -> float:
        n = min(n, len(source))
        size = -(-min(BATCH, n) // mesh.size) * mesh.size
        rows, values = parallel.rows_here(mesh, size), []
        for start in range(0, n, BATCH):
            indices = np.minimum(np.arange(start, start + size), n - 1)[rows]
            images = parallel.sharded(mesh, source.read(indices), size)
            key = jax.random.fold_in(jax.random.key(0), start)
            bits = np.asarray(compiled(params, key, images))
            values.append(bits[: min(BATCH, n - start)])
        return float(np.mean(np.concatenate(values)))

    return measure


def evaluate(model: Glow, images: Images) -> float:
    """Mean bits/dim over images, with one draw of the paper's dequantisation noise (seed 0)."""
    graph, params, fixed = nnx.split(model, nnx.Param, ...)  # type: ignore[misc]
    mesh = parallel.batch_mesh()
    measure = evaluator(graph, parallel.on_this_device(fixed), mesh)
    return measure(parallel.replicated(mesh, params), ArraySource(images), len(images))


def evenly_spaced(source: Source, n: int) -> Source:
    """At most `n` images, evenly spaced, in memory."""
    if len(source) <= n:
        return source
    return ArraySource(source.read(np.linspace(0, len(source) - 1, n).astype(int)), source.name)


def figures(
    measure: Callable[[Any, Source, int], float],
    state: TrainState,
    train: Source,
    held_out: Source,
    best: tuple[int, float] | None,
) -> dict[str, Any]:
    """The figures for the card of the exported model.

    Args:
        measure: result of `evaluator`.
        state: the state whose averaged weights are measured.
        train: training images, of which as many are measured as there are held-out images.
        held_out: held-out images, all of which are measured.
        best: step and held-out bits/dim of the best checkpoint.
    """
    n = len(held_out)
    measured: dict[str, Any] = {
        HELD_OUT_BITS: round(measure(state.ema, held_out, n), 4),
        "train_bits_per_dim": round(measure(state.ema, train, n), 4),
        "skipped_steps": int(state.skipped),
        "learning_rate_factor": float(state.rate),
    }
    if best is not None:
        measured["best_checkpoint"] = {"step": best[0], HELD_OUT_BITS: round(best[1], 4)}
    return measured
