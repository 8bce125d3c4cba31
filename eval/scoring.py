"""Score each picture once, in several processes, and cache the scores.

The scores are in one SQLite file, by the hash of the picture's bytes and a key of the model (model,
detector, reader, versions). Therefore a killed run continues where it stopped, and a picture that
occurs several times is scored once.
"""

import contextlib
import dataclasses
import functools
import json
import multiprocessing
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np

from eval.action_units import Reader, make_reader
from eval.files import Picture, content_hash
from eval.identity import Embedding, IdentityModel
from eval.photographs import read_face
from eval.reading import Reading
from eval.table import AUS
from glow_jax.io.errors import InputError
from glow_jax.io.messages import failure, one_line, reason
from glow_jax.io.output_folders import why_not_own
from glow_jax.io.signals import end_with_parent, interrupts_blocked
from glow_jax.io.terminal import printable

BATCH = 8
QUEUED = 2  # batches per process, so that no process runs out of work
VERSION = "2"  # of the code that prepares a picture for a model


@dataclasses.dataclass(frozen=True)
class Judges:
    """The identity model, or None, and the choice of AU reader for `make_reader`."""

    identity: IdentityModel | None
    reader: str


@dataclasses.dataclass(frozen=True)
class Scored:
    """A picture's scores.

    Attributes:
        embedding, reading: None if not requested.
        problem: why the file could not be read; empty if it was read.
    """

    embedding: Embedding | None = None
    reading: Reading | None = None
    problem: str = ""


Progress = Callable[[int, int], None]


def score(
    paths: Iterable[Path],
    judges: Judges,
    reader: Reader | None,
    cache: Path,
    *,
    workers: int,
    progress: Progress = lambda done, total: None,
) -> dict[Path, Scored]:
    """Score every picture.

    Args:
        paths: pictures; the same path twice is one picture.
        judges: the models to score with.
        reader: `make_reader(judges.reader)`. Only its key is used; without a key it reads in this
            process.
        cache: SQLite file, made if it does not exist.
        workers: number of processes; 0 scores in this process.
        progress: called with the number of pictures done, and their total.

    Raises:
        InputError: the cache is another kind of file, or weights are missing.
    """
    paths = list(dict.fromkeys(paths))
    hashes = {path: _hash(path) for path in paths}
    with ScoreCache(cache) as kept:
        kinds = _kinds(judges, reader)
        todo: dict[str, tuple[Path, list[str]]] = {}
        for path, sha in hashes.items():
            missing = [kind for kind, key in kinds.items() if sha and not kept.has(kind, key, sha)]
            if missing:
                todo.setdefault(sha, (path, missing))
        total, done = len(todo), 0
        progress(done, total)
        for found in _run(list(todo.items()), judges, workers):
            for sha, answers in found.items():
                kept.put(sha, {(kind, kinds[kind]): text for kind, text in answers.items()})
            done += len(found)
            progress(done, total)
        scored = {
            path: _collect(path, sha, kinds, kept, reader) if sha else _unread(path)
            for path, sha in hashes.items()
        }
        kept.check_sizes([one.embedding for one in scored.values() if one.embedding])
        return scored


def _kinds(judges: Judges, reader: Reader | None) -> dict[str, str]:
    """The kinds of scores that are cached, each with its key."""
    kinds = {}
    if judges.identity:
        kinds["identity"] = printable(f"{VERSION} {judges.identity.key}")
    if reader and reader.key:
        kinds["aus"] = printable(f"{VERSION} {reader.key}")  # SQLite keeps UTF-8 alone
    return kinds


def _hash(path: Path) -> str:
    try:
        return content_hash(path)
    except Exception:  # of one picture; `_unread` says which
        return ""


def _unread(path: Path) -> Scored:
    try:
        content_hash(path)
    except Exception as error:  # of one picture
        return Scored(problem=failure(path, error))
    return Scored(problem=f"{one_line(path)}: changed during judging")


