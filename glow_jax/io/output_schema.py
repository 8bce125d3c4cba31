"""The tables of a job's folder: their files and columns, shared by whoever writes or reads them.

job.json        what made the folder
people.csv      each person's pictures
images/         the outputs; or
shards/         the outputs of a chunk in one file each
rows/           what is known of a chunk, written when its outputs are there
results.csv     one row an output, in the plan's order
inputs.csv      every picture read: role, bits/dim, round-trip error
failures.csv    outputs that could not be made, pictures that could not be used, and why (if any)
results.parquet the results with numbers as numbers, where pyarrow is installed
"""

import contextlib
from pathlib import Path

from glow_jax.io.errors import InputError
from glow_jax.io.files import read_json_object

JOB, PEOPLE, RESULTS, INPUTS, FAILURES = (
    "job.json",
    "people.csv",
    "results.csv",
    "inputs.csv",
    "failures.csv",
)
IMAGES, MEANS, PASTED = "images", "means", "pasted"
ABSOLUTE = "absolute"
"""In the column `note`: the expression was estimated without a neutral picture of the source."""
NOTHING = "no expression"
"""In the column `note`: the expression does not differ from neutral by more than the noise."""
ALIGN, FACES = "align.json", "faces"  # of a folder that `align` wrote: its settings, its crops
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
    "note",
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
PEOPLE_FIELDS = ["person", "file", "sha256"]


def picture_part(folder: Path) -> Path | None:
    """Where a folder that `align`, `transfer` or `batch` wrote has its crops or outputs.

    Whatever else is in such a folder (sheets, mean faces, pasted photographs) is no data.

    Returns:
        A folder, which may be missing; None where `folder` is of another kind.
    """
    for file, keys, part in _MADE_BY:
        if (folder / file).is_file():
            with contextlib.suppress(InputError):
                if keys <= read_json_object(folder / file).keys():
                    return folder / part
    return None


_MADE_BY = ((ALIGN, {"align", "detector"}, FACES), (JOB, {"digest", "outputs"}, IMAGES))
