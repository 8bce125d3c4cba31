"""How much of the source's mouth is shown."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from glow_jax.io.landmarks68 import LIP_OUTER_EDGES, LIP_PAIRS, LOWER_EDGES, UPPER_EDGES
from tests.support.expressions import SIDE, UNITS, face, random_expressions
from transfer.expression import model as em
from transfer.expression.mouth import (
    GREEN,
    LIGHT,
    MAX_TINT,
    MIN_COLOUR,
    USUAL,
    WARMTH,
    share,
    source_mouth,
    tint,
)
from transfer.expression.openings import between_eyes, lip_gap, newly_open, parted_less
from transfer.grey import LUMA


def lips(gap: float) -> jnp.ndarray:
    """(1, 68, 2): the plain face with a gap between its lips, in distances between the eyes."""
    points = face().copy()
    across = float(np.linalg.norm(np.asarray(between_eyes(jnp.asarray(points[None])))))
    points[LOWER_EDGES[4:]] = points[UPPER_EDGES[4:]] + (0, gap * across)
    return jnp.asarray(points[None])


def test_a_gap_is_measured_in_distances_between_the_eyes() -> None:
    np.testing.assert_allclose(lip_gap(lips(0.25), lips(0.25)), 0.25, atol=1e-3)
    np.testing.assert_allclose(lip_gap(lips(-0.1), lips(0.1)), 0)


@pytest.mark.parametrize(
    ("before", "after", "shown", "wanted"),
    [
        (0.0, 0.2, 0.2, 1.0),  # shut lips part, as the source's
        (0.0, 0.2, 0.12, 1.0),  # the source's mouth is open enough to be stretched
        (0.0, 0.2, 0.0, 0.0),  # the source's mouth shows nothing
        (0.0, 0.02, 0.015, 0.0),  # the source's lips may meet: what is seen may be lips
        (0.2, 0.2, 0.2, 0.0),  # the mouth does not open further
        (0.2, 0.1, 0.2, 0.0),
        (0.2, 0.24, 0.3, 0.0),  # it opens a little: its own teeth are kept
        (0.1, 0.1 / 0.6, 0.3, 0.5),  # between the two
    ],
)
def test_the_source_is_shown_where_lips_part(
    before: float, after: float, shown: float, wanted: float
) -> None:
    got = share(lips(before), lips(after), lips(shown))
    np.testing.assert_allclose(got, wanted, atol=0.01)


def test_the_share_is_continuous_in_the_opening() -> None:
    steps = [float(share(lips(0.1), lips(g), lips(0.3))[0]) for g in np.linspace(0.1, 0.3, 41)]
    assert steps[0] == 0 and steps[-1] == 1 and np.all(np.diff(steps) >= 0)
    assert np.diff(steps).max() < 0.15


def test_newly_open_is_the_part_of_the_gap_that_is_new() -> None:
    np.testing.assert_allclose(newly_open(lips(0.1), lips(0.4) - lips(0.1)), 0.75, atol=1e-2)


def test_lips_that_hardly_part_show_little() -> None:
    """A hundredth of the eyes' distance is a landmark's noise: no plate between shut lips."""
    for gap, wanted in [(0.01, 0.2), (0.03, 0.6), (0.2, 1.0)]:
        place, moves = lips(0.0), lips(gap) - lips(0.0)
        adapted = dataclasses.replace(random_expressions(), smoothing=np.array(1e-4, np.float32))
        np.testing.assert_allclose(em.opening_of(adapted, place, moves), wanted, atol=0.02)
        np.testing.assert_allclose(em.opening_of(random_expressions(), place, moves), 1)
    assert share(lips(0.0), lips(0.01), lips(0.2)) < 1e-6
    assert share(lips(0.0), lips(0.2), lips(0.2)) == 1


def test_an_open_mouth_opens_less_far_and_a_shut_one_as_far() -> None:
    """The combined gap of .1 and .2 under a norm of 1.5; the upper lip moves as before."""
    for before, wanted in [(0.0, 0.2), (-0.05, 0.15), (0.1, (0.1**1.5 + 0.2**1.5) ** (2 / 3))]:
        place = lips(before)
        across = between_eyes(place)
        down = jnp.stack([-across[:, 1], across[:, 0]], -1)[:, None]
        wider = lips(before + 0.2) - place
        moved = parted_less(place, wider, down)
        got = lip_gap(place + moved, place)
        np.testing.assert_allclose(got, wanted, atol=1e-3)
        np.testing.assert_array_equal(moved[:, UPPER_EDGES], wider[:, UPPER_EDGES])
        np.testing.assert_array_equal(parted_less(place, -wider, down), -wider)
        np.testing.assert_array_equal(parted_less(place, 0 * wider, down), 0)
        less = (wider - moved)[:, LOWER_EDGES[LIP_PAIRS]]
        outer = (wider - moved)[:, LIP_OUTER_EDGES[3:]]  # the lip keeps its thickness
        np.testing.assert_allclose(outer, less, atol=1e-7)


def test_a_tint_is_in_part_the_ratio_of_the_faces_colours() -> None:
    """Light more than warmth, warmth more than green: skins differ between green and magenta."""
    grey = jnp.full((1, 3), 120.0) - MIN_COLOUR
    np.testing.assert_array_equal(tint(grey, grey), 1)
    np.testing.assert_allclose(tint(2 * grey + MIN_COLOUR, grey), 2**LIGHT, rtol=1e-5)
    warm = jnp.array([[150.0, 120.0, 90.0]]) - MIN_COLOUR
    found = np.log(tint(warm, grey))[0]
    assert found[0] - found[2] == pytest.approx(WARMTH * np.log(150 / 90), rel=1e-4)
    green = jnp.array([[120.0, 145.0, 120.0]]) - MIN_COLOUR
    found = np.log(tint(green, grey))[0]
    assert found[1] - found[0] == pytest.approx(GREEN * np.log(145 / 120), rel=1e-4)
    assert found[0] == pytest.approx(found[2]) and found @ np.array(LUMA) == pytest.approx(
        LIGHT * LUMA[1] * np.log(145 / 120), rel=1e-4
    )
    np.testing.assert_allclose(tint(warm, green) * tint(green, warm), 1, rtol=1e-5)
    black, white = jnp.zeros((1, 3)), jnp.full((1, 3), 255.0)
    red = jnp.array([[255.0, 0, 0]])
    for one, other in [(black, white), (red, white), (white, red), (red, 255 - red)]:
        found = np.asarray(tint(one, other))
        assert np.isfinite(found).all() and found.min() >= 1 / MAX_TINT and found.max() <= MAX_TINT


def test_what_no_skin_explains_is_light() -> None:
    """Beyond USUAL all of a difference counts: an eighth of the luma, or blue light."""
    face = jnp.array([[170.0, 130.0, 110.0]])
    dark = (face + MIN_COLOUR) / 8 - MIN_COLOUR
    wanted = np.exp(np.log(8) - (1 - LIGHT) * USUAL[0])
    np.testing.assert_allclose(tint(face, dark), wanted, rtol=1e-4)
    blue = jnp.array([[30.0, 40.0, 150.0]])
    teeth = np.asarray(tint(face, blue) * jnp.array([[35.0, 45.0, 200.0]]))[0]
    assert teeth.max() / teeth.min() < 2


def test_a_dark_sources_mouth_is_lit_as_the_target() -> None:
    """Its grey levels are multiplied by the tint of the target's colour over the source's."""
    model = random_expressions()
    target, source = (np.full((1, SIDE, SIDE, 3), grey, np.uint8) for grey in (180, 60))
    nothing = jnp.zeros((1, len(UNITS)), jnp.float32)
    details = jnp.asarray(source, jnp.float32)
    faces = jnp.asarray(target), jnp.asarray(source)
    marks = (em.find_landmarks(model, some) for some in faces)
    got = source_mouth(model, faces[0], nothing, nothing, faces[1], details, *marks)
    wanted = 60 * float(tint(jnp.full((1, 3), 180.0), jnp.full((1, 3), 60.0))[0, 0])
    assert wanted > 100
    np.testing.assert_allclose(got[0, 20:-20, 20:-20, :3], wanted, rtol=0.01)