def _collect(
    path: Path, sha: str, kinds: dict[str, str], kept: "ScoreCache", reader: Reader | None
) -> Scored:
    answers = {kind: kept.get(kind, key, sha) for kind, key in kinds.items()}
    problem = next((answer for answer in answers.values() if isinstance(answer, str)), "")
    if problem:
        return Scored(problem=f"{one_line(path)}: {problem}")
    if reader and not reader.key:
        try:
            picture = read_face(path)
        except Exception as error:  # of one picture
            return Scored(problem=failure(path, error))
        answers["aus"] = _scored(reader.read, Reading, [picture])[0]
    return Scored(answers.get("identity"), answers.get("aus"))


Task = tuple[str, tuple[Path, list[str]]]


def _run(tasks: list[Task], judges: Judges, workers: int) -> Iterator[dict[str, dict[str, str]]]:
    """Results of batches as they arrive; a picture whose process dies gets a problem instead."""
    batches = [tasks[i : i + BATCH] for i in range(0, len(tasks), BATCH)]
    if workers == 0:
        _scorers.cache_clear()
        yield from (_work(judges, batch) for batch in batches)
        return
    while batches:
        try:
            for batch, answers in _pooled(batches, judges, workers):
                batches.remove(batch)
                yield answers
        except BrokenProcessPool:
            # A process died while scoring: try each of its pictures in a separate process.
            suspects = [task for batch in batches[: QUEUED * workers] for task in batch]
            del batches[: QUEUED * workers]
            for task in suspects:
                try:
                    yield from (answers for _, answers in _pooled([[task]], judges, 1))
                except BrokenProcessPool:
                    note = json.dumps({"unreadable": "it ends the process that scores it"})
                    yield {task[0]: dict.fromkeys(task[1][1], note)}


def _pooled(
    batches: Sequence[list[Task]], judges: Judges, workers: int
) -> Iterator[tuple[list[Task], dict[str, dict[str, str]]]]:
    # Spawned, because a forked process with threads may hang; with one thread each, because the
    # processes share the cores.
    context = multiprocessing.get_context("spawn")
    with (
        _environment("OMP_NUM_THREADS", "1"),
        ProcessPoolExecutor(workers, context, end_with_parent) as pool,
    ):
        waiting: dict[Future, list[Task]] = {}
        left = list(batches)
        try:
            while left or waiting:
                while left and len(waiting) < QUEUED * workers:
                    batch = left.pop(0)
                    with interrupts_blocked():
                        waiting[pool.submit(_work, judges, batch)] = batch
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(future), future.result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@functools.lru_cache(maxsize=1)
def _scorers(judges: Judges) -> dict[str, tuple[Any, Any]]:
    """For each kind of cached scores: the function that scores pictures, and its type."""
    reader = make_reader(judges.reader)
    scorers: dict[str, tuple[Any, Any]] = {}
    if judges.identity:
        scorers["identity"] = judges.identity.embed, Embedding
    if reader and reader.key:
        scorers["aus"] = reader.read, Reading
    return scorers


def _work(judges: Judges, tasks: list[Task]) -> dict[str, dict[str, str]]:
    """The scores as JSON, by hash of the picture and by kind."""
    answers: dict[str, dict[str, str]] = {}
    pictures = {}
    for sha, (path, kinds) in tasks:
        try:
            pictures[sha] = read_face(path)
        except Exception as error:  # of one picture
            why = failure(path, error).removeprefix(f"{one_line(path)}: ")
            answers[sha] = dict.fromkeys(kinds, json.dumps({"unreadable": why}))
    for kind, (scorer, made) in _scorers(judges).items():
        wanted = [sha for sha, (_, kinds) in tasks if kind in kinds and sha in pictures]
        found = _scored(scorer, made, [pictures[sha] for sha in wanted])
        for sha, one in zip(wanted, found, strict=True):
            answers.setdefault(sha, {})[kind] = _text(one)
    return answers


