"""The tab Transfer: an expression, a target, a slider, and the files of the result."""

import collections
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from glow_jax.cli.ui import bundled, words
from glow_jax.cli.ui.engine import Engine
from glow_jax.cli.ui.figures import judged, why_not_judged
from glow_jax.cli.ui.finish import finish, pack
from glow_jax.cli.ui.forms import TransferForm, command_text
from glow_jax.cli.ui.gather import ALIGNED, BY_SIZE, PHOTOGRAPHS, SUITABLE, Fields, gather
from glow_jax.cli.ui.parts import (
    PRIVATE,
    QUICK,
    downloads,
    failing,
    file_box,
    flags_of_verb,
    off,
    picture_box,
    ready,
)
from transfer.methods import METHODS as ALL_METHODS
from transfer.models import far_limit_of
from transfer.preview import Preview, Shown

MAX_SESSIONS = 1000
SETTLED_S = 0.5  # after the last move of the slider, before files are made
EMPTY = "Choose an expression and a target, then press Transfer."
METHODS = {
    "warp": "warp: the target's picture is warped (default)",
    "glow": "glow: as warp, with the source's own mouth inside",
    "paper": "paper: addition in latent space (needs neutral pictures of the source)",
}


class Latest:
    """What each session asked for last, so that older requests can be left out."""

    def __init__(self) -> None:
        """Nothing is asked for yet."""
        self._lock = threading.Lock()
        self._of: collections.OrderedDict[str, Any] = collections.OrderedDict()

    def put(self, session: str, asked: Any) -> None:
        """A session asks for something."""
        with self._lock:
            self._of[session] = asked
            self._of.move_to_end(session)
            while len(self._of) > MAX_SESSIONS:
                self._of.popitem(last=False)

    def get(self, session: str) -> Any:
        """What a session asked for last; None is nothing."""
        with self._lock:
            return self._of.get(session)


def result_html(preview: Preview, shown: Shown, alpha: float) -> str:
    """The target before and after, of the photograph if there is one."""
    if preview.photograph is not None and shown.pasted is not None:
        return words.comparison(preview.photograph, shown.pasted, alpha)
    return words.comparison(preview.before, shown.image, alpha)


def notes_html(preview: Preview, shown: Shown, alpha: float, limit: float | None) -> str:
    """What to know of the result, in sentences."""
    bits = {Path(path).name: value for path, value in preview.bits.items()}
    warnings = [*words.unlikely(bits, limit), *(one.reason for one in preview.skipped)]
    notes = words.remarks(preview.note, alpha, shown.kept)
    return words.lines(warnings, "warn") + words.lines(notes)


def build(gr: Any, engine: Engine) -> None:
    """Add the tab's components and events to the open page."""
    latest, flags = Latest(), flags_of_verb("transfer")
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            chosen, go = _inputs(gr)
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
    form = gr.State(None)

    def first(request: gr.Request, *values: Any) -> tuple[Any, ...]:
        amount = float(values[-1])
        with engine.turns.mine():
            made = gather(engine, Fields.of(dict(zip(chosen, values, strict=False))))
        latest.put(str(request.session_hash), (made, amount))
        return made, gr.Column(visible=True), *_now(engine, made, amount), "", *off(gr, 2)

    def moved(made: TransferForm, amount: float, request: gr.Request) -> tuple[Any, ...]:
        latest.put(str(request.session_hash), (made, float(amount)))
        return _now(engine, made, float(amount))

    def settle(made: TransferForm, amount: float, request: gr.Request) -> Iterator[Any]:
        session = str(request.session_hash)
        latest.put(session, (made, float(amount)))
        while (asked := latest.get(session)) is not None and asked[0] is made:
            time.sleep(SETTLED_S)
            if latest.get(session) == asked:
                for step in _files(gr, engine, made, asked[1]):
                    if latest.get(session) != asked:
                        break
                    yield step
                else:
                    return

    quiet = {**PRIVATE, "show_progress": "hidden", "concurrency_limit": 8}
    live, kept = [result, notes, command], [figures, *files]
    ran = go.click(
        failing(gr, first, flags),
        [*chosen.values(), alpha],
        [form, below, *live, *kept],
        show_progress="minimal",
        show_progress_on=[result],
        concurrency_limit=8,
        **PRIVATE,
    )
    ran.success(failing(gr, settle, flags), [form, alpha], kept, **quiet)
    for function, outputs in ((moved, live), (settle, kept)):
        alpha.input(
            failing(gr, function, flags),
            [form, alpha],
            outputs,
            trigger_mode="always_last",
            **quiet,
        )


