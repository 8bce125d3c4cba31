"""Tables of the truth benchmark: one row per method, k and alpha; Markdown and JSON.

Gain is the least-squares slope, with intercept, of the AU change read in the outputs on a
reference change, pooled over outputs and AUs; r is its correlation, the error the mean absolute
difference. There are three references: the change read in the *truth* (the main one), the *true*
activations times 5 (against which the oracle's row is the reader's own bound), and the change
read in the *source* (the paper's definition). Intervals are percentile bootstraps at 95 % over
(source, target) pairs, drawn whole: outputs of one pair, and AUs of one output, are alike.
"""

import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.truth.names import shown_as
from bench.truth.scores import PixelFigures, Scores

Row = dict[str, Any]

REFERENCES = ("truth", "true", "source")
BASELINES = ("none", "oracle", "pixel", "nearest")
RIVAL = "pixel"
SHOWS = 1e-9  # true change above which an AU is part of the expression
EXACT = 12  # largest number of targets for which every flip of signs is tried


def table(scores: Sequence[Scores], *, seed: int = 0, resamples: int = 2000) -> list[Row]:
    """One row per (setting, method, k, alpha): baselines first, then methods in their order.

    Figures that are unknown are NaN. `paired` compares the row with that of `pixel` with the same
    setting, k and alpha, or k alone, or setting alone, where it is the only one.

    Args:
        scores: of every output.
        seed: seed of bootstrap and permutations.
        resamples: number of either.
    """
    groups: dict[tuple, list[Scores]] = {}
    for one in scores:
        groups.setdefault(_label(one), []).append(one)
    order = sorted(groups, key=_rank([label[1] for label in groups]))
    rows = []
    for label in order:
        row = aggregate(groups[label], seed=seed, resamples=resamples)
        rival = _rival(label, order)
        found = paired(groups[label], groups[rival], seed, resamples) if rival else None
        rows.append(row | {"paired": found})
    return rows


def aggregate(group: Sequence[Scores], *, seed: int = 0, resamples: int = 2000) -> Row:
    """The figures of one method at one k and alpha."""
    first = group[0]
    output, truth = _stack(group, "au_output"), _stack(group, "au_truth")
    true = _stack(group, "au_true")
    pair = np.unique([(s.source, s.target) for s in group], axis=0, return_inverse=True)[1].ravel()
    row: Row = {
        "setting": first.setting,
        "method": first.method,
        "k": first.k,
        "alpha": first.alpha,
        "n": len(group),
        "pairs": int(pair.max()) + 1,
    }
    for name in REFERENCES:
        rng = np.random.default_rng(seed)
        change = _stack(group, f"au_{name}")
        row[f"vs_{name}"] = _agreement(output, change, true, pair, rng, resamples)
    error, idle = np.abs(output - truth), np.abs(truth)
    known = np.isfinite(error)
    row["error_ratio"] = _ratio(_mean(error), _mean(np.where(known, idle, np.nan)))
    row["error_faceless_idle"] = _mean(np.where(known, error, idle))
    return row | _identity(group) | _pixels(group)


def _agreement(
    y: np.ndarray,
    x: np.ndarray,
    true: np.ndarray,
    pair: np.ndarray,
    rng: np.random.Generator,
    resamples: int,
) -> Row:
    """gain, r, error, error_shown (AUs whose true activation is not 0), and intervals."""
    from eval.protocol.statistics import (
        bootstrap,
        gain_and_correlation,
        means_of,
        products,
        sums_by,
    )

    error = np.abs(y - x)
    parts = [products(x, y).sum(1)]
    for values in (error, np.where(true > SHOWS, error, np.nan)):
        known = np.isfinite(values)
        parts.append(np.stack([known.sum(1), np.where(known, values, 0).sum(1)], axis=1))
    sums = sums_by(pair, np.concatenate(parts, axis=1).astype(float))

    def figures(total: np.ndarray) -> np.ndarray:
        errors = [means_of(total[..., i : i + 2]) for i in (6, 8)]
        return np.concatenate([gain_and_correlation(total[..., :6]), *errors], axis=-1)

    point = figures(sums.sum(0))
    low, high = bootstrap(sums, figures, rng, resamples)
    names = ("gain", "r", "error", "error_shown")
    found: Row = {name: float(point[i]) for i, name in enumerate(names)}
    found["n"] = int(sums[:, 0].sum())
    return found | {f"{name}_95": [float(low[i]), float(high[i])] for i, name in enumerate(names)}


