"""† The report of a judged folder: one HTML file that needs no network, and its data.

index.html holds everything it shows: style, drawings, small copies of pictures. It runs no
script and, by its own content policy, loads nothing. scores.csv is the scores table, figures.json
the figures with what was run.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from eval.protocol import PAPER
from eval.protocol.scores import any_names, check_scores
from eval.report import about, headline, sections
from eval.report.context import Context
from eval.report.heat import heat_maps
from eval.report.markup import Html, anchor, definitions, el, join, many, name, section
from eval.report.pictures import Album, contact_sheet, worst_cases
from eval.report.verdict import verdict
from glow_jax.io.files import write_atomically

__all__ = ["Context", "write_report"]

STYLE = Path(__file__).with_name("report.css")
MADE = "Outputs are made by a model: nobody did what they show."
LOOK = (
    "Look at them: neither identity models nor AU readers punish ghosts, such as double brows, "
    "halos or broken teeth."
)
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@any_names
def write_report(
    folder: str | Path, scores: pd.DataFrame, figures: Mapping, *, context: Context
) -> Path:
    """Write index.html, scores.csv and figures.json, each whole or not at all.

    Args:
        folder: made where missing; the three files in it are replaced.
        scores: one row an output, columns as in `eval.table`; may be empty.
        figures: `eval.protocol.figures` of the scores.
        context: pictures, settings, failures, and what was run.

    Returns:
        The path of index.html.

    Raises:
        InputError: the scores table does not pass `check_scores`, or a file cannot be written.
        OSError: the folder cannot be made.
    """
    checked = check_scores(scores)
    checked["alpha"] = checked["alpha"].round(6)  # as in the figures: 0.1 + 0.2 is 0.3
    page = build_page(checked, figures, context)
    data = {**figures, "run": about.run_data(context)}
    written = json.dumps(data, indent=1, allow_nan=False)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = {"scores.csv": scores.to_csv(index=False), "figures.json": written, "index.html": page}
    for file, text in files.items():
        write_atomically(folder / file, text.encode("utf-8", "backslashreplace"))
    return folder / "index.html"


@any_names
def build_page(scores: pd.DataFrame, figures: Mapping, context: Context) -> str:
    """The page. `scores` are checked, their alphas rounded as in the figures."""
    album = Album(context)
    wise = figures["recommended_alpha"]["alpha"]
    parts = {
        "Headline": [el("p", verdict(figures), class_="verdict"), headline.cards(figures, PAPER)],
        "Contact sheet": [contact_sheet(scores, album, wise), el("p", LOOK, class_="note")],
        "Identity": _identity(figures, context),
        "Expression": _expression(scores, figures, context),
        "Frontier": [sections.frontier(figures)],
        "Tables": _tables(figures, context),
        "Worst cases": [worst_cases(figures["worst"], scores, album)],
        "Failures": [about.failures(context)],
        "What was run": [about.what_ran(context)],
        "How to read this": [definitions(about.TERMS)],
    }
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", context.title),
        el("style", Html(STYLE.read_text("utf-8"))),
    )
    links = el("nav", *(el("a", title, href=f"#{anchor(title)}") for title in parts))
    scope = el("p", _scope(figures)), el("p", context.timestamp), el("p", MADE)
    top = el("header", el("h1", context.title), *scope, links)
    body = el("body", top, el("main", *(section(title, *part) for title, part in parts.items())))
    return f"<!doctype html>\n{el('html', head, body, lang='en')}\n"


def _scope(figures: Mapping) -> str:
    """What was judged, in a line."""
    counts = figures["counts"]
    kinds = [
        many(len(counts["expressions"]), "expression"),
        many(len(counts["targets"]), "target"),
        *([many(len(counts["alphas"]), "α", "α")] if counts["alphas"] else []),
    ]
    text = f"{many(counts['outputs'], 'output')} in {counts['series']} series"
    text += f" ({', '.join(kinds)}), {counts['judged']} judged"
    for key, said in (("no_face", "without a face"), ("several_faces", "with several faces")):
        text += f", {counts[key]} {said}" if counts[key] else ""
    return f"{text}."


def _identity(figures: Mapping, context: Context) -> list[Html]:
    """The curves, and what measured them."""
    settings = definitions((name(key), name(str(v))) for key, v in context.identity.items())
    chart = sections.identity_chart(figures, context.identity.get("threshold"))
    return [el("div", chart, el("div", settings, class_="aside"), class_="grid")]


def _expression(scores: pd.DataFrame, figures: Mapping, context: Context) -> list[Html]:
    """Bars, curves and heat maps of the AUs, and what read them."""
    notes = [el("li", note) for note in context.reader_notes]
    reader = el("p", "AU reader: ", name(context.reader), ".") if context.reader else ""
    return [
        join([reader, el("ul", *notes) if notes else ""]),
        el("h3", "Gain, correlation and error by α"),
        el("div", sections.gain_chart(figures), sections.error_chart(figures), class_="grid"),
        el("h3", "AUs of the source expression, the target mean and the output"),
        sections.au_bars(scores, figures),
        el("h3", "Error by expression and AU"),
        heat_maps(figures),
    ]


def _tables(figures: Mapping, context: Context) -> list[Html]:
    return [
        headline.all_figures(figures, PAPER),
        sections.by_alpha(figures),
        sections.by_expression(figures),
        sections.by_target(figures),
        sections.by_au(figures, context),
    ]
