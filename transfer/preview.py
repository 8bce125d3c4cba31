"""One output of a transfer or an edit, in memory: what sliders show before files are made."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from glow_jax.io.errors import InputError
from transfer.codec import in_batches
from transfer.complete import Notify
from transfer.expression.edits import Edit
from transfer.jobs.compute import NOT_FINITE
from transfer.jobs.inputs import Inputs, Trouble, check_inputs, check_pictures
from transfer.jobs.job import make_job
from transfer.jobs.paste_back import CroppedFaces
from transfer.methods import EDITS, method_class
from transfer.methods.base import Models, Rows
from transfer.methods.edit import ActionUnitEdit
from transfer.photos.aligned_faces import AlignedFaces
from transfer.planned import plan_edit_request, plan_request
from transfer.requests import EditRequest, TransferRequest

CACHE_BYTES = 10**8
PHOTOGRAPH_PX = 640  # longest side of a photograph that a preview shows


@dataclasses.dataclass(frozen=True)
class Shown:
    """An output that no file holds yet.

    Attributes:
        image: uint8 (H, W, C), the pixels that `transfer` or `edit` writes for the same request.
        bits_per_dim: of the output; NaN where the model has no likelihood.
        kept: share of the edit that was applied, see `transfer.methods.base.Decoded`.
        pasted: uint8 (h, w, 3), the target's photograph, reduced, with the output in it; None
            unless the request has `paste_back`.
    """

    image: np.ndarray
    bits_per_dim: float
    kept: float
    pasted: np.ndarray | None = None


class Preview:
    """The one output of a transfer at any alpha, or of an edit with any Action Units.

    The pictures are read, encoded and estimated once, by the first call. One thread at a time may
    use a preview; on a CPU, one thread of the process may compute at a time (see
    `transfer.jobs.schedule.on_devices`).

    Attributes:
        method: name of the method.
        before: uint8 (H, W, C), the picture that is edited, which is the output at alpha 0.
        photograph: uint8 (h, w, 3), the target's photograph, reduced; None unless the request has
            `paste_back`.
        note: of the output, as in results.csv; `restate` updates it.
        bits: bits/dim of each picture that can be used, by path.
        hidden: parts of the face that may be hidden, by path, of photographs where there are any.
        skipped: pictures that cannot be used, and why.
    """

    def __init__(
        self,
        request: TransferRequest | EditRequest,
        models: Models,
        scratch: Path,
        notify: Notify = lambda line: None,
    ):
        """Prepare everything but the edit.

        Args:
            request: its `out` is not used, and its alphas neither, of which one is needed.
            models: of the request's model and precision.
            scratch: an existing folder for temporary files.
            notify: called with lines for the user.

        Raises:
            InputError: a picture cannot be used, or the request has several outputs.
        """
        if isinstance(request, EditRequest):
            planned = plan_edit_request(request, models, notify)
        else:
            planned = plan_request(request, models, notify)
        for note in planned.plan.notes:
            notify(note)
        job = make_job(planned.plan, planned.models, alignment=planned.alignment)
        if len(job.order) != 1:
            raise InputError(f"a preview has one output; the request has {len(job.order)}")
        self.method = planned.method
        check = check_pictures if planned.method in EDITS else check_inputs
        self.skipped: list[Trouble] = check(job, planned.load)
        n = request.batch_size
        models = dataclasses.replace(planned.models, codec=in_batches(planned.models.codec, n))
        self._codec, row, plan = models.codec, int(job.order[0]), job.plan
        with ThreadPoolExecutor(1) as pool:
            inputs = Inputs(
                job,
                models.codec,
                n,
                planned.load,
                scratch,
                CACHE_BYTES,
                pool,
                models.expression_model,
            )
            inputs.prepare([row])
            if trouble := inputs.trouble(row):
                raise InputError(trouble.reason)
            columns = (plan.expression, plan.source, plan.target)
            self._method = method_class(planned.method)(models, inputs)
            self._rows = Rows(*([int(c[row])] * n for c in columns))
            self._prepared = self._method.prepare(self._rows)
        used = inputs.pictures([row])
        self.bits = {plan.files[i]: float(inputs.bits[i]) for i in used if i not in inputs.reasons}
        self.hidden = {plan.files[i]: inputs.hidden[i] for i in used if inputs.hidden.get(i)}
        self.before = self._method.unedited(self._prepared)[0]
        self.note = self._method.notes(self._prepared)[0]
        self._n, self._row = n, (int(plan.expression[row]), int(plan.source[row]))
        self.photograph, self._paster = None, None
        if request.paste_back and isinstance(planned.faces, AlignedFaces):
            cropped = CroppedFaces(job, planned.faces, PHOTOGRAPH_PX)
            self._paster = method_class(planned.method)(planned.models, cropped)
            self._target = cropped.photograph(self._paster.photograph(int(plan.target[row])))
            self.photograph = self._target.pixels

    def restate(self, edit: Edit) -> None:
        """Replace the edit by one with other Action Units, which the next call of `at` shows.

        Raises:
            InputError: the request is not an edit by Action Units, or the expression model lacks a
                unit.
        """
        if not isinstance(self._method, ActionUnitEdit):
            raise InputError(f"method {self.method} has no Action Units that could be stated")
        self._method = self._method.restated(edit)
        self._prepared = self._method.prepare(self._rows)
        self.note = self._method.notes(self._prepared)[0]
        if isinstance(self._paster, ActionUnitEdit):
            self._paster = self._paster.restated(edit)

    def at(self, alpha: float) -> Shown:
        """The output at an alpha.

        Raises:
            InputError: its grey levels are not finite.
        """
        decoded = self._method.edit(self._prepared, np.full(self._n, alpha, np.float32))
        if not decoded.finite.all():
            raise InputError(NOT_FINITE)
        images = decoded.images
        bits = np.asarray(self._codec.bits_per_dim(images))
        pasted = None
        if self._paster is not None:
            pasted = self._paster.paste(*self._row, self._target, alpha, images[:1])
        return Shown(images[0], float(bits[0]), float(decoded.kept[0]), pasted)
