"""Did the expression arrive? Figures of the Action Units (AUs), intensities of 0-5."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from eval.protocol.alphas import best_alpha
from eval.protocol.scores import Figures, groups, series_of
from eval.protocol.statistics import (
    bootstrap,
    gain_and_correlation,
    mean,
    means_of,
    moments,
    permutation_p,
    products,
    sums_by,
)
from eval.table import AUS

REFERENCE = 0.5  # intensity from which an AU makes up an expression


def intensities(scores: pd.DataFrame, suffix: str = "") -> np.ndarray:
    """(R, 17): of the output, or with a suffix (`_source`, `_present` …) of what it names."""
    return scores[[f"{au}{suffix}" for au in AUS]].to_numpy(float)


def au_pairs(scores: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """What gain and r compare, each (R, 17) with NaN where one of its two readings is missing.

    Returns:
        x: AU of the expression picture - AU of the source's reference picture.
        y: AU of the output - AU of the target's reference picture.
    """
    x = intensities(scores, "_expression") - intensities(scores, "_source")
    return x, intensities(scores) - intensities(scores, "_target")


def au_errors(scores: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """|AU - AU of the expression picture| of the output and of no transfer: each (R, 17).

    No transfer is the target's reference picture. Both are NaN where either is unknown, so that
    they are compared in the same cells; only if no target's reference was read at all are the
    output's errors kept without it.
    """
    wanted, mean_face = intensities(scores, "_expression"), intensities(scores, "_target")
    output, none = np.abs(intensities(scores) - wanted), np.abs(mean_face - wanted)
    if np.isfinite(none).any():
        output = np.where(np.isfinite(none), output, np.nan)
    return output, np.where(np.isfinite(output), none, np.nan)


def au_masks(scores: pd.DataFrame) -> dict[str, np.ndarray]:
    """Which AUs count, each (R, 17): all; those at or above 0.5 in the expression picture
    ("reference"); those whose presence flag is set there ("present")."""
    wanted = intensities(scores, "_expression")
    return {
        "all": np.full(wanted.shape, True),
        "reference": wanted >= REFERENCE,
        "present": intensities(scores, "_present") == 1,
    }


class Readings(NamedTuple):
    """What the figures of this half are computed from: (R, 17), but (R,) for `series`."""

    series: np.ndarray
    x: np.ndarray
    y: np.ndarray
    error: np.ndarray
    no_transfer: np.ndarray

    def at(self, rows: np.ndarray) -> "Readings":
        """Those of some rows."""
        return Readings(*(values[rows] for values in self))


def change(readings: Readings) -> Figures:
    """n (pairs), gain (least squares of y on x, with intercept) and Pearson's r, pooled."""
    sums = moments(readings.x, readings.y, readings.series).sum(axis=0)
    gain, r = gain_and_correlation(sums)
    return {"n": int(sums[0]), "gain": gain, "correlation": r}


def change_interval(readings: Readings, rng: np.random.Generator, resamples: int) -> Figures:
    """gain_low, gain_high, correlation_low, correlation_high: 95 %, over series."""
    sums = moments(readings.x, readings.y, readings.series)
    low, high = bootstrap(sums, gain_and_correlation, rng, resamples)
    return {
        f"{name}_{end}": values[i]
        for i, name in enumerate(("gain", "correlation"))
        for end, values in (("low", low), ("high", high))
    }


def expression_figures(scores: pd.DataFrame, rng: np.random.Generator, resamples: int) -> Figures:
    """The half of expression. `n` counts pairs (an AU of an output) whose values are all known;
    where a list has both gain and errors, those of the gain."""
    readings = Readings(series_of(scores), *au_pairs(scores), *au_errors(scores))
    kept = {
        name: (np.where(mask, readings.error, np.nan), np.where(mask, readings.no_transfer, np.nan))
        for name, mask in au_masks(scores).items()
    }
    alpha = scores["alpha"].to_numpy()
    expression, source = (
        np.unique(scores[name], return_inverse=True)[1] for name in ("expression", "source")
    )
    whole = change(readings) | change_interval(readings, rng, resamples)
    return {
        **_aus(scores),
        **{
            name: {"value": whole[name], "low": whole[f"{name}_low"], "high": whole[f"{name}_high"]}
            for name in ("gain", "correlation")
        },
        "permutation_p": permutation_p(readings.x, readings.y, expression, source, rng, resamples),
        "by_alpha": [
            {
                "alpha": label,
                **change(readings.at(rows)),
                **change_interval(readings.at(rows), rng, resamples),
                "error": {name: mean(output[rows]) for name, (output, _) in kept.items()},
            }
            for label, rows in groups(scores["alpha"])
        ],
        "error": {
            name: {"output": mean(o), "no_transfer": mean(t), "n": int(np.isfinite(o).sum())}
            for name, (o, t) in kept.items()
        },
        "best_alpha": {
            name: best_alpha(readings.series, alpha, *kept[name]) for name in ("all", "reference")
        },
        **_by_au_and_expression(scores, readings),
    }


def _aus(scores: pd.DataFrame) -> Figures:
    """Read: known in an output. Abstained: in none."""
    read = np.isfinite(intensities(scores)).any(axis=0)
    return {
        "aus_read": [au for au, known in zip(AUS, read, strict=True) if known],
        "aus_abstained": [au for au, known in zip(AUS, read, strict=True) if not known],
    }


def _by_au_and_expression(scores: pd.DataFrame, readings: Readings) -> Figures:
    """The lists by_au, by_expression and heat, which has both; of the AUs read."""
    read = [i for i, au in enumerate(AUS) if scores[au].notna().any()]
    labels, codes = np.unique(scores["expression"].to_numpy(), return_inverse=True)
    error, none = readings.error, readings.no_transfer
    both = np.stack([error, none], axis=-1)
    known = np.isfinite(both)
    pairs = sums_by(codes, products(readings.x, readings.y))  # (E, 17, 6)
    errors = sums_by(codes, np.concatenate([known, np.where(known, both, 0.0)], axis=-1))

    def figures_of(axis: int) -> list[Figures]:
        gain, r = gain_and_correlation(pairs.sum(axis=axis)).T
        columns = (pairs.sum(axis=axis)[:, 0].astype(int), gain, r, *_errors(errors.sum(axis=axis)))
        names = ("n", "gain", "correlation", "error", "no_transfer")
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    by_au, heat = figures_of(axis=0), _errors(errors)
    return {
        "by_au": [{"au": AUS[i], **by_au[i]} for i in read],
        "by_expression": [
            {"expression": label, **found}
            for label, found in zip(labels, figures_of(axis=1), strict=True)
        ],
        "heat": [
            {
                "expression": label,
                "au": AUS[i],
                "error": heat[0][e, i],
                "no_transfer": heat[1][e, i],
            }
            for e, label in enumerate(labels)
            for i in read
        ],
    }


def _errors(sums: np.ndarray) -> np.ndarray:
    """Mean errors, (2, …), of sums (…, 4): two counts, two sums."""
    return np.moveaxis(means_of(sums), -1, 0)
