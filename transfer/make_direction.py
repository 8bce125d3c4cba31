"""Make an attribute direction from pictures with the attribute and pictures without it.

Memory does not grow with the number of pictures: their latents are summed as they are read. The
first MAX_HELD_OUT of each group are encoded again, to measure the direction on pictures that it was
not made of: the direction of the pictures at even places on those at odd places, and the other way
round. In a space of so many dimensions, any direction separates the pictures that it was made of.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.messages import counted, failure, one_line
from glow_jax.io.picture_folders import list_tree
from transfer.codec import Codec, in_batches
from transfer.complete import Notify
from transfer.directions import Direction, save_direction, separation
from transfer.jobs.prefetch import LoadPicture
from transfer.jobs.run import Progress, no_progress
from transfer.models import load_models
from transfer.photos.aligned_faces import Photographs, check_installed, loader_of
from transfer.requests import Precision, StrPath

MAX_HELD_OUT = 1000  # pictures of each group, on which the direction is measured
MIN_SEPARATION = 0.5  # a smaller one is reported: the two groups overlap almost completely
N_THREADS = 4
MAX_LINES = 20  # about pictures that are left out


def make_direction(
    positives: Sequence[StrPath],
    negatives: Sequence[StrPath],
    out: StrPath,
    *,
    model: StrPath = "faces64",
    precision: Precision = "exact",
    batch_size: int = 8,
    photographs: Photographs | None = None,
    progress: Progress = no_progress,
    notify: Notify = lambda line: None,
) -> Direction:
    """Write the direction from the pictures without an attribute to those with it.

    Args:
        positives: pictures with the attribute, or folders of them, searched at any depth.
        negatives: pictures without it.
        out: the file, .npz; an older one is replaced.
        model: a bundled name, or a checkpoint directory.
        precision: "exact", or "fast": coupling networks in bfloat16.
        batch_size: images that are encoded at once.
        photographs: settings by which faces are cut out, if the pictures are photographs of any
            size; None if they are aligned faces of the model's size.
        progress: called with the name of a stage, the number of items done, and their total.
        notify: called with lines for the user: what was left out, a direction that says little.

    Raises:
        InputError: a path is missing, no picture of a group can be used, the two groups are the
            same, or the file cannot be written.
    """
    groups = [_listed(paths, notify) for paths in (positives, negatives)]
    if both := set(groups[0]) & set(groups[1]):
        raise InputError(
            f"{counted(len(both), 'picture')} of `positives` {'is' if len(both) == 1 else 'are'} "
            f"also in `negatives`, such as {one_line(min(both))}"
        )
    check_installed(photographs)
    codec = load_models(model, precision).codec
    load, _ = loader_of(photographs, codec.size, codec.channels)
    batch = in_batches(codec, batch_size)
    total, done = sum(map(len, groups)), 0
    sums, trouble = list[_Sums](), list[str]()
    for paths in groups:
        some = _Sums()
        for usable, latents in _encoded(batch, load, paths, batch_size, trouble):
            some.add(usable, latents)
            done += batch_size
            progress("encode", min(done, total), total)
        sums.append(some)
    for why in trouble[:MAX_LINES]:
        notify(f"skipped: {why}")
    if len(trouble) > MAX_LINES:
        notify(f"skipped: {counted(len(trouble) - MAX_LINES, 'more picture')}")
    for name, some in zip(("positives", "negatives"), sums, strict=True):
        if not some.paths:
            raise InputError(f"`{name}`: no picture can be used: {trouble[0]}")
    direction = _direction_of(codec, sums[0], sums[1], Path(out).stem)
    if direction.is_zero:
        raise InputError("`positives` and `negatives` have the same mean: the direction is zero")
    along = _held_out(batch, load, sums, batch_size, progress)
    direction = dataclasses.replace(direction, separation=along)
    if not along >= MIN_SEPARATION and not math.isnan(along):
        notify(
            f"the direction says little: on pictures that it was not made of, the groups are "
            f"{along:.2f} standard deviations apart; give more pictures"
        )
    save_direction(out, direction)
    return direction


class _Sums:
    """The pictures of a group that can be used, and sums of their latents at even and odd places.

    Attributes:
        paths: of the pictures.
        halves: float64 sums of each level, of the pictures at even places and of the others.
    """

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.halves: list[list[np.ndarray]] = []

    def add(self, paths: Sequence[str], latents: Sequence[np.ndarray]) -> None:
        """Add pictures, and their latents (B, ...) at each level."""
        start = len(self.paths) % 2
        self.paths += paths
        for half in range(2):
            found = [a[(start + half) % 2 :: 2].sum(0, dtype=np.float64) for a in latents]
            if len(self.halves) <= half:
                self.halves.append(found)
            else:
                self.halves[half] = [a + b for a, b in zip(self.halves[half], found, strict=True)]

    def mean(self, half: int | None = None) -> list[np.ndarray]:
        """The mean of all latents, or of a half's."""
        if half is None:
            return [(a + b) / len(self.paths) for a, b in zip(*self.halves, strict=True)]
        n = (len(self.paths) + 1 - half) // 2
        return [a / n for a in self.halves[half]]


