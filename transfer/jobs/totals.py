"""Write the tables of a whole output folder from the tables of its chunks."""

import contextlib
import csv
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
from glow_jax.io.tables import SURROGATES, TableWriter, csv_line, read_table
from transfer.jobs.output_folder import inputs_file, read_description, rows_file

PARQUET_ROWS = 65_536  # rows in memory while results.parquet is written


@dataclasses.dataclass(frozen=True)
class Totals:
    """Counts over an output folder.

    Attributes:
        outputs: number of outputs that were made.
        failed: number of outputs that could not be made.
        bad_inputs: number of pictures that could not be used.
        missing: number of outputs in chunks that are not done.
        non_finite: number of outputs with a non-finite pixel.
        max_error: largest round-trip error of an input picture, grey levels.
        redone: number of input pictures that the exact codec had to encode.
        absolute: number of outputs whose expression was estimated without a neutral picture of
            the source.
        nothing: number of outputs whose expression differs from neutral by no more than the noise.
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
    """Write the folder's tables from the rows of all chunks that are done, in the plan's order.

    Rows are sorted through a temporary file, so that memory does not grow with their number.
    """
    description = read_description(out)
    if description is None:
        raise InputError(f"{one_line(out)}: holds no glow-jax job")
    # Positions of rows in the temporary file, by row number.
    places = np.full(description["outputs"], -1, np.int64)
    keys = np.zeros(description["outputs"], np.int64)
    n = failed = bad = non_finite = redone = absolute = nothing = 0
    worst = 0.0
    with contextlib.ExitStack() as stack:
        # Positions are sums of the lengths of lines, because TextIOWrapper.tell is slow.
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
    """Write results.parquet, which has numbers as numbers; False if pyarrow is not installed."""
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
    """The columns of a table, PARQUET_ROWS rows at a time; an empty number becomes None."""
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
