"""Read files of `torch.save` without PyTorch; nothing in a file is executed.

Four layouts are supported: the zip archive (torch >= 1.6), the stream of pickles followed by raw
storages (torch 0.1.10 to 1.5), the tar archive (before), and a plain pickle. The device of a
storage does not matter. Weights are views of the memory-mapped file.

Format: pytorch/pytorch `torch/serialization.py: _save, _legacy_save, _load, _legacy_load`.
"""

import contextlib
import functools
import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from glow_jax.convert.blob import BlobFile
from glow_jax.convert.pickle_machine import Dict, Opaque, load_pickle
from glow_jax.convert.torch_names import known_names
from glow_jax.convert.torch_tensors import (
    DType,
    Encoded,
    Storage,
    StorageView,
    Tensor,
)
from glow_jax.io.budget import Budget
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason
from glow_jax.io.npz import zip_directory_bytes

# Limit of the pickle of a zip archive, which has names and shapes but no storages.
MAX_PICKLE_BYTES = 2**26
MAX_DIRECTORY_BYTES = 2**24  # limit of the directory of a zip archive: 100 000 storages
MAX_PACKING = 20  # largest ratio of size to compressed size; weights hardly compress
MAX_NESTED = 2  # largest depth of files in pickles in files
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
TORCHSCRIPT = (
    "a TorchScript archive, which holds a program: load it with torch.jit.load where torch is, and "
    "torch.save its state_dict()"
)


def read_torch_file(data: np.ndarray, budget: Budget) -> Any:
    """The object that `torch.save` wrote: `Dict`, lists, tuples, `Tensor`, `Opaque`, numbers.

    Args:
        data: bytes of the file, uint8.
        budget: limit for everything except storages, which are views of the file.

    Raises:
        InputError: the file is not of `torch.save`, truncated, or over the budget.
    """
    with _in_one_line():
        if data[:2].tobytes() == b"PK":
            return _read_zip(data, budget)
        return _read_stream(data, budget)


@contextlib.contextmanager
def _in_one_line() -> Iterator[None]:
    """Turn any exception that a damaged file causes into an InputError."""
    try:
        yield
    except InputError:
        raise
    except (zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"truncated or damaged ({reason(error)})") from None
    except Exception as error:  # a damaged pickle may raise any type of exception
        raise InputError(f"not a readable PyTorch file ({reason(error)})") from None


class _Storages:
    """The storages of one file, by their persistent ids."""

    def __init__(self) -> None:
        self.found: dict[str, Storage] = {}

    def __call__(self, pid: Any) -> Any:
        """The storage of a persistent id; or, for an old module, its class."""
        if isinstance(pid, tuple) and pid and pid[0] == "module":
            return pid[1] if len(pid) > 1 else Opaque("a module")
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise InputError("refused: an unknown kind of persistent object")
        _, kind, key, _, numel = pid[:5]
        if not isinstance(kind, DType) or type(numel) is not int or not 0 <= numel < 2**40:
            raise InputError("a storage of an unknown type")
        key = storage_key(key)
        storage = self.found.setdefault(key, Storage(kind.dtype, key, numel))
        view = pid[5] if len(pid) > 5 else None
        if view is None:
            return storage
        if not isinstance(view, tuple) or len(view) != 3:
            raise InputError("damaged: a view of a storage without its place")
        return StorageView(storage, *view[1:])


def storage_key(key: Any) -> str:
    """A storage's name as text."""
    if not isinstance(key, str) and (type(key) is not int or abs(key) >= 2**64):
        raise InputError("a storage without a name")
    return str(key)


