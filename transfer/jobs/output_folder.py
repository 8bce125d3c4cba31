"""† A job's folder: whose it is, what is done in it, and its tables.

job.json        what made it; another job does not get in
people.csv      each person's pictures
images/         the outputs; or
shards/         the outputs of a chunk in one file each
rows/           what is known of a chunk, written when its outputs are there: a chunk is done when
                its two tables are whole and its outputs have the sizes that they tell
results.csv     one row an output, in the plan's order
inputs.csv      every picture read: role, bits/dim, round-trip error
failures.csv    outputs that could not be made, pictures that could not be used, and why (if any)
results.parquet the results with numbers as numbers, where pyarrow is installed
"""

import contextlib
import csv
import dataclasses
import fcntl
import importlib.util
import io
import itertools
import json
import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.files import write_atomically
from glow_jax.io.messages import one_line, reason
from transfer.jobs.plan import METHODS, Job

RESULT_FIELDS = [
    "id",
    "expression",
    "source",
    "target",
    "alpha",
    "file",
    "seconds",
    "round_trip_error",
    "bits_per_dim",
    "non_finite_pixels",
    "clipped_share",
    "edit_kept",
    "method",
    "line",
    "user_id",
]
TROUBLE_FIELDS = ["id", "line", "stage", "path", "reason"]
ROW_FIELDS = [*RESULT_FIELDS, "row", "bytes", "left_out", "stage", "path", "reason"]
INPUT_FIELDS = [
    "file",
    "role",
    "sha256",
    "bits_per_dim",
    "round_trip_error",
    "round_trip_mean_error",
    "redone_in_exact",
]
CHUNK_INPUT_FIELDS = [*INPUT_FIELDS, "reason"]
NUMBERS = {
    "alpha": "float64",
    "seconds": "float64",
    "round_trip_error": "float64",
    "bits_per_dim": "float64",
    "non_finite_pixels": "int64",
    "clipped_share": "float64",
    "edit_kept": "float64",
    "line": "int64",
}
PARQUET_ROWS = 65_536

Row = dict[str, Any]


# -- whose it is


def check(out: Path, job: Job) -> dict[str, Any] | None:
    """What job.json of the folder tells of its first run; None for a new folder.

    Raises:
        InputError: the folder holds something else.
    """
    there = read_description(out)
    if there is not None:
        if there["digest"] != job.digest:
            raise InputError(f"{one_line(out)}: holds another job; choose a new output folder")
        return there
    # A hidden file is all that a run killed before its job.json leaves.
    taken = out.exists() and not out.is_dir()
    if taken or (out.is_dir() and any(not p.name.startswith(".") for p in out.iterdir())):
        why = "exists and holds no job of ours; choose a new output folder"
        raise InputError(f"{one_line(out)}: {why}")
    return None


@contextlib.contextmanager
def claimed(out: Path, job: Job, description: Mapping[str, Any], share: str) -> Iterator[None]:
    """Make the folder where it is new, and hold a share of its work, "1/2" say.

    The system lets go of it when the process ends, however it ends.

    Args:
        out: a folder that passed `check`.
        job: what is to be made.
        description: of how, as JSON values, for whoever wants to repeat it.
        share: that no other process may work on.

    Raises:
        InputError: another process does, or the folder cannot be made.
    """
    make_folders(out)
    with contextlib.ExitStack() as stack:
        try:
            lock = stack.enter_context(open(out / f".lock-{share.replace('/', '-of-')}", "wb"))
        except OSError as error:
            raise InputError(f"{one_line(out)}: {reason(error)}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{one_line(out)}: another run works in it; wait for it") from None
        _sweep(out)
        _write_people(out / "people.csv", job)
        # A mended picture may be another one's equal: there are fewer outputs then, or more.
        size: dict[str, Any] = {
            "digest": job.digest,
            "outputs": len(job.order),
            "chunks": job.n_chunks,
        }
        first = read_description(out)
        told = (
            size
            | {"chunk_size": job.chunk_size, "how": job.how}
            | (first or dict(description))
            | size
        )
        if told != first:
            write_atomically(out / "job.json", (json.dumps(told, indent=2) + "\n").encode())
        yield
        _sweep(out)  # workers may have been killed meanwhile


