"""Random access to TFRecord files, the default format of TFDS, without TensorFlow.

A record is: length (uint64, little-endian), its checksum (4 bytes), data, data's checksum
(4 bytes). Source: tensorflow `core/lib/io/record_writer.h`. The checksums are not checked.
"""

import os
import struct
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glow_jax.io.errors import InputError

_BEFORE, _AFTER = 12, 4


class Shard(NamedTuple):
    """Part of a file: `take` records after the first `skip`."""

    path: str
    skip: int
    take: int


class TFRecords:
    """Records of shards by index; safe to read from several threads.

    Raises:
        InputError: a file is truncated, or has fewer records than a shard needs.
    """

    def __init__(self, shards: Sequence[Shard]):
        self._paths = [shard.path for shard in shards]
        found = [_offsets(s.path)[s.skip : s.skip + s.take] for s in shards]
        for shard, offsets in zip(shards, found, strict=True):
            if len(offsets) < shard.take:
                raise InputError(f"{shard.path}: has too few records; prepare the data again")
        files = [np.full(len(offsets), i) for i, offsets in enumerate(found)]
        self._file = np.concatenate(files) if files else np.zeros(0, np.int64)
        self._at = np.concatenate(found) if found else np.zeros(0, np.int64)
        self._open: dict[int, int] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._at)

    def __getitem__(self, index: int) -> bytes:
        file, at = int(self._file[index]), int(self._at[index])
        with self._lock:
            if file not in self._open:
                self._open[file] = os.open(self._paths[file], os.O_RDONLY | os.O_CLOEXEC)
        descriptor = self._open[file]
        (length,) = struct.unpack("<Q", os.pread(descriptor, 8, at))
        return os.pread(descriptor, length, at + _BEFORE)

    def __del__(self) -> None:
        for descriptor in getattr(self, "_open", {}).values():
            os.close(descriptor)


def _offsets(path: str) -> np.ndarray:
    """The offset of each record in a file."""
    size = Path(path).stat().st_size
    offsets, at = [], 0
    with open(path, "rb", buffering=0) as file:
        while at < size:
            offsets.append(at)
            file.seek(at)
            header = file.read(8)
            if len(header) == 8:
                at += _BEFORE + struct.unpack("<Q", header)[0] + _AFTER
            if len(header) < 8 or at > size:
                raise InputError(f"{path}: cut short; prepare the data again")
    return np.array(offsets, np.int64)
