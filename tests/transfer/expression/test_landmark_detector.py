"""The network that finds landmarks, and the features that are read around them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glow_jax.io.landmarks68 import MIRROR
from tests.support.expressions import SIDE, face, portraits
from transfer.expression import landmark_detector as lm
from transfer.expression.features import N_FEATURES, features, make_template

PLACE = face()
FEATURES, FIND = jax.jit(features), jax.jit(lm.detect_landmarks)


def speckled(n: int, seed: int = 0) -> lm.Batch:
    """Pictures with a bright patch where the face is, and the landmarks around it."""
    rng = np.random.default_rng(seed)
    shift = rng.uniform(-0.12, 0.12, (n, 2))
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
    far = np.hypot(x[None] - 0.5 - shift[:, :1, None], y[None] - 0.5 - shift[:, 1:, None])
    grey = 60 + 150 * np.exp(-((far / 0.15) ** 2)) + rng.normal(0, 2, far.shape)
    images = np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, -1)
    return lm.Batch(images, (PLACE[None] + shift[:, None]).astype(np.float32))


def test_landmarks_begin_at_their_mean_and_have_the_weights_shapes() -> None:
    params = lm.init(jax.random.key(0), jnp.asarray(PLACE))
    assert {k: v.shape for k, v in params.items()} == lm.parameter_shapes()
    found = np.asarray(FIND(params, jnp.asarray(portraits(2))))
    assert found.shape == (2, 68, 2)
    assert np.abs(found - PLACE).max() < 0.6


def test_larger_pictures_are_seen_at_the_networks_size() -> None:
    params = lm.init(jax.random.key(0), jnp.asarray(PLACE))
    small = portraits(2)
    large = small.repeat(2, 1).repeat(2, 2)
    apart = np.asarray(FIND(params, jnp.asarray(small)) - FIND(params, jnp.asarray(large)))
    assert apart.shape == (2, 68, 2) and np.abs(apart).max() < 0.05
    flat = np.zeros_like(small)  # without any contrast
    assert np.isfinite(np.asarray(FIND(params, jnp.asarray(flat)))).all()


@pytest.mark.slow
def test_training_lowers_the_loss() -> None:
    told: list[tuple[int, float]] = []
    data, others = speckled(64), speckled(16, seed=1)
    trained = lm.train_landmark_detector(
        data,
        n_steps=40,
        batch_size=8,
        learning_rate=3e-3,
        progress=lambda step, loss: told.append((step, loss)),
    )
    assert told[-1][0] == 40 and np.isfinite(told[-1][1])
    start = lm.init(jax.random.key(0), jnp.asarray(data.landmarks.mean(0)))
    before, after = (
        float(lm.loss(p, lm.Batch(*map(jnp.asarray, others)))) for p in (start, trained)
    )
    assert after < 0.9 * before, (before, after)


def test_mirrored_names_are_their_own_inverse() -> None:
    assert sorted(MIRROR) == list(range(68))
    np.testing.assert_array_equal(MIRROR[MIRROR], np.arange(68))
    turned = PLACE[MIRROR] * (-1, 1) + (1, 0)
    np.testing.assert_allclose(turned, PLACE, atol=1e-6)  # the face is symmetric


def test_augmented_pictures_keep_their_landmarks_in_place() -> None:
    """A dark cross is drawn on one landmark; it stays under that landmark or its twin."""
    n, which = 32, 36
    marks = np.tile(PLACE[None], (n, 1, 1)).astype(np.float32)
    images = np.full((n, SIDE, SIDE, 3), 180, np.uint8)
    marks[:, which] = (20.5 / SIDE, 27.5 / SIDE)
    images[:, 27, 20] = 0
    made = lm.augmented(jax.random.key(1), lm.Batch(jnp.asarray(images), jnp.asarray(marks)))
    assert made.images.dtype == jnp.uint8 and made.landmarks.shape == (n, 68, 2)
    seen = np.asarray(made.images).astype(int).sum(-1).reshape(n, -1).argmin(1)
    places = np.stack([seen % SIDE + 0.5, seen // SIDE + 0.5], 1)
    points = np.asarray(made.landmarks) * SIDE
    straight = np.abs(points[:, which] - places).max(1) < 0.01
    mirrored = np.abs(points[:, MIRROR[which]] - places).max(1) < 0.01
    assert (straight | mirrored).all()
    assert 5 < mirrored.sum() < n - 5
    assert len({tuple(p) for p in places}) > 8  # shifted


# -- features


def test_features_do_not_know_left_from_right() -> None:
    template = make_template(PLACE[None].astype(np.float64))
    images, marks = jnp.asarray(portraits(2)), jnp.asarray(np.tile(PLACE[None], (2, 1, 1)))
    marks = marks + 0.01 * jax.random.normal(jax.random.key(0), marks.shape, marks.dtype)
    turned = marks[:, MIRROR] * jnp.array([-1.0, 1.0], marks.dtype)[None, None]
    turned = turned + jnp.array([1.0, 0.0], marks.dtype)[None, None]
    one = np.asarray(FEATURES(images, marks, template))
    other = np.asarray(FEATURES(images[:, :, ::-1], turned, template))
    assert one.shape == (2, N_FEATURES) and np.isfinite(one).all()
    np.testing.assert_allclose(one, other, atol=1e-4)
    assert np.abs(one[0] - one[1]).max() > 0.05


def test_features_do_not_depend_on_where_and_how_large_the_face_is() -> None:
    template = make_template(PLACE[None].astype(np.float64))
    small, place = portraits(2), jnp.asarray(np.tile(PLACE[None], (2, 1, 1)))
    large = np.asarray(jax.image.resize(small.astype(np.float32), (2, 128, 128, 3), "linear"))
    one, other = (
        np.asarray(FEATURES(jnp.asarray(image.astype(np.uint8)), place, template))
        for image in (small, large)
    )
    assert np.corrcoef(one[0], other[0])[0, 1] > 0.98


def test_a_template_is_symmetric_in_distances_between_the_eyes() -> None:
    rng = np.random.default_rng(0)
    template = make_template(PLACE[None] + rng.normal(0, 0.01, (50, 68, 2)))
    assert template.dtype == np.float32
    np.testing.assert_allclose(template[MIRROR] * (-1, 1), template, atol=1e-6)
    np.testing.assert_allclose(template[42:48].mean(0) - template[36:42].mean(0), (1, 0), atol=1e-5)
