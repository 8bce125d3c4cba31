"""Write the tables of a whole output folder from the tables of its chunks."""

import array
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
from glow_jax.io.messages import one_line, reason
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
from glow_jax.io.tables import SURROGATES, Row, TableWriter, csv_line, read_cells, read_table
from glow_jax.io.unfinished import unfinished
from transfer.jobs.output_folder import chunks_on_disk, inputs_file, read_description, rows_file

PARQUET_ROWS = 65_536  # that are held in memory
NEEDED = ("round_trip_error", "row")  # numbers of an output that was made


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
        reduced: number of outputs with less than the whole edit, because that did not decode.
        hidden: number of photographs in which the eyes or the mouth may be hidden.
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
    reduced: int
    hidden: int
    parquet: bool


def write_tables(out: Path) -> Totals:
    """Write the folder's tables from the rows of all chunks that are done, in the plan's order.

    Rows are sorted through a temporary file, so that memory does not grow with their number.
    """
    description = read_description(out)
    if description is None:
        raise InputError(f"{one_line(out)}: holds no job")
    places, keys = array.array("q"), array.array("q")  # of rows: in the file, and in the plan
    failed = bad = non_finite = redone = absolute = nothing = reduced = hidden = at = 0
    worst = 0.0
    with contextlib.ExitStack() as stack:
        # Positions are sums of the lengths of lines, because TextIOWrapper.tell is slow.
        lines = stack.enter_context(tempfile.TemporaryFile(dir=out))
        inputs = stack.enter_context(TableWriter(out / INPUTS, INPUT_FIELDS))
        failures = stack.enter_context(TableWriter(out / FAILURES, TROUBLE_FIELDS, optional=True))
        for row in _rows_of_inputs_and_outputs(out, description["chunks"]):
            if "row" not in row and row["reason"]:
                bad += 1
                trouble = {"stage": "read", "path": row["file"], "reason": row["reason"]}
                failures.write(dict.fromkeys(TROUBLE_FIELDS, "") | trouble)
                continue
            if row.get("stage"):
                failed += 1
                failures.write(row)
                continue
            worst = float(np.maximum(worst, float(row["round_trip_error"])))  # keeps a NaN
            if "row" not in row:
                inputs.write(row)
                redone += row["redone_in_exact"] == "1"
                hidden += bool(row["hidden"])
                continue
            line = csv_line([row[name] for name in RESULT_FIELDS]).encode(errors=SURROGATES)
            lines.write(line)
            places.append(at)
            keys.append(int(row["row"]))
            at += len(line)
            non_finite += row["non_finite_pixels"] != "0"
            absolute += ABSOLUTE in row["note"]
            nothing += NOTHING in row["note"]
            reduced += not float(row["edit_kept"] or 1) >= 1
        lines.flush()
        ends = np.append(places[1:], at)
        with TableWriter(out / RESULTS, RESULT_FIELDS) as results:
            for i in np.argsort(np.array(keys), kind="stable").tolist():
                size = int(ends[i] - places[i])
                results.write_line(os.pread(lines.fileno(), size, int(places[i])))
    parquet = _write_parquet(out)
    n = len(keys)
    missing = description["outputs"] - n - failed
    return Totals(
        outputs=n,
        failed=failed,
        bad_inputs=bad,
        missing=missing,
        non_finite=non_finite,
        max_error=worst,
        redone=redone,
        absolute=absolute,
        nothing=nothing,
        reduced=reduced,
        hidden=hidden,
        parquet=parquet,
    )


def _rows_of_inputs_and_outputs(out: Path, n_chunks: int) -> Iterator[Row]:
    """The rows of every chunk that is done: of its pictures first, then, with "row", its outputs.

    Raises:
        InputError: a number in one is none; a stranger's, since we write none such.
    """
    for chunk in chunks_on_disk(out):
        rows = read_table(rows_file(out, chunk), ROW_FIELDS)
        pictures = read_table(inputs_file(out, chunk), CHUNK_INPUT_FIELDS)
        if rows is None or pictures is None or chunk >= n_chunks:
            continue
        for path, table in ((inputs_file(out, chunk), pictures), (rows_file(out, chunk), rows)):
            for row in table:
                _check_numbers(path, row)
                yield row


def _check_numbers(path: Path, row: Row) -> None:
    made = not (row.get("stage") or row.get("reason"))
    name = ""
    try:
        for name in (*NUMBERS, "row"):
            if row.get(name) or (made and name in row and name in NEEDED):
                _number(name, row[name])
    except ValueError:
        raise InputError(
            f"{one_line(path)}: {name} is {one_line(row[name])[:80]}, which is not a number"
        ) from None


def _number(name: str, text: str) -> float | int:
    """Raises ValueError where it is none, or none of 64 bits."""
    if NUMBERS.get(name) == "float64":
        return float(text)
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise ValueError
    return value


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
            unfinished(temporary),
            open(out / RESULTS, encoding="utf-8", errors="replace", newline="") as file,
            open(temporary, "xb") as made,  # pyarrow takes no path that is not UTF-8
            parquet.ParquetWriter(made, schema) as writer,
        ):
            for columns in _columns(file):
                arrays = [_array(columns[f.name], f.type) for f in schema]
                writer.write_batch(pa.record_batch(arrays, schema=schema))
        os.replace(temporary, out / "results.parquet")
    except (OSError, ValueError) as error:  # a cell that is no number, of a stranger's table
        raise InputError(f"{one_line(out / 'results.parquet')}: {reason(error)}") from None
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _array(values: list[Any], kind: Any) -> Any:
    """As `pyarrow.array`, of numbers (or None) or of text, but without its import of pandas."""
    import pyarrow as pa

    valid = None
    if pa.types.is_string(kind):
        texts = [value.encode() for value in values]
        ends = np.cumsum([0, *map(len, texts)])
        if ends[-1] >= 2**31:
            raise ValueError("a column of more than 2 GiB of text")
        parts = [ends.astype(np.int32), b"".join(texts)]
    else:
        if None in values:
            known = [value is not None for value in values]
            valid = pa.py_buffer(np.packbits(known, bitorder="little"))
        numbers = [0 if value is None else value for value in values]
        parts = [np.array(numbers, kind.to_pandas_dtype())]
    return pa.Array.from_buffers(kind, len(values), [valid, *map(pa.py_buffer, parts)])


def _columns(file: TextIO) -> Iterator[dict[str, list[Any]]]:
    """Columns of a table, some rows at a time; an empty number is None."""
    cells = read_cells(file)
    header = next(cells)
    while rows := list(itertools.islice(cells, PARQUET_ROWS)):
        columns: dict[str, list[Any]] = {}
        for name, column in zip(header, zip(*rows, strict=True), strict=True):
            columns[name] = (
                [_number(name, c) if c else None for c in column]
                if name in NUMBERS
                else list(column)
            )
        yield columns
