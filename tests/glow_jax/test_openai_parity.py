"""The core against openai/glow's own outputs (golden/README.md).

The original computed in float32: float64 here shows its rounding, float32 its and ours. Each
tolerance is three to ten times what is reached.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from glow_jax import pixels
from glow_jax.config import GlowConfig
from glow_jax.layers import squeeze
from glow_jax.model import Glow, flatten, unflatten
from glow_jax.prior import log_density
from tests.support.paths import GOLDEN

# conftest.py ignores it too, which `pytest -W error` overrides.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated by PEP 585")

NOISES = ("zero", "half", "rand")  # dequantisation noise: none, half a bin, noise_rand


class Case(NamedTuple):
    """A golden file and the model it was made with."""

    file: str
    config: GlowConfig


CASES = {
    "additive 5 bits": Case(
        "openai_add_invconv_5bit.npz", GlowConfig(32, 32, 3, 3, 16, coupling="additive", n_bits=5)
    ),
    "affine 8 bits": Case(
        "openai_aff_invconv_8bit.npz", GlowConfig(32, 32, 3, 3, 16, coupling="affine", n_bits=8)
    ),
    "initialisation": Case("openai_ddi.npz", GlowConfig(32, 32, 2, 2, 8, coupling="affine")),
}
PARITY_CASES = ("additive 5 bits", "affine 8 bits")

parity_case = pytest.mark.parametrize("case", PARITY_CASES)
variant = pytest.mark.parametrize(
    ("dtype", "form"),
    [
        ("float64", "unfolded"),
        ("float32", "folded"),
        pytest.param("float32", "unfolded", marks=pytest.mark.slow),
        pytest.param("float64", "folded", marks=pytest.mark.slow),
    ],
)


# -- OpenAI's names to ours

ZERO_CONV = {"kernel": "W", "bias": "b", "logs": "logs"}
ACTNORM = {"bias": "actnorm_center/b", "logs": "actnorm_scale/logs"}
STEP = {
    "norm": ACTNORM,
    "inv_conv": {"kernel": "invconv/W"},
    "coupling": {
        "network": {
            "in_kernel": "f1/l_1/W",
            "in_norm": {field: f"f1/l_1/{name}" for field, name in ACTNORM.items()},
            "hidden_kernel": "f1/l_2/W",
            "hidden_norm": {field: f"f1/l_2/{name}" for field, name in ACTNORM.items()},
            "out": {field: f"f1/l_last/{name}" for field, name in ZERO_CONV.items()},
        }
    },
}


def our_weight(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    """One variable of OpenAI's in our shape: vectors are (C,), a 1x1 kernel is a matrix."""
    value = arrays[name]
    if name == "model/prior/p/W":
        return value[:, :, -1:]  # a convolution of zeros: only the edge indicator is seen
    if name.endswith("l_2/W"):
        return value[0, 0]
    return value if name.endswith("/W") else value.reshape(-1)


def our_weights(arrays: dict[str, np.ndarray], config: GlowConfig) -> dict[str, Any]:
    """OpenAI's variables as the pure dict of a Glow's state; steps stacked on axis 0."""

    def at(prefix: str) -> Any:
        return lambda name: our_weight(arrays, f"{prefix}/{name}")

    def level(i: int) -> Any:
        steps = [jax.tree.map(at(f"model/{i}/{k}"), STEP) for k in range(config.n_steps)]
        return {"steps": jax.tree.map(lambda *values: np.stack(values), *steps)}

    splits = range(config.n_levels - 1)
    return {
        "levels": {i: level(i) for i in range(config.n_levels)},
        "splits": {i: {"conv": jax.tree.map(at(f"model/pool{i}/conv"), ZERO_CONV)} for i in splits},
        "top": {"conv": jax.tree.map(at("model/prior/p"), ZERO_CONV)},
    }


@functools.cache
def golden(case: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / CASES[case].file) as arrays:
        return dict(arrays)


def built(case: str, dtype: str, form: str = "unfolded") -> Glow:
    """The case's model with the original's weights."""
    config = CASES[case].config
    model: Any = nnx.eval_shape(lambda: Glow(config, rngs=nnx.Rngs(0), dtype=jnp.dtype(dtype)))
    weights = jax.tree.map(lambda a: jnp.asarray(a, dtype), our_weights(golden(case), config))
    state = nnx.state(model)
    ours = nnx.to_pure_dict(state)
    shapes = [jax.tree.map(lambda a: (a.shape, a.dtype), tree) for tree in (weights, ours)]
    assert shapes[0] == shapes[1]
    n_theirs = sum(a.size for name, a in golden(case).items() if name.startswith("model/"))
    assert sum(a.size for a in jax.tree.leaves(weights)) == n_theirs  # none is left out
    nnx.replace_by_pure_dict(state, weights)
    nnx.update(model, state)
    return model.fold() if form == "folded" else model


