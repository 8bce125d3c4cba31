"""The charts and tables of a report, from its figures: no file is read here."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from eval.report.charts import Line, Spot, bar_chart, frontier_chart, line_chart
from eval.report.context import Context, short_names
from eval.report.markup import Html, el, join, known, name, number, of, percent, table
from eval.table import AUS, NAMES

Rows = Sequence[Mapping]
NOT_MEASURED = el("p", "Not measured.", class_="note")
BARS = 6
"""At most this many expressions have bars of their own."""


def identity_chart(figures: Mapping, threshold: object = None) -> Html:
    """Identity distances against alpha: to the target mean, and to the source mean."""
    rows = figures["identity"]["by_alpha"]
    lines = [
        Line("source mean", _points(rows, "to_source_mean"), tone=2),
        Line("target mean", _points(rows, "to_target_mean"), tone=1),
    ]
    title = "Identity distance against α, to the source mean and to the target mean"
    limit = _float(threshold)
    if not known(limit):
        return _lines(lines, title, "identity distance", figures)
    said = f"{title}. Below the threshold two pictures count as one person's"
    return _lines(lines, said, "identity distance", figures, [(limit, "threshold")])


def gain_chart(figures: Mapping) -> Html:
    """Gain and correlation against alpha, with their 95 % intervals."""
    rows = figures["expression"]["by_alpha"]
    lines = [
        Line(said, _points(rows, key), _band(rows, key), tone)
        for said, key, tone in (("gain", "gain", 1), ("correlation", "correlation", 2))
    ]
    title = "AU gain and correlation against α, with 95 % intervals"
    return _lines(lines, title, "gain, correlation", figures)


def error_chart(figures: Mapping) -> Html:
    """AU error against alpha: on all AUs, and on those that the expression shows."""
    rows = [{"alpha": row["alpha"], **row["error"]} for row in figures["expression"]["by_alpha"]]
    lines = [
        Line("AUs shown", _points(rows, "reference"), tone=2),
        Line("all AUs", _points(rows, "all"), tone=1),
    ]
    error = figures["expression"]["error"]
    none = [(error[key]["no_transfer"], "no transfer") for key in ("reference", "all")]
    title = (
        "AU error against α, on all AUs and on those that the expression shows (0.5 or more). "
        "Dotted: no transfer, the target's mean face itself"
    )
    levels = [level for level in none if known(level[0])]
    return _lines(lines, title, "mean AU error (0–5)", figures, levels)


def _lines(
    lines: Sequence[Line],
    title: str,
    y_label: str,
    figures: Mapping,
    levels: Sequence[tuple[float, str]] = (),
) -> Html:
    """The lines that have a point, or a note that none has."""
    there = [line for line in lines if line.points]
    if not there and figures["counts"]["judged"] and not figures["counts"]["alphas"]:
        return el("p", "No output has an α, so there is no curve.", class_="note")
    if not there:
        return NOT_MEASURED
    wise = figures["recommended_alpha"]["alpha"]
    mark = (wise, "recommended") if known(wise) else None
    drawn = line_chart(there, title, "α", y_label, levels=levels, mark=mark)
    return el("figure", drawn, el("figcaption", f"{title}."))


def _points(rows: Rows, key: str) -> list[tuple[float, float]]:
    return [(row["alpha"], row[key]) for row in rows if known(row["alpha"]) and known(row[key])]


def _band(rows: Rows, key: str) -> list[tuple[float, float, float]]:
    low, high = f"{key}_low", f"{key}_high"
    there = [row for row in rows if all(known(row[k]) for k in ("alpha", low, high))]
    return [(row["alpha"], row[low], row[high]) for row in there]


def frontier(figures: Mapping) -> Html:
    """Gain against what it costs in identity: the distance, or the rate where that is unknown."""
    rows = [row for row in figures["frontier"] if known(row["gain"])]
    key, label = "to_target_mean", "identity distance to the target mean (less is nearer)"
    if not any(known(row[key]) for row in rows):
        key, label = "nearer_rate", "share of outputs nearer to the target"
    spots = [
        Spot(row[key], row["gain"], _alpha(row["alpha"]), row["efficient"])
        for row in rows
        if known(row[key])
    ]
    if not spots:
        return NOT_MEASURED
    title = "AU gain against identity at each α"
    said = (
        f"{title}. Filled and joined: efficient, no other α is as good in gain and identity and "
        "better in one. Hollow: beaten by another α."
    )
    drawn = frontier_chart(spots, title, label, "AU gain")
    return el("figure", drawn, el("figcaption", said))


def _alpha(alpha: object) -> str:
    return f"α {alpha:.4g}" if known(alpha) else "no α"


def au_bars(scores: pd.DataFrame, figures: Mapping) -> Html:
    """Mean intensity of each AU in the expression, the target's mean face, and the output.

    At the recommended alpha, or the largest where none is; all outputs if they have none.
    """
    read = figures["expression"]["aus_read"]
    if not read:
        return NOT_MEASURED
    alphas = figures["counts"]["alphas"]
    wise = figures["recommended_alpha"]["alpha"]
    alpha = wise if known(wise) else alphas[-1] if alphas else None
    rows = scores if alpha is None else scores[np.isclose(scores["alpha"], alpha)]
    which = " (recommended)" if known(wise) else " (the largest)" if alphas else ""
    at = f"at α {alpha:.4g}{which}" if alpha is not None else "over all outputs"
    shorts = short_names(figures["counts"]["expressions"])
    means = {f"All expressions, {at}": _means(rows, read)}
    if len(shorts) > 1:
        for key, short in list(shorts.items())[:BARS]:
            means[f"{short}, {at}"] = _means(rows[rows["expression"] == key], read)
    top = max((v for groups in means.values() for _, g in groups for v in g if v == v), default=1)
    charts = [_bars(groups, title, top) for title, groups in means.items()]
    more = len(shorts) - BARS
    note = el("p", f"{more} more expressions are in scores.csv.", class_="note") if more > 0 else ""
    return join([el("div", *charts, class_="grid"), note])


def _means(rows: pd.DataFrame, read: Sequence[str]) -> list[tuple[str, list[float]]]:
    """An AU's label, and its means over the outputs in which it was read."""
    groups = []
    for au in read:
        kinds = rows[[f"{au}_expression", f"{au}_target", au]].dropna(subset=[au])
        groups.append((f"{_short(au)} {NAMES[au]}", [float(v) for v in kinds.mean()]))
    return groups


