"""Warping by landmarks: what is moved, what stays, and that nothing is ever NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transfer.expression.warp import _bicubic, _spline, warp

SIDE = 32
WARP = jax.jit(warp)


def smooth(side: int = SIDE, channels: int = 2) -> np.ndarray:
    """(1, H, W, C) a picture without edges, 0 to 255."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    waves = [np.sin(7 * x + 3 * y + c) + np.cos(9 * y - 4 * x * y + c) for c in range(channels)]
    return (np.stack(waves, -1)[None] * 60 + 127).astype(np.float32)


def lattice(low: float, high: float, n: int = 6) -> np.ndarray:
    """(1, n n, 2) points of a square."""
    t = np.linspace(low, high, n)
    return np.stack(np.meshgrid(t, t), -1).reshape(1, -1, 2).astype(np.float32)


def random_points(seed: int = 0, n: int = 68) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.2, 0.8, (1, n, 2)).astype(np.float32)


def warped(image: np.ndarray, marks: np.ndarray, moves: np.ndarray) -> np.ndarray:
    return np.asarray(WARP(jnp.asarray(image), jnp.asarray(marks), jnp.asarray(moves)))


@pytest.mark.parametrize("shape", [(32, 32, 3), (24, 40, 1)])
def test_without_moves_the_picture_comes_back(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).uniform(0, 255, (2, *shape)).astype(np.float32)
    marks = np.concatenate([random_points(1), random_points(2)])
    np.testing.assert_array_equal(warped(image, marks, 0 * marks), image)


