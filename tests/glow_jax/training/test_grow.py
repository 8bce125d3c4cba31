"""A grown model computes the function of the model that it was grown from, and can learn."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from glow_jax.checkpoints import weights_of
from glow_jax.config import GlowConfig
from glow_jax.io.errors import InputError
from glow_jax.training.grow import check_growth, grow, old_positions
from glow_jax.training.step import TrainConfig, make_step, started
from tests.support.models import glow

SMALL = GlowConfig(8, 8, n_levels=2, n_steps=2, hidden_width=6, permutation="lu", n_bits=5)

TWICE: dict[str, Any] = {"image_height": 16, "image_width": 16, "n_levels": 3}


def larger(config: GlowConfig, **changes: Any) -> GlowConfig:
    return dataclasses.replace(config, **({"n_steps": (3, 5), "hidden_width": 10} | changes))


def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (3, 8, 8, 3))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"permutation": "dense"},
        {"coupling": "affine", "scale": "exp_tanh", "input_norm": True},
        {"conditioning": "odd", "leaky_slope": 0.1, "image_width": 16, "n_levels": 1, "n_steps": 1},
    ],
)
def test_a_grown_model_is_the_same_function(changes: dict[str, Any]) -> None:
    with jax.enable_x64(True):
        small = dataclasses.replace(SMALL, **changes)
        old = glow(small, jnp.float64)
        steps = (3, 5)[: small.n_levels]
        new = grow(old, larger(small, n_steps=steps), rngs=nnx.Rngs(1))
        assert new.config.steps == steps and new.config.hidden_width == 10
        x = np.random.default_rng(0).uniform(-0.5, 0.5, (3, *small.image_shape))
        (z_old, logdet_old), (z_new, logdet_new) = old.forward(x), new.forward(x)
        for a, b in zip(z_old, z_new, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
        np.testing.assert_allclose(logdet_old, logdet_new, rtol=1e-13)
        np.testing.assert_allclose(new.inverse(z_new)[0], x, atol=1e-9)
        np.testing.assert_allclose(old.log_prob(x), new.log_prob(x), rtol=1e-12)


def places(n: int) -> np.ndarray:
    """The channels of a level of 2 n that are those of the old model."""
    return np.concatenate([np.arange(n // 2), n + np.arange(n // 2)])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        pytest.param({"permutation": "dense", "learned_top_prior": False}, marks=pytest.mark.slow),
        {
            "coupling": "affine",
            "scale": "exp_tanh",
            "conditioning": "second",
            "input_norm": True,
            "n_classes": 2,
        },
        pytest.param({"coupling": "affine"}, marks=pytest.mark.slow),
    ],
)
def test_a_model_of_more_pixels_is_the_same_function_of_averages(changes: dict[str, Any]) -> None:
    with jax.enable_x64(True):
        small = dataclasses.replace(SMALL, **changes)
        old = glow(small, jnp.float64)
        steps = (
            (3, 2, 2)
            if changes.get("coupling") == "affine" and "scale" not in changes
            else (3, 2, 3)
        )
        config = dataclasses.replace(small, **TWICE, n_steps=steps, hidden_width=8)
        new = grow(old, config, rngs=nnx.Rngs(1))
        assert new.config == config
        x = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 16, 16, 3))
        averages = x.reshape(3, 8, 2, 8, 2, 3).mean((2, 4))
        label = jnp.array([0, 1, 1]) if small.n_classes else None
        (z_old, _), (z_new, logdet) = old.forward(averages), new.forward(x)
        eps_old, eps_new = old.encode_x(averages, label), new.encode_x(x, label)
        for a, b in ((z_old, z_new), (eps_old, eps_new)):
            np.testing.assert_allclose(b[1][..., :6], a[0], rtol=0, atol=1e-12)
            np.testing.assert_allclose(b[2][..., places(24)], a[1], rtol=0, atol=1e-12)
        np.testing.assert_allclose(new.inverse(z_new)[0], x, atol=1e-9)
        jacobian = jax.jacobian(lambda x: jnp.concatenate([z.ravel() for z in new.forward(x)[0]]))
        square = jacobian(jnp.asarray(x[:1])).reshape(config.n_dims, config.n_dims)
        np.testing.assert_allclose(jnp.linalg.slogdet(square)[1], logdet[0], rtol=1e-10)


@pytest.mark.parametrize("coupling", ["additive", pytest.param("affine", marks=pytest.mark.slow)])
def test_levels_of_details_leave_the_model_as_it_is(coupling: Any) -> None:
    with jax.enable_x64(True):
        small = dataclasses.replace(SMALL, coupling=coupling, scale="exp")
        old = glow(small, jnp.float64)
        config = dataclasses.replace(
            small,
            image_height=32,
            image_width=32,
            n_levels=4,
            n_steps=(3, 2, 2, 2),
            n_detail_levels=2,
        )
        new = grow(old, config, rngs=nnx.Rngs(1))
        assert new.config == config
        assert config.latent_shapes[:2] == ((16, 16, 9), (8, 8, 9))
        assert config.latent_shapes[2:] == small.latent_shapes
        x = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 32, 32, 3))
        averages = x.reshape(3, 8, 4, 8, 4, 3).mean((2, 4))
        (z_old, _), (z_new, logdet) = old.forward(averages), new.forward(x)
        for a, b in zip(z_old, z_new[2:], strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
        np.testing.assert_allclose(new.inverse(z_new)[0], x, atol=1e-9)
        np.testing.assert_allclose(new.decode_x(new.encode_x(x)), x, atol=1e-9)
        jacobian = jax.jacobian(lambda x: jnp.concatenate([z.ravel() for z in new.forward(x)[0]]))
        square = jacobian(jnp.asarray(x[:1])).reshape(config.n_dims, config.n_dims)
        np.testing.assert_allclose(jnp.linalg.slogdet(square)[1], logdet[0], rtol=1e-10)


def test_the_finest_levels_may_be_trained_alone() -> None:
    config = dataclasses.replace(SMALL, **TWICE, n_steps=(3, 2, 2), n_detail_levels=1)
    old = glow(SMALL)
    new = grow(old, config, rngs=nnx.Rngs(1))
    recipe = TrainConfig(n_steps=3, batch_size=4, n_warmup=0, n_trained_levels=1)
    graph, fixed, state = started(new, recipe)
    assert len(jax.tree.leaves(state.params)) < len(jax.tree.leaves(fixed))
    step = make_step(graph, fixed, recipe)
    pictures = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)
    first = jax.tree.map(np.asarray, state.params)
    for _ in range(3):
        state, _ = step(state, jnp.asarray(pictures))
    moved = jax.tree.leaves(
        jax.tree.map(lambda a, b: bool((np.asarray(a) != b).any()), state.params, first)
    )
    assert sum(moved) > len(moved) / 2
    trained = weights_of(nnx.merge(graph, state.ema, fixed))
    coarse: Any = weights_of(old)
    for kind in ("levels", "splits"):
        for i, weights in coarse[kind].items():
            after = trained[kind][str(int(i) + 1)]
            jax.tree.map(np.testing.assert_array_equal, after, weights)
    jax.tree.map(np.testing.assert_array_equal, trained["top"], coarse["top"])


def test_sides_may_be_doubled_twice() -> None:
    with jax.enable_x64(True):
        old = glow(SMALL, jnp.float64)
        config = dataclasses.replace(
            SMALL, image_height=32, image_width=32, n_levels=4, n_steps=(2, 3, 2, 2)
        )
        new = grow(old, config, rngs=nnx.Rngs(1))
        x = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 32, 32, 3))
        averages = x.reshape(2, 8, 4, 8, 4, 3).mean((2, 4))
        top = new.forward(x)[0][-1][..., places(48)][..., places(24)]
        np.testing.assert_allclose(top, old.forward(averages)[0][-1], rtol=0, atol=1e-12)


@pytest.mark.slow
def test_details_learn() -> None:
    """No weight of the details is cut off from the likelihood."""
    config = dataclasses.replace(SMALL, **TWICE, n_steps=(3, 2, 2), hidden_width=8)
    new = grow(glow(SMALL), config, rngs=nnx.Rngs(0))
    graph, params, fixed = nnx.split(new, nnx.Param, ...)  # type: ignore[misc]
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 16, 16, 3)).astype(np.float32)
    gradients = jax.grad(lambda p: nnx.merge(graph, p, fixed).log_prob(x).sum())(params)
    for level in gradients["levels"].values():
        network = level["steps"]["coupling"]["network"]
        assert (np.abs(network["out"]["kernel"][...]).max((1, 2, 3)) > 0).all()
    inner = gradients["levels"][1]["steps"]["coupling"]["network"]["in_kernel"][...]
    assert (np.abs(inner[..., 6:-1, :]).max((0, 1, 2, 4)) > 0).all()


@pytest.mark.slow
def test_new_steps_and_channels_learn() -> None:
    old = glow(SMALL)
    new = grow(old, larger(SMALL), rngs=nnx.Rngs(0))
    graph, params, fixed = nnx.split(new, nnx.Param, ...)  # type: ignore[misc]
    x = jnp.asarray(images(), jnp.float32)
    gradients = jax.grad(lambda p: nnx.merge(graph, p, fixed).log_prob(x).sum())(params)
    network = gradients["levels"][1]["steps"]["coupling"]["network"]
    added = np.setdiff1d(np.arange(5), old_positions(2, 5))
    kernel = np.abs(network["out"]["kernel"][...])
    assert (kernel[added].max((1, 2, 3, 4)) > 0).all()  # the steps that are new
    assert (kernel[:, :, :, 6:-1].max((1, 2, 4)) > 0).mean() > 0.5  # channels, but for dead ReLUs


def test_old_steps_are_evenly_spaced_and_end_last() -> None:
    assert old_positions(10, 10).tolist() == list(range(10))
    assert old_positions(2, 5).tolist() == [1, 4]
    assert old_positions(3, 4).tolist() == [0, 1, 3]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({}, {"hidden_width": 5, "n_steps": 2}, "hidden_width is 6, more than 5"),
        ({}, {"n_steps": (2, 1)}, r"n_steps is 2, more than \(2, 1\)"),
        ({}, {"image_width": 16}, "image_width is 8, not 16"),
        ({"permutation": "shuffle"}, {}, r"fixed permutations \(shuffle\)"),
        ({"coupling": "affine"}, {}, "affine couplings of scale sigmoid"),
        ({}, TWICE | {"n_steps": (2, 2, 1)}, r"n_steps is 2, more than \(2, 2, 1\)"),
        ({}, TWICE | {"n_levels": 2, "n_steps": 2}, "image_height is 8, not 16; .*one level more"),
        ({}, TWICE | {"n_steps": (1, 2, 2)}, "a new level has 1 step"),
        (
            {},
            TWICE | {"n_steps": 2, "n_detail_levels": 2},
            "n_detail_levels is 2; use 1, .* 0 for plain",
        ),
        ({"n_detail_levels": 1}, TWICE | {"n_steps": 2}, "n_detail_levels is 1; use 2, .*details$"),
        ({}, {"n_steps": 2, "n_detail_levels": 1}, "n_detail_levels is 0, not 1"),
    ],
)
def test_what_cannot_grow_is_named(old: dict, new: dict, said: str) -> None:
    small = dataclasses.replace(SMALL, **old)
    with pytest.raises(InputError, match=f"init: .*{said}"):
        check_growth("small", small, larger(small, **new))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"permutation": "reverse"}, "permutation reverse"),
        ({"prior": "position"}, "prior position"),
        ({"logit_alpha": 0.05}, "logit_alpha 0.05"),
        ({"coupling": "affine", "conditioning": "second"}, "second with scale sigmoid"),
        ({"conditioning": "odd", "image_width": 16, "image_height": 16}, "conditioning odd"),
    ],
)
def test_what_cannot_have_more_pixels_is_named(changes: dict, said: str) -> None:
    small = dataclasses.replace(SMALL, **changes)
    large = dataclasses.replace(
        small,
        image_height=2 * small.image_height,
        image_width=2 * small.image_width,
        n_levels=3,
    )
    with pytest.raises(InputError, match=f"init: small .*{said}"):
        check_growth("small", small, large)


def test_levels_of_details_are_grown_by_such_levels() -> None:
    """The finest levels are those of details: none is put before a plain one, or after."""
    small = dataclasses.replace(SMALL, n_levels=2, n_detail_levels=1)
    large = dataclasses.replace(small, image_height=16, image_width=16, n_levels=3)
    for wrong in (0, 1):
        with pytest.raises(
            InputError, match=f"n_detail_levels is {wrong}; use 2, so that all .*s$"
        ):
            check_growth("small", small, dataclasses.replace(large, n_detail_levels=wrong))
    plain = dataclasses.replace(small, n_detail_levels=0)
    larger = dataclasses.replace(large, image_height=32, image_width=32, n_levels=4)
    with pytest.raises(InputError, match="n_detail_levels is 1; use 2, .*, or 0 for plain ones$"):
        check_growth("small", plain, dataclasses.replace(larger, n_detail_levels=1))


def test_fixed_permutations_and_sigmoid_scales_can_widen() -> None:
    small = dataclasses.replace(SMALL, coupling="affine", permutation="shuffle")
    old = glow(small)
    new = grow(old, larger(small, n_steps=2), rngs=nnx.Rngs(0))
    x = images().astype(np.float32)
    np.testing.assert_allclose(old.log_prob(x), new.log_prob(x), rtol=1e-5)


def test_a_model_of_the_same_shape_is_unchanged() -> None:
    old = glow(SMALL)
    new = grow(old, dataclasses.replace(SMALL, n_bits=8), rngs=nnx.Rngs(0))
    jax.tree.map(np.testing.assert_array_equal, weights_of(old), weights_of(new))
