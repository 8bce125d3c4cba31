"""Other codes' checkpoints, as `convert` reads them."""

import gzip
import json
import pickle
import random
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import glow_jax.convert
from bench.robustness.damage import Files
from bench.robustness.files.containers import sharded, tarred, zipped
from bench.robustness.files.pytorch_files import (
    Global,
    Storage,
    Tensor,
    called,
    tensors,
    write_legacy,
    write_zip,
)
from bench.robustness.files.safetensors_file import write_safetensors
from bench.robustness.files.tensorflow_files import (
    POOL,
    TOP,
    GraphWriter,
    appended,
    field,
    graph_of,
    openai_variables,
    plain_entry,
    shape_proto,
    table,
    write_bundle,
)
from bench.robustness.files.wrappings import NEIGHBOURS, RAW, old_tar, raw
from bench.robustness.kind import Kind, read_back
from glow_jax.convert import SelfCheck, convert

UNCHECKED = SelfCheck(0.0, 0.0, 0, 1.0, 1.0, "not looked at")
FIRST = ("model.safetensors.index.json", "a.ckpt.index")  # of several files, what is given


def read(folder: Path) -> None:
    """Convert the checkpoint of a folder, but for the self-check and the writing."""
    names = sorted(p.name for p in folder.iterdir())
    name = next((n for n in FIRST if n in names), names[0] if names else "missing.pt")
    options: dict[str, Any] = {"image_size": (8, 8), "bits": 8} if "ckpt" in name else {}
    with (
        mock.patch.object(glow_jax.convert, "self_check", return_value=UNCHECKED),
        mock.patch.object(glow_jax.convert, "save_weights"),
        mock.patch.object(glow_jax.convert, "save_graph"),
        mock.patch.object(glow_jax.convert, "check_graph", return_value=UNCHECKED),
    ):
        convert(folder / name, folder / "out", **options)


def made_by(*writers: Callable[[Path], Any]) -> Callable[[], list[Files]]:
    """The inputs that functions write into a folder, one each."""

    def sound() -> list[Files]:
        found = []
        for write in writers:
            with tempfile.TemporaryDirectory() as folder:
                write(Path(folder))
                found.append(read_back(Path(folder)))
        return found

    return sound


def named(name: str, make: Callable[[], bytes]) -> Callable[[Path], Any]:
    """A writer of one file."""
    return lambda folder: (folder / name).write_bytes(make())


def _zip(folder: Path) -> None:
    write_zip(folder / "a.pt", {n: make() for n, make in NEIGHBOURS.items()} | {"model": raw()})


def _legacy_bytes() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_legacy(Path(folder) / "a", tensors(RAW)).read_bytes()


def _stored(pickle_: bytes) -> Files:
    with tempfile.TemporaryDirectory() as folder:
        return {"a.pt": write_zip(Path(folder) / "a.pt", {}, pickle_=pickle_).read_bytes()}


def _hostile_torch() -> list[Files]:
    """Pickles that would run something, never end, or need all memory."""
    sparse = Tensor(Storage("w", np.ones(1, np.float32)), 0, (2**40, 2**20), (0, 0))
    with tempfile.TemporaryDirectory() as folder:
        expanded = write_zip(
            Path(folder) / "a.pt", {"model": raw() | {"learn_top_fn.logs": sparse}}
        )
        files: list[Files] = [{"a.pt": expanded.read_bytes()}]
    deep = b"\x80\2" + b"(" * 100_000 + b"t" * 100_000 + b"."
    laughs = b"\x80\2]q\0" + b"".join(
        b"](" + b"h" + bytes([i]) + (b"h" + bytes([i])) * 20 + b"eq" + bytes([i + 1])
        for i in range(60)
    )
    pickles = [
        called(Global("os", "system"), "id"),
        called(Global("builtins", "eval"), "1"),
        called(Global("torch.storage", "_load_from_bytes"), b"x" * 100),
        called(Global("numpy", "ones"), 2**40),
        called(Global("collections", "OrderedDict"), [[i, i] for i in range(100)]),
        deep,
        laughs + b".",
        b"\x80\2" + b"]q\0h\0a" * 1000 + b".",
        b"\x80\4\x8e" + struct.pack("<Q", 2**62) + b"x.",
        b"\x80\2\x8b" + struct.pack("<i", 2**30) + b"1.",
        b"\x80\2I" + b"9" * 100_000 + b"\n.",
        b"\x80\2" + b"}" * 2**20 + b".",
        b"",
        b".",
    ]
    files += [_stored(data) for data in pickles]
    files += [{"a.pkl": data} for data in pickles]
    texts = {
        "html.pt": b"<!DOCTYPE html><html><body>Sign in</body></html>",
        "lfs.pt": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
        "checkpoint": b'model_checkpoint_path: "model"\n',
        "empty.pt": b"",
        "bomb.gz": gzip.compress(bytes(2**28)),
        "bomb.pt": zipped({"archive/data.pkl": bytes(2**28), "archive/version": b"3\n"}),
        "many.zip": zipped({f"{i}.pt": b"x" for i in range(2000)}),
        "nested.tar": tarred({"a.tar": tarred({"a.tar": tarred({"a.pt": b""})})}),
    }
    return files + [{name: data} for name, data in texts.items()]


