"""Just enough of protocol buffers to read TensorFlow's files without TensorFlow.

Wire format: protobuf.dev/programming-guides/encoding. Values stay views of the file, so that a
700 MB graph costs no second copy.
"""

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np

from glow_jax.io.errors import InputError

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
        InputError: it runs off the end.
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


def varints(data: memoryview) -> list[int]:
    """A packed list of signed integers."""
    found, at = [], 0
    while at < len(data):
        value, at = varint(data, at)
        found.append(signed(value))
    return found


def fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Number and value of each field: integers, or views of the bytes of anything longer.

    Raises:
        InputError: not a message, or a truncated one.
    """
    at = 0
    while at < len(data):
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
    """A varint as the int64 that was meant."""
    return value - 2**64 if value >= 2**63 else value


def shape_of(data: memoryview) -> tuple[int, ...]:
    """A TensorShapeProto; -1 where a dimension is unknown."""
    sizes = []
    for number, dim in fields(data):
        if number == 2:
            sizes.append(next((signed(v) for n, v in fields(dim) if n == 1), 0))
    return tuple(sizes)


def tensor(data: memoryview) -> np.ndarray:
    """A TensorProto as an array: a view of its raw bytes, or its listed values.

    Raises:
        InputError: an unknown type, or fewer bytes than its shape needs.
    """
    dtype = np.dtype(np.float32)
    shape: tuple[int, ...] = ()
    content: memoryview | None = None
    values: list[Any] = []
    for number, value in fields(data):
        if number == 1:
            if value not in DTYPES:
                raise InputError(f"a constant of an unsupported type (DataType {value})")
            dtype = np.dtype(DTYPES[value])
        elif number == 2:
            shape = shape_of(value)
        elif number == 4:
            content = value
        elif number in _VALUE_FIELDS:
            raw = value if isinstance(value, memoryview) else b""
            values.extend(np.frombuffer(raw, _VALUE_FIELDS[number]))
        elif number in _VARINT_FIELDS:
            if not isinstance(value, memoryview):
                values.append(signed(value))
                continue
            values.extend(varints(value))
    if any(n < 0 for n in shape) or len(shape) > 8:
        raise InputError("a constant of impossible shape")
    count = int(np.prod(shape, dtype=np.int64))
    if content is not None:
        if len(content) != count * dtype.itemsize:
            raise InputError("truncated or damaged (a constant has the wrong size)")
        return np.frombuffer(content, dtype).reshape(shape)
    if len(values) == 1 and count < 2**28:
        return np.broadcast_to(np.asarray(values[0]).astype(dtype), shape)
    if not values and count == 0:
        return np.zeros(shape, dtype)
    if not values and count < 2**28:
        return np.broadcast_to(np.zeros((), dtype), shape)
    if len(values) != count:
        raise InputError("truncated or damaged (a constant has the wrong size)")
    return np.asarray(values).astype(dtype).reshape(shape)
