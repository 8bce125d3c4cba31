"""The verbs edit, aus, direction and interpolate: what their words mean, and their errors."""

import argparse
import json
import re
from pathlib import Path

import numpy as np
import pytest

from glow_jax.cli.main import main, parser_of
from glow_jax.io.pictures import read_image
from glow_jax.io.provenance import read_provenance
from tests.support.command_line import fails
from tests.support.linear import rows_of
from transfer.cli.edit import _edit_of
from transfer.expression.action_units import ACTION_UNITS, COMBINATIONS
from transfer.expression.edits import Edit


def parsed(*words: str) -> argparse.Namespace:
    return parser_of("edit").parse_args(["a.png", *words, "-o", "out"])


@pytest.mark.parametrize(
    ("words", "edit"),
    [
        (["--au", "AU12=0.8", "--au", "AU4=-0.3"], Edit(set={"AU12": 0.8, "AU4": -0.3})),
        (["--smile", "0.6"], Edit(set={"AU12": 0.6})),
        (["--smile", "+0.6", "--lower-brows", "-0.2"], Edit(add={"AU12": 0.6, "AU4": -0.2})),
        (["--smile=-.5", "--neutral"], Edit(add={"AU12": -0.5}, neutral=True)),
        (["--raise-brows", "1"], Edit(set={"AU1": 1.0, "AU2": 1.0})),
    ],
)
def test_words_of_the_command_line(words: list[str], edit: Edit) -> None:
    assert _edit_of(parsed(*words)) == edit


def test_every_unit_and_combination_is_an_option_and_in_the_list(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = parser_of("edit").format_help()
    assert main(["aus"]) == 0
    listed = capsys.readouterr().out
    assert main(["aus", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    for name, unit in ACTION_UNITS.items():
        assert f"--{unit.word}" in options and name in listed and unit.word in listed
    assert [unit["name"] for unit in figures["units"]] == list(ACTION_UNITS)
    assert figures["combinations"]["raise-brows"] == list(COMBINATIONS["raise-brows"])


def test_directions_and_interpolations_by_command(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A direction is applied with its strength; a second command finds everything done."""
    model, file = ["--model", f"{home}/model"], f"{tmp_path}/d.npz"
    make = ["direction", f"{home}/ann", f"{home}/bob", "-o", file, *model]
    assert main([*make, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["positives"], figures["negatives"], figures["model"]) == (2, 2, "model")
    assert f"{file}: exists; name another file" in fails(capsys, make)
    out = tmp_path / "edited"
    edit = ["edit", f"{home}/ann", "--direction", file, "--alpha", "0", "0.1", "-o", str(out)]
    assert main([*edit, *model]) == 0
    rows = rows_of(out)
    assert len(rows) == 4 and {row["method"] for row in rows} == {"direction"}
    for row in rows:
        if row["alpha"] == "0.0":
            before, after = read_image(row["expression"]), read_image(out / row["file"])
            np.testing.assert_array_equal(after, before)
    capsys.readouterr()
    assert main([*edit, *model]) == 0
    assert "0 images made; already there: 4" in capsys.readouterr().out
    between = ["interpolate", f"{home}/ann/0.png", f"{home}/bob/0.png", "--steps", "3"]
    assert main([*between, "--animate", "webp", "-o", f"{tmp_path}/between", *model]) == 0
    assert "animated: " in capsys.readouterr().out
    assert len(rows_of(tmp_path / "between")) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no edit is stated: .* give --neutral or a --direction"),
        (["--smile", "2"], "smile: 2; use a number from -1.5 to 1.5"),
        (["--smile", "0.5", "--au", "AU12+0.1"], "AU12 is stated twice"),
        (["--smlie", "0.5"], "unknown option --smlie; did you mean --smile?"),
        (["--smile", "0.5", "--direction", "d.npz"], "--smile is another kind of edit than"),
        (["--au", "AU1+0.5", "--reference", "."], "--reference has no meaning here"),
        (["--smile", "0.5", "--paste-back"], "--paste-back needs --align"),
        (["--smile", "0.5", "--face", "2"], "--face needs --align"),
        (["--direction", "none.npz"], "none.npz: no such file"),
        (["--smile", "0.5"], "model 'model' has no expressions.npz, which Action Units need"),
        (["--alpha", "0.5", "a.png"], "name the photographs before this option"),
    ],
)
def test_what_is_wrong_is_one_line(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list, message: str
) -> None:
    asked = ["edit", f"{home}/ann", "--model", f"{home}/model", "-o", f"{tmp_path}/out", *words]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        line = fails(capsys, asked)
    assert not (tmp_path / "out").exists()
    assert re.search(message, line), line


@pytest.mark.slow
def test_a_sheet_of_the_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Drawn without a flow, by the bundled expression model."""
    file = tmp_path / "aus.png"
    assert main(["aus", "-o", str(file), "-q"]) == 0
    height, width, _ = read_image(file).shape
    assert height > 1500 and width > 1000
    record = read_provenance(file)
    assert record is not None and record.source_type == "compositeSynthetic"
    assert "--model has no meaning without --out" in fails(capsys, ["aus", "--model", "faces64"])
