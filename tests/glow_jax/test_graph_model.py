"""A graph model's program.json from anybody: whole, or one line; nothing is run to find out."""

import copy
import io
import json
import lzma
import re
import struct
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from glow_jax.checkpoints import save_graph
from glow_jax.convert.graph import read_graph
from glow_jax.convert.openai_graph import graph_model
from glow_jax.convert.options import Options
from glow_jax.graph_model import GraphGlow, from_json, read_constants, to_json
from glow_jax.io.errors import InputError
from tests.support.openai_program import openai_encoder
from tests.support.paths import ROOT

Told = dict[str, Any]
CONSTANTS = [np.full((1, 1, 1, 2), 2.0), np.eye(2)[None, None], np.array([1, 0], np.int32)]
SHAPE = [1, 4, 4, 2]
GOLDEN = ROOT / "tests" / "golden" / "foreign"


def sound() -> Told:
    """Twice the pixels with their channels exchanged, and back."""
    return {
        "config": {
            "image_height": 4,
            "image_width": 4,
            "n_channels": 2,
            "latent_shapes": [[4, 4, 2]],
            "n_bits": 8,
            "n_classes": 0,
        },
        "encoder": [
            [
                ["input", [], SHAPE, None],
                ["Mul", [["value", 0], ["constant", 0]], SHAPE, None],
                ["Conv2D", [["value", 1], ["constant", 1]], SHAPE, "SAME"],
                ["Gather", [["value", 2], ["constant", 2]], SHAPE, 3],
            ],
            [0],
            [3],
        ],
        "decoder": [
            [
                ["input", [], SHAPE, None],
                [
                    "StridedSlice",
                    [["value", 0]],
                    SHAPE,
                    [[0, 1, 1], [0, 4, 1], [0, 4, 1], [1, -1, -1]],
                ],
                ["RealDiv", [["value", 1], ["constant", 0]], SHAPE, None],
            ],
            [0],
            [2],
        ],
    }


def load(told: Any, constants: Any = CONSTANTS) -> GraphGlow:
    return from_json(told if isinstance(told, str) else json.dumps(told), constants)


def test_a_sound_program_runs_and_comes_back() -> None:
    model = load(sound())
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 2), np.uint8)
    eps = model.encode(images)
    want = 2 * ((images[..., ::-1].astype(np.float64) + 0.5) / 256 - 0.5)
    np.testing.assert_allclose(eps[0], want, atol=1e-6)
    np.testing.assert_array_equal(model.decode(eps), images)
    again = load(to_json(model.config, model.encoder, model.decoder))
    np.testing.assert_array_equal(again.encode(images)[0], eps[0])


def instruction(i: int, *fields: Any) -> Callable[[Told], Any]:
    """The encoder's instruction i becomes another."""

    def change(told: Told) -> None:
        told["encoder"][0][i] = list(fields)

    return change


def config(**fields: Any) -> Callable[[Told], Any]:
    return lambda told: told["config"].update(fields)


def encoder(place: int, value: Any) -> Callable[[Told], Any]:
    return lambda told: told["encoder"].__setitem__(place, value)


