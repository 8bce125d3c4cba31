"""Make the charts and tables of a report from its figures; no file is read here."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from eval.protocol.headline import rows_at
from eval.references import Reference
from eval.report.charts import Line, Spot, bar_chart, frontier_chart, line_chart
from eval.report.context import Context, short_names
from eval.report.numbers import known, number, of, percent
from eval.report.verdict import at_alpha
from eval.report.view import NOT_MEASURED, Cell, Figure, Table, Words, name
from eval.table import AUS, NAMES

Rows = Sequence[Mapping]
BARS = 6
"""At most this many expressions have bars of their own."""


def identity_chart(figures: Mapping, threshold: object = None) -> Figure:
    """Identity distances against alpha: to the target, and to the source."""
    rows = figures["identity"]["by_alpha"]
    lines = [
        Line("to the source", _points(rows, "to_source_mean"), tone=2),
        Line("to the target", _points(rows, "to_target_mean"), tone=1),
    ]
    title = "Identity distance against α, to the source's photographs and to the target's"
    limit = _float(threshold)
    if not known(limit):
        return _lines(lines, title, "identity distance", figures)
    title = f"{title}. Below the threshold two pictures count as one person's"
    return _lines(lines, title, "identity distance", figures, [(limit, "threshold")])


def gain_chart(figures: Mapping) -> Figure:
    """Gain and correlation against alpha, with their 95 % intervals."""
    rows = figures["expression"]["by_alpha"]
    lines = [
        Line(key, _points(rows, key), _band(rows, key), tone)
        for key, tone in (("gain", 1), ("correlation", 2))
    ]
    title = "AU gain and correlation against α, with 95 % intervals"
    return _lines(lines, title, "gain, correlation", figures)


def error_chart(figures: Mapping, reference: Reference) -> Figure:
    """AU error against alpha: on all AUs, and on those that the expression shows."""
    rows = [{"alpha": row["alpha"], **row["error"]} for row in figures["expression"]["by_alpha"]]
    lines = [
        Line("AUs shown", _points(rows, "reference"), tone=2),
        Line("all AUs", _points(rows, "all"), tone=1),
    ]
    error = figures["expression"]["error"]
    levels = [
        (error[key]["no_transfer"], f"no transfer, {which}")
        for key, which in (("reference", "shown"), ("all", "all"))
        if known(error[key]["no_transfer"])
    ]
    if len(levels) == 2 and number(levels[0][0], 3) == number(levels[1][0], 3):
        levels = [(levels[0][0], "no transfer")]
    title = (
        "AU error against α, on all AUs and on those that the expression shows (0.5 or more). "
        f"Dotted: no transfer, the target's {reference.name} itself"
    )
    return _lines(lines, title, "mean AU error (0–5)", figures, levels)


def _lines(
    lines: Sequence[Line],
    title: str,
    y_label: str,
    figures: Mapping,
    levels: Sequence[tuple[float, str]] = (),
) -> Figure:
    """The lines, if one of them has two points; else a note why there is no curve."""
    there = [line for line in lines if line.points]
    if not there and figures["counts"]["judged"] and not figures["counts"]["alphas"]:
        return Figure(f"No curve of {y_label}: no output has an α.")
    if not there:
        return NOT_MEASURED
    if not any(len(line.points) > 1 for line in there):
        return Figure(_one_alpha(f"No curve of {y_label}", there[0].points[0][0]))
    best = figures["recommended_alpha"]["alpha"]
    mark = (best, "recommended") if known(best) else None
    return Figure(f"{title}.", line_chart(there, title, "α", y_label, levels=levels, mark=mark))


def _one_alpha(what: str, alpha: float) -> str:
    """Why there is no chart, and where the figures are."""
    return f"{what}: all outputs measured have {_alpha(alpha)}. The table “By α” has the figures."


def _points(rows: Rows, key: str) -> list[tuple[float, float]]:
    return [(row["alpha"], row[key]) for row in rows if known(row["alpha"]) and known(row[key])]


def _band(rows: Rows, key: str) -> list[tuple[float, float, float]]:
    low, high = f"{key}_low", f"{key}_high"
    there = [row for row in rows if all(known(row[k]) for k in ("alpha", low, high))]
    return [(row["alpha"], row[low], row[high]) for row in there]


def frontier(figures: Mapping) -> Figure:
    """Gain against what it costs in identity: the distance, or the rate where that is unknown."""
    rows = [row for row in figures["frontier"] if known(row["gain"])]
    key, label = "to_target_mean", "identity distance to the target (less is nearer)"
    if not any(known(row[key]) for row in rows):
        key, label = "nearer_rate", "share of outputs nearer to the target"
    spots = [
        Spot(row[key], row["gain"], _alpha(row["alpha"]), row["efficient"])
        for row in rows
        if known(row[key])
    ]
    if not spots:
        return NOT_MEASURED
    if len(spots) == 1:
        return Figure(_one_alpha("No frontier", rows[0]["alpha"]))
    title = "AU gain against identity at each α"
    caption = (
        f"{title}. Filled and joined: efficient, no other α is as good in gain and identity and "
        "better in one. Hollow: beaten by another α."
    )
    return Figure(caption, frontier_chart(spots, title, label, "AU gain"))


def _alpha(alpha: object) -> str:
    return f"α {alpha:.4g}" if known(alpha) else "no α"


def au_bars(scores: pd.DataFrame, figures: Mapping, reference: Reference) -> list[Figure]:
    """Mean intensity of each AU in the expression, the target's reference, and the output.

    At the alpha of the headline. Of more expressions than `BARS`, the first have bars of their own.
    """
    read = figures["expression"]["aus_read"]
    if not read:
        return [NOT_MEASURED]
    head = figures["headline"]
    rows = scores[rows_at(scores, head["alpha"])]
    at = at_alpha(head).removesuffix(": ") or "over all outputs"
    shorts = short_names(figures["counts"]["expressions"])
    means = {f"All expressions, {at}": _means(rows, read)}
    if len(shorts) > 1:
        for key, short in list(shorts.items())[:BARS]:
            means[f"{short}, {at}"] = _means(rows[rows["expression"] == key], read)
    top = max((v for groups in means.values() for _, g in groups for v in g if v == v), default=1)
    return [_bars(groups, title, top, reference) for title, groups in means.items()]


def bars_left_out(figures: Mapping) -> int:
    """How many expressions have no bars of their own."""
    read = figures["expression"]["aus_read"]
    return max(len(figures["counts"]["expressions"]) - BARS, 0) if read else 0


def _means(rows: pd.DataFrame, read: Sequence[str]) -> list[tuple[str, list[float]]]:
    """An AU's label and its three means, all over the outputs in which what can be is known.

    A kind that is known in no output has NaN, which draws no bar.
    """
    groups = []
    for au in read:
        kinds = rows[[f"{au}_expression", f"{au}_target", au]]
        kinds = kinds.dropna(subset=[kind for kind in kinds if kinds[kind].notna().any()])
        groups.append((f"{_short(au)} {NAMES[au]}", [float(v) for v in kinds.mean()]))
    return groups


def _bars(
    groups: Sequence[tuple[str, list[float]]], title: str, top: float, reference: Reference
) -> Figure:
    names = ("source expression", f"target, {reference.short}", "output")
    alt = (
        f"Mean AU intensity of the source expression, the target's {reference.name} and the "
        f"output: {title}"
    )
    return Figure(f"{title}.", bar_chart(groups, names, alt, "mean intensity (0–5)", top))


def _short(au: str) -> str:
    """AU1, from AU01."""
    return f"AU{int(au[2:])}"


def by_expression(figures: Mapping) -> Table:
    """Both halves by expression."""
    ours = {row["expression"]: row for row in figures["expression"]["by_expression"]}
    shorts = short_names(figures["counts"]["expressions"])
    rows: list[list[Words]] = [
        [name(shorts[row["expression"]]), *_identity(row), *_aus(ours[row["expression"]])]
        for row in figures["identity"]["by_expression"]
    ]
    head = ["expression", *IDENTITY_HEAD, "gain", "r", "AU error", "no transfer"]
    return Table("By expression", head, rows)


def by_target(figures: Mapping) -> Table:
    """Identity by target."""
    found = figures["identity"]["by_target"]
    rows: list[list[Words]] = [[name(row["target"]), *_identity(row)] for row in found]
    return Table("By target", ["target", *IDENTITY_HEAD], rows)


def by_alpha(figures: Mapping) -> Table:
    """The numbers behind the curves."""
    ours = {row["alpha"]: row for row in figures["expression"]["by_alpha"]}
    rows: list[list[Words]] = []
    for row in figures["identity"]["by_alpha"]:
        aus = ours[row["alpha"]]
        errors = [number(aus["error"]["all"], 3), number(aus["error"]["reference"], 3)]
        change = [number(aus["gain"]), number(aus["correlation"])]
        rows.append([_alpha(row["alpha"]), *_identity(row), *change, *errors])
    head = ["α", *IDENTITY_HEAD, "gain", "r", "AU error, all", "AU error, 0.5 or more"]
    return Table("By α", head, rows)


IDENTITY_HEAD = ("outputs embedded", "nearer to target", "rate", "to target", "to source")


def _identity(row: Mapping) -> list[str]:
    distances = [number(row["to_target_mean"], 3), number(row["to_source_mean"], 3)]
    return [str(row["n"]), of(row["nearer"]), percent(row["nearer"]["rate"]), *distances]


def _aus(row: Mapping) -> list[str]:
    change = [number(row["gain"]), number(row["correlation"])]
    return [*change, number(row["error"], 3), number(row["no_transfer"], 3)]


def by_au(figures: Mapping, context: Context) -> Table:
    """Each AU, and beside it how well the reader reads it."""
    ours = {row["au"]: row for row in figures["expression"]["by_au"]}
    quality = {str(row["au"]): row for row in context.reader_quality}
    unknown = dict.fromkeys(("gain", "correlation", "error", "no_transfer"))
    rows: list[list[Words]] = []
    for au in AUS:
        read, how = ours.get(au), quality.get(au, {})
        cells = _aus(read or unknown)
        good = [number(_float(how.get(key))) for key in ("r", "mae", "slope")] if quality else []
        n = str(read["n"]) if read else "abstained"
        rows.append([Cell(NAMES[au], strong=_short(au)), n, *cells, *good])
    head = ["AU", "pairs", "gain", "r", "AU error", "no transfer"]
    head += ["reader r", "reader MAE", "reader slope"] if quality else []
    return Table("By AU", head, rows)


def _float(value: object) -> float | None:
    """A number of any numeric type, or nothing."""
    return float(value) if isinstance(value, (int, float, np.number)) else None
