"""Reads the kinds of file in which the paper's authors released their results.

A *distances* file is a CSV. Its header is a name, then one alpha per column, then two names. Each
row is `NAME_source` or `NAME_target`, in any order: the distances of the outputs for the target
NAME to the source's mean, or to the target's. The last two columns, the distances of the row's
own mean face to both, must be numbers and are not used.

An *AU* file has one bracketed list per line, items quoted or not, with any spaces around them. The
first is the header: a name, then AU01_r … AU45_r in any order; `AU01_c` … are presence flags, and
other columns are skipped. The others begin with a file name, `NAME_0.32.csv` or `NAME_mean.csv`.

Nothing in a file is executed, and no file larger than 64 MiB is read. Whatever is wrong raises one
InputError, with file and line.
"""

import csv
import io
import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from eval.table import AUS
from glow_jax.io.errors import InputError
from glow_jax.io.files import read_bytes
from glow_jax.io.messages import counted, one_line, reason

MOST_BYTES = 64 * 2**20
MOST_CHARACTERS = 20_000  # in a line
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
ITEM = re.compile(r"\s*+(?:'([^']*+)'|\"([^\"]*+)\"|([^'\",\[\]]*+))\s*+(,|$)")

Key = tuple[str, float]
"""The target's name, and alpha."""


class Faces(NamedTuple):
    """An AU file by the stem of each picture's name: its line, AU01 …, and AU01_present …"""

    path: Path
    lines: dict[str, int]
    rows: dict[str, dict[str, float]]


