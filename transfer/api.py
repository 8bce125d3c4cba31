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

from transfer.complete import Notify, Summary, complete, notify_of_unchosen, summary_of
from transfer.jobs import batch as batches
from transfer.jobs import output_folder
from transfer.jobs.batch import Prepared
from transfer.jobs.inputs import check_inputs
from transfer.jobs.job import make_job
from transfer.jobs.plan_edit import plan_interpolation
from transfer.jobs.plan_file import read_plan
from transfer.jobs.run import Progress, no_progress
from transfer.methods.base import Interpolation, Models
from transfer.models import load_models
from transfer.photos.aligned_faces import AlignedFaces, check_installed, loader_of
from transfer.planned import Planned, check_paths, plan_edit_request, plan_request
from transfer.requests import (
    BatchRequest,
    EditRequest,
    InterpolateRequest,
    TransferRequest,
    model_of,
)


def no_notice(line: str) -> None:
    """A `Notify` that shows nothing."""


def transfer(
    request: TransferRequest,
    *,
    models: Models | None = None,
    progress: Progress = no_progress,
    notify: Notify = no_notice,
) -> Summary:
    """Transfer every expression of a source to every target, at every alpha.

    The process may be killed at any moment; the same call then makes the outputs that are missing,
    and the folder ends with the same files.

    Args:
        request: the expressions, the people and the settings.
        models: what `load_models` returned for the request's model and precision, where several
            requests share them; None loads them.
        progress: called with the name of a stage, the number of items done, and their total.
        notify: called with lines for the user: the method, pictures that are left out, pictures
            that are unlikely under the model.

    Raises:
        InputError: a path is missing, no picture of a person can be used, the method does not work
            with the model, or `out` holds the outputs of another request, or other files.
    """
    planned = plan_request(request, models, notify)
    return _complete(request, planned, progress, notify)


def _complete(
    request: TransferRequest | EditRequest, planned: Planned, progress: Progress, notify: Notify
) -> Summary:
    """Make every output of a planned request."""
    return complete(
        request,
        planned.plan,
        planned.models,
        planned.method,
        planned.faces,
        planned.load,
        planned.alignment,
        progress=progress,
        notify=notify,
    )


def prepare_transfer(request: TransferRequest, *, notify: Notify = no_notice) -> Prepared:
    """Check a transfer and its pictures, and make nothing: for `transfer.jobs.estimate.estimate`.

    Args:
        request: the expressions, the people and the settings.
        notify: called with lines for the user: pictures that are left out.

    Raises:
        InputError: as `transfer`.
    """
    planned = plan_request(request, None, notify)
    for note in planned.plan.notes:
        notify(note)
    plan, models, alignment = planned.plan, planned.models, planned.alignment
    job = make_job(plan, models, format=request.format, alignment=alignment)
    output_folder.check(Path(request.out), job)
    for trouble in check_inputs(job, planned.load):
        notify(f"skipped: {trouble.reason}")
    return Prepared(job, planned.models, planned.load, request.batch_size)


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
    prepared = batches.prepare(request, plan, devices, notify=notify)
    summary = summary_of(Path(request.out), batches.run_batch(request, prepared, progress))
    pasted = batches.paste(request, prepared, progress)
    if isinstance(prepared.load, AlignedFaces):
        notify_of_unchosen(prepared.load, notify)
    return dataclasses.replace(summary, pasted=pasted)


def edit(
    request: EditRequest,
    *,
    models: Models | None = None,
    progress: Progress = no_progress,
    notify: Notify = no_notice,
) -> Summary:
    """Edit pictures: by Action Units that are stated, or by a direction of the latent space.

    The folder has the form of a transfer's; so has an interrupted run. At alpha 0 an output has the
    pixels of its picture.

    Args:
        request: the pictures, the edit and the settings.
        models: as for `transfer`.
        progress: called with the name of a stage, the number of items done, and their total.
        notify: called with lines for the user: the edit, pictures that are left out, outputs that
            do not differ from their pictures.

    Raises:
        InputError: a path is missing, no picture can be used, the edit does not work with the
            model, or `out` holds the outputs of another request, or other files.
    """
    planned = plan_edit_request(request, models, notify)
    return _complete(request, planned, progress, notify)


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
    check_paths([request.first, request.second])
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
