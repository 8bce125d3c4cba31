"""Read the outputs to judge, with the people and the expressions that they were made from.

A folder of `glow-jax transfer` or `glow-jax batch` can be read as it is. For pictures of another
method put two tables into a folder:

results.csv   one row per output: expression (path of a picture), source, target, file, and, if
              known, alpha, id, method, bits_per_dim, non_finite_pixels, clipped_share
people.csv    one row per photograph: person, file; of the sources and of the targets

and, if there are decoded mean faces, `means/source_NAME.png` and `means/target_NAME.png`. `file` of
results.csv is absolute or relative to the folder; other paths may also be relative to its parent
or to the working directory. Pictures are only read, in any folder.
"""

import dataclasses
import json
import os
import re
from pathlib import Path

import numpy as np

from eval.protocol.scores import EXTRAS
from eval.reading import unknown
from eval.references import Reference, reference_of
from eval.stated import wanted
from eval.table import KEYS
from glow_jax.io.errors import InputError
from glow_jax.io.face_numbers import split_face
from glow_jax.io.files import read_bytes
from glow_jax.io.given_tables import read_rows, refuse_workbook_for
from glow_jax.io.messages import one_line
from glow_jax.io.output_schema import ABSOLUTE, ALIGN, JOB, MEANS, PEOPLE, RESULTS
from glow_jax.io.spellings import plain, spelled_as_there

NEEDED = (*KEYS, "file")
NUMBERS = ("alpha", *EXTRAS)


@dataclasses.dataclass(frozen=True)
class Study:
    """The outputs to judge; whether the files exist is not checked here.

    Attributes:
        folder: the folder that was read; `file` of an output is absolute or relative to it.
        outputs: a dict for each row of results.csv: text `id`, `expression`, `source`, `target`,
            `file`; floats `alpha` and the other known numbers.
        expressions: the picture of each expression.
        people: the photographs of each person.
        references: of ("source" or "target", person), the reference picture.
        reference: what the targets' reference pictures are.
        about: what job.json says of the maker: model, method, versions.
        photographs: whether job.json says that faces were cut out of photographs (`--align`).
        face: where they were, the number of the face of each, from left to right from 1; None is
            the largest.
        absolute: ids of outputs of whose source no other picture than the expression's was there.
        edit: what job.json says was done to each picture, if not a transfer; see `eval.stated`.
        methods: names of the outputs' methods, where results.csv names any.
    """

    folder: Path
    outputs: list[dict]
    expressions: dict[str, Path]
    people: dict[str, list[Path]]
    references: dict[tuple[str, str], Path]
    reference: Reference
    about: dict[str, str]
    photographs: bool = False
    face: int | None = None
    absolute: frozenset[str] = frozenset()
    edit: str = ""
    methods: tuple[str, ...] = ()


