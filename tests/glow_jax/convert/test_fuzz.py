"""Seeded damage to every kind of file: an InputError of one line, or a model; nothing else."""

import gzip
import json
import pickle
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.robustness.files.containers import sharded, tarred, zipped
from bench.robustness.files.pytorch_files import tensors, write_legacy, write_zip
from bench.robustness.files.safetensors_file import write_safetensors
from bench.robustness.files.tensorflow_files import (
    POOL,
    TOP,
    GraphWriter,
    appended,
    field,
    graph_of,
    openai_variables,
    shape_proto,
    write_bundle,
)
from bench.robustness.files.wrappings import NEIGHBOURS, RAW, old_tar, raw
from glow_jax.io.errors import InputError
from tests.support.converted import Converted

OPTIONS: dict[str, dict[str, Any]] = {"index": {"image_size": (8, 8), "bits": 8}}  # to be told
STRUCTURE = 4000  # bytes at either end, where a file's structure is


def with_neighbours(path: Path) -> Path:
    return write_zip(path, {n: make() for n, make in NEIGHBOURS.items()} | {"model": raw()})


def rewritten(path: Path, change: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(change(path.read_bytes()))
    return path


FILES: dict[str, Callable[[Path], Path]] = {
    "zip": lambda d: with_neighbours(d / "a.pt"),
    "legacy": lambda d: write_legacy(d / "a.pt", {"model": raw(), "x": 1}),
    "old tar": lambda d: rewritten(write_legacy(d / "a.pt", {}), lambda _: old_tar(RAW)),
    "pickle": lambda d: rewritten(
        write_legacy(d / "a.pkl", {}), lambda _: pickle.dumps({"model": RAW}, 4)
    ),
    "gzip": lambda d: rewritten(write_legacy(d / "a.gz", tensors(RAW)), gzip.compress),
    "tar": lambda d: rewritten(
        write_legacy(d / "a.tar", tensors(RAW)), lambda data: tarred({"m.pt": data})
    ),
    "zip of a file": lambda d: rewritten(
        write_legacy(d / "a.zip", tensors(RAW)), lambda data: zipped({"m.pt": data})
    ),
    "safetensors": lambda d: write_safetensors(d / "a.bin", RAW),
    "shards": lambda d: sharded(d, RAW, write_safetensors, "safetensors"),
    "index": lambda d: write_bundle(d / "a.ckpt", openai_variables()),
    "graph": lambda d: rewritten(
        write_legacy(d / "a.pb", {}), lambda _: graph_of(openai_variables())
    ),
}


def damaged(rng: random.Random, whole: bytes) -> bytes:
    """Bytes flipped, cut out, doubled or put in, most of them where the structure is."""
    data = bytearray(whole)
    for _ in range(rng.choice((1, 1, 2, 4))):
        end = min(len(data), STRUCTURE)
        at = rng.randrange(end) if rng.random() < 0.7 else len(data) - 1 - rng.randrange(end)
        size = rng.choice((1, 1, 2, 4, 8, 100))
        kind = rng.randrange(5)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + size] = rng.randbytes(min(size, 8))
        elif kind == 2:
            del data[at : at + size]
        elif kind == 3:
            data[at:at] = data[at : at + size]
        else:
            data[at : at + 1] = rng.choice((b"\xff", b"\0", b"\x7f", b"\x80"))
        if not data:
            break
    return bytes(data)


def ends_well(path: Path, converted: Converted, name: str = "") -> bool:
    """Whether a file converts; if not, the error must be one line."""
    try:
        converted(path, **OPTIONS.get(name, {}))
    except InputError as error:
        assert str(error).isprintable() and len(str(error)) < 5000, error
        return False
    return True


def try_damage(name: str, times: int, seed: int, converted: Converted) -> int:
    path = FILES[name](converted.folder)
    whole, rng = path.read_bytes(), random.Random(f"{name} {seed}")
    assert ends_well(path, converted, name)
    sound = 0
    for i in range(times):
        path.write_bytes(damaged(rng, whole))
        try:
            sound += ends_well(path, converted, name)
        except BaseException as error:
            raise AssertionError(f"{name}, seed {seed}, number {i}") from error
    return sound


@pytest.mark.parametrize("name", FILES)
def test_damage_is_met_with_one_line(name: str, converted: Converted) -> None:
    assert try_damage(name, 25, 1, converted) < 25


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_much_damage_is_met_with_one_line(name: str, converted: Converted) -> None:
    assert try_damage(name, 400, 2, converted) < 400


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
                attrs = {**masks, "padding": field(2, rng.choice((b"SAME", b"VALID")))}
                found.append(g.node(rng.choice(ops.split()), *inputs, **attrs))
        g.node("AddV2", POOL, found[-1], name=TOP)

    return appended(whole)


def random_header(rng: random.Random) -> bytes:
    """A safetensors header of any JSON."""

    def anything(depth: int = 0) -> object:
        kind = rng.randrange(9 if depth < 4 else 6)
        if kind < 6:
            return rng.choice((0, 1, -1, 2**70, 1.5, True, None, "F32", "x", "__metadata__"))
        size = rng.randrange(4)
        if kind < 7:
            return [anything(depth + 1) for _ in range(size)]
        keys = ("dtype", "shape", "data_offsets", "w")
        return {rng.choice(keys): anything(depth + 1) for _ in range(size)}

    text = json.dumps({"a": anything(), "b": anything()}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(64)


RANDOM = {"pickle": random_pickle, "graph": random_graph, "header": random_header}


def try_random(name: str, times: int, seed: int, converted: Converted) -> None:
    rng = random.Random(f"{name} {seed}")
    path = converted.folder / {"pickle": "a.pkl", "graph": "a.pb"}.get(name, "a.safetensors")
    for i in range(times):
        path.write_bytes(RANDOM[name](rng))
        try:
            ends_well(path, converted)
        except BaseException as error:
            raise AssertionError(f"{name}, seed {seed}, number {i}") from error


@pytest.mark.parametrize("name", RANDOM)
def test_sound_parts_in_any_order_are_met_with_one_line(name: str, converted: Converted) -> None:
    try_random(name, 60, 1, converted)


@pytest.mark.slow
@pytest.mark.parametrize("name", RANDOM)
def test_many_sound_parts_in_any_order(name: str, converted: Converted) -> None:
    try_random(name, 2500, 2, converted)
