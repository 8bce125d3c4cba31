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

from glow_jax.io.files import write_atomically
from transfer.photos.align import Aligned

Record = dict[str, Any]


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
    """A record, if it is complete and its crops exist; None otherwise.

    Args:
        path: path of the record.
        out: the folder of aligned faces.
        sha256: SHA-256 of the photograph; a record of another one counts as missing. None accepts
            any.
    """
    try:
        record = json.loads(path.read_bytes().decode(errors="surrogateescape"))
        same = sha256 is None or record["sha256"] == sha256
        crops_exist = all((out / face["file"]).is_file() for face in record["faces"])
        usable = same and crops_exist and isinstance(record["problems"], list)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if usable else None


def records(out: Path) -> Iterator[tuple[Path, Record]]:
    """The complete records of a folder, by path."""
    for path in sorted((out / "records").rglob("*.json")):
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
        name = path.relative_to(out / "records").with_suffix("").as_posix()
        if current.get(record["photograph"], name) != name:
            path.unlink(missing_ok=True)
            for face in record["faces"]:
                (out / face["file"]).unlink(missing_ok=True)
