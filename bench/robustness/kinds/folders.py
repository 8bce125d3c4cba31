"""Folders that verbs come back to: outputs, crops, scores, data sets; and shapes of faces."""

import contextlib
import io
import json
import sqlite3
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.robustness.damage import EXTREMES, TEXTS, Files
from bench.robustness.kind import Kind
from bench.robustness.kinds.pictures import COLOUR, PIXELS, saved
from eval.rendered import BUNDLED, RenderedReader
from eval.scoring import ScoreCache
from eval.table import AUS
from glow_jax.data.photoreal_faces.shards import read_labels as read_photoreal
from glow_jax.data.synthetic_faces.dataset import read_labels as read_rendered
from glow_jax.data.synthetic_faces.facekit import load_facekit
from glow_jax.data.tfrecord import Shard, TFRecords
from glow_jax.io.locks import exclusive
from glow_jax.io.output_schema import CHUNK_INPUT_FIELDS, PEOPLE_FIELDS, ROW_FIELDS
from glow_jax.io.tables import csv_line
from transfer.expression.pairs import Faces
from transfer.jobs.merge import merge
from transfer.jobs.output_folder import rows_of_chunk
from transfer.jobs.totals import write_tables
from transfer.photos.folder import remove_older
from transfer.photos.tables import gather
from transfer.photos.tables import write_tables as write_crop_tables

PICTURE = saved("PNG", COLOUR)


def _table(fields: list[str], rows: list[dict[str, Any]]) -> bytes:
    lines = [csv_line(fields), *(csv_line([row.get(f, "") for f in fields]) for row in rows)]
    return "".join(lines).encode()


def outputs() -> Files:
    """A job's folder of two outputs in one chunk."""
    rows = [
        {
            "id": f"{i:016x}",
            "expression": "shots/0.png",
            "source": "ann",
            "target": "bob",
            "alpha": "0.5",
            "file": f"images/{i}.png",
            "seconds": "0.1",
            "round_trip_error": "0.001",
            "bits_per_dim": "3.2",
            "non_finite_pixels": "0",
            "clipped_share": "0.01",
            "edit_kept": "1",
            "method": "warp",
            "line": str(i + 2),
            "row": str(i),
            "bytes": str(len(PICTURE)),
            "left_out": "0",
        }
        for i in range(2)
    ]
    given = {"file": "shots/0.png", "role": "expression", "sha256": "0" * 64}
    given |= {"bits_per_dim": "3.1", "round_trip_error": "0.001", "redone_in_exact": "0"}
    job = {"digest": "f" * 64, "outputs": 2, "chunks": 1, "chunk_size": 64, "how": {}}
    return {
        "job.json": json.dumps(job).encode(),
        "people.csv": _table(list(PEOPLE_FIELDS), [{"person": "ann", "file": "0.png"}]),
        "rows/0000000.csv": _table(list(ROW_FIELDS), rows),
        "rows/0000000.inputs.csv": _table(list(CHUNK_INPUT_FIELDS), [given]),
        "images/0.png": PICTURE,
        "images/1.png": PICTURE,
    }


def _read_outputs(folder: Path) -> None:
    """What `batch` and `merge` read when they go on with a folder."""
    rows_of_chunk(folder, 0)
    write_tables(folder)
    merge([folder], folder.with_name(folder.name + "-merged"))


def _hostile_outputs() -> list[Files]:
    whole = outputs()
    job = json.loads(whole["job.json"])
    jobs = [
        *({name: value} for name in ("outputs", "chunks") for value in (-1, 0, 10**12, 10**400)),
        {"chunk_size": 0},
        {"digest": ""},
        {"outputs": True},
    ]
    found = [whole | {"job.json": json.dumps(job | change).encode()} for change in jobs]
    for old, new in ((b"0.001", b"x"), (b"images/0.png", b"/etc/passwd"), (b",0,", b",1e9,")):
        rows = whole["rows/0000000.csv"].replace(old, new)
        found.append(whole | {"rows/0000000.csv": rows})
    return found


# -- crops


def crops() -> Files:
    """A folder of `align` with one photograph and its crop."""
    face = {
        "file": "faces/ann/a_00000000.png",
        "face": 1,
        "faces": 1,
        "transform": [[1.0, 0.0, 3.0], [0.0, 1.0, 4.0]],
        "box": [0.0, 0.0, 16.0, 16.0],
        "landmarks": [[float(i), float(i)] for i in range(68)],
        "side_px": 64.0,
        "outside": 0.0,
        "pose_deg": [1.0, 2.0, 3.0],
        "sharpness": 0.8,
        "aus": [[0.5] * 17, [0.1] * 16 + [None]],
    }
    record = {
        "photograph": "/photographs/a.jpg",
        "given": "photographs/a.jpg",
        "person": "ann",
        "sha256": "0" * 64,
        "declared": None,
        "faces": [face],
        "problems": ["too blurred"],
    }
    files = {"align.json": {"align": 1}, "records/ann/a_00000000.json": record}
    made = {name: json.dumps(value).encode() for name, value in files.items()}
    return made | {"faces/ann/a_00000000.png": PICTURE}


def _read_crops(folder: Path) -> None:
    """What `align` reads of earlier crops."""
    remove_older(folder, {})
    people, failures = gather(folder, lambda images: np.zeros(len(images)), 9.0, lambda *_: None)
    write_crop_tables(folder, people, failures)


# -- scores


def scores() -> Files:
    """scores.sqlite with an embedding and a reading."""
    embedding = {"faces": 1, "vector": [0.1] * 8, "problem": ""}
    reading = {"faces": 1, **{k: [0.5] * len(AUS) for k in ("level", "change", "present")}}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "scores.sqlite")
        with ScoreCache(path) as cache:
            answers = {("identity", "k"): embedding, ("aus", "k"): reading | {"problem": ""}}
            cache.put("sha", {key: json.dumps(value) for key, value in answers.items()})
        return {"scores.sqlite": path.read_bytes()}


