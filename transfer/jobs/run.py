"""† Run a job into a folder: move expressions, write, resume.

Reading, the device's work and writing overlap, each a bounded number of pictures ahead. A group
is the rows of a chunk that one device computes at once: always the same ones in the same places,
so that an output's bytes do not depend on what was done before, elsewhere or beside it.
"""

import collections
import contextlib
import dataclasses
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.files import write_atomically
from glow_jax.io.pictures import image_bytes, read_image, write_image
from glow_jax.io.provenance import Provenance
from transfer import arithmetic
from transfer.codec import Codec, Images, Latents, in_batches, to_bytes
from transfer.jobs import output_folder as folder
from transfer.jobs.inputs import USABLE, Inputs, Read
from transfer.jobs.output_folder import Row, Totals
from transfer.jobs.plan import METHODS, PICTURES, SHARDS, Job, Method, file_name
from transfer.jobs.shards import WRITERS as WRITE_SHARD
from transfer.jobs.shards import Record
from transfer.methods import apply

CACHE_BYTES = 4 * 10**9
WRITERS = 4
READERS = 4
LANES = 2  # batches that a GPU has at once: one computes while the other's pictures are fetched
WAITING = 256  # pictures to be written
KIND: Literal["compositeWithTrainedAlgorithmicMedia"] = "compositeWithTrainedAlgorithmicMedia"


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a run did, and what its folder holds.

    Attributes:
        made, kept: outputs written now, and found from an earlier run.
        seconds: from the first picture read to the last output.
        encoded_again: pictures that the cache had no room for.
        totals: of the folder.
    """

    made: int
    kept: int
    seconds: float
    encoded_again: int
    totals: Totals


@dataclasses.dataclass(frozen=True)
class Group:
    """Rows that one device computes at once.

    Attributes:
        chunk: that they belong to; `last` of whose groups this is or not.
        rows: of the plan, all of one method.
    """

    chunk: int
    last: bool
    rows: tuple[int, ...]
    method: Method
    auto: bool


@dataclasses.dataclass(frozen=True)
class Batch:
    """Groups side by side, one a device, and what their outputs are made from.

    Attributes:
        groups: at most one a device.
        places: of each row that can be made, its place in the arrays.
        alphas: (B,), NaN where they are to be chosen.
        pictures: (B, H, W, C) that method "warp" edits.
        codes: (B, A) that it paints.
        base, shot, source: latents (B, D) of method "paper".
    """

    groups: tuple[Group, ...]
    places: dict[int, int]
    alphas: np.ndarray
    pictures: Images | None = None
    codes: np.ndarray | None = None
    base: np.ndarray | None = None
    shot: np.ndarray | None = None
    source: np.ndarray | None = None


def run(
    job: Job,
    codec: Codec,
    out: Path,
    *,
    batch_size: int,
    versions: dict[str, str],
    read: Read | None = None,
    shard: tuple[int, int] = (1, 1),
    limit: int | None = None,
    retry_failed: bool = False,
    likelihood: bool = True,
    means: bool = False,
    cache_bytes: int = CACHE_BYTES,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Summary:
    """Make every output of `job` in `out` that is not there yet.

    Args:
        job: from `transfer.jobs.plan.make_job`.
        codec: the model.
        out: a new folder, or one that holds an interrupted run of the same job.
        batch_size: images that each device computes at once.
        versions: of the software, for job.json.
        read: a path to pixels, uint8 (H, W, C); in several threads. InputError says why there
            are none. By default pictures must have the model's size.
        shard: (i, n): only every n-th chunk, beginning with the i-th, from 1.
        limit: stop after about so many outputs: after the chunk in which they are reached.
        retry_failed: do chunks again in which an output could not be made.
        likelihood: whether bits/dim of the outputs are computed, which costs another encode.
        means: whether people's reference faces are written, decoded.
        cache_bytes: of disk, for latents and pixels that are needed again.
        progress: called with a stage and how far it is.

    Raises:
        InputError: `out` holds something else, or cannot be written.
    """
    folder.check(out, job)
    description = describe(job, codec, batch_size, versions)
    with folder.claimed(out, job, description, f"{shard[0]}/{shard[1]}"):
        pending, kept = pending_chunks(job, out, shard, retry_failed=retry_failed, limit=limit)
        started = time.perf_counter()
        with Worker(
            job,
            codec,
            out,
            batch_size=batch_size,
            read=read,
            likelihood=likelihood,
            cache_bytes=cache_bytes,
        ) as worker:
            if means:
                worker.write_means()
            made = worker.do(pending, progress)
        seconds = time.perf_counter() - started
        totals = folder.write_tables(out)
    return Summary(made, kept, seconds, worker.inputs.n_encoded_again, totals)


def pending_chunks(
    job: Job,
    out: Path,
    shard: tuple[int, int] = (1, 1),
    *,
    retry_failed: bool = False,
    limit: int | None = None,
) -> tuple[list[int], int]:
    """Chunks of a shard that are to be done, and how many outputs are in those that are."""
    own = range(shard[0] - 1, job.n_chunks, shard[1])
    pending = [k for k in own if not folder.is_done(out, job, k, retry_failed=retry_failed)]
    kept = sum(len(job.chunk(k)) for k in own) - sum(len(job.chunk(k)) for k in pending)
    return pending[: None if limit is None else -(-limit // job.chunk_size)], kept


def _groups(job: Job, chunks: Iterable[int], size: int) -> Iterator[Group]:
    """The groups of chunks: at most `size` rows of one chunk and one kind."""
    for chunk in chunks:
        rows = job.chunk(chunk).tolist()
        kinds = [(job.plan.method[row], bool(np.isnan(job.plan.alpha[row]))) for row in rows]
        start = 0
        while start < len(rows):
            stop = start + 1
            while stop < min(start + size, len(rows)) and kinds[stop] == kinds[start]:
                stop += 1
            method, auto = kinds[start]
            part = tuple(rows[start:stop])
            yield Group(chunk, stop == len(rows), part, METHODS[method], auto)
            start = stop


def _abreast(groups: Iterable[Group], n: int) -> Iterator[tuple[Group, ...]]:
    """Up to `n` groups of one kind at a time."""
    for _, alike in itertools.groupby(groups, lambda group: (group.method, group.auto)):
        while some := tuple(itertools.islice(alike, n)):
            yield some


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[Any], Any], things: Iterable[Any], n: int
) -> Iterator[Any]:
    """`work(thing)` of each, in order, in a pool's threads, at most `n` begun ahead of need."""
    waiting: collections.deque[Future] = collections.deque()
    try:
        for thing in things:
            waiting.append(pool.submit(work, thing))
            while waiting and (len(waiting) > n or waiting[0].done()):
                yield waiting.popleft().result()
    except (Exception, KeyboardInterrupt):
        while waiting:  # what was begun is finished first
            yield waiting.popleft().result()
        raise
    while waiting:
        yield waiting.popleft().result()


