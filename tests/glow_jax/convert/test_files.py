"""Files of other codes as files: read without their libraries, never run, whole or refused.

The files are written here, byte by byte: PyTorch's two formats, safetensors, TensorFlow's
checkpoints and frozen graphs. Values are tested against the codes themselves elsewhere.
"""

import collections
import contextlib
import functools
import http.server
import io
import json
import os
import pickle
import random
import shutil
import struct
import subprocess
import sys
import tarfile
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_dtypes
import numpy as np
import pytest

import glow_jax
from bench.robustness.files.pytorch_files import (
    ORDERED,
    REBUILD,
    WRITERS,
    Call,
    Global,
    Opcodes,
    Persistent,
    Storage,
    Tensor,
    called,
    glowip_state,
    pickled,
    raw,
    short,
    tensor,
    tensors,
    text,
    write_legacy,
    write_zip,
    y0ast_state,
)
from bench.robustness.files.safetensors_file import write_safetensors
from bench.robustness.files.tensorflow_files import (
    POOL,
    TOP,
    appended,
    field,
    graph_of,
    openai_variables,
    plain_entry,
    shape_proto,
    table,
    table_of_blocks,
    write_bundle,
)
from glow_jax.cli.main import main
from glow_jax.convert import Conversion, SelfCheck, convert
from glow_jax.convert.blob import mapped
from glow_jax.convert.pickle_machine import Dict, Opaque
from glow_jax.convert.safetensors_file import read_safetensors
from glow_jax.convert.tf_checkpoint import read_tf_checkpoint
from glow_jax.convert.torch_file import read_torch_file
from glow_jax.convert.torch_tensors import PickledArray
from glow_jax.convert.torch_tensors import Tensor as ReadTensor
from glow_jax.io.budget import Budget
from glow_jax.io.errors import InputError
from tests.support.bombs import Bomb, Outcome, outcomes_of
from tests.support.models import glow
from tests.support.paths import ROOT

REPOSITORY = ROOT
Arrays = dict[str, np.ndarray]

# -- what is read

KINDS: dict[str, Any] = {
    "float32": np.float32,
    "float64": np.float64,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "int64": np.int64,
    "int32": np.int32,
    "int16": np.int16,
    "int8": np.int8,
    "uint8": np.uint8,
    "bool": np.bool_,
}


def random_array(kind: str, *shape: int) -> np.ndarray:
    values = np.random.default_rng(0).normal(0, 30, shape)
    return np.abs(values).astype(KINDS[kind]) if kind == "uint8" else values.astype(KINDS[kind])


def held(path: Path) -> Any:
    """What a file of PyTorch's holds, its containers and tensors as Python's and NumPy's."""
    budget = Budget()

    def plain(item: Any) -> Any:
        if isinstance(item, Dict):
            return {key: plain(value) for key, value in item.pairs}
        if isinstance(item, list | tuple):
            return type(item)(map(plain, item))
        return item.array(budget) if isinstance(item, ReadTensor | PickledArray) else item

    return plain(read_torch_file(mapped(path), budget))


def assert_same_arrays(got: Mapping[str, Any], want: Mapping[str, np.ndarray]) -> None:
    assert list(got) == list(want)
    for name, array in want.items():
        assert got[name].dtype == array.dtype, name
        assert got[name].shape == array.shape, name
        np.testing.assert_array_equal(got[name], array, err_msg=name)
        assert not got[name].flags.writeable, name


@pytest.mark.parametrize("writer", WRITERS)
def test_every_type_comes_back(writer: str, tmp_path: Path) -> None:
    arrays = {kind: random_array(kind, 3, 5) for kind in KINDS}
    path = WRITERS[writer](tmp_path / "a.pt", tensors(arrays))
    assert_same_arrays(held(path), arrays)


@pytest.mark.parametrize("writer", WRITERS)
def test_views_of_one_storage_come_back(writer: str, tmp_path: Path) -> None:
    """Transposed, sliced, overlapping, without axes, without elements."""
    values = np.arange(24, dtype=np.float32)
    storage = Storage("0", values)
    views = {
        "whole": Tensor(storage, 0, (4, 6), (6, 1)),
        "transposed": Tensor(storage, 0, (6, 4), (1, 6)),
        "every second column": Tensor(storage, 1, (4, 3), (6, 2)),
        "windows": Tensor(storage, 0, (4, 3), (1, 1)),
        "scalar": Tensor(storage, 23, (), ()),
        "one of each": Tensor(storage, 3, (1, 1, 1, 1), (24, 6, 6, 1)),
        "empty": Tensor(storage, 0, (0, 4), (4, 1)),
    }
    whole = values.reshape(4, 6)
    want = {
        "whole": whole,
        "transposed": whole.T,
        "every second column": whole[:, 1::2],
        "windows": np.lib.stride_tricks.sliding_window_view(values, 3)[:4],
        "scalar": np.asarray(23, np.float32),
        "one of each": np.full((1, 1, 1, 1), 3, np.float32),
        "empty": np.zeros((0, 4), np.float32),
    }
    got = held(WRITERS[writer](tmp_path / "a.pt", views))
    assert list(got) == list(want)
    for name, array in want.items():
        assert got[name].shape == array.shape
        np.testing.assert_array_equal(got[name], array, err_msg=name)


@pytest.mark.parametrize("writer", WRITERS)
def test_what_stands_beside_the_weights_is_let_be(writer: str, tmp_path: Path) -> None:
    """An optimiser, parameters, sizes, NumPy scalars, `_metadata`: of all files that we know."""
    weight = random_array("float32", 2, 3)
    metadata = collections.OrderedDict({"": {"version": 1}})
    pairs = [("weight", tensor(weight, "0"))]
    state = Call(ORDERED, (pairs,), {"_metadata": metadata})
    dtype = Call(Global("numpy", "dtype"), ("f8", False, True), (3, "<", None, None, None, -1))
    number = Call(
        Global("numpy.core.multiarray", "scalar"),
        (dtype, Call(Global("_codecs", "encode"), ("\0" * 8, "latin1"))),
    )
    parameter = Call(
        Global("torch._utils", "_rebuild_parameter"),
        (tensor(weight, "1"), True, Call(ORDERED, ())),
    )
    optimiser = {
        "state": {0: {"step": tensor(np.ones((), np.float32), "2"), "exp_avg": parameter}},
        "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "params": [0], "amsgrad": False}],
    }
    saved = {
        "epoch": 3,
        "loss": number,
        "best": None,
        "size": Call(Global("torch", "Size"), ((2, 3),)),
        "optim": optimiser,
        "parameter": parameter,
        "model": state,
    }
    got = held(WRITERS[writer](tmp_path / "a.pt", saved))
    np.testing.assert_array_equal(got["model"]["weight"], weight)
    np.testing.assert_array_equal(got["parameter"], weight)
    assert got["epoch"] == 3 and got["best"] is None and isinstance(got["loss"], Opaque)
    assert list(got["model"]) == ["weight"]


