"""Training: bits/dim, Adam with warm-up and clipping, an average of the weights.

Everything random is a function of (seed, step), and so is the order of the data: a run that
is killed and resumed continues bit for bit. Pure functions here; files are checkpoints.py's
and the command line's.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, UInt8

from glow_jax import pixels
from glow_jax.config import GlowConfig
from glow_jax.errors import InputError
from glow_jax.model import Glow

Scalar = Float[Array, ""]


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
        n_steps: gradient steps in all.
        batch_size: images a step.
        learning_rate: at the end of the warm-up; then a cosine to a hundredth of it.
        n_warmup: steps of linear warm-up.
        max_gradient_norm: the global norm gradients are clipped to.
        ema_decay: of the running average of the weights, which is what is shipped.
        n_init: images for the data-dependent initialisation.
        flip: mirror every other image at random.
        seed: of weights, data order, flips and noise.
    """

    n_steps: int
    batch_size: int = 32
    learning_rate: float = 1e-3
    n_warmup: int = 200
    max_gradient_norm: float = 50.0
    ema_decay: float = 0.999
    n_init: int = 256
    flip: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_steps", "batch_size", "n_init"):
            if getattr(self, name) < 1:
                raise InputError(f"training: {name} is {getattr(self, name)}; use 1 or more")
        for name in ("learning_rate", "max_gradient_norm"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"training: {name} is {getattr(self, name)}; use more than 0")
        if self.n_warmup < 0 or not 0 <= self.ema_decay < 1:
            raise InputError("training: n_warmup is 0 or more, ema_decay from 0 to below 1")


class TrainState(NamedTuple):
    """All that changes during training: what a checkpoint of a run holds."""

    step: Array  # int32
    params: Any
    ema: Any
    optimiser: Any


class Metrics(NamedTuple):
    """Of one step: bits/dim of the batch, global norm of the gradient before clipping."""

    bits_per_dim: Scalar
    gradient_norm: Scalar


def optimiser(config: TrainConfig) -> optax.GradientTransformation:
    """Adam after clipping; non-finite gradients change nothing (but a sixth in a row does)."""
    schedule = optax.warmup_cosine_decay_schedule(
        0.0,
        config.learning_rate,
        config.n_warmup,
        max(config.n_steps, config.n_warmup + 1),
        config.learning_rate / 100,
    )
    chain = optax.chain(optax.clip_by_global_norm(config.max_gradient_norm), optax.adam(schedule))
    return optax.apply_if_finite(chain, max_consecutive_errors=5)


def batch_indices(config: TrainConfig, n_images: int, step: int) -> np.ndarray:
    """Which images step `step` sees: each epoch is a fresh permutation, batches may span two."""
    start = step * config.batch_size
    positions = np.arange(start, start + config.batch_size)
    epochs = positions // n_images
    orders = {
        epoch: np.random.default_rng((config.seed, int(epoch))).permutation(n_images)
        for epoch in np.unique(epochs)
    }
    return np.array([orders[e][p % n_images] for e, p in zip(epochs, positions, strict=True)])


def create(
    model_config: GlowConfig, config: TrainConfig, images: UInt8[np.ndarray, "N H W C"]
) -> tuple[nnx.GraphDef, nnx.State, TrainState]:
    """A freshly initialised run.

    Returns:
        graph, fixed: the model's structure and untrained values (permutations, signs).
        state: step 0, actnorms set by the data-dependent initialisation.
    """
    model = Glow(model_config, rngs=nnx.Rngs(config.seed))
    chosen = np.random.default_rng(config.seed).permutation(len(images))[: config.n_init]
    key = jax.random.fold_in(jax.random.key(config.seed), config.n_steps)
    model.initialise(pixels.dequantised(key, jnp.asarray(images[chosen]), model_config.n_bits))
    graph, params, fixed = nnx.split(model, nnx.Param, ...)  # type: ignore[misc]
    ema = jax.tree.map(jnp.copy, params)
    state = TrainState(jnp.int32(0), params, ema, optimiser(config).init(params))
    return graph, fixed, state


def make_step(graph: nnx.GraphDef, fixed: nnx.State, config: TrainConfig):
    """The compiled training step: (state, images (B, H, W, C) uint8) -> (state, metrics)."""
    transform = optimiser(config)
    root = jax.random.key(config.seed)

    def loss_of(params: nnx.State, x: Array) -> Scalar:
        model = nnx.merge(graph, params, fixed)
        return model.config.n_bits - model.log_prob(x).mean() / (jnp.log(2.0) * model.config.n_dims)

    def step(state: TrainState, images: Array) -> tuple[TrainState, Metrics]:
        flip_key, noise_key = jax.random.split(jax.random.fold_in(root, state.step))
        if config.flip:
            flipped = jax.random.bernoulli(flip_key, shape=(images.shape[0], 1, 1, 1))
            images = jnp.where(flipped, images[:, :, ::-1], images)
        n_bits = nnx.merge(graph, state.params, fixed).config.n_bits
        x = pixels.dequantised(noise_key, images, n_bits)
        loss, gradients = jax.value_and_grad(loss_of)(state.params, x)
        with jax.numpy_dtype_promotion("standard"):  # Optax's schedules mix types
            updates, optimiser_state = transform.update(gradients, state.optimiser, state.params)
        params = optax.apply_updates(state.params, updates)
        seen = state.step.astype(jnp.float32)
        decay = jnp.minimum(config.ema_decay, (1 + seen) / (10 + seen))
        ema = optax.incremental_update(params, state.ema, 1 - decay)
        metrics = Metrics(loss, optax.tree.norm(gradients))
        return TrainState(state.step + 1, params, ema, optimiser_state), metrics

    return jax.jit(step, donate_argnums=0)