def unpickled(
    file: BlobFile, budget: Budget, persistent: Callable[[Any], Any], nested: int = 0
) -> Any:
    """The object of the pickle at a file's position."""

    def from_bytes(raw: Any = b"") -> Any:
        """The object of a tensor that was pickled without torch.save: the bytes are a file."""
        if isinstance(raw, Encoded):
            budget.allocate(len(raw.text))
            raw = raw.text.encode("latin-1")
        if not isinstance(raw, bytes | bytearray) or nested == MAX_NESTED:
            return Opaque("torch.storage._load_from_bytes")
        return _read_stream(np.frombuffer(raw, np.uint8), budget, nested + 1)

    return load_pickle(file, budget, known_names(budget, from_bytes), persistent)


# -- zip archives


def _read_zip(data: np.ndarray, budget: Budget) -> Any:
    unzip = Unzip(data, budget)
    pickles = [name for name in unzip.members if name.split("/")[-1] == "data.pkl"]
    if len(pickles) != 1:
        raise InputError("a zip archive, but not one that PyTorch wrote: it has no data.pkl")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in unzip.members:
        raise InputError(TORCHSCRIPT)
    if unzip.members[pickles[0]].file_size > MAX_PICKLE_BYTES:
        raise InputError("its data.pkl is too large")
    storages = _Storages()
    found = unpickled(BlobFile(unzip(pickles[0]), budget), budget, storages)
    order = unzip.members.get(f"{root}byteorder")
    swapped = (
        order is not None and order.file_size < 8 and unzip(order.filename).tobytes() == b"big"
    )
    for key, storage in storages.found.items():
        storage.swapped = swapped
        if f"{root}data/{key}" in unzip.members:
            storage.find = functools.partial(unzip, f"{root}data/{key}")
    return found


class Unzip:
    """Reads members of a zip archive: as a view if uncompressed, otherwise decompressed.

    Attributes:
        members: by name.
    """

    def __init__(self, data: np.ndarray, budget: Budget):
        """Raises InputError if the archive's directory is too large."""
        end = data[-(2**16 + 98) :].tobytes()
        if zip_directory_bytes(end, len(data)) > MAX_DIRECTORY_BYTES:
            limit = MAX_DIRECTORY_BYTES >> 20
            raise InputError(f"a zip archive whose directory is larger than {limit} MiB")
        self._archive = zipfile.ZipFile(BlobFile(data, budget))
        self._data, self._budget = data, budget
        self._packed = self._unpacked = 0
        self.members = {info.filename: info for info in self._archive.infolist()}

    def __call__(self, name: str) -> np.ndarray:
        """A member's bytes, uint8."""
        info = self.members[name]
        if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1:
            start = _data_offset(info, self._data)
            return self._data[start : start + info.file_size]
        # Compressed: PyTorch does not do this, so somebody compressed the file again.
        self._packed += info.compress_size
        self._unpacked += info.file_size
        if self._unpacked > 2**20 + MAX_PACKING * self._packed:
            raise InputError(f"{one_line(name)[:80]} in it is suspiciously well compressed")
        self._budget.allocate(info.file_size)
        with (
            _in_one_line(),
            self._archive.open(info) as file,
        ):  # read(n) decompresses at most n bytes
            return np.frombuffer(file.read(info.file_size), np.uint8)


def _data_offset(info: zipfile.ZipInfo, data: np.ndarray) -> int:
    """The offset of an uncompressed member: after its local header, name and extra field."""
    header = data[info.header_offset : info.header_offset + 30].tobytes()
    if len(header) != 30 or header[:4] != b"PK\x03\x04":
        raise InputError("truncated or damaged (a member's header is missing)")
    name, extra = struct.unpack("<HH", header[26:30])
    return info.header_offset + 30 + name + extra


# -- streams of pickles


