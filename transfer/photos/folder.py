"""Write a folder of aligned faces in several threads; a run may be killed at any moment.

align.json        the settings; a run with other settings is refused
faces/            the crops, one folder per person
records/          one JSON file per photograph, written after its crops (`transfer.photos.records`)
align.csv         one row per crop: place in the photograph, pose, sharpness, neutral rank
landmarks.jsonl   one JSON object per crop: transform, box and 68 landmarks
failures.csv      photographs and faces that could not be used, with reasons (if any)
sheet.png         the crops, the most neutral of each person first

The names of crops and records contain a hash of the photograph's bytes. Therefore a killed run can
be continued, another run can add photographs, and an edited photograph replaces its older crops.
"""

import collections
import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from glow_jax.io.errors import InputError
from glow_jax.io.face_numbers import split_face
from glow_jax.io.files import read_bytes, write_atomically
from glow_jax.io.messages import failure, one_line, reason
from glow_jax.io.output_folders import ABANDONED_S, make_folder, remove_temporary
from glow_jax.io.pictures import read_image, write_image
from glow_jax.io.provenance import Provenance, read_source_type
from transfer.jobs.plan import file_name
from transfer.photos.align import FaceDetector, faces_in
from transfer.photos.aligned_faces import Photographs
from transfer.photos.listing import PhotographFile
from transfer.photos.records import (
    FACES,
    RECORDS,
    absolute,
    describe_crop,
    paths_of,
    read_record,
    remove_older,
    write_record,
)
from transfer.photos.tables import (
    Bits,
    Crop,
    Failure,
    Progress,
    crop_source_type,
    gather,
    write_tables,
)

MADE_BY = "glow-jax align"  # in the metadata of crops
MeasureAus = Callable[[UInt8[np.ndarray, "H W 3"]], tuple[np.ndarray, np.ndarray] | None]
"""A function from a crop to levels and changes of AUs (`neutral.Measurement`), or None."""


@dataclasses.dataclass(frozen=True)
class Summary:
    """The content of a folder after a run.

    Attributes:
        people: crops by the person's name, which is "" for photographs given without a folder.
        failures: photographs and faces that cannot be used.
        made: number of photographs aligned by this run.
        kept: number of photographs aligned by an earlier run.
    """

    people: dict[str, list[Crop]]
    failures: list[Failure]
    made: int
    kept: int


def align_folder(
    photographs: Sequence[PhotographFile],
    out: Path,
    settings: Photographs,
    face_detector: FaceDetector,
    *,
    measure_aus: MeasureAus | None = None,
    bits: Bits | None = None,
    far_bits: float | None = None,
    workers: int = 1,
    progress: Progress = lambda stage, done, total: None,
) -> Summary:
    """Align photographs into a folder, and write its tables.

    Args:
        photographs: from `list_photographs`.
        out: a new folder, or one made with the same settings.
        settings: settings by which faces are cut out.
        face_detector: finds all faces of a photograph; called from several threads.
        measure_aus: measures Action Units for the neutral ranks; called from several threads. None
            ranks by pose alone.
        bits: computes bits/dim of crops; None leaves the likelihood out.
        far_bits: bits/dim above which a crop is marked as unlikely under the model.
        workers: number of photographs that are processed at once, each held in memory.
        progress: called with the name of a stage, the number of items done, and their total.

    Raises:
        InputError: the folder holds other files, or crops of other settings, or cannot be
            written.
    """
    _claim(out, settings)
    remove_temporary(out, older_s=ABANDONED_S)
    for folder in {photograph.person for photograph in photographs}:
        for part in (FACES, RECORDS):
            remove_temporary(make_folder(out, part, folder), older_s=ABANDONED_S)
    work = functools.partial(
        align_photograph,
        out=out,
        settings=settings,
        face_detector=face_detector,
        measure_aus=measure_aus,
    )
    current: dict[str, str] = {}  # path of each photograph of this run -> name of its record
    seen: set[str] = set()
    unreadable: list[Failure] = []
    made = kept = 0
    with ThreadPoolExecutor(workers) as pool:
        results = _ahead(pool, work, photographs, 2 * workers)
        for done, (photograph, result) in enumerate(zip(photographs, results, strict=True), 1):
            if isinstance(result, str):
                unreadable.append(Failure(str(photograph.path), result))
            elif result.record in seen:
                same = "the same file as another one of this person; it is aligned once"
                unreadable.append(Failure(str(photograph.path), same))
            else:
                seen.add(result.record)
                current[absolute(photograph.path)] = result.record
                made, kept = made + result.new, kept + (not result.new)
            progress("align", done, len(photographs))
    remove_older(out, current)
    people, failures = gather(out, bits, far_bits, progress)
    failures = sorted([*unreadable, *failures], key=lambda f: f.photograph)
    write_tables(out, people, failures)
    return Summary(people, failures, made, kept)


