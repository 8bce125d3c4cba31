"""A job: a plan for one model, with an id for every output.

A picture is identified by its content. The id of an output is a hash of everything that determines
its pixels, so the same output has the same id in any folder, on any machine, and after any
interruption. Rows that ask for the same output are made once.
"""

import dataclasses
import functools
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from glow_jax.io.containers import MAX_FILE_BYTES
from glow_jax.io.errors import InputError
from glow_jax.io.face_numbers import split_face
from glow_jax.io.files import open_without_waiting
from transfer.jobs.alphas import alpha_text
from transfer.jobs.names import file_name, picture_name
from transfer.jobs.plan import METHOD_OF_MODEL, Plan
from transfer.methods import EDITS, default_method, method_class, method_names
from transfer.methods.base import Models

VERSION = 2  # increased whenever the same inputs give other pixels
TARGETS_IN_CACHE = 1024  # targets of one block of rows; their latents stay in the cache
MAX_IN_ONE_FOLDER = 10_000  # outputs; a larger job has one folder per chunk
CHUNK_SIZE = 64
PICTURES = {"png": ".png", "webp": ".webp"}
SHARDS = {"tfrecord": ".tfrecord", "array_record": ".array_record", "webdataset": ".tar"}


@dataclasses.dataclass(frozen=True)
class Item:
    """The description of one output; see `Job.item`."""

    id: str
    expression: str
    source: str
    target: str
    alpha: float
    method: str
    file: str
    line: int
    user_id: str


