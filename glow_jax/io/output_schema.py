"""The files and table columns of a job's output folder, for the code that writes or reads them.

job.json        settings of the job
people.csv      the pictures of each person
images/         the outputs; or
shards/         files with the outputs of one chunk each
rows/           tables of each chunk, written after its outputs
results.csv     one row per output, in the plan's order
inputs.csv      one row per input picture: role, bits/dim, round-trip error
failures.csv    outputs that could not be made and pictures that could not be used, with reasons
animations/     moving pictures of series of outputs, where they were asked for
results.parquet results.csv with numbers as numbers, if pyarrow is installed
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
IMAGES, ROWS, MEANS, PASTED = "images", "rows", "means", "pasted"
PASTED_TABLE = "pasted.csv"
ANIMATIONS = "animations"
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
    "hidden",
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
