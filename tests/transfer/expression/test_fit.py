"""The whole fit, on a small world whose expressions are brightness."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glow_jax.io.errors import InputError
from tests.support.expressions import SIDE, UNITS, assert_nearly, face, portraits
from transfer.expression import landmark_detector as lm
from transfer.expression import model as ex
from transfer.expression.calibration import fit_population
from transfer.expression.features import N_FEATURES
from transfer.expression.file import load_expression_model, save_expression_model
from transfer.expression.fit import fit
from transfer.expression.mean_shape import face_mask
from transfer.expression.pairs import Faces, differences, pairs_of, split
from transfer.expression.residual import fit_residual

PLACE = face()
READ = jax.jit(ex.raw_activations)


def small_world(people: int = 20, pictures: int = 4) -> Faces:
    """Every picture a base of its person; each unit lights its own patch and moves the chin."""
    rng = np.random.default_rng(0)
    base = portraits(people).astype(np.float64)
    aus = rng.uniform(0.2, 1, (people, pictures, len(UNITS)))
    aus *= (rng.uniform(size=aus.shape) < 0.3) | (
        np.arange(pictures) // 2 == np.arange(3)[:, None]
    ).T
    aus[:, ::2] = 0
    images = np.repeat(base[:, None], pictures, 1)
    for unit, row in enumerate((20, 36, 46)):
        images[:, :, row : row + 4, 20:44] += 60 * aus[:, :, unit, None, None, None]
    marks = np.tile(PLACE, (people, pictures, 1, 1)).astype(np.float64)
    marks[..., 8, 1] += 0.05 * aus[..., 2]
    return Faces(
        images.clip(0, 255).astype(np.uint8).reshape(-1, SIDE, SIDE, 3),
        UNITS,
        aus.reshape(-1, len(UNITS)),
        marks.reshape(-1, 68, 2),
        np.repeat(np.arange(people), pictures),
        np.tile(np.arange(pictures) // 2, people),
    )


@pytest.fixture(scope="module")
def fitted() -> tuple[Faces, ex.ExpressionModel]:
    faces = small_world()
    still = {k: np.zeros(s, np.float32) for k, s in lm.parameter_shapes().items()}
    last = max(still, key=lambda k: int(k[1:]) if k[0] == "b" else -1)
    still[last] = PLACE.ravel()  # finds the mean face everywhere
    return faces, fit(faces, n_steps=0, n_regressor_steps=30, landmark_detector=still)


def test_a_fit_reads_and_paints_what_it_was_shown(fitted: tuple[Faces, ex.ExpressionModel]) -> None:
    faces, model = fitted
    assert model.aus == UNITS and model.au_regressor.linear.shape == (N_FEATURES, len(UNITS))
    pairs = pairs_of(split(faces)[1])  # of people whom the reader was not fitted on
    change = READ(model, jnp.asarray(pairs.expressive))
    change = change - READ(model, jnp.asarray(pairs.neutral))
    read = np.asarray(ex.denoise(model, change))
    assert np.corrcoef(read.ravel(), pairs.aus.ravel())[0, 1] > 0.5
    assert model.displacements[2, 8, 1] > 0.1 > np.abs(model.displacements[:, :8]).max()


def test_a_fits_population_stands_in_for_neutral_pictures(
    fitted: tuple[Faces, ex.ExpressionModel],
) -> None:
    faces, model = fitted
    held_out = split(faces)[1]
    assert model.population is not None
    raw = READ(model, jnp.asarray(held_out.images))
    neutral = np.asarray(raw)[held_out.neutral].mean(0)
    np.testing.assert_allclose(model.population.neutral, neutral, atol=1e-4)
    found = np.asarray(ex.absolute_activations(model, raw))
    wanted = np.sqrt(((found - held_out.activations) ** 2).mean(0))
    np.testing.assert_allclose(model.population.error, wanted, rtol=1e-3)
    with pytest.raises(InputError, match="neutral and expressive pictures are needed"):
        fit_population(model, held_out.of(held_out.neutral))


def test_a_fits_rest_is_what_the_warp_lacks(fitted: tuple[Faces, ex.ExpressionModel]) -> None:
    faces, model = fitted
    pairs = pairs_of(faces)
    activations, before = jnp.asarray(pairs.aus, jnp.float32), jnp.asarray(pairs.neutral)
    moved = np.asarray(jax.jit(ex.warped)(model, before, activations)[0])
    marks = ex.find_landmarks(model, jnp.asarray(before))
    made = np.asarray(jax.jit(ex.with_expression)(model, before, marks, activations))
    lacking = ((moved - pairs.expressive) ** 2).mean()
    assert ((made - pairs.expressive) ** 2).mean() < 0.6 * lacking
    outside = face_mask(np.asarray(model.mean_shape), model.residual.shape[2]) == 0
    assert outside.any() and (model.residual[:, :, outside] == 0).all()
    start = dataclasses.replace(model, residual=np.zeros_like(model.residual))
    more = fit_residual(start, [pairs])
    np.testing.assert_array_equal(more, model.residual)


def test_a_fits_rest_grows_with_the_faces_colour(fitted: tuple[Faces, ex.ExpressionModel]) -> None:
    faces, model = fitted
    nothing = {name: 0 * getattr(model, name) for name in ("displacements", "residual")}
    model = dataclasses.replace(model, **nothing)
    pairs = pairs_of(faces)
    before = jnp.asarray(pairs.neutral)
    colours = ex.face_colour(before, jnp.asarray(np.tile(PLACE, (len(pairs.aus), 1, 1))))
    np.testing.assert_allclose(model.colour_statistics[0], colours.mean(0), rtol=1e-4)
    change = np.zeros(pairs.neutral.shape)
    amount = 20 * np.asarray(ex.colour_deviations(model, colours)) * pairs.aus[:, 1:2]
    change[:, 36:40, 20:44] = amount[:, None, None]
    shown = np.clip(pairs.neutral + change, 0, 255)
    pairs = dataclasses.replace(pairs, expressive=shown.astype(np.uint8))
    model = dataclasses.replace(model, residual=fit_residual(model, [pairs]))
    assert (model.residual[:, 6:][:, :, model.mouth_mask == 0] == 0).all()
    marks = ex.find_landmarks(model, jnp.asarray(before))
    made = jax.jit(ex.with_expression)(model, before, marks, jnp.asarray(pairs.aus, jnp.float32))
    off = np.abs(np.asarray(made) - shown)[:, 36:40, 20:44].mean()
    assert off < 0.5 * np.abs(change[:, 36:40, 20:44]).mean()


def test_a_fit_survives_the_disk(fitted: tuple[Faces, ex.ExpressionModel], tmp_path: Path) -> None:
    save_expression_model(tmp_path / "expressions.npz", fitted[1])
    assert_nearly(load_expression_model(tmp_path / "expressions.npz"), fitted[1])


def test_pairs_are_of_one_person_and_condition() -> None:
    faces = small_world()
    pairs = pairs_of(faces)
    assert len(pairs.aus) == 40 and (pairs.aus.sum(1) > 0).all()
    np.testing.assert_array_equal(pairs.neutral[:, :15], pairs.expressive[:, :15])
    learning, kept = split(faces)
    assert set(kept.people) == {0, 10} and set(learning.people) == set(range(20)) - {0, 10}
    read, truth = differences(faces.activations, faces)
    np.testing.assert_allclose(read, truth)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activations": np.zeros((80, 3))}, "render with setting pairs"),
        ({"conditions": np.arange(80)}, "no pairs"),
        ({"people": np.arange(80) // 40}, "2 people; use 20 or more"),
        ({"people": np.arange(80) // 4 + 1}, None),
        ({"people": np.arange(80) // 4 * 10}, "20 people; use 20 or more with consecutive"),
    ],
)
def test_too_little_to_fit_is_one_line(change: dict[str, Any], message: str | None) -> None:
    faces = dataclasses.replace(small_world(), **change)
    if message is None:
        assert set(split(faces)[1].people) == {10, 20}
        return
    with pytest.raises(InputError, match=message) as caught:
        fit(faces, n_steps=1, landmark_detector={})
    assert str(caught.value).isprintable()


def test_labels_become_faces() -> None:
    label = {"aus": {"AU12": 0.5}, "landmarks": [[32.0, 16.0]] * 68, "identity": 3, "condition": 1}
    faces = Faces.from_labels(portraits(2), [label, label | {"aus": {}}], UNITS)
    np.testing.assert_array_equal(faces.activations, [[0, 0.5, 0], [0, 0, 0]])
    np.testing.assert_allclose(faces.landmarks[0, 0], (0.5, 0.25))
    broken_labels = ({}, {"aus": 3}, {"landmarks": "x"}, {"landmarks": [1]})
    broken_labels += ({"landmarks": [[10**400, 1.0]] * 68}, {"aus": {"AU12": 10**400}})
    for broken in (label | fields if fields else {} for fields in broken_labels):
        with pytest.raises(InputError, match="not those of rendered faces") as caught:
            Faces.from_labels(portraits(1), [broken], UNITS)
        assert str(caught.value).isprintable()
