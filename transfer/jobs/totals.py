"""The tables of a whole folder, gathered from those of its chunks."""

import contextlib
import dataclasses
import itertools
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line
from glow_jax.io.output_schema import (
    ABSOLUTE,
    CHUNK_INPUT_FIELDS,
    FAILURES,
    INPUT_FIELDS,
    INPUTS,
    NOTHING,
    NUMBERS,
    RESULT_FIELDS,
    RESULTS,
    ROW_FIELDS,
    TROUBLE_FIELDS,
)
from glow_jax.io.packages import installed
from glow_jax.io.tables import SURROGATES, TableWriter, csv_line, read_cells, read_table
from transfer.jobs.output_folder import inputs_file, read_description, rows_file

PARQUET_ROWS = 65_536  # that are held in memory


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
        absolute: outputs whose expression was estimated without a neutral picture of the source.
        nothing: outputs whose expression does not differ from neutral by more than the noise.
        parquet: whether results.parquet was written.
    """

    outputs: int
    failed: int
    bad_inputs: int
    missing: int
    non_finite: int
    max_error: float
    redone: int
    absolute: int
    nothing: int
    parquet: bool


def write_tables(out: Path) -> Totals:
    """Gather the rows of all chunks that are done into the folder's tables, in the plan's order.

    Rows go through a file without a name, so that any number of them needs little memory.
    """
    description = read_description(out)
    if description is None:
        raise InputError(f"{one_line(out)}: holds no job")
    places = np.full(description["outputs"], -1, np.int64)  # of rows in the file, by number
    keys = np.zeros(description["outputs"], np.int64)
    n = failed = bad = non_finite = redone = absolute = nothing = 0
    worst = 0.0
    with contextlib.ExitStack() as stack:
        # Lines are made in memory, whose lengths are known: TextIOWrapper.tell is slow.
        lines = stack.enter_context(tempfile.TemporaryFile(dir=out))
        inputs = stack.enter_context(TableWriter(out / INPUTS, INPUT_FIELDS))
        failures = stack.enter_context(TableWriter(out / FAILURES, TROUBLE_FIELDS, optional=True))
        at = 0
        for chunk in range(description["chunks"]):
            rows = read_table(rows_file(out, chunk), ROW_FIELDS)
            pictures = read_table(inputs_file(out, chunk), CHUNK_INPUT_FIELDS)
            if rows is None or pictures is None:
                continue
            for row in pictures:
                if row["reason"]:
                    bad += 1
                    trouble = {"stage": "read", "path": row["file"], "reason": row["reason"]}
                    failures.write(dict.fromkeys(TROUBLE_FIELDS, "") | trouble)
                    continue
                inputs.write(row)
                worst = float(np.maximum(worst, float(row["round_trip_error"])))  # keeps a NaN
                redone += row["redone_in_exact"] == "1"
            for row in rows:
                if row["stage"]:
                    failed += 1
                    failures.write(row)
                    continue
                worst = float(np.maximum(worst, float(row["round_trip_error"])))  # keeps a NaN
                line = csv_line([row[name] for name in RESULT_FIELDS]).encode(errors=SURROGATES)
                lines.write(line)
                places[n], keys[n] = at, int(row["row"])
                at, n = at + len(line), n + 1
                non_finite += row["non_finite_pixels"] != "0"
                absolute += ABSOLUTE in row["note"]
                nothing += NOTHING in row["note"]
        lines.flush()
        ends = np.append(places[1:n], at)
        with TableWriter(out / RESULTS, RESULT_FIELDS) as results:
            for i in np.argsort(keys[:n], kind="stable").tolist():
                size = int(ends[i] - places[i])
                results.write_line(os.pread(lines.fileno(), size, int(places[i])))
    parquet = _write_parquet(out)
    missing = description["outputs"] - n - failed
    return Totals(n, failed, bad, missing, non_finite, worst, redone, absolute, nothing, parquet)


def _write_parquet(out: Path) -> bool:
    """results.csv with numbers as numbers; False where pyarrow is not installed."""
    if not installed("pyarrow"):
        return False
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {"float64": pa.float64(), "int64": pa.int64()}
    types = [kinds[NUMBERS[n]] if n in NUMBERS else pa.string() for n in RESULT_FIELDS]
    schema = pa.schema(list(zip(RESULT_FIELDS, types, strict=True)))
    temporary = out / f".{uuid.uuid4().hex}.tmp"
    try:
        with (
            open(out / RESULTS, encoding="utf-8", errors="replace", newline="") as file,
            open(temporary, "xb") as made,  # pyarrow takes no path that is not UTF-8
            parquet.ParquetWriter(made, schema) as writer,
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
    cells = read_cells(file)
    header = next(cells)
    while rows := list(itertools.islice(cells, PARQUET_ROWS)):
        columns: dict[str, list[Any]] = {}
        for name, column in zip(header, zip(*rows, strict=True), strict=True):
            parse = {"float64": float, "int64": int}.get(NUMBERS.get(name, ""))
            columns[name] = (
                list(column) if parse is None else [parse(c) if c else None for c in column]
            )
        yield columns
