"""Prepare a batch job for this machine: load the model, make the job, choose the batch size."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import jax

from glow_jax.io.packages import need, version
from transfer.jobs import output_folder
from transfer.jobs.alphas import large_alpha_line
from transfer.jobs.job import CHUNK_SIZE, SHARDS, Job, make_job
from transfer.jobs.paste_back import Pasted, paste_back
from transfer.jobs.plan import Plan, kept, with_method
from transfer.jobs.prefetch import LoadPicture
from transfer.jobs.run import Progress, Run, no_progress, run
from transfer.methods.base import Models
from transfer.models import auto_batch_size, load_models
from transfer.photos.aligned_faces import AlignedFaces, check_installed, loader_of
from transfer.photos.most_neutral import keep_most_neutral
from transfer.requests import BatchRequest, model_of

RECORDS_IN_A_SHARD = 1024
UNKNOWN_MEMORY = 2**33  # bytes, assumed of a device that does not report its memory
PACKAGES = ("glow-jax", "jax", "jaxlib", "flax", "numpy", "pillow")


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A job that is ready to run.

    Attributes:
        job: the job.
        models: the models that the job was made for.
        load: function from the path of a picture to its pixels.
        batch_size: images that each device computes at once.
    """

    job: Job
    models: Models
    load: LoadPicture
    batch_size: int


def prepare(
    request: BatchRequest,
    plan: Plan,
    devices: Sequence[jax.Device] = (),
    models: Models | None = None,
    notify: Callable[[str], None] = lambda line: None,
) -> Prepared:
    """Load the model, and make a job of a plan.

    A second run of a job uses the batch size of the first run.

    Args:
        request: the settings of the run.
        plan: the outputs to make.
        devices: JAX devices to compute on; empty means all local devices.
        models: what `load_models` returned for the request's model, precision and devices, where
            several requests share them; None loads them.
        notify: called with lines for the user: the pictures that `n_neutral` selects,
            and a large alpha.

    Raises:
        InputError: the model is not found, a method of the plan does not work with the model, or
            the output folder holds another job, or other files.
    """
    if request.format == "array_record":
        need("data", "array_record")
    check_installed(request.photographs, request.n_neutral)
    devices = devices or jax.local_devices()
    models = models or load_models(model_of(request), request.precision, devices)
    models = dataclasses.replace(models, neutralise=request.neutralise)
    codec = models.codec
    size = request.chunk_size or (RECORDS_IN_A_SHARD if request.format in SHARDS else CHUNK_SIZE)
    load, alignment = loader_of(request.photographs, codec.size, codec.channels)
    if request.method is not None:
        plan = with_method(plan, request.method)
    if request.n_neutral is not None:
        plan = kept(plan, keep_most_neutral(request.n_neutral, load, load, notify))
    job = make_job(plan, models, chunk_size=size, format=request.format, alignment=alignment)
    if (line := large_alpha_line(plan.alpha)) is not None:
        notify(line)
    return Prepared(job, models, load, batch_size_of(request, job, models, Path(request.out)))


def batch_size_of(request: BatchRequest, job: Job, models: Models, out: Path) -> int:
    """Images that each device computes at once.

    It is the request's batch size, or that of the job's first run, or one that fits the device's
    memory; at most the size of a chunk.

    Raises:
        InputError: the output folder holds another job, or other files.
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


def paste(
    request: BatchRequest, prepared: Prepared, progress: Progress = no_progress
) -> Pasted | None:
    """Paste the outputs of a batch that ran into their photographs; None where it was not asked."""
    if not request.paste_back:
        return None
    assert isinstance(prepared.load, AlignedFaces)  # `BatchRequest` checks it
    return paste_back(
        prepared.job,
        prepared.models,
        Path(request.out),
        prepared.load,
        format=request.paste_format,
        progress=progress,
    )


def versions() -> dict[str, str]:
    """Versions of the packages that compute a job's outputs."""
    return {name: version(name) for name in PACKAGES}
