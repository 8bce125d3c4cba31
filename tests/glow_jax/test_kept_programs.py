"""Programs that a later process loads without tracing them: when they fit, and when they do not."""

import dataclasses
import math
import os
import pickle
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glow_jax import kept_programs
from glow_jax.kept_programs import ENDING, kept, kept_result
from tests.support.paths import ROOT

TRACED: list[str] = []
PROGRAM = """
import sys
from pathlib import Path
import jax, jax.numpy as jnp, numpy as np
from glow_jax.kept_programs import keep_in, kept
keep_in(Path(sys.argv[1]))
traced = []

@kept
def solved(matrix, right):  # calls LAPACK, which each process must prepare
    traced.append(1)
    return {"x": jnp.linalg.solve(matrix, right)}

matrix = np.array([[2, 1], [1, 3]], np.float32)
print(len(traced), solved(matrix, np.array([3, 5], np.float32))["x"], len(traced))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which programs are kept during a test."""
    monkeypatch.setattr(kept_programs, "_folders", [tmp_path])
    TRACED.clear()
    return tmp_path


def fresh() -> Any:
    """A function as a new process has it, of which JAX has nothing in memory."""

    def scaled(x: Any, factor: int, *, shift: float = 0.0) -> Any:
        TRACED.append(f"{x.shape} {factor} {shift}")
        return x.astype(jnp.float32) * jnp.float32(factor) + jnp.float32(shift)

    return kept(scaled, static=(1, "shift"))


def test_a_kept_program_is_loaded_and_not_traced(folder: Path) -> None:
    x = np.arange(3, dtype=np.float32)
    for _ in range(2):
        np.testing.assert_array_equal(fresh()(x, 2), [0, 2, 4])
    assert TRACED == ["(3,) 2 0.0"]
    assert len(list(folder.glob(f"*{ENDING}"))) == 1


def test_what_a_program_depends_on_tells_programs_apart(folder: Path) -> None:
    x = np.arange(3, dtype=np.float32)
    assert [float(fresh()(x, n)[2]) for n in (2, 3)] == [4, 6]
    assert float(fresh()(x, 2, shift=1.0)[2]) == 5
    assert fresh()(x[:2], 2).shape == (2,)
    assert fresh()(x.astype(np.int16).astype(np.float32)[None], 2).shape == (1, 3)
    assert len(TRACED) == 5
    assert fresh()(jnp.arange(3), 2).dtype == jnp.float32  # whole numbers are another type
    assert len(TRACED) == 6


def test_equal_numbers_of_other_types_or_signs_are_other_programs(folder: Path) -> None:
    def filled(x: Any, value: float) -> Any:
        return jnp.full_like(x, math.copysign(1, value)).astype(type(value))

    ours, x = kept(filled, static=(1,)), np.ones(1, np.float32)
    for value in (1, 1.0, True, 0.0, -0.0):
        found, expected = ours(x, value), jax.jit(filled, static_argnums=1)(x, value)
        assert (found.dtype, found.tolist()) == (expected.dtype, expected.tolist())


def test_equal_static_arguments_find_one_program_whatever_objects_they_are(folder: Path) -> None:
    def named(x: Any, names: tuple[str, ...]) -> Any:
        TRACED.append(names[0])
        return x

    word = "ab"
    parts = [(word, word), (word, "".join(["a", "b"]))]
    assert parts[0] == parts[1] and parts[1][0] is not parts[1][1]
    for names in parts:
        kept(named, static=(1,))(np.ones(1, np.float32), names)
    assert len(list(folder.glob(f"*{ENDING}"))) == 1


def test_under_a_transformation_it_is_jit(folder: Path) -> None:
    x = np.ones((2, 3), np.float32)
    assert jax.vmap(lambda row: fresh()(row, 2))(x).tolist() == [[2, 2, 2]] * 2
    assert jax.grad(lambda row: fresh()(row, 2).sum())(jnp.ones(3)).tolist() == [2, 2, 2]
    assert not list(folder.glob(f"*{ENDING}"))


def test_a_damaged_file_is_replaced(folder: Path) -> None:
    x = np.arange(3, dtype=np.float32)
    fresh()(x, 2)
    (path,) = folder.glob(f"*{ENDING}")
    whole = path.read_bytes()
    for damaged in (b"", whole[:-1], whole[:40], bytes([whole[0] ^ 1]) + whole[1:]):
        path.write_bytes(damaged)
        assert fresh()(x, 2).tolist() == [0, 2, 4]
        fresh()(x, 2)  # loads the new file
    assert len(TRACED) == 5


def test_a_whole_file_that_jax_cannot_load_is_replaced(folder: Path) -> None:
    x = np.arange(3, dtype=np.float32)
    fresh()(x, 2)
    (path,) = folder.glob(f"*{ENDING}")
    for content in (b"no pickle", pickle.dumps((zlib.compress(b"no program"), None))):
        kept_programs._write(path, content)
        assert fresh()(x, 2).tolist() == [0, 2, 4]
    fresh()(x, 2)
    assert len(TRACED) == 3


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    assert kept_programs._folders == []
    assert kept_result("facts", lambda: 3) == 3
    assert fresh()(np.ones(1, np.float32), 2).tolist() == [2]


def test_a_result_is_kept_unless_it_is_large(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [kept_result("a", lambda n=n: n) for n in (1, 2)] == [1, 1]
    monkeypatch.setattr(kept_programs, "MAX_RESULT_BYTES", 10)
    assert [len(kept_result("b", lambda n=n: "x" * n)) for n in (20, 30)] == [20, 30]


def test_other_settings_and_other_code_have_another_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    before = kept_programs.environment()
    assert kept_programs.environment() == before
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    flags = kept_programs.environment()
    monkeypatch.setattr(jax, "__version__", "99.0")
    version = kept_programs.environment()
    monkeypatch.setattr(kept_programs, "SOURCES", ("glow_jax",))
    code = kept_programs.environment()
    assert kept_programs.processor()
    monkeypatch.setattr(kept_programs, "processor", lambda: "another")
    assert len({before, flags, version, code, kept_programs.environment()}) == 5


def test_programs_of_other_code_are_removed_when_nobody_uses_them(tmp_path: Path) -> None:
    for name, days in (("old", 31), ("recent", 29)):
        (tmp_path / name).mkdir()
        then = (tmp_path / name).stat().st_mtime - days * 86400
        os.utime(tmp_path / name, (then, then))
    kept_programs._remove_unused(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["recent"]


def test_a_second_process_traces_nothing(tmp_path: Path) -> None:
    def run() -> str:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path)],
            cwd=ROOT,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    assert run() == "0 [0.8 1.4] 1"
    assert run() == "0 [0.8 1.4] 0"
    assert (tmp_path / "programs").stat().st_mode & 0o777 == 0o700


def test_structures_of_arguments_tell_programs_apart(folder: Path) -> None:
    @jax.tree_util.register_dataclass
    @dataclasses.dataclass
    class Pair:
        first: Any
        second: Any

    def difference(pair: Any) -> Any:
        TRACED.append(type(pair).__name__)
        a, b = (pair.first, pair.second) if isinstance(pair, Pair) else pair
        return a - b

    one, two = np.float32(1), np.float32(2)
    assert float(kept(difference)((one, two))) == -1
    assert float(kept(difference)([two, one])) == 1
    assert float(kept(difference)(Pair(two, one))) == 1
    assert TRACED == ["tuple", "list", "Pair"]
