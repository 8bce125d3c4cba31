"""The tab Sample: pictures that a model makes of nothing but random numbers."""

import functools
from pathlib import Path
from typing import Any

from glow_jax.checkpoints import find, load, read_config
from glow_jax.cli.checks import check_unlabelled
from glow_jax.cli.sample import Samples, draw
from glow_jax.cli.ui import words
from glow_jax.cli.ui.engine import Engine
from glow_jax.cli.ui.finish import recipe_of, write_zip
from glow_jax.cli.ui.forms import command_text
from glow_jax.cli.ui.parts import PRIVATE, downloads, failing, ready
from glow_jax.io.pictures import write_image
from glow_jax.model_card import bundled_names

FILE = "samples.png"
MAX_SAMPLES = 64
MAX_SEED = 2**31 - 1
EMPTY = (
    "Press Draw: the model invents faces of people who do not exist. The first time takes up to a "
    "minute."
)


def sample_words(model: str, n: int, temperature: float, seed: int) -> list[str]:
    """The command line that draws the same samples."""
    how = ["--temperature", f"{temperature:g}", "--seed", str(seed), "--model", model]
    return ["glow-jax", "sample", "-n", str(n), *how, "-o", FILE]


@functools.lru_cache(2)
def _model(name: str) -> Any:
    """A model for samples; raises InputError where there is none, or it needs labels."""
    check_unlabelled(name, read_config(find(name)).n_classes)
    return load(name)


def sampled(
    engine: Engine, model: str, n: int, temperature: float, seed: int
) -> tuple[Samples, Path, Path]:
    """Samples, their sheet's file, and a ZIP of it with the recipe.

    Raises:
        InputError: the model cannot be sampled.
    """
    with engine.turns.mine():
        drawn = draw(_model(model), n, temperature, seed)
    sheet = engine.new_folder("samples") / FILE
    write_image(sheet, drawn.sheet, drawn.provenance)
    outputs = {FILE: sheet.read_bytes()}
    recipe = recipe_of(sample_words(model, n, temperature, seed), {}, outputs)
    archive = sheet.with_suffix(".zip")
    write_zip(archive, outputs | recipe)
    return drawn, sheet, archive


def build(gr: Any, engine: Engine) -> None:
    """Add the tab's components and events to the open page."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=300):
            model = gr.Radio(bundled_names(), value="faces64", label="Model")
            temperature = gr.Slider(
                *(0.0, 1.2, 0.7),
                step=0.05,
                label="Temperature",
                info="0 is the most likely face, higher is more varied",
                elem_id="temperature",
            )
            n = gr.Slider(1, MAX_SAMPLES, 16, step=1, label="Number of faces")
            seed = gr.Number(
                0,
                label="Seed",
                info="the same seed gives the same faces",
                precision=0,
                minimum=0,
                maximum=MAX_SEED,
                elem_id="seed",
            )
            go = gr.Button("Draw", variant="primary", elem_id="draw")
        with gr.Column(scale=6, min_width=320):
            sheet = gr.HTML(words.placeholder(EMPTY), elem_id="sample-sheet")
            files = downloads(gr, "sample", "Picture", "Picture and recipe (.zip)")
            command = gr.HTML(elem_id="sample-command")

    def made(model: str, n: float, temperature: float, seed: float | None) -> tuple[Any, ...]:
        how = (model, int(n), float(temperature), int(seed or 0))
        drawn, *paths = sampled(engine, *how)
        command = words.command(command_text(sample_words(*how)))
        return words.sheet(drawn.sheet, drawn.n_bad), *ready(gr, *paths), command

    fields = [model, n, temperature, seed]
    gr.on(
        [go.click, seed.submit],
        failing(gr, made),
        fields,
        [sheet, *files, command],
        show_progress="minimal",
        show_progress_on=[sheet],
        concurrency_limit=8,
        **PRIVATE,
    )
    temperature.release(
        failing(gr, made),
        fields,
        [sheet, *files, command],
        show_progress="hidden",
        trigger_mode="always_last",
        concurrency_limit=8,
        **PRIVATE,
    )
