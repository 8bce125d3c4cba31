"""† PyTorch's files without PyTorch: the names and arrays of a state_dict, nothing executed.

Both serialisations are read: the zip archive (torch >= 1.6) and the older stream of pickles
followed by raw storages, whatever device its storages are tagged with. The pickle inside names
the callables that it wants called; here only those that build tensors and plain containers are
known, each replaced by an inert one of ours, and any other name is refused. The interpreter is
Python's, not C's, because a hostile memo index makes the C one reserve memory without bound.

Format: pytorch/pytorch `torch/serialization.py: _save, _legacy_save, _load, _legacy_load`.
"""

import collections
import io
import math
import mmap
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason

MAX_PICKLE_BYTES = 2**26  # names and shapes only; storages are outside
MAX_FILE_BYTES = 2**36
MAX_PACKING = 20  # sizes of storages over their compressed sizes; weights hardly compress
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001

DTYPES: dict[str, Any] = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}

Arrays = dict[str, Any]  # as the file nests them; leaves that are not arrays stay as they are


def is_torch_file(path: Path) -> bool:
    """Whether the first bytes are those of a zip archive or of a pickle."""
    with open(path, "rb") as file:
        start = file.read(2)
    return start == b"PK" or (start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05")


def read_torch_file(path: Path) -> Any:
    """The object that `torch.save` wrote, its tensors as read-only arrays over the file.

    Raises:
        InputError: not such a file, truncated, or it asks for code to be run.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(f"larger than {MAX_FILE_BYTES >> 30} GiB")
    with open(path, "rb") as file:
        if not path.stat().st_size:
            raise InputError("the file is empty")
        view = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        try:
            if file.read(2) == b"PK":
                return _read_zip(file, view)
            file.seek(0)
            return _read_legacy(file, view)
        except InputError:
            raise
        except (zipfile.BadZipFile, EOFError) as error:
            raise InputError(f"truncated or damaged ({reason(error)})") from None
        except RecursionError:
            raise InputError("truncated or damaged (nested too deeply)") from None
        except Exception as error:  # a damaged pickle raises whatever its bytes lead to
            raise InputError(f"not a readable PyTorch file ({reason(error)})") from None


class _Closed:
    """A class of ours that a pickle may hold but not set the attributes of (BUILD)."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise InputError("refused: it tries to change an object from inside")


class _Storage(_Closed):
    """Raw numbers: where they are, once that is known."""

    __slots__ = ("data", "dtype", "key", "numel")

    def __init__(self, dtype: Any, key: str, numel: int):
        self.dtype, self.key, self.numel = np.dtype(dtype), key, numel
        self.data: np.ndarray | None = None


class _Tensor(_Closed):
    """A strided view of a storage, made into an array when the storage has been found."""

    __slots__ = ("offset", "shape", "storage", "stride")

    def __init__(self, storage: Any, offset: Any, shape: Any, stride: Any):
        if not isinstance(storage, _Storage):
            raise InputError("a tensor without a storage")
        numbers = (offset, *shape, *stride)
        if not all(isinstance(n, int) and 0 <= n < 2**40 for n in numbers):
            raise InputError("a tensor of impossible shape")
        if len(shape) != len(stride) or len(shape) > 8:
            raise InputError("a tensor of impossible shape")
        self.storage, self.offset = storage, offset
        self.shape, self.stride = tuple(shape), tuple(stride)

    def array(self) -> np.ndarray:
        data = self.storage.data
        assert data is not None
        reach = sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True))
        if 0 in self.shape:
            return np.zeros(self.shape, data.dtype)
        if self.offset + reach >= len(data) or math.prod(self.shape) > len(data):
            raise InputError(f"a tensor reaches beyond its storage {one_line(self.storage.key)}")
        stride = [s * data.dtype.itemsize for s in self.stride]
        return np.lib.stride_tricks.as_strided(
            data[self.offset :], self.shape, stride, writeable=False
        )


class _StorageType(_Closed):
    """Stands for torch.FloatStorage and its kin in a persistent id."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: Any):
        self.dtype = dtype


class _Inert(_Closed):
    """A callable that the pickle may call: of ours, without attributes to overwrite."""

    __slots__ = ("_run",)
    _run: Callable[..., Any]

    def __init__(self, run: Callable[..., Any]):
        object.__setattr__(self, "_run", run)

    def __call__(self, *args: Any) -> Any:
        return self._run(*args)

    def __setattr__(self, name: str, value: Any) -> None:
        raise InputError("it tries to change a function")


class _Dict(collections.OrderedDict):
    """An OrderedDict whose attributes (`_metadata`) are thrown away."""

    def __setstate__(self, state: Any) -> None:
        del state


def _ordered_dict(*args: Any) -> _Dict:
    """OrderedDict() or, from Python 2, OrderedDict([[key, value], ...])."""
    made = _Dict()
    for pairs in args:
        if not isinstance(pairs, list):
            raise InputError("refused: an OrderedDict of something else than a list")
        for key, value in pairs:
            made[_key(key)] = value
        pairs.clear()  # so that it cannot be copied a thousand times
    return made


def _key(key: Any) -> Any:
    """A dict's key as it is; only of types whose hash is quick."""
    if not isinstance(key, str | int | float | None):
        raise InputError(f"refused: a {type(key).__name__} as a key")
    return key


