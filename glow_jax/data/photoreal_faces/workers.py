"""Worker processes that make shards of pictures."""

import json
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from glow_jax.io.errors import InputError
from glow_jax.io.files import write_atomically
from glow_jax.io.messages import reason
from glow_jax.io.pictures import write_image
from glow_jax.io.provenance import Provenance
from glow_jax.io.signals import end_with_parent, interrupts_blocked


@dataclass(frozen=True)
class Made:
    """A picture that is kept.

    Args:
        name: of its file, without suffix.
        picture: at 512 pixels.
        label: JSON values; `landmarks` as shares of the picture's width and height.
    """

    name: str
    picture: UInt8[np.ndarray, "512 512 3"]
    label: Mapping[str, Any]


@dataclass(frozen=True)
class Rejected:
    """A picture that was made and not kept; `label` describes it and has the reason."""

    label: Mapping[str, Any]


Make = Callable[[int], Sequence[Made | Rejected]]  # a person's number -> the person's pictures


@dataclass(frozen=True)
class Plan:
    """The intended content of a folder.

    Args:
        model: name of the data set, in every picture's metadata.
        people: numbers of the people.
        sizes_px: sides of the pictures, of `people.SIZES_PX`.
        facts: everything else that determines pixels and labels, as JSON values.
        card: text of README.md.
        recipe: keys of a label that are needed to make its picture again, for its metadata.
    """

    model: str
    people: range
    sizes_px: tuple[int, ...]
    facts: Mapping[str, Any]
    card: str
    recipe: tuple[str, ...]


def make_shards(
    folder: Path,
    plan: Plan,
    start: Callable[[], Make],
    shards: Mapping[int, list[int]],
    workers: int,
) -> Iterator[int]:
    """Make shards, each a list of people's numbers; yields the number of people of each.

    Raises:
        InputError: as `shards.make_folder`.
    """
    if not shards:
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(shards)), context, _start, (start,)) as pool:
        flying: dict[Future[int], int] = {}
        waiting = iter(shards.items())
        try:
            for _ in range(workers):
                _submit(pool, flying, waiting, folder, plan)
            while flying:
                for work in wait(flying, return_when=FIRST_COMPLETED).done:
                    del flying[work]
                    yield work.result()
                    _submit(pool, flying, waiting, folder, plan)
        except BrokenProcessPool:
            raise InputError(
                "a worker process died; is there enough memory? run the same command again, with "
                "fewer workers, to continue"
            ) from None
        finally:
            for work in flying:
                work.cancel()


def _submit(
    pool: ProcessPoolExecutor,
    flying: dict[Future[int], int],
    waiting: Iterator[tuple[int, list[int]]],
    folder: Path,
    plan: Plan,
) -> None:
    for shard, people in waiting:
        with interrupts_blocked():
            flying[pool.submit(_make_shard, folder, plan, shard, people)] = shard
        return


# A worker process.

_make: Make | Exception = RuntimeError("not started")


def _start(start: Callable[[], Make]) -> None:
    """Prepare a worker. An exception is stored, because raising it here would hide its message."""
    global _make
    end_with_parent()
    try:
        _make = start()
    except Exception as error:
        _make = error


def _make_shard(folder: Path, plan: Plan, shard: int, people: list[int]) -> int:
    if isinstance(_make, InputError):
        raise _make
    if isinstance(_make, Exception):
        raise InputError(f"a worker cannot start ({reason(_make)})")
    rows: list[Mapping[str, Any]] = []
    for number in people:
        for made in _make(number):
            rows.append(_write(folder, plan, made) if isinstance(made, Made) else made.label)
    write_atomically(shard_file(folder, shard), text(rows))
    return len(people)


def _write(folder: Path, plan: Plan, made: Made) -> Mapping[str, Any]:
    """Write a picture at every size; returns its label with the name of the file."""
    file = f"{made.name}.webp"
    recipe = {"file": file, **{key: made.label[key] for key in plan.recipe}}
    provenance = Provenance("trainedAlgorithmicMedia", plan.model, recipe)
    for side in plan.sizes_px:
        write_image(folder / str(side) / file, resized(made.picture, side), provenance)
    return {"file": file, **made.label}


def resized(picture: UInt8[np.ndarray, "N N 3"], side: int) -> UInt8[np.ndarray, "M M 3"]:
    """A picture at a smaller size that divides its own: the mean of each square of pixels."""
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BOX))


def shard_file(folder: Path, shard: int) -> Path:
    """The path of a shard's labels."""
    return folder / "shards" / f"{shard:06d}.jsonl"


def text(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as JSON lines; equal rows give equal text."""
    lines = [json.dumps(dict(row), sort_keys=True, allow_nan=False) for row in rows]
    return "".join(f"{line}\n" for line in lines).encode()
