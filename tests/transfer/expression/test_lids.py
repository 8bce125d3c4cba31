"""Shut eyes: the line of lashes between lids that meet."""

import jax.numpy as jnp
import numpy as np
import pytest

from transfer.expression.lids import closed_lids

SIZE = (64, 64)
UPPER, LOWER = [37, 38, 43, 44], [41, 40, 47, 46]
GREY = 150.0


@pytest.fixture
def face() -> np.ndarray:
    """Landmarks (1, 68, 2) of a face whose eyes are open."""
    marks = np.full((68, 2), 0.5, np.float32)
    for start, left in ((36, 0.3), (42, 0.6)):
        x = left + np.array([0, 0.03, 0.07, 0.1, 0.07, 0.03])
        y = 0.4 + np.array([0, -0.02, -0.02, 0, 0.02, 0.02])
        marks[start : start + 6] = np.stack([x, y], 1)
    for start, left in ((17, 0.28), (22, 0.58)):
        marks[start : start + 5] = np.stack([left + np.arange(5) * 0.03, np.full(5, 0.32)], 1)
    return marks[None]


def shut(face: np.ndarray, share: float, eyes: slice = slice(0, 4)) -> np.ndarray:
    """The landmarks when lids have gone `share` of the way to the line where they meet."""
    after = face.copy()
    upper, lower = UPPER[eyes], LOWER[eyes]
    middle = (face[:, upper] + face[:, lower]) / 2
    for lids in (upper, lower):
        after[:, lids] += np.float32(share) * (middle - face[:, lids])
    return after


def line(face: np.ndarray, after: np.ndarray, size: tuple[int, int] = SIZE) -> np.ndarray:
    images = jnp.full((len(face), *SIZE, 3), GREY, jnp.uint8)
    return np.asarray(closed_lids(images, jnp.asarray(face), jnp.asarray(after), size))


@pytest.mark.parametrize("share", [-0.5, 0.0, 0.3, 0.49])
def test_eyes_that_stay_half_open_have_no_line(face: np.ndarray, share: float) -> None:
    assert not line(face, shut(face, share)).any()


def test_a_shut_eye_has_a_dark_line_where_its_lids_meet(face: np.ndarray) -> None:
    found = line(face, shut(face, 1.0))[0]
    removed = found[..., 3]
    assert removed.min() >= 0 and removed.max() == 1
    row, column = np.nonzero(removed > 0.1)
    for left in (0.3, 0.6):
        eye = (column >= left * 64) & (column < (left + 0.1) * 64)
        assert eye.sum() > 5
        np.testing.assert_allclose(row[eye] + 0.5, 0.4 * 64, atol=2)
    outside = (column < 0.3 * 64 - 1) | (column > 0.7 * 64)
    assert not outside.any()
    whole = found[removed == 1]
    # The lashes are darker than the skin, which is GREY everywhere, and not black.
    assert (whole[:, :3] < 0.7 * GREY).all() and (whole[:, :3] > 0.3 * GREY).all()


def test_one_eye_may_wink(face: np.ndarray) -> None:
    found = line(face, shut(face, 1.0, slice(0, 2)))[0]
    column = np.nonzero(found[..., 3])[1]
    assert len(column) and column.max() < 32


def test_the_line_is_the_same_at_every_size(face: np.ndarray) -> None:
    after = shut(face, 0.9)
    large = line(face, after, (256, 256)).reshape(1, 64, 4, 64, 4, 4).mean((2, 4))
    total = line(face, after).sum((1, 2))
    np.testing.assert_allclose(large.sum((1, 2)), total, rtol=0.15)


def test_the_line_grows_smoothly(face: np.ndarray) -> None:
    shares = np.linspace(0.4, 1, 25)
    removed = [line(face, shut(face, share))[..., 3].sum() for share in shares]
    steps = np.diff(removed)
    assert np.abs(steps).max() < 0.25 * max(removed)


def test_each_picture_has_its_own_line(face: np.ndarray) -> None:
    both = np.concatenate([face, face])
    after = np.concatenate([shut(face, 1.0), face])
    found = line(both, after)
    np.testing.assert_array_equal(found[:1], line(face, after[:1]))
    assert not found[1].any()
