"""Statistics of the protocol: proportions, slopes, a bootstrap over series, a permutation test.

All take arrays and return numbers, NaN where one is undefined; none ever warns. Outputs of one
series (one expression moved to one person, over alpha) are alike, and so are the AUs of one
output: treated as independent they would give intervals far too narrow. Therefore whole series are
resampled, and the permutation exchanges the expressions that sets of outputs came from.
"""

from collections.abc import Callable

import numpy as np
from scipy import stats

LEVEL = 0.95
SPREAD = 1e-6  # a standard deviation below this is rounding: the values are constant
CHUNK = 4_000_000  # numbers held at a time


def mean(values: np.ndarray) -> float:
    """Mean of the known values; NaN if there is none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else np.nan


def median(values: np.ndarray) -> float:
    """Median of the known values; NaN if there is none."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else np.nan


def wilson(count: int, of: int) -> dict[str, float]:
    """A proportion with its Wilson interval at 95 %: count, of, rate, low, high.

    It takes the `of` cases as independent: outputs that share a series are not, so read it
    as the narrowest interval that the data allow.
    """
    if not of:
        return {"count": 0, "of": 0, "rate": np.nan, "low": np.nan, "high": np.nan}
    low, high = stats.binomtest(count, of).proportion_ci(LEVEL, method="wilson")
    return {"count": count, "of": of, "rate": count / of, "low": low, "high": high}


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rho over the pairs known in both; NaN below two, or where either is constant."""
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if x.size < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan
    return float(stats.spearmanr(x, y).statistic)


def sums_by(groups: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sums over the rows of each group: `groups` (R,) of 0 … G-1, `values` (R, …) -> (G, …)."""
    total = np.zeros((int(groups.max(initial=-1)) + 1, *values.shape[1:]))
    np.add.at(total, groups, values)
    return total


