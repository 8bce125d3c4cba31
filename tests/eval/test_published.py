"""Other people's results: small files in the style of the paper's authors', numbers invented."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eval.protocol import figures
from eval.published import read_published, read_published_folder, read_scores
from eval.published_layout import Published
from eval.table import AUS, COLUMNS
from glow_jax.io.errors import InputError

HEADER = "[filename, " + ", ".join(f"{au}_r" for au in AUS) + "]"
ALPHAS = (0.3, 0.32)
DISTANCES = {
    "smile": """ID ,0.3, 0.32,  dist source,dist_target
ann_source,1.1,1.2,0,1.3
bob_target,0.45,0.55,1.4,0
ann_target, 0.4,0.5,1.3,0
bob_source,1.15,1.25,0,1.4
""",
    "frown": """,0.30,0.32,to source mean,To Target
bob_target,0.46,0.56,1.4,0.0
bob_source,1.16,1.26,0.0,1.4
ann_target,0.41,0.51,1.3,0.0
ann_source,1.11,1.21,0.0,1.3
""",
}


def au_line(name: str, first: float, **others: float) -> str:
    """As the authors write one: quoted, with leading spaces; AU01 is `first`, the rest 0.1."""
    values = dict.fromkeys(AUS, 0.1) | {"AU01": first} | others
    return f"['{name}', " + ", ".join(f"' {values[au]:.2f}'" for au in AUS) + "]"


def au_file(shift: float) -> str:
    lines = [HEADER]
    for n, name in enumerate(("ann", "bob", "sue")):
        lines += [au_line(f"{name}_{a}.csv", 1 + n + a + shift) for a in ALPHAS]
        lines.append(au_line(f"{name}_mean.csv", 1 + n))
    return "\n".join(lines) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in DISTANCES.items():
        write(tmp_path / "distances" / f"{name}.csv", text)
    write(tmp_path / "aus" / "smile.txt", au_file(0.0))
    write(tmp_path / "aus" / "frown.txt", au_file(0.5))
    references = [HEADER, au_line("frown.csv", 4.5), au_line("smile.csv", 3.5, AU12=5.0)]
    write(tmp_path / "references.txt", "\n".join(references))
    write(tmp_path / "source.txt", "sue\n")
    return tmp_path


def write(path: Path, text: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def said(folder: Path) -> str:
    """The message of the one InputError, without the folder's own name."""
    with pytest.raises(InputError) as caught:
        read_published_folder(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{folder}/", "")


def test_the_authors_files_become_the_scores_table(folder: Path) -> None:
    scores = read_published_folder(folder)
    assert (
        list(scores["id"])
        == [f"{e}/{t}_{a}" for e in ("frown", "smile") for t in ("ann", "bob") for a in ALPHAS]
        or len(scores) == 8
    )
    assert set(scores["source"]) == {"sue"} and set(scores["target"]) == {"ann", "bob"}
    row = scores.set_index("id").loc["smile/bob_0.32"]
    assert (row["expression"], row["target"], row["alpha"], row["file"]) == (
        "smile",
        "bob",
        0.32,
        "",
    )
    assert (row["to_target_mean"], row["to_source_mean"]) == (0.55, 1.25)
    assert row["AU01"] == pytest.approx(2.32)
    assert (row["AU01_expression"], row["AU01_source"], row["AU01_target"]) == (3.5, 3.0, 2.0)
    assert (row["AU12_expression"], row["AU12"], row["AU45_target"]) == (5.0, 0.1, 0.1)
    unknown = ["to_target_nearest", "verified", "faces", "AU01_present"]
    assert scores[unknown].isna().all(axis=None)
    frown = scores.set_index("id").loc["frown/ann_0.3"]
    assert (frown["to_target_mean"], frown["to_source_mean"]) == (0.41, 1.11)
    assert frown["AU01"] == pytest.approx(1.8) and frown["AU01_expression"] == 4.5


def test_figures_can_be_made_of_them(folder: Path) -> None:
    found = figures(read_published_folder(folder), resamples=20)
    assert (found["identity"]["nearer"]["count"], found["counts"]["series"]) == (8, 4)
    assert found["identity"]["rising"]["spearman"] == pytest.approx(1)
    x = np.array([1.5] * 4 + [0.5] * 4)  # AU01; the others: 0, but AU12 of smile
    y = np.array([0.8, 0.82] * 2 + [0.3, 0.32] * 2)
    au01 = found["expression"]["by_au"][0]
    assert au01["gain"] == pytest.approx(np.polyfit(x, y, 1)[0])


def test_the_sources_own_transfers_are_left_out_of_distances_too(folder: Path) -> None:
    path = folder / "distances" / "smile.csv"
    write(path, DISTANCES["smile"] + "sue_source,0.2,0.3,0,0\nsue_target,0.2,0.3,0,0\n")
    assert len(read_published_folder(folder)) == 8


def test_an_alpha_is_the_same_in_both_files_despite_rounding(folder: Path) -> None:
    replaced(SMILE, " 0.32", " 0.32000000000000001776")(folder)
    replaced(FROWN, "ann_0.32", "ann_0.3200000001")(folder)
    assert len(read_published_folder(folder)) == 8


def test_either_half_may_be_absent(folder: Path) -> None:
    (folder / "distances").rename(folder / "elsewhere")
    scores = read_published_folder(folder)
    assert (
        len(scores) == 8 and scores["to_target_mean"].isna().all() and scores["AU01"].notna().all()
    )
    (folder / "elsewhere").rename(folder / "distances")
    (folder / "aus").rename(folder / "gone")
    (folder / "references.txt").unlink()
    scores = read_published_folder(folder)
    assert len(scores) == 8 and scores["AU01"].isna().all()
    assert scores["to_target_mean"].notna().all()


def test_a_list_may_be_written_in_other_ways(folder: Path) -> None:
    plain = read_published_folder(folder)
    flags = {"AU01": " 1", "AU12": " 0.00"}
    header = HEADER[:-1] + ", confidence, " + ", ".join(f"'{au}_c'" for au in flags) + "]"
    lines = (folder / "references.txt").read_text().splitlines()[1:]
    lines = [line[:-1] + ", 0.98, " + ", ".join(flags.values()) + "]" for line in lines]
    text = "\r\n".join([header, "", *lines]).replace("'frown.csv'", '"processed/frown.csv"')
    write(folder / "references.txt", b"\xef\xbb\xbf" + text.encode())
    scores = read_published_folder(folder)
    assert set(scores["AU01_present"]) == {1} and set(scores["AU12_present"]) == {0}
    same = [name for name in COLUMNS if not name.endswith("_present")]
    assert scores[same].equals(plain[same])


def test_files_that_a_spreadsheet_saved_again(folder: Path) -> None:
    wanted = read_published_folder(folder)
    smile = DISTANCES["smile"].replace(",", ";").replace(".", ",").replace("\n", ";;\r\n")
    write(folder / "distances" / "smile.csv", smile.encode("utf-16"))
    text = (folder / "aus" / "smile.txt").read_text()
    write(folder / "aus" / "smile.txt", text.replace("\n", "\r").encode("utf-16"))
    assert read_published_folder(folder).equals(wanted)


def test_a_scores_table_that_a_spreadsheet_saved_again(folder: Path, tmp_path: Path) -> None:
    scores = read_published_folder(folder)
    text = scores.to_csv(index=False, sep=";", decimal=",").replace("AU01", "au01")
    write(tmp_path / "again.csv", text.replace("\n", ";\r\n").encode("utf-16") + b"\r\0\n\0")
    assert read_scores(tmp_path / "again.csv").equals(scores)


def test_names_with_underscores_and_quotes(tmp_path: Path) -> None:
    name = "o'neil_jr"
    write(tmp_path / "d.csv", f"x,0.3,a,b\n{name}_source,1,0,1\n{name}_target,0.5,1,0\n")
    lines = [HEADER, *(au_line("N" + tail, 1) for tail in ("_0.3.csv", "_mean.csv"))]
    lines = [line.replace("'N_", f'"{name}_').replace(".csv'", '.csv"') for line in lines]
    write(tmp_path / "a.txt", "\n".join([*lines, au_line("sue_mean.csv", 1)]))
    write(tmp_path / "r.txt", HEADER + "\n" + au_line("e.csv", 1))
    paths = {"e": tmp_path / "d.csv"}, {"e": tmp_path / "a.txt"}, tmp_path / "r.txt"
    published = Published(*paths, rows={"e": "e"}, source="sue")
    assert read_published(published)["target"].tolist() == [name]


def replaced(path: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / path).read_text()
        assert old in text
        (folder / path).write_text(text.replace(old, new, 1))

    return change


def written(path: str, content: str | bytes) -> Callable[[Path], None]:
    return lambda folder: write(folder / path, content)


def a_folder_for_a_file(folder: Path) -> None:
    (folder / FROWN).unlink()
    (folder / FROWN).mkdir()


SMILE, FROWN = "distances/smile.csv", "aus/frown.txt"
WRONG = {
    "no number": (
        replaced(SMILE, "0.55", "nan"),
        "distances/smile.csv, line 3: 'nan' is not a number",
    ),
    "infinite": (
        replaced(SMILE, "0.55", "1e999"),
        "distances/smile.csv, line 3: 1e999 is not within 0 to 1e+06",
    ),
    "negative": (replaced(SMILE, "1.4,0", "-1.4,0"), "line 3: -1.4 is not within 0 to 1e+06"),
    "cells": (
        replaced(SMILE, "1.1,1.2,", "1.1,"),
        "distances/smile.csv, line 2: 4 cells; the header has 5",
    ),
    "label": (
        replaced(SMILE, "bob_source", "bob"),
        "line 5: 'bob' is not NAME_source or NAME_target",
    ),
    "row twice": (replaced(SMILE, "bob_source", "bob_target"), "line 5: bob_target occurs twice"),
    "row absent": (
        written(SMILE, "x,0.3,0.32,a,b\nann_source,1,1,0,1\n"),
        "distances/smile.csv: no row ann_target",
    ),
    "no last columns": (
        written(SMILE, "x,0.28,0.3,0.32\nann_source,1,1,0\n"),
        "distances/smile.csv, line 1: 4 columns that end in '0.32'; it needs",
    ),
    "alpha twice": (
        replaced(SMILE, " 0.32", "0.300"),
        "distances/smile.csv, line 1: the column '0.3' occurs twice",
    ),
    "alpha's column": (
        replaced(SMILE, " 0.32", "high"),
        "line 1, an alpha's column: 'high' is not",
    ),
    "quote not closed": (
        replaced(SMILE, "bob_source", '"bob_source'),
        "distances/smile.csv, line 5: ",
    ),
    "empty distances": (written(SMILE, "\n"), "distances/smile.csv: empty"),
    "header alone": (written(SMILE, "x,0.3,a,b\n"), "distances/smile.csv: no row below its header"),
    "binary": (written(SMILE, b"\x89PNG\xff\xfe"), "distances/smile.csv: no row below its header"),
    "zeros": (written(FROWN, b"[\0\0\0]"), "aus/frown.txt: not text: it has zero bytes"),
    "empty aus": (written(FROWN, ""), "aus/frown.txt: empty"),
    "header of aus alone": (written(FROWN, HEADER), "aus/frown.txt: no line below its header"),
    "no header": (
        replaced(FROWN, HEADER + "\n", ""),
        "aus/frown.txt, line 1: no column AU01_r, AU02_r",
    ),
    "an AU absent": (
        replaced(FROWN, "AU45_r", "AU46_r"),
        "aus/frown.txt, line 1: no column AU45_r; the first line is the header",
    ),
    "truncated": (
        replaced(FROWN, "' 0.10']\n['bob_0.32", "' 0.10'\n['bob_0.32"),
        "aus/frown.txt, line 5: \"['bob_0.3.csv', ' 2.80', ' 0.10', ' 0.10\" … is not a list in",
    ),
    "items": (
        replaced(FROWN, "'ann_0.32.csv', ", "'ann_0.32.csv', ' 0.10', "),
        "aus/frown.txt, line 3: 19 items; the header has 18",
    ),
    "not a list": (
        replaced(FROWN, "'ann_0.32.csv', ", "'ann_0.32.csv', [], "),
        "aus/frown.txt, line 3: item 2 of the list cannot be read",
    ),
    "code": (
        replaced(FROWN, "['ann_0.32.csv', ", "[__import__('os').getcwd(), "),
        "aus/frown.txt, line 3: item 1 of the list cannot be read",
    ),
    "no intensity": (
        replaced(FROWN, "['ann_0.32.csv', ' 1.82'", "['ann_0.32.csv', ' nan'"),
        "aus/frown.txt, line 3, AU01: 'nan' is not a number",
    ),
    "intensity": (
        replaced(FROWN, "['ann_0.32.csv', ' 1.82'", "['ann_0.32.csv', ' 5.82'"),
        "aus/frown.txt, line 3, AU01: 5.82 is not within 0 to 5",
    ),
    "picture's name": (
        replaced(FROWN, "ann_0.32", "ann"),
        "aus/frown.txt, line 3: 'ann' is not NAME_ALPHA.csv or NAME_mean.csv",
    ),
    "picture twice": (
        replaced(FROWN, "ann_0.32", "ann_0.3"),
        "aus/frown.txt, line 3: ann_0.3.csv again (first on line 2)",
    ),
    "alpha again": (
        replaced(FROWN, "ann_0.32", "ann_0.30"),
        "aus/frown.txt, line 3: alpha 0.3 of ann again",
    ),
    "no mean face": (
        replaced(FROWN, "bob_mean", "sue_0.5"),
        "aus/frown.txt: no line of bob_mean.csv",
    ),
    "no mean of the source": (
        replaced(FROWN, "sue_mean", "sue_0.5"),
        "aus/frown.txt: no line of sue_mean.csv",
    ),
    "not in aus": (
        replaced(FROWN, "ann_0.32", "ann_0.34"),
        "aus/frown.txt: no output of ann at alpha 0.32, which",
    ),
    "not in distances": (
        replaced(FROWN, HEADER, HEADER + "\n" + au_line("bob_0.1.csv", 1)),
        "distances/frown.csv: no output of bob at alpha 0.1, which",
    ),
    "no reference": (
        replaced("references.txt", "smile.csv", "grin.csv"),
        "references.txt: no line of smile.csv",
    ),
    "no references": (
        lambda folder: (folder / "references.txt").unlink(),
        "references.txt: cannot be read (No such file or directory)",
    ),
    "no source": (
        lambda folder: (folder / "source.txt").unlink(),
        "source.txt: cannot be read (No such file",
    ),
    "two sources": (
        written("source.txt", "sue\nann\n"),
        "source.txt, line 2: a second line; it needs one, the source's name",
    ),
    "unknown source": (written("source.txt", "zoe"), "frown.txt: no line of zoe_mean.csv"),
    "expression without aus": (
        lambda folder: (folder / "aus" / "smile.txt").unlink(),
        "expression 'smile' has distances but no AUs",
    ),
    "expression without distances": (
        lambda folder: (folder / "distances" / "smile.csv").unlink(),
        "expression 'smile' has AUs but no distances",
    ),
    "file twice": (written("aus/smile.csv", "x"), "aus/smile.txt: smile.csv is there too"),
    "a folder for a file": (
        a_folder_for_a_file,
        "aus/frown.txt: not an ordinary file",
    ),
    "long line": (
        written(FROWN, HEADER + "\n[" + " " * 20_000 + "]"),
        "aus/frown.txt, line 2: longer than 20000 characters",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_said_with_file_and_line(kind: str, folder: Path) -> None:
    change, message = WRONG[kind]
    change(folder)
    assert message in said(folder)


def test_a_large_file_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eval.published_files.MOST_BYTES", 100)
    assert said(folder).startswith("references.txt: ")
    assert said(folder).endswith(" bytes; at most 100 are read")


def test_a_line_of_spaces_and_quotes_does_not_take_long(folder: Path) -> None:
    for odd in (" " * 19_000 + "[", "'" * 19_001, '"' + " ' " * 6_000):
        write(folder / FROWN, f"{HEADER}\n[{odd}]")
        assert "aus/frown.txt, line 2: item" in said(folder)


def test_an_empty_folder_is_told_the_layout(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"needs scores.csv, or source.txt with distances/EXPRESS"):
        read_published_folder(tmp_path)
    with pytest.raises(InputError, match="no results"):
        read_published_folder(tmp_path / "absent")


def test_results_of_the_source_alone_are_no_transfer(tmp_path: Path) -> None:
    write(tmp_path / "d.csv", "x,0.3,a,b\nsue_source,1,0,1\nsue_target,0.5,1,0\n")
    with pytest.raises(InputError, match="no output for another person than the source, 'sue'"):
        read_published(Published({"e": tmp_path / "d.csv"}, {}, None, {}, "sue"))


def test_action_units_need_references(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no references"):
        read_published(Published({}, {"e": tmp_path / "a.txt"}, None, {"e": "e"}, "sue"))


PLAIN = """\ufeffid, expression,source,target,file,alpha,AU12,note,to_target_mean,seconds
one,smile,sue,ann,,0.3, 1.5 ,good,0.4,12
"two, too",NA,sue,bob,b.png,,,,NaN,
"""


def test_a_plain_csv_needs_only_the_names(tmp_path: Path) -> None:
    write(tmp_path / "scores.csv", PLAIN)
    scores = read_published_folder(tmp_path)
    assert scores.equals(read_published_folder(tmp_path / "scores.csv"))
    assert list(scores) != [] and set(scores) == {*COLUMNS, "seconds"}
    assert scores["id"].tolist() == ["one", "two, too"] and scores["expression"][1] == "NA"
    assert scores["file"].tolist() == ["", "b.png"]
    np.testing.assert_array_equal(scores["alpha"], [0.3, np.nan])
    np.testing.assert_array_equal(scores["AU12"], [1.5, np.nan])
    np.testing.assert_array_equal(scores["to_target_mean"], [0.4, np.nan])
    np.testing.assert_array_equal(scores["seconds"], [12, np.nan])
    assert scores["AU01"].isna().all()
    assert scores.attrs["ignored"] == ["note"]


def test_a_scores_table_comes_back_from_csv(folder: Path, tmp_path: Path) -> None:
    scores = read_published_folder(folder)
    scores.to_csv(tmp_path / "again.csv", index=False)
    again = read_scores(tmp_path / "again.csv")
    assert again.equals(scores) and again.attrs["ignored"] == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("target,", "goal,", "scores.csv, line 1: no column target"),
        ("alpha", "AU12", "scores.csv, line 1: the column 'AU12' occurs twice"),
        (" 1.5 ", "lots", "scores.csv, line 2, column AU12: 'lots' is not a number"),
        (" 1.5 ", "6", "scores.csv, line 2, column AU12: '6' is not within 0 to 5"),
        (" 1.5 ", "inf", "scores.csv, line 2, column AU12: 'inf' is not finite"),
        ('"two, too"', "one", "scores.csv, line 3: id 'one' again (first: "),
        ("NA,sue", "NA,", "scores.csv, line 3, column source: empty; it needs a name"),
        (",good", "", "scores.csv, line 2: 9 cells; the header has 10"),
        ('"two', 'two"', "scores.csv, line 3: 11 cells"),
        (
            '"two, too"',
            '"two',
            "scores.csv, line 3: not a table of separated cells (unexpected end of data)",
        ),
    ],
)
def test_a_wrong_plain_csv(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in PLAIN
    write(tmp_path / "scores.csv", PLAIN.replace(old, new, 1))
    assert message in said(tmp_path)


EXPRESSIONS = {1: "smile", 2: "frown", 10: "smile"}
PHOTOGRAPHS = (3, 7, 4)  # their numbers, in the order of the expressions


@pytest.fixture
def authors(tmp_path: Path) -> Path:
    """A folder as the paper's authors released theirs; numbers invented."""
    evaluation = tmp_path / "evaluation"
    for k, like in EXPRESSIONS.items():
        write(evaluation / "likeliness" / f"expression{k}.csv", DISTANCES[like])
        write(evaluation / "quality" / f"AUs_expression{k}.csv", au_file(k / 20))
    lines = [
        au_line(f"sue_expression{n}_aligned.csv", 3 + i / 2) for i, n in enumerate(PHOTOGRAPHS)
    ]
    write(evaluation / "quality" / "AUs_reference.csv", "\n".join([HEADER, *lines]))
    write(evaluation / "likeliness" / "plot.png", b"\x89PNG")
    write(tmp_path / "README.md", "Results")
    return tmp_path


@pytest.mark.parametrize("place", [".", "evaluation"])
def test_the_authors_folders_are_read_as_they_are(authors: Path, place: str) -> None:
    scores = read_published_folder(authors / place)
    assert len(scores) == 12 and set(scores["source"]) == {"sue"}
    assert set(scores["expression"]) == {f"expression{k}" for k in EXPRESSIONS}
    rows = scores.set_index("id")
    for i, k in enumerate(EXPRESSIONS):  # by number: 10 after 2
        row = rows.loc[f"expression{k}/bob_0.32"]
        assert row["AU01_expression"] == 3 + i / 2
        assert row["AU01"] == pytest.approx(2.32 + k / 20)
    assert rows.loc["expression2/bob_0.32", "to_source_mean"] == 1.26
    assert figures(scores, resamples=5)["counts"]["series"] == 6


def test_either_half_of_the_authors_may_be_absent(authors: Path) -> None:
    evaluation = authors / "evaluation"
    (evaluation / "likeliness").rename(authors / "away")
    scores = read_published_folder(authors)
    assert len(scores) == 12 and scores["to_target_mean"].isna().all()
    (authors / "away").rename(evaluation / "likeliness")
    (evaluation / "quality").rename(authors / "gone")
    assert "source.txt: cannot be read (No such file" in said(authors)
    write(evaluation / "source.txt", "sue")
    scores = read_published_folder(authors)
    assert len(scores) == 12 and scores["AU01"].isna().all()


REFERENCES = "evaluation/quality/AUs_reference.csv"
WRONG_OF_AUTHORS = {
    "a row too few": (
        replaced(REFERENCES, au_line("sue_expression4_aligned.csv", 4.0), ""),
        f"{REFERENCES}: 2 rows, but 3 files AUs_expressionK.csv; it needs a row for each",
    ),
    "a row's name": (
        replaced(REFERENCES, "sue_expression7_aligned", "sue_7"),
        f"{REFERENCES}, line 3: 'sue_7' is not NAME_expressionN_aligned.csv",
    ),
    "two people": (
        replaced(REFERENCES, "sue_expression7", "zoe_expression7"),
        f"{REFERENCES}: rows of sue and of zoe; the expression pictures are of one person",
    ),
    "numbers of K in another order": (
        lambda folder: write(
            folder / REFERENCES,
            "\n".join(
                [HEADER, *(au_line(f"sue_expression{k}_aligned.csv", 1) for k in (2, 1, 10))]
            ),
        ),
        f"{REFERENCES}: its rows bear the numbers of the files AUs_expressionK.csv, but in another",
    ),
    "no references": (
        lambda folder: (folder / REFERENCES).unlink(),
        f"{REFERENCES}: cannot be read (No such file",
    ),
    "a number twice": (
        written("evaluation/quality/AUs_expression01.csv", "x"),
        "AUs_expression1.csv: AUs_expression01.csv has the same number",
    ),
    "an expression in one half": (
        lambda folder: (folder / "evaluation/likeliness/expression10.csv").unlink(),
        "expression 'expression10' has AUs but no distances",
    ),
}


@pytest.mark.parametrize("kind", WRONG_OF_AUTHORS)
def test_what_is_wrong_in_the_authors_folders_is_one_line(kind: str, authors: Path) -> None:
    change, message = WRONG_OF_AUTHORS[kind]
    change(authors)
    assert message in said(authors)


def test_authors_folders_without_results(tmp_path: Path) -> None:
    (tmp_path / "quality").mkdir()
    assert "neither likeliness/expressionK.csv nor" in said(tmp_path)
