"""What the page downloads is what its command makes, byte by byte."""

import hashlib
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from glow_jax.cli.main import main
from glow_jax.cli.ui.engine import Engine
from glow_jax.cli.ui.finish import finish, pack
from glow_jax.cli.ui.forms import OUT, Person, TransferForm, command_text
from glow_jax.io.output_schema import INPUTS, PASTED, RESULTS
from glow_jax.io.pictures import read_image
from glow_jax.io.tables import read_rows
from transfer.preview import Preview


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    folder = tmp_path / "private"
    folder.mkdir()
    return Engine(folder)


@pytest.fixture
def form(home: Path) -> TransferForm:
    def person(*parts: str) -> Person:
        return Person(home.joinpath(*parts), str(home.joinpath(*parts)))

    return TransferForm(
        person("shots", "0.png"),
        person("bob"),
        person("ann"),
        method="paper",
        model=str(home / "model"),
    )


def test_the_slider_shows_what_the_command_writes(
    engine: Engine, form: TransferForm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preview, shown = engine.shown(form, 0.35)
    finished = finish(engine, form, 0.35)
    monkeypatch.chdir(tmp_path)
    assert main(form.words(0.35)[1:]) == 0
    (made,) = (tmp_path / OUT / "images").iterdir()
    assert made.name == finished.picture.name
    assert made.read_bytes() == finished.picture.read_bytes()
    assert np.array_equal(read_image(made), shown.image)
    assert finished.row["bits_per_dim"] == f"{shown.bits_per_dim:.4f}"
    assert len(preview.bits) == 5 and not finished.problems


def test_the_archive_makes_itself_again(
    engine: Engine, form: TransferForm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = finish(engine, form, -0.5)
    with zipfile.ZipFile(pack(finished, form, -0.5)) as archive:
        archive.extractall(tmp_path / "unpacked")
        names = set(archive.namelist())
    assert {"0.png", "ann/0.png", "bob/1.png", "command.txt", "recipe.json"} <= names
    monkeypatch.chdir(tmp_path / "unpacked")
    recipe = json.loads(Path("recipe.json").read_text())
    assert "--alpha=-0.5" in recipe["command"]
    assert Path("command.txt").read_text() == command_text(recipe["command"]) + "\n"
    assert main(recipe["command"][1:]) == 0
    (made,) = Path(OUT, "images").iterdir()
    said = recipe["outputs_sha256"][made.name]
    assert hashlib.sha256(made.read_bytes()).hexdigest() == said
    for name, digest in recipe["inputs_sha256"].items():
        assert hashlib.sha256(Path(name).read_bytes()).hexdigest() == digest
    kept = [list(read_rows(place / RESULTS)) for place in (Path(), Path(OUT))]
    for row in (*kept[0], *kept[1]):
        row.pop("seconds")
    assert kept[0] == kept[1]
    assert Path(INPUTS).read_bytes() == Path(OUT, INPUTS).read_bytes()
    # Equal files give equal archives.
    assert pack(finished, form, -0.5).read_bytes() == pack(finished, form, -0.5).read_bytes()


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_the_photograph_is_the_picture_whatever_its_format(
    engine: Engine, form: TransferForm, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result that is pasted into a JPEG is a JPEG, and its face alone a PNG."""

    def transferred(request: Any, **options: Any) -> SimpleNamespace:
        for name in ("images/a.png", f"{PASTED}/a{suffix}"):
            (request.out / name).parent.mkdir(parents=True)
            (request.out / name).write_bytes(b"")
        (request.out / RESULTS).write_text("id,file\n1,images/a.png\n")
        (request.out / INPUTS).write_text("file\n")
        return SimpleNamespace(skipped=(), pasted=None)

    monkeypatch.setattr("glow_jax.cli.ui.finish.transfer", transferred)
    made = finish(engine, form, 1.0)
    assert made.pasted is not None and made.pasted.name == f"a{suffix}"


def test_previews_are_kept_and_bounded(
    engine: Engine, form: TransferForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glow_jax.cli.ui.engine.MAX_PREVIEWS", 1)
    first = engine.preview(form)
    assert isinstance(first, Preview) and engine.preview(form) is first
    other = TransferForm(form.expression, form.expression, form.source, "paper", form.model)
    assert engine.preview(other) is not first
    assert engine.preview(form) is not first  # it was dropped


def test_alpha_0_is_the_picture_before(engine: Engine, form: TransferForm) -> None:
    preview, shown = engine.shown(form, 0.0)
    assert np.array_equal(preview.before, shown.image)
