"""The report of a judged folder: one HTML file that needs no network, and its data.

index.html holds everything it shows: style, drawings, small copies of pictures. It runs no
script and, by its own content policy, loads nothing. The templates (Jinja2) escape every text that
they are given, and its control characters. scores.csv is the scores table, figures.json the figures
with what was run.

Charts are our own inline SVG (`charts`, `axes`, templates/chart.html), not matplotlib's, because:

- Colours must follow the reader's scheme without a script. Here every shape has a class, and
  report.css gives the class a CSS variable for light, dark and print; matplotlib writes literal
  colours into each shape, and its global <style> applies to the whole page.
- Text must fit at phone width. matplotlib measures text in its own font and fixes the layout by
  it; the page shows system fonts.
- Every point has a <title> with its value; matplotlib's have none.
- A chart of two curves with intervals takes 2.7 kB here and 12.7 kB from matplotlib with text as
  text, and matplotlib with its dependencies would add 73 MB to the extra `eval`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from eval.protocol import PAPER
from eval.protocol.scores import any_names, check_scores
from eval.report import about, headline, sections
from eval.report.context import Context
from eval.report.heat import heat_maps
from eval.report.pictures import Album, contact_sheet, worst_cases
from eval.report.verdict import verdict
from eval.report.view import name
from glow_jax.io.files import write_atomically
from glow_jax.io.messages import counted
from glow_jax.io.output_folders import ABANDONED_S, make_folder, remove_temporary
from glow_jax.io.tables import csv_line
from glow_jax.io.terminal import printable

__all__ = ["Context", "write_report"]

TEMPLATES = Path(__file__).with_name("templates")
STYLE = TEMPLATES / "report.css"
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
SECTIONS = (
    *("Headline", "Contact sheet", "Identity", "Expression", "Frontier", "Tables"),
    *("Worst cases", "Failures", "What was run", "How to read this"),
)


@any_names
def write_report(
    folder: str | Path, scores: pd.DataFrame, figures: Mapping, *, context: Context
) -> Path:
    """Write index.html, scores.csv and figures.json, each whole or not at all.

    Args:
        folder: made where missing; the three files in it are replaced.
        scores: one row per output, columns as in `eval.table`; may be empty.
        figures: `eval.protocol.figures` of the scores.
        context: pictures, settings, failures, and what was run.

    Returns:
        The path of index.html.

    Raises:
        InputError: the scores table does not pass `check_scores`, or a file cannot be written.
    """
    checked = check_scores(scores)
    checked["alpha"] = checked["alpha"].round(6)  # as in the figures: 0.1 + 0.2 is 0.3
    page = build_page(checked, figures, context)
    data = {**figures, "run": about.run_data(context)}
    written = json.dumps(data, indent=1, allow_nan=False)
    folder = make_folder(Path(folder))
    remove_temporary(folder, older_s=ABANDONED_S)
    files = {"scores.csv": _csv(scores), "figures.json": written, "index.html": page}
    for file, text in files.items():
        write_atomically(folder / file, text.encode("utf-8", "backslashreplace"))
    return folder / "index.html"


def _csv(scores: pd.DataFrame) -> str:
    """The table as `eval.published.read_scores` reads it; what is unknown is empty."""
    rows = scores.itertuples(index=False, name=None)
    cells = (["" if cell != cell else cell for cell in row] for row in rows)
    return "".join(map(csv_line, [scores.columns, *cells]))


@any_names
def build_page(scores: pd.DataFrame, figures: Mapping, context: Context) -> str:
    """The page. `scores` are checked, their alphas rounded as in the figures."""
    page = _environment().get_template("page.html")
    return page.render(
        title=context.title,
        policy=POLICY,
        sections=SECTIONS,
        scope=_scope(figures),
        timestamp=context.timestamp,
        verdict=verdict(figures["headline"]),
        cards=headline.cards(figures, PAPER),
        **_pictures(scores, figures, context),
        **_measured(scores, figures, context),
        failures=about.failures(context),
        command=context.command,
        facts=about.facts(context),
        notes=context.notes,
        terms=about.terms(context.reference),
    )


def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_printable,
    )
    made.filters |= {"anchor": _anchor, "counted": counted, "px": "{:.2f}".format}
    return made


def _printable(value: Any) -> Any:
    """Whatever a template shows, without control characters; what is escaped already stays so."""
    if isinstance(value, str):
        shown = printable(value)
        return type(value)(shown) if shown != value else value
    return value


def _anchor(title: str) -> str:
    """The name by which links find a section."""
    return title.lower().replace(" ", "-")


def _pictures(scores: pd.DataFrame, figures: Mapping, context: Context) -> dict[str, Any]:
    album = Album(context)
    best = figures["recommended_alpha"]["alpha"]
    return {
        "sheet": contact_sheet(scores, album, best),
        "worst": worst_cases(figures["worst"], scores, album),
    }


def _measured(scores: pd.DataFrame, figures: Mapping, context: Context) -> dict[str, Any]:
    """Charts, tables and heat maps, and what measured them."""
    reference = context.reference
    return {
        "identity_chart": sections.identity_chart(figures, context.identity.get("threshold")),
        "identity_settings": [(name(k), name(v)) for k, v in context.identity.items()],
        "reader": context.reader,
        "reader_notes": context.reader_notes,
        "gain_chart": sections.gain_chart(figures),
        "error_chart": sections.error_chart(figures, reference),
        "bars_title": f"AUs of the source expression, the target's {reference.name} and the output",
        "bars": sections.au_bars(scores, figures, reference),
        "bars_left_out": sections.bars_left_out(figures),
        "heat_maps": heat_maps(figures),
        "frontier": sections.frontier(figures),
        "tables": [
            headline.all_figures(figures, PAPER),
            sections.by_alpha(figures),
            sections.by_expression(figures),
            sections.by_target(figures),
            sections.by_au(figures, context),
        ],
    }


def _scope(figures: Mapping) -> str:
    """What was judged, in a line."""
    counts = figures["counts"]
    kinds = [
        counted(len(counts["expressions"]), "expression"),
        counted(len(counts["targets"]), "target"),
        *([f"{len(counts['alphas'])} α"] if counts["alphas"] else []),
    ]
    text = f"{counted(counts['outputs'], 'output')} in {counts['series']} series"
    text += f" ({', '.join(kinds)}), {counts['judged']} judged"
    for key, words in (("no_face", "without a face"), ("several_faces", "with several faces")):
        text += f", {counts[key]} {words}" if counts[key] else ""
    return f"{text}."
