"""`glow-jax eval` from words to report: exit codes, what is written, listed and imported."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from eval.judge import check, judge
from eval.protocol.scores import check_scores
from eval.scoring import Judges
from eval.study import read_study
from eval.table import AUS, COLUMNS
from glow_jax.cli.main import main
from tests.support.command_line import fails
from tests.support.judged import make_study, write_table
from tests.support.paths import ROOT


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    """A study with its report, by the offline defaults."""
    out = make_study(tmp_path_factory.mktemp("study") / "out ü")
    assert main(["eval", str(out), "--cache", str(weights), "--workers", "1"]) == 0
    return out


@pytest.fixture
def out(judged: Path, tmp_path: Path) -> Path:
    """A copy, with what was scored, to change."""
    return Path(shutil.copytree(judged, tmp_path / "out"))


def words(out: Path, weights: Path, *more: str) -> list[str]:
    return ["eval", str(out), "--cache", str(weights), "--workers", "1", *more]


def scores_of(out: Path) -> pd.DataFrame:
    frame = pd.read_csv(out / "report" / "scores.csv", dtype={"source": str, "target": str})
    check_scores(frame)
    return frame


def failures_of(out: Path) -> list[list[str]]:
    return json.loads((out / "report" / "figures.json").read_text())["run"]["failures"]


def test_a_report_is_written(judged: Path) -> None:
    names = {p.name for p in (judged / "report").iterdir()}
    assert names == {"index.html", "scores.csv", "figures.json"}
    frame = scores_of(judged)
    assert list(frame.columns) == list(COLUMNS) and len(frame) == 4
    assert (frame["faces"] == 1).all() and (frame["verified"] == 1).all()
    assert (frame["to_target_mean"] < frame["to_source_mean"]).all()
    assert (frame["to_target_nearest"] <= frame["to_target_mean"] + 0.2).all()
    still, moved = frame["alpha"] == 0.5, frame["alpha"] == 1
    assert (frame.loc[still, "to_target_nearest"] < 1e-6).all(), "it is one of the photographs"
    smile = frame["expression"] == "29_3.png"
    assert (frame.loc[smile & moved, "AU12"] > 3).all()
    assert (frame.loc[smile & still, "AU12"] < 1).all()
    assert (frame.loc[smile, "AU12_expression"] > 3).all()
    assert (frame["AU12_target"] < 1).all() and (frame["AU12_source"] < 1).all()
    assert (frame.loc[smile, "AU12_present"] == 1).all()
    run = json.loads((judged / "report" / "figures.json").read_text())["run"]
    assert run["failures"] == []
    assert run["identity"]["model"].endswith(", Dlib") and run["identity"]["threshold"] > 0
    assert run["identity"]["detector"] == "dlib" and run["identity"]["metric"] == "euclidean"
    apart = frame["to_source_mean"].max() + frame["to_target_mean"].max()
    low, high = re.search(
        r"means are ([\d.]+) to ([\d.]+) apart", run["identity"]["apart"]
    ).groups()
    assert 0 < float(low) <= float(high) < apart
    assert run["versions"]["deepface"] and run["hardware"] and run["timestamp"]


def test_the_last_line_says_what_was_found(out: Path, weights: Path, capsys) -> None:
    assert main(words(out, weights)) == 0
    printed = capsys.readouterr()
    (line,) = printed.out.splitlines()
    assert line.startswith("nearer to the target 2 of 2 (100.0 %); AU gain 0.")
    assert "; at alpha 1 (recommended); too few outputs to judge; " in line
    assert line.endswith(f"report: {out / 'report' / 'index.html'}")
    assert "Traceback" not in printed.err


def test_halves_may_be_left_out(out: Path, weights: Path, tmp_path: Path, capsys) -> None:
    report = tmp_path / "new" / "report"
    assert main(words(out, weights, "--identity", "none", "-o", str(report))) == 0
    assert capsys.readouterr().out.startswith("identity not judged; AU gain 0.")
    assert main(words(out, weights, "--aus", "none")) == 2
    said = "report: holds a report of other settings (aus); name another folder for the report"
    assert f"{said}, or give --overwrite" in capsys.readouterr().err
    assert main(words(out, weights, "--aus", "none", "--overwrite")) == 0
    assert capsys.readouterr().out.startswith("nearer to the target 2 of 2 (100.0 %); AUs not")
    assert scores_of(out)[list(AUS)].isna().all(axis=None)
    assert main(words(out, weights, "--aus", "none", "--identity", "none")) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and "nothing to judge: neither" in printed.err
    frame = pd.read_csv(report / "scores.csv")
    assert frame["to_target_mean"].isna().all() and (frame["faces"] == 1).all()


def test_scores_can_be_reported_again(judged: Path, tmp_path: Path, capsys) -> None:
    shutil.copy(judged / "report" / "scores.csv", tmp_path)
    assert main(["eval", str(tmp_path), "--published", "-o", str(tmp_path / "again")]) == 0
    assert capsys.readouterr().out.startswith("nearer to the target 2 of 2 (100.0 %); AU gain 0.")
    frame = pd.read_csv(tmp_path / "again" / "scores.csv")
    wanted = pd.read_csv(judged / "report" / "scores.csv")
    pd.testing.assert_frame_equal(frame, wanted, check_like=True, check_dtype=False)
    assert main(["eval", str(judged), "--published"]) == 2


@pytest.mark.parametrize("reader", ["csv", "binary"])
def test_other_readers(out: Path, weights: Path, tmp_path: Path, reader: str) -> None:
    row = {f"{au}_r": "1.25" for au in AUS}
    if reader == "csv":
        (tmp_path / "csvs").mkdir()
        for path in out.glob("*.png"):
            write_table(tmp_path / "csvs" / f"{path.stem}.csv", [row])
        choice = f"openface-csv:{tmp_path / 'csvs'}"
    else:
        program = tmp_path / "FaceLandmarkImg"
        text = ",".join(row) + "\n" + ",".join(row.values())
        program.write_text(f"#!/bin/sh\nmkdir out && echo '{text}' >out/picture.csv\n")
        program.chmod(0o755)
        choice = f"openface-binary:{program}"
    assert main(words(out, weights, "--aus", choice, "--identity", "none", "--overwrite")) == 0
    assert (scores_of(out)["AU12"] == 1.25).all()


def test_one_output_of_one_person_is_enough(tmp_path: Path, weights: Path, capsys) -> None:
    out = make_study(tmp_path / "out")
    row = {"expression": "20_2.png", "source": "20", "target": "20", "file": "20_4.png"}
    write_table(out / "results.csv", [row])
    write_table(out / "people.csv", [{"person": "20", "file": "20_0.png"}])
    assert main(words(out, weights)) == 0
    assert "report: " in capsys.readouterr().out
    assert len(scores_of(out)) == 1


def test_a_study_in_which_nothing_can_be_judged(tmp_path: Path, weights: Path, capsys) -> None:
    out = tmp_path / "out"
    out.mkdir()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(out / "black.png")
    rows = [
        {"expression": "black.png", "source": "a", "target": "b", "file": name}
        for name in ("black.png", "none.png")
    ]
    write_table(out / "results.csv", rows)
    write_table(out / "people.csv", [{"person": p, "file": "black.png"} for p in "ab"])
    assert main(words(out, weights)) == 1
    assert capsys.readouterr().out.startswith("identity not judged; AUs not judged; ")
    frame = scores_of(out)
    assert list(frame["faces"]) == [0, 0] and frame["to_target_mean"].isna().all()
    found = failures_of(out)
    assert [str(out / "black.png"), "identity", "no face found"] in found
    assert ["a", "identity", "no photograph of this person shows a face"] in found
    assert [f[1] for f in found if f[0].endswith("none.png")] == ["reading"]


def test_missing_pictures_are_listed_and_the_rest_judged(out: Path, weights: Path, capsys) -> None:
    for name in ("20_2.png", "29_4.png", "36_3.png"):  # an output, an expression, a photograph
        (out / name).unlink()
    assert main(words(out, weights)) == 1
    assert "; 3 failures listed; report: " in capsys.readouterr().out
    files = [file for file, stage, _ in failures_of(out) if stage == "reading"]
    assert sorted(Path(f).name for f in files) == ["20_2.png", "29_4.png", "36_3.png"]
    frame = scores_of(out)
    assert len(frame) == 4 and frame["to_target_mean"].notna().sum() == 3
    assert frame.loc[frame["expression"] == "29_4.png", "AU12_expression"].isna().all()
    page = (out / "report" / "index.html").read_text()
    assert "cannot be read (No such file or directory)" in page


def test_decoded_means_are_what_expressions_are_read_against(out: Path, weights: Path) -> None:
    before = scores_of(out)
    (out / "means").mkdir()
    shutil.copy(out / "20_2.png", out / "means" / "target_20.png")
    assert main(words(out, weights)) == 0
    after = scores_of(out)
    smiles = after["target"] == "20"
    assert (after.loc[smiles, "AU12_target"] > 3).all()
    assert (before.loc[smiles, "AU12_target"] < 1).all()
    pd.testing.assert_series_equal(after["to_target_mean"], before["to_target_mean"])


BAD = [
    (["none"], "none: no such folder of outputs"),
    (["."], ".: no results.csv; what is judged is a folder that `transfer` or `batch` wrote"),
    (["OUT", "--workers", "0"], "--workers: 0: use a whole number from 1 to 512"),
    (["OUT", "--workers", "-3"], "--workers: -3: use"),
    (["OUT", "--workers", "100000"], "--workers: 100000: use"),
    (["OUT", "--identity", "Nope"], "identity model Nope: "),
    (["OUT", "--detector", "nope"], "face detector nope: "),
    (["OUT", "--metric", "nope"], "metric nope: use euclidean"),
    (["OUT", "--aus", "nope"], "Action Unit reader nope: use rendered, mediapipe, openface:FOLDER"),
    (["OUT", "--aus", "rendered:x"], "Action Unit reader rendered:x: use"),
    (["OUT", "--aus", "none:x"], "Action Unit reader none:x: use"),
    (["OUT", "--aus", ""], "Action Unit reader '': use"),
    (["OUT", "--aus", "openface:none"], "none: no such folder of OpenFace models"),
    (["OUT", "--aus", "openface-csv:none"], "none: no such folder of OpenFace's CSVs"),
    (["OUT", "--aus", "openface-csv"], "Action Unit reader openface-csv: use"),
    (["OUT", "--aus", "openface-binary:none"], "none: no such program"),
    (["OUT", "-o", "file"], "file: is not a folder"),
    (["OUT", "-o", "/proc/nowhere"], "/proc/nowhere: cannot be made"),
    (["OUT", "--cache", "file"], "file: cannot be made (File exists)"),
    (["OUT", "-o", "OUT"], "OUT: holds outputs; name another folder"),
    (["OUT", "--published"], "--cache has no meaning with --published"),
    (["OUT", "--seed", "-1"], "--seed: -1: use a whole number from 0"),
]


@pytest.mark.parametrize(("more", "said"), BAD, ids=[" ".join(more) for more, _ in BAD])
def test_wrong_words_end_in_one_line(
    judged: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys,
    more: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "OUT").symlink_to(judged)
    (tmp_path / "file").touch()
    line = fails(capsys, ["eval", "--cache", str(weights), "--workers", "1", *more])
    assert line.startswith("glow-jax eval: error: ") and said in line and line.isprintable()


def test_a_worker_is_started_and_the_result_is_the_same_in_two(
    judged: Path, tmp_path: Path
) -> None:
    study, judges = read_study(judged), Judges(None, "rendered")
    one, two = (
        judge(study, judges, check(judges), tmp_path / str(n), workers=n).scores for n in (0, 2)
    )
    pd.testing.assert_frame_equal(one, two)


def test_extra_numbers_of_a_transfer_are_kept(out: Path, weights: Path) -> None:
    with (out / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    extra = {"bits_per_dim": "3.5", "clipped_share": "0.25", "seconds": "", "mine": "x"}
    write_table(out / "results.csv", [row | extra for row in rows])
    assert main(words(out, weights)) == 0
    frame = scores_of(out)
    assert list(frame.columns) == [*COLUMNS, "bits_per_dim", "clipped_share"]
    assert (frame["bits_per_dim"] == 3.5).all()


def test_the_judge_imports_nothing_of_the_flow(tmp_path: Path) -> None:
    files = [p.relative_to(ROOT).with_suffix("") for p in (ROOT / "eval").rglob("*.py")]
    modules = sorted(".".join(p.parts).removesuffix(".__init__") for p in files)
    code = f"""
import sys, importlib
for name in {modules}:
    importlib.import_module(name)
bad = {{"jax", "jaxlib", "flax", "transfer", "orbax", "optax", "torch", "tensorflow",
       "deepface", "feat", "dlib"}}
fine = ("glow_jax.io", "glow_jax.cli")  # the latter of the verb `eval`
ours = {{m for m in sys.modules if m.startswith("glow_jax.") and not m.startswith(fine)}}
print(sorted(bad & set(sys.modules) | ours))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (ended.stdout, ended.stderr) == ("[]\n", "")
    assert not list(tmp_path.iterdir())
