"""CSV tables, written atomically, whose cells may be file names that are not valid UTF-8."""

import csv
import io
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason

SURROGATES = "surrogateescape"  # file names need not be valid UTF-8

Row = dict[str, Any]


class TableWriter:
    """A CSV that is written row by row, and appears under its name when it is complete.

    Raises, on entry and on exit:
        InputError: the file cannot be written.
    """

    def __init__(self, path: Path, fields: Sequence[str], optional: bool = False):
        """A table at `path`; with `optional`, the file is removed if there are no rows."""
        self._path, self._fields, self._optional = path, fields, optional
        self._temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
        self._n = 0

    def __enter__(self) -> "TableWriter":
        try:
            self._file = open(self._temporary, "xb")
        except OSError as error:
            raise InputError(f"{one_line(self._path)}: {reason(error)}") from None
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
            raise InputError(f"{one_line(self._path)}: {reason(error)}") from None
        finally:
            self._temporary.unlink(missing_ok=True)


def write_table(path: Path, fields: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV atomically.

    Raises:
        InputError: it cannot be written.
    """
    with TableWriter(path, fields) as table:
        for row in rows:
            table.write(row)


def csv_line(cells: Sequence[Any]) -> str:
    """One row as a line of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def read_table(path: Path, fields: Sequence[str]) -> list[Row] | None:
    """The rows of a table with exactly these columns; None if it is damaged or missing."""
    try:
        with open(path, encoding="utf-8", errors=SURROGATES, newline="") as file:
            text = file.read()
        if not text.endswith("\n"):
            return None
        cells = list(csv.reader(io.StringIO(text), strict=True))
    except (OSError, csv.Error):
        return None
    if not cells or cells[0] != list(fields) or any(len(row) != len(fields) for row in cells):
        return None
    return [dict(zip(fields, row, strict=True)) for row in cells[1:]]
