"""The recipe's choices: optimisers, precision, penalty, gradient checkpointing, presets."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from glow_jax.checkpoints import find, read_card, read_config
from glow_jax.config import GlowConfig
from glow_jax.io.errors import InputError
from glow_jax.model import Glow
from glow_jax.training import parallel
from glow_jax.training.presets import PRESETS, debug_size
from glow_jax.training.step import (
    TrainConfig,
    _merged,
    condition_number,
    create,
    flipped,
    flips,
    learning_rate,
    logdet_penalty,
    make_step,
    started,
)
from tests.support.models import glow
from tests.support.toy_training import MODEL, RECIPE, smooth_images


def created(config: TrainConfig) -> tuple[Any, Any, Any]:
    """Structure, untrained values and state at step 0, without data-dependent initialisation."""
    return started(Glow(MODEL, rngs=nnx.Rngs(0)), config)


def trained(config: TrainConfig, model: GlowConfig = MODEL, n: int = 3) -> tuple[Any, Any, list]:
    """The model's structure, and the state and the losses after a few steps."""
    images = smooth_images(64)
    graph, fixed, state = create(model, config, images)
    step, losses = make_step(graph, fixed, config), []
    for i in range(n):
        state, metrics = step(state, jnp.asarray(images[8 * i : 8 * i + 8]))
        losses.append(float(metrics.bits_per_dim))
    return (graph, fixed), state, losses


# -- optimisers and rates


@pytest.mark.slow
def test_adamax_is_another_optimiser_that_learns() -> None:
    config = dataclasses.replace(RECIPE, optimiser="adamax", n_warmup=1)
    losses = trained(config, n=8)[2]
    assert losses[-1] < losses[1]
    assert losses[-1] != trained(dataclasses.replace(config, optimiser="adam"), n=8)[2][-1]


def test_the_learning_rate_warms_up_then_falls_or_stays() -> None:
    cosine = TrainConfig(100, learning_rate=0.5, n_warmup=10)
    constant = dataclasses.replace(cosine, schedule="constant")
    for config in (cosine, constant):
        rates = [float(learning_rate(config, s)) for s in range(101)]
        np.testing.assert_allclose(rates[:11], np.linspace(0, 0.5, 11), rtol=1e-6)
    assert float(learning_rate(cosine, 100)) == pytest.approx(0.005)
    assert float(learning_rate(constant, 100)) == 0.5
    without = dataclasses.replace(constant, n_warmup=0)
    assert float(learning_rate(without, 0)) == 0.5


@pytest.mark.parametrize(
    "fields",
    [
        {"optimiser": "sgd"},
        {"schedule": "step"},
        {"precision": "half"},
        {"logdet_penalty": -1.0},
        {"logdet_penalty": float("nan")},
        {"recompute": "yes"},
        {"n_trained_levels": 0},
    ],
    ids=str,
)
def test_unknown_choices_are_refused(fields: dict[str, Any], unchecked: None) -> None:
    with pytest.raises(InputError, match=f"training: {next(iter(fields))}"):
        dataclasses.replace(RECIPE, **fields)


def test_flips_are_a_function_of_seed_and_step() -> None:
    config = dataclasses.replace(RECIPE, batch_size=4096)
    np.testing.assert_array_equal(flips(config, 3), flips(config, 3))
    assert (flips(config, 3) != flips(config, 4)).any()
    assert 0.45 < flips(config, 3).mean() < 0.55
    assert not flips(dataclasses.replace(config, flip=False), 3).any()
    images = smooth_images(2)
    some = flipped(images, np.array([True, False]))
    np.testing.assert_array_equal(some[0], images[0, :, ::-1])
    np.testing.assert_array_equal(some[1], images[1])


# -- precision and memory


@pytest.mark.slow
def test_fast_is_bfloat16_in_both_directions_and_close() -> None:
    exact = trained(RECIPE)
    config = dataclasses.replace(RECIPE, precision="fast")
    (graph, fixed), state, losses = trained(config)
    np.testing.assert_allclose(losses, exact[2], atol=0.05)
    assert losses[1:] != exact[2][1:]
    assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(state.params))
    text = str(jax.make_jaxpr(make_step(graph, fixed, config))(state, smooth_images(8)))
    products = [line for line in text.splitlines() if "preferred_element_type=float32" in line]
    assert text.count("bf16") > 9 and len(products) >= 9  # 3 products, forward and 2 gradients


