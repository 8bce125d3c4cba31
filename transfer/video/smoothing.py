"""Smooth the readings of a clip over time, without a delay.

    y(t) = c_0 of the quadratic  c_0 + c_1 u + c_2 u^2  that fits the readings around t best,
    u = (s - t) / seconds,  weight exp(-u^2 / 2),  |u| <= 3

A local quadratic follows rises, falls and the tops of short movements, such as blinks, which a
moving average flattens. The filter looks as far ahead as it looks back: it has no delay, and can
only be used on a clip that is there as a whole. Frames are weighted by their times, so that a
variable frame rate needs nothing else.

Source: Savitzky & Golay 1964; Cleveland 1979 (local regression).
"""

import numpy as np
from jaxtyping import Bool, Float, Int

REACH = 3.0  # of the weights, in `seconds`
# Keeps c_1 and c_2 at 0 where there are too few frames around a time to tell.
RIDGE = 1e-6


def last_known(known: Bool[np.ndarray, " T"]) -> Int[np.ndarray, " T"]:
    """The last known frame up to each frame; -1 where there is none yet."""
    return np.maximum.accumulate(np.where(known, np.arange(len(known)), -1))


def held(
    values: Float[np.ndarray, "T A"], known: Bool[np.ndarray, " T"], start: Float[np.ndarray, " A"]
) -> Float[np.ndarray, "T A"]:
    """Values in which unknown frames hold the last known one, and `start` before the first."""
    last = last_known(known)
    return np.where((last >= 0)[:, None], values[np.maximum(last, 0)], start[None])


def smoothed(
    values: Float[np.ndarray, "T A"], times: Float[np.ndarray, " T"], seconds: float
) -> Float[np.ndarray, "T A"]:
    """Values, smoothed over time; see the module.

    Args:
        values: finite.
        times: seconds, increasing.
        seconds: width of the filter; 0 leaves the values as they are.
    """
    if seconds <= 0 or len(values) < 2:
        return values.astype(np.float64)
    n = len(times)
    reach = REACH * seconds
    first = np.searchsorted(times, times - reach, "left")
    last = np.searchsorted(times, times + reach, "right") - 1
    moments = np.zeros((n, 5))
    sums = np.zeros((n, 3, values.shape[1]))
    here = np.arange(n)
    for offset in range(int((first - here).min()), int((last - here).max()) + 1):
        other = here + offset
        inside = (other >= first) & (other <= last)
        other = np.clip(other, 0, n - 1)
        u = (times[other] - times) / seconds
        weight = np.where(inside, np.exp(-(u**2) / 2), 0.0)
        powers = u[:, None] ** np.arange(5)
        moments += weight[:, None] * powers
        sums += (weight[:, None] * powers[:, :3])[..., None] * values[other][:, None]
    system = moments[:, np.add.outer(np.arange(3), np.arange(3))]
    system[:, (1, 2), (1, 2)] += RIDGE
    return np.linalg.solve(system, sums)[:, 0]
