"""One set of weights, what people put around its names, and what they put beside it."""

import argparse
import collections
import datetime
import decimal
import pathlib
import pickle
import random
import struct
import tarfile
import types
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import ml_dtypes
import numpy as np

from bench.robustness.files.pytorch_files import (
    ORDERED,
    Call,
    Global,
    Persistent,
    Storage,
    Tensor,
    pickled,
    tensor,
    tensors,
    y0ast_state,
)

Tensors = dict[str, Any]
RAW, AVERAGED = y0ast_state(seed=0), y0ast_state(seed=1)
ONE = np.ones(1, np.float32)


def raw() -> Tensors:
    return dict(tensors(RAW))


def averaged() -> Tensors:
    """The same names with other numbers, in storages of other names."""
    return {n: tensor(a, f"e{i}") for i, (n, a) in enumerate(AVERAGED.items())}


def half(state: Tensors) -> Tensors:
    return dict(list(state.items())[: len(state) // 2])


def prefixed(prefix: str, state: Tensors) -> Tensors:
    return {f"{prefix}{name}": value for name, value in state.items()}


def between(part: str) -> Tensors:
    """A wrapper's part in the middle of names."""
    return {n.replace(".block.", f".{part}.block."): t for n, t in raw().items()}


def dtype(kind: str) -> Call:
    return Call(Global("numpy", "dtype"), (kind, False, True), (3, "<", None, None, None, -1, -1))


def loose(key: str = "x") -> Tensor:
    """A tensor that is no weight."""
    return tensor(ONE, key)


class Colour:
    """Of a class that nobody has when the file is read."""

    def __init__(self) -> None:
        self.name = "red"


def of_type(values: np.ndarray) -> Call:
    """A tensor of a type that has no class of storages."""
    rebuild = Global("torch._utils", "_rebuild_tensor_v3")
    about = (0, values.shape, (1,), False, Call(ORDERED, ()), Global("torch", values.dtype.name))
    return Call(rebuild, (Storage(f"u{values.dtype.name}", values), *about))


def quantised() -> Call:
    scheme = (Global("torch", "per_tensor_affine"), 0.1, 0)
    return Call(
        Global("torch._utils", "_rebuild_qtensor"),
        (loose().storage, 0, (1,), (1,), scheme, False, Call(ORDERED, ())),
    )


def sparse() -> Call:
    layout = Call(Global("torch.serialization", "_get_layout"), ("torch.sparse_coo",))
    about = (loose("i"), loose("v"), Call(Global("torch", "Size"), ((4,),)), True)
    return Call(Global("torch._utils", "_rebuild_sparse_tensor"), (layout, about))


NEIGHBOURS: dict[str, Callable[[], Any]] = {
    "a Namespace": lambda: argparse.Namespace(lr=0.1, sizes=[1, 2], more={"a": (1,)}),
    "a NumPy array": lambda: np.arange(6.0).reshape(2, 3),
    "a NumPy array of objects": lambda: np.array([1, "a", None], object),
    "a NumPy array of text": lambda: np.array(["a", "bc"]),
    "a NumPy array in columns": lambda: np.asfortranarray(np.ones((2, 3))),
    "a NumPy number": lambda: np.float64(3),
    "a NumPy date": lambda: np.datetime64("2020-01-01"),
    "NumPy's random state": lambda: np.random.RandomState(0).get_state(),
    "Python's random state": random.getstate,
    "torch's random state": lambda: tensor(np.zeros(5056, np.uint8), "rng"),
    "a Counter": lambda: collections.Counter("abca"),
    "a deque": lambda: collections.deque([1, 2]),
    "a set": lambda: {1, 2},
    "a frozenset": lambda: frozenset([1]),
    "a device": lambda: Call(Global("torch", "device"), ("cuda", 0)),
    "a dtype": lambda: Global("torch", "bfloat16"),
    "an unknown dtype": lambda: Global("torch", "float4_e2m1fn_x2"),
    "a Size": lambda: Call(Global("torch", "Size"), ((1, 2),)),
    "a layout": lambda: Call(Global("torch.serialization", "_get_layout"), ("torch.strided",)),
    "a datetime": lambda: datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC),
    "a timedelta": lambda: datetime.timedelta(3),
    "a complex number": lambda: 3 + 4j,
    "a path": lambda: pathlib.PurePosixPath("/a/b"),
    "an object": Colour,
    "a class": lambda: Colour,
    "a simple namespace": lambda: types.SimpleNamespace(a=1),
    "a decimal": lambda: decimal.Decimal("1.5"),
    "bytes": lambda: b"\x00\xff" * 9,
    "a range": lambda: range(3),
    "an exception": lambda: ValueError("x"),
    "a large number": lambda: 10**60,
    "text that is no text": lambda: "\udc80",
    "keys of every kind": lambda: {(1, 2): 3, 1.5: 2, None: 1, b"x": 2, True: 4},
    "a tensor for a key": lambda: {frozenset([1]): loose()},
    "a sparse tensor": sparse,
    "a quantised tensor": quantised,
    "uint16": lambda: of_type(np.ones(3, np.uint16)),
    "uint64": lambda: of_type(np.ones(3, np.uint64)),
    "fp8": lambda: of_type(np.ones(3, ml_dtypes.float8_e4m3fn)),
    "complex64": lambda: Tensor(Storage("c", np.ones(2, np.complex64)), 0, (2,), (1,)),
    "an expanded tensor": lambda: Tensor(Storage("w", ONE), 0, (2**20, 2**19), (0, 0)),
    "a strided tensor": lambda: Tensor(Storage("s", np.ones(8, np.float32)), 1, (2, 2), (1, 3)),
    "a tensor beyond its storage": lambda: Tensor(Storage("b", ONE), 7, (2,), (1,)),
    "a tensor without numbers": lambda: Call(
        Global("torch._utils", "_rebuild_meta_tensor_no_storage"),
        (Global("torch", "float32"), (3,), (1,), False),
    ),
    "a subclass of tensor": lambda: Call(
        Global("torch._utils", "_rebuild_wrapper_subclass"),
        (Global("a", "Sub"), Global("torch", "float32"), (3,), (1,), 0, None, "cpu", False),
    ),
    "a module": lambda: Call(
        Global("torch._C", "_Module"), (), {"_parameters": {"weight": loose()}, "_modules": {}}
    ),
    "a function": lambda: Global("torch", "relu"),
    "a chain of calls": lambda: Call(
        Global("builtins", "getattr"), (Call(Global("a", "B"), ()), "c")
    ),
}


def old_tar(state: Mapping[str, np.ndarray]) -> bytes:
    """An archive of torch before 0.1.10."""
    storages, all_tensors = BytesIO(), BytesIO()
    storages.write(pickle.dumps(len(state), 2))
    all_tensors.write(pickle.dumps(len(state), 2))
    for i, array in enumerate(state.values()):
        storages.write(pickled((i, "cpu", Global("torch", "FloatStorage")))[0])
        storages.write(struct.pack("<q", array.size) + array.tobytes())
        all_tensors.write(pickled((100 + i, i, Global("torch", "FloatTensor")))[0])
        strides = [s // 4 for s in array.strides]
        all_tensors.write(struct.pack("<ii", array.ndim, 0))
        all_tensors.write(struct.pack(f"<{2 * array.ndim + 1}q", *array.shape, *strides, 0))
    storages.write(pickle.dumps([], 2))
    found = {name: Persistent(100 + i) for i, name in enumerate(state)}
    members = {
        "sys_info": b"",
        "pickle": pickled({"model": found})[0],
        "tensors": all_tensors.getvalue(),
        "storages": storages.getvalue(),
    }
    file = BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, BytesIO(data))
    return file.getvalue()