def _direction_of(codec: Codec, first: _Sums, second: _Sums, name: str) -> Direction:
    means = zip(first.mean(), second.mean(), strict=True)
    levels = tuple((a - b).astype(np.float32) for a, b in means)
    n = len(first.paths), len(second.paths)
    return Direction(levels, codec.name, codec.fingerprint, *n, math.nan, name)


def _held_out(
    codec: Codec, load: LoadPicture, sums: Sequence[_Sums], size: int, progress: Progress
) -> float:
    """The separation of pictures along the direction of the other half; see the module."""
    if min(len(some.paths) for some in sums) < 2:
        return math.nan
    halves = [zip(sums[0].mean(half), sums[1].mean(half), strict=True) for half in range(2)]
    directions = [np.concatenate([(a - b).ravel() for a, b in pairs]) for pairs in halves]
    along: list[list[list[float]]] = [[[], []], [[], []]]  # by half and group
    total, done = sum(min(len(s.paths), MAX_HELD_OUT) for s in sums), 0
    for group, some in enumerate(sums):
        places = {path: i % 2 for i, path in enumerate(some.paths)}
        for paths, latents in _encoded(codec, load, some.paths[:MAX_HELD_OUT], size, []):
            vectors = np.concatenate([a.reshape(len(paths), -1) for a in latents], 1)
            for path, vector in zip(paths, vectors, strict=True):
                other = 1 - places[path]
                along[other][group].append(float(vector @ directions[other]))
            done += size
            progress("measure", min(done, total), total)
    found = [separation((np.array(first), np.array(second))) for first, second in along]
    return float(np.mean(found))


def _listed(paths: Sequence[StrPath], notify: Notify) -> list[str]:
    found = [list_tree(path) for path in paths]
    for one in found:
        if one.note:
            notify(one.note)
    return list(dict.fromkeys(str(path) for one in found for path in one.paths))


def _encoded(
    codec: Codec, load: LoadPicture, paths: Sequence[str], size: int, trouble: list[str]
) -> Iterator[tuple[list[str], list[np.ndarray]]]:
    """Batches of pictures: the paths that can be used, and the latents (B, ...) at each level."""

    def one(path: str) -> np.ndarray | str:
        try:
            return load(path)
        except Exception as error:  # of one picture
            return failure(path, error)

    with ThreadPoolExecutor(N_THREADS) as pool:
        for start in range(0, len(paths), size):
            some = paths[start : start + size]
            read = dict(zip(some, pool.map(one, some), strict=True))
            trouble += [why for why in read.values() if isinstance(why, str)]
            usable = {path: pixels for path, pixels in read.items() if not isinstance(pixels, str)}
            if usable:
                latents = codec.encode(np.stack(list(usable.values())))
                yield list(usable), [np.asarray(a) for a in jax.tree.leaves(latents)]
