"""The output folder of a job during a run: its lock, its description, and which chunks are done.

A chunk is done when its two tables in `rows/` are complete and its outputs have the sizes that the
tables give. `glow_jax.io.output_schema` lists all files and tables.
"""

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.files import read_bytes, write_atomically
from glow_jax.io.locks import LockedError, exclusive, is_held
from glow_jax.io.messages import one_line, reason
from glow_jax.io.output_folders import has_folder, make_folder, remove_file, temporary_files
from glow_jax.io.output_schema import (
    CHUNK_INPUT_FIELDS,
    IMAGES,
    JOB,
    PEOPLE,
    PEOPLE_FIELDS,
    ROW_FIELDS,
    ROWS,
)
from glow_jax.io.tables import Row, read_table, write_table
from transfer.jobs.job import Job

MAX_JOB_BYTES = 2**24  # of job.json
MAX_OUTPUTS = 2**31  # of a job, and chunks


def check(out: Path, job: Job) -> dict[str, Any] | None:
    """The content of the folder's job.json, from the job's first run; None for a new folder.

    Raises:
        InputError: the folder holds another job, or other files.
    """
    there = read_description(out)
    if there is not None:
        if there["digest"] != job.digest:
            raise InputError(f"{one_line(out)}: holds another job; choose a new output folder")
        return there
    # A run that is killed before it writes job.json leaves hidden files only.
    taken = out.exists() and not out.is_dir()
    if taken or (out.is_dir() and any(not p.name.startswith(".") for p in out.iterdir())):
        why = "exists, but holds no glow-jax job; choose a new output folder"
        raise InputError(f"{one_line(out)}: {why}")
    return None


@contextlib.contextmanager
def claimed(out: Path, job: Job, description: Mapping[str, Any], share: str) -> Iterator[None]:
    """Make the folder if it is new, and lock a share of the job for this process.

    The system releases the lock when the process ends, however it ends.

    Args:
        out: a folder that passed `check`.
        job: the job.
        description: settings of the run as JSON values, for job.json of a new folder.
        share: the share of the job, such as "1/2".

    Raises:
        InputError: another process has locked the share, or the folder cannot be made.
    """
    make_folders(out)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(exclusive(out / f".lock-{share.replace('/', '-of-')}"))
        except LockedError as error:
            why = f"another run uses this folder; wait until it ends ({error})"
            raise InputError(f"{one_line(out)}: {why}") from None
        _sweep(out)
        _write_people(out / PEOPLE, job)
        # These numbers can change between runs: when a picture is repaired, it may become equal to
        # another picture, or differ from it, and rows that ask for the same output are made once.
        size: dict[str, Any] = {
            "digest": job.digest,
            "outputs": len(job.order),
            "chunks": job.n_chunks,
        }
        first = read_description(out)
        content = (
            size
            | {"chunk_size": job.chunk_size, "how": job.how}
            | (first or dict(description))
            | size
        )
        if content != first:
            write_atomically(out / JOB, (json.dumps(content, indent=2) + "\n").encode())
        yield
        _sweep(out)  # a worker process may have been killed during the run


def _sweep(out: Path) -> None:
    """Remove what a killed run left half written, unless another run is at work here."""
    left = [path for inside in ("", ROWS, IMAGES) for path in temporary_files(out, inside)]
    for folder in (out / IMAGES).iterdir():
        left += temporary_files(out, IMAGES, folder.name)
    # Whoever writes such a file holds a lock, and did when we saw it.
    if sum(map(is_held, out.glob(".lock-*"))) == 1:
        for path in left:
            remove_file(out, path.relative_to(out))


def make_folders(out: Path) -> None:
    """The folders that outputs and rows go into."""
    for name in (IMAGES, ROWS):
        make_folder(out, name)


def read_description(out: Path) -> dict[str, Any] | None:
    """The content of a folder's job.json; None if the folder has none.

    Raises:
        InputError: job.json is damaged.
    """
    file = out / JOB
    if not os.path.lexists(file):
        return None
    try:
        there = json.loads(read_bytes(file, MAX_JOB_BYTES))
        sizes = [there[name] for name in ("outputs", "chunks", "chunk_size")]
        known = isinstance(there["digest"], str) and isinstance(there.get("how", {}), dict)
        known &= all(type(n) is int and 0 <= n <= MAX_OUTPUTS for n in sizes)
    except (ValueError, KeyError, TypeError, RecursionError):
        known = False
    if not known:
        why = "not a readable job; choose a new output folder"
        raise InputError(f"{one_line(file)}: {why}")
    return dict(there)


