"""† Jobs from files: a table (.csv), or a cross product (.toml, .yaml). All of it is checked.

JOB.csv has a row an output, with the columns

    expression   a picture; a folder or a glob is a row for each of its pictures
    source       whose expression it is: a folder, a glob or one picture of that person
    target       who is to wear it: the same
    alpha        how much of it: a number, or "auto" for the largest inside a trust region
    method       (may be missing or empty) warp or paper
    id           (may be missing or empty) a name of your own, once in the table

A cross product makes every expression of every source on every target, at every alpha:

    alphas = [0.5, 1.0, "auto", "0.3:0.5:0.1"]
    targets = ["people/*"]                  # a glob of folders is a person each
    method = "warp"                         # may be missing
    [[sources]]
    person = "people/ann"
    expressions = ["shots/ann", "shots/ann-extra.png"]

Paths are relative to the file's folder. Nothing of a picture is read here but that it is there.
"""

import array
import csv
import glob
import os
import re
import stat
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason
from glow_jax.io.pictures import SUFFIXES, image_paths
from transfer.jobs.plan import (
    AUTO,
    MAX_ALPHA,
    METHODS,
    UNSAID,
    Plan,
    distinct_names,
    parse_alphas,
)

NEEDED = ("expression", "source", "target", "alpha")
ACCEPTED = (*NEEDED, "method", "id")
SHOWN = 20  # errors that are told; the others are counted
MAX_ROWS = 2**31 - 1
ENDINGS = (".csv", ".toml", ".yaml", ".yml")


class JobErrors(InputError):
    """What is wrong with a job's file; `lines` tells the first few errors, one each."""

    def __init__(self, lines: Sequence[str], count: int):
        self.lines, self.count = list(lines), count
        super().__init__(lines[0] if count == 1 else f"{lines[0]} (the first of {count} errors)")


