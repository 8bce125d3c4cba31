"""† What is to be judged: outputs, the people in them, and the expressions they were made from.

A folder that `glow-jax transfer` or `glow-jax batch` wrote needs nothing else. For pictures of
another method put two tables into a folder:

results.csv   one row an output: expression (a picture's path), source, target, file, and where
              known alpha, id, bits_per_dim, non_finite_pixels, clipped_share
people.csv    one row a photograph: person, file; the sources' and the targets'

and, if there are decoded mean faces, `means/source_NAME.png` and `means/target_NAME.png`. Paths
are relative to the folder, to its parent or to where the command is run.
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
from eval.table import KEYS
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line

NEEDED = (*KEYS, "file")
NUMBERS = ("alpha", *EXTRAS)


@dataclasses.dataclass(frozen=True)
class Study:
    """Paths as found; a file that is missing is found out when it is read.

    Attributes:
        folder: that holds it; `file` of an output is relative to it.
        outputs: a dict of each row of results.csv: text of `id`, `expression`, `source`,
            `target`, `file`; floats of `alpha` and what else is known.
        expressions: of each expression, its picture.
        people: of each person, their photographs.
        means: of ("source" or "target", person), the decoded mean face.
        about: what the maker says of itself: model, method, versions.
    """

    folder: Path
    outputs: list[dict]
    expressions: dict[str, Path]
    people: dict[str, list[Path]]
    means: dict[tuple[str, str], Path]
    about: dict[str, str]


def read_study(folder: str | Path) -> Study:
    """Read a folder of outputs.

    Raises:
        InputError: results.csv, or who the people are, is missing or wrong.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        raise InputError(f"{one_line(folder)}: no such folder of outputs")
    outputs = _read_outputs(folder)
    job = folder / "job.json"
    people, about = _of_job(job) if job.is_file() else ({}, {})
    people = people or _of_table(folder / "people.csv")
    places = [Path(), folder, folder.parent]
    used = {(role, row[role]) for row in outputs for role in ("source", "target")}
    missing = sorted(person for _, person in used if not people.get(person))
    if missing:
        raise InputError(
            f"{one_line(folder)}: no photographs of {one_line(missing[0])}; "
            "people.csv (person, file) names them"
        )
    return Study(
        folder,
        outputs,
        {name: _located(name, places) for name in sorted({row["expression"] for row in outputs})},
        {person: [_located(f, places) for f in people[person]] for _, person in sorted(used)},
        _means(folder, used),
        about,
    )


def _read_outputs(folder: Path) -> list[dict]:
    path = folder / "results.csv"
    if not path.is_file():
        raise InputError(f"{one_line(folder)}: no results.csv; it is not a folder of outputs")
    outputs, seen = [], set()
    for line, row in read_table(path, NEEDED):
        where = f"{one_line(path)}: line {line}"
        # What leaves the folder is not an output of it, whatever a stranger's table says.
        if Path(row["file"]).is_absolute() or ".." in Path(row["file"]).parts:
            raise InputError(f"{where}: {one_line(row['file'])} is not inside the folder")
        output: dict = {name: row[name] for name in NEEDED}
        output["id"] = row.get("id") or row["file"]
        if output["id"] in seen:
            raise InputError(f"{where}: id {one_line(output['id'])} comes twice")
        seen.add(output["id"])
        for name in NUMBERS:
            output[name] = _number(row.get(name, ""), f"{where}: {name}")
        outputs.append(output)
    if not outputs:
        raise InputError(f"{one_line(path)}: no outputs in it")
    return outputs


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
    """People's photographs, if the job lists them, and what it tells of itself."""
    try:
        job = json.loads(read_bytes(path))
        people: dict[str, list[str]] = {}
        listed = "source" in job or "targets" in job  # today's jobs leave it to people.csv
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
        raise InputError(f"{one_line(path)}: not the job of a transfer") from None


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
    """Rows of a CSV, names and cells stripped, each with the line that it ends on.

    Raises:
        InputError: it is no CSV, a needed column is missing, a column comes twice, a row has
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
            raise InputError(f"{one_line(path)}: column {twice[0]} comes twice")
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
    """The first place where a path leads to a file; as it is if none does."""
    found = (place / name for place in places)
    return next((path for path in found if os.path.isfile(path)), Path(name))


def _means(folder: Path, used: set[tuple[str, str]]) -> dict[tuple[str, str], Path]:
    """Mean faces by the names that a transfer gives them (`transfer/job.py: file_name`)."""
    found = {}
    for role, person in used:
        safe = re.sub(r"[^\w.+-]+", "-", person)[:80] or "-"
        for name in (person, safe):
            path = folder / "means" / f"{role}_{name}.png"
            if "/" not in name and os.path.isfile(path):
                found[role, person] = path
                break
    return found
