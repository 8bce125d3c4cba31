"""The training step: bits/dim, Adam or AdaMax with warm-up and clipping, averaged weights.

Random numbers and the order of the data are functions of (seed, step), so a run that is killed and
resumed gives the same bits as an uninterrupted one. A step whose loss or gradient is not finite is
counted, and changes nothing else. Pure functions: no file is read or written here.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int, UInt8

from glow_jax import pixels
from glow_jax.config import GlowConfig, Precision
from glow_jax.flow_step import Step
from glow_jax.io.errors import InputError
from glow_jax.layers import ChannelPermutation, Conv1x1
from glow_jax.model import Glow
from glow_jax.training.parallel import AXIS, batch_mesh

Scalar = Float[Array, ""]
Count = Int[Array, ""]
Optimiser = Literal["adam", "adamax"]
Schedule = Literal["cosine", "constant"]


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Settings of the training.

    Attributes:
        n_steps: number of gradient steps.
        batch_size: images per step, over all devices.
        learning_rate: learning rate at the end of the warm-up.
        n_warmup: steps of linear warm-up.
        max_gradient_norm: global norm to which gradients are clipped.
        ema_decay: decay of the moving average of the weights, which is exported.
        n_init: images for the data-dependent initialisation.
        flip: whether to mirror images at random, with probability 1/2.
        seed: seed of weights, data order, flips and noise.
        optimiser: "adam" (the paper's) or "adamax" (openai/glow's default), beta 0.9, 0.999.
        schedule: learning rate after the warm-up: "cosine", down to a hundredth, or "constant"
            (the paper's).
        logdet_penalty: factor of the function `logdet_penalty` in the loss, which keeps 1x1
            convolutions well conditioned; 0 for none.
        precision: precision of the coupling networks' products: "exact" is float32, "fast" is
            bfloat16 with float32 sums, activations and weights.
        recompute: whether the backward pass recomputes every step of flow from its input, which
            needs less memory and more time; None recomputes on every platform except CPU.
        n_trained_levels: how many of the levels, finest first, are trained, with their priors; the
            weights of the others stay as they are. None trains all.
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
    optimiser: Optimiser = "adam"
    schedule: Schedule = "cosine"
    logdet_penalty: float = 0.0
    precision: Precision = "exact"
    recompute: bool | None = None
    n_trained_levels: int | None = None

    def __post_init__(self) -> None:
        for name in ("n_steps", "batch_size", "n_init"):
            if getattr(self, name) < 1:
                raise InputError(f"training: {name} is {getattr(self, name)}; use 1 or more")
        for name in ("learning_rate", "max_gradient_norm"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"training: {name} is {getattr(self, name)}; use more than 0")
        if self.n_warmup < 0 or not 0 <= self.ema_decay < 1:
            raise InputError("training: n_warmup is 0 or more, ema_decay from 0 to below 1")
        if not 0 <= self.logdet_penalty < float("inf"):
            raise InputError(f"training: logdet_penalty is {self.logdet_penalty}; use 0 or more")
        levels = self.n_trained_levels
        if levels is not None and (type(levels) is not int or levels < 1):
            raise InputError(
                f"training: n_trained_levels is {levels!r}; use a whole number from 1 on, or None"
            )
        if self.recompute not in (None, False, True):
            raise InputError(f"training: recompute is {self.recompute!r}; use true, false or None")
        choices = {"optimiser": Optimiser, "schedule": Schedule, "precision": Precision}
        for name, accepted in choices.items():
            if getattr(self, name) not in get_args(accepted):
                raise InputError(
                    f"training: {name} is {getattr(self, name)!r}; use one of "
                    f"{', '.join(get_args(accepted))}"
                )


class TrainState(NamedTuple):
    """The state of the training, which is the content of a checkpoint of a run.

    Attributes:
        step: number of steps done, including skipped ones.
        params, ema: the weights and their moving average.
        optimiser: the moments of the optimiser.
        rate: factor of the learning rate, halved at every return to a checkpoint.
        skipped: number of steps whose loss or gradient was not finite.
        in_a_row: number of skipped steps directly before the present one.
    """

    step: Count
    params: Any
    ema: Any
    optimiser: Any
    rate: Scalar
    skipped: Count
    in_a_row: Count


class Metrics(NamedTuple):
    """The metrics of one step, before its update.

    Attributes:
        bits_per_dim: mean bits/dim of the batch, without the penalty.
        gradient_norm: global norm of the gradient before clipping.
        learning_rate: learning rate of the step.
        in_a_row: number of steps in a row, up to this one, that were skipped.
    """

    bits_per_dim: Scalar
    gradient_norm: Scalar
    learning_rate: Scalar
    in_a_row: Count


def optimiser(config: TrainConfig) -> optax.GradientTransformation:
    """Clipping, then Adam's or AdaMax's direction; the learning rate is `learning_rate`."""
    scale = optax.scale_by_adam if config.optimiser == "adam" else optax.scale_by_adamax
    return optax.chain(optax.clip_by_global_norm(config.max_gradient_norm), scale())


def learning_rate(config: TrainConfig, step: Count | int) -> Scalar:
    """Linear from 0 over `n_warmup` steps, then a cosine to a hundredth, or constant."""
    if config.schedule == "constant":
        warmup = optax.linear_schedule(0.0, config.learning_rate, config.n_warmup)
        schedule = warmup if config.n_warmup else optax.constant_schedule(config.learning_rate)
    else:
        schedule = optax.warmup_cosine_decay_schedule(
            0.0,
            config.learning_rate,
            config.n_warmup,
            max(config.n_steps, config.n_warmup + 1),
            config.learning_rate / 100,
        )
    with jax.numpy_dtype_promotion("standard"):  # Optax's schedules mix dtypes
        return jnp.asarray(schedule(step), jnp.float32)


# -- the order of the data


def batch_indices(config: TrainConfig, n_images: int, step: int) -> np.ndarray:
    """The images of step `step`; each epoch is a new permutation, and a batch may span two."""
    start = step * config.batch_size
    positions = np.arange(start, start + config.batch_size)
    epochs = positions // n_images
    orders = {
        epoch: np.random.default_rng((config.seed, int(epoch))).permutation(n_images)
        for epoch in np.unique(epochs)
    }
    return np.array([orders[e][p % n_images] for e, p in zip(epochs, positions, strict=True)])


def flips(config: TrainConfig, step: int) -> np.ndarray:
    """Which images of step `step`'s batch are mirrored, left to right."""
    if not config.flip:
        return np.zeros(config.batch_size, bool)
    return np.random.default_rng((config.seed, step, 1)).random(config.batch_size) < 0.5


