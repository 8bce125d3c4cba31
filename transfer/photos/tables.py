"""The tables of a folder of aligned faces: align.csv, landmarks.jsonl and failures.csv."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from glow_jax.io.files import write_atomically
from glow_jax.io.messages import failure
from glow_jax.io.pictures import read_image
from glow_jax.io.provenance import SourceType
from glow_jax.io.tables import write_table
from transfer.photos import neutral
from transfer.photos.neutral import Measurement
from transfer.photos.pose import Pose
from transfer.photos.records import Record, records

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
LANDMARK_FIELDS = ("file", "transform", "box", "landmarks")
BATCH_SIZE = 64  # crops whose bits/dim are computed at once
Bits = Callable[[UInt8[np.ndarray, "B H W 3"]], Float[np.ndarray, " B"]]
"""A function from crops to their bits/dim."""
Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class Crop:
    """An aligned face on disk.

    Attributes:
        file: path of the crop, relative to the folder.
        row: the crop's row of align.csv.
        rank: rank among the crops of the person, from 1 for the most neutral.
        far: whether the bits/dim are above the model's limit for unlikely pictures.
        source_type: IPTC digital source type of the crop.
    """

    file: str
    row: dict[str, Any]
    rank: int
    far: bool
    source_type: SourceType


@dataclasses.dataclass(frozen=True)
class Failure:
    """A photograph, or a face in it, that cannot be used, with the reason on one line."""

    photograph: str
    reason: str


def crop_source_type(declared: str | None) -> SourceType:
    """The IPTC source type of a crop, from the source type that its photograph declares.

    A crop of a generated picture is a generated picture; any other is an edited photograph.
    """
    return next((kind for kind in GENERATED if kind == declared), "algorithmicallyEnhanced")


def gather(
    out: Path,
    bits: Bits | None,
    far_bits: float | None,
    progress: Progress,
) -> tuple[dict[str, list[Crop]], list[Failure]]:
    """The crops of a folder by person, with ranks and likelihoods, and the folder's failures.

    Args:
        out: the folder of aligned faces.
        bits: computes bits/dim of crops; None leaves the likelihood out.
        far_bits: bits/dim above which a crop is marked as unlikely under the model.
        progress: called with the name of a stage, the number of items done, and their total.
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    faces: dict[str, list[dict[str, Any]]] = {}
    failures = []
    for _, record in records(out):
        failures += [Failure(record["given"], why) for why in record["problems"]]
        for face in record["faces"]:
            person = record["person"]
            rows.setdefault(person, []).append(_row(record, face))
            faces.setdefault(person, []).append(face)
    everything = [row for own in rows.values() for row in own]
    failures += _add_bits(out, everything, bits, far_bits, progress)
    people = {}
    for person, own in rows.items():
        score = neutral.scores(_measurements(faces[person]))
        crops = []
        for row, rank, value in zip(own, neutral.ranks(score), score, strict=True):
            row |= {"neutral_rank": rank, "neutral_score": f"{value:.3f}"}
            source_type = crop_source_type(row.pop("declared"))
            crops.append(Crop(row["file"], row, rank, row["far"] == 1, source_type))
        people[person] = crops
    return people, failures


def _row(record: Record, face: dict[str, Any]) -> dict[str, Any]:
    yaw, pitch, roll = face["pose_deg"]
    x, y = face["transform"]
    return {
        "file": face["file"],
        "photograph": record["given"],
        "person": record["person"],
        "face": face["face"],
        "faces": face["faces"],
        **{n: f"{v:.8g}" for n, v in zip(TRANSFORM, (*x, *y), strict=True)},
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


def _measurements(faces: list[dict[str, Any]]) -> list[Measurement | None]:
    """The measurements of a person's crops.

    If no crop has Action Units, each measurement has one AU of intensity 0. Otherwise the result is
    None for a crop without Action Units, or with another number of them than the first crop that
    has any.
    """
    poses = [Pose(*(float(v) for v in face["pose_deg"])) for face in faces]
    aus = [None if face["aus"] is None else [*map(_numbers, face["aus"])] for face in faces]
    size = next((len(level) for level, _ in filter(None, aus)), None)
    if size is None:
        return [Measurement(np.zeros(1), np.zeros(1), pose) for pose in poses]
    return [
        None if of is None or len(of[0]) != size else Measurement(of[0], of[1], pose)
        for of, pose in zip(aus, poses, strict=True)
    ]


def _numbers(values: list[float | None]) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in values], np.float64)


def _add_bits(
    out: Path,
    rows: list[dict[str, Any]],
    bits: Bits | None,
    far_bits: float | None,
    progress: Progress,
) -> list[Failure]:
    """Add the likelihood to the rows of crops; which crops cannot be read again."""
    failures: list[Failure] = []
    for start in range(0, len(rows) if bits is not None else 0, BATCH_SIZE):
        pixels, part = [], rows[start : start + BATCH_SIZE]
        for row in list(part):
            try:
                pixels.append(read_image(out / row["file"]))
            except Exception as error:  # of one crop
                failures.append(Failure(row["photograph"], failure(out / row["file"], error)))
                part.remove(row)
        for row, value in zip(part, bits(np.stack(pixels)) if bits and pixels else [], strict=True):
            row["bits_per_dim"] = f"{value:.4f}"
            row["far"] = "" if far_bits is None else int(not value <= far_bits)  # a NaN is far
        progress("likelihood", min(start + BATCH_SIZE, len(rows)), len(rows))
    return failures


def write_tables(out: Path, people: dict[str, list[Crop]], failures: list[Failure]) -> None:
    """Write the three tables; failures.csv is removed if there are no failures."""
    rows = [crop.row for crops in people.values() for crop in crops]
    write_table(out / "align.csv", FIELDS, rows)
    lines = (
        json.dumps({"photograph": record["given"]} | {k: face[k] for k in LANDMARK_FIELDS})
        for _, record in records(out)
        for face in record["faces"]
    )
    text = "".join(f"{line}\n" for line in lines)
    write_atomically(out / "landmarks.jsonl", text.encode(errors="surrogateescape"))
    if failures:
        table = ({"photograph": f.photograph, "reason": f.reason} for f in failures)
        write_table(out / "failures.csv", ["photograph", "reason"], table)
    else:
        (out / "failures.csv").unlink(missing_ok=True)
