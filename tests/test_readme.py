"""Every snippet of the README runs as written."""

import lzma
import re
import shlex
from pathlib import Path

import pytest

from glow_jax.cli import main

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_there_are_snippets_and_no_gaps() -> None:
    assert not re.search(r"@[A-Z_]+@", TEXT)
    assert blocks("python")
    assert blocks("sh")


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks("python")[number], "README.md", "exec"), {"__name__": "readme"})


def test_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "transfer").symlink_to(ROOT / "transfer")
    somebodys = ROOT / "tests" / "golden" / "foreign" / "rosinality.legacy-cuda.pt.xz"
    (tmp_path / "glow_checkpoint.pt").write_bytes(lzma.decompress(somebodys.read_bytes()))
    commands = [
        line
        for block in blocks("sh")
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("glow-jax ") and line.split()[1] not in ("train", "render")
    ]
    assert len(commands) >= 5
    for command in commands:
        words = shlex.split(command, comments=True)[1:]
        assert main(words) == 0, command
