"""Jobs from files: tables and cross products, and every line that can be wrong."""

import csv
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from glow_jax.io.errors import InputError
from tests.support.paths import ROOT
from transfer.jobs.plan import distinct_names
from transfer.jobs.plan_file import JobErrors, read_plan

HEADER = "expression,source,target,alpha"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """People and expressions as files without a picture in them: a plan reads none."""
    for name, files in {
        "people/ann": ("1.png", "2.png", "10.png", "notes.txt"),
        "people/bob": ("b.jpg",),
        "shots": ("smile.png", "frown.webp", "ann_1.png", "ann_2.png", "bob_1.png"),
    }.items():
        (tmp_path / name).mkdir(parents=True)
        for file in files:
            (tmp_path / name / file).write_bytes(file.encode())
    return tmp_path


def table(home: Path, *lines: str, name: str = "job.csv") -> Path:
    (home / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return home / name


def errors(path: Path) -> list[str]:
    with pytest.raises(JobErrors) as caught:
        read_plan(path)
    assert str(caught.value).isprintable()
    return [line.removeprefix(f"{path}: ") for line in caught.value.lines]


def names(paths: Iterable[str]) -> list[str]:
    return [Path(path).name for path in paths]


def test_a_table_of_pictures_folders_and_globs(home: Path) -> None:
    plan = read_plan(
        table(
            home,
            HEADER + ",method,id",
            "shots/smile.png,people/ann,people/bob,0.5,warp,mine",
            "shots,people/ann,people/bob/b.jpg,auto,,",
            "",
            f"{home}/shots/*_1.png, people/ann ,shots/ann_*.png,-1,paper,",
        )
    )
    shot = [Path(plan.files[i]).name for i in plan.expression]
    assert shot[0] == "smile.png" and len(shot) == 1 + 5 + 2
    assert shot[6:] == ["ann_1.png", "bob_1.png"]
    assert plan.line.tolist() == [2, 3, 3, 3, 3, 3, 5, 5]
    np.testing.assert_array_equal(plan.alpha, [0.5] + [np.nan] * 5 + [-1, -1])
    assert plan.method.tolist() == [0] + [-1] * 5 + [1, 1]
    assert plan.user_ids == ["mine"] + [""] * 7
    # bob's folder and his one picture are one person; ann's shots are another ann.
    assert plan.names == ["people/ann", "bob", "shots/ann"]
    assert names(plan.files[i] for i in plan.pictures[0]) == ["1.png", "2.png", "10.png"]
    assert names(plan.files[i] for i in plan.pictures[2]) == ["ann_1.png", "ann_2.png"]
    assert plan.target.tolist() == [1] * 6 + [2, 2]


def test_columns_come_in_any_order_and_names_need_not_be_utf8(home: Path) -> None:
    odd = home / "shots" / "caf\udce9.png"
    odd.write_bytes(b"")
    row = b"people/ann,0.5," + b"shots/caf\xe9.png" + b",people/bob\n"
    (home / "job.csv").write_bytes(b"\xef\xbb\xbfSource,ALPHA,expression,target\r\n" + row)
    plan = read_plan(home / "job.csv")
    assert plan.files[plan.expression[0]] == str(odd)


SPELLINGS = {
    "backslashes": (b"shots\\smile.png", b"people\\ann", b".\\people\\bob"),
    "one accent, as elsewhere": ("shots/\u00fc.png", "people/\u00e9mile", "people/bob"),
    "accents of their own": ("shots/u\u0308.png", "people/e\u0301mile", "people/bob"),
    "both, and backslashes": ("shots\\u\u0308.png", "people\\\u00e9mile\\*.png", "people/bob"),
    "Windows-1252": (b"shots/\xfc.png", b"people/\xe9mile", b"people/bob"),
    "Windows-1252, backslashes": (b"shots\\\xfc.png", b"people\\\xe9mile", b"people/bob"),
}


@pytest.mark.parametrize("kind", SPELLINGS)
def test_paths_are_spelled_as_they_are_there(home: Path, kind: str) -> None:
    (home / "shots" / "u\u0308.png").write_bytes(b"")  # as macOS writes it
    (home / "people" / "\u00e9mile").mkdir()  # as others do
    (home / "people" / "\u00e9mile" / "1.png").write_bytes(b"")
    cells = [c if isinstance(c, bytes) else c.encode() for c in SPELLINGS[kind]]
    (home / "job.csv").write_bytes(HEADER.encode() + b"\n" + b",".join(cells) + b",1\n")
    plan = read_plan(home / "job.csv")
    plain = kind == "backslashes"
    shot, person = ("smile.png", "people/ann") if plain else ("u\u0308.png", "people/\u00e9mile")
    assert names(plan.files[i] for i in plan.expression) == [shot]
    (source, target) = (plan.pictures[i] for i in (plan.source[0], plan.target[0]))
    assert {Path(plan.files[i]).parent for i in source} == {home / person}
    assert plan.files[target[0]] == str(home / "people/bob/b.jpg")


@pytest.mark.parametrize("ending", ["csv", "tsv", "toml"])
def test_words_may_be_in_capitals_and_numbers_with_commas(home: Path, ending: str) -> None:
    row = ["shots/smile.png", "people/ann", "people/bob"]
    header = ["Expression", "SOURCE", "Target ", "alpha", "METHOD"]
    lines = [header, [*row, "AUTO", "Warp"], [*row, "0,5", "PAPER"], [*row, "1.5", ""]]
    mark = "\t" if ending == "tsv" else ";"
    text = "\r\n".join(mark.join(line) for line in lines)
    if ending == "toml":
        text = TOML.replace("auto", "AUTO").replace('"paper"', '"Paper"')
        with open(home / "job.toml", "w", encoding="utf-16") as file:
            file.write(text)
        plan = read_plan(home / "job.toml")
        assert np.isnan(plan.alpha).any() and set(plan.method.tolist()) == {1}
        return
    plan = read_plan(table(home, text, name=f"job.{ending}"))
    np.testing.assert_array_equal(plan.alpha, [np.nan, 0.5, 1.5])
    assert plan.method.tolist() == [0, 1, -1]


def test_a_decimal_comma_among_commas_is_told(home: Path) -> None:
    row = "shots/smile.png,people/ann,people/bob,"
    (first, second) = errors(table(home, HEADER, row + '"0,5"', row + "0,5"))
    assert first.startswith("line 2: alpha '0,5'; use a number with a decimal point")
    assert second.startswith("line 3: 5 cells; the header has 4 (a comma inside a cell")


@pytest.mark.parametrize("name", ["job.xlsx", "job.ods", "job.csv"])
def test_a_workbook_is_told_what_to_do(home: Path, name: str) -> None:
    (home / name).write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(InputError, match="a workbook, .* save the sheet as CSV$"):
        read_plan(home / name)


def test_a_file_may_be_named_like_a_pattern(home: Path) -> None:
    (home / "shots" / "a[1].png").write_bytes(b"")
    plan = read_plan(table(home, HEADER, "shots/a[1].png,people/ann,people/bob,1"))
    assert names(plan.files[i] for i in plan.expression) == ["a[1].png"]


WRONG = {
    "shots/none.png,people/ann,people/bob,1": "shots/none.png: No such file",
    "shots/*.gif,people/ann,people/bob,1": "matches no picture",
    ",people/ann,people/bob,1": "an empty path",
    "shots/smile.png,people,people/bob,1": "no images in this folder",
    "shots/smile.png,people/ann,people/*,1": "matches no picture",
    "shots/smile.png,people/ann,people/bob,": "no alpha; use a number within",
    "shots/smile.png,people/ann,people/bob,nan": "alpha 'nan'; use",
    "shots/smile.png,people/ann,people/bob,1e7": "alpha '1e7'; use",
    "shots/smile.png,people/ann,people/bob": "3 cells; the header has 4",
    "shots/smile.png,people/ann,people/bob,1,2": "5 cells; the header has 4",
    '"shots/smile.png,people/ann,people/bob,1': "not a table",
    "shots/\0.png,people/ann,people/bob,1": "null",
}


@pytest.mark.parametrize("row", WRONG)
def test_a_wrong_row_is_told_with_its_line(home: Path, row: str) -> None:
    good = "shots/smile.png,people/ann,people/bob,1"
    (line,) = errors(table(home, HEADER, good, row))
    assert line.startswith("line 3: ") and WRONG[row] in line


def test_all_errors_are_found_and_the_first_are_told(home: Path) -> None:
    rows = [f"shots/{i}.png,people/ann,people/bob,x" for i in range(50)]
    path = table(home, HEADER, "shots,people/ann,people/bob,1", *rows)
    with pytest.raises(JobErrors, match=r"line 3: alpha 'x'.* \(the first of 100 errors\)") as e:
        read_plan(path)
    assert e.value.count == 100 and len(e.value.lines) == 20
    assert e.value.lines[1].endswith(
        "line 3: column expression: shots/0.png: No such file or directory"
    )


def test_ids_are_their_own(home: Path) -> None:
    row = "shots/smile.png,people/ann,people/bob,1,"
    path = table(home, HEADER + ",id", row + "a", row, row + "b", row, row + "a")
    assert errors(path) == ["line 6: id 'a' is used in line 2"]


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("expression,source,target", "no column 'alpha'"),
        ("expression,source,target,alpha,methd", "unknown column 'methd'"),
        ("expression,source,target,alpha,alpha", "column 'alpha' is repeated"),
        ("", "no column 'expression'"),
    ],
)
def test_a_wrong_header(home: Path, header: str, told: str) -> None:
    assert told in errors(table(home, header, "a,b,c,d"))[0]


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (
            "expression|source|target|alpha",
            "cells separated by '|'; use commas, semicolons or tabs",
        ),
        ("expression  source target alpha", "cells separated by spaces; use commas"),
        ("shots/smile.png,people/ann,people/bob,1", "the first row must name the columns"),
    ],
)
def test_a_header_that_is_none_gives_one_line(home: Path, header: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        read_plan(table(home, header, "a|b|c|d"))
    assert told in str(caught.value) and "errors)" not in str(caught.value)


def test_what_is_no_job(home: Path) -> None:
    for path, told in [
        (home / "none.csv", "No such file"),
        (home / "people", r"accepted: \.csv, \.toml, \.yaml"),
        (home / "people" / "bob" / "b.jpg", "not a job"),
        (table(home, HEADER), "the table has no rows"),
        (table(home, "a = ", name="job.toml"), "not TOML"),
        (table(home, "a: [", name="job.yaml"), "line 2: not YAML"),
        (table(home, "- 1", name="list.yaml"), "needs sources, targets and alphas"),
    ]:
        with pytest.raises(InputError, match=told) as caught:
            read_plan(path)
        assert str(caught.value).isprintable()


TOML = """
alphas = [0.5, "auto", "1:2:1"]
targets = ["people/*", "shots/bob_1.png"]
method = "paper"
[[sources]]
person = "people/ann"
expressions = ["shots/ann_*.png", "shots/ann_1.png"]
[[sources]]
person = "people/bob"
expressions = ["shots/smile.png"]
"""
YAML = """
alphas: [0.5, auto, "1:2:1"]
targets: [people/*, shots/bob_1.png]
method: paper
sources:
  - {person: people/ann, expressions: [shots/ann_*.png, shots/ann_1.png]}
  - {person: people/bob, expressions: [shots/smile.png]}
"""


def test_a_cross_product(home: Path) -> None:
    plan = read_plan(table(home, TOML, name="job.toml"))
    assert len(plan) == 3 * 3 * 4  # ann_1.png is named twice and made once
    assert plan.names == ["ann", "bob", "bob_1"]
    shots = names(plan.files[i] for i in plan.expression[::12])
    assert shots == ["ann_1.png", "ann_2.png", "smile.png"]
    assert plan.source[::12].tolist() == [0, 0, 1]
    assert plan.target[:12].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    np.testing.assert_array_equal(plan.alpha[:5], [0.5, np.nan, 1, 2, 0.5])
    assert set(plan.method.tolist()) == {1} and plan.line[::12].tolist() == [7, 7, 10]
    other = read_plan(table(home, YAML, name="job.yaml"))
    for column in ("expression", "source", "target", "alpha", "method"):
        np.testing.assert_array_equal(getattr(plan, column), getattr(other, column))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("alphas", "alfas"), "line 2: unknown name 'alfas'"),
        (("[0.5,", '[0.5, "x",'), "alpha 'x'"),
        (('"paper"', '"best"'), "line 4: method 'best'; use warp or paper"),
        (('"people/bob"', '"people/eve"'), "line 9: people/eve: No such file"),
        (('["shots/smile.png"]', "[]"), "must be paths, one or more"),
        (('["shots/smile.png"]', "[3]"), "must be paths, one or more"),
        (
            ('person = "people/ann"', 'persons = "people/ann"'),
            "number 1: needs expressions, may have person",
        ),
        (('["people/*", "shots/bob_1.png"]', "[]"), "targets must be a list"),
    ],
)
def test_a_wrong_cross_product(home: Path, change: tuple[str, str], told: str) -> None:
    path = table(home, TOML.replace(*change), name="job.toml")
    assert any(told in line for line in errors(path))


