"""Compute our parameters from the arrays of other codes: functions that several sources share.

All functions are exact: transposes, sign flips, and float64 arithmetic, whose result stays float64
where float32 would round it. Kernels of the sources are OIHW (PyTorch) or HWIO (TensorFlow); ours
are HWIO with the edge indicator as the last input channel (coupling.py).
"""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from glow_jax.config import GlowConfig
from glow_jax.io.errors import InputError
from glow_jax.io.messages import counted, one_line
from glow_jax.layers import LOGSCALE_FACTOR

Tree = dict[str, Any]
MAX_LISTED = 12  # largest number of names in one error message
MAX_STAND_IN = 2**24  # total number of elements of arrays that replace missing ones
MAX_LOOKED_AT = 20_000_000  # total number of names that patterns are compared with
FLOAT32_MAX = float(np.finfo(np.float32).max)


class Source:
    """The named arrays of a checkpoint, each of which a converter takes once, with its shape.

    A missing or misshapen array is recorded and replaced by ones, so that `finish` can report all
    errors, and the arrays that nobody took, in one message.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        """Raises InputError if a layer number in a name has more than five digits."""
        for name in arrays:
            if re.search(r"\d{6}", name):
                raise InputError(f"{one_line(name)[:200]}: a number of more than five digits")
        self._left = dict(arrays)
        self._missing: list[str] = []
        self._wrong: list[str] = []
        self._stand_ins = self._looked_at = 0
        self.notes: list[str] = []

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def names(self, pattern: str) -> list[re.Match]:
        """Matches of a pattern with whole names, in the file's order.

        Raises:
            InputError: so many layers have been asked for that no network can have them.
        """
        self._looked_at += len(self._left)
        if self._looked_at > MAX_LOOKED_AT:
            raise InputError(f"{len(self._left)} arrays in more layers than a Glow has")
        return [m for name in self._left if (m := re.fullmatch(pattern, name))]

    def shape(self, name: str, ndim: int) -> tuple[int, ...]:
        """The shape of an array from which sizes of the model are inferred.

        Raises:
            InputError: it is missing or has another number of axes.
        """
        if name not in self._left:
            raise InputError(f"{one_line(name)} is missing")
        shape = self._left[name].shape
        if len(shape) != ndim or 0 in shape:
            raise InputError(
                f"{one_line(name)} has shape {shape}; expected {counted(ndim, 'axis', 'axes')}"
            )
        return shape

    def take(self, name: str, *shape: int) -> np.ndarray:
        """Take a floating-point array, which must have exactly this shape."""
        array = self._left.pop(name, None)
        if array is None:
            self._missing.append(name)
            return self._stand_in(shape)
        if array.shape != shape:
            self._wrong.append(f"{name} has shape {array.shape}, not {shape}")
            return self._stand_in(shape)
        if array.dtype.kind == "c":
            self._wrong.append(f"{name} has complex numbers")
            return self._stand_in(shape)
        if array.dtype.kind in "iu" and array.dtype.itemsize == 1:
            self._wrong.append(f"{name} is quantised ({array.dtype}), without its scale")
            return self._stand_in(shape)
        if array.dtype.kind in "iub":
            array = array.astype(np.float32 if array.dtype.itemsize < 4 else np.float64)
        elif array.dtype.itemsize < 4:  # float16, bfloat16: exact in float32
            array = array.astype(np.float32)
        if not np.isfinite(array).all() or np.abs(array).max(initial=0) > FLOAT32_MAX:
            self._wrong.append(f"{name} has values that are not finite in float32")
            return self._stand_in(shape)
        return array

    def _stand_in(self, shape: tuple[int, ...]) -> np.ndarray:
        """Ones in place of an array that cannot be used; if there are too many, raise the error."""
        self._stand_ins += math.prod(shape)
        if self._stand_ins > MAX_STAND_IN:
            self.finish()
        return np.ones(shape, np.float32)

    def vector(self, name: str, *shape: int) -> np.ndarray:
        """Take an array like `take`, flattened, in float64."""
        return self.take(name, *shape).reshape(-1).astype(np.float64)

    def indices(self, name: str, size: int) -> np.ndarray:
        """Take a permutation of 0 .. size - 1, int32."""
        array = self._left.pop(name, None)
        if array is None:
            self._missing.append(name)
        elif array.shape != (size,) or not np.array_equal(np.sort(array), np.arange(size)):
            self._wrong.append(f"{name} is not a permutation of {size} channels")
        else:
            return array.astype(np.int32)
        return np.arange(size, dtype=np.int32)

    def wrong(self, problem: str) -> None:
        """Record a problem of the file, for `finish`."""
        self._wrong.append(problem)

    def zero(self, name: str, why: str) -> None:
        """Take an array that must be all zeros."""
        array = self._left.pop(name)
        with np.errstate(invalid="ignore"):  # of NaN, which is not zero
            is_zero = not np.any(array)
        if not is_zero:
            self._wrong.append(f"{name} is not zero: not supported, because {why}")

    def drop(self, pattern: str, note: str = "") -> None:
        """Discard arrays that are not part of the flow; if there are any, add `note`."""
        found = self.names(pattern)
        for match in found:
            del self._left[match.group()]
        if found and note:
            self.notes.append(note)

    def finish(self) -> None:
        """Check that all arrays were taken.

        Raises:
            InputError: lists every missing, misshapen and unexpected array.
        """
        problems = [f"missing {name}" for name in self._missing] + self._wrong
        problems += [f"unexpected {name}" for name in self._left]
        if problems:
            more = len(problems) - MAX_LISTED
            listed = [one_line(p)[:200] for p in problems[:MAX_LISTED]]
            tail = f"; and {more} more" if more > 0 else ""
            raise InputError("; ".join(listed) + tail)


@dataclasses.dataclass
class Parts:
    """The parameters of a Glow in canonical form, before its steps are stacked.

    Attributes:
        fields: fields of `GlowConfig`, except n_levels and n_steps.
        levels: for each level, finest first, the trees of its steps; `mix` is a matrix for row
            vectors (C, C), or permutation indices (C,) int32.
        splits: trees of the split priors, finest first.
        top: tree of the top prior.
        lu: whether the source has LU factors for every 1x1 convolution, so that ours has them too.
        even: whether the source code gives every level the same number of steps.
    """

    fields: dict[str, Any]
    levels: list[list[Tree]]
    splits: list[Tree]
    top: Tree
    lu: bool = False
    even: bool = True

    def config(self) -> GlowConfig:
        """The config of the model.

        Raises:
            InputError: the parts are inconsistent, because something is missing in the file.
        """
        depths = [len(level) for level in self.levels]
        if self.even and len(set(depths)) > 1:
            raise InputError(
                f"its levels have {', '.join(map(str, depths))} steps, but that code gives all "
                "levels the same number: is the state_dict incomplete?"
            )
        mixes = [step["mix"] for level in self.levels for step in level]
        if len({m.ndim for m in mixes}) > 1:
            n = sum(m.ndim == 1 for m in mixes)
            raise InputError(
                f"{n} of {len(mixes)} steps have no 1x1 convolution: is the file incomplete?"
            )
        permutation = "lu" if self.lu else "dense"
        if mixes[0].ndim == 1:
            reverse = all(np.array_equal(m, np.arange(len(m))[::-1]) for m in mixes)
            permutation = "reverse" if reverse else "shuffle"
        return GlowConfig(
            n_levels=len(self.levels),
            n_steps=tuple(len(level) for level in self.levels),
            **({"permutation": permutation} | self.fields),
        )

    def weights(self) -> Tree:
        """The parameters of a `Glow` of that config, by name; steps stacked on axis 0."""
        config = self.config()
        levels = {}
        for i in range(len(self.levels)):
            steps = [{**s, "mix": _mix(s["mix"], config.permutation)} for s in self.levels[i]]
            self.levels[i] = []  # free memory: only the stacked copy is needed from here on
            levels[str(i)] = {"steps": _stacked(steps)}
        splits = {str(i): split for i, split in enumerate(self.splits)}
        tree = {"levels": levels, "top": self.top} | ({"splits": splits} if splits else {})
        return _without_rounding(tree)


def _mix(matrix: np.ndarray, permutation: str) -> Tree:
    if permutation in ("shuffle", "reverse"):
        return {"indices": matrix}
    if permutation == "dense":
        return {"kernel": matrix}
    # Factor M = P L U anew, because the source's factors are those of the transpose.
    import scipy.linalg

    p, lower, upper = scipy.linalg.lu(matrix.astype(np.float64))
    diagonal = np.diag(upper)
    if not diagonal.all():
        raise InputError("a 1x1 convolution is singular: the flow has no inverse")
    return {
        "indices": np.argmax(p, axis=1).astype(np.int32),
        "lower": np.tril(lower, -1),
        "upper": np.triu(upper, 1),
        "log_s": np.log(np.abs(diagonal)),
        "sign_s": np.sign(diagonal),
    }


def _stacked(trees: Sequence[Tree]) -> Tree:
    def at(key: str) -> Any:
        values = [tree.pop(key) for tree in trees]
        return _stacked(values) if isinstance(values[0], dict) else np.stack(values)

    return {key: at(key) for key in list(trees[0])}


def _without_rounding(tree: Any) -> Any:
    """Floats as float32 where that is exact, otherwise float64; integers unchanged."""
    if isinstance(tree, dict):
        return {key: _without_rounding(value) for key, value in tree.items()}
    if tree.dtype != np.float64:
        return tree
    single = tree.astype(np.float32)
    return single if np.array_equal(single.astype(np.float64), tree) else tree


# -- convolutions


def hwio(kernel: np.ndarray, edge: np.ndarray | None = None) -> np.ndarray:
    """(3, 3, C_in + 1, C_out) of an OIHW kernel that pads with zeros, or of an `edge` channel.

    `edge`, OHW, is the contribution of the padding ring: OpenAI's edge indicator.
    """
    out, n_in, height, width = kernel.shape
    dtype = kernel.dtype if edge is None else np.result_type(kernel, edge)
    full = np.zeros((height, width, n_in + 1, out), dtype)
    full[:, :, :n_in] = kernel.transpose(2, 3, 1, 0)
    if edge is not None:
        full[:, :, n_in] = edge.transpose(1, 2, 0)
    return full


def pointwise(kernel: np.ndarray) -> np.ndarray:
    """(C_in, C_out) of an OIHW 1x1 kernel."""
    return np.ascontiguousarray(kernel[:, :, 0, 0].T)


def zero_conv(kernel: np.ndarray, bias: np.ndarray, log_scale: np.ndarray) -> Tree:
    """A last convolution (HWIO with edge channel): (conv + bias) * exp(log_scale)."""
    return {"kernel": kernel, "bias": bias, "logs": log_scale / LOGSCALE_FACTOR}


def reordered(tree: Tree, order: np.ndarray) -> Tree:
    """A `zero_conv` whose output channel j is the given one's order[j]."""
    return {key: np.ascontiguousarray(array[..., order]) for key, array in tree.items()}