X, TWO = ["value", 0], ["constant", 0]
HUGE = 10**30
WRONG: dict[str, Callable[[Told], Any]] = {
    "an unknown operation": instruction(1, "Gemm", [X, TWO], SHAPE, None),
    "an operation that is a number": instruction(1, 3, [X, TWO], SHAPE, None),
    "an operation that is a list": instruction(1, ["Mul"], [X, TWO], SHAPE, None),
    "an instruction of three fields": instruction(1, "Mul", [X, TWO], SHAPE),
    "one argument of two": instruction(1, "Mul", [X], SHAPE, None),
    "two arguments of one": instruction(1, "Exp", [X, X], SHAPE, None),
    "no arguments": instruction(1, "ConcatV2", [], SHAPE, 3),
    "a later argument": instruction(1, "Mul", [["value", 2], TWO], SHAPE, None),
    "an argument that is itself": instruction(1, "Mul", [["value", 1], TWO], SHAPE, None),
    "a negative argument": instruction(1, "Mul", [["value", -1], TWO], SHAPE, None),
    "a true argument": instruction(2, "Mul", [["value", True], TWO], SHAPE, None),
    "a fraction for an argument": instruction(1, "Mul", [["value", 0.0], TWO], SHAPE, None),
    "an unknown kind": instruction(1, "Mul", [["other", 0], TWO], SHAPE, None),
    "a kind that is a list": instruction(1, "Mul", [[[], 0], TWO], SHAPE, None),
    "an argument of three": instruction(1, "Mul", [["value", 0, 0], TWO], SHAPE, None),
    "no such constant": instruction(1, "Mul", [X, ["constant", 9]], SHAPE, None),
    "another shape": instruction(1, "Mul", [X, TWO], [1, 4, 4, 4], None),
    "a shape that broadcasts": instruction(1, "Mul", [X, TWO], [1, 2**20, 4, 4, 2], None),
    "a shape of text": instruction(1, "Mul", [X, TWO], "1442", None),
    "a shape of nothing": instruction(1, "Mul", [X, TWO], [], None),
    "a shape of zeros": instruction(1, "Mul", [X, TWO], [1, 0, 4, 2], None),
    "a shape of fractions": instruction(1, "Mul", [X, TWO], [1.0, 4, 4, 2], None),
    "a shape of 10^30": instruction(1, "Reshape", [X], [1, HUGE], None),
    "a reshape to more": instruction(1, "Reshape", [X], [1, 2**20], None),
    "an axis beyond": instruction(3, "Gather", [X, ["constant", 2]], SHAPE, 9),
    "an axis of text": instruction(3, "Gather", [X, ["constant", 2]], SHAPE, "3"),
    "a gather of fractions": instruction(3, "Gather", [X, TWO], SHAPE, 3),
    "a gather of values": instruction(3, "Gather", [X, X], SHAPE, 3),
    "a padding of 10^30": instruction(1, "Pad", [X], SHAPE, [[0, 0], [HUGE, 0], [0, 0], [0, 0]]),
    "a padding of text": instruction(1, "Pad", [X], SHAPE, "abcd"),
    "a padding of other axes": instruction(1, "Pad", [X], SHAPE, [[0, 0]]),
    "a negative padding": instruction(1, "Pad", [X], SHAPE, [[0, 0], [-1, 1], [0, 0], [0, 0]]),
    "no padding": instruction(1, "Pad", [X], SHAPE, None),
    "a slice without a step": instruction(1, "StridedSlice", [X], SHAPE, [[0, 1]] * 4),
    "a step of zero": instruction(1, "StridedSlice", [X], SHAPE, [[0, 4, 0]] * 4),
    "a slice of other axes": instruction(1, "StridedSlice", [X], SHAPE, [[0, 4, 1]]),
    "a slice of text": instruction(1, "StridedSlice", [X], SHAPE, [["0", 4, 1]] * 4),
    "an order that repeats": instruction(1, "Transpose", [X], SHAPE, [0, 1, 1, 3]),
    "an order of text": instruction(1, "Transpose", [X], SHAPE, ["0", 1, 2, 3]),
    "a concatenation of images": instruction(1, "ConcatV2", [X, X], [2, 4, 4, 2], 0),
    "a concatenation of shapes": instruction(1, "ConcatV2", [X, TWO], [1, 5, 4, 2], 1),
    "an unknown padding": instruction(2, "Conv2D", [X, ["constant", 1]], SHAPE, "FULL"),
    "a padding that is a list": instruction(2, "Conv2D", [X, ["constant", 1]], SHAPE, ["SAME"]),
    "a kernel of two axes": instruction(2, "Conv2D", [X, ["constant", 2]], SHAPE, "SAME"),
    "a kernel that is a value": instruction(2, "Conv2D", [X, X], SHAPE, "SAME"),
    "a sum over what is not there": instruction(1, "Sum", [X], [1, 1, 1, 1], [1, 2, 7]),
    "a sum over text": instruction(1, "Sum", [X], [1, 1, 1, 1], "123"),
    "a sum over a number": instruction(1, "Sum", [X], [1, 1, 1, 1], 3),
    "a sum twice over an axis": instruction(1, "Sum", [X], [1, 1, 4, 2], [1, 1]),
    "a sum twice, once from the end": instruction(1, "Sum", [X], [1, 1, 4, 2], [1, -3]),
    "a maximum of nothing": instruction(1, "Max", [["constant", 3]], [1], [1]),
    "a gather from nothing": instruction(
        1, "Gather", [["constant", 3], ["constant", 2]], [1, 2], 1
    ),
    "a hundred arguments": instruction(1, "ConcatV2", [X] * 100, [1, 400, 4, 2], 1),
    "an input amid": instruction(1, "input", [], SHAPE, None),
    "an input of another shape": instruction(0, "input", [], [1, 8, 2, 2], None),
    "no instructions": encoder(0, []),
    "an instruction that is a number": encoder(0, [3]),
    "inputs of text": encoder(1, "0"),
    "inputs twice": encoder(1, [0, 0]),
    "outputs beyond": encoder(2, [9]),
    "outputs that are true": encoder(2, [True]),
    "outputs of another shape": encoder(2, []),
    "no encoder": lambda told: told.pop("encoder"),
    "an encoder that is text": lambda told: told.update(encoder="abc"),
    "no config": lambda told: told.pop("config"),
    "an unknown field": config(surprise=1),
    "an image of text": config(image_height="4"),
    "an image of nothing": config(image_height=0),
    "an image of 10^30": config(image_height=HUGE),
    "no latents": config(latent_shapes=[]),
    "latents of another size": config(latent_shapes=[[4, 4, 3]]),
    "latents of text": config(latent_shapes=["442"]),
    "latents that are a number": config(latent_shapes=3),
    "bits of text": config(n_bits="8"),
    "99 bits": config(n_bits=99),
    "true bits": config(n_bits=True),
    "classes": config(n_classes=3),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_in_one_line(name: str) -> None:
    told = copy.deepcopy(sound())
    WRONG[name](told)
    with pytest.raises(InputError) as caught:
        load(told, [*CONSTANTS, np.zeros((1, 0))])
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


def test_images_that_need_much_memory_are_computed_a_few_at_once() -> None:
    told = sound()
    wide = [1, 2**13, 2**12, 2]  # 256 MiB
    told["encoder"][0][1] = ["Pad", [X], wide, [[0, 0], [0, 2**13 - 4], [0, 2**12 - 4], [0, 0]]]
    told["encoder"][0][2] = ["Gather", [["value", 1], ["constant", 2]], wide, 3]
    told["encoder"][0][3] = [
        "StridedSlice",
        [["value", 2]],
        SHAPE,
        [[0, 1, 1], [0, 4, 1], [0, 4, 1], [0, 2, 1]],
    ]
    made = str(jax.make_jaxpr(load(told).encode_x)(np.zeros((6, 4, 4, 2), np.float32)))
    at_once = {int(n) for n in re.findall(r"\[(\d+),1,8192,4096,2\]", made)}
    assert at_once and max(at_once) < 3, made


def test_more_convolutions_than_a_glow_has_are_refused() -> None:
    told = sound()
    told["encoder"][0] += [["Conv2D", [X, ["constant", 1]], SHAPE, "SAME"]] * 1000
    with pytest.raises(InputError, match="more than 1000 convolutions"):
        load(told)


def test_the_limits_hold_openais_256_pixel_model() -> None:
    """6 levels of 32 steps, 512 wide: 773 convolutions, and 67 MiB of values at once."""
    golden = lzma.decompress((GOLDEN / "openai_affine_graph.pb.xz").read_bytes())
    made = graph_model(read_graph(np.frombuffer(golden, np.uint8)), Options(None, None, {}, False))
    small, _ = openai_encoder(32, 3, 3, 16)
    kinds = [Counter((i.op, i.shape) for i in p.instructions) for p in (made.encoder, small)]
    assert kinds[0] == kinds[1]
    program, constants = openai_encoder(256, 6, 32, 512)
    assert sum(i.op == "Conv2D" for i in program.instructions) == 6 * 32 * 4 + 5
    program.check(constants)


def test_a_graph_that_is_too_large_is_not_read() -> None:
    with pytest.raises(InputError, match="a graph of more than 1024 MiB"):
        read_graph(np.broadcast_to(np.uint8(0), (2**30 + 1,)))


def test_what_one_image_costs_is_bounded() -> None:
    """By arguments too: a sum of many numbers is one number."""
    large, one = [1, 2**10, 2**10, 64], [1, 1, 1, 1]
    fills = ["Add", [["constant", 3], ["constant", 3]], large, None]
    for op, n, of in (("Neg", 300, large), ("Exp", 40, large), ("Sum", 300, one)):
        told = sound()
        detail = [1, 2, 3] if op == "Sum" else None
        told["encoder"][0][1:1] = [fills, *[[op, [["value", 1]], of, detail]] * n]
        with pytest.raises(InputError, match="more than 9000000 steps"):
            load(told, [*CONSTANTS, np.broadcast_to(np.float32(1), large)])


def test_a_convolution_of_whole_numbers_runs() -> None:
    told = sound()
    told["encoder"][0][1] = ["StridedSlice", [["constant", 3]], SHAPE, [[0, 9, 1]] * 4]
    constants = [*CONSTANTS, np.arange(32, dtype=np.int32).reshape(SHAPE)]
    (eps,) = from_json(json.dumps(told), constants).encode(np.zeros((1, 4, 4, 2), np.uint8))
    assert np.asarray(eps).ravel().tolist()[:4] == [1, 0, 3, 2]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "null", "[" * 100_000, '"' + "a" * 100, "9" * 5000, "NaN"]
)
def test_what_is_no_program_is_said_to_be_none(text: str) -> None:
    with pytest.raises(InputError, match=r"program.json is malformed"):
        load(text)