def flipped(images: np.ndarray, which: np.ndarray) -> np.ndarray:
    """A copy of images (B, H, W, C) with those of `which` (B,) mirrored."""
    return np.where(which[:, None, None, None], images[:, :, ::-1], images)


def init_indices(config: TrainConfig, n_images: int) -> np.ndarray:
    """The images of the data-dependent initialisation."""
    return np.random.default_rng(config.seed).permutation(n_images)[: config.n_init]


# -- the start


def create(
    model_config: GlowConfig, config: TrainConfig, images: UInt8[np.ndarray, "N H W C"]
) -> tuple[nnx.GraphDef, nnx.State, TrainState]:
    """A freshly initialised run.

    Args:
        model_config: config of the model.
        config: settings of the training.
        images: the `n_init` images of `init_indices`, or more.

    Returns:
        graph, fixed: the model's structure and untrained values (permutations, signs).
        state: step 0, actnorms set by the data-dependent initialisation.
    """
    model = Glow(model_config, rngs=nnx.Rngs(config.seed))
    initialise(model, config, jnp.asarray(images[init_indices(config, len(images))]))
    return started(model, config)


def initialise(model: Glow, config: TrainConfig, images: UInt8[Array, "N H W C"]) -> None:
    """Data-dependent initialisation, in place, on all of `images`, wherever their shards are."""
    key = jax.random.fold_in(jax.random.key(config.seed), config.n_steps)
    model.initialise(pixels.dequantised(key, images, model.config.n_bits))


