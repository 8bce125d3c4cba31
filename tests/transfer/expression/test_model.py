"""Reading expressions, writing them, and the regressions that both are learned by."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glow_jax.io.landmarks68 import (
    BESIDE_LOWER,
    BESIDE_UPPER,
    LIP_INNER_EDGES,
    LIP_OUTER_EDGES,
    LIP_PAIRS,
    LOWER_EDGES,
    MIRROR,
    UPPER_EDGES,
)
from tests.support.expressions import UNITS, face, portraits, random_expressions
from transfer.expression import model as ex
from transfer.expression.calibration import calibrate
from transfer.expression.fit import fit_displacements
from transfer.expression.mean_shape import face_mask, mean_shape_of
from transfer.expression.openings import (
    MIN_GAP,
    MIN_HEIGHT,
    MIN_THICKNESS,
    lip_gap,
    newly_open,
    unfolded,
)
from transfer.expression.pairs import Pairs

PLACE = face()
LIDS_AND_LIPS = [*UPPER_EDGES, *LOWER_EDGES]


def test_codes_of_nothing_are_nothing() -> None:
    model = random_expressions()
    zero = np.asarray(ex.denoise(model, jnp.zeros((2, len(UNITS)), jnp.float32)))
    np.testing.assert_array_equal(zero, 0)


def test_denoising_keeps_signs_shrinks_noise_and_clips() -> None:
    slope, noise = np.array([2.0, 1.0, 1.0], np.float32), np.array([0.1, 0.1, 0.0], np.float32)
    model = random_expressions(slope=slope, noise=noise)
    change = jnp.asarray(np.random.default_rng(0).normal(0, 1, (200, 3)), jnp.float32)
    got = np.asarray(ex.denoise(model, change))
    assert (np.sign(got) == np.sign(change)).all()
    assert np.abs(got).max() == np.float32(ex.MAX_ACTIVATION)
    assert (np.abs(got) <= np.abs(np.asarray(change)) * slope + 1e-6).all()
    small = np.asarray(ex.denoise(model, jnp.full((1, 3), 0.01, jnp.float32)))[0]
    assert abs(small[0]) < 0.0005 and small[2] == pytest.approx(0.01, rel=1e-3)
    large = np.asarray(ex.denoise(model, jnp.full((1, 3), 0.5, jnp.float32)))[0]
    assert large[0] == pytest.approx(1.0, rel=0.05)


def turned_by(degrees: float, scale: float = 1.0) -> np.ndarray:
    """(1, 68, 2) the face, turned clockwise about its middle."""
    c, s = scale * np.cos(np.deg2rad(degrees)), scale * np.sin(np.deg2rad(degrees))
    return ((PLACE - 0.5) @ np.array([[c, s], [-s, c]]) + 0.5)[None].astype(np.float32)


def test_moves_turn_and_grow_with_the_eyes() -> None:
    model = random_expressions()
    model.displacements[:, LIDS_AND_LIPS] = 0  # which would meet
    activations = jnp.asarray([[0.5, -0.2, 1.0]], jnp.float32)
    upright = np.asarray(ex.displace(model, activations, jnp.asarray(PLACE[None])))[0]
    across = (PLACE[42:48].mean(0) - PLACE[36:42].mean(0))[0]
    wanted = across * np.tensordot(np.asarray(activations)[0], model.displacements, 1)
    np.testing.assert_allclose(upright, wanted, atol=1e-6)
    turned = np.asarray(ex.displace(model, activations, jnp.asarray(turned_by(30, 1.5))))[0]
    c, s = 1.5 * np.cos(np.pi / 6), 1.5 * np.sin(np.pi / 6)
    np.testing.assert_allclose(turned, upright @ np.array([[c, s], [-s, c]]), atol=1e-6)


def test_lids_and_lips_meet_and_do_not_cross() -> None:
    moves = np.zeros((3, 68, 2), np.float32)
    moves[0, UPPER_EDGES] = (0, 0.4)  # far beyond what is below
    moves[1, LOWER_EDGES] = (0, -0.01)
    model = random_expressions(displacements=moves)
    landmarks = np.concatenate([turned_by(0), turned_by(25, 1.4)])
    for activations in ([1.0, 0, 0], [1.0, 1, 0], [0, 1.0, 0], [-1.0, 0, 0]):
        rows = jnp.asarray([activations, activations], jnp.float32)
        after = landmarks + np.asarray(ex.displace(model, rows, jnp.asarray(landmarks)))
        for before, points, angle in zip(landmarks, after, (0, 25), strict=True):
            eyes = before[42:48].mean(0) - before[36:42].mean(0)
            a = np.deg2rad(angle)
            down = np.array([-np.sin(a), np.cos(a)]) / np.hypot(*eyes)
            was, gap = ((p[LOWER_EDGES] - p[UPPER_EDGES]) @ down for p in (before, points))
            assert (gap >= np.minimum(was, MIN_GAP) - 1e-5).all()
            if activations == [-1.0, 0, 0]:
                np.testing.assert_allclose(gap - was, 0.4, atol=0.02)
            elif activations[0]:
                np.testing.assert_allclose(gap, np.minimum(was, MIN_GAP), atol=0.005)


def test_an_adapted_model_opens_open_mouths_less() -> None:
    """By the norm of `parted_less`; a model of renders adds the movement to the gap."""
    moves = np.zeros((3, 68, 2), np.float32)
    moves[2, LOWER_EDGES] = (0, 0.2)
    open_ = PLACE.copy()
    eyes = float(np.linalg.norm(open_[42:48].mean(0) - open_[36:42].mean(0)))
    open_[LOWER_EDGES[LIP_PAIRS]] = open_[UPPER_EDGES[LIP_PAIRS]] + np.float32((0, 0.1 * eyes))
    place = jnp.asarray(open_[None])
    for smoothing, wanted in [
        (None, 0.3),
        (np.array(1e-4, np.float32), (0.1**1.5 + 0.2**1.5) ** (2 / 3)),
    ]:
        model = random_expressions(displacements=moves, smoothing=smoothing)
        moved = ex.displace(model, jnp.asarray([[0, 0, 1.0]], jnp.float32), place)
        np.testing.assert_allclose(lip_gap(place + moved, place), wanted, atol=2e-3)


def test_warped_pictures_without_a_code_are_the_pictures() -> None:
    model = random_expressions()
    images = portraits(2)
    got = jax.jit(ex.warped)(model, jnp.asarray(images), jnp.zeros((2, len(UNITS)), jnp.float32))
    np.testing.assert_allclose(np.asarray(got[0]), images, atol=1e-3)


def test_a_face_over_the_mean_shape_has_its_features_there_and_comes_back() -> None:
    """A bright spot on each nose lies at the nose of the mean shape, and returns."""
    model = random_expressions(mean_shape=PLACE + np.float32((0.02, -0.03)))
    nose, row, column = 30, *np.mgrid[:64, :64]
    landmarks = np.stack([PLACE, PLACE + np.float32((-0.06, 0.03))])

    def spots(points: np.ndarray) -> np.ndarray:
        x, y = points[:, nose, 0, None, None] * 64, points[:, nose, 1, None, None] * 64
        grey = 200 * np.exp(-((column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2) / 18)
        return np.repeat(grey[..., None], 3, -1).astype(np.float32)

    grey = spots(landmarks)
    laid = np.asarray(
        jax.jit(ex.to_mean_shape, static_argnums=3)(
            model, jnp.asarray(grey), jnp.asarray(landmarks), 64
        )
    )
    wanted = spots(np.stack([np.asarray(model.mean_shape)] * 2))
    assert np.abs(laid - grey).max() > 80
    np.testing.assert_allclose(laid, wanted, atol=25)
    back = np.asarray(
        jax.jit(ex.from_mean_shape, static_argnums=3)(
            model, jnp.asarray(laid), jnp.asarray(landmarks), (64, 64)
        )
    )
    np.testing.assert_allclose(back, grey, atol=12)


TONES = np.array([[60, 90, 115], [165, 130, 100]], np.uint8)  # -2 -0.8 0.75; 1.5 0.8 0


def edit_of(model: ex.ExpressionModel, activations: np.ndarray, moves: np.ndarray) -> np.ndarray:
    images = np.tile(TONES[:, None, None], (1, 64, 64, 1))
    landmarks = jnp.asarray(np.stack([face()] * 2))
    return np.asarray(
        ex.residual_edit(
            model, jnp.asarray(images), landmarks, jnp.asarray(moves), jnp.asarray(activations)
        )
    )


def test_what_is_added_to_a_shut_mouth_is_in_proportion() -> None:
    model = random_expressions()
    activations = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    still = np.zeros((2, 68, 2), np.float32)
    change = edit_of(model, activations, still)
    terms = np.concatenate([activations, activations * np.abs(activations)], 1)
    off = (TONES - model.colour_statistics[0]) / model.colour_statistics[1]
    wanted = np.tensordot(terms, model.residual[0, :6], 1)
    wanted = wanted + off[:, None, None] * np.tensordot(terms, model.residual[1, :6], 1)
    np.testing.assert_allclose(change[..., :3], wanted, atol=1e-3)
    assert (change[..., 3] == 0).all()
    less = edit_of(model, -activations, still)
    np.testing.assert_allclose(less, -change, atol=1e-4)
    assert (edit_of(model, 0 * activations, still) == 0).all()


def test_lips_that_part_show_what_is_between_them() -> None:
    model = random_expressions()
    shut = face()
    shut[60:68, 1] = shut[60, 1]
    moves = np.zeros((3, 68, 2), np.float32)
    moves[1:, 65:68, 1] = 0.05
    landmarks = np.stack([shut, shut, shut])
    landmarks[2, 65:68, 1] += 0.05  # half open before
    parted = np.asarray(newly_open(jnp.asarray(landmarks), jnp.asarray(moves)))
    np.testing.assert_allclose(parted, (0, 1, 0.5), atol=1e-5)
    activations = np.zeros((2, 3), np.float32)
    moves = np.zeros((2, 68, 2), np.float32)
    moves[:, 65:68, 1] = 0.05
    change = edit_of(model, activations, moves)
    part = np.asarray(newly_open(jnp.asarray(np.stack([face()] * 2)), jnp.asarray(moves)))
    assert (part > 0.3).all()
    np.testing.assert_allclose(change[..., 3], part[:, None, None] * model.mouth_mask, rtol=1e-5)
    off = (TONES - model.colour_statistics[0]) / model.colour_statistics[1]
    inside = model.residual[0, 6] + off[:, None, None] * model.residual[1, 6]
    np.testing.assert_allclose(change[..., :3], part[:, None, None, None] * inside, atol=1e-3)
    grey = np.full((2, 32, 32, 3), 100, np.float32)
    made = np.asarray(ex.apply_edit(jnp.asarray(change), jnp.asarray(grey)))
    np.testing.assert_allclose(made, 100 * (1 - change[..., 3:]) + change[..., :3], rtol=1e-5)


def test_a_faces_colour_is_its_noses() -> None:
    images = np.full((2, 64, 64, 3), 9, np.uint8)
    landmarks = np.stack([face(), face() + np.float32([0.03, -0.02])])
    for picture, marked in zip(images, landmarks, strict=True):
        for x, y in (marked[27:36] * 64).astype(int):
            picture[y, x] = (200, 100, 50)
    read = np.asarray(ex.face_colour(jnp.asarray(images), jnp.asarray(landmarks)))
    np.testing.assert_allclose(read, [[200, 100, 50]] * 2)
    outside = np.asarray(ex.face_colour(jnp.asarray(images), jnp.asarray(landmarks + 5)))
    np.testing.assert_allclose(outside, 9)
    model = random_expressions()
    far = np.asarray(ex.colour_deviations(model, jnp.asarray([[1000.0, -1000, 110]])))
    assert (
        far[0, 0] == ex.MAX_COLOUR_DEVIATIONS
        and far[0, 1] == -ex.MAX_COLOUR_DEVIATIONS
        and 0 < far[0, 2] < 1
    )


# -- fitting


def some_pairs(n: int = 60, noise: float = 0.0) -> tuple[Pairs, np.ndarray]:
    """Pairs whose landmarks have gone by known moves, in faces of all turns and sizes."""
    rng = np.random.default_rng(0)
    moves = rng.normal(0, 0.1, (len(UNITS), 68, 2))
    moves[:, LIDS_AND_LIPS] = 0
    aus = rng.uniform(0, 1, (n, len(UNITS)))
    before = np.concatenate([turned_by(*rng.uniform((-40, 0.5), (40, 1.5))) for _ in range(n)])
    model = random_expressions(displacements=moves.astype(np.float32))
    shift = ex.displace(model, jnp.asarray(aus, jnp.float32), jnp.asarray(before))
    after = before + np.asarray(shift) + rng.normal(0, noise, before.shape)
    nothing = np.zeros((n, 1, 1, 3), np.uint8)
    return Pairs(nothing, nothing, aus, before, after), moves


def test_known_moves_are_recovered() -> None:
    pairs, moves = some_pairs()
    got = fit_displacements(pairs, penalty=1e-6)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, moves, atol=1e-3)
    noisy, _ = some_pairs(400, noise=0.01)
    assert np.abs(fit_displacements(noisy) - moves).max() < 0.05


def test_the_mean_shape_is_symmetric_and_open() -> None:
    rng = np.random.default_rng(0)
    faces = PLACE + rng.normal(0, 0.005, (200, 68, 2))
    moves = np.zeros((3, 68, 2), np.float32)
    moves[2, 57] = (0, 0.5)  # AU26 drops a lip
    shape = mean_shape_of(faces, moves, UNITS)
    assert shape.dtype == np.float32
    np.testing.assert_allclose(shape[57] - PLACE[57], (0, 0.7 * 0.5 * apart()), atol=2e-3)
    still = np.delete(np.arange(68), 57)
    np.testing.assert_allclose(shape[still], PLACE[still], atol=3e-3)
    mirror = (1, 0) + shape[MIRROR] * (-1, 1)
    np.testing.assert_allclose(mirror, shape, atol=1e-6)


def test_a_shapes_face_is_whole_inside_and_fades_outside() -> None:
    face = face_mask(PLACE, 64)
    rows, columns = (PLACE * 64).astype(int)[:, ::-1].T
    assert face.dtype == np.float32 and (face[rows, columns] > 0.7).all()
    assert face[int(PLACE[27:36, 1].mean() * 64), 32] == 1
    assert (face[[0, -1]] == 0).all() and (face[:, [0, -1]] == 0).all()
    assert 0.15 < face.mean() < 0.6 and np.abs(np.diff(face, axis=1)).max() < 0.5
    above = int((PLACE[19, 1] - 0.1 * (PLACE[8, 1] - PLACE[36:48, 1].mean())) * 64)
    assert face[above, 32] > 0.9  # the forehead belongs to it


def apart() -> float:
    """Distance between the eyes of the plain face."""
    return float(np.hypot(*(PLACE[42:48].mean(0) - PLACE[36:42].mean(0))))


def test_calibration_recovers_the_slope_and_sees_noise() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 1, (500, 3)) * (rng.uniform(size=(500, 3)) < 0.3)
    read = truth * (0.5, 0.25, 1.0) + rng.normal(0, 1, truth.shape) * (0.0, 0.0, 0.2)
    slope, noise = calibrate(read, truth)
    np.testing.assert_allclose(slope[:2], (2, 4), rtol=0.02)
    assert noise[0] == 0 and noise[1] == 0 and noise[2] > 0.1
    model = random_expressions(slope=slope, noise=noise)
    error = np.asarray(ex.denoise(model, jnp.asarray(read, jnp.float32))) - truth
    assert (error[:, 2] ** 2).mean() < ((read - truth)[:, 2] ** 2).mean()


def test_lips_that_are_pressed_keep_most_of_their_thickness() -> None:
    """And displacements that leave it are kept as they are."""
    place = jnp.asarray(PLACE)[None]
    across = PLACE[LIP_OUTER_EDGES] - PLACE[LIP_INNER_EDGES]
    for share in (0.9, 0.1, -0.5):  # of the thickness that would be left
        shift = np.zeros((1, 68, 2), np.float32)
        shift[0, LIP_OUTER_EDGES] = (share - 1) * across
        got = np.asarray(unfolded(place, jnp.asarray(shift)))
        left = across + got[0, LIP_OUTER_EDGES] - got[0, LIP_INNER_EDGES]
        np.testing.assert_allclose(left, max(share, MIN_THICKNESS) * across, atol=1e-6)
        others = np.delete(np.arange(68), LIP_OUTER_EDGES)
        np.testing.assert_array_equal(got[0, others], 0)


def test_a_mouth_does_not_fold_beside_its_corners() -> None:
    """Thin lips whose upper edge moves down and whose lower one moves up had folded into rings."""
    place = jnp.asarray(PLACE)[None]
    height = np.asarray(place[:, BESIDE_LOWER] - place[:, BESIDE_UPPER])
    for share in (0.9, 0.1, -0.5):  # of the height that would be left
        shift = np.zeros((1, 68, 2), np.float32)
        shift[0, BESIDE_LOWER] = 0.7 * (share - 1) * height[0]
        shift[0, BESIDE_UPPER] = -0.3 * (share - 1) * height[0]
        got = np.asarray(unfolded(place, jnp.asarray(shift)))
        left = height + got[:, BESIDE_LOWER] - got[:, BESIDE_UPPER]
        np.testing.assert_allclose(left, max(share, MIN_HEIGHT) * height, atol=1e-6)
        centre = got[:, BESIDE_LOWER] + got[:, BESIDE_UPPER]
        np.testing.assert_allclose(
            centre, shift[:, BESIDE_LOWER] + shift[:, BESIDE_UPPER], atol=1e-6
        )
        others = np.delete(np.arange(68), [*BESIDE_LOWER, *BESIDE_UPPER])
        np.testing.assert_array_equal(got[0, others], 0)
