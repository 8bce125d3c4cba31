"""A cache of arrays on disk, of bounded size, that drops the least recently used array."""

import collections
import errno
import os
import tempfile
from pathlib import Path

import numpy as np

from glow_jax.io.errors import OutputError
from glow_jax.io.messages import one_line, reason

MEMORY_BYTES = 2**24  # memory for the arrays that were read last


class CacheFull(OutputError):
    """The disk is full, or the user's share of it: a smaller cache needs less."""


class DiskCache:
    """Arrays of one shape and dtype by number, in a temporary file without a name.

    The system deletes the file when the process ends. It is read and written at offsets rather than
    mapped, so that it does not count as the process's memory. The arrays that were read last are
    also kept in memory, up to MEMORY_BYTES.

    Attributes:
        capacity: how many arrays fit; None until the first array is stored.
    """

    def __init__(self, folder: Path, n_bytes: int):
        """An empty cache of at most `n_bytes` in a folder; one array is always kept."""
        self._folder, self._n_bytes = folder, n_bytes
        self._places: collections.OrderedDict[int, int] = collections.OrderedDict()
        self._in_memory: collections.OrderedDict[int, np.ndarray] = collections.OrderedDict()
        self._shape: tuple[int, ...] = ()
        self._dtype = np.dtype(np.uint8)
        self.capacity: int | None = None

    def __contains__(self, key: int) -> bool:
        return key in self._places

    def get(self, key: int) -> np.ndarray | None:
        """The array of a key; None if it was never stored, or was dropped."""
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
        """Store an array, which must have the shape and dtype of the first one.

        Raises:
            CacheFull: the disk is full.
            OutputError: the folder cannot be written to.
        """
        try:
            if self.capacity is None:
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - open as long as this object
                self._shape, self._dtype, self._size = array.shape, array.dtype, array.nbytes
                self.capacity = max(1, self._n_bytes // self._size)
            place = self._places.pop(key, None)
            if place is None:
                place = len(self._places)
                if place == self.capacity:
                    dropped, place = self._places.popitem(last=False)
                    self._in_memory.pop(dropped, None)
            self._write(array.tobytes(), place * self._size)
        except OSError as error:
            kind = CacheFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else OutputError
            where = one_line(self._folder)
            raise kind(f"{where}: the cache cannot be written ({reason(error)})") from None
        self._places[key] = place
        self._in_memory.pop(key, None)

    def _write(self, data: bytes, start: int) -> None:
        """Write all bytes; where the system takes a part of them, the next call tells why."""
        done = 0
        while done < len(data):
            written = os.pwrite(self._file.fileno(), data[done:], start + done)
            if not written:
                raise OSError(errno.EIO, "nothing is written, and the system gives no reason")
            done += written
