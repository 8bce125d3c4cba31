"""Read a job file in TOML or YAML: every expression on every target, at every alpha."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason
from transfer.jobs.alphas import parse_alphas
from transfer.jobs.plan import METHOD_OF_MODEL, Plan
from transfer.jobs.plan_columns import Columns
from transfer.jobs.plan_paths import Errors, Paths
from transfer.jobs.plan_yaml import read_yaml
from transfer.methods import METHODS

MAX_CHARACTERS = 2**22  # of a file
MAX_DOTS = 1000  # of a line of TOML, besides those in texts
QUOTED = re.compile(r"""(?<=[=,\[\s])("[^"]*"|'[^']*')(?=\s*[],])""")  # values in a list


def read_product(path: Path, text: str, paths: Paths) -> Plan:
    """Read a plan from a cross product.

    Raises:
        JobErrors: the file has errors.
        InputError: the file cannot be parsed, or lists too many outputs.
    """
    errors = paths.errors
    if len(text) > MAX_CHARACTERS:
        limit = f"at most {MAX_CHARACTERS} characters are read; give a CSV"
        raise InputError(f"{one_line(path)}: too long: {limit}")
    document = _parsed(path, text)
    accepted = ("sources", "targets", "alphas", "method")
    lines = Lines(text)
    for name in document:
        if name not in accepted:
            unknown = f"unknown name {name[:80]!r}"
            errors.add(lines.of(name), f"{unknown}; accepted are {', '.join(accepted)}")
    for name in accepted[:3]:
        if not isinstance(document.get(name), list) or not document[name]:
            errors.add(lines.of(name), f"{name} must be a list that is not empty")
    errors.check()
    method = METHOD_OF_MODEL
    if "method" in document:
        name = str(document["method"]).strip().lower()
        if name not in METHODS:
            wrong = one_line(document["method"])[:80]
            errors.add(lines.of("method"), f"method {wrong!r}; use {' or '.join(METHODS)}")
        else:
            method = list(METHODS).index(name)
    alphas: tuple[float, ...] = ()
    try:
        alphas = parse_alphas([_alpha(a) for a in document["alphas"]])
    except InputError as error:
        errors.add(lines.of("alphas"), str(error))
    targets = [
        person
        for text in _texts(document["targets"], "targets", lines, errors)
        for person in paths.people_of(text, lines.of(text))
    ]
    products = list(_of_sources(document["sources"], paths, lines))
    errors.check()
    return _product(path, paths, products, targets, alphas, method)


def _of_sources(
    sources: list[Any], paths: Paths, lines: "Lines"
) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Of each source: the person, and (expression, line) of each of its expressions."""
    errors = paths.errors
    for number, source in enumerate(sources, 1):
        where = f"sources, number {number}"
        if not isinstance(source, dict) or {*source, "person"} != {"person", "expressions"}:
            accepted = "needs expressions, may have person, and nothing else"
            errors.add(lines.of("sources"), f"{where}: {accepted}")
            continue
        text, expressions = source.get("person"), source["expressions"]
        if not isinstance(text, str | None) or not isinstance(expressions, list):
            wanted = "person must be a path, and expressions a list"
            errors.add(lines.of("sources"), f"{where}: {wanted}")
            continue
        person = None if text is None else paths.person(text, lines.of(text))
        texts = _texts(expressions, f"{where}: expressions", lines, errors)
        pictures = [
            (s, lines.of(text)) for text in texts for s in paths.expressions(text, lines.of(text))
        ]
        pictures = list(dict.fromkeys(pictures))
        if person is not None:
            yield person, pictures
            continue
        for picture in pictures:
            yield paths.alone(picture[0]), [picture]


def _alpha(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InputError(f"alphas must be numbers or texts, not {type(value).__name__}")
    return str(value)


def _texts(values: list[Any], what: str, lines: "Lines", errors: Errors) -> list[str]:
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) < len(values) or not values:
        errors.add(lines.of(what.split()[-1]), f"{what} must be paths, one or more")
    return texts


def _product(
    path: Path,
    paths: Paths,
    products: list[tuple[int, list[tuple[int, int]]]],
    targets: list[int],
    alphas: tuple[float, ...],
    method: int,
) -> Plan:
    """The rows of all combinations, ordered by source, expression, target and alpha."""
    columns, each = Columns(), len(targets) * len(alphas)
    total = sum(len(pictures) for _, pictures in products) * each
    if total > paths.max_rows:
        most = f"at most {paths.max_rows} in one job"
        raise InputError(f"{one_line(path)}: {total} outputs; {most}")
    parts: list[list[np.ndarray]] = [[], [], []]
    for person, pictures in products:
        shown, lines = np.array(pictures, np.int32).reshape(-1, 2).T
        values = (shown, np.full(len(pictures), person, np.int32), lines)
        for part, value in zip(parts, values, strict=True):
            part.append(np.repeat(value, each))
    n_pictures = total // each if each else 0
    expression, source, line = (np.concatenate(part).astype(np.int32) for part in parts)
    plan = columns.plan(path, paths, None)
    return Plan(
        plan.origin,
        plan.files,
        plan.names,
        plan.pictures,
        expression,
        source,
        np.tile(np.repeat(np.array(targets, np.int32), len(alphas)), n_pictures),
        np.tile(np.array(alphas, np.float64), n_pictures * len(targets)),
        np.full(total, method, np.int8),
        line,
        notes=plan.notes,
    )


def _parsed(path: Path, text: str) -> dict[str, Any]:
    name = one_line(path)
    try:
        if path.suffix.lower() == ".toml":
            _check_dots(text)
            return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: not TOML ({reason(error)})") from None
    document = read_yaml(name, text)
    if not isinstance(document, dict):
        raise InputError(f"{name}: needs sources, targets and alphas")
    return document


def _check_dots(text: str) -> None:
    """Raise ValueError for a key of so many parts that tomllib takes minutes."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") > MAX_DOTS and re.sub(QUOTED, "", line).count(".") > MAX_DOTS:
            raise ValueError(f"line {number} has more than {MAX_DOTS} dots")


class Lines:
    """Line numbers of texts in a file, which the parsers of TOML and YAML do not report."""

    def __init__(self, text: str):
        """The lines of a file's text."""
        self._lines = text.splitlines()
        self._words: dict[str, int] = {}
        for number, line in enumerate(self._lines, 1):
            for word in re.findall(r"""[^\s"',:=\[\]{}]+""", line):
                self._words.setdefault(word, number)

    def of(self, text: str) -> int:
        """The number of the first line with a text, from 1; 1 where there is none."""
        found = self._words.get(text)
        if found is None:  # more than one word
            found = next((i for i, line in enumerate(self._lines, 1) if text in line), 1)
        return found
