"""A folder of pictures with labels, made in shards by several processes, safe to kill.

    OUT/dataset.json          what the folder is made from; written first
    OUT/README.md             the data set's card
    OUT/shards/000012.jsonl   the labels of 20 people; written after their pictures
    OUT/256/p000240_0.webp    a picture; one folder a size
    OUT/256/labels.jsonl      every picture's label at that size; written last
    OUT/rejected.jsonl        what was made and not kept, and why; written last

A shard is done when its file in shards/ exists. A run that was killed repeats at most the shards it
was working on, with the same bytes, so the folder ends the same.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from glow_jax.data.labels import parse_labels, read_lines
from glow_jax.data.photoreal_faces.workers import Make, Plan, make_shards, shard_file, text
from glow_jax.io import output_folders
from glow_jax.io.errors import InputError
from glow_jax.io.files import read_bytes, write_atomically
from glow_jax.io.messages import one_line, reason
from glow_jax.io.output_folders import remove_temporary

DATASET, LABELS, REJECTED, CARD = "dataset.json", "labels.jsonl", "rejected.jsonl", "README.md"
PEOPLE_PER_SHARD = 20


@dataclass(frozen=True)
class Summary:
    """Counts of a finished folder; a picture in several sizes counts once."""

    n_pictures: int
    n_rejected: int
    n_people_made: int  # made by this run


def make_folder(
    out: str | os.PathLike[str],
    plan: Plan,
    start: Callable[[], Make],
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Make the missing pictures of a folder, then write its labels.

    Args:
        out: the folder: a new one, or one whose `dataset.json` agrees with `plan`, which may have
            more people.
        start: called once in each worker process; picklable. It returns a `Make`, which must give
            equal results for equal numbers.
        workers: processes.
        progress: called with the numbers of people done and wanted.

    Raises:
        InputError: the folder holds other files, or pictures of another plan; it cannot be
            written; no worker can start, or one died.
    """
    folder = Path(out)
    _claim(folder, plan)
    groups = _by_shard(plan.people)
    missing = {k: g for k, g in groups.items() if not _is_done(folder, plan, k, g)}
    n_missing = sum(map(len, missing.values()))
    report = progress or (lambda done, wanted: None)
    done = len(plan.people) - n_missing
    report(done, len(plan.people))
    for n_made in make_shards(folder, plan, start, missing, workers):
        done += n_made
        report(done, len(plan.people))
    kept, rejected = _finish(folder, plan, groups)
    return Summary(kept, rejected, n_missing)


def read_labels(
    out: str | os.PathLike[str], side: int, kind: str | None = None
) -> Iterator[dict[str, Any]]:
    """The labels of a generated folder at one size, in order.

    Args:
        out: the folder that `glow-jax generate` made.
        side: of the pictures, pixels.
        kind: the setting that is needed, "people" or "pairs"; None accepts both.

    Raises:
        InputError: there is no such folder or size, the folder is of another kind or is not
            complete, or a line is damaged.
    """
    folder = Path(out)
    path = folder / str(side) / LABELS
    try:
        facts = json.loads(read_bytes(folder / DATASET))
        lines = read_lines(path)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{one_line(path)}: cannot be read ({reason(error)}); `glow-jax generate -o "
            f"{one_line(folder)}` makes it or goes on making it"
        ) from None
    found = facts.get("kind") if isinstance(facts, dict) else None
    if kind is not None and found != kind:
        raise InputError(f"{one_line(folder)}: holds {one_line(found)}; {kind} are needed")
    yield from parse_labels(path, lines)