def read_study(folder: str | Path, method: str | None = None) -> Study:
    """Read a folder of outputs.

    Args:
        folder: as `transfer` or `batch` writes it, or with results.csv and people.csv.
        method: of the outputs that are kept; None keeps all.

    Raises:
        InputError: results.csv, or the table of people, is missing or wrong; no output is of
            `method`.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        raise InputError(f"{one_line(folder)}: no such folder of outputs")
    outputs, methods, absolute = _read_outputs(folder, method)
    job = folder / JOB
    people, about, photographs, face, edit = (
        _of_job(job) if job.is_file() else ({}, {}, False, None, "")
    )
    people = _as_named(people or _of_table(folder / PEOPLE), outputs)
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
        photographs,
        face,
        frozenset() if edit else absolute,
        edit,
        tuple(sorted(methods - {""})),
    )


def _read_outputs(folder: Path, method: str | None) -> tuple[list[dict], set[str], frozenset[str]]:
    """The rows of results.csv, of one method or all, their methods, and `Study.absolute`."""
    path = folder / RESULTS
    refuse_workbook_for(path)
    if not path.is_file():
        raise InputError(f"{one_line(folder)}: {_why_no_outputs(folder)}")
    outputs: list[dict] = []
    seen: set[str] = set()
    methods: set[str] = set()
    absolute: set[str] = set()
    table, rows = read_rows(path, NEEDED, (*NUMBERS, "id", "method", "note"))
    for line, row in rows:
        where = f"{one_line(path)}: line {line}"
        output: dict = {name: row[name] for name in NEEDED}
        output["file"] = _spelled(row["file"], [folder])
        output["id"] = row.get("id") or row["file"]
        if output["id"] in seen:
            raise InputError(f"{where}: id {one_line(output['id'])} occurs twice")
        seen.add(output["id"])
        for name in NUMBERS:
            output[name] = _number(table.number(row.get(name, "")), f"{where}: {name}")
        methods.add(own := row.get("method", "").lower())
        if method not in (None, own):
            continue
        if ABSOLUTE in row.get("note", ""):
            absolute.add(output["id"])
        outputs.append(output)
    if method is not None and not outputs and methods:
        there = one_line(", ".join(sorted(methods - {""}))) or "none that is named"
        raise InputError(
            f"{one_line(path)}: no output of method {one_line(method)}; there are: {there}"
        )
    methods = methods if method is None else {method}
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
        value = np.inf if "_" in text else float(text.replace("\u2212", "-"))
    except ValueError:
        value = np.inf
    if not np.isfinite(value):
        raise InputError(f"{where} is {one_line(text)}; a number is needed")
    return value


def _of_job(path: Path) -> tuple[dict[str, list[str]], dict[str, str], bool, int | None, str]:
    """People's photographs, if listed; `Study.about`, `photographs`, `face` and `edit`."""
    try:
        job = json.loads(read_bytes(path))
        people: dict[str, list[str]] = {}
        listed = "source" in job or "targets" in job  # newer jobs list photographs in people.csv
        for role in ("source", "targets") if listed else ():
            for name, pictures in job[role].items():
                files = [str(picture["file"]) for picture in pictures]
                if people.setdefault(name, files) != files:
                    raise InputError(
                        f"{one_line(path)}: source and target are both called {one_line(name)} "
                        "but have other pictures; rename one folder and transfer again"
                    )
        about = {"flow": f"{job['model']['name']}, {job['precision']}", "method": job["method"]}
        about = {k: str(v) for k, v in (about | job["versions"]).items()}
        reading = job.get("how", {}).get("reading")
        which = json.loads(reading).get("which", "largest") if reading else "largest"
        edit = str(job.get("how", {}).get("edit", ""))
        if job["method"] == "edit":
            wanted(edit, unknown())
        return people, about, bool(reading), None if which == "largest" else int(which), edit
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{one_line(path)}: not a job.json of transfer or batch") from None


def _of_table(path: Path) -> dict[str, list[str]]:
    refuse_workbook_for(path)
    if not path.is_file():
        raise InputError(
            f"{one_line(path.parent)}: neither job.json nor people.csv (person, file) in it"
        )
    people: dict[str, list[str]] = {}
    for _, row in read_rows(path, ("person", "file"))[1]:
        people.setdefault(row["person"], []).append(row["file"])
    return {person: list(dict.fromkeys(files)) for person, files in people.items()}


def _as_named(people: dict[str, list[str]], outputs: list[dict]) -> dict[str, list[str]]:
    """People by the names that the outputs give them, however both tables spell these."""
    spelled = {plain(name): files for name, files in people.items()}
    names = {row[role] for row in outputs for role in ("source", "target")}
    other = {n: spelled[plain(n)] for n in names if n not in people and plain(n) in spelled}
    return people | other


def _located(name: str, places: list[Path]) -> Path:
    """The path in the first place where it leads to a file; the bare path if it does nowhere."""
    name = _spelled(name, places)
    found = (place / name for place in places)
    return next((path for path in found if os.path.isfile(split_face(path)[0])), Path(name))


def _spelled(name: str, places: list[Path]) -> str:
    """A path, spelled as it is on the disk in one of the places."""
    return spelled_as_there(name, lambda one: any(os.path.exists(p / one) for p in places))


def _references(folder: Path, used: set[tuple[str, str]]) -> dict[tuple[str, str], Path]:
    """The reference pictures in `means/`, found by the file names that a transfer uses."""
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
