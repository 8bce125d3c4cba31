"""TensorFlow's checkpoints and frozen graphs, written byte by byte without it.

Formats: tensorflow/tensorflow core/util/tensor_bundle, core/framework/*.proto.
"""

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


def openai_variables(seed: int = 0) -> Arrays:
    """Random variables of openai/glow: L 2, K 1, affine, grey images, width 3."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.1, shape).astype(np.float32)

    def zero_conv(at: str, n_in: int, n_out: int) -> Arrays:
        return {
            f"{at}/W": normal(3, 3, n_in + 1, n_out),
            f"{at}/b": normal(1, 1, 1, n_out),
            f"{at}/logs": normal(1, n_out),
        }

    def actnorm(at: str, n: int) -> Arrays:
        return {
            f"{at}/actnorm_center/b": normal(1, 1, 1, n),
            f"{at}/actnorm_scale/logs": normal(1, 1, 1, n),
        }

    found: Arrays = {}
    for level, n in enumerate((4, 8)):
        at = f"model/{level}/0"
        matrix = np.linalg.qr(rng.standard_normal((n, n)))[0].astype(np.float32)
        found |= actnorm(at, n) | {f"{at}/invconv/W": matrix}
        found |= {f"{at}/f1/l_1/W": normal(3, 3, n // 2 + 1, 3)} | actnorm(f"{at}/f1/l_1", 3)
        found |= {f"{at}/f1/l_2/W": normal(1, 1, 3, 3)} | actnorm(f"{at}/f1/l_2", 3)
        found |= zero_conv(f"{at}/f1/l_last", 3, n)
    found |= zero_conv("model/pool0/conv", 2, 4)
    return found | zero_conv("model/prior/p", 16, 16)


# -- protocol buffers, for TensorFlow's two kinds of file

TF_TYPES = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int64": 9, "bool": 10}


def varint(n: int) -> bytes:
    n, out = n % 2**64, bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def field(number: int, value: int | bytes) -> bytes:
    """A field: a number, or bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def shape_proto(shape: tuple[int, ...]) -> bytes:
    return b"".join(field(2, field(1, n)) for n in shape)


def tensor_proto(array: np.ndarray) -> bytes:
    kind = field(1, TF_TYPES[array.dtype.name])
    return kind + field(2, shape_proto(array.shape)) + field(4, array.tobytes())


def table(entries: list[tuple[bytes, bytes]]) -> bytes:
    """A sorted string table of one block: names are written in full."""
    return table_of_blocks([(b"\xff", b"".join(plain_entry(k, v) for k, v in entries))])


def plain_entry(key: bytes, value: bytes, shared: int = 0) -> bytes:
    return varint(shared) + varint(len(key)) + varint(len(value)) + key + value


def table_of_blocks(blocks: list[tuple[bytes, bytes]], repeat: int = 1) -> bytes:
    """A table of blocks, each met `repeat` times."""
    out, handles = bytearray(), []

    def add(block: bytes) -> bytes:
        block += struct.pack("<II", 0, 1)  # one restart, at 0
        handle = varint(len(out)) + varint(len(block))
        out.extend(block + b"\0" + bytes(4))  # uncompressed, and a checksum that nobody reads
        return handle

    for key, block in blocks:
        handles += [(key, add(block))] * repeat
    meta = add(b"")
    index = add(b"".join(plain_entry(k, h) for k, h in handles))
    footer = (meta + index).ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    return bytes(out) + footer


def bundle_entries(arrays: Mapping[str, np.ndarray]) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Entries of a checkpoint's index, and its data."""
    entries, data = [(b"", field(1, 1))], bytearray()
    for name, array in sorted(arrays.items()):
        kind, where = field(1, TF_TYPES[array.dtype.name]), field(4, len(data))
        value = kind + field(2, shape_proto(array.shape)) + where + field(5, array.nbytes)
        entries.append((name.encode(), value))
        data.extend(array.tobytes())
    return entries, bytes(data)