def interleaving(n: int, even: int, odd: int) -> np.ndarray:
    """Order that interleaves two halves: even channels from half `even`, odd from half `odd`."""
    half = n // 2
    order = np.empty(n, int)
    order[0::2] = np.arange(half) + half * even
    order[1::2] = np.arange(half) + half * odd
    return order


def halves(n: int) -> np.ndarray:
    """Order that separates interleaved channels into halves: even channels, then odd ones."""
    return np.concatenate([np.arange(0, n, 2), np.arange(1, n, 2)])


def swapped_pairs(n: int) -> np.ndarray:
    """Order that exchanges even and odd channels."""
    return np.arange(n) ^ 1


# -- normalisations


def actnorm(bias: np.ndarray, log_scale: np.ndarray) -> Tree:
    """(x + bias) * exp(log_scale)."""
    return {"bias": bias, "logs": log_scale / LOGSCALE_FACTOR}


def signed_actnorm(
    bias: np.ndarray, scale: np.ndarray, matrix: np.ndarray
) -> tuple[Tree, np.ndarray]:
    """(x + bias) * scale, then x @ matrix; the sign of the scale goes into the matrix's rows."""
    with np.errstate(divide="ignore"):
        log_scale = np.log(np.abs(scale))
    sign = np.where(scale < 0, -1, 1).astype(matrix.dtype)
    return actnorm(bias, log_scale), matrix * sign[:, None]


