"""The operations of a frozen graph: computed if all inputs are constant, else an expression.

Operations that only carry the log-determinant along (flatten, append, slice off, reshape) cancel,
so that the expression of a latent consists of the operations that compute it.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from glow_jax.convert.graph import Expression, Node, afford, attribute, sized
from glow_jax.io.errors import InputError
from glow_jax.io.messages import counted, one_line, reason

# Largest number of elements of a computed constant; weights are only passed through.
MAX_ELEMENTS = 2**23
PRODUCTS_A_STEP = 2**16  # multiplications that count as one step of the budget
EXACT_BELOW = 100_000  # float constants with fewer elements are computed in float64


def apply(node: Node, args: list[Any]) -> Any:
    known = not any(isinstance(a, Expression) for a in args)
    try:
        if node.op in _SPECIAL:
            return sized(node, _SPECIAL[node.op](node, args, known))
        if node.op in _ELEMENTWISE:
            shape = np.broadcast_shapes(*(np.shape(a) for a in args))
            if known:
                _bounded(*shape)
                afford(node.budget, math.prod(shape))
                return _ELEMENTWISE[node.op](*args)
            return sized(node, Expression(node.op, args, shape, name=node.name))
    except InputError:
        raise
    except Exception as error:
        what = f"{one_line(node.name)[:200]} ({one_line(node.op)[:40]})"
        raise InputError(f"{what}: {reason(error)}") from None
    raise InputError(f"{one_line(node.name)}: operation {one_line(node.op)} is not supported")


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "AddV2": np.add,
    "BiasAdd": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "RealDiv": np.divide,
    "Div": np.divide,
    "Pow": np.power,
    "Minimum": np.minimum,
    "Maximum": np.maximum,
    "Exp": np.exp,
    "Log": np.log,
    "Abs": np.abs,
    "Neg": np.negative,
    "Floor": np.floor,
    "Square": np.square,
    "Sqrt": np.sqrt,
    "Rsqrt": lambda x: 1 / np.sqrt(x),
    "Relu": lambda x: np.maximum(x, 0),
    "Sigmoid": sigmoid,
    "Tanh": np.tanh,
}


def _bounded(*sizes: int) -> None:
    """Raise InputError for a constant that is larger than any Glow computes."""
    if math.prod(sizes) > MAX_ELEMENTS:
        raise InputError(f"a constant of shape {sizes}")


def _const(node: Node, args: list[Any], known: bool) -> Any:
    value = attribute(node, "value")
    small = value.size < EXACT_BELOW
    afford(node.budget, value.size if small else 0)
    return value.astype(np.float64) if small and value.dtype.kind == "f" else value


def _identity(node: Node, args: list[Any], known: bool) -> Any:
    return args[0]


def _cast(node: Node, args: list[Any], known: bool) -> Any:
    if not known:
        return args[0]
    afford(node.budget, np.size(args[0]))
    dtype = attribute(node, "DstT") or np.dtype(np.float32)
    if dtype.kind == "f":  # keep the precision
        return np.asarray(args[0], np.result_type(args[0], np.float32))
    return np.asarray(args[0]).astype(dtype)


def _shape(node: Node, args: list[Any], known: bool) -> Any:
    return np.asarray(np.shape(args[0]), np.int64)


def _one_hot(node: Node, args: list[Any], known: bool) -> Any:
    indices, depth, on, off = args
    _bounded(np.size(indices), int(depth))
    afford(node.budget, np.size(indices) * int(depth))
    hot = np.asarray(indices)[..., None] == np.arange(int(depth))
    return np.where(hot, on, off)


def _fill(node: Node, args: list[Any], known: bool) -> Any:
    _bounded(*_ints(args[0]))
    afford(node.budget, math.prod(_ints(args[0])))
    return np.full(_ints(args[0]), args[1])


def _random_uniform(node: Node, args: list[Any], known: bool) -> Any:
    _bounded(*_ints(args[0]))
    afford(node.budget, math.prod(_ints(args[0])))
    # Dequantisation noise of training, which is not part of an encode.
    return np.zeros(_ints(args[0]))


def _pack(node: Node, args: list[Any], known: bool) -> Any:
    if not known:
        raise InputError("only constants can be packed")
    size = sum(np.size(a) for a in args)
    _bounded(size)
    afford(node.budget, size)
    return np.stack(args, axis=attribute(node, "axis") or 0)


def _tile(node: Node, args: list[Any], known: bool) -> Any:
    if not known:
        raise InputError("only constants can be tiled")
    _bounded(np.size(args[0]), *_ints(args[1]))
    afford(node.budget, np.size(args[0]) * math.prod(_ints(args[1])))
    return np.tile(args[0], _ints(args[1]))


def _slice(node: Node, args: list[Any], known: bool) -> Any:
    """The index of a StridedSlice, as a tuple of slices and integers."""
    value, begin, end, stride = args[0], *map(_ints, args[1:4])
    masks = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    first, last, ellipsis, new, shrink = (attribute(node, name) or 0 for name in masks)
    if new:
        raise InputError("StridedSlice with new axes is not supported")
    rank = len(np.shape(value))
    index: list[Any] = []
    for i in range(len(begin)):
        if ellipsis >> i & 1:
            index += [slice(None)] * (rank - len(begin) + 1)
        elif shrink >> i & 1:
            index.append(begin[i])
        else:
            start = None if first >> i & 1 else begin[i]
            stop = None if last >> i & 1 else end[i]
            index.append(slice(start, stop, stride[i]))
    index += [slice(None)] * (rank - len(index))
    if known:
        return np.asarray(value)[tuple(index)]
    return _sliced(value, index, node)


def _sliced(value: Expression, index: list[Any], node: Node) -> Any:
    if not all(
        isinstance(i, slice) for i in index
    ):  # the log-determinant, sliced off the tensor that carries it
        kept = zip(index, value.shape, strict=True)
        shape = tuple(len(range(*i.indices(n))) for i, n in kept if isinstance(i, slice))
        return Expression("DroppedAxis", [value], shape, name=node.name)
    bounds = [i.indices(n) for i, n in zip(index, value.shape, strict=True)]
    shape = tuple(len(range(*b)) for b in bounds)
    if shape == value.shape and all(step == 1 for *_, step in bounds):
        return value
    if (
        value.op == "ConcatV2" and len(shape) == 2
    ):  # whether this slices the log-determinant off again
        axis = value.detail
        node.budget.step(len(value.args))
        others = all(
            s == n for i, (s, n) in enumerate(zip(shape, value.shape, strict=True)) if i != axis
        )
        start, stop, step = bounds[axis]
        offset = 0
        for part in value.args:
            size = np.shape(part)[axis]
            if others and step == 1 and (start, stop) == (offset, offset + size):
                return part
            offset += size
    return Expression("StridedSlice", [value], shape, tuple(bounds), node.name)


def _plain_slice(node: Node, args: list[Any], known: bool) -> Any:
    value, begin, size = args[0], *map(_ints, args[1:3])
    index = [
        slice(b, n if s == -1 else b + s)
        for b, s, n in zip(begin, size, np.shape(value), strict=True)
    ]
    if known:
        return np.asarray(value)[tuple(index)]
    return _sliced(value, list(index), node)


def _reshape(node: Node, args: list[Any], known: bool) -> Any:
    value, shape = args[0], list(_ints(args[1]))
    if known:
        afford(node.budget, 0 if np.asarray(value).flags.c_contiguous else np.size(value))
        return np.reshape(value, shape)
    if -1 in shape:
        rest = math.prod(n for n in shape if n != -1)
        shape[shape.index(-1)] = math.prod(value.shape) // max(rest, 1)
    while value.op == "Reshape":
        value = value.args[0]
        node.budget.step()
    if not isinstance(value, Expression) or value.shape == tuple(shape):
        return value
    return Expression("Reshape", [value], tuple(shape), name=node.name)


def _transpose(node: Node, args: list[Any], known: bool) -> Any:
    order = _ints(args[1])
    if known:
        return np.transpose(args[0], order)
    shape = tuple(args[0].shape[i] for i in order)
    return Expression("Transpose", [args[0]], shape, tuple(order), node.name)


def _concat(node: Node, args: list[Any], known: bool) -> Any:
    parts, axis = args[:-1], int(args[-1])
    if known:
        _bounded(sum(np.size(p) for p in parts))
        afford(node.budget, sum(np.size(p) for p in parts))
        return np.concatenate(parts, axis)
    shapes = [np.shape(p) for p in parts]
    axis %= len(shapes[0])
    total = sum(s[axis] for s in shapes)
    shape = tuple(total if i == axis else n for i, n in enumerate(shapes[0]))
    return Expression("ConcatV2", parts, shape, axis, node.name)


def _pad(node: Node, args: list[Any], known: bool) -> Any:
    widths = [tuple(map(int, pair)) for pair in np.asarray(args[1])]
    if known:
        sizes = [n + a + b for n, (a, b) in zip(np.shape(args[0]), widths, strict=True)]
        _bounded(*sizes)
        afford(node.budget, math.prod(sizes))
        return np.pad(args[0], widths)
    shape = tuple(n + a + b for n, (a, b) in zip(args[0].shape, widths, strict=True))
    return Expression("Pad", [args[0]], shape, tuple(widths), node.name)


def _reduced(node: Node, args: list[Any], known: bool) -> Any:
    run: Any = {"Sum": np.sum, "Mean": np.mean, "Max": np.max}[node.op]
    keep = bool(attribute(node, "keep_dims"))
    axes = tuple(np.asarray(args[1]).reshape(-1).tolist())
    if known:
        afford(node.budget, np.size(args[0]))
        return run(args[0], axis=axes, keepdims=keep)
    rank = len(args[0].shape)
    gone = {a % rank for a in axes}
    sizes = enumerate(args[0].shape)
    shape = tuple(1 if i in gone else n for i, n in sizes if keep or i not in gone)
    return Expression(node.op, [args[0]], shape, axes, node.name)


def _linear_algebra(node: Node, args: list[Any], known: bool) -> Any:
    if not known:
        raise InputError("a matrix that depends on the picture")
    afford(node.budget, 2 * np.size(args[0]))
    node.budget.step(np.size(args[0]) * np.shape(args[0])[-1] // PRODUCTS_A_STEP)
    matrix = np.asarray(args[0], np.float64)
    return np.linalg.det(matrix) if node.op == "MatrixDeterminant" else np.linalg.inv(matrix)


def _matmul(node: Node, args: list[Any], known: bool) -> Any:
    if not known or attribute(node, "transpose_a") or attribute(node, "transpose_b"):
        raise InputError("a matrix product of an unknown tensor is not supported")
    left, right = args
    if np.ndim(left) != 2 or np.ndim(right) != 2:
        raise InputError("a product of other than two matrices")
    _bounded(len(left), np.shape(right)[1])
    afford(node.budget, 2 * np.size(left) + 2 * np.size(right) + len(left) * np.shape(right)[1])
    node.budget.step(np.size(left) * np.shape(right)[1] // PRODUCTS_A_STEP)
    return np.matmul(left, right)


def _gather(node: Node, args: list[Any], known: bool) -> Any:
    """GatherV2 along the last axis: OpenAI's shuffle."""
    value, indices = args[0], np.asarray(args[1])
    axis = int(args[2]) if len(args) > 2 else 0
    if known:
        size = np.size(value) // max(np.shape(value)[axis], 1) * indices.size
        _bounded(size)
        afford(node.budget, size + indices.size)
        return np.take(value, indices, axis)
    shape = (*value.shape[:axis], *indices.shape, *value.shape[axis + 1 :])
    return Expression("Gather", [value, indices], shape, axis % len(value.shape), node.name)


