"""A few results computed ahead of their use, in threads, given out in order."""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


def prefetched(
    load: Callable[[int], Any], steps: Iterable[int], *, depth: int = 4, threads: int = 4
) -> Iterator[Any]:
    """`load(step)` of every step, in order, with at most `depth` results waiting.

    The order is that of `steps` whatever the threads do. An error of `load` is raised here,
    at its step. Closing the iterator ends the threads.

    Args:
        load: reads one batch; called in a thread.
        steps: what to call it with.
        depth: results that are made ahead, which bounds the memory.
        threads: how many are made at once.
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
