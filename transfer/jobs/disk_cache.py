"""A bounded cache on disk: arrays of one shape by number, the least recently used dropped."""

import collections
import os
import tempfile
from pathlib import Path

import numpy as np

from glow_jax.io.errors import OutputError
from glow_jax.io.messages import one_line, reason

MEMORY_BYTES = 2**24  # of memory, for the arrays that were read last


class DiskCache:
    """A file of equal places, which has no name and ends with the process.

    It is read and written at offsets rather than mapped, so that it does not count as the
    process's memory; the few arrays that were read last are kept there, too.

    Attributes:
        capacity: arrays that fit; None until the first array gives their size.
    """

    def __init__(self, folder: Path, n_bytes: int):
        """An empty cache of at most `n_bytes` in a folder, of one array at least."""
        self._folder, self._n_bytes = folder, n_bytes
        self._places: collections.OrderedDict[int, int] = collections.OrderedDict()
        self._in_memory: collections.OrderedDict[int, np.ndarray] = collections.OrderedDict()
        self._shape: tuple[int, ...] = ()
        self._dtype = np.dtype(np.uint8)
        self.capacity: int | None = None

    def __contains__(self, key: int) -> bool:
        return key in self._places

    def get(self, key: int) -> np.ndarray | None:
        """The array of a key, or None where it is not there (any more)."""
        place = self._places.get(key)
        if place is None:
            return None
        self._places.move_to_end(key)
        array = self._in_memory.pop(key, None)
        if array is None:
            data = os.pread(self._file.fileno(), self._size, place * self._size)
            array = np.frombuffer(data, self._dtype).reshape(self._shape)
        self._in_memory[key] = array
        if len(self._in_memory) * self._size > MEMORY_BYTES:
            self._in_memory.popitem(last=False)
        return array

    def put(self, key: int, array: np.ndarray) -> None:
        """Keep an array, of the first one's shape and type.

        Raises:
            OutputError: the disk is full, or the folder cannot be written to.
        """
        try:
            if self.capacity is None:
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - lives as we do
                self._shape, self._dtype, self._size = array.shape, array.dtype, array.nbytes
                self.capacity = max(1, self._n_bytes // self._size)
            place = self._places.pop(key, None)
            if place is None:
                place = len(self._places)
                if place == self.capacity:
                    dropped, place = self._places.popitem(last=False)
                    self._in_memory.pop(dropped, None)
            if os.pwrite(self._file.fileno(), array.tobytes(), place * self._size) != self._size:
                raise OSError("the disk is full")
        except OSError as error:
            where = one_line(self._folder)
            why = f"the cache cannot be written ({reason(error)}); `cache_bytes` bounds it"
            raise OutputError(f"{where}: {why}") from None
        self._places[key] = place
        self._in_memory.pop(key, None)