def started(model: Glow, config: TrainConfig) -> tuple[nnx.GraphDef, nnx.State, TrainState]:
    """The state at step 0 of a run that starts from the weights of `model`, in training form.

    Weights of levels that are not trained are among the fixed values.
    """
    trained: Any = nnx.Param
    if config.n_trained_levels is not None:
        trained = nnx.All(nnx.Param, functools.partial(_is_of_finest, config.n_trained_levels))
    graph, params, fixed = nnx.split(model, trained, ...)  # type: ignore[misc]
    ema = jax.tree.map(jnp.copy, params)
    moments = optimiser(config).init(params)
    # Three arrays, because each is donated.
    step, skipped, in_a_row = (jnp.int32(0) for _ in range(3))
    state = TrainState(step, params, ema, moments, jnp.float32(1), skipped, in_a_row)
    return graph, fixed, state


def _is_of_finest(n: int, path: tuple[Any, ...], value: Any) -> bool:
    """Whether an array is of the finest n levels, or of their priors."""
    del value
    return path[0] in ("levels", "splits") and path[1] < n


# -- the 1x1 convolutions


def _inv_convs(model: Glow) -> list[Conv1x1 | Any]:
    """Every level's stacked 1x1 convolutions; none where channels are only permuted."""
    layers = [level.steps.inv_conv for level in model.levels if isinstance(level.steps, Step)]
    return [layer for layer in layers if not isinstance(layer, ChannelPermutation)]


def logdet_penalty(model: Glow) -> Scalar:
    """Sum over all 1x1 convolutions of (log |det W|)^2 / C, nats squared a channel.

    It drives the mean log singular value of each W to 0, so that the scale is in the actnorms and
    the inverse loses no digits; it is 0 for a rotation. It is multiplied by
    `TrainConfig.logdet_penalty` and added to the loss in bits/dim. It is not part of the paper.
    """
    total = jnp.float32(0)
    for inv_conv in _inv_convs(model):
        if isinstance(inv_conv, Conv1x1):
            logdets = jnp.linalg.slogdet(inv_conv.kernel[...])[1]
        else:
            logdets = inv_conv.log_s[...].sum(-1)
        total = total + jnp.square(logdets).sum() / jnp.float32(n_mixed_channels(inv_conv))
    return total


def n_mixed_channels(inv_conv: Any) -> int:
    """C of a stacked 1x1 convolution."""
    return (inv_conv.kernel if isinstance(inv_conv, Conv1x1) else inv_conv.lower).shape[-1]


def condition_number(model: Glow) -> float:
    """The largest condition number of the 1x1 convolutions; 1 is the best value.

    NaN where a weight is not finite. Computed in float64 on the host.
    """
    conditions = [np.ones(1)]
    for inv_conv in _inv_convs(model):
        graph, state = nnx.split(inv_conv)
        matrices = jax.vmap(lambda s, graph=graph: nnx.merge(graph, s).matrix())(state)
        matrices = np.asarray(matrices, np.float64)
        finite = np.isfinite(matrices).all((-2, -1))
        conditions.append(np.where(finite, 1.0, np.nan))
        conditions.append(np.linalg.cond(matrices[finite]))
    return float(np.concatenate(conditions).max())


# -- one step


