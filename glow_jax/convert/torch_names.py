"""Replacements for the names of PyTorch and NumPy in a pickle.

Format: pytorch/pytorch `torch/_utils.py: _rebuild_*`, `torch/_weights_only_unpickler.py`.
"""

import re
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from glow_jax.convert.pickle_machine import Dict, Function, Opaque
from glow_jax.convert.torch_tensors import DType, Encoded, NumpyDType, PickledArray, Tensor
from glow_jax.io.budget import Budget

DTYPES: dict[str, Any] = {
    "float32": np.float32,
    "float64": np.float64,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "float8_e5m2": ml_dtypes.float8_e5m2,
    "float8_e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "float8_e8m0fnu": ml_dtypes.float8_e8m0fnu,
    "complex64": np.complex64,
    "complex128": np.complex128,
    "int64": np.int64,
    "int32": np.int32,
    "int16": np.int16,
    "int8": np.int8,
    "uint64": np.uint64,
    "uint32": np.uint32,
    "uint16": np.uint16,
    "uint8": np.uint8,
    "bool": np.bool_,
    "float": np.float32,  # dtypes that have two names in torch
    "double": np.float64,
    "half": np.float16,
    "long": np.int64,
    "int": np.int32,
    "short": np.int16,
}
# By name of their storage, also in torch.cuda; those of quantised tensors as they lie there.
STORAGES: dict[str, Any] = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "ComplexFloatStorage": np.complex64,
    "ComplexDoubleStorage": np.complex128,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
    "UntypedStorage": np.uint8,
    "QInt8Storage": np.int8,
    "QUInt8Storage": np.uint8,
    "QInt32Storage": np.int32,
    "QUInt4x2Storage": np.uint8,
    "QUInt2x4Storage": np.uint8,
}


def known_names(budget: Budget, from_bytes: Callable[[Any], Any]) -> Callable[[str, str], Any]:
    """A function from a module and a name to its replacement; None for names that are unknown.

    Args:
        budget: limit for the results of calls.
        from_bytes: function from the bytes of a file in the pickle to its storage.
    """

    def ordered_dict(*args: Any) -> Dict:
        """OrderedDict() or, from Python 2, OrderedDict([[key, value], ...])."""
        made = Dict()
        for pairs in args:
            items = pairs.pairs if isinstance(pairs, Dict) else pairs
            if not isinstance(items, list | tuple):
                continue  # a defaultdict's factory
            budget.step(len(items))
            made.pairs.extend(p for p in map(_pair, items) if p is not None)
        return made

    table = {name: Function(run) for name, run in FUNCTIONS.items()}
    table |= dict.fromkeys(
        ("collections.OrderedDict", "collections.defaultdict", "builtins.dict", "__builtin__.dict"),
        Function(ordered_dict),
    )
    table["torch.storage._load_from_bytes"] = Function(from_bytes)

    def known(module: str, name: str) -> Any:
        if module in ("torch", "torch.cuda", "torch.storage") and name in STORAGES:
            return DType(STORAGES[name])
        if module == "torch" and name in DTYPES:
            return DType(DTYPES[name])
        return table.get(f"{module}.{name}")

    return known


def _pair(item: Any) -> tuple[Any, Any] | None:
    return tuple(item) if isinstance(item, list | tuple) and len(item) == 2 else None


def _is_negative(metadata: tuple[Any, ...]) -> bool:
    """Whether a tensor's metadata, after requires_grad and hooks, say that its sign is changed."""
    found = metadata[0] if metadata else None
    return isinstance(found, Dict) and ("neg", True) in found.pairs[:8]


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> Tensor:
    return Tensor(storage, offset, shape, stride, negative=_is_negative(rest[2:]))


def _tensor_v3(
    storage: Any,
    offset: Any,
    shape: Any,
    stride: Any,
    grad: Any,
    hooks: Any,
    dtype: Any,
    *rest: Any,
) -> Tensor:
    return Tensor(storage, offset, shape, stride, dtype, negative=_is_negative(rest))


def _from_type(function: Any, kind: Any, args: Any, *state: Any) -> Any:
    """A tensor with attributes of its own, or of a subclass."""
    if not isinstance(function, Function) or not isinstance(args, tuple):
        return Opaque("a tensor's subclass", args)
    return function.run(*args)


def _parameter(data: Any = None, *rest: Any) -> Any:
    return data


def _numpy_dtype(name: Any = None, *rest: Any) -> Any:
    """Of plain numbers only."""
    known = isinstance(name, str) and re.fullmatch(r"b1|[iu][1248]|f[248]|c8|c16", name)
    return NumpyDType(name) if known else Opaque("numpy.dtype")


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any = "C", *rest: Any) -> PickledArray:
    return PickledArray(raw, dtype, shape, order == "F")


def _size(numbers: Any = (), *rest: Any) -> Any:
    return numbers if isinstance(numbers, tuple) else Opaque("torch.Size", numbers)


_LEGACY_TENSORS = (
    "Tensor",
    *(
        f"{kind}Tensor"
        for kind in (*("Float", "Double", "Half", "Long", "Int", "Short", "Char", "Byte"),)
    ),
)
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "torch.Size": _size,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _parameter,
    "torch._utils._rebuild_device_tensor_from_numpy": _parameter,
    "torch._utils._rebuild_xla_tensor": _parameter,
    "torch._tensor._rebuild_from_type": _from_type,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.tensor._rebuild_from_type": _from_type,
    "torch.nn.parameter.Parameter": _parameter,
    "torch.nn.parameter.Buffer": _parameter,
    "torch.autograd.variable.Variable": _parameter,
    "numpy.dtype": _numpy_dtype,
    "numpy.core.multiarray._reconstruct": lambda *args: PickledArray(),
    "numpy._core.multiarray._reconstruct": lambda *args: PickledArray(),
    "numpy.core.numeric._frombuffer": _from_buffer,
    "numpy._core.numeric._frombuffer": _from_buffer,
    "_codecs.encode": Encoded,
    **{
        f"{module}.{name}": lambda *args: Tensor(None, 0, (), ())
        for module in ("torch", "torch.cuda")
        for name in _LEGACY_TENSORS
    },
}
