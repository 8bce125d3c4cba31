"""Tables that people give, as their programs save them; read row by row.

Text is UTF-8, or UTF-16 or UTF-32 with a byte order mark; other bytes are names of files, or
Windows-1252 where `words` says that no cell names a file. Lines end in LF, CRLF or CR. Cells are
separated by commas, semicolons or tabs, as the header is, or as a first line `sep=;` says; they may
be quoted, with spaces around them. Empty rows and empty columns at the end do not count.
"""

import codecs
import contextlib
import csv
import io
import itertools
import re
import unicodedata
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NoReturn

from glow_jax.io.errors import InputError
from glow_jax.io.files import open_ordinary
from glow_jax.io.messages import counted, one_line, reason
from glow_jax.io.spellings import WINDOWS_1252
from glow_jax.io.tables import SURROGATES, without_guard

MAX_LINE = 2**20  # characters
MARKS = (  # the first four bytes of UTF-32's begin with UTF-16's
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # first bytes: zip (.xlsx, .ods), and .xls
WORKBOOK_SUFFIXES = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".numbers")
SAVE_AS_CSV = "a workbook, such as Excel's, is not read; save the sheet as CSV"
DELIMITERS = ",;\t"
NAMES = {",": "commas", ";": "semicolons", "\t": "tabs"}
INVISIBLE = "\ufeff\u200b"  # a second byte order mark, a space without width

Refuse = Callable[[int, str], None]
"""Called with the line of a row, from 1, and what is wrong with it."""
Row = tuple[int, list[str]]
"""The number of a row's last line, and its cells."""


class Table:
    """The header of a table, and its rows as an iterator.

    Attributes:
        name: of the file, for messages.
        header: names of the columns; those that the caller knows, as the caller writes them.
        header_line: its number, from 1; 1 where there is none.
        delimiter: of the cells.
    """

    def __init__(
        self,
        name: str,
        lines: Iterable[str],
        *,
        known: Iterable[str] = (),
        optional: Iterable[str] = (),
        nameless_first: bool = False,
        words: bool = False,
        refuse: Refuse | None = None,
    ):
        """Read the header.

        Args:
            name: of the file, for messages.
            lines: of its text, with their ends.
            known: names of columns, recognised in capitals and small letters.
            optional: of these, columns whose cells a row's end may lack.
            nameless_first: whether a first column without a name is kept.
            words: whether no cell names a file, so that bytes that are not UTF-8 are Windows-1252.
            refuse: called for a row that is left out; by default InputError is raised.
        """
        self.name, self._refuse, self._words = name, refuse or self._raise, words
        numbered = iter(enumerate(lines, 1))
        spelled = {one.casefold(): one for one in known}
        self.header_line, first, self.delimiter = _beginning(name, numbered, spelled)
        self._skipped = self.header_line - 1
        rest = (line for _, line in numbered)
        self._reader = csv.reader(
            map(self._tidy, itertools.chain([first], rest)),
            delimiter=self.delimiter,
            skipinitialspace=True,
            strict=True,
        )
        _, header = next(self._cells(), (0, []))
        header = [cell.strip(INVISIBLE + " ") for cell in header]
        self._most = len(header)
        while header and not header[-1]:
            header.pop()
        self.header = [spelled.get(cell.casefold(), cell) for cell in header]
        self._named = [bool(cell) for cell in self.header]
        if self._named and nameless_first:
            self._named[0] = True
        self.header = [cell for cell, named in zip(self.header, self._named, strict=True) if named]
        tail = itertools.takewhile(set(optional).__contains__, reversed(self.header))
        self._least = len(self._named) - len(list(tail))

    def __iter__(self) -> Iterator[Row]:
        """Rows of as many cells as the header has, stripped; rows of empty cells do not count."""
        width = len(self._named)
        for line, cells in self._cells():
            if not any(cells):
                continue
            # More empty cells than the header has would hide a comma that moved the others.
            while self._most >= len(cells) > width and not cells[-1]:
                cells.pop()
            if not self._least <= len(cells) <= width:
                self._refuse(line, self._miscounted(len(cells), width))
                continue
            cells += [""] * (width - len(cells))
            if not all(self._named):
                place = next((i for i, c in enumerate(cells) if c and not self._named[i]), None)
                if place is not None:
                    self._refuse(line, f"column {place + 1}: the header has no name for it")
                    continue
                cells = list(itertools.compress(cells, self._named))
            yield line, cells

    def number(self, cell: str) -> str:
        """A number with a decimal point; a comma is one only where commas do not separate cells."""
        comma = self.delimiter != "," and re.fullmatch(r"[+-]?\d*,\d+(e[+-]?\d+)?", cell, re.I)
        return cell.replace(",", ".") if comma else cell

    def _cells(self) -> Iterator[Row]:
        reader = self._reader
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                line = reader.line_num + self._skipped
                return self._refuse(line, f"not a table of separated cells ({reason(error)})")
            except UnicodeError as error:
                raise InputError(f"{self.name}: not text ({reason(error)})") from None
            if row is None:
                return
            line = reader.line_num + self._skipped
            cells = [cell.strip() for cell in row]
            if "'" in [cell[:1] for cell in cells]:
                cells = list(map(without_guard, cells))
            if self._words:
                if any("\0" in cell for cell in cells):
                    self._refuse(line, "not text: it has zero bytes")
                    continue
                cells = list(map(as_words, cells))
            yield line, cells

    def _miscounted(self, found: int, width: int) -> str:
        why = f"{counted(found, 'cell')}; the header has {width}"
        if found > width and self.delimiter == ",":
            why += " (a comma inside a cell, or in a number, needs quotes around the cell)"
        return why

    def _tidy(self, line: str) -> str:
        """A line without spaces between a closing quote and the end of its cell."""
        if '" ' not in line:
            return line
        mark = re.escape(self.delimiter)
        cell = rf'((?:^|{mark})[ ]*"(?:[^"]|"")*")[ ]+(?=[{mark}\r\n]|$)'
        return re.sub(cell, r"\1", line)

    def _raise(self, line: int, why: str) -> NoReturn:
        raise InputError(f"{self.name}: line {line}: {why}")


