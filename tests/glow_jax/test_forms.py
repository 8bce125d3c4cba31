"""The forms of the coupling network are one function; each platform's is chosen in one place."""

from types import SimpleNamespace
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from glow_jax import coupling_network
from glow_jax.config import GlowConfig
from glow_jax.coupling_network import (
    Form,
    NetworkWeights,
    apply_network,
    form_for,
    laid_out,
)
from glow_jax.model import Glow
from glow_jax.products import Products

# "lanes" and "fused" have test files of their own.
FORMS = [form for form in get_args(Form) if form not in ("lanes", "fused")]


def random_weights(n_in: int, width: int, n_out: int) -> NetworkWeights:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> jax.Array:
        return jnp.asarray(rng.standard_normal(shape, np.float32) / np.sqrt(shape[0]))

    return NetworkWeights(
        in_kernel=normal(9 * (n_in + 1), width).reshape(3, 3, n_in + 1, width),
        in_bias=normal(width),
        hidden_kernel=normal(width, width),
        hidden_bias=normal(width),
        out_kernel=normal(width, 9 * n_out),
        ring=normal(9 * n_out),
        out_bias=normal(n_out),
    )


@pytest.mark.parametrize("leaky_slope", [0.0, 0.1])
@pytest.mark.parametrize("form", FORMS[1:])
def test_forms_agree(form: Form, leaky_slope: float) -> None:
    """Values and gradients, on pictures whose height is not their width, borders included."""
    weights = random_weights(3, 8, 4)
    h = jnp.asarray(np.random.default_rng(1).standard_normal((2, 4, 6, 3), np.float32))

    def found(form: Form) -> Any:
        def loss(h: jax.Array, weights: NetworkWeights) -> Any:
            out = apply_network(h, weights, "exact", leaky_slope, None, form)
            return jnp.sin(out).sum(), out

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(h, weights)

    for a, b in zip(jax.tree.leaves(found(form)), jax.tree.leaves(found("rows")), strict=True):
        assert float(jnp.abs(b).max()) > 0.1
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize("form", FORMS[1:])
def test_weights_are_laid_out_without_changing_a_bit(form: Form, precision: Products) -> None:
    """For a TPU; its convolutions round the factors of "fast" all the same."""
    weights = random_weights(3, 8, 4)
    h = jnp.asarray(np.random.default_rng(1).standard_normal((2, 4, 6, 3), np.float32))
    there = laid_out(weights, precision, "tpu")
    kinds = {str(a.dtype) for a in there if a is not None}
    assert kinds == ({"float32", "bfloat16"} if precision == "fast" else {"float32"})
    assert there.in_kernel.shape == (3, 3, 3, 8)  # without the edge indicator
    assert laid_out(weights, precision, "cpu") is weights
    expected = apply_network(h, weights, precision, form=form)
    np.testing.assert_array_equal(apply_network(h, there, precision, form=form), expected)
    assert float(jnp.abs(expected).max()) > 0.1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("precision", "bound"), [("high", 1e-5), ("fast", 0.05)])
def test_precisions_are_close(form: Form, precision: Products, bound: float) -> None:
    """A CPU computes "high" in float32; "fast" rounds, and gives float32 all the same."""
    weights = random_weights(3, 8, 4)
    h = jnp.asarray(np.random.default_rng(1).standard_normal((2, 4, 6, 3), np.float32))
    exact = apply_network(h, weights, form=form)
    other = apply_network(h, weights, precision, form=form)
    assert other.dtype == jnp.float32
    error = float(jnp.abs(other - exact).max())
    assert error < bound
    assert (error > 0) == (precision == "fast")


def test_old_tpus_have_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    for kind, form in {"TPU v3": "lanes", "TPU v4": "fused", "TPU v5 lite": "fused"}.items():
        monkeypatch.setattr(jax, "devices", lambda kind=kind: [SimpleNamespace(device_kind=kind)])
        assert form_for("tpu", 6, 512, 128 * 128, "fast") == form


def test_platform_changes_the_form_and_not_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both directions of a whole model and its likelihood; each form is a program of its own."""
    config = GlowConfig(8, 8, n_levels=2, n_steps=2, hidden_width=8, coupling="affine")
    model = Glow(config, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)
    state = jax.tree.map(
        lambda a: a + 0.05 * rng.standard_normal(a.shape, np.float32), nnx.state(model, nnx.Param)
    )
    nnx.update(model, state)
    x = jnp.asarray(rng.uniform(-0.5, 0.5, (2, 8, 8, 3)), jnp.float32)
    monkeypatch.setattr(coupling_network, "STRIP_ELEMENTS", 8 * 8)  # strips on a CPU
    here, there = (model.fold(platform=platform) for platform in ("cpu", "tpu"))
    programs = [
        str(jax.make_jaxpr(lambda x, m=m: m.forward(x))(x)).count("conv_general_dilated")
        for m in (here, there)
    ]
    wide = (6, 512, 128 * 128)
    assert form_for("cpu", *wide) == form_for("cuda", *wide) == "rows"
    assert form_for("tpu", *wide) == "lanes"
    assert form_for("tpu", *wide, "high") == form_for("tpu", *wide, "fast") == "fused"
    assert form_for("tpu", 6, 128, 32 * 32, "high") == "fused"
    assert form_for("tpu", 6, 128, 32 * 32) == form_for("tpu", 192, 512, 16) == "convolution"
    assert programs[0] == 0
    assert programs[1] > 0
    eps = here.encode_x(x)
    pairs = [
        (there.encode_x(x), eps),
        (there.decode_x(eps), here.decode_x(eps)),
        (there.log_prob(x), here.log_prob(x)),
    ]
    for a, b in zip(
        jax.tree.leaves([p[0] for p in pairs]), jax.tree.leaves([p[1] for p in pairs]), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
