"""A program of array operations as data, which may be hostile and is checked before it runs.

An instruction declares the shape of its result. The check computes that shape from the arguments
and compares, so the sizes and the number of operations are known before the program runs.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from glow_jax.io.budget import Budget
from glow_jax.io.errors import InputError
from glow_jax.io.messages import counted

# OpenAI's 256-pixel Glow of 192 steps has 5 300 instructions, 200 to 600 of them transcendental.
# XLA's compilation takes 16 s for 9 000 sums in a chain, 5 s for 700 exponentials (2 000: 47 s).
MAX_INSTRUCTIONS = 9_000
MAX_TRANSCENDENTAL = 700
MAX_CONVOLUTIONS = 1_000  # that Glow has 4 in each step and 5 in its priors: 773
# For one image. That Glow takes 6.8 million, in 13 CPU seconds.
MAX_RUN_STEPS = 9_000_000
TRANSCENDENTAL = ("Exp", "Log", "Pow", "Sigmoid", "Tanh", "Rsqrt", "Sqrt")
MAX_AXES = 8
MAX_ARGUMENTS = 64  # of one instruction
MAX_ELEMENTS = 2**26  # limit of one value
MAX_ALIVE_BYTES = 2**30  # limit of all values that are needed at the same time
# Operations that count as one step of the budget.
ELEMENTS_A_STEP = 2**11
PRODUCTS_A_STEP = 2**16
SLOW_ELEMENTS = 8  # elements that take as long as one of a transcendental function or a Gather
MIN_CHANNELS = 16  # a convolution of fewer channels takes as long

Shape = tuple[int, ...]


class Instruction(NamedTuple):
    """One operation of one image (leading axis 1).

    Attributes:
        op: a key of `OPERATIONS`, or "input".
        args: of each argument, ("value", number of an earlier instruction) or ("constant", number).
        shape: of the result.
        detail: further parameters of the operation: slices, axes, an order, a padding.
    """

    op: str
    args: tuple[tuple[str, int], ...]
    shape: Shape
    detail: Any = None


class Operation(NamedTuple):
    """A function that runs an operation, and one that computes its shape from its arguments'.

    `shape` raises ValueError, TypeError or IndexError where the operation would not run.
    """

    run: Callable[..., Any]
    shape: Callable[..., Shape]


@dataclasses.dataclass(frozen=True)
class Program:
    """Instructions in order, with the numbers of those that are inputs and outputs."""

    instructions: tuple[Instruction, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def check(self, constants: Sequence[np.ndarray]) -> None:
        """Raise InputError unless every instruction is valid, and their cost is within limits."""
        if len(self.instructions) > MAX_INSTRUCTIONS:
            raise InputError(f"a program of more than {MAX_INSTRUCTIONS} instructions")
        if sum(i.op in TRANSCENDENTAL for i in self.instructions) > MAX_TRANSCENDENTAL:
            raise InputError(f"a program of more than {MAX_TRANSCENDENTAL} {TRANSCENDENTAL}")
        budget = Budget(n_steps=MAX_RUN_STEPS)
        for i in range(len(self.instructions)):
            try:
                self._check(i, constants, budget)
            except InputError:
                raise
            except (ValueError, TypeError, IndexError, OverflowError) as error:
                op = str(self.instructions[i].op)[:40]
                raise InputError(f"instruction {i} ({op!r}): {str(error)[:200]}") from None
        if sum(i.op == "Conv2D" for i in self.instructions) > MAX_CONVOLUTIONS:
            raise InputError(f"a program of more than {MAX_CONVOLUTIONS} convolutions")
        numbers = (*self.inputs, *self.outputs)
        if not all(type(n) is int and 0 <= n < len(self.instructions) for n in numbers):
            raise InputError("an input or output that is no instruction")
        given = [i for i, instruction in enumerate(self.instructions) if instruction.op == "input"]
        if sorted(self.inputs) != given:
            raise InputError("its inputs are not its instructions of that kind")
        if self.alive_bytes() > MAX_ALIVE_BYTES:
            raise InputError(f"a program that needs more than {MAX_ALIVE_BYTES >> 20} MiB at once")

    def _check(self, i: int, constants: Sequence[np.ndarray], budget: Budget) -> None:
        op, args, shape, detail = self.instructions[i]
        if op not in OPERATIONS and op != "input":
            raise InputError(f"instruction {i}: unknown operation {str(op)[:40]!r}")
        if not isinstance(shape, tuple) or not 1 <= len(shape) <= MAX_AXES:
            raise ValueError("a shape of no or too many axes")
        whole = all(type(n) is int and n > 0 for n in shape)
        if not whole or shape[0] != 1 or math.prod(shape) > MAX_ELEMENTS:
            raise ValueError(f"a shape of {str(shape)[:80]}")
        if op == "input":
            return
        shapes = []
        for kind, number in args:
            limit = {"value": i, "constant": len(constants)}.get(kind, 0)
            if type(number) is not int or not 0 <= number < limit:
                raise ValueError(f"no {str(kind)[:40]!r} {str(number)[:40]}")
            of = constants[number].shape if kind == "constant" else self.instructions[number].shape
            shapes.append(tuple(of))
        if not 0 < len(shapes) <= MAX_ARGUMENTS:
            raise ValueError("no or too many arguments")
        if any(0 in of for of in shapes):
            raise ValueError("an argument without elements")
        if op in ("Conv2D", "Gather"):
            self._check_constant(args, constants, "iu" if op == "Gather" else "f")
        made = OPERATIONS[op].shape(detail, shape, *shapes)
        if tuple(made) != shape:
            raise ValueError(f"it makes a shape of {tuple(made)}, not {shape}")
        budget.step(_steps(op, shape, shapes))

    @staticmethod
    def _check_constant(args: Any, constants: Sequence[np.ndarray], kinds: str) -> None:
        """The second argument must be a constant of a kind of number."""
        kind, number = args[1]
        if kind != "constant" or constants[number].dtype.kind not in kinds:
            raise ValueError("a second argument that is no constant of the right type")

    def alive_bytes(self) -> int:
        """Largest number of bytes of float32 values that are needed at the same time."""
        last = {i: i for i in range(len(self.instructions))}
        for i, instruction in enumerate(self.instructions):
            last |= {number: i for kind, number in instruction.args if kind == "value"}
        last |= dict.fromkeys(self.outputs, len(self.instructions))
        ends: dict[int, int] = {}
        alive = most = 0
        for i, instruction in enumerate(self.instructions):
            size = 4 * math.prod(instruction.shape)
            alive += size
            ends[last[i]] = ends.get(last[i], 0) + size
            most = max(most, alive)
            alive -= ends.get(i, 0)
        return most

    def run(self, constants: Sequence[Any], inputs: Sequence[Any]) -> tuple[Any, ...]:
        """Outputs for one image; every array has a leading axis 1."""
        values: list[Any] = []
        given = dict(zip(self.inputs, inputs, strict=True))
        for i, instruction in enumerate(self.instructions):
            if instruction.op == "input":
                values.append(given[i])
                continue
            pools = {"value": values, "constant": constants}
            args = [pools[kind][number] for kind, number in instruction.args]
            values.append(OPERATIONS[instruction.op].run(instruction, *args))
        return tuple(values[i] for i in self.outputs)


# -- operations: a function that runs each, and one that computes its shape


def _steps(op: str, shape: Shape, args: Sequence[Shape]) -> int:
    """Steps of the budget that one instruction takes, by the shapes of its result and arguments."""
    elements = max(math.prod(shape), *map(math.prod, args))
    if op in TRANSCENDENTAL or op == "Gather":
        elements *= SLOW_ELEMENTS
    products = 0
    if op == "Conv2D":
        rows, columns, *channels = args[1]
        each = rows * columns * math.prod(max(n, MIN_CHANNELS) for n in channels)
        products = math.prod(shape[:3]) * each
    return 1 + elements // ELEMENTS_A_STEP + products // PRODUCTS_A_STEP


def _elementwise(run: Callable[..., Any], n_args: int) -> Operation:
    """An operation on float32 arguments whose shapes can be broadcast."""

    def broadcast(instruction: Instruction, *args: Any) -> Any:
        return run(*(jnp.broadcast_to(a, instruction.shape).astype(jnp.float32) for a in args))

    def shape(detail: Any, declared: Shape, *args: Shape) -> Shape:
        if len(args) != n_args:
            raise ValueError(f"{counted(len(args), 'argument')}, not {n_args}")
        return np.broadcast_shapes(*args)

    return Operation(broadcast, shape)


def _reduced(run: Callable[..., Any]) -> Operation:
    def shape(detail: Any, declared: Shape, x: Shape) -> Shape:
        axes = {_axis(a, len(x)) for a in detail}
        if len(axes) < len(detail):
            raise ValueError("an axis that occurs twice")
        kept = tuple(1 if i in axes else n for i, n in enumerate(x))
        dropped = tuple(n for i, n in enumerate(x) if i not in axes)
        return kept if len(declared) == len(x) else dropped

    return Operation(lambda i, x: run(x, axis=tuple(i.detail)).reshape(i.shape), shape)


def _axis(axis: Any, n_axes: int) -> int:
    if type(axis) is not int or not -n_axes <= axis < n_axes:
        raise ValueError(f"no axis {str(axis)[:40]}")
    return axis % n_axes


def _reshape_shape(detail: Any, declared: Shape, x: Shape) -> Shape:
    if math.prod(declared) != math.prod(x):
        raise ValueError("a reshape to another number of elements")
    return declared


def _transpose_shape(detail: Any, declared: Shape, x: Shape) -> Shape:
    if sorted(_axis(a, len(x)) for a in detail) != list(range(len(x))):
        raise ValueError("an order that is no permutation")
    return tuple(x[a] for a in detail)


def _concat_shape(detail: Any, declared: Shape, *parts: Shape) -> Shape:
    axis = _axis(detail, len(parts[0]))
    rest = {(*p[1:axis], *p[axis + 1 :]) for p in parts}
    if axis == 0 or len(rest) > 1 or {len(p) for p in parts} != {len(declared)}:
        raise ValueError("parts of different shapes")
    if any(p[0] != 1 for p in parts):
        raise ValueError("parts of more than one image")
    return (1, *parts[0][1:axis], sum(p[axis] for p in parts), *parts[0][axis + 1 :])


def _pad_shape(detail: Any, declared: Shape, x: Shape) -> Shape:
    if not all(type(n) is int and 0 <= n <= MAX_ELEMENTS for pair in detail for n in pair):
        raise ValueError("a padding that is no whole number")
    return tuple(n + before + after for n, (before, after) in zip(x, detail, strict=True))


def _gather_shape(detail: Any, declared: Shape, x: Shape, indices: Shape) -> Shape:
    axis = _axis(detail, len(x))
    return (*x[:axis], *indices, *x[axis + 1 :])


def _slices(detail: Any) -> list[slice]:
    if not all(type(n) is int for bounds in detail for n in bounds):
        raise ValueError("a slice of something else than whole numbers")
    return [slice(start, None if stop < 0 else stop, step) for start, stop, step in detail]


def _slice_shape(detail: Any, declared: Shape, x: Shape) -> Shape:
    return tuple(len(range(*s.indices(n))) for s, n in zip(_slices(detail), x, strict=True))


def _conv_shape(detail: Any, declared: Shape, x: Shape, kernel: Shape) -> Shape:
    (n, height, width, n_in), (rows, columns, taken, n_out) = x, kernel
    if detail not in ("SAME", "VALID") or taken != n_in:
        raise ValueError("a kernel of other channels, or an unknown padding")
    if detail == "VALID":
        height, width = height - rows + 1, width - columns + 1
    return n, height, width, n_out


def _conv(instruction: Instruction, x: Any, kernel: Any) -> Any:
    return jax.lax.conv_general_dilated(
        x.astype(kernel.dtype),
        kernel,
        (1, 1),
        instruction.detail,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=jax.lax.Precision.HIGHEST,
    )


OPERATIONS: dict[str, Operation] = {
    "Add": _elementwise(jnp.add, 2),
    "Sub": _elementwise(jnp.subtract, 2),
    "Mul": _elementwise(jnp.multiply, 2),
    "RealDiv": _elementwise(jnp.divide, 2),
    "Pow": _elementwise(jnp.power, 2),
    "Minimum": _elementwise(jnp.minimum, 2),
    "Maximum": _elementwise(jnp.maximum, 2),
    "Exp": _elementwise(jnp.exp, 1),
    "Log": _elementwise(jnp.log, 1),
    "Abs": _elementwise(jnp.abs, 1),
    "Neg": _elementwise(jnp.negative, 1),
    "Floor": _elementwise(jnp.floor, 1),
    "Square": _elementwise(jnp.square, 1),
    "Sqrt": _elementwise(jnp.sqrt, 1),
    "Rsqrt": _elementwise(jax.lax.rsqrt, 1),
    "Relu": _elementwise(jax.nn.relu, 1),
    "Sigmoid": _elementwise(jax.nn.sigmoid, 1),
    "Tanh": _elementwise(jnp.tanh, 1),
    "Sum": _reduced(jnp.sum),
    "Mean": _reduced(jnp.mean),
    "Max": _reduced(jnp.max),
    "Reshape": Operation(lambda i, x: x.reshape(i.shape), _reshape_shape),
    "Transpose": Operation(lambda i, x: x.transpose(tuple(i.detail)), _transpose_shape),
    "ConcatV2": Operation(
        lambda i, *parts: jnp.concatenate(parts, axis=i.detail),
        _concat_shape,
    ),
    "Pad": Operation(lambda i, x: jnp.pad(x, [tuple(pair) for pair in i.detail]), _pad_shape),
    "Gather": Operation(lambda i, x, indices: jnp.take(x, indices, axis=i.detail), _gather_shape),
    "StridedSlice": Operation(lambda i, x: x[tuple(_slices(i.detail))], _slice_shape),
    "Conv2D": Operation(_conv, _conv_shape),
}
