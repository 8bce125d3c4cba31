"""Displacements in heads that are turned to a side."""

import jax.numpy as jnp
import numpy as np
import pytest

from bench.truth.depth import fitted
from glow_jax.io.landmarks68 import BROWS, JAW, LIPS, MIRROR
from tests.support.expressions import random_expressions
from transfer.expression.model import displace
from transfer.expression.openings import MIN_CHEEK, unfolded
from transfer.expression.turned import DEPTHS, EYES, MAX_TANGENT, of_turned, tangents
from transfer.photos.pose import MEAN_FACE


def seen(points: np.ndarray, yaw: float, roll: float = 0.0) -> np.ndarray:
    """(1, 68, 2) landmarks (68, 3) from the camera, right and down in sides of a picture."""
    y, r = np.deg2rad([yaw, roll])
    flat = np.stack([points[:, 0] * np.cos(y) + points[:, 2] * np.sin(y), -points[:, 1]], 1)
    turned = flat @ np.array([[np.cos(r), np.sin(r)], [-np.sin(r), np.cos(r)]])
    return (turned / 30 + 0.5)[None].astype(np.float32)


@pytest.mark.parametrize("yaw", [-28, -10, 0, 5, 20, 30])
@pytest.mark.parametrize("roll", [0, 25])
def test_the_tangent_of_a_turned_mean_face(yaw: float, roll: float) -> None:
    found = tangents(jnp.asarray(seen(MEAN_FACE, yaw, roll)))
    np.testing.assert_allclose(found, [np.tan(np.deg2rad(yaw))], atol=1e-5)


def test_the_tangent_is_bounded() -> None:
    for yaw in (-60, 60):
        found = tangents(jnp.asarray(seen(MEAN_FACE, yaw)))
        np.testing.assert_allclose(found, [np.sign(yaw) * MAX_TANGENT], rtol=1e-6)


def test_displacements_are_those_of_a_turned_head_that_moves_so() -> None:
    """Against a head in space whose landmarks move to the camera by the factors of DEPTHS."""
    rng = np.random.default_rng(0)
    moves = np.concatenate([rng.normal(0, 0.5, (68, 2)), np.zeros((68, 1))], 1)  # right, up
    for part, outwards, upwards in DEPTHS:
        move = moves[part]
        moves[part, 2] = outwards * MEAN_FACE[part, 0] / EYES * move[:, 0] + upwards * move[:, 1]
    local = (moves[:, :2] * (1, -1) / EYES)[None].astype(np.float32)
    for yaw in (-25, 0, 25):
        before, after = seen(MEAN_FACE, yaw), seen(MEAN_FACE + moves, yaw)
        tangent = jnp.asarray([np.tan(np.deg2rad(yaw))], jnp.float32)
        unit = EYES / 30 * np.cos(np.deg2rad(yaw))  # the distance between the eyes as it is seen
        got = np.asarray(of_turned(jnp.asarray(local), tangent)) * unit
        np.testing.assert_allclose(got, after - before, atol=1e-6)


def test_the_far_corner_of_a_smile_moves_less() -> None:
    smile = np.zeros((1, 68, 2), np.float32)
    smile[0, [48, 54]] = (-0.1, -0.05), (0.1, -0.05)
    front, left, right = (
        np.asarray(of_turned(jnp.asarray(smile), jnp.asarray([t], jnp.float32)))[0]
        for t in (0.0, 0.5, -0.5)
    )
    np.testing.assert_array_equal(front, smile[0])
    assert abs(right[48, 0]) < 0.08 < 0.12 < abs(right[54, 0])
    np.testing.assert_allclose(left, right[MIRROR] * (-1, 1), atol=2e-3)


def test_a_mouth_stays_inside_the_cheek() -> None:
    """Corners that would cross the line of the jaw keep MIN_CHEEK of their distance from it."""
    place = jnp.asarray(seen(MEAN_FACE, 28))
    far = np.zeros((1, 68, 2), np.float32)
    far[0, LIPS] = (0.05, 0.0)
    before, wanted = np.asarray(place)[0], np.asarray(place + far)[0]
    moved = np.asarray(place + unfolded(place, jnp.asarray(far)))[0]
    for corner, jaw in [(54, 12), (54, 13), (55, 12), (64, 12)]:
        across = before[corner] - before[jaw]
        kept, asked = ((p[corner] - p[jaw]) @ across / (across @ across) for p in (moved, wanted))
        assert asked < MIN_CHEEK - 0.1 < MIN_CHEEK - 0.05 <= kept
    assert moved[53, 0] < moved[54, 0] and moved[63, 0] < moved[64, 0]
    still = jnp.asarray(0.02 * far)
    np.testing.assert_array_equal(unfolded(place, still)[:, [48, 54]], still[:, [48, 54]])


def test_an_adapted_model_moves_the_far_corner_less() -> None:
    """And in a head that is turned to the other side, the other corner; not one of renders."""
    moves = np.zeros((3, 68, 2), np.float32)
    moves[1, [48, 54], 0] = -0.05, 0.05
    one = jnp.asarray([[0, 1.0, 0]], jnp.float32)
    for smoothing in (None, np.array(1e-4, np.float32)):
        model = random_expressions(displacements=moves, smoothing=smoothing)
        right, left = (
            np.asarray(displace(model, one, jnp.asarray(seen(MEAN_FACE, yaw))))[0, [48, 54], 0]
            for yaw in (25, -25)
        )
        np.testing.assert_allclose(right, -left[::-1], rtol=1e-3)
        near, far = abs(right[0]), abs(right[1])
        if smoothing is None:
            assert near == pytest.approx(far, rel=1e-3)
        else:
            assert far < 0.7 * near


def test_factors_are_found_again() -> None:
    rng = np.random.default_rng(1)
    moves = rng.normal(size=(9, 68, 3))
    moves[:, LIPS, 2] = -2 * MEAN_FACE[None, LIPS, 0] / EYES * moves[:, LIPS, 0]
    moves[:, LIPS, 2] += 0.5 * moves[:, LIPS, 1]
    factors, explained = fitted(MEAN_FACE, moves, LIPS)
    np.testing.assert_allclose(factors, [-2, 0.5])
    assert explained == pytest.approx(1)
    assert fitted(MEAN_FACE, moves, JAW)[1] < 0.1 > fitted(MEAN_FACE, moves, BROWS)[1]