def npz(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return path


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_constants_come_back(tmp_path: Path) -> None:
    arrays = [*CONSTANTS, np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.zeros((0, 3))]
    np.savez(tmp_path / "constants.npz", **{str(i): a for i, a in enumerate(arrays)})  # type: ignore[arg-type]
    read = read_constants(tmp_path / "constants.npz")
    assert len(read) == len(arrays)
    for got, want in zip(read, arrays, strict=True):
        np.testing.assert_array_equal(got, want)
        assert got.dtype == want.dtype


def test_constants_that_lie_are_refused(tmp_path: Path) -> None:
    """Sizes that are not there, objects, other versions, packed members, other names."""
    sound, path = npy(np.zeros((2, 2))), tmp_path / "constants.npz"
    for array in (np.array(["a"]), np.array([1 + 2j]), np.zeros(2, [("a", "f4")])):
        with pytest.raises(InputError, match="not of numbers"):
            read_constants(npz(path, **{"0": npy(array)}))
    for data in (
        sound.replace(b"(2, 2)", b"(2**9)"),
        sound.replace(b"(2, 2), ", b"(9999999999999, 9999999999), "),
        sound.replace(b"'<f8'", b"'|O' "),
        sound.replace(b"NUMPY\1", b"NUMPY\2"),
        sound[:20],
        b"",
    ):
        with pytest.raises(InputError, match=r"constants.npz"):
            read_constants(npz(path, **{"0": data}))
    with pytest.raises(InputError, match=r"constants.npz is malformed"):
        read_constants(npz(path, **{"1": sound}))
    np.savez_compressed(path, **{"0": np.zeros(10**6)})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="is compressed"):
        read_constants(path)
    path.write_bytes(b"PK")
    with pytest.raises(InputError, match=r"constants.npz is malformed"):
        read_constants(path)


