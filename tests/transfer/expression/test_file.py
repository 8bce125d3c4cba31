"""expressions.npz: what is saved comes back, and what is damaged is refused in one line."""

import dataclasses
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from glow_jax.io.errors import InputError
from tests.support.expressions import UNITS, assert_nearly, random_expressions
from tests.support.paths import ROOT
from transfer.expression.absolute import Population
from transfer.expression.absolute import fingerprint as population_fingerprint
from transfer.expression.file import (
    load_expression_model,
    load_landmark_detector,
    save_expression_model,
)
from transfer.expression.landmark_corrections import SHAPE as STAGE_SHAPE
from transfer.expression.model import NAMES_ON_DISK, fingerprint, named_arrays
from transfer.models import expression_file


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "expressions.npz"
    save_expression_model(path, random_expressions())
    return path


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    (tmp_path / "expressions.npz").write_bytes(whole.read_bytes())
    return tmp_path / "expressions.npz"


def refused(path: Path, *words: str) -> None:
    """Load, expecting an InputError on one line that names the file."""
    with pytest.raises(InputError) as caught:
        load_expression_model(path)
    message = str(caught.value)
    assert message.isprintable(), message
    for word in (path.name, *words):
        assert word in message, message


def rewritten(path: Path, **changes: Any) -> Path:
    """Other arrays in the file; None leaves one out, and __ stands for a slash."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays |= {name.replace("__", "/"): a for name, a in changes.items()}
    np.savez(path, **{name: a for name, a in arrays.items() if a is not None})
    return path


def test_what_is_saved_comes_back(whole: Path) -> None:
    assert_nearly(load_expression_model(whole), random_expressions())


def test_a_population_comes_back_and_changes_no_fingerprint(copy: Path) -> None:
    """Files of version 0.1 have none; outputs with a neutral picture keep their ids."""
    without = load_expression_model(copy)
    rows = np.random.default_rng(0).normal(size=(4, N)).astype(np.float32)
    save_expression_model(copy, dataclasses.replace(without, population=Population(*rows)))
    found = load_expression_model(copy)
    assert without.population is None and found.population is not None
    np.testing.assert_array_equal(np.stack(found.population), rows)
    assert fingerprint(found) == fingerprint(without)
    others = [population_fingerprint(found.population._replace(**{n: rows[0] + 1})) for n in
              ("neutral", "slope", "noise", "error")]  # fmt: skip
    assert len({population_fingerprint(found.population), *others}) == 4  # the error changes none


def test_corrections_come_back_and_enter_the_fingerprint(copy: Path) -> None:
    """Files of version 0.1 have none."""
    without = load_expression_model(copy)
    stages = np.random.default_rng(0).normal(0, 0.01, (1, *STAGE_SHAPE)).astype(np.float16)
    save_expression_model(copy, dataclasses.replace(without, corrections=stages))
    found = load_expression_model(copy)
    assert without.corrections is None and found.corrections is not None
    assert found.corrections.dtype == np.float32
    np.testing.assert_array_equal(found.corrections, stages.astype(np.float32))
    assert set(named_arrays(found)) == {*named_arrays(without), "corrections"}
    assert fingerprint(found) != fingerprint(without)


def test_equal_expressions_are_equal_files(whole: Path, copy: Path) -> None:
    save_expression_model(copy, load_expression_model(whole))
    with np.load(whole) as one, np.load(copy) as other:
        assert sorted(one.files) == sorted(other.files)
        for name in one.files:
            assert one[name].dtype == other[name].dtype
            np.testing.assert_array_equal(one[name], other[name])


def test_any_truncation_is_one_line(copy: Path) -> None:
    data = copy.read_bytes()
    for size in (0, 1, 100, len(data) // 2, len(data) - 30, len(data) - 1):
        copy.write_bytes(data[:size])
        refused(copy)


def test_flipped_bytes_are_one_line_or_harmless(copy: Path) -> None:
    data = copy.read_bytes()
    for position in np.linspace(0, len(data) - 1, 24).astype(int).tolist():
        copy.write_bytes(data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :])
        try:
            load_expression_model(copy)
        except InputError as error:
            assert str(error).isprintable()


@pytest.mark.parametrize("kind", ["missing", "a folder", "a picture", "text", "npy", "a pipe"])
def test_what_is_not_such_a_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "expressions.npz"
    if kind == "a folder":
        path.mkdir()
    elif kind == "a picture":
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    elif kind == "text":
        path.write_text("expressions\nof nobody\n")
    elif kind == "npy":
        buffer = io.BytesIO()
        np.save(buffer, np.zeros(3))
        path.write_bytes(buffer.getvalue())
    elif kind == "a pipe":
        os.mkfifo(path)
    refused(path)


class Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("name", ["aus", "slope", "more"])
def test_pickled_objects_are_never_loaded(
    copy: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(copy.parent)
    refused(rewritten(copy, **{name: np.array([Bomb()], object)}))
    assert not (copy.parent / "exploded").exists()


def test_more_than_it_may_unpack_to_is_refused_before_it_is(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transfer.expression.file.MAX_BYTES", 2**24)
    assert copy.stat().st_size < 2**24
    with zipfile.ZipFile(copy, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("more/1.npy", bytes(20 * 2**20))
    refused(copy, "unpacks to more than 16777216 bytes")


N = len(UNITS)
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no units": ({"aus": None}, "aus"),
    "units that are one number": ({"aus": np.float32(1)}, ""),
    "a unit that is there twice": (
        {"aus": np.array([UNITS[0], *UNITS[:2]])},
        f"aus names {UNITS[0]} more than once",
    ),
    "fewer units": ({"aus": np.array(UNITS[:2])}, "slope has shape (3,), not (2,)"),
    "no reader": ({"reader__linear": None}, "reader/linear"),
    "another reader": (
        {"reader__linear": np.zeros((9, N), np.float16)},
        "reader/linear has shape (9, 3), not (5",
    ),
    "another width": ({"reader__bias": np.zeros(5, np.float32)}, "reader/hidden has shape"),
    "a bias of two": (
        {"reader__bias": np.zeros((2, 4), np.float32)},
        "reader/bias has shape (2, 4)",
    ),
    "moves of other landmarks": (
        {"moves": np.zeros((N, 5, 2), np.float32)},
        "moves has shape (3, 5, 2)",
    ),
    "whole numbers": (
        {"slope": np.ones(N, int)},
        "slope is not an array of finite floats",
    ),
    "text": ({"noise": np.array(["a"] * N)}, "noise is not an array of finite floats"),
    "complex numbers": (
        {"noise": np.zeros(N, complex)},
        "noise is not an array of finite floats",
    ),
    "not a number": (
        {"slope": np.full(N, np.nan)},
        "slope is not an array of finite floats",
    ),
    "infinity": (
        {"finder__w0": np.full((432, 64), np.inf)},
        "finder/w0 is not an array of finite floats",
    ),
    "another network": ({"finder__w0": np.zeros((4, 64), np.float16)}, "have other shapes"),
    "no network": ({f"finder__w{i}": None for i in range(8)}, "finder/w0"),
    "half a layer": ({"finder__b2": None}, "finder/b2"),
    "no shape": ({"shape": None}, "shape"),
    "another shape": (
        {"shape": np.zeros((5, 2), np.float32)},
        "shape has shape (5, 2), not (68, 2)",
    ),
    "no rest": ({"rest": None}, "rest"),
    "a rest of a vector": (
        {"rest": np.zeros(3, np.float16)},
        "mouth has shape (32, 32), not (0, 0)",
    ),
    "a rest without colours": (
        {"rest": np.zeros((6, 8, 8, 3), np.float16)},
        "mouth has shape (32, 32), not (0, 0)",
    ),
    "a mouth of another size": (
        {"mouth": np.zeros((5, 5), np.float16)},
        "mouth has shape (5, 5), not (32",
    ),
    "no mouth": ({"mouth": None}, "mouth"),
    "no colours": ({"colours": None}, "colours"),
    "two colours": (
        {"colours": np.ones((2, 2), np.float32)},
        "colours has shape (2, 2), not (2, 3)",
    ),
    "colours without width": (
        {"colours": np.zeros((2, 3), np.float32)},
        "colours: a standard deviation of 0; it must be above 0",
    ),
    "a population of more units": (
        {"population": np.zeros((4, N + 1), np.float32)},
        "population has shape (4, 4), not (4, 3)",
    ),
    "a population of other rows": (
        {"population": np.zeros((2, N), np.float32)},
        "population has shape (2, 3), not (4, 3)",
    ),
    "corrections of other features": (
        {"corrections": np.zeros((1, 9, 136), np.float16)},
        "corrections has shape (1, 9, 136), not (1, 5",
    ),
    "corrections of a hundred stages": (
        {"corrections": np.zeros((100, 1, 1), np.float16)},
        "corrections has shape (100, 1, 1), not (3, 5",
    ),
    "corrections of four stages": (
        {"corrections": np.zeros((4, *STAGE_SHAPE), np.float16)},
        "corrections has shape (4, 5033, 136), not (3, 5033, 136)",
    ),
    "corrections of nothing": ({"corrections": np.float32(0)}, "corrections has shape ()"),
    "a population of nothing": ({"population": np.float32(0)}, "population"),
    "a name of two lines": ({"more\nlines": np.full(1, np.nan)}, "finite"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arrays_are_refused(copy: Path, name: str) -> None:
    changes, words = WRONG[name]
    refused(rewritten(copy, **changes), words)


def test_the_network_that_finds_landmarks_is_had_alone(whole: Path, copy: Path) -> None:
    rewritten(copy, rest=None, reader__bias=None)  # as an older version left them
    refused(copy)
    got, want = load_landmark_detector(copy), load_expression_model(whole).landmark_detector
    assert set(got) == set(want)
    for name in want:
        np.testing.assert_array_equal(got[name], want[name])
    with pytest.raises(InputError, match="have other shapes"):
        load_landmark_detector(rewritten(copy, finder__w0=np.zeros((4, 64), np.float16)))
    with pytest.raises(InputError, match="no such file"):
        load_landmark_detector(copy.parent / "none.npz")


BUNDLED = ROOT / "glow_jax" / "models" / "faces64" / "expressions.npz"


def test_the_bundled_models_fingerprint_is_that_of_version_0_1() -> None:
    """It enters the ids of outputs: renaming an attribute must not change it."""
    wanted = "068d5481cf41da0ca141cb99ab584ac816ddff01da9c225b8aa15d73e1014561"
    assert fingerprint(load_expression_model(BUNDLED)) == wanted


def test_a_flow_may_share_the_expression_model_of_a_bundled_one(copy: Path) -> None:
    folder = copy.parent

    def card(**fields: Any) -> None:
        (folder / "card.json").write_text(json.dumps(fields))

    card(expressions_of="faces64")
    assert expression_file(folder) == copy  # its own comes first
    copy.unlink()
    assert expression_file(folder) == BUNDLED
    card(origin="elsewhere")
    assert expression_file(folder) is None
    for wrong in ("../faces64", "nobody", "", ["faces64"], 1):
        card(expressions_of=wrong)
        with pytest.raises(InputError, match="card.json: expressions_of is .*; use one of faces64"):
            expression_file(folder)


def test_every_array_of_the_model_is_named_and_enters_the_fingerprint(whole: Path) -> None:
    model = load_expression_model(whole)
    with np.load(whole) as file:
        assert set(named_arrays(model)) == set(file.files) - {"aus"}
    fields = {f.name for f in dataclasses.fields(model)}
    assert set(NAMES_ON_DISK) == fields - {"aus", "population"}
    other = load_expression_model(whole)
    seen = {fingerprint(other), fingerprint(dataclasses.replace(other, aus=("A", "B", "C")))}
    arrays = jax.tree.leaves(other)
    for array in arrays:
        array.ravel()[0] += 1
        seen.add(fingerprint(other))
    assert len(seen) == 2 + len(arrays)
