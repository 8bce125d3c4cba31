"""Compute batches of outputs: prepare the inputs, edit and decode them, measure the outputs."""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from glow_jax.io.errors import OutputError
from glow_jax.io.messages import failure, one_line
from glow_jax.io.output_schema import ROW_FIELDS
from glow_jax.io.tables import Row
from transfer.jobs.inputs import Inputs, Trouble
from transfer.jobs.job import Job
from transfer.jobs.schedule import Group
from transfer.methods import method_class
from transfer.methods.base import Decoded, Method, Models, Rows
from transfer.methods.trust_region import largest_alphas

ENDS_THE_RUN = (OutputError, jax.errors.JaxRuntimeError)
"""Exceptions that no row is to blame for."""
NOT_FINITE = "the edited picture has grey levels that are not finite numbers"


@dataclasses.dataclass(frozen=True)
class Batch:
    """Groups that are computed at once, one per device, and their prepared inputs.

    Attributes:
        groups: at most one a device, all of one method.
        places: of each row that can be made, its place in the arrays.
        alphas: float32 (B,), NaN where they are to be chosen.
        prepared: by the method; None where no row can be made.
        failed: rows that cannot be made although their pictures can be used.
    """

    groups: tuple[Group, ...]
    places: dict[int, int]
    alphas: np.ndarray
    prepared: Any = None
    failed: Mapping[int, Trouble] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Output:
    """The result for one row: an output, or the reason why there is none.

    Attributes:
        chunk: number of the row's chunk.
        last: whether the row is the last one of its chunk.
        row: cells of the chunk's table; "stage" is empty if the output was made.
        image: uint8 (H, W, C), if the output was made and is not written yet.
        data: bytes of the picture's file, if it goes into a shard.
    """

    chunk: int
    last: bool
    row: Row
    image: np.ndarray | None = None
    data: bytes | None = None


