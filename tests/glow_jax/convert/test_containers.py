"""Checkpoints in archives, in several files, under any name; and what people have instead."""

import bz2
import gzip
import json
import lzma
import os
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.robustness.files.containers import Write, sharded, tarred, zipped
from bench.robustness.files.pytorch_files import tensors, write_legacy, write_zip, y0ast_state
from bench.robustness.files.safetensors_file import write_safetensors
from bench.robustness.files.tensorflow_files import openai_variables, write_bundle
from glow_jax.cli.main import main
from glow_jax.convert.hub import _chosen, licence_of
from glow_jax.io.errors import InputError
from tests.support.converted import Converted

RAW = y0ast_state()
SIZED = {"image_size": (8, 8), "bits": 8}


def files(folder: Path) -> dict[str, bytes]:
    """The same weights in three kinds of file."""
    write_safetensors(folder / "plain", RAW)
    return {
        "zip": write_zip(folder / "plain.pt", tensors(RAW)).read_bytes(),
        "legacy": write_legacy(folder / "plain.pth", tensors(RAW)).read_bytes(),
        "safetensors": (folder / "plain").read_bytes(),
    }


WRAPPED: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda data: data,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "gzip twice": lambda data: gzip.compress(gzip.compress(data)),
    "tar": lambda data: tarred({"run/model.pt": data, "run/notes.txt": b"text"}),
    "tar of before POSIX": lambda data: tarred({"model": data}, kind=tarfile.GNU_FORMAT),
    "tar, compressed": lambda data: tarred({"./run/model.pt": data}, "w:gz"),
    "tar of a gzip": lambda data: tarred({"model.pt.gz": gzip.compress(data)}),
    "zip": lambda data: zipped({"model.pt": data}),
    "zip, stored": lambda data: zipped({"run/best.ckpt": data, "a.txt": b"x"}, zipfile.ZIP_STORED),
    "zip of a Mac": lambda data: zipped({"model": data, "__MACOSX/._model": b"x"}),
}


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".ckpt", ".tar", ".gz", "", ".weights"])
def test_a_file_is_told_by_its_content(suffix: str, converted: Converted) -> None:
    for kind, data in files(converted.folder).items():
        path = converted.folder / f"{kind}-a{suffix}"
        path.write_bytes(data)
        assert converted(path).equals(RAW)


@pytest.mark.parametrize("name", ["a" * 255, "a" * 252 + ".pt", "é" * 127])
def test_a_name_may_be_as_long_as_the_disk_allows(name: str, converted: Converted) -> None:
    for data in files(converted.folder).values():
        (converted.folder / name).write_bytes(data)
        assert converted(converted.folder / name).equals(RAW)


@pytest.mark.parametrize("name", WRAPPED)
def test_archives_are_opened(name: str, converted: Converted) -> None:
    for kind, data in files(converted.folder).items():
        path = converted.folder / f"{kind}.bin"
        path.write_bytes(WRAPPED[name](data))
        assert converted(path).equals(RAW)


