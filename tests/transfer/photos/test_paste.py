"""Edited faces back into photographs: what must not change does not, and what moves, moves."""

import numpy as np
import pytest
from scipy import ndimage

from glow_jax.io.landmarks68 import crop_transform
from tests.support import photographs
from tests.support.expressions import face
from transfer.photos.crop import crop, transform_points
from transfer.photos.paste import face_mask, membrane, paste_picture, paste_warp, spline_shift

SIDE = 256
NONE = np.zeros((SIDE, SIDE, 4), np.float32)
GREY = np.float32([1, 1, 1, 0])


def transform_of(scale: float, turn_deg: float, left: float, top: float) -> np.ndarray:
    """Of a square `scale` pixels wide, turned around its corner at (left, top)."""
    angle = np.deg2rad(turn_deg)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / scale
    return np.column_stack([turn, -turn @ (left, top)])


def waves(height: int, width: int, period: float = 60) -> np.ndarray:
    """A smooth photograph."""
    down, across = np.mgrid[:height, :width] * (2 * np.pi / period)
    channels = [np.sin(down + across), np.cos(0.7 * across - down), np.sin(0.5 * down)]
    return np.rint(127.5 + 90 * np.stack(channels, -1)).astype(np.uint8)


def smile(size: float = 0.05) -> np.ndarray:
    """(68, 2) moves: the mouth's corners go out and up."""
    moves = np.zeros((68, 2), np.float32)
    for i, sign in ((48, -1), (54, 1)):
        moves[i] = (sign * size, -size)
    return moves


PLACES = {
    "upright": ((500, 600), transform_of(300, 0, 150, 90)),
    "turned": ((900, 900), transform_of(420, 33, 350, 120)),
    "smaller than the model": ((300, 300), transform_of(50, -20, 90, 110)),
    "over the border": ((400, 300), transform_of(320, 5, -90, 120)),
}


@pytest.mark.parametrize("place", PLACES)
def test_where_nothing_is_edited_the_photograph_comes_back(place: str) -> None:
    (height, width), transform = PLACES[place]
    photograph = waves(height, width)
    made = paste_warp(photograph, transform, face(), 0 * smile(), NONE)
    np.testing.assert_array_equal(made, photograph)
    assert made is not photograph


def test_a_grey_photograph_stays_grey() -> None:
    (height, width), transform = PLACES["upright"]
    grey = np.repeat(waves(height, width)[..., :1], 3, -1)
    red = NONE.copy()
    red[100:150, 100:150] = (90, 10, 10, 0.5)
    made = paste_warp(grey, transform, face(), smile(), red)
    np.testing.assert_array_equal(made, np.repeat(made[..., :1], 3, -1))
    assert (made != grey).any()
    picture = np.full((SIDE, SIDE, 3), (200, 40, 40), np.uint8)
    made = paste_picture(grey, transform, face(), picture)
    np.testing.assert_array_equal(made, np.repeat(made[..., :1], 3, -1))
    coloured = paste_warp(waves(height, width), transform, face(), 0 * smile(), red)
    assert (coloured != np.repeat(coloured[..., :1], 3, -1)).any()


@pytest.mark.parametrize("place", PLACES)
def test_nothing_outside_the_crop_or_in_what_was_given_changes(place: str) -> None:
    (height, width), transform = PLACES[place]
    photograph = waves(height, width)
    before = photograph.copy()
    picture = np.full((64, 64, 3), 90, np.uint8)
    results = [
        paste_warp(photograph, transform, face(), smile(), NONE + 40 * GREY),
        paste_picture(photograph, transform, face(), picture),
    ]
    np.testing.assert_array_equal(photograph, before)
    row, column = np.mgrid[:height, :width]
    where = transform_points(np.stack([column + 0.5, row + 0.5], -1).reshape(-1, 2), transform)
    inside = ((where > 0) & (where < 1)).all(-1).reshape(height, width)
    for result in results:
        assert result.shape == photograph.shape and result.dtype == np.uint8
        np.testing.assert_array_equal(result[~inside], photograph[~inside])
        assert (result != photograph).any()