def _hostile_safetensors() -> list[Files]:
    def of(text: bytes, length: int | None = None) -> Files:
        size = len(text) if length is None else length
        return {"a.safetensors": struct.pack("<Q", size) + text + bytes(64)}

    entry = b'{"dtype":"F32","shape":[%s],"data_offsets":[0,%s]}'
    return [
        of(b"{}"),
        of(b"", 2**63),
        of(b"[" * 100_000),
        of(b'{"w":' + entry % (b"9" * 4000, b"4") + b"}"),
        of(b'{"w":' + entry % (b"0,9223372036854775807", b"0") + b"}"),
        of(b'{"w":' + entry % (b"4", b"1e3") + b"}"),
        of(b'{"a":1,"a":2}'),
        of(b"{" + b",".join(b'"%d":{}' % i for i in range(200_000)) + b"}"),
    ]


def _hostile_index() -> list[Files]:
    """TensorFlow's: sizes that lie, and names that share all but a letter."""
    large = field(1, 1) + field(2, shape_proto((2**31, 2**31))) + field(5, 2**62)
    axes = field(1, 1) + field(2, b"".join(field(2, field(1, 2**62)) for _ in range(30_000)))
    shared = b"".join(plain_entry(b"x", field(1, 1), shared=i) for i in range(3000))
    return [
        {"a.ckpt.index": data, "a.ckpt.data-00000-of-00001": bytes(64)}
        for data in (
            table([(b"", field(1, 1)), (b"w", large)]),
            table([(b"", field(1, 1)), (b"w", axes)]),
            table([(b"", field(1, 10**6)), (b"w", large)]),
            table([(b"x" * 2**20, field(1, 1))]),
            table([(b"", shared)]),
            b"",
        )
    ]


def _hostile_graphs() -> list[Files]:
    def broadcast(g: GraphWriter) -> object:
        big = g.node("Fill", g.ints(2**15, 2**15), g.const(1.0))
        for _ in range(20):
            big = g.node("Mul", big, big)
        return g.node("AddV2", POOL, big, name=TOP)

    def products(g: GraphWriter) -> object:
        m = g.node("Fill", g.ints(2048, 2048), g.const(1.0))
        for _ in range(60):
            m = g.node("MatMul", m, m)
        return g.node("AddV2", POOL, m, name=TOP)

    def packed(g: GraphWriter) -> object:
        at = g.node("Fill", g.ints(2**12, 2**10), g.const(1.0))
        for _ in range(12):
            at = g.node("Pack", *[at] * 16)
        return g.node("AddV2", POOL, at, name=TOP)

    def loop(g: GraphWriter) -> object:
        return g.node("AddV2", TOP, TOP, name=TOP)

    return [{"a.pb": appended(nodes)} for nodes in (broadcast, products, packed, loop)]


# -- made of sound parts in any order