@pytest.mark.parametrize("step", [(2 / SIDE, 0), (0, -2 / SIDE), (1.5 / SIDE, 1 / SIDE)])
def test_a_translation_moves_the_middle(step: tuple[float, float]) -> None:
    image, marks = smooth(), lattice(0.25, 0.75)
    moves = np.broadcast_to(np.array(step, np.float32), marks.shape)
    got = warped(image, marks, moves)
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
    rows, columns = (y - step[1]) * SIDE - 0.5, (x - step[0]) * SIDE - 0.5
    wanted = _bicubic(*(jnp.asarray(a, jnp.float32) for a in (image[0], rows, columns)))
    middle = slice(SIDE * 3 // 8, SIDE * 5 // 8)
    np.testing.assert_allclose(
        got[0, middle, middle], np.asarray(wanted)[middle, middle], atol=0.06 * 60
    )
    still = np.abs(got - image).max(-1)[0]
    assert still[middle, middle].mean() > 5 > still[[0, -1]].max()


def test_a_landmark_carries_its_own_pixel() -> None:
    """One landmark among others that stay; the colour at its old place is at its new one."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    image, marks = (8 * columns - 8 * rows)[None, ..., None], lattice(0.1, 0.9, 4)
    one = np.array([[(14.5 / SIDE, 16.5 / SIDE)]], np.float32)
    marks = np.concatenate([marks, one], 1)
    moves = np.zeros_like(marks)
    moves[0, -1] = (3 / SIDE, -2 / SIDE)
    got = warped(image, marks, moves)[0]
    assert image[0, 14, 17] - image[0, 16, 14] == 40
    np.testing.assert_allclose(got[14, 17], image[0, 16, 14], atol=2)


def test_each_picture_is_moved_by_its_own_moves() -> None:
    image = np.concatenate([smooth(), smooth()[:, ::-1]])
    marks = np.concatenate([random_points(1, 20), random_points(2, 20)])
    moves = np.random.default_rng(3).normal(0, 0.02, marks.shape).astype(np.float32)
    both = warped(image, marks, moves)
    for i in range(2):
        one = warped(image[i : i + 1], marks[i : i + 1], moves[i : i + 1])
        np.testing.assert_allclose(both[i], one[0], atol=1e-2)


def test_the_spline_goes_through_its_points_and_is_exact_for_planes() -> None:
    points, values = random_points(4, 30)[0], random_points(5, 30)[0] - 0.5
    values *= 0.1
    through = _spline(jnp.asarray(points), jnp.asarray(values), jnp.asarray(points))
    assert np.abs(np.asarray(through) - values).max() < 0.05
    plane = (points @ np.array([[0.2, -0.1], [0.05, 0.3]], np.float32) + 0.1).astype(np.float32)
    at = random_points(6, 50)[0]
    got = _spline(jnp.asarray(points), jnp.asarray(plane), jnp.asarray(at))
    wanted = at @ np.array([[0.2, -0.1], [0.05, 0.3]]) + 0.1
    np.testing.assert_allclose(np.asarray(got), wanted, atol=1e-4)


def test_bicubic_is_exact_at_whole_shifts_and_on_straight_lines() -> None:
    image = np.random.default_rng(0).uniform(0, 255, (12, 10, 3)).astype(np.float32)
    rows, columns = np.mgrid[:12, :10].astype(np.float32)
    for down, right in ((0, 0), (2, -1), (-3, 4)):
        got = _bicubic(jnp.asarray(image), jnp.asarray(rows + down), jnp.asarray(columns + right))
        r = np.clip(np.arange(12) + down, 0, 11)[:, None]
        c = np.clip(np.arange(10) + right, 0, 9)[None]
        np.testing.assert_array_equal(np.asarray(got), image[r, c])
    ramp = (3 * rows - 2 * columns)[..., None]
    got = _bicubic(jnp.asarray(ramp), jnp.asarray(rows + 0.3), jnp.asarray(columns - 0.6))
    np.testing.assert_allclose(np.asarray(got)[2:-2, 2:-2], ramp[2:-2, 2:-2] + 2.1, atol=1e-3)


def test_gradients_are_finite_and_right() -> None:
    image, marks = jnp.asarray(smooth()), jnp.asarray(random_points(7, 12))

    @jax.jit
    def total(moves: jax.Array) -> jax.Array:
        return (warp(image, marks, moves) ** 2).mean() / 1000

    for scale in (0.0, 0.02):
        moves = jnp.asarray(scale * (random_points(8, 12) - 0.5))
        gradient = np.asarray(jax.grad(total)(moves))
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
        step = jnp.zeros_like(moves).at[0, 3, 0].set(2e-3)
        slope = (total(moves + step) - total(moves - step)) / 4e-3
        np.testing.assert_allclose(gradient[0, 3, 0], slope, rtol=0.1, atol=0.02)


@pytest.mark.parametrize("kind", ["all in one place", "pairs", "on the border", "far outside"])
def test_odd_landmarks_never_give_nan(kind: str) -> None:
    marks = random_points(9)
    if kind == "all in one place":
        marks[:] = 0.5
    elif kind == "pairs":
        marks[:, ::2] = marks[:, 1::2]
    elif kind == "on the border":
        marks[:, :10] = 0.0
    else:
        marks = marks * 40 - 20
    moves = np.random.default_rng(1).normal(0, 0.05, marks.shape).astype(np.float32)
    got = warped(smooth(), marks, moves)
    assert np.isfinite(got).all()
    assert got.min() > -100 and got.max() < 400  # no more than a cubic's overshoot
    image, moved = jnp.asarray(smooth()), jnp.asarray(moves)
    gradient = jax.jit(jax.grad(lambda m: warp(image, jnp.asarray(marks), m).mean()))(moved)
    assert np.isfinite(np.asarray(gradient)).all()


def test_moves_however_large_stay_within_the_pictures_colours() -> None:
    marks = random_points(10)
    moves = np.random.default_rng(1).normal(0, 3, marks.shape).astype(np.float32)
    got = warped(smooth(), marks, moves)
    assert np.isfinite(got).all() and got.min() > -100 and got.max() < 400


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="LAPACK is of CPUs")
def test_systems_of_a_batch_are_solved_one_by_one() -> None:
    """Calls of LAPACK for batches, two at a time, can wait for each other for ever."""
    marks = np.concatenate([random_points(seed) for seed in range(3)])
    arrays = np.zeros((3, SIDE, SIDE, 1), np.float32), marks, 0.01 * marks
    program = WARP.lower(*map(jnp.asarray, arrays)).compile().as_text()
    calls = [line for line in program.splitlines() if "lapack_sgetrf" in line]
    assert calls and not any("f32[3," in line for line in calls)
