"""Complete a small job as a folder: pictures, tables, a sheet, and what there is to say.

`transfer.api` describes a job by a plan and models; this module checks its pictures, runs it,
pastes its outputs back, and draws its sheet.
"""

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from glow_jax.io.messages import counted, one_line
from glow_jax.io.output_schema import INPUTS, NOTHING, RESULTS
from glow_jax.io.pictures import write_image
from glow_jax.io.provenance import Provenance
from glow_jax.io.tables import Row, read_rows
from transfer.expression.edits import Edit
from transfer.jobs import batch as batches
from transfer.jobs import output_folder
from transfer.jobs.alphas import large_alpha_line
from transfer.jobs.animate import Animated
from transfer.jobs.commit import SOURCE_TYPE
from transfer.jobs.inputs import Trouble, check_inputs, check_pictures
from transfer.jobs.job import Job, make_job
from transfer.jobs.paste_back import Pasted, paste_back
from transfer.jobs.pasted_tiles import PastedTiles
from transfer.jobs.plan import Plan
from transfer.jobs.prefetch import LoadPicture
from transfer.jobs.run import Progress, Run, run
from transfer.jobs.sheet import job_sheet
from transfer.jobs.totals import Totals
from transfer.methods import EDITS
from transfer.methods.base import Models
from transfer.models import absolute_error, far_limit_of
from transfer.photos.aligned_faces import AlignedFaces, unchosen_line
from transfer.photos.hidden import hidden_line
from transfer.requests import EditRequest, InterpolateRequest, TransferRequest, model_of

SHEET = "sheet.png"
MAX_LINES = 20  # of notices about single outputs
MAX_IDS = 1000  # of a job's outputs, in the metadata of its sheet

Notify = Callable[[str], None]
"""Called with one line of text for the user: a choice that was made, or inputs left out."""


