"""One set of weights as people save it: any nesting, prefix and neighbour, the same numbers.

Files are written here without PyTorch; where it is installed, it must read them too.
"""

import argparse
import collections
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.robustness.files.pytorch_files import (
    ORDERED,
    REBUILD,
    WRITERS,
    Call,
    Global,
    Persistent,
    Storage,
    Tensor,
    pickled,
    tensor,
    write_legacy,
    write_zip,
)
from bench.robustness.files.wrappings import (
    NEIGHBOURS,
    RAW,
    averaged,
    between,
    half,
    loose,
    old_tar,
    prefixed,
    raw,
    sparse,
)
from glow_jax.io.errors import InputError
from tests.support.converted import Converted

ONE = np.ones(1, np.float32)

# -- nestings

NESTINGS: dict[str, Callable[[], Any]] = {
    "bare": raw,
    "an OrderedDict with metadata": lambda: Call(
        ORDERED, ([[n, t] for n, t in raw().items()],), {"_metadata": {"": {"version": 1}}}
    ),
    "five dicts deep": lambda: {"a": {"b": {"c": {"d": {"e": raw()}}}}},
    "a list": lambda: [3, raw()],
    "lists and tuples": lambda: [("x", [1, (raw(),)])],
    "pairs": lambda: list(raw().items()),
    "a tuple of pairs": lambda: tuple(raw().items()),
    "a number for a key": lambda: {0: raw(), 1: "x"},
    "a defaultdict": lambda: collections.defaultdict(dict, {"model": raw()}),
    "a Namespace": lambda: argparse.Namespace(model=raw(), epoch=3),
    "a dict of an unknown class": lambda: {
        "net": Call(Global("easydict", "EasyDict"), ({"model": raw()},))
    },
    "DataParallel": lambda: prefixed("module.", raw()),
    "torch.compile": lambda: prefixed("_orig_mod.", raw()),
    "compiled and parallel": lambda: prefixed("_orig_mod.module.", raw()),
    "compiled inside": lambda: between("_orig_mod"),
    "sharded inside": lambda: between("_fsdp_wrapped_module"),
    "parallel inside": lambda: between("module"),
    "a deep prefix": lambda: prefixed("a.b.c.net.glow.", raw()),
    "Lightning": lambda: {"epoch": 3, "state_dict": prefixed("model.", raw()), "callbacks": {}},
    "Lightning with a loss": lambda: {
        "state_dict": prefixed("model.", raw()) | {"loss.vgg.0.weight": loose()}
    },
    "Lightning that is the model": lambda: {
        "state_dict": raw() | {"val.total": loose(), "lpips.net.0.weight": loose("y")}
    },
    "AveragedModel": lambda: {"n_averaged": loose()} | prefixed("module.", raw()),
    "an optimiser by name": lambda: {
        "optim": {"state": {n: {"exp_avg": t} for n, t in averaged().items()}},
        "model": raw(),
    },
    "Parameters": lambda: {
        n: Call(Global("torch._utils", "_rebuild_parameter"), (t, True, Call(ORDERED, ())))
        for n, t in raw().items()
    },
    "Parameters with attributes": lambda: {
        n: Call(
            Global("torch._utils", "_rebuild_parameter_with_state"),
            (t, True, Call(ORDERED, ()), {"role": "weight"}),
        )
        for n, t in raw().items()
    },
    "tensors with attributes": lambda: {
        n: Call(
            Global("torch._tensor", "_rebuild_from_type_v2"),
            (
                REBUILD,
                Global("torch", "Tensor"),
                (*t, False, Call(ORDERED, ())),
                {"attribute": 1},
            ),
        )
        for n, t in raw().items()
    },
    "tensors of another device": lambda: {
        n: Call(
            Global("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"),
            (t, Global("torch", "float32"), "xla:0", False),
        )
        for n, t in raw().items()
    },
    "NumPy arrays": lambda: {"model": dict(RAW)},
}


@pytest.mark.parametrize("writer", ["zip", "legacy"])
@pytest.mark.parametrize("name", NESTINGS)
def test_every_nesting_converts(name: str, writer: str, converted: Converted) -> None:
    made = converted(WRITERS[writer](converted.folder / "a.pt", NESTINGS[name]()))
    assert made.equals(RAW)
    told = [note for note in made.notes if "left out" in note or "averages" in note]
    assert bool(told) == (name in TOLD), made.notes
    for part in TOLD.get(name, ()):
        assert part in told[0]