def _size(numbers: Any) -> tuple[int, ...]:
    if not isinstance(numbers, list | tuple) or len(numbers) > 64:
        raise InputError("a torch.Size of something else than a shape")
    return tuple(numbers)


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> _Tensor:
    del rest  # requires_grad, hooks, metadata
    return _Tensor(storage, offset, shape, stride)


def _known(module: str, name: str) -> Any:
    """What a global of the pickle becomes; None if it is not allowed."""
    if module in ("torch", "torch.cuda", "torch.storage") and name in DTYPES:
        return _StorageType(DTYPES[name])
    return {
        ("collections", "OrderedDict"): _Inert(_ordered_dict),
        ("torch._utils", "_rebuild_tensor_v2"): _Inert(_tensor),
        ("torch._utils", "_rebuild_tensor"): _Inert(_tensor),
        ("torch._utils", "_rebuild_parameter"): _Inert(lambda data, *rest: data),
        ("torch", "Size"): _Inert(_size),
        # NumPy scalars beside the weights, such as a loss: never needed, so never built.
        ("numpy", "dtype"): _Inert(lambda *args: _Ignored()),
        ("numpy.core.multiarray", "scalar"): _Inert(lambda *args: None),
        ("numpy._core.multiarray", "scalar"): _Inert(lambda *args: None),
        ("_codecs", "encode"): _Inert(lambda *args: b""),
    }.get((module, name))


class _Ignored:
    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        del state


_PythonUnpickler: Any = pickle._Unpickler  # not C's, see above


class _Unpickler(_PythonUnpickler):
    """Builds tensors and plain containers, and nothing else."""

    def __init__(self, file: io.BufferedIOBase, storages: dict[str, _Storage]):
        super().__init__(file, encoding="utf-8", errors="replace")
        self.storages = storages

    def find_class(self, module: str, name: str) -> Any:
        known = _known(module, name)
        if known is None:
            raise InputError(
                f"refused: it asks to run {one_line(f'{module}.{name}')[:200]}, which no "
                "state_dict needs"
            )
        return known

    def persistent_load(self, pid: Any) -> _Storage:
        """The storage that a tensor is a view of."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise InputError("refused: an unknown kind of persistent object")
        _, kind, key, _, numel = pid[:5]
        if not isinstance(kind, _StorageType) or not isinstance(numel, int) or numel < 0:
            raise InputError("a storage of an unknown type")
        if len(pid) > 5 and pid[5] is not None:
            raise InputError("storages that are views of others (torch < 0.4) are not supported")
        key = _storage_key(key)
        if key not in self.storages:
            self.storages[key] = _Storage(kind.dtype, key, numel)
        return self.storages[key]

    def load_setitem(self) -> None:
        _key(self.stack[-2])
        super().load_setitem()

    def load_setitems(self) -> None:
        for key in self.stack[0::2]:
            _key(key)
        super().load_setitems()

    def load_dict(self) -> None:
        for key in self.stack[0::2]:
            _key(key)
        super().load_dict()

    def refuse(self) -> None:
        raise InputError("refused: an instruction that no state_dict needs")

    # What torch.save never writes: instances by class, old persistent ids, big buffers, sets.
    dispatch = _PythonUnpickler.dispatch | {
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.DICT[0]: load_dict,
        **dict.fromkeys(
            (
                op[0]
                for op in (
                    pickle.INST,
                    pickle.OBJ,
                    pickle.NEWOBJ,
                    pickle.NEWOBJ_EX,
                    pickle.PERSID,
                    pickle.EXT1,
                    pickle.EXT2,
                    pickle.EXT4,
                    pickle.BYTEARRAY8,
                    pickle.NEXT_BUFFER,
                    pickle.READONLY_BUFFER,
                    pickle.EMPTY_SET,
                    pickle.FROZENSET,
                    pickle.ADDITEMS,
                )
            ),
            refuse,
        ),
    }


def _storage_key(key: Any) -> str:
    if not isinstance(key, str | int):
        raise InputError("a storage without a name")
    return str(key)


def _unpickled(data: io.BufferedIOBase, storages: dict[str, _Storage]) -> Any:
    return _Unpickler(data, storages).load()


def _read_zip(file: io.BufferedIOBase, view: np.ndarray) -> Any:
    with zipfile.ZipFile(file) as archive:
        members = {info.filename: info for info in archive.infolist()}
        pickles = [name for name in members if name.split("/")[-1] == "data.pkl"]
        if len(pickles) != 1:
            raise InputError("a zip file, but not one that PyTorch wrote: it has no data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        if members[pickles[0]].file_size > MAX_PICKLE_BYTES:
            raise InputError("its data.pkl is too large")
        storages: dict[str, _Storage] = {}
        found = _unpickled(io.BytesIO(archive.read(pickles[0])), storages)
        order = members.get(f"{root}byteorder")
        if order is not None and (order.file_size > 8 or archive.read(order) != b"little"):
            raise InputError("written on a big-endian machine, which is not supported")
        packed = unpacked = 0
        for key, storage in storages.items():
            info = members.get(f"{root}data/{key}")
            if info is None:
                raise InputError(f"truncated or damaged (storage {one_line(key)} is missing)")
            n_bytes = storage.numel * storage.dtype.itemsize
            if info.file_size != n_bytes:
                raise InputError(f"storage {one_line(key)} has the wrong size")
            if info.compress_type == zipfile.ZIP_STORED:
                raw = view[(start := _data_offset(info, view)) : start + n_bytes]
            else:  # somebody packed it again
                packed += info.compress_size
                unpacked += info.file_size
                if unpacked > 2**20 + MAX_PACKING * packed:
                    raise InputError(f"storage {one_line(key)} is suspiciously well compressed")
                raw = np.frombuffer(archive.read(info), np.uint8)
            storage.data = _typed(raw, storage, n_bytes)
    return _with_arrays(found)


def _data_offset(info: zipfile.ZipInfo, view: np.ndarray) -> int:
    """Where a stored member's bytes begin: after its local header, name and extra field."""
    header = bytes(view[info.header_offset : info.header_offset + 30])
    if len(header) != 30 or header[:4] != b"PK\x03\x04":
        raise InputError("truncated or damaged (a member's header is missing)")
    name, extra = struct.unpack("<HH", header[26:30])
    return info.header_offset + 30 + name + extra


