"""What is to be judged: outputs, the people in them, and the expressions they were made from.

A folder that `glow-jax transfer` or `glow-jax batch` wrote needs nothing else. For pictures of
another method put two tables into a folder:

results.csv   one row per output: expression (path of a picture), source, target, file, and where
              known alpha, id, method, bits_per_dim, non_finite_pixels, clipped_share
people.csv    one row per photograph: person, file; of the sources and of the targets

and, if there are decoded mean faces, `means/source_NAME.png` and `means/target_NAME.png`. `file` of
results.csv is absolute or relative to the folder; other paths may also be relative to its parent
or to the working directory. Pictures are only read, wherever they lie.
"""

import csv
import dataclasses
import io
import json
import os
import re
from pathlib import Path

import numpy as np

from eval.files import read_bytes
from eval.protocol.scores import EXTRAS
from eval.references import Reference, reference_of
from eval.table import KEYS
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line
from glow_jax.io.output_schema import ABSOLUTE, ALIGN, JOB, MEANS, PEOPLE, RESULTS

NEEDED = (*KEYS, "file")
NUMBERS = ("alpha", *EXTRAS)


@dataclasses.dataclass(frozen=True)
class Study:
    """Paths as found; a missing file is noticed when it is read.

    Attributes:
        folder: the folder that was read; `file` of an output is absolute or relative to it.
        outputs: a dict for each row of results.csv: text `id`, `expression`, `source`, `target`,
            `file`; floats `alpha` and what else is known.
        expressions: the picture of each expression.
        people: the photographs of each person.
        references: of ("source" or "target", person), the reference picture.
        reference: what the targets' reference pictures are.
        about: what job.json says of the maker: model, method, versions.
        absolute: ids of outputs of whose source no other picture than the expression's was there.
    """

    folder: Path
    outputs: list[dict]
    expressions: dict[str, Path]
    people: dict[str, list[Path]]
    references: dict[tuple[str, str], Path]
    reference: Reference
    about: dict[str, str]
    absolute: frozenset[str] = frozenset()


def read_study(folder: str | Path) -> Study:
    """Read a folder of outputs.

    Raises:
        InputError: results.csv, or who the people are, is missing or wrong.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        raise InputError(f"{one_line(folder)}: no such folder of outputs")
    outputs, methods, absolute = _read_outputs(folder)
    job = folder / JOB
    people, about = _of_job(job) if job.is_file() else ({}, {})
    people = people or _of_table(folder / PEOPLE)
    places = [Path(), folder, folder.parent]
    used = {(role, row[role]) for row in outputs for role in ("source", "target")}
    missing = sorted(person for _, person in used if not people.get(person))
    if missing:
        raise InputError(
            f"{one_line(folder)}: no photographs of {one_line(missing[0])}; "
            "people.csv (person, file) names them"
        )
    references = _references(folder, used)
    targets = {person for role, person in used if role == "target"}
    pictures = sum(("target", person) in references for person in targets)
    return Study(
        folder,
        outputs,
        {name: _located(name, places) for name in sorted({row["expression"] for row in outputs})},
        {person: [_located(f, places) for f in people[person]] for _, person in sorted(used)},
        references,
        reference_of(methods - {""} or {about.get("method", "")}, pictures, len(targets)),
        about,
        absolute,
    )


def _read_outputs(folder: Path) -> tuple[list[dict], set[str], frozenset[str]]:
    """The rows of results.csv, the methods that they name, and `Study.absolute`."""
    path = folder / RESULTS
    if not path.is_file():
        raise InputError(f"{one_line(folder)}: {_why_no_outputs(folder)}")
    outputs: list[dict] = []
    seen: set[str] = set()
    methods: set[str] = set()
    absolute: set[str] = set()
    for line, row in read_table(path, NEEDED):
        where = f"{one_line(path)}: line {line}"
        output: dict = {name: row[name] for name in NEEDED}
        output["id"] = row.get("id") or row["file"]
        if output["id"] in seen:
            raise InputError(f"{where}: id {one_line(output['id'])} occurs twice")
        seen.add(output["id"])
        for name in NUMBERS:
            output[name] = _number(row.get(name, ""), f"{where}: {name}")
        methods.add(row.get("method", ""))
        if ABSOLUTE in row.get("note", ""):
            absolute.add(output["id"])
        outputs.append(output)
    if not outputs:
        raise InputError(f"{one_line(path)}: no outputs in it")
    return outputs, methods, frozenset(absolute)


def _why_no_outputs(folder: Path) -> str:
    """What to do with a folder without results.csv, in words."""
    for place in (folder, folder.parent):
        if (place / ALIGN).is_file():
            return (
                "crops that `align` made, not outputs; name their people in a transfer (source "
                "and targets are folders of crops), and judge the folder that it writes"
            )
        if (place / RESULTS).is_file():
            return f"no results.csv; it lies in the folder above: {one_line(place)}"
    return (
        "no results.csv; what is judged is a folder that `transfer` or `batch` wrote, or one with "
        "results.csv (expression, source, target, file) and people.csv (person, file)"
    )


def _number(text: str, where: str) -> float:
    if text.lower() in ("", "nan"):
        return np.nan
    try:
        value = float(text)
    except ValueError:
        value = np.inf
    if not np.isfinite(value):
        raise InputError(f"{where} is {one_line(text)}; a number is needed")
    return value


def _of_job(path: Path) -> tuple[dict[str, list[str]], dict[str, str]]:
    """People's photographs, if the job lists them, and its model, method and versions."""
    try:
        job = json.loads(read_bytes(path))
        people: dict[str, list[str]] = {}
        listed = "source" in job or "targets" in job  # newer jobs leave it to people.csv
        for role in ("source", "targets") if listed else ():
            for name, pictures in job[role].items():
                files = [str(picture["file"]) for picture in pictures]
                if people.setdefault(name, files) != files:
                    raise InputError(
                        f"{one_line(path)}: source and target are both called {one_line(name)} "
                        "but have other pictures; rename one folder and transfer again"
                    )
        about = {"flow": f"{job['model']['name']}, {job['precision']}", "method": job["method"]}
        return people, {k: str(v) for k, v in (about | job["versions"]).items()}
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{one_line(path)}: not a job.json of transfer or batch") from None


