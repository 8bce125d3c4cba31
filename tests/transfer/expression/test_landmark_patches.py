"""Features of landmarks are of the picture around each landmark, in the frame of the face."""

import jax
import jax.numpy as jnp
import numpy as np

from glow_jax.io.landmarks68 import N_LANDMARKS
from tests.support.expressions import SIDE, face, portraits
from transfer.expression.features import make_template
from transfer.expression.landmark_patches import N_PATCH_FEATURES, patch_features

PLACE = face()
TEMPLATE = make_template(PLACE[None].astype(np.float64))
FEATURES = jax.jit(patch_features, static_argnums=3)
N_EDGES = N_PATCH_FEATURES - 2 * N_LANDMARKS


def edges(images: np.ndarray, landmarks: np.ndarray, scale: float = 30.0) -> np.ndarray:
    """(N, 68, 8 orientations, 3 rows, 3 columns)."""
    seen, _ = FEATURES(jnp.asarray(images), jnp.asarray(landmarks), TEMPLATE, scale)
    assert seen.shape == (len(images), N_PATCH_FEATURES) and seen.dtype == np.float32
    return np.asarray(seen)[:, :N_EDGES].reshape(-1, N_LANDMARKS, 8, 3, 3)


def test_features_turn_with_the_face() -> None:
    images, marks = portraits(2), np.stack([PLACE, PLACE])
    turned = (marks - 0.5)[..., ::-1] * np.array([-1, 1], np.float32) + 0.5  # clockwise
    one, other = edges(images, marks), edges(np.rot90(images, -1, (1, 2)).copy(), turned)
    assert one.max() > 0.1
    inside = slice(27, 68)  # the jaw's squares reach beyond the picture
    np.testing.assert_allclose(one[:, inside], other[:, inside], atol=2e-3)


def test_an_edge_is_seen_by_the_landmarks_near_it_where_it_is() -> None:
    images = np.full((1, SIDE, SIDE, 3), 80, np.uint8)
    x = PLACE[30, 0] * SIDE  # the tip of the nose
    images[:, :, int(x) + 2 :] = 200  # brighter on the right
    found = edges(images, PLACE[None])[0]
    assert found[30, 0, 1, 1:].max() > 0.3  # rightwards, to the right of the nose
    assert found[30, 4].max() < 0.01  # leftwards
    assert found[36].max() < 0.05  # the outer corner of the right eye is far away
    # In finer squares, half as wide, the edge is farther from the middle.
    finer = edges(images, PLACE[None], 60.0)[0]
    assert finer[30, 0, 1, 2] > finer[30, 0, 1, 1]


def test_the_shape_is_that_of_the_landmarks() -> None:
    moved = PLACE.copy()
    moved[8, 1] += 0.05  # the chin, downwards
    images = jnp.asarray(portraits(2))
    seen, _ = FEATURES(images, jnp.asarray(np.stack([PLACE, moved])), TEMPLATE, 30.0)
    shape = np.asarray(seen)[:, N_EDGES:].reshape(2, N_LANDMARKS, 2)
    change = shape[1] - shape[0]
    assert change[8, 1] > 0.05
    np.testing.assert_allclose(np.delete(change.ravel(), 17), 0, atol=1e-5)
