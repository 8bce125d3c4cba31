"""Read, encode and measure the input pictures of a job, and average the latents of each person.

Each picture is read and encoded once, and each person's mean is computed once, as long as the cache
on disk has room. An array that the cache dropped is computed again with the same bits, because a
picture always has the same position in a batch, whatever else is in the batch.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.messages import failure, one_line
from transfer.codec import Codec, Images, Latents, RoundTrip
from transfer.expression.model import ExpressionModel
from transfer.jobs.disk_cache import DiskCache
from transfer.jobs.job import Job
from transfer.jobs.plan import Plan
from transfer.jobs.prefetch import LoadPicture, Prefetcher
from transfer.photos.aligned_faces import AlignedFaces
from transfer.photos.hidden import hidden_in

UNKNOWN, USABLE, BAD = 0, 1, 2
PIXELS_SHARE = 0.2  # of the cache; the latents of a picture are four times as large as its pixels
MIN_AHEAD = 32  # smallest number of pictures that are read ahead


@dataclasses.dataclass(frozen=True)
class Trouble:
    """Why an output cannot be made: the stage that failed, the picture's path, and the reason."""

    stage: str
    path: str
    reason: str


class Inputs:
    """The input pictures of a job and the people in them, read and encoded when they are needed.

    Attributes:
        state: (P,) state of each picture: UNKNOWN (not read yet), USABLE or BAD.
        reasons: from the number of a bad picture to the reason.
        bits: (P,) bits/dim of usable pictures.
        max_error, mean_error: (P,) round-trip error of usable pictures, grey levels.
        redone: (P,) whether the exact codec had to encode the picture.
        hidden: from the number of a photograph to the parts of the face that may be hidden in it
            (`transfer.photos.hidden`).
        n_encoded_again: how often a picture was encoded again, because the cache had dropped it.
    """

    def __init__(
        self,
        job: Job,
        codec: Codec,
        rows: int,
        load: LoadPicture,
        folder: Path,
        cache_bytes: int,
        pool: ThreadPoolExecutor,
        expression_model: ExpressionModel | None = None,
    ):
        """Nothing is read yet.

        Args:
            job: the job.
            codec: the flow; it takes `rows * codec.n_devices` images at once.
            rows: images of a batch per device.
            load: function that reads one picture; called in the pool's threads.
                `AlignedFaces` also give the details in which expressions are read.
            folder: folder for the cache.
            cache_bytes: size of the cache.
            pool: threads that read.
            expression_model: looks for what is hidden in photographs; None looks for nothing.
        """
        n = len(job.plan.files)
        self.job, self.codec, self._rows = job, codec, rows
        self.state = np.zeros(n, np.uint8)
        self.reasons: dict[int, str] = {}
        self.bits, self.max_error, self.mean_error = (np.zeros(n, np.float32) for _ in range(3))
        self.redone = np.zeros(n, bool)
        self.hidden: dict[int, tuple[str, ...]] = {}
        self.n_encoded_again = 0
        self._rank, self._chunk, _ = job.first_use
        self._by_rank = np.argsort(self._rank)
        self._photographs = load if isinstance(load, AlignedFaces) else None
        self._expression_model = expression_model
        self._prefetcher = Prefetcher(
            load, job.plan.files, pool, max(MIN_AHEAD, 2 * self.batch_size)
        )
        self._latents = DiskCache(folder, int(cache_bytes * (1 - PIXELS_SHARE)))
        self._pixels = DiskCache(folder, int(cache_bytes * PIXELS_SHARE))
        self._structure: Any = None
        self._shapes: list[tuple[int, ...]] = []
        self._known_people = np.zeros(len(job.plan.names), bool)

    @property
    def batch_size(self) -> int:
        """Images that all devices compute at once."""
        return self._rows * self.codec.n_devices

    # -- pictures

    def prepare(self, rows: Iterable[int], soon: Iterable[int] = ()) -> None:
        """Read, encode and measure the pictures of `rows`; begin to read those of `soon`."""
        now = self._unknown(rows)
        self._prefetcher.expect(now)
        self._prefetcher.expect(self._unknown(soon))
        for batch in self._batches(now):
            more = self._next(batch, now)
            self._prefetcher.expect(more.values())
            self._measure(batch | more)

    def pictures(self, rows: Iterable[int]) -> list[int]:
        """The pictures that rows need, in the order of first use."""
        plan, people = self.job.plan, set[int]()
        found = set[int]()
        for row in rows:
            found.add(int(plan.expression[row]))
            people |= {int(plan.source[row]), int(plan.target[row])}
        for person in people:
            found.update(plan.pictures[person])
        return sorted(found, key=self._rank.__getitem__)

    def trouble(self, row: int) -> Trouble | None:
        """Why a row cannot be made; None if it can."""
        plan = self.job.plan
        expression = int(plan.expression[row])
        if self.state[expression] == BAD:
            return Trouble("read", plan.files[expression], self.reasons[expression])
        for person in (int(plan.source[row]), int(plan.target[row])):
            if not self.usable(person):
                first = plan.pictures[person][0]
                why = f"no picture of {plan.names[person]} can be used: {self.reasons[first]}"
                return Trouble("read", plan.files[first], why)
        return None

    def usable(self, person: int) -> list[int]:
        """A person's pictures that can be used."""
        return [i for i in self.job.plan.pictures[person] if self.state[i] == USABLE]

    def left_out(self, row: int) -> int:
        """How many pictures of a row's people cannot be used."""
        plan = self.job.plan
        people = (int(plan.source[row]), int(plan.target[row]))
        return sum(len(plan.pictures[p]) - len(self.usable(p)) for p in people)

    def worst_error(self, row: int) -> float:
        """The largest round-trip error of the pictures that a row is made from."""
        plan = self.job.plan
        people = (int(plan.source[row]), int(plan.target[row]))
        used = [int(plan.expression[row]), *(i for p in people for i in self.usable(p))]
        return float(self.max_error[used].max())

    def latents(self, pictures: Sequence[int]) -> np.ndarray:
        """(N, D) latents of usable pictures, each as one vector."""
        kept = {i: self._latents.get(i) for i in pictures}
        found = {i: array for i, array in kept.items() if array is not None}
        missing = sorted(kept.keys() - found.keys(), key=self._rank.__getitem__)
        for batch in self._batches(missing):
            pixels = dict(zip(batch.values(), self.pixels(list(batch.values())), strict=True))
            vectors = self._vectors(self._encoded(batch, pixels)[0].latents)
            for place, i in batch.items():
                found[i] = vectors[place]
                self._latents.put(i, vectors[place])
            self.n_encoded_again += len(batch)
        return np.stack([found[i] for i in pictures])

    def tree(self, vectors: np.ndarray) -> Latents:
        """Latents (B, ...) of vectors (B, D)."""
        leaves, start = [], 0
        for shape in self._shapes:
            size = int(np.prod(shape))
            leaves.append(vectors[:, start : start + size].reshape(-1, *shape))
            start += size
        return jax.tree.unflatten(self._structure, leaves)

    def pixels(self, pictures: Sequence[int]) -> Images:
        """(N, H, W, C) of usable pictures."""
        kept = {i: self._pixels.get(i) for i in pictures}
        found = {i: array for i, array in kept.items() if array is not None}
        for i in kept.keys() - found.keys():
            pixels = self._prefetcher.take(i)
            if isinstance(pixels, str):
                name = one_line(self.job.plan.files[i])
                raise InputError(f"{name}: changed during the run ({pixels})")
            found[i] = pixels
            self._pixels.put(i, pixels)
        return np.stack([found[i] for i in pictures])

    def detailed(self, pictures: Sequence[int]) -> Images:
        """(N, h, w, C) of usable pictures, as expressions are read in them."""
        if self._photographs is None:
            return self.pixels(pictures)
        return np.stack([self._photographs.detailed(self.job.plan.files[i]) for i in pictures])

    # -- people

    def mean(self, person: int) -> np.ndarray:
        """(D,) the mean of a person's latents: the paper's mean face, as `arithmetic.mean`.

        It is computed on the host, in float64, so that no program is compiled for the number of
        pictures.
        """
        key = len(self.job.plan.files) + person
        kept = self._latents.get(key)
        if kept is not None:
            return kept
        usable, total = self.usable(person), np.zeros(0)
        for start in range(0, len(usable), self.batch_size):
            part = self.latents(usable[start : start + self.batch_size])
            total = part.sum(0, dtype=np.float64) + (total if len(total) else 0)
        mean = (total / len(usable)).astype(part.dtype)
        self._latents.put(key, mean)
        return mean

    # -- encoding in batches

    def _unknown(self, rows: Iterable[int]) -> list[int]:
        """The pictures of rows that are not read yet, in the order of first use."""
        plan, found, people = self.job.plan, set[int](), set[int]()
        for row in rows:
            expression = int(plan.expression[row])
            if self.state[expression] == UNKNOWN:
                found.add(expression)
            people |= {int(plan.source[row]), int(plan.target[row])}
        for person in people:
            if not self._known_people[person]:
                unknown = [i for i in plan.pictures[person] if self.state[i] == UNKNOWN]
                self._known_people[person] = not unknown
                found.update(unknown)
        return sorted(found, key=self._rank.__getitem__)

    def _batches(self, pictures: Iterable[int]) -> Iterator[dict[int, int]]:
        """Batches, position to picture; the position on a device depends on the picture alone."""
        batch: dict[int, int] = {}
        for i in pictures:
            own = int(self._rank[i]) % self._rows
            places = range(own, self.batch_size, self._rows)
            place = next((p for p in places if p not in batch), None)
            if place is None:
                yield batch
                batch, place = {}, own
            batch[place] = i
        if batch:
            yield batch

    def _next(self, batch: dict[int, int], now: Sequence[int]) -> dict[int, int]:
        """Pictures that are needed later, for the free positions of a batch."""
        first = max(int(self._rank[i]) for i in batch.values()) + 1
        some = self._by_rank[first : first + self.batch_size - len(batch)]
        found: dict[int, int] = {}
        for i in some[self.state[some] == UNKNOWN].tolist():
            own = int(self._rank[i]) % self._rows
            places = range(own, self.batch_size, self._rows)
            place = next((p for p in places if p not in batch and p not in found), None)
            if place is not None and self._chunk[i] >= 0 and i not in now:
                found[place] = i
        return found

    def _measure(self, batch: dict[int, int]) -> None:
        """Read and encode a batch of unknown pictures, and measure their round trips."""
        pixels: dict[int, np.ndarray] = {}
        for place, i in list(batch.items()):
            result = self._prefetcher.take(i)
            if isinstance(result, str):
                self.state[i], self.reasons[i] = BAD, result
                del batch[place]
            else:
                pixels[i] = result
        if not batch:
            return
        found, redone, images = self._encoded(batch, pixels)
        latents = found.latents
        vectors, bits = self._vectors(latents), np.asarray(self.codec.bits_per_dim(images))
        for place, i in batch.items():
            self.max_error[i], self.mean_error[i] = found.largest[place], found.mean[place]
            self.bits[i], self.redone[i], self.state[i] = bits[place], redone[place], USABLE
            self._latents.put(i, vectors[place])
            self._pixels.put(i, pixels[i])
            if self._photographs is not None:
                face = self._photographs.face(self.job.plan.files[i])
                self.hidden[i] = hidden_in(self._expression_model, face)

    def _encoded(
        self, batch: dict[int, int], pixels: dict[int, np.ndarray]
    ) -> tuple[RoundTrip, np.ndarray, Images]:
        """Latents and round-trip errors, which images the exact codec encoded, and images."""
        images = np.repeat(pixels[next(iter(batch.values()))][None], self.batch_size, axis=0)
        for place, i in batch.items():
            images[place] = pixels[i]
        found = self.codec.round_trip(images)
        redone = found.largest >= self.codec.round_trip_bound
        if self.codec.exact is None or not redone.any():
            return found, np.zeros(len(images), bool), images
        better = self.codec.exact.round_trip(images)

        def chosen(new: Any, old: Any) -> np.ndarray:
            return np.where(redone.reshape(-1, *(1,) * (np.ndim(new) - 1)), new, old)

        return jax.tree.map(chosen, better, found), redone, images

    def _vectors(self, latents: Latents) -> np.ndarray:
        leaves, self._structure = jax.tree.flatten(latents)
        self._shapes = [leaf.shape[1:] for leaf in leaves]
        return np.concatenate([np.asarray(a).reshape(len(a), -1) for a in leaves], axis=1)


