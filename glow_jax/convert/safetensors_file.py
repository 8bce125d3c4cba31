"""Read safetensors files: a JSON header and raw arrays.

The safetensors package is not used, because it has no bfloat16 for NumPy.
Format: huggingface/safetensors README.md, "Format".
"""

import json
import math
import struct
from typing import Any

import ml_dtypes
import numpy as np

from glow_jax.convert.protobuf import MAX_AXES
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line

MAX_HEADER_BYTES = 2**24  # 100 000 names
DTYPES: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "C64": np.complex64,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def is_safetensors(data: np.ndarray) -> bool:
    """Whether a file begins with the length of a JSON object, and with that object."""
    if len(data) < 10 or data[8] != ord("{"):
        return False
    return struct.unpack("<Q", data[:8].tobytes())[0] <= len(data) - 8


def read_safetensors(data: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays by name, as read-only views of the file's bytes.

    Arrays of types that NumPy does not have are left out; no implementation of Glow uses them.

    Raises:
        InputError: the file is no safetensors file, is truncated, or has arrays that overlap.
    """
    if len(data) < 8:
        raise InputError("truncated: a safetensors file begins with eight bytes of length")
    size = struct.unpack("<Q", data[:8].tobytes())[0]
    if not 2 <= size <= min(MAX_HEADER_BYTES, len(data) - 8):
        raise InputError("not a safetensors file, or a truncated one")
    try:
        header = json.loads(data[8 : 8 + size].tobytes())
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        placed = {name: _Placed(name, entry) for name, entry in entries.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("not a safetensors file: its header is malformed") from None
    end = 0
    for entry in sorted(placed.values(), key=lambda e: (e.start, e.stop)):
        if entry.start < end:
            raise InputError(f"damaged: {entry.name} overlaps another array")
        end = entry.stop
    raw = data[8 + size :]
    return {n: e.array(raw) for n, e in placed.items() if e.dtype is not None}


class _Placed:
    """One entry of the header, its numbers checked."""

    def __init__(self, name: str, entry: Any):
        self.name = one_line(name)[:200]
        kind, (self.start, self.stop) = entry["dtype"], entry["data_offsets"]
        self.shape = tuple(entry["shape"])
        self.dtype = np.dtype(DTYPES[kind]) if kind in DTYPES else None
        numbers = (self.start, self.stop, *self.shape)
        possible = len(self.shape) <= MAX_AXES
        if not possible or not all(type(n) is int and 0 <= n < 2**48 for n in numbers):
            raise InputError(f"{self.name} has an impossible shape or place")
        n_bytes = self.stop - self.start
        if self.dtype and n_bytes != self.dtype.itemsize * math.prod(self.shape):
            raise InputError(f"{self.name} has the wrong size")

    def array(self, data: np.ndarray) -> np.ndarray:
        raw = data[self.start : self.stop]
        if len(raw) != self.stop - self.start:
            raise InputError(f"truncated: {self.name} is cut off")
        return raw.view(self.dtype).reshape(self.shape)