def _now(engine: Engine, form: TransferForm, alpha: float) -> tuple[str, str, str]:
    """The result, what to know of it, and the command, before files are made."""
    preview, shown = engine.shown(form, alpha)
    return (
        result_html(preview, shown, alpha),
        notes_html(preview, shown, alpha, far_limit_of(form.model)),
        words.command(command_text(form.words(alpha))),
    )


def _files(gr: Any, engine: Engine, form: TransferForm, alpha: float) -> Iterator[Any]:
    """The figures and the files of a result: first the files, then what the judge measures."""
    finished = finish(engine, form, alpha)
    problems = words.lines(finished.problems, "warn")
    files = ready(gr, finished.pasted or finished.picture, pack(finished, form, alpha))
    why = why_not_judged()
    waiting = f"Not measured: {why}" if why else "Measuring the result …"
    yield problems + words.lines([waiting]), *files
    if not why:
        found = judged(finished.folder, engine.folder)
        yield problems + words.figures_html(found, alpha), *files


def _inputs(gr: Any) -> tuple[dict[str, Any], Any]:
    """The fields on the left, by the names of `Fields.of`, and the button that starts."""
    with gr.Row():
        with gr.Column(min_width=200):
            expression, expression_name = _chooser(
                gr, "Expression", bundled.expressions(), "expression"
            )
        with gr.Column(min_width=200):
            target, target_name = _chooser(gr, "Target", bundled.faces(), "target")
    gr.HTML(f'<p class="consent">{words.CONSENT}</p>')
    go = gr.Button("Transfer", variant="primary", elem_id="go")
    with gr.Accordion("Neutral pictures of the expression's person (more exact)", open=False):
        neutral = file_box(
            gr,
            label="One or more pictures of the same person without an expression",
            file_count="multiple",
            height=140,
            elem_id="neutral",
        )
    fields = {
        "expression": expression,
        "expression_name": expression_name,
        "target": target,
        "target_name": target_name,
        "neutral": neutral,
    }
    with gr.Accordion("Settings", open=False):
        return fields | _settings(gr), go


def _settings(gr: Any) -> dict[str, Any]:
    labels = [(METHODS.get(name, name), name) for name in ALL_METHODS]
    sizes = [("decide by their size", BY_SIZE), PHOTOGRAPHS, ALIGNED]
    models = [("suitable for the pictures", SUITABLE), "faces64", "photo64"]
    return {
        "method": gr.Radio(labels, value="warp", label="Method"),
        "pictures": gr.Radio(sizes, value=BY_SIZE, label="The pictures are"),
        "model": gr.Radio(models, value=SUITABLE, label="Model"),
        "paste_back": gr.Checkbox(True, label="Paste the result into the target's photograph"),
        "neutralise": gr.Checkbox(False, label="First remove the target's own expression"),
    }


def _chooser(gr: Any, label: str, options: dict[str, Path], key: str) -> tuple[Any, Any]:
    """A place for an upload, and bundled pictures below it, of which one can be chosen."""
    picture = picture_box(
        gr, label=label, height=230, elem_id=key, sources=["upload", "webcam", "clipboard"]
    )
    name = gr.Radio(
        [(one.removeprefix("person-"), one) for one in options],
        label="or somebody who does not exist",
        elem_id=f"{key}-bundled",
        elem_classes="faces",
    )
    name.input(lambda chosen: str(options[chosen]), name, picture, **QUICK)
    picture.input(lambda: None, None, name, **QUICK)
    return picture, name
