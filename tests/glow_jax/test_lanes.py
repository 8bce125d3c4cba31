"""The form with pixels in the lanes is the same flow: both directions, likelihood and gradients."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from glow_jax import flow_step, lanes
from glow_jax.config import GlowConfig
from glow_jax.model import Glow
from tests.support.forms import in_form, small_flow

VARIANTS: dict[str, dict[str, Any]] = {
    "additive": {"coupling": "additive"},
    "affine": {"coupling": "affine"},
    "tanh": {"coupling": "affine", "scale": "exp_tanh", "conditioning": "second"},
    "input norm": {"coupling": "affine", "input_norm": True, "leaky_slope": 0.1},
}


@pytest.mark.parametrize(
    "variant",
    [
        "affine",
        *(pytest.param(v, marks=pytest.mark.slow) for v in VARIANTS if v != "affine"),
    ],
)
def test_lanes_are_the_same_flow(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 6 images, in groups of 3 at the first level; each group is a program's loop."""
    model = small_flow(**VARIANTS[variant])
    x = jnp.asarray(np.random.default_rng(1).uniform(-0.5, 0.5, (6, 8, 16, 3)), jnp.float32)
    monkeypatch.setattr(lanes, "GROUP_BYTES", 4 * 3 * 4 * 8 * 8)
    monkeypatch.setattr(lanes, "LANES", 8)  # 8 at both levels

    found, expected = (in_form(monkeypatch, model, form, x) for form in ("lanes", "rows"))
    assert lanes.group_size(6, 4 * 8, 8, "exact") == 3
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert float(jnp.abs(b).max()) > 0.1
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(found[3], x, atol=1e-5)


def test_groups_divide_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "GROUP_BYTES", 4 * 5 * 100)

    def sizes(precision: Any, *batches: Any, n_pixels: int = 10) -> list[int]:
        return [lanes.group_size(batch, n_pixels, 10, precision) for batch in batches]

    assert sizes("high", 1, 4, 5, 7, 12) == [1, 4, 5, 1, 4]
    assert sizes("fast", 7, 12, 20) == [7, 6, 10]  # hidden layers of half the bytes
    assert sizes("exact", 8, n_pixels=1000) == [1]  # one image, even if it does not fit
    assert sizes("exact", *jax.export.symbolic_shape("b")) == [1]


@pytest.mark.parametrize(
    ("conditioning", "batch", "width", "form"),
    [
        ("first", 1, 64, "lanes"),
        ("first", 1, 32, "convolution"),  # a quarter of the lanes
        ("first", 2, 32, "lanes"),
        ("first", "b", 64, "lanes"),
        ("first", "b", 32, "convolution"),  # of a symbolic batch, one image at a time
        ("odd", 2, 64, "convolution"),  # half of each row conditions the other half
    ],
)
def test_lanes_need_filled_lanes_and_whole_rows(
    conditioning: Any, batch: Any, width: int, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_step, "form_for", lambda *_: "lanes")
    if batch == "b":
        (batch,) = jax.export.symbolic_shape("b")
    config = GlowConfig(8, 8, n_levels=1, n_steps=1, hidden_width=8, conditioning=conditioning)
    steps: Any = Glow(config, rngs=nnx.Rngs(0)).fold(platform="tpu").levels[0].steps
    assert steps.form(batch, width, width, 12) == form
