"""Limits that hold in total: no file costs more than 2 GB and 30 CPU seconds beside its own size.

Each of these files is small, and each of its items is within bounds.
"""

import gzip
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.robustness.files.pytorch_files import (
    Storage,
    Tensor,
    tensor,
    tensors,
    text,
    write_zip,
    y0ast_state,
)
from bench.robustness.files.tensorflow_files import (
    POOL,
    TOP,
    GraphWriter,
    appended,
    field,
    plain_entry,
    shape_proto,
    table,
    table_of_blocks,
)
from tests.support.bombs import Bomb, Outcome, outcomes_of

ONE = np.ones(1, np.float32)


def pickle_of(data: bytes) -> Bomb:
    return lambda path: write_zip(path, {}, pickle_=b"\x80\x02" + data + b".")


def colliding_keys() -> bytes:
    """Numbers that Python hashes to one value."""
    keys = [(i * (2**61 - 1)).to_bytes(16, "little") for i in range(1, 200_000)]
    return b"}(" + b"".join(b"\x8a\x10" + k + b"N" for k in keys) + b"u"


def sparse(path: Path) -> None:
    """A file of 8 GB that holds nothing, and one instruction to read it all."""
    with open(path, "wb") as file:
        file.write(b"\x80\x04\x8e" + struct.pack("<Q", 2**33))
        file.truncate(2**33 + 100)


def sparse_members(path: Path) -> None:
    """A zip archive's pickle with an instruction to read more than is there, over and over."""
    write_zip(path, {}, pickle_=b"\x80\x04(" + (b"\x8e" + struct.pack("<Q", 2**40)) + b"t.")


def shared_storage(path: Path) -> None:
    """One megabyte as the numbers of ten thousand arrays."""
    whole = Storage("0", np.zeros(2**18, np.float32))
    views = {f"flow.layers.{i}.block.0.conv.weight": (2**18, 1, 1, 1) for i in range(1, 10_000)}
    write_zip(path, {n: Tensor(whole, 0, s, (1, 1, 1, 1)) for n, s in views.items()})


def expanded(path: Path) -> None:
    """Weights of one number each, a gigabyte in all."""
    shape = (2**10, 2**9, 3, 3)
    names = [f"flow.layers.{i}.block.0.conv.weight" for i in range(1, 200)]
    views = {n: Tensor(Storage("one", ONE), 0, shape, (0, 0, 0, 0)) for n in names}
    write_zip(path, dict(tensors(y0ast_state(size=8))) | views)


def many_levels(path: Path) -> None:
    """Levels whose channels double, forty times; and every one has a part of a step."""
    one = tensor(ONE, "0")
    names = ("flows.0.invconv.weight", "prior.conv.weight")
    state = {f"blocks.{b}.{n}": one for b in range(40) for n in names}
    first = {
        "blocks.0.flows.0.actnorm.loc": (1, 12, 1, 1),
        "blocks.0.flows.0.coupling.net.4.conv.weight": (12, 5, 3, 3),
    }
    whole = {n: tensor(np.ones(s, np.float32), n) for n, s in first.items()}
    write_zip(path, state | whole)


def many_layers(path: Path) -> None:
    """A hundred thousand layers, each looked for among all."""
    one = tensor(np.ones((3, 2, 3, 3), np.float32), "0")
    names = [f"layers.{3 * i}.NN.0.conv.weight" for i in range(1, 30_000)]
    last = tensor(np.ones((4, 3, 3, 3), np.float32), "1")
    write_zip(path, dict.fromkeys(names, one) | {"layers.3.NN.4.weight": last})


def wide_matrices(path: Path) -> None:
    """LU factors of 9000 channels, each of one number."""
    n = 9000
    at = "blocks.0.flows.0"
    shapes: dict[str, tuple[int, ...]] = {
        f"{at}.actnorm.loc": (1, n, 1, 1),
        f"{at}.actnorm.scale": (1, n, 1, 1),
        f"{at}.coupling.net.4.conv.weight": (n, 1, 3, 3),
        f"{at}.invconv.w_s": (n,),
        f"{at}.invconv.s_sign": (n,),
        "blocks.0.prior.scale": (1, 2 * n, 1, 1),
    }
    shapes |= {f"{at}.invconv.{part}": (n, n) for part in ("w_p", "w_l", "w_u")}
    storage = Storage("0", ONE)
    write_zip(path, {k: Tensor(storage, 0, s, (0,) * len(s)) for k, s in shapes.items()})


def many_sets(path: Path) -> None:
    one = tensor(ONE, "0")
    write_zip(path, {f"m{i}.flow.layers.1.block.0.conv.weight": one for i in range(50_000)})


def long_names(path: Path) -> None:
    one = tensor(ONE, "0")
    write_zip(path, {f"{'flows.' + 'next.' * 150}{i}": one for i in range(20_000)})


