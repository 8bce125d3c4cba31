"""Batches of a job: what they need is prepared, edited by their method, decoded and measured."""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from glow_jax.io.output_schema import ROW_FIELDS
from glow_jax.io.tables import Row
from transfer.codec import to_bytes
from transfer.jobs.inputs import Inputs
from transfer.jobs.job import Job
from transfer.jobs.schedule import Group
from transfer.methods import method_class
from transfer.methods.base import Decoded, Method, Models, Rows
from transfer.methods.trust_region import largest_alphas


@dataclasses.dataclass(frozen=True)
class Batch:
    """Groups side by side, one a device, and what their outputs are made from.

    Attributes:
        groups: at most one a device, all of one method.
        places: of each row that can be made, its place in the arrays.
        alphas: float32 (B,), NaN where they are to be chosen.
        prepared: by the method; None where no row can be made.
    """

    groups: tuple[Group, ...]
    places: dict[int, int]
    alphas: np.ndarray
    prepared: Any = None


@dataclasses.dataclass(frozen=True)
class Output:
    """A row that was made, or cannot be.

    Attributes:
        chunk: that the row belongs to.
        last: whether it is the last row of that chunk.
        row: of the chunk's table; "stage" is empty where the output was made.
        image: uint8 (H, W, C), where it was made and not yet written.
        data: the picture's file, where it goes into a shard.
    """

    chunk: int
    last: bool
    row: Row
    image: np.ndarray | None = None
    data: bytes | None = None


class Compute:
    """Prepares batches in the main thread, and makes their outputs in any."""

    def __init__(
        self, job: Job, models: Models, inputs: Inputs, batch_size: int, *, likelihood: bool
    ):
        """The codec of `models` takes `batch_size` images a device at once."""
        self._job, self._models, self._inputs = job, models, inputs
        self._batch_size, self._likelihood = batch_size, likelihood
        self._methods: dict[str, Method] = {}

    def method(self, name: str) -> Method:
        """The instance that serves this job."""
        if name not in self._methods:
            self._methods[name] = method_class(name)(self._models, self._inputs)
        return self._methods[name]

    def prepare(self, groups: tuple[Group, ...]) -> Batch:
        """What groups need, whose pictures are known to `inputs`."""
        plan = self._job.plan
        places = {
            row: g * self._batch_size + i
            for g, group in enumerate(groups)
            for i, row in enumerate(group.rows)
            if self._inputs.trouble(row) is None
        }
        if not places:
            return Batch(groups, places, np.zeros(0))
        rows = [next(iter(places))] * self._batch_size * self._models.codec.n_devices
        for row, place in places.items():
            rows[place] = row
        columns = (plan.expression, plan.source, plan.target)
        prepared = self.method(groups[0].method).prepare(
            Rows(*(column[rows].tolist() for column in columns))
        )
        return Batch(groups, places, plan.alpha[rows].astype(np.float32), prepared)

    def outputs(self, batch: Batch) -> list[Output]:
        """Edit and decode a batch: an output a row, in order, with the picture or without."""
        made = self._made(batch) if batch.places else {}
        outputs = []
        for group in batch.groups:
            for row in group.rows:
                last = group.last and row == group.rows[-1]
                if row in made:
                    image, cells = made[row]
                    outputs.append(Output(group.chunk, last, cells, image))
                    continue
                trouble = self._inputs.trouble(row)
                assert trouble is not None
                cells = row_of(self._job, row) | dataclasses.asdict(trouble)
                outputs.append(Output(group.chunk, last, cells))
        return outputs

    def _made(self, batch: Batch) -> dict[int, tuple[np.ndarray, Row]]:
        """Pictures and their cells, by row."""
        started = time.perf_counter()
        alphas, decoded = self._decoded(batch)
        values = decoded.values
        images = to_bytes(values)
        clipped = ((values < 0) | (values >= 256)).mean((1, 2, 3))
        bits = np.asarray(self._models.codec.bits_per_dim(images)) if self._likelihood else None
        seconds = (time.perf_counter() - started) / len(batch.places)
        made = {}
        for row, place in batch.places.items():
            # As it was asked for, not as the device rounds it.
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
    """What is known of an output before it is made."""
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