def after_conv(kernel: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, Tree]:
    """kernel's output * scale + shift, as a kernel and an actnorm; scale may be negative or 0.

    The sign is multiplied into the kernel, exactly; a scale of 0 makes the kernel's column 0.
    """
    size = np.where(scale == 0, 1.0, np.abs(scale))
    kernel = kernel * np.sign(scale).astype(kernel.dtype)
    return kernel, actnorm(shift / size, np.log(size))


def pixels_into(step: Tree, factor: float, offset: float) -> None:
    """Change a first step, in place, whose input was factor * x + offset, to input x."""
    norm = step["norm"]
    norm["bias"] = (norm["bias"] + offset) / factor
    norm["logs"] = norm["logs"] + np.log(factor) / LOGSCALE_FACTOR


# -- 1x1 convolutions


def lu_matrix(
    p: np.ndarray, lower: np.ndarray, upper: np.ndarray, sign: np.ndarray, log_s: np.ndarray
) -> np.ndarray:
    """W = P (strict_lower(L) + I) (strict_upper(U) + diag(sign exp(log_s))), float64.

    The masked triangles of L and U may have any values in the file.
    """
    lower = np.tril(lower.astype(np.float64), -1) + np.eye(len(lower))
    upper = np.triu(upper.astype(np.float64), 1) + np.diag(sign * np.exp(log_s))
    return p.astype(np.float64) @ lower @ upper


# -- priors


def standard_split(n_channels: int) -> Tree:
    """The prior of a split whose latent is standard normal."""
    kernel = np.zeros((3, 3, n_channels // 2 + 1, n_channels), np.float32)
    vector = np.zeros(n_channels, np.float32)
    return {"conv": zero_conv(kernel, vector, vector)}


def constant_top(bias: np.ndarray, log_scale: np.ndarray) -> Tree:
    """A top prior whose mean and logs, in halves, are bias * exp(log_scale) at every position."""
    return {"conv": zero_conv(np.zeros((3, 3, 1, len(bias)), np.float32), bias, log_scale)}


def class_top(kernel: np.ndarray, bias: np.ndarray, log_scale: np.ndarray) -> Tree:
    """The class term of the top prior: (one_hot @ kernel + bias) * exp(log_scale)."""
    return {
        "class_kernel": kernel,
        "class_bias": bias,
        "class_logs": log_scale / LOGSCALE_FACTOR,
    }
