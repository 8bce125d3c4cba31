"""Estimate the time and the disk space of a job on this machine, from its first outputs."""

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
TABLE_BYTES = 700  # per output, in all tables together


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Time and disk space of a job on this machine, without the time of compilation.

    Attributes:
        seconds_a_picture: time to read, encode and measure one input picture.
        seconds_an_output: time to make one output.
        bytes_an_output: mean size of an output's file.
        measured: number of outputs that were made for this estimate.
        pictures: number of input pictures of the whole job.
        seconds: time of the whole job.
        bytes: disk space of the whole job.
    """

    seconds_a_picture: float
    seconds_an_output: float
    bytes_an_output: float
    measured: int
    pictures: int
    seconds: float
    bytes: float


def estimate(prepared: Prepared, *, likelihood: bool = True) -> Estimate:
    """Make a job's first outputs in a temporary folder, and extrapolate to the whole job.

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
        for _ in range(2):  # the first pass compiles; the second is measured
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
