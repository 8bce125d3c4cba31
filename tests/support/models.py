"""Models with weights that hide no fault, images for them, and how far from exact a flow may be."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from glow_jax.config import GlowConfig
from glow_jax.model import Glow

Module = TypeVar("Module", bound=nnx.Module)


class Precision(NamedTuple):
    """A floating-point type, and how far from exact the specification lets a flow be."""

    dtype: jnp.dtype
    tolerance: float


def perturbed(module: Module, key: jax.Array, scale: float = 0.1) -> Module:
    """A copy with noise on every Param, zero-initialised ones included.

    Without it Glow's zero last convolutions hide a coupling that reads the wrong half. Noise
    on a kernel shrinks with its fan-in and on a log-scale with the factor 3 it meets in use,
    so that activations and inverses stay of order 1. `layers.Fixed` is left alone.
    """
    module = nnx.clone(module)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))  # the same in both types
    params = nnx.state(module, nnx.Param)
    noisy = jax.tree.map_with_path(
        lambda path, leaf: jnp.asarray(leaf + scale * _noise(rng, path, leaf), leaf.dtype),
        jax.tree.map(np.asarray, params),
    )
    nnx.update(module, noisy)
    return module


def _noise(rng: np.random.Generator, path: tuple, like: np.ndarray) -> np.ndarray:
    noise, name = rng.standard_normal(like.shape), jax.tree_util.keystr(path)
    if "logs" in name:
        return noise / 3
    if any(matrix in name for matrix in ("kernel", "lower", "upper")):
        taps = 9 if like.shape[-4:-2] == (3, 3) else 1
        return noise / np.sqrt(taps * like.shape[-2])
    return noise


def with_weights(build: Callable[[], Module], seed: int = 0, scale: float = 0.2) -> Module:
    """The module `build` makes, perturbed, the same to rounding in every type.

    Nothing is compiled: `build` is only traced, and the values are NumPy's.
    """
    graph, state = nnx.split(nnx.eval_shape(build))
    rng = np.random.default_rng(seed)
    values = jax.tree.map_with_path(functools.partial(_value, rng), nnx.to_pure_dict(state))
    nnx.replace_by_pure_dict(state, values)
    return perturbed(nnx.merge(graph, state), jax.random.key(seed), scale)


def _value(rng: np.random.Generator, path: tuple, like: jax.ShapeDtypeStruct) -> jax.Array:
    """A parameter's value before it is perturbed; a permutation or sign for good."""
    name, shape = path[-1].key, like.shape
    value = np.zeros(shape)
    if name == "indices":
        value = rng.permuted(np.broadcast_to(np.arange(shape[-1]), shape), axis=-1)
    elif name == "sign_s":
        value = rng.choice([-1.0, 1.0], shape)
    elif name == "kernel" and shape[-1] == shape[-2]:  # of a 1x1 convolution
        value = np.linalg.qr(rng.standard_normal(shape))[0]
    elif name in ("in_kernel", "hidden_kernel"):
        value = rng.standard_normal(shape) / np.sqrt(shape[-2] * (9 if name == "in_kernel" else 1))
    return jnp.asarray(value, like.dtype)


def glow(config: GlowConfig, dtype: Any = jnp.float32, seed: int = 0, scale: float = 0.2) -> Glow:
    """A model `with_weights`."""
    return with_weights(lambda: Glow(config, rngs=nnx.Rngs(0), dtype=dtype), seed, scale)


def random_images(config: GlowConfig, n: int = 2, seed: int = 0) -> np.ndarray:
    """uint8 noise of the config's shape."""
    return np.random.default_rng(seed).integers(0, 256, (n, *config.image_shape), np.uint8)


def random_x(config: GlowConfig, dtype: Any, n: int = 2, seed: int = 0) -> jax.Array:
    """Uniform in [-0.5, 0.5), of the config's shape, the same to rounding in every type."""
    x = np.random.default_rng(seed).uniform(-0.5, 0.5, (n, *config.image_shape))
    return jnp.asarray(x.astype(dtype))
