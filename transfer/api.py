"""The calls of this package, each of one request.

`transfer`, for a few outputs, and `batch`, for any number, carry expressions from person to person;
`edit`, `neutralise` and `interpolate` change single pictures, in folders of the same form.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line
from transfer.complete import Notify, Summary, complete, summary_of
from transfer.directions import Direction, load_direction
from transfer.expression.edits import Edit, far_units
from transfer.jobs import batch as batches
from transfer.jobs.alphas import parse_alphas
from transfer.jobs.plan import plan_transfer
from transfer.jobs.plan_edit import plan_edits, plan_interpolation
from transfer.jobs.plan_file import read_plan
from transfer.jobs.run import Progress, no_progress
from transfer.methods import METHODS, default_method, method_class
from transfer.methods.base import Interpolation
from transfer.models import load_models
from transfer.photos.aligned_faces import check_installed, loader_of
from transfer.photos.most_neutral import keep_most_neutral
from transfer.requests import (
    BatchRequest,
    EditRequest,
    InterpolateRequest,
    StrPath,
    TransferRequest,
    model_of,
)


def no_notice(line: str) -> None:
    """A `Notify` that shows nothing."""


def transfer(
    request: TransferRequest,
    *,
    progress: Progress = no_progress,
    notify: Notify = no_notice,
) -> Summary:
    """Transfer every expression of a source to every target, at every alpha.

    The process may be killed at any moment; the same call then makes the outputs that are missing,
    and the folder ends with the same files.

    Args:
        request: the expressions, the people and the settings.
        progress: called with the name of a stage, the number of items done, and their total.
        notify: called with lines for the user: the method, pictures that are left out, pictures
            that are unlikely under the model.

    Raises:
        InputError: a path is missing, no picture of a person can be used, the method does not work
            with the model, or `out` holds the outputs of another request, or other files.
    """
    sources = [] if request.source is None else [request.source]
    _check_paths([*request.expressions, *sources, *request.targets])
    alphas = _parsed(request.alphas)
    check_installed(request.photographs, request.n_neutral)
    models = load_models(model_of(request), request.precision, neutralise=request.neutralise)
    method = request.method or default_method(models, request.photographs is not None)
    if method not in METHODS:
        raise InputError(f"`method` is {method!r}; use {' or '.join(METHODS)}")
    faces, alignment = loader_of(request.photographs, models.codec.size, models.codec.channels)
    load = functools.cache(faces)
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
    return complete(
        request,
        plan,
        models,
        method,
        faces,
        load,
        alignment,
        progress=progress,
        notify=notify,
    )


def batch(
    request: BatchRequest,
    *,
    devices: Sequence[jax.Device] = (),
    progress: Progress = no_progress,
    notify: Notify = no_notice,
) -> Summary:
    """Make every output that a job file lists and that is not in `out` yet.

    The process may be killed at any moment; the same call then makes the outputs that are missing,
    and the folder ends with the same files.

    Args:
        request: the job file and the settings.
        devices: JAX devices to compute on; empty means all local devices.
        progress: called with the name of a stage, the number of items done, and their total.
        notify: called with a line for each folder in which files were left out.

    Raises:
        InputError: the job file has errors (`transfer.jobs.plan_file.JobErrors` holds them line by
            line), or `out` holds the outputs of another job, or other files. A picture that
            cannot be used is no error, but a row of failures.csv.
    """
    plan = read_plan(request.job)
    for note in plan.notes:
        notify(note)
    prepared = batches.prepare(request, plan, devices)
    return summary_of(Path(request.out), batches.run_batch(request, prepared, progress))


def edit(
    request: EditRequest, *, progress: Progress = no_progress, notify: Notify = no_notice
) -> Summary:
    """Edit pictures: by Action Units that are stated, or by a direction of the latent space.

    The folder has the form of a transfer's; so has an interrupted run. At alpha 0 an output has the
    pixels of its picture.

    Args:
        request: the pictures, the edit and the settings.
        progress: called with the name of a stage, the number of items done, and their total.
        notify: called with lines for the user: the edit, pictures that are left out, outputs that
            do not differ from their pictures.

    Raises:
        InputError: a path is missing, no picture can be used, the edit does not work with the
            model, or `out` holds the outputs of another request, or other files.
    """
    request.check_stated()
    references = [] if request.reference is None else [request.reference]
    _check_paths([*request.pictures, *references])
    alphas = _parsed(request.alphas)
    what: Edit | Direction = request.edit
    method, title = "edit", request.edit.text
    if request.direction is not None:
        what = load_direction(request.direction)
        method, title = "direction", f"direction {what.name}"
    check_installed(request.photographs)
    models = load_models(model_of(request), request.precision)
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
    load = functools.cache(faces)
    return complete(
        request, plan, models, method, faces, load, alignment, progress=progress, notify=notify
    )


def neutralise(
    request: EditRequest, *, progress: Progress = no_progress, notify: Notify = no_notice
) -> Summary:
    """Take the expression off pictures: `edit`, whose edit is also `neutral`; see there."""
    neutral = dataclasses.replace(request.edit, neutral=True)
    request = dataclasses.replace(request, edit=neutral)
    return edit(request, progress=progress, notify=notify)


def interpolate(
    request: InterpolateRequest, *, progress: Progress = no_progress, notify: Notify = no_notice
) -> Summary:
    """Go from one picture to another through the flow's latent space, in equal steps.

    The first output has the pixels of the first picture, the last output those of the second.

    Args:
        request: the pictures and the settings.
        progress, notify: as for `edit`.

    Raises:
        InputError: a picture is missing or cannot be used, or `out` holds the outputs of another
            request, or other files.
    """
    _check_paths([request.first, request.second])
    check_installed(request.photographs)
    models = load_models(model_of(request), request.precision)
    models = dataclasses.replace(models, edit=Interpolation(request.rule))
    faces, alignment = loader_of(request.photographs, models.codec.size, models.codec.channels)
    steps = tuple(np.linspace(0, 1, request.steps).tolist())
    title = f"{request.rule} interpolation"
    plan = plan_interpolation(Path(request.first), Path(request.second), steps, title)
    load, method = functools.cache(faces), "interpolate"
    return complete(
        request, plan, models, method, faces, load, alignment, progress=progress, notify=notify
    )


def _parsed(alphas: Sequence[float | str] | None) -> tuple[float, ...] | None:
    return None if alphas is None else parse_alphas([*map(_word, alphas)])


def _check_paths(paths: Sequence[StrPath]) -> None:
    for path in map(Path, paths):
        if not path.exists():
            raise InputError(f"{one_line(path)}: no such file or folder")


def _word(alpha: float | str) -> str:
    return alpha if isinstance(alpha, str) else repr(float(alpha))
