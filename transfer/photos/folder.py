"""† A folder of aligned faces, made by several threads, safe to kill.

align.json        the settings; crops of other settings do not get in
faces/            the crops, in the folders of their people
records/          what is known of a photograph, written when its crops are there
align.csv         one row a crop: where in the photograph it was, pose, sharpness, neutral rank
landmarks.jsonl   one object a crop: transform, box and 68 landmarks
failures.csv      photographs, and faces in them, that could not be used, and why (if any)
sheet.png         the crops, the most neutral of each person first

Names are derived from the photographs' bytes, so a folder that was killed goes on, another run
adds photographs to it, and one that was edited replaces its older self.
"""

import collections
import csv
import dataclasses
import functools
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from glow_jax.io.errors import InputError
from glow_jax.io.files import write_atomically
from glow_jax.io.messages import one_line, reason
from glow_jax.io.pictures import read_image, write_image
from glow_jax.io.provenance import Provenance, SourceType, read_source_type
from transfer.jobs.plan import file_name
from transfer.photos import neutral
from transfer.photos.align import Aligned, FaceDetector, faces_in
from transfer.photos.neutral import Measurement
from transfer.photos.pose import Pose
from transfer.photos.reader import Photograph, Photographs

MADE_BY = "glow-jax align"
GENERATED: tuple[SourceType, ...] = (
    "compositeWithTrainedAlgorithmicMedia",
    "trainedAlgorithmicMedia",
    "algorithmicMedia",
    "compositeSynthetic",
)
TRANSFORM = ("xx", "xy", "x0", "yx", "yy", "y0")
BOX = ("left", "top", "right", "bottom")
FIELDS = [
    "file",
    "photograph",
    "person",
    "face",
    "faces",
    *TRANSFORM,
    *BOX,
    "side_px",
    "outside",
    "yaw_deg",
    "pitch_deg",
    "roll_deg",
    "sharpness",
    "neutral_rank",
    "neutral_score",
    "bits_per_dim",
    "far",
]
Record = dict[str, Any]  # of a photograph, as its JSON has it
MeasureAus = Callable[[UInt8[np.ndarray, "H W 3"]], tuple[np.ndarray, np.ndarray] | None]
"""A crop to its Action Units' levels and changes (`neutral.Measurement`); None without a face."""
Bits = Callable[[UInt8[np.ndarray, "B H W 3"]], Float[np.ndarray, " B"]]


@dataclasses.dataclass(frozen=True)
class Crop:
    """An aligned face on disk.

    Attributes:
        file: of the crop, relative to the folder.
        row: what align.csv tells of it.
        rank: among its person's, from 1, the most neutral first.
        far: whether it is beyond what the model knows.
        source_type: IPTC's, of the crop.
    """

    file: str
    row: dict[str, Any]
    rank: int
    far: bool
    source_type: SourceType