@dataclasses.dataclass(frozen=True)
class Summary:
    """What `transfer`, `batch` or an edit did, and what its output folder holds.

    `batch` does not set `method`, `skipped` and `sheet`.

    Attributes:
        out: the folder.
        made, kept: outputs written now, and found from an earlier run.
        seconds: from the first picture read to the last output.
        encoded_again: pictures that the cache had no room for.
        totals: of the folder.
        method: of all outputs.
        skipped: pictures that could not be used, and why.
        sheet: the contact sheet; None where no output could be made.
        pasted: photographs with results in them, where `paste_back` asked for them.
        animated: animations, where `animate` asked for them.
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
    animated: Animated | None = None


def complete(
    request: TransferRequest | EditRequest | InterpolateRequest,
    plan: Plan,
    models: Models,
    method: str,
    faces: LoadPicture,
    load: LoadPicture,
    alignment: str,
    *,
    progress: Progress,
    notify: Notify,
) -> Summary:
    """Make every output of a plan, of one method, that is not in the request's folder yet.

    Args:
        request: its settings.
        plan: the outputs to make.
        models: the flow, the expression model, and what to do with them.
        method: of every row.
        faces, alignment: from `transfer.photos.aligned_faces.loader_of`.
        load: `faces`, which may cache what it loads.
        progress: called with the name of a stage, the number of items done, and their total.
        notify: called with lines for the user.

    Raises:
        InputError: the method does not work with the models, no picture can be used, or the folder
            holds another job, or other files.
    """
    out, is_edit = Path(request.out), method in EDITS
    for note in plan.notes:
        notify(note)
    if not is_edit and (line := large_alpha_line(plan.alpha)) is not None:
        notify(line)
    format = request.format if isinstance(request, TransferRequest) else "png"
    job = make_job(plan, models, format=format, alignment=alignment)
    output_folder.check(out, job)
    skipped = (check_pictures if is_edit else check_inputs)(job, load)
    notify(f"{plan.origin}: {plan.title}" if is_edit else f"method: {method}")
    for trouble in skipped:
        notify(f"skipped: {trouble.reason}")
    if job.duplicates:
        notify(f"left out: {counted(job.duplicates, 'output')} that would equal others")
    if job.alone.any() and (error := absolute_error(models)) is not None:
        if not is_edit:
            notify(absolute_line(error))
        elif isinstance(models.edit, Edit) and models.edit.reads:
            notify(own_line(error))
    done = run(
        job,
        models,
        out,
        batch_size=request.batch_size,
        versions=batches.versions(),
        load=load,
        references=not is_edit,
        animate=request.animate,
        progress=progress,
    )
    if isinstance(faces, AlignedFaces):
        notify_of_unchosen(faces, notify)
    _notify_of_hidden(job, out, notify)
    _notify_of_auto(job, out, notify)
    _notify_of_nothing(job, out, models.neutralise, notify)
    pasted = None
    if isinstance(faces, AlignedFaces):
        if not isinstance(request, InterpolateRequest) and request.paste_back:
            how = request.paste_format
            pasted = paste_back(job, models, out, faces, format=how, progress=progress)
        _notify_of_far(out, far_limit_of(model_of(request)), notify)
    tiles = PastedTiles(out, faces) if pasted and isinstance(faces, AlignedFaces) else None
    sheet = None
    if done.totals.outputs:
        sheet = _write_sheet(job, models.codec.name, out, load, tiles)
    summary = summary_of(out, done)
    return dataclasses.replace(
        summary, method=method, skipped=tuple(skipped), sheet=sheet, pasted=pasted
    )


def summary_of(out: Path, done: Run) -> Summary:
    """The summary of a run."""
    return Summary(
        out,
        done.made,
        done.kept,
        done.seconds,
        done.encoded_again,
        done.totals,
        animated=done.animated,
    )


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
        f"activation (0-1) {error:.2f}; brows that are low by nature may count as lowered"
    )


def own_line(error: float) -> str:
    """A notice that what pictures show is read absolutely, with the error of the reading."""
    return (
        "what a picture shows is read absolutely, against neutral pictures of many people; root "
        f"mean square error of an activation (0-1) {error:.2f}; a reference with neutral pictures "
        "of the person is more exact"
    )


def notify_of_unchosen(faces: AlignedFaces, notify: Notify) -> None:
    """A notice for each photograph with several faces of which none was chosen, some of them."""
    lines = [unchosen_line(path, *found) for path, found in sorted(faces.unchosen.items())]
    more = "with several faces, of which the largest was taken"
    _notify_of_some(lines, lambda n: f"{counted(n, 'more photograph')} {more}", notify)


def _notify_of_some(lines: Sequence[str], more: Callable[[int], str], notify: Notify) -> None:
    """At most MAX_LINES notices, and a line about the number of the others."""
    for line in lines[:MAX_LINES]:
        notify(line)
    if len(lines) > MAX_LINES:
        notify(more(len(lines) - MAX_LINES))


def _write_sheet(
    job: Job, model: str, out: Path, load: Callable, pasted: PastedTiles | None
) -> Path:
    recipe = {"job": [item.id for item in itertools.islice(job.items, MAX_IDS)]}
    provenance = Provenance(SOURCE_TYPE, model, recipe)
    write_image(out / SHEET, job_sheet(job, out, load, pasted), provenance)
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


def _notify_of_hidden(job: Job, out: Path, notify: Notify) -> None:
    """A notice for each photograph in which a part of the face may be hidden, some of them."""
    files = set(job.plan.files)
    rows = [r for r in read_rows(out / INPUTS) if r["file"] in files and r["hidden"]]
    lines = [hidden_line(row["file"], row["hidden"].split(", ")) for row in rows]
    more = "in which a part of the face may be hidden (inputs.csv, column hidden)"
    _notify_of_some(lines, lambda n: f"{counted(n, 'more photograph')} {more}", notify)


def _notify_of_nothing(job: Job, out: Path, neutralised: bool, notify: Notify) -> None:
    """A notice for each output to which nothing was added, at most MAX_LINES of them."""
    prefix = "only neutralised" if neutralised else "no edit"
    ids = {item.id for item in job.items}
    rows = [r for r in read_rows(out / RESULTS) if r["id"] in ids and NOTHING in r["note"]]
    lines = [f"{prefix}: {row['file']}: {_why_nothing(row)}" for row in rows]
    more = "(results.csv, column note)"
    _notify_of_some(lines, lambda n: f"{prefix}: {counted(n, 'more output')} {more}", notify)


def _why_nothing(row: Row) -> str:
    """Why nothing was added to an output."""
    name = one_line(Path(row["expression"]).name)
    if row["method"] == "edit":
        return f"{name} shows what is stated already, or differs by less than the noise of reading"
    if row["method"] == "direction":
        return "the direction is zero"
    if row["method"] == "interpolate":
        return "both pictures are the same"
    return f"{name} does not differ from neutral by more than the noise of the estimate"


def _notify_of_far(out: Path, limit: float | None, notify: Notify) -> None:
    """One line if photographs are less likely than nearly all that the model knows."""
    rows = [row for row in read_rows(out / INPUTS) if row["bits_per_dim"]]
    far = [row for row in rows if limit is not None and not float(row["bits_per_dim"]) <= limit]
    if far:
        worst = max(far, key=lambda row: float(row["bits_per_dim"]))
        notify(far_line(len(far), len(rows), worst["file"], worst["bits_per_dim"], limit))