def read_plan(path: str | os.PathLike[str]) -> Plan:
    """Read a job's file, and check all of it.

    Raises:
        JobErrors: something in it is wrong; each error has the file's name and a line number.
        InputError: it cannot be read.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in ENDINGS:
        raise InputError(f"{one_line(path)}: not a job; use {', '.join(ENDINGS)}")
    inputs = _Inputs(os.path.dirname(path), _Errors(one_line(path)))
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise InputError(f"{one_line(path)}: not an ordinary file")
        # Names of files need not be UTF-8.
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            if kind == ".csv":
                return _read_csv(path, file, inputs)
            return _read_product(path, file.read(), inputs)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{one_line(path)}: cannot be read ({reason(error)})") from None


class _Errors:
    """Errors of a file, the first few in words."""

    def __init__(self, name: str):
        self.name, self.count, self.lines = name, 0, list[str]()

    def add(self, line: int, text: str) -> None:
        self.count += 1
        if len(self.lines) < SHOWN:
            self.lines.append(f"{self.name}: line {line}: {text}")

    def check(self) -> None:
        """Raise JobErrors if there were any."""
        if self.count:
            raise JobErrors(self.lines, self.count)


class _Inputs:
    """Pictures and people by number, each text looked up once."""

    def __init__(self, folder: str, errors: _Errors):
        self.folder, self.errors = folder, errors
        self.files: dict[str, int] = {}
        self.people: dict[tuple[int, ...], int] = {}
        self.paths: list[str] = []  # of people
        self._shots: dict[str, tuple[int, ...] | str] = {}
        self._people: dict[str, int | str] = {}

    def shots(self, text: str, line: int) -> tuple[int, ...]:
        """The pictures that a text names; none, and an error, where there are none."""
        found = self._shots.get(text)
        if found is None:
            try:
                found = self._numbers(self._pictures(text))
            except InputError as error:
                found = str(error)
            self._shots[text] = found
        if isinstance(found, str):
            self.errors.add(line, found)
            return ()
        return found

    def person(self, text: str, line: int) -> int:
        """The person whose pictures a text names; -1, and an error, where there are none."""
        found = self._people.get(text)
        if found is None:
            try:
                found = self._person(text, self._pictures(text))
            except InputError as error:
                found = str(error)
            self._people[text] = found
        if isinstance(found, str):
            self.errors.add(line, found)
            return -1
        return found

    def crowd(self, text: str, line: int) -> list[int]:
        """People: of a glob that matches folders, one each; otherwise one."""
        if glob.has_magic(text) and not os.path.lexists(os.path.join(self.folder, text)):
            matches = self._matches(text)
            folders = [m for m in matches if os.path.isdir(os.path.join(self.folder, m))]
            if folders:
                return [self.person(folder, line) for folder in folders]
        return [self.person(text, line)]

    def _person(self, text: str, pictures: list[str]) -> int:
        numbers = self._numbers(pictures)
        person = self.people.setdefault(numbers, len(self.people))
        if person == len(self.paths):
            path = _named(os.path.join(self.folder, text))
            self.paths.append(path)
        return person

    def _numbers(self, paths: Sequence[str]) -> tuple[int, ...]:
        return tuple(self.files.setdefault(path, len(self.files)) for path in paths)

    def _pictures(self, text: str) -> list[str]:
        path = os.path.join(self.folder, text)
        if not text:
            raise InputError("an empty path; name a picture, a folder or a glob")
        if glob.has_magic(text) and not os.path.lexists(path):
            found = [os.path.join(self.folder, m) for m in self._matches(text)]
            pictures = [p for p in found if os.path.splitext(p)[1].lower() in SUFFIXES]
            if not pictures:
                raise InputError(f"{one_line(text)}: matches no picture ({', '.join(SUFFIXES)})")
            return pictures
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError) as error:
            raise InputError(f"{one_line(text)}: {reason(error)}") from None
        if stat.S_ISREG(mode):
            return [path]
        if not stat.S_ISDIR(mode):
            raise InputError(f"{one_line(text)}: neither a picture nor a folder")
        return [str(p) for p in image_paths(path)]

    def _matches(self, text: str) -> list[str]:
        if os.path.isabs(text):
            return sorted(glob.glob(text, recursive=True))
        return sorted(glob.glob(text, root_dir=self.folder or ".", recursive=True))


def _named(path: str) -> str:
    """A person's path without what is a pattern in it: people/ann_*.png is people/ann."""
    if not glob.has_magic(path) or os.path.lexists(path):
        return path
    folder, name = os.path.split(path)
    parts = [*folder.split("/"), os.path.splitext(name)[0]]
    fixed = [
        re.sub(r"\[[^]]*\]|[*?]", "", p).strip("._- ") if glob.has_magic(p) else p for p in parts
    ]
    return "/".join(part for part in fixed if part) or "-"


class _Columns:
    """Rows of a plan while they are read, a few bytes each."""

    def __init__(self) -> None:
        self.integers = [array.array("i") for _ in range(4)]
        self.alpha, self.method = array.array("d"), array.array("b")

    def add(self, shot: int, source: int, target: int, line: int, alpha: float, kind: int) -> None:
        for column, value in zip(self.integers, (shot, source, target, line), strict=True):
            column.append(value)
        self.alpha.append(alpha)
        self.method.append(kind)

    def plan(self, path: Path, inputs: _Inputs, user_ids: list[str] | None) -> Plan:
        expression, source, target, line = (np.array(c, np.int32) for c in self.integers)
        return Plan(
            str(path),
            list(inputs.files),
            distinct_names(inputs.paths),
            list(inputs.people),
            expression,
            source,
            target,
            np.array(self.alpha, np.float64),
            np.array(self.method, np.int8),
            line,
            user_ids,
        )


