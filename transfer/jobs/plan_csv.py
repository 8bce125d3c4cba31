"""Read a job file in CSV, which has one row per output."""

from pathlib import Path

from glow_jax.io.errors import InputError
from glow_jax.io.given_tables import Table, open_table
from glow_jax.io.messages import one_line
from transfer.jobs.alphas import parse_alpha
from transfer.jobs.plan import METHOD_OF_MODEL, Plan
from transfer.jobs.plan_columns import Columns
from transfer.jobs.plan_paths import Errors, Paths
from transfer.methods import METHODS

NEEDED = ("expression", "source", "target", "alpha")
OPTIONAL = ("method", "id")
ACCEPTED = (*NEEDED, *OPTIONAL)


def read_csv(path: Path, paths: Paths) -> Plan:
    """The plan of a table.

    Raises:
        JobErrors: something in the table is wrong.
        InputError: it cannot be read, or has no rows.
    """
    errors, columns = paths.errors, Columns()
    user_ids: list[str] = []
    with open_table(path, known=ACCEPTED, optional=OPTIONAL, refuse=errors.add) as table:
        place = _places(table, errors)
        _read_rows(table, place, paths, columns, user_ids)
    errors.check()
    if not len(columns.alpha):
        raise InputError(f"{one_line(path)}: the table has no rows")
    return columns.plan(path, paths, user_ids if "id" in place else None)


def _places(table: Table, errors: Errors) -> dict[str, int]:
    """Where each column is; raises InputError where one is missing, unknown or there twice."""
    header, line = table.header, table.header_line
    accepted = f"needed are {', '.join(NEEDED)}; method and id may be there"
    if not set(ACCEPTED) & set(header):
        none = ", ".join(map(repr, NEEDED))
        errors.add(line, f"no column {none}: the first row must name the columns; {accepted}")
        errors.check()
    for name in NEEDED:
        if name not in header:
            errors.add(line, f"no column {name!r}; {accepted}")
    for name in dict.fromkeys(header):
        if name not in ACCEPTED:
            errors.add(line, f"unknown column {one_line(name)!r}; {accepted}")
        elif header.count(name) > 1:
            errors.add(line, f"column {name!r} is repeated")
    errors.check()
    return {name: i for i, name in enumerate(header)}


def _read_rows(
    table: Table,
    at: dict[str, int],
    paths: Paths,
    columns: Columns,
    user_ids: list[str],
) -> None:
    """Add every row to `columns`; once there is an error, rows are only checked."""
    errors = paths.errors
    i_expression, i_source, i_target, i_alpha = (at[name] for name in NEEDED)
    i_method, i_id = at.get("method"), at.get("id")
    alphas: dict[str, float] = {}
    methods = {"": METHOD_OF_MODEL} | {method: i for i, method in enumerate(METHODS)}
    lines: dict[str, int] = {}  # of the user's own ids
    for line, row in table:
        alpha = alphas.get(row[i_alpha])
        if alpha is None:
            try:
                alpha = alphas[row[i_alpha]] = parse_alpha(table.number(row[i_alpha]))
            except InputError as error:
                errors.add(line, str(error))
        word = "" if i_method is None else row[i_method]
        method = methods.get(word.lower())
        if method is None:
            errors.add(line, f"method {one_line(word)!r}; use {' or '.join(METHODS)}")
        pictures = paths.expressions(row[i_expression], line, "expression")
        text = row[i_source]
        source = paths.person(text, line, "source") if text else None
        target = paths.person(row[i_target], line, "target")
        if i_id is not None:
            user_id = row[i_id]
            if user_id and lines.setdefault(user_id, line) != line:
                first = lines[user_id]
                errors.add(line, f"id {one_line(user_id)!r} is used in line {first}")
            user_ids += [user_id] * len(pictures)
        if len(columns.alpha) + len(pictures) > paths.max_rows:
            where = f"{paths.errors.name}: line {line}"
            raise InputError(f"{where}: more than {paths.max_rows} outputs in one job")
        if not errors.count:
            assert alpha is not None and method is not None
            for picture in pictures:
                owner = paths.alone(picture) if source is None else source
                columns.add(picture, owner, target, line, alpha, method)