def write_bundle(prefix: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """PREFIX.index and PREFIX.data-00000-of-00001; returns the index."""
    entries, data = bundle_entries(arrays)
    index = prefix.with_name(f"{prefix.name}.index")
    index.write_bytes(table(entries))
    prefix.with_name(f"{prefix.name}.data-00000-of-00001").write_bytes(data)
    return index


# -- frozen graphs


class GraphWriter:
    """Appends nodes; every method returns the new node's name."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.count = 0

    def node(self, op: str, *inputs: str, name: str = "", **attrs: bytes) -> str:
        name = name or f"n{self.count}"
        self.count += 1
        body = field(1, name.encode()) + field(2, op.encode())
        body += b"".join(field(3, i.encode()) for i in inputs)
        for key, value in attrs.items():
            body += field(5, field(1, key.encode()) + field(2, value))
        self.data += field(1, body)
        return name

    def const(self, values: Any, dtype: str = "float32") -> str:
        return self.node("Const", value=field(8, tensor_proto(np.asarray(values, dtype))))

    def ints(self, *values: int) -> str:
        return self.const(values, "int32")

    def channels(self, h: str, begin: int, end: int | None, stride: int = 1) -> str:
        """h[..., begin:end:stride]."""
        masks: dict[str, Any] = {
            "begin_mask": field(3, 7 if begin else 15),
            "end_mask": field(3, 15 if end is None else 7),
        }
        ends = self.ints(0, 0, 0, end or 0)
        limits = self.ints(0, 0, 0, begin), ends, self.ints(1, 1, 1, stride)
        return self.node("StridedSlice", h, *limits, **masks)

    def affine(self, h: str, bias: np.ndarray, logs: np.ndarray) -> str:
        """(h + bias) * exp(3 logs)."""
        added = self.node("AddV2", h, self.const(bias))
        scale = self.node("Exp", self.node("Mul", self.const(logs), self.const(3.0)))
        return self.node("Mul", added, scale)

    def conv(self, h: str, kernel: np.ndarray) -> str:
        ones = field(1, field(3, b"\1\1\1\1"))
        about: dict[str, Any] = {
            "strides": ones,
            "padding": field(2, b"VALID"),
            "data_format": field(2, b"NHWC"),
        }
        return self.node("Conv2D", h, self.const(kernel), **about)

    def conv3x3(self, h: str, kernel: np.ndarray, size: int) -> str:
        """Padded, with the edge indicator as the last channel."""
        ring = np.pad(np.zeros((1, size, size, 1)), ((0, 0), (1, 1), (1, 1), (0, 0)))
        ring[:, [0, -1]] = ring[:, :, [0, -1]] = 1
        padded = self.node("Pad", h, self.const([[0, 0], [1, 1], [1, 1], [0, 0]], "int32"))
        joined = self.node("ConcatV2", padded, self.const(ring), self.const(3, "int32"))
        return self.conv(joined, kernel)

    def squeeze(self, h: str, size: int, channels: int) -> str:
        half = size // 2
        h = self.node("Reshape", h, self.ints(-1, half, 2, half, 2, channels))
        h = self.node("Transpose", h, self.ints(0, 1, 3, 5, 2, 4))
        return self.node("Reshape", h, self.ints(-1, half, half, 4 * channels))


def graph_of(
    variables: Mapping[str, np.ndarray],
    size: int = 8,
    n_bits: int = 8,
    fill: tuple[int, ...] | None = None,
) -> bytes:
    """openai/glow's encoder as it is frozen, of `openai_variables`.

    `fill` is the shape of the zeros that the top prior is made of, if it is to be wrong.
    """
    v, g = variables, GraphWriter()
    shape = field(7, shape_proto((-1, size, size, 1)))
    image = g.node("Placeholder", name="input/image", shape=shape)
    x = g.node("Cast", image, DstT=field(6, 1))
    if n_bits < 8:
        x = g.node("Floor", g.node("RealDiv", x, g.const(2.0 ** (8 - n_bits))))
    x = g.node("RealDiv", x, g.const(2.0**n_bits), name="model/truediv")
    h = g.squeeze(g.node("Sub", x, g.const(0.5)), size, 1)

    def zero_conv(h: str, at: str, size: int) -> str:
        return g.affine(g.conv3x3(h, v[f"{at}/W"], size), v[f"{at}/b"], v[f"{at}/logs"])

    def norm(h: str, at: str) -> str:
        return g.affine(h, v[f"{at}/actnorm_center/b"], v[f"{at}/actnorm_scale/logs"])

    def step(h: str, at: str, n: int, size: int) -> str:
        h = g.conv(norm(h, at), v[f"{at}/invconv/W"].reshape(1, 1, n, n))
        x1, x2 = g.channels(h, 0, n // 2), g.channels(h, n // 2, None)
        first = g.node("Relu", norm(g.conv3x3(x1, v[f"{at}/f1/l_1/W"], size), f"{at}/f1/l_1"))
        second = g.node("Relu", norm(g.conv(first, v[f"{at}/f1/l_2/W"]), f"{at}/f1/l_2"))
        out = zero_conv(second, f"{at}/f1/l_last", size)
        raw = g.node("AddV2", g.channels(out, 1, None, 2), g.const(2.0))
        added = g.node("AddV2", x2, g.channels(out, 0, None, 2))
        y2 = g.node("Mul", added, g.node("Sigmoid", raw))
        return g.node("ConcatV2", x1, y2, g.const(3, "int32"))

    def standardised(z: str, mean: str, logs: str, name: str) -> str:
        return g.node("RealDiv", g.node("Sub", z, mean), g.node("Exp", logs), name=name)

    h = step(h, "model/0/0", 4, size // 2)
    z1, z2 = g.channels(h, 0, 2), g.channels(h, 2, None)
    prior = zero_conv(z1, "model/pool0/conv", size // 2)
    mean, logs = g.channels(prior, 0, None, 2), g.channels(prior, 1, None, 2)
    standardised(z2, mean, logs, "model/pool0/truediv_1")
    h = step(g.squeeze(z1, size // 2, 2), "model/1/0", 8, size // 4)
    if fill is None:
        zeros = g.const(np.zeros((1, size // 4, size // 4, 16)))
    else:
        zeros = g.node("Fill", g.ints(*fill), g.const(0.0))
    prior = zero_conv(zeros, "model/prior/p", size // 4)
    standardised(h, g.channels(prior, 0, 8), g.channels(prior, 8, None), "model/truediv_1")
    return bytes(g.data)


TOP, POOL = "model/truediv_1", "model/pool0/truediv_1"  # the latents of `graph_of`


def appended(*nodes: Callable[[GraphWriter], object]) -> bytes:
    """A sound graph with more nodes; of two with one name, the last counts."""
    g = GraphWriter()
    g.data, g.count = bytearray(graph_of(openai_variables())), 10**6
    for node in nodes:
        node(g)
    return bytes(g.data)
