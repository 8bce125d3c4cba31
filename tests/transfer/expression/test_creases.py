"""Points between lids and brows: what moves with the lid, with the brow, and between them."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from glow_jax.io.landmarks68 import BROWS as BROW_LANDMARKS
from glow_jax.io.landmarks68 import LOWER_EDGES, UPPER_EDGES
from tests.support.expressions import face, random_expressions
from transfer.expression import model as em
from transfer.expression.creases import BROWS, LIDS, NEAR_BROW, NEAR_LID, with_creases
from transfer.expression.warp import SMOOTHING, warp
from transfer.grey import LUMA

SIDE = 128
PLACE = np.asarray(face(), np.float32)[None]
LIDS_UP, LIDS_LOW = UPPER_EDGES[:4], LOWER_EDGES[:4]


def moved(landmarks: np.ndarray | slice, down: float) -> np.ndarray:
    shift = np.zeros_like(PLACE)
    shift[:, landmarks, 1] = down
    return shift


def blink() -> np.ndarray:
    """Upper lids that meet the lower ones."""
    shift = np.zeros_like(PLACE)
    shift[:, LIDS_UP] = PLACE[:, LIDS_LOW] - PLACE[:, LIDS_UP]
    return shift


def creases(displacements: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points and displacements beyond the landmarks (2, 12, 2): near the lids, near the brows."""
    found = with_creases(jnp.asarray(PLACE), jnp.asarray(displacements))
    points, moves = (np.asarray(part)[0] for part in found)
    np.testing.assert_array_equal(points[:68], PLACE[0])
    np.testing.assert_array_equal(moves[:68], displacements[0])
    return points[68:].reshape(2, 12, 2), moves[68:].reshape(2, 12, 2)


def test_the_points_lie_between_lid_and_brow() -> None:
    points, moves = creases(moved(slice(0), 0.0))
    lid, brow = PLACE[0, LIDS], PLACE[0, BROWS]
    np.testing.assert_allclose(points[0], lid + NEAR_LID * (brow - lid), atol=1e-6)
    np.testing.assert_allclose(points[1], lid + NEAR_BROW * (brow - lid), atol=1e-6)
    assert not moves.any()


def test_in_a_blink_one_row_follows_the_lid_and_the_other_stays_with_the_brow() -> None:
    shift = blink()
    _, (near_lid, near_brow) = creases(shift)
    np.testing.assert_array_equal(near_lid, shift[0, LIDS])
    assert not near_brow.any()


@pytest.mark.parametrize("down", [0.01, 0.05, 0.09])
def test_skin_under_a_brow_that_comes_down_keeps_its_order(down: float) -> None:
    shift = moved(BROW_LANDMARKS, down)
    (low, high), (near_lid, near_brow) = creases(shift)
    np.testing.assert_allclose(near_lid, NEAR_LID * shift[0, BROWS], atol=1e-6)
    np.testing.assert_allclose(near_brow, NEAR_BROW * shift[0, BROWS], atol=1e-6)
    gap = PLACE[0, LIDS, 1] - PLACE[0, BROWS, 1]
    if down < gap.min():
        assert (low[:, 1] + near_lid[:, 1] > high[:, 1] + near_brow[:, 1]).all()


def test_a_blink_under_raised_brows_leaves_their_breadth() -> None:
    """Of a dark brow the landmarks alone make a broader one; with creases it stays as it is."""
    picture = np.full((1, SIDE, SIDE, 1), 200, np.float32)
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    for x, y in PLACE[0, BROW_LANDMARKS]:
        picture[0, (abs(columns - x) < 0.03) & (rows > y) & (rows < y + 0.025), 0] = 20
    points = jnp.asarray(PLACE), jnp.asarray(blink() + moved(BROW_LANDMARKS, -0.016))
    before, alone, with_both = (
        (np.asarray(warped)[0, ..., 0] < 110).sum()
        for warped in (
            picture,
            warp(jnp.asarray(picture), *points, 1e-4),
            warp(jnp.asarray(picture), *with_creases(*points), 1e-4),
        )
    )
    assert alone > 1.1 * before
    assert abs(with_both - before) < abs(alone - before)


