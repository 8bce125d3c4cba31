"""Read a job file in CSV, which has one row per output."""

import csv
from pathlib import Path
from typing import Any, TextIO

from glow_jax.io.errors import InputError
from glow_jax.io.messages import counted, one_line, reason
from transfer.jobs.alphas import parse_alpha
from transfer.jobs.plan import METHOD_OF_MODEL, Plan
from transfer.jobs.plan_columns import Columns
from transfer.jobs.plan_paths import Errors, Paths
from transfer.methods import method_names

NEEDED = ("expression", "source", "target", "alpha")
ACCEPTED = (*NEEDED, "method", "id")


def read_csv(path: Path, file: TextIO, paths: Paths) -> Plan:
    """Read a plan from a table.

    Raises:
        JobErrors: the table has errors.
        InputError: the table has no rows.
    """
    errors, columns = paths.errors, Columns()
    reader = csv.reader(file, strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        place = _places(header, errors)
        at = {name: place.get(name) for name in ACCEPTED}
        user_ids: list[str] = []
        _read_rows(reader, len(header), at, paths, columns, user_ids)
    except csv.Error as error:
        errors.add(reader.line_num, f"not a table of comma-separated values ({reason(error)})")
    errors.check()
    if not len(columns.alpha):
        raise InputError(f"{one_line(path)}: the table has no rows")
    return columns.plan(path, paths, user_ids if "id" in place else None)


def _places(header: list[str], errors: Errors) -> dict[str, int]:
    """The index of each column; adds an error for one that is missing, unknown or repeated."""
    accepted = f"needed are {', '.join(NEEDED)}; optional are method and id"
    for name in NEEDED:
        if name not in header:
            errors.add(1, f"no column {name!r}; {accepted}")
    for name in dict.fromkeys(header):
        if name not in ACCEPTED:
            errors.add(1, f"unknown column {name!r}; {accepted}")
        elif header.count(name) > 1:
            errors.add(1, f"column {name!r} is repeated")
    errors.check()
    return {name: i for i, name in enumerate(header)}


def _read_rows(
    reader: Any,
    width: int,
    at: dict[str, int | None],
    paths: Paths,
    columns: Columns,
    user_ids: list[str],
) -> None:
    """Add every row to `columns`; once there is an error, rows are only checked."""
    errors = paths.errors
    i_expression, i_source, i_target, i_alpha = (at[name] for name in NEEDED)
    i_method, i_id = at["method"], at["id"]
    alphas: dict[str, float] = {}
    methods = {"": METHOD_OF_MODEL} | {method: i for i, method in enumerate(method_names())}
    lines: dict[str, int] = {}  # of the user's own ids
    for row in reader:
        line = reader.line_num
        if len(row) != width:
            if row:
                errors.add(line, f"{counted(len(row), 'cell')}; the header has {width}")
            continue
        alpha = alphas.get(row[i_alpha])
        if alpha is None:
            try:
                alpha = alphas[row[i_alpha]] = parse_alpha(row[i_alpha])
            except InputError as error:
                errors.add(line, str(error))
        method = METHOD_OF_MODEL if i_method is None else methods.get(row[i_method].strip())
        if method is None:
            errors.add(
                line, f"method {one_line(row[i_method])!r}; use {' or '.join(method_names())}"
            )
        pictures = paths.expressions(row[i_expression].strip(), line)
        text = row[i_source].strip()
        source = paths.person(text, line) if text else None
        target = paths.person(row[i_target].strip(), line)
        if i_id is not None:
            user_id = row[i_id].strip()
            if user_id and lines.setdefault(user_id, line) != line:
                first = lines[user_id]
                errors.add(line, f"id {one_line(user_id)!r} is used in line {first}")
            user_ids += [user_id] * len(pictures)
        if not errors.count:
            assert alpha is not None and method is not None
            for picture in pictures:
                owner = paths.alone(picture) if source is None else source
                columns.add(picture, owner, target, line, alpha, method)