def step_back() -> None:
    """Where the cores compute too, let this thread have what they leave: half of a decoder that
    waits for the other half costs more than a picture that is written later."""
    if jax.default_backend() == "cpu" and sys.platform == "linux":  # elsewhere it is the process's
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


class Worker:
    """Does chunks: their rows are prepared, made, written, and committed together.

    Attributes:
        inputs: what it knows of the job's pictures and people so far.
    """

    def __init__(
        self,
        job: Job,
        codec: Codec,
        out: Path,
        *,
        batch_size: int,
        read: Read | None = None,
        likelihood: bool = True,
        cache_bytes: int = CACHE_BYTES,
    ):
        """The arguments are those of `run`."""
        size = (codec.size, codec.channels)
        self._stack = contextlib.ExitStack()
        self._readers, self._devices, self._writers = (
            self._stack.enter_context(ThreadPoolExecutor(n, initializer=start))
            for n, start in ((READERS, None), (LANES, None), (WRITERS, step_back))
        )
        self._job, self._out = job, out
        self._batch_size, self._likelihood = batch_size, likelihood
        self._folders = set[Path]()  # that are there
        self._codec = codec = in_batches(codec, batch_size * codec.n_devices)
        self.inputs = Inputs(
            job,
            codec,
            batch_size,
            read or (lambda path: read_image(path, *size)),
            out,
            cache_bytes,
            self._readers,
        )
        chunk = job.first_use[1]
        self._by_chunk = np.argsort(chunk, kind="stable")
        self._chunks = chunk[self._by_chunk]

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def do(
        self,
        chunks: Sequence[int],
        progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
    ) -> int:
        """Make and commit chunks; returns how many outputs were made."""
        total = sum(len(self._job.chunk(k)) for k in chunks)
        for chunk in chunks:
            folder.forget(self._out, chunk)
        n_made, of_chunk = 0, list[_Made]()
        batches = self._prepared(_groups(self._job, chunks, self._batch_size))
        if jax.default_backend() == "cpu":
            # XLA's programs share one pool of threads there: two that solve linear equations
            # (`transfer.expression.warp`) wait for each other for ever, and nothing is gained.
            results: Iterator[list[_Made]] = map(self._made, batches)
        else:
            results = _ahead(self._devices, self._made, batches, LANES)
        flat = itertools.chain.from_iterable(results)
        try:
            for done, result in enumerate(_ahead(self._writers, self._written, flat, WAITING), 1):
                of_chunk.append(result)
                n_made += not result.row["stage"]
                if result.last:
                    self._commit(result.chunk, of_chunk)
                    of_chunk = []
                progress("transfer", done, total)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            why = f"{self._batch_size} images at once do not fit into the device's memory"
            raise InputError(f"{why}; give a smaller --batch-size") from error
        return n_made

    def _prepared(self, groups: Iterable[Group]) -> Iterator[Batch]:
        """What groups need, read and encoded; the next batch's pictures are being read."""
        rounds = itertools.chain(_abreast(groups, self._codec.n_devices), [()])
        for now, soon in itertools.pairwise(rounds):
            rows, later = ([r for g in some for r in g.rows] for some in (now, soon))
            self.inputs.prepare(rows, later)
            yield self._batch(now)

    def write_means(self) -> None:
        """Write every reference face, decoded: what expressions are measured from, or added to."""
        job, inputs, codec = self._job, self.inputs, self._codec
        wanted = {}
        for role, column in (("source", job.plan.source), ("target", job.plan.target)):
            people, rows = np.unique(column[job.order], return_index=True)
            for person, row in zip(people.tolist(), job.order[rows].tolist(), strict=True):
                path = mean_file(self._out, role, job.plan.names[person])
                if not path.exists():
                    wanted[path] = person, METHODS[job.plan.method[row]]
        if not wanted:
            return
        (self._out / "means").mkdir(exist_ok=True)
        inputs.prepare(job.order.tolist())
        for path, (person, method) in wanted.items():
            if not inputs.usable(person):
                continue
            if method == "paper":
                used, vector = inputs.usable(person), inputs.mean(person)
            else:
                used = [inputs.base(person)]
                vector = inputs.latents(used)[0]
            grey = np.asarray(codec.decode(inputs.tree(vector[None])))
            recipe = {"mean_of": [Path(job.plan.files[i]).name for i in used]}
            write_image(path, to_bytes(grey)[0], Provenance(KIND, codec.name, recipe))

    def _batch(self, groups: tuple[Group, ...]) -> Batch:
        inputs, plan = self.inputs, self._job.plan
        places = {
            row: g * self._batch_size + i
            for g, group in enumerate(groups)
            for i, row in enumerate(group.rows)
            if inputs.trouble(row) is None
        }
        if not places:
            return Batch(groups, places, np.zeros(0))
        rows = [next(iter(places))] * self._batch_size * self._codec.n_devices
        for row, place in places.items():
            rows[place] = row
        alphas = plan.alpha[rows].astype(np.float32)
        shots, sources, targets = (
            column[rows].tolist() for column in (plan.expression, plan.source, plan.target)
        )
        if groups[0].method == "warp":
            pictures = inputs.pixels([inputs.base(target) for target in targets])
            pairs = zip(shots, sources, strict=True)
            codes = np.stack([inputs.code(shot, source) for shot, source in pairs])
            return Batch(groups, places, alphas, pictures=pictures, codes=codes)
        means = {person: inputs.mean(person) for person in {*sources, *targets}}
        return Batch(
            groups,
            places,
            alphas,
            base=np.stack([means[target] for target in targets]),
            shot=inputs.latents(shots),
            source=np.stack([means[source] for source in sources]),
        )

    def _made(self, batch: Batch) -> list["_Made"]:
        """Transfer and decode a batch; a result a row, in order, with the picture or without."""
        started = time.perf_counter()
        job, places, outputs = self._job, batch.places, dict[int, tuple[np.ndarray, Row]]()
        if places:
            alphas, (grey, kept, lost) = self._decoded(batch)
            images = to_bytes(grey)
            clipped = ((grey < 0) | (grey >= 256)).mean((1, 2, 3))
            bits = np.asarray(self._codec.bits_per_dim(images)) if self._likelihood else None
            seconds = (time.perf_counter() - started) / len(places)
            for row, place in places.items():
                outputs[row] = (
                    images[place],
                    folder.row_of(job, row)
                    | {
                        # As it was asked for, not as the device rounds it.
                        "alpha": repr(
                            float(alphas[place] if batch.groups[0].auto else job.plan.alpha[row])
                        ),
                        "seconds": f"{seconds:.4f}",
                        "round_trip_error": f"{self.inputs.worst_error(row):.3g}",
                        "bits_per_dim": "" if bits is None else f"{bits[place]:.4f}",
                        "non_finite_pixels": int(lost[place]),
                        "clipped_share": f"{clipped[place]:.4f}",
                        "edit_kept": f"{kept[place]:g}",
                        "left_out": self.inputs.left_out(row),
                    },
                )
        made = []
        for group in batch.groups:
            for row in group.rows:
                last = group.last and row == group.rows[-1]
                if row in outputs:
                    image, told = outputs[row]
                    made.append(_Made(group.chunk, last, told, image))
                    continue
                trouble = self.inputs.trouble(row)
                assert trouble is not None
                told = folder.row_of(job, row) | dataclasses.asdict(trouble)
                made.append(_Made(group.chunk, last, told))
        return made

    def _decoded(self, batch: Batch) -> tuple[np.ndarray, apply.Decoded]:
        """The alphas of a batch, and its outputs."""
        codec, place = self._codec, self._codec.place
        if batch.pictures is not None:
            known, codes, pictures = codec.expressions, batch.codes, batch.pictures
            assert known is not None and codes is not None
            most = apply.alphas_of_faces(codes)

            def at(alphas: np.ndarray) -> apply.Decoded:
                grey = apply.paint(known, pictures, codes * alphas[:, None], codec.devices)
                return apply.Decoded(grey, np.ones(len(grey)), np.zeros(len(grey), int))

        else:
            tree = self.inputs.tree
            assert batch.base is not None and batch.shot is not None and batch.source is not None
            base = tree(batch.base)
            origin, source, shot = place(base), place(tree(batch.source)), tree(batch.shot)

            def at(alphas: np.ndarray) -> apply.Decoded:
                edited = _transfer(origin, place(shot), source, place(alphas))
                return apply.decode_safely(codec.decode, base, edited)

            pictures, most = None, None
        if not batch.groups[0].auto:
            return batch.alphas, at(batch.alphas)
        if pictures is None:
            pictures = to_bytes(np.asarray(codec.decode(base)))
        alphas = apply.largest_alphas(at, codec, pictures, most)
        return alphas, at(alphas)

    def _written(self, made: "_Made") -> "_Made":
        """Encode a picture, and write it unless it goes into a shard."""
        if made.image is None:
            return made
        row, sharded = made.row, self._job.format in SHARDS
        provenance = Provenance(KIND, self._codec.name, self._recipe(row))
        ending = ".png" if sharded else PICTURES[self._job.format]
        data = image_bytes(made.image, provenance, ending, row["file"])
        if sharded:
            return dataclasses.replace(made, image=None, data=data)
        path = self._out / row["file"]
        if path.parent not in self._folders:
            path.parent.mkdir(exist_ok=True)
            self._folders.add(path.parent)
        write_atomically(path, data)
        return dataclasses.replace(made, image=None, row=row | {"bytes": len(data)})

    def _recipe(self, row: Row) -> dict[str, Any]:
        return {
            "id": row["id"],
            "method": row["method"],
            "alpha": float(row["alpha"]),
            "expression": Path(row["expression"]).name,
            "source": row["source"],
            "target": row["target"],
            "model_fingerprint": self._codec.fingerprint,
        }

    def _commit(self, chunk: int, made: Sequence["_Made"]) -> None:
        """Note that a chunk is done, with the pictures that were needed first in it."""
        start, stop = np.searchsorted(self._chunks, [chunk, chunk + 1])
        pictures = self._by_chunk[start:stop].tolist()
        ordered = sorted(pictures, key=self._job.first_use[0].__getitem__)
        rows = self._sharded(made) if self._job.format in SHARDS else [m.row for m in made]
        folder.commit(self._out, chunk, rows, map(self._input_row, ordered))

    def _sharded(self, made: Sequence["_Made"]) -> list[Row]:
        """Write a chunk's pictures into one file; its rows, which say where in it they are."""
        pictures = [m for m in made if m.data is not None]
        if not pictures:
            return [m.row for m in made]
        records = [
            Record(
                m.data or b"",
                m.row["id"],
                Path(m.row["expression"]).name,
                m.row["source"],
                m.row["target"],
                float(m.row["alpha"]),
                m.row["method"],
            )
            for m in pictures
        ]
        file = pictures[0].row["file"]
        path = self._out / file
        path.parent.mkdir(exist_ok=True)
        WRITE_SHARD[self._job.format](path, records)
        size, place = path.stat().st_size, itertools.count()
        return [
            m.row | {"file": f"{file}#{next(place)}", "bytes": size}
            if m.data is not None
            else m.row
            for m in made
        ]

    def _input_row(self, i: int) -> Row:
        inputs, job = self.inputs, self._job
        row = dict.fromkeys(folder.CHUNK_INPUT_FIELDS, "") | {
            "file": job.plan.files[i],
            "role": job.first_use[2][i],
            "sha256": job.sha256[i],
        }
        if inputs.state[i] != USABLE:
            return row | {"reason": inputs.reasons[i]}
        return row | {
            "bits_per_dim": f"{inputs.bits[i]:.4f}",
            "round_trip_error": f"{inputs.max_error[i]:.3g}",
            "round_trip_mean_error": f"{inputs.mean_error[i]:.3g}",
            "redone_in_exact": int(inputs.redone[i]),
        }


