"""Take turns: one thread computes at a time, in the order in which threads ask.

On a CPU, two programs of XLA that solve linear equations would wait for each other for ever
(`transfer.jobs.schedule.on_devices`), and two at once are not faster.
"""

import collections
import contextlib
import threading
from collections.abc import Iterator


class Turns:
    """A lock that is fair: who asks first, goes first."""

    def __init__(self) -> None:
        """Nobody's turn yet."""
        self._lock = threading.Lock()
        self._waiting: collections.deque[threading.Event] = collections.deque()
        self._taken = False

    @contextlib.contextmanager
    def mine(self) -> Iterator[None]:
        """Wait for the turn, and have it meanwhile."""
        self._begin()
        try:
            yield
        finally:
            self._end()

    def pause(self) -> None:
        """Within `mine`: let all that wait now go first."""
        with self._lock:
            if not self._waiting:
                return
        self._end()
        self._begin()

    def _begin(self) -> None:
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            ready = threading.Event()
            self._waiting.append(ready)
        ready.wait()

    def _end(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()  # the turn passes on
            else:
                self._taken = False