@contextlib.contextmanager
def open_table(
    path: Path,
    *,
    known: Iterable[str] = (),
    optional: Iterable[str] = (),
    nameless_first: bool = False,
    words: bool = False,
    most_bytes: int | None = None,
    refuse: Refuse | None = None,
) -> Iterator[Table]:
    """A file's table, while it is open; the arguments are those of `Table`.

    Raises:
        InputError: it is no ordinary file, cannot be read, is larger than `most_bytes`, is a
            workbook or no text; or a row is wrong, and there is no `refuse`.
    """
    name = one_line(path)
    with open_ordinary(path, most_bytes) as file:
        text = _decoded(name, file, newline="")
        yield Table(
            name,
            _lines(name, text),
            known=known,
            optional=optional,
            nameless_first=nameless_first,
            words=words,
            refuse=refuse,
        )


def read_text(path: Path, most_bytes: int | None = None) -> str:
    """A file's text, decoded as a table's is, each end of a line as LF.

    Raises:
        InputError: as for `open_table`.
    """
    name = one_line(path)
    with open_ordinary(path, most_bytes) as file:
        try:
            text = _decoded(name, file).read()
        except UnicodeError as error:
            raise InputError(f"{name}: not text ({reason(error)})") from None
    if "\0" in text:
        raise InputError(f"{name}: not text: it has zero bytes")
    return text


def read_rows(
    path: Path, needed: Sequence[str], known: Iterable[str] = (), *, words: bool = False
) -> tuple[Table, list[tuple[int, dict[str, str]]]]:
    """A table, and its rows by the names of the columns, each with its line.

    Args:
        path: of the file.
        needed: columns that must be there, and not be empty.
        known: other columns, recognised in capitals and small letters.
        words: as of `Table`.

    Raises:
        InputError: as for `open_table`; or a needed column is missing, one is there twice, or a
            needed cell is empty.
    """
    with open_table(path, known=(*needed, *known), words=words) as table:
        missing = [name for name in needed if name not in table.header]
        if missing:
            raise InputError(f"{table.name}: no column {', '.join(missing)}")
        twice = [n for n in (*needed, *known) if table.header.count(n) > 1]
        if twice:
            raise InputError(f"{table.name}: column {twice[0]} occurs twice")
        rows = []
        for line, cells in table:
            row = dict(zip(table.header, cells, strict=True))
            empty = [name for name in needed if not row[name]]
            if empty:
                raise InputError(f"{table.name}: line {line}: {empty[0]} is empty")
            rows.append((line, row))
    return table, rows