def _bars(groups: Sequence[tuple[str, list[float]]], title: str, top: float) -> Html:
    names = ("source expression", "target mean", "output")
    said = f"Mean AU intensity of the source expression, the target mean and the output: {title}"
    drawn = bar_chart(groups, names, said, "mean intensity (0–5)", top)
    return el("figure", drawn, el("figcaption", f"{title}."))


def _short(au: str) -> str:
    """AU1, from AU01."""
    return f"AU{int(au[2:])}"


def by_expression(figures: Mapping) -> Html:
    """Both halves by expression."""
    ours = {row["expression"]: row for row in figures["expression"]["by_expression"]}
    shorts = short_names(figures["counts"]["expressions"])
    rows = [
        [name(shorts[row["expression"]]), *_identity(row), *_aus(ours[row["expression"]])]
        for row in figures["identity"]["by_expression"]
    ]
    head = ["expression", *IDENTITY_HEAD, "gain", "r", "AU error", "no transfer"]
    return table("By expression", head, rows)


def by_target(figures: Mapping) -> Html:
    """Identity by target."""
    rows = [[name(row["target"]), *_identity(row)] for row in figures["identity"]["by_target"]]
    return table("By target", ["target", *IDENTITY_HEAD], rows)


def by_alpha(figures: Mapping) -> Html:
    """The numbers behind the curves."""
    ours = {row["alpha"]: row for row in figures["expression"]["by_alpha"]}
    rows = []
    for row in figures["identity"]["by_alpha"]:
        aus = ours[row["alpha"]]
        errors = [number(aus["error"]["all"], 3), number(aus["error"]["reference"], 3)]
        change = [number(aus["gain"]), number(aus["correlation"])]
        rows.append([_alpha(row["alpha"]), *_identity(row), *change, *errors])
    head = ["α", *IDENTITY_HEAD, "gain", "r", "AU error, all", "AU error, 0.5 or more"]
    return table("By α", head, rows)


IDENTITY_HEAD = ("with identity", "nearer to target", "rate", "to target mean", "to source mean")


def _identity(row: Mapping) -> list[str]:
    distances = [number(row["to_target_mean"], 3), number(row["to_source_mean"], 3)]
    return [str(row["n"]), of(row["nearer"]), percent(row["nearer"]["rate"]), *distances]


def _aus(row: Mapping) -> list[str]:
    change = [number(row["gain"]), number(row["correlation"])]
    return [*change, number(row["error"], 3), number(row["no_transfer"], 3)]


def by_au(figures: Mapping, context: Context) -> Html:
    """Each AU, and beside it how well the reader reads it."""
    ours = {row["au"]: row for row in figures["expression"]["by_au"]}
    quality = {str(row["au"]): row for row in context.reader_quality}
    unknown = dict.fromkeys(("gain", "correlation", "error", "no_transfer"))
    rows = []
    for au in AUS:
        read, how = ours.get(au), quality.get(au, {})
        cells = _aus(read or unknown)
        good = [number(_float(how.get(key))) for key in ("r", "mae", "slope")] if quality else []
        n = str(read["n"]) if read else "abstained"
        rows.append([join([el("b", _short(au)), " ", NAMES[au]]), n, *cells, *good])
    head = ["AU", "pairs", "gain", "r", "AU error", "no transfer"]
    head += ["reader r", "reader MAE", "reader slope"] if quality else []
    return table("By AU", head, rows)


def _float(value: object) -> float | None:
    """A number of any numeric type, or nothing."""
    return float(value) if isinstance(value, (int, float, np.number)) else None
