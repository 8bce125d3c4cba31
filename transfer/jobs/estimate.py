"""What a job would take here, measured on its first outputs."""

import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np

from glow_jax.io.output_schema import IMAGES
from transfer.jobs import output_folder
from transfer.jobs.batch import Prepared
from transfer.jobs.run import Worker

MEASURED_BATCHES = 2
TABLE_BYTES = 700  # of an output's rows in all tables


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a job would take here; `seconds` leaves the compiling out.

    Attributes:
        seconds_a_picture: to read, encode and measure one.
        seconds_an_output: to make one.
        bytes_an_output: on disk.
        measured: outputs that this was measured on.
        pictures: that the job reads.
        seconds, bytes: of the whole job.
    """

    seconds_a_picture: float
    seconds_an_output: float
    bytes_an_output: float
    measured: int
    pictures: int
    seconds: float
    bytes: float


def estimate(prepared: Prepared, *, likelihood: bool = True) -> Estimate:
    """Measure a job's first outputs, made in a folder that is thrown away.

    Args:
        prepared: the job.
        likelihood: whether bits/dim of the outputs are computed.
    """
    job, models, batch_size = prepared.job, prepared.models, prepared.batch_size
    few = dataclasses.replace(
        job,
        order=job.order[: MEASURED_BATCHES * batch_size * models.codec.n_devices],
        chunk_size=batch_size,
        format="png",
    )
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        output_folder.make_folders(out)
        for _ in range(2):  # the first time it is compiled
            with Worker(
                few,
                models,
                out,
                batch_size=batch_size,
                load=prepared.load,
                likelihood=likelihood,
            ) as worker:
                started = time.perf_counter()
                worker.inputs.prepare(few.order.tolist())
                between = time.perf_counter()
                worker.do(range(few.n_chunks))
                ended = time.perf_counter()
        made = sorted((out / IMAGES).iterdir())
        size = float(np.mean([p.stat().st_size for p in made])) if made else 0.0
    a_picture = (between - started) / len(worker.inputs.pictures(few.order.tolist()))
    an_output = (ended - between) / len(few.order)
    used = int((job.first_use[1] >= 0).sum())
    seconds = used * a_picture + len(job.order) * an_output
    total = len(job.order) * (size + TABLE_BYTES)
    return Estimate(a_picture, an_output, size, len(few.order), used, seconds, total)
