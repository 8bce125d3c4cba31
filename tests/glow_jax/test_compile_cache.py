"""Compiled programs on disk: where, whose, and what a killed process leaves of them."""

import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from glow_jax.compile_cache import LAST_CHECK, cpu, is_whole, use_compile_cache
from glow_jax.io.errors import InputError
from tests.support.paths import ROOT

PROGRAM = """
import sys, warnings
from pathlib import Path
import glow_jax.compile_cache as cache
cache.MIN_SECONDS = 0.0
cache.use_compile_cache(Path(sys.argv[1]))
import jax
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    jax.jit(lambda x: x * 2 + 1)(1.0).block_until_ready()
print(*(w.message for w in caught), sep="\\n")
"""


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What JAX's configuration is told."""
    found: dict[str, Any] = {}
    monkeypatch.setattr("jax.config.update", found.__setitem__)
    return found


def test_a_private_folder_for_each_kind_of_cpu(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLOW_JAX_CACHE", str(tmp_path / "cache"))
    folder = use_compile_cache()
    assert folder == tmp_path / "cache" / "xla" / cpu()
    assert settings["jax_compilation_cache_dir"] == str(folder)
    assert all(p.stat().st_mode & 0o777 == 0o700 for p in (folder, *folder.parents[:2]))
    monkeypatch.setattr(
        Path, "read_text", lambda path, **_: "model name : another\nflags : fpu avx512f\n"
    )
    assert use_compile_cache() != folder


def test_a_folder_of_others_is_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    folder = use_compile_cache(tmp_path / "xla")
    folder.chmod(0o770)
    with pytest.raises(InputError, match="others can write to it"):
        use_compile_cache(folder)


def test_a_whole_program_is_told_from_a_damaged_one() -> None:
    data = zlib.compress(os.urandom(5000))
    assert is_whole(data)
    flipped = data[:2000] + bytes([data[2000] ^ 1]) + data[2001:]
    zstd = b"\x28\xb5\x2f\xfd"
    for damaged in (b"", data[:1], data[:2000], data[:-1], flipped, b"\0" * 5000, zstd):
        assert not is_whole(damaged), damaged[:10]


def compiled(folder: Path) -> str:
    """Compile a function with its program kept in the folder; JAX's warnings."""
    environment = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "true", "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_emptied_and_cut_programs_are_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "xla"
    assert compiled(folder) == ""
    programs = sorted(folder.glob("*-cache"))
    whole = [p.read_bytes() for p in programs]
    assert whole and (folder / LAST_CHECK).exists()
    for cut in (0, 100):
        for path in programs:
            os.truncate(path, cut)
        assert compiled(folder) == ""
        assert [is_whole(p.read_bytes()) for p in programs] == [True] * len(programs)
    programs[0].write_bytes(whole[0])
    assert compiled(folder) == ""
    assert programs[0].read_bytes() == whole[0]
