"""The end of a report: what failed, what was run, and what the words in it mean."""

from collections.abc import Mapping
from dataclasses import fields

import numpy as np

from eval.report.context import Context
from eval.report.markup import Html, definitions, el, join, many, name, table

FAILURES = 100
"""At most this many failures are listed; figures.json has all."""

TERMS = (
    (
        "Identity distance",
        "Between the face embedding of an output and the mean embedding of a person's pictures. "
        "Less is more alike. Its scale depends on the model.",
    ),
    (
        "Nearer to the target",
        "The output's distance to the target mean is below its distance to the source mean. "
        "The interval is Wilson's, at 95 %.",
    ),
    ("AU", "Action Unit: one visible movement of the face, read as an intensity of 0 to 5."),
    (
        "Gain",
        "How much of the expression arrives: the slope of (output − target mean) on (source "
        "expression − source mean), over all AUs and outputs. 1 is all of it, 0 none.",
    ),
    ("Correlation r", "Of the same changes: near 1, the AUs that should move are those that do."),
    (
        "AU error",
        "Mean absolute difference of the output's AUs from the source expression's. Doing nothing "
        "(no transfer) is the target's mean face itself, or where there is no picture of it the "
        "mean of what their photographs show. Heat maps and tables are over all α together.",
    ),
    (
        "95 % interval",
        "Of gain, correlation and distances: series (one expression on one target, over α) are "
        "drawn again with replacement.",
    ),
    (
        "p",
        "How often the correlation is as large when expressions are exchanged at random. With few "
        "expressions it cannot be small: with 4, one in 24 at best.",
    ),
    ("α", "How much of the expression is added; 0 is the target mean."),
    (
        "Reader r, MAE, slope",
        "How well the AU reader reads that AU on pictures with known AUs. Where r is low, "
        "this report's figures of the AU are noise too.",
    ),
)


def failures(context: Context) -> Html:
    """What could not be read or scored, and why."""
    if not context.failures:
        return el("p", "None.", class_="note")
    rows = [[name(file), stage, reason] for file, stage, reason in context.failures]
    caption = f"{many(len(rows), 'failure')}"
    return table(caption, ["file", "stage", "reason"], rows, limit=FAILURES, class_="words")


def run_data(context: Context) -> dict[str, object]:
    """What was run, for the JSON file."""
    pictures = ("root", "expressions", "target_means")
    kept = [field.name for field in fields(context) if field.name not in pictures]
    return {key: _plain(getattr(context, key)) for key in kept}


def _plain(value: object) -> object:
    """What JSON can hold: dicts, lists, text and finite numbers; None for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value if isinstance(value, (int, str, type(None))) else str(value)


def what_ran(context: Context) -> Html:
    """Command, versions, models and hardware."""
    facts = [("command", el("code", context.command)), ("hardware", context.hardware)]
    facts += [("time", context.timestamp), ("AU reader", context.reader)]
    facts += [(f"identity {key}", name(str(value))) for key, value in context.identity.items()]
    facts += [(name(key), name(value)) for key, value in context.versions.items()]
    notes = [el("li", note) for note in context.notes]
    known = [(term, what) for term, what in facts if what not in ("", el("code", ""))]
    return join([definitions(known), el("ul", *notes) if notes else ""])