def test_names_tell_people_apart() -> None:
    assert distinct_names(["x/ann", "y/bob.png"]) == ["ann", "bob"]
    assert distinct_names(["x/ann", "y/ann", "y/Bob"]) == ["x/ann", "y/ann", "Bob"]
    assert distinct_names(["x/ann", "ann", "ann"]) == ["x/ann", "ann", "ann~2"]
    assert distinct_names(["a b/c", "a?b/c"]) == ["a b/c", "a?b/c~2"]  # alike as file names


# -- size


def large(folder: Path, n_rows: int, n_people: int = 200, n_pictures: int = 8) -> Path:
    """A table of rows over people with some pictures each."""
    (folder / "people").mkdir(parents=True)
    for i in range(n_people):
        (folder / "people" / f"p{i}").mkdir()
        for j in range(n_pictures):
            (folder / "people" / f"p{i}" / f"{j}.png").write_bytes(b"%d %d" % (i, j))
    rng = np.random.default_rng(0)
    source, target = rng.integers(0, n_people, (2, n_rows)).tolist()
    shot = rng.integers(0, n_pictures, n_rows).tolist()
    with (folder / "job.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "expression", "source", "target", "alpha"])
        for i, (s, t, j) in enumerate(zip(source, target, shot, strict=True)):
            rows.writerow(
                [f"row{i}", f"people/p{s}/{j}.png", f"people/p{s}", f"people/p{t}", i % 7]
            )
    return folder / "job.csv"


@pytest.mark.parametrize(
    ("n_rows", "most_seconds", "most_megabytes"),
    [
        pytest.param(100_000, 6, 500, id="a hundred thousand"),
        pytest.param(1_000_000, 60, 2000, id="a million", marks=pytest.mark.slow),
    ],
)
def test_rows_are_planned_in_little(
    tmp_path: Path, n_rows: int, most_seconds: float, most_megabytes: float
) -> None:
    path = large(tmp_path, n_rows)
    code = f"from {__name__} import plan_alone; import sys; plan_alone(sys.argv[1])"
    words = [sys.executable, "-c", code, str(path)]
    told = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    outputs, seconds, megabytes = map(float, told.split())
    assert 0.5 * n_rows < outputs < n_rows  # rows drawn at random, some of them twice
    assert seconds < most_seconds and megabytes < most_megabytes, told


def plan_alone(path: str) -> None:
    """In a process of its own: print how long planning takes, and its peak memory in MB."""
    from tests.support.linear import linear_models
    from transfer.jobs.job import make_job

    started = time.perf_counter()
    job = make_job(read_plan(path), linear_models())
    assert len(job.digest) == 64 and job.first_use[0][0] >= 0
    seconds = time.perf_counter() - started
    assert job.duplicates == len(job.plan) - len({int(i) for i in job.ids})
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0])
    print(len(job.order), seconds, peak / 1000)


