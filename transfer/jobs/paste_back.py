"""Paste a job's outputs into the photographs that the targets' faces were cut out of.

pasted/      the photographs with the results in them, at full size, named like the outputs: JPEG
             of the same quality where the photograph is a JPEG, else PNG
pasted.csv   one row per output: its photograph, and the pasted file

The method of an output pastes it. Files that exist already are kept, so that an interrupted run can
be continued; damaged ones are made again.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from glow_jax.io.containers import is_whole
from glow_jax.io.face_numbers import split_face
from glow_jax.io.jpeg import jpeg_quality
from glow_jax.io.messages import failure
from glow_jax.io.output_folders import has_file, make_folder
from glow_jax.io.output_schema import PASTED, PASTED_TABLE, RESULTS
from glow_jax.io.pictures import read_image, write_image
from glow_jax.io.provenance import Provenance
from glow_jax.io.tables import Row, read_rows, write_table
from transfer.codec import Images
from transfer.jobs.commit import SOURCE_TYPE
from transfer.jobs.compute import ENDS_THE_RUN
from transfer.jobs.job import Item, Job
from transfer.jobs.run import Progress, no_progress
from transfer.methods import method_class
from transfer.methods.base import Method, Models, Photograph
from transfer.photos.aligned_faces import AlignedFaces
from transfer.requests import PasteFormat

FIELDS = ["id", "file", "photograph", "pasted"]
PHOTOGRAPHS_IN_MEMORY = 2


@dataclasses.dataclass(frozen=True)
class Pasted:
    """How many photographs were made now, how many were there, and why others could not be made."""

    made: int
    kept: int
    failures: tuple[str, ...] = ()


def paste_back(
    job: Job,
    models: Models,
    out: Path,
    faces: AlignedFaces,
    *,
    format: PasteFormat = "auto",
    progress: Progress = no_progress,
) -> Pasted:
    """Paste every output of a finished job into its target's photograph.

    Args:
        job: a job whose outputs are pictures in `out`.
        models: the models that the job was made for.
        out: the job's output folder.
        faces: the loader with which the job read its photographs.
        format: "auto": a photograph that is a JPEG stays one, of its own quality, and others become
            PNG; "png": all become PNG, which keeps every pixel outside the face.
        progress: called with the name of a stage, the number of items done, and their total.

    Raises:
        OutputError: the folder cannot be written to.
    """
    cropped = CroppedFaces(job, faces)
    quality = functools.lru_cache(PHOTOGRAPHS_IN_MEMORY)(lambda file: jpeg_quality(Path(file)))
    method = functools.cache(lambda name: method_class(name)(models, cropped))
    rows = _results(out)
    make_folder(out, PASTED)
    table, made, failures = [], 0, list[str]()
    wanted = [(row, job.item(row)) for row in np.sort(job.order).tolist()]
    wanted = [(row, item) for row, item in wanted if item.id in rows]
    wanted.sort(key=lambda pair: int(job.plan.target[pair[0]]))

    def pasted(row: int, item: Item) -> tuple[str, Path, bool]:
        """The photograph of an output, the result's file, and whether it was not there yet."""
        one: Method = method(item.method)
        picture = one.photograph(int(job.plan.target[row]))
        path = job.plan.files[picture]
        jpeg = quality(split_face(path)[0]) if format == "auto" else None
        suffix = ".png" if jpeg is None else ".jpg"
        file = Path(PASTED, Path(item.file).with_suffix(suffix).name)
        if has_file(out, file) and is_whole(out / file):
            return path, file, False
        alpha = float(rows[item.id]["alpha"])
        photograph = cropped.photograph(picture)
        expression, source = int(job.plan.expression[row]), int(job.plan.source[row])
        image = read_image(out / item.file)[None]
        result = one.paste(expression, source, photograph, alpha, image)
        write_image(out / file, result, _provenance(item, alpha, path, models), jpeg)
        return path, file, True

    for done, (row, item) in enumerate(wanted, 1):
        try:
            path, file, new = pasted(row, item)
        except ENDS_THE_RUN:
            raise
        except Exception as error:  # of one photograph
            failures.append(failure(item.file, error))
        else:
            made += new
            table.append(
                {"id": item.id, "file": item.file, "photograph": path, "pasted": str(file)}
            )
        progress("paste back", done, len(wanted))
    write_table(out / PASTED_TABLE, FIELDS, table)
    return Pasted(made, len(table) - made, tuple(failures))


class CroppedFaces:
    """The faces of a job's photographs, by number; `transfer.methods.base.Photographs`."""

    def __init__(self, job: Job, faces: AlignedFaces, max_side_px: int | None = None):
        """No photograph is read yet.

        Args:
            job: whose photographs they are.
            faces: the loader with which the job read its photographs.
            max_side_px: longest side to which photographs are reduced; None keeps them as they are.
        """
        self._job, self._faces, self._max_side_px = job, faces, max_side_px
        self.usable = functools.cache(self._usable)
        self.photograph = functools.lru_cache(PHOTOGRAPHS_IN_MEMORY)(self._photograph)

    def _photograph(self, picture: int) -> Photograph:
        path = self._job.plan.files[picture]
        found = Photograph(picture, read_image(split_face(path)[0]), self._faces.face(path))
        return found if self._max_side_px is None else reduced(found, self._max_side_px)

    def _usable(self, person: int) -> list[int]:
        return [i for i in self._job.plan.pictures[person] if self._can_be_used(i)]

    def _can_be_used(self, picture: int) -> bool:
        try:
            self._faces(self._job.plan.files[picture])
        except Exception:
            return False  # the job's tables list it
        return True

    def pixels(self, pictures: Sequence[int]) -> Images:
        return np.stack([self._faces(self._job.plan.files[i]) for i in pictures])

    def detailed(self, pictures: Sequence[int]) -> Images:
        return np.stack([self._faces.detailed(self._job.plan.files[i]) for i in pictures])


def reduced(photograph: Photograph, max_side_px: int) -> Photograph:
    """A photograph with its longest side reduced to `max_side_px`, and its face with it."""
    height, width = photograph.pixels.shape[:2]
    if max(height, width) <= max_side_px:
        return photograph
    share = max_side_px / max(height, width)
    size = max(1, round(width * share)), max(1, round(height * share))
    small = np.asarray(Image.fromarray(photograph.pixels).resize(size, Image.Resampling.BOX))
    x, y = size[0] / width, size[1] / height
    face, (left, top, right, bottom) = photograph.face, photograph.face.box
    face = dataclasses.replace(
        face,
        transform=face.transform / np.array([x, y, 1.0]),
        landmarks=face.landmarks * (x, y),
        box=(left * x, top * y, right * x, bottom * y),
    )
    return Photograph(photograph.picture, small, face)


def _results(out: Path) -> dict[str, Row]:
    return {row["id"]: row for row in read_rows(out / RESULTS)}


def _provenance(item: Item, alpha: float, photograph: str, models: Models) -> Provenance:
    recipe = {
        "id": item.id,
        "method": item.method,
        "alpha": alpha,
        "expression": Path(item.expression).name,
        "source": item.source,
        "target": item.target,
        "pasted_into": Path(split_face(photograph)[0]).name,
        "model_fingerprint": models.codec.fingerprint,
    }
    return Provenance(SOURCE_TYPE, models.codec.name, recipe)
