"""OpenFace's CSVs, as it and others write them, and its program, good and bad."""

import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eval import openface_tool
from eval.action_units import make_reader
from eval.openface_tool import OpenFaceBinary, OpenFaceCsvs, read_openface_csv
from eval.table import AUS
from glow_jax.io.errors import InputError
from tests.support.judged import face, picture

LEVELS = {f"{au}_r": f"{i / 4:.2f}" for i, au in enumerate(AUS)}
FLAGS = {f"{au}_c": f"{i % 2:.2f}" for i, au in enumerate((*AUS, "AU28"))}
ROW = {"face": "0", "confidence": "0.98", "gaze_0_x": "0.1", **LEVELS, **FLAGS}
WANTED = np.arange(17) / 4


def csv_text(*rows: dict[str, str], comma: str = ",") -> str:
    lines = [comma.join(rows[0]), *(comma.join(row.values()) for row in rows)]
    return "\n".join(lines) + "\n"


def read(tmp_path: Path, text: str | bytes, picture: str | None = None):
    path = tmp_path / "a.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_openface_csv(path, picture)


@pytest.mark.parametrize("comma", [",", ", ", " , "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_a_csv_with_and_without_spaces(tmp_path: Path, comma: str, end: str, start: bytes) -> None:
    text = csv_text(ROW, comma=comma).replace("\n", end)
    reading = read(tmp_path, start + text.encode())
    np.testing.assert_allclose(reading.level, WANTED)
    np.testing.assert_allclose(reading.change, WANTED)
    np.testing.assert_allclose(reading.present, np.arange(17) % 2)
    assert (reading.faces, reading.problem) == (1, "")


def test_a_csv_that_a_spreadsheet_saved_again(tmp_path: Path) -> None:
    text = csv_text({k.upper(): v.replace(".", ",") for k, v in ROW.items()}, comma=";")
    for data in (text.encode("utf-16"), text.replace("\n", ";;\r\n").encode() + b";;;\r\n"):
        np.testing.assert_allclose(read(tmp_path, data).level, WANTED)
    rows = [{"input": f"C:\\b\\{n}.png", **ROW} for n in ("J\u00f6", "x")]
    for data in (csv_text(*rows).encode("cp1252"), csv_text(*rows).encode()):
        for name in ("J\u00f6.png", "Jo\u0308.png"):
            assert read(tmp_path, data, name).faces == 1


def test_of_several_faces_the_most_confident_counts(tmp_path: Path) -> None:
    rows = [
        ROW | {"face": str(i), "confidence": c, "AU12_r": f"{i}.5"}
        for i, c in enumerate(("0.6", "nan", "0.9", "0.9", ""))
    ]
    reading = read(tmp_path, csv_text(*rows[:4]))
    assert reading.faces == 4
    assert reading.level[AUS.index("AU12")] == 2.5  # the first among equals; nan is not sure


@pytest.mark.parametrize(
    ("confidence", "problem"),
    [("0.2", "OpenFace's confidence is 0.20"), ("nan", "OpenFace's confidence is not a number")],
)
def test_low_confidence_is_a_problem(tmp_path: Path, confidence: str, problem: str) -> None:
    reading = read(tmp_path, csv_text(ROW | {"confidence": confidence}))
    assert (reading.faces, reading.problem) == (1, problem)
    assert np.isnan(reading.level).all()


def test_confidence_may_be_missing_or_empty(tmp_path: Path) -> None:
    without = {k: v for k, v in ROW.items() if k != "confidence"}
    for row in (without, ROW | {"confidence": ""}):
        np.testing.assert_allclose(read(tmp_path, csv_text(row)).level, WANTED)


@pytest.mark.parametrize(("success", "faces"), [("1", 1), ("0", 0), ("nan", 0), ("", 1)])
def test_success_says_whether_there_is_a_face(tmp_path: Path, success: str, faces: int) -> None:
    reading = read(tmp_path, csv_text(ROW | {"success": success}))
    assert reading.faces == faces
    assert reading.problem == ("" if faces else "OpenFace found no face")


@pytest.mark.parametrize("nan", ["nan", "NaN", "-nan", "-nan(ind)", ""])
def test_a_cell_may_be_nan_in_any_of_its_spellings(tmp_path: Path, nan: str) -> None:
    reading = read(tmp_path, csv_text(ROW | {"AU12_r": nan, "AU45_c": nan}))
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(reading.level)), [AUS.index("AU12")])
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(reading.present)), [16])


def test_missing_aus_are_unknown_and_intensities_are_clipped(tmp_path: Path) -> None:
    row = {k: v for k, v in ROW.items() if k[:4] not in ("AU01", "AU45")}
    reading = read(tmp_path, csv_text(row | {"AU02_r": "7", "AU04_r": "-1"}))
    assert np.isnan(reading.level[[0, 16]]).all()
    assert list(reading.level[1:3]) == [5, 0]