# -- what we compute, once a variant


def original_x(
    images: np.ndarray, noise: np.ndarray | float, n_bits: int, dtype: str
) -> np.ndarray:
    """The flow's input: openai/glow `model.py: preprocess` and the noise added after it."""
    x = np.floor(images.astype(dtype) / 2 ** (8 - n_bits)) / 2**n_bits - 0.5
    return x + np.asarray(noise, dtype)


def all_noises(case: str, dtype: str) -> np.ndarray:
    """The flow's input with each of NOISES, batched."""
    arrays, n_bits = golden(case), CASES[case].config.n_bits
    noises = (0.0, 0.5 / 2**n_bits, arrays["noise_rand"])
    return np.concatenate([original_x(arrays["x"], n, n_bits, dtype) for n in noises])


def bits(model: Glow, x: jax.Array) -> jax.Array:
    """The original's bits_x."""
    return model.config.n_bits - model.log_prob(x) / (math.log(2) * model.config.n_dims)


def step_by_step(model: Glow, h: jax.Array) -> tuple[list[jax.Array], jax.Array]:
    """Each level's h before its first step and after every one; and the objective there."""
    total = jnp.full(h.shape[:1], -model.config.n_bits * math.log(2) * model.config.n_dims, h.dtype)
    trace, objective = [], []
    for i, level in enumerate(model.levels):
        graph, steps = nnx.split(level.steps)

        def body(carry: Any, step: nnx.State, graph: Any = graph) -> tuple[Any, Any]:
            h, logdet = nnx.merge(graph, step).forward(carry[0])
            return (h, carry[1] + logdet), (h, carry[1] + logdet)

        start = squeeze(h), total
        (h, total), after = jax.lax.scan(body, start, steps)
        trace.append(jnp.concatenate([start[0][None], after[0]]))
        objective.append(jnp.concatenate([start[1][None], after[1]]))
        if i < len(model.splits):
            h, z2 = jnp.split(h, 2, axis=-1)
            total = total + log_density(z2, *model.splits[i].statistics(h))
    return trace, jnp.concatenate(objective)


@functools.partial(jax.jit, static_argnums=0)
def evaluated(graph: Any, state: Any, x: jax.Array, feps: jax.Array) -> dict[str, Any]:
    """Encode and score x, decode feps."""
    model = nnx.merge(graph, state)
    eps = unflatten(feps, model)
    return {
        "feps": flatten(model.encode_x(x)),
        "bits_x": bits(model, x),
        "dec_float": model.decode_x(eps),
        "dec_x": model.decode(eps, n_bits=model.config.n_bits),
    }


@functools.cache
def ours(case: str, dtype: str, form: str) -> dict[str, np.ndarray]:
    """`evaluated` of every noise's x, and of the original's feps for them and the random one."""
    given = np.concatenate([theirs(case, "feps"), golden(case)["random_feps"]])
    with jax.enable_x64(dtype == "float64"):
        x, feps = jnp.asarray(all_noises(case, dtype)), jnp.asarray(given, dtype)
        out = evaluated(*nnx.split(built(case, dtype, form)), x, feps)
        return jax.tree.map(np.asarray, out)


def theirs(case: str, name: str) -> np.ndarray:
    """The original's output for each of NOISES, batched as ours."""
    return np.concatenate([golden(case)[f"{noise}_{name}"] for noise in NOISES])


def assert_close(got: Any, want: Any, atol: float, rtol: float = 0.0) -> None:
    assert np.shape(got) == np.shape(want)
    np.testing.assert_allclose(
        np.asarray(got, np.float64), np.asarray(want, np.float64), atol=atol, rtol=rtol
    )


# -- the tests


@parity_case
@variant
def test_latents(case: str, dtype: str, form: str) -> None:
    """Standardised latents of every level, in the original's flattened order."""
    got, want = ours(case, dtype, form)["feps"], theirs(case, "feps")
    assert got.dtype == dtype
    assert_close(got, want, atol=3e-5, rtol=1e-5)


@parity_case
@variant
def test_bits_per_dim(case: str, dtype: str, form: str) -> None:
    assert_close(ours(case, dtype, form)["bits_x"], theirs(case, "bits_x"), atol=5e-6)


@parity_case
@variant
def test_decoded_floats(case: str, dtype: str, form: str) -> None:
    arrays, got = golden(case), np.split(ours(case, dtype, form)["dec_float"], 4)
    for noise, decoded in zip((*NOISES, "random"), got, strict=True):
        if noise != "half":  # the original's was not kept
            assert_close(decoded, arrays[f"{noise}_dec_float"], atol=1.5e-5)


