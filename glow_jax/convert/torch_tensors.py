"""Storages, tensors and NumPy arrays of a pickle.

They are checked and read only when an array is requested, so that malformed objects that are not
weights cause no error.

Format: pytorch/pytorch `torch/_utils.py: _rebuild_*`, `torch/_weights_only_unpickler.py`;
numpy/numpy `numpy/_core/src/multiarray/methods.c: array_setstate`.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from glow_jax.convert.pickle_machine import Buildable, Dict
from glow_jax.io.budget import Budget
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line

MAX_AXES = 8


class DType(Buildable):
    """The dtype of a torch.dtype or of a storage's class."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: Any):
        self.dtype = np.dtype(dtype)


class NumpyDType(DType):
    """A numpy.dtype."""

    __slots__ = ()

    def build(self, state: Any) -> None:
        """Set the state of a numpy.dtype, of which only the byte order is used."""
        if isinstance(state, tuple) and len(state) > 1 and state[1] == ">":
            self.dtype = self.dtype.newbyteorder(">")


class Storage(Buildable):
    """Numbers of one type; `find` returns their bytes, uint8, when they are needed.

    Attributes:
        swapped: whether the numbers are big-endian.
    """

    __slots__ = ("_raw", "dtype", "find", "key", "numel", "swapped")

    def __init__(self, dtype: Any, key: str, numel: int):
        self.dtype, self.key, self.numel = np.dtype(dtype), key, numel
        self.find: Callable[[], np.ndarray] | None = None
        self.swapped = False
        self._raw: np.ndarray | None = None

    @property
    def n_bytes(self) -> int:
        return self.numel * self.dtype.itemsize

    def raw(self) -> np.ndarray:
        """The bytes.

        Raises:
            InputError: some of the bytes, or all, are not in the file.
        """
        if self._raw is None:
            if self.find is None:
                raise InputError(f"truncated or damaged (storage {one_line(self.key)} is missing)")
            self._raw = self.find()
            if len(self._raw) != self.n_bytes:
                raise InputError(f"storage {one_line(self.key)[:80]} has the wrong size")
        return self._raw


class StorageView(Buildable):
    """A part of a storage, as torch before 0.4 had them."""

    __slots__ = ("base", "numel", "offset")

    def __init__(self, base: Storage, offset: Any, numel: Any):
        self.base, self.offset, self.numel = base, offset, numel

    dtype = property(lambda self: self.base.dtype)
    key = property(lambda self: self.base.key)
    swapped = property(lambda self: self.base.swapped)

    def raw(self) -> np.ndarray:
        """The bytes of the part."""
        start, n_bytes = (n * self.dtype.itemsize for n in _sizes((self.offset, self.numel)))
        return self.base.raw()[start : start + n_bytes]


class Tensor(Buildable):
    """A strided view of a storage, with values from the file that `array` checks."""

    __slots__ = ("dtype", "negative", "offset", "shape", "storage", "stride")

    def __init__(
        self,
        storage: Any,
        offset: Any,
        shape: Any,
        stride: Any,
        dtype: Any = None,
        negative: bool = False,  # whether the numbers are those of the storage with another sign
    ):
        self.storage, self.offset, self.shape, self.stride = storage, offset, shape, stride
        self.dtype, self.negative = dtype, negative

    def build(self, state: Any) -> None:
        """Set the state of a tensor before torch 0.4; the state of a Parameter is ignored."""
        if self.storage is None and isinstance(state, tuple) and len(state) == 4:
            self.storage, self.offset, self.shape, self.stride = state
        elif not isinstance(state, tuple) or not all(map(_is_flag, state)):
            super().build(state)

    def array(self, budget: Budget) -> np.ndarray:
        """The numbers, if possible as a read-only view of the storage.

        Raises:
            InputError: the values are those of no tensor, or reach beyond the storage.
        """
        if not isinstance(self.storage, Storage | StorageView):
            raise InputError("a tensor without a storage")
        shape, stride = _sizes(self.shape), _sizes(self.stride)
        (offset,) = _sizes((self.offset,))
        if len(shape) != len(stride):
            raise InputError("a tensor of impossible shape")
        dtype = self.storage.dtype
        if self.dtype is not None:
            if not isinstance(self.dtype, DType):
                raise InputError("a tensor of an unknown type")
            dtype = self.dtype.dtype
        if 0 in shape:
            return np.zeros(shape, dtype)
        data = _typed(self.storage.raw(), dtype, self.storage.swapped, budget)
        reach = sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
        if offset + reach >= len(data):
            key = one_line(self.storage.key)[:80]
            raise InputError(f"a tensor reaches beyond its storage {key}")
        _afford(shape, dtype, budget, len(data))
        steps = [s * dtype.itemsize for s in stride]
        view = np.lib.stride_tricks.as_strided(data[offset:], shape, steps, writeable=False)
        if not self.negative:
            return view
        budget.allocate(view.nbytes)
        try:
            return np.negative(view)
        except TypeError:
            raise InputError("a tensor with another sign, of a type without one") from None


