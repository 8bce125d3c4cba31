"""The two calls of this package: `transfer`, for a few outputs, and `batch`, for any number."""

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import jax

from glow_jax.io.messages import counted, one_line
from glow_jax.io.output_schema import INPUTS, NOTHING, RESULTS
from glow_jax.io.pictures import write_image
from glow_jax.io.provenance import Provenance
from glow_jax.io.tables import read_rows
from transfer.jobs import batch as batches
from transfer.jobs import output_folder
from transfer.jobs.commit import SOURCE_TYPE
from transfer.jobs.inputs import Trouble, check_inputs
from transfer.jobs.job import Job
from transfer.jobs.paste_back import Pasted, paste_back
from transfer.jobs.plan_file import read_plan
from transfer.jobs.run import Progress, Run, no_progress, run
from transfer.jobs.sheet import job_sheet
from transfer.jobs.totals import Totals
from transfer.methods.base import Models
from transfer.models import absolute_error, far_limit_of
from transfer.photos.aligned_faces import AlignedFaces
from transfer.planned import Notify, plan_request
from transfer.requests import BatchRequest, TransferRequest

SHEET = "sheet.png"
MAX_LINES = 20  # of notices about single outputs
MAX_IDS = 1000  # of a job's outputs, in the metadata of its sheet


@dataclasses.dataclass(frozen=True)
class Summary:
    """What `transfer` or `batch` did, and what its output folder holds.

    `method`, `skipped`, `sheet` and `pasted` are set by `transfer` only.

    Attributes:
        out: the folder.
        made, kept: outputs written now, and found from an earlier run.
        seconds: from the first picture read to the last output.
        encoded_again: pictures that the cache had no room for.
        totals: of the folder.
        method: of a transfer.
        skipped: pictures of a transfer that could not be used, and why.
        sheet: the contact sheet of a transfer; None where no output could be made.
        pasted: photographs with results in them, where `paste_back` asked for them.
    """

    out: Path
    made: int
    kept: int
    seconds: float
    encoded_again: int
    totals: Totals
    method: str | None = None
    skipped: tuple[Trouble, ...] = ()
    sheet: Path | None = None
    pasted: Pasted | None = None


def transfer(
    request: TransferRequest,
    *,
    models: Models | None = None,
    progress: Progress = no_progress,
    notify: Notify = lambda line: None,
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
    out = Path(request.out)
    planned = plan_request(request, models, notify)
    job, models, method, faces = planned.job, planned.models, planned.method, planned.faces
    load = planned.load
    output_folder.check(out, job)
    skipped = check_inputs(job, load)
    notify(f"method: {method}")
    for trouble in skipped:
        notify(f"skipped: {trouble.reason}")
    if job.alone.any() and (error := absolute_error(models)) is not None:
        notify(absolute_line(error))
    done = run(
        job,
        models,
        out,
        batch_size=request.batch_size,
        versions=batches.versions(),
        load=load,
        references=True,
        progress=progress,
    )
    _notify_of_auto(job, out, notify)
    _notify_of_nothing(job, out, notify)
    pasted = None
    if isinstance(faces, AlignedFaces):
        if request.paste_back:
            pasted = paste_back(job, models, out, faces, progress=progress)
        _notify_of_far(out, far_limit_of(request.model), notify)
    sheet = _write_sheet(job, models.codec.name, out, load) if done.totals.outputs else None
    summary = _summary(out, done)
    return dataclasses.replace(
        summary, method=method, skipped=tuple(skipped), sheet=sheet, pasted=pasted
    )


def batch(
    request: BatchRequest,
    *,
    devices: Sequence[jax.Device] = (),
    progress: Progress = no_progress,
    notify: Notify = lambda line: None,
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
    return _summary(Path(request.out), batches.run_batch(request, prepared, progress))


def far_line(n: int, of: int, worst: str, bits: str, limit: float | None) -> str:
    """One line about the pictures that are unlikely under a model.

    Args:
        n: number of these pictures.
        of: number of all pictures.
        worst: path of the least likely picture.
        bits: bits/dim of that picture.
        limit: bits/dim that 99.9 % of held-out pictures stay below.
    """
    return (
        f"unlikely under the model: {n} of {counted(of, 'picture')}; the least likely is "
        f"{one_line(worst)} with {bits} bits/dim; 99.9 % of the model's held-out pictures are "
        f"below {limit:.3f}"
    )


def absolute_line(error: float) -> str:
    """A notice that expressions are estimated absolutely, with the error of the estimate."""
    return (
        "no picture of the source but the expression's is used: the expression is estimated "
        "absolutely, against neutral pictures of many people; root mean square error of an "
        f"activation (0-1) {error:.2f}"
    )


def _summary(out: Path, done: Run) -> Summary:
    return Summary(out, done.made, done.kept, done.seconds, done.encoded_again, done.totals)


def _write_sheet(job: Job, model: str, out: Path, load: Callable) -> Path:
    recipe = {"job": [item.id for item in itertools.islice(job.items, MAX_IDS)]}
    provenance = Provenance(SOURCE_TYPE, model, recipe)
    write_image(out / SHEET, job_sheet(job, out, load), provenance)
    return out / SHEET


def _notify_of_auto(job: Job, out: Path, notify: Notify) -> None:
    """One line about the alphas that were chosen, if the request has alpha "auto"."""
    asked = {item.id for item in job.items if math.isnan(item.alpha)}
    if not asked:
        return
    taken = Counter(float(r["alpha"]) for r in read_rows(out / RESULTS) if r["id"] in asked)
    counts = ", ".join(
        f"{alpha:g} for {n} image{'s' if n > 1 else ''}" for alpha, n in sorted(taken.items())
    )
    notify(f"alpha auto took {counts or 'nothing: no image could be made'}")


def _notify_of_nothing(job: Job, out: Path, notify: Notify) -> None:
    """A notice for each output without an expression, at most MAX_LINES of them."""
    ids = {item.id for item in job.items}
    rows = [r for r in read_rows(out / RESULTS) if r["id"] in ids and NOTHING in r["note"]]
    for row in rows[:MAX_LINES]:
        notify(
            f"no edit: {row['file']}: {one_line(Path(row['expression']).name)} does not differ "
            "from neutral by more than the noise of the estimate"
        )
    if len(rows) > MAX_LINES:
        more = counted(len(rows) - MAX_LINES, "more output")
        notify(f"no edit: {more} (results.csv, column note)")


def _notify_of_far(out: Path, limit: float | None, notify: Notify) -> None:
    """One line if photographs are less likely than nearly all that the model knows."""
    rows = [row for row in read_rows(out / INPUTS) if row["bits_per_dim"]]
    far = [row for row in rows if limit is not None and not float(row["bits_per_dim"]) <= limit]
    if far:
        worst = max(far, key=lambda row: float(row["bits_per_dim"]))
        notify(far_line(len(far), len(rows), worst["file"], worst["bits_per_dim"], limit))