def in_each_other(path: Path) -> None:
    """A pickle that holds a file that holds a pickle, a hundred deep."""
    held = b"\x80\x02}."
    for _ in range(100):
        call = b"ctorch.storage\n_load_from_bytes\n" + b"B" + struct.pack("<I", len(held))
        held = b"\x80\x03" + call + held + b"\x85R."
    path.write_bytes(held)


def lying_member(path: Path) -> None:
    """A packed storage of half a kilobyte that unpacks to a gigabyte."""
    state = tensors(y0ast_state(size=8))
    with zipfile.ZipFile(write_zip(path, state, packed=True)) as archive:
        members = {i.filename: archive.read(i) for i in archive.infolist()}
    name = next(name for name in members if "/data/" in name)
    size = len(members[name])
    members[name] = bytes(2**30)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 2**30), struct.pack("<I", size)))


def large_directory(path: Path) -> None:
    """A zip archive of 400 000 empty members."""
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 8) + bytes(16)
    directory = b"".join(entry + f"{i:08d}".encode() for i in range(400_000))
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0, 0, len(directory), 4, 0)
    path.write_bytes(b"PK\x03\x04" + directory + end)


def many_members(path: Path) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for i in range(20_000):
            archive.addfile(tarfile.TarInfo(f"{i}.pt"))
    path.write_bytes(gzip.compress(file.getvalue()))


def safetensors(header: bytes, data: bytes = b"") -> Bomb:
    return lambda path: path.write_bytes(struct.pack("<Q", len(header)) + header + data)


def long_integers() -> bytes:
    """Shapes and offsets of 4000 digits each."""
    n = int("9" * 4000)
    entry = {"dtype": "F32", "shape": [n, 0, n], "data_offsets": [n, n]}
    return json.dumps({f"w{i}": entry for i in range(500)}).encode()


def index_of(data: bytes) -> Bomb:
    return lambda path: path.with_name("a.ckpt.index").write_bytes(data)


def repeated_names() -> bytes:
    """Names of 4 kB that share all but four bytes: a gigabyte in an index of 3 MB."""
    first = plain_entry(b"k" * 4000, b"\x08\x07")
    rest = b"".join(plain_entry(b"%06d" % i, b"\x08\x07", shared=4000) for i in range(250_000))
    return table_of_blocks([(b"\xff", first + rest)])


def many_dimensions() -> bytes:
    """300 000 dimensions of 2^62."""
    shape = shape_proto((2**62,)) * 300_000
    entry = field(1, 1) + field(2, shape) + field(5, 4)
    return table([(b"", field(1, 1)), (b"x", entry)])


def graph(build: Callable[[GraphWriter], str]) -> Bomb:
    """A sound graph whose top latent needs one thing more."""

    def whole(g: GraphWriter) -> object:
        return g.node("AddV2", POOL, build(g), name=TOP)

    return lambda path: path.with_name("a.pb").write_bytes(appended(whole))


def spread(g: GraphWriter, *shape: int) -> str:
    """A constant of one number for a whole shape."""
    proto = field(1, 1) + field(2, shape_proto(shape)) + field(5, struct.pack("<f", 1.0))
    return g.node("Const", value=field(8, proto))


def summed(g: GraphWriter, h: str, axes: int = 2) -> str:
    return g.node("Sum", h, g.ints(*range(axes)))


def averaged(g: GraphWriter, h: str) -> str:
    """Over positions: of a picture's shape again."""
    return g.node("Mean", h, g.ints(1, 2, 3), keep_dims=field(5, 1))


def chained(op: str, n: int, shape: tuple[int, ...]) -> Callable[[GraphWriter], str]:
    """n operations, each of two of the one before."""

    def build(g: GraphWriter) -> str:
        h = spread(g, *shape)
        for _ in range(n):
            h = g.node(op, h, h)
        return summed(g, h, len(shape))

    return build


def packs(g: GraphWriter) -> str:
    many = g.node("Pack", *[spread(g, 2**11, 2**12)] * 100, axis=field(3, 0))
    return summed(g, many, 3)


def casts(g: GraphWriter) -> str:
    parts = [g.node("Cast", spread(g, 2**11, 2**12), DstT=field(6, 1)) for _ in range(200)]
    return g.node("Pack", *[summed(g, p) for p in parts])


def gathers(g: GraphWriter) -> str:
    h = spread(g, 8)
    for _ in range(2):
        indices = g.node("Cast", spread(g, 2**11, 2**11), DstT=field(6, 3))
        h = g.node("GatherV2", h, indices, g.const(0, "int32"))
    return summed(g, h, 4)


def outer_sums(g: GraphWriter) -> str:
    """Constants that broadcast against each other, a thousand times."""
    row, column = spread(g, 1, 2**11), spread(g, 2**12, 1)
    return g.node("Pack", *[summed(g, g.node("Mul", row, column)) for _ in range(1000)])


def inverses(g: GraphWriter) -> str:
    h = spread(g, 2000, 2000)
    return g.node("Pack", *[g.node("MatrixDeterminant", h) for _ in range(300)])


