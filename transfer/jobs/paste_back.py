"""† A job's outputs, put back into the photographs that the targets' faces were cut out of.

pasted/      the photographs, at full size, named like the outputs
pasted.csv   which output is in which photograph

Method "warp" moves the photograph's own pixels and adds what it added to the small face; of
method "paper" the decoded face is put in, enlarged. Both go into the target's most neutral
photograph. What is there is kept: run it again to go on.
"""

import csv
import dataclasses
import functools
import io
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.files import write_atomically
from glow_jax.io.pictures import read_colour_profile, read_image, write_image
from glow_jax.io.provenance import Provenance
from transfer.codec import Codec
from transfer.expression import model as ex
from transfer.expression.landmark_detector import detect_landmarks
from transfer.expression.model import ExpressionModel
from transfer.jobs.plan import Item, Job
from transfer.jobs.run import KIND
from transfer.methods import apply
from transfer.photos.crop import moved
from transfer.photos.paste import moved_back, pasted
from transfer.photos.reader import AlignedFaces

FIELDS = ["id", "file", "photograph", "pasted"]
SIDE = 256  # pixels of the crop at which additions are computed
PHOTOGRAPHS = 2  # that are held in memory


@dataclasses.dataclass(frozen=True)
class Pasted:
    """How many photographs were made now, and how many were there."""

    made: int
    kept: int


def paste_back(
    job: Job,
    codec: Codec,
    out: Path,
    reader: AlignedFaces,
    *,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Pasted:
    """Put every output of a job that is done into its photograph.

    Args:
        job: whose outputs lie in `out` as pictures.
        codec: the model.
        out: the job's folder.
        reader: that the job read photographs with.
        progress: called with a stage and how far it is.

    Raises:
        InputError: the folder cannot be written, or a photograph changed.
    """
    people = _People(job, codec, reader)
    photograph = functools.lru_cache(PHOTOGRAPHS)(read_image)
    rows = _results(out)
    (out / "pasted").mkdir(exist_ok=True)
    table, made = [], 0
    wanted = [(row, item) for row, item in _items(job) if item.id in rows]
    wanted.sort(key=lambda pair: int(job.plan.target[pair[0]]))
    for done, (row, item) in enumerate(wanted, 1):
        base = people.base(int(job.plan.target[row]))
        file = Path("pasted", Path(item.file).name)
        table.append({"id": item.id, "file": item.file, "photograph": base, "pasted": str(file)})
        if not (out / file).is_file():
            alpha = float(rows[item.id]["alpha"])
            face, pixels = reader.face(base), photograph(base)
            if item.method == "warp":
                code = alpha * people.code(int(job.plan.expression[row]), int(job.plan.source[row]))
                edit = _edit_of(codec, reader(base), code)
                result = moved_back(pixels, face.transform, *edit)
            else:
                places = moved(face.landmarks, face.transform)
                picture = read_image(out / item.file)
                result = pasted(pixels, face.transform, places, picture)
            write_image(
                out / file, result, _provenance(item, alpha, base, codec), read_colour_profile(base)
            )
            made += 1
        progress("paste back", done, len(wanted))
    write_atomically(out / "pasted.csv", _csv(table))
    return Pasted(made, len(wanted) - made)


def _edit_of(
    codec: Codec, pixels: np.ndarray, code: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Landmarks (68, 2), moves of them, and what changes besides (SIDE, SIDE, 4), of a crop."""
    known = codec.expressions
    assert known is not None
    marks, moves, change = _edit(
        known, jnp.asarray(pixels[None]), jnp.asarray(code[None], jnp.float32)
    )
    return np.asarray(marks)[0], np.asarray(moves)[0], np.asarray(change)[0]


@jax.jit
def _edit(known: ExpressionModel, images: jax.Array, codes: jax.Array) -> tuple[jax.Array, ...]:
    marks = detect_landmarks(known.landmark_detector, images)
    moves = ex.displace(known, codes, marks)
    change = ex.residual_edit(known, images, marks, moves, codes)
    return marks, moves, ex.from_mean_shape(known, change, marks + moves, (SIDE, SIDE))


class _People:
    """The most neutral photograph of each person, and what is read from expressions."""

    def __init__(self, job: Job, codec: Codec, reader: AlignedFaces):
        self._job, self._codec, self._reader = job, codec, reader
        self.base = functools.cache(self._base)
        self.code = functools.cache(self._code)
        self._readings = functools.cache(self._read)

    def _read(self, person: int) -> tuple[list[str], np.ndarray]:
        """The photographs of a person that can be used, and readings of them (N, A)."""
        files, faces = [], []
        for i in self._job.plan.pictures[person]:
            file = self._job.plan.files[i]
            try:
                faces.append(self._reader(file))
            except InputError:
                continue  # told when the job read it
            files.append(file)
        known = self._codec.expressions
        if known is None:
            raise InputError("the model has no expressions.npz, which tells neutral photographs")
        return files, apply.read(known, np.stack(faces))

    def _base(self, person: int) -> str:
        files, readings = self._readings(person)
        return files[int(ex.neutrality(readings).argmin())]

    def _code(self, expression: int, source: int) -> np.ndarray:
        """(A,) activations, as the job's."""
        known = self._codec.expressions
        assert known is not None
        shot = self._reader(self._job.plan.files[expression])
        shown = apply.read(known, shot[None])[0]
        return apply.code_from(known, shown, self._readings(source)[1])


def _items(job: Job) -> list[tuple[int, Item]]:
    return [(row, job.item(row)) for row in np.sort(job.order).tolist()]


def _results(out: Path) -> dict[str, dict[str, str]]:
    with (out / "results.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as f:
        return {row["id"]: row for row in csv.DictReader(f)}


def _provenance(item: Item, alpha: float, base: str, codec: Codec) -> Provenance:
    recipe = {
        "id": item.id,
        "method": item.method,
        "alpha": alpha,
        "expression": Path(item.expression).name,
        "source": item.source,
        "target": item.target,
        "pasted_into": Path(base).name,
        "model_fingerprint": codec.fingerprint,
    }
    return Provenance(KIND, codec.name, recipe)


def _csv(rows: list[dict[str, str]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode(errors="surrogateescape")