def test_torch_reads_what_is_written_here(tmp_path: Path) -> None:
    """The writers of this file make files that torch itself accepts."""
    torch = pytest.importorskip("torch")
    arrays = y0ast_state() | {"half": random_array("float16", 3)}
    for name, write in WRITERS.items():
        path = write(tmp_path / f"{name}.pt", tensors(arrays))
        if "packed" not in name:  # torch maps members and cannot read packed ones
            read = torch.load(path, weights_only=True, map_location="cpu")
            assert_same_arrays(held(path), {k: v.numpy() for k, v in read.items()})


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_what_torch_writes_is_read(is_zip: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    optimiser = torch.optim.Adam(net.parameters())
    net(torch.randn(2, 2, 4, 4)).sum().backward()
    optimiser.step()
    base = torch.randn(6, 4)
    saved = {
        "net": net.state_dict(),
        "optim": optimiser.state_dict(),
        "views": {
            "transposed": base.t(),
            "slice": base[1::2, 1:3],
            "parameter": torch.nn.Parameter(base),
            "scalar": base[3, 2],
            "half": base.half(),
            "bfloat16": base.bfloat16(),
            "long": torch.arange(5),
            "bool": base > 0,
        },
        "epoch": 7,
    }
    path = tmp_path / "a.pt"
    torch.save(saved, path, _use_new_zipfile_serialization=is_zip)
    want, got = torch.load(path, weights_only=True), held(path)
    for part in ("net", "views"):
        assert list(got[part]) == list(want[part])
        for name, value in want[part].items():
            array = got[part][name]
            if name == "bfloat16":
                array, value = array.astype(np.float32), value.float()
            assert array.dtype == value.detach().numpy().dtype
            np.testing.assert_array_equal(array, value.detach().numpy(), err_msg=name)


def test_safetensors_come_back(tmp_path: Path) -> None:
    kinds = [k for k in KINDS if k in ("float32", "float64", "float16", "int64", "int32", "uint8")]
    arrays = {kind: random_array(kind, 3, 5) for kind in kinds}
    arrays |= {"scalar": np.asarray(2, np.float32)}
    path = write_safetensors(tmp_path / "a.safetensors", arrays)
    got = read_safetensors(mapped(path))
    assert list(got) == list(arrays)
    for name, array in arrays.items():
        assert got[name].dtype == array.dtype
        np.testing.assert_array_equal(got[name], array)
    bits = random_array("bfloat16", 4)
    header = {"b": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bits.tobytes())
    np.testing.assert_array_equal(read_safetensors(mapped(path))["b"], bits)


def test_bundles_come_back(tmp_path: Path) -> None:
    arrays = openai_variables() | {"Variable": np.asarray(3, np.int32)}
    index = write_bundle(tmp_path / "model.ckpt", arrays)
    got = read_tf_checkpoint(index.with_suffix(""), Budget())
    assert sorted(got) == sorted(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(got[name], array)


# -- every kind of file converts


def write_graph(path: Path, **options: Any) -> Path:
    path.write_bytes(graph_of(openai_variables(), **options))
    return path


Sources = dict[str, Callable[[Path], tuple[Path, dict[str, Any]]]]
SIZED = {"image_size": (8, 8), "bits": 8}
# A folder to a file's path, and what the converter has to be told of it.
SOURCES: Sources = {
    "zip": lambda d: (write_zip(d / "a.pt", tensors(y0ast_state())), {}),
    "legacy": lambda d: (write_legacy(d / "a.pth", tensors(y0ast_state())), {}),
    "safetensors": lambda d: (write_safetensors(d / "a.safetensors", y0ast_state()), {}),
    "graph": lambda d: (write_graph(d / "a.pb"), {}),
    "index": lambda d: (write_bundle(d / "a.ckpt", openai_variables()), SIZED),
    "data": lambda d: (
        write_bundle(d / "a.ckpt", openai_variables()).with_name("a.ckpt.data-00000-of-00001"),
        SIZED,
    ),
}


def weights_of(path: Path) -> Any:
    return glow_jax.checkpoints.weights_of(glow_jax.load(path, fold=False))


@pytest.fixture(scope="module")
def conversions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Conversion]:
    """Every kind of source, converted."""
    root = tmp_path_factory.mktemp("models")
    made = {}
    for name, write in SOURCES.items():
        (root / name).mkdir()
        path, options = write(root / name)
        made[name] = convert(path, root / f"{name}-out", **options)
    return made


@pytest.fixture(scope="module")
def models(conversions: dict[str, Conversion]) -> dict[str, Path]:
    return {name: made.path for name, made in conversions.items()}


def fingerprint_of(path: Path) -> str:
    return glow_jax.load(path, fold=False).fingerprint


def test_the_format_changes_nothing(conversions: dict[str, Conversion]) -> None:
    """The same arrays in another kind of file become the same model, byte for byte."""
    prints = {name: fingerprint_of(made.path) for name, made in conversions.items()}
    assert prints["zip"] == prints["legacy"] == prints["safetensors"]
    assert prints["index"] == prints["data"]
    graph, checkpoint = conversions["graph"], conversions["index"]
    assert graph.config == checkpoint.config
    assert graph.check.bits_per_dim == pytest.approx(checkpoint.check.bits_per_dim, rel=1e-6)
    got, want = weights_of(graph.path), weights_of(checkpoint.path)
    got.pop("top"), want.pop("top")  # of which only what it computes is in a graph
    assert jax.tree.structure(got) == jax.tree.structure(want)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-7), got, want)


def test_a_card_tells_what_was_converted(models: dict[str, Path], capsys) -> None:
    card = json.loads((models["index"] / "card.json").read_text())
    assert card["format"] == "openai"
    assert card["origin"] == "converted from a.ckpt"
    assert sorted(card["source_sha256"]) == ["a.ckpt.data-00000-of-00001", "a.ckpt.index"]
    assert card["licence"] == "unknown: ask whoever trained it"
    assert card["self_check"]["round_trip_max"] < 0.01
    assert main(["info", str(models["zip"])]) == 0
    assert "y0ast" in capsys.readouterr().out


def test_quantised_graphs_tell_their_bits(tmp_path: Path, unlooked: None) -> None:
    path = write_graph(tmp_path / "a.pb", n_bits=5)
    assert convert(path, tmp_path / "out").config.n_bits == 5
    assert convert(path, tmp_path / "told", bits=5).config.n_bits == 5
    with pytest.raises(InputError, match="`bits` 8: the graph quantises to 5"):
        convert(path, tmp_path / "other", bits=8)


@pytest.mark.parametrize("stored", ["float16", "bfloat16", "float64"])
def test_other_precisions_convert(stored: str, tmp_path: Path) -> None:
    """Half-precision files are exact in float32; float64 is kept."""
    state = {n: a.astype(KINDS[stored]) for n, a in y0ast_state().items()}
    made = convert(write_legacy(tmp_path / "a.pt", tensors(state)), tmp_path / "out")
    kernel = state["flow.layers.1.block.2.conv.weight"][:, :, 0, 0].T.astype(np.float32)
    network = weights_of(made.path)["levels"]["0"]["steps"]["coupling"]["network"]
    np.testing.assert_array_equal(network["hidden_kernel"][0], kernel)


def test_wrapped_and_prefixed_state_dicts_convert(models: dict[str, Path], tmp_path: Path) -> None:
    """DataParallel's prefix, and a dict around the weights with larger ones beside."""
    prefixed = {f"module.{n}": t for n, t in tensors(y0ast_state()).items()}
    other = tensors({f"v{i}": np.zeros(2, np.float32) for i in range(99)})
    numbered = {n: t._replace(storage=t.storage._replace(key=f"x{n}")) for n, t in other.items()}
    saved = {"step": 3, "ema": numbered, "graph": prefixed}
    out = convert(write_legacy(tmp_path / "a.pkg", saved), tmp_path / "out").path
    assert fingerprint_of(out) == fingerprint_of(models["zip"])


def test_a_folder_with_one_checkpoint_is_enough(models: dict[str, Path], tmp_path: Path) -> None:
    for name in ("zip", "index"):
        (tmp_path / name).mkdir()
        _, options = SOURCES[name](tmp_path / name)
        out = convert(tmp_path / name, tmp_path / f"{name}-out", **options).path
        assert fingerprint_of(out) == fingerprint_of(models[name])


def test_a_checkpoint_file_says_which(models: dict[str, Path], tmp_path: Path) -> None:
    """TensorFlow's `checkpoint` names the newest of several; and the prefix is a name too."""
    folder = tmp_path / "run"
    folder.mkdir()
    write_bundle(folder / "old.ckpt", openai_variables(seed=1))
    write_bundle(folder / "new.ckpt", openai_variables())
    (folder / "checkpoint").write_text('model_checkpoint_path: "/home/a/run/new.ckpt"\n')
    log = {"image_size": 8, "n_bits_x": 5}
    (folder / "train.txt").write_text(json.dumps(log) + "\nepoch 0\n")
    made = convert(folder, tmp_path / "out")
    assert made.config.n_bits == 5
    np.testing.assert_array_equal(
        weights_of(made.path)["top"]["conv"]["bias"],
        openai_variables()["model/prior/p/b"].reshape(-1),
    )
    convert(folder / "old.ckpt", tmp_path / "out2")


def test_moving_averages_on_request(tmp_path: Path) -> None:
    raw, averaged = openai_variables(), openai_variables(seed=1)
    both = raw | {f"{n}/ExponentialMovingAverage": a for n, a in averaged.items()}
    index = write_bundle(tmp_path / "a.ckpt", both | {"Variable_1": np.zeros(3, np.float32)})
    for ema, want in ((False, raw), (True, averaged)):
        out = convert(index, tmp_path / f"out{ema}", ema=ema, **SIZED).path
        bias = weights_of(out)["top"]["conv"]["bias"]
        np.testing.assert_array_equal(bias, want["model/prior/p/b"].reshape(-1))


# -- one clear line