def _identity(group: Sequence[Scores]) -> Row:
    target = np.array([s.to_target for s in group])
    source = np.array([s.to_source for s in group])
    known = np.isfinite(target) & np.isfinite(source)
    return {
        "to_target": _mean(target),
        "to_source": _mean(source),
        "nearer_target": _mean(np.where(known, target < source, np.nan)),
        "no_embedding": int((~known).sum()),
        "face": float(np.mean([s.face for s in group])),
        "no_face": sum(not s.face for s in group),
    }


def _pixels(group: Sequence[Scores]) -> Row:
    """Means over outputs; the infinite PSNR of a perfect one is left out."""
    names = [f.name for f in dataclasses.fields(PixelFigures)]
    row = {name: _mean(np.array([getattr(s.pixels, name) for s in group])) for name in names}
    own = ("non_finite", "clipped", "bits_per_dim")
    return row | {name: _mean(np.array([getattr(s, name) for s in group], float)) for name in own}


def paired(
    group: Sequence[Scores], rival: Sequence[Scores], seed: int = 0, flips: int = 10_000
) -> Row:
    """Sign-flip permutation test on AU errors against the truth, per output, over targets.

    An output and the rival's for the same setting, source, target and expression are compared in
    the AUs read in both; an output without a face has the error of no transfer, so that failing is
    no advantage. Differences are averaged in each target, whose sign is flipped as a whole: outputs
    of one person are alike. p is two-sided; every flip is tried up to 12 targets, so that it cannot
    fall below 2^(1 − targets).

    Returns:
        rival (its k and alpha), difference (below 0: the group is better), p, outputs, targets.
    """
    others = {_cell(s): s for s in rival}
    by_target: dict[int, list[float]] = {}
    for one in group:
        other = others.get(_cell(one))
        if other is not None:
            difference = _mean(_error(one) - _error(other))
            if math.isfinite(difference):
                by_target.setdefault(one.target, []).append(difference)
    means = np.array([np.mean(values) for values in by_target.values()])
    against = {name: getattr(rival[0], name) for name in ("method", "k", "alpha")}
    return {
        "rival": against,
        "difference": _mean(means),
        "p": sign_flip_p(means, np.random.default_rng(seed), flips),
        "outputs": sum(map(len, by_target.values())),
        "targets": len(means),
    }


def sign_flip_p(values: np.ndarray, rng: np.random.Generator, flips: int) -> float:
    """Two-sided p of the mean under random signs of the values; NaN below two values."""
    n = len(values)
    if n < 2:
        return float("nan")
    exact = n <= EXACT
    signs = (
        np.array(list(itertools.product((-1, 1), repeat=n)))
        if exact
        else rng.choice((-1, 1), (flips, n))
    )
    hits = int((np.abs(signs @ values) >= abs(values.sum()) - 1e-12).sum())
    return hits / len(signs) if exact else (1 + hits) / (1 + flips)


def _error(one: Scores) -> np.ndarray:
    """(17,) against the truth; of no transfer, if there is no face."""
    return np.abs((one.au_output if one.face else 0) - one.au_truth)


def _cell(one: Scores) -> tuple:
    return one.setting, one.source, one.target, one.expression


def _label(one: Scores) -> tuple:
    return one.setting, one.method, one.k, None if math.isnan(one.alpha) else one.alpha


def _rank(methods: Sequence[str]) -> Callable[[tuple], tuple]:
    """Sort key of a label: setting, baselines, methods as they first come, k, alpha."""
    names = [*BASELINES, *dict.fromkeys(methods)]

    def key(label: tuple) -> tuple:
        setting, method, k, alpha = label
        return setting != "matched", setting, names.index(method), k, -1 if alpha is None else alpha

    return key


