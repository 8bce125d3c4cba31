"""What one picture raises is its own failure; names need not be UTF-8, nor harmless."""

import json
import os
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from eval import scoring
from eval.files import Picture
from eval.published import read_scores
from eval.reading import Reading
from eval.scoring import Judges, score
from eval.table import AUS
from glow_jax.cli.main import main
from glow_jax.io.tables import write_table

EXCEPTIONS = [
    ValueError("odd"),
    OSError(5, "Input/output error"),
    MemoryError(),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    RecursionError("too deep"),
]


class ConstantReader:
    """Every picture shows the same."""

    name, notes = "constant", ()

    def __init__(self, key: str):
        self.key = key

    def read(self, pictures: list[Picture]) -> list[Reading]:
        return [Reading(1, np.ones(17), np.ones(17), np.ones(17)) for _ in pictures]


@pytest.mark.parametrize("key", ["constant 1 \udcff", ""])
@pytest.mark.parametrize("function", ["read_bytes", "read_picture"])
@pytest.mark.parametrize("error", EXCEPTIONS, ids=[type(e).__name__ for e in EXCEPTIONS])
def test_a_picture_that_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, function: str, key: str
) -> None:
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    for i, path in enumerate(paths):
        Image.fromarray(np.full((4, 4, 3), i, np.uint8)).save(path)
    read = getattr(scoring, function)

    def raising(path: Path) -> object:
        if path == paths[1]:
            raise error
        return read(path)

    reader = ConstantReader(key)
    monkeypatch.setattr(scoring, function, raising)
    monkeypatch.setattr(scoring, "make_reader", lambda choice: reader)
    found = score(paths, Judges(None, "constant"), reader, tmp_path / "s.sqlite", workers=0)
    for path in (paths[0], paths[2]):
        one = found[path]
        assert one.reading is not None and not one.problem
        assert (one.reading.level == 1).all()
    problem = found[paths[1]].problem
    assert problem.isprintable() and problem.count("b.png") == 1
    words = str(error) if not isinstance(error, (MemoryError, OSError)) else reason_of(error)
    assert words in problem


def reason_of(error: Exception) -> str:
    return "MemoryError" if isinstance(error, MemoryError) else "Input/output error"


def csv_of(folder: Path, stem: str, level: float) -> None:
    header = ",".join(f"{au}_r" for au in AUS)
    (folder / f"{stem}.csv").write_text(f"{header}\n{','.join([f'{level}'] * len(AUS))}\n")


def study_in(folder: Path, names: dict[str, str]) -> Path:
    """A folder of outputs whose names are those given, and OpenFace's CSVs for its pictures."""
    out = folder / names["out"]
    for place in (out, folder / "csvs"):
        place.mkdir(parents=True)
    for i, (key, level) in enumerate((("shot", 3), ("ann", 0), ("bob", 1), ("file", 2))):
        Image.fromarray(np.full((40, 40, 3), 50 * i, np.uint8)).save(out / f"{names[key]}.png")
        csv_of(folder / "csvs", names[key], level)
    row = {"expression": f"{names['shot']}.png", "source": names["ann"], "target": names["bob"]}
    rows = [row | {"alpha": 1.0, "file": f"{names['file']}.png"}]
    write_table(out / "results.csv", ["expression", "source", "target", "alpha", "file"], rows)
    people = [{"person": names[who], "file": f"{names[who]}.png"} for who in ("ann", "bob")]
    write_table(out / "people.csv", ["person", "file"], people)
    return out


NAMES = {
    "not UTF-8": {k: f"{k}\udcff" for k in ("out", "shot", "ann", "bob", "file")},
    "like formulas": {"out": "=out", "shot": "-shot", "ann": "=ann", "bob": "@b", "file": "+f"},
    "hostile": {k: f"{k}\x1b[31m\u202e\x9b" for k in ("out", "shot", "ann", "bob", "file")},
}


@pytest.mark.parametrize("kind", NAMES)
def test_names_of_any_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, kind: str
) -> None:
    names = NAMES[kind]
    out, report = study_in(tmp_path, names), tmp_path / f"report {names['out']}"
    # A failure too, whose name is printed and listed.
    (out / "results.csv").write_bytes(
        (out / "results.csv").read_bytes()
        + os.fsencode(f"{names['shot']}.png,{names['ann']},{names['bob']},2,missing.png\n")
    )
    monkeypatch.chdir(tmp_path)
    words = ["--identity", "none", "--aus", f"openface-csv:{tmp_path / 'csvs'}", "--workers", "1"]
    words += ["--cache", str(tmp_path / f"cache {names['out']}"), "-o", str(report)]
    assert main(["eval", str(out), *words]) == 1
    printed = capsys.readouterr()
    page = (report / "index.html").read_text(encoding="utf-8")
    for text in (printed.out, printed.err, page):
        assert not [c for c in text if c in "\x1b\x9b\u202e" or "\ud800" <= c <= "\udfff"]
    data = json.loads((report / "figures.json").read_text(encoding="utf-8"))
    assert data["counts"]["targets"] == [names["bob"]] and len(data["run"]["failures"]) == 1
    frame = pd.read_csv(report / "scores.csv")
    assert list(frame["AU12"].dropna()) == [2] and len(frame) == 2
    scores = read_scores(report / "scores.csv")
    if kind != "not UTF-8":  # escaped there, as in the page
        assert scores["source"].tolist() == [names["ann"]] * 2
        assert scores["file"].tolist() == [f"{names['file']}.png", "missing.png"]
    assert (
        main(["eval", "--published", str(report / "scores.csv"), "-o", str(report), "--overwrite"])
        == 0
    )


def test_a_cache_of_scores_with_any_name(tmp_path: Path) -> None:
    path = tmp_path / "caf\udce9" / "s.sqlite"
    with scoring.ScoreCache(path) as kept:
        kept.put("sha", {("aus", "key"): "{}"})
    assert sqlite3.connect(path).execute("select sha from scores").fetchall() == [("sha",)]