# -- what is left out is said


def test_pictures_beside_folders_are_told(home: Path) -> None:
    """A glob of people: each folder is a person, and a picture beside them none."""
    (home / "people/cy.png").write_bytes(b"cy")
    job = home / "job.toml"
    job.write_text(
        'alphas = [1]\ntargets = ["people/*"]\n'
        '[[sources]]\nperson = "people/ann"\nexpressions = ["shots/smile.png"]\n'
    )
    plan = read_plan(job)
    assert len(plan) == 2
    assert any(note.startswith("people/*: left out 1 picture beside") for note in plan.notes)


def test_folders_in_a_persons_folder_are_told(home: Path) -> None:
    (home / "people/bob/more").mkdir()
    (home / "people/bob/more/c.png").write_bytes(b"c")
    plan = read_plan(table(home, HEADER, "shots/smile.png,people/bob,people/bob/*,1"))
    assert {len(pictures) for pictures in plan.pictures} == {1}
    assert plan.notes == (
        f"{home}/people/bob: left out 1 folder of pictures",
        "people/bob/*: left out 1 folder of pictures",
    )


def test_a_minus_sign_of_a_word_processor_is_one(home: Path) -> None:
    plan = read_plan(table(home, HEADER, "shots/smile.png,people/ann,people/bob,\u22120.5"))
    assert plan.alpha.tolist() == [-0.5]
    wrong = table(home, HEADER, "shots/smile.png,people/ann,people/bob,0_5")  # 5 to Python
    assert "alpha '0_5'; use a number" in errors(wrong)[0]
