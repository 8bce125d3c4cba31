"""The flow laws, for every layer and every step of flow, with perturbed parameters."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from glow_jax.config import GlowConfig
from glow_jax.coupling import Coupling, CouplingNetwork
from glow_jax.flow_step import Step
from glow_jax.layers import (
    ActNorm,
    ChannelPermutation,
    Conv1x1,
    Conv1x1LU,
    squeeze,
    unsqueeze,
)
from tests.support import reference
from tests.support.models import perturbed, with_weights

SHAPE = (2, 2, 3, 4)  # B H W C: every size that may be confused is another number
CONFIG = GlowConfig(8, 8, n_levels=1, n_steps=1, hidden_width=5)
COUPLINGS = ("additive", "affine")
PERMUTATIONS = ("dense", "lu", "reverse", "shuffle")
TOLERANCE = {"float64": 1e-10, "float32": 1e-4}


def step(coupling: Any, permutation: Any) -> Callable[..., nnx.Module]:
    config = dataclasses.replace(CONFIG, coupling=coupling, permutation=permutation)
    return lambda **options: Step(config, SHAPE[-1], **options)


LAYERS: dict[str, Callable[..., nnx.Module]] = {
    "actnorm": lambda rngs, dtype: ActNorm(SHAPE[-1], dtype=dtype),
    "dense": lambda **options: Conv1x1(SHAPE[-1], **options),
    "lu": lambda **options: Conv1x1LU(SHAPE[-1], **options),
    "reverse": lambda **options: ChannelPermutation(SHAPE[-1], "reverse", **options),
    "shuffle": lambda **options: ChannelPermutation(SHAPE[-1], "shuffle", **options),
    "additive": lambda **options: Coupling(CONFIG, SHAPE[-1], **options),
    "affine": lambda **options: Coupling(
        dataclasses.replace(CONFIG, coupling="affine"), SHAPE[-1], **options
    ),
    **{f"{c} step, {p}": step(c, p) for c in COUPLINGS for p in PERMUTATIONS},
}
every_layer = pytest.mark.parametrize("name", LAYERS)
every_type = pytest.mark.parametrize("dtype", TOLERANCE)


def activations(seed: int, dtype: str) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(SHAPE).astype(dtype))


class Results(NamedTuple):
    """One layer on one batch, as NumPy arrays."""

    h: np.ndarray
    z: np.ndarray
    logdet: np.ndarray
    back: np.ndarray
    back_logdet: np.ndarray
    z_of_other: np.ndarray  # of the batch with another sample 0
    logdet_of_other: np.ndarray
    back_of_other: np.ndarray
    jacobian: np.ndarray | None


@functools.cache
def results(name: str, dtype: str) -> Results:
    with jax.enable_x64(dtype == "float64"):
        layer = with_weights(
            lambda: LAYERS[name](rngs=nnx.Rngs(0), dtype=jnp.dtype(dtype)), scale=0.4
        )
        graph, state = nnx.split(layer)
        forward = jax.jit(lambda state, h: nnx.merge(graph, state).forward(h))
        inverse = jax.jit(lambda state, h: nnx.merge(graph, state).inverse(h))
        h = activations(0, dtype)
        other = h.at[0].set(activations(1, dtype)[0])
        z, logdet = forward(state, h)
        of_other = forward(state, other)
        back_of_other = inverse(state, z.at[0].set(of_other[0][0]))[0]
        jacobian = None
        if dtype == "float64":
            jacobian = jax.jacfwd(lambda h: forward(state, h)[0])(h)
        found = Results(h, z, logdet, *inverse(state, z), *of_other, back_of_other, jacobian)
        return jax.tree.map(np.asarray, found)


@every_layer
@every_type
def test_inverse_undoes_forward(name: str, dtype: str) -> None:
    found = results(name, dtype)
    assert found.z.dtype == found.back.dtype == dtype
    np.testing.assert_allclose(found.back, found.h, rtol=0, atol=TOLERANCE[dtype])
    assert np.abs(found.z - found.h).max() > 0.1  # it did something


@every_layer
@every_type
def test_logdets_of_both_directions_cancel(name: str, dtype: str) -> None:
    found = results(name, dtype)
    assert found.logdet.shape == found.back_logdet.shape == SHAPE[:1]
    assert found.logdet.dtype == found.back_logdet.dtype == dtype
    total = found.logdet + found.back_logdet
    np.testing.assert_allclose(total, 0, atol=TOLERANCE[dtype])


@every_layer
def test_logdet_is_that_of_the_jacobian(name: str) -> None:
    found = results(name, "float64")
    assert found.jacobian is not None
    for i in range(SHAPE[0]):
        own = found.jacobian[i, ..., i, :, :, :].reshape(2 * [found.h[i].size])
        np.testing.assert_allclose(np.linalg.slogdet(own)[1], found.logdet[i], rtol=0, atol=1e-10)
    assert not found.jacobian[0, ..., 1, :, :, :].any()
    assert not found.jacobian[1, ..., 0, :, :, :].any()
    assert found.logdet.all() or name in ("reverse", "shuffle", "additive")


@every_layer
@every_type
def test_samples_do_not_see_each_other(name: str, dtype: str) -> None:
    found = results(name, dtype)
    assert (found.z_of_other[0] != found.z[0]).any()
    np.testing.assert_array_equal(found.z_of_other[1], found.z[1])
    np.testing.assert_array_equal(found.logdet_of_other[1], found.logdet[1])
    np.testing.assert_array_equal(found.back_of_other[1], found.back[1])


def test_squeeze_orders_channels_as_openai_does() -> None:
    h = np.random.default_rng(0).standard_normal((2, 4, 6, 3)).astype(np.float32)
    out = squeeze(jnp.asarray(h))
    assert out.shape == (2, 2, 3, 12)
    for c, dy, dx in np.ndindex(3, 2, 2):
        np.testing.assert_array_equal(out[..., 4 * c + 2 * dy + dx], h[:, dy::2, dx::2, c])
    np.testing.assert_array_equal(unsqueeze(out), h)


def statistics(h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return h.mean((0, 1, 2)), h.std((0, 1, 2))


def assert_normalised(h: np.ndarray, atol: float = 1e-5) -> None:
    mean, deviation = statistics(h)
    np.testing.assert_allclose(mean, 0, atol=atol)
    np.testing.assert_allclose(deviation, 1, atol=atol)


def test_actnorm_initialises_to_mean_0_and_deviation_1() -> None:
    h = 3 * activations(0, "float32") + jnp.arange(4.0)[None, None, None]
    norm = ActNorm(4, dtype=jnp.dtype("float32"))
    norm.initialise(h)
    assert_normalised(np.asarray(norm.forward(h)[0]))
    assert norm.logs.dtype == norm.bias.dtype == jnp.float32


def test_actnorm_initialises_inside_the_coupling_network() -> None:
    with jax.enable_x64(True):
        x1 = activations(0, "float64")
        network = with_weights(
            lambda: CouplingNetwork(CONFIG, 8, rngs=nnx.Rngs(0), dtype=jnp.dtype("float64"))
        )
        network.initialise(x1)
        p = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(network)))
    h = reference.actnorm(reference.conv3x3(np.asarray(x1), p["in_kernel"]), p["in_norm"])
    assert_normalised(h, atol=1e-4)  # up to the 1e-6 beside the deviation
    h = reference.actnorm(np.maximum(h, 0) @ p["hidden_kernel"], p["hidden_norm"])
    assert_normalised(h, atol=1e-4)


def test_actnorm_survives_a_channel_without_variation() -> None:
    norm = ActNorm(4, dtype=jnp.dtype("float32"))
    norm.initialise(jnp.ones(SHAPE))
    out, logdet = norm.forward(jnp.ones(SHAPE))
    np.testing.assert_array_equal(out, 0)
    assert np.isfinite(logdet).all()


def test_lu_ignores_what_the_masked_triangles_hold() -> None:
    clean = with_weights(
        lambda: Conv1x1LU(4, rngs=nnx.Rngs(0), dtype=jnp.dtype("float32")), scale=0.4
    )
    garbage = nnx.clone(clean)
    lower, upper = jnp.tril(jnp.ones((4, 4)), -1), jnp.triu(jnp.ones((4, 4)), 1)
    garbage.lower[...] = jnp.where(lower == 1, clean.lower[...], 7.0)
    garbage.upper[...] = jnp.where(upper == 1, clean.upper[...], -3.0)
    h = activations(0, "float32")
    for method in ("forward", "inverse"):
        for got, want in zip(getattr(garbage, method)(h), getattr(clean, method)(h), strict=True):
            np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(garbage.matrix(), clean.matrix())


def test_lu_starts_as_a_rotation() -> None:
    layer = Conv1x1LU(6, rngs=nnx.Rngs(0), dtype=jnp.dtype("float32"))
    w = np.asarray(layer.matrix())
    np.testing.assert_allclose(w @ w.T, np.eye(6), atol=1e-5)
    assert np.abs(w - np.eye(6)).max() > 0.1


def test_new_steps_start_as_an_invertible_linear_map() -> None:
    """The last convolution starts at zero; only perturbed does the coupling do anything."""
    fresh = Step(CONFIG, 4, rngs=nnx.Rngs(0), dtype=jnp.dtype("float32"))
    h = activations(0, "float32")
    mixed = fresh.inv_conv.forward(h)[0]
    np.testing.assert_array_equal(fresh.coupling.forward(mixed)[0], mixed)
    assert (perturbed(fresh, jax.random.key(0)).coupling.forward(mixed)[0] != mixed).any()