@dataclasses.dataclass(frozen=True)
class Result:
    """An aligned photograph: the name of its record, and whether this run wrote the record."""

    record: str
    new: bool


def align_photograph(
    photograph: PhotographFile,
    *,
    out: Path,
    settings: Photographs,
    face_detector: FaceDetector,
    measure_aus: MeasureAus | None = None,
) -> Result | str:
    """Write the crops of a photograph, then its record.

    Returns:
        Its record's name; or, on one line, why the photograph cannot be used.

    Raises:
        InputError: the folder cannot be written to, or a package of the judge is not installed.
    """
    try:
        return _aligned(photograph, out, settings, face_detector, measure_aus)
    except InputError:
        raise
    except Exception as error:  # of one photograph: others may still be aligned
        path = photograph.path
        return failure(path, error).removeprefix(f"{one_line(path)}: ")


def _aligned(
    photograph: PhotographFile,
    out: Path,
    settings: Photographs,
    face_detector: FaceDetector,
    measure_aus: MeasureAus | None,
) -> Result | str:
    path = photograph.path
    file_path, number = split_face(path)
    of_file, which = Path(file_path), settings.which if number is None else number
    try:
        sha256 = hashlib.sha256(read_bytes(of_file)).hexdigest() if of_file.is_file() else ""
        name = f"{file_name(of_file.stem)}_{sha256[:8]}" + (f"_face{number}" if number else "")
        inside = f"{photograph.person}/{name}" if photograph.person else name
        record_path = out / RECORDS / f"{inside}.json"
        record = read_record(record_path, out, sha256)
        if record is not None:
            if record["photograph"] != absolute(path):  # the file was moved
                write_record(record_path, record | paths_of(path))
            return Result(inside, new=False)
        pixels = read_image(of_file)
        declared = read_source_type(of_file)
    except InputError as error:
        return str(error).removeprefix(f"{one_line(path)}: ")
    except OSError as error:
        return f"cannot be read ({reason(error)})"
    good, bad = faces_in(pixels, face_detector, settings.size, which, settings.limits)
    faces = []
    for face in good:
        alone = face.count == 1 or number is not None
        file = f"{FACES}/{inside}.png" if alone else f"{FACES}/{inside}_{face.number}.png"
        aus = None if measure_aus is None else measure_aus(face.pixels)
        description = describe_crop(face, file, aus)
        recipe = {key: description[key] for key in ("transform", "box", "face", "faces")}
        recipe |= {"photograph": of_file.name, "sha256": sha256, "detector": settings.detector}
        recipe |= {"photograph_source_type": declared}
        provenance = Provenance(crop_source_type(declared), MADE_BY, recipe)
        write_image(out / file, face.pixels, provenance)
        faces.append(description)
    record = {
        **paths_of(path),
        "person": photograph.person,
        "sha256": sha256,
        "declared": declared,
        "faces": faces,
        "problems": bad,
    }
    write_record(record_path, record)
    return Result(inside, new=True)


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[Any], Any], items: Iterable[Any], n: int
) -> Iterator[Any]:
    """`work(item)` of each item, in order, in the pool's threads, at most `n` of them ahead."""
    pending: collections.deque[Future] = collections.deque()
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) >= n:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def _claim(out: Path, settings: Photographs) -> None:
    file, key = out / "align.json", settings.key
    try:
        if os.path.lexists(file):
            if read_bytes(file).decode(errors="replace").strip() != key:
                raise InputError(
                    f"{one_line(out)}: holds crops made with other settings; choose a new folder"
                )
            return
        if out.exists() and not out.is_dir():
            raise InputError(f"{one_line(out)}: is not a folder")
        if out.exists() and any(out.iterdir()):
            raise InputError(f"{one_line(out)}: holds other files; choose a new folder")
        make_folder(out)
        write_atomically(file, (key + "\n").encode())
    except OSError as error:
        raise InputError(f"{one_line(out)}: cannot be used ({reason(error)})") from None
