"""Activations estimated from pictures: which are neutral, and what an expression changes."""

import dataclasses

import numpy as np
import pytest

from tests.support.expressions import UNITS, portraits, random_expressions
from transfer.expression import estimate
from transfer.expression.absolute import Population
from transfer.expression.estimate import (
    Read,
    are_neutral,
    expression_activations,
    is_below_noise,
    most_neutral,
    read,
)
from transfer.expression.model import ExpressionModel


@pytest.fixture(scope="module")
def model() -> ExpressionModel:
    return random_expressions()


@pytest.mark.parametrize("n", [1, 3, 8])
def test_the_most_neutral_picture_is_one_of_the_neutral(model: ExpressionModel, n: int) -> None:
    images = portraits(n, seed=n)  # padded to 8, whatever there are
    neutral = are_neutral(read(model, images).raw)
    best = most_neutral(model, images)
    assert neutral.shape == (n,) and neutral.dtype == bool
    assert 0 <= best < n and neutral[best]


def test_neutral_is_what_is_near_the_most_neutral(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a person's own offset is, those with the least excess are neutral."""
    excess = np.array([0.0, 0.1, 0.9, 0.0, 0.5, 0.05, 0.0])
    raw = np.stack([excess, 0 * excess, 0 * excess], 1) + np.array([3.0, -2.0, 0.4])
    monkeypatch.setattr(estimate, "read", lambda model, images: Read(raw, np.zeros((7, 68, 2))))
    assert most_neutral(random_expressions(), portraits(7)) in (0, 3, 6)
    assert are_neutral(raw).tolist() == [True, True, False, True, False, True, True]


def test_a_picture_has_no_expression_against_itself(model: ExpressionModel) -> None:
    own = read(model, portraits(1))
    np.testing.assert_allclose(expression_activations(model, own, own), 0, atol=1e-5)
    others = read(model, portraits(7, seed=2))
    activations = expression_activations(model, own, others)
    assert activations.shape == (len(UNITS),) and np.abs(activations).max() <= 1.2 + 1e-6
    turned = expression_activations(model, own, Read(*(part[::-1] for part in others)))
    np.testing.assert_allclose(activations, turned, atol=1e-4)


def test_each_person_and_each_expression_is_estimated_once(model: ExpressionModel) -> None:
    asked: list[list[int]] = []
    images = portraits(5)

    class Faces:
        def usable(self, person: int) -> list[int]:
            return [[0, 1, 2], [3, 4]][person]

        def pixels(self, pictures: list[int]) -> np.ndarray:
            asked.append(list(pictures))
            return images[pictures]

        def detailed(self, pictures: list[int]) -> np.ndarray:
            raise AssertionError("only models that were adapted to photographs read details")

    people = estimate.PeopleActivations(model, Faces())
    first = people.expression(4, 0)
    assert people.expression(4, 0) is first and not first.absolute
    assert people.most_neutral(0) in (0, 1, 2) and people.most_neutral(1) in (3, 4)
    assert sorted(asked) == [[0, 1, 2], [3, 4], [4]]
    wanted = expression_activations(model, read(model, images[[4]]), read(model, images[:3]))
    np.testing.assert_array_equal(first.activations, wanted)


def test_what_is_below_the_noise_is_no_expression(model: ExpressionModel) -> None:
    """At the noise a difference is halved (`denoise`); the population has a noise of its own."""
    level = np.full(len(UNITS), 0.01, np.float32)
    assert is_below_noise(model, level / 2, absolute=False)
    assert not is_below_noise(model, level, absolute=False)
    rows = (0 * level, 2 + 0 * level, 10 * level, level)
    wider = dataclasses.replace(model, population=Population(*rows))
    assert is_below_noise(wider, 10 * level, absolute=True)
    assert not is_below_noise(wider, 10 * level, absolute=False)
