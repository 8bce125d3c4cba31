"""The face that a report shows of a photograph."""

import numpy as np

from eval.photographs import face_cutter
from glow_jax.io.landmarks68 import crop_transform
from tests.support import photographs
from transfer.photos.crop import crop


def test_the_face_is_that_of_the_transfer() -> None:
    """The same square; a person beside the largest is named by number."""
    taken = photographs.photograph("36_1", width=700, height=500, scale=1.0, at=(0.28, 0.5))
    both = photographs.add(taken, "29_1", 1.5, 0, (0.72, 0.5))
    wanted = crop(both.pixels, crop_transform(taken.landmarks), 64).astype(float)
    first, largest = (face_cutter(number, 64)(both.pixels) for number in (1, None))
    assert first is not None and largest is not None
    assert np.abs(first - wanted).mean() < 10 < np.abs(largest - wanted).mean()


def test_without_a_face_nothing_is_cut_out() -> None:
    assert face_cutter(None, 64)(photographs.wall(300, 200)) is None
    assert face_cutter(2, 64)(photographs.photograph("36_1", width=400, height=300).pixels) is None
