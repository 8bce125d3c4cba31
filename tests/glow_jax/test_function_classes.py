"""Laws of the function classes that only converted checkpoints use (`GlowConfig`, scale to logit).

Their values are tested against the codes that they come from, in test_convert*.py.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from glow_jax.config import GlowConfig
from glow_jax.io.errors import InputError
from tests.support.models import glow, random_x

CLASSES: dict[str, dict[str, Any]] = {
    "glowip": {
        "coupling": "affine",
        "scale": "sigmoid_plus",
        "scale_first": True,
        "conditioning": "second",
        "n_steps": (2, 1),
    },
    "chrischute": {
        "coupling": "affine",
        "scale": "exp_tanh",
        "conditioning": "second",
        "input_norm": True,
        "logit_alpha": 0.05,
    },
    "checkerboard, inverse sigmoid, classes": {
        "coupling": "affine",
        "scale": "inverse_sigmoid",
        "conditioning": "odd",
        "prior": "position",
        "n_classes": 3,
        "leaky_slope": 0.1,
    },
    "checkerboard, additive": {"conditioning": "even", "prior": "position"},
    "exp, lu": {"coupling": "affine", "scale": "exp", "permutation": "lu"},
    "a level of details": {"n_levels": 3, "n_detail_levels": 1, "coupling": "affine"},
    "two levels of details": {"n_levels": 3, "n_detail_levels": 2, "n_channels": 1},
}


def config(name: str) -> GlowConfig:
    fields = {"n_levels": 2, "n_steps": 2, "hidden_width": 8, **CLASSES[name]}
    return GlowConfig(8, 8, **fields)


@jax.jit
def _slogdet(matrix: jax.Array) -> jax.Array:
    return jnp.linalg.slogdet(matrix)[1]


SLOW = ("checkerboard, additive", "exp, lu", "two levels of details")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in CLASSES]
)
def test_laws(name: str) -> None:
    """Round trips, z and eps, folded and not; and logdet is the Jacobian's, all in float64."""
    with jax.enable_x64(True):
        model = glow(config(name), jnp.float64)
        x = 0.9 * random_x(model.config, jnp.float64)
        label = jnp.asarray([0, 2]) if model.config.n_classes else None
        graph, state = nnx.split(model)

        def z_of(x: jax.Array) -> jax.Array:
            z, _ = nnx.merge(graph, state).forward(x.reshape(1, *model.config.image_shape))
            return jnp.concatenate([a.reshape(-1) for a in z])

        z, logdet = model.forward(x)
        back, back_logdet = model.inverse(z)
        eps = model.encode_x(x, label)
        jacobian = jax.vmap(jax.jacfwd(z_of))(x.reshape(2, -1))
        folded = model.fold()
        pairs = [
            (back, x),
            (back_logdet, -logdet),
            (model.decode_x(eps, label), x),
            (folded.decode_x(eps, label), x),
            *zip(model.z_from_eps(eps, label), z, strict=True),
            *zip(model.eps_from_z(z, label), eps, strict=True),
            *zip(folded.encode_x(x, label), eps, strict=True),
            (folded.log_prob(x, label), model.log_prob(x, label)),
            (logdet, _slogdet(jacobian)),
        ]
        for got, want in pairs:
            scale = max(1.0, float(np.abs(want).max()))
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-10 * scale)


@pytest.mark.parametrize("name", CLASSES)
def test_initialisation_reaches_every_class(name: str) -> None:
    """After it, the first actnorm's output has mean 0 and deviation 1 a channel."""
    from glow_jax.layers import squeeze

    model = glow(config(name))
    x = 0.9 * random_x(model.config, jnp.float32, n=4)
    model.initialise(x)
    step = jax.tree.map(lambda a: a[0], nnx.state(model.levels[0].steps.norm))
    h = np.asarray(squeeze(model._enter(x)[0]))
    h = (h + np.asarray(step["bias"][...])) * np.exp(3 * np.asarray(step["logs"][...]))
    np.testing.assert_allclose(h.mean((0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(h.std((0, 1, 2)), 1, atol=1e-3)


def test_attributes_condition_like_classes() -> None:
    """A row of attributes shifts the top prior; a one-hot row is its class."""
    model = glow(GlowConfig(8, 8, n_levels=2, n_steps=1, hidden_width=4, n_classes=3))
    x = random_x(model.config, jnp.float32)
    by_class = model.log_prob(x, jnp.asarray([2, 0]))
    by_row = model.log_prob(x, jnp.asarray([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]))
    np.testing.assert_array_equal(by_class, by_row)
    several = model.log_prob(x, jnp.asarray([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]))
    assert (several != by_class).all()


WRONG = {
    "levels and steps": ({"n_steps": (2, 2, 1)}, "2 of them, one a level"),
    "no step": ({"n_steps": (2, 0)}, "n_steps is"),
    "scale": ({"scale": "tanh"}, "use one of sigmoid"),
    "conditioning": ({"conditioning": "both"}, "use one of first"),
    "slope": ({"leaky_slope": -1}, "leaky_slope is -1"),
    "logit": ({"logit_alpha": 0.5}, "logit_alpha is 0.5"),
    "details": ({"n_detail_levels": 2}, "n_detail_levels is 2"),
    "checkerboard of an odd width": (
        {"conditioning": "odd", "image_width": 12},
        "needs one divisible by 2 ** (n_levels + 1) = 8",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_fields_are_named(name: str, unchecked: None) -> None:
    fields, message = WRONG[name]
    with pytest.raises(InputError, match="config") as error:
        GlowConfig(
            **(
                {
                    "image_height": 8,
                    "image_width": 8,
                    "n_levels": 2,
                    "n_steps": 2,
                    "hidden_width": 8,
                }
                | fields
            )
        )
    assert message in str(error.value)


def test_equal_steps_are_one_number_and_json_gives_them_back() -> None:
    equal = GlowConfig(8, 8, n_levels=2, n_steps=(3, 3), hidden_width=8)
    assert equal.n_steps == 3
    assert equal.steps == (3, 3)
    import json

    config = GlowConfig(8, 8, n_levels=2, n_steps=(3, 1), hidden_width=8)
    assert GlowConfig.from_mapping(json.loads(config.to_json())) == config
