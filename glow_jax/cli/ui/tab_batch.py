"""The tab Batch: a table of transfers and its pictures up, a ZIP of results down."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glow_jax.cli.ui import words
from glow_jax.cli.ui.batches import Ran, batch_words, reasons, run, stage
from glow_jax.cli.ui.engine import Engine
from glow_jax.cli.ui.forms import command_text
from glow_jax.cli.ui.parts import PRIVATE, downloads, failing, file_box, flags_of_verb, ready
from glow_jax.io.messages import counted

MOST_REASONS = 3  # shown; failures.csv has all
EMPTY = (
    "Drop a table with the columns expression, source, target and alpha, and its pictures: each "
    "row makes one output."
)
EXAMPLE = "expression,source,target,alpha\nann/smile.png,ann,bob,0.5\nann/smile.png,ann,bob,1\n"


def summary_lines(ran: Ran, why: Sequence[str]) -> list[str]:
    """What was made, and what could not be made, with the first of the reasons `why`."""
    summary, totals = ran.summary, ran.summary.totals
    found = [f"{counted(summary.made, 'picture')} made in {summary.seconds:.1f} s."]
    if ran.duplicates:
        found.append(f"Left out: {counted(ran.duplicates, 'duplicate row')}.")
    if totals.failed:
        found.append(f"Not made: {totals.failed}; failures.csv says why.")
    if totals.bad_inputs:
        found.append(f"Inputs that could not be used: {totals.bad_inputs}; see failures.csv.")
    if totals.absolute:
        found.append(f"Outputs whose expression was estimated from one picture: {totals.absolute}.")
    return [*found, *why[:MOST_REASONS]]


def build(gr: Any, engine: Engine) -> None:
    """Add the tab's components and events to the open page."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            table = file_box(gr, label="Table (.csv, .toml, .yaml)", height=160, elem_id="table")
            pictures = file_box(
                gr,
                label="Its pictures, or a ZIP with them in folders",
                file_count="multiple",
                height=160,
                elem_id="batch-pictures",
            )
            photographs = gr.Checkbox(False, label="The pictures are photographs: find the faces")
            gr.HTML(f'<p class="consent">{words.CONSENT}</p>')
            go = gr.Button("Run the table", variant="primary", elem_id="run")
        with gr.Column(scale=6, min_width=320):
            result = gr.HTML(words.placeholder(EMPTY) + words.example(EXAMPLE), elem_id="batch")
            files = downloads(gr, "batch", "Results (.zip)")
            command = gr.HTML(elem_id="batch-command")

    bar = gr.Progress()

    def made(
        table: Any, pictures: Any, photographs: bool, progress: gr.Progress = bar
    ) -> tuple[Any, ...]:
        place = stage(engine, table[0] if table else None, pictures or ())
        done = lambda n, of: progress((n, of), desc="pictures")  # noqa: E731
        ran = run(engine, place, bool(photographs), done)
        text = words.command(command_text(batch_words(Path(place).name, bool(photographs))))
        lines = summary_lines(ran, reasons(ran.summary))
        return words.lines(lines), *ready(gr, ran.archive), text

    go.click(
        failing(gr, made, flags_of_verb("batch")),
        [table, pictures, photographs],
        [result, *files, command],
        show_progress_on=[result],
        concurrency_limit=2,
        **PRIVATE,
    )
