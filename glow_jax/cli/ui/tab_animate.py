"""The tab Animate: a clip drives a picture."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from glow_jax.cli.ui import bundled, words
from glow_jax.cli.ui.animations import AnimateForm, gather, held_rows, pack, run
from glow_jax.cli.ui.choosers import chooser, method_radio, picture_settings
from glow_jax.cli.ui.engine import Engine
from glow_jax.cli.ui.forms import command_text
from glow_jax.cli.ui.parts import (
    PRIVATE,
    QUICK,
    clip_box,
    downloads,
    failing,
    flags_of_verb,
    ready,
    video_box,
)
from glow_jax.io.errors import InputError
from transfer.cli.animate import made_lines
from transfer.video.request import METHODS

if TYPE_CHECKING:
    from transfer.video.animate import Animated

STAGES = {"read": "reading the driver's face", "make": "making frames"}


class Stops:
    """The running animations of all sessions, each of which its session can stop."""

    def __init__(self) -> None:
        """Nobody yet."""
        self._lock = threading.Lock()
        self._running: dict[str, threading.Event] = {}

    @contextmanager
    def running(self, session: str) -> Iterator[threading.Event]:
        """Within the block the session's animation runs; yields an event that `stop` sets."""
        event = threading.Event()
        with self._lock:
            self._running[session] = event
        try:
            yield event
        finally:
            with self._lock:
                if self._running.get(session) is event:
                    del self._running[session]

    def stop(self, session: str) -> None:
        """End the session's animation, if there is one."""
        with self._lock:
            if session in self._running:
                self._running[session].set()


def build(gr: Any, engine: Engine, page: Any) -> None:
    """Add the tab's components and events to the open page, `page`."""
    stops, bar = Stops(), gr.Progress()
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            fields, go, stop = _inputs(gr)
        with gr.Column(scale=6, min_width=320):
            state = gr.HTML(words.placeholder(_empty()), elem_id="animate-state")
            video = video_box(gr, label="Result", height=420, visible=False, elem_id="animation")
            files = downloads(gr, "animate", "Video", "Video, inputs and recipe (.zip)")
            command = gr.HTML(elem_id="animate-command")

    def made(
        request: gr.Request,
        *values: Any,
        progress: gr.Progress = bar,
    ) -> tuple[Any, ...]:
        with stops.running(str(request.session_hash)) as stopped:

            def step(stage: str, done: int, total: int) -> None:
                if stopped.is_set():
                    raise InputError("stopped; nothing is kept")
                progress((done, total), desc=STAGES.get(stage, stage), unit="frames")

            with engine.turns.mine():
                form = gather(engine, dict(zip(fields, values, strict=True)))
            done = run(engine, form, step)
        return (
            said(done, form),
            gr.Video(value=str(done.out), visible=True),
            *ready(gr, done.out, pack(done, form)),
            words.command(command_text(form.words)),
        )

    go.click(
        failing(gr, made, flags_of_verb("animate")),
        list(fields.values()),
        [state, video, *files, command],
        show_progress_on=[state],
        concurrency_limit=2,
        **PRIVATE,
    )

    def end(request: gr.Request) -> None:
        stops.stop(str(request.session_hash))

    stop.click(end, None, None, **QUICK)
    page.unload(end)  # when the page is closed


def said(done: "Animated", form: AnimateForm) -> str:
    """What was made, and the table of the frames without a face."""
    n_held = sum(b - a + 1 for a, b, _ in done.held)
    kind = "warn" if n_held else "note"
    return words.lines(made_lines(done)[:2], kind) + words.held_table(held_rows(done))


def _empty() -> str:
    return (
        "Choose a clip and a picture, then press Animate: the person in the picture gets the "
        "expressions of the person in the clip."
    )


def _inputs(gr: Any) -> tuple[dict[str, Any], Any, Any]:
    """The fields by the names of `gather`, and the buttons that start and stop."""
    with gr.Row():
        with gr.Column(min_width=200):
            clip = clip_box(gr, label="Clip of the driver", height=250, elem_id="clip")
            use = gr.Checkbox(
                False,
                label="or a clip of somebody who does not exist",
                elem_id="clip-bundled",
            )
        with gr.Column(min_width=200):
            target, name = chooser(gr, "Picture", bundled.faces(), "animate-target")
    use.input(lambda on: str(bundled.CLIP) if on else None, use, clip, **QUICK)
    clip.input(lambda: False, None, use, **QUICK)
    gr.HTML(f'<p class="consent">{words.CONSENT}</p>')
    alpha = gr.Slider(
        *(0.0, 1.5, 1.0),
        step=0.05,
        label="How much of the expression (alpha)",
        elem_id="animate-alpha",
    )
    with gr.Row():
        go = gr.Button("Animate", variant="primary", elem_id="animate-go", scale=3)
        stop = gr.Button("Stop", elem_id="animate-stop", scale=1, min_width=80)
    fields = {
        "clip": clip,
        "bundled": use,
        "target": target,
        "target_name": name,
        "alpha": alpha,
    }
    with gr.Accordion("Settings", open=False):
        fields |= {
            "method": method_radio(gr, METHODS),
            "source_neutral": gr.Textbox(
                "auto",
                label="Neutral frames of the driver",
                info="auto, the number of a frame (counted from 0), FIRST:LAST, or absolute",
                elem_id="source-neutral",
            ),
            **picture_settings(gr, "Paste the result into the photograph"),
            "neutralise": gr.Checkbox(False, label="First remove the picture's own expression"),
            "mark": gr.Checkbox(False, label="Write AI-edited on every frame"),
        }
    return fields, go, stop