def _read_legacy(file: io.BufferedIOBase, view: np.ndarray) -> Any:
    storages: dict[str, _Storage] = {}
    try:
        magic = _unpickled(file, storages)
    except InputError:
        raise
    except Exception:
        magic = None
    if magic != LEGACY_MAGIC:
        raise InputError("neither a zip archive nor a stream that PyTorch wrote")
    if _unpickled(file, storages) != LEGACY_PROTOCOL:
        raise InputError("an unknown version of PyTorch's old format")
    system = _unpickled(file, storages)
    if isinstance(system, dict) and not system.get("little_endian", True):
        raise InputError("written on a big-endian machine, which is not supported")
    found = _unpickled(file, storages)
    for key in _unpickled(file, storages):
        storage = storages.get(_storage_key(key))
        if storage is None:
            raise InputError(f"an unknown storage {one_line(key)[:80]}")
        size = file.read(8)
        if len(size) != 8 or struct.unpack("<q", size)[0] != storage.numel:
            raise InputError(f"truncated or damaged (storage {one_line(key)} is cut off)")
        start, n_bytes = file.tell(), storage.numel * storage.dtype.itemsize
        storage.data = _typed(view[start : start + n_bytes], storage, n_bytes)
        file.seek(n_bytes, io.SEEK_CUR)
    missing = [key for key, storage in storages.items() if storage.data is None]
    if missing:
        raise InputError(f"truncated or damaged (storage {one_line(missing[0])} is missing)")
    return _with_arrays(found)


def _typed(raw: np.ndarray, storage: _Storage, n_bytes: int) -> np.ndarray:
    if len(raw) != n_bytes:
        raise InputError(f"truncated or damaged (storage {one_line(storage.key)} is cut off)")
    return raw.view(storage.dtype)


def _with_arrays(found: Any) -> Any:
    """Tensors as arrays, in dicts as deep as a checkpoint nests a state_dict."""
    done: dict[int, Any] = {}  # one dict may be there a million times

    def visit(item: Any, depth: int) -> Any:
        if isinstance(item, _Tensor):
            return item.array()
        if not isinstance(item, dict) or depth == 4:
            return None
        if id(item) not in done:
            named = {k: v for k, v in item.items() if isinstance(k, str)}
            done[id(item)] = {k: visit(v, depth + 1) for k, v in named.items()}
        return done[id(item)]

    return visit(found, 0)
