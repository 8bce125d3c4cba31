"""Folders to judge: a transfer's, another method's, and every way in which they can be wrong."""

import json
import math
import os
from pathlib import Path

import pytest

from eval.run import _notes, _of_methods
from eval.study import _references, read_study
from glow_jax.io.errors import InputError
from transfer.jobs.plan import file_name

RESULTS = "expression,source,target,alpha,file\nsmile.png,ann,bob,1,a.png\n"
PEOPLE = "person,file\nann,ann.png\nbob,bob.png\nbob,bob2.png\n"
JOB: dict = {
    "source": {"ann": [{"file": "in/ann.png", "sha256": "0"}]},
    "targets": {"bob": [{"file": "in/b1.png"}, {"file": "in/b2.png"}]},
    "model": {"name": "faces64"},
    "precision": "float32",
    "method": "mean difference",
    "versions": {"glow-jax": "0.1"},
}


def foreign(folder: Path, results: str | bytes = RESULTS, people: str | bytes = PEOPLE) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in (("results.csv", results), ("people.csv", people)):
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def transfer(folder: Path, job: object = JOB) -> Path:
    folder.mkdir(exist_ok=True)
    header = "id,expression,source,target,alpha,file,seconds,bits_per_dim\n"
    row = "0a,in/smile.png,ann,bob,0.5,bob/smile.png,,1.25\n"
    (folder / "results.csv").write_text(header + row)
    (folder / "job.json").write_text(job if isinstance(job, str) else json.dumps(job))
    return folder


def test_a_folder_of_a_transfer(tmp_path: Path) -> None:
    out = transfer(tmp_path / "out")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ann.png").touch()
    (out / "means").mkdir()
    (out / "means" / "target_bob.png").touch()
    study = read_study(out)
    (row,) = study.outputs
    assert row["id"] == "0a" and row["alpha"] == 0.5 and row["bits_per_dim"] == 1.25
    assert math.isnan(row["seconds"]) and math.isnan(row["clipped_share"])
    assert study.people["ann"] == [out.parent / "in" / "ann.png"]  # found beside the folder
    assert study.people["bob"] == [Path("in/b1.png"), Path("in/b2.png")]  # not found, as it is
    assert study.references == {("target", "bob"): out / "means" / "target_bob.png"}
    assert study.about == {
        "flow": "faces64, float32",
        "method": "mean difference",
        "glow-jax": "0.1",
    }


def test_a_folder_of_another_method(tmp_path: Path) -> None:
    out = foreign(tmp_path, RESULTS + "smile.png,ann,bob,,b.png\n")
    (out / "smile.png").touch()
    study = read_study(str(out))
    assert [row["id"] for row in study.outputs] == ["a.png", "b.png"]
    assert math.isnan(study.outputs[1]["alpha"])
    assert study.expressions == {"smile.png": out / "smile.png"}
    assert {p: len(files) for p, files in study.people.items()} == {"ann": 1, "bob": 2}
    assert study.references == {} and study.about == {}


def test_a_photograph_that_a_table_names_twice_counts_once(tmp_path: Path) -> None:
    out = foreign(tmp_path, people=PEOPLE + "bob,bob.png\n")
    assert read_study(out).people["bob"] == [Path("bob.png"), Path("bob2.png")]


def test_an_alpha_is_a_number_as_people_write_it(tmp_path: Path) -> None:
    row = "smile.png,ann,bob,{},a.png"
    minus = foreign(tmp_path / "a", RESULTS.replace("1,a.png", "\u22120.5,a.png"))
    assert read_study(minus).outputs[0]["alpha"] == -0.5
    python = foreign(tmp_path / "b", RESULTS.replace(row.format(1), row.format("0_5")))
    with pytest.raises(InputError, match="alpha is 0_5; a number is needed"):
        read_study(python)