@parity_case
@variant
def test_decoded_bytes(case: str, dtype: str, form: str) -> None:
    """Exact, but where the original's float is a rounding error away from a bin's edge."""
    arrays, got = golden(case), np.split(ours(case, dtype, form)["dec_x"], 4)
    n_bins = 2 ** CASES[case].config.n_bits
    np.testing.assert_array_equal(got[1], arrays["half_dec_x"])
    for noise, decoded in (("rand", got[2]), ("random", got[3])):
        position = (arrays[f"{noise}_dec_float"].astype(np.float64) + 0.5) * n_bins
        near_edge = np.abs(position - np.round(position)) < 1.5e-5 * n_bins
        differs = decoded != arrays[f"{noise}_dec_x"]
        assert not (differs & ~near_edge).any()
        assert differs.mean() < 1e-3


@parity_case
def test_every_step_and_back(case: str) -> None:
    """h after every step of flow, the log-likelihood so far there; then z to x."""

    @functools.partial(jax.jit, static_argnums=0)
    def there_and_back(graph: Any, state: Any, x: jax.Array) -> Any:
        model = nnx.merge(graph, state)
        z, logdet = model.forward(x)
        back, back_logdet = model.inverse(z)
        return step_by_step(model, x), (logdet, back_logdet), back

    arrays, config = golden(case), CASES[case].config
    x = original_x(arrays["x"], arrays["noise_rand"], config.n_bits, "float64")
    with jax.enable_x64(True):
        out = there_and_back(*nnx.split(built(case, "float64")), jnp.asarray(x))
        (trace, objective), (logdet, back_logdet), back = jax.tree.map(np.asarray, out)
    for i in range(config.n_levels):
        want = [arrays[f"trace_z_{i}_{k}"] for k in range(config.n_steps + 1)]
        assert_close(trace[i][:, 0], np.stack(want), atol=5e-6)
    assert_close(objective, arrays["trace_objective"], atol=0.0, rtol=1e-6)
    assert_close(back, x, atol=5e-14)
    assert_close(back_logdet, -logdet, atol=0.0, rtol=1e-14)


@parity_case
def test_quantisation(case: str) -> None:
    """Bytes of the original's floats, exactly; beyond the last bin is 255 at any n_bits."""
    arrays, n_bits = golden(case), CASES[case].config.n_bits
    decoded = arrays["random_dec_float"]
    assert (decoded >= 0.5).any()
    assert (decoded < -0.5).any()
    got = np.asarray(pixels.to_uint8(jnp.asarray(decoded), n_bits))
    np.testing.assert_array_equal(got, arrays["random_dec_x"])
    assert (got[decoded >= 0.5] == 255).all()
    half = original_x(arrays["x"], 0.5 / 2**n_bits, n_bits, "float32")
    np.testing.assert_array_equal(pixels.centred(jnp.asarray(arrays["x"]), n_bits), half)


def test_images() -> None:
    """Bytes to latents are the original's of half a bin of noise, and latents to bytes."""
    case = "affine 8 bits"
    arrays = golden(case)

    @functools.partial(jax.jit, static_argnums=0)
    def of_images(graph: Any, state: Any, images: jax.Array, feps: jax.Array) -> Any:
        model = nnx.merge(graph, state)
        encoded = flatten(model.encode(images))
        return encoded, model.bits_per_dim(images), model.decode(unflatten(feps, model))

    images, feps = jnp.asarray(arrays["x"]), jnp.asarray(arrays["half_feps"])
    got = of_images(*nnx.split(built(case, "float32")), images, feps)
    assert_close(got[0], arrays["half_feps"], atol=3e-5, rtol=1e-5)
    assert_close(got[1], arrays["half_bits_x"], atol=5e-6)
    np.testing.assert_array_equal(got[2], arrays["x"])


def test_data_dependent_initialisation() -> None:
    """From the original's variables before it and its batch, to its variables after it."""
    case = "initialisation"
    arrays, config = golden(case), CASES[case].config
    after = {name.removeprefix("ddi/"): a for name, a in arrays.items() if "ddi/" in name}
    want = our_weights(arrays | after, config)

    @functools.partial(jax.jit, static_argnums=0)
    def initialised(graph: Any, state: Any, x: jax.Array) -> tuple[nnx.State, jax.Array]:
        model = nnx.merge(graph, state)
        model.initialise(x)
        return nnx.state(model), bits(model, x)

    x = original_x(arrays["x"], arrays["noise"], config.n_bits, "float32")
    state, bits_x = initialised(*nnx.split(built(case, "float32")), jnp.asarray(x))
    got = nnx.to_pure_dict(state)
    pairs = zip(jax.tree.leaves_with_path(got), jax.tree.leaves(want), strict=True)
    for (path, value), wanted in pairs:
        if "norm" in jax.tree_util.keystr(path):
            assert_close(value, wanted, atol=5e-6)
        else:
            np.testing.assert_array_equal(value, wanted)
    assert_close(bits_x.mean(), arrays["init_stats"][1], atol=5e-6)
