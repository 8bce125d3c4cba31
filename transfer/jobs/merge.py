"""Merge output folders that hold different chunks of one job."""

import contextlib
import os
import stat
import uuid
from collections.abc import Sequence
from pathlib import Path

from glow_jax.io.errors import InputError
from glow_jax.io.files import read_bytes, write_atomically
from glow_jax.io.messages import one_line
from glow_jax.io.output_folders import make_folder
from glow_jax.io.output_schema import JOB, PEOPLE
from transfer.jobs.output_folder import (
    chunks_on_disk,
    inputs_file,
    make_folders,
    read_description,
    rows_file,
    rows_of_chunk,
)
from transfer.jobs.totals import Totals, write_tables

MAX_SHARD_BYTES = 2**32  # of a file that is copied


def merge(outs: Sequence[Path], out: Path) -> Totals:
    """Merge output folders that hold different chunks of one job, and write the tables of all.

    Files are hard-linked if the disk allows it, otherwise copied.

    Args:
        outs: output folders of the shards of one job.
        out: one of these folders, a new folder, or the folder of an earlier merge.

    Raises:
        InputError: the folders hold different jobs, or one of them holds no job.
    """
    digest, n_chunks = _one_job(outs)
    there = read_description(out)
    if there is None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(
                f"{one_line(out)}: exists, but holds no glow-jax job; choose a new output folder"
            )
        make_folders(out)
        for name in (PEOPLE, JOB):
            _link(outs[0] / name, out / name)
    elif there["digest"] != digest:
        raise InputError(f"{one_line(out)}: holds another job; choose a new output folder")
    for folder in outs:
        if not (out.exists() and os.path.samefile(folder, out)):
            for chunk in chunks_on_disk(folder):
                if chunk < n_chunks and rows_of_chunk(out, chunk) is None:
                    _bring(folder, out, chunk)
    return write_tables(out)


def _one_job(outs: Sequence[Path]) -> tuple[str, int]:
    """The digest and the number of chunks of the job in the folders."""
    digest, n_chunks = "", 0
    for folder in outs:
        description = read_description(folder)
        if description is None:
            raise InputError(f"{one_line(folder)}: holds no glow-jax job")
        digest = digest or description["digest"]
        n_chunks = n_chunks or description["chunks"]
        if description["digest"] != digest:
            why = f"holds another job than {one_line(outs[0])}"
            raise InputError(f"{one_line(folder)}: {why}; merge shards of one job")
    return digest, n_chunks


def _bring(folder: Path, out: Path, chunk: int) -> None:
    rows = rows_of_chunk(folder, chunk)
    if rows is None:
        return
    for file in {row["file"].partition("#")[0] for row in rows if not row["stage"]}:
        make_folder(out, Path(file).parent)
        _link(folder / file, out / file)
    _link(inputs_file(folder, chunk), inputs_file(out, chunk))
    _link(rows_file(folder, chunk), rows_file(out, chunk))


def _link(source: Path, target: Path) -> None:
    """A file under a second name, whole or not at all; a copy where that cannot be.

    Raises:
        InputError: it is no ordinary file, or cannot be read or written.
    """
    if not stat.S_ISREG(source.lstat().st_mode):  # a link's second name is the same link
        raise InputError(f"{one_line(source)}: is not an ordinary file")
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        os.link(source, temporary)
    except OSError:
        write_atomically(target, read_bytes(source, MAX_SHARD_BYTES))
        return
    os.replace(temporary, target)
    with contextlib.suppress(OSError):  # rename does nothing where both are the same file
        temporary.unlink()
