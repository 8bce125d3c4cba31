"""CSV tables that are whole or absent, whose cells may be names of files in no encoding.

A spreadsheet takes text that begins with = + - @, a tab or a carriage return for a formula. Such a
cell is written with an apostrophe before it, which is taken off again when the table is read here.
"""

import csv
import io
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from glow_jax.io.errors import InputError, OutputError
from glow_jax.io.files import read_bytes
from glow_jax.io.messages import one_line, reason
from glow_jax.io.unfinished import unfinished

SURROGATES = "surrogateescape"  # file names need not be valid UTF-8

Row = dict[str, Any]

_FORMULA = re.compile(r"'*[=+\-@\t\r]")  # and what would be read as one with its apostrophe
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+|inf|nan)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


class TableWriter:
    """A CSV that is written row by row, and appears under its name when it is complete.

    Raises, on entry and on exit:
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path, fields: Sequence[str], optional: bool = False):
        """A table at `path`; with `optional`, the file is removed if there are no rows."""
        self._path, self._fields, self._optional = path, fields, optional
        self._temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
        self._n = 0

    def __enter__(self) -> "TableWriter":
        self._at_signals = unfinished(self._temporary)
        self._at_signals.__enter__()
        try:
            self._file = open(self._temporary, "xb")
        except OSError as error:
            raise OutputError(f"{one_line(self._path)}: {reason(error)}") from None
        self._file.write(csv_line(self._fields).encode())
        return self

    def write(self, row: Mapping[str, Any]) -> None:
        """Write a row."""
        line = csv_line([row[name] for name in self._fields])
        self.write_line(line.encode(errors=SURROGATES))

    def write_line(self, line: bytes) -> None:
        """Write a row that is given as a line of CSV."""
        self._file.write(line)
        self._n += 1

    def __exit__(self, kind: Any, *_: object) -> None:
        try:
            self._file.close()
            if kind is None and (self._n or not self._optional):
                os.replace(self._temporary, self._path)
            elif kind is None:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{one_line(self._path)}: {reason(error)}") from None
        finally:
            self._temporary.unlink(missing_ok=True)
            self._at_signals.__exit__(None, None, None)


def write_table(path: Path, fields: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV atomically.

    Raises:
        OutputError: it cannot be written.
    """
    with TableWriter(path, fields) as table:
        for row in rows:
            table.write(row)


def csv_line(cells: Iterable[Any]) -> str:
    """One row as a line of CSV, text that looks like a formula after an apostrophe."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(map(guarded, cells))  # quotes cells with \r
    return text.getvalue().removesuffix("\r\n") + "\n"


def guarded(cell: Any) -> Any:
    """A cell, with an apostrophe before it where it is text that looks like a formula."""
    text = str(cell) if isinstance(cell, (str, os.PathLike)) else ""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else cell


def without_guard(cell: str) -> str:
    """A cell's text, without the apostrophe of `guarded`."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


def read_cells(file: Iterable[str]) -> Iterator[list[str]]:
    """The cells of each row of a table that was written here, the header first."""
    for row in csv.reader(file, strict=True):
        yield list(map(without_guard, row))


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a whole table that was written here, by the names of its columns."""
    with open(path, encoding="utf-8", errors=SURROGATES, newline="") as file:
        cells = read_cells(file)
        header = next(cells, [])
        for row in cells:
            yield dict(zip(header, row, strict=True))


def read_table(path: Path, fields: Sequence[str]) -> list[Row] | None:
    """Rows of a whole table with just these columns; None where it is damaged or a link."""
    try:
        text = read_bytes(path, follow_link=False).decode("utf-8", SURROGATES)
        if not text.endswith("\n"):
            return None
        cells = list(read_cells(io.StringIO(text, newline="")))
    except (InputError, csv.Error):
        return None
    if not cells or cells[0] != list(fields) or any(len(row) != len(fields) for row in cells):
        return None
    return [dict(zip(fields, row, strict=True)) for row in cells[1:]]
