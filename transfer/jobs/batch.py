"""† A job's file to a folder of outputs: what `glow-jax batch` does, for Python.

from transfer.batch import Settings, batch

summary = batch(Settings("JOB.csv", model="faces64"), "OUT")
"""

import dataclasses
import importlib.util
import os
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from glow_jax.io.errors import InputError
from transfer.codec import Codec
from transfer.jobs import output_folder as folder
from transfer.jobs.inputs import Read
from transfer.jobs.plan import CHUNK, SHARDS, Job, Plan, make_job
from transfer.jobs.plan_file import read_plan
from transfer.jobs.run import CACHE_BYTES, Summary, Worker, run
from transfer.models import auto_batch_size, load_codec
from transfer.photos.judge_adapter import face_detector
from transfer.photos.reader import AlignedFaces, Photographs

Format = Literal["png", "webp", "tfrecord", "array_record", "webdataset"]
RECORDS = 1024  # of a shard
ROW = 700  # bytes of an output's rows in all tables
UNTOLD = 2**33  # bytes of a device that does not tell its memory
PROBED = 2  # batches that an estimate is measured on
PACKAGES = ("glow-jax", "jax", "jaxlib", "flax", "numpy", "pillow")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a batch makes of what, all that another process needs to do a part of it.

    Attributes:
        path: of the job: .csv, .toml or .yaml (`transfer.jobs.plan_file`).
        model: a bundled name, or a checkpoint directory.
        precision: "exact" or "fast".
        format: of the outputs.
        batch_size: images that each device computes at once; None chooses.
        chunk_size: outputs that are begun and finished together, and lie in a shard; None is
            64, or 1024 where the format has shards.
        likelihood: whether bits/dim of the outputs are computed.
        cache_bytes: of disk, for latents and pixels that are needed again.
        photographs: how faces are cut out, where pictures are photographs of any size; the crops'
            size is the model's.
    """

    path: str
    model: str = "faces64"
    precision: Literal["exact", "fast"] = "exact"
    format: Format = "png"
    batch_size: int | None = None
    chunk_size: int | None = None
    likelihood: bool = True
    cache_bytes: int = CACHE_BYTES
    photographs: Photographs | None = None


def batch(
    settings: Settings,
    out: str | os.PathLike[str],
    *,
    devices: Sequence[jax.Device] = (),
    **options: Any,
) -> Summary:
    """Make every output that a job's file asks for and that is not in `out` yet.

    It may be killed at any moment; called again, it goes on, and ends with the same files.

    Args:
        settings: what is made of what.
        out: a new folder, or one that holds an interrupted run of the same job.
        devices: to compute on; all local ones by default.
        options: `shard`, `limit`, `retry_failed` and `progress` of `transfer.jobs.run.run`.

    Raises:
        InputError: something in the job's file is wrong (`plan_file.JobErrors` has all lines), or
            the folder holds something else. Pictures that cannot be used are no errors, but rows
            of failures.csv.
    """
    job, codec, read = opened(settings, read_plan(settings.path), devices)
    options |= run_options(settings, job, codec, Path(out))
    return run(job, codec, Path(out), read=read, **options)


def opened(
    settings: Settings, plan: Plan, devices: Sequence[jax.Device] = ()
) -> tuple[Job, Codec, Read | None]:
    """Load the model, make a plan definite for it, and tell what reads its pictures.

    Raises:
        InputError: the model is not to be had, or cannot do what the plan asks for.
    """
    if settings.format == "array_record" and importlib.util.find_spec("array_record") is None:
        raise InputError("format array_record needs `pip install array_record`")
    codec = load_codec(settings.model, settings.precision, devices or jax.local_devices())
    size = settings.chunk_size or (RECORDS if settings.format in SHARDS else CHUNK)
    read = reader_of(settings.photographs, codec)
    reading = read.settings.key if read else ""
    job = make_job(plan, codec, chunk_size=size, format=settings.format, reading=reading)
    return job, codec, read


def reader_of(settings: Photographs | None, codec: Codec) -> AlignedFaces | None:
    """What reads photographs for a model; None for pictures that are as it needs them.

    Raises:
        InputError: the model's pictures are not square, or the detector is not to be had.
    """
    if settings is None:
        return None
    if codec.size[0] != codec.size[1]:
        raise InputError(f"model {codec.name!r} does not take square pictures, which --align makes")
    settings = dataclasses.replace(settings, size=codec.size[0])
    return AlignedFaces(face_detector(settings.detector), settings, codec.channels)


def run_options(settings: Settings, job: Job, codec: Codec, out: Path) -> dict[str, Any]:
    """How a job is run: batch size and the like; a second run takes the first one's."""
    first = folder.check(out, job) or {}
    size = settings.batch_size or first.get("batch_size")
    device = jax.local_devices()[0]
    if not isinstance(size, int):
        memory = (device.memory_stats() or {}).get("bytes_limit", UNTOLD)
        size = auto_batch_size(codec, device.platform, memory)
    return {
        "batch_size": min(size, job.chunk_size),
        "versions": versions(),
        "likelihood": settings.likelihood,
        "cache_bytes": settings.cache_bytes,
    }


def versions() -> dict[str, str]:
    """Versions of what made a job's outputs."""
    return {name: metadata.version(name) for name in PACKAGES}


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a job would take here; `seconds` leaves the compiling out.

    Attributes:
        seconds_a_picture: to read, encode and measure one.
        seconds_an_output: to make one.
        bytes_an_output: on disk.
        probed: outputs that this was measured on.
        pictures: that the job reads.
        seconds, bytes: of the whole job.
    """

    seconds_a_picture: float
    seconds_an_output: float
    bytes_an_output: float
    probed: int
    pictures: int
    seconds: float
    bytes: float


def estimate(job: Job, codec: Codec, *, read: Read | None = None, **options: Any) -> Estimate:
    """Measure a job's first outputs, made in a folder that is thrown away.

    Args:
        job, codec: as `transfer.jobs.run.run`.
        read: the same.
        options: `batch_size` and `likelihood` of it.
    """
    options = {k: options[k] for k in ("batch_size", "likelihood") if k in options}
    few = dataclasses.replace(
        job,
        order=job.order[: PROBED * options["batch_size"] * codec.n_devices],
        chunk_size=options["batch_size"],
        format="png",
    )
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        folder.make_folders(out)
        for _ in range(2):  # the first time it is compiled
            with Worker(few, codec, out, read=read, **options) as worker:
                started = time.perf_counter()
                worker.inputs.prepare(few.order.tolist())
                between = time.perf_counter()
                worker.do(range(few.n_chunks))
                ended = time.perf_counter()
        made = sorted((out / "images").iterdir())
        size = float(np.mean([p.stat().st_size for p in made])) if made else 0.0
    a_picture = (between - started) / len(worker.inputs.pictures(few.order.tolist()))
    an_output = (ended - between) / len(few.order)
    used = int((job.first_use[1] >= 0).sum())
    seconds = used * a_picture + len(job.order) * an_output
    return Estimate(
        a_picture, an_output, size, len(few.order), used, seconds, len(job.order) * (size + ROW)
    )
