"""Read TensorFlow's checkpoints (`tf.train.Saver`, version 2) without TensorFlow.

PREFIX.index is a sorted table of names and entries, PREFIX.data-XXXXX-of-YYYYY the raw arrays.
Formats: tensorflow/tensorflow `core/util/tensor_bundle`, `core/lib/io/table_format.txt`,
`core/protobuf/tensor_bundle.proto`. Checksums are not verified; sizes are.
"""

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from glow_jax.convert.blob import mapped
from glow_jax.convert.protobuf import DTYPES, MAX_AXES, fields, shape_of, varint
from glow_jax.io.budget import Budget
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason

TABLE_MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48
MAX_INDEX_BYTES = 2**26
MAX_NAME_BYTES = 2**12
# Total length of names, which are stored as differences from the previous name.
MAX_NAMES_BYTES = 2**26
MAX_ENTRIES = 2**18


def checkpoint_prefix(path: Path) -> Path | None:
    """The prefix of a checkpoint, from the path of any of its files or of its folder; or None.

    Raises:
        InputError: a folder has several checkpoints, and no file `checkpoint` that names one.
    """
    if path.is_dir():
        state = path / "checkpoint"
        if state.is_file() and (prefix := newest(state)) is not None:
            return prefix
        prefixes = sorted(path.glob("*.index"))
        if len(prefixes) > 1:
            names = ", ".join(one_line(p.stem) for p in prefixes[:6])
            raise InputError(f"several checkpoints: {names}; name one of them")
        return prefixes[0].with_suffix("") if prefixes else None
    name = re.sub(r"(\.index|\.meta|\.data-\d{5}-of-\d{5})$", "", path.name)
    prefix = path.with_name(name)
    return prefix if (name != path.name or os.path.isfile(_index(prefix))) else None


def newest(state: Path) -> Path | None:
    """The prefix that a text file `checkpoint` names, in the folder of that file; or None."""
    if state.stat().st_size > 2**20:
        return None
    text = state.read_text("utf-8", "replace")
    found = re.search(r'^model_checkpoint_path:\s*"([^"\n]*)"', text, re.MULTILINE)
    if found is None:  # only its name is used: the folder may have been moved
        return None
    return state.parent / re.split(r"[/\\]", found[1])[-1]


def missing_index(path: Path) -> str | None:
    """A message about a prefix or a data file without its index; None if the path is neither."""
    name = re.sub(r"\.(meta|data-\d{5}-of-\d{5})$", "", path.name)
    prefix = path.with_name(name)
    if os.path.isfile(_index(prefix)) or not name:
        return None
    for beside in path.parent.iterdir() if path.parent.is_dir() else ():
        if re.fullmatch(re.escape(name) + r"\.data-\d{5}-of-\d{5}", beside.name):
            return f"{one_line(name)}.index is missing beside {one_line(beside.name)}"
    return None


def is_table(data: np.ndarray) -> bool:
    """Whether a file ends as a sorted string table does."""
    return len(data) >= FOOTER_BYTES and int(data[-8:].view("<u8")[0]) == TABLE_MAGIC


def read_tf_checkpoint(prefix: Path, budget: Budget) -> dict[str, np.ndarray]:
    """Every numeric array by name, as read-only views of the files.

    Raises:
        InputError: a file is missing, truncated, no checkpoint, or over the budget.
    """
    try:
        return _read(prefix, budget)
    except (
        TypeError,
        ValueError,
        OverflowError,
    ) as error:  # a field has another type than expected
        if isinstance(error, InputError):
            raise
        raise InputError(f"{_index(prefix).name}: damaged ({reason(error)})") from None


def _read(prefix: Path, budget: Budget) -> dict[str, np.ndarray]:
    index = _index(prefix)
    if not index.is_file():
        raise InputError(f"{one_line(index.name)} is missing")
    if index.stat().st_size > MAX_INDEX_BYTES:
        raise InputError(f"{one_line(index.name)} is larger than {MAX_INDEX_BYTES >> 20} MiB")
    entries = dict(_table(mapped(index).data))
    header = entries.pop(b"", None)
    if header is None:
        raise InputError(f"{one_line(index.name)}: not a TensorFlow checkpoint: it has no header")
    about = dict(fields(header, budget))
    shards = int(about.get(1, 0))
    if about.get(2, 0) != 0:
        raise InputError("written on a big-endian machine, which is not supported")
    if not 0 < shards < 10_000:
        raise InputError(f"{one_line(index.name)}: {shards} data files, which is not possible")
    files: dict[int, np.ndarray] = {}
    arrays = {}
    for key, entry in entries.items():
        name = key.decode("utf-8", "replace")
        entry_fields = dict(fields(entry, budget))
        if entry_fields.get(1) not in DTYPES:
            continue  # text, resources: not weights
        dtype = np.dtype(DTYPES[entry_fields[1]])
        shape = shape_of(entry_fields[2], budget) if 2 in entry_fields else ()
        shard, offset, size = (int(entry_fields.get(n, 0)) for n in (3, 4, 5))
        possible = len(shape) <= MAX_AXES and all(0 <= n < 2**40 for n in shape)
        if not possible or size != dtype.itemsize * int(np.prod(shape, dtype=object)):
            raise InputError(f"{one_line(name)[:200]} has the wrong size in {one_line(index.name)}")
        if shard not in files:
            files[shard] = _mapped(prefix, shard, shards)
        raw = files[shard][offset : offset + size]
        if len(raw) != size:
            raise InputError(f"truncated: {one_line(name)[:200]} is cut off")
        arrays[name] = raw.view(dtype).reshape(shape)
    stored = sum(len(file) for file in files.values())
    unstored = max(sum(a.nbytes for a in arrays.values()) - 2 * stored, 0)
    budget.allocate(4 * unstored)  # weights are copied on their way
    return arrays


def _index(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".index")


def _mapped(prefix: Path, shard: int, shards: int) -> np.ndarray:
    path = prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}")
    if not path.is_file():
        raise InputError(f"{one_line(path.name)} is missing")
    return mapped(path) if path.stat().st_size else np.zeros(0, np.uint8)


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
        number, at = varint(footer, at)
        handles.append(number)
    seen: set[int] = set()
    n_entries = n_bytes = 0
    for _, handle in _block(data, handles[2], handles[3]):
        offset, at = varint(handle, 0)
        size, _ = varint(handle, at)
        if offset in seen:
            raise damaged
        seen.add(offset)
        for key, value in _block(data, offset, size):
            n_entries, n_bytes = n_entries + 1, n_bytes + len(key)
            if n_entries > MAX_ENTRIES or n_bytes > MAX_NAMES_BYTES:
                raise InputError(
                    f"refused: an index of more than {MAX_ENTRIES} names, or of more than "
                    f"{MAX_NAMES_BYTES >> 20} MiB of them"
                )
            yield key, value


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
