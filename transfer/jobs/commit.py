"""Write outputs to disk: pictures or shards, and then the tables that mark a chunk as done."""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from glow_jax.io.errors import InputError, OutputError
from glow_jax.io.files import write_atomically
from glow_jax.io.messages import failure
from glow_jax.io.output_folders import make_folder
from glow_jax.io.output_schema import CHUNK_INPUT_FIELDS
from glow_jax.io.pictures import image_bytes
from glow_jax.io.provenance import Provenance
from glow_jax.io.tables import Row
from transfer.codec import Codec
from transfer.jobs import output_folder
from transfer.jobs.compute import Output
from transfer.jobs.inputs import USABLE, Inputs, Trouble
from transfer.jobs.job import PICTURES, SHARDS, Job
from transfer.jobs.shards import WRITERS as WRITE_SHARD
from transfer.jobs.shards import Record

SOURCE_TYPE: Literal["compositeWithTrainedAlgorithmicMedia"] = (
    "compositeWithTrainedAlgorithmicMedia"
)


class Commit:
    """Writes the outputs of a job and marks its chunks as done."""

    def __init__(self, job: Job, codec: Codec, inputs: Inputs, out: Path):
        """Nothing is written until `write` and `finish` are called."""
        self._job, self._codec, self._inputs, self._out = job, codec, inputs, out
        self._folders = set[Path]()  # folders known to exist
        chunk = job.first_use[1]
        self._by_chunk = np.argsort(chunk, kind="stable")
        self._chunks = chunk[self._by_chunk]

    def write(self, output: Output) -> Output:
        """Encode a picture, and write it unless it goes into a shard. Several threads may call.

        Raises:
            OutputError: the folder cannot be written to. What is wrong with one picture or its
                name is in the output's row.
        """
        if output.image is None:
            return output
        try:
            return self._written(output)
        except OutputError:
            raise
        except Exception as error:
            file = output.row["file"]
            trouble = Trouble("write", file, failure(file, error))
            return dataclasses.replace(
                output, image=None, row=output.row | dataclasses.asdict(trouble)
            )

    def _written(self, output: Output) -> Output:
        assert output.image is not None
        row, sharded = output.row, self._job.format in SHARDS
        provenance = Provenance(SOURCE_TYPE, self._codec.name, self._recipe(row))
        ending = ".png" if sharded else PICTURES[self._job.format]
        data = image_bytes(output.image, provenance, ending, row["file"])
        if sharded:
            return dataclasses.replace(output, image=None, data=data)
        path = self._out / row["file"]
        if path.parent not in self._folders:
            try:
                make_folder(self._out, Path(row["file"]).parent)
            except InputError as error:
                raise OutputError(str(error)) from None
            self._folders.add(path.parent)
        write_atomically(path, data)
        return dataclasses.replace(output, image=None, row=row | {"bytes": len(data)})

    def finish(self, chunk: int, outputs: Sequence[Output]) -> None:
        """Write a chunk's tables: its rows, and the inputs that this chunk is the first to need."""
        start, stop = np.searchsorted(self._chunks, [chunk, chunk + 1])
        pictures = self._by_chunk[start:stop].tolist()
        ordered = sorted(pictures, key=self._job.first_use[0].__getitem__)
        rows = self._shard(outputs) if self._job.format in SHARDS else [o.row for o in outputs]
        output_folder.commit(self._out, chunk, rows, map(self._input_row, ordered))

    def _recipe(self, row: Row) -> dict[str, Any]:
        recipe = {
            "id": row["id"],
            "method": row["method"],
            "alpha": float(row["alpha"]),
            "expression": Path(row["expression"]).name,
            "source": row["source"],
            "target": row["target"],
            "model_fingerprint": self._codec.fingerprint,
        }
        how = {"edit": self._job.how["edit"]} if "edit" in self._job.how else {}
        return recipe | how | ({"note": row["note"]} if row["note"] else {})

    def _shard(self, outputs: Sequence[Output]) -> list[Row]:
        """Write a chunk's pictures into one file; returns the rows, with places in the file."""
        pictures = [output for output in outputs if output.data is not None]
        if not pictures:
            return [output.row for output in outputs]
        records = [
            Record(
                output.data or b"",
                output.row["id"],
                Path(output.row["expression"]).name,
                output.row["source"],
                output.row["target"],
                float(output.row["alpha"]),
                output.row["method"],
            )
            for output in pictures
        ]
        file = pictures[0].row["file"]
        path = make_folder(self._out, Path(file).parent) / Path(file).name
        WRITE_SHARD[self._job.format](path, records)
        size, place = path.stat().st_size, itertools.count()
        return [
            output.row | {"file": f"{file}#{next(place)}", "bytes": size}
            if output.data is not None
            else output.row
            for output in outputs
        ]

    def _input_row(self, i: int) -> Row:
        inputs, job = self._inputs, self._job
        row = dict.fromkeys(CHUNK_INPUT_FIELDS, "") | {
            "file": job.plan.files[i],
            "role": job.first_use[2][i],
            "sha256": job.sha256[i],
        }
        if inputs.state[i] != USABLE:
            return row | {"reason": inputs.reasons[i]}
        return row | {
            "bits_per_dim": f"{inputs.bits[i]:.4f}",
            "round_trip_error": f"{inputs.max_error[i]:.3g}",
            "round_trip_mean_error": f"{inputs.mean_error[i]:.3g}",
            "redone_in_exact": int(inputs.redone[i]),
            "hidden": ", ".join(inputs.hidden.get(i, ())),
        }
