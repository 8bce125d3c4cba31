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


def photoreal(seed: int) -> Taught:
    """Everybody has one picture; the second unit is not read, and landmarks lie elsewhere."""
    activations, images = made(seed)
    neutral = activations[:, 0] == 0
    activations[:, 1] = np.nan
    moved = np.broadcast_to(PLACE + 0.02, (N, 68, 2))
    return Taught(images, activations, moved, np.arange(N) + 1000, neutral)


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
