"""What a job asks for, as columns of numbers, and what is to be made of it, under which names.

A `Plan` is the request: pictures, people, and a row an output, a few bytes each, so that a
million rows are small. A `Job` is a plan made definite: every picture is known by its content,
every output by an id, which is a hash of all that decides its pixels. The same output has the
same id in any folder, on any machine, and after any interruption; two rows that ask for the same
output are one.
"""

import dataclasses
import functools
import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.pictures import SUFFIXES, image_paths
from transfer.codec import Codec
from transfer.expression.model import fingerprint

Method = Literal["warp", "paper"]
Keep = Callable[[Sequence[str]], Sequence[str]]
METHODS: tuple[Method, ...] = get_args(Method)
UNSAID = -1  # a row's method, where the model decides
MAX_ALPHAS = 1000
MAX_ALPHA = 1e6
AUTO = "auto"  # the largest alpha inside a trust region; NaN in a column of numbers
VERSION = 2  # of how outputs are made: other pixels for the same inputs are another version
BLOCK = 1024  # targets that are worked on together: their faces stay in the cache
FLAT = 10_000  # outputs in one folder; more are in a folder a chunk
CHUNK = 64
PICTURES = {"png": ".png", "webp": ".webp"}
SHARDS = {"tfrecord": ".tfrecord", "array_record": ".array_record", "webdataset": ".tar"}


@dataclasses.dataclass(frozen=True)
class Plan:
    """Outputs that are asked for. P pictures, N rows.

    Attributes:
        origin: the file that asks for it, or the command.
        files: (P,) paths of the pictures, each once.
        names: of the people, each once.
        pictures: of each person, indices of files.
        expression: (N,) int32, index of a file.
        source, target: (N,) int32, indices of people.
        alpha: (N,) float64, NaN where it is to be chosen.
        method: (N,) int8, index of METHODS, or UNSAID.
        line: (N,) int32, of the file that asks for it; 0 for none.
        user_ids: (N,) the user's own names of the rows, if they gave any.
    """

    origin: str
    files: list[str]
    names: list[str]
    pictures: list[tuple[int, ...]]
    expression: np.ndarray
    source: np.ndarray
    target: np.ndarray
    alpha: np.ndarray
    method: np.ndarray
    line: np.ndarray
    user_ids: list[str] | None = None

    def __len__(self) -> int:
        return len(self.expression)


@dataclasses.dataclass(frozen=True)
class Item:
    """One output, in words; see `Job.item`."""

    id: str
    expression: str
    source: str
    target: str
    alpha: float
    method: Method
    file: str
    line: int
    user_id: str


