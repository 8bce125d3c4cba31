"""The tab Sample: its download is what its command makes."""

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from glow_jax.cli.main import main
from glow_jax.cli.ui.engine import Engine
from glow_jax.cli.ui.tab_sample import FILE, sampled


def test_the_command_makes_the_same_bytes(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "private").mkdir()
    drawn, sheet, archive = sampled(Engine(tmp_path / "private"), str(home / "model"), 3, 0.35, 7)
    assert drawn.n_bad == 0
    with zipfile.ZipFile(archive) as opened:
        recipe = json.loads(opened.read("recipe.json"))
        assert opened.read(FILE) == sheet.read_bytes()
    monkeypatch.chdir(tmp_path)
    assert main(recipe["command"][1:]) == 0
    assert Path(FILE).read_bytes() == sheet.read_bytes()
    digest = hashlib.sha256(sheet.read_bytes()).hexdigest()
    assert recipe["outputs_sha256"] == {FILE: digest}