def test_of_many_pictures_the_named_one_counts(tmp_path: Path) -> None:
    rows = [
        {"input": f"{folder}{name}.png", **ROW, "AU12_r": str(i)}
        for i, (folder, name) in enumerate((("x/", "a"), ("C:\\y\\", "b"), ("", "ä ö")))
    ]
    for i, name in enumerate(("a", "b", "ä ö")):
        reading = read(tmp_path, csv_text(*rows), f"{name}.png")
        assert (reading.faces, reading.level[AUS.index("AU12")]) == (1, i)
    assert read(tmp_path, csv_text(*rows), "c.png").problem == "OpenFace found no face"


def test_a_header_alone_is_no_face(tmp_path: Path) -> None:
    assert read(tmp_path, ",".join(ROW)).problem == "OpenFace found no face"


WRONG = {
    "empty": (b"", "no AU01_r"),
    "blank": (b"\n\n", "no AU01_r"),
    "garbage": (bytes(range(256)) * 40, "no AU01_r|line"),
    "random": (np.random.default_rng(0).bytes(5000), "no AU01_r|line"),
    "other columns": (b"a,b\n1,2\n", "no AU01_r, AU02_r … columns: not OpenFace's CSV"),
    "short row": (csv_text(ROW).encode() + b"1,2\n", "line 3: 2 cells; the header has 38"),
    "long row": (csv_text(ROW).encode()[:-1] + b",1,2\n", "line 2: 40 cells; the header has 38"),
    "a word": (csv_text(ROW | {"AU12_r": "much"}).encode(), "line 2: AU12_r is much"),
    "a word in success": (csv_text(ROW | {"success": "yes"}).encode(), "success is yes"),
    "infinite": (csv_text(ROW | {"AU12_r": "inf"}).encode(), "line 2: AU12_r is inf"),
    "control characters": (csv_text(ROW | {"AU12_r": "\x1b[2J"}).encode(), r"is '\\x1b\[2J'"),
    "open quote": (csv_text(ROW).encode() + b'"', "line 3: .*unexpected end"),
    "huge cell": (csv_text(ROW | {"AU12_r": "1" * 200_000}).encode(), "line 2: .*field larger"),
}


@pytest.mark.parametrize(("data", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_csv_is_refused_in_one_line(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=f"a.csv: .*({said})") as error:
        read(tmp_path, data)
    assert str(error.value).isprintable() and len(str(error.value)) < 300


def test_csvs_are_found_by_name_and_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "a b.csv").write_text(csv_text(ROW))
    (tmp_path / "out" / "ü.v2.csv").write_text(csv_text(ROW | {"AU12_r": "1"}))
    (tmp_path / "bad.csv").write_text("no CSV of OpenFace's")
    reader = make_reader(f"openface-csv:{tmp_path}")
    assert reader is not None and not reader.key
    names = ["x/a b.png", "out/ü.v2.webp", "bad.png", "none.png", f"{'x' * 251}.png", "dir.png"]
    (tmp_path / "dir.csv").mkdir()
    pictures = [picture(np.full((1, 1, 3), i, np.uint8), n) for i, n in enumerate(names)]
    found = reader.read(pictures)
    np.testing.assert_allclose(found[0].level, WANTED)
    assert found[1].level[AUS.index("AU12")] == 1
    assert "bad.csv: no AU01_r" in found[2].problem
    assert found[3].problem == "no none.csv among OpenFace's CSVs"
    assert found[4].problem.startswith("no xxx")
    assert found[5].problem == "no dir.csv among OpenFace's CSVs"


def test_one_csv_serves_no_two_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(csv_text(ROW))
    reader = OpenFaceCsvs(tmp_path)
    one, other = (np.full((1, 1, 3), v, np.uint8) for v in (0, 1))
    assert not reader.read([picture(one, "x/a.png")])[0].problem
    assert not reader.read([picture(one, "y/a.png")])[0].problem  # a copy of it
    with pytest.raises(InputError, match=r"a.csv: two different pictures have this name"):
        reader.read([picture(other, "y/a.png")])
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "a.csv").write_text(csv_text(ROW))
    assert not OpenFaceCsvs(tmp_path).read([picture(other, "y/a.png")])[0].problem


def test_a_missing_folder_of_csvs_is_said(tmp_path: Path) -> None:
    for word in (f"openface-csv:{tmp_path}/none", f"openface-csv:{__file__}"):
        with pytest.raises(InputError, match="no such folder of OpenFace's CSVs"):
            make_reader(word)