def _scored(scorer: Any, made: Any, pictures: list[Picture]) -> list[Any]:
    """Scores of pictures; if the model fails, scores with a `problem`."""
    try:
        return scorer(pictures) if pictures else []
    except InputError:
        raise
    except Exception as error:  # a model may raise any type of error, and the run continues
        if len(pictures) == 1:
            return [made(0, problem=f"scoring failed ({reason(error)})")]
    return [score for picture in pictures for score in _scored(scorer, made, [picture])]


def _text(found: Embedding | Reading) -> str:
    fields = dataclasses.asdict(found)
    return json.dumps(
        {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in fields.items()}
    )


def _embedding(fields: dict) -> Embedding:
    vector = np.array(fields["vector"], float)
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise ValueError("not an embedding")
    return Embedding(int(fields["faces"]), vector, str(fields["problem"]))


def _reading(fields: dict) -> Reading:
    level, change, present = (np.array(fields[k], float) for k in ("level", "change", "present"))
    if any(values.shape != (len(AUS),) for values in (level, change, present)):
        raise ValueError("not a reading")
    return Reading(int(fields["faces"]), level, change, present, str(fields["problem"]))


FAILED = '{"unreadable"'
TABLE = "scores (kind text, key text, sha text, data text, primary key (kind, key, sha))"
MAX_ROW_BYTES = 2**22  # of one score


class ScoreCache:
    """Scores in an SQLite file; each batch is written in one transaction."""

    def __init__(self, path: Path):
        """Open the file, or make it.

        Raises:
            InputError: the file is of another kind, or cannot be written.
        """
        self._path = path
        with self._clear_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            if why := why_not_own(path):  # SQLite writes in place
                raise OSError(why)
            self._db = sqlite3.connect(path)
            self._db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_ROW_BYTES)
            # Anything else, a view or a trigger say, would run as a program.
            schema = self._db.execute("select type, sql from sqlite_schema limit 3").fetchall()
            if schema not in ([], [("table", f"CREATE TABLE {TABLE}"), ("index", None)]):
                raise OSError("it holds other tables")
            self._db.execute(f"create table if not exists {TABLE}")
            self._db.execute("select kind, key, sha, data from scores limit 1").fetchall()

    def __enter__(self) -> "ScoreCache":
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    @contextlib.contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise InputError(
                f"{one_line(self._path)}: cannot keep scores here ({reason(error)})"
            ) from None

    def _row(self, kind: str, key: str, sha: str) -> tuple[str] | None:
        query = "select data from scores where kind = ? and key = ? and sha = ?"
        with self._clear_errors():
            row = self._db.execute(query, (kind, key, sha)).fetchone()
        if row is not None and not isinstance(row[0], str):
            raise self._damaged()
        return row

    def has(self, kind: str, key: str, sha: str) -> bool:
        """Whether a score is cached; a failure does not count, because its cause may be gone."""
        row = self._row(kind, key, sha)
        return row is not None and not row[0].startswith(FAILED)

    def get(self, kind: str, key: str, sha: str) -> Any:
        """A cached score: an Embedding or a Reading; or, as text, why there is none."""
        row = self._row(kind, key, sha)
        try:
            fields = json.loads(row[0] if row else "")
            if "unreadable" in fields:
                return str(fields["unreadable"])
            return _embedding(fields) if kind == "identity" else _reading(fields)
        except (ValueError, OverflowError, KeyError, TypeError, AttributeError, RecursionError):
            raise self._damaged() from None

    def check_sizes(self, embeddings: Iterable[Embedding]) -> None:
        """Raise InputError unless a model's embeddings are all of one length."""
        if len({embedding.vector.size for embedding in embeddings} - {0}) > 1:
            raise self._damaged()

    def _damaged(self) -> InputError:
        return InputError(f"{one_line(self._path)}: holds a damaged score; delete the file")

    def put(self, sha: str, answers: dict[tuple[str, str], str]) -> None:
        """Store the scores of one picture."""
        rows = [(kind, key, sha, text) for (kind, key), text in answers.items()]
        with self._clear_errors(), self._db:
            self._db.executemany("insert or replace into scores values (?, ?, ?, ?)", rows)