TOLD = {
    "Lightning with a loss": ("not part of the flow", "loss.vgg.0.weight"),
    "Lightning that is the model": ("not part of the flow", "val.total", "lpips.net.0.weight"),
    "AveragedModel": ("moving averages",),
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_plain_pickle_of_arrays_converts(protocol: int, converted: Converted) -> None:
    path = converted.folder / "a.pkl"
    path.write_bytes(pickle.dumps({"model": RAW, "epoch": 3}, protocol))
    assert converted(path).equals(RAW)


def test_tensors_that_were_pickled_without_torch_save_convert(converted: Converted) -> None:
    """Each of them holds a file of PyTorch's older format, with its storage."""

    def inside(t: Tensor) -> Any:
        path = write_legacy(converted.folder / "storage", t.storage)
        held = Call(Global("torch.storage", "_load_from_bytes"), (path.read_bytes(),))
        return Call(REBUILD, (held, *t[1:], False, Call(ORDERED, ())))

    state = {n: inside(t) for n, t in raw().items()}
    path = converted.folder / "a.pkl"
    path.write_bytes(pickled(state)[0])
    assert converted(path).equals(RAW)


# -- neighbours


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_every_neighbour_is_let_be(name: str, converted: Converted) -> None:
    """Before the weights in a zip archive, and after them in an older file."""
    beside, weights = {"beside": NEIGHBOURS[name]()}, {"model": raw()}
    assert converted(write_zip(converted.folder / "a.pt", beside | weights)).equals(RAW)
    assert converted(write_legacy(converted.folder / "b.pt", weights | beside)).equals(RAW)


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_torch_reads_these_files_or_says_why(name: str, converted: Converted) -> None:
    """What torch's own weights-only loader reads, this one must; and these files are real."""
    torch = pytest.importorskip("torch")
    path = write_zip(converted.folder / "a.pt", {"model": raw(), "beside": NEIGHBOURS[name]()})
    try:
        read = torch.load(path, weights_only=True, map_location="cpu")
    except (pickle.UnpicklingError, RuntimeError):
        return
    for key, array in RAW.items():
        np.testing.assert_array_equal(read["model"][key].numpy(), array)
    assert converted(path).equals(RAW)


# -- tensors as they lie


def test_expanded_weights_convert(converted: Converted) -> None:
    """A stride of zero: one number for many."""
    name = "flow.layers.1.actnorm.logs"
    expanded = Tensor(Storage("one", np.full(1, 0.25, np.float32)), 0, (1, 4, 1, 1), (0, 0, 0, 0))
    made = converted(write_zip(converted.folder / "a.pt", raw() | {name: expanded}))
    assert made.equals(RAW | {name: np.full((1, 4, 1, 1), 0.25, np.float32)})


def test_negated_views_convert(converted: Converted) -> None:
    """A tensor that torch only marks as negated: its storage has the other sign."""
    marks = Call(ORDERED, ([["neg", True]],))
    state = {
        n: Call(REBUILD, (*tensor(-a, f"n{i}"), False, Call(ORDERED, ()), marks))
        for i, (n, a) in enumerate(RAW.items())
    }
    assert converted(write_zip(converted.folder / "a.pt", state)).equals(RAW)
    flags = {"b": Call(REBUILD, (*tensor(ONE > 0, "b"), False, Call(ORDERED, ()), marks))}
    name = "flow.layers.1.actnorm.logs"
    with pytest.raises(InputError, match="a type without one"):
        converted(write_zip(converted.folder / "b.pt", raw() | {name: flags["b"]}))


@pytest.mark.parametrize(
    ("kind", "words"), [(np.complex64, "has complex numbers"), (np.int8, r"quantised \(int8\)")]
)
def test_numbers_that_are_no_weights_are_refused(
    kind: type, words: str, converted: Converted
) -> None:
    name = "flow.layers.1.block.2.conv.weight"
    state = raw() | {name: tensor((50 * RAW[name]).astype(kind), "other")}
    with pytest.raises(InputError, match=f"{name} (is )?{words}"):
        converted(write_zip(converted.folder / "a.pt", state))


def test_weights_in_any_order_of_axes_convert(converted: Converted) -> None:
    def turned(array: np.ndarray, key: str) -> Tensor:
        flat = np.ascontiguousarray(array.T)
        stride = tuple(s // array.itemsize for s in flat.strides)[::-1]
        return Tensor(Storage(key, flat.reshape(-1)), 0, array.shape, stride)

    state = {n: turned(a, str(i)) for i, (n, a) in enumerate(RAW.items())}
    assert converted(write_zip(converted.folder / "a.pt", state)).equals(RAW)


def test_views_of_one_storage_as_before_torch_0_4(converted: Converted) -> None:
    """A persistent id that names a part of another storage."""
    whole = np.concatenate([a.reshape(-1) for a in RAW.values()])
    state, at = {}, 0
    for name, array in RAW.items():
        part = (f"v{at}", at, array.size)
        kind = Global("torch", "FloatStorage")
        pid = Persistent(("storage", kind, "base", "cuda:0", len(whole), part))
        stride = tuple(s // 4 for s in array.strides)
        state[name] = Call(Global("torch._utils", "_rebuild_tensor"), (pid, 0, array.shape, stride))
        at += array.size
    base = {"also": Tensor(Storage("base", whole), 0, (1,), (1,))}
    path = write_legacy(converted.folder / "a.pt", base | {"model": state})
    assert converted(path).equals(RAW)


def test_a_big_endian_zip_converts(converted: Converted) -> None:
    """torch reads those too."""
    swapped = {
        n: tensor(a.astype(">f4").view("<f4"), str(i)) for i, (n, a) in enumerate(RAW.items())
    }
    path = write_zip(converted.folder / "a.pt", swapped, more={"archive/byteorder": b"big"})
    assert converted(path).equals(RAW)


def test_an_archive_of_the_first_torch_converts(converted: Converted) -> None:
    path = converted.folder / "a.pt"
    path.write_bytes(old_tar(RAW))
    assert converted(path).equals(RAW)
    path.write_bytes(old_tar(RAW)[:2000])
    with pytest.raises(InputError, match="truncated"):
        converted(path)


# -- one line

MODULE = Call(
    Global("__main__", "Glow"),
    (),
    {"training": True, "_parameters": {}, "_buffers": {}, "_modules": {}},
)
SAID: dict[str, tuple[Any, str]] = {
    "a module": (MODULE, "a pickled module (__main__.Glow).*state_dict()"),
    "a module in a dict": ({"epoch": 1, "net": MODULE}, "a pickled module.*state_dict()"),
    "no arrays": ({"epoch": 1}, "holds no state_dict"),
    "one object": (Call(Global("a", "B"), ()), "holds no state_dict: it is a a.B"),
    "another model": ({"m": {"conv1.weight": loose()}}, "names like conv1.weight"),
    "sparse weights": (
        {n: sparse() if "block.2.conv" in n else t for n, t in raw().items()},
        "missing flow.layers.1.block.2.conv.weight; .*_rebuild_sparse_tensor, which is not read",
    ),
    "weights without numbers": (
        {"model": dict.fromkeys(RAW, NEIGHBOURS["a tensor without numbers"]())},
        "its tensors, such as .*, have no numbers (device meta): load the weights",
    ),
    "one weight without numbers": (
        raw() | {"flow.layers.1.actnorm.logs": NEIGHBOURS["a tensor without numbers"]()},
        "missing flow.layers.1.actnorm.logs; .*, have no numbers (device meta)",
    ),
    "sparse weights alone": (
        {"model": dict.fromkeys(RAW, sparse())},
        "its tensors, such as .*, are made by torch._utils._rebuild_sparse_tensor, which is not",
    ),
    "half of it": ({"model": half(raw())}, "block.4.conv.weight is missing"),
    "SRFlow": ({"flowUpsamplerNet.layers.1.w": loose()}, "SRFlow"),
}


@pytest.mark.parametrize("name", SAID)
def test_what_is_no_set_of_weights_is_said_in_one_line(name: str, converted: Converted) -> None:
    saved, words = SAID[name]
    with pytest.raises(InputError, match=words.replace("(", r"\(").replace(")", r"\)")) as caught:
        converted(write_zip(converted.folder / "a.pt", saved))
    assert str(caught.value).isprintable()


def test_a_torchscript_archive_is_said_to_be_one(converted: Converted) -> None:
    more = {"archive/constants.pkl": b"\x80\x02).", "archive/code/__torch__.py": b"class A: ..."}
    path = write_zip(converted.folder / "a.pt", {"w": loose()}, more=more)
    with pytest.raises(InputError, match=r"TorchScript.*state_dict\(\)"):
        converted(path)
