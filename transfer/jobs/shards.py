"""Write many pictures into one file, in formats for training: TFRecord, ArrayRecord, WebDataset.

A record holds the bytes of a PNG (with its provenance) and id, expression, source, target, alpha,
method, and label, which is always "generated". In TFRecord and ArrayRecord a record is a
`tf.train.Example`; in the tar of WebDataset it is a picture and a JSON file with the same name.
TensorFlow is not needed. Equal records give equal bytes.

Sources: tensorflow `core/lib/io/record_writer.h` (TFRecord), `core/example/example.proto`,
Protocol Buffers' encoding; RFC 3720, appendix B.4 (CRC-32C).
"""

import functools
import io
import json
import struct
import tarfile
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.files import write_atomically
from glow_jax.io.messages import install_hint, one_line, reason
from glow_jax.io.unfinished import unfinished

LABEL = "generated"


class Record(NamedTuple):
    """A picture of a shard: the bytes of its PNG, and its metadata."""

    png: bytes
    id: str
    expression: str
    source: str
    target: str
    alpha: float
    method: str


def write_tfrecord(path: Path, records: Sequence[Record]) -> None:
    """Write a TFRecord file of Examples."""
    write_atomically(path, b"".join(framed(example(record)) for record in records))


def write_webdataset(path: Path, records: Sequence[Record]) -> None:
    """Write a tar: ID.png and ID.json of each record."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for record in records:
            fields = record._asdict() | {"label": LABEL}
            del fields["png"]
            text = json.dumps(fields, sort_keys=True).encode()
            for ending, data in (("json", text), ("png", record.png)):
                # With a fixed time and owner, so that equal records give equal bytes.
                member = tarfile.TarInfo(f"{record.id}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    write_atomically(path, buffer.getvalue())


def write_array_record(path: Path, records: Sequence[Record]) -> None:
    """Write an ArrayRecord file of Examples, with random access to each.

    Raises:
        InputError: the package array_record is not installed.
    """
    try:
        from array_record.python.array_record_module import ArrayRecordWriter
    except ImportError:
        raise InputError(f"array_record is not installed: {install_hint('data')}") from None
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with unfinished(temporary):
            writer = ArrayRecordWriter(str(temporary), "group_size:1")
            for record in records:
                writer.write(example(record))
            writer.close()
            temporary.replace(path)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{one_line(path)}: cannot be written ({reason(error)})") from None
    finally:
        temporary.unlink(missing_ok=True)


WRITERS: dict[str, Callable[[Path, Sequence[Record]], None]] = {
    "tfrecord": write_tfrecord,
    "array_record": write_array_record,
    "webdataset": write_webdataset,
}


# -- tf.train.Example


def example(record: Record) -> bytes:
    """A record as a serialised `tf.train.Example`, its features in the order of their names."""
    features = {"image": _bytes(record.png), "alpha": _float(record.alpha), "label": _text(LABEL)}
    for name in ("id", "expression", "source", "target", "method"):
        features[name] = _text(getattr(record, name))
    entries = [
        _field(1, _field(1, name.encode()) + _field(2, feature))
        for name, feature in sorted(features.items())
    ]
    return _field(1, b"".join(entries))


def _bytes(value: bytes) -> bytes:
    return _field(1, _field(1, value))


def _text(value: str) -> bytes:
    return _bytes(value.encode(errors="surrogateescape"))


def _float(value: float) -> bytes:
    return _field(2, _field(1, struct.pack("<f", value)))


def _field(number: int, data: bytes) -> bytes:
    """A length-delimited field."""
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


# -- TFRecord's frames


def framed(data: bytes) -> bytes:
    """A record of a TFRecord file: length, its checksum, data, data's checksum."""
    length = struct.pack("<Q", len(data))
    return b"".join([length, _masked(crc32c(length)), data, _masked(crc32c(data))])


def _masked(crc: int) -> bytes:
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


LANE = 128  # bytes per block; blocks are computed in parallel


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli).

    The checksum's state after more bytes is a linear function of the state before them. Therefore
    NumPy computes blocks of LANE bytes in parallel, and a table joins them one after another.
    """
    table, (t0, t1, t2, t3) = _table(), _shift()
    n_lanes = len(data) // LANE
    state, rest = 0xFFFFFFFF, data[n_lanes * LANE :]
    if n_lanes:
        lanes = np.frombuffer(data, np.uint8, n_lanes * LANE).reshape(n_lanes, LANE)
        sums = np.zeros(n_lanes, np.uint32)
        for column in lanes.T:
            sums = table[(sums ^ column) & 255] ^ (sums >> np.uint32(8))
        for lane in sums.tolist():
            state = t0[state & 255] ^ t1[state >> 8 & 255] ^ t2[state >> 16 & 255] ^ t3[state >> 24]
            state ^= lane
    plain = _plain_table()
    for byte in rest:
        state = plain[(state ^ byte) & 255] ^ state >> 8
    return state ^ 0xFFFFFFFF


@functools.cache
def _table() -> np.ndarray:
    """(256,) uint32: the change of the state by each byte value."""
    state = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        state = (state >> np.uint32(1)) ^ np.where(state & 1, np.uint32(0x82F63B78), np.uint32(0))
    return state


@functools.cache
def _plain_table() -> list[int]:
    return _table().tolist()


@functools.cache
def _shift() -> list[list[int]]:
    """The state after LANE zero bytes, by byte of the state before: four lists of 256."""
    table, tables = _table(), []
    for byte in range(4):
        state = np.arange(256, dtype=np.uint32) << np.uint32(8 * byte)
        for _ in range(LANE):
            state = table[state & 255] ^ (state >> np.uint32(8))
        tables.append(state.tolist())
    return tables