def refused(source: Path | str, out: Path, *words: str, **options: Any) -> str:
    """Convert, expecting an InputError of one line with `words`, and nothing written."""
    before = sorted(out.parent.iterdir())
    with pytest.raises(InputError) as caught:
        convert(source, out, **options)
    message = str(caught.value)
    assert message.isprintable(), message
    for word in words:
        assert word in message, message
    assert sorted(out.parent.iterdir()) == before
    return message


def cli_refused(capsys: pytest.CaptureFixture[str], words: list[str]) -> str:
    """The command must end with exit code 2 and one line on stderr; returns the line."""
    capsys.readouterr()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert main(["convert", *words]) == 2
    printed = capsys.readouterr()
    assert not warned, [str(w.message) for w in warned]  # more lines on a user's stderr
    assert not printed.out, printed
    assert printed.err.count("\n") == 1, printed.err
    assert printed.err.startswith("glow-jax convert: error: "), printed.err
    return printed.err


def png() -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("pickle"), io.BytesIO())
    return file.getvalue()


def zip_of(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


WRONG_FILES = {
    "a.png": png(),
    "a.txt": b"not a model\n",
    "umlaut.txt": "völlig falsch".encode() * 40,
    "empty.pt": b"",
    "empty.pb": b"",
    "empty.safetensors": b"",
    "a.tar": tar(),
    "a.pth.tar": tar(),
    "a.zip": zip_of(readme=b"hello"),
    "two.pt": zip_of(**{"a/data.pkl": b"\x80\x02}.", "b/data.pkl": b"\x80\x02}."}),
    "a.pkl": pickle.dumps({"weights": [1, 2]}),
    "tensor.pkl": pickle.dumps([1.0]),
    "a.json": b'{"config": 1}',
    "zeros.pt": bytes(1000),
    "a.npz": zip_of(**{"a.npy": b"\x93NUMPY"}),
    "header.safetensors": struct.pack("<Q", 2**60),
    "list.safetensors": struct.pack("<Q", 2) + b"[]",
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_wrong_files(name: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / name
    path.write_bytes(WRONG_FILES[name])
    line = cli_refused(capsys, [str(path), "-o", f"{tmp_path}/out"])
    assert name in line
    assert [p.name for p in tmp_path.iterdir()] == ["in"]
    if name.startswith("empty"):
        assert "empty" in line


def test_wrong_folders(tmp_path: Path, capsys) -> None:
    out = ["-o", f"{tmp_path}/out"]
    folder = tmp_path / "folder"
    folder.mkdir()
    assert "0 checkpoints (none)" in cli_refused(capsys, [str(folder), *out])
    for name in ("b.pt", "a.safetensors"):
        (folder / name).write_bytes(b"x")
    line = cli_refused(capsys, [str(folder), *out])
    assert "2 checkpoints (a.safetensors, b.pt); name a file" in line
    tensorflow = tmp_path / "tensorflow"
    tensorflow.mkdir()
    for name in ("a.ckpt", "b.ckpt"):
        write_bundle(tensorflow / name, {"x": np.zeros(1, np.float32)})
    line = cli_refused(capsys, [str(tensorflow), *out])
    assert "several checkpoints: a.ckpt, b.ckpt" in line
    glow_jax.save(glow(glow_jax.GlowConfig(4, 4, 1, 1, 2)), tmp_path / "model", {})
    assert "already" in cli_refused(capsys, [f"{tmp_path}/model", *out])
    assert "no such file" in cli_refused(capsys, [f"{tmp_path}/nobody.pt", *out])
    assert not (tmp_path / "out").exists()


def test_a_torch_file_named_checkpoint_is_no_message(tmp_path: Path, capsys) -> None:
    """A folder may hold a binary file of the name that TensorFlow uses for a text."""
    folder = tmp_path / "run"
    folder.mkdir()
    write_zip(folder / "checkpoint", tensors(y0ast_state()))
    cli_refused(capsys, [str(folder), "-o", f"{tmp_path}/out"])
    convert(folder / "checkpoint", tmp_path / "out")


def test_the_output_must_be_new(models: dict[str, Path], tmp_path: Path, capsys) -> None:
    path, _ = SOURCES["zip"](tmp_path)
    (tmp_path / "there").mkdir()
    assert "already exists" in cli_refused(capsys, [str(path), "-o", f"{tmp_path}/there"])
    assert "no" in cli_refused(capsys, [str(path), "-o", f"{tmp_path}/no/out"])
    assert "already exists" in cli_refused(capsys, [str(path), "-o", str(path)])
    assert list((tmp_path / "there").iterdir()) == []


def test_what_is_missing_is_asked_for_at_once(tmp_path: Path, capsys) -> None:
    path = write_safetensors(tmp_path / "a.safetensors", glowip_state())
    words = [str(path), "-o", f"{tmp_path}/out"]
    line = cli_refused(capsys, words)
    for asked in ("--image-size H (or HxW)", "--bits N", "--set last_zeros=true|false"):
        assert asked in line, line
    words += ["--bits", "5", "--set", "last_zeros=true"]
    line = cli_refused(capsys, words)
    assert "--image-size" in line and "--bits" not in line and "--set" not in line
    assert main(["convert", *words, "--image-size", "4x8"]) == 0
    printed = capsys.readouterr().out
    assert "8x4, 1 channel\n" in printed and "assumed coupling_bias=0" in printed
    state = {n: a for n, a in y0ast_state().items() if n != "prior_h"}
    path = write_safetensors(tmp_path / "b.safetensors", state)
    line = cli_refused(capsys, [str(path), "-o", f"{tmp_path}/out2"])
    assert "add --image-size H (or HxW)" in line and "--bits" not in line


def test_answers_that_nobody_asked_for(tmp_path: Path, capsys) -> None:
    (tmp_path / "in").mkdir()
    path, _ = SOURCES["safetensors"](tmp_path / "in")
    words = [str(path), "-o", f"{tmp_path}/out"]
    assert "--set surprise: not a setting" in cli_refused(capsys, [*words, "--set", "surprise=1"])
    twice = ["--set", "permutation=shuffle", "--set", "permutation=reverse"]
    assert "--set permutation: given twice" in cli_refused(capsys, [*words, *twice])
    line = cli_refused(capsys, [*words, "--image-size", "8"])
    assert "--image-size 8x8, but prior_h is of 4x4 images" in line
    assert "use one of openai" in cli_refused(capsys, [*words, "--from", "pixelcnn"])
    line = cli_refused(capsys, [*words, "--from", "openai"])
    assert "openai" in line
    cli_refused(capsys, [*words, "--from", "rosinality"])
    line = cli_refused(capsys, [*words, "--from", "openai-graph"])
    assert "openai-graph" in line
    graph = write_graph(tmp_path / "in" / "a.pb")
    assert "y0ast" in cli_refused(capsys, [str(graph), *words[1:], "--from", "y0ast"])
    index = write_bundle(tmp_path / "in" / "a.ckpt", openai_variables())
    assert "y0ast" in cli_refused(capsys, [str(index), *words[1:], "--from", "y0ast"])
    for option in (
        ["--image-size", "axb"],
        ["--image-size", "8x"],
        ["--bits", "9"],
        ["--set", "bits"],
    ):
        with pytest.raises(SystemExit) as exit_:
            main(["convert", *words, *option])
        assert exit_.value.code == 2
        assert capsys.readouterr().err.count("error: ") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_missing_and_strange_arrays_are_listed(tmp_path: Path) -> None:
    state = y0ast_state()
    bias, extra = "flow.layers.1.actnorm.bias", "flow.layers.1.extra"
    state[extra] = state.pop(bias)
    state["learn_top_fn.logs"] = state["learn_top_fn.logs"][:3]
    path = write_safetensors(tmp_path / "a.safetensors", state)
    message = refused(path, tmp_path / "out", f"missing {bias}", f"unexpected {extra}")
    assert "learn_top_fn.logs has shape (3, 1, 1), not (8, 1, 1)" in message
    unrelated = {"bert.embeddings.weight": np.zeros((3, 3), np.float32)}
    write_safetensors(path, unrelated)
    refused(path, tmp_path / "out", "none of the known implementations", "bert.embeddings")


@pytest.mark.parametrize("kind", ["zeros", "rank one", "nan", "inf", "huge", "overflowing"])
def test_weights_that_are_no_flow(kind: str, tmp_path: Path, capsys) -> None:
    """Singular or non-finite: one line that names the place; also beyond float32."""
    state, name = y0ast_state(), "flow.layers.1.invconv.weight"
    words = ["singular", "level 0, step 0"]
    if kind == "zeros":
        state[name] = np.zeros((4, 4), np.float32)
    elif kind == "rank one":
        state[name] = np.ones((4, 4), np.float32)
    else:
        name = "flow.layers.1.block.0.conv.weight"
        values = {"nan": np.nan, "inf": -np.inf, "huge": 1e300, "overflowing": 1e39}
        state[name] = state[name].astype(np.float64)
        state[name][1, 1, 2, 0] = values[kind]
        words = ["finite", name if kind in ("nan", "inf") else ""]
    path = write_safetensors(tmp_path / "a.safetensors", state)
    line = cli_refused(capsys, [str(path), "-o", f"{tmp_path}/out"])
    for word in words:
        assert word in line, line
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_singular_lu_factor(tmp_path: Path, capsys) -> None:
    state = y0ast_state()
    at = "flow.layers.1.invconv"
    del state[f"{at}.weight"]
    eye = np.eye(4, dtype=np.float32)
    state |= {f"{at}.{n}": eye for n in ("p", "lower", "upper")}
    state |= {f"{at}.sign_s": np.ones(4, np.float32), f"{at}.log_s": np.zeros(4, np.float32)}
    path = write_safetensors(tmp_path / "a.safetensors", state)
    convert(path, tmp_path / "sound")
    state[f"{at}.log_s"] = np.asarray([0, -2000, 0, 0], np.float32)
    write_safetensors(path, state)
    assert "singular" in cli_refused(capsys, [str(path), "-o", f"{tmp_path}/out"])


def test_a_bad_condition_is_a_warning(tmp_path: Path, capsys) -> None:
    state, name = y0ast_state(), "flow.layers.1.invconv.weight"
    state[name] = state[name] @ np.diag([1, 1, 1, 1e-6]).astype(np.float32)
    path = write_safetensors(tmp_path / "a.safetensors", state)
    assert main(["convert", str(path), "-o", f"{tmp_path}/out"]) == 0
    line = capsys.readouterr().err.splitlines()[0]
    assert "warning: the 1x1 convolution of level 0, step 0 has condition number" in line


BESIDE = {
    "configs.json": {
        "no JSON": b"{",
        "not text": b"\xff\xfe",
        "a list": b"[1]",
        "nested": b"[" * 100_000,
        "numbers": b'{"size": 1e999, "n_bits_x": "x", "last_zeros": "no"}',
        "a truth": b'{"size": true, "n_bits_x": 5, "last_zeros": true}',
        "too many bits": b'{"size": 4, "n_bits_x": 99, "last_zeros": true}',
        "too large": b'{"size": 999999999, "n_bits_x": 5, "last_zeros": true}',
    },
    "train.txt": {
        "no JSON": b"{",
        "not text": b"\xff\xfe",
        "nested": b"[" * 60_000,
        "numbers": b'{"image_size": 1e999, "n_bits_x": "x"}',
    },
    "README.md": {"not text": b"---\nlicense: \xff\n---\n", "open": b"---\nlicense:" * 9999},
    "checkpoint": {"elsewhere": b'model_checkpoint_path: "../../b"'},
}


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, kinds in BESIDE.items() for kind in kinds]
)
def test_damaged_files_beside_it(name: str, kind: str, tmp_path: Path, capsys) -> None:
    """They are of help where they can be; otherwise one line."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / name).write_bytes(BESIDE[name][kind])
    if name == "train.txt":
        path, options = write_bundle(folder / "a.ckpt", openai_variables()), []
    elif name == "checkpoint":
        write_bundle(folder / "a.ckpt", openai_variables())
        path, options = folder, ["--image-size", "8", "--bits", "8"]
    else:
        path, options = write_safetensors(folder / "a.safetensors", glowip_state()), []
    if name == "README.md":
        options = ["--image-size", "4", "--bits", "5", "--set", "last_zeros=true"]
        assert main(["convert", str(path), "-o", f"{tmp_path}/out", *options]) == 0
    else:
        cli_refused(capsys, [str(path), "-o", f"{tmp_path}/out", *options])
        assert [p.name for p in tmp_path.iterdir()] == ["in"]


# -- pickles that ask for more than tensors


def hostile_pickles(marker: Path) -> dict[str, bytes]:
    """Pickles that write `marker`, if one of their callables is run by Python's own reader."""
    touch = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w').close()"
    os_system = Global("os", "system")
    attribute = Call(
        Global("builtins", "getattr"), (Call(Global("builtins", "__import__"), ("os",)), "system")
    )
    partial = Call(Global("functools", "partial"), (os_system, touch))
    mark, name = b"(", str(marker)
    return {
        "os.system": called(os_system, touch),
        "posix.system": called(Global("posix", "system"), touch),
        "builtins.open": called(Global("builtins", "open"), name, "w"),
        "io.open": called(Global("io", "open"), name, "w"),
        "builtins.eval": called(Global("builtins", "eval"), code),
        "builtins.exec": called(Global("builtins", "exec"), code),
        "python 2's eval": called(Global("__builtin__", "eval"), code),
        "subprocess": called(Global("subprocess", "call"), ["touch", name]),
        "partial": called(partial),
        "getattr": called(attribute, touch),
        "pickle in a pickle": called(Global("pickle", "loads"), called(os_system, touch)),
        "timeit": called(Global("timeit", "timeit"), code, "pass", Global("time", "time"), 1),
        "inst": raw(mark, text(touch), b"ios\nsystem\n"),
        "obj": raw(mark, b"cos\nsystem\n", text(touch), b"o"),
        "newobj": raw(
            b"csubprocess\nPopen\n", mark, b"]", text("touch"), b"a", text(name), b"a", b"t\x81"
        ),
        "newobj_ex": raw(b"csubprocess\nPopen\n)}\x92"),
        "stack global": raw(short("os"), short("system"), b"\x93", text(touch), b"\x85R"),
        "dotted": raw(short("collections"), short("OrderedDict.__init__.__globals__"), b"\x93"),
        "dotted, ours": raw(
            short("torch._utils"), short("_rebuild_tensor_v2.__globals__"), b"\x93"
        ),
        "extension": raw(b"\x82\x01", text(touch), b"\x85R"),
        "setstate of a function": pickled(Call(REBUILD, (), {"_run": os_system}))[0],
        "state of a function": raw(
            b"ctorch._utils\n_rebuild_tensor_v2\n}", text("_run"), b"cos\nsystem\n", b"sb"
        ),
        "slots of a function": raw(
            b"ctorch._utils\n_rebuild_tensor_v2\n",
            b"N}",
            text("_run"),
            text("x"),
            b"s\x86b",
            text(touch),
            b"\x85R",
        ),
        "setstate of a dict": pickled(Call(ORDERED, (), Call(os_system, (touch,))))[0],
        "value of a dict": pickled({"a": {"b": [Call(os_system, (touch,))]}})[0],
        "key of a dict": raw(b"}", b"cos\nsystem\n", text(touch), b"\x85R", b"Ns"),
        "argument of a tensor": called(
            REBUILD, Call(os_system, (touch,)), 0, (1,), (1,), False, None
        ),
        "hooks of a tensor": called(
            REBUILD,
            Storage("0", np.ones(1, np.float32)),
            0,
            (1,),
            (1,),
            False,
            Call(os_system, (touch,)),
        ),
        "storage's type": called(
            REBUILD, Persistent(("storage", os_system, "0", "cpu", 1)), 0, (1,), (1,)
        ),
        "storage's key": called(
            REBUILD,
            Persistent(
                ("storage", Global("torch", "FloatStorage"), Call(os_system, (touch,)), "cpu", 1)
            ),
            0,
            (1,),
            (1,),
        ),
        "persistent id": raw(b"Pcos\nsystem\n"),
        "another persistent id": pickled(Persistent(("module", os_system, touch)))[0],
        "torch.load": called(Global("torch", "load"), name),
        "torch.hub": called(Global("torch.hub", "load"), "evil/repository", "model"),
        "a whole model": called(Global("torch.nn.modules.container", "Sequential")),
        "a storage's bytes": called(
            Global("torch.storage", "_load_from_bytes"), called(os_system, touch)
        ),
        "numpy": called(Global("numpy", "load"), name),
        "numpy's arrays": called(
            Global("numpy.core.multiarray", "_reconstruct"), Global("numpy", "ndarray"), (0,), b"b"
        ),
    }


HOSTILE = list(hostile_pickles(Path("marker")))
# What Python's own reader can run here, to see that the pickles are what they seem to be.
RUNS = [*HOSTILE[:14], "stack global", "value of a dict", "key of a dict"]
# What runs programs or touches files is refused by name; of other names nothing is made.
REFUSED_BY_NAME = [
    *("os.system", "posix.system", "builtins.open", "io.open", "builtins.eval", "builtins.exec"),
    *("python 2's eval", "subprocess", "partial", "getattr", "inst", "obj", "newobj"),
    *("newobj_ex", "stack global", "setstate of a dict", "value of a dict", "key of a dict"),
    *("argument of a tensor", "hooks of a tensor", "storage's type", "storage's key"),
    *("another persistent id", "state of a function"),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_in_a_file_is_run(name: str, tmp_path: Path) -> None:
    """In the pickle of a zip, and in each of the five pickles of an older file."""
    (tmp_path / "in").mkdir()
    marker = tmp_path / "marker"
    evil = hostile_pickles(marker)[name]
    if name in RUNS:
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pickle.loads(evil)
        marker.unlink()
    state = tensors(y0ast_state())
    files = [write_zip(tmp_path / "in" / "zip.pt", state, pickle_=evil)]
    for section in range(5):
        replaced = {section: evil}
        files.append(write_legacy(tmp_path / "in" / f"legacy{section}.pt", state, replaced))
    packed = tmp_path / "in" / "packed.pt"
    files.append(write_zip(packed, state, pickle_=evil, packed=True))
    for path in files:
        if path.name == "legacy2.pt" and name not in REFUSED_BY_NAME:
            survives(path, tmp_path / "out", {})  # of that section only the byte order is read
        else:
            message = refused(path, tmp_path / "out")
            assert "refused: " in message or name not in REFUSED_BY_NAME, message
        assert not marker.exists()


def test_members_are_written_nowhere(tmp_path: Path) -> None:
    """Names that lead out of the archive are names and no more."""
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    outside = ("../evil", "../../evil", f"{tmp_path}/evil", "archive/../../../evil")
    more = dict.fromkeys(outside, b"evil")
    path = write_zip(folder / "a.pt", tensors(y0ast_state()), more=more)
    here = Path.cwd()
    before = sorted(here.iterdir())
    convert(path, folder / "out")
    assert sorted(p.name for p in tmp_path.rglob("*") if "evil" in p.name) == []
    up = write_zip(folder / "up.pt", tensors(y0ast_state()), root="../../")
    convert(up, folder / "out2")
    key = {"w": tensor(np.ones(3, np.float32), "../../../../etc/passwd")}
    state = tensors(y0ast_state()) | key
    made = convert(write_zip(folder / "key.pt", state), folder / "out3")
    assert made.notes == ["left out, because not part of the flow: w"]
    assert sorted(here.iterdir()) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a"]


LIES = {
    "a key that is not there": Tensor(Storage("7", np.ones(4, np.float32)), 0, (4,), (1,)),
    "beyond its storage": Tensor(Storage("0", np.ones(4, np.float32)), 1, (4,), (1,)),
    "strides beyond it": Tensor(Storage("0", np.ones(4, np.float32)), 0, (2, 2), (4, 1)),
    "a negative offset": Tensor(Storage("0", np.ones(4, np.float32)), -1, (4,), (1,)),
    "a negative stride": Tensor(Storage("0", np.ones(4, np.float32)), 3, (4,), (-1,)),
    "a negative size": Tensor(Storage("0", np.ones(4, np.float32)), 0, (-4,), (1,)),
    "more sizes than strides": Tensor(Storage("0", np.ones(4, np.float32)), 0, (4, 1), (1,)),
    "sizes that are text": Tensor(Storage("0", np.ones(4, np.float32)), 0, ("4",), (1,)),  # type: ignore[arg-type]
    "sizes that are one": Tensor(Storage("0", np.ones(4, np.float32)), 0, 4, 1),  # type: ignore[arg-type]
    "true": Tensor(Storage("0", np.ones(4, np.float32)), 0, (2**70,), (1,)),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("name", LIES)
def test_tensors_that_lie(name: str, writer: str, tmp_path: Path) -> None:
    path = WRITERS[writer](tmp_path / "a.pt", {"w": LIES[name]})
    if name == "a key that is not there":
        path.write_bytes(path.read_bytes().replace(b"data/7", b"data/8"))
        if writer == "legacy":
            write_legacy(path, {"w": LIES[name]}, {4: pickle.dumps(["8"], 2)})
    refused(path, tmp_path / "out")


# -- bombs: little files that would need much memory or time

FLOATS = Global("torch", "FloatStorage")
ONE = np.ones(1, np.float32)


def laughs(start: bytes, again: bytes, times: int) -> bytes:
    """An object made of two of itself, again and again; memo 0 is the last."""
    step = b"q\x000h\x00h\x00" + again
    return start + step * times


def zeros_packed(path: Path, name: str, size: int, state: Any) -> Path:
    """A zip file with one more member: `size` zeros, in a thousandth of it."""
    with zipfile.ZipFile(write_zip(path, state), "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(size), compresslevel=9)
    return path


def huge_index() -> bytes:
    """Names that share all but their last byte: their sum is the square of the file's size."""
    block = b"".join(plain_entry(b"k", b"\x08\x07", shared=i) for i in range(60_000))
    return table_of_blocks([(b"\xff", block)])


def repeated_index() -> bytes:
    """An index that names one block of 20 000 entries 20 000 times."""
    block = b"".join(plain_entry(b"%05d" % i, b"\x08\x07") for i in range(20_000))
    return table_of_blocks([(b"\xff", block)], repeat=20_000)


def overlapping() -> bytes:
    """A megabyte that a thousand names claim."""
    entry = {"dtype": "U8", "shape": [2**20], "data_offsets": [0, 2**20]}
    header = json.dumps({f"w{i}": entry for i in range(1000)}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(2**20)


def claimed(name: str) -> Bomb:
    """A file of normflows with one more name."""
    names = ("flows.0.0.flows.0.flows.1.param_map.net.0.weight", name)
    return lambda path: write_zip(path, tensors(dict.fromkeys(names, ONE)))


def reset(**slots: Any) -> Bomb:
    """A sound tensor whose attributes are then set, past every check, to point elsewhere."""
    state = tensors(y0ast_state(size=8))
    whole = state["learn_top_fn.conv.bias"]
    state["learn_top_fn.conv.bias"] = Call(REBUILD, (*whole, False, None), (None, slots))
    return lambda path: write_legacy(path, state)


def pickle_bomb(data: bytes) -> Bomb:
    return lambda path: write_zip(path, {"w": tensor(np.ones(64, np.float32), "0")}, pickle_=data)


def retyped(kind: str) -> Bomb:
    """A storage whose type is set after it was looked up."""
    state = tensors(y0ast_state(size=8))
    whole = state["learn_top_fn.conv.bias"]
    floats = Opcodes(b"ctorch\nFloatStorage\nN}" + text("dtype") + text(kind) + b"s\x86b")
    pid = ("storage", floats, whole.storage.key, "cpu", 8, None)
    state["learn_top_fn.conv.bias"] = Call(REBUILD, (Persistent(pid), 0, (8,), (1,), False, None))
    return lambda path: write_legacy(path, state | {"z": whole})


BOMBS: dict[str, Bomb] = {
    "memo index": pickle_bomb(raw(b"Nr\xff\xff\xff\x7f")),
    "stride 0": lambda p: write_zip(p, {"w": Tensor(Storage("0", ONE), 0, (2**39,), (0,))}),
    "storage of 2^60": pickle_bomb(
        called(REBUILD, Persistent(("storage", FLOATS, "0", "cpu", 2**60)), 0, (1,), (1,))
    ),
    "legacy storage of 2^60": lambda p: write_legacy(
        p,
        {"w": tensor(ONE, "0")},
        {
            3: called(
                REBUILD, Persistent(("storage", FLOATS, "0", "cpu", 2**60, None)), 0, (1,), (1,)
            )
        },
    ),
    "nested lists": pickle_bomb(b"\x80\x02" + b"]" * 10**6 + b"a" * (10**6 - 1) + b"."),
    "nested tuples": pickle_bomb(b"\x80\x02)" + b"\x85" * 10**6 + b"."),
    "nested dicts": pickle_bomb(
        b"\x80\x02" + (b"}" + text("a")) * 10**5 + b"N" + b"s" * 10**5 + b"."
    ),
    "marks": pickle_bomb(b"\x80\x02" + b"(" * 10**6 + b"."),
    "shared dicts": pickle_bomb(
        b"\x80\x02"
        + laughs(b"}", b"q\x010}" + text("a") + b"h\x00s" + text("b") + b"h\x00s", 60)
        + b"."
    ),
    "shared key": pickle_bomb(
        raw(
            b"ctorch._utils\n_rebuild_tensor_v2\n((",
            text("storage"),
            b"ctorch\nFloatStorage\n",
            laughs(b"]", b"\x86", 40),
            text("cpu") + b"K\x01tQK\x00K\x01\x85K\x01\x85tR",
        )
    ),
    "shared keys of a legacy file": lambda p: write_legacy(
        p, {"w": tensor(ONE, "0")}, {4: raw(b"]", laughs(b")", b"\x86", 40), b"a")}
    ),
    "hash of shared tuples": pickle_bomb(raw(b"}", laughs(b")", b"\x86", 60), b"Ns")),
    "size of text": pickle_bomb(
        raw(
            b"ctorch\nSize\nq\x01" + b"X" + struct.pack("<I", 10**6) + b"a" * 10**6 + b"q\x00(",
            b"h\x01h\x00\x85R" * 100,
            b"t",
        )
    ),
    "copied dicts": pickle_bomb(
        raw(
            b"ccollections\nOrderedDict\nq\x01",
            b"}q\x00(" + b"".join(text(f"{i:05d}") + b"N" for i in range(20_000)) + b"u(",
            b"h\x01h\x00\x85R" * 400,
            b"t",
        )
    ),
    "bytearray": pickle_bomb(b"\x80\x05\x96" + struct.pack("<Q", 2**30) + b"."),
    "frame": pickle_bomb(b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"."),
    "long text": pickle_bomb(b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"."),
    "digits": pickle_bomb(raw(b"I" + b"9" * 10**6 + b"\n")),
    "zeros, packed": lambda p: zeros_packed(
        p,
        "archive/data/9",
        3 * 2**26,
        {
            "w": Call(
                REBUILD, (Persistent(("storage", FLOATS, "9", "cpu", 3 * 2**24)), 0, (1,), (1,))
            )
        },
    ),
    "zeros where the byte order is": lambda p: write_zip(
        p, {}, packed=True, more={"archive/byteorder": bytes(3 * 2**26)}
    ),
    "many zeros, packed": lambda p: write_zip(
        p,
        {f"w{i}": tensor(np.zeros(2**20, np.uint8), str(i)) for i in range(192)},
        packed=True,
    ),
    "pickle of zeros": lambda p: write_zip(p, {}, pickle_=bytes(2**26 + 1), packed=True),
    "a level of 10^12": claimed("q0.999999999999.loc"),
    "a level of 5000 digits": claimed(f"q0.{'9' * 5000}.loc"),
    "a step of 5000 digits": lambda p: write_zip(
        p, tensors({f"flow.layers.{'9' * 5000}.block.0.conv.weight": ONE})
    ),
    "a tensor's place, set later": reset(offset=-7 * 2**33, stride=(2**33,)),
    "a tensor's stride, set later": reset(stride=(-(2**33),)),
    "a tensor's storage, set later": reset(storage=None),
    "a storage's type, set later": retyped("U1"),
    "a storage of objects": retyped("O"),
    "a tensor's shape, set later": reset(shape=(2**20, 2**20), stride=(0, 0)),
    "overlapping safetensors": lambda p: p.with_name("a.safetensors").write_bytes(overlapping()),
    "names that share": lambda p: p.with_name("a.ckpt.index").write_bytes(huge_index()),
    "blocks that repeat": lambda p: p.with_name("a.ckpt.index").write_bytes(repeated_index()),
    "graph that fills": lambda p: p.with_name("a.pb").write_bytes(
        graph_of(openai_variables(), fill=(1, 2**13, 2**13, 2))
    ),
    "graph that fills more": lambda p: p.with_name("a.pb").write_bytes(
        graph_of(openai_variables(), fill=(2**20, 2**20, 2**20, 2))
    ),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Every bomb, converted with limits."""
    return outcomes_of(BOMBS, tmp_path_factory.mktemp("bombs"))


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_end_fast_and_small(name: str, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[name]
    assert outcome.said.startswith("refused: "), outcome
    assert outcome.cpu_seconds < 5, outcome
    assert outcome.megabytes < 130, outcome


# -- damage

LOOKED = SelfCheck(0.0, 0.0, 0, 1.0, 1.0, "not looked at")


@pytest.fixture
def unlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without running what was converted: these tests are about reading."""
    monkeypatch.setattr(glow_jax.convert, "self_check", lambda *_: LOOKED)
    monkeypatch.setattr(glow_jax.convert, "check_graph", lambda *_: LOOKED)


@pytest.fixture
def unsaved(unlooked: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor writing it, but for a folder."""
    monkeypatch.setattr(glow_jax.convert, "save_weights", lambda c, w, out, card: out.mkdir())
    monkeypatch.setattr(glow_jax.convert, "save_graph", lambda model, out, card: out.mkdir())


def survives(path: Path, out: Path, options: Mapping[str, Any]) -> bool:
    """Whether a damaged file converts; if not, one line and nothing left behind."""
    before = sorted(out.parent.iterdir())
    try:
        convert(path, out, **options)
    except InputError as error:
        assert str(error).isprintable() and len(str(error)) < 5000, error
        assert sorted(out.parent.iterdir()) == before
        return False
    shutil.rmtree(out)
    return True


def flipped(rng: random.Random, original: bytes, count: int) -> bytes:
    """Some bytes changed."""
    data = bytearray(original)
    for _ in range(count):
        data[rng.randrange(len(data))] ^= rng.randrange(1, 256)
    return bytes(data)


@pytest.mark.parametrize("kind", SOURCES)
def test_truncated_files(kind: str, tmp_path: Path, unsaved: None) -> None:
    """A file that was cut off is refused, wherever it was cut."""
    (tmp_path / "in").mkdir()
    path, options = SOURCES[kind](tmp_path / "in")
    original, rng = path.read_bytes(), random.Random(1)
    cuts = [1, 2, 7, 8, 9, len(original) - 1]
    cuts += [rng.randrange(10, len(original)) for _ in range(20)]
    for cut in cuts:
        path.write_bytes(original[:cut])
        # A graph may lack its last nodes, if nothing needs them.
        assert not survives(path, tmp_path / "out", options), cut


@pytest.mark.parametrize("kind", SOURCES)
def test_damaged_files(kind: str, tmp_path: Path, unsaved: None) -> None:
    """A byte or a few are wrong: it converts to something else, or is refused in one line."""
    (tmp_path / "in").mkdir()
    path, options = SOURCES[kind](tmp_path / "in")
    original, rng = path.read_bytes(), random.Random(2)
    structure = min(len(original), 3000)  # weights are most of a file, and may be anything
    survived = 0
    for i in range(45):
        if i % 3 == 0:
            data = flipped(rng, original, 1 + i % 4)
        elif i % 3 == 1:
            data = flipped(rng, original[:structure], 1) + original[structure:]
        else:
            data = original[:-structure] + flipped(rng, original[-structure:], 1)
        path.write_bytes(data)
        survived += survives(path, tmp_path / "out", options)
    assert survived > 0
    if kind != "data":  # nothing but weights, whose checksums are not looked at
        assert survived < 45


@pytest.mark.slow
@pytest.mark.parametrize("kind", SOURCES)
def test_many_damaged_files(kind: str, tmp_path: Path, unsaved: None) -> None:
    (tmp_path / "in").mkdir()
    path, options = SOURCES[kind](tmp_path / "in")
    original, rng = path.read_bytes(), random.Random(3)
    for i in range(1500):
        try:
            path.write_bytes(flipped(rng, original, 1 + i % 3))
            survives(path, tmp_path / "out", options)
        except BaseException as error:
            raise AssertionError(f"number {i}") from error


@pytest.mark.parametrize("kind", ["name", "global", "key", "beside"])
def test_messages_stay_short(kind: str, tmp_path: Path) -> None:
    """However long a name in the file is, nobody reads a megabyte of it."""
    long_name = "flow" * 250_000
    if kind == "name":
        path = write_safetensors(tmp_path / "a.safetensors", {long_name: ONE})
    elif kind == "global":
        path = write_zip(tmp_path / "a.pt", {"w": Call(Global(long_name, "run"), ())})
    elif kind == "key":
        whole = tensors(y0ast_state())
        whole["prior_h"] = Tensor(Storage(long_name, ONE), 5, (1,), (1,))
        path = write_legacy(tmp_path / "a.pt", whole)
    else:
        state = y0ast_state() | {f"{i}{'x' * 900}": ONE for i in range(100)}
        made = convert(write_safetensors(tmp_path / "b.safetensors", state), tmp_path / "b")
        assert max(map(len, made.notes)) < 1000
        return
    assert len(refused(path, tmp_path / "out")) < 5000


def entry_of(**fields: int | bytes) -> bytes:
    """An entry of a checkpoint's index, some of its fields wrong; names as in the protocol."""
    numbers = {"dtype": 1, "shape": 2, "shard": 3, "offset": 4, "size": 5}
    sound: dict[str, int | bytes] = {"dtype": 1, "shape": shape_proto((2,)), "shard": 0}
    whole = sound | {"offset": 0, "size": 8} | fields
    return b"".join(field(numbers[name], value) for name, value in whole.items())


HEADER = (b"", field(1, 1))
INDEXES = {
    "no entries": table([]),
    "a header of text": table([(b"", field(1, b"one"))]),
    "no shards": table([(b"", field(1, 0))]),
    "big-endian": table([(b"", field(1, 1) + field(2, 1))]),
    "a type of text": table([HEADER, (b"x", entry_of(dtype=b"float"))]),
    "a shape that is a number": table([HEADER, (b"x", entry_of(shape=5))]),
    "sizes that are numbers": table([HEADER, (b"x", entry_of(shape=field(2, 2)))]),
    "a size of text": table([HEADER, (b"x", entry_of(shape=field(2, field(1, b"2"))))]),
    "a negative size": table([HEADER, (b"x", entry_of(shape=shape_proto((-2,))))]),
    "a huge size": table([HEADER, (b"x", entry_of(shape=shape_proto((2**62, 2**62))))]),
    "a shard of text": table([HEADER, (b"x", entry_of(shard=b"one"))]),
    "another shard": table([HEADER, (b"x", entry_of(shard=7))]),
    "an offset beyond": table([HEADER, (b"x", entry_of(offset=2**63))]),
    "a name that is no text": table([HEADER, (b"\xff\n\x00", entry_of(shard=7))]),
    "a handle beyond": bytes(8) + b"\xff" * 9 + bytes(31) + struct.pack("<Q", 0xDB4775248B80FB57),
    "compressed": table([HEADER]).replace(b"\x01\0\0\0\0\0", b"\x01\0\0\0\1\0", 1),
}


@pytest.mark.parametrize("name", INDEXES)
def test_wrong_indexes(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.ckpt.data-00000-of-00001").write_bytes(bytes(8))
    (tmp_path / "a.ckpt.index").write_bytes(INDEXES[name])
    refused(tmp_path / "a.ckpt", tmp_path / "out", **SIZED)


def test_a_bundle_without_its_data(tmp_path: Path) -> None:
    index = write_bundle(tmp_path / "a.ckpt", openai_variables())
    data = index.with_name("a.ckpt.data-00000-of-00001")
    whole = data.read_bytes()
    data.write_bytes(b"")
    refused(index, tmp_path / "out", "truncated", **SIZED)
    data.unlink()
    refused(index, tmp_path / "out", "a.ckpt.data-00000-of-00001 is missing", **SIZED)
    index.unlink()
    data.write_bytes(whole)
    refused(data, tmp_path / "out", "a.ckpt.index is missing", **SIZED)


GRAPHS = {
    "a division of one": appended(lambda g: g.node("RealDiv", POOL, name=TOP)),
    "a sum of nothing": appended(lambda g: g.node("AddV2", name=TOP)),
    "a sum of three": appended(lambda g: g.node("AddV2", POOL, POOL, POOL, name=TOP)),
    "a constant of more images": appended(
        lambda g: g.node("RealDiv", POOL, g.const(np.ones((7, 1, 1, 1))), name=TOP)
    ),
    "a constant of more axes": appended(
        lambda g: g.node("Mul", POOL, g.const(np.ones((1, 1, 1, 1, 2))), name=TOP)
    ),
    "a division by zero": appended(lambda g: g.node("RealDiv", POOL, g.const(0.0), name=TOP)),
    "a constant latent": appended(
        lambda g: g.const(1.0), lambda g: g.node("Identity", "n1000000", name=TOP)
    ),
    "a loop": appended(lambda g: g.node("Identity", TOP, name=TOP)),
    "a missing input": appended(lambda g: g.node("Identity", "nobody", name=TOP)),
    "a second output": appended(lambda g: g.node("Identity", f"{POOL}:1", name=TOP)),
    "an unknown operation": appended(lambda g: g.node("Gemm", POOL, name=TOP)),
    "a constant without a value": appended(lambda g: g.node("Const", name="model/truediv")),
    "a value that is a number": appended(
        lambda g: g.node("Const", name="model/truediv", value=field(8, 7))
    ),
    "a value of an unknown type": appended(
        lambda g: g.node("Const", name="model/truediv", value=field(8, field(1, 99)))
    ),
    "a value of text": appended(
        lambda g: g.node("Const", name="model/truediv", value=field(8, field(2, 3)))
    ),
    "a shape that is a number": appended(
        lambda g: g.node("Placeholder", name="input/image", shape=field(7, 5))
    ),
    "images of other axes": appended(
        lambda g: g.node("Placeholder", name="input/image", shape=field(7, shape_proto((1, 8))))
    ),
    "a kernel of two axes": appended(
        lambda g: g.node("Conv2D", POOL, g.const(np.ones((2, 2))), name=TOP)
    ),
    "a reshape to nothing": appended(lambda g: g.node("Reshape", POOL, g.ints(0, -1), name=TOP)),
    "a transposition of other axes": appended(
        lambda g: g.node("Transpose", POOL, g.ints(0, 9), name=TOP)
    ),
    "a slice of too many axes": appended(
        lambda g: g.node("StridedSlice", POOL, *[g.ints(0, 0, 0, 0, 0, 1)] * 3, name=TOP)
    ),
    "a slice of a constant": appended(
        lambda g: g.node("StridedSlice", g.const(1.0), *[g.ints(0, 1)] * 3, name=TOP)
    ),
    "a pad of other axes": appended(lambda g: g.node("Pad", POOL, g.ints(1, 1), name=TOP)),
    "a name of 5000 digits": appended(
        lambda g: g.node("Identity", POOL, name=f"model/pool{'9' * 5000}/truediv_1")
    ),
    "a top of 5000 digits": appended(
        lambda g: g.node("Identity", POOL, name=f"model/truediv_{'9' * 5000}")
    ),
    "half a squeeze": appended(
        lambda g: g.node("Reshape", POOL, g.ints(1, 8, 2, 2), name="n1"),
    ),
    "a name of three lines": appended(lambda g: g.node("Identity", "a\nb\nc", name=TOP)),
    "no nodes": field(2, b"x"),
    "a node that is a number": field(1, 5),
    "a name that is a number": field(1, field(1, 5) + field(2, b"Const")),
    "an attribute that is a number": field(1, field(1, b"a") + field(2, b"Const") + field(5, 1)),
    "an attribute without a name": field(
        1, field(1, b"a") + field(2, b"Const") + field(5, field(2, b""))
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_wrong_graphs(name: str, tmp_path: Path, capsys) -> None:
    path = tmp_path / "a.pb"
    path.write_bytes(GRAPHS[name])
    cli_refused(capsys, [str(path), "-o", f"{tmp_path}/out"])
    assert [p.name for p in tmp_path.iterdir()] == ["a.pb"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prior/p/logs", 1000.0),
        ("pool0/conv/logs", 1000.0),
        ("pool0/conv/logs", -1000.0),
        ("0/0/f1/l_last/logs", 1000.0),
        ("0/0/f1/l_last/logs", -1000.0),
        ("0/0/f1/l_1/actnorm_scale/logs", 1000.0),
        ("0/0/actnorm_scale/logs", 1000.0),
        ("0/0/actnorm_scale/logs", -1000.0),
        ("0/0/f1/l_1/W", np.nan),
        ("0/0/f1/l_2/W", np.inf),
        ("0/0/invconv/W", np.nan),
        ("0/0/invconv/W", 0.0),
        ("prior/p/b", np.nan),
    ],
)
def test_graphs_that_are_no_flow(name: str, value: float, tmp_path: Path, capsys) -> None:
    """Scales that are zero or infinite, weights that are not numbers: not a model to be written."""
    variables = openai_variables()
    variables[f"model/{name}"] = np.full_like(variables[f"model/{name}"], value)
    path = tmp_path / "a.pb"
    path.write_bytes(graph_of(variables))
    cli_refused(capsys, [str(path), "-o", f"{tmp_path}/out"])
    assert [p.name for p in tmp_path.iterdir()] == ["a.pb"]


# -- the hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
README = b"---\nlicense: cc-by-nc-4.0\ntags:\n- glow\n---\n# Faces\nlicense: none\n"
Repositories = dict[str, dict[str, bytes]]


class Hub(http.server.BaseHTTPRequestHandler):
    """What huggingface_hub asks for: a repository's files, their heads, and their bytes."""

    protocol_version = "HTTP/1.1"
    repositories: Repositories
    asked: list[str]

    def do_HEAD(self) -> None:
        self.answer(False)

    def do_GET(self) -> None:
        self.answer(True)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def answer(self, with_body: bool) -> None:
        path = self.path.partition("?")[0].removeprefix("/")
        self.asked.append(f"{self.command} {path}")
        status, headers, body = self.found(path)
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def found(self, path: str) -> tuple[int, dict[str, str], bytes]:
        for name, files in self.repositories.items():
            about, listing = f"api/models/{name}", f"api/models/{name}/tree"
            if path.startswith(f"{name}/resolve/"):
                file = path.split("/", 4)[4]
                if file in files:
                    tag = {"ETag": f'"{len(file)}{len(files[file]):038x}"', "X-Repo-Commit": COMMIT}
                    return 200, tag, files[file]
                return 404, {"X-Error-Code": "EntryNotFound"}, b""
            if path.startswith(f"{listing}/"):
                told: Any = [
                    {"type": "file", "path": f, "size": len(data), "oid": f"{len(data):040x}"}
                    for f, data in files.items()
                ]
            elif path == about or path.startswith(f"{about}/revision/"):
                told = {"id": name, "modelId": name, "sha": COMMIT, "private": False, "tags": []}
                told |= {"siblings": [{"rfilename": f} for f in files], "downloads": 0, "likes": 0}
            else:
                continue
            return 200, {"Content-Type": "application/json"}, json.dumps(told).encode()
        return 404, {"X-Error-Code": "RepoNotFound"}, b""


COMMANDS = """
import contextlib, io, json, sys
from glow_jax.cli.main import main
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def commands(environment: Mapping[str, str], *lines: list[str]) -> list[Ended]:
    """Run commands in a fresh process: huggingface_hub reads its environment when imported."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and "proxy" not in k}
    words = [sys.executable, "-W", "ignore", "-c", COMMANDS, json.dumps(lines)]
    ended = subprocess.run(
        words, env=kept | dict(environment), capture_output=True, text=True, cwd=REPOSITORY
    )
    assert ended.returncode == 0, ended.stderr
    return [Ended(*json.loads(line)) for line in ended.stdout.splitlines()]


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Repositories:
    folder = tmp_path_factory.mktemp("repositories")
    glowip = write_safetensors(folder / "a.safetensors", glowip_state()).read_bytes()
    y0ast = write_legacy(folder / "a.pt", tensors(y0ast_state())).read_bytes()
    index = write_bundle(folder / "a.ckpt", openai_variables())
    data = index.with_name("a.ckpt.data-00000-of-00001")
    configs = json.dumps({"size": 4, "n_bits_x": 5, "last_zeros": True}).encode()
    return {
        "o/one": {
            "a.safetensors": glowip,
            "configs.json": configs,
            "README.md": README,
            ".gitattributes": b"",
            "samples/1.png": b"x",
        },
        "o/several": {
            "new/b.pt": y0ast,
            "a.pt": b"not a model",
            "README.md": README,
        },
        "o/tensorflow": {
            "a.ckpt.index": index.read_bytes(),
            data.name: data.read_bytes(),
            "train.txt": b'{"image_size": 8, "n_bits_x": 5}\n',
        },
        "o/none": {"README.md": README},
    }


@pytest.fixture(scope="module")
def hub(repositories: Repositories) -> Iterator[tuple[str, list[str]]]:
    """A server's address, and what it was asked."""
    asked: list[str] = []
    handler = type("Served", (Hub,), {"repositories": repositories, "asked": asked})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()
    thread.join()


def card_of(path: Path) -> dict[str, Any]:
    return json.loads((path / "card.json").read_text())


def assert_one_line(ended: Ended, *words: str) -> None:
    assert ended.code == 2, ended
    assert ended.err.count("\n") == 1 and not ended.out, ended
    for word in words:
        assert word in ended.err, ended


def test_the_hub(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    """Names, what is fetched of a repository, its licence; then the same without a network."""
    pytest.importorskip("huggingface_hub")
    address, asked = hub
    home = {"HF_HOME": f"{tmp_path}/hf", "HF_HUB_DISABLE_TELEMETRY": "1"}
    (tmp_path / "hf").mkdir()
    one, named, tensorflow, several, none, missing, unknown, outside, bad = commands(
        home | {"HF_ENDPOINT": address},
        ["convert", "hf:o/one", "-o", f"{tmp_path}/one"],
        ["convert", "hf:o/several/new/b.pt", "-o", f"{tmp_path}/named"],
        ["convert", "hf:o/tensorflow", "-o", f"{tmp_path}/tensorflow"],
        ["convert", "hf:o/several", "-o", f"{tmp_path}/x"],
        ["convert", "hf:o/none", "-o", f"{tmp_path}/x"],
        ["convert", "hf:o/one/b.pt", "-o", f"{tmp_path}/x"],
        ["convert", "hf:o/nobody", "-o", f"{tmp_path}/x"],
        ["convert", "hf:o/one/../../secret.pt", "-o", f"{tmp_path}/x"],
        ["convert", "hf:one", "-o", f"{tmp_path}/x"],
    )
    assert one.code == 0 and "format        glowip" in one.out, one
    assert card_of(tmp_path / "one")["licence"] == "cc-by-nc-4.0"
    assert card_of(tmp_path / "one")["origin"] == "converted from a.safetensors"
    assert glow_jax.load(tmp_path / "one", fold=False).config.n_bits == 5
    assert not any("samples" in line or "gitattributes" in line for line in asked)
    assert named.code == 0, named
    assert card_of(tmp_path / "named")["licence"] == "cc-by-nc-4.0"
    assert tensorflow.code == 0, tensorflow
    assert glow_jax.load(tmp_path / "tensorflow", fold=False).config.n_bits == 5
    assert_one_line(several, "2 files of weights (a.pt, new/b.pt)", "hf:o/several/FILE")
    assert_one_line(none, "0 files of weights (none)")
    assert_one_line(missing, "no such file in the repository")
    assert_one_line(unknown, "cannot be fetched")
    assert_one_line(outside, "outside the repository")
    assert_one_line(bad, "use hf:OWNER/NAME")
    assert not (tmp_path / "x").exists()

    again, elsewhere = commands(
        home | {"HF_HUB_OFFLINE": "1"},
        ["convert", "hf:o/one", "-o", f"{tmp_path}/again"],
        ["convert", "hf:o/none", "-o", f"{tmp_path}/x"],
    )
    assert again.code == 0, again
    prints = [fingerprint_of(tmp_path / name) for name in ("one", "again")]
    assert prints[0] == prints[1]
    assert_one_line(elsewhere, "hf:o/none")


@pytest.mark.slow  # huggingface_hub tries again and again
def test_a_hub_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    environment = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:1"}
    (ended,) = commands(environment, ["convert", "hf:o/one", "-o", f"{tmp_path}/out"])
    assert_one_line(ended, "hf:o/one: cannot be fetched")


@pytest.mark.slow
def test_the_hubs_cache(repositories: Repositories, tmp_path: Path) -> None:
    """A cache that somebody else filled, or that was copied, without a network."""
    pytest.importorskip("huggingface_hub")
    for name in ("one", "several"):
        folder = tmp_path / "hub" / f"models--o--{name}"
        snapshot = folder / "snapshots" / COMMIT
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text(COMMIT)
        for file, data in repositories[f"o/{name}"].items():
            (snapshot / file).parent.mkdir(parents=True, exist_ok=True)
            (snapshot / file).write_bytes(data)
    one, named, several, missing = commands(
        {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        ["convert", "hf:o/one", "-o", f"{tmp_path}/one"],
        ["convert", "hf:o/several/new/b.pt", "-o", f"{tmp_path}/named"],
        ["convert", "hf:o/several", "-o", f"{tmp_path}/x"],
        ["convert", "hf:o/nobody", "-o", f"{tmp_path}/x"],
    )
    assert one.code == 0, one
    assert card_of(tmp_path / "one")["licence"] == "cc-by-nc-4.0"
    assert named.code == 0, named
    assert card_of(tmp_path / "named")["licence"] == "cc-by-nc-4.0"
    assert_one_line(several, "2 files of weights (a.pt, new/b.pt)")
    assert_one_line(missing, "hf:o/nobody")
