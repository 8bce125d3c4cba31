"""PyTorch's files, written byte by byte without it, and small state_dicts to put into them.

Format: pytorch/pytorch torch/serialization.py, _save and _legacy_save.
"""

import collections
import functools
import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Arrays = dict[str, np.ndarray]

# -- PyTorch's formats: torch/serialization.py, _save and _legacy_save

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
STORAGES = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
    "complex64": "ComplexFloatStorage",
}


class Global(NamedTuple):
    """A callable by name."""

    module: str
    name: str


class Call(NamedTuple):
    """What `function(*args)` returns, its state set if there is one."""

    function: Any
    args: tuple
    state: Any = None


class Persistent(NamedTuple):
    """An object that is outside the pickle."""

    pid: Any


class Opcodes(NamedTuple):
    """Raw opcodes that leave one object."""

    code: bytes


class Storage(NamedTuple):
    """Numbers, one after the other."""

    key: str
    values: np.ndarray


class Tensor(NamedTuple):
    """A strided view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def tensor(array: np.ndarray, key: str) -> Tensor:
    """A tensor with a storage of its own."""
    array = np.ascontiguousarray(array) if array.ndim else array
    stride = tuple(s // array.itemsize for s in array.strides)
    return Tensor(Storage(key, array.reshape(-1)), 0, array.shape, stride)


REBUILD = Global("torch._utils", "_rebuild_tensor_v2")
ORDERED = Global("collections", "OrderedDict")


PythonsPickler: Any = pickle._Pickler  # which can be taught new things


class TorchPickler(PythonsPickler):
    """Pickles as torch does; notes the storages that it met."""

    def __init__(self, file: io.BytesIO, legacy: bool, location: str = "cuda:0"):
        super().__init__(file, protocol=2)
        self.legacy, self.location = legacy, location
        self.storages: dict[str, np.ndarray] = {}

    def storage_id(self, storage: Storage) -> Persistent:
        self.storages[storage.key] = storage.values
        name, size = STORAGES.get(storage.values.dtype.name), len(storage.values)
        kind = Global("torch", name or "UntypedStorage")
        size = size if name else storage.values.nbytes  # types that have no class of storages
        pid = ("storage", kind, storage.key, self.location, size)
        return Persistent((*pid, None) if self.legacy else pid)

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Global):
            self.write(f"c{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Opcodes):
            self.write(obj.code)
        elif isinstance(obj, Persistent):
            self.save(obj.pid)
            self.write(pickle.BINPERSID)
        elif isinstance(obj, Storage):
            self.save(self.storage_id(obj))
        elif isinstance(obj, Tensor):
            self.save(Call(REBUILD, (*obj, False, Call(ORDERED, ()))))
        elif isinstance(obj, Call):
            self.save(obj.function)
            self.save(obj.args)
            self.write(pickle.REDUCE)
            if obj.state is not None:
                self.save(obj.state)
                self.write(pickle.BUILD)
        else:
            super().save(obj, save_persistent_id)


def pickled(obj: Any, legacy: bool = False) -> tuple[bytes, dict[str, np.ndarray]]:
    """The pickle and its storages."""
    file = io.BytesIO()
    pickler = TorchPickler(file, legacy)
    pickler.dump(obj)
    return file.getvalue(), pickler.storages


def write_zip(
    path: Path,
    obj: Any,
    *,
    pickle_: bytes | None = None,
    packed: bool = False,
    more: Mapping[str, bytes] | None = None,
    root: str = "archive/",
) -> Path:
    """A file as torch >= 1.6 writes them.

    Args:
        path: where.
        obj: nested containers with `Tensor`s.
        pickle_: of this pickle instead.
        packed: compress the members, as somebody who packs it again does.
        more: further members.
        root: the folder in the archive.
    """
    made, storages = pickled(obj)
    members = {f"{root}data.pkl": made if pickle_ is None else pickle_}
    members |= {f"{root}byteorder": b"little", f"{root}version": b"3\n"}
    members |= {f"{root}data/{k}": v.tobytes() for k, v in storages.items()}
    kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind, compresslevel=1) as archive:
        for name, data in (members | dict(more or {})).items():
            info = zipfile.ZipInfo(name)
            info.compress_type = kind
            info.extra = struct.pack("<HH", 0x4246, 13) + b"Z" * 13  # torch pads like that
            archive.writestr(info, data)
    return path


SYSTEM = {
    "protocol_version": 1001,
    "little_endian": True,
    "type_sizes": {"short": 2, "int": 4, "long": 4},
}


def legacy_sections(obj: Any) -> tuple[list[bytes], dict[str, np.ndarray]]:
    """The five pickles that an older file begins with, and the storages that follow."""
    made, storages = pickled(obj, legacy=True)
    others = [pickle.dumps(o, 2) for o in (LEGACY_MAGIC, 1001, SYSTEM, list(storages))]
    return [*others[:3], made, others[3]], storages


def write_legacy(path: Path, obj: Any, replaced: Mapping[int, bytes] | None = None) -> Path:
    """A file as torch before 1.6 wrote them; some of its pickles replaced."""
    sections, storages = legacy_sections(obj)
    for i, section in (replaced or {}).items():
        sections[i] = section
    sizes = [len(v) if v.dtype.name in STORAGES else v.nbytes for v in storages.values()]
    raw = [
        struct.pack("<q", size) + v.tobytes()
        for size, v in zip(sizes, storages.values(), strict=True)
    ]
    path.write_bytes(b"".join([*sections, *raw]))
    return path


WRITERS: dict[str, Callable[[Path, Any], Path]] = {
    "zip": write_zip,
    "zip, packed again": functools.partial(write_zip, packed=True),
    "legacy": write_legacy,
}

# -- small models


def y0ast_state(seed: int = 0, size: int = 4) -> Arrays:
    """Random weights of y0ast's Glow: L 1, K 1, grey images, width 3."""
    rng = np.random.default_rng(seed)
    step, net = "flow.layers.1", "flow.layers.1.block"
    shapes = {
        f"{step}.actnorm.bias": (1, 4, 1, 1),
        f"{step}.actnorm.logs": (1, 4, 1, 1),
        f"{net}.0.conv.weight": (3, 2, 3, 3),
        f"{net}.0.actnorm.bias": (1, 3, 1, 1),
        f"{net}.0.actnorm.logs": (1, 3, 1, 1),
        f"{net}.2.conv.weight": (3, 3, 1, 1),
        f"{net}.2.actnorm.bias": (1, 3, 1, 1),
        f"{net}.2.actnorm.logs": (1, 3, 1, 1),
        f"{net}.4.conv.weight": (4, 3, 3, 3),
        f"{net}.4.conv.bias": (4,),
        f"{net}.4.logs": (4, 1, 1),
        "learn_top_fn.conv.weight": (8, 8, 3, 3),
        "learn_top_fn.conv.bias": (8,),
        "learn_top_fn.logs": (8, 1, 1),
    }
    state = {n: rng.normal(0, 0.1, s).astype(np.float32) for n, s in shapes.items()}
    matrix = np.linalg.qr(rng.standard_normal((4, 4)))[0].astype(np.float32)
    zeros = np.zeros((1, 8, size // 2, size // 2), np.float32)  # tells the image's size
    return state | {f"{step}.invconv.weight": matrix, "prior_h": zeros}


def glowip_state() -> Arrays:
    """Random weights of GlowIP's: nothing tells the size of the images nor their bits."""
    rng = np.random.default_rng(0)
    step, net = "glow_modules.1", "glow_modules.1.coupling.net"
    shapes: dict[str, tuple[int, ...]] = {
        f"{step}.actnorm.b": (1, 4, 1, 1),
        f"{step}.actnorm.logs": (1, 4, 1, 1),
        f"{net}.logs": (4, 1, 1),
    }
    for layer, (n_in, n_out, k) in {1: (2, 3, 3), 2: (3, 3, 1), 3: (3, 4, 3)}.items():
        shapes |= {
            f"{net}.conv{layer}.weight": (n_out, n_in, k, k),
            f"{net}.conv{layer}.bias": (n_out,),
        }
        if layer < 3:
            shapes |= {f"{net}.actnorm{layer}.{p}": (1, 3, 1, 1) for p in ("b", "logs")}
    state = {n: rng.normal(0, 0.1, s).astype(np.float32) for n, s in shapes.items()}
    matrix = np.linalg.qr(rng.standard_normal((4, 4)))[0].astype(np.float32)
    return state | {f"{step}.invconv.W": matrix[:, :, None, None]}


GLOWIP_SETTINGS = {"last_zeros": "true", "coupling_bias": "0", "squeeze_contig": "false"}


def tensors(state: Mapping[str, np.ndarray]) -> collections.OrderedDict:
    """A state_dict with a storage a tensor."""
    numbered = enumerate(state.items())
    return collections.OrderedDict((n, tensor(a, str(i))) for i, (n, a) in numbered)


# -- opcodes


def called(function: Any, *args: Any) -> bytes:
    """A pickle of what a function returns."""
    return pickled(Call(function, args))[0]


def raw(*opcodes: bytes) -> bytes:
    return b"".join((b"\x80\x02", *opcodes, b"."))


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def short(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()
