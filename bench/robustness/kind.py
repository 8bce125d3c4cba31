"""A kind of input: sound and hostile ones made by hand, damage to the sound ones, a reader."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from bench.robustness.damage import Files, one_changed

Make = Callable[[random.Random, list[Files]], Files]


def damage_one(rng: random.Random, sound: list[Files]) -> Files:
    """One of the sound inputs with one of its files changed."""
    return one_changed(rng, rng.choice(sound))


class Kind(NamedTuple):
    """What is read, and how inputs of it are made.

    Attributes:
        name: of the row in the table.
        n_inputs: of a whole run.
        sound: a few inputs that must be accepted; called in the process that reads.
        read: reads an input in a folder as a verb does. Raises InputError where it refuses it.
        hostile: inputs made by hand, each known trouble of such a reader.
        make: any further input.
        also: exceptions that its callers turn into one line, besides InputError.
    """

    name: str
    n_inputs: int
    sound: Callable[[], list[Files]]
    read: Callable[[Path], object]
    hostile: Callable[[], list[Files]] = list
    make: Make = damage_one
    also: tuple[type[Exception], ...] = ()


def inputs(kind: Kind, seed: int, count: int) -> Iterator[Callable[[], Files]]:
    """The inputs of a kind by number: sound ones, hostile ones, damaged ones; each made when asked.

    An input depends on the kind, the seed and its number alone.
    """
    sound = kind.sound()
    for files in [*sound, *kind.hostile()][:count]:
        yield lambda files=files: files  # type: ignore[misc]
    for number in range(len(sound) + len(kind.hostile()), count):
        rng = random.Random(f"{kind.name} {seed} {number}")
        yield lambda rng=rng: kind.make(rng, sound)  # type: ignore[misc]


def write(folder: Path, files: Files) -> None:
    """An input's files, in a folder that is empty."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def read_back(folder: Path) -> Files:
    """All files of a folder, by their names in it."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}
