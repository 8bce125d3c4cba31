"""A job's file made ready: the model, the definite job, and how it is run on this machine."""

import dataclasses
import importlib.util
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import jax

from glow_jax.io.errors import InputError
from glow_jax.io.messages import install_hint
from transfer.jobs import output_folder
from transfer.jobs.job import CHUNK_SIZE, SHARDS, Job, make_job
from transfer.jobs.plan import Plan
from transfer.jobs.prefetch import LoadPicture
from transfer.jobs.run import Progress, Run, no_progress, run
from transfer.methods.base import Models
from transfer.models import auto_batch_size, load_models
from transfer.photos.aligned_faces import loader_of
from transfer.requests import BatchRequest

RECORDS_IN_A_SHARD = 1024
UNKNOWN_MEMORY = 2**33  # bytes of a device that does not report its memory
PACKAGES = ("glow-jax", "jax", "jaxlib", "flax", "numpy", "pillow")


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A job that can be run.

    Attributes:
        job: definite.
        models: that the job was made for.
        load: a path to pixels.
        batch_size: images that each device computes at once.
    """

    job: Job
    models: Models
    load: LoadPicture
    batch_size: int


def prepare(request: BatchRequest, plan: Plan, devices: Sequence[jax.Device] = ()) -> Prepared:
    """Load the model, and make a plan definite for it.

    A second run takes the batch size of the first one.

    Args:
        request: how the plan is run.
        plan: what is asked for.
        devices: to compute on; all local ones by default.

    Raises:
        InputError: the model is not to be had or cannot do what the plan asks for, or the folder
            holds something else.
    """
    if request.format == "array_record" and importlib.util.find_spec("array_record") is None:
        raise InputError(f"array_record is not installed: {install_hint('data')}")
    models = load_models(request.model, request.precision, devices or jax.local_devices())
    codec = models.codec
    size = request.chunk_size or (RECORDS_IN_A_SHARD if request.format in SHARDS else CHUNK_SIZE)
    load, alignment = loader_of(request.photographs, codec.size, codec.channels)
    job = make_job(plan, models, chunk_size=size, format=request.format, alignment=alignment)
    return Prepared(job, models, load, batch_size_of(request, job, models, Path(request.out)))


def batch_size_of(request: BatchRequest, job: Job, models: Models, out: Path) -> int:
    """Images that each device computes at once: as asked for, as in the first run, or by memory.

    Raises:
        InputError: the folder holds something else.
    """
    first = output_folder.check(out, job) or {}
    size = request.batch_size or first.get("batch_size")
    if not isinstance(size, int):
        device = jax.local_devices()[0]
        memory = (device.memory_stats() or {}).get("bytes_limit", UNKNOWN_MEMORY)
        size = auto_batch_size(models.codec, device.platform, memory)
    return min(size, job.chunk_size)


def run_batch(request: BatchRequest, prepared: Prepared, progress: Progress = no_progress) -> Run:
    """Run a prepared job on this machine."""
    return run(
        prepared.job,
        prepared.models,
        Path(request.out),
        batch_size=prepared.batch_size,
        versions=versions(),
        load=prepared.load,
        shard=request.shard,
        limit=request.limit,
        retry_failed=request.retry_failed,
        likelihood=request.likelihood,
        cache_bytes=request.cache_bytes,
        progress=progress,
    )


def versions() -> dict[str, str]:
    """Versions of what makes a job's outputs."""
    return {name: metadata.version(name) for name in PACKAGES}
