"""Group the rows that are computed together, and run work in threads with bounded queues.

A group is the rows of a chunk that one device computes at once. A chunk always has the same groups,
with every row at the same position, so the bytes of an output depend neither on earlier runs nor on
other devices.
"""

import collections
import dataclasses
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from transfer.jobs.job import Job
from transfer.methods import method_names

CPU_PRIORITY = 10  # added to the niceness of a thread of low priority


@dataclasses.dataclass(frozen=True)
class Group:
    """Rows that one device computes at once.

    Attributes:
        chunk: number of the rows' chunk.
        last: whether the group is the last one of its chunk.
        rows: rows of the plan, all of one method.
        method: name of the method.
        auto: whether alpha is "auto" in all rows; else it is a number in all rows.
    """

    chunk: int
    last: bool
    rows: tuple[int, ...]
    method: str
    auto: bool


def groups_of(job: Job, chunks: Iterable[int], size: int) -> Iterator[Group]:
    """The groups of chunks, of at most `size` rows each."""
    for chunk in chunks:
        rows = job.chunk(chunk).tolist()
        kinds = [(job.plan.method[row], bool(np.isnan(job.plan.alpha[row]))) for row in rows]
        start = 0
        while start < len(rows):
            stop = start + 1
            while stop < min(start + size, len(rows)) and kinds[stop] == kinds[start]:
                stop += 1
            method, auto = kinds[start]
            part = tuple(rows[start:stop])
            yield Group(chunk, stop == len(rows), part, method_names()[method], auto)
            start = stop


def side_by_side(groups: Iterable[Group], n: int) -> Iterator[tuple[Group, ...]]:
    """Tuples of up to `n` adjacent groups of one method, one group per device."""
    for _, alike in itertools.groupby(groups, lambda group: (group.method, group.auto)):
        while some := tuple(itertools.islice(alike, n)):
            yield some


def ahead(
    pool: ThreadPoolExecutor, work: Callable[[Any], Any], items: Iterable[Any], n: int
) -> Iterator[Any]:
    """`work(item)` of each item, in order, in a pool's threads, at most `n` of them ahead.

    If `items` or `work` raises, the results of the work that has begun are yielded first.
    """
    pending: collections.deque[Future] = collections.deque()
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            while pending and (len(pending) > n or pending[0].done()):
                yield pending.popleft().result()
    except (Exception, KeyboardInterrupt):
        while pending:
            yield pending.popleft().result()
        raise
    while pending:
        yield pending.popleft().result()


def on_devices(
    pool: ThreadPoolExecutor, work: Callable[[Any], Any], batches: Iterable[Any], n: int
) -> Iterator[Any]:
    """`work(batch)` of each batch: `n` at once on accelerators, one after another on a CPU.

    On a CPU all programs of XLA share one pool of threads: two at once are not faster.
    """
    if jax.default_backend() == "cpu":
        return map(work, batches)
    return ahead(pool, work, batches, n)


def lower_priority() -> None:
    """Lower the priority of this thread where the model computes on the CPU.

    Threads that write pictures must not delay those that compute: a delayed computing thread delays
    all others, which wait for it, while a picture may be written later.
    """
    if (
        jax.default_backend() == "cpu" and sys.platform == "linux"
    ):  # on other systems this would be the priority of the whole process
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), CPU_PRIORITY)