def test_a_model_without_a_smoothing_warps_by_landmarks_alone() -> None:
    model = random_expressions()
    assert model.smoothing is None and em.smoothing_of(model) == SMOOTHING
    shift = jnp.asarray(blink())
    points, moves = em.warp_points(model, jnp.asarray(PLACE), shift)
    assert points.shape == moves.shape == (1, 68, 2)
    np.testing.assert_array_equal(moves, shift)


def test_the_residual_suits_hair_and_skin() -> None:
    """Hair is darkened in proportion, nothing becomes brighter than the face; lips stay."""

    def row(*values: float) -> jnp.ndarray:
        return jnp.array(values)[None, None, :, None]

    pixels = row(200.0, 50.0, 190.0, 240.0, 50.0) * jnp.ones((1, 1, 1, 3))
    added = row(-40.0, -40.0, 40.0, 40.0, 180.0) * jnp.ones((1, 1, 1, 3))
    edit = jnp.concatenate([added, row(0.0, 0.0, 0.0, 0.0, 1.0)], -1)
    model, face = random_expressions(), jnp.full((1, 3), 200.0)
    np.testing.assert_array_equal(em.limited(model, edit, pixels, face), edit)
    model = dataclasses.replace(model, smoothing=np.array(1e-4, np.float32))
    got = np.asarray(em.limited(model, edit, pixels, face))
    np.testing.assert_allclose(got[0, 0, :, 0], [-40, -10, 10, 0, 180])
    np.testing.assert_array_equal(got[..., 3], edit[..., 3])


def test_the_residual_keeps_the_hue_of_skin() -> None:
    """A brown face: shadows stay brown, light is brown, and highlights lose no hue of their own."""
    model = dataclasses.replace(random_expressions(), smoothing=np.array(1e-4, np.float32))
    face = np.array([[120.0, 80.0, 60.0]], np.float32)
    pixels = np.array([[[[60, 40, 30], [30, 30, 30], [60, 40, 30], [150, 150, 160]]]], np.float32)
    edit = np.zeros((1, 1, 4, 4), np.float32)
    edit[0, 0, :2, :3] = 20
    edit[0, 0, 2:, :3] = -0.25 * face
    arrays = (jnp.asarray(part) for part in (edit, pixels, face))
    added = np.asarray(em.limited(model, *arrays))[0, 0, :, :3]

    def hue(colour: np.ndarray) -> np.ndarray:
        return np.asarray(colour / colour.sum(-1, keepdims=True))

    np.testing.assert_allclose(hue(added[:2]), hue(face).repeat(2, 0), rtol=1e-5)
    np.testing.assert_allclose(hue(-added[2:]), hue(pixels[0, 0, 2:]), rtol=1e-5)
    luma = added @ np.array(LUMA)
    dark = -0.25 * float(face[0] @ np.array(LUMA))
    np.testing.assert_allclose(luma, [20, 20, dark / 2, dark], rtol=1e-5)