def check_inputs(job: Job, load: LoadPicture) -> list[Trouble]:
    """Read all pictures of a small job before anything is made; returns those that cannot be used.

    Raises:
        InputError: no output can be made, because no expression can be used, or because none of the
            pictures of every target, or of the source.
    """
    plan, reasons = job.plan, _reasons(job, load)
    expressions = dict.fromkeys(plan.expression.tolist())
    if all(i in reasons for i in expressions):
        raise InputError(f"no expression can be used: {reasons[next(iter(expressions))]}")
    usable = _usable_people(plan, reasons)
    if not _makes_some(plan, reasons, usable):
        who = usable.index(False)
        why = reasons[plan.pictures[who][0]]
        raise InputError(f"{plan.names[who]}: no picture can be used: {why}")
    return [Trouble("read", plan.files[i], why) for i, why in reasons.items()]


def check_pictures(job: Job, load: LoadPicture) -> list[Trouble]:
    """As `check_inputs`, for a job that edits pictures, of which a part may be unusable.

    Raises:
        InputError: no output can be made.
    """
    plan, reasons = job.plan, _reasons(job, load)
    if not _makes_some(plan, reasons, _usable_people(plan, reasons)):
        raise InputError(f"no picture can be edited: {next(iter(reasons.values()))}")
    return [Trouble("read", plan.files[i], why) for i, why in reasons.items()]


def _usable_people(plan: Plan, reasons: dict[int, str]) -> list[bool]:
    """Which people have a picture that can be used."""
    return [any(i not in reasons for i in pictures) for pictures in plan.pictures]


def _makes_some(plan: Plan, reasons: dict[int, str], usable: list[bool]) -> bool:
    """Whether an output of the plan can be made."""
    rows = zip(plan.expression.tolist(), plan.source.tolist(), plan.target.tolist(), strict=True)
    return any(e not in reasons and usable[s] and usable[t] for e, s, t in rows)


def _reasons(job: Job, load: LoadPicture) -> dict[int, str]:
    """From the number of each picture that cannot be used to the reason."""

    def reason(path: str) -> str:
        try:
            load(path)
        except Exception as error:  # of one picture, which must not end the run
            return failure(path, error)
        return ""

    with ThreadPoolExecutor(4) as pool:
        reasons = list(pool.map(reason, job.plan.files))
    return {i: why for i, why in enumerate(reasons) if why}