@dataclasses.dataclass(frozen=True)
class _Made:
    """A row that was made or cannot be; `last` of its chunk or not."""

    chunk: int
    last: bool
    row: Row
    image: np.ndarray | None = None
    data: bytes | None = None  # the picture's file, for a shard


@partial(jax.jit, donate_argnums=1)
def _transfer(z_tgt_mean: Latents, z_src: Latents, z_src_mean: Latents, alphas: Any) -> Latents:
    return jax.vmap(arithmetic.transfer)(z_tgt_mean, z_src, z_src_mean, alphas)


def mean_file(out: Path, role: str, person: str) -> Path:
    """Where a person's decoded reference face lies; `role` is "source" or "target"."""
    return out / "means" / f"{role}_{file_name(person)}.png"


def describe(
    job: Job, codec: Codec, batch_size: int | None, versions: dict[str, str]
) -> dict[str, Any]:
    """What job.json tells of how a job is run."""
    alphas = np.unique(job.plan.alpha[job.order])[:1000].tolist()
    methods = [METHODS[i] for i in np.unique(job.plan.method).tolist()]
    return {
        "origin": job.plan.origin,
        "model": {"name": codec.name, "fingerprint": codec.fingerprint},
        "precision": codec.precision,
        "method": ", ".join(methods),
        "alphas": ["auto" if np.isnan(alpha) else alpha for alpha in alphas],
        "batch_size": batch_size,
        "versions": versions,
    }
