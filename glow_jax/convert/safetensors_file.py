"""† Safetensors files: a JSON header and raw arrays.

Read here and not with the safetensors package because that has no NumPy bfloat16.
Format: huggingface/safetensors README.md, "Format".
"""

import json
import math
import mmap
import struct
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line

MAX_HEADER_BYTES = 2**26
DTYPES: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Arrays by name, as read-only views of the file.

    Raises:
        InputError: not such a file, or a truncated one.
    """
    with open(path, "rb") as file:
        view = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    if len(view) < 8:
        raise InputError("truncated: a safetensors file begins with eight bytes of length")
    size = struct.unpack("<Q", view[:8].tobytes())[0]
    if not 2 <= size <= min(MAX_HEADER_BYTES, len(view) - 8):
        raise InputError("not a safetensors file, or a truncated one")
    try:
        header = json.loads(view[8 : 8 + size].tobytes())
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        return {name: _array(name, entry, view[8 + size :]) for name, entry in entries.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("not a safetensors file: its header is malformed") from None


def _array(name: str, entry: Any, data: np.ndarray) -> np.ndarray:
    if entry["dtype"] not in DTYPES:
        raise InputError(f"{one_line(name)} is of an unsupported type {one_line(entry['dtype'])}")
    dtype, shape = np.dtype(DTYPES[entry["dtype"]]), tuple(entry["shape"])
    start, stop = entry["data_offsets"]
    whole = all(isinstance(n, int) and n >= 0 for n in (start, stop, *shape))
    if not whole or stop - start != dtype.itemsize * math.prod(shape):
        raise InputError(f"{one_line(name)} has the wrong size")
    raw = data[start:stop]
    if len(raw) != stop - start:
        raise InputError(f"truncated: {one_line(name)} is cut off")
    return raw.view(dtype).reshape(shape)
