"""Paste a job's outputs into the photographs that the targets' faces were cut out of.

pasted/      the photographs with the results in them, at full size, named like the outputs
pasted.csv   one row per output: its photograph, and the pasted file

The method of an output pastes it. Files that exist already are kept, so that an interrupted run can
be continued.
"""

import csv
import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.output_schema import PASTED, RESULTS
from glow_jax.io.pictures import read_image, write_image
from glow_jax.io.provenance import Provenance
from glow_jax.io.tables import SURROGATES, write_table
from transfer.codec import Images
from transfer.jobs.commit import SOURCE_TYPE
from transfer.jobs.job import Item, Job
from transfer.jobs.run import Progress, no_progress
from transfer.methods import method_class
from transfer.methods.base import Method, Models, Photograph
from transfer.photos.aligned_faces import AlignedFaces

FIELDS = ["id", "file", "photograph", "pasted"]
PHOTOGRAPHS_IN_MEMORY = 2


@dataclasses.dataclass(frozen=True)
class Pasted:
    """Number of photographs written now, and number that an earlier run had written."""

    made: int
    kept: int


def paste_back(
    job: Job,
    models: Models,
    out: Path,
    faces: AlignedFaces,
    *,
    progress: Progress = no_progress,
) -> Pasted:
    """Paste every output of a finished job into its target's photograph.

    Args:
        job: a job whose outputs are pictures in `out`.
        models: the models that the job was made for.
        out: the job's output folder.
        faces: the loader with which the job read its photographs.
        progress: called with the name of a stage, the number of items done, and their total.

    Raises:
        InputError: the folder cannot be written, or a photograph changed since the job read it.
    """
    cropped = _CroppedFaces(job, faces)
    method = functools.cache(lambda name: method_class(name)(models, cropped))
    read = functools.lru_cache(PHOTOGRAPHS_IN_MEMORY)(read_image)
    rows = _results(out)
    (out / PASTED).mkdir(exist_ok=True)
    table, made = [], 0
    wanted = [(row, job.item(row)) for row in np.sort(job.order).tolist()]
    wanted = [(row, item) for row, item in wanted if item.id in rows]
    wanted.sort(key=lambda pair: int(job.plan.target[pair[0]]))
    for done, (row, item) in enumerate(wanted, 1):
        one: Method = method(item.method)
        picture = one.photograph(int(job.plan.target[row]))
        path = job.plan.files[picture]
        file = Path(PASTED, Path(item.file).name)
        table.append({"id": item.id, "file": item.file, "photograph": path, "pasted": str(file)})
        if not (out / file).is_file():
            alpha = float(rows[item.id]["alpha"])
            photograph = Photograph(picture, read(path), faces.face(path))
            columns = (job.plan.expression, job.plan.source)
            expression, source = (int(column[row]) for column in columns)
            image = read_image(out / item.file)[None]
            result = one.paste(expression, source, photograph, alpha, image)
            provenance = _provenance(item, alpha, path, models)
            write_image(out / file, result, provenance)
            made += 1
        progress("paste back", done, len(wanted))
    write_table(out / "pasted.csv", FIELDS, table)
    return Pasted(made, len(wanted) - made)


class _CroppedFaces:
    """The faces of a job's photographs, by number; a `transfer.expression.estimate.Faces`."""

    def __init__(self, job: Job, faces: AlignedFaces):
        self._job, self._faces = job, faces
        self.usable = functools.cache(self._usable)

    def _usable(self, person: int) -> list[int]:
        return [i for i in self._job.plan.pictures[person] if self._can_be_used(i)]

    def _can_be_used(self, picture: int) -> bool:
        try:
            self._faces(self._job.plan.files[picture])
        except InputError:
            return False  # the job's tables list this picture and the reason
        return True

    def pixels(self, pictures: Sequence[int]) -> Images:
        return np.stack([self._faces(self._job.plan.files[i]) for i in pictures])


def _results(out: Path) -> dict[str, dict[str, str]]:
    with (out / RESULTS).open(newline="", encoding="utf-8", errors=SURROGATES) as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def _provenance(item: Item, alpha: float, photograph: str, models: Models) -> Provenance:
    recipe = {
        "id": item.id,
        "method": item.method,
        "alpha": alpha,
        "expression": Path(item.expression).name,
        "source": item.source,
        "target": item.target,
        "pasted_into": Path(photograph).name,
        "model_fingerprint": models.codec.fingerprint,
    }
    return Provenance(SOURCE_TYPE, models.codec.name, recipe)
