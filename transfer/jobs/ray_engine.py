"""† A batch on many machines: Ray Data maps actors, each with the model, over numbers of chunks.

Ray starts an actor again when its process or its machine dies, and gives its chunks to another;
what they had made of them is made again, to the same bytes. All machines must see the pictures
and OUT under the same paths (a shared disk), and have glow-jax installed. Where they do not,
`--shard` and `merge` need neither Ray nor a shared disk.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from glow_jax.compile_cache import use_compile_cache
from glow_jax.io.errors import InputError
from glow_jax.io.messages import reason
from transfer.codec import Codec
from transfer.jobs import output_folder as folder
from transfer.jobs.batch import Settings, reader_of, run_options, versions
from transfer.jobs.plan import Job
from transfer.jobs.run import Summary, Worker, describe, pending_chunks
from transfer.models import load_codec

CHUNKS = 8  # that an actor is given at once: what is done again when it dies


def connect() -> Any:
    """Join the cluster that RAY_ADDRESS names, or start one here; the module `ray`.

    It forks, so it comes before anything of JAX's that has threads.

    Raises:
        InputError: Ray is not installed, or the cluster cannot be reached.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        raise InputError("engine ray needs `pip install 'glow-jax[ray]'`") from None
    try:
        if not ray.is_initialized():
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise InputError(f"Ray cannot be reached ({reason(error)}); see RAY_ADDRESS") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


def run_on_ray(
    job: Job,
    codec: Codec,
    out: Path,
    settings: Settings,
    *,
    workers: int | None = None,
    compile_cache: bool = True,
    limit: int | None = None,
    retry_failed: bool = False,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Summary:
    """`transfer.jobs.run.run`, by the actors of a Ray cluster.

    Args:
        job, codec: from `transfer.jobs.batch.opened`; here the codec only tells what it is.
        out: a folder that all machines see.
        settings: that the job was opened with.
        workers: actors; by default one a GPU of the cluster, or one a machine without any.
        compile_cache: whether each keeps what it compiles in its machine's private folder.
        limit, retry_failed, progress: as `run`.

    Raises:
        InputError: Ray is not installed or cannot be reached, or `out` holds something else.
    """
    ray = connect()
    folder.check(out, job)
    gpus = int(ray.cluster_resources().get("GPU", 0))
    workers = workers or gpus or len(ray.nodes())
    description = describe(job, codec, settings.batch_size, versions())
    with folder.claimed(out, job, description, "1/1"):
        pending, kept = pending_chunks(job, out, retry_failed=retry_failed, limit=limit)
        started, made, again = time.perf_counter(), 0, 0
        if pending:
            own = (job, settings, str(out.resolve()), os.getcwd(), compile_cache)
            for told in _results(ray, own, pending, workers, on_gpu=bool(gpus)):
                made += int(told["made"].sum())
                again += int(told["encoded_again"].sum())
                progress("transfer", made, sum(len(job.chunk(k)) for k in pending))
        seconds = time.perf_counter() - started
        totals = folder.write_tables(out)
    return Summary(made, kept, seconds, again, totals)


def _results(
    ray: Any, of_actors: tuple[Any, ...], pending: list[int], workers: int, *, on_gpu: bool
) -> Iterator[dict[str, np.ndarray]]:
    """What actors tell of the chunks that they have done, as they do them."""
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
    """A process of the cluster, with the model and what it knows of the inputs so far."""

    def __init__(self, job: Job, settings: Settings, out: str, directory: str, compile_cache: bool):
        os.chdir(directory)
        if compile_cache:
            use_compile_cache()
        self._out = Path(out)
        codec = load_codec(settings.model, settings.precision, jax.local_devices())
        if codec.fingerprint != job.how["model"]:
            raise InputError(f"model {settings.model!r} is another one on this machine")
        options = run_options(settings, job, codec, self._out)
        options.pop("versions")
        read = reader_of(settings.photographs, codec)
        self._worker = Worker(job, codec, self._out, read=read, **options)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        before = self._worker.inputs.n_encoded_again
        made = self._worker.do(batch["chunk"].tolist())
        again = self._worker.inputs.n_encoded_again - before
        return {"made": np.array([made]), "encoded_again": np.array([again])}