def _of_table(path: Path) -> dict[str, list[str]]:
    if not path.is_file():
        raise InputError(
            f"{one_line(path.parent)}: neither job.json nor people.csv (person, file) in it"
        )
    people: dict[str, list[str]] = {}
    for _, row in read_table(path, ("person", "file")):
        people.setdefault(row["person"], []).append(row["file"])
    return people


def read_table(path: Path, needed: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Rows of a CSV, names and cells stripped, each with the number of its last line.

    Raises:
        InputError: it is no CSV, a needed column is missing, a column occurs twice, a row has
            another length, or a needed cell is empty.
    """
    text = read_bytes(path).decode("utf-8-sig", errors="replace")
    reader = csv.DictReader(io.StringIO(text), strict=True)
    rows = []
    try:
        names = [(name or "").strip() for name in reader.fieldnames or ()]
        reader.fieldnames = names
        missing = [name for name in needed if name not in names]
        if missing:
            raise InputError(f"{one_line(path)}: no column {', '.join(missing)}")
        twice = [name for name in needed if names.count(name) > 1]
        if twice:
            raise InputError(f"{one_line(path)}: column {twice[0]} occurs twice")
        for row in reader:
            where = f"{one_line(path)}: line {reader.line_num}"
            if None in row or None in row.values():
                raise InputError(f"{where}: not as many cells as the header has")
            cells = {name: value.strip() for name, value in row.items()}
            empty = [name for name in needed if not cells[name]]
            if empty:
                raise InputError(f"{where}: {empty[0]} is empty")
            rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise InputError(f"{one_line(path)}: after line {reader.line_num}: {error}") from None
    return rows


def _located(name: str, places: list[Path]) -> Path:
    """The path in the first place where it leads to a file; the bare path if it does nowhere."""
    found = (place / name for place in places)
    return next((path for path in found if os.path.isfile(path)), Path(name))


def _references(folder: Path, used: set[tuple[str, str]]) -> dict[tuple[str, str], Path]:
    """Reference pictures in `means/`, by the names that a transfer gives them."""
    found = {}
    for role, person in used:
        safe = re.sub(r"[^\w.+-]+", "-", person) or "-"
        cut = safe.encode("utf-8", "surrogateescape")[:80].decode("utf-8", "ignore")
        for name in (person, safe[:80], cut):
            path = folder / MEANS / f"{role}_{name}.png"
            if "/" not in name and os.path.isfile(path):
                found[role, person] = path
                break
    return found
