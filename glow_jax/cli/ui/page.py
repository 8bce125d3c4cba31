"""The page: its tabs, its look, and the settings with which Gradio keeps to itself."""

import os
from pathlib import Path
from typing import Any

from glow_jax.cli.ui import bundled, words
from glow_jax.cli.ui.engine import Engine
from glow_jax.io.packages import need

TITLE = "glow-jax"
CSS, SCRIPT = (Path(__file__).with_name(name) for name in ("page.css", "page.js"))
MAX_WAITING = 64  # requests in the queue
FONTS = ["system-ui", "sans-serif"]
MONO = ["ui-monospace", "monospace"]
SETTINGS = {  # before Gradio is imported
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_SHARE": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}
HEAD = (
    f"<h1>{TITLE}</h1><p>Move a facial expression from one person to another. "
    "Everything is computed on the computer that runs this page.</p>"
)


def import_gradio(folder: Path) -> Any:
    """The module gradio, which keeps its files in a private folder and reports to nobody.

    Args:
        folder: for uploads, and for what the page shows.

    Raises:
        InputError: it is not installed.
    """
    need("ui", "gradio")
    os.environ.update(SETTINGS)
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    import gradio

    return gradio


def blocks(gr: Any, engine: Engine) -> Any:
    """The page as Gradio's Blocks."""
    from glow_jax.cli.ui import tab_animate, tab_batch, tab_edit, tab_sample, tab_transfer

    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        gr.HTML(HEAD, elem_id="head")
        with gr.Tabs():
            with gr.Tab("Transfer", id="transfer"):
                tab_transfer.build(gr, engine)
            with gr.Tab("Edit", id="edit"):
                tab_edit.build(gr, engine)
            with gr.Tab("Animate", id="animate"):
                tab_animate.build(gr, engine, page)
            with gr.Tab("Batch", id="batch"):
                tab_batch.build(gr, engine)
            with gr.Tab("Sample", id="sample"):
                tab_sample.build(gr, engine)
    page.queue(max_size=MAX_WAITING, default_concurrency_limit=4)
    return page


def look(gr: Any) -> dict[str, Any]:
    """Theme, style and script, without anything that is fetched."""
    theme = gr.themes.Default(
        primary_hue="teal", neutral_hue="slate", font=FONTS, font_mono=MONO, radius_size="md"
    ).set(
        color_accent="*primary_700",
        body_text_color_subdued="*neutral_600",
        block_info_text_color="*neutral_600",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_800",
    )
    choices = {
        "expression-bundled": bundled.expressions(),
        "target-bundled": bundled.faces(),
        "edit-picture-bundled": bundled.pictures(),
        "animate-target-bundled": bundled.faces(),
    }
    style = [words.thumbnails(name, list(paths.values())) for name, paths in choices.items()]
    css = "\n".join([CSS.read_text(encoding="utf-8"), *style])
    return {
        "theme": theme,
        "css": css,
        "head": f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>",
    }
