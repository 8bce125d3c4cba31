"""Run a job: make every output that its output folder does not have yet."""

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.pictures import read_image
from transfer.codec import in_batches
from transfer.jobs import output_folder
from transfer.jobs.animate import Animated, write_animations
from transfer.jobs.commit import Commit
from transfer.jobs.compute import Batch, Compute, Output, rows_of
from transfer.jobs.inputs import Inputs
from transfer.jobs.job import Job
from transfer.jobs.prefetch import LoadPicture
from transfer.jobs.references import write_references
from transfer.jobs.schedule import ahead, groups_of, lower_priority, on_devices, side_by_side
from transfer.jobs.totals import Totals, write_tables
from transfer.methods import method_names
from transfer.methods.base import Models

CACHE_BYTES = 4 * 10**9
# Images that the flow computes at once on a CPU in a job of few images: fewer copies fill its
# batches. In others larger batches take a tenth less time an image.
SMALL_BATCH, FEW_IMAGES = 4, 64
N_READ_THREADS = 4
N_WRITE_THREADS = 4
N_DEVICE_BATCHES = 2  # batches on a GPU at once: one computes while results of the other are copied
MAX_PENDING_WRITES = 256  # pictures that wait in memory to be written

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, the number of items done, and their total."""


def no_progress(stage: str, done: int, total: int) -> None:
    """A `Progress` that shows nothing."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run did, and what its output folder holds.

    Attributes:
        made: number of outputs written by this run.
        kept: number of outputs that an earlier run had written.
        seconds: time from the first picture read to the last output written.
        encoded_again: how often a picture was encoded again, because the cache had dropped it.
        totals: counts over the whole folder.
        animated: the animations, where they were asked for.
    """

    made: int
    kept: int
    seconds: float
    encoded_again: int
    totals: Totals
    animated: Animated | None = None


def run(
    job: Job,
    models: Models,
    out: Path,
    *,
    batch_size: int,
    versions: dict[str, str],
    load: LoadPicture | None = None,
    shard: tuple[int, int] = (1, 1),
    limit: int | None = None,
    retry_failed: bool = False,
    likelihood: bool = True,
    references: bool = False,
    animate: str | None = None,
    cache_bytes: int = CACHE_BYTES,
    progress: Progress = no_progress,
) -> Run:
    """Make every output of `job` in `out` that is not there yet.

    Args:
        job: from `transfer.jobs.job.make_job`.
        models: the models that the job was made for.
        out: a new folder, or one of an interrupted run of the same job.
        batch_size: images that each device computes at once.
        versions: versions of packages, for job.json.
        load: function that reads a picture, called in several threads. None reads pictures of the
            model's size.
        shard: (i, n): make only every n-th chunk, beginning with the i-th, counted from 1.
        limit: stop at the end of the chunk in which this number of outputs is reached.
        retry_failed: make chunks again in which an output could not be made, or was made without a
            picture that could not be used.
        likelihood: whether bits/dim of the outputs are computed, which takes one more encode each.
        references: whether the reference pictures of the people are written.
        animate: kind of the animations that are written of a job of one method; None writes none.
        cache_bytes: disk space for pixels and latents that are needed again.
        progress: called with the name of a stage, the number of items done, and their total.

    Raises:
        InputError: `out` holds another job, or other files, or cannot be written.
    """
    output_folder.check(out, job)
    description = describe(job, models, batch_size, versions)
    with output_folder.claimed(out, job, description, f"{shard[0]}/{shard[1]}"):
        pending, kept = pending_chunks(job, out, shard, retry_failed=retry_failed, limit=limit)
        started = time.perf_counter()
        with Worker(
            job,
            models,
            out,
            batch_size=batch_size,
            load=load,
            likelihood=likelihood,
            cache_bytes=cache_bytes,
        ) as worker:
            if references:
                worker.write_references()
            made = worker.do(pending, progress)
            animated = worker.animate(animate, progress) if animate else None
        seconds = time.perf_counter() - started
        totals = write_tables(out)
    return Run(made, kept, seconds, worker.inputs.n_encoded_again, totals, animated)


def pending_chunks(
    job: Job,
    out: Path,
    shard: tuple[int, int] = (1, 1),
    *,
    retry_failed: bool = False,
    limit: int | None = None,
) -> tuple[list[int], int]:
    """The chunks of a shard that are not done, and the number of outputs in those that are."""
    own = range(shard[0] - 1, job.n_chunks, shard[1])
    pending = [k for k in own if not output_folder.is_done(out, job, k, retry_failed=retry_failed)]
    kept = sum(len(job.chunk(k)) for k in own) - sum(len(job.chunk(k)) for k in pending)
    return pending[: None if limit is None else -(-limit // job.chunk_size)], kept


def describe(
    job: Job, models: Models, batch_size: int | None, versions: dict[str, str]
) -> dict[str, Any]:
    """The settings of a run, for job.json."""
    alphas = np.unique(job.plan.alpha[job.order])[:1000].tolist()
    methods = [method_names()[i] for i in np.unique(job.plan.method).tolist()]
    codec = models.codec
    return {
        "origin": job.plan.origin,
        "model": {"name": codec.name, "fingerprint": codec.fingerprint},
        "precision": codec.precision,
        "method": ", ".join(methods),
        "alphas": ["auto" if np.isnan(alpha) else alpha for alpha in alphas],
        "batch_size": batch_size,
        "versions": versions,
    } | ({"edit": job.plan.title} if job.plan.title else {})


def _is_small(job: Job) -> bool:
    """Whether a job reads and makes FEW_IMAGES at most."""
    return len(job.plan.files) + len(job.order) <= FEW_IMAGES


class Worker:
    """Makes chunks of a job. Reading, computing and writing overlap, with bounded queues.

    Attributes:
        inputs: the job's pictures and people.
    """

    def __init__(
        self,
        job: Job,
        models: Models,
        out: Path,
        *,
        batch_size: int,
        load: LoadPicture | None = None,
        likelihood: bool = True,
        cache_bytes: int = CACHE_BYTES,
    ):
        """The arguments are those of `run`."""
        size = batch_size
        if models.codec.round_trip_there is None and _is_small(job):  # on a CPU
            size = min(size, SMALL_BATCH)
        codec = in_batches(models.codec, size * models.codec.n_devices)
        models = dataclasses.replace(models, codec=codec)
        load = load or (lambda path: read_image(path, codec.size, codec.channels))
        self._stack = contextlib.ExitStack()
        self._readers, self._devices, self._writers = (
            self._stack.enter_context(ThreadPoolExecutor(n, initializer=start))
            for n, start in (
                (N_READ_THREADS, None),
                (N_DEVICE_BATCHES, None),
                (N_WRITE_THREADS, lower_priority),
            )
        )
        self._job, self._codec, self._out, self._batch_size = job, codec, out, batch_size
        self.inputs = Inputs(
            job,
            codec,
            batch_size,
            load,
            out,
            cache_bytes,
            self._readers,
            models.expression_model,
        )
        self._compute = Compute(job, models, self.inputs, batch_size, likelihood=likelihood)
        self._commit = Commit(job, codec, self.inputs, out)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def write_references(self) -> None:
        """Write the people's reference pictures."""
        write_references(self._job, self._codec, self.inputs, self._compute, self._out)

    def animate(self, kind: str, progress: Progress = no_progress) -> Animated:
        """Draw the series of a finished job as animations of a kind."""
        parts = (self._job, self._codec, self.inputs, self._compute, self._out)
        return write_animations(*parts, kind, progress)

    def do(self, chunks: Sequence[int], progress: Progress = no_progress) -> int:
        """Make and commit chunks; returns how many outputs were made.

        Raises:
            InputError: the memory is too small for a batch, or the folder cannot be written to.
        """
        total = sum(len(self._job.chunk(k)) for k in chunks)
        for chunk in chunks:
            output_folder.forget(self._out, chunk)
        n_made, of_chunk = 0, list[Output]()
        try:
            for done, output in enumerate(self._outputs(chunks), 1):
                of_chunk.append(output)
                n_made += not output.row["stage"]
                if output.last:
                    self._commit.finish(output.chunk, of_chunk)
                    of_chunk = []
                progress(self._job.plan.origin if self._job.plan.title else "transfer", done, total)
        except (jax.errors.JaxRuntimeError, MemoryError) as error:
            if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
                raise
            whose = "this machine's" if isinstance(error, MemoryError) else "the device's"
            why = f"{self._batch_size} images at once do not fit into {whose} memory"
            raise InputError(f"{why}; give a smaller `batch_size`") from error
        return n_made

    def _outputs(self, chunks: Sequence[int]) -> Iterator[Output]:
        """The outputs of chunks, in order; each is written when it is yielded."""
        compute, batches = self._compute, self._batches(chunks)
        computed = on_devices(self._devices, compute.outputs, batches, N_DEVICE_BATCHES)
        each = itertools.chain.from_iterable(computed)
        return ahead(self._writers, self._commit.write, each, MAX_PENDING_WRITES)

    def _batches(self, chunks: Sequence[int]) -> Iterator[Batch]:
        """Prepared batches; the pictures of the next batch are read in the background."""
        groups = groups_of(self._job, chunks, self._batch_size)
        rounds = itertools.chain(side_by_side(groups, self._codec.n_devices), [()])
        for now, soon in itertools.pairwise(rounds):
            self.inputs.prepare(rows_of(now), rows_of(soon))
            yield self._compute.prepare(now)