def as_words(text: str) -> str:
    """Text that names no file: its bytes that are not UTF-8 are Windows-1252, its form is NFC."""
    return text if text.isascii() else unicodedata.normalize("NFC", text.translate(WINDOWS_1252))


def workbook(path: Path) -> str:
    """What to do with a workbook, on one line; "" where a path is not named like one."""
    if path.suffix.lower() not in WORKBOOK_SUFFIXES:
        return ""
    return f"{one_line(path)}: {SAVE_AS_CSV}"


def refuse_workbook_for(path: Path) -> None:
    """Raise InputError where a table is missing and a workbook of its name lies in its place."""
    for suffix in () if path.exists() else WORKBOOK_SUFFIXES:
        if path.with_suffix(suffix).exists():
            raise InputError(f"{workbook(path.with_suffix(suffix))}, as {path.name}")


# -- inside


def _decoded(name: str, file: BinaryIO, newline: str | None = None) -> io.TextIOWrapper:
    """A file as text, in the encoding that its first bytes tell; `newline` is that of `open`."""
    head = file.read(256)
    file.seek(0)
    if head.startswith(WORKBOOKS):
        raise InputError(f"{name}: {SAVE_AS_CSV}")
    encoding = next((encoding for mark, encoding in MARKS if head.startswith(mark)), "")
    if not encoding and 0 in head:  # UTF-16 without its mark: each second byte of ASCII is zero
        for i, guess in enumerate(("utf-16-be", "utf-16-le")):
            if not any(head[i::2]) and all(head[1 - i :: 2]):
                encoding = guess
    strict = "16" in encoding or "32" in encoding
    errors = "strict" if strict else SURROGATES
    return io.TextIOWrapper(file, encoding or "utf-8", errors, newline)


def _lines(name: str, text: io.TextIOWrapper) -> Iterator[str]:
    for number in itertools.count(1):
        line = text.readline(MAX_LINE)
        if len(line) == MAX_LINE:
            raise InputError(f"{name}: line {number}: longer than {MAX_LINE} characters")
        if not line:
            return
        yield line


def _beginning(
    name: str, lines: Iterator[tuple[int, str]], known: Container[str]
) -> tuple[int, str, str]:
    """The number of the first line that is not empty, the line, and the delimiter of its cells."""
    said = ""
    try:
        for number, line in lines:
            bare = line.strip(f' \r\n"{DELIMITERS}{INVISIBLE}')
            told = re.fullmatch(rf'"?sep=([{DELIMITERS}])"?', line.strip(f" \r\n{INVISIBLE}"), re.I)
            if told and not said:
                said = told[1]
            elif bare:
                return number, line, said or _delimiter(name, number, line, known)
    except UnicodeError as error:
        raise InputError(f"{name}: not text ({reason(error)})") from None
    return 1, "", said or ","


def _delimiter(name: str, number: int, header: str, known: Container[str]) -> str:
    """The one delimiter of a header; beside another one, commas may be those of numbers."""
    bare = re.sub(r'"(?:[^"]|"")*"', "", header.strip("\r\n"))
    decimal = re.sub(r"(?<=\d),(?=\d)", ".", bare)
    found = [one for one in DELIMITERS if one in bare]
    if len(found) > 1:
        found = [one for one in DELIMITERS if one in decimal]
    if len(found) > 1:
        both = " and ".join(NAMES[one] for one in found)
        raise InputError(f"{name}: line {number}: {both} in the header; use one between all cells")
    if not found and (other := _other_delimiter(header, known)):
        accepted = f"use {', '.join(list(NAMES.values())[:-1])} or {NAMES[DELIMITERS[-1]]}"
        raise InputError(f"{name}: line {number}: cells separated by {other}; {accepted}")
    return found[0] if found else ","


def _other_delimiter(header: str, known: Container[str]) -> str:
    """What else separates cells, in words; "" where nothing does."""
    if said := re.fullmatch(r'"?sep=(.)"?', header.strip(f" \r\n{INVISIBLE}"), re.IGNORECASE):
        return repr(said[1])
    for mark in ("|", ":", "/", "~", "^", "\x1f", None):
        cells = [cell.strip(f" '\"\r\n{INVISIBLE}") for cell in header.split(mark)]
        if sum(cell.casefold() in known for cell in cells) > 1 or (
            mark == "|" and sum(map(bool, cells)) > 1
        ):
            return "spaces" if mark is None else repr(mark)
    return ""
