"""Compute results in threads ahead of their use, and return them in order."""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


def prefetched(
    load: Callable[[int], Any], steps: Iterable[int], *, depth: int = 4, threads: int = 4
) -> Iterator[Any]:
    """`load(step)` of every step, in order, with at most `depth` results in memory.

    An error of `load` is raised at its step. Closing the iterator ends the threads.

    Args:
        load: function that reads one batch; called in threads.
        steps: arguments of `load`.
        depth: largest number of results computed ahead, which bounds the memory.
        threads: number of threads.
    """
    remaining = iter(steps)
    with ThreadPoolExecutor(threads, thread_name_prefix="glow-jax-data") as pool:
        first = itertools.islice(remaining, depth)
        waiting: collections.deque[Future] = collections.deque(pool.submit(load, s) for s in first)
        try:
            while waiting:
                result = waiting.popleft().result()
                for step in itertools.islice(remaining, 1):
                    waiting.append(pool.submit(load, step))
                yield result
        finally:
            for future in waiting:
                future.cancel()
