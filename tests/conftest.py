"""Strict arithmetic, shapes checked at run time, and the models that the tests share.

JAX_ENABLE_X64=1 in the environment runs everything with 64-bit types on; tests of float64
itself turn them on for themselves (`precision`), so one run covers both.
"""

import functools
import gc
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

# LLVM's optimiser is half of the tests' time and changes no operation of XLA's.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
# What tests compile is not kept in the user's cache.
os.environ.setdefault("JAX_ENABLE_COMPILATION_CACHE", "false")

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from flax import nnx

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jaxtyping.install_import_hook(
    ["glow_jax", "transfer"], "beartype.beartype"
)  # before they are imported

from glow_jax.config import GlowConfig  # noqa: E402
from glow_jax.model import Glow  # noqa: E402

Module = TypeVar("Module", bound=nnx.Module)


def pytest_configure(config: pytest.Config) -> None:
    """beartype finds fault with an annotation inside nnx.State, not with ours."""
    config.addinivalue_line("filterwarnings", "ignore:.*deprecated by PEP 585")


class Precision(NamedTuple):
    """A floating-point type, and how far from exact the specification lets a flow be."""

    dtype: jnp.dtype
    tolerance: float


@pytest.fixture(params=["float32", "float64"])
def precision(request: pytest.FixtureRequest) -> Iterator[Precision]:
    """Run a test in each type, with 64-bit types on where it is float64."""
    if request.param == "float32":
        yield Precision(jnp.dtype("float32"), 1e-4)
        return
    with jax.enable_x64(True):
        yield Precision(jnp.dtype("float64"), 1e-10)


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_code() -> Iterator[None]:
    """Each compiled function keeps memory maps, of which a process may have 65,530."""
    yield
    jax.clear_caches()
    gc.collect()


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the run-time check of annotations, which sees a wrong argument first."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture
def tiny() -> GlowConfig:
    """The smallest config with everything that can go wrong: levels, a split, a scan."""
    return GlowConfig(8, 8, n_levels=2, n_steps=2, hidden_width=8, coupling="affine", n_bits=5)


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
