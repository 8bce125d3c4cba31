"""A result on the page: the picture before and after, what to know of it, and its files."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from glow_jax.cli.ui import words
from glow_jax.cli.ui.engine import Engine
from glow_jax.cli.ui.figures import judged, why_not_judged
from glow_jax.cli.ui.finish import Finished, finish, pack
from glow_jax.cli.ui.forms import EditForm, Form
from glow_jax.cli.ui.parts import ready
from glow_jax.io.pictures import read_image
from transfer.models import far_limit_of
from transfer.photos.hidden import hidden_line
from transfer.preview import PHOTOGRAPH_PX, Preview, Shown


def result_html(preview: Preview, shown: Shown, tag: str) -> str:
    """The target before and after, of the photograph if there is one; `tag` names the second."""
    before, after = pictures_of(preview, shown)
    return words.comparison(before, after, tag)


def pictures_of(preview: Preview, shown: Shown) -> tuple[np.ndarray, np.ndarray]:
    """Before and after, of the photograph if there is one."""
    if preview.photograph is not None and shown.pasted is not None:
        return preview.photograph, shown.pasted
    return preview.before, shown.image


def warnings_html(preview: Preview, model: str) -> str:
    """A warning of unlikely pictures, of faces that may be hidden, and of what is left out."""
    bits: Mapping[str, float] = {Path(path).name: value for path, value in preview.bits.items()}
    unlikely = words.unlikely(dict(bits), far_limit_of(model))
    hidden = (hidden_line(Path(path).name, parts) for path, parts in preview.hidden.items())
    return words.lines([*unlikely, *hidden, *(one.reason for one in preview.skipped)], "warn")


def photograph_html(engine: Engine, form: Form, finished: Finished, tag: str) -> str | None:
    """The photograph before and after; None where the preview shows it, or nothing was pasted."""
    person = form.picture if isinstance(form, EditForm) else form.target
    if finished.pasted is None or len(person.pictures) != 1:
        return None
    with engine.turns.mine():
        if engine.preview(form).photograph is not None:
            return None
    before, after = (reduced(read_image(p)) for p in (person.pictures[0], finished.pasted))
    return words.comparison(before, after, tag)


def reduced(pixels: np.ndarray) -> np.ndarray:
    """A photograph, uint8 (H, W, 3), whose longest side is at most PHOTOGRAPH_PX."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((PHOTOGRAPH_PX, PHOTOGRAPH_PX), Image.Resampling.BOX)
    return np.asarray(picture)


def files_of(
    gr: Any, engine: Engine, form: Form, asked: Any, title: str, column: str, tag: str = "edited"
) -> Iterator[Any]:
    """A result's photograph, figures and files: first the files, then what the judge measures.

    Args:
        gr: the module gradio.
        engine: of the page.
        form, asked: as for `finish`.
        title: above the figures.
        column: heading of the changes that were asked for.
        tag: names the second picture, as for `result_html`.
    """
    finished = finish(engine, form, asked)
    photograph = photograph_html(engine, form, finished, tag)
    result = gr.skip() if photograph is None else photograph
    problems = words.lines(finished.problems, "warn")
    files = ready(gr, finished.pasted or finished.picture, pack(finished, form, asked))
    why = why_not_judged()
    waiting = f"Not measured: {why}" if why else "Measuring the result …"
    yield result, problems + words.lines([waiting]), *files
    if not why:
        found = judged(finished.folder, engine.folder)
        yield result, problems + words.figures_html(found, title, column), *files
