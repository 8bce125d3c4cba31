"""Figures about the choice of alpha: best alpha per series, trade-off, and recommendation.

A larger alpha transfers more of the expression, and keeps less of the target's identity.
"""

import numpy as np
import pandas as pd

from eval.protocol.scores import Figures
from eval.protocol.statistics import mean
from glow_jax.io.messages import counted

ROUNDING = 1e-9  # of a mean of intensities


def best_alpha(
    series: np.ndarray, alpha: np.ndarray, error: np.ndarray, no_transfer: np.ndarray
) -> Figures:
    """The alpha with the least error of each series (the smaller, if two), averaged over series.

    The choice uses the true error: it is a bound for any rule that chooses alpha.

    Args:
        series, alpha: (R,).
        error, no_transfer: (R, A), NaN where unknown or not counted, both in the same cells.

    Returns:
        error and alpha: means over series. beats_no_transfer: the number of series whose least
        error is below that of the target's reference; None if no target's was read.
        series: the number with any error at all.
    """
    rows = pd.DataFrame(
        {
            "series": series,
            "error": [mean(row) for row in error],
            "alpha": alpha,
            "no_transfer": [mean(row) for row in no_transfer],
        }
    ).dropna(subset=["error"])
    best = rows.sort_values(["series", "error", "alpha"]).drop_duplicates("series")
    beats = int((best["error"] < best["no_transfer"] - ROUNDING).sum())
    return {
        "error": mean(best["error"].to_numpy()),
        "alpha": mean(best["alpha"].to_numpy()),
        "beats_no_transfer": beats if best["no_transfer"].notna().any() else None,
        "series": len(best),
    }


def frontier(identity: list[Figures], expression: list[Figures]) -> list[Figures]:
    """The trade-off at each alpha, and whether it is efficient.

    Efficient: no other alpha is at least as good in gain, in the rate of outputs nearer to the
    target and in the distance to the target, and better in one. Of these three, what is
    unknown at every alpha does not count; an alpha that lacks one of the rest is not efficient.

    Args:
        identity, expression: the two lists `by_alpha`, of the same alphas.
    """
    points = [
        {
            "alpha": of_identity["alpha"],
            "gain": of_expression["gain"],
            "nearer_rate": of_identity["nearer"]["rate"],
            "to_target_mean": of_identity["to_target_mean"],
        }
        for of_identity, of_expression in zip(identity, expression, strict=True)
    ]
    good = np.array([[p["gain"], p["nearer_rate"], -p["to_target_mean"]] for p in points])
    good = good.reshape(-1, 3)
    good = good[:, np.isfinite(good).any(axis=0)]
    for point, own in zip(points, good, strict=True):
        dominated = ((good >= own).all(axis=1) & (good > own).any(axis=1)).any()
        point["efficient"] = bool(own.size and np.isfinite(own).all() and not dominated)
    return points


def recommended_alpha(
    identity: list[Figures], expression: list[Figures], no_transfer: float, min_rate: float = 0.95
) -> Figures:
    """The alpha to use, and why, in words.

    The rule: of the alphas at which at least `min_rate` of the outputs are nearer to the target
    than to the source, the one with the least mean error on the reference AUs (at or above 0.5
    in the expression picture); the smaller, if two. It must beat no transfer at all, where the
    error of that is known.

    Not the largest gain: it counts what overshoots, or comes with noise, as success, and
    so says no more than "as much as identity allows". Not the error on all AUs: most
    of those are near 0 in any one expression, so it favours doing nothing. The rate itself is
    compared, not its lower bound, which for twenty series is below 0.95 even if all are nearer.

    Args:
        identity, expression: the two lists `by_alpha`, of the same alphas.
        no_transfer: mean error of the targets' reference pictures on the reference AUs; NaN:
            unknown.
        min_rate: 0-1.

    Returns:
        alpha (None if the rule names none) and why.
    """
    rates = {p["alpha"]: p["nearer"]["rate"] for p in identity if p["alpha"] is not None}
    rates = {alpha: rate for alpha, rate in rates.items() if np.isfinite(rate)}
    errors = {p["alpha"]: p["error"]["reference"] for p in expression if p["alpha"] is not None}
    errors = {alpha: error for alpha, error in errors.items() if np.isfinite(error)}

    def none(why: str) -> Figures:
        return {"alpha": None, "why": why}

    if all(p["alpha"] is None for p in identity):
        return none("no output has an alpha")
    if not rates:
        return none("it is not known which outputs are nearer to the target than to the source")
    if not errors:
        return none("no AU at or above 0.5 in an expression picture was read in an output")
    kept = sorted(alpha for alpha, rate in rates.items() if rate >= min_rate)
    if not kept:
        top = max(rates, key=lambda alpha: rates[alpha])
        return none(
            f"at no alpha are {min_rate:.0%} of the outputs nearer to the target than to the "
            f"source; the most is {rates[top]:.1%}, at alpha {top:g}"
        )
    kept = [alpha for alpha in kept if alpha in errors]
    if not kept:
        return none("no AU was read at the alphas that keep enough outputs nearer to the target")
    best = min(kept, key=lambda alpha: errors[alpha])
    words = (
        f"mean error {errors[best]:.3f} on the AUs at or above 0.5 in the expression picture, the "
        f"least of the {len(kept)} of {counted(len(identity), 'alpha')} at which at least "
        f"{min_rate:.0%} of the outputs are nearer to the target than to the source"
    )
    if errors[best] >= no_transfer:
        return none(f"alpha {best:g} has {words}, but no transfer at all has {no_transfer:.3f}")
    if not np.isfinite(no_transfer):
        words += "; whether it beats no transfer at all is not known"
    if len(rates) > 1 and best == max(rates):
        words += "; it is the largest that was tried, so the best may lie beyond"
    return {"alpha": best, "why": words}
