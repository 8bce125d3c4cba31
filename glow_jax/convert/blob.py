"""The bytes of a file as one array, memory-mapped or decompressed, and as a file object."""

import io
import mmap
from pathlib import Path

import numpy as np

from glow_jax.io.budget import Budget
from glow_jax.io.errors import InputError

MAX_FILE_BYTES = 2**34
SMALL = 2**16  # bytes that one read may allocate without the budget
MAX_LINE_BYTES = 2**21


def mapped(path: Path) -> np.ndarray:
    """The bytes of a file as a read-only memory map, uint8.

    Raises:
        InputError: the file is empty or too large.
    """
    with open(path, "rb") as file:
        size = file.seek(0, io.SEEK_END)
        if not size:
            raise InputError("the file is empty")
        if size > MAX_FILE_BYTES:
            raise InputError(f"larger than {MAX_FILE_BYTES >> 30} GiB")
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


class BlobFile(io.RawIOBase):
    """A file object over an array of bytes; a read returns at most what is there and in budget."""

    def __init__(self, data: np.ndarray, budget: Budget):
        self._data, self._budget, self._at = data.data, budget, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        self._at = max(start + offset, 0)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= SMALL:
            left = max(len(self._data) - self._at, 0)
            size = left if size is None or size < 0 else min(size, left)
            self._budget.allocate(size)
        found = self._data[self._at : self._at + size].tobytes()
        self._at += len(found)
        return found

    def readinto(self, buffer) -> int:
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def readline(self, size: int | None = -1) -> bytes:
        """The bytes up to and including the next line end."""
        for window in (2**8, MAX_LINE_BYTES):
            if window > SMALL:
                self._budget.allocate(window)
            found = self._data[self._at : self._at + window].tobytes()
            end = found.find(b"\n") + 1
            if end:
                self._at += end
                return found[:end]
        self._at += len(found)
        return found
