"""The paper's protocol: a scores table (`eval/table.py`) to figures, by pure functions.

Two halves. Identity: the embedding of an output should be nearer to the mean embedding of
the target's pictures than to that of the source's. Expression: its Action Units (AUs) should
change from the target's reference picture as the expression picture's do from the source's (the
paper's reference pictures are mean faces).
The paper reports only AU errors; gain, r, intervals and the permutation test are ours.

Source: Valenzuela, Segura, Diego, Gómez, Expression Transfer Using Flow-Based Generative
Models, CVPR Workshops 2021, section 4.
"""

from typing import Any

import numpy as np
import pandas as pd

from eval.protocol.alphas import frontier, recommended_alpha
from eval.protocol.expression_figures import au_errors, expression_figures
from eval.protocol.headline import headline_alpha, headline_figures, rows_at
from eval.protocol.identity_figures import distances, identity_figures
from eval.protocol.scores import Figures, any_names, check_scores, series_of
from eval.protocol.statistics import mean
from eval.table import AUS, KEYS
from glow_jax.io.errors import InputError

PAPER: Figures = {
    "counts": {"outputs": 220, "series": 20},
    "identity": {
        "nearer": {"count": 217, "of": 220, "rate": 217 / 220},
        "to_target_mean": {"mean": 0.650},
        "to_source_mean": {"mean": 1.187},
        "margin": {"mean": 0.537},  # the difference of the two means
        "rising": {"spearman": 0.96, "series": 20},
        "by_alpha": [
            {"alpha": 0.3, "to_target_mean": 0.498, "to_source_mean": 1.164, "margin": 0.666},
            {"alpha": 0.5, "to_target_mean": 0.820, "to_source_mean": 1.237, "margin": 0.417},
        ],
    },
    "expression": {
        "by_alpha": [
            {"alpha": 0.3, "gain": 0.24, "correlation": 0.42},
            {"alpha": 0.4, "gain": 0.33, "correlation": 0.46},
            {"alpha": 0.5, "gain": 0.38, "correlation": 0.48},
        ],
        "error": {
            "all": {"output": 0.358, "no_transfer": 0.370},
            "reference": {"output": 0.641, "no_transfer": 0.790},
        },
        "best_alpha": {
            "all": {"alpha": 0.313, "beats_no_transfer": 15, "series": 20},
            "reference": {"alpha": 0.476},
        },
    },
}
"""The paper's own figures, computed from the result files that its authors released."""

WORST = 12


@any_names
def figures(
    scores: pd.DataFrame, *, seed: int = 0, resamples: int = 2000, min_rate: float = 0.95
) -> Figures:
    """All figures of a scores table. The same table, seed and options give the same figures.

    Args:
        scores: one row per output, columns as in `eval.table`; may be empty. Rows of the source
            moved to itself count in expression, and for identity have no side to be nearer to.
        seed: of the bootstrap and the permutations, not negative.
        resamples: how many of each, at least 1.
        min_rate: for `recommended_alpha`, 0-1.

    Returns:
        str, int, float, bool, None, list and dict only: `json.dumps(…, allow_nan=False)` works.
        None is unknown or undefined. Intervals are 95 %. Outputs without a face have no
        scores: they are counted in `counts` and listed in `worst`, but are in no mean or rate.

    Raises:
        InputError: the table does not pass `check_scores`, or an option is out of range.
    """
    if seed < 0 or resamples < 1 or not 0 <= min_rate <= 1:
        raise InputError(
            f"seed {seed}, resamples {resamples}, min_rate {min_rate}: a seed is 0 or more, "
            "resamples are 1 or more, min_rate is 0 to 1"
        )
    scores = check_scores(scores)
    scores["alpha"] = scores["alpha"].round(6)  # 0.1 + 0.2 is 0.3
    for_identity, for_expression, for_headline = np.random.default_rng(seed).spawn(3)
    identity = identity_figures(scores, for_identity, resamples)
    expression = expression_figures(scores, for_expression, resamples)
    halves = identity["by_alpha"], expression["by_alpha"]
    no_transfer = expression["error"]["reference"]["no_transfer"]
    recommended = recommended_alpha(*halves, no_transfer, min_rate)
    alpha, why = headline_alpha(scores, recommended["alpha"])
    rows = scores[rows_at(scores, alpha)].reset_index(drop=True)
    at_alpha = identity, expression
    if len(rows) < len(scores):
        at_alpha = (
            identity_figures(rows, for_headline, resamples),
            expression_figures(rows, for_headline, resamples),
        )
    return plain(
        {
            "counts": counts(scores),
            "headline": headline_figures(rows, alpha, why, *at_alpha),
            "identity": identity,
            "expression": expression,
            "frontier": frontier(*halves),
            "recommended_alpha": recommended,
            "worst": worst(scores),
        }
    )


def plain(value: Any) -> Any:
    """The same in Python's own types, None for what is not finite."""
    if isinstance(value, dict):
        return {name: plain(v) for name, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def counts(scores: pd.DataFrame) -> Figures:
    """How many outputs, series and names. Judged: an identity distance or an AU is known."""
    known = scores[["to_target_mean", "to_source_mean", "to_target_nearest", *AUS]].notna()
    return {
        "outputs": len(scores),
        "judged": int(known.any(axis=1).sum()),
        "no_face": int((scores["faces"] == 0).sum()),
        "several_faces": int((scores["faces"] > 1).sum()),
        "series": int(series_of(scores).max(initial=-1)) + 1,
        **{f"{name}s": sorted(set(scores[name])) for name in KEYS},
        "alphas": sorted(set(scores["alpha"].dropna())),
    }


def worst(scores: pd.DataFrame) -> list[Figures]:
    """Up to 12 outputs to look at, and why: no face in it, then nearer to the source than to
    the target (the most so first), then those with the largest mean error over their AUs."""
    identity, (error, _) = distances(scores), au_errors(scores)
    error = np.array([mean(row) for row in error], dtype=float)
    no_face = (scores["faces"] == 0).to_numpy()
    margin = identity["margin"].to_numpy()
    failed = ~no_face & (margin <= 0)
    wrong = ~no_face & ~failed & np.isfinite(error)

    def least_first(key: np.ndarray, rows: np.ndarray) -> list[int]:
        return sorted(np.flatnonzero(rows).tolist(), key=lambda row: key[row])

    listed = [(row, "no face found") for row in np.flatnonzero(no_face).tolist()]
    for row in least_first(margin, failed):
        target, source = identity.loc[row, ["to_target_mean", "to_source_mean"]]
        why = f"not nearer to the target ({target:.3f}) than to the source ({source:.3f})"
        listed.append((row, why))
    listed += [(row, f"mean AU error {error[row]:.2f} of 5") for row in least_first(-error, wrong)]
    return [{"id": scores["id"][row], "why": why} for row, why in listed[:WORST]]
