"""What is there already is replaced only with --overwrite."""

import shutil
from pathlib import Path

import pytest

from glow_jax.cli.main import main
from tests.support.command_line import fails

WORDS = {
    "encode": ("encode {home}/ann --model {home}/model -o {tmp}/z.npz", "z.npz"),
    "sample": ("sample -n 1 --model {home}/model -o {tmp}/s.png", "s.png"),
    "decode": ("decode {home}/ann.npz --model {home}/model -o {tmp}/out", "out"),
}


@pytest.mark.parametrize("verb", WORDS)
def test_what_is_there_stays_without_overwrite(
    verb: str, home: Path, tmp_path: Path, capsys
) -> None:
    line, name = WORDS[verb]
    words, out = line.format(home=home, tmp=tmp_path).split(), tmp_path / name
    of_mine = out / "mine.txt" if verb == "decode" else out
    of_mine.parent.mkdir(exist_ok=True)
    of_mine.write_text("mine")
    said = fails(capsys, words)
    assert f"{out}: " in said and "or give --overwrite" in said
    assert of_mine.read_text() == "mine" and len(list(tmp_path.rglob("*"))) == 1 + (
        verb == "decode"
    )
    assert main([*words, "--overwrite"]) == 0
    if verb == "decode":
        names = sorted(path.name for path in out.iterdir())
        assert names == ["00000_0.png", "00001_1.png", "mine.txt"] and of_mine.read_text() == "mine"
    else:
        assert out.read_bytes() != b"mine"
    assert "or give --overwrite" in fails(capsys, words)


def test_a_link_is_something_that_is_there(home: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "z.npz").symlink_to("nowhere")
    words = ["encode", f"{home}/ann", "--model", f"{home}/model", "-o", f"{tmp_path}/z.npz"]
    assert "exists" in fails(capsys, words)


def test_a_folder_is_no_file_and_a_file_no_folder(home: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "z.npz").mkdir()
    (tmp_path / "out").touch()
    model = ["--model", f"{home}/model", "--overwrite"]
    said = fails(capsys, ["encode", f"{home}/ann", *model, "-o", f"{tmp_path}/z.npz"])
    assert "z.npz: is a folder; name a file" in said
    said = fails(capsys, ["decode", f"{home}/ann.npz", *model, "-o", f"{tmp_path}/out"])
    assert "out: is not a folder; name another" in said


def test_an_empty_folder_may_be_filled(home: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    words = ["decode", f"{home}/ann.npz", "--model", f"{home}/model", "-o", f"{tmp_path}/out"]
    assert main(words) == 0


@pytest.mark.parametrize("verb", ["fit-expressions", "facekit"])
def test_what_takes_long_is_refused_before_it_begins(
    verb: str, home: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "mine.npz"
    out.write_text("mine")
    words = [verb, f"{tmp_path}/nowhere", "-o", str(out)]
    assert "mine.npz: exists; name another file, or give --overwrite" in fails(capsys, words)
    assert "nowhere" in fails(capsys, [*words, "--overwrite"])
    assert out.read_text() == "mine"


def test_a_models_own_expression_model_is_not_replaced_in_silence(
    home: Path, tmp_path: Path, capsys
) -> None:
    model = shutil.copytree(home / "model", tmp_path / "model")
    (model / "expressions.npz").write_text("mine")
    said = fails(capsys, ["fit-expressions", "nowhere", "--model", str(model)])
    assert "expressions.npz: exists" in said
    assert (model / "expressions.npz").read_text() == "mine"