def make_step(
    graph: nnx.GraphDef, fixed: nnx.State, config: TrainConfig, mesh: Mesh | None = None
) -> Callable[[TrainState, Array], tuple[TrainState, Metrics]]:
    """The compiled training step: (state, images (B, H, W, C) uint8) -> (state, metrics).

    The batch is sharded over the mesh (all devices by default), the state replicated; noise
    is drawn for the whole batch, so that it does not depend on the number of devices.
    """
    mesh = batch_mesh() if mesh is None else mesh
    platform = mesh.devices.flat[0].platform
    transform = optimiser(config)
    root = jax.random.key(config.seed)
    everywhere, by_row = PartitionSpec(), PartitionSpec(AXIS)

    def loss_of(params: nnx.State, x: Array) -> tuple[Scalar, Scalar]:
        model = _merged(graph, params, fixed, config, platform)
        nats = model.log_prob(x).mean()
        bits = model.config.n_bits - nats / (jnp.log(2.0) * model.config.n_dims)
        if not config.logdet_penalty:
            return bits, bits
        return bits + config.logdet_penalty * logdet_penalty(model), bits

    def on_device(params: nnx.State, x: Array) -> tuple[Scalar, nnx.State]:
        (_, bits), gradients = jax.value_and_grad(loss_of, has_aux=True)(params, x)
        return jax.lax.pmean((bits, gradients), AXIS)

    bits_and_gradients = jax.shard_map(
        on_device,
        mesh=mesh,
        in_specs=(everywhere, by_row),
        out_specs=everywhere,
        check_vma=False,  # each device has its own gradient until pmean
    )

    def step(state: TrainState, images: Array) -> tuple[TrainState, Metrics]:
        n_bits = nnx.merge(graph, state.params, fixed).config.n_bits
        noise_key = jax.random.fold_in(root, state.step)
        x = pixels.dequantised(noise_key, images, n_bits)
        bits, gradients = bits_and_gradients(state.params, x)
        norm = optax.tree.norm(gradients)
        rate = state.rate * learning_rate(config, state.step)
        with jax.numpy_dtype_promotion("standard"):  # Optax mixes dtypes
            direction, moments = transform.update(gradients, state.optimiser, state.params)
        updates = jax.tree.map(lambda u: -rate.astype(u.dtype) * u, direction)
        params = optax.apply_updates(state.params, updates)
        seen = state.step.astype(jnp.float32)
        decay = jnp.minimum(config.ema_decay, (1 + seen) / (10 + seen))
        ema = optax.incremental_update(params, state.ema, 1 - decay)
        finite = jnp.isfinite(bits) & jnp.isfinite(norm)
        params, ema, moments = jax.tree.map(
            lambda new, old: jnp.where(finite, new, old),
            (params, ema, moments),
            (state.params, state.ema, state.optimiser),
        )
        bad = 1 - finite.astype(jnp.int32)
        in_a_row = bad * (state.in_a_row + 1)
        skipped = state.skipped + bad
        after = TrainState(state.step + 1, params, ema, moments, state.rate, skipped, in_a_row)
        return after, Metrics(bits, norm, rate, in_a_row)

    return jax.jit(step, donate_argnums=0)


def make_bits_per_dim(
    graph: nnx.GraphDef, fixed: nnx.State, mesh: Mesh
) -> Callable[[nnx.State, jax.Array, Array], Array]:
    """Compiled and sharded: (params, key, images (B, H, W, C) uint8) -> bits/dim (B,).

    The uniform noise of the paper's bound is drawn with `key` for the whole batch; the noise of a
    row does not depend on the number of rows. The result is on every device.
    """
    everywhere, by_row = PartitionSpec(), PartitionSpec(AXIS)

    def on_device(params: nnx.State, x: Array) -> Array:
        model = nnx.merge(graph, params, fixed)
        bits = model.config.n_bits - model.log_prob(x) / (math.log(2) * model.config.n_dims)
        return jax.lax.all_gather(bits, AXIS, tiled=True)

    per_image = jax.shard_map(
        on_device, mesh=mesh, in_specs=(everywhere, by_row), out_specs=everywhere, check_vma=False
    )

    def bits_per_dim(params: nnx.State, key: jax.Array, images: Array) -> Array:
        n_bits = nnx.merge(graph, params, fixed).config.n_bits
        return per_image(params, pixels.dequantised(key, images, n_bits))

    return jax.jit(bits_per_dim)


def _merged(
    graph: nnx.GraphDef, params: nnx.State, fixed: nnx.State, config: TrainConfig, platform: str
) -> Glow:
    """The model in training form, as `config` asks to compute it on a platform such as "tpu"."""
    model = nnx.merge(graph, params, fixed)
    for level in model.levels:
        level.recompute = platform != "cpu" if config.recompute is None else config.recompute
        level.steps.coupling.precision = config.precision
        level.steps.coupling.platform = platform
    return model