def products(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """1, x, y, x², xy, y² of each pair, 0 where either is NaN: (…) and (…) -> (…, 6)."""
    known = np.isfinite(x) & np.isfinite(y)
    x, y = np.where(known, x, 0.0), np.where(known, y, 0.0)
    return np.stack([known, x, y, x * x, x * y, y * y], axis=-1, dtype=float)


def moments(x: np.ndarray, y: np.ndarray, series: np.ndarray) -> np.ndarray:
    """n, Σx, Σy, Σx², Σxy, Σy² of each series over its pairs known in both.

    Args:
        x, y: (R, A), NaN where unknown.
        series: (R,) of 0 … S-1.

    Returns:
        (S', 6): series without a single pair are left out.
    """
    total = sums_by(series, products(x, y).sum(axis=1))
    return total[total[:, 0] > 0]


def gain_and_correlation(sums: np.ndarray) -> np.ndarray:
    """Least-squares slope of y on x, with intercept, and Pearson's r.

    gain = (n Σxy - Σx Σy) / (n Σx² - (Σx)²); r divides by the root of y's spread too.

    Args:
        sums: (…, 6) as `moments` orders them, summed over groups.

    Returns:
        (…, 2); NaN where x is constant, r also where y is.
    """
    n, x, y, xx, xy, yy = np.moveaxis(sums, -1, 0)
    spread_x, spread_y, shared = n * xx - x * x, n * yy - y * y, n * xy - x * y
    least = np.maximum(n * n, 1.0) * SPREAD**2
    varies = spread_x > least
    gain = np.where(varies, shared / np.where(varies, spread_x, 1.0), np.nan)
    varies &= spread_y > least
    r = shared / np.sqrt(np.where(varies, spread_x * spread_y, 1.0))
    return np.stack([gain, np.where(varies, np.clip(r, -1.0, 1.0), np.nan)], axis=-1)


def bootstrap(
    sums: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    rng: np.random.Generator,
    resamples: int,
) -> np.ndarray:
    """Percentile interval at 95 % of a statistic of sums, over series drawn with replacement.

    Resamples for which the statistic is undefined are left out.

    Args:
        sums: (S, K), one row per series.
        statistic: (R, K), sums over a resample's series, -> (R, M).

    Returns:
        (2, M), low and high; NaN below two series, of which no spread can be seen.
    """
    n = len(sums)
    width = statistic(np.zeros((1, sums.shape[1]))).shape[1]
    if n < 2:
        return np.full((2, width), np.nan)
    drawn = []
    step = max(1, CHUNK // n)
    for start in range(0, resamples, step):
        b = min(step, resamples - start)
        picks = rng.integers(n, size=(b, n)) + n * np.arange(b)[:, None]
        times = np.bincount(picks.ravel(), minlength=b * n).reshape(b, n)
        drawn.append(statistic(times.astype(float) @ sums))
    tails = [50 * (1 - LEVEL), 50 * (1 + LEVEL)]
    columns = [column[np.isfinite(column)] for column in np.concatenate(drawn).T]
    return np.stack(
        [np.percentile(c, tails) if c.size else np.full(2, np.nan) for c in columns], axis=1
    )


def means_of(sums: np.ndarray) -> np.ndarray:
    """Means from sums: (…, 2M), M counts and then M sums, -> (…, M)."""
    n, total = np.split(sums, 2, axis=-1)
    return np.where(n > 0, total / np.maximum(n, 1.0), np.nan)


def permutation_p(
    x: np.ndarray,
    y: np.ndarray,
    expression: np.ndarray,
    source: np.ndarray,
    rng: np.random.Generator,
    permutations: int,
) -> float:
    """How often r is as large when the outputs are compared with another expression's change.

    p = (1 + #{r* >= r}) / (1 + permutations), one-sided: an expression that arrives gives r > 0.
    Null hypothesis: which of a source's expressions was added makes no difference to the
    AUs. Each draw permutes the expressions of each source *once*, for all its targets and alphas
    together. To permute within each (source, target, alpha) would take outputs that were made
    from the same expression picture as independent, and so find p small by chance: twenty
    targets that all get the same accident of one photograph are one accident. The price is
    coarseness: with E expressions of one source, p cannot fall below about 1 / E!. The mean change
    over the expressions stays, so a method that adds the same face each time earns nothing.

    Args:
        x, y: (R, A), changes in the expression picture (the same in every row of one) and in
            the output, NaN where unknown.
        expression, source: (R,) whole numbers.

    Returns:
        p; NaN if no source has two expressions, or r is undefined.
    """
    if not len(x):
        return np.nan
    units, unit = np.unique(np.stack([source, expression], axis=1), axis=0, return_inverse=True)
    sources = units[:, 0]  # ascending: a unit is one expression of one source
    known_x, known_y = np.isfinite(x), np.isfinite(y)
    x, y = np.where(known_x, x, 0.0), np.where(known_y, y, 0.0)
    outputs = sums_by(unit, np.stack([known_y, y, y * y], axis=-1, dtype=float))  # (U, A, 3)
    x = sums_by(unit, x) / np.maximum(sums_by(unit, known_x), 1.0)
    there = sums_by(unit, known_x) > 0
    changes = np.stack([there, x, x * x], axis=-1, dtype=float)  # (U, A, 3)

    def correlation(order: np.ndarray) -> np.ndarray:
        """r when unit u's outputs meet the change of unit order[:, u]: (B, U) -> (B,)."""
        left = outputs.reshape(-1, 3).T
        (n, sx, sxx), (sy, sxy, _), (syy, _, _) = np.moveaxis(
            left @ changes[order].reshape(len(order), -1, 3), 0, -1
        )
        return gain_and_correlation(np.stack([n, sx, sy, sxx, sxy, syy], axis=-1))[:, 1]

    observed = correlation(np.arange(len(units))[None])[0]
    if len(units) == len(np.unique(sources)) or np.isnan(observed):
        return np.nan
    at_least = 0
    step = max(1, CHUNK // changes.size)
    for start in range(0, permutations, step):
        b = min(step, permutations - start)
        order = np.argsort(sources + rng.random((b, len(units))), axis=1)  # within each source
        at_least += int((correlation(order) >= observed - 1e-12).sum())
    return (1 + at_least) / (1 + permutations)
