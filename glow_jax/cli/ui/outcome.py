"""A result on the page: the picture before and after, what to know of it, and its files."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from glow_jax.cli.ui import words
from glow_jax.cli.ui.engine import Engine
from glow_jax.cli.ui.figures import judged, why_not_judged
from glow_jax.cli.ui.finish import finish, pack
from glow_jax.cli.ui.forms import Form
from glow_jax.cli.ui.parts import ready
from transfer.models import far_limit_of
from transfer.preview import Preview, Shown


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
    """A warning of pictures that the model finds unlikely, and of those that are left out."""
    bits: Mapping[str, float] = {Path(path).name: value for path, value in preview.bits.items()}
    unlikely = words.unlikely(dict(bits), far_limit_of(model))
    return words.lines([*unlikely, *(one.reason for one in preview.skipped)], "warn")


def files_of(
    gr: Any, engine: Engine, form: Form, asked: Any, title: str, column: str
) -> Iterator[Any]:
    """The figures and the files of a result: first the files, then what the judge measures.

    Args:
        gr: the module gradio.
        engine: of the page.
        form, asked: as for `finish`.
        title: above the figures.
        column: heading of the changes that were asked for.
    """
    finished = finish(engine, form, asked)
    problems = words.lines(finished.problems, "warn")
    files = ready(gr, finished.pasted or finished.picture, pack(finished, form, asked))
    why = why_not_judged()
    waiting = f"Not measured: {why}" if why else "Measuring the result …"
    yield problems + words.lines([waiting]), *files
    if not why:
        found = judged(finished.folder, engine.folder)
        yield problems + words.figures_html(found, title, column), *files
