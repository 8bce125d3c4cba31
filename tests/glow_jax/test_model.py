"""The whole model: against an independent Glow, at full depth, to the byte, and under JAX."""

import dataclasses
import functools
import itertools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from glow_jax import coupling_network, pixels
from glow_jax.cli.sample import _draw_eps
from glow_jax.config import GlowConfig
from glow_jax.coupling import Coupling
from glow_jax.model import Glow, flatten, unflatten
from glow_jax.prior import draw_eps
from tests.support import reference
from tests.support.models import Precision, glow, perturbed, random_images, random_x, with_weights

PERMUTATIONS = ("dense", "lu", "reverse", "shuffle")
AGREES = {"float64": 1e-9, "float32": 1e-4}  # with the reference, of the largest number


def assert_close(got: Any, want: Any, tolerance: float) -> None:
    """Every array of two equal trees, relative to the array's largest number."""
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
    for a, b in pairs:
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


# -- against the reference


def variant(
    affine: int, permutation: int, learned: int, classes: int, square: int, grey: int
) -> GlowConfig:
    return GlowConfig(
        image_height=8,
        image_width=8 if square else 16,
        n_levels=2,
        n_steps=2,
        hidden_width=6,
        n_channels=1 if grey else 3,
        coupling="affine" if affine else "additive",
        permutation=PERMUTATIONS[permutation],
        learned_top_prior=bool(learned),
        n_classes=3 * classes,
        n_bits=5 if permutation in (1, 2) else 8,
    )


def name_of(config: GlowConfig) -> str:
    parts = [config.coupling, config.permutation]
    parts += ["learned top"] * config.learned_top_prior + ["classes"] * (config.n_classes > 0)
    return ", ".join([*parts, "x".join(map(str, config.image_shape))])


# Every coupling with every permutation, and of the other choices every pair of values.
CHOSEN = [
    variant(a, p, a ^ (p & 1), a ^ (p >> 1), a ^ (p == 3), a ^ (p & 1) ^ (p >> 1))
    for a in range(2)
    for p in range(4)
]
OTHERS = [
    config
    for choices in itertools.product(range(2), range(4), *4 * [range(2)])
    if (config := variant(*choices)) not in CHOSEN
]
CHOSEN_VARIANTS = pytest.mark.parametrize("config", CHOSEN, ids=name_of)
# In float32 two, an additive and an affine one, are fast.
CHOSEN_IN_FLOAT32 = pytest.mark.parametrize(
    "config",
    [pytest.param(c, marks=[pytest.mark.slow] * (i not in (0, 6))) for i, c in enumerate(CHOSEN)],
    ids=name_of,
)


def inputs(config: GlowConfig, dtype: str) -> tuple[Any, Any, Any]:
    """Images, labels and eps to decode, as NumPy arrays that both types represent."""
    rng = np.random.default_rng(1)
    label = np.array([2, 0], np.int32) if config.n_classes else None
    eps = tuple(rng.standard_normal((2, *s)).astype(np.float32) for s in config.latent_shapes)
    return random_images(config), label, tuple(a.astype(dtype) for a in eps)


@functools.partial(jax.jit, static_argnums=0)
def everything(graph: Any, state: Any, images: Any, label: Any, given: Any) -> dict[str, Any]:
    model = nnx.merge(graph, state)
    n_bits = model.config.n_bits
    x = pixels.centred(images, n_bits, model.dtype)
    z, logdet = model.forward(x)
    back, back_logdet = model.inverse(z)
    return {
        "z": z,
        "logdet": logdet,
        "eps": model.encode_x(x, label),
        "encoded": model.encode(images, label, n_bits=n_bits),
        "log_prob": model.log_prob(x, label),
        "bits_per_dim": model.bits_per_dim(images, label),
        "x": x,
        "back": back,
        "back_logdet": back_logdet,
        "eps_of_z": model.eps_from_z(z, label),
        "z_of_given": model.z_from_eps(given, label),
        "x_of_given": model.decode_x(given, label),
        "images_of_given": model.decode(given, label, n_bits=n_bits),
    }