@pytest.mark.slow
def test_gradient_checkpointing_changes_no_step() -> None:
    saving = dataclasses.replace(MODEL, checkpoint_coupling=True)
    _, state, losses = trained(RECIPE)
    _, same, same_losses = trained(RECIPE, saving)
    np.testing.assert_allclose(losses, same_losses, atol=1e-6)
    pairs = zip(jax.tree.leaves(state.params), jax.tree.leaves(same.params), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_steps_are_recomputed_on_every_platform_but_a_cpu() -> None:
    """On a CPU the program is the one without recomputation."""
    graph, fixed, state = created(RECIPE)

    def program(recompute: bool | None) -> str:
        config = dataclasses.replace(RECIPE, recompute=recompute)
        return str(jax.make_jaxpr(make_step(graph, fixed, config))(state, smooth_images(8)))

    kept = program(None)
    assert kept == program(False)
    assert program(True).count("dot_general") > kept.count("dot_general")
    merged = [
        _merged(graph, state.params, fixed, dataclasses.replace(RECIPE, recompute=given), platform)
        for platform in ("cpu", "gpu", "tpu")
        for given in (None, False)
    ]
    assert [m.levels[0].recompute for m in merged] == [False, False, True, False, True, False]


@pytest.mark.slow
def test_recomputation_changes_no_step() -> None:
    _, state, losses = trained(RECIPE)
    _, same, same_losses = trained(dataclasses.replace(RECIPE, recompute=True))
    np.testing.assert_allclose(losses, same_losses, atol=1e-6)
    pairs = zip(jax.tree.leaves(state.params), jax.tree.leaves(same.params), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, atol=1e-5)


# -- conditioning


@pytest.mark.parametrize("permutation", ["dense", "lu", "reverse"])
def test_penalty_and_condition_number_are_the_formulas(tiny: GlowConfig, permutation: Any) -> None:
    model = glow(dataclasses.replace(tiny, permutation=permutation), scale=0.5)
    penalty, worst = 0.0, 1.0
    if permutation != "reverse":
        for level in model.levels:
            graph, state = nnx.split(level.steps.inv_conv)
            for k in range(2):
                part = jax.tree.map(lambda a, k=k: a[k], state)
                w = np.asarray(nnx.merge(graph, part).matrix(), np.float64)
                penalty += np.linalg.slogdet(w)[1] ** 2 / len(w)
                worst = max(worst, np.linalg.cond(w))
        assert worst > 1.5
    np.testing.assert_allclose(float(logdet_penalty(model)), penalty, rtol=1e-4, atol=1e-7)
    assert condition_number(model) == pytest.approx(worst, rel=1e-4)


def test_the_penalty_is_pulled_down() -> None:
    def penalty(strength: float) -> float:
        config = dataclasses.replace(RECIPE, logdet_penalty=strength, n_warmup=1)
        (graph, fixed), state, _ = trained(config, n=8)
        return float(logdet_penalty(nnx.merge(graph, state.params, fixed)))

    assert penalty(10.0) < 0.5 * penalty(0.0)


# -- presets


@pytest.mark.parametrize("name", PRESETS)
def test_presets_say_what_to_expect_and_have_a_small_size(name: str) -> None:
    preset = PRESETS[name]
    assert preset.source in preset.expectation()
    small = debug_size(preset.config)
    kept = ("n_levels", "coupling", "permutation", "n_bits", "learned_top_prior")
    assert all(getattr(small, f) == getattr(preset.config, f) for f in kept)
    model = nnx.eval_shape(lambda: Glow(small, rngs=nnx.Rngs(0)))
    assert sum(a.size for a in jax.tree.leaves(nnx.state(model))) < 2e6


def test_the_papers_presets_have_the_papers_figures() -> None:
    assert PRESETS["cifar10"].bits_per_dim == 3.35
    assert PRESETS["celebahq256"].bits_per_dim == 1.03
    assert "expected: 3.35 bits/dim held out (Kingma" in PRESETS["cifar10"].expectation()
    for name in ("celeba64", "debug"):
        assert PRESETS[name].bits_per_dim is None
        assert "no figure (" in PRESETS[name].expectation()


@pytest.mark.parametrize("name", ["faces64", "photo64", "photo128", "photo256"])
def test_the_figure_and_shape_of_a_bundled_preset_are_its_models(name: str) -> None:
    card = read_card(find(name))
    assert PRESETS[name].bits_per_dim == card["held_out_bits_per_dim"]
    line = f"expected: {card['held_out_bits_per_dim']:g} bits/dim held out ("
    assert PRESETS[name].expectation().startswith(line)
    assert f"after {card['steps']} steps" in PRESETS[name].expectation()
    assert PRESETS[name].config == read_config(find(name))


# -- batches


def test_a_batch_that_does_not_divide_is_refused(unchecked: None) -> None:
    mesh: Any = SimpleNamespace(size=8)
    parallel.check_divides(mesh, 16)
    with pytest.raises(InputError, match=r"^batch size 30 does not divide by 8 devices; use 24 or"):
        parallel.check_divides(mesh, 30)
    with pytest.raises(InputError, match=r"^batch size 3 does not divide by 8 devices; use 8$"):
        parallel.check_divides(mesh, 3)
