"""MediaPipe's labels in the terms of the renders."""

from typing import Any

import numpy as np
import pytest

from bench.truth.teacher import offset_of
from glow_jax.io.errors import InputError
from glow_jax.io.landmarks68 import MIRROR
from tests.support.expressions import face, portraits
from transfer.expression.teacher import (
    DOWN,
    FULL_READING,
    RIGHT,
    at_renders_points,
    is_neutral,
    pairs_of,
    taught,
)

PLACE = face().astype(np.float64)
AUS = ("AU12", "AU26", "AU9")


def label(smile: float, jaw: float, identity: int = 0) -> dict[str, Any]:
    return {
        "aus": {"AU12": smile, "AU26": jaw, "AU9": 0.0},
        "blendshapes": {"mouthSmileLeft": smile, "mouthSmileRight": smile, "jawOpen": jaw,
                        "mouthUpperUpLeft": 0.0, "eyeBlinkLeft": 0.1},
        "landmarks": PLACE.tolist(),
        "identity": identity,
        "file": f"{identity}.webp",
    }  # fmt: skip


def test_offsets_are_symmetric_and_in_the_frame_of_the_eyes() -> None:
    right, down = np.array(RIGHT), np.array(DOWN)
    assert right.shape == down.shape == (68,)
    np.testing.assert_array_equal(right[MIRROR], -right)
    np.testing.assert_array_equal(down[MIRROR], down)
    quarter = (PLACE - 0.5)[:, ::-1] * (1, -1) + 0.5
    found = at_renders_points(np.stack([PLACE, quarter, 0.5 * PLACE]))
    expected = (found[0] - 0.5)[:, ::-1] * (1, -1) + 0.5
    np.testing.assert_allclose(found[1], expected, atol=1e-12)
    np.testing.assert_allclose(found[2], 0.5 * found[0], atol=1e-12)


def test_what_the_benchmark_measures_is_what_the_fit_takes_off() -> None:
    rng = np.random.default_rng(0)
    read = PLACE + rng.normal(0, 0.02, (50, 1, 2))
    measured = offset_of(read, at_renders_points(read))
    np.testing.assert_allclose(1000 * measured, np.stack([RIGHT, DOWN], 1), atol=1e-6)


def test_labels_are_activations_of_renders() -> None:
    labels = [label(0.1, 0.0), label(0.2, 0.02, 1), label(0.87, 0.0, 2), label(0.15, 0.37, 3)]
    found = taught(portraits(4), labels, AUS)
    np.testing.assert_array_equal(found.neutral, [True, True, False, False])
    np.testing.assert_allclose(found.activations[:2, :2].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(found.activations[2, 0], 0.72 / FULL_READING, rtol=1e-5)
    np.testing.assert_allclose(found.activations[3, 1], 0.36 / FULL_READING, rtol=1e-5)
    assert np.isnan(found.activations[:, 2]).all()  # MediaPipe does not see a wrinkled nose
    np.testing.assert_array_equal(found.people, [0, 1, 2, 3])
    np.testing.assert_allclose(found.landmarks[1], at_renders_points(PLACE[None])[0], rtol=1e-5)


def test_pairs_are_a_picture_and_its_own_neutral_one() -> None:
    neutral = {"neutral": "0.webp"}
    labels = [
        {**label(0.1, 0.0), **neutral},
        {**label(0.82, 0.0, 1), **neutral},
        {**label(0.5, 0.2, 2), "neutral": "elsewhere.webp"},
        label(0.1, 0.0, 3),
    ]
    found = taught(portraits(4), labels, AUS)
    np.testing.assert_array_equal(found.bases, [-1, 0, -1, -1])
    pairs = pairs_of(found)
    np.testing.assert_allclose(pairs.aus, [[0.72 / FULL_READING, 0, 0]], atol=1e-5)
    np.testing.assert_array_equal(pairs.neutral[0], found.images[0])
    np.testing.assert_array_equal(pairs.expressive[0], found.images[1])


@pytest.mark.parametrize(
    ("shapes", "neutral"),
    [({}, True), ({"mouthSmileLeft": 0.5}, True), ({"mouthSmileLeft": 0.7}, False),
     ({"jawOpen": 0.2}, False), ({"eyeBlinkLeft": 0.9}, False)],
)  # fmt: skip
def test_neutral_faces_neither_smile_nor_open_nor_blink(
    shapes: dict[str, float], neutral: bool
) -> None:
    assert is_neutral({**label(0.0, 0.0)["blendshapes"], **shapes}) == neutral


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([{}], "not those of photoreal faces"),
        ([{**label(0, 0), "landmarks": [[1, 2]]}], "not those of photoreal faces"),
        ([{**label(0, 0), "aus": {"AU12": 0.1}}], "not those of photoreal faces"),
        ([{**label(0, 0), "blendshapes": 3}], "not those of photoreal faces"),
        ([label(0.9, 0)], "no photoreal face is neutral"),
    ],
)
def test_other_labels_are_one_line(labels: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        taught(portraits(1), labels, AUS)
    assert str(caught.value).isprintable()