def test_paths_are_looked_for_from_the_folder_last_where_the_command_runs_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = foreign(tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    (out / "ann.png").touch()
    (tmp_path / "bob.png").touch()
    people = read_study("out").people
    assert people["ann"] == [Path("out/ann.png")] and people["bob"][0] == Path("bob.png")


def test_names_may_hold_anything_that_a_file_name_may(tmp_path: Path) -> None:
    shot, who = 'a "quoted", näme\nof\ttwo lines %20 \\ <b>', "Ünï Cödé 人"
    quoted = '"' + shot.replace('"', '""') + '"'
    results = f"expression,source,target,file\n{quoted}.png,{who},{who},{quoted}.png\n"
    out = foreign(
        tmp_path, results.replace('".png', '.png"'), f"person,file\n{who},  {who}.png  \n"
    )
    for name in (shot, who):
        (out / f"{name}.png").touch()
    study = read_study(out)
    assert study.outputs[0]["file"] == f"{shot}.png"
    assert study.expressions[f"{shot}.png"] == out / f"{shot}.png"
    assert study.people[who] == [out / f"{who}.png"]


def test_names_that_are_no_paths_are_kept_for_the_list_of_failures(tmp_path: Path) -> None:
    odd = ["x" * 300 + ".png", "a\0b.png", "/", "~/a.png", "no/such/file.png"]
    lines = "".join(f"{name},ann,bob,{i}.png\n" for i, name in enumerate(odd))
    long = "y" * 300
    out = foreign(
        tmp_path,
        f"expression,source,target,file\n{lines}smile.png,{long},bob,z.png\n",
        f"{PEOPLE}{long},{long}.png\n",
    )
    (out / "means").mkdir()
    study = read_study(out)
    assert set(odd) <= set(study.expressions)
    assert study.people[long] == [Path(f"{long}.png")]


def test_spaces_byte_order_marks_and_blank_lines_do_not_matter(tmp_path: Path) -> None:
    text = (
        "\ufeff expression , source,target,alpha , file\r\n\r\n smile.png ,ann, bob , 1 ,a.png\r\n"
    )
    (row,) = read_study(foreign(tmp_path, text)).outputs
    assert (row["expression"], row["target"], row["alpha"]) == ("smile.png", "bob", 1)


def test_tables_of_spreadsheets_in_two_spellings(tmp_path: Path) -> None:
    """Results from Excel in German, people from macOS: one person, and pictures that are there."""
    out = foreign(
        tmp_path,
        "Expression;SOURCE;target;alpha;file;\r\n"
        "shots\\l\u00e4cheln.png;J\u00f6rg;bob;0,5;a\\1.png;\r\n;;;;;\r\n".encode("cp1252"),
        "person\tfile\nJo\u0308rg\tann.png\nbob\tann.png\n".encode("utf-16"),
    )
    for name in ("shots/la\u0308cheln.png", "a/1.png"):
        (out / name).parent.mkdir()
        (out / name).write_bytes(b"")
    study = read_study(out)
    (row,) = study.outputs
    assert (row["alpha"], row["file"]) == (0.5, "a/1.png")
    assert study.people[row["source"]] == [Path("ann.png")]
    assert list(study.expressions.values()) == [out / "shots/la\u0308cheln.png"]


@pytest.mark.parametrize("name", ["results", "people"])
def test_a_workbook_instead_of_a_table_is_told_what_to_do(tmp_path: Path, name: str) -> None:
    out = foreign(tmp_path)
    (out / f"{name}.csv").rename(out / f"{name}.xlsx")
    with pytest.raises(InputError, match=rf"{name}.xlsx: .* save the sheet as CSV, as {name}.csv$"):
        read_study(out)


def test_mean_faces_are_found_under_both_names(tmp_path: Path) -> None:
    out = foreign(
        tmp_path,
        "expression,source,target,file\ns,a b/c,d e,1.png\n",
        "person,file\na b/c,1\nd e,2\n",
    )
    (out / "means").mkdir()
    (out / "means" / "source_a-b-c.png").touch()
    (out / "means" / "target_d e.png").touch()
    (out / "means" / "source_d e.png").touch()  # not a source
    assert {k: p.name for k, p in read_study(out).references.items()} == {
        ("source", "a b/c"): "source_a-b-c.png",
        ("target", "d e"): "target_d e.png",
    }


@pytest.mark.parametrize(
    ("methods", "pictures", "name"),
    [
        ("", 1, "mean face"),
        ("warp", 1, "neutral picture"),
        ("paper", 1, "mean face"),
        ("paper warp", 1, "reference picture"),
        ("somebody's", 1, "reference picture"),
        ("warp", 0, "average over photographs"),
    ],
)
def test_reference_pictures_are_called_what_they_are(
    tmp_path: Path, methods: str, pictures: int, name: str
) -> None:
    rows = [f"s,ann,bob,{method},{i}.png\n" for i, method in enumerate(methods.split() or [""])]
    out = foreign(tmp_path, "expression,source,target,method,file\n" + "".join(rows))
    if pictures:
        (out / "means").mkdir()
        (out / "means" / "target_bob.png").touch()
    assert read_study(out).reference.name == name


def test_an_old_folder_names_its_method_in_the_job(tmp_path: Path) -> None:
    out = transfer(tmp_path / "out", JOB | {"method": "warp"})
    (out / "means").mkdir()
    (out / "means" / "target_bob.png").touch()
    assert read_study(out).reference.name == "neutral picture"


def test_outputs_may_lie_anywhere(tmp_path: Path) -> None:
    rows = f"s,ann,bob,1,../a.png\ns,ann,bob,2,{tmp_path}/b.png\n"
    study = read_study(foreign(tmp_path / "out", HEAD + rows))
    (tmp_path / "a.png").touch()
    (tmp_path / "b.png").touch()
    assert all((study.folder / row["file"]).is_file() for row in study.outputs)


HEAD = "expression,source,target,alpha,file\n"
ROW = "smile.png,ann,bob,1,a.png\n"
WRONG_RESULTS = {
    "empty": ("", "results.csv: no column expression, source, target, file"),
    "no rows": (HEAD, "results.csv: no outputs in it"),
    "blank rows": (HEAD + "\n\n", "results.csv: no outputs in it"),
    "binary": (bytes(range(256)), "results.csv: "),
    "a column missing": ("expression,source,file\na,b,c\n", "results.csv: no column target"),
    "a column twice": (
        "expression,source,target,file,file\na,b,c,d,e\n",
        "results.csv: column file occurs twice",
    ),
    "short row": (HEAD + ROW + "smile.png\n", "results.csv: line 3: 1 cell; the header has 5"),
    "long row": (HEAD + "a,b,c,1,d,e\n", "results.csv: line 2: 6 cells; the header has 5"),
    "no file": (HEAD + "smile.png,ann,bob,1, \n", "results.csv: line 2: file is empty"),
    "no target": (HEAD + ROW + "\nsmile.png,ann,,1,b.png\n", "line 4: target is empty"),
    "a word": (HEAD + "s,ann,bob,much,a.png\n", "line 2: alpha is much; a number is needed"),
    "infinite": (HEAD + "s,ann,bob,inf,a.png\n", "line 2: alpha is inf; a number"),
    "overflow": (HEAD + "s,ann,bob,1e999,a.png\n", "line 2: alpha is 1e999"),
    "twice": (HEAD + ROW + ROW, "line 3: id a.png occurs twice"),
    "open quote": (HEAD + ROW + '"smile', "results.csv: line 3: not a table of .*unexpected end"),
    "huge cell": (HEAD + "x" * 200_000 + ",a,b,1,c\n", "line 2: not a table of .*field larger"),
    "control characters": (HEAD + "s,ann,bob,\x1b[2J,a.png\n", r"alpha is '\\x1b\[2J'"),
    "a line in a cell": (
        HEAD + '"a\nb",ann,bob,1,a.png\ns,ann,bob,x,b.png\n',
        "line 4: alpha is x",
    ),
    "a stranger": (HEAD + "s,ann,eve,1,a.png\n", "no photographs of eve; people.csv"),
}


@pytest.mark.parametrize(("results", "said"), WRONG_RESULTS.values(), ids=WRONG_RESULTS)
def test_wrong_results_are_refused_in_one_line(
    tmp_path: Path, results: str | bytes, said: str
) -> None:
    with pytest.raises(InputError, match=said) as error:
        read_study(foreign(tmp_path, results))
    assert str(error.value).isprintable()


WRONG_PEOPLE = {
    "empty": ("", "people.csv: no column person, file"),
    "no rows": ("person,file\n", "no photographs of ann; people.csv"),
    "no file": ("person,file\nann,ann.png\nbob,\n", "people.csv: line 3: file is empty"),
    "no person": ("person,file\n,ann.png\n", "people.csv: line 2: person is empty"),
    "short row": ("person,file\nann\n", "people.csv: line 2: 1 cell; the header has 2"),
    "binary": (bytes(range(256)), "people.csv: "),
}


@pytest.mark.parametrize(("people", "said"), WRONG_PEOPLE.values(), ids=WRONG_PEOPLE)
def test_wrong_people_are_refused_in_one_line(
    tmp_path: Path, people: str | bytes, said: str
) -> None:
    with pytest.raises(InputError, match=said) as error:
        read_study(foreign(tmp_path, people=people))
    assert str(error.value).isprintable()


def without(*keys: str) -> dict:
    return {k: v for k, v in JOB.items() if k not in keys}


WRONG_JOBS = {
    "empty": "",
    "no JSON": "{'source'}",
    "a list": [1, 2],
    "null": None,
    "deep": "[" * 100_000,
    "long number": '{"source": ' + "9" * 5000 + "}",
    "no source": without("source"),
    "no versions": without("versions"),
    "source of text": JOB | {"source": "ann"},
    "pictures of text": JOB | {"targets": {"bob": ["b.png"]}},
    "pictures of numbers": JOB | {"targets": {"bob": 3}},
    "pictures without file": JOB | {"targets": {"bob": [{}]}},
    "model of text": JOB | {"model": "faces64"},
    "versions of text": JOB | {"versions": "new"},
}


@pytest.mark.parametrize("job", WRONG_JOBS.values(), ids=WRONG_JOBS)
def test_a_wrong_job_is_refused_in_one_line(tmp_path: Path, job: object) -> None:
    with pytest.raises(InputError, match=r"job.json: not a job.json of transfer or batch$"):
        read_study(transfer(tmp_path, job))


def test_a_job_may_leave_its_people_to_their_table(tmp_path: Path) -> None:
    out = transfer(tmp_path, {k: v for k, v in JOB.items() if k not in ("source", "targets")})
    (out / "people.csv").write_text(PEOPLE)
    study = read_study(out)
    assert {p: len(files) for p, files in study.people.items()} == {"ann": 1, "bob": 2}
    assert study.about["flow"] == "faces64, float32"


@pytest.mark.parametrize("pictures", [[], [{"file": "\ud800.png"}]], ids=["none", "no text"])
def test_odd_pictures_in_a_job(tmp_path: Path, pictures: list) -> None:
    out = transfer(tmp_path, JOB | {"targets": {"bob": pictures}})
    if pictures:
        assert len(read_study(out).people["bob"]) == 1
        return
    with pytest.raises(InputError, match="no photographs of bob"):
        read_study(out)


def test_a_source_and_a_target_of_one_name_are_one_person(tmp_path: Path) -> None:
    out = transfer(tmp_path / "out", JOB | {"targets": {**JOB["targets"], **JOB["source"]}})
    assert read_study(out).people["ann"] == [Path("in/ann.png")]
    out = transfer(tmp_path / "other", JOB | {"targets": {"ann": [{"file": "else/ann.png"}]}})
    with pytest.raises(InputError, match="source and target are both called ann but have other"):
        read_study(out)


def test_no_folder_of_outputs_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("none", "file", "x" * 300, "a\0b"):
        with pytest.raises(InputError, match="no such folder of outputs"):
            read_study(tmp_path / name)
    with pytest.raises(InputError, match="no results.csv; what is judged is a folder that"):
        read_study(tmp_path)
    (tmp_path / "results.csv").mkdir()
    with pytest.raises(InputError, match="no results.csv"):
        read_study(tmp_path)


def test_who_the_people_are_must_be_said(tmp_path: Path) -> None:
    foreign(tmp_path)
    (tmp_path / "people.csv").unlink()
    with pytest.raises(InputError, match=r"neither job.json nor people.csv \(person, file\) in it"):
        read_study(tmp_path)


@pytest.mark.parametrize("name", ["results.csv", "people.csv", "job.json"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    foreign(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    if name == "job.json":
        assert read_study(tmp_path).people
        return
    with pytest.raises(InputError, match=r"no results.csv|neither job.json nor people.csv"):
        read_study(tmp_path)


@pytest.mark.parametrize("name", ["Ann Lee", "Ann", "Zoë+1", "a/b", "x" * 100])
def test_mean_faces_are_found_under_the_names_that_a_transfer_gives(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "means").mkdir()
    path = tmp_path / "means" / f"target_{file_name(name)}.png"
    path.touch()
    assert _references(tmp_path, {("target", name)}) == {("target", name): path}


def test_one_method_of_several_is_read(tmp_path: Path) -> None:
    head = "id,expression,source,target,alpha,file,method\n"
    one, other = "0,s.png,ann,bob,1,a.png,Glow\n", "1,s.png,ann,bob,0.5,b.png,paper\n"
    folder = foreign(tmp_path / "both", head + one + other)
    for method, file in (("glow", "a.png"), ("paper", "b.png")):
        study = read_study(folder, method)
        assert [row["file"] for row in study.outputs] == [file]
        assert study.methods == (method,) and _of_methods(study) == ""
    with pytest.raises(InputError, match="no output of method warp; there are: glow, paper"):
        read_study(folder, "warp")


def test_several_methods_are_told_apart_in_a_note_only(tmp_path: Path) -> None:
    head = "id,expression,source,target,alpha,file,method\n"
    one, other = "0,s.png,ann,bob,1,a.png,glow\n", "1,s.png,ann,bob,0.5,b.png,paper\n"
    study = read_study(foreign(tmp_path / "both", head + one + other))
    assert study.methods == ("glow", "paper")
    (note,) = _notes(study)
    assert note.startswith("The outputs are of 2 methods: glow, paper.")
    assert _of_methods(study) == "glow and paper together (--method judges one); "
    assert _notes(read_study(foreign(tmp_path / "one", head + one))) == []
    assert read_study(foreign(tmp_path / "none")).methods == ()
