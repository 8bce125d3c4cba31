"""Alpha from a trust region of the flow."""

import numpy as np
import pytest

from glow_jax.io.errors import InputError
from tests.support.expressions import painting_models, portraits, random_expressions
from transfer.expression.model import MAX_ACTIVATION, ExpressionModel
from transfer.expression.paint import with_expression
from transfer.methods import trust_region
from transfer.methods.base import Decoded, Models
from transfer.methods.trust_region import AUTO_ALPHAS, largest_alphas
from transfer.methods.warp import max_alphas_of

ACTIVATIONS = np.array([[0.6, -0.3, 0.2], [0.1, 0.9, 0.4]], np.float32)


@pytest.fixture(scope="module")
def model() -> ExpressionModel:
    return random_expressions()


@pytest.fixture(scope="module")
def bases() -> np.ndarray:
    return portraits(2)


def chosen(
    models: Models,
    bases: np.ndarray,
    activations: np.ndarray,
    max_alphas: np.ndarray | None = None,
) -> np.ndarray:
    """Alphas of pictures with activations on them."""
    model = models.expression_model
    assert model is not None
    most = np.full(len(bases), np.inf) if max_alphas is None else max_alphas

    def edit(alphas: np.ndarray) -> Decoded:
        values = with_expression(model, bases, activations * alphas[:, None])
        return Decoded(values, np.ones(len(values)), np.zeros(len(values), int))

    return largest_alphas(edit, models.codec, bases, most)


@pytest.mark.parametrize("bound", ["MAX_BITS_LOST", "MAX_CLIPPED_SHARE"])
def test_a_wider_trust_region_never_lowers_alpha(
    model: ExpressionModel, bases: np.ndarray, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    models = painting_models(model, bits_per_dim=lambda x: x.astype(float).std((1, 2, 3)) / 10)
    monkeypatch.setattr(trust_region, "MAX_BITS_LOST", 1e9)
    monkeypatch.setattr(trust_region, "MAX_CLIPPED_SHARE", 1.0)
    activations = np.repeat(ACTIVATIONS[:1], 2, 0) * np.array([[1], [4]], np.float32)
    found = []
    for width in (-1e9, 0.0, 0.01, 0.05, 0.3, 1e9):
        monkeypatch.setattr(trust_region, bound, width)
        found.append(chosen(models, bases, activations))
    assert (np.diff(found, axis=0) >= 0).all(), found
    assert (found[0] == min(AUTO_ALPHAS)).all()
    assert (found[-1] == max(AUTO_ALPHAS)).all()
    assert set(np.ravel(found)) <= set(AUTO_ALPHAS)


def test_each_picture_has_its_own_alpha(model: ExpressionModel, bases: np.ndarray) -> None:
    """One keeps its picture, whatever alpha; the other leaves the range at once."""

    def bits(images: np.ndarray) -> np.ndarray:
        return (np.abs(images.astype(float) - 128).max((1, 2, 3)) > 120).astype(float)

    models = painting_models(model, bits_per_dim=bits)
    activations = np.stack([0 * ACTIVATIONS[0], 500 * ACTIVATIONS[0]])
    assert chosen(models, bases, activations).tolist() == [1.5, 0.25]
    assert chosen(models, bases[::-1], activations[::-1]).tolist() == [0.25, 1.5]


def test_no_activation_grows_beyond_a_faces(model: ExpressionModel, bases: np.ndarray) -> None:
    models = painting_models(model, bits_per_dim=lambda images: np.zeros(len(images)))
    activations = np.array([[0.2, -1.0, 0.1], [0, 0, 0]], np.float32)
    most = max_alphas_of(activations)
    np.testing.assert_allclose(most[0], MAX_ACTIVATION)
    assert chosen(models, bases, activations, most).tolist() == [1, 1.5]
    assert chosen(models, bases, activations).tolist() == [1.5, 1.5]
    assert chosen(models, bases, 9 * activations, max_alphas_of(9 * activations)).tolist() == [
        0.25,
        1.5,
    ]
    nan = painting_models(model, bits_per_dim=lambda images: np.full(len(images), np.nan))
    with pytest.raises(InputError, match="has no likelihood"):
        chosen(nan, bases, activations)