class Compute:
    """Prepares batches in the main thread, and computes their outputs in any thread."""

    def __init__(
        self, job: Job, models: Models, inputs: Inputs, batch_size: int, *, likelihood: bool
    ):
        """The codec of `models` must take batches of `batch_size` images per device."""
        self._job, self._models, self._inputs = job, models, inputs
        self._batch_size, self._likelihood = batch_size, likelihood
        self._methods: dict[str, Method] = {}

    def method(self, name: str) -> Method:
        """The instance of a method for this job; made at the first call."""
        if name not in self._methods:
            self._methods[name] = method_class(name)(self._models, self._inputs)
        return self._methods[name]

    def prepare(self, groups: tuple[Group, ...]) -> Batch:
        """What groups need, whose pictures are known to `inputs`.

        Where that fails, each row is tried alone, and those that fail alone are left out.
        """
        places = {
            row: g * self._batch_size + i
            for g, group in enumerate(groups)
            for i, row in enumerate(group.rows)
            if self._inputs.trouble(row) is None
        }
        try:
            return self._prepared(groups, places)
        except ENDS_THE_RUN:
            raise
        except Exception as error:
            failed = dict(self._failing(groups, places))
            if not failed:  # only together, and none of them is made
                failed = {row: self._trouble("prepare", row, error) for row in places}
            return self._prepared(
                groups, {row: at for row, at in places.items() if row not in failed}, failed
            )

    def _failing(
        self, groups: tuple[Group, ...], places: Mapping[int, int]
    ) -> Iterator[tuple[int, Trouble]]:
        """Rows that cannot be prepared alone, and why."""
        for row, place in places.items():
            try:
                self._prepared(groups, {row: place})
            except ENDS_THE_RUN:
                raise
            except Exception as error:
                yield row, self._trouble("prepare", row, error)

    def _trouble(self, stage: str, row: int, error: Exception) -> Trouble:
        path = self._job.plan.files[self._job.plan.expression[row]]
        return Trouble(stage, path, failure(path, error))

    def _prepared(
        self,
        groups: tuple[Group, ...],
        places: dict[int, int],
        failed: Mapping[int, Trouble] = MappingProxyType({}),
    ) -> Batch:
        plan = self._job.plan
        if not places:
            return Batch(groups, places, np.zeros(0), failed=failed)
        rows = [next(iter(places))] * self._batch_size * self._models.codec.n_devices
        for row, place in places.items():
            rows[place] = row
        columns = (plan.expression, plan.source, plan.target)
        prepared = self.method(groups[0].method).prepare(
            Rows(*(column[rows].tolist() for column in columns))
        )
        return Batch(groups, places, plan.alpha[rows].astype(np.float32), prepared, failed)

    def outputs(self, batch: Batch) -> list[Output]:
        """Edit and decode a batch: an output a row, in order, with the picture or without."""
        made, failed = dict[int, tuple[np.ndarray, Row]](), dict(batch.failed)
        try:
            made = self._made(batch) if batch.places else made
        except ENDS_THE_RUN:
            raise
        except Exception as error:  # of one row or another of the batch
            failed |= {row: self._trouble("edit", row, error) for row in batch.places}
        outputs = []
        for group in batch.groups:
            for row in group.rows:
                last = group.last and row == group.rows[-1]
                if row in made:
                    image, cells = made[row]
                    outputs.append(Output(group.chunk, last, cells, image))
                    continue
                trouble = failed.get(row) or self._inputs.trouble(row) or self._not_finite(row)
                cells = row_of(self._job, row) | dataclasses.asdict(trouble)
                outputs.append(Output(group.chunk, last, cells))
        return outputs

    def _not_finite(self, row: int) -> Trouble:
        path = self._job.plan.files[self._job.plan.expression[row]]
        return Trouble("edit", path, f"{one_line(path)}: {NOT_FINITE}")

    def _made(self, batch: Batch) -> dict[int, tuple[np.ndarray, Row]]:
        """The pictures that can be made, and their table cells, by row; others are not finite."""
        started = time.perf_counter()
        alphas, decoded = self._decoded(batch)
        images, clipped, finite = decoded.images, decoded.clipped, decoded.finite
        notes = self.method(batch.groups[0].method).notes(batch.prepared)
        n = max(batch.places.values()) + 1
        bits = np.asarray(self._models.codec.bits_per_dim(images[:n])) if self._likelihood else None
        seconds = (time.perf_counter() - started) / len(batch.places)
        made = {}
        for row, place in batch.places.items():
            if not finite[place]:
                continue
            # The requested alpha, not the device's float32.
            alpha = float(alphas[place] if batch.groups[0].auto else self._job.plan.alpha[row])
            made[row] = (
                images[place],
                row_of(self._job, row)
                | {
                    "alpha": repr(alpha),
                    "seconds": f"{seconds:.4f}",
                    "round_trip_error": f"{self._inputs.worst_error(row):.3g}",
                    "bits_per_dim": "" if bits is None else f"{bits[place]:.4f}",
                    "non_finite_pixels": int(decoded.lost[place]),
                    "clipped_share": f"{clipped[place]:.4f}",
                    "edit_kept": f"{decoded.kept[place]:g}",
                    "note": notes[place],
                    "left_out": self._inputs.left_out(row),
                },
            )
        return made

    def _decoded(self, batch: Batch) -> tuple[np.ndarray, Decoded]:
        """The alphas of a batch, and its outputs."""
        method, prepared, alphas = self.method(batch.groups[0].method), batch.prepared, batch.alphas
        if batch.groups[0].auto:
            alphas = largest_alphas(
                lambda some: method.edit(prepared, some),
                self._models.codec,
                method.unedited(prepared),
                method.max_alphas(prepared),
            )
        return alphas, method.edit(prepared, alphas)


def row_of(job: Job, row: int) -> Row:
    """The table cells of an output that are known before it is made."""
    item = job.item(row)
    return dict.fromkeys(ROW_FIELDS, "") | {
        "id": item.id,
        "expression": item.expression,
        "source": item.source,
        "target": item.target,
        "alpha": "" if np.isnan(item.alpha) else repr(item.alpha),
        "file": item.file,
        "method": item.method,
        "line": item.line or "",
        "user_id": item.user_id,
        "row": row,
    }


def rows_of(groups: Sequence[Group]) -> list[int]:
    """The rows of groups, in order."""
    return [row for group in groups for row in group.rows]