@dataclasses.dataclass(frozen=True)
class Job:
    """A plan for one model. M outputs, in chunks.

    Attributes:
        plan: with every row's method said.
        sha256: (P,) hexadecimal, of the pictures' bytes; empty where one cannot be read.
        ids: (N,) uint64 of the rows.
        order: (M,) int32: rows in the order in which they are made, each id once.
        chunk_size: outputs that are begun and finished together.
        format: of the outputs: one of PICTURES, or of SHARDS, which hold a chunk each.
        how: all else that decides an output; part of its id.
    """

    plan: Plan
    sha256: list[str]
    ids: np.ndarray
    order: np.ndarray
    chunk_size: int
    format: str
    how: dict[str, str]

    @property
    def n_chunks(self) -> int:
        return -(-len(self.order) // self.chunk_size)

    @property
    def duplicates(self) -> int:
        """Rows that ask for what an earlier row asks for."""
        return len(self.plan) - len(self.order)

    def chunk(self, number: int) -> np.ndarray:
        """Rows of a chunk, in the order in which they are made."""
        return self.order[number * self.chunk_size : (number + 1) * self.chunk_size]

    def item(self, row: int) -> Item:
        """What row `row` of the plan makes."""
        plan, alpha = self.plan, float(self.plan.alpha[row])
        expression, target = plan.files[plan.expression[row]], plan.names[plan.target[row]]
        hexadecimal = f"{int(self.ids[row]):016x}"
        chunk = f"{self._places[row] // self.chunk_size:07d}"
        if self.format in SHARDS:
            file = f"shards/{chunk}{SHARDS[self.format]}"
        else:
            parts = (Path(expression).stem, target, f"a{_alpha_text(alpha)}", hexadecimal)
            name = "_".join(file_name(part) for part in parts) + PICTURES[self.format]
            file = f"images/{chunk}/{name}" if len(self.order) > FLAT else f"images/{name}"
        return Item(
            id=hexadecimal,
            expression=expression,
            source=plan.names[plan.source[row]],
            target=target,
            alpha=alpha,
            method=METHODS[plan.method[row]],
            file=file,
            line=int(plan.line[row]),
            user_id=plan.user_ids[row] if plan.user_ids else "",
        )

    @property
    def items(self) -> Iterator[Item]:
        """Every output, in the plan's order."""
        return (self.item(row) for row in np.sort(self.order).tolist())

    @functools.cached_property
    def _places(self) -> np.ndarray:
        """(N,) where in `order` a row is; of one that is left out, nowhere."""
        places = np.full(len(self.plan), -1, np.int32)
        places[self.order] = np.arange(len(self.order), dtype=np.int32)
        return places

    @functools.cached_property
    def first_use(self) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """When each picture is needed first: (P,) rank among all, (P,) chunk, and its role.

        Pictures that no row needs come last; their chunk is -1.
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
        roles = np.where(when < never, 0, -1).astype(np.int64)  # 0, or part and person
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
        """SHA-256 of what is asked for: two folders of one digest hold the same job.

        The pictures' contents are left out: a picture that was mended is the same job's.
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
    codec: Codec,
    *,
    chunk_size: int = CHUNK,
    format: str = "png",
    reading: str = "",
) -> Job:
    """A plan made definite: hash every picture once, name every output, put them in order.

    Args:
        plan: what is asked for.
        codec: the model; it decides the method of rows that name none: "warp" if it has
            expressions, else "paper".
        chunk_size: outputs that are begun and finished together.
        format: "png", "webp", "tfrecord", "array_record" or "webdataset".
        reading: how pictures are read, where not as they are (alignment and its settings).

    Raises:
        InputError: a row's method is not the model's, or there is no row.
    """
    if not len(plan):
        raise InputError(f"{plan.origin}: asks for no output")
    default = METHODS.index("paper" if codec.expressions is None else "warp")
    method = np.where(plan.method == UNSAID, default, plan.method).astype(np.int8)
    if codec.expressions is None and (method == METHODS.index("warp")).any():
        row = int((method == METHODS.index("warp")).argmax())
        where = f"{plan.origin}: line {plan.line[row]}: " if plan.line[row] else ""
        raise InputError(
            f"{where}model {codec.name!r} has no expressions.npz: fit one with "
            "`glow-jax fit-expressions`, or use --method paper"
        )
    plan = dataclasses.replace(plan, method=method)
    how = {"model": codec.fingerprint, "precision": codec.precision, "version": str(VERSION)}
    if reading:
        how["reading"] = reading
    if codec.expressions is not None:
        how["expressions"] = fingerprint(codec.expressions)
    with ThreadPoolExecutor(8) as pool:
        sha256 = list(pool.map(_sha256, plan.files, chunksize=64))
    ids = _ids(plan, how, sha256)
    _, first = np.unique(ids, return_index=True)
    return Job(plan, sha256, ids, _ordered(plan, np.sort(first)), chunk_size, format, how)


def plan_of(
    origin: str,
    rows: Sequence[tuple[int, int, int, float]],
    files: Sequence[str],
    people: Mapping[str, Sequence[int]],
    method: Method | None = None,
) -> Plan:
    """A plan of few rows (expression's file, source, target, alpha), told in Python.

    Args:
        origin: what asks for it, for messages.
        rows: of outputs; indices of files and of people.
        files: paths of pictures.
        people: pictures of each, by name.
        method: of all rows.
    """
    expression, source, target, alpha = zip(*rows, strict=True) if rows else ((),) * 4
    kind = UNSAID if method is None else METHODS.index(method)
    return Plan(
        origin,
        list(files),
        list(people),
        [tuple(p) for p in people.values()],
        np.array(expression, np.int32),
        np.array(source, np.int32),
        np.array(target, np.int32),
        np.array(alpha, np.float64),
        np.full(len(rows), kind, np.int8),
        np.zeros(len(rows), np.int32),
    )


def read_job(
    codec: Codec,
    expressions: Sequence[Path],
    source: Path,
    targets: Sequence[Path],
    alphas: Sequence[float],
    method: Method | None = None,
    keep: Keep | None = None,
    **options: Any,
) -> Job:
    """The job of `glow-jax transfer`: every expression on every target, at every alpha.

    Args:
        codec: the model.
        expressions: pictures of the source person, each showing an expression, or folders.
        source: a folder of the source person's pictures, or one picture.
        targets: the same of the target people.
        alphas: how much of the expression to add; NaN chooses it.
        method: "paper", the mean faces' formula on eps; "warp", `transfer.methods.apply.paint`.
        keep: which of a person's pictures are used; all by default.
        options: of `make_job`.

    Raises:
        InputError: the model cannot do the method, a path is missing or holds no pictures, or two
            targets have the same name.
    """
    shots = [str(p) for path in expressions for p in image_paths(path)]
    folders = [source, *targets]
    shown = [tuple(str(p) for p in image_paths(folder)) for folder in folders]
    if keep is not None:
        kept = {pictures: tuple(keep(pictures)) for pictures in dict.fromkeys(shown)}
        shown = [kept[pictures] for pictures in shown]
    own = [_own_name(folder) for folder in targets]
    for name, folder in zip(own, targets, strict=True):
        if [file_name(n).casefold() for n in own].count(file_name(name).casefold()) > 1:
            raise InputError(f"two targets are called {folder.name!r} or alike; rename one folder")
    files = {path: i for i, path in enumerate(dict.fromkeys(shots + [p for s in shown for p in s]))}
    who = {pictures: str(folder.resolve()) for pictures, folder in zip(shown, folders, strict=True)}
    names = dict(zip(who, distinct_names(list(who.values())), strict=True))
    order = {pictures: i for i, pictures in enumerate(names)}
    people = {names[pictures]: [files[p] for p in pictures] for pictures in names}
    rows = [
        (files[shot], order[shown[0]], order[target], alpha)
        for target in shown[1:]
        for shot in dict.fromkeys(shots)
        for alpha in alphas
    ]
    return make_job(plan_of("transfer", rows, list(files), people, method), codec, **options)