def test_constants_too_large_or_too_many_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "constants.npz"
    with path.open("wb") as file:
        file.truncate(2**30 + 1)
    with pytest.raises(InputError, match="bytes; at most 1073741824 are read"):
        read_constants(path)
    many = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 9, 9, 2**21, 0, 0)
    path.write_bytes(bytes(2**21) + many)
    with pytest.raises(InputError, match="has more than 20000 arrays"):
        read_constants(path)


def test_a_model_that_could_not_be_loaded_is_not_saved(tmp_path: Path) -> None:
    model = load(sound())
    model.constants.append(np.broadcast_to(np.float32(1), (2**28,)))
    with pytest.raises(InputError, match="1024 MiB of constants are more than can be loaded"):
        save_graph(model, tmp_path / "model", {})
    assert not list(tmp_path.iterdir())


# -- what each instruction may, and all together may not


def repeated(n: int, *fields: Any) -> Callable[[Told], Any]:
    """n instructions, each of the one before it."""

    def change(told: Told) -> None:
        op, args, shape, detail = fields
        first = [["input", [], SHAPE, None]]
        told["encoder"][0] = first + [[op, [["value", i], *args], shape, detail] for i in range(n)]

    return change


def wide(n: int) -> Callable[[Told], Any]:
    """n values of 32 MB that are all needed at the end."""
    shape = [1, 2**21, 4]

    def change(told: Told) -> None:
        made = [["Add", [["constant", 3], ["constant", 3]], shape, None] for _ in range(n)]
        told["encoder"][0] = [["input", [], SHAPE, None], *made]
        told["encoder"][2] = list(range(1, n + 1))

    return change