@dataclasses.dataclass(frozen=True)
class Job:
    """A plan for one model: M outputs, in chunks.

    Attributes:
        plan: the plan, in which every row has a method.
        sha256: (P,) SHA-256 of each picture's file, hexadecimal; empty if it cannot be read.
        ids: (N,) uint64, ids of the rows.
        order: (M,) int32, rows in the order in which they are made, each id once.
        chunk_size: outputs per chunk; a chunk is begun and finished as a whole.
        format: file format of the outputs: one of PICTURES, or one of SHARDS, whose files hold one
            chunk each.
        how: settings that determine the outputs and enter their ids: model, precision, ...
        alone: (N,) bool, whether a row's source has no picture but the expression's.
    """

    plan: Plan
    sha256: list[str]
    ids: np.ndarray
    order: np.ndarray
    chunk_size: int
    format: str
    how: dict[str, str]
    alone: np.ndarray

    @property
    def n_chunks(self) -> int:
        return -(-len(self.order) // self.chunk_size)

    @property
    def duplicates(self) -> int:
        """Number of rows that ask for the output of an earlier row."""
        return len(self.plan) - len(self.order)

    def chunk(self, number: int) -> np.ndarray:
        """The rows of a chunk, in the order in which they are made."""
        return self.order[number * self.chunk_size : (number + 1) * self.chunk_size]

    def item(self, row: int) -> Item:
        """The output of row `row` of the plan."""
        plan, alpha = self.plan, float(self.plan.alpha[row])
        expression, target = plan.files[plan.expression[row]], plan.names[plan.target[row]]
        hexadecimal = f"{int(self.ids[row]):016x}"
        chunk = f"{self._places[row] // self.chunk_size:07d}"
        if self.format in SHARDS:
            file = f"shards/{chunk}{SHARDS[self.format]}"
        else:
            parts = (*self.shown(row), f"a{alpha_text(alpha)}", hexadecimal)
            name = "_".join(file_name(part) for part in parts) + PICTURES[self.format]
            file = (
                f"images/{chunk}/{name}"
                if len(self.order) > MAX_IN_ONE_FOLDER
                else f"images/{name}"
            )
        return Item(
            id=hexadecimal,
            expression=expression,
            source=plan.names[plan.source[row]],
            target=target,
            alpha=alpha,
            method=method_names()[plan.method[row]],
            file=file,
            line=int(plan.line[row]),
            user_id=plan.user_ids[row] if plan.user_ids else "",
        )

    def shown(self, row: int) -> tuple[str, ...]:
        """What an output shows, for its file's name: an expression and a target, or a picture."""
        plan, picture = self.plan, int(self.plan.expression[row])
        expression, target = picture_name(plan.files[picture]), plan.names[plan.target[row]]
        if method_names()[plan.method[row]] not in EDITS:
            return expression, target
        is_own = picture in plan.pictures[plan.target[row]]
        return (target,) if is_own else (target, plan.names[plan.source[row]])

    @property
    def items(self) -> Iterator[Item]:
        """Every output, in the plan's order."""
        return (self.item(row) for row in np.sort(self.order).tolist())

    @functools.cached_property
    def _places(self) -> np.ndarray:
        """(N,) position of each row in `order`; -1 for a row that is not in it."""
        places = np.full(len(self.plan), -1, np.int32)
        places[self.order] = np.arange(len(self.order), dtype=np.int32)
        return places

    @functools.cached_property
    def first_use(self) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """First use of each picture: (P,) rank in the order of first use, (P,) chunk, and role.

        Pictures that no row needs have the last ranks, and chunk -1.
        """
        plan, never = self.plan, 3 * len(self.order)
        when = np.full(len(plan.files), never, np.int64)
        people = {}
        for part, column in enumerate((plan.expression, plan.source, plan.target)):
            used, first = np.unique(column[self.order], return_index=True)
            event = 3 * first.astype(np.int64) + part
            if part == 0:
                when[used] = event
                continue
            people[part] = (used, event)
        inside = np.zeros(len(plan.files), np.int32)
        # 0 for an expression; otherwise 2 * person + part.
        roles = np.where(when < never, 0, -1).astype(np.int64)
        for part, (used, event) in people.items():
            for person, moment in zip(used.tolist(), event.tolist(), strict=True):
                for i, picture in enumerate(plan.pictures[person]):
                    if moment < when[picture]:
                        when[picture], inside[picture] = moment, i
                        roles[picture] = 2 * person + part
        rank = np.empty(len(when), np.int64)
        rank[np.lexsort((inside, when))] = np.arange(len(when))
        chunk = np.where(when < never, when // 3 // self.chunk_size, -1)
        return rank, chunk, [self._role(int(role)) for role in roles]

    def _role(self, role: int) -> str:
        if role <= 0:
            return "expression" if role == 0 else ""
        part, person = (1, (role - 1) // 2) if role % 2 else (2, (role - 2) // 2)
        return f"{('source', 'target')[part - 1]} {self.plan.names[person]}"

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the plan and the settings; folders with equal digests hold the same job.

        The contents of the pictures do not enter: a job stays the same when a picture is repaired.
        """
        plan = self.plan
        digest = hashlib.sha256(json.dumps([self.how, self.chunk_size, self.format]).encode())
        for text in (plan.files, plan.names, plan.user_ids or []):
            for one in text:
                digest.update(one.encode(errors="surrogateescape") + b"\0")
        digest.update(repr(plan.pictures).encode())
        for column in (plan.expression, plan.source, plan.target, plan.alpha, plan.method):
            digest.update(column.tobytes())
        return digest.hexdigest()


def make_job(
    plan: Plan,
    models: Models,
    *,
    chunk_size: int = CHUNK_SIZE,
    format: str = "png",
    alignment: str = "",
) -> Job:
    """Make a job of a plan: hash every picture, compute the ids, and order the outputs.

    Args:
        plan: the outputs to make.
        models: the flow, and the expression model if there is one. A row without a method gets the
            first of `transfer.methods` that works with these models.
        chunk_size: outputs per chunk.
        format: "png", "webp", "tfrecord", "array_record" or "webdataset".
        alignment: `Photographs.key`, the settings by which faces are cut out of photographs; "" if
            pictures are used as they are.

    Raises:
        InputError: a row's method does not work with the models, or there is no row.
    """
    if not len(plan):
        raise InputError(f"{plan.origin}: lists no output")
    default = method_names().index(default_method(models))
    method = np.where(plan.method == METHOD_OF_MODEL, default, plan.method).astype(np.int8)
    plan = dataclasses.replace(plan, method=method)
    _check_methods(plan, models, np.zeros(len(plan), bool))  # before files are read
    with ThreadPoolExecutor(8) as pool:
        sha256 = list(pool.map(_sha256, plan.files, chunksize=64))
    contents = [_content(text, path) for text, path in zip(sha256, plan.files, strict=True)]
    alone = _alone(plan, contents)
    _check_methods(plan, models, alone)
    codec = models.codec
    how = {"model": codec.fingerprint, "precision": codec.precision, "version": str(VERSION)}
    if alignment:
        how["reading"] = alignment
    recipes = _recipes(models)
    ids = _ids(plan, how, recipes, contents, alone)
    _, first = np.unique(ids, return_index=True)
    for (_, is_alone), recipe in recipes.items():
        how |= recipe if not is_alone or alone.any() else {}
    return Job(plan, sha256, ids, _ordered(plan, np.sort(first)), chunk_size, format, how, alone)


def _content(sha256: str, path: str) -> str:
    """What identifies a picture: SHA-256 of its file, or of that and the number of a face in it."""
    face = split_face(path)[1]
    return sha256 if face is None else hashlib.sha256(f"{sha256}#{face}".encode()).hexdigest()


def _alone(plan: Plan, contents: Sequence[str]) -> np.ndarray:
    """(N,) bool: rows whose source's pictures are all copies of the expression's."""
    contents = [text or path for text, path in zip(contents, plan.files, strict=True)]
    only = [{contents[i] for i in own} for own in plan.pictures]
    number = {content: i for i, content in enumerate(dict.fromkeys(contents))}
    shown = np.array([number[content] for content in contents], np.int32)
    of_source = np.array([number[min(own)] if len(own) == 1 else -1 for own in only], np.int32)
    return shown[plan.expression] == of_source[plan.source]


def _check_methods(plan: Plan, models: Models, alone: np.ndarray) -> None:
    """Raise InputError where a row's method cannot be done; `alone` as in `Job`, (N,) bool."""
    kinds, rows = np.unique(2 * plan.method + alone, return_index=True)
    for kind, row in zip(kinds.tolist(), rows.tolist(), strict=True):
        method = method_class(method_names()[kind // 2])
        try:
            method.check(models)
            if kind % 2:
                method.recipe_without_source(models)
        except InputError as error:
            line = int(plan.line[row])
            where = f"{plan.origin}: line {line}: " if line else ""
            raise InputError(f"{where}{error}") from None


def _recipes(models: Models) -> dict[tuple[str, bool], dict[str, str]]:
    """Recipes of the methods that work with the models, by name and `Job.alone`."""
    found = {}
    for name in method_names():
        method = method_class(name)
        try:
            method.check(models)
            found[name, False] = method.recipe(models)
            found[name, True] = method.recipe_without_source(models)
        except InputError:
            continue
    return found


# -- ids and order of outputs


def _ids(
    plan: Plan,
    how: Mapping[str, str],
    recipes: Mapping[tuple[str, bool], Mapping[str, str]],
    contents: Sequence[str],
    alone: np.ndarray,
) -> np.ndarray:
    """(N,) uint64: the first 8 bytes of a SHA-256 of everything that determines an output."""
    pictures = [bytes.fromhex(text) or bytes(32) for text in contents]
    people = [
        hashlib.sha256(b"".join(sorted(pictures[i] for i in own))).digest() for own in plan.pictures
    ]
    heads = []
    for name in method_names():
        for is_alone in (False, True):
            recipe = {**how, **recipes.get((name, is_alone), {}), "method": name}
            heads.append(hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).digest())
    alphas = (plan.alpha + 0.0).astype("<f8").tobytes()
    columns = (2 * plan.method + alone, plan.expression, plan.source, plan.target)
    ids = bytearray()
    for i, (m, e, s, t) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
        recipe_of = b"".join(
            (heads[m], pictures[e], people[s], people[t], alphas[8 * i : 8 * i + 8])
        )
        ids += hashlib.sha256(recipe_of).digest()[:8]
    return np.frombuffer(bytes(ids), ">u8").astype(np.uint64)


def _ordered(plan: Plan, rows: np.ndarray) -> np.ndarray:
    """Rows in an order in which few pictures have to be in the cache at once.

    Rows are sorted into blocks of targets whose latents fit into the cache; within a block by
    expression, each applied to all targets of the block. Rows of one method are adjacent, and so
    are rows with alpha "auto".
    """
    keys = (
        plan.alpha,
        plan.target,
        plan.expression,
        plan.source,
        plan.target // TARGETS_IN_CACHE,
        np.isnan(plan.alpha),
        plan.method,
    )
    return rows[np.lexsort([key[rows] for key in keys])].astype(np.int32)


def _sha256(path: str) -> str:
    """SHA-256 of a file, hexadecimal; empty if it cannot be read, which is reported later."""
    try:
        with open(split_face(path)[0], "rb", opener=open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
                return ""
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return ""
