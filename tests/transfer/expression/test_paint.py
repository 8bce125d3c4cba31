"""Pictures with an expression on them."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.expressions import SIDE, portraits, random_expressions
from transfer.expression import model as em
from transfer.expression.landmark_detector import detect_landmarks
from transfer.expression.model import ExpressionModel
from transfer.expression.paint import warped, with_expression

ACTIVATIONS = np.array([[0.6, -0.3, 0.2], [0.1, 0.9, 0.4]], np.float32)


@pytest.fixture(scope="module")
def model() -> ExpressionModel:
    return random_expressions()


@pytest.fixture(scope="module")
def bases() -> np.ndarray:
    return portraits(2)


def test_without_activations_the_pictures_come_back(
    model: ExpressionModel, bases: np.ndarray
) -> None:
    np.testing.assert_allclose(
        with_expression(model, bases, 0 * ACTIVATIONS), bases + 0.5, atol=1e-3
    )


def test_an_expression_is_a_warp_and_what_is_added(
    model: ExpressionModel, bases: np.ndarray
) -> None:
    both = with_expression(model, bases, ACTIVATIONS)
    moved = warped(model, bases, ACTIVATIONS) + 0.5
    assert np.abs(moved - bases).mean() > 1
    plain = dataclasses.replace(model, residual=0 * model.residual, mouth_mask=0 * model.mouth_mask)
    np.testing.assert_allclose(with_expression(plain, bases, ACTIVATIONS), moved, atol=1e-3)
    images, activations = jnp.asarray(bases), jnp.asarray(ACTIVATIONS)
    landmarks = detect_landmarks(model.landmark_detector, images)
    displacements = em.displace(model, activations, landmarks)
    change = em.residual_edit(model, images, landmarks, displacements, activations)
    change = em.from_mean_shape(model, change, landmarks + displacements, (SIDE, SIDE))
    wanted = em.apply_edit(change, jnp.asarray(moved - 0.5)) + 0.5
    np.testing.assert_allclose(both, wanted, atol=5e-2)
    assert np.abs(both - moved).mean() > 1


def test_a_picture_does_not_depend_on_its_neighbours(
    model: ExpressionModel, bases: np.ndarray
) -> None:
    both = with_expression(model, bases, ACTIVATIONS)
    turned = with_expression(model, bases[::-1], ACTIVATIONS[::-1])
    np.testing.assert_allclose(both, turned[::-1], atol=1e-2)


def test_nothing_given_is_changed(model: ExpressionModel, bases: np.ndarray) -> None:
    before, activations = bases.copy(), ACTIVATIONS.copy()
    with_expression(model, bases, activations)
    np.testing.assert_array_equal(bases, before)
    np.testing.assert_array_equal(activations, ACTIVATIONS)
