"""The record of a photograph in a folder of aligned faces: a JSON file, written after its crops.

photograph, given   absolute path, and path as given on the command line
person              name of the person's folder, "" without one
sha256              SHA-256 of the photograph's file
declared            IPTC digital source type in the photograph's metadata, or null
faces               a list of crops; see `describe_crop`
problems            reasons why other faces cannot be used
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from glow_jax.io.files import read_bytes, write_atomically
from glow_jax.io.output_folders import has_file, remove_file
from transfer.photos.align import Aligned

Record = dict[str, Any]
FACES, RECORDS = "faces", "records"  # folders of the crops, and of the records
MAX_BYTES = 2**24  # of a record
MAX_NUMBER = 1e9
N_LANDMARKS = 68


def describe_crop(
    face: Aligned, file: str, aus: tuple[np.ndarray, np.ndarray] | None
) -> dict[str, Any]:
    """The entry of a crop in its photograph's record; `transform` is to pixels of the crop.

    Args:
        face: the aligned face.
        file: path of the crop, relative to the folder.
        aus: levels and changes of Action Units (`neutral.Measurement`); None if not measured.
    """
    size = len(face.pixels)
    rounded = None
    if aus is not None:
        rounded = [[None if np.isnan(v) else round(float(v), 4) for v in values] for values in aus]
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
        "aus": rounded,
    }


def paths_of(path: Path) -> Record:
    """The fields of a record that name its photograph."""
    return {"photograph": absolute(path), "given": str(path)}


def write_record(path: Path, record: Record) -> None:
    """Write a record atomically."""
    text = json.dumps(record, allow_nan=False) + "\n"
    write_atomically(path, text.encode(errors="surrogateescape"))


def absolute(path: Path) -> str:
    """The absolute path of a photograph, which identifies its older records."""
    return str(path.absolute())


def read_record(path: Path, out: Path, sha256: str | None = None) -> Record | None:
    """A record that is complete and whose crops exist in the folder; None otherwise.

    Args:
        path: path of the record.
        out: the folder of aligned faces.
        sha256: SHA-256 of the photograph; a record of another one counts as missing. None accepts
            any.
    """
    try:
        record = json.loads(
            read_bytes(path, MAX_BYTES, follow_link=False).decode(errors="surrogateescape")
        )
        same = sha256 is None or record["sha256"] == sha256
        usable = same and _is_record(record)
        crops_exist = usable and all(_is_crop(out, face["file"]) for face in record["faces"])
    except (
        OSError,
        ValueError,
        OverflowError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ):
        return None
    return record if crops_exist else None


def _is_record(record: Any) -> bool:
    """Whether a JSON value is a record as the module describes it, whoever wrote it.

    May raise KeyError, TypeError or AttributeError where it is not.
    """
    texts = [record[name] for name in ("photograph", "given", "person", "sha256")]
    texts += record["problems"] + ([] if record["declared"] is None else [record["declared"]])
    if not isinstance(record["problems"], list) or not all(isinstance(t, str) for t in texts):
        return False
    return isinstance(record["faces"], list) and all(map(_is_face, record["faces"]))


def _is_face(face: Any) -> bool:
    shapes = {"transform": (2, 3), "box": (4,), "landmarks": (N_LANDMARKS, 2), "pose_deg": (3,)}
    shapes |= dict.fromkeys(("side_px", "outside", "sharpness"), ())
    counts = [face["face"], face["faces"]]
    if not isinstance(face["file"], str) or not all(type(n) is int and n > 0 for n in counts):
        return False
    if not all(_numbers(face[name], shape) for name, shape in shapes.items()):
        return False
    aus = face["aus"]
    if aus is None:
        return True
    known = [[0 if value is None else value for value in values] for values in aus]
    return len(known) == 2 and all(_numbers(values, (len(known[0]),)) for values in known)


def _numbers(values: Any, shape: tuple[int, ...]) -> bool:
    """Whether a JSON value is finite numbers of a shape."""
    if not shape:
        return type(values) in (int, float) and abs(values) < MAX_NUMBER
    return (
        isinstance(values, list)
        and len(values) == shape[0]
        and all(_numbers(value, shape[1:]) for value in values)
    )


def _is_crop(out: Path, file: str) -> bool:
    """Whether a file lies in the folder's faces/, and no link leads to it."""
    return Path(file).parts[:1] == (FACES,) and has_file(out, file)


def records(out: Path) -> Iterator[tuple[Path, Record]]:
    """The complete records of a folder, by path."""
    for path in sorted((out / RECORDS).rglob("*.json")):
        record = read_record(path, out)
        if record is not None:
            yield path, record


def remove_older(out: Path, current: dict[str, str]) -> None:
    """Remove older records and crops of photographs that have changed.

    Args:
        out: the folder of aligned faces.
        current: name of each current record, by the absolute path of its photograph.
    """
    for path, record in records(out):
        name = path.relative_to(out / RECORDS).with_suffix("").as_posix()
        if current.get(record["photograph"], name) != name:
            path.unlink(missing_ok=True)
            for face in record["faces"]:
                remove_file(out, face["file"])
