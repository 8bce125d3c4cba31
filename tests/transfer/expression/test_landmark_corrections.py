"""Landmarks are shifted in the frame of the eyes, and corrections learn where faces are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.expressions import SIDE, face
from transfer.expression import landmark_corrections
from transfer.expression import landmark_detector as lm
from transfer.expression.features import make_template
from transfer.expression.landmark_corrections import (
    SHAPE,
    Marked,
    corrected,
    fit_corrections,
)

PLACE = face()
TEMPLATE = make_template(PLACE[None].astype(np.float64))
CORRECT = jax.jit(corrected)


def faces(n: int, seed: int = 0, side: int = SIDE) -> Marked:
    """Dark squares at the landmarks of eyes, nose and mouth, anywhere near the middle."""
    rng = np.random.default_rng(seed)
    moved = PLACE + rng.uniform(-0.05, 0.05, (n, 1, 2)).astype(np.float32)
    images = rng.integers(150, 160, (n, side, side, 3)).astype(np.uint8)
    for image, points in zip(images, moved, strict=True):
        for x, y in np.round(points[27:] * side).astype(int):
            image[y - 1 : y + 1, x - 1 : x + 1] = 30
    return Marked(images, moved, np.arange(n))


def where_faces_are_on_average() -> lm.Params:
    """A detector that finds the mean face in every picture."""
    params = lm.init(jax.random.key(0), jnp.asarray(PLACE))
    return {name: 0 * value if name != "b7" else value for name, value in params.items()}


def test_a_shift_is_in_the_frame_of_the_eyes() -> None:
    stage = np.zeros(SHAPE, np.float32)
    stage[-1, 2 * 30] = 1.0  # the tip of the nose, by the distance between the eyes to the right
    turned = (PLACE - 0.5)[:, ::-1] * (1, -1) + 0.5  # by a right angle
    marks = np.stack([PLACE, turned]).astype(np.float32)
    found = np.asarray(
        CORRECT(np.stack([stage, stage]), jnp.asarray(faces(2).images), marks, TEMPLATE)
    )
    shift = found - marks
    across = marks[:, 42:48].mean(1) - marks[:, 36:42].mean(1)
    np.testing.assert_allclose(np.delete(shift, 30, 1), 0, atol=1e-6)
    # The second stage begins at the nose that the first one moved, which turns the frame a little.
    np.testing.assert_allclose(shift[:, 30], 2 * across, atol=0.06)
    once = np.asarray(CORRECT(stage[None], jnp.asarray(faces(2).images), marks, TEMPLATE))
    np.testing.assert_allclose((once - marks)[:, 30], across, atol=1e-5)


def test_no_stages_change_nothing() -> None:
    marks = jnp.asarray(PLACE[None])
    images = jnp.asarray(faces(1).images)
    found = CORRECT(np.zeros((0, *SHAPE), np.float32), images, marks, TEMPLATE)
    np.testing.assert_array_equal(found, marks)


def test_the_last_stage_is_for_pictures_with_more_detail_than_the_detector_sees() -> None:
    stages = np.zeros((3, *SHAPE), np.float32)
    stages[2, -1] = 0.1  # of the distance between the eyes
    marks = jnp.asarray(PLACE[None])
    same, moved = (
        np.asarray(CORRECT(stages, jnp.asarray(faces(1, side=side).images), marks, TEMPLATE))
        for side in (SIDE, 2 * SIDE)
    )
    np.testing.assert_array_equal(same, marks)
    across = PLACE[42:48].mean(0) - PLACE[36:42].mean(0)
    np.testing.assert_allclose(moved[0] - PLACE, np.full((68, 2), 0.1 * across[0]), atol=1e-5)


def error_of(stages: np.ndarray, others: Marked) -> float:
    """The mean distance from the landmarks, from the mean face on."""
    start = jnp.asarray(np.broadcast_to(PLACE, others.landmarks.shape).astype(np.float32))
    found = np.asarray(CORRECT(stages, jnp.asarray(others.images), start, TEMPLATE))
    return float(np.linalg.norm(found - others.landmarks, axis=-1).mean())


@pytest.mark.slow
def test_stages_are_fitted_on_the_pictures_that_they_are_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(landmark_corrections, "N_FOLDS", 2)
    detector, few = where_faces_are_on_average(), faces(48)
    both = fit_corrections(detector, TEMPLATE, [few, faces(96, 2, 2 * SIDE)], penalty=1.0)
    assert len(both) == 3
    others = faces(32, 1, 2 * SIDE)
    # Two stages are right to a sixteenth of a pixel already: these faces differ in place alone.
    assert error_of(both, others) < error_of(both[:2], others)


@pytest.mark.slow
def test_a_stage_finds_faces_that_it_was_not_fitted_on() -> None:
    told: list[str] = []
    fitted = fit_corrections(
        where_faces_are_on_average(),
        TEMPLATE,
        [faces(96)],
        n_stages=1,
        penalty=1.0,
        progress=told.append,
    )
    assert fitted.shape == (1, *SHAPE) and fitted.dtype == np.float32
    assert told == ["landmark corrections: stage 1/1"]
    others = faces(32, seed=1)
    before, after = (error_of(stages, others) for stages in (fitted[:0], fitted))
    assert after < 0.5 * before, (before, after)