@pytest.mark.parametrize("place", ["upright", "turned"])
def test_the_photograph_moves_as_its_crop_does(place: str) -> None:
    """Cutting out and moving is moving and cutting out."""
    (height, width), transform = PLACES[place]
    photograph = waves(height, width)
    result = paste_warp(photograph, transform, face(), smile(), NONE)
    shift = spline_shift(face(), smile()) * SIDE
    row, column = np.mgrid[:SIDE, :SIDE]
    small = crop(photograph, transform, SIDE).astype(float)
    at = (row + shift[..., 1], column + shift[..., 0])
    wanted = np.stack([ndimage.map_coordinates(small[..., i], at, mode="nearest") for i in (0, 1)])
    made = crop(result, transform, SIDE).astype(float)
    for i in (0, 1):
        assert np.abs(made[..., i] - wanted[i]).mean() < 1.5
        assert np.abs(small[..., i] - wanted[i]).mean() > 4
    # The mouth's corner now shows what was where it came from.
    for corner in (48, 54):
        x, y = ((face() + smile())[corner] * SIDE).astype(int)
        far = shift[y, x] / SIDE
        np.testing.assert_allclose(far, -smile()[corner], atol=0.012)


def test_an_addition_is_added_in_the_face_and_dies_away() -> None:
    photograph = np.full((500, 600, 3), 100, np.uint8)
    photograph[0, 0] = (100, 101, 102)  # not grey, or no colour would be added
    transform = PLACES["upright"][1]
    change = np.zeros((64, 64, 4), np.float32) + np.float32([10, -20, 30, 0])
    result = paste_warp(photograph, transform, face(), 0 * smile(), change).astype(int)
    nose = ((face()[30] * 300) + (150, 90)).astype(int)
    np.testing.assert_allclose(result[nose[1], nose[0]], (110, 80, 130))
    assert np.abs(np.diff(result, axis=0)).max() <= 3  # 30 grey levels, over a soft rim
    result = paste_warp(photograph, transform, face(), 0 * smile(), change * 100)
    assert set(result[nose[1], nose[0]]) == {0, 255}
    half = np.zeros((64, 64, 4), np.float32) + np.float32([7, 7, 7, 0.5])
    result = paste_warp(photograph, transform, face(), 0 * smile(), half)
    np.testing.assert_allclose(result[nose[1], nose[0]], 57)


def test_a_pictures_own_crop_pasted_changes_hardly_anything() -> None:
    taken = photographs.photograph("36_1", turn_deg=12)
    transform = crop_transform(taken.landmarks)
    marks = transform_points(taken.landmarks, transform)
    picture = crop(taken.pixels, transform, SIDE)
    result = paste_picture(taken.pixels, transform, marks, picture).astype(int)
    assert np.abs(result - taken.pixels).mean() < 0.7
    # A picture whose light is another one agrees at the seam, and so everywhere.
    other = (picture * 0.8 + 20).astype(np.uint8)
    result = paste_picture(taken.pixels, transform, marks, other)
    again = crop(result, transform, SIDE).astype(int)
    rim = (face_mask(marks) > 0.02) & (face_mask(marks) < 0.4)
    assert np.abs(again - picture)[rim].mean() < 2.5
    assert np.abs(other.astype(int) - picture)[rim].mean() > 8


def test_the_membrane_is_harmonic_and_agrees_around_the_mask() -> None:
    n = 96
    mask = face_mask(face())
    picture = np.full((n, n, 3), 60, np.uint8)
    down, across = np.mgrid[:n, :n]
    ramp = np.stack([0.4 * down, 0.3 * across, 0.2 * (down + across)], -1)
    around = np.rint(60 + ramp).astype(np.uint8)
    inside = ndimage.zoom(mask, n / len(mask), order=1) > 0.45
    around[ndimage.binary_erosion(inside, iterations=9)] = 255  # what is there does not count
    found = membrane(around, picture, mask)
    np.testing.assert_allclose(found[8:-8, 8:-8], ramp[8:-8, 8:-8], atol=3)
    whole = ndimage.laplace(found[..., 0])[ndimage.binary_erosion(inside, iterations=4)]
    assert np.abs(whole).max() < 1e-2


def test_the_mask_holds_the_face_and_not_the_border() -> None:
    mask = face_mask(face())
    assert mask.min() >= 0 and mask.max() <= 1
    for x, y in (face()[17:] * 256).astype(int):
        assert mask[y, x] > 0.9
    assert mask[[0, -1]].max() == mask[:, [0, -1]].max() == 0
    huge = face_mask(0.5 + 3 * (face() - 0.5))  # of a face larger than its crop
    assert huge[128, 128] > 0.9 and huge[[0, -1]].max() < 0.01


def test_movements_die_away_at_the_crops_border() -> None:
    shift = spline_shift(face(), smile(0.2))
    assert np.abs(shift).max() > 0.05
    assert np.abs(np.concatenate([shift[[0, -1]], shift[:, [0, -1]].swapaxes(0, 1)])).max() < 1e-3
    assert not spline_shift(face(), 0 * smile()).any()
