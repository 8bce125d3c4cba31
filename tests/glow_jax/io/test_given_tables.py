"""Tables as spreadsheets save them: one table, wrapped in every way, gives the same cells."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from glow_jax.io.errors import InputError
from glow_jax.io.given_tables import open_table, read_rows, read_text
from glow_jax.io.tables import csv_line, read_cells, read_table, write_table

HEADER = ["name", "alpha", "note"]
ROWS = [["people/ann", "0.5", "a, b; c"], ["M\u00fcller", "-1", ""]]
WANTED = [(["people/ann", "0.5", "a, b; c"]), (["M\u00fcller", "-1", ""])]


def joined(comma: str, rows: list[list[str]] = ROWS, end: str = "\n") -> str:
    quoted = [[f'"{c}"' if set(c) & set(",;\t") else c for c in row] for row in rows]
    return "".join(comma.join(row) + end for row in (HEADER, *quoted))


PLAIN = joined(",")
GERMAN_ROWS = [[a, b.replace(".", ","), c] for a, b, c in ROWS]
GERMAN = joined(";", GERMAN_ROWS)
KINDS: dict[str, bytes] = {
    "plain": PLAIN.encode(),
    "no end of the last line": PLAIN.rstrip("\n").encode(),
    "UTF-8 with its mark": PLAIN.encode("utf-8-sig"),
    "two marks": b"\xef\xbb\xbf" + PLAIN.encode("utf-8-sig"),
    "UTF-16, little end first": b"\xff\xfe" + PLAIN.encode("utf-16-le"),
    "UTF-16, big end first": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "UTF-16 without its mark": PLAIN.replace("\u00fc", "u").encode("utf-16-le"),
    "UTF-32": PLAIN.encode("utf-32"),
    "Windows-1252": PLAIN.encode("cp1252"),
    "accents of their own": PLAIN.replace("\u00fc", "u\u0308").encode(),
    "CRLF": PLAIN.replace("\n", "\r\n").encode(),
    "CR": PLAIN.replace("\n", "\r").encode(),
    "semicolons": joined(";").encode(),
    "tabs": joined("\t").encode(),
    "decimal commas and semicolons": GERMAN.encode(),
    "decimal commas and tabs": joined("\t", GERMAN_ROWS).encode(),
    "Excel's Unicode text": joined("\t", end="\r\n").encode("utf-16"),
    "a line that names the delimiter": b"sep=;\r\n" + GERMAN.encode(),
    "empty rows": PLAIN.replace("note\n", "note\n,,\n\n").encode() + b"\n , ,\n,,,,,\n\n",
    "empty rows before": b"\n,,,\n" + PLAIN.encode(),
    "empty columns": PLAIN.replace("\n", ",,,\n").encode(),
    "spaces": b' name ,alpha, note\n people/ann , 0.5 , "a, b; c" \nM\xc3\xbcller ,-1 ,\n',
    "capitals": PLAIN.replace("alpha", "ALPHA").replace("name", "Name").encode(),
    "every cell quoted": "\n".join(
        ",".join(f'"{c}"' for c in row) for row in (HEADER, *ROWS)
    ).encode(),
}


def read(path: Path, data: bytes) -> tuple[list[str], list[list[str]]]:
    path.write_bytes(data)
    with open_table(path, known=HEADER, words=True) as table:
        return table.header, [[c[0], table.number(c[1]), c[2]] for _, c in table]


@pytest.mark.parametrize("kind", KINDS)
def test_the_cells_are_the_same_however_the_table_is_saved(tmp_path: Path, kind: str) -> None:
    header, rows = read(tmp_path / "t.csv", KINDS[kind])
    if kind == "UTF-16 without its mark":
        rows[1][0] = rows[1][0].replace("Mu", "M\u00fc")
    assert (header, rows) == (HEADER, WANTED)


def test_lines_are_counted_as_in_an_editor(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'sep=,\r\n\r\na,b\r\n1,2\r\n,\r\n"x\r\ny",3\r\n')
    with open_table(path) as table:
        assert table.header_line == 3
        assert list(table) == [(4, ["1", "2"]), (7, ["x\r\ny", "3"])]


REFUSED: dict[str, tuple[bytes, str]] = {
    "a workbook": (b"PK\x03\x04" + bytes(99), "t.csv: a workbook, .* save the sheet as CSV$"),
    "an old workbook": (b"\xd0\xcf\x11\xe0" + bytes(99), "save the sheet as CSV$"),
    "bars": (b"a|B|c\n1|2|3\n", "line 1: cells separated by '.'; use commas, semicolons or tabs"),
    "bars, no known name": (b"x|y\n1|2\n", "line 1: cells separated by '.'; use commas"),
    "a Markdown table": (b"\n| a | b |\n|---|---|\n", "line 2: cells separated by '.'; use"),
    "spaces": (b"a   b c\n1 2 3\n", "line 1: cells separated by spaces; use commas"),
    "quoted, spaces": (b"'a' \"b\"\n1 2\n", "line 1: cells separated by spaces; use commas"),
    "colons": (b"a:b\n1:2\n", "line 1: cells separated by ':'; use commas"),
    "a named delimiter": (b"sep=|\na|b\n", "line 1: cells separated by '.'; use commas"),
    "two delimiters": (b"a,b;c\n1,2;3\n", "line 1: commas and semicolons in the header"),
    "a column without a name": (b"a,,c\n1,,2\n1,2,3\n", "line 3: column 2: the header has no"),
    "too few cells": (b"a,b,c\n1,2,3\n1,2\n", "line 3: 2 cells; the header has 3"),
    "a decimal comma": (b"a,b\n0,5,x\n", "line 2: 3 cells; the header has 2 .*a comma inside"),
    "an open quote": (b'a,b\n"1,2\n', "line 2: not a table of separated cells"),
    "half of UTF-16": (b"\xff\xfea\0,\0b", "t.csv: not text"),
    "a long line": (b"a" * (2**20 + 1), "t.csv: line 1: longer than"),
    "a header without the column": (b"a,b\n1,2\n", "t.csv: no column name$"),
    "a column twice": (b"name,Name\n1,2\n", "t.csv: column name occurs twice$"),
    "an empty cell": (b"name,b\n,2\n", "t.csv: line 2: name is empty$"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_ambiguous_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    data, why = REFUSED[kind]
    (tmp_path / "t.csv").write_bytes(data)
    needed = ["name"] if "name" in why else []
    with pytest.raises(InputError, match=why) as error:
        read_rows(tmp_path / "t.csv", needed, ("a", "b", "c"))
    assert str(error.value).isprintable()


def test_cells_of_optional_columns_may_lack_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a,b,method,id\n1,2\n1,2,warp\n1\n")
    seen: list[tuple[int, str]] = []
    with open_table(
        tmp_path / "t.csv",
        optional=("method", "id"),
        refuse=lambda line, why: seen.append((line, why)),
    ) as table:
        assert [row for _, row in table] == [["1", "2", "", ""], ["1", "2", "warp", ""]]
    assert seen == [(4, "1 cell; the header has 4")]


def test_a_comma_is_decimal_only_beside_other_delimiters(tmp_path: Path) -> None:
    for delimiter, number in ((",", "0,5"), (";", "0.5"), ("\t", "0.5")):
        (tmp_path / "t.csv").write_text(f'a{delimiter}b\n"0,5"{delimiter}1\n')
        with open_table(tmp_path / "t.csv") as table:
            assert [table.number(row[0]) for _, row in table] == [number]
            assert table.number("1.000,5") == "1.000,5"


@pytest.mark.parametrize(
    "change", [str, lambda t: t.replace("\n", "\r"), lambda t: t.replace("\n", "\r\n")]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_plain_text_is_read_the_same(
    tmp_path: Path, change: Callable[[str], str], encoding: str
) -> None:
    (tmp_path / "t.txt").write_bytes(change("a\n\u00fc\n").encode(encoding))
    assert read_text(tmp_path / "t.txt") == "a\n\u00fc\n"


FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-a.png", "@x", "\ta", "\ra", "'=1", "''-x", "-", "a\rb"]
NOT_FORMULAS = ["-0.5", "+1e-5", "-inf", "1", "'a", "a=b", "", "nan", "caf\udce9"]


def test_text_like_a_formula_is_written_with_an_apostrophe_and_comes_back(tmp_path: Path) -> None:
    rows = [{"text": text, "n": -1} for text in (*FORMULAS, *NOT_FORMULAS)]
    write_table(tmp_path / "t.csv", ["text", "n"], rows)
    back = read_table(tmp_path / "t.csv", ["text", "n"])
    assert back is not None and [row["text"] for row in back] == [*FORMULAS, *NOT_FORMULAS]
    assert {row["n"] for row in back} == {"-1"}
    text = (tmp_path / "t.csv").read_bytes().decode(errors="surrogateescape")
    for cell in FORMULAS[:-1]:
        assert next(read_cells(io.StringIO(csv_line([cell])))) == [cell]
        assert csv_line([cell]).lstrip('"').startswith("'")
    for cell in NOT_FORMULAS:
        assert csv_line([cell]).strip('"\n') == cell
    assert text.count("\n") == 1 + len(rows)


def test_a_given_table_loses_the_apostrophe_too(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,b\n'=1,'a\n")
    assert read_rows(tmp_path / "t.csv", ["name"])[1] == [(2, {"name": "=1", "b": "'a"})]