def read_made(out: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The labels of the pictures that a folder holds so far, complete or not, in order.

    Landmarks are shares of a picture's sides; a picture's file is in the folder of each size.

    Raises:
        InputError: `glow-jax generate` did not make the folder, it has no pictures yet, or a file
            of labels is damaged.
    """
    folder = Path(out)
    files = sorted((folder / "shards").glob("*.jsonl"))
    made = [row for f in files if f.stem.isdecimal() for row in read_shard(folder, int(f.stem))]
    kept = [row for row in made if "file" in row]
    if not kept:
        raise InputError(f"{one_line(folder)}: holds no pictures of `glow-jax generate`")
    return kept


# The content of a folder.


def _by_shard(people: range) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for number in people:
        groups.setdefault(number // PEOPLE_PER_SHARD, []).append(number)
    return groups


def _claim(folder: Path, plan: Plan) -> None:
    """Write the folder's `dataset.json`, or check that it agrees with this run."""
    ours = {**plan.facts, "name": plan.model, "sizes_px": list(plan.sizes_px)}
    ours = json.loads(json.dumps(ours))  # in the form in which it will be read, without tuples
    path = folder / DATASET
    try:
        there = [p.name for p in folder.iterdir()] if folder.is_dir() else []
        theirs = json.loads(read_bytes(path)) if DATASET in there else None
        if theirs is None and any(not n.startswith(".") for n in there):
            raise InputError(f"{one_line(folder)}: holds other files; make a new folder")
        for name in ("shards", *map(str, plan.sizes_px)):
            output_folders.make_folder(folder, name)
    except InputError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{one_line(path)}: cannot be used ({reason(error)})") from error
    if theirs is None:
        write_atomically(folder / CARD, plan.card.encode())
        write_atomically(path, (json.dumps(ours, indent=2, sort_keys=True) + "\n").encode())
        return
    if not isinstance(theirs, dict):
        raise InputError(f"{one_line(path)}: is not a data set's description")
    for key in sorted({*theirs, *ours}):
        if theirs.get(key) != ours.get(key):
            was, now = (one_line(json.dumps(v.get(key)))[:90] for v in (theirs, ours))
            raise InputError(
                f"{one_line(path)}: {one_line(key)} is {was}, but {now} in this run; continue "
                "with the same, or make a new folder"
            )
    for inside in ("", "shards", *map(str, plan.sizes_px)):
        remove_temporary(folder, inside)


def read_shard(folder: Path, shard: int) -> Iterator[dict[str, Any]]:
    """The labels of a shard; those without `file` are of rejected pictures.

    Raises:
        InputError: the file cannot be read, or a line is damaged.
    """
    path = shard_file(folder, shard)
    try:
        rows = [json.loads(line) for line in read_lines(path)]
        known = all(map(_is_label, rows))
    except (ValueError, OverflowError, KeyError, TypeError, RecursionError):
        known = False
    if not known:
        raise InputError(f"{one_line(path)}: not the labels of pictures; remove it")
    return iter(rows)


def _is_label(row: Any) -> bool:
    """Whether a JSON value is a shard's line. May raise ValueError, KeyError or TypeError."""
    if type(row["identity"]) is not int or "file" not in row:
        return type(row["identity"]) is int
    points = np.asarray(row["landmarks"], np.float64)
    is_name = isinstance(row["file"], str) and os.path.basename(row["file"]) == row["file"]
    return is_name and points.ndim == 2 and bool(np.isfinite(points).all())


def _is_done(folder: Path, plan: Plan, shard: int, people: list[int]) -> bool:
    try:
        rows = list(read_shard(folder, shard))
    except InputError:
        return False
    files = [r["file"] for r in rows if "file" in r]
    there = all((folder / str(s) / f).exists() for s in plan.sizes_px for f in files)
    return there and set(people) <= {row["identity"] for row in rows}


def _finish(folder: Path, plan: Plan, groups: Mapping[int, list[int]]) -> tuple[int, int]:
    """Write the labels of every size; returns the numbers of pictures and of rejected ones."""
    rows = [r for k, people in groups.items() for r in read_shard(folder, k)
            if r["identity"] in people]  # fmt: skip
    kept = [r for r in rows if "file" in r]
    rejected = [r for r in rows if "file" not in r]
    write_atomically(folder / REJECTED, text(rejected))
    for side in plan.sizes_px:
        scaled = [{**r, "landmarks": _scaled(r["landmarks"], side)} for r in kept]
        write_atomically(folder / str(side) / LABELS, text(scaled))
    return len(kept), len(rejected)


def _scaled(landmarks: Any, side: int) -> list[list[float]]:
    return (np.round(np.asarray(landmarks, np.float64) * side, 2) + 0.0).tolist()  # no -0.0
