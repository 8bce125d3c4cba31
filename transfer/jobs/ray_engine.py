"""Run a batch job on many machines: Ray Data maps actors, which hold the model, over chunks.

When the process or the machine of an actor dies, Ray starts the actor again, and another actor
repeats its unfinished chunks, with the same bytes. All machines need glow-jax, and the pictures and
the output folder under the same paths (a shared disk). Without these, use shards and `merge`.
"""

import atexit
import contextlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from glow_jax.compile_cache import use_compile_cache
from glow_jax.io.errors import InputError
from glow_jax.io.messages import install_hint, reason
from glow_jax.io.signals import sigterm_kept
from transfer.jobs import output_folder
from transfer.jobs.batch import Prepared, batch_size_of, versions
from transfer.jobs.job import Job
from transfer.jobs.run import Progress, Run, Worker, describe, no_progress, pending_chunks
from transfer.jobs.totals import write_tables
from transfer.models import load_models
from transfer.photos.aligned_faces import loader_of
from transfer.requests import BatchRequest, model_of

# Of Ray: with "0" its processes bind to the loopback interface, on every system. Whoever reaches
# one of their ports can run programs.
# Source: ray `_private/ray_constants.py: ENABLE_RAY_CLUSTER`.
ONE_MACHINE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
LOOPBACK = "127.0.0.1"
CHUNKS = 8  # chunks that an actor gets at once; they are repeated when it dies


def connect() -> Any:
    """Connect to the cluster at RAY_ADDRESS, or start one here; returns the module `ray`.

    Call this before JAX starts threads, because Ray forks the process.

    Raises:
        InputError: Ray is not installed, or the cluster cannot be reached.
    """
    named = os.environ.get("RAY_ADDRESS", "local") != "local"
    if not named:
        os.environ[ONE_MACHINE] = "0"  # Ray reads it when it is imported, and in its processes
    try:
        import ray
        import ray.data
    except ImportError:
        raise InputError(f"Ray is not installed: {install_hint('ray')}") from None
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    with sigterm_kept():
        _join(ray, options, named=named)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


def _join(ray: Any, options: dict[str, Any], *, named: bool) -> None:
    try:
        if not ray.is_initialized():
            if named:
                ray.init(**options)
            else:
                _start_here(ray, options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise InputError(f"Ray cannot be reached ({reason(error)}); see RAY_ADDRESS") from None


def _start_here(ray: Any, options: dict[str, Any]) -> None:
    """Start Ray for this process alone: on the loopback interface, with files of its own.

    Raises:
        InputError: Ray would listen on other interfaces.
    """
    # Private; Ray sets the mode of the folder that it is given to 777. Names of sockets must be
    # short, and are under /tmp.
    folder = tempfile.mkdtemp(prefix="ray-", dir=os.environ.get("RAY_TMPDIR", "/tmp"))

    def stop() -> None:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    ray.init("local", include_dashboard=False, _temp_dir=os.path.join(folder, "r"), **options)
    address = ray.nodes()[0]["NodeManagerAddress"]
    if address != LOOPBACK:
        stop()
        raise InputError(
            f"Ray would listen at {address}, because it was imported before glow-jax limited it to "
            f"this machine; set {ONE_MACHINE}=0, or name a cluster in RAY_ADDRESS"
        )


def run_on_ray(
    request: BatchRequest,
    prepared: Prepared,
    *,
    workers: int | None = None,
    compile_cache: bool = True,
    progress: Progress = no_progress,
) -> Run:
    """Like `transfer.jobs.run.run`, with the actors of a Ray cluster.

    Args:
        request: a request whose `out` is on a disk that all machines share.
        prepared: from `transfer.jobs.batch.prepare`; each actor loads the models again.
        workers: number of actors; None means one per GPU of the cluster, or, without GPUs, one per
            machine.
        compile_cache: whether actors keep compiled programs in a private folder of their machine.
        progress: called with the name of a stage, the number of outputs done, and their total.

    Raises:
        InputError: Ray is not installed or cannot be reached, or `out` holds another job, or other
            files.
    """
    ray = connect()
    job, out = prepared.job, Path(request.out)
    output_folder.check(out, job)
    gpus = int(ray.cluster_resources().get("GPU", 0))
    workers = workers or gpus or len(ray.nodes())
    description = describe(job, prepared.models, request.batch_size, versions())
    with output_folder.claimed(out, job, description, "1/1"):
        pending, kept = pending_chunks(
            job, out, retry_failed=request.retry_failed, limit=request.limit
        )
        started, made, again = time.perf_counter(), 0, 0
        if pending:
            total = sum(len(job.chunk(k)) for k in pending)
            of_actors = (job, request, str(out.resolve()), os.getcwd(), compile_cache)
            for row in _results(ray, of_actors, pending, workers, on_gpu=bool(gpus)):
                made += int(row["made"].sum())
                again += int(row["encoded_again"].sum())
                progress("transfer", made, total)
        seconds = time.perf_counter() - started
        totals = write_tables(out)
    return Run(made, kept, seconds, again, totals)


def _results(
    ray: Any, of_actors: tuple[Any, ...], pending: list[int], workers: int, *, on_gpu: bool
) -> Iterator[dict[str, np.ndarray]]:
    """The results of the actors, chunk by chunk, as they arrive."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    made = ray.data.from_items(
        [{"chunk": chunk} for chunk in pending],
        override_num_blocks=max(1, -(-len(pending) // CHUNKS)),
    ).map_batches(
        _Actor,
        fn_constructor_args=of_actors,
        batch_size=None,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_gpus=1 if on_gpu else None,
        num_cpus=None if on_gpu else 1,
    )
    try:
        yield from made.iter_batches(batch_size=None, batch_format="numpy")
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        while cause is not None and not isinstance(cause, InputError):
            cause = getattr(cause, "cause", None) or cause.__cause__
        if cause is not None:
            raise cause from None
        raise InputError(f"Ray: a worker failed ({reason(error)})") from error


class _Actor:
    """A worker process of the cluster, with the model and the inputs that it has encoded."""

    def __init__(
        self, job: Job, request: BatchRequest, out: str, directory: str, compile_cache: bool
    ):
        os.chdir(directory)
        if compile_cache:
            with contextlib.suppress(InputError):  # without a cache the actor compiles anew
                use_compile_cache()
        devices = jax.local_devices()
        models = load_models(
            model_of(request), request.precision, devices, neutralise=request.neutralise
        )
        codec = models.codec
        if codec.fingerprint != job.how["model"]:
            raise InputError(
                f"model {request.model!r} is a different model on this machine of the cluster"
            )
        load, _ = loader_of(request.photographs, codec.size, codec.channels)
        self._worker = Worker(
            job,
            models,
            Path(out),
            batch_size=batch_size_of(request, job, models, Path(out)),
            load=load,
            likelihood=request.likelihood,
            cache_bytes=request.cache_bytes,
        )

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        before = self._worker.inputs.n_encoded_again
        made = self._worker.do(batch["chunk"].tolist())
        again = self._worker.inputs.n_encoded_again - before
        return {"made": np.array([made]), "encoded_again": np.array([again])}