def read_text(path: Path) -> str:
    """The text of a file, without its byte order mark."""
    try:
        text = read_bytes(path, MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{one_line(path)}: not UTF-8 text") from None
    if "\0" in text:
        raise InputError(f"{one_line(path)}: not text: it has zero bytes")
    return text


def read_lines(path: Path) -> list[tuple[str, str]]:
    """The lines that are not blank, each after its place, "FILE, line N"."""
    lines = read_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    found = [
        (f"{one_line(path)}, line {n}", line.strip())
        for n, line in enumerate(lines, 1)
        if line.strip()
    ]
    for place, line in found:
        if len(line) > MOST_CHARACTERS:
            raise InputError(f"{place}: longer than {MOST_CHARACTERS} characters")
    if not found:
        raise InputError(f"{one_line(path)}: empty")
    return found


def read_csv(path: Path) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The header of a CSV, its cells stripped, and each row of as many cells after its place."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    rows = []
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((f"{one_line(path)}, line {reader.line_num}", row))
    except csv.Error as error:
        raise InputError(f"{one_line(path)}, line {reader.line_num}: {reason(error)}") from None
    if len(rows) < 2:
        raise InputError(f"{one_line(path)}: {'no row below its header' if rows else 'empty'}")
    (place, first), *rest = rows
    header = [name.strip() for name in first]
    _check_unique(header, place)
    for place, row in rest:
        _check_count(row, header, place)
    return header, rest


def read_distances(path: Path) -> dict[Key, tuple[float, float]]:
    """By target and alpha: the distances to the target's mean and to the source's.

    Raises:
        InputError: a row or header is not as the module says, a value is no number or is
            negative, a row occurs twice, or a target lacks one of its two rows.
    """
    header, rows = read_csv(path)
    place = f"{one_line(path)}, line 1"
    if len(header) < 4 or any(NUMBER.fullmatch(name) for name in header[-2:]):
        raise InputError(
            f"{place}: {counted(len(header), 'column')} that end in {one_line(header[-1])!r}; it "
            "needs a name, one alpha per column, and two columns of the mean faces' distances"
        )
    alphas = [_alpha(name, f"{place}, an alpha's column") for name in header[1:-2]]
    _check_unique([f"{alpha:g}" for alpha in alphas], place)
    found: dict[str, dict[str, list[float]]] = {}
    for place, (label, *cells) in rows:
        name, _, side = label.strip().rpartition("_")
        if not name or side.lower() not in ("source", "target"):
            raise InputError(f"{place}: {one_line(label)!r} is not NAME_source or NAME_target")
        sides = found.setdefault(name, {})
        if side.lower() in sides:
            raise InputError(f"{place}: {one_line(label.strip())} occurs twice")
        values = [number(cell, place, 0.0) for cell in cells]
        sides[side.lower()] = values[:-2]
    for name, sides in found.items():
        if len(sides) < 2:
            lacking = "target" if "source" in sides else "source"
            raise InputError(f"{one_line(path)}: no row {one_line(name)}_{lacking}")
    return {
        (name, alpha): (sides["target"][i], sides["source"][i])
        for name, sides in found.items()
        for i, alpha in enumerate(alphas)
    }


def read_faces(path: Path) -> Faces:
    """The Action Units of an AU file.

    Raises:
        InputError: a line is not a list, has another count of items than the header, an AU is
            missing, a value is no number or out of its range, or a picture occurs twice.
    """
    (place, line), *rest = read_lines(path)
    header = items(line, place)
    missing = [f"{au}_r" for au in AUS if f"{au}_r" not in header[1:]]
    if missing:
        raise InputError(f"{place}: no column {', '.join(missing)}; the first line is the header")
    _check_unique(header, place)
    if not rest:
        raise InputError(f"{one_line(path)}: no line below its header")
    kinds = (("_r", "", 5.0), ("_c", "_present", 1.0))
    columns = [
        (header.index(au + suffix), au + ours, most)
        for au in AUS
        for suffix, ours, most in kinds
        if au + suffix in header
    ]
    faces = Faces(path, {}, {})
    for place, line in rest:
        row = items(line, place)
        _check_count(row, header, place)
        stem = PurePosixPath(row[0].replace("\\", "/")).name.removesuffix(".csv")
        if not stem:
            raise InputError(f"{place}: its first item is not the name of a file")
        if stem in faces.rows:
            raise InputError(
                f"{place}: {one_line(row[0])} again (first on line {faces.lines[stem]})"
            )
        faces.lines[stem] = int(place.rpartition(" ")[2])
        faces.rows[stem] = {
            name: number(row[i], f"{place}, {name}", 0.0, most) for i, name, most in columns
        }
    return faces


def outputs_of(faces: Faces) -> dict[Key, str]:
    """The stems of an AU file's outputs, by target and alpha; mean faces are left out."""
    found: dict[Key, str] = {}
    for stem in faces.rows:
        name, _, tail = stem.rpartition("_")
        place = f"{one_line(faces.path)}, line {faces.lines[stem]}"
        if name and tail == "mean":
            continue
        if not name or not NUMBER.fullmatch(tail):
            raise InputError(f"{place}: {one_line(stem)!r} is not NAME_ALPHA.csv or NAME_mean.csv")
        key = name, _alpha(tail, place)
        if key in found:
            raise InputError(f"{place}: alpha {key[1]:g} of {one_line(name)} again")
        found[key] = stem
    return found


def items(line: str, place: str) -> list[str]:
    """The items of a bracketed list, stripped and without their quotes."""
    if len(line) < 2 or line[0] != "[" or line[-1] != "]":
        raise InputError(f"{place}: {one_line(line[:40])!r} … is not a list in brackets")
    found: list[str] = []
    inner, at = line[1:-1], 0
    while True:
        match = ITEM.match(inner, at)
        if match is None:
            raise InputError(f"{place}: item {len(found) + 1} of the list cannot be read")
        found.append("".join(group or "" for group in match.groups()[:3]).strip())
        at = match.end()
        if not match[4]:
            return found


def number(text: str, place: str, low: float = -1e6, high: float = 1e6) -> float:
    """A decimal number within `low` to `high`."""
    if not NUMBER.fullmatch(text.strip()):
        raise InputError(f"{place}: {one_line(text.strip())[:40]!r} is not a number")
    value = float(text)
    if not low <= value <= high:
        raise InputError(f"{place}: {text.strip()[:40]} is not within {low:g} to {high:g}")
    return value


def _alpha(text: str, place: str) -> float:
    """An alpha, equal to the same alpha in another file."""
    return round(number(text, place), 6)


def _check_unique(names: list[str], place: str) -> None:
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise InputError(f"{place}: the column {one_line(double[0])!r} occurs twice")


def _check_count(row: list[str], header: list[str], place: str) -> None:
    if len(row) != len(header):
        raise InputError(f"{place}: {counted(len(row), 'item')}; the header has {len(header)}")