def _conv(node: Node, args: list[Any], known: bool) -> Any:
    value, kernel = args
    if isinstance(kernel, Expression):
        raise InputError("a convolution whose kernel is not constant")
    padding = attribute(node, "padding")
    if (attribute(node, "data_format") or b"NHWC") != b"NHWC":
        raise InputError("a convolution that is not NHWC")
    if any(s != 1 for name in ("strides", "dilations") for s in attribute(node, name) or [1]):
        raise InputError("a convolution with strides or dilations")
    if np.ndim(kernel) != 4 or len(np.shape(value)) != 4:
        raise InputError("a convolution of other than four axes")
    n, height, width, n_in = np.shape(value)
    if n_in != kernel.shape[2]:
        raise InputError(
            f"a convolution of {counted(n_in, 'channel')} with a kernel for {kernel.shape[2]}"
        )
    if padding == b"VALID":
        height, width = height - kernel.shape[0] + 1, width - kernel.shape[1] + 1
    if min(height, width) < 1:
        raise InputError("a convolution of an input that is smaller than its kernel")
    node.budget.step(n * height * width * kernel.size // PRODUCTS_A_STEP)
    shape = (n, height, width, kernel.shape[3])
    if known:
        _bounded(*shape)
        afford(node.budget, 3 * math.prod(shape) + 2 * np.size(value))
        return _known_conv(np.asarray(value), np.asarray(kernel), padding == b"SAME")
    return Expression("Conv2D", [value, kernel], shape, padding, node.name)


def _known_conv(x: np.ndarray, kernel: np.ndarray, same: bool) -> np.ndarray:
    rows, columns = kernel.shape[:2]
    if same:
        above, left = (rows - 1) // 2, (columns - 1) // 2
        edges = ((0, 0), (above, rows - 1 - above), (left, columns - 1 - left), (0, 0))
        x = np.pad(x, edges)
    height, width = x.shape[1] - rows + 1, x.shape[2] - columns + 1
    total = 0.0
    for i in range(rows):
        for j in range(columns):
            total = total + x[:, i : i + height, j : j + width] @ kernel[i, j]
    return np.asarray(total)


def _ints(value: Any) -> tuple[int, ...]:
    if isinstance(value, Expression):
        raise InputError("a shape that depends on the picture")
    if np.size(value) > 64:
        raise InputError("a shape of too many axes")
    return tuple(int(i) for i in np.asarray(value).reshape(-1))


def _placeholder(node: Node, args: list[Any], known: bool) -> Any:
    raise InputError(f"the input {one_line(node.name)} is unknown")


_SPECIAL: dict[str, Callable[[Node, list[Any], bool], Any]] = {
    "Const": _const,
    "Identity": _identity,
    "CheckNumerics": _identity,
    "StopGradient": _identity,
    "Cast": _cast,
    "Shape": _shape,
    "OneHot": _one_hot,
    "Fill": _fill,
    "RandomUniform": _random_uniform,
    "Pack": _pack,
    "Tile": _tile,
    "StridedSlice": _slice,
    "Slice": _plain_slice,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "ConcatV2": _concat,
    "Pad": _pad,
    "Sum": _reduced,
    "Mean": _reduced,
    "Max": _reduced,
    "MatrixDeterminant": _linear_algebra,
    "MatrixInverse": _linear_algebra,
    "MatMul": _matmul,
    "Gather": _gather,
    "GatherV2": _gather,
    "Conv2D": _conv,
    "Placeholder": _placeholder,
}