def program(folder: Path, body: str, name: str = "FaceLandmarkImg") -> Path:
    """An executable that runs some Python with `words`, its arguments."""
    path = folder / name
    path.write_text(f"#!{sys.executable} -SE\nimport os, sys, time\nwords = sys.argv[1:]\n{body}\n")
    path.chmod(0o755)
    return path


WRITE = """
out = words[words.index("-out_dir") + 1]
name = words[words.index("-f") + 1]
assert open(name, "rb").read(4) == b"\\x89PNG" and "-aus" in words and "-au_static" in words
os.makedirs(out)
open(os.path.join(out, "picture.csv"), "wb").write({data!r})
"""


def test_the_program_is_run_and_its_csv_read(tmp_path: Path, capfd) -> None:
    body = "print('x' * 100_000)\n" + WRITE.format(data=csv_text(ROW, comma=", ").encode())
    reader = make_reader(f"openface-binary:{program(tmp_path, body)}")
    assert reader is not None and reader.name == "OpenFace (FaceLandmarkImg)"
    for reading in reader.read([face("20_0"), picture(np.zeros((1, 1, 3), np.uint8))]):
        np.testing.assert_allclose(reading.level, WANTED)
    assert capfd.readouterr() == ("", "")


BODIES = {
    "exit 1": ("sys.exit(1)", "OpenFace ended with 1"),
    "exit 1 with a CSV": (WRITE.format(data=csv_text(ROW).encode()) + "sys.exit(1)", "ended with"),
    "killed": ("os.kill(os.getpid(), 9)", "OpenFace ended with -9"),
    "no CSV": ("", "OpenFace found no face"),
    "a folder for a CSV": ("os.makedirs('out/picture.csv')", "OpenFace found no face"),
    "empty CSV": (WRITE.format(data=b""), "OpenFace wrote a CSV that cannot be read"),
    "garbage": (WRITE.format(data=b"\0\xff" * 99), "OpenFace wrote a CSV that cannot be read"),
    "no interpreter": (None, "OpenFace cannot be run"),
}


@pytest.mark.parametrize(("body", "problem"), BODIES.values(), ids=BODIES)
def test_a_failing_program_is_a_reading_without_numbers(
    tmp_path: Path, body: str | None, problem: str
) -> None:
    path = program(tmp_path, body or "")
    if body is None:
        path.write_text("#!/no/such/interpreter\n")
    (reading,) = OpenFaceBinary(path).read([picture(np.zeros((4, 4, 3), np.uint8))])
    assert problem in reading.problem and reading.faces == 0
    assert np.isnan(reading.level).all()


def test_a_program_that_hangs_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openface_tool, "TIME_LIMIT_S", 0.25)
    # A wrapper, as a container's is: what hangs is its child, which holds its output open.
    path = tmp_path / "FaceLandmarkImg"
    path.write_text(f"#!/bin/sh\nsleep 60 &\necho $! >{tmp_path}/pid\nwait\n")
    path.chmod(0o755)
    start = time.monotonic()
    (reading,) = OpenFaceBinary(path).read([picture(np.zeros((4, 4, 3), np.uint8))])
    assert time.monotonic() - start < 10
    assert reading.problem == "OpenFace took more than 0.5 s"
    child = Path("/proc", (tmp_path / "pid").read_text().strip())
    for _ in range(100):
        if not child.exists() or "Z" in (child / "stat").read_text().split()[2]:
            break
        time.sleep(0.05)
    else:
        pytest.fail("the program's child still runs")


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: folder / "none",
        lambda folder: folder,
        lambda folder: program(folder, "").chmod(stat.S_IRUSR) or folder / "FaceLandmarkImg",
    ],
    ids=["missing", "a folder", "not executable"],
)
def test_no_such_program_is_said(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with pytest.raises(InputError, match="no such program"):
        make_reader(f"openface-binary:{make(tmp_path)}")


def test_the_program_is_looked_for_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="neither FaceLandmarkImg nor FeatureExtraction is on"):
        make_reader("openface-binary")
    program(tmp_path, "", "FeatureExtraction")
    assert OpenFaceBinary().name == "OpenFace (FeatureExtraction)"
    key = OpenFaceBinary().key
    program(tmp_path, "")
    assert OpenFaceBinary().name == "OpenFace (FaceLandmarkImg)" and OpenFaceBinary().key != key


def test_a_relative_path_is_found_from_the_pictures_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, WRITE.format(data=csv_text(ROW).encode()))
    monkeypatch.chdir(tmp_path)
    (reading,) = OpenFaceBinary(os.path.join(".", "FaceLandmarkImg")).read([face("20_0")])
    assert not reading.problem
