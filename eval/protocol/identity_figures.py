"""Is the output the target? Figures of the identity distances."""

import numpy as np
import pandas as pd

from eval.protocol.scores import Figures, groups, series_of
from eval.protocol.statistics import bootstrap, mean, means_of, median, spearman, sums_by, wilson

DISTANCES = ("to_target_mean", "to_source_mean", "to_target_nearest", "margin")


def distances(scores: pd.DataFrame) -> pd.DataFrame:
    """The identity distances, and margin = to_source_mean - to_target_mean: (R, 4).

    A person's own expressions (source and target the same) have no margin: the means are one.
    """
    own = scores["source"] == scores["target"]
    margin = (scores["to_source_mean"] - scores["to_target_mean"]).mask(own)
    return scores.assign(margin=margin)[list(DISTANCES)]


def nearer(margin: np.ndarray) -> Figures:
    """The share of outputs nearer to the target's mean than to the source's."""
    return wilson(int((margin > 0).sum()), int(np.isfinite(margin).sum()))


def identity_figures(scores: pd.DataFrame, rng: np.random.Generator, resamples: int) -> Figures:
    """The half of identity. `n` in its lists counts outputs whose distance to the target's
    mean is known; the others' `of` and `n` count what is known likewise."""
    table, series = distances(scores), series_of(scores)
    values = table.to_numpy()
    known = np.isfinite(values)
    sums = sums_by(series, np.concatenate([known, np.where(known, values, 0.0)], axis=1))
    low, high = bootstrap(sums[sums.any(axis=1)], means_of, rng, resamples)
    verified = scores["verified"].to_numpy()
    rho = rising(scores["alpha"].to_numpy(), table["to_target_mean"].to_numpy(), series)

    def part(rows: np.ndarray) -> Figures:
        to_target, to_source, _, margin = values[rows].T
        return {
            "n": int(np.isfinite(to_target).sum()),
            "to_target_mean": mean(to_target),
            "to_source_mean": mean(to_source),
            "margin": mean(margin),
            "nearer": nearer(margin),
        }

    return {
        "nearer": nearer(table["margin"].to_numpy()),
        "verified": wilson(int((verified == 1).sum()), int(np.isfinite(verified).sum())),
        **{
            name: {"mean": mean(v), "median": median(v), "low": low[i], "high": high[i]}
            for i, (name, v) in enumerate(zip(DISTANCES, values.T, strict=True))
        },
        "rising": {"spearman": mean(rho), "series": int(np.isfinite(rho).sum())},
        **{
            f"by_{name}": [{name: label, **part(rows)} for label, rows in groups(scores[name])]
            for name in ("alpha", "expression", "target")
        },
    }


def rising(alpha: np.ndarray, distance: np.ndarray, series: np.ndarray) -> np.ndarray:
    """Spearman's rho of the distance on alpha in each series; NaN below two alphas."""
    each = [rows for _, rows in groups(pd.Series(series))]
    return np.array([spearman(alpha[rows], distance[rows]) for rows in each], dtype=float)
