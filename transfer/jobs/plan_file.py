"""Jobs from files: a table (.csv), or a cross product (.toml, .yaml). All of it is checked.

JOB.csv (or .tsv), saved by any spreadsheet (`glow_jax.io.given_tables`), has a row an output, with
the columns

    expression   a picture; a folder or a glob is a row for each of its pictures
    source       whose expression it is: a folder, a glob or one picture of that person; empty
                 where there is no picture of that person but the expression's
    target       who is to wear it: the same
    alpha        how much of it: a number, or "auto" for the largest inside a trust region
    method       (may be missing or empty) warp or paper
    id           (may be missing or empty) a name of your own, once in the table

A cross product makes every expression of every source on every target, at every alpha:

    alphas = [0.5, 1.0, "auto", "0.3:0.5:0.1"]
    targets = ["people/*"]                  # a glob of folders is a person each
    method = "warp"                         # may be missing
    [[sources]]
    person = "people/ann"                   # may be missing
    expressions = ["shots/ann", "shots/ann-extra.png"]

Paths are relative to the file's folder. Nothing of a picture is read here but that it is there.
"""

import os
from pathlib import Path

from glow_jax.io.errors import InputError
from glow_jax.io.given_tables import read_text, workbook
from glow_jax.io.messages import one_line
from transfer.jobs.plan import Plan
from transfer.jobs.plan_csv import read_csv
from transfer.jobs.plan_paths import Errors, JobErrors, Paths
from transfer.jobs.plan_product import MAX_CHARACTERS, read_product

TABLES = (".csv", ".tsv")
ENDINGS = (".csv", ".toml", ".yaml", ".yml", ".tsv")

__all__ = ["JobErrors", "read_plan"]


def read_plan(path: str | os.PathLike[str]) -> Plan:
    """Read a job's file, and check all of it.

    Raises:
        JobErrors: something in it is wrong; each error has the file's name and a line number.
        InputError: it cannot be read.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if why := workbook(path):
        raise InputError(why)
    if kind not in ENDINGS:
        raise InputError(f"{one_line(path)}: not a job; use {', '.join(ENDINGS)}")
    paths = Paths(os.path.dirname(path), Errors(one_line(path)))
    if kind in TABLES:
        return read_csv(path, paths)
    return read_product(path, read_text(path, 4 * MAX_CHARACTERS), paths)