def random_pickle(rng: random.Random) -> bytes:
    """Instructions that are well formed, and make no sense."""
    pieces = [
        *(b"(", b"0", b"1", b"2", b"N", b"}", b"]", b")", b"a", b"e", b"s", b"u", b"t", b"l"),
        *(b"d", b"R", b"b", b"o", b"Q", b"\x81", b"\x85", b"\x86", b"\x87", b"\x88", b"\x89"),
        *(b"\x8f", b"\x90", b"\x91", b"\x92", b"\x93", b"\x94", b"q\0", b"h\0", b"q\1", b"h\1"),
        *(b"K\1", b"M\1\2", b"J\1\0\0\0", b"G" + bytes(8), b"X\1\0\0\0a", b"\x8c\1b"),
        *(b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n", b"ca\nB\n"),
        *(b"ccollections\nOrderedDict\n", b"cnumpy\ndtype\n", b"ctorch\nSize\n", b"C\1x"),
        *(b"X\7\0\0\0storage", b"X\x23\0\0\0flow.layers.1.block.0.conv.weight12"),
        *(b"ctorch.storage\n_load_from_bytes\n", b"c_codecs\nencode\n", b"X\3\0\0\0cpu"),
        *(b"cnumpy.core.multiarray\n_reconstruct\n", b"\x8a\1\7", b"ia\nB\n", b"P1\n"),
    ]
    return b"\x80\2" + b"".join(rng.choice(pieces) for _ in range(rng.randrange(1, 60))) + b"."


def random_graph(rng: random.Random) -> bytes:
    """A sound graph whose top latent is any chain of operations on any constants."""
    ops = "Add Sub Mul RealDiv Pow Exp Log Abs Neg Floor Sqrt Rsqrt Relu Sigmoid Tanh Cast Shape "
    ops += "OneHot Fill RandomUniform Pack Tile StridedSlice Slice Reshape Transpose ConcatV2 Pad "
    ops += "Sum Mean Max MatrixDeterminant MatrixInverse MatMul Gather GatherV2 Conv2D Identity "
    ops += "Placeholder Const BiasAdd Minimum"

    def whole(g: GraphWriter) -> object:
        found = [POOL, "n0", "model/truediv", "input/image"]
        for _ in range(rng.randrange(1, 12)):
            shape = tuple(rng.choice((0, 1, 2, 3, 4, 8, 2**12)) for _ in range(rng.randrange(5)))
            if rng.random() < 0.4:
                value = struct.pack("<f", rng.choice((0.0, 1.0, -1.0, np.nan, np.inf)))
                proto = field(1, 1) + field(2, shape_proto(shape)) + field(5, value)
                found.append(g.node("Const", value=field(8, proto)))
            elif rng.random() < 0.4:
                found.append(g.ints(*(rng.choice((-1, 0, 1, 2, 3, 2**30)) for _ in shape)))
            else:
                inputs = [rng.choice(found) for _ in range(rng.randrange(4))]
                masks = {"begin_mask": field(3, rng.randrange(16)), "axis": field(3, 1)}
                attrs: Any = {**masks, "padding": field(2, rng.choice((b"SAME", b"VALID")))}
                found.append(g.node(rng.choice(ops.split()), *inputs, **attrs))
        return g.node("AddV2", POOL, found[-1], name=TOP)

    return appended(whole)


def random_header(rng: random.Random) -> bytes:
    """A safetensors header of any JSON."""

    def anything(depth: int = 0) -> object:
        kind = rng.randrange(9 if depth < 4 else 6)
        if kind < 6:
            return rng.choice((0, 1, -1, 2**70, 1.5, True, None, "F32", "x", "__metadata__"))
        size = rng.randrange(4)
        keys = ("dtype", "shape", "data_offsets", "w")
        entries = [(rng.choice(keys), anything(depth + 1)) for _ in range(size)]
        return [value for _, value in entries] if kind < 7 else dict(entries)

    text = json.dumps({"a": anything(), "b": anything()}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(64)


def _pickles(rng: random.Random, sound: list[Files]) -> Files:
    data = random_pickle(rng)
    return {"a.pkl": data} if rng.random() < 0.5 else _stored(data)


def _graphs(rng: random.Random, sound: list[Files]) -> Files:
    return {"a.pb": random_graph(rng)}


def _headers(rng: random.Random, sound: list[Files]) -> Files:
    return {"a.safetensors": random_header(rng)}


_archives = made_by(
    named("a.gz", lambda: gzip.compress(_legacy_bytes())),
    named("a.tar", lambda: tarred({"m.pt": _legacy_bytes()})),
    named("a.zip", lambda: zipped({"m.pt": _legacy_bytes()})),
    named("old.tar", lambda: old_tar(RAW)),
)

KINDS = (
    Kind("PyTorch, zip", 700, made_by(_zip), read, _hostile_torch),
    Kind("PyTorch, legacy", 500, made_by(named("a.pt", _legacy_bytes)), read),
    Kind("PyTorch, archives (gzip, tar, zip)", 400, _archives, read),
    Kind(
        "PyTorch, pickles",
        300,
        made_by(named("a.pkl", lambda: pickle.dumps({"model": RAW}, 4))),
        read,
    ),
    Kind("PyTorch, random pickles", 900, made_by(_zip), read, make=_pickles),
    Kind(
        "safetensors",
        500,
        made_by(lambda d: write_safetensors(d / "a.safetensors", RAW)),
        read,
        _hostile_safetensors,
    ),
    Kind(
        "safetensors, random headers",
        500,
        made_by(lambda d: write_safetensors(d / "a.safetensors", RAW)),
        read,
        make=_headers,
    ),
    Kind(
        "safetensors, shards and their index",
        400,
        made_by(lambda d: sharded(d, RAW, write_safetensors, "safetensors")),
        read,
    ),
    Kind(
        "TensorFlow checkpoints",
        500,
        made_by(lambda d: write_bundle(d / "a.ckpt", openai_variables())),
        read,
        _hostile_index,
    ),
    Kind(
        "TensorFlow GraphDefs",
        400,
        made_by(named("a.pb", lambda: graph_of(openai_variables()))),
        read,
        _hostile_graphs,
    ),
    Kind(
        "TensorFlow GraphDefs, random operations",
        400,
        made_by(named("a.pb", lambda: graph_of(openai_variables()))),
        read,
        make=_graphs,
    ),
)