@dataclasses.dataclass(frozen=True)
class Failure:
    """A photograph, or a face in it, that cannot be used, and why."""

    photograph: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a folder holds now: crops by person, and what could not be used.

    Attributes:
        made, kept: photographs that were aligned now, and before.
    """

    people: dict[str, list[Crop]]
    failures: list[Failure]
    made: int
    kept: int


def align_folder(
    photographs: Sequence[Photograph],
    out: Path,
    settings: Photographs,
    find_faces: FaceDetector,
    *,
    measure_aus: MeasureAus | None = None,
    bits: Bits | None = None,
    far_bits: float | None = None,
    workers: int = 1,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Summary:
    """Align photographs into a folder, and write its tables.

    Args:
        photographs: from `list_photographs`.
        out: a new folder, or one made with the same settings.
        settings: of the crops.
        find_faces: gives all faces; in several threads.
        measure_aus: for the neutral ranks; in several threads. Without it poses alone count.
        bits: bits/dim of crops.
        far_bits: beyond which a crop is far from what the model knows.
        workers: photographs at once; each holds one in memory.
        progress: called with a stage and how far it is.

    Raises:
        InputError: the folder holds something else, or cannot be written.
    """
    _claim(out, settings)
    for folder in {photograph.person for photograph in photographs}:
        for kind in ("faces", "records"):
            (out / kind / folder).mkdir(parents=True, exist_ok=True)
    work = functools.partial(
        align_photograph, out=out, settings=settings, find_faces=find_faces, measure_aus=measure_aus
    )
    current: dict[str, str] = {}  # record of each photograph of this run
    unreadable: list[Failure] = []
    made = kept = 0
    with ThreadPoolExecutor(workers) as pool:
        results = _ahead(pool, work, photographs, 2 * workers)
        for done, (photograph, result) in enumerate(zip(photographs, results, strict=True), 1):
            if isinstance(result, str):
                unreadable.append(Failure(str(photograph.path), result))
            else:
                current[_absolute(photograph.path)] = result.record
                made, kept = made + result.new, kept + (not result.new)
            progress("align", done, len(photographs))
    _drop_older(out, current)
    people, failures = _gather(out, bits, far_bits, progress)
    failures = sorted([*unreadable, *failures], key=lambda f: f.photograph)
    _write_tables(out, people, failures)
    return Summary(people, failures, made, kept)


@dataclasses.dataclass(frozen=True)
class Result:
    """Of a photograph: the name of its record, and whether it was made now."""

    record: str
    new: bool


def align_photograph(
    photograph: Photograph,
    *,
    out: Path,
    settings: Photographs,
    find_faces: FaceDetector,
    measure_aus: MeasureAus | None = None,
) -> Result | str:
    """Write the crops of a photograph, then its record; or say why it cannot be read."""
    path = photograph.path
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        name = f"{file_name(path.stem)}_{sha256[:8]}"
        inside = f"{photograph.person}/{name}" if photograph.person else name
        record_path = out / "records" / f"{inside}.json"
        record = _known(record_path, out, sha256)
        if record is not None:
            if record["photograph"] != _absolute(path):  # it was moved
                _write_record(record_path, record | _place(path))
            return Result(inside, new=False)
        pixels = read_image(path)
        declared = read_source_type(path)
    except InputError as error:
        return str(error).removeprefix(f"{one_line(path)}: ")
    except OSError as error:
        return f"cannot be read ({reason(error)})"
    try:
        good, bad = faces_in(pixels, find_faces, settings.size, settings.which, settings.limits)
    except ValueError as error:  # of the detector, which another photograph may not upset
        return reason(error)
    faces = []
    for face in good:
        file = f"faces/{inside}.png" if face.count == 1 else f"faces/{inside}_{face.number}.png"
        aus = None if measure_aus is None else measure_aus(face.pixels)
        told = _told(face, file, aus)
        recipe = {key: told[key] for key in ("transform", "box", "face", "faces")}
        recipe |= {"photograph": path.name, "sha256": sha256, "detector": settings.detector}
        recipe |= {"photograph_source_type": declared}
        write_image(out / file, face.pixels, Provenance(_source_type(declared), MADE_BY, recipe))
        faces.append(told)
    record = {
        **_place(path),
        "person": photograph.person,
        "sha256": sha256,
        "declared": declared,
        "faces": faces,
        "problems": bad,
    }
    _write_record(record_path, record)
    return Result(inside, new=True)


def _place(path: Path) -> Record:
    return {"photograph": _absolute(path), "given": str(path)}


def _write_record(path: Path, record: Record) -> None:
    text = json.dumps(record, allow_nan=False) + "\n"
    write_atomically(path, text.encode(errors="surrogateescape"))


def _source_type(declared: str | None) -> SourceType:
    """A crop is what its photograph is: one that says it was generated stays generated."""
    return next((kind for kind in GENERATED if kind == declared), "algorithmicallyEnhanced")


def _told(face: Aligned, file: str, aus: tuple[np.ndarray, np.ndarray] | None) -> dict[str, Any]:
    """What a record tells of a crop. The transform is from pixels to pixels."""
    size = len(face.pixels)
    read = None
    if aus is not None:
        read = [[None if np.isnan(v) else round(float(v), 4) for v in values] for values in aus]
    return {
        "file": file,
        "face": face.number,
        "faces": face.count,
        "transform": [[float(v) for v in row] for row in face.transform * size],
        "box": [round(float(v), 1) for v in face.box],
        "landmarks": [[round(float(v), 2) for v in point] for point in face.landmarks],
        "side_px": round(face.side_px, 2),
        "outside": round(face.outside, 4),
        "pose_deg": [round(float(v), 2) for v in face.pose],
        "sharpness": round(face.sharpness, 4),
        "aus": read,
    }


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[Any], Any], things: Iterable[Any], n: int
) -> Iterator[Any]:
    """`work(thing)` of each, in order, at most `n` begun ahead of need."""
    waiting: collections.deque[Future] = collections.deque()
    try:
        for thing in things:
            waiting.append(pool.submit(work, thing))
            if len(waiting) >= n:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _absolute(path: Path) -> str:
    return str(path.absolute())


# -- what is there


def _claim(out: Path, settings: Photographs) -> None:
    file, key = out / "align.json", settings.key
    try:
        if file.exists():
            if file.read_text(encoding="utf-8").strip() != key:
                raise InputError(
                    f"{one_line(out)}: holds crops made with other settings; choose a new folder"
                )
            return
        if out.exists() and not out.is_dir():
            raise InputError(f"{one_line(out)}: is not a folder")
        if out.exists() and any(out.iterdir()):
            raise InputError(f"{one_line(out)}: holds other files; choose a new folder")
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(file, (key + "\n").encode())
    except OSError as error:
        raise InputError(f"{one_line(out)}: cannot be used ({reason(error)})") from None


def _known(path: Path, out: Path, sha256: str | None = None) -> Record | None:
    """A whole record whose crops are there; None otherwise."""
    try:
        record = json.loads(path.read_bytes().decode(errors="surrogateescape"))
        whole = sha256 is None or record["sha256"] == sha256
        there = all((out / face["file"]).is_file() for face in record["faces"])
        fine = whole and there and isinstance(record["problems"], list)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if fine else None


def _records(out: Path) -> Iterator[tuple[Path, Record]]:
    for path in sorted((out / "records").rglob("*.json")):
        record = _known(path, out)
        if record is not None:
            yield path, record


def _drop_older(out: Path, current: dict[str, str]) -> None:
    """Remove crops of what a photograph was before it was edited."""
    for path, record in _records(out):
        name = path.relative_to(out / "records").with_suffix("").as_posix()
        if current.get(record["photograph"], name) != name:
            path.unlink(missing_ok=True)
            for face in record["faces"]:
                (out / face["file"]).unlink(missing_ok=True)


# -- tables


def _gather(
    out: Path,
    bits: Bits | None,
    far_bits: float | None,
    progress: Callable[[str, int, int], None],
) -> tuple[dict[str, list[Crop]], list[Failure]]:
    """Everything in the folder, by person, with ranks and likelihoods."""
    rows: dict[str, list[dict[str, Any]]] = {}
    readings: dict[str, list[Measurement | None]] = {}
    failures = []
    for _, record in _records(out):
        failures += [Failure(record["given"], why) for why in record["problems"]]
        for face in record["faces"]:
            person = record["person"]
            rows.setdefault(person, []).append(_row(record, face))
            readings.setdefault(person, []).append(_measurement(face))
    everything = [row for own in rows.values() for row in own]
    _add_bits(out, everything, bits, far_bits, progress)
    people = {}
    for person, own in rows.items():
        score = neutral.scores(readings[person])
        crops = []
        for row, rank, value in zip(own, neutral.ranks(score), score, strict=True):
            row |= {"neutral_rank": rank, "neutral_score": f"{value:.3f}"}
            kind = _source_type(row.pop("declared"))
            crops.append(Crop(row["file"], row, rank, row["far"] == 1, kind))
        people[person] = crops
    return people, failures


def _row(record: Record, face: dict[str, Any]) -> dict[str, Any]:
    yaw, pitch, roll = face["pose_deg"]
    one, other = face["transform"]
    return {
        "file": face["file"],
        "photograph": record["given"],
        "person": record["person"],
        "face": face["face"],
        "faces": face["faces"],
        **{n: f"{v:.8g}" for n, v in zip(TRANSFORM, (*one, *other), strict=True)},
        **dict(zip(BOX, face["box"], strict=True)),
        "side_px": face["side_px"],
        "outside": face["outside"],
        "yaw_deg": yaw,
        "pitch_deg": pitch,
        "roll_deg": roll,
        "sharpness": face["sharpness"],
        "bits_per_dim": "",
        "far": "",
        "declared": record["declared"],
    }


def _measurement(face: dict[str, Any]) -> Measurement | None:
    """What was read of a crop; with no reader the pose alone."""
    aus = face["aus"]
    level, change = (np.zeros(1), np.zeros(1)) if aus is None else map(_numbers, aus)
    return Measurement(level, change, Pose(*(float(v) for v in face["pose_deg"])))


def _numbers(values: list[float | None]) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in values], np.float64)


def _add_bits(
    out: Path,
    rows: list[dict[str, Any]],
    bits: Bits | None,
    far_bits: float | None,
    progress: Callable[[str, int, int], None],
    batch: int = 64,
) -> None:
    if bits is None:
        return
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        values = bits(np.stack([read_image(out / row["file"]) for row in part]))
        for row, value in zip(part, values, strict=True):
            row["bits_per_dim"] = f"{value:.4f}"
            row["far"] = "" if far_bits is None else int(value > far_bits)
        progress("likelihood", start + len(part), len(rows))


def _write_tables(out: Path, people: dict[str, list[Crop]], failures: list[Failure]) -> None:
    rows = [crop.row for crops in people.values() for crop in crops]
    _write_csv(out / "align.csv", FIELDS, rows)
    lines = (
        json.dumps({"photograph": record["given"]} | {k: face[k] for k in LANDMARK_KEYS})
        for _, record in _records(out)
        for face in record["faces"]
    )
    text = "".join(f"{line}\n" for line in lines)
    write_atomically(out / "landmarks.jsonl", text.encode(errors="surrogateescape"))
    if failures:
        table = map(dataclasses.asdict, failures)
        _write_csv(out / "failures.csv", ["photograph", "reason"], table)
    else:
        (out / "failures.csv").unlink(missing_ok=True)


LANDMARK_KEYS = ("file", "transform", "box", "landmarks")


def _write_csv(path: Path, fields: list[str], rows: Iterable[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode(errors="surrogateescape"))
