"""The summaries of --json: the names that the page lists, and the same figures as in words."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from glow_jax.cli.main import VERBS, main
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "reference" / "command-line.md"
EVERYWHERE = {"verb", "exit_code"}


def documented() -> dict[str, set[str]]:
    """The names in each verb's object, as the page's table says."""
    table = PAGE.read_text(encoding="utf-8").partition("## Summaries as JSON")[2]
    rows = re.findall(r"^\| (`[^|]*) \| ([^|]*) \|$", table, re.MULTILINE)
    return {
        verb: EVERYWHERE | set(re.findall(r"`(\w+)`", names))
        for verbs, names in rows
        for verb in re.findall(r"`([\w-]+)`", verbs)
    }


def summary_of(words: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> Any:
    """Run a command with --json; the object, whose names must be those of the page."""
    capsys.readouterr()
    assert main([*words, "--json"]) == code
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert found["verb"] == words[0] and found["exit_code"] == code
    assert set(found) == documented()[words[0]]
    return found


def test_every_verb_that_does_work_is_in_the_table() -> None:
    assert documented().keys() == VERBS.keys() - {"completion", "ui"}


def test_of_latents_and_samples(home: Path, tmp_path: Path, capsys) -> None:
    model = ["--model", f"{home}/model"]
    z, sheet = tmp_path / "z.npz", tmp_path / "s.png"
    found = summary_of(["encode", f"{home}/ann", "--check", *model, "-o", str(z)], capsys)
    assert (found["images"], found["skipped"], found["numbers_each"]) == (2, 0, 192)
    assert 0 < found["round_trip_error"] < 0.5 and found["inexact"] == 0
    assert found["out"] == str(z)
    found = summary_of(["decode", str(z), *model, "-o", f"{tmp_path}/out"], capsys)
    assert (found["images"], found["skipped"], found["non_finite"]) == (2, 0, 0)
    found = summary_of(["sample", "-n", "3", "--seed", "5", *model, "-o", str(sheet)], capsys)
    assert (found["samples"], found["seed"], found["temperature"]) == (3, 5, 0.7)


def test_of_a_model(home: Path, capsys) -> None:
    found = summary_of(["info", f"{home}/model"], capsys)
    assert found["config"]["n_levels"] == 2 and found["card"] == {
        "origin": "a test",
        "licence": "none",
    }
    assert main(["info", f"{home}/model"]) == 0
    words = capsys.readouterr().out
    assert f"parameters    {found['parameters']:,}" in words
    assert f"fingerprint   {found['fingerprint']}" in words
    assert f"{found['config']['gflop']:.3g} GFLOP" in words


def test_of_transfers(home: Path, tmp_path: Path, capsys) -> None:
    words = ["transfer", "--expression", f"{home}/shots", "--source", f"{home}/ann"]
    words += ["--target", f"{home}/bob", "--alpha", "0.5", "--model", f"{home}/model"]
    words += ["-o", f"{tmp_path}/out"]
    found = summary_of(words, capsys)
    assert (found["made"], found["kept"], found["method"]) == (2, 0, "paper")
    assert found["totals"]["outputs"] == 2 and found["totals"]["max_error"] < 0.5
    assert Path(found["results"]).is_file() and Path(found["sheet"]).is_file()
    assert found["pasted"] is None
    assert main(words) == 0
    printed = capsys.readouterr()
    assert "0 images made; already there: 2" in printed.out
    assert f"largest error {found['totals']['max_error']:.2g} grey levels" in printed.out
    assert main([*words, "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    broken = home / "bob" / "broken.png"
    broken.write_bytes(b"x")
    try:
        words[-1] = f"{tmp_path}/again"
        assert main([*words, "--quiet"]) == 1
        printed = capsys.readouterr()
        assert printed.out == "" and printed.err.startswith(f"skipped: {broken}: ")
        assert printed.err.count("\n") == 1
    finally:
        broken.unlink()


def test_of_an_error_there_is_none(home: Path, tmp_path: Path, capsys) -> None:
    assert main(["info", "nowhere", "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("glow-jax info: error: ")