def _read_csv(path: Path, file: TextIO, inputs: _Inputs) -> Plan:
    errors, columns = inputs.errors, _Columns()
    reader = csv.reader(file, strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        place = _places(header, errors)
        at = {name: place.get(name) for name in ACCEPTED}
        user_ids: list[str] = []
        _read_rows(reader, len(header), at, inputs, columns, user_ids)
    except csv.Error as error:
        errors.add(reader.line_num, f"not a table of comma-separated values ({reason(error)})")
    errors.check()
    if not len(columns.alpha):
        raise InputError(f"{one_line(path)}: no rows in it")
    return columns.plan(path, inputs, user_ids if "id" in place else None)


def _places(header: list[str], errors: _Errors) -> dict[str, int]:
    """Where each column is; raises InputError where one is missing, unknown or there twice."""
    accepted = f"needed are {', '.join(NEEDED)}; method and id may be there"
    for name in NEEDED:
        if name not in header:
            errors.add(1, f"no column {name!r}; {accepted}")
    for name in dict.fromkeys(header):
        if name not in ACCEPTED:
            errors.add(1, f"unknown column {name!r}; {accepted}")
        elif header.count(name) > 1:
            errors.add(1, f"column {name!r} comes twice")
    errors.check()
    return {name: i for i, name in enumerate(header)}


def _read_rows(
    reader: Any,
    width: int,
    at: dict[str, int | None],
    inputs: _Inputs,
    columns: _Columns,
    user_ids: list[str],
) -> None:
    errors = inputs.errors
    i_shot, i_source, i_target, i_alpha = (at[name] for name in NEEDED)
    i_method, i_id = at["method"], at["id"]
    alphas: dict[str, float | None] = {}
    kinds = {"": UNSAID} | {method: i for i, method in enumerate(METHODS)}
    lines: dict[str, int] = {}  # of the user's own ids
    for row in reader:
        line = reader.line_num
        if len(row) != width:
            if row:
                errors.add(line, f"{len(row)} cells; the header has {width}")
            continue
        alpha = alphas.get(row[i_alpha])
        if alpha is None:
            alpha = alphas[row[i_alpha]] = _alpha(row[i_alpha].strip())
            if alpha is None:
                errors.add(line, _wrong_alpha(row[i_alpha]))
        kind = UNSAID if i_method is None else kinds.get(row[i_method].strip())
        if kind is None:
            said = one_line(row[i_method])
            errors.add(line, f"method {said!r}; use {' or '.join(METHODS)}")
        shots = inputs.shots(row[i_shot].strip(), line)
        source = inputs.person(row[i_source].strip(), line)
        target = inputs.person(row[i_target].strip(), line)
        if i_id is not None:
            user_id = row[i_id].strip()
            if user_id and lines.setdefault(user_id, line) != line:
                first = lines[user_id]
                errors.add(line, f"id {one_line(user_id)!r} is taken by line {first}")
            user_ids += [user_id] * len(shots)
        if errors.count:
            continue  # the rest is looked at, and not kept
        assert alpha is not None and kind is not None
        for shot in shots:
            columns.add(shot, source, target, line, alpha, kind)


def _alpha(text: str) -> float | None:
    if text == AUTO:
        return np.nan
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) <= MAX_ALPHA else None


def _wrong_alpha(text: str) -> str:
    said = f"alpha {one_line(text)!r}" if text.strip() else "no alpha"
    return f"{said}; use a number within {MAX_ALPHA:g} of 0, or {AUTO}"


# -- cross products


def _read_product(path: Path, text: str, inputs: _Inputs) -> Plan:
    errors = inputs.errors
    told = _parsed(path, text)
    known = ("sources", "targets", "alphas", "method")
    lines = _Lines(text)
    for name in told:
        if name not in known:
            errors.add(lines.of(name), f"unknown name {name!r}; accepted are {', '.join(known)}")
    for name in known[:3]:
        if not isinstance(told.get(name), list) or not told[name]:
            errors.add(lines.of(name), f"{name} must be a list that is not empty")
    errors.check()
    kind = UNSAID
    if "method" in told:
        if told["method"] not in METHODS:
            said, use = one_line(told["method"]), " or ".join(METHODS)
            errors.add(lines.of("method"), f"method {said!r}; use {use}")
        else:
            kind = METHODS.index(told["method"])
    alphas: tuple[float, ...] = ()
    try:
        alphas = parse_alphas([str(a) for a in told["alphas"]])
    except InputError as error:
        errors.add(lines.of("alphas"), str(error))
    targets = [
        person
        for text in _texts(told["targets"], "targets", lines, errors)
        for person in inputs.crowd(text, lines.of(text))
    ]
    products = list(_of_sources(told["sources"], inputs, lines))
    errors.check()
    return _product(path, inputs, products, targets, alphas, kind)