def _rival(label: tuple, labels: Sequence[tuple]) -> tuple | None:
    """The row of the rival with which a row is compared; None if there is no single nearest one."""
    setting, method, k, alpha = label
    rivals = [r for r in labels if r[0] == setting and r[1] == RIVAL]
    if method == RIVAL or not rivals:
        return None
    for of_kind in ([r for r in rivals if r[2:] == (k, alpha)], [r for r in rivals if r[2] == k]):
        if len(of_kind) == 1:
            return of_kind[0]
    return rivals[0] if len(rivals) == 1 else None


def _stack(group: Sequence[Scores], name: str) -> np.ndarray:
    return np.stack([getattr(s, name) for s in group]).astype(float)


def _mean(values: np.ndarray) -> float:
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    return float(known.mean()) if known.size else float("nan")


def _ratio(value: float, of: float) -> float:
    return value / of if of else float("nan")


# ---- as text


def _number(digits: int, scale: float = 1) -> Callable[[float | None], str]:
    def text(value: float | None) -> str:
        if value is None or math.isnan(value):
            return "–"
        return f"{round(value * scale, digits) + 0.0:.{digits}f}"  # + 0.0: no minus zero

    return text


COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "setting": ("setting", str),
    "method": ("method", shown_as),
    "k": ("k", str),
    "alpha": ("α", lambda a: "–" if a is None or math.isnan(a) else f"{a:g}"),
    "vs_truth.gain": ("gain", _number(2)),
    "vs_truth.r": ("r", _number(2)),
    "vs_truth.error": ("AU error", _number(3)),
    "error_ratio": ("÷ none", _number(2)),
    "vs_truth.error_shown": ("error, shown AUs", _number(2)),
    "paired.p": ("p v. pixel", _number(3)),
    "vs_true.gain": ("gain, true", _number(2)),
    "vs_true.r": ("r, true", _number(2)),
    "vs_source.gain": ("gain, source", _number(2)),
    "to_target": ("to target", _number(3)),
    "to_source": ("to source", _number(3)),
    "nearer_target": ("nearer target %", _number(0, 100)),
    "mae": ("MAE", _number(2)),
    "psnr": ("PSNR", _number(1)),
    "ssim": ("SSIM", _number(3)),
    "fhog": ("FHOG", _number(3)),
    "surplus": ("surplus %", _number(1, 100)),
    "missing": ("missing %", _number(1, 100)),
    "ghosts": ("ghosts %", _number(1, 100)),
    "crossfade": ("crossfade %", _number(0, 100)),
    "blur": ("blur %", _number(0, 100)),
    "face": ("face %", _number(0, 100)),
    "non_finite": ("non-finite %", _number(2, 100)),
    "clipped": ("clipped %", _number(2, 100)),
    "bits_per_dim": ("bits/dim", _number(2)),
    "n": ("n", str),
}
"""Of the Markdown table, by the place of the figure in a row: heading, and how it is written."""

SHORT = (
    *("setting", "method", "k", "alpha", "vs_truth.gain", "vs_truth.r", "vs_truth.error"),
    *("error_ratio", "to_target", "mae", "ssim", "ghosts", "crossfade", "blur", "face", "n"),
)
"""Columns of a table that fits a README."""


def markdown(rows: Sequence[Row], columns: Sequence[str] = tuple(COLUMNS)) -> str:
    """A Markdown table.

    Raises:
        ValueError: a column is none of `COLUMNS`.
    """
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown:
        raise ValueError(f"column {unknown[0]!r}: use {', '.join(COLUMNS)}")
    lines = [[COLUMNS[name][0] for name in columns], ["---"] * len(columns)]
    lines += [[COLUMNS[name][1](value_at(row, name)) for name in columns] for row in rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def value_at(row: Row, place: str) -> Any:
    """`vs_truth.gain` of a row; None if it is not there."""
    value: Any = row
    for name in place.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def write_json(rows: Sequence[Row], path: Path, **about: Any) -> None:
    """The rows and `about`, in one file; NaN and infinity become null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_plain({**about, "rows": list(rows)}), indent=1) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
