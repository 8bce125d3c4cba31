"""Time: frames keep theirs, the filter neither delays nor flattens, gaps hold, neutral is found."""

from fractions import Fraction

import numpy as np
import pytest

from glow_jax.io.errors import InputError
from transfer.video.neutral_frames import (
    NeutralFrames,
    most_neutral_frames,
    neutral_frames,
    parse_neutral,
)
from transfer.video.smoothing import held, last_known, smoothed
from transfer.video.timeline import (
    chunks,
    durations_of,
    is_variable,
    ranges_of,
    ticks_of,
)


def test_ticks_are_the_files_times() -> None:
    times = [Fraction(1001 * i, 30000) + 2 for i in range(5)]
    ticks = ticks_of(times, Fraction(30000, 1001))
    assert ticks.tolist() == [0, 3003, 6006, 9009, 12012]
    assert durations_of(ticks, Fraction(30000, 1001)).tolist() == [3003] * 5
    assert not is_variable(ticks)


def test_ticks_increase_whatever_a_file_says() -> None:
    times = [None, Fraction(1), Fraction(1), None, Fraction(9, 10), Fraction(2)]
    ticks = ticks_of(times, Fraction(10))
    assert (np.diff(ticks) > 0).all() and ticks[0] == 0
    assert ticks.tolist() == [0, 9000, 18000, 27000, 36000, 99000]
    assert is_variable(ticks)
    assert ticks_of([None] * 3, Fraction(25)).tolist() == [0, 3600, 7200]


def test_chunks_cover_every_frame_once() -> None:
    assert [list(part) for part in chunks(5, 2)] == [[0, 1], [2, 3], [4]]
    assert chunks(0, 2) == [] and ranges_of([0, 1, 2, 5, 7, 8]) == [(0, 2), (5, 5), (7, 8)]
    assert ranges_of([]) == []


def test_a_quadratic_passes_unchanged_at_any_times() -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.01, 0.08, 60))
    values = np.stack([3 - times + 2 * times**2, np.full(60, 0.7)], 1)
    np.testing.assert_allclose(smoothed(values, times, 0.1), values, atol=1e-3)
    np.testing.assert_array_equal(smoothed(values, times, 0.0), values)


def test_the_filter_has_no_delay_and_keeps_a_blink() -> None:
    times = np.arange(50) / 25
    blink = np.exp(-(((times - 1.0) / 0.08) ** 2))[:, None]  # a blink takes about 0.2 s
    found = smoothed(blink, times, 0.06)
    assert found.argmax() == 25 and found.max() > 0.85
    np.testing.assert_allclose(found, found[::-1][np.r_[49, :49]], atol=0.02)


def test_noise_is_reduced() -> None:
    noise = np.random.default_rng(0).normal(size=(400, 3))
    found = smoothed(noise, np.arange(400) / 25, 0.06)
    before, after = (np.diff(v, 2, axis=0).std() for v in (noise, found))
    assert after < 0.55 * before


def test_a_frame_alone_keeps_its_value() -> None:
    values = np.array([[1.0], [2.0], [5.0]])
    found = smoothed(values, np.array([0.0, 10.0, 20.0]), 0.05)
    np.testing.assert_allclose(found, values, rtol=1e-5)


def test_gaps_hold_the_last_value() -> None:
    values = np.array([[9.0], [1.0], [9.0], [2.0], [9.0], [9.0]])
    known = np.array([False, True, False, True, False, False])
    assert last_known(known).tolist() == [-1, 1, 1, 3, 3, 3]
    found = held(values, known, np.array([0.5]))
    assert found[:, 0].tolist() == [0.5, 1, 1, 2, 2, 2]


def test_neutral_frames_of_a_clip_that_smiles_most_of_the_time() -> None:
    raw = np.random.default_rng(0).normal((0.3, -0.2, 0.0, 0.1), 0.005, (100, 4))
    raw[30:95, 1] += 0.8
    raw[50:60, 2] += 0.5
    known = np.ones(100, bool)
    known[:5] = False
    found = most_neutral_frames(raw, known)
    assert found.any() and not found[:5].any() and not found[30:95].any()


def test_what_source_neutral_says() -> None:
    assert parse_neutral("auto").kind == "auto"
    assert parse_neutral("12") == NeutralFrames("frames", 12, 12)
    assert parse_neutral("0:24") == NeutralFrames("frames", 0, 24)
    for word in ("", "x", "5:3", "-1", "1:2:3", "1.5", "٣"):
        with pytest.raises(InputError, match="use auto, absolute, the number of a frame"):
            parse_neutral(word)
    raw, known = np.zeros((4, 2)), np.array([True, False, True, True])
    assert neutral_frames(parse_neutral("0:2"), raw, known).tolist() == [1, 0, 1, 0]
    assert not neutral_frames(parse_neutral("absolute"), raw, known).any()
    with pytest.raises(InputError, match="frame 4, but the clip has 4 frames, 0 to 3"):
        neutral_frames(parse_neutral("2:4"), raw, known)
    with pytest.raises(InputError, match="no face was found in frames 1 to 1"):
        neutral_frames(parse_neutral("1"), raw, known)