def _write_people(path: Path, job: Job) -> None:
    files, sha256 = job.plan.files, job.sha256
    used = set(np.unique(job.plan.source).tolist()) | set(np.unique(job.plan.target).tolist())
    rows = (
        {"person": name, "file": files[i], "sha256": sha256[i]}
        for person, name in enumerate(job.plan.names)
        if person in used
        for i in job.plan.pictures[person]
    )
    write_table(path, PEOPLE_FIELDS, rows)


# -- chunks that are done


def chunks_on_disk(out: Path) -> list[int]:
    """The numbers of the chunks that have tables, in order; done or not.

    Raises:
        InputError: the folder of the tables cannot be listed.
    """
    if not has_folder(out, ROWS):
        return []
    try:
        names = os.listdir(out / ROWS)
    except OSError as error:
        raise InputError(f"{one_line(out / ROWS)}: {reason(error)}") from None
    return sorted(int(name[:-4]) for name in names if re.fullmatch(r"\d{7,10}\.csv", name, re.A))


def rows_file(out: Path, chunk: int) -> Path:
    return out / ROWS / f"{chunk:07d}.csv"


def inputs_file(out: Path, chunk: int) -> Path:
    return out / ROWS / f"{chunk:07d}.inputs.csv"


def rows_of_chunk(out: Path, chunk: int) -> list[Row] | None:
    """The rows of a chunk that is done; None if it is not done, or one of its tables is damaged."""
    rows = read_table(rows_file(out, chunk), ROW_FIELDS)
    if rows is None or read_table(inputs_file(out, chunk), CHUNK_INPUT_FIELDS) is None:
        return None
    if len(_files(rows)) < len({row["file"].partition("#")[0] for row in rows}):
        return None
    sizes = {row["file"].partition("#")[0]: row["bytes"] for row in rows if not row["stage"]}
    for file, size in sizes.items():
        try:
            status = os.lstat(out / file)
            if not stat.S_ISREG(status.st_mode) or str(status.st_size) != size:
                return None
        except (OSError, ValueError):
            return None
    return rows


def is_done(out: Path, job: Job, chunk: int, *, retry_failed: bool = False) -> bool:
    """Whether a chunk is done for this job, with the present contents of the pictures.

    Args:
        out: the output folder.
        job: the job.
        chunk: number of the chunk.
        retry_failed: a chunk in which an output could not be made, or an output was made without a
            picture that could not be used, counts as not done.
    """
    rows = rows_of_chunk(out, chunk)
    if rows is None:
        return False
    if retry_failed and any(row["stage"] or row["left_out"] != "0" for row in rows):
        return False
    wanted = job.chunk(chunk)
    ids = [f"{value:016x}" for value in job.ids[wanted].tolist()]
    return [row["id"] for row in rows] == ids and [row["row"] for row in rows] == [
        str(row) for row in wanted.tolist()
    ]


def forget(out: Path, chunk: int) -> None:
    """Remove a chunk's tables and the outputs that these tables list."""
    rows = read_table(rows_file(out, chunk), ROW_FIELDS) or []
    for path in (rows_file(out, chunk), inputs_file(out, chunk)):
        remove_file(out, path.relative_to(out))
    for file in _files(rows):
        with contextlib.suppress(InputError):  # whoever writes it says so
            remove_file(out, file)


def _files(rows: Iterable[Row]) -> set[str]:
    """The output files of rows, without paths that lead out of the folder (a forged table)."""
    files = {row["file"].partition("#")[0] for row in rows}
    return {
        file
        for file in files
        if file.startswith(("images/", "shards/")) and ".." not in Path(file).parts
    }


def commit(out: Path, chunk: int, rows: Iterable[Row], inputs: Iterable[Row]) -> None:
    """Write a chunk's two tables; the chunk is done when the second is written."""
    write_table(inputs_file(out, chunk), CHUNK_INPUT_FIELDS, inputs)
    write_table(rows_file(out, chunk), ROW_FIELDS, rows)