def _is_flag(item: Any) -> bool:
    """Whether an item can be a flag in the state of an old Parameter: a bool, or no hooks."""
    return item is None or isinstance(item, bool) or (isinstance(item, Dict) and not item.pairs)


class PickledArray(Buildable):
    """A NumPy array in the pickle: raw bytes, or text that encodes bytes."""

    __slots__ = ("dtype", "fortran", "raw", "shape")

    def __init__(self, raw: Any = None, dtype: Any = None, shape: Any = None, fortran: Any = None):
        self.raw, self.dtype, self.shape, self.fortran = raw, dtype, shape, fortran

    def build(self, state: Any) -> None:
        """Set the state of an array: version, shape, dtype, whether column-major, bytes."""
        if isinstance(state, tuple) and len(state) == 5:
            _, self.shape, self.dtype, self.fortran, self.raw = state

    def array(self, budget: Budget) -> np.ndarray:
        """The numbers.

        Raises:
            InputError: the elements are objects, or there are fewer bytes than the shape needs.
        """
        shape, raw = _sizes(self.shape), self.raw
        if isinstance(raw, str | Encoded):  # bytes of a pickle of protocol 2
            text = raw if isinstance(raw, str) else raw.text
            budget.allocate(len(text))
            raw = text.encode("latin-1")
        if not isinstance(self.dtype, DType) or not isinstance(raw, bytes | bytearray):
            raise InputError("a NumPy array of something else than numbers")
        dtype = self.dtype.dtype
        if len(raw) != math.prod(shape) * dtype.itemsize:
            raise InputError("truncated or damaged (a NumPy array has the wrong size)")
        array = np.frombuffer(raw, dtype).reshape(shape, order="F" if self.fortran else "C")
        budget.allocate(array.nbytes)
        array = array.astype(dtype.newbyteorder("="))
        array.flags.writeable = False
        return array


class Encoded:
    """Text that encodes bytes, one per character; it is decoded only when it is needed."""

    __slots__ = ("text",)

    def __init__(self, text: Any, encoding: Any = "latin1"):
        self.text = text if isinstance(text, str) and encoding in ("latin1", "latin-1") else ""


def _sizes(numbers: Any) -> tuple[int, ...]:
    """Check a shape, strides or offsets: a few whole numbers within limits."""
    if not isinstance(numbers, tuple | list) or len(numbers) > MAX_AXES:
        raise InputError("a tensor of impossible shape")
    if not all(type(n) is int and 0 <= n < 2**40 for n in numbers):
        raise InputError("a tensor of impossible shape")
    return tuple(numbers)


def _typed(raw: np.ndarray, dtype: np.dtype, swapped: bool, budget: Budget) -> np.ndarray:
    """Numbers from bytes."""
    if len(raw) % dtype.itemsize:
        raise InputError("truncated or damaged (a storage has the wrong size)")
    if swapped and dtype.itemsize > 1:
        budget.allocate(len(raw))
        part = dtype.itemsize // (2 if dtype.kind == "c" else 1)
        raw = raw.reshape(-1, part)[:, ::-1].copy().reshape(-1)
    return raw.view(dtype)


def _afford(shape: tuple[int, ...], dtype: np.dtype, budget: Budget, stored: int) -> None:
    """Charge the budget for an expanded tensor, which is larger than its storage."""
    expanded = math.prod(shape) - stored
    if expanded > 0:
        budget.allocate(expanded * dtype.itemsize)
