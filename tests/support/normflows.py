"""Outputs of normflows itself, and whether a converted checkpoint is the same function."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import glow_jax
from glow_jax.convert import Conversion, convert
from tests.support.paths import GOLDEN

TOLERANCES = {"float64": 1e-9, "float32": 1e-4}

Golden = Mapping[str, np.ndarray]
Latents = tuple[jax.Array, ...]


def load_golden(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / name) as file:
        return {key: file[key] for key in file.files}


def state_of(golden: Golden) -> dict[str, np.ndarray]:
    """The state_dict."""
    return {k.removeprefix("state/"): v for k, v in golden.items() if k.startswith("state/")}


def told(golden: Golden) -> dict[str, Any]:
    """What is in no array: image_size, settings, fields."""
    return json.loads(str(golden["settings"]))


def converted(golden: Golden, source: Path, out: Path) -> Conversion:
    """Convert with the answers that the golden knows, and look at the config."""
    about = told(golden)
    size = tuple(about["image_size"])
    made = convert(source, out, image_size=size, bits=8, settings=about["settings"])
    assert made.format == "normflows"
    config = json.loads(made.config.to_json())
    expected = about["fields"] | {"image_height": size[0], "image_width": size[1], "n_bits": 8}
    assert {name: config[name] for name in expected} == expected
    assert not made.notes  # nothing had to be assumed
    assert not made.check.warnings()
    return made


@functools.partial(jax.jit, static_argnums=0)
def outputs(graph: Any, state: Any, x: jax.Array, drawn: Latents, label: Any) -> tuple:
    """In one program: z and log p of x, and what `drawn` decode to."""
    model = nnx.merge(graph, state)
    return model.forward(x)[0], model.log_prob(x, label), model.inverse(drawn)[0]


def assert_same_function(golden: Golden, out: Path, dtype: str) -> None:
    """z, likelihood, images and labels are those of the original, relative to its largest."""
    with jax.enable_x64(dtype == "float64"):
        model = glow_jax.load(out, fold=False, dtype=jnp.dtype(dtype))
        x = jnp.asarray(golden["x"], dtype)
        label = jnp.asarray(golden["label"]) if "label" in golden else None
        levels = range(model.config.n_levels)
        drawn = tuple(jnp.asarray(golden[f"drawn_{i}"], dtype) for i in levels)
        z, log_prob, image = outputs(*nnx.split(model), x, drawn, label)
        pairs = [
            *((z[i], golden[f"z_{i}"]) for i in levels),
            (log_prob, golden["log_prob"]),
            (image, golden["image"]),
        ]
        for got, want in pairs:
            assert got.shape == want.shape
            assert got.dtype == dtype
            scale = max(1.0, float(np.abs(want).max()))
            np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCES[dtype] * scale)
