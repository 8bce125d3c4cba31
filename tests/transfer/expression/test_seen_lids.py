"""Without a neutral picture, eyes are shut no further than the picture shows."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.expressions import UNITS, random_expressions
from transfer.expression import model as em
from transfer.expression.estimate import Read, absolute_activations
from transfer.expression.lids import LOWER, UPPER
from transfer.expression.model import ExpressionModel
from transfer.expression.seen_lids import NARROWER, no_more_shut, opening
from transfer.models import load_models


@pytest.fixture(scope="module")
def model() -> ExpressionModel:
    found = load_models("photo64").expression_model
    assert found is not None
    return found


def mean_face(model: ExpressionModel) -> np.ndarray:
    """In a crop, 0.2 sides between the eyes."""
    return 0.5 + 0.2 * np.asarray(model.template, np.float64)


def squint(model: ExpressionModel) -> np.ndarray:
    strength = {"AU6": 0.4, "AU7": 0.7, "AU45": 0.3, "AU12": 1.0, "AU5": -0.1}
    return np.array([[strength.get(au, 0.0) for au in model.aus]], np.float32)


def shut(face: np.ndarray, share: float) -> np.ndarray:
    """The lids, moved together by a share of their distance."""
    result = face.copy()
    for eye in (0, 1):
        middle = (face[LOWER[eye]] + face[UPPER[eye]]) / 2
        for edge in (LOWER[eye], UPPER[eye]):
            result[edge] = face[edge] + share * (middle - face[edge])
    return result


def test_open_eyes_are_not_shut(model: ExpressionModel) -> None:
    face = mean_face(model)
    bounded = no_more_shut(model, squint(model), face[None])[0]
    by_unit = dict(zip(model.aus, bounded, strict=True))
    assert by_unit["AU12"] == 1 and by_unit["AU5"] == np.float32(-0.1)
    after = (
        face
        + np.asarray(em.displace(model, jnp.asarray(bounded[None]), jnp.asarray(face[None])))[0]
    )
    plain = (
        face
        + np.asarray(em.displace(model, jnp.asarray(squint(model)), jnp.asarray(face[None])))[0]
    )
    wide, left, without = (opening(one[None])[0] for one in (face, after, plain))
    assert without < 0.5 * wide < left
    assert left > 0.8 * wide


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_the_mean_face_ends_as_open_as_the_picture(model: ExpressionModel, share: float) -> None:
    """But for NARROWER, and for what other units do."""
    face = mean_face(model)
    seen = shut(face, share)[None]
    only = squint(model) * 2
    only[:, [i for i, au in enumerate(model.aus) if au not in ("AU6", "AU7", "AU45")]] = 0
    bounded = no_more_shut(model, only, seen)
    after = face + np.asarray(em.displace(model, jnp.asarray(bounded), jnp.asarray(face[None])))[0]
    assert opening(after[None])[0] == pytest.approx(opening(seen)[0] + NARROWER, abs=0.004)


def test_shut_eyes_stay_shut_and_opened_ones_open(model: ExpressionModel) -> None:
    face = mean_face(model)
    blink = np.where(np.array(model.aus) == "AU45", 0.6, 0)[None].astype(np.float32)
    np.testing.assert_array_equal(no_more_shut(model, blink, shut(face, 0.95)[None]), blink)
    np.testing.assert_array_equal(no_more_shut(model, -blink, face[None]), -blink)


def test_a_turned_face_is_as_open() -> None:
    rng = np.random.default_rng(0)
    faces = rng.normal(size=(3, 68, 2))
    c, s = np.cos(0.3), np.sin(0.3)
    np.testing.assert_allclose(opening(faces), opening(2 * faces @ np.array([[c, s], [-s, c]]) + 1))


def test_estimates_are_bounded_for_photographs_only(model: ExpressionModel) -> None:
    face = mean_face(model)
    assert model.population is not None
    raw = np.asarray(model.population.neutral)[None] + squint(model)
    found = absolute_activations(model, Read(raw.astype(np.float32), face[None].astype(np.float32)))
    free = np.asarray(em.absolute_activations(model, jnp.asarray(raw, jnp.float32)))
    lids = [model.aus.index(au) for au in ("AU6", "AU7", "AU45")]
    assert (found[:, lids] < 0.5 * free[:, lids]).all()
    others = np.setdiff1d(np.arange(len(model.aus)), lids)
    np.testing.assert_allclose(found[:, others], free[:, others], atol=1e-6)
    plain = random_expressions(units=(*UNITS, "AU45"))
    activations = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(no_more_shut(plain, activations, face[None]), activations)
    adapted = dataclasses.replace(random_expressions(), smoothing=np.array(0.01, np.float32))
    np.testing.assert_array_equal(
        no_more_shut(adapted, activations[:, :3], face[None]), activations[:, :3]
    )
