"""The encoder of OpenAI's frozen graph as a program, at any size, without its weights."""

import numpy as np

from glow_jax.program import Instruction, Program, Shape


class _Writer:
    """Instructions one after another; constants are views of one number."""

    def __init__(self, shape: Shape):
        self.made = [Instruction("input", (), shape)]
        self.constants: list[np.ndarray] = []

    def constant(self, *shape: int) -> tuple[str, int]:
        self.constants.append(np.broadcast_to(np.float32(1), shape))
        return "constant", len(self.constants) - 1

    def add(
        self, op: str, shape: Shape, *args: tuple[str, int] | int, detail: object = None
    ) -> int:
        pairs = tuple(("value", a) if isinstance(a, int) else a for a in args)
        self.made.append(Instruction(op, pairs, shape, detail))
        return len(self.made) - 1

    def part(self, value: int, first: int, end: int) -> int:
        shape = self.made[value].shape
        bounds = tuple((0, n, 1) for n in shape[:3])
        return self.add(
            "StridedSlice", (*shape[:3], end - first), value, detail=(*bounds, (first, end, 1))
        )

    def affine(self, value: int) -> int:
        shape = self.made[value].shape
        for op in ("Add", "Mul"):
            value = self.add(op, shape, value, self.constant(1, 1, 1, shape[3]))
        return value

    def conv(self, value: int, n_out: int, side: int) -> int:
        """With `side` 3 after a border and a channel that marks it."""
        n, height, width, n_in = self.made[value].shape
        if side == 3:
            edge = ((0, 0), (1, 1), (1, 1), (0, 0))
            value = self.add("Pad", (n, height + 2, width + 2, n_in), value, detail=edge)
            n_in += 1
            mark = self.constant(1, height + 2, width + 2, 1)
            value = self.add("ConcatV2", (n, height + 2, width + 2, n_in), value, mark, detail=3)
        kernel = self.constant(side, side, n_in, n_out)
        return self.add("Conv2D", (n, height, width, n_out), value, kernel, detail="VALID")

    def squeeze(self, value: int) -> int:
        n, height, width, c = self.made[value].shape
        height, width = height // 2, width // 2
        value = self.add("Reshape", (n, height, 2, width, 2, c), value)
        order = (0, 1, 3, 5, 2, 4)
        value = self.add("Transpose", (n, height, width, c, 2, 2), value, detail=order)
        return self.add("Reshape", (n, height, width, 4 * c), value)

    def step(self, value: int, width: int) -> int:
        """Activation norm, 1x1 convolution, affine coupling."""
        value = self.affine(value)
        shape = self.made[value].shape
        value = self.conv(value, shape[3], 1)
        half = (*shape[:3], shape[3] // 2)
        first, second = self.part(value, 0, half[3]), self.part(value, half[3], shape[3])
        h = first
        for side in (3, 1):
            h = self.affine(self.conv(h, width, side))
            h = self.add("Relu", self.made[h].shape, h)
        h = self.affine(self.conv(h, shape[3], 3))
        shift, scale = self.part(h, 0, half[3]), self.part(h, half[3], shape[3])
        second = self.add("Add", half, second, shift)
        scale = self.add("Add", half, scale, self.constant())
        scale = self.add("Sigmoid", half, scale)
        second = self.add("Mul", half, second, scale)
        return self.add("ConcatV2", shape, first, second, detail=3)


def openai_encoder(
    side: int, n_levels: int, n_steps: int, width: int
) -> tuple[Program, list[np.ndarray]]:
    """The program and its constants, as `glow_jax.convert.openai_graph.graph_model` makes them."""
    w = _Writer((1, side, side, 3))
    value, latents = w.squeeze(w.add("Add", (1, side, side, 3), 0, w.constant())), []
    for level in range(n_levels):
        for _ in range(n_steps):
            value = w.step(value, width)
        shape = w.made[value].shape
        if level == n_levels - 1:
            break
        half = (*shape[:3], shape[3] // 2)
        kept, split = w.part(value, 0, half[3]), w.part(value, half[3], shape[3])
        prior = w.affine(w.conv(kept, shape[3], 3))
        mean, logs = w.part(prior, 0, half[3]), w.part(prior, half[3], shape[3])
        centred = w.add("Sub", half, split, mean)
        latents.append(w.add("RealDiv", half, centred, w.add("Exp", half, logs)))
        value = w.squeeze(kept)
    centred = w.add("Sub", shape, value, w.constant(*shape))
    latents.append(w.add("RealDiv", shape, centred, w.constant(*shape)))
    return Program(tuple(w.made), (0,), tuple(latents)), w.constants