def distinct_names(paths: Sequence[str]) -> list[str]:
    """Names of people from the paths of their pictures: as short as tells them apart.

    The last part of the path, without the suffix of a picture; where that is not enough, more of
    its parts; a number where even all of them are not. As file names, too, they differ.
    """
    parts = [_parts(path) for path in paths]
    length = [1] * len(parts)
    names = [p[-1] for p in parts]
    while True:
        groups: dict[str, list[int]] = {}
        for i, name in enumerate(names):
            groups.setdefault(file_name(name).casefold(), []).append(i)
        longer = [
            i
            for group in groups.values()
            if len(group) > 1
            for i in group
            if length[i] < len(parts[i])
        ]
        if not longer:
            break
        for i in longer:
            length[i] += 1
            names[i] = "/".join(parts[i][-length[i] :])
    for group in groups.values():
        for number, i in enumerate(group[1:], 2):
            names[i] += f"~{number}"
    return names


def _parts(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part not in ("", ".")] or ["-"]
    return [*parts[:-1], _without_suffix(parts[-1])]


def parse_alphas(words: Sequence[str]) -> tuple[float, ...]:
    """Alphas from the command line: numbers, FIRST:LAST:STEP with both ends, or "auto" (NaN).

    Raises:
        InputError: a word is none of these, or there are too many.
    """
    alphas: list[float] = []
    for word in words:
        if word == AUTO:
            alphas.append(np.nan)
            continue
        try:
            numbers = [float(part) for part in word.split(":")]
        except ValueError:
            numbers = []
        if len(numbers) not in (1, 3) or not all(abs(n) <= MAX_ALPHA for n in numbers):
            raise InputError(
                f"alpha {word!r}: use a number such as 0.4, FIRST:LAST:STEP, or {AUTO}, within "
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


def file_name(text: str) -> str:
    """Text as part of a file name: other characters than letters, digits, ._+- become -."""
    return re.sub(r"[^\w.+-]+", "-", text)[:80] or "-"


# -- ids and order


def _ids(plan: Plan, how: Mapping[str, str], sha256: Sequence[str]) -> np.ndarray:
    """(N,) uint64: the first 8 bytes of a SHA-256 of everything that decides an output."""
    shots = [bytes.fromhex(text) or bytes(32) for text in sha256]
    people = [
        hashlib.sha256(b"".join(sorted(shots[i] for i in pictures))).digest()
        for pictures in plan.pictures
    ]
    heads = []
    for method in METHODS:
        recipe = dict(how) | {"method": method}
        if method == "paper":
            recipe.pop("expressions", None)
        heads.append(hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).digest())
    alphas = (plan.alpha + 0.0).astype("<f8").tobytes()
    columns = (plan.method, plan.expression, plan.source, plan.target)
    ids = bytearray()
    for i, (m, e, s, t) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
        recipe_of = b"".join((heads[m], shots[e], people[s], people[t], alphas[8 * i : 8 * i + 8]))
        ids += hashlib.sha256(recipe_of).digest()[:8]
    return np.frombuffer(bytes(ids), ">u8").astype(np.uint64)


def _ordered(plan: Plan, rows: np.ndarray) -> np.ndarray:
    """Rows in an order in which what they share is needed soon again.

    Blocks of targets, whose faces fit in the cache; within a block each expression once, on all
    of the block's targets. Rows of one method, and those whose alpha is chosen, stay together.
    """
    keys = (
        plan.alpha,
        plan.target,
        plan.expression,
        plan.source,
        plan.target // BLOCK,
        np.isnan(plan.alpha),
        plan.method,
    )
    return rows[np.lexsort([key[rows] for key in keys])].astype(np.int32)


def _sha256(path: str) -> str:
    """Of a file's bytes; empty where it cannot be read, which its reader will explain."""
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return ""
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return ""


def _open_without_waiting(path: str, flags: int) -> int:
    """Open as usual, except that a pipe without a writer does not block."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


# -- names


def _alpha_text(alpha: float) -> str:
    return AUTO if math.isnan(alpha) else f"{alpha:.10g}"


def _own_name(path: Path) -> str:
    return path.resolve().name if path.is_dir() else path.stem


def _without_suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and stem and f".{suffix.lower()}" in SUFFIXES else name