def _read_scores(folder: Path) -> None:
    with ScoreCache(folder / "scores.sqlite") as cache:
        for kind in ("identity", "aus"):
            if cache.has(kind, "k", "sha"):
                cache.get(kind, "k", "sha")


def _hostile_scores() -> list[Files]:
    """Rows of other types and lengths, and other tables."""
    reading = json.dumps({"faces": 1, "level": 3, "change": [], "present": None, "problem": 1})
    rows: list[Any] = [b"\xff\x00", 7, None, 1.5, "", "[]", "{", reading, "[" * 10**5, "9" * 5000]
    rows += ['{"unreadable": 3}', '{"vector": [1e400], "faces": 1, "problem": ""}', "nan"]
    statements = [
        "create table scores (kind text, key text, sha text)",
        "create view scores as select 1 as kind, 2 as key, 3 as sha, 4 as data",
        "create table other (a)",
        "create table scores (kind, key, sha, data); create trigger t after insert on scores "
        "begin delete from scores; end",
    ]
    found = []
    for data in rows:
        found.append(_database(scores()["scores.sqlite"], "update scores set data = ?", (data,)))
    found += [_database(b"", statement) for statement in statements]
    return found


def _database(data: bytes, statement: str, values: Any = None) -> Files:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "scores.sqlite")
        if data:
            path.write_bytes(data)
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            if values is None:
                database.executescript(statement)
            else:
                database.execute(statement, values)
        return {"scores.sqlite": path.read_bytes()}


# -- data sets


def rendered() -> Files:
    """Labels as `render` writes them."""
    label = {"file": "0.webp", "identity": 3, "aus": {"AU12": 0.5}, "condition": 1}
    label |= {"landmarks": [[1.0, 2.0]] * 68}
    lines = (json.dumps(label | {"file": f"{i}.webp"}) for i in range(3))
    return {"labels.jsonl": "".join(f"{line}\n" for line in lines).encode()}


def _read_rendered(folder: Path) -> None:
    labels = list(read_rendered(folder))
    Faces.from_labels(np.repeat(PIXELS[None], len(labels), 0), labels, ("AU12", "AU26"))


def photoreal() -> Files:
    """Labels as `generate` writes them."""
    labels = rendered()["labels.jsonl"]
    return {"dataset.json": b'{"kind": "people", "sizes_px": [64]}', "64/labels.jsonl": labels}


def _read_photoreal(folder: Path) -> None:
    list(read_photoreal(folder, 64, "people"))


def facekit() -> Files:
    """A face of four vertices."""
    file = io.BytesIO()
    arrays = {
        "neutral": np.zeros((4, 3), np.float32),
        "identity": np.ones((2, 4, 3), np.float32),
        "expression": np.ones((2, 4, 3), np.float32),
        "expression_names": np.array(["jawOpen", "smile"]),
        "faces": np.array([[0, 1, 2, 3], [0, 1, 2, -1]], np.int32),
        "material": np.zeros(2, np.int32),
        "material_names": np.array(["skin"]),
        "uv": np.zeros((4, 2), np.float32),
        "face_uv": np.array([[0, 1, 2, 3], [0, 1, 2, -1]], np.int32),
        "landmarks68": np.zeros(68, np.int64),
    }
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return {"facekit.npz": file.getvalue()}


def _read_facekit(folder: Path) -> None:
    load_facekit(folder / "facekit.npz", partial=True)


def records() -> Files:
    """A TFRecord of two records."""
    data = b"".join(
        struct.pack("<Q", len(text)) + bytes(4) + text + bytes(4) for text in (b"one", b"three")
    )
    return {"a.tfrecord": data}


def _read_records(folder: Path) -> None:
    found = TFRecords([Shard(str(folder / "a.tfrecord"), 0, 2)])
    for i in range(len(found)):
        found[i]


def _hostile_records() -> list[Files]:
    lengths = (*EXTREMES, 2**62, 2**63, 2**64 - 1)
    return [{"a.tfrecord": struct.pack("<Q", n) + bytes(40)} for n in lengths]


# -- the judge's models, locks


def _read_lock(folder: Path) -> None:
    with exclusive(folder / ".lock-1-of-1"):
        pass


def _locks() -> list[Files]:
    owner = {"host": "elsewhere", "pid": 3, "token": "x"}
    return [{".lock-1-of-1": b"", ".owner-x": json.dumps(owner).encode()}]


def _hostile_locks() -> list[Files]:
    return [{".lock-1-of-1": text.encode(errors="surrogatepass")} for text in TEXTS]


def _read_reader(folder: Path) -> None:
    RenderedReader(folder / "rendered.npz")


KINDS = (
    Kind("output folders", 600, lambda: [outputs()], _read_outputs, _hostile_outputs),
    Kind("folders of crops (align)", 400, lambda: [crops()], _read_crops),
    Kind("scores.sqlite", 400, lambda: [scores()], _read_scores, _hostile_scores),
    Kind("labels of rendered faces", 300, lambda: [rendered()], _read_rendered),
    Kind("labels of photoreal faces", 200, lambda: [photoreal()], _read_photoreal),
    Kind("packed FaceKit", 300, lambda: [facekit()], _read_facekit),
    Kind("TFRecord", 200, lambda: [records()], _read_records, _hostile_records),
    Kind("locks", 60, _locks, _read_lock, _hostile_locks),
    Kind(
        "AU models (rendered.npz)",
        100,
        lambda: [{"rendered.npz": BUNDLED.read_bytes()}],
        _read_reader,
    ),
)
