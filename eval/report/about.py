"""The last sections of a report: failures, settings of the run, and definitions of terms."""

from collections.abc import Mapping

import numpy as np

from eval.protocol.headline import MIN_OUTPUTS, MIN_TARGETS
from eval.references import AVERAGE, Reference
from eval.report.context import Context
from eval.report.view import Table, Words, name
from glow_jax.io.messages import counted

FAILURES = 100
"""At most this many failures are listed; figures.json has all."""

RECORDED = (
    *("title", "identity", "reader", "reader_notes", "reader_quality", "failures", "versions"),
    *("hardware", "command", "timestamp", "notes", "settings"),
)
"""Fields of the context that figures.json holds."""


def terms(reference: Reference) -> list[tuple[str, str]]:
    """Definitions of the report's terms."""
    neutral = f"the {reference.name}"
    if reference is AVERAGE:
        what = (
            "There is no picture of what the method edits: the mean of the intensities read in a "
            "person's photographs stands for it."
        )
    else:
        what = (
            f"The {reference.name} of a person is what the method edits or measures from. Where "
            "there is none, or no face is found in it, the mean of the intensities read in the "
            "person's photographs stands for it."
        )
    return [
        (
            "Headline",
            "Of the outputs at one α, which it names. Fewer than "
            f"{MIN_OUTPUTS} outputs, or outputs of fewer than {MIN_TARGETS} target people, are too "
            "few to judge a method by.",
        ),
        (
            "Identity distance",
            "Between the face embedding of an output and the mean embedding of a person's "
            "photographs. Less is more alike. Its scale depends on the model.",
        ),
        (
            "Nearer to the target",
            "The output's distance to the target's photographs is below its distance to the "
            "source's. The interval is Wilson's, at 95 %.",
        ),
        ("AU", "Action Unit: one visible movement of the face, read as an intensity of 0 to 5."),
        (reference.name[:1].upper() + reference.name[1:], what),
        (
            "Gain",
            f"How much of the expression arrives: the slope of (output − {neutral} of the target) "
            f"on (source expression − {neutral} of the source), over all AUs and outputs. 1 is "
            "all of it, 0 none.",
        ),
        (
            "Correlation r",
            "Of the same changes: near 1, the AUs that should move are those that do.",
        ),
        (
            "AU error",
            "Mean absolute difference of the output's AUs from the source expression's. Doing "
            f"nothing (no transfer) is {neutral} of the target itself. Heat maps and tables are "
            "over all α together.",
        ),
        (
            "95 % interval",
            "Of gain, correlation and distances: a bootstrap over series (one expression on one "
            "target, over α).",
        ),
        (
            "p",
            "How often the correlation is as large when expressions are exchanged at random. With "
            "few expressions it cannot be small: with 4, one in 24 at best.",
        ),
        ("α", "How much of the expression is added; 0 is none of it."),
        (
            "Reader r, MAE, slope",
            "How well the AU reader reads that AU on pictures with known AUs. Where r is low, "
            "this report's figures of the AU are noise too.",
        ),
    ]


def failures(context: Context) -> Table | None:
    """A table of pictures that could not be read or scored, with reasons; None without any."""
    if not context.failures:
        return None
    rows: list[list[Words]] = [
        [name(file), stage, reason] for file, stage, reason in context.failures
    ]
    caption = counted(len(rows), "failure")
    return Table(caption, ["file", "stage", "reason"], rows, style="words", limit=FAILURES)


def run_data(context: Context) -> dict[str, object]:
    """The settings of the run, for figures.json."""
    return {key: _plain(getattr(context, key)) for key in RECORDED}


def _plain(value: object) -> object:
    """A value for JSON: dicts, lists, text and finite numbers; other numbers become None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value if isinstance(value, (int, str, type(None))) else str(value)


def facts(context: Context) -> list[tuple[Words, Words]]:
    """Versions, models and hardware."""
    facts: list[tuple[Words, Words]] = [("hardware", context.hardware), ("time", context.timestamp)]
    facts.append(("AU reader", context.reader))
    facts = [(term, meaning) for term, meaning in facts if meaning]
    facts += [(f"identity {key}", name(value)) for key, value in context.identity.items()]
    facts += [(name(key), name(value)) for key, value in context.versions.items()]
    return facts
