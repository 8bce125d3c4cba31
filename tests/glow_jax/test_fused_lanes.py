"""The kernel of the form "fused", in JAX's interpreter, is the reference, and the same flow."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from glow_jax import fused_lanes, lanes
from glow_jax.config import GlowConfig
from glow_jax.coupling_network import NetworkWeights
from glow_jax.model import Glow
from glow_jax.products import Products
from tests.support.forms import folded, in_form, small_flow


def one_network(n_in: int, n_out: int, hidden: int) -> lanes.LaneWeights:
    """Of random weights; with a leading axis of one step."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> jax.Array:
        return jnp.asarray(rng.standard_normal((1, *shape)) / 3, jnp.float32)

    return lanes.lane_weights(
        NetworkWeights(
            in_kernel=normal(3, 3, n_in + 1, hidden),
            in_bias=normal(hidden),
            hidden_kernel=normal(hidden, hidden),
            hidden_bias=normal(hidden),
            out_kernel=normal(hidden, 9 * n_out),
            ring=normal(9 * n_out),
            out_bias=normal(n_out),
        )
    )


@pytest.mark.parametrize(("precision", "tolerance"), [("fast", 1e-6), ("high", 1e-5)])
@pytest.mark.parametrize(
    ("n_images", "height", "width", "n_in", "n_out", "slope"),
    [
        pytest.param(8, 5, 48, 12, 24, 0.1, id="odd sizes, affine"),
        pytest.param(32, 2, 64, 6, 6, 0.0, id="additive, two blocks", marks=pytest.mark.slow),
        pytest.param(4, 1, 32, 3, 24, 0.0, id="one row", marks=pytest.mark.slow),
    ],
)
def test_the_kernel_is_the_reference(
    n_images: int,
    height: int,
    width: int,
    n_in: int,
    n_out: int,
    slope: float,
    precision: Products,
    tolerance: float,
) -> None:
    """Relative to the largest result; the reference has float32 products in "high" on a CPU."""
    weights = one_network(n_in, n_out, 40)
    if precision == "fast":
        kernels = ("in_kernel", "hidden_kernel", "out_kernel")
        weights = weights._replace(**{k: getattr(weights, k).astype("bfloat16") for k in kernels})
    fused, plain = (
        jax.tree.map(lambda a: a[0], tree) for tree in (fused_lanes.fused_weights(weights), weights)
    )
    borders = lanes.borders(height, width, n_images, plain.ring.shape[1], jnp.dtype("float32"))
    x = np.random.default_rng(1).standard_normal((height, n_in, n_images * width), np.float32)
    expected = lanes.apply_lanes(jnp.asarray(x), plain, borders, precision, slope)
    found = fused_lanes.run_kernel(jnp.asarray(x), fused, borders, slope, width, interpret=True)
    scale = float(jnp.abs(expected).max())
    assert scale > 1
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)
    # Away from a TPU the reference runs, from the kernel's weights.
    by_reference = fused_lanes.apply_fused(
        jnp.asarray(x), fused, borders, precision, slope, width=width
    )
    np.testing.assert_array_equal(by_reference, expected)


def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of 8 lanes, blocks of at most 16 (2 images of the first level), groups of 3 blocks."""
    monkeypatch.setattr(fused_lanes, "LANES", 8)
    monkeypatch.setattr(lanes, "LANES", 8)
    monkeypatch.setattr(fused_lanes, "MOST_LANES", 16)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields", [{"coupling": "additive"}, {"coupling": "affine", "conditioning": "second"}]
)
def test_the_kernel_gives_the_same_flow(
    fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 6 images, both directions, likelihood and gradient; the kernel is interpreted."""
    small_tiles(monkeypatch)
    kernel = functools.partial(fused_lanes.run_kernel, interpret=True)
    monkeypatch.setattr(fused_lanes, "run_kernel", kernel)
    ran = []

    def as_on_tpu(*inputs: Any, tpu: Callable[..., Any], default: Callable[..., Any]) -> Any:
        ran.append(inputs[0].shape)
        return tpu(*inputs)

    monkeypatch.setattr(jax.lax, "platform_dependent", as_on_tpu)
    x = jnp.asarray(np.random.default_rng(1).uniform(-0.5, 0.5, (6, 8, 16, 3)), jnp.float32)

    model = small_flow(**fields)
    found, expected = (in_form(monkeypatch, model, form, x, "high") for form in ("fused", "rows"))
    assert set(ran) == {(4, 6, 48), (2, 12, 24)}
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert float(jnp.abs(b).max()) > 0.1
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=5e-5)
    np.testing.assert_allclose(found[3], x, atol=2e-5)


def test_only_a_program_for_a_tpu_has_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with a symbolic batch, whose groups have one image."""
    monkeypatch.setattr(fused_lanes, "LANES", 8)
    monkeypatch.setattr(lanes, "LANES", 8)
    graph, state = folded(monkeypatch, small_flow(), "fused", "high")

    arrays, structure = jax.tree.flatten(state)

    def log_prob(arrays: list[Any], x: jax.Array) -> jax.Array:
        found: jax.Array = nnx.merge(graph, jax.tree.unflatten(structure, arrays)).log_prob(x)
        return found

    images = jax.ShapeDtypeStruct((*jax.export.symbolic_shape("b"), 8, 16, 3), jnp.float32)
    for platform in ("tpu", "cpu"):
        program = jax.export.export(jax.jit(log_prob), platforms=[platform])(arrays, images)
        assert ("tpu_custom_call" in program.mlir_module()) == (platform == "tpu")
        assert jax.export.deserialize(program.serialize()).platforms == (platform,)


def test_groups_fill_tiles_and_divide_the_batch() -> None:
    def sizes(height: int, width: int, *batches: Any) -> list[int]:
        return [fused_lanes.group_size(batch, height, width) for batch in batches]

    assert sizes(128, 128, 1, 7, 8, 12, 32) == [1, 7, 8, 6, 8]
    assert sizes(64, 64, 1, 2, 3, 12, 32) == [0, 2, 0, 12, 32]
    assert sizes(32, 32, 128, 6) == [128, 0]  # in blocks of 32
    assert sizes(48, 96, 4, 5) == [4, 0]
    assert sizes(256, 256, 8) == [2]  # so many pixels fit
    assert sizes(1024, 1024, 8) == sizes(4, 2048, 1) == [0]
    (symbolic,) = jax.export.symbolic_shape("b")
    assert sizes(128, 128, symbolic) == [1] and sizes(64, 64, symbolic) == [0]


@pytest.mark.parametrize(
    ("batch", "width", "hidden", "form"),
    [
        (2, 64, 256, "fused"),
        (3, 64, 256, "lanes"),
        (3, 64, 128, "convolution"),  # too narrow for lanes
        (1, 16, 256, "convolution"),
    ],
)
def test_other_forms_stand_in_where_groups_do_not_fill_tiles(
    batch: int, width: int, hidden: int, form: str
) -> None:
    config = GlowConfig(4, 4, n_levels=1, n_steps=1, hidden_width=hidden)
    steps: Any = Glow(config, rngs=nnx.Rngs(0)).fold("fast", platform="tpu").levels[0].steps
    assert steps.form(batch, 16, width, 12) == form