def _of_sources(
    sources: list[Any], inputs: _Inputs, lines: "_Lines"
) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Each source's person, and (expression, line) of what it shows."""
    errors = inputs.errors
    for number, source in enumerate(sources, 1):
        where = f"sources, number {number}"
        if not isinstance(source, dict) or set(source) != {"person", "expressions"}:
            errors.add(lines.of("sources"), f"{where}: needs person and expressions, nothing else")
            continue
        if not isinstance(source["person"], str) or not isinstance(source["expressions"], list):
            errors.add(lines.of("sources"), f"{where}: person is a path, expressions a list")
            continue
        person = inputs.person(source["person"], lines.of(source["person"]))
        texts = _texts(source["expressions"], f"{where}: expressions", lines, errors)
        shots = [(s, lines.of(text)) for text in texts for s in inputs.shots(text, lines.of(text))]
        yield person, list(dict.fromkeys(shots))


def _texts(values: list[Any], what: str, lines: "_Lines", errors: _Errors) -> list[str]:
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) < len(values) or not values:
        errors.add(lines.of(what.split()[-1]), f"{what} must be paths, one or more")
    return texts


def _product(
    path: Path,
    inputs: _Inputs,
    products: list[tuple[int, list[tuple[int, int]]]],
    targets: list[int],
    alphas: tuple[float, ...],
    kind: int,
) -> Plan:
    """Source by source, expression by expression, target by target, alpha by alpha."""
    columns, each = _Columns(), len(targets) * len(alphas)
    total = sum(len(shots) for _, shots in products) * each
    if total > MAX_ROWS:
        raise InputError(f"{one_line(path)}: {total} outputs; at most {MAX_ROWS} in one job")
    parts: list[list[np.ndarray]] = [[], [], []]
    for person, shots in products:
        shown, lines = np.array(shots, np.int32).reshape(-1, 2).T
        values = (shown, np.full(len(shots), person, np.int32), lines)
        for part, value in zip(parts, values, strict=True):
            part.append(np.repeat(value, each))
    n_shots = total // each if each else 0
    expression, source, line = (np.concatenate(part).astype(np.int32) for part in parts)
    plan = columns.plan(path, inputs, None)
    return Plan(
        plan.origin,
        plan.files,
        plan.names,
        plan.pictures,
        expression,
        source,
        np.tile(np.repeat(np.array(targets, np.int32), len(alphas)), n_shots),
        np.tile(np.array(alphas, np.float64), n_shots * len(targets)),
        np.full(total, kind, np.int8),
        line,
    )


def _parsed(path: Path, text: str) -> dict[str, Any]:
    name = one_line(path)
    try:
        if path.suffix.lower() == ".toml":
            return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{name}: not TOML ({reason(error)})") from None
    try:
        import yaml
    except ImportError:
        raise InputError(f"{name}: YAML needs `pip install pyyaml`; TOML needs nothing") from None
    try:
        told = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        why = getattr(error, "problem", None) or reason(error)
        raise InputError(f"{name}: {where}not YAML ({one_line(why)})") from None
    if not isinstance(told, dict):
        raise InputError(f"{name}: needs sources, targets and alphas")
    return told


class _Lines:
    """Where in a file a text stands first; its parsers do not tell."""

    def __init__(self, text: str):
        self._lines = text.splitlines()
        self._words: dict[str, int] = {}
        for number, line in enumerate(self._lines, 1):
            for word in re.findall(r"""[^\s"',:=\[\]{}]+""", line):
                self._words.setdefault(word, number)

    def of(self, text: str) -> int:
        found = self._words.get(text)
        if found is None:  # it has a space in it, say
            found = next((i for i, line in enumerate(self._lines, 1) if text in line), 1)
        return found
