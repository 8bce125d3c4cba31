"""The source's shut lids in a photograph: where they are shown, and in which colours."""

import numpy as np
import pytest

from glow_jax.io.landmarks68 import LOWER_EDGES, MIRROR, UPPER_EDGES
from tests.support.expressions import face
from transfer.photos.lids import lids_mask, shuts_an_eye
from transfer.photos.paste import GRID, paste_lids

SIDE = 200
WHOLE = np.array([[1 / SIDE, 0, 0], [0, 1 / SIDE, 0]])
RIGHT, LEFT = slice(0, 2), slice(2, 4)  # of the pairs of lids


def shut(which: slice = slice(0, 4), share: float = 1.0) -> np.ndarray:
    """(68, 2): the plain face, whose lids have gone a share of the way to each other."""
    marks = face().astype(np.float64)
    upper, lower = UPPER_EDGES[which], LOWER_EDGES[which]
    middle = (marks[upper] + marks[lower]) / 2
    for edge in (upper, lower):
        marks[edge] += share * (middle - marks[edge])
    return marks


def at(mask: np.ndarray, eye: slice) -> float:
    """The mask's value in the middle of an eye."""
    x, y = (face()[UPPER_EDGES[eye]] + face()[LOWER_EDGES[eye]]).mean(0) / 2
    return float(mask[int(y * GRID), int(x * GRID)])


def test_only_eyes_that_are_shut_in_both_faces_are_shown() -> None:
    open_face = face().astype(np.float64)
    both = lids_mask(open_face, shut(), shut())
    assert min(at(both, RIGHT), at(both, LEFT)) > 0.9
    assert shuts_an_eye(open_face, shut())
    one = lids_mask(open_face, shut(RIGHT), shut())
    assert at(one, RIGHT) > 0.9 and at(one, LEFT) == 0
    other = lids_mask(open_face, shut(), shut(LEFT))
    assert at(other, RIGHT) == 0 and at(other, LEFT) > 0.9
    assert not lids_mask(open_face, open_face, shut()).any()
    assert not lids_mask(open_face, shut(), open_face).any()
    assert not shuts_an_eye(open_face, shut(share=0.4))
    assert not shuts_an_eye(shut(), shut())  # nothing is left to shut


def test_the_mask_of_a_mirrored_face_is_mirrored() -> None:
    def mirrored(marks: np.ndarray) -> np.ndarray:
        return (np.array([1, 0]) + np.array([-1, 1]) * marks)[MIRROR]

    open_face, turned = face().astype(np.float64), shut(RIGHT)
    turned[:, 0] += 0.02
    mask = lids_mask(open_face, turned, shut())
    other = lids_mask(mirrored(open_face), mirrored(turned), mirrored(shut()))
    np.testing.assert_allclose(other[:, ::-1], mask, atol=0.25)  # drawn in whole points
    assert np.abs(other[:, ::-1] - mask).mean() < 1e-3


def test_brows_and_noses_are_not_covered() -> None:
    mask = lids_mask(face().astype(np.float64), shut(), shut())
    for x, y in face()[[*range(17, 27), *range(28, 36)]]:
        assert mask[int(y * GRID), int(x * GRID)] < 0.02


@pytest.mark.parametrize("skin", [(60, 40, 30), (220, 180, 160)])
def test_lids_take_the_colours_around_and_keep_their_contrast(skin: tuple) -> None:
    """A line of lashes of a fifth of the skin's brightness, on skin of another colour."""
    photograph = np.full((SIDE, SIDE, 3), skin, np.uint8)
    picture = np.full((SIDE, SIDE, 3), (150, 150, 150), np.uint8)
    line = slice(98, 102)
    picture[line] = 30
    axis = np.abs(np.arange(GRID) / GRID - 0.5)
    mask = np.float32((axis[:, None] < 0.15) & (axis[None] < 0.3))
    made = paste_lids(photograph, WHOLE, mask, picture)
    np.testing.assert_array_equal(made[:60], photograph[:60])
    np.testing.assert_allclose(made[85, 70:130], np.tile(skin, (60, 1)), rtol=0.05)
    dark = made[100, 100].astype(float) + 8
    np.testing.assert_allclose(dark / (np.array(skin) + 8), 38 / 158, rtol=0.25)


def test_grey_photographs_get_no_colour() -> None:
    photograph = np.full((SIDE, SIDE, 3), 90, np.uint8)
    picture = np.full((SIDE, SIDE, 3), (200, 90, 90), np.uint8)
    picture[95:105] = (40, 30, 90)
    made = paste_lids(photograph, WHOLE, np.ones((GRID, GRID), np.float32), picture)
    assert (made == made[..., :1]).all() and (made != photograph).any()


def test_glitter_on_dark_lids_does_not_glare_on_light_ones() -> None:
    """Logarithms would make three times the brightness of light skin of a bright spot."""
    photograph = np.full((SIDE, SIDE, 3), (220, 190, 170), np.uint8)
    photograph[:20] = 255  # far from the lids
    picture = np.full((SIDE, SIDE, 3), 60, np.uint8)
    picture[96:104, 96:104] = 180
    axis = np.abs(np.arange(GRID) / GRID - 0.5)
    mask = np.float32((axis[:, None] < 0.15) & (axis[None] < 0.3))
    made = paste_lids(photograph, WHOLE, mask, picture)
    assert (made[60:140] <= np.array([220, 190, 170]) + 1).all()
    nothing = np.zeros((GRID, GRID), np.float32)
    np.testing.assert_array_equal(paste_lids(photograph, WHOLE, nothing, picture), photograph)
