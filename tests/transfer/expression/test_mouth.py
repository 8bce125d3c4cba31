"""How much of the source's mouth is shown."""

import jax.numpy as jnp
import numpy as np
import pytest

from glow_jax.io.landmarks68 import LOWER_EDGES, UPPER_EDGES
from tests.support.expressions import face
from transfer.expression.mouth import LUMA, share, tint
from transfer.expression.openings import between_eyes, lip_gap, newly_open


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


def test_a_tint_is_the_hue_of_the_targets_light_and_not_its_brightness() -> None:
    grey = jnp.full((2, 3), 120.0)
    warm = jnp.array([[150.0, 100.0, 80.0], [75.0, 50.0, 40.0]])
    np.testing.assert_allclose(tint(grey, 0.5 * grey), 1, rtol=1e-6)
    found = np.asarray(tint(warm, grey))
    assert (found[:, 0] > found[:, 1]).all() and (found[:, 1] > found[:, 2]).all()
    np.testing.assert_allclose(found @ np.array(LUMA), 1, rtol=1e-5)
    black, white = jnp.zeros((1, 3)), jnp.full((1, 3), 255.0)
    red = jnp.array([[255.0, 0, 0]])
    for one, other in [(black, white), (red, white), (white, red), (red, 255 - red)]:
        found = np.asarray(tint(one, other))
        assert np.isfinite(found).all() and found.min() >= 0.5 and found.max() <= 2