def _sweep(out: Path) -> None:
    """Remove what a killed run left half written, unless another run is at work here."""
    left = [p for folder in (out, out / "rows", out / "images") for p in folder.glob(".*.tmp")]
    left += (out / "images").glob("*/.*.tmp")
    # Whoever writes such a file holds a lock, and did when we saw it.
    mine = 0
    for file in out.glob(".lock-*"):
        with open(file, "wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                mine += 1
    if mine == 1:
        for path in left:
            path.unlink(missing_ok=True)


def make_folders(out: Path) -> None:
    """The folders that outputs and rows go into."""
    try:
        for name in ("images", "rows"):
            (out / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{one_line(out)}: cannot be made ({reason(error)})") from None


def read_description(out: Path) -> dict[str, Any] | None:
    """What job.json of a folder tells, or None where there is none.

    Raises:
        InputError: it is damaged.
    """
    file = out / "job.json"
    if not file.exists():
        return None
    try:
        there = json.loads(file.read_text(encoding="utf-8"))
        if not all(isinstance(there[name], int) for name in ("outputs", "chunks", "chunk_size")):
            raise TypeError
        if not isinstance(there["digest"], str):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError):
        why = "not a readable job; choose a new output folder"
        raise InputError(f"{one_line(file)}: {why}") from None
    return there


def _write_people(path: Path, job: Job) -> None:
    files, sha256 = job.plan.files, job.sha256
    used = set(np.unique(job.plan.source).tolist()) | set(np.unique(job.plan.target).tolist())
    rows = (
        {"person": name, "file": files[i], "sha256": sha256[i]}
        for person, name in enumerate(job.plan.names)
        if person in used
        for i in job.plan.pictures[person]
    )
    write_table(path, ["person", "file", "sha256"], rows)


# -- what is done


def rows_file(out: Path, chunk: int) -> Path:
    return out / "rows" / f"{chunk:07d}.csv"


def inputs_file(out: Path, chunk: int) -> Path:
    return out / "rows" / f"{chunk:07d}.inputs.csv"


def rows_of_chunk(out: Path, chunk: int) -> list[Row] | None:
    """The rows of a chunk that is done, or None. A table that is damaged is none."""
    rows = _read_table(rows_file(out, chunk), ROW_FIELDS)
    if rows is None or _read_table(inputs_file(out, chunk), CHUNK_INPUT_FIELDS) is None:
        return None
    if len(_files(rows)) < len({row["file"].partition("#")[0] for row in rows}):
        return None
    sizes = {row["file"].partition("#")[0]: row["bytes"] for row in rows if not row["stage"]}
    for file, size in sizes.items():
        try:
            if str(os.stat(out / file).st_size) != size:
                return None
        except OSError:
            return None
    return rows


def is_done(out: Path, job: Job, chunk: int, *, retry_failed: bool = False) -> bool:
    """Whether a chunk of this job, with the pictures as they are now, is done.

    `retry_failed`: not where a picture could not be used, of an output that was made either.
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
    """Remove a chunk's tables, and those of its outputs that no longer are what it makes."""
    rows = _read_table(rows_file(out, chunk), ROW_FIELDS) or []
    for path in (rows_file(out, chunk), inputs_file(out, chunk)):
        path.unlink(missing_ok=True)
    for file in _files(rows):
        (out / file).unlink(missing_ok=True)


def _files(rows: Iterable[Row]) -> set[str]:
    """The files of rows, but for what a stranger's table may name outside of the folder."""
    files = {row["file"].partition("#")[0] for row in rows}
    return {
        file
        for file in files
        if file.startswith(("images/", "shards/")) and ".." not in Path(file).parts
    }


def commit(out: Path, chunk: int, rows: Iterable[Row], inputs: Iterable[Row]) -> None:
    """Write a chunk's tables; the second makes it done."""
    write_table(inputs_file(out, chunk), CHUNK_INPUT_FIELDS, inputs)
    write_table(rows_file(out, chunk), ROW_FIELDS, rows)


# -- tables


@dataclasses.dataclass(frozen=True)
class Totals:
    """Of a folder's tables.

    Attributes:
        outputs: that are there.
        failed: that could not be made.
        bad_inputs: pictures that could not be used.
        missing: outputs of chunks that are not done.
        non_finite: outputs with a non-finite pixel.
        max_error: largest round-trip error of a picture, grey levels.
        redone: pictures encoded again by the exact codec.
        parquet: whether results.parquet was written.
    """

    outputs: int
    failed: int
    bad_inputs: int
    missing: int
    non_finite: int
    max_error: float
    redone: int
    parquet: bool


def write_tables(out: Path) -> Totals:
    """Gather the rows of all chunks that are done into the folder's tables, in the plan's order.

    Rows go through a file without a name, so that any number of them needs little memory.
    """
    told = read_description(out)
    if told is None:
        raise InputError(f"{one_line(out)}: holds no job")
    places = np.full(told["outputs"], -1, np.int64)  # of rows in the file, by number
    keys = np.zeros(told["outputs"], np.int64)
    n = failed = bad = non_finite = redone = 0
    worst = 0.0
    with contextlib.ExitStack() as stack:
        # TextIOWrapper's tell is slow; the line is made in memory and its length known.
        lines = stack.enter_context(tempfile.TemporaryFile(dir=out))
        inputs = stack.enter_context(_Table(out / "inputs.csv", INPUT_FIELDS))
        failures = stack.enter_context(_Table(out / "failures.csv", TROUBLE_FIELDS, optional=True))
        at = 0
        for chunk in range(told["chunks"]):
            rows = _read_table(rows_file(out, chunk), ROW_FIELDS)
            pictures = _read_table(inputs_file(out, chunk), CHUNK_INPUT_FIELDS)
            if rows is None or pictures is None:
                continue
            for row in pictures:
                if row["reason"]:
                    bad += 1
                    trouble = {"stage": "read", "path": row["file"], "reason": row["reason"]}
                    failures.write(dict.fromkeys(TROUBLE_FIELDS, "") | trouble)
                    continue
                inputs.write(row)
                worst = max(worst, float(row["round_trip_error"]))
                redone += row["redone_in_exact"] == "1"
            for row in rows:
                if row["stage"]:
                    failed += 1
                    failures.write(row)
                    continue
                worst = max(worst, float(row["round_trip_error"]))
                line = _line([row[name] for name in RESULT_FIELDS]).encode(errors=SURROGATES)
                lines.write(line)
                places[n], keys[n] = at, int(row["row"])
                at, n = at + len(line), n + 1
                non_finite += row["non_finite_pixels"] != "0"
        lines.flush()
        ends = np.append(places[1:n], at)
        with _Table(out / "results.csv", RESULT_FIELDS) as results:
            for i in np.argsort(keys[:n], kind="stable").tolist():
                size = int(ends[i] - places[i])
                results.write_line(os.pread(lines.fileno(), size, int(places[i])))
    parquet = _write_parquet(out)
    missing = told["outputs"] - n - failed
    return Totals(n, failed, bad, missing, non_finite, worst, redone, parquet)


def merge(outs: Sequence[Path], out: Path) -> Totals:
    """Bring the chunks of one job that were done in several folders into one, and gather them.

    Files are linked where the disk allows it, else copied.

    Args:
        outs: folders of `glow-jax batch --shard`, of the same job.
        out: one of them, or a new folder, or an earlier merge's.

    Raises:
        InputError: they hold different jobs, or none.
    """
    told = [read_description(folder) for folder in outs]
    for folder, description in zip(outs, told, strict=True):
        if description is None:
            raise InputError(f"{one_line(folder)}: holds no job")
        assert told[0] is not None
        if description["digest"] != told[0]["digest"]:
            why = f"holds another job than {one_line(outs[0])}"
            raise InputError(f"{one_line(folder)}: {why}; merge shards of one job")
    there = read_description(out)
    assert told[0] is not None
    if there is None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{one_line(out)}: exists and holds no job of ours")
        make_folders(out)
        for name in ("people.csv", "job.json"):
            _link(outs[0] / name, out / name)
    elif there["digest"] != told[0]["digest"]:
        raise InputError(f"{one_line(out)}: holds another job; choose a new output folder")
    for folder in outs:
        if not (out.exists() and os.path.samefile(folder, out)):
            for chunk in range(told[0]["chunks"]):
                if rows_of_chunk(out, chunk) is None:
                    _bring(folder, out, chunk)
    return write_tables(out)


def _bring(folder: Path, out: Path, chunk: int) -> None:
    rows = rows_of_chunk(folder, chunk)
    if rows is None:
        return
    for file in {row["file"].partition("#")[0] for row in rows if not row["stage"]}:
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        _link(folder / file, out / file)
    _link(inputs_file(folder, chunk), inputs_file(out, chunk))
    _link(rows_file(folder, chunk), rows_file(out, chunk))


def _link(source: Path, target: Path) -> None:
    """A file under a second name, whole or not at all; a copy where that cannot be."""
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        os.link(source, temporary)
    except OSError:
        write_atomically(target, source.read_bytes())
        return
    os.replace(temporary, target)
    with contextlib.suppress(OSError):  # rename does nothing where both are the same file
        temporary.unlink()


# -- files of rows

SURROGATES = "surrogateescape"  # names of files need not be UTF-8


class _Table:
    """A CSV that is written row by row and appears when it is whole; or, without rows, is gone."""

    def __init__(self, path: Path, fields: Sequence[str], optional: bool = False):
        self._path, self._fields, self._optional = path, fields, optional
        self._temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
        self._n = 0

    def __enter__(self) -> "_Table":
        try:
            self._file = open(self._temporary, "xb")
        except OSError as error:
            raise InputError(f"{one_line(self._path)}: {reason(error)}") from None
        self._file.write(_line(self._fields).encode())
        return self

    def write(self, row: Mapping[str, Any]) -> None:
        line = _line([row[name] for name in self._fields])
        self.write_line(line.encode(errors=SURROGATES))

    def write_line(self, line: bytes) -> None:
        self._file.write(line)
        self._n += 1

    def __exit__(self, kind: Any, *_: object) -> None:
        try:
            self._file.close()
            if kind is None and (self._n or not self._optional):
                os.replace(self._temporary, self._path)
            elif kind is None:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"{one_line(self._path)}: {reason(error)}") from None
        finally:
            self._temporary.unlink(missing_ok=True)


