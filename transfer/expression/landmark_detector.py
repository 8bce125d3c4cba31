"""The landmark detector: a small network for the 68 landmarks of a face aligned as in CelebA-HQ.

It is trained on rendered people, whose landmarks are known exactly. All functions are of arrays;
the trained weights are part of `transfer.expression.model.ExpressionModel`. The judge in `eval`
uses another landmark detector, so that its scores are independent.
"""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from glow_jax.io.landmarks68 import N_LANDMARKS
from transfer.expression.features import mirrored

Images = UInt8[Array, "B H W 3"]
Params = dict[str, Any]
WIDTHS = (64, 96, 128)  # channels at each of the three resolutions
HIDDEN_WIDTH = 192  # units of the last hidden layer
SIDE = 64  # pixels of the network's input
STEPS_PER_LINE = 100  # training steps between two calls of progress


class Batch(NamedTuple):
    """Pictures and their landmarks."""

    images: Any  # uint8 (B, H, W, 3)
    landmarks: Any  # (B, 68, 2), right and down in sides of the picture


def init(key: jax.Array, mean_landmarks: Float[Array, "68 2"]) -> Params:
    """Random weights with which the network returns about the mean landmarks.

    Args:
        key: of the random weights.
        mean_landmarks: right and down, in sides of the picture.
    """
    sizes = _sizes()
    keys = jax.random.split(key, len(sizes))
    params: Params = {}
    f32 = jnp.float32
    for i, (k, (n_in, n_out)) in enumerate(zip(keys, sizes, strict=True)):
        gain = 2.0 if i + 1 < len(sizes) else 0.01
        params[f"w{i}"] = jax.random.normal(k, (n_in, n_out), f32) * (gain / n_in) ** 0.5
        params[f"b{i}"] = jnp.zeros(n_out, f32)
    last = f"b{len(sizes) - 1}"
    params[last] = jnp.asarray(mean_landmarks, jnp.float32).ravel()
    return params


def parameter_shapes() -> dict[str, tuple[int, ...]]:
    """Shapes of the weights, by name."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (n_in, n_out) in enumerate(_sizes()):
        shapes |= {f"w{i}": (n_in, n_out), f"b{i}": (n_out,)}
    return shapes


def _sizes() -> list[tuple[int, int]]:
    """Inputs and outputs of each layer."""
    sizes = [(9 * 48, WIDTHS[0]), (9 * WIDTHS[0], WIDTHS[0])]
    for before, after in itertools.pairwise(WIDTHS):
        sizes += [(9 * 4 * before, after), (9 * after, after)]
    return [*sizes, (WIDTHS[-1] * (SIDE // 16) ** 2, HIDDEN_WIDTH), (HIDDEN_WIDTH, 2 * N_LANDMARKS)]


def detect_landmarks(params: Params, images: Images) -> Float[Array, "B 68 2"]:
    """Landmarks of aligned faces.

    Args:
        params: trained weights.
        images: uint8 RGB, square, of any size; they are resized to SIDE pixels.

    Returns:
        Right and down, in sides of the picture.
    """
    x = images.astype(jnp.float32) / 255
    if x.shape[1:3] != (SIDE, SIDE):
        x = jax.image.resize(x, (x.shape[0], SIDE, SIDE, 3), "linear", antialias=True)
    # Landmarks do not depend on the brightness and contrast of a picture.
    x = x - x.mean((1, 2, 3), keepdims=True)
    x = x / (x.std((1, 2, 3), keepdims=True) + 0.05)
    h, layer = _squeezed(_squeezed(x)), 0
    for level in range(len(WIDTHS)):
        h = _squeezed(h) if level else h
        for _ in range(2):
            h = jax.nn.relu(_dense(params, layer, _neighbours(h)))
            layer += 1
    h = jax.nn.relu(_dense(params, layer, h.reshape(h.shape[0], -1)))
    return _dense(params, layer + 1, h).reshape(-1, N_LANDMARKS, 2)


def _dense(params: Params, layer: int, h: Array) -> Array:
    """h W + b in float32 precision, also on devices whose default is lower."""
    w, b = params[f"w{layer}"], params[f"b{layer}"]
    out = jnp.dot(h, w.astype(h.dtype), precision=jax.lax.Precision.HIGHEST)
    return out + b.astype(h.dtype).reshape((1,) * (out.ndim - 1) + (-1,))


def _squeezed(h: Float[Array, "B H W C"]) -> Float[Array, "B H//2 W//2 4*C"]:
    b, height, width, c = h.shape
    h = h.reshape(b, height // 2, 2, width // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
    return h.reshape(b, height // 2, width // 2, 4 * c)


def _neighbours(h: Float[Array, "B H W C"]) -> Float[Array, "B H W 9*C"]:
    """The 3x3 surroundings of every pixel.

    With them a 3x3 convolution is a matrix product, which is faster at these sizes.
    """
    height, width = h.shape[1:3]
    padded = jnp.pad(h, ((0, 0), (1, 1), (1, 1), (0, 0)))
    parts = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return jnp.concatenate(parts, -1)


def loss(params: Params, batch: Batch) -> Float[Array, ""]:
    """Mean squared error of a landmark's coordinates, pixels² at SIDE pixels."""
    return (SIDE**2) * ((detect_landmarks(params, batch.images) - batch.landmarks) ** 2).mean()