def _read_stream(data: np.ndarray, budget: Budget, nested: int = 0) -> Any:
    """Read an older file of torch, or a plain pickle."""
    file, storages = BlobFile(data, budget), _Storages()
    first = unpickled(file, budget, storages, nested)
    if first != LEGACY_MAGIC:
        if isinstance(first, Dict | Opaque | list | tuple):
            return first
        raise InputError("neither a zip archive nor a stream that PyTorch wrote")
    if unpickled(file, budget, storages, nested) != LEGACY_PROTOCOL:
        raise InputError("an unknown version of PyTorch's old format")
    system = unpickled(file, budget, storages, nested)
    if isinstance(system, Dict) and ("little_endian", False) in system.pairs:
        raise InputError("an old file of a big-endian machine: save it again with torch >= 1.6")
    found = unpickled(file, budget, storages, nested)
    keys = unpickled(file, budget, storages, nested)
    for key in keys if isinstance(keys, list) else []:
        storage = storages.found.get(storage_key(key))
        if storage is None:
            raise InputError(f"an unknown storage {one_line(key)[:80]}")
        locate_storage(storage, file, data)
    missing = [key for key, storage in storages.found.items() if storage.find is None]
    if missing:
        key = one_line(missing[0])[:80]
        raise InputError(f"truncated or damaged (storage {key} is missing)")
    return found


def locate_storage(storage: Storage, file: BlobFile, data: np.ndarray) -> None:
    """Record the place of a storage, which is at the file's position: its length, then its numbers.

    Raises:
        InputError: the length differs from the storage's, or the file ends before its end.
    """
    size, start = file.read(8), file.tell()
    whole = len(size) == 8 and struct.unpack("<q", size)[0] == storage.numel
    if not whole or start + storage.n_bytes > len(data):
        key = one_line(storage.key)[:80]
        raise InputError(f"truncated or damaged (storage {key} is cut off)")
    raw = data[start : start + storage.n_bytes]
    storage.find = lambda: raw
    file.seek(storage.n_bytes, io.SEEK_CUR)


# -- tar archives


def read_torch_tar(members: dict[str, np.ndarray], budget: Budget) -> Any:
    """The object of an archive of torch before 0.1.10.

    Args:
        members: bytes of the members `storages`, `tensors` and `pickle`.
        budget: as in `read_torch_file`.

    Raises:
        InputError: the archive is truncated or damaged.
    """
    with _in_one_line():
        return _read_tar(members, budget)


def _read_tar(members: dict[str, np.ndarray], budget: Budget) -> Any:
    objects: dict[int, Any] = {}

    def persistent(pid: Any) -> Any:
        if isinstance(pid, tuple):
            return pid[0] if pid else Opaque("a module")
        if not isinstance(pid, int | str) or int(pid) not in objects:
            raise InputError("damaged: an unknown tensor")
        return objects[int(pid)]

    file = BlobFile(members["storages"], budget)
    for _ in range(_count(file, budget)):
        key, _, kind = unpickled(file, budget, persistent)
        (numel,) = struct.unpack("<q", file.read(8))
        file.seek(-8, io.SEEK_CUR)
        if not isinstance(kind, DType) or not 0 <= numel < 2**40:
            raise InputError("a storage of an unknown type")
        objects[int(key)] = Storage(kind.dtype, storage_key(key), numel)
        locate_storage(objects[int(key)], file, members["storages"])
    for view, root, offset, numel in unpickled(file, budget, persistent):
        objects[int(view)] = StorageView(objects[int(root)], offset, numel)
    file = BlobFile(members["tensors"], budget)
    for _ in range(_count(file, budget)):
        key, storage, _ = unpickled(file, budget, persistent)
        axes, _ = struct.unpack("<ii", file.read(8))
        if not 0 <= axes <= 64:
            raise InputError("a tensor of impossible shape")
        *numbers, offset = struct.unpack(f"<{2 * axes + 1}q", file.read(8 * (2 * axes + 1)))
        shape, stride = tuple(numbers[:axes]), tuple(numbers[axes:])
        objects[int(key)] = Tensor(objects[int(storage)], offset, shape, stride)
    return unpickled(BlobFile(members["pickle"], budget), budget, persistent)


def _count(file: BlobFile, budget: Budget) -> int:
    found = unpickled(file, budget, lambda pid: None)
    if type(found) is not int or not 0 <= found <= 1_000_000:
        raise InputError("damaged: an impossible number of objects")
    return found
