"""Which rows are computed together, and what runs beside it: reading, computing, writing.

A group is the rows of a chunk that one device computes at once: always the same ones in the same
places, so that an output's bytes do not depend on what was done before, elsewhere or beside it.
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

CPU_PRIORITY = 10  # added to the niceness of a thread that may wait


@dataclasses.dataclass(frozen=True)
class Group:
    """Rows that one device computes at once.

    Attributes:
        chunk: that the rows belong to.
        last: whether it is the last group of that chunk.
        rows: of the plan, all of one method.
        method: its name.
        auto: whether alpha is to be chosen.
    """

    chunk: int
    last: bool
    rows: tuple[int, ...]
    method: str
    auto: bool


def groups_of(job: Job, chunks: Iterable[int], size: int) -> Iterator[Group]:
    """The groups of chunks: at most `size` rows of one chunk, one method, alpha chosen or given."""
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
    """Up to `n` groups of one method at a time, one a device."""
    for _, alike in itertools.groupby(groups, lambda group: (group.method, group.auto)):
        while some := tuple(itertools.islice(alike, n)):
            yield some


def ahead(
    pool: ThreadPoolExecutor, work: Callable[[Any], Any], items: Iterable[Any], n: int
) -> Iterator[Any]:
    """`work(item)` of each, in order, in a pool's threads, at most `n` begun ahead of need.

    When an item or a result raises, what was begun is finished first.
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
    """`work(batch)` of each: `n` at once on accelerators, one after another on a CPU.

    On a CPU all programs of XLA share one pool of threads: two that solve linear equations
    (`transfer.expression.warp`) would wait for each other for ever, and nothing would be gained.
    """
    if jax.default_backend() == "cpu":
        return map(work, batches)
    return ahead(pool, work, batches, n)


def lower_priority() -> None:
    """Give this thread what computing threads leave of the cores, where the cores compute.

    Half of a decoder that waits for its other half costs more than a picture that is written later.
    """
    if jax.default_backend() == "cpu" and sys.platform == "linux":  # elsewhere it is the process's
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), CPU_PRIORITY)
