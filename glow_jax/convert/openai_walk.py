"""Read the coefficients of a canonical Glow from the expressions of a frozen graph."""

import math
from typing import Any

import numpy as np

from glow_jax.convert.build import Parts, Tree, actnorm, zero_conv
from glow_jax.convert.graph import ELEMENTS_A_STEP, Expression, afford
from glow_jax.io.budget import Budget
from glow_jax.io.errors import InputError

TOLERANCE = 1e-6  # relative tolerance of float32 constants that must agree


class NotCanonical(InputError):
    """The graph computes a function that our parameters cannot express."""


class Walk:
    """Reads coefficients from expressions, from the latents back to the image."""

    def __init__(self, image: Expression, budget: Budget):
        self.image, self.budget = image, budget

    def affine(self, h: Any) -> tuple[Any, Any, Any]:
        return affine_map(h, self.budget)

    def channels(self, values: Any, n: int) -> np.ndarray:
        """A coefficient a channel, (C,), which must be the same at every position."""
        values = np.asarray(values)
        afford(self.budget, 4 * max(values.size, values.size // max(values.shape[-1:] or (1,)) * n))
        return _channels(values, n)

    def kernel(self, kernel: np.ndarray) -> np.ndarray:
        """A kernel, copied into the weights."""
        self.budget.allocate(2 * kernel.nbytes)
        self.budget.step(kernel.size // ELEMENTS_A_STEP)
        return np.asarray(kernel)

    def parts(self, latents: list[Any]) -> Parts:
        levels: list[list[Tree]] = []
        splits: list[Tree] = []
        top, mean, log_scale = self._standardised(latents[-1])
        if not all(isinstance(m, np.ndarray) for m in (mean, log_scale)):
            raise NotCanonical("the top latent's prior depends on the picture")
        channels = top.shape[3]
        h = top
        for eps in reversed(latents[:-1]):
            steps, before = self._level(h)
            levels.insert(0, steps)
            z, index = self._taken(before)
            channels_below = z.shape[3]
            expect(index == (0, channels_below // 2), "a split that does not keep the first half")
            z2, split = self._split(eps, before)
            _, second = self._taken(z2)
            expect(second == (channels_below // 2, channels_below), "a split of another half")
            expect(z2.args[0] is z, "a split of two different tensors")
            splits.insert(0, {"conv": split})
            h = z
        steps, pixels = self._level(h)
        levels.insert(0, steps)
        n_bits = self.pixels(pixels)
        learned = bool(np.any(mean) or np.any(log_scale))
        width = levels[0][0]["coupling"]["network"]["hidden_kernel"].shape[0]
        n_out = levels[0][0]["coupling"]["network"]["out"]["bias"].shape[0]
        _, height, columns, n_channels = self.image.shape
        fields = {
            "image_height": height,
            "image_width": columns,
            "n_channels": n_channels,
            "hidden_width": width,
            "coupling": "affine" if n_out == 4 * n_channels else "additive",
            "n_bits": n_bits,
            "learned_top_prior": learned,
        }
        afford(self.budget, 6 * np.size(mean) + 20 * math.prod(top.shape))
        top_tree = {"conv": _top(mean, log_scale, channels)} if learned else {}
        return Parts(fields, levels, splits, top_tree)

    def pixels(self, x: Any) -> int:
        """Bits, from x = floor(image / 2^(8 - b)) / 2^b - 0.5."""
        base, scale, shift = self.affine(x)
        divisor = 1.0
        if base.op == "Floor":
            base, divisor, zero = self.affine(base.args[0])
            expect(not np.any(zero), "pixels that are shifted before they are quantised")
        expect(base is self.image, "something else than input/image where the pixels enter")
        scale, shift, divisor = (float(_uniform(np.asarray(a))) for a in (scale, shift, divisor))
        bits = round(-np.log2(scale))
        fits = 1 <= bits <= 8 and np.isclose(scale * 2.0**bits, 1) and np.isclose(shift, -0.5)
        expect(bool(fits), f"pixels times {scale:g} plus {shift:g}")
        expect(bool(np.isclose(divisor, 2.0 ** (bits - 8))), "pixels quantised another way")
        return bits

    def _level(self, z: Any) -> tuple[list[Tree], Any]:
        """The steps that end in z, in order, and the input of the level's squeeze."""
        steps: list[Tree] = []
        h = z
        while not (squeezed := _squeezed(h)):
            step, h = self._step(h)
            steps.insert(0, step)
            self.budget.step(len(steps))
        expect(bool(steps), "a level without steps")
        return steps, squeezed[0]

    def _step(self, z: Any) -> tuple[Tree, Any]:
        expect(z.op == "ConcatV2" and len(z.args) == 2 and z.detail == 3, f"{z.op} after a step")
        x1, y2 = z.args
        mixed, first = self._taken(x1)
        n = mixed.shape[3]
        expect(first == (0, n // 2), "a coupling whose first half does not pass through")
        network, x2 = self._coupling(y2, x1, n)
        also, second = self._taken(x2)
        expect(also is mixed and second == (n // 2, n), "a coupling of another half")
        normed, mix = self._mix(mixed)
        h, scale, shift = self.affine(normed)
        scale, shift = (self.channels(a, n) for a in (scale, shift))
        norm = actnorm(shift / scale, _log(scale))
        return {"norm": norm, "mix": mix, "coupling": {"network": network}}, h

    def _mix(self, mixed: Any) -> tuple[Any, np.ndarray]:
        n = mixed.shape[3]
        if mixed.op == "Conv2D" and mixed.args[1].shape == (1, 1, n, n):
            return mixed.args[0], self.kernel(mixed.args[1])[0, 0]
        if mixed.op == "Gather" and mixed.detail == 3:
            return mixed.args[0], np.asarray(mixed.args[1], np.int32)
        if mixed.op == "StridedSlice" and mixed.detail[3][2] == -1 and mixed.shape[3] == n:
            return mixed.args[0], np.arange(n - 1, -1, -1, dtype=np.int32)
        raise NotCanonical(f"not supported: {mixed.op} where channels are mixed")

    def _coupling(self, y2: Any, x1: Any, n: int) -> tuple[Tree, Any]:
        """The network of a coupling, and the half that it changes."""
        if y2.op == "Mul":  # (x2 + shift) * sigmoid(raw + 2)
            added, scale = y2.args if y2.args[1].op == "Sigmoid" else y2.args[::-1]
            expect(scale.op == "Sigmoid", f"a scale that is {scale.op}")
            raw, factor, two = self.affine(scale.args[0])
            expect(bool(np.allclose(factor, 1) and np.allclose(two, 2)), "another sigmoid")
            x2, shift = _in_order(added, lambda a: _strided(a) is not None)
            expect(_strided(shift) == (0, 2) and _strided(raw) == (1, 2), "raw outputs' order")
            expect(shift.args[0] is raw.args[0], "shift and scale of two networks")
            return self._network(shift.args[0], x1, n), x2
        expect(y2.op in ("Add", "AddV2"), f"{y2.op} in a coupling")
        x2, out = _in_order(y2, lambda a: _strided(a) is None and a.op != "StridedSlice")
        return self._network(out, x1, n), x2

    def _network(self, out: Any, x1: Any, n: int) -> Tree:
        hidden, last = self._conv3x3(out)
        before, hidden_kernel, hidden_norm = self._hidden(hidden)
        expect(hidden_kernel.shape[:2] == (1, 1), "the middle convolution is not 1x1")
        inner, in_conv = self._conv3x3(_relu(before))
        expect(inner is x1, "a network of another half")
        return {
            "in_kernel": in_conv["kernel"],
            "in_norm": actnorm(in_conv["bias"], _log(in_conv["scale"])),
            "hidden_kernel": np.asarray(hidden_kernel[0, 0]),
            "hidden_norm": hidden_norm,
            "out": zero_conv(last["kernel"], last["bias"], _log(last["scale"])),
        }

    def _hidden(self, h: Any) -> tuple[Any, np.ndarray, Tree]:
        """relu((conv(h) + bias) * scale)."""
        conv, scale, shift = self.affine(_relu(h))
        expect(conv.op == "Conv2D", f"{conv.op} where the middle convolution is")
        width = conv.shape[3]
        scale, shift = (self.channels(a, width) for a in (scale, shift))
        return conv.args[0], self.kernel(conv.args[1]), actnorm(shift / scale, _log(scale))

    def _conv3x3(self, h: Any) -> tuple[Any, Tree]:
        """(conv(padded x with constant channels) + bias) * scale: x, and kernel, bias, scale.

        A constant channel that has one value inside and another on the padding ring is the edge
        indicator times the difference of the two, plus a bias. A condition (label or downsampled
        image) with constant input has this form too.
        """
        conv, scale, shift = self.affine(h)
        expect(conv.op == "Conv2D", f"{conv.op} where a convolution is")
        n_out = conv.shape[3]
        scale, shift = (self.channels(a, n_out) for a in (scale, shift))
        kernel = self.kernel(conv.args[1])
        expect(kernel.shape[:2] == (3, 3) and conv.detail == b"VALID", "not a padded 3x3")
        padded = conv.args[0]
        if padded.op != "ConcatV2":
            padded = Expression("ConcatV2", [padded], padded.shape, 3)
        expect(padded.detail == 3, "padding on another axis")
        x, own = None, np.zeros((3, 3, 0, n_out), kernel.dtype)
        edge, bias, start = np.zeros((3, 3, n_out)), np.zeros(n_out), 0
        for part in padded.args:
            size = np.shape(part)[3]
            taps = kernel[:, :, start : start + size]
            start += size
            if isinstance(part, Expression):
                expect(x is None and part.op == "Pad", "two padded inputs")
                expect(part.detail == ((0, 0), (1, 1), (1, 1), (0, 0)), "another padding")
                x, own = part.args[0], taps
                continue
            afford(self.budget, 6 * np.size(part) + 2 * taps.size)
            inside, ring = _inside_and_ring(np.asarray(part, np.float64))
            edge = edge + np.einsum("ijco,c->ijo", taps.astype(np.float64), ring - inside)
            bias = bias + np.einsum("ijco,c->o", taps.astype(np.float64), inside)
        expect(x is not None, "a convolution of constants")
        exact = edge.astype(np.float32) if np.array_equal(edge.astype(np.float32), edge) else edge
        full = np.concatenate([own, exact[:, :, None]], axis=2)
        return x, {"kernel": full, "bias": shift / scale + bias, "scale": scale}

    def _taken(self, h: Any) -> tuple[Any, tuple[int, int]]:
        """A slice of channels: the expression, and the first and last channel."""
        expect(h.op == "StridedSlice" and h.detail[3][2] == 1, f"{h.op} where channels are taken")
        whole = h.args[0]
        expect(h.shape[:3] == whole.shape[:3], "a slice of positions")
        return whole, h.detail[3][:2]

    def _standardised(self, eps: Any) -> tuple[Any, Any, Any]:
        """z, mean and logs of (z - mean) / exp(logs), each known or an expression."""
        if eps.op in ("RealDiv", "Div") and isinstance(eps.args[1], Expression):
            expect(eps.args[1].op == "Exp", f"division by {eps.args[1].op}")
            logs = eps.args[1].args[0]
            expect(eps.args[0].op == "Sub", f"{eps.args[0].op} before a division")
            return eps.args[0].args[0], eps.args[0].args[1], logs
        z, scale, shift = self.affine(eps)
        shape = (1, *z.shape[1:])
        afford(self.budget, 6 * math.prod(shape))
        scale, shift = (np.broadcast_to(a, shape) for a in (scale, shift))
        return z, -shift / scale, -_log(scale)

    def _split(self, eps: Any, going_on: Any) -> tuple[Any, Tree]:
        z2, mean, logs = self._standardised(eps)
        both = all(isinstance(a, Expression) for a in (mean, logs))
        expect(both, "a split prior that does not depend on the picture")
        expect(_strided(mean) == (0, 2) and _strided(logs) == (1, 2), "a prior's order")
        expect(mean.args[0] is logs.args[0], "mean and deviation of two convolutions")
        x, conv = self._conv3x3(mean.args[0])
        expect(x is going_on, "a prior of another half")
        return z2, zero_conv(conv["kernel"], conv["bias"], _log(conv["scale"]))


def _log(scale: np.ndarray) -> np.ndarray:
    """The log of a scale, which must be positive because it is an exponential."""
    expect((scale > 0).all(), "a scale that is not positive")
    return np.log(scale)


def expect(condition: bool | np.bool, otherwise: str) -> None:
    """Raise NotCanonical unless a condition of the canonical form holds."""
    if not condition:
        raise NotCanonical(f"not supported: {otherwise}")


def affine_map(h: Any, budget: Budget) -> tuple[Any, Any, Any]:
    """h as scale * base + shift, where base is no sum or product with a constant."""
    scale: Any = np.ones(())
    shift: Any = np.zeros(())
    while isinstance(h, Expression):
        if h.op == "Neg":
            scale, h = -scale, h.args[0]
            continue
        if h.op not in ("Add", "AddV2", "BiasAdd", "Sub", "Mul", "RealDiv", "Div"):
            break
        left, right = h.args
        if isinstance(left, Expression) and isinstance(right, Expression):
            break
        constant, other = (left, right) if isinstance(right, Expression) else (right, left)
        shapes = np.broadcast_shapes(*(np.shape(a) for a in (constant, scale, shift)))
        afford(budget, 3 * math.prod(shapes))
        if h.op in ("Add", "AddV2", "BiasAdd"):
            shift = shift + scale * constant
        elif h.op == "Sub" and other is left:
            shift = shift - scale * constant
        elif h.op == "Sub":
            shift, scale = shift + scale * constant, -scale
        elif h.op == "Mul":
            scale = scale * constant
        elif other is left:
            scale = scale / constant
        else:
            break  # a constant divided by an unknown
        h = other
    expect(isinstance(h, Expression), "a constant where the picture was expected")
    return h, scale, shift


def _in_order(added: Any, second: Any) -> tuple[Any, Any]:
    """The two terms of a sum; the one for which `second` is true comes last."""
    expect(added.op in ("Add", "AddV2") and len(added.args) == 2, f"{added.op} for a sum")
    left, right = added.args
    return (left, right) if second(right) else (right, left)


def _strided(h: Any) -> tuple[int, int] | None:
    """Start and step of a slice that takes every second channel."""
    if isinstance(h, Expression) and h.op == "StridedSlice" and h.detail[3][2] == 2:
        return h.detail[3][0], 2
    return None


def _relu(h: Any) -> Any:
    expect(isinstance(h, Expression) and h.op == "Relu", "no ReLU after a hidden convolution")
    return h.args[0]


def _squeezed(h: Any) -> tuple[Any] | None:
    """The input of a squeeze (reshape, transpose, reshape), if `h` is one."""
    if h.op != "Reshape" or h.args[0].op != "Transpose":
        return None
    inner = h.args[0].args[0]
    if inner.op != "Reshape" or h.args[0].detail != (0, 1, 3, 5, 2, 4):
        return None
    x = inner.args[0]
    n, height, width, c = x.shape
    squeezed = (n, height // 2, width // 2, 4 * c)
    expect(inner.shape == (n, height // 2, 2, width // 2, 2, c), "another squeeze")
    expect(h.shape == squeezed, "another squeeze")
    return (x,)


def _uniform(values: np.ndarray) -> Any:
    first = values.reshape(-1)[0]
    expect(bool(np.allclose(values, first, rtol=TOLERANCE)), "a constant that differs by place")
    return first


def _channels(values: Any, n: int) -> np.ndarray:
    """A coefficient a channel, (C,), which must be the same at every position."""
    values = np.asarray(values, np.float64)
    if values.ndim < 4:
        return np.broadcast_to(values.reshape(-1) if values.size == n else values, (n,)).copy()
    full = np.broadcast_to(values, (*values.shape[:3], n)).reshape(-1, n)
    close = np.allclose(full, full[:1], rtol=TOLERANCE, atol=TOLERANCE)
    expect(bool(close), "a coefficient that differs from place to place")
    return full[0].copy()


def _inside_and_ring(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values (C,), inside and on the padding ring, of constant channels (1, H + 2, W + 2, C)."""
    inside = part[:, 1:-1, 1:-1]
    mask = np.ones(part.shape[1:3], bool)
    mask[1:-1, 1:-1] = False
    n = part.shape[3]
    return _channels(inside, n), _channels(part[:, mask][:, :, None], n)


def _top(mean: np.ndarray, log_scale: np.ndarray, n: int) -> Tree:
    """The convolution of zeros, with edge indicator, that gives these maps, or NotCanonical."""
    maps = np.concatenate(
        [np.broadcast_to(a, (1, *mean.shape[1:3], n)) for a in (mean, log_scale)], -1
    )
    _, height, width, size = maps.shape
    ring = np.pad(np.zeros((height, width)), 1, constant_values=1)
    taps = [ring[i : i + height, j : j + width].ravel() for i in range(3) for j in range(3)]
    design = np.stack([*taps, np.ones(height * width)], axis=1)
    solution = np.linalg.lstsq(design, maps.reshape(-1, size), rcond=None)[0]
    error = np.abs(design @ solution - maps.reshape(-1, size)).max()
    expect(error <= TOLERANCE * max(1.0, np.abs(maps).max()), "a top prior that differs by place")
    kernel = solution[:9].reshape(3, 3, 1, size)
    return {"kernel": kernel, "bias": solution[9], "logs": np.zeros(size)}
