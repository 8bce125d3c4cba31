"""A model of renders learns to read pictures of another kind, and keeps what it read of renders."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glow_jax.io.errors import InputError
from tests.support.expressions import SIDE, UNITS, face, portraits, random_expressions
from transfer.expression import model as em
from transfer.expression.adapt import adapt, alone_together
from transfer.expression.au_regressor import AuRegressor
from transfer.expression.features import N_FEATURES
from transfer.expression.model import ExpressionModel
from transfer.expression.pairs import Faces
from transfer.expression.teacher import Taught

PLACE = face()
RAW, FIND = jax.jit(em.raw_activations), jax.jit(em.find_landmarks)
N = 120


def lit(activations: np.ndarray, seed: int) -> np.ndarray:
    """Pictures with a bright bar by the mouth, as wide as the first unit is active."""
    images = portraits(len(activations), seed).astype(np.float64)
    for image, width in zip(images, 2 + 14 * activations[:, 0], strict=True):
        image[46:50, 32 - int(width) : 32 + int(width)] += 60
    return images.clip(0, 255).astype(np.uint8)


def made(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Activations, of which every fourth row is neutral, and pictures of them."""
    activations = np.random.default_rng(seed).uniform(0.2, 1, (N, len(UNITS)))
    activations[::4] = 0
    return activations, lit(activations, seed)


def renders() -> Faces:
    activations, images = made(0)
    landmarks = np.broadcast_to(PLACE, (N, 68, 2))
    return Faces(images, UNITS, activations, landmarks, np.arange(N) // 4, np.zeros(N, int))


def photoreal(seed: int, moves: np.ndarray | None = None) -> Taught:
    """The second unit is not read, and landmarks lie elsewhere.

    Everybody has one picture; with `moves` (68, 2), in sides of the picture, everybody has a
    neutral one and three pairs of it, in which the first unit moves the landmarks by so much.
    """
    activations, images = made(seed)
    neutral = activations[:, 0] == 0
    activations[:, 1] = np.nan
    moved = np.broadcast_to(PLACE + 0.02, (N, 68, 2))
    people, bases = np.arange(N) + 1000, np.full(N, -1)
    if moves is not None:
        moved = moved + activations[:, :1, None] * moves
        people, bases = people // 4, np.where(neutral, -1, np.arange(N) // 4 * 4)
    return Taught(images, activations, moved, people, neutral, bases)


def blind() -> ExpressionModel:
    """A model whose regressor reads nothing."""
    n = len(UNITS)
    shapes = (N_FEATURES, n), (N_FEATURES, 8), (8,), (8, n)
    nothing = AuRegressor(*(np.zeros(shape, np.float32) for shape in shapes))
    return random_expressions(au_regressor=nothing)


@pytest.mark.slow
def test_pictures_of_both_kinds_are_read() -> None:
    told: list[str] = []
    start = blind()
    model = adapt(start, renders(), [photoreal(1)], [photoreal(2)], progress=told.append)
    assert [line.split(":")[0] for line in told] == [
        "landmark corrections",
        "landmark corrections",
        "AU regressor",
    ]
    kept = [f.name for f in dataclasses.fields(model)]
    for name in set(kept) - {"corrections", "au_regressor", "population"}:
        assert getattr(model, name) is getattr(start, name), name
    others = photoreal(3)
    raw = np.asarray(RAW(model, jnp.asarray(others.images)))
    assert np.corrcoef(raw[:, 0], others.activations[:, 0])[0, 1] > 0.7
    found = np.asarray(FIND(model, jnp.asarray(others.images)))
    start_error, error = (
        np.abs(marks - others.landmarks).mean()
        for marks in (np.asarray(FIND(start, jnp.asarray(others.images))), found)
    )
    assert error < 0.5 * start_error and error < 1.5 / SIDE
    assert model.population is not None
    absolute = np.asarray(em.absolute_activations(model, jnp.asarray(raw)))
    assert np.corrcoef(absolute[:, 0], others.activations[:, 0])[0, 1] > 0.7
    assert np.isfinite(np.stack(model.population)).all()


@pytest.mark.slow
def test_pairs_change_displacements_and_residual() -> None:
    start = blind()
    down = np.zeros((68, 2))
    down[8, 1] = 0.05  # the chin
    taught = [photoreal(seed, down) for seed in (1, 2)]
    model = adapt(start, renders(), taught[:1], taught[1:])
    eyes = PLACE[42:48].mean(0) - PLACE[36:42].mean(0)
    before, after = np.asarray(start.displacements), np.asarray(model.displacements)
    np.testing.assert_allclose(after[0, 8, 1], 0.05 / np.hypot(*eyes), rtol=0.15)
    np.testing.assert_array_equal(after[1], before[1])  # not read: kept
    assert np.abs(after[2]).mean() < 0.3 * np.abs(before[2]).mean()  # moves nothing in the pairs
    assert model.smoothing is not None and np.isfinite(model.residual).all()
    changed = np.abs(np.asarray(model.residual) - np.asarray(start.residual)).max((2, 3, 4))
    assert changed[0, 0] > 1  # the bar, grey levels
    assert model.slope[0] != start.slope[0] and model.slope[1] == start.slope[1]
    shown = taught[1]
    raw = np.asarray(RAW(model, jnp.asarray(shown.images)))[:, 1]
    after = np.flatnonzero(shown.bases >= 0)
    rms = np.sqrt(((raw[after] - raw[shown.bases[after]]) ** 2).mean())
    np.testing.assert_allclose(model.noise[1], max(start.noise[1], 1.5 * rms), rtol=1e-4)


def test_people_with_one_picture_are_compared_with_each_other() -> None:
    found = alone_together(np.array([7, 3, 7, 5, 9]))
    np.testing.assert_array_equal(found, [7, -1, 7, -1, -1])


@pytest.mark.parametrize(
    ("rows", "groups", "words"),
    [
        (slice(0, 4), 1, "no renders to fit on"),
        (slice(4, 40), 1, "no renders to calibrate on"),
        (slice(0, N), 0, "no photoreal people"),
    ],
)
def test_too_little_to_adapt_to_is_one_line(rows: slice, groups: int, words: str) -> None:
    faces = renders().of(np.arange(N)[rows])
    pictures = [photoreal(1)] * groups
    with pytest.raises(InputError, match=words) as caught:
        adapt(blind(), faces, pictures, pictures)
    assert str(caught.value).isprintable()