@functools.cache
def ours(config: GlowConfig, dtype: str, folded: bool = False) -> tuple[dict[str, Any], Any]:
    """What the model computes, and its parameters, as NumPy arrays."""
    with jax.enable_x64(dtype == "float64"):
        model = glow(config, jnp.dtype(dtype))
        weights = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(model)))
        if folded:
            model = model.fold()
        out = everything(*nnx.split(model), *inputs(config, dtype))
        return jax.tree.map(np.asarray, out), weights


@functools.cache
def theirs(config: GlowConfig, dtype: str) -> dict[str, Any]:
    """What the reference makes of the same inputs and the same (rounded) parameters."""
    images, label, given = inputs(config, dtype)
    model = reference.Reference(config, ours(config, dtype)[1])
    encoded = model.encode(reference.preprocess(images, config.n_bits), label)
    x_of_given = model.decode(given, label)
    return {
        "z": encoded.z,
        "logdet": encoded.logdet,
        "eps": encoded.eps,
        "log_prob": encoded.log_prob,
        "bits_per_dim": model.bits_per_dim(images, config.n_bits, label),
        "back": model.inverse(encoded.z),
        "x_of_given": x_of_given,
        "images_of_given": reference.postprocess(x_of_given, config.n_bits),
        "z_of_given": model.encode(x_of_given, label).z,
    }


def assert_agrees(config: GlowConfig, dtype: str, folded: bool) -> None:
    got, want = ours(config, dtype, folded)[0], theirs(config, dtype)
    for name in set(want) - {"images_of_given"}:
        assert_close(got[name], want[name], AGREES[dtype])
    same_bytes = got["images_of_given"] == want["images_of_given"]
    assert same_bytes.mean() > (0.99 if dtype == "float32" else 0.9999)  # else on a bin's edge
    assert_close(got["encoded"], got["eps"], 1e-6)
    assert_close(got["eps_of_z"], got["eps"], AGREES[dtype])
    assert_close(got["back"], got["x"], AGREES[dtype])
    assert_close(got["back_logdet"], -got["logdet"], AGREES[dtype])


@CHOSEN_VARIANTS
def test_agrees_with_the_reference(config: GlowConfig) -> None:
    assert_agrees(config, "float64", folded=False)
    assert ours(config, "float64")[0]["logdet"].dtype == "float64"


@CHOSEN_IN_FLOAT32
def test_agrees_with_the_reference_in_float32(config: GlowConfig) -> None:
    assert_agrees(config, "float32", folded=False)
    assert ours(config, "float32")[0]["logdet"].dtype == "float32"


@CHOSEN_IN_FLOAT32
def test_folded_agrees_with_unfolded(config: GlowConfig) -> None:
    assert_agrees(config, "float32", folded=True)
    folded, unfolded = ours(config, "float32", folded=True)[0], ours(config, "float32")[0]
    for name in ("z", "eps", "logdet", "log_prob", "back", "x_of_given", "z_of_given"):
        assert_close(folded[name], unfolded[name], 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("config", OTHERS, ids=name_of)
def test_every_other_variant_agrees_with_the_reference(config: GlowConfig) -> None:
    assert_agrees(config, "float64", folded=False)


def test_reference_inverts_itself() -> None:
    """The reference is not wrong in one direction only."""
    config = CHOSEN[4]
    found = theirs(config, "float64")
    images = inputs(config, "float64")[0]
    assert_close(found["back"], reference.preprocess(images, config.n_bits), 1e-12)


def test_flatten_orders_as_openai_does(tiny: GlowConfig) -> None:
    model, eps = glow(tiny), inputs(tiny, "float32")[2]
    vector = flatten(tuple(map(jnp.asarray, eps)))
    assert vector.shape == (2, tiny.n_dims)
    np.testing.assert_array_equal(vector, reference.flatten(eps))
    for got, want in zip(unflatten(vector, model), eps, strict=True):
        np.testing.assert_array_equal(got, want)


# -- at full depth


DEEP = GlowConfig(32, 32, n_levels=3, n_steps=32, hidden_width=32)
DEEP_MODELS = {
    "additive, dense": DEEP,
    "affine, lu": dataclasses.replace(DEEP, coupling="affine", permutation="lu"),
}


@functools.partial(jax.jit, static_argnums=0)
def there_and_back(graph: Any, state: Any, images: Any) -> dict[str, Any]:
    model = nnx.merge(graph, state)
    eps = model.encode(images)
    x = pixels.centred(images, 8, model.dtype)
    return {"x": x, "eps": eps, "back": model.decode_x(eps), "images": model.decode(eps)}


@functools.cache
def deep_weights(name: str) -> Any:
    """Perturbed, with actnorms that data initialised, as a trained model's are."""
    model = glow(DEEP_MODELS[name])
    model.initialise(random_x(DEEP, jnp.float32, n=16))
    return jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(model)))


