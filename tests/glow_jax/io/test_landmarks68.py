"""The 68-landmark conventions, against copies that were written apart and a face that is drawn."""

import numpy as np

from eval import faces, fit_rendered, rendered
from glow_jax.io import landmarks68 as lm68
from tests.support.expressions import face
from transfer.expression import features, mean_shape

MIRRORED_BEFORE = [
    16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 26, 25, 24, 23, 22, 21, 20, 19, 18,
    17, 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40, 54, 53,
    52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
]  # fmt: skip


def test_the_mirror_is_the_one_all_parts_used() -> None:
    assert lm68.MIRROR.tolist() == MIRRORED_BEFORE
    for module in (faces, fit_rendered, features, mean_shape):
        assert module.MIRROR is lm68.MIRROR  # type: ignore[attr-defined]
    assert rendered.STEADY is lm68.STEADY is features.STEADY  # type: ignore[attr-defined]


def test_the_mirror_is_its_own_inverse() -> None:
    assert sorted(lm68.MIRROR) == list(range(lm68.N_LANDMARKS))
    np.testing.assert_array_equal(lm68.MIRROR[lm68.MIRROR], np.arange(lm68.N_LANDMARKS))


def test_parts_lie_where_they_are_in_a_plain_face() -> None:
    x, y = face().T
    assert x[lm68.RIGHT_EYE].max() < x[lm68.NOSE].mean() < x[lm68.LEFT_EYE].min()
    assert y[lm68.BROWS].mean() < y[lm68.EYES].mean() < y[lm68.NOSE].mean()
    assert y[lm68.NOSE].mean() < y[lm68.INNER_LIPS].mean() < y[lm68.CHIN] == y.max()
    assert (y[lm68.UPPER_EDGES] < y[lm68.LOWER_EDGES]).all()
    np.testing.assert_allclose(x[lm68.UPPER_EDGES], x[lm68.LOWER_EDGES], atol=0.02)
    inner = range(*lm68.INNER_LIPS.indices(lm68.N_LANDMARKS))
    assert set(lm68.UPPER_EDGES[lm68.LIP_PAIRS]) | set(lm68.LOWER_EDGES[lm68.LIP_PAIRS]) < set(
        inner
    )
    right, left = lm68.MOUTH_CORNERS
    assert lm68.MIRROR[right] == left and x[right] < x[inner].min() < x[inner].max() < x[left]