def test_the_residual_draws_no_second_brow() -> None:
    """Just above the brows nothing darkens; what brightens, and the rest of the face, is kept."""
    side = 64
    model = random_expressions()
    kept = np.asarray(em.above_brows(model, jnp.zeros((1, side, side, 3))))[0, ..., 0]
    brows = np.asarray(model.mean_shape)[17:27]

    def at(offset: float) -> np.ndarray:
        columns, rows = (brows + np.array([0, offset])).T * side
        return kept[rows.astype(int), columns.astype(int)]

    assert at(-0.03)[[1, 2, 3, 6, 7, 8]].max() < 0.1
    assert at(-0.12).min() == at(0.06).min() == 1
    assert kept[: side // 8].min() == kept[-side // 3 :].min() == 1
    dark = dataclasses.replace(model, residual=-np.abs(np.asarray(model.residual)) - 1)
    faces, marks = jnp.full((1, SIDE, SIDE, 3), 128, jnp.uint8), jnp.asarray(face()[None])
    strong, still = jnp.ones((1, len(model.aus))), jnp.zeros((1, 68, 2))

    def added(one: em.ExpressionModel) -> np.ndarray:
        return np.asarray(em.residual_edit(one, faces, marks, still, strong))[0, ..., :3]

    adapted = dataclasses.replace(dark, smoothing=np.array(1e-4, np.float32))
    share = np.asarray(em.above_brows(model, jnp.asarray(added(dark)[None])))[0]
    np.testing.assert_allclose(added(adapted), share * added(dark), rtol=1e-4)
    np.testing.assert_allclose(
        added(dataclasses.replace(adapted, residual=-adapted.residual)), -added(dark), rtol=1e-4
    )


def test_overexposed_skin_stays_white() -> None:
    """A share of a white pixel would be grey: it loses nothing, and gradually more below white."""
    model = dataclasses.replace(random_expressions(), smoothing=np.array(1e-4, np.float32))
    face = np.array([[250.0, 225.0, 210.0]], np.float32)
    greys = np.array([255, 255 - em.WHITE / 2, 255 - em.WHITE, 150], np.float32)
    pixels = np.repeat(greys[None, None, :, None], 3, -1)
    edit = np.zeros((1, 1, 4, 4), np.float32)
    edit[..., :3] = -0.2 * face
    arrays = (jnp.asarray(part) for part in (edit, pixels, face))
    lost = -np.asarray(em.limited(model, *arrays))[0, 0, :, 0] / greys
    np.testing.assert_allclose(lost, [0, 0.1, 0.2, 0.2], atol=0.01)


def test_in_a_dark_face_the_residual_is_less_in_proportion() -> None:
    """It is fitted for no darker a face than mean - 2.5 deviations: (45, 47.5, 50)."""
    model = dataclasses.replace(random_expressions(), smoothing=np.array(1e-4, np.float32))
    mean, deviation = model.colour_statistics
    known = mean - em.MAX_COLOUR_DEVIATIONS * deviation
    weights = np.array(LUMA, np.float32)
    pixels = np.array([[[[8, 6, 5], [8, 6, 5]]]], np.float32)
    edit = np.zeros((1, 1, 2, 4), np.float32)
    edit[0, 0, 0, :3], edit[0, 0, 1, :3] = -9, 9
    face = np.array([[16.0, 12.0, 10.0]], np.float32)
    arrays = (jnp.asarray(part) for part in (edit, pixels, face))
    dark, light = np.asarray(em.limited(model, *arrays))[0, 0, :, :3]
    np.testing.assert_allclose(dark, -9 / known * pixels[0, 0, 0], rtol=1e-4)
    np.testing.assert_allclose(light, 9 / (known @ weights) * face[0], rtol=1e-4)


def test_the_residual_takes_no_more_than_a_pixel_has() -> None:
    """A face in red light has hardly any blue: white eyes in it stay within the range of bytes."""
    model = dataclasses.replace(random_expressions(), smoothing=np.array(1e-4, np.float32))
    pixels = np.array([[[[200, 200, 200], [0, 0, 255], [190, 190, 190]]]], np.float32)
    edit = np.zeros((1, 1, 3, 4), np.float32)
    edit[..., :3] = (-10, -10, -10)
    edit[0, 0, 2, :3] = (-10, -10, 30)
    for colour in ([200.0, 60.0, 2.0], [0.0, 0.0, 0.0], [120.0, 80.0, 60.0]):
        arrays = (jnp.asarray(part) for part in (edit, pixels, np.array([colour], np.float32)))
        added = np.asarray(em.limited(model, *arrays))[..., :3]
        assert np.isfinite(added).all() and (added <= 0).all() and (added >= -pixels).all()
