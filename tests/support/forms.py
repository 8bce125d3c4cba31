"""A small flow in any form of its coupling networks: both directions, likelihood and gradient."""

from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from glow_jax import flow_step
from glow_jax.config import GlowConfig
from glow_jax.model import Glow


def small_flow(**fields: Any) -> Glow:
    """A model of 8 x 16 pixels whose last convolutions are not zero."""
    model = Glow(
        GlowConfig(8, 16, n_levels=2, n_steps=2, hidden_width=8, **fields), rngs=nnx.Rngs(0)
    )
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda a: a + 0.05 * rng.standard_normal(a.shape, np.float32), nnx.state(model, nnx.Param)
    )
    nnx.update(model, params)
    return model


def folded(
    monkeypatch: pytest.MonkeyPatch, model: Glow, form: str, precision: Any = "exact"
) -> tuple[Any, Any]:
    """Graph and state of a model folded for a CPU if the form is "rows", else for a TPU."""
    monkeypatch.setattr(flow_step, "form_for", lambda *_: form)
    platform = "cpu" if form == "rows" else "tpu"
    split: tuple[Any, Any] = nnx.split(model.fold(precision, platform=platform))
    return split


def in_form(
    monkeypatch: pytest.MonkeyPatch, model: Glow, form: str, x: jax.Array, precision: Any = "exact"
) -> Any:
    """Latents of x, its log-likelihood and the gradient of that, and x decoded from its latents."""
    graph, state = folded(monkeypatch, model, form, precision)

    @jax.jit
    def run(state: Any, x: jax.Array) -> Any:
        flow = nnx.merge(graph, state)
        eps = flow.encode_x(x)
        slope = jax.grad(lambda x: flow.log_prob(x).sum())(x)
        return eps, flow.log_prob(x), slope, flow.decode_x(eps)

    return run(state, x)
