"""Figures of the video benchmark: gain, correlation and lag of curves that are known."""

import numpy as np
import pytest

from bench.video import clips
from bench.video.__main__ import MAX_LAG, figures, lag

TALK = clips.true_activations("talk")


def test_gain_and_correlation() -> None:
    found = figures(0.75 * TALK + 0.1, TALK)
    assert (found["gain"], found["r"], found["left_out"]) == (0.75, 1.0, 0)
    damaged = TALK.copy()
    damaged[3] = np.nan
    assert figures(damaged, TALK)["left_out"] == TALK.shape[1]
    noise = np.random.default_rng(0).normal(0, TALK.std(), TALK.shape)
    assert figures(TALK + noise, TALK)["r"] == pytest.approx(2**-0.5, abs=0.03)


@pytest.mark.parametrize("frames", [-2, 0, 3])
def test_lag_is_how_far_a_curve_follows(frames: int) -> None:
    moving = TALK[:, TALK.max(0) > 0]
    assert lag(np.roll(moving, frames, 0), moving) == pytest.approx(frames, abs=0.1)
    assert abs(frames) < MAX_LAG


@pytest.mark.parametrize("clip", clips.PEOPLE)
def test_clips_begin_and_end_without_an_expression(clip: str) -> None:
    values = clips.true_activations(clip)
    assert values.shape == (clips.FRAMES, len(clips.AUS))
    assert not values[: clips.FIRST].any() and values[-1].max() < 0.05
    assert values.min() >= 0 and 0.5 < values.max() <= 1
    assert np.abs(np.diff(values, axis=0)).max() < 0.5  # no movement jumps
