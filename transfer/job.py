"""† A transfer job as data: what is read, what is made of it, under which names.

An item's id is a hash of everything that decides its pixels (image bytes, model, method,
alpha), so the same item has the same id in any folder and after any interruption.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from glow_jax.errors import InputError
from glow_jax.files import one_line
from glow_jax.images import image_paths, read_image
from transfer.codec import Codec
from transfer.expressions import fingerprint

Method = Literal["warp", "paper"]
MAX_ALPHAS = 1000
MAX_ALPHA = 1e6


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image that was read: its path, the SHA-256 of its pixels, and the pixels."""

    path: Path
    sha256: str
    pixels: UInt8[np.ndarray, "H W C"] = dataclasses.field(compare=False, repr=False)


@dataclasses.dataclass(frozen=True)
class Person:
    """An identity: a folder's name and its readable pictures, in the order of their names."""

    name: str
    pictures: tuple[Picture, ...]


@dataclasses.dataclass(frozen=True)
class Item:
    """One output: an expression of the source on a target, at one alpha."""

    id: str
    expression: Picture
    source: Person
    target: Person
    alpha: float

    @property
    def file(self) -> str:
        """Where the output goes, relative to the job's folder."""
        alpha = f"a{self.alpha:.10g}"
        parts = (self.expression.path.stem, self.target.name, alpha, self.id[:8])
        return "images/" + "_".join(file_name(part) for part in parts) + ".png"


@dataclasses.dataclass(frozen=True)
class Failure:
    """An input that could not be used, and why."""

    path: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Job:
    """Everything one call of `glow-jax transfer` makes."""

    expressions: tuple[Picture, ...]
    source: Person
    targets: tuple[Person, ...]
    alphas: tuple[float, ...]
    items: tuple[Item, ...]
    failures: tuple[Failure, ...]
    method: Method


def read_job(
    codec: Codec,
    expressions: Sequence[Path],
    source: Path,
    targets: Sequence[Path],
    alphas: Sequence[float],
    method: Method = "paper",
) -> Job:
    """Read all images of a job; the ones that cannot be read are listed, not fatal.

    Args:
        codec: gives the image size and the fingerprint that item ids depend on.
        expressions: pictures of the source person, each showing an expression.
        source: a folder of the source person's pictures.
        targets: one folder a target person.
        alphas: how much of the expression to add.
        method: "paper", the mean faces' formula on eps; "warp", `transfer.apply.paint`.

    Raises:
        InputError: the model cannot do the method; a path is missing, or nothing is left to do;
            also for two targets with the same folder name.
    """
    if method == "warp" and codec.expressions is None:
        raise InputError(
            f"model {codec.name!r} has no expressions.npz: fit one with `glow-jax fit-expressions`,"
            " or use --method paper"
        )
    failures: list[Failure] = []
    shots = _readable([p for path in expressions for p in image_paths(path)], codec, failures)
    shots = _distinct(shots, failures)
    if not shots:
        raise InputError(f"no expression can be used: {failures[0].reason}")
    person = _person(source, codec, failures)
    people = [_person(path, codec, failures) for path in targets]
    names = [file_name(p.name).casefold() for p in people]
    for name, target in zip(names, people, strict=True):
        if names.count(name) > 1:
            raise InputError(f"two targets are called {target.name!r} or alike; rename one folder")
    how = _how(codec, method)
    items = tuple(
        Item(_item_id(how, shot, person, target, alpha), shot, person, target, alpha)
        for target in people
        for shot in shots
        for alpha in alphas
    )
    return Job(tuple(shots), person, tuple(people), tuple(alphas), items, tuple(failures), method)


def parse_alphas(words: Sequence[str]) -> tuple[float, ...]:
    """Alphas from the command line: numbers, or FIRST:LAST:STEP with both ends included.

    Raises:
        InputError: a word is neither, or there are too many.
    """
    alphas: list[float] = []
    for word in words:
        try:
            numbers = [float(part) for part in word.split(":")]
        except ValueError:
            numbers = []
        if len(numbers) not in (1, 3) or not all(abs(n) <= MAX_ALPHA for n in numbers):
            raise InputError(
                f"alpha {word!r}: use a number such as 0.4, or FIRST:LAST:STEP, within "
                f"{MAX_ALPHA:g} of 0"
            )
        if len(numbers) == 3:
            numbers = _range(word, *numbers)
        alphas += numbers
    unique = tuple(dict.fromkeys(alphas))
    if len(unique) > MAX_ALPHAS:
        raise InputError(f"{len(unique)} alphas; at most {MAX_ALPHAS} in one job")
    return unique


def _range(word: str, first: float, last: float, step: float) -> list[float]:
    if step <= 0 or last < first or (last - first) / step > MAX_ALPHAS:
        raise InputError(
            f"alpha {word!r}: FIRST:LAST:STEP needs FIRST <= LAST, STEP > 0 and at most "
            f"{MAX_ALPHAS} steps"
        )
    count = int((last - first) / step + 1e-9) + 1
    return [round(first + i * step, 10) for i in range(count)]


def _readable(paths: Sequence[Path], codec: Codec, failures: list[Failure]) -> list[Picture]:
    pictures = []
    for path in paths:
        try:
            pixels = read_image(path, codec.size, codec.channels)
        except InputError as error:
            failures.append(Failure(str(path), str(error)))
            continue
        pictures.append(Picture(path, hashlib.sha256(pixels.tobytes()).hexdigest(), pixels))
    return pictures


def _distinct(shots: list[Picture], failures: list[Failure]) -> list[Picture]:
    """Expressions without those whose pixels another has: their outputs would be the same."""
    first: dict[str, Picture] = {}
    for shot in shots:
        if first.setdefault(shot.sha256, shot) is not shot:
            why = f"{one_line(shot.path)}: the same pixels as {one_line(first[shot.sha256].path)}"
            failures.append(Failure(str(shot.path), why))
    return list(first.values())


def _person(path: Path, codec: Codec, failures: list[Failure]) -> Person:
    before = len(failures)
    pictures = _readable(image_paths(path), codec, failures)
    if not pictures:
        raise InputError(f"{one_line(path)}: no picture can be used: {failures[before].reason}")
    name = path.resolve().name if path.is_dir() else path.stem
    return Person(name, tuple(pictures))


def _how(codec: Codec, method: Method) -> dict[str, str]:
    """What decides an output beside its inputs and alpha."""
    how = {"model": codec.fingerprint, "precision": codec.precision, "method": method}
    if method == "warp" and codec.expressions is not None:
        how["expressions"] = fingerprint(codec.expressions)
    return how


def _item_id(
    how: dict[str, str], shot: Picture, source: Person, target: Person, alpha: float
) -> str:
    recipe = how | {
        "alpha": alpha,
        "expression": shot.sha256,
        "source": sorted(p.sha256 for p in source.pictures),
        "target": sorted(p.sha256 for p in target.pictures),
    }
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]


def file_name(text: str) -> str:
    """Text as part of a file name: other characters than letters, digits, ._+- become -."""
    return re.sub(r"[^\w.+-]+", "-", text)[:80] or "-"
