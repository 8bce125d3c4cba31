"""The part of protocol buffers that is needed to read TensorFlow's files without TensorFlow.

Wire format: protobuf.dev/programming-guides/encoding. Values are views of the file, so that
a graph of 700 MB is not copied.
"""

import math
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np

from glow_jax.io.budget import Budget
from glow_jax.io.errors import InputError

MAX_AXES = 8
MAX_SPREAD = 2**24  # largest number of elements of a constant that repeats one value

# tensorflow/core/framework/types.proto: DataType
DTYPES: dict[int, Any] = {
    1: np.float32,
    2: np.float64,
    3: np.int32,
    4: np.uint8,
    5: np.int16,
    6: np.int8,
    9: np.int64,
    10: np.bool_,
    14: ml_dtypes.bfloat16,
    19: np.float16,
}
# TensorProto: the field that holds a type's values when they are not raw bytes.
_VALUE_FIELDS = {5: "<f4", 6: "<f8"}
_VARINT_FIELDS = (7, 10, 11)


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """A variable-length integer and the position after it.

    Raises:
        InputError: it is cut off by the end of the data.
    """
    value = 0
    for i in range(10):
        if at + i >= len(data):
            break
        byte = data[at + i]
        value |= (byte & 127) << (7 * i)
        if byte < 128:
            return value, at + i + 1
    raise InputError("truncated or damaged (an integer is cut off)")


def varints(data: memoryview, budget: Budget) -> list[int]:
    """A packed list of signed integers."""
    found, at = [], 0
    while at < len(data):
        budget.step()
        value, at = varint(data, at)
        found.append(signed(value))
    return found


def fields(data: memoryview, budget: Budget) -> Iterator[tuple[int, Any]]:
    """Number and value of each field: integers, or views of the bytes of anything longer.

    Every field counts as one step of the budget.

    Raises:
        InputError: the data are no message, or a truncated one.
    """
    at = 0
    while at < len(data):
        budget.step()
        tag, at = varint(data, at)
        wire = tag & 7
        if wire == 0:
            value, at = varint(data, at)
            yield tag >> 3, value
            continue
        if wire == 2:
            size, at = varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise InputError("not a protocol buffer, or a damaged one")
        if at + size > len(data):
            raise InputError("truncated or damaged (a field is cut off)")
        yield tag >> 3, data[at : at + size]
        at += size


def signed(value: int) -> int:
    """A varint as an int64."""
    return value - 2**64 if value >= 2**63 else value


def shape_of(data: memoryview, budget: Budget) -> tuple[int, ...]:
    """A TensorShapeProto; -1 where a dimension is unknown."""
    sizes = []
    for number, dim in fields(data, budget):
        if number == 2:
            sizes.append(next((signed(v) for n, v in fields(dim, budget) if n == 1), 0))
    return tuple(sizes)


def tensor(data: memoryview, budget: Budget) -> np.ndarray:
    """A TensorProto as an array: a view of its raw bytes, or its listed values.

    A constant with one value for a whole shape is a broadcast view, which needs no memory.

    Raises:
        InputError: the type is unknown, or there are fewer bytes than the shape needs.
    """
    dtype = np.dtype(np.float32)
    shape: tuple[int, ...] = ()
    content: memoryview | None = None
    values: list[np.ndarray] = []
    for number, value in fields(data, budget):
        if number == 1:
            if value not in DTYPES:
                raise InputError(f"a constant of an unsupported type (DataType {value})")
            dtype = np.dtype(DTYPES[value])
        elif number == 2:
            shape = shape_of(value, budget)
        elif number == 4:
            content = value
        elif number in _VALUE_FIELDS:
            raw = value if isinstance(value, memoryview) else b""
            values.append(np.frombuffer(raw, _VALUE_FIELDS[number]))
        elif number in _VARINT_FIELDS:
            packed = isinstance(value, memoryview)
            listed = varints(value, budget) if packed else [signed(value)]
            values.append(np.asarray(listed, np.int64))
    if len(shape) > MAX_AXES or not all(0 <= n < 2**40 for n in shape):
        raise InputError("a constant of impossible shape")
    count = math.prod(shape)
    if content is not None:
        if len(content) != count * dtype.itemsize:
            raise InputError("truncated or damaged (a constant has the wrong size)")
        return np.frombuffer(content, dtype).reshape(shape)
    n_values = sum(map(len, values))
    if n_values <= 1 and count <= MAX_SPREAD:
        value = values[-1][0] if n_values else 0
        return np.broadcast_to(np.asarray(value).astype(dtype), shape)
    if n_values != count:
        raise InputError("truncated or damaged (a constant has the wrong size)")
    budget.allocate(2 * count * 8)
    return np.concatenate(values).astype(dtype).reshape(shape)
