"""Read pictures in threads, a bounded number of them ahead."""

import collections
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from glow_jax.io.messages import failure

LoadPicture = Callable[[str], np.ndarray]
"""A path to pixels, uint8 (H, W, C) of the model's size; an exception says why there are none."""


class Prefetcher:
    """Loads the expected pictures in the background, in the order in which they will be taken."""

    def __init__(
        self, load: LoadPicture, files: Sequence[str], pool: ThreadPoolExecutor, depth: int
    ):
        """Nothing is read yet.

        Args:
            load: function that reads one picture; called in the pool's threads.
            files: paths of all pictures, by number.
            pool: threads that read.
            depth: largest number of pictures that are read ahead.
        """
        self._load, self._files, self._pool, self._depth = load, files, pool, depth
        self._expected: collections.OrderedDict[int, None] = collections.OrderedDict()
        self._futures: dict[int, Future] = {}

    def expect(self, pictures: Iterable[int]) -> None:
        """Announce pictures that will be taken soon, each once."""
        for i in pictures:
            if i not in self._futures:
                self._expected[i] = None
        self._fill()

    def take(self, picture: int) -> np.ndarray | str:
        """A picture's pixels, or the reason why it cannot be read."""
        self._expected.pop(picture, None)
        future = self._futures.pop(picture, None)
        result = self._one(picture) if future is None else future.result()
        self._fill()
        return result

    def _fill(self) -> None:
        while self._expected and len(self._futures) < self._depth:
            picture, _ = self._expected.popitem(last=False)
            self._futures[picture] = self._pool.submit(self._one, picture)

    def _one(self, picture: int) -> np.ndarray | str:
        try:
            return self._load(self._files[picture])
        except Exception as error:  # of one picture, which must not end the run
            return failure(self._files[picture], error)
