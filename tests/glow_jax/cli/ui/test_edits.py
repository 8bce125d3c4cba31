"""The tab Edit: its form as a request and as a command line; files and slider agree."""

import argparse
from pathlib import Path

import numpy as np
import pytest

from glow_jax.cli.main import main
from glow_jax.cli.ui import bundled
from glow_jax.cli.ui.engine import Engine
from glow_jax.cli.ui.finish import finish, pack
from glow_jax.cli.ui.forms import OUT, EditForm, Person, Stated, inputs_of, portable
from glow_jax.cli.ui.gather import EditFields, gather_edit
from glow_jax.cli.ui.staging import Upload
from glow_jax.cli.ui.tab_edit import GROUPS, UNITS, levels_of, stated
from glow_jax.io.errors import InputError
from glow_jax.io.pictures import read_image
from tests.support.paths import ROOT
from transfer.cli import edit as verb
from transfer.expression.action_units import ACTION_UNITS, COMBINATIONS

PICTURE = Person(Path("/x/a b.png"), "a b.png")
SMILE = (("AU12", 0.8), ("AU4", -0.3))


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    folder = tmp_path / "private"
    folder.mkdir()
    return Engine(folder)


@pytest.mark.parametrize("neutral", [False, True])
@pytest.mark.parametrize("photographs", [False, True])
def test_words_and_request_say_the_same(neutral: bool, photographs: bool) -> None:
    reference = Person(Path("ann"), "ann")
    form = EditForm(PICTURE, reference, None, "photo64", photographs, photographs)
    asked = Stated(neutral, SMILE)
    request, words = form.request(asked, Path("out")), form.words(asked)
    parser = argparse.ArgumentParser()
    verb.add_options(parser)
    assert words[:2] == ["glow-jax", "edit"]
    args = parser.parse_args(words[2:])
    assert args.pictures == [Path("a b.png")] and verb._edit_of(args) == request.edit == asked.edit
    assert args.reference == request.reference == (Path("ann") if neutral else None)
    for name in ("model", "batch_size", "paste_back", "precision"):
        assert getattr(args, name) == getattr(request, name)
    assert args.photographs == (request.photographs is not None)


def test_every_unit_has_a_slider_once() -> None:
    assert sorted(UNITS) == sorted(ACTION_UNITS) and len(GROUPS) == 3
    levels = [0.1 + 0.2 if name == "AU12" else 0.0 for name in UNITS]
    form = EditForm(PICTURE)
    assert stated(form, True, 1.0, levels) == Stated(True, (("AU12", 0.3),))
    direction = EditForm(PICTURE, direction=Person(Path("d.npz"), "d.npz"))
    assert stated(direction, True, -0.5, levels) == Stated(alpha=-0.5)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_a_button_sets_a_combination(name: str) -> None:
    asked = stated(EditForm(PICTURE), False, 1.0, levels_of(name))
    assert {unit for unit, _ in asked.added} == set(COMBINATIONS[name])
    assert not any(levels_of(""))


def direction_of(home: Path, path: Path) -> Path:
    words = ["direction", f"{home}/ann", f"{home}/bob", "--model", f"{home}/model"]
    assert main([*words, "-o", str(path)]) == 0
    return path


def test_a_direction_makes_what_its_command_makes(
    engine: Engine, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = direction_of(home, tmp_path / "d.npz")
    fields = EditFields(
        Upload(home / "shots" / "0.png", "my face.png"),
        direction=Upload(path, "older.npz"),
        model=str(home / "model"),
    )
    form, asked = gather_edit(engine, fields), Stated(alpha=-0.5)
    assert list(inputs_of(portable(form))) == ["my face.png", "older.npz"]
    preview, shown, note = engine.edited(form, asked)
    finished = finish(engine, form, asked)
    monkeypatch.chdir(form.picture.path.parent)
    assert "--alpha=-0.5" in form.words(asked) and main(form.words(asked)[1:]) == 0
    (made,) = Path(OUT, "images").iterdir()
    assert made.name == finished.picture.name
    assert made.read_bytes() == finished.picture.read_bytes()
    assert np.array_equal(read_image(made), shown.image) and not note
    assert not np.array_equal(shown.image, preview.before)
    assert pack(finished, form, asked).is_file()


@pytest.mark.slow
@pytest.mark.parametrize("neutral", [False, True])
def test_units_make_what_their_command_makes(
    engine: Engine, tmp_path: Path, neutral: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    form = gather_edit(engine, EditFields("smile"))
    engine.edited(form, Stated(added=(("AU4", 1.0),)))  # what is shown before leaves no trace
    preview, shown, _ = engine.edited(form, Stated(neutral, SMILE))
    finished = finish(engine, form, Stated(neutral, SMILE))
    words = form.words(Stated(neutral, SMILE))
    assert words[2] == "transfer/demo/expressions/smile.png"
    out = tmp_path / "result"
    assert main([*words[1:-1], str(out)]) == 0
    (made,) = (out / "images").iterdir()
    assert made.read_bytes() == finished.picture.read_bytes()
    assert np.array_equal(read_image(made), shown.image)
    assert not np.array_equal(shown.image, preview.before)
    nothing, unedited, _ = engine.edited(form, Stated())
    assert nothing is preview and np.array_equal(unedited.image, preview.before)


def test_what_is_wrong_is_said(engine: Engine, home: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no picture: drop one"):
        gather_edit(engine, EditFields(None))
    bad = tmp_path / "bad.npz"
    bad.write_bytes(b"PK\x03\x04 not a direction")
    picture, model = Upload(home / "bob" / "0.png", "bob.png"), str(home / "model")
    form = gather_edit(engine, EditFields(picture, direction=Upload(bad, "bad.npz"), model=model))
    with pytest.raises(InputError, match=r"bad\.npz"):
        engine.edited(form, Stated())
    form = gather_edit(engine, EditFields(picture, model=model))
    with pytest.raises(InputError, match=r"has no expressions\.npz"):
        engine.edited(form, Stated(added=SMILE))
    with pytest.raises(InputError, match="no edit is stated"):
        finish(engine, form, Stated())
    assert bundled.picture("smile").path.is_file()
