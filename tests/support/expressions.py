"""Expressions without a fit: random numbers of the right shapes, and a flow they belong to."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.support.linear import linear_models
from transfer.expression import landmark_detector as lm
from transfer.expression.au_regressor import AuRegressor
from transfer.expression.features import N_FEATURES, make_template
from transfer.expression.mean_shape import mouth_mask_of
from transfer.expression.model import ExpressionModel
from transfer.methods.base import Models

SIDE = 64
UNITS = ("AU1", "AU12", "AU26")


def face() -> np.ndarray:
    """(68, 2) landmarks of a plain face, in sides of the picture."""
    from tests.support.fake_head import _places

    right, up = _places().T
    return np.stack([0.5 + right / 28, 0.45 - (up - 3.5) / 28], 1).astype(np.float32)


def random_expressions(
    seed: int = 0, units: tuple[str, ...] = UNITS, **changes: Any
) -> ExpressionModel:
    """Random numbers of the right shapes."""
    rng, n = np.random.default_rng(seed), len(units)

    def normal(scale: float, *shape: int) -> np.ndarray:
        return (scale * rng.normal(size=shape)).astype(np.float32)

    displacements = normal(0.05, n, 68, 2)
    model = ExpressionModel(
        aus=units,
        landmark_detector=jax.tree.map(
            np.asarray, lm.init(jax.random.key(seed), jnp.asarray(face()))
        ),
        template=make_template(face()[None].astype(np.float64)),
        au_regressor=random_regressor(seed, n),
        slope=np.ones(n, np.float32),
        noise=np.full(n, 0.01, np.float32),
        displacements=displacements,
        mean_shape=face() + normal(0.005, 68, 2),
        colour_statistics=np.array([[120, 110, 100], [30, 25, 20]], np.float32),
        mouth_mask=mouth_mask_of(face(), SIDE // 2),
        residual=normal(3.0, 2, 4 * n + 1, SIDE // 2, SIDE // 2, 3),
    )
    return dataclasses.replace(model, **changes)


def random_regressor(seed: int, n: int, width: int = 8) -> AuRegressor:
    """Of features to n activations."""
    rng = np.random.default_rng(seed)
    shapes = (N_FEATURES, n), (N_FEATURES, width), (width,), (width, n)
    return AuRegressor(*(rng.normal(0, 0.05, shape).astype(np.float32) for shape in shapes))


def painting_models(expression_model: ExpressionModel | None = None, **changes: Any) -> Models:
    """The stand-in flow of SIDE pixels, with an expression model."""
    model = random_expressions() if expression_model is None else expression_model
    return linear_models(model, size=(SIDE, SIDE), **changes)


def portraits(n: int, seed: int = 0) -> np.ndarray:
    """uint8 (n, SIDE, SIDE, 3): smooth random pictures."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(60, 190, (n, 8, 8, 3))
    return np.asarray(jax.image.resize(coarse, (n, SIDE, SIDE, 3), "linear")).astype(np.uint8)


def assert_nearly(got: ExpressionModel, want: ExpressionModel) -> None:
    """Equal, to the rounding of float16 where an array is large."""
    assert got.aus == want.aus and set(got.landmark_detector) == set(want.landmark_detector)
    for name in ("slope", "noise", "displacements", "template", "mean_shape", "colour_statistics"):
        np.testing.assert_array_equal(getattr(got, name), getattr(want, name))
    np.testing.assert_array_equal(got.au_regressor.bias, want.au_regressor.bias)
    names = ("linear", "hidden", "out")
    pairs = [(getattr(got.au_regressor, name), getattr(want.au_regressor, name)) for name in names]
    pairs += [(got.residual, want.residual), (got.mouth_mask, want.mouth_mask)]
    pairs += [(got.landmark_detector[k], want.landmark_detector[k]) for k in want.landmark_detector]
    for one, other in pairs:
        assert one.dtype == np.float32
        np.testing.assert_array_equal(one, np.asarray(other).astype(np.float16).astype("f4"))
