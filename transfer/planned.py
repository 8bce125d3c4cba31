"""Plan a transfer or an edit: models, job, and the functions that read its pictures."""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.face_numbers import split_face
from glow_jax.io.messages import one_line
from transfer.complete import Notify
from transfer.directions import Direction, load_direction
from transfer.expression.edits import Edit, far_units
from transfer.jobs.alphas import parse_alphas
from transfer.jobs.plan import Plan, plan_transfer
from transfer.jobs.plan_edit import plan_edits
from transfer.methods import default_method, method_class
from transfer.methods.base import Models
from transfer.models import load_models
from transfer.photos.aligned_faces import AlignedFaces, check_installed, loader_of
from transfer.photos.most_neutral import keep_most_neutral
from transfer.requests import EditRequest, StrPath, TransferRequest, model_of

Load = Callable[[str], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Planned:
    """A transfer or an edit that is ready to run.

    Attributes:
        plan: the outputs to make.
        models: the models to make them with.
        method: name of the method.
        faces: function that reads a picture, or cuts the face out of a photograph.
        load: `faces`, which keeps what it has read.
        alignment: see `transfer.jobs.job.make_job`.
    """

    plan: Plan
    models: Models
    method: str
    faces: AlignedFaces | Load
    load: Load
    alignment: str


def plan_request(request: TransferRequest, models: Models | None, notify: Notify) -> Planned:
    """Check a request, and plan its outputs. Nothing is written.

    Args:
        request: the expressions, the people and the settings.
        models: what `load_models` returns for the request's model and precision; None loads them.
        notify: called with lines for the user.

    Raises:
        InputError: a path is missing, the method does not work with the model, or a package is not
            installed.
    """
    sources = [] if request.source is None else [request.source]
    check_paths([*request.expressions, *sources, *request.targets])
    alphas = parsed(request.alphas)
    check_installed(request.photographs, request.n_neutral)
    if models is None:
        models = load_models(model_of(request), request.precision)
    models = dataclasses.replace(models, neutralise=request.neutralise)
    method = request.method or default_method(models, request.photographs is not None)
    faces, alignment = loader_of(request.photographs, models.codec.size, models.codec.channels)
    load = kept_in_memory(faces)
    keep = None
    if request.n_neutral is not None:
        keep = keep_most_neutral(request.n_neutral, faces, load, notify)
    plan = plan_transfer(
        [Path(path) for path in request.expressions],
        None if request.source is None else Path(request.source),
        [Path(path) for path in request.targets],
        alphas or method_class(method).default_alphas,
        method,
        keep,
    )
    return Planned(plan, models, method, faces, load, alignment)


def plan_edit_request(request: EditRequest, models: Models | None, notify: Notify) -> Planned:
    """`plan_request` of an edit.

    Args:
        request: the pictures, the edit and the settings.
        models: what `load_models` returns for the request's model and precision; None loads them.
        notify: called with lines for the user.

    Raises:
        InputError: no edit is stated, a path is missing, the edit does not work with the model, or
            a package is not installed.
    """
    request.check_stated()
    references = [] if request.reference is None else [request.reference]
    check_paths([*request.pictures, *references])
    alphas = parsed(request.alphas)
    what: Edit | Direction = request.edit
    method, title = "edit", request.edit.text
    if request.direction is not None:
        what = load_direction(request.direction)
        method, title = "direction", f"direction {what.name}"
    check_installed(request.photographs)
    models = models or load_models(model_of(request), request.precision)
    models = dataclasses.replace(models, edit=what)
    method_class(method).check(models)
    for line in far_units(request.edit):
        notify(line)
    faces, alignment = loader_of(request.photographs, models.codec.size, models.codec.channels)
    plan = plan_edits(
        [Path(path) for path in request.pictures],
        alphas or method_class(method).default_alphas,
        method,
        title,
        None if request.reference is None else Path(request.reference),
    )
    return Planned(plan, models, method, faces, kept_in_memory(faces), alignment)


def kept_in_memory(faces: AlignedFaces | Load) -> AlignedFaces | Load:
    """A loader that keeps what it has read, as `AlignedFaces` do themselves."""
    return faces if isinstance(faces, AlignedFaces) else functools.cache(faces)


def parsed(alphas: Sequence[float | str] | None) -> tuple[float, ...] | None:
    """A request's alphas as numbers; None where it has none."""
    return None if alphas is None else parse_alphas([*map(_word, alphas)])


def check_paths(paths: Sequence[StrPath]) -> None:
    """Raise InputError for a path at which there is nothing."""
    for path in paths:
        if not os.path.exists(split_face(path)[0]):
            raise InputError(f"{one_line(path)}: no such file or folder")


def _word(alpha: float | str) -> str:
    return alpha if isinstance(alpha, str) else repr(float(alpha))