@pytest.mark.parametrize("name", WRAPPED)
def test_archives_that_were_cut_off_are_refused(name: str, converted: Converted) -> None:
    data = WRAPPED[name](files(converted.folder)["zip"])
    path = converted.folder / "cut.bin"
    for size in (1, 20, 300, len(data) // 4):  # half of a tar archive is padding
        path.write_bytes(data[:size])
        with pytest.raises(InputError) as caught:
            converted(path)
        assert str(caught.value).isprintable()


NOT_ONE = {
    "a tar archive of two": (tarred({"a.pt": b"x", "b.pt": b"y"}), "2 files in it (a.pt, b.pt)"),
    "an empty tar archive": (tarred({}), "0 files in it (none)"),
    "a zip archive of two": (zipped({"a.pt": b"x", "b.pt": b"y"}), "2 files in it (a.pt, b.pt)"),
    "an empty zip archive": (zipped({}), "an empty zip archive"),
    "an empty gzip file": (gzip.compress(b""), "the compressed file is empty"),
    "a picture in a gzip file": (gzip.compress(b"\x89PNG\r\n\x1a\n..."), "a PNG picture"),
    "archives without end": (
        gzip.compress(gzip.compress(gzip.compress(gzip.compress(gzip.compress(b"x"))))),
        "archives in archives",
    ),
    "a bomb": (gzip.compress(bytes(2**25)), "suspiciously well compressed"),
}
INSTEAD = {
    "a web page": (b"<!DOCTYPE html>\n<html><title>Virus scan warning</title>", "a web page"),
    "a web page in capitals": (b"\n  <HTML><HEAD>", "a web page"),
    "comments without end": (b"<!-- -->" * 500, "not a PyTorch, safetensors or TensorFlow file"),
    "a web page with a comment": (b"<!-- saved from -->\n<html>", "a web page"),
    "a Git LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 70654321\n",
        "Git LFS pointer.*git lfs pull.*70654321 bytes",
    ),
    "a git-annex pointer": (b"/annex/objects/SHA256E-s1--ab.pt\n", "git-annex pointer"),
    "an API's answer": (b'{"error": "Not found"}', "a JSON text"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5"),
    "a NumPy array": (b"\x93NUMPY\1\0", "a single NumPy array"),
    "NumPy arrays": (zipped({"a.npy": b"", "b.npy": b""}), r"NumPy .npz.*safetensors"),
    "torch.export": (zipped({"a/models/model.json": b"{}", "a/version": b"0"}), "torch.export"),
    "zstd": (b"\x28\xb5\x2f\xfd...", "zstd"),
    "RAR": (b"Rar!\x1a\7\0", "RAR"),
    "a download that never was": (bytes(5000), "begins with zeros"),
    "anything": (b"The quick brown fox", "not a PyTorch, safetensors or TensorFlow file"),
}


@pytest.mark.parametrize("name", NOT_ONE | INSTEAD)
def test_what_it_is_instead_is_said(name: str, converted: Converted) -> None:
    data, words = (NOT_ONE | INSTEAD)[name]
    path = converted.folder / "a.pt"
    path.write_bytes(data)
    words = words.replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(InputError, match=words) as caught:
        converted(path)
    assert str(caught.value).isprintable()


# -- several files


SHARDS: dict[str, Write] = {
    "safetensors": write_safetensors,
    "bin": lambda path, state: write_zip(path, tensors(state)),
}


@pytest.mark.parametrize("kind", SHARDS)
def test_a_checkpoint_in_several_files_converts(kind: str, converted: Converted) -> None:
    """By its index, or by its folder."""
    folder = converted.folder / "in"
    folder.mkdir()
    index = sharded(folder, RAW, SHARDS[kind], kind)
    assert converted(index).equals(RAW)
    assert converted(folder).equals(RAW)


def test_what_is_wrong_with_shards_is_said(converted: Converted) -> None:
    index = sharded(converted.folder, RAW, write_safetensors, "safetensors")
    first = converted.folder / "model-00001-of-00002.safetensors"
    whole = first.read_bytes()
    first.write_bytes(INSTEAD["a Git LFS pointer"][0])
    with pytest.raises(InputError, match=r"model-00001-of-00002.safetensors: a Git LFS pointer"):
        converted(index)
    first.unlink()
    with pytest.raises(InputError, match=r"model-00001-of-00002.safetensors is missing"):
        converted(index)
    write_safetensors(first, {"prior_h": RAW["prior_h"]})
    with pytest.raises(InputError, match="is not in model-00001-of-00002.safetensors"):
        converted(index)
    first.write_bytes(whole)
    for wrong in ({}, {"a": "../b"}, {"a": "/etc/passwd"}, {"a": ".."}, ["a"], {"a": 3}):
        index.write_text(json.dumps({"weight_map": wrong}))
        with pytest.raises(InputError):
            converted(index)


def test_the_hub_prefers_an_index_to_its_shards() -> None:
    names = ["README.md", "m-00001-of-00002.safetensors", "m.safetensors.index.json"]
    assert _chosen(names, None, "hf:a/b") == "m.safetensors.index.json"


def test_of_a_readme_only_the_beginning_is_read(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("---\nlicense: mit\n---\n")
    os.truncate(readme, 2**28)  # the rest is a hole
    tracemalloc.start()
    try:
        assert licence_of(tmp_path) == "mit"
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


# -- TensorFlow's files


def biases(made: dict[str, np.ndarray]) -> np.ndarray:
    return made["/top/conv/bias"]


def test_the_text_named_checkpoint_leads_to_its_checkpoint(converted: Converted) -> None:
    folder = converted.folder / "run"
    folder.mkdir()
    write_bundle(folder / "old.ckpt", openai_variables(seed=1))
    write_bundle(folder / "new.ckpt", openai_variables())
    text = folder / "checkpoint"
    text.write_text(
        'model_checkpoint_path: "/home/a/run/new.ckpt"\n'
        'all_model_checkpoint_paths: "/home/a/run/old.ckpt"\n'
    )
    want = openai_variables()["model/prior/p/b"].reshape(-1)
    for path in (text, folder):
        np.testing.assert_array_equal(biases(converted(path, **SIZED).weights), want)
    text.write_text('model_checkpoint_path: "gone.ckpt"\n')
    for path in (text, folder):
        with pytest.raises(InputError, match=r"gone.ckpt.index is missing"):
            converted(path, **SIZED)
    text.write_text("model_checkpoint_path:\n")
    with pytest.raises(InputError, match="names no checkpoint"):
        converted(text, **SIZED)


def test_missing_parts_of_a_tensorflow_checkpoint_are_named(converted: Converted) -> None:
    folder = converted.folder / "run"
    folder.mkdir()
    index = write_bundle(folder / "a.ckpt", openai_variables())
    data = folder / "a.ckpt.data-00000-of-00001"
    whole = data.read_bytes()
    data.unlink()
    for path in (folder, index, folder / "a.ckpt"):
        with pytest.raises(InputError, match=r"a.ckpt.data-00000-of-00001 is missing"):
            converted(path, **SIZED)
    index.unlink()
    data.write_bytes(whole)
    for path in (folder, data, folder / "a.ckpt"):
        with pytest.raises(InputError, match=r"a.ckpt.index is missing"):
            converted(path, **SIZED)


def test_an_index_under_another_name_is_said_to_be_one(converted: Converted) -> None:
    index = write_bundle(converted.folder / "a.ckpt", openai_variables())
    path = index.rename(converted.folder / "model.bin")
    with pytest.raises(InputError, match="a TensorFlow index without its suffix"):
        converted(path, **SIZED)


def test_averages_alone_need_to_be_asked_for(converted: Converted, capsys) -> None:
    variables = openai_variables()
    only = {f"{n}/ExponentialMovingAverage": a for n, a in variables.items()}
    index = write_bundle(converted.folder / "a.ckpt", only)
    with pytest.raises(InputError, match="moving averages only: `ema` takes them"):
        converted(index, **SIZED)
    want = variables["model/prior/p/b"].reshape(-1)
    np.testing.assert_array_equal(biases(converted(index, ema=True, **SIZED).weights), want)
    words = [str(index), "-o", f"{converted.folder}/out", "--image-size", "8", "--bits", "8"]
    assert main(["convert", *words]) == 2
    assert "moving averages only: --ema takes them" in capsys.readouterr().err
    assert main(["convert", *words, "--key", "x"]) == 2
    assert "--key cannot be used: a TensorFlow checkpoint" in capsys.readouterr().err


def test_a_checkpoint_of_both_says_which_was_taken(converted: Converted) -> None:
    raw = openai_variables()
    both = raw | {f"{n}/ExponentialMovingAverage": a for n, a in openai_variables(1).items()}
    index = write_bundle(converted.folder / "a.ckpt", both)
    assert any("took the raw weights" in n for n in converted(index, **SIZED).notes)
    made = converted(write_bundle(converted.folder / "b.ckpt", raw), **SIZED)
    assert not any("took" in note for note in made.notes)
    with pytest.raises(InputError, match="`ema`: the checkpoint has no"):
        converted(converted.folder / "b.ckpt", ema=True, **SIZED)