def write_table(path: Path, fields: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV, all of it or nothing."""
    with _Table(path, fields) as table:
        for row in rows:
            table.write(row)


def _line(cells: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _read_table(path: Path, fields: Sequence[str]) -> list[Row] | None:
    """Rows of a whole table with these columns, or None."""
    try:
        with open(path, encoding="utf-8", errors=SURROGATES, newline="") as file:
            text = file.read()
        if not text.endswith("\n"):
            return None
        cells = list(csv.reader(io.StringIO(text), strict=True))
    except (OSError, csv.Error):
        return None
    if not cells or cells[0] != list(fields) or any(len(row) != len(fields) for row in cells):
        return None
    return [dict(zip(fields, row, strict=True)) for row in cells[1:]]


def _write_parquet(out: Path) -> bool:
    """results.csv with numbers as numbers; False where pyarrow is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        return False
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {"float64": pa.float64(), "int64": pa.int64()}
    types = [kinds[NUMBERS[n]] if n in NUMBERS else pa.string() for n in RESULT_FIELDS]
    schema = pa.schema(list(zip(RESULT_FIELDS, types, strict=True)))
    temporary = out / f".{uuid.uuid4().hex}.tmp"
    try:
        with (
            open(out / "results.csv", encoding="utf-8", errors="replace", newline="") as file,
            parquet.ParquetWriter(temporary, schema) as writer,
        ):
            for columns in _columns(file):
                arrays = [pa.array(columns[f.name], f.type) for f in schema]
                writer.write_batch(pa.record_batch(arrays, schema=schema))
        os.replace(temporary, out / "results.parquet")
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _columns(file: TextIO) -> Iterator[dict[str, list[Any]]]:
    """Columns of a table, some rows at a time; an empty number is None."""
    reader = csv.reader(file)
    header = next(reader)
    while rows := list(itertools.islice(reader, PARQUET_ROWS)):
        columns: dict[str, list[Any]] = {}
        for name, cells in zip(header, zip(*rows, strict=True), strict=True):
            parse = {"float64": float, "int64": int}.get(NUMBERS.get(name, ""))
            columns[name] = (
                list(cells) if parse is None else [parse(c) if c else None for c in cells]
            )
        yield columns


def row_of(job: Job, row: int, file: str | None = None) -> Row:
    """What is known of an output before it is made; `file` where it is not its own."""
    item = job.item(row)
    return dict.fromkeys(ROW_FIELDS, "") | {
        "id": item.id,
        "expression": item.expression,
        "source": item.source,
        "target": item.target,
        "alpha": "" if np.isnan(item.alpha) else repr(item.alpha),
        "file": item.file if file is None else file,
        "method": METHODS[job.plan.method[row]],
        "line": item.line or "",
        "user_id": item.user_id,
        "row": row,
    }
