"""The figures for a report's headline: of one alpha, so that a sweep does not mix several."""

import numpy as np
import pandas as pd

from eval.protocol.scores import Figures, series_of

MIN_OUTPUTS, MIN_TARGETS = 8, 2
"""Fewer outputs, or target people, are too few to judge a method by. Intervals over series say so
too, but only from two series on, and a target person's outputs all share one edited picture."""

OF_IDENTITY = ("nearer",)
OF_EXPRESSION = ("aus_read", "gain", "correlation", "permutation_p", "error")


def headline_alpha(scores: pd.DataFrame, recommended: float | None) -> tuple[float | None, str]:
    """The alpha of the headline, and in words why this one; None is all outputs.

    The recommended one; where there is none, 1, which is all of the expression, or else the
    largest. All outputs, where no series has two alphas (one alpha, `auto`, or none given).

    Args:
        scores: checked, alphas rounded.
        recommended: of `alphas.recommended_alpha`.
    """
    alphas = sorted(set(scores["alpha"].dropna()))
    if len(alphas) == 1 and not scores["alpha"].isna().any():
        return alphas[0], "the only one"
    if not (scores["alpha"].groupby(series_of(scores)).nunique() > 1).any():
        return None, ""
    if recommended is not None:
        return recommended, "recommended"
    return (1.0, "all of the expression") if 1.0 in alphas else (alphas[-1], "the largest")


def headline_figures(
    rows: pd.DataFrame, alpha: float | None, why: str, identity: Figures, expression: Figures
) -> Figures:
    """The headline's part of the figures.

    Args:
        rows: of the scores, those at the headline's alpha.
        alpha, why: of `headline_alpha`.
        identity, expression: both halves of the figures of these rows.

    Returns:
        alpha, why; counts (outputs, judged, no_face, targets); too_few: whether judged outputs
        are below `MIN_OUTPUTS`, or their targets below `MIN_TARGETS`; of `identity` and
        `expression` what the headline shows.
    """
    aus = [name for name in rows if name in expression["aus_read"]]
    judged = rows[["to_target_mean", "to_source_mean", *aus]].notna().any(axis=1)
    targets = rows["target"][judged].nunique()
    return {
        "alpha": alpha,
        "why": why,
        "counts": {
            "outputs": len(rows),
            "judged": int(judged.sum()),
            "no_face": int((rows["faces"] == 0).sum()),
            "targets": int(targets),
        },
        "too_few": bool(judged.sum() < MIN_OUTPUTS or targets < MIN_TARGETS),
        "identity": {name: identity[name] for name in OF_IDENTITY},
        "expression": {name: expression[name] for name in OF_EXPRESSION},
    }


def rows_at(scores: pd.DataFrame, alpha: float | None) -> np.ndarray:
    """(R,) bool: the rows at an alpha; all for None."""
    same = scores["alpha"].to_numpy() == alpha
    return np.full(len(scores), True) if alpha is None else same
