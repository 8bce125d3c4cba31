"""Frames and time: when each frame is shown, which frames are computed together.

The times of a driver's frames are kept, so that sound stays in step, also where the frame rate
varies. Pure functions.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from glow_jax.io.video_writer import TICKS

CHUNK = 256  # frames of a chunk, which an interrupted run repeats


def ticks_of(times: Sequence[Fraction | None], rate: Fraction) -> np.ndarray:
    """(T,) int64: times of frames in ticks, the first one 0, strictly increasing.

    Args:
        times: seconds, in the order of the frames; None where a file does not say. Such a frame,
            and one that does not come after the frame before it, follows that frame by 1 / `rate`.
        rate: frames a second.
    """
    step = max(1, round(TICKS / rate))
    found: list[int] = []
    first: Fraction | None = None
    for time in times:
        if time is not None and first is None:
            first = time - Fraction(len(found) * step, TICKS)
        at = None if time is None or first is None else round((time - first) * TICKS)
        if not found:
            at = 0
        elif at is None or at <= found[-1]:
            at = found[-1] + step
        found.append(at)
    return np.array(found, np.int64)


def durations_of(ticks: np.ndarray, rate: Fraction) -> np.ndarray:
    """(T,) int64: how long each frame is shown, in ticks; the last one for 1 / `rate`."""
    last = max(1, round(TICKS / rate))
    return np.append(np.diff(ticks), last)[: len(ticks)]


def is_variable(ticks: np.ndarray) -> bool:
    """Whether a frame is shown more than half a frame longer or shorter than the median one."""
    steps = np.diff(ticks)
    return bool(len(steps) and np.abs(steps - np.median(steps)).max() > np.median(steps) / 2)


def chunks(n_frames: int, size: int = CHUNK) -> list[range]:
    """The frames of each chunk."""
    return [range(start, min(start + size, n_frames)) for start in range(0, n_frames, size)]


def ranges_of(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """The first and the last of each run of consecutive numbers, which are in order."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = found[-1][0], number
        else:
            found.append((number, number))
    return found
