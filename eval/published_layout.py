"""Where the files of published results lie: in our own layout, or in that of the paper's authors.

Ours:

    source.txt                  one line: the name of the person whose expressions were moved
    distances/EXPRESSION.csv    identity distances; EXPRESSION is the expression's name
    aus/EXPRESSION.txt          Action Units of the outputs and of the mean faces (or .csv)
    references.txt              Action Units of the expression pictures, `EXPRESSION.csv` each

The authors', in their folder `evaluation` or in the one that holds it:

    likeliness/expressionK.csv     identity distances; K is the expression's number
    quality/AUs_expressionK.csv    Action Units of the outputs and of the mean faces
    quality/AUs_reference.csv      Action Units of the expression pictures, a row for each K in
                                   ascending order, named `NAME_expressionN_aligned.csv`; NAME is
                                   the source, N numbers the photograph and need not be K

In both, the distances or the Action Units may be absent: that half of the table is then unknown.
Without the authors' Action Units the source's name is read from source.txt.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from eval.published_files import read_faces, read_lines
from glow_jax.io.errors import InputError
from glow_jax.io.messages import counted, one_line

REFERENCE_ROW = re.compile(r"(.+)_expression(\d+)_aligned", re.IGNORECASE)


class Published(NamedTuple):
    """Paths of published results.

    Fields:
        distances, aus: by the expression's name.
        references: the file of the expression pictures' Action Units; None without `aus`.
        rows: the name of each expression's row in it, without `.csv`.
        source: the person whose expressions were moved.
    """

    distances: Mapping[str, Path]
    aus: Mapping[str, Path]
    references: Path | None
    rows: Mapping[str, str]
    source: str


def find_published(folder: Path) -> Published:
    """The files of a folder in either layout.

    Raises:
        InputError: the folder is in neither, or a file that says who or what is what is wrong.
    """
    for place in (folder, folder / "evaluation"):
        if (place / "likeliness").is_dir() or (place / "quality").is_dir():
            return _authors(place)
    distances = _by_stem(folder / "distances", (".csv",))
    aus = _by_stem(folder / "aus", (".csv", ".txt"))
    if not (distances or aus):
        raise InputError(
            f"{one_line(folder)}: no results; it needs scores.csv, or source.txt with "
            "distances/EXPRESSION.csv, aus/EXPRESSION.txt and references.txt, or the authors' "
            "evaluation/likeliness/expressionK.csv and evaluation/quality/AUs_expressionK.csv"
        )
    references = folder / "references.txt" if aus else None
    return Published(distances, aus, references, {name: name for name in aus}, _source(folder))


def _authors(folder: Path) -> Published:
    distances = _by_number(folder / "likeliness", re.compile(r"expression(\d+)\.csv", re.I))
    aus = _by_number(folder / "quality", re.compile(r"AUs_expression(\d+)\.csv", re.I))
    if not (distances or aus):
        raise InputError(
            f"{one_line(folder)}: neither likeliness/expressionK.csv nor "
            "quality/AUs_expressionK.csv in it, K a number"
        )
    named = [{f"expression{k}": path for k, path in found.items()} for found in (distances, aus)]
    if not aus:
        return Published(named[0], {}, None, {}, _source(folder))
    references = folder / "quality" / "AUs_reference.csv"
    source, rows = _reference_rows(references, sorted(aus))
    return Published(named[0], named[1], references, rows, source)


def _reference_rows(path: Path, numbers: list[int]) -> tuple[str, dict[str, str]]:
    """The source's name, and the row of each expression.

    The rows are in the order of K. Where they bear the very numbers K, their order must agree.
    """
    faces = read_faces(path)
    found: list[tuple[str, int]] = []
    for stem, line in faces.lines.items():
        match = REFERENCE_ROW.fullmatch(stem)
        if match is None:
            raise InputError(
                f"{one_line(path)}, line {line}: {one_line(stem)!r} is not "
                "NAME_expressionN_aligned.csv"
            )
        found.append((match[1], int(match[2])))
    names = sorted({name for name, _ in found})
    if len(names) > 1:
        raise InputError(
            f"{one_line(path)}: rows of {one_line(names[0])} and of {one_line(names[1])}; the "
            "expression pictures are of one person, the source"
        )
    if len(found) != len(numbers):
        raise InputError(
            f"{one_line(path)}: {counted(len(found), 'row')}, but "
            f"{counted(len(numbers), 'file')} AUs_expressionK.csv; it needs a row for each"
        )
    in_rows = [n for _, n in found]
    if sorted(in_rows) == numbers and in_rows != numbers:
        raise InputError(
            f"{one_line(path)}: its rows bear the numbers of the files AUs_expressionK.csv, but "
            "in another order; sort them by number"
        )
    stems = zip(numbers, faces.lines, strict=True)
    return names[0], {f"expression{k}": stem for k, stem in stems}


def _source(folder: Path) -> str:
    names = read_lines(folder / "source.txt")
    if len(names) > 1:
        raise InputError(f"{names[1][0]}: a second line; it needs one, the source's name")
    return names[0][1]


def _by_stem(folder: Path, endings: tuple[str, ...]) -> dict[str, Path]:
    """The files with these endings by their stem; none if there is no folder."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix.lower() not in endings or path.name.startswith("."):
            continue
        if path.stem in found:
            raise InputError(f"{one_line(path)}: {one_line(found[path.stem].name)} is there too")
        found[path.stem] = path
    return found


def _by_number(folder: Path, pattern: re.Pattern[str]) -> dict[int, Path]:
    """The files whose names match, by their number, ascending; none if there is no folder."""
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        match = pattern.fullmatch(path.name)
        if match is None:
            continue
        if int(match[1]) in found:
            other = one_line(found[int(match[1])].name)
            raise InputError(f"{one_line(path)}: {other} has the same number")
        found[int(match[1])] = path
    return dict(sorted(found.items()))
