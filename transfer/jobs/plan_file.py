"""Read and check job files: a table (.csv), or a cross product (.toml, .yaml).

JOB.csv (or .tsv), saved by any spreadsheet (`glow_jax.io.given_tables`), has a row an output, with
the columns

    expression   a picture; a folder or a glob stands for one row per picture in it
    source       the person whose expression it is: a folder, a glob or one picture; empty if there
                 is no picture of that person but the expression's
    target       the person who gets the expression: a folder, a glob or one picture
    alpha        how much of the expression: a number, or "auto", the largest in a trust region
    method       (optional) warp, paper or glow
    id           (optional) a name of your own for the row, unique in the table

A cross product lists every expression of every source on every target, at every alpha:

    alphas = [0.5, 1.0, "auto", "0.3:0.5:0.1"]
    targets = ["people/*"]                  # each folder that a glob matches is one person
    method = "warp"                         # optional
    [[sources]]
    person = "people/ann"                   # may be missing
    expressions = ["shots/ann", "shots/ann-extra.png"]

Paths are relative to the folder of the job file. The pictures must exist; they are not read here.
"""

import os
from pathlib import Path

from glow_jax.io.errors import InputError
from glow_jax.io.given_tables import read_text, workbook
from glow_jax.io.messages import one_line
from transfer.jobs.plan import Plan
from transfer.jobs.plan_csv import read_csv
from transfer.jobs.plan_paths import MAX_ROWS, Errors, JobErrors, Paths
from transfer.jobs.plan_product import MAX_CHARACTERS, read_product

TABLES = (".csv", ".tsv")
ENDINGS = (".csv", ".toml", ".yaml", ".yml", ".tsv")

__all__ = ["JobErrors", "read_plan"]


def read_plan(
    path: str | os.PathLike[str], *, inside: bool = False, max_rows: int = MAX_ROWS
) -> Plan:
    """Read a job file, and check all of it.

    Args:
        path: the job file.
        inside: whether a path that leads out of the file's folder is an error, for a job file of
            somebody who may not read this machine's other files.
        max_rows: outputs that the file may ask for.

    Raises:
        JobErrors: the file has errors; each error has the file's name and a line number.
        InputError: the file cannot be read.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if why := workbook(path):
        raise InputError(why)
    if kind not in ENDINGS:
        raise InputError(f"{one_line(path)}: not a job file; accepted: {', '.join(ENDINGS)}")
    paths = Paths(os.path.dirname(path), Errors(one_line(path)), inside, max_rows)
    if kind in TABLES:
        return read_csv(path, paths)
    return read_product(path, read_text(path, 4 * MAX_CHARACTERS), paths)
