"""How far landmarks moved corrects activations, and a turn of the head does not."""

import dataclasses

import numpy as np
import pytest

from glow_jax.io.landmarks68 import JAW
from tests.support.expressions import portraits, random_expressions
from transfer.expression.estimate import expression_activations, noise_floor, read
from transfer.expression.model import MAX_ACTIVATION, ExpressionModel
from transfer.expression.movement import (
    AS_READ,
    KEPT,
    POSES,
    agreeing,
    as_strong,
    movement,
    noise_of,
)
from transfer.models import load_models
from transfer.photos.pose import MEAN_FACE


@pytest.fixture(scope="module")
def model() -> ExpressionModel:
    found = load_models("photo64").expression_model
    assert found is not None
    return found


def turned(yaw: float, pitch: float) -> np.ndarray:
    """The mean face's landmarks after a turn in degrees, as they are seen from the front."""
    a, b = np.deg2rad([yaw, pitch])
    x, y, z = ((MEAN_FACE - MEAN_FACE.mean(0)) * (1, -1, 1)).T
    x, z = np.cos(a) * x + np.sin(a) * z, np.cos(a) * z - np.sin(a) * x
    return np.stack([x, np.cos(b) * y + np.sin(b) * z], 1) / 20 + 0.5


def test_a_movement_is_measured_in_the_frame_of_the_eyes() -> None:
    before = turned(0, 0)
    after = before + np.where(np.arange(68) == 57, 0.02, 0)[:, None] * (0.0, 1.0)
    plain = movement(after, before)
    assert plain[57, 1] > 0 and np.abs(np.delete(plain, 57, 0)).max() == 0
    c, s = np.cos(0.4), np.sin(0.4)
    turn = 3 * np.array([[c, s], [-s, c]])
    np.testing.assert_allclose(movement(after @ turn, before @ turn), plain, atol=1e-12)


@pytest.mark.parametrize("unit", ["AU12", "AU25", "AU2", "AU4", "AU45"])
def test_an_estimate_comes_nearer_to_what_the_landmarks_did(
    model: ExpressionModel, unit: str
) -> None:
    """In landmarks: units that move the same ones share the correction."""
    true = np.where(np.array(model.aus) == unit, 0.6, 0).astype(np.float32)
    displacements = np.asarray(model.displacements, float).reshape(len(true), -1)
    moved = (true @ displacements).reshape(68, 2)
    for start in (0.3, 0.9):
        found = agreeing(model, true[None] * start / 0.6, moved[None])[0]
        assert (found[true > 0] - start).item() * (0.6 - start) > 0
        before, after = (
            np.linalg.norm((a - true) @ displacements) for a in (true * start / 0.6, found)
        )
        assert after < 0.8 * before
    agreed = agreeing(model, true[None], moved[None])[0]
    np.testing.assert_allclose(agreed, true, atol=1e-5)


def test_some_units_are_left_as_they_are(model: ExpressionModel) -> None:
    rng = np.random.default_rng(0)
    before = np.array([0.1] * len(model.aus), np.float32)
    after = agreeing(model, before[None], 0.05 * rng.standard_normal((1, 68, 2)))[0]
    untaught = np.isin(model.aus, KEPT)
    np.testing.assert_array_equal(after[untaught], before[untaught])
    assert (np.abs(after - before)[~untaught] > 1e-4).all()
    assert np.abs(agreeing(model, 9 * before[None], POSES[:1])).max() <= MAX_ACTIVATION


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (15, 0), (-25, 0), (0, 12), (20, -10)])
def test_a_turned_head_is_no_expression(model: ExpressionModel, yaw: float, pitch: float) -> None:
    """Not more than a weak one, although the landmarks move by a quarter of the eyes' distance."""
    moved = movement(turned(yaw, pitch), turned(0, 0))
    nothing = np.zeros((1, len(model.aus)), np.float32)
    assert np.abs(agreeing(model, nothing, moved[None])).max() < 0.1
    if yaw or pitch:
        assert np.abs(np.delete(moved, JAW, 0)).max() > 0.05


def test_only_models_of_photographs_are_corrected(model: ExpressionModel) -> None:
    shown, own = portraits(1, seed=4), portraits(2, seed=5)
    plain = random_expressions()
    assert plain.smoothing is None
    adapted = dataclasses.replace(plain, smoothing=np.array(1e-4, np.float32))
    first, second = (
        expression_activations(one, read(one, shown), read(one, own)) for one in (plain, adapted)
    )
    assert np.abs(first - second).max() > 1e-3 and second.dtype == np.float32


def test_inexact_landmarks_alone_are_below_the_noise(model: ExpressionModel) -> None:
    """Of landmarks that did not move, found with the errors that the model assumes."""
    noise = noise_of(model)
    assert (noise[~np.isin(model.aus, KEPT)] > 0.005).all()
    assert noise.max() < 0.1 and (noise_floor(model, absolute=False) >= noise).all()
    jitter = 0.03 * np.random.default_rng(1).standard_normal((400, 68, 2))
    jitter[:, JAW] *= 0.055 / 0.03
    found = agreeing(model, np.zeros((400, len(noise)), np.float32), jitter)
    np.testing.assert_allclose(found.std(0), noise, rtol=0.15, atol=1e-6)


def test_a_transfer_is_stronger_and_a_reading_is_not(model: ExpressionModel) -> None:
    """Lips that part and what MediaPipe sees of chins are as they are read."""
    some = np.array([[0.5] * len(model.aus)], np.float32)
    wanted = [0.5 if unit in AS_READ else 0.65 for unit in model.aus]
    np.testing.assert_allclose(as_strong(model, some)[0], wanted, rtol=1e-6)
    assert as_strong(model, 2 * some).max() == np.float32(MAX_ACTIVATION)
    np.testing.assert_allclose(as_strong(model, -0.4 * some), -0.4 * as_strong(model, some))
    np.testing.assert_array_equal(as_strong(random_expressions(), some), some)
