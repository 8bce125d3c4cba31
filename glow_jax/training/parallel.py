"""Share a batch over devices of one or several hosts: the mesh, and the roles of processes.

The batch axis is sharded over a one-dimensional mesh of all devices, everything else is
replicated. Each process reads only the rows of its own devices; process 0 alone writes files.
"""

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from glow_jax.io.errors import InputError
from glow_jax.io.messages import counted, reason
from glow_jax.io.signals import sigterm_kept

AXIS = "batch"
T = TypeVar("T")


def join(
    coordinator: str | None = None, index: int | None = None, count: int | None = None
) -> None:
    """Join a group of processes; call this before any other use of JAX.

    Args:
        coordinator: HOST:PORT of process 0; None lets JAX find all three arguments (from Slurm,
            Open MPI or Cloud TPU).
        index: number of this process, from 0.
        count: number of processes.

    Raises:
        InputError: the other processes cannot be reached, or JAX cannot find the arguments.

    Source: jax.distributed; between CPUs the collectives are gloo's.
    """
    try:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        with sigterm_kept():
            if coordinator is None:
                jax.distributed.initialize()
            else:
                jax.distributed.initialize(coordinator, num_processes=count, process_id=index)
    except Exception as error:  # JAX and its runtime raise many types
        raise InputError(
            f"distributed: {coordinator or 'auto-detection'} failed ({reason(error)}); "
            "`coordinator` is the HOST:PORT of process 0"
        ) from error


def batch_mesh() -> Mesh:
    """A mesh of all devices of all processes; the devices of a process are adjacent."""
    return Mesh(np.array(jax.devices()), (AXIS,))


def is_first() -> bool:
    """Whether this process writes the files and the log."""
    return jax.process_index() == 0


def check_divides(mesh: Mesh, batch_size: int) -> None:
    """Raise InputError unless the batch size is a multiple of the number of devices."""
    n = mesh.size
    if batch_size % n:
        below, above = batch_size // n * n, -(-batch_size // n) * n
        use = f"{below} or {above}" if below else f"{above}"
        raise InputError(
            f"batch size {batch_size} does not divide by {counted(n, 'device')}; use {use}"
        )


def rows_here(mesh: Mesh, n_rows: int) -> slice:
    """The rows of a sharded batch that this process reads."""
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))
    there = sharding.addressable_devices_indices_map((n_rows,)).values()
    slices = [index[0] for index in there if index is not None]
    starts = [s.start or 0 for s in slices]
    stops = [n_rows if s.stop is None else s.stop for s in slices]
    return slice(min(starts), max(stops))


def sharded(mesh: Mesh, here: np.ndarray, n_rows: int) -> jax.Array:
    """A batch of `n_rows` on all devices, from the rows of this process."""
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))
    return jax.make_array_from_process_local_data(sharding, here, (n_rows, *here.shape[1:]))


def replicated(mesh: Mesh, tree: T) -> T:
    """A tree of arrays, the same in every process, on every device."""
    sharding = NamedSharding(mesh, PartitionSpec())

    def place(a: Any) -> jax.Array:
        a = np.asarray(a)
        return jax.make_array_from_callback(a.shape, sharding, lambda index: a[index])

    return jax.tree.map(place, tree)


def on_this_device(tree: T) -> T:
    """Replicated arrays as NumPy arrays."""
    return jax.tree.map(lambda a: np.asarray(a.addressable_data(0)), tree)


def by_first(work: Callable[[], None]) -> None:
    """Do work in process 0 while the others wait; if it fails there, all processes fail.

    Raises:
        InputError: `work` raised it, in this or in another process.
    """
    _together(work if is_first() else lambda: None)


def in_turn(work: Callable[[], T]) -> T:
    """Do work first in process 0, then in the others, such as preparing data on a shared disk.

    Raises:
        InputError: `work` raised it, in this or in another process.
    """
    results: list[T] = []
    by_first(lambda: results.append(work()))
    _together(lambda: None if results else results.append(work()))
    return results[0]


def check_agreement(text: str, what: str) -> None:
    """Raise InputError in every process unless `text` is the same in all."""
    digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
    wrong = np.flatnonzero((_gathered(digest) != digest).any(-1))
    if len(wrong):
        others = ", ".join(map(str, wrong))
        raise InputError(
            f"process {jax.process_index()} has another {what} than process {others}; start all "
            "with the same options and data"
        )


def any_process(value: bool) -> bool:
    """Whether the value is true in any process; all processes must ask."""
    return bool(_gathered(np.array(value)).any())


def _together(work: Callable[[], None]) -> None:
    """Do work in every process; if it fails in one, all processes fail."""
    failure: InputError | OSError | None = None
    try:
        work()
    except (InputError, OSError) as error:
        failure = error
    failed = np.flatnonzero(_gathered(np.array(failure is not None)))
    if failure is not None:
        raise failure
    if len(failed):
        raise InputError(f"process {failed[0]} stopped; see its message")


def _gathered(value: np.ndarray) -> np.ndarray:
    """Every process's value, with a leading axis of processes."""
    if jax.process_count() == 1:
        return value[None]
    return np.asarray(multihost_utils.process_allgather(value)).reshape(-1, *value.shape)
