"""The reader of Action Units: its two halves, and what neither may see."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transfer.expression import au_regressor as module
from transfer.expression.au_regressor import fit_au_regressor, fit_linear, predict, ridge, within


def test_ridge_is_the_least_penalised_square() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)), rng.normal(size=(30, 2))

    def cost(w: np.ndarray) -> float:
        return float(((x @ w - y) ** 2).sum() + 0.7 * (w**2).sum())

    best = ridge(x, y, 0.7)
    assert all(cost(best) < cost(best + 0.01 * rng.normal(size=best.shape)) for _ in range(20))


@pytest.mark.parametrize("n", [300, 30])
def test_the_reader_is_the_same_in_either_space_and_forgets_who_it_is(n: int) -> None:
    """Few pictures are solved in the pictures' space, many in the features'."""
    rng = np.random.default_rng(0)
    people = rng.integers(0, 6, n)
    aus = rng.uniform(0, 1, (n, 2))
    mix, who = rng.normal(size=(2, 60)), rng.normal(0, 5, (6, 60))
    seen = aus @ mix + who[people]
    read = fit_linear(seen, aus, people, 1e-3)
    assert read.shape == (60, 2) and read.dtype == np.float32
    x, y = within(seen, people), within(aus, people)
    np.testing.assert_allclose(read, ridge(x, y, 1e-3), atol=1e-4)
    np.testing.assert_allclose(x @ read, y, atol=1e-2)


def test_within_takes_each_persons_mean_away() -> None:
    values = np.random.default_rng(0).normal(size=(20, 3))
    people = np.arange(20) % 4 * 100
    got = within(values, people)
    for who in set(people):
        np.testing.assert_allclose(got[people == who].mean(0), 0, atol=1e-12)
    assert (values != got).all()


def quadratic_world(n_people: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features that bend with activations, on an offset of each person's own."""
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(n_people), 4)
    aus = rng.uniform(0, 1, (len(people), 2))
    mix, who = rng.normal(size=(2, 40)), rng.normal(0, 3, (n_people, 40))
    seen = (aus**2) @ mix + who[people] + rng.normal(0, 0.1, (len(people), 40))
    return seen.astype(np.float32), aus, people


def test_both_halves_learn_differences_within_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HIDDEN_WIDTH", 32)
    seen, aus, people = quadratic_world()
    known = people < 50
    said: list[str] = []
    reader = fit_au_regressor(
        seen[known], aus[known], people[known], penalty=1.0, n_steps=500, progress=said.append
    )
    assert [part.dtype for part in reader] == [np.float32] * 4 and len(said) == 1
    assert reader.hidden.shape == (40, 32) and reader.out.shape == (32, 2)
    got = np.asarray(jax.jit(predict)(reader, jnp.asarray(seen[~known])))
    linear = seen[~known] @ reader.linear
    wanted, who = within(aus[~known], people[~known]), people[~known]
    for half in (got, linear, 2 * got - linear):
        assert np.corrcoef(within(half, who).ravel(), wanted.ravel())[0, 1] > 0.8


def test_the_same_seed_is_the_same_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HIDDEN_WIDTH", 8)
    world = quadratic_world(10)
    one, same, other = (
        fit_au_regressor(*world, penalty=1.0, n_steps=20, seed=s) for s in (0, 0, 1)
    )
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (one.hidden != other.hidden).any()


def test_every_person_gives_as_many_pictures_as_the_least_of_several_has() -> None:
    people = np.array([3, 3, 3, 5, 7, 7, 7, 7])
    got = module._by_person(people)
    assert got.tolist() == [[0, 1, 2], [4, 5, 6]]
    assert module._by_person(np.arange(3)).tolist() == [[0], [1], [2]]