COSTLY: dict[str, tuple[Callable[[Told], Any], str]] = {
    "instructions": (repeated(20_000, "Neg", [], SHAPE, None), "more than 9000 instructions"),
    "exponentials": (repeated(2_000, "Exp", [], SHAPE, None), "more than 700"),
    "products": (
        repeated(2_000, "Conv2D", [["constant", 4]], [1, 1024, 1024, 2], "SAME"),
        "instruction 1 ",
    ),
    "memory": (wide(100), "needs more than 1024 MiB at once"),
}


@pytest.mark.parametrize("name", COSTLY)
def test_programs_that_cost_too_much_are_refused_at_once(name: str) -> None:
    change, words = COSTLY[name]
    told = sound()
    change(told)
    more = [np.broadcast_to(np.float32(1), (1, 2**21, 4)), np.ones((3, 3, 2, 2))]
    start = time.process_time()
    with pytest.raises(InputError, match=words):
        load(told, [*CONSTANTS, *more])
    assert time.process_time() - start < 10


def test_convolutions_are_counted_in_total() -> None:
    """A thousand of 1 GFLOP each, of which one would do."""
    told = sound()
    size = 1024
    shape = [1, size, size, 2]
    told["config"] |= {"image_height": size, "image_width": size, "latent_shapes": [shape[1:]]}
    for n, said in ((1, None), (4000, "steps")):
        args = [["constant", 3]]
        repeated(n, "Conv2D", args, shape, "SAME")(told)
        told["encoder"][0][0][2] = shape
        told["encoder"][2] = [n]
        told["decoder"] = [[["input", [], shape, None]], [0], [0]]
        constants = [*CONSTANTS, np.ones((11, 11, 2, 2))]
        if said is None:
            assert load(told, constants).config.image_height == size
            continue
        with pytest.raises(InputError, match=said):
            load(told, constants)
