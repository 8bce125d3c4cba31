"""† TensorFlow's checkpoints (`tf.train.Saver`, version 2) without TensorFlow.

PREFIX.index is a sorted table of names and entries, PREFIX.data-XXXXX-of-YYYYY the raw arrays.
Formats: tensorflow/tensorflow `core/util/tensor_bundle`, `core/lib/io/table_format.txt`,
`core/protobuf/tensor_bundle.proto`. Checksums are not verified; sizes are.
"""

import mmap
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from glow_jax.convert.protobuf import DTYPES, fields, shape_of, varint
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason

TABLE_MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48
MAX_INDEX_BYTES = 2**28
MAX_NAME_BYTES = 2**12


def checkpoint_prefix(path: Path) -> Path | None:
    """The prefix of the checkpoint that a user names by any of its files, or by its folder.

    None if it names none.

    Raises:
        InputError: a folder with several checkpoints and no `checkpoint` file to choose.
    """
    if path.is_dir():
        state = path / "checkpoint"
        if state.is_file() and state.stat().st_size < 2**20:
            found = re.search(
                r'model_checkpoint_path:\s*"([^"\n]*)"', state.read_text("utf-8", "replace")
            )
            if found:  # only its name counts: the folder may have moved
                return path / re.split(r"[/\\]", found[1])[-1]
        prefixes = sorted(path.glob("*.index"))
        if len(prefixes) > 1:
            names = ", ".join(one_line(p.stem) for p in prefixes[:6])
            raise InputError(f"several checkpoints: {names}; name one of them")
        return prefixes[0].with_suffix("") if prefixes else None
    name = re.sub(r"(\.index|\.meta|\.data-\d{5}-of-\d{5})$", "", path.name)
    prefix = path.with_name(name)
    return prefix if (name != path.name or _index(prefix).is_file()) else None


def read_tf_checkpoint(prefix: Path) -> dict[str, np.ndarray]:
    """Every numeric array by name, as read-only views of the files.

    Raises:
        InputError: a file is missing, truncated or not a checkpoint.
    """
    try:
        return _read(prefix)
    except (TypeError, ValueError, OverflowError) as error:  # a field of another type than told
        if isinstance(error, InputError):
            raise
        raise InputError(f"{_index(prefix).name}: damaged ({reason(error)})") from None


def _read(prefix: Path) -> dict[str, np.ndarray]:
    index = _index(prefix)
    if not index.is_file():
        raise InputError(f"{index.name} is missing")
    if index.stat().st_size > MAX_INDEX_BYTES:
        raise InputError(f"{index.name} is larger than {MAX_INDEX_BYTES >> 20} MiB")
    entries = dict(_table(memoryview(index.read_bytes())))
    header = entries.pop(b"", None)
    if header is None:
        raise InputError(f"{index.name}: not a TensorFlow checkpoint: it has no header")
    about = dict(fields(header))
    shards = int(about.get(1, 0))
    if about.get(2, 0) != 0:
        raise InputError("written on a big-endian machine, which is not supported")
    if not 0 < shards < 10_000:
        raise InputError(f"{index.name}: {shards} data files, which cannot be")
    files: dict[int, np.ndarray] = {}
    arrays = {}
    for key, entry in entries.items():
        name = key.decode("utf-8", "replace")
        told = dict(fields(entry))
        if told.get(1) not in DTYPES:
            continue  # text, resources: not weights
        dtype = np.dtype(DTYPES[told[1]])
        shape = shape_of(told[2]) if 2 in told else ()
        shard, offset, size = (int(told.get(n, 0)) for n in (3, 4, 5))
        if any(n < 0 for n in shape) or size != dtype.itemsize * int(np.prod(shape, dtype=object)):
            raise InputError(f"{one_line(name)} has the wrong size in {index.name}")
        if shard not in files:
            files[shard] = _mapped(prefix, shard, shards)
        raw = files[shard][offset : offset + size]
        if len(raw) != size:
            raise InputError(f"truncated: {one_line(name)} is cut off")
        arrays[name] = raw.view(dtype).reshape(shape)
    return arrays


def _index(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".index")


def _mapped(prefix: Path, shard: int, shards: int) -> np.ndarray:
    path = prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}")
    if not path.is_file():
        raise InputError(f"{one_line(path.name)} is missing")
    if not path.stat().st_size:
        return np.zeros(0, np.uint8)
    with open(path, "rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


def _table(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Keys and values of a sorted string table."""
    damaged = InputError("not a TensorFlow checkpoint's index, or a damaged one")
    if len(data) < FOOTER_BYTES:
        raise damaged
    footer = data[-FOOTER_BYTES:]
    if struct.unpack("<Q", footer[-8:])[0] != TABLE_MAGIC:
        raise damaged
    at = 0
    handles = []
    for _ in range(4):  # offset and size of the metaindex block, then of the index block
        value, at = varint(footer, at)
        handles.append(value)
    seen: set[int] = set()
    for _, handle in _block(data, handles[2], handles[3]):
        offset, at = varint(handle, 0)
        size, _ = varint(handle, at)
        if offset in seen:
            raise damaged
        seen.add(offset)
        yield from _block(data, offset, size)


def _block(data: memoryview, offset: int, size: int) -> Iterator[tuple[bytes, memoryview]]:
    damaged = InputError("a TensorFlow checkpoint's index, but a damaged one")
    if offset + size + 5 > len(data) or size < 4:
        raise damaged
    if data[offset + size] != 0:
        raise InputError("a compressed checkpoint index, which is not supported")
    block = data[offset : offset + size]
    restarts = struct.unpack("<I", block[-4:])[0]
    end = size - 4 * (restarts + 1)
    if end < 0:
        raise damaged
    at, key = 0, b""
    while at < end:
        shared, at = varint(block, at)
        fresh, at = varint(block, at)
        length, at = varint(block, at)
        if shared > len(key) or shared + fresh > MAX_NAME_BYTES or at + fresh + length > end:
            raise damaged
        key = key[:shared] + bytes(block[at : at + fresh])
        at += fresh
        yield key, block[at : at + length]
        at += length