@pytest.mark.parametrize(
    "name", [pytest.param("additive, dense", marks=pytest.mark.slow), "affine, lu"]
)
def test_round_trip_at_full_depth(name: str, precision: Precision) -> None:
    model = glow(DEEP_MODELS[name], precision.dtype)
    state = nnx.state(model)
    nnx.replace_by_pure_dict(
        state,
        jax.tree.map(
            lambda old, new: new.astype(old.dtype), nnx.to_pure_dict(state), deep_weights(name)
        ),
    )
    nnx.update(model, state)
    images = random_images(DEEP, n=3)
    forms = [model, model.fold()] if precision.dtype == "float32" else [model]
    for form in forms:
        found = there_and_back(*nnx.split(form), images)
        error = float(abs(found["back"] - found["x"]).max())
        assert error <= precision.tolerance, error
        np.testing.assert_array_equal(found["images"], images)
        assert all(0.3 < a.std() < 3 for a in found["eps"])


# -- bytes


def every_byte(config: GlowConfig) -> np.ndarray:
    """Images in which all 256 values occur, shuffled."""
    values = np.resize(np.arange(256, dtype=np.uint8), (4, *config.image_shape))
    return np.random.default_rng(0).permuted(values, axis=None)


def test_bytes_survive(tiny: GlowConfig) -> None:
    """All 8 bits, though the model was trained at 5; and at 5, to OpenAI's bin floors."""
    assert tiny.n_bits == 5
    graph, state = nnx.split(glow(tiny).fold())
    images = every_byte(tiny)
    assert len(np.unique(images)) == 256

    @jax.jit
    def back(state: Any, images: Any) -> Any:
        model = nnx.merge(graph, state)
        at_5_bits = model.decode(model.encode(images, n_bits=5), n_bits=5)
        return model.decode(model.encode(images)), at_5_bits

    at_8_bits, at_5_bits = back(state, images)
    np.testing.assert_array_equal(at_8_bits, images)
    np.testing.assert_array_equal(at_5_bits, images // 8 * 8)


def test_bytes_agree_with_openais_postprocess() -> None:
    x = np.linspace(-0.7, 0.7, 4001, dtype=np.float32).reshape(1, 1, 4001, 1)
    for n_bits in range(1, 9):
        want = reference.postprocess(x.astype(np.float64), n_bits)
        got = np.asarray(pixels.to_uint8(jnp.asarray(x), n_bits))
        assert (got == want).mean() > 0.999  # not where float32 and a bin's edge disagree
    assert pixels.to_uint8(jnp.full((1, 1, 1, 1), 0.5), 5) == 255
    grey = pixels.to_uint8(jnp.array([np.nan, np.inf, -np.inf]).reshape(1, 1, 3, 1))
    np.testing.assert_array_equal(grey, 127)


def test_dequantisation_stays_inside_the_bin(tiny: GlowConfig) -> None:
    images, key = every_byte(tiny), jax.random.key(3)
    graph, state = nnx.split(glow(tiny))

    @jax.jit
    def found(state: Any, key: Any, images: Any) -> Any:
        model = nnx.merge(graph, state)
        x = pixels.dequantised(key, images, 5)
        return x, model.log_prob(x), model.bits_per_dim(images, key=key)

    x, log_prob, bits_per_dim = map(np.asarray, found(state, key, images))
    np.testing.assert_array_equal(np.floor((x.astype(np.float64) + 0.5) * 32), images // 8)
    np.testing.assert_allclose(bits_per_dim, 5 - log_prob / (np.log(2) * tiny.n_dims), rtol=1e-6)


# -- samples


def test_samples(tiny: GlowConfig) -> None:
    model = glow(tiny)
    cold = model.sample(jax.random.key(0), 3, 0.0)
    assert cold.shape == (3, *tiny.image_shape)
    assert cold.dtype == jnp.uint8
    np.testing.assert_array_equal(cold, model.sample(jax.random.key(1), 3, 0.0))
    np.testing.assert_array_equal(cold[1:], cold[:-1])
    warm = [model.sample(jax.random.key(k), 3, 1.0) for k in (0, 0, 1)]
    np.testing.assert_array_equal(warm[0], warm[1])
    assert (warm[0] != warm[2]).mean() > 0.1
    assert (warm[0][0] != warm[0][1]).mean() > 0.1
    zeros = tuple(jnp.zeros((3, *shape)) for shape in tiny.latent_shapes)
    np.testing.assert_array_equal(cold, model.decode(zeros))


def test_samples_of_a_class() -> None:
    config = GlowConfig(4, 4, 1, 1, 4, n_classes=2, learned_top_prior=False)
    model = glow(config, scale=1.0)
    cold = model.sample(jax.random.key(0), 2, 0.0, jnp.array([0, 1]))
    assert (cold[0] != cold[1]).any()


# -- under JAX's transformations


def walks(graph: Any, state: Any, x: jax.Array) -> tuple[Any, ...]:
    model = nnx.merge(graph, state)
    eps = model.encode_x(x)
    return eps, model.decode_x(jax.tree.map(jnp.sin, eps))


def test_transformations_change_nothing(tiny: GlowConfig) -> None:
    with jax.enable_x64(True):
        graph, state = nnx.split(glow(tiny, jnp.float64))
        x = jnp.stack([random_x(tiny, jnp.float64, seed=seed) for seed in range(2)])
        plain = [walks(graph, state, batch) for batch in x]
        jitted = jax.jit(walks, static_argnums=0)(graph, state, x[0])
        assert_close(jitted, plain[0], 1e-12)
        batched = jax.jit(jax.vmap(functools.partial(walks, graph, state)))(x)
        assert_close(batched, jax.tree.map(lambda *a: np.stack(a), *plain), 1e-12)
        assert all(np.isfinite(a).all() for a in jax.tree.leaves(batched))


def test_gradients_are_slopes(tiny: GlowConfig) -> None:
    """Of weights and pixels, through encode, decode and likelihood, along a random line."""
    with jax.enable_x64(True):
        graph, params, fixed = nnx.split(glow(tiny, jnp.float64), nnx.Param, ...)
        at = (params, random_x(tiny, jnp.float64))
        rng = np.random.default_rng(0)
        line = jax.tree.map(lambda a: jnp.asarray(rng.standard_normal(a.shape)), at)

        @jax.jit
        @jax.value_and_grad
        def slope(at: Any) -> jax.Array:
            model = nnx.merge(graph, at[0], fixed)
            back = model.decode_x(jax.tree.map(jnp.sin, model.encode_x(at[1])))
            return jnp.cos(back).sum() + jnp.cos(model.log_prob(at[1])).sum()

        gradient = slope(at)[1]
        leaves = list(map(np.asarray, jax.tree.leaves(gradient)))
        assert all(np.isfinite(a).all() and a.any() for a in leaves)
        along = sum(np.vdot(g, d) for g, d in zip(leaves, jax.tree.leaves(line), strict=True))
        h = 1e-6
        ends = [slope(jax.tree.map(lambda a, d, s=s: a + s * d, at, line))[0] for s in (h, -h)]
        np.testing.assert_allclose(along, (ends[0] - ends[1]) / (2 * h), rtol=1e-5)


@pytest.mark.slow
def test_checkpointed_couplings_have_equal_gradients(tiny: GlowConfig) -> None:
    x = random_x(tiny, jnp.float32)

    def gradient(checkpoint: bool) -> Any:
        config = dataclasses.replace(tiny, checkpoint_coupling=checkpoint)
        graph, params, fixed = nnx.split(glow(config), nnx.Param, ...)

        def loss(params: Any, x: jax.Array) -> jax.Array:
            return nnx.merge(graph, params, fixed).log_prob(x).mean()

        found = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, x)
        return nnx.to_pure_dict(found[0]), found[1]

    assert_close(gradient(True), gradient(False), 1e-5)


@pytest.mark.parametrize("checkpoint", [False, True], ids=["kept", "recomputed"])
def test_strips_change_nothing(checkpoint: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    config = GlowConfig(8, 8, 1, 1, 7, coupling="affine", checkpoint_coupling=checkpoint)
    n_pixels, width = 2 * 4 * 6, config.hidden_width
    layer = with_weights(lambda: Coupling(config, 6, rngs=nnx.Rngs(0), dtype=jnp.dtype("float32")))
    graph, state = nnx.split(layer)
    h = np.random.default_rng(0).standard_normal((2, 4, 6, 6)).astype(np.float32)

    def found(strips: int) -> Any:
        monkeypatch.setattr(coupling_network, "STRIP_ELEMENTS", n_pixels // strips * width)
        assert coupling_network._strips(2, n_pixels // 2, width, None) == strips

        def loss(state: Any, h: jax.Array) -> Any:  # anew: a traced one remembers its strips
            out, logdet = nnx.merge(graph, state).forward(h)
            return jnp.sum(jnp.sin(out)) + logdet.sum(), out

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(
            state, jnp.asarray(h)
        )

    for strips in (8, n_pixels):
        assert_close(found(strips), found(1), 1e-5)


def test_fast_is_close(tiny: GlowConfig) -> None:
    model, x = glow(tiny), random_x(tiny, jnp.float32)
    exact, fast = model.fold(), model.fold("fast")
    eps = exact.encode_x(x)
    fast_eps = fast.encode_x(x)
    assert_close(fast_eps, eps, 0.03)
    assert any((a != b).any() for a, b in zip(fast_eps, eps, strict=True))
    assert fast_eps[0].dtype == jnp.float32
    assert_close(fast.decode_x(fast_eps), x, 0.03)


def test_folding_leaves_the_model_as_it_was() -> None:
    config = GlowConfig(4, 4, n_levels=1, n_steps=4, hidden_width=4, coupling="affine")
    model = glow(config)
    before = jax.tree.map(np.array, nnx.to_pure_dict(nnx.state(model)))
    folded = model.fold(unroll=2)
    jax.tree.map(np.testing.assert_array_equal, before, nnx.to_pure_dict(nnx.state(model)))
    assert not model.folded
    assert folded.folded
    x = random_x(config, jnp.float32)
    assert_close(folded.forward(x), model.fold().forward(x), 1e-6)


@pytest.mark.parametrize("folded", [False, True])
def test_a_model_of_another_size_has_the_same_weights(tiny: GlowConfig, folded: bool) -> None:
    model = glow(tiny).fold() if folded else glow(tiny)
    wider = dataclasses.replace(tiny, image_height=2 * tiny.image_height)
    found = model.at_size(wider.image_height, wider.image_width)
    like = glow(wider, seed=1)  # other weights, which are replaced
    nnx.update(like, nnx.state(glow(tiny)))
    images = random_images(wider)
    for got, want in zip(found.encode(images), like.encode(images), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-4)
    np.testing.assert_allclose(found.bits_per_dim(images), like.bits_per_dim(images), atol=1e-4)
    np.testing.assert_array_equal(found.decode(found.encode(images)), images)
    assert model.config == tiny
    assert np.isfinite(model.bits_per_dim(random_images(tiny))).all()  # of the size that it had


def test_a_model_of_another_size_fits_its_levels_and_prior(tiny: GlowConfig) -> None:
    with pytest.raises(ValueError, match="image_height"):
        glow(tiny).at_size(tiny.image_height + 1, tiny.image_width)
    fixed = glow(dataclasses.replace(tiny, prior="position"))
    with pytest.raises(ValueError, match="prior of kind 'position'"):
        fixed.at_size(2 * tiny.image_height, tiny.image_width)


def test_initialisation_normalises_every_actnorm(tiny: GlowConfig) -> None:
    """In order and in one pass, checked on the reference's walk through the initialised model."""
    with jax.enable_x64(True):
        model = glow(tiny, jnp.float64)
        x = random_x(tiny, jnp.float64, n=16)
        model.initialise(x)
        weights = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(model)))
    walk, h = reference.Reference(tiny, weights), np.asarray(x)
    for level in range(tiny.n_levels):
        h = reference.squeeze(h)
        for step in range(tiny.n_steps):
            p = walk._of_step(level, step)
            normal = reference.actnorm(h, p["norm"])
            network = p["coupling"]["network"]
            x1 = np.split(normal @ walk._matrix(p["inv_conv"]), 2, axis=-1)[0]
            first = reference.actnorm(
                reference.conv3x3(x1, network["in_kernel"]), network["in_norm"]
            )
            second = np.maximum(first, 0) @ network["hidden_kernel"]
            second = reference.actnorm(second, network["hidden_norm"])
            for a in (normal, first, second):
                np.testing.assert_allclose(a.mean((0, 1, 2)), 0, atol=1e-4)
                np.testing.assert_allclose(a.std((0, 1, 2)), 1, atol=1e-4)
            h = walk._step(h, level, step)[0]
        h = np.split(h, 2, axis=-1)[0]


def test_a_new_model_is_a_rotation_until_perturbed() -> None:
    config = GlowConfig(4, 4, n_levels=1, n_steps=2, hidden_width=4, coupling="affine")
    model = Glow(config, rngs=nnx.Rngs(0))
    x = random_x(config, jnp.float32)
    (z,), logdet = model.forward(x)
    shrink = 1 / (1 + np.exp(-2.0))  # half the channels, by a coupling whose network says 0
    np.testing.assert_allclose(logdet, 2 * (config.n_dims // 2) * np.log(shrink), rtol=1e-5)
    lengths = [np.linalg.norm(np.asarray(a).reshape(2, -1), axis=1) for a in (z, x)]
    assert (shrink**2 < lengths[0] / lengths[1]).all()
    assert (lengths[0] < lengths[1]).all()
    noisy = perturbed(model, jax.random.key(0))
    params = [jax.tree.leaves(nnx.state(m, nnx.Param)) for m in (model, noisy)]
    assert all((a != b).all() for a, b in zip(*params, strict=True))
    assert (noisy.forward(x)[0][0] != z).any()


# -- wrong arguments


def latents_of(config: GlowConfig) -> tuple[jax.Array, ...]:
    return tuple(jnp.zeros((2, *shape)) for shape in config.latent_shapes)


WRONG = {
    "x of another size": (
        lambda m: m.forward(jnp.zeros((2, 8, 4, 3))),
        "x has shape (2, 8, 4, 3); the model takes (B, 8, 8, 3)",
    ),
    "x that is bytes": (
        lambda m: m.log_prob(jnp.zeros((2, 8, 8, 3), jnp.uint8)),
        "x is uint8; it must be floating-point, in [-0.5, 0.5)",
    ),
    "an image without a batch": (
        lambda m: m.encode(np.zeros((8, 8, 3), np.uint8)),
        "images are uint8 of shape (8, 8, 3); need uint8 (B, H, W, C)",
    ),
    "images that are not bytes": (
        lambda m: m.encode(np.zeros((1, 8, 8, 3), np.float32)),
        "images are float32 of shape (1, 8, 8, 3); need uint8 (B, H, W, C)",
    ),
    "bits/dim of other images": (
        lambda m: m.bits_per_dim(np.zeros((1, 8, 8, 3), np.int32)),
        "images are int32",
    ),
    "images of another size": (
        lambda m: m.encode(np.zeros((1, 16, 8, 3), np.uint8)),
        "x has shape (1, 16, 8, 3); the model takes (B, 8, 8, 3)",
    ),
    "a missing level": (
        lambda m: m.decode(latents_of(m.config)[1:]),
        "latents have shapes ((2, 2, 24),); the model's are ((4, 4, 6), (2, 2, 24))",
    ),
    "levels in the wrong order": (
        lambda m: m.inverse(latents_of(m.config)[::-1]),
        "latents have shapes ((2, 2, 24), (4, 4, 6)); the model's are ((4, 4, 6), (2, 2, 24))",
    ),
    "a label where there are no classes": (
        lambda m: m.encode(random_images(m.config), jnp.array([0, 1])),
        "the model has no classes, but a label is given",
    ),
    "too many bits": (
        lambda m: m.encode(random_images(m.config), n_bits=9),
        "n_bits is 9; use a whole number from 1 to 8",
    ),
    "no bits": (
        lambda m: m.decode(latents_of(m.config), n_bits=0),
        "n_bits is 0; use a whole number from 1 to 8",
    ),
    "a vector of another length": (
        lambda m: unflatten(jnp.zeros((2, 7)), m),
        "vector has shape (2, 7); need (B, 192)",
    ),
    "folding twice": (lambda m: m.fold().fold(), "the model is already folded"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_named(name: str, tiny: GlowConfig, unchecked: None) -> None:
    call, message = WRONG[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        call(glow(tiny))


def test_wrong_labels_are_named(unchecked: None) -> None:
    config = GlowConfig(4, 4, 1, 1, 4, n_classes=2)
    model, images = glow(config), random_images(config)
    with pytest.raises(ValueError, match="the model has 2 classes, but no label is given"):
        model.encode(images)
    for label in (jnp.array([0.0, 1.0]), jnp.array([1]), jnp.array([[0, 1]])):
        with pytest.raises(ValueError, match=r"label is .* need whole numbers of shape \(2,\)"):
            model.encode(images, label)


def test_bytes_on_the_host_are_those_of_the_device() -> None:
    x = np.linspace(-0.7, 0.7, 5000, dtype=np.float32).reshape(1, 50, 100, 1)
    x[0, 0, :5, 0] = [np.nan, np.inf, -np.inf, 3e38, -3e38]
    expected = np.asarray(pixels.to_uint8(jnp.asarray(x)))
    np.testing.assert_array_equal(pixels.to_uint8_on_host(x), expected)
    assert list(expected[0, 0, :5, 0]) == [127] * 5


def test_latents_are_drawn_as_arrays_of_their_shapes() -> None:
    key, shapes = jax.random.key(3), ((2, 3, 4), (1, 2, 5))
    drawn = draw_eps(key, shapes, 2, 0.5)
    for k, shape, eps in zip(jax.random.split(key, 2), shapes, drawn, strict=True):
        np.testing.assert_array_equal(eps, 0.5 * jax.random.normal(k, (2, *shape)))


@pytest.mark.parametrize(("n", "start"), [(3, 0), (2, 64)])
def test_the_verb_sample_draws_the_numbers_of_draw_eps(n: int, start: int) -> None:
    key, shapes = jax.random.key(5), ((4, 6, 6), (2, 3, 24))
    key = jax.random.fold_in(key, start) if start else key
    drawn = jax.jit(draw_eps, static_argnums=(1, 2))(key, shapes, n, np.float32(0.7))
    for eps, same in zip(drawn, _draw_eps(5, start, shapes, n, 0.7), strict=True):
        np.testing.assert_array_equal(eps, same)