def augmented(key: jax.Array, batch: Batch) -> Batch:
    """Augmentation: random mirroring, shift, light, tint and noise of each picture."""
    n, height, width = batch.images.shape[:3]
    keys = jax.random.split(key, 5)
    mirror = jax.random.bernoulli(keys[0], shape=(n, 1, 1, 1))
    images = jnp.where(mirror, batch.images[:, :, ::-1], batch.images)
    landmarks = jnp.where(mirror[..., 0], mirrored(batch.landmarks), batch.landmarks)
    shift = jax.random.randint(keys[1], (n, 2), -2, 3)

    def moved(image: Array, by: Array) -> Array:
        padded = jnp.pad(image, ((2, 2), (2, 2), (0, 0)), mode="edge")
        return jax.lax.dynamic_slice(padded, (2 - by[1], 2 - by[0], 0), image.shape)

    images = jax.vmap(moved)(images, shift).astype(jnp.float32)
    share = shift.astype(landmarks.dtype) / jnp.array([[width, height]], landmarks.dtype)
    landmarks = landmarks + share[:, None]
    f32 = jnp.float32
    gamma = jnp.exp(jax.random.uniform(keys[2], (n, 1, 1, 1), f32, minval=-0.3, maxval=0.3))
    tint = 1 + 0.1 * jax.random.normal(keys[3], (n, 1, 1, 3), f32)
    grain = 3.0 * jax.random.uniform(keys[4], (n, 1, 1, 1), f32)
    noise = grain * jax.random.normal(jax.random.fold_in(keys[4], 1), images.shape, f32)
    images = 255 * (images / 255) ** gamma * tint + noise
    return Batch(jnp.clip(images, 0, 255).astype(jnp.uint8), landmarks.astype(jnp.float32))


def train_landmark_detector(
    data: Batch,
    *,
    n_steps: int,
    batch_size: int = 64,
    learning_rate: float = 1.5e-3,
    seed: int = 0,
    progress: Any = lambda step, loss: None,
) -> Params:
    """Train with AdamW; the learning rate rises linearly and falls to 0 as a cosine.

    Args:
        data: all pictures, as NumPy arrays.
        n_steps: gradient steps.
        batch_size: pictures per step.
        learning_rate: the largest.
        seed: of weights, order and augmentation.
        progress: called every STEPS_PER_LINE steps and at the end, with the step and the mean
            `loss` since the last call.

    Returns:
        The exponential moving average of the weights.
    """
    import optax  # late: only a fit needs it

    params = init(jax.random.key(seed), jnp.asarray(data.landmarks.mean(0), jnp.float32))
    schedule = optax.warmup_cosine_decay_schedule(0, learning_rate, min(100, n_steps // 2), n_steps)
    optimiser = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=0.02)
    )
    state, average = optimiser.init(params), params

    @jax.jit
    def step(params: Params, average: Params, state: Any, batch: Batch, key: jax.Array) -> Any:
        value, gradient = jax.value_and_grad(loss)(params, augmented(key, batch))
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimiser.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        average = optax.incremental_update(params, average, 0.01)
        return params, average, state, value

    rng, losses = np.random.default_rng(seed), []
    for i in range(n_steps):
        rows = np.sort(rng.choice(len(data.images), batch_size))
        landmarks = jnp.asarray(data.landmarks[rows], jnp.float32)
        batch = Batch(jnp.asarray(data.images[rows]), landmarks)
        key = jax.random.fold_in(jax.random.key(seed + 1), i)
        params, average, state, value = step(params, average, state, batch, key)
        losses.append(value)
        if (i + 1) % STEPS_PER_LINE == 0 or i + 1 == n_steps:
            progress(i + 1, float(np.mean(jax.device_get(losses))))
            losses = []
    return average
