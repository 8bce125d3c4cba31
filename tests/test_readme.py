"""Every snippet of the README runs as written."""

import lzma
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from glow_jax.cli.main import main
from tests.support import photographs

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_there_are_snippets_and_no_gaps() -> None:
    assert not re.search(r"@[A-Z_]+@", TEXT)
    assert blocks("python")
    assert blocks("sh")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the snippets run: with the demo's pictures, the README's jobs, and photographs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("glow_jax.compile_cache.use_compile_cache", lambda: None)
    (tmp_path / "transfer").symlink_to(ROOT / "transfer")
    for language in ("csv", "toml"):
        (tmp_path / f"job.{language}").write_text(blocks(language)[0])
    for person, shots in {"ann": {"smile": "29_2", "a": "29_1"}, "bob": {"a": "36_1"}}.items():
        (tmp_path / "photos" / person).mkdir(parents=True)
        for name, head in shots.items():
            taken = photographs.photograph(head, width=900, height=700)
            Image.fromarray(taken.pixels).save(tmp_path / "photos" / person / f"{name}.jpg")
    return tmp_path


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python(number: int, folder: Path) -> None:
    exec(compile(blocks("python")[number], "README.md", "exec"), {"__name__": "readme"})


def test_shell(folder: Path) -> None:
    somebodys = ROOT / "tests" / "golden" / "foreign" / "rosinality.legacy-cuda.pt.xz"
    (folder / "glow_checkpoint.pt").write_bytes(lzma.decompress(somebodys.read_bytes()))
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
