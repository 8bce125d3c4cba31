"""The tab Transfer: an expression, a target, a slider, and the files of the result."""

from collections.abc import Iterator
from typing import Any

from glow_jax.cli.ui import bundled, words
from glow_jax.cli.ui.choosers import chooser, method_radio, neutral_box, picture_settings
from glow_jax.cli.ui.engine import Engine
from glow_jax.cli.ui.forms import TransferForm, command_text
from glow_jax.cli.ui.gather import Fields, gather
from glow_jax.cli.ui.live import Live, Wires, connect
from glow_jax.cli.ui.outcome import files_of, result_html, warnings_html
from glow_jax.cli.ui.parts import downloads
from transfer.methods import METHODS

EMPTY = "Choose an expression and a target, then press Transfer."


def build(gr: Any, engine: Engine) -> None:
    """Add the tab's components and events to the open page."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            fields, go = _inputs(gr)
        with gr.Column(scale=6, min_width=320):
            result = gr.HTML(words.placeholder(EMPTY), elem_id="transfer-result")
            with gr.Column(visible=False) as below:
                alpha = gr.Slider(
                    *(0.0, 1.5, 1.0),
                    step=0.05,
                    label="How much of the expression (alpha)",
                    info="0 is none, 1 is all of it, more exaggerates",
                    elem_id="alpha",
                )
                notes = gr.HTML(elem_id="transfer-notes")
                files = downloads(gr, "transfer", "Picture", "Picture, inputs and recipe (.zip)")
                figures = gr.HTML(elem_id="transfer-figures")
                command = gr.HTML(elem_id="transfer-command")

    tab = Live(
        gather=lambda values: gather(engine, Fields.of(values)),
        asked=lambda made, amount: round(float(amount), 4),
        opened=lambda made: [gr.Column(visible=True)],
        now=lambda made, amount: _now(engine, made, amount),
        files=lambda made, amount: _files(gr, engine, made, amount),
    )
    wires = Wires(
        starts=[go.click],
        moves=[alpha.input],
        fields=fields,
        sliders=[alpha],
        columns=[below],
        now=[result, notes, command],
        files=[figures, *files],
    )
    connect(gr, engine, tab, wires, "transfer")


def _now(engine: Engine, form: TransferForm, alpha: float) -> tuple[str, str, str]:
    """The result, what to know of it, and the command, before files are made."""
    preview, shown = engine.shown(form, alpha)
    notes = words.lines(words.remarks(preview.note, alpha, shown.kept))
    return (
        result_html(preview, shown, _tag(alpha)),
        warnings_html(preview, form.model) + notes,
        words.command(command_text(form.words(alpha))),
    )


def _files(gr: Any, engine: Engine, form: TransferForm, alpha: float) -> Iterator[Any]:
    title = f"Measured in the result at {100 * alpha:.0f} %"
    return files_of(gr, engine, form, alpha, title, "source moves", _tag(alpha))


def _tag(alpha: float) -> str:
    return f"after, {100 * alpha:.0f} %"


def _inputs(gr: Any) -> tuple[dict[str, Any], Any]:
    """The fields on the left, by the names of `Fields.of`, and the button that starts."""
    with gr.Row():
        with gr.Column(min_width=200):
            expression, expression_name = chooser(
                gr, "Expression", bundled.expressions(), "expression"
            )
        with gr.Column(min_width=200):
            target, target_name = chooser(gr, "Target", bundled.faces(), "target")
    gr.HTML(f'<p class="consent">{words.CONSENT}</p>')
    go = gr.Button("Transfer", variant="primary", elem_id="go")
    with gr.Accordion("Neutral pictures of the expression's person (more exact)", open=False):
        neutral = neutral_box(gr, "neutral")
    fields = {
        "expression": expression,
        "expression_name": expression_name,
        "target": target,
        "target_name": target_name,
        "neutral": neutral,
    }
    with gr.Accordion("Settings", open=False):
        fields |= {
            "method": method_radio(gr, METHODS),
            **picture_settings(gr, "Paste the result into the target's photograph"),
            "neutralise": gr.Checkbox(False, label="First remove the target's own expression"),
        }
    return fields, go
