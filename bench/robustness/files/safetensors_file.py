"""A writer of safetensors files."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

SAFETENSORS = {"f2": "F16", "f4": "F32", "f8": "F64", "i4": "I32", "i8": "I64", "u1": "U8"}


def write_safetensors(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """Write a safetensors file: the header's length, a JSON header, raw arrays."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, array in arrays.items():
        kind, shape = SAFETENSORS[array.dtype.str[1:]], list(array.shape)
        offsets = [start, start + array.nbytes]
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": offsets}
        start += array.nbytes
    text = json.dumps(header).encode()
    raw = b"".join(np.ascontiguousarray(a).tobytes() for a in arrays.values())
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw)
    return path