def convolutions(g: GraphWriter) -> str:
    """Of the picture, with kernels of one number."""
    h = POOL
    for n_in, n_out in [(2, 4000), *[(4000, 4000)] * 500, (4000, 2)]:
        kernel = spread(g, 1, 1, n_in, n_out)
        ones = field(1, field(3, b"\1\1\1\1"))
        h = g.node("Conv2D", h, kernel, strides=ones, padding=field(2, b"SAME"))
    return averaged(g, h)


def affine_chain(g: GraphWriter) -> str:
    h = POOL
    for _ in range(30_000):
        h = g.node("AddV2", h, g.const(1.0))
    return h


def wide_affine_chain(g: GraphWriter) -> str:
    h, wide = POOL, spread(g, 1, 4, 4, 2)
    for _ in range(3_000):
        h = g.node("Mul", g.node("Exp", h), wide)
    return h


def concatenations(g: GraphWriter) -> str:
    h = POOL
    for _ in range(24):
        h = g.node("ConcatV2", h, h, g.const(3, "int32"))
    return averaged(g, h)


def paddings(g: GraphWriter) -> str:
    h = POOL
    for _ in range(200):
        h = g.node("Pad", h, g.const([[0, 0], [9000, 9000], [0, 0], [0, 0]], "int32"))
    return averaged(g, h)


def small_fields(path: Path) -> None:
    """A node of ten million empty inputs."""
    path.with_name("a.pb").write_bytes(field(1, field(1, b"a") + b"\x1a\0" * 10_000_000))


def packed_numbers(g: GraphWriter) -> str:
    proto = field(1, 3) + field(2, shape_proto((8_000_000,))) + field(7, bytes(8_000_000))
    return summed(g, g.node("Const", value=field(8, proto)), 1)


def digits(path: Path) -> None:
    """An extended header of a tar, which Python before 3.11.10 reads in the square of its size."""
    members = []
    for kind, data in ((tarfile.XHDTYPE, b"1" * 300_000), (tarfile.REGTYPE, b"abcd")):
        member = tarfile.TarInfo("a")
        member.type, member.size = kind, len(data)
        members += [member.tobuf(tarfile.USTAR_FORMAT), data, bytes(-len(data) % 512)]
    path.with_name("a.tar").write_bytes(b"".join(members) + bytes(1024))


BOMBS: dict[str, Bomb] = {
    "a tar's header of digits": digits,
    "empty dicts": pickle_of(b"(" + b"}" * 60_000_000 + b"t"),
    "empty lists": pickle_of(b"(" + b"]" * 30_000_000 + b"t"),
    "colliding keys": pickle_of(colliding_keys()),
    "bytes of a sparse file": sparse,
    "bytes beyond the end": sparse_members,
    "one storage, ten thousand arrays": shared_storage,
    "expanded weights": expanded,
    "levels that double": many_levels,
    "thirty thousand layers": many_layers,
    "wide matrices": wide_matrices,
    "fifty thousand sets": many_sets,
    "long names": long_names,
    "files in each other": in_each_other,
    "a member that lies": lying_member,
    "a large directory": large_directory,
    "many members": many_members,
    "text again and again": pickle_of(
        text("a" * 2**20) + b"q\0(" + b"c_codecs\nencode\nh\0\x85R" * 100_000 + b"t"
    ),
    "integers of 4000 digits": safetensors(long_integers()),
    "lists in a header": safetensors(b'{"a":[' + b"[]," * 5_000_000 + b"[]]}"),
    "a header of one list in another": safetensors(b'{"a":' + b"[" * 10**6 + b"]" * 10**6 + b"}"),
    "a shape of 100 000 axes": safetensors(
        json.dumps(
            {"w": {"dtype": "F32", "shape": [2**40] * 100_000, "data_offsets": [0, 4]}}
        ).encode(),
        bytes(4),
    ),
    "names that share 4 kB": index_of(repeated_names()),
    "300 000 dimensions": index_of(many_dimensions()),
    "packed constants": graph(packs),
    "cast constants": graph(casts),
    "gathered constants": graph(gathers),
    "outer sums": graph(outer_sums),
    "products of matrices": graph(chained("MatMul", 60, (2000, 2000))),
    "sums in a chain": graph(chained("Add", 5000, (2**11, 2**12))),
    "determinants": graph(inverses),
    "convolutions": graph(convolutions),
    "sums of the picture": graph(affine_chain),
    "products of the picture": graph(wide_affine_chain),
    "the picture beside itself": graph(concatenations),
    "padding": graph(paddings),
    "ten million fields": small_fields,
    "eight million numbers": graph(packed_numbers),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    return outcomes_of(BOMBS, tmp_path_factory.mktemp("totals"))


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_totals_are_limited(name: str, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[name]
    assert outcome.said.startswith("refused: "), outcome
    assert outcome.cpu_seconds < 30, outcome
    assert outcome.megabytes < 2000, outcome
