"""A folder of rendered pictures with labels, made by several processes, safe to kill.

    OUT/id00000_0.webp      a picture; its label is in its metadata (images.Provenance)
    OUT/masks/id00000_0.png where its face's skin is, 255 or 0
    OUT/labels.jsonl        every picture's label, one JSON object a line; written last
    OUT/dataset.json        what the folder is made from; written first
    OUT/failures.jsonl      pictures that could not be rendered, if there are any

A picture and its label are one file and appear at once, its mask before it. So what is done
is known from the pictures alone: a run killed at any moment loses at most the pictures being
rendered, the next one renders none twice, and the folder ends with the same bytes.
"""

import hashlib
import json
import multiprocessing
import os
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from glow_jax.data.labels import parse_labels
from glow_jax.io.errors import InputError
from glow_jax.io.files import write_atomically
from glow_jax.io.messages import one_line, reason
from glow_jax.io.pictures import write_image
from glow_jax.io.provenance import Provenance, read_provenance
from glow_jax.io.signals import end_with_parent, interrupts_blocked

NAME = "synthetic_faces"
SIZES_PX = (64, 128, 256)  # what the data set has
LABELS = "labels.jsonl"
DATASET = "dataset.json"
FAILURES = "failures.jsonl"
MAX_DEATHS = 5  # pictures in a row that end their worker process, before the run stops

Format = Literal["webp", "png"]


@runtime_checkable
class Spec(Protocol):
    """One picture to render: picklable, and equal specs give equal pictures."""

    @property
    def name(self) -> str:
        """The file's name without its suffix: letters, digits, `_`, `-` and `.`."""
        ...

    def label(self) -> dict[str, Any]:
        """JSON values, with `identity` among them; neither `file` nor `landmarks`."""
        ...


@runtime_checkable
class Rendered(Protocol):
    """A rendered picture."""

    @property
    def image(self) -> np.ndarray:
        """uint8 (H, W, 3)."""
        ...

    @property
    def mask(self) -> np.ndarray:
        """uint8 (H, W): the face's skin."""
        ...

    @property
    def landmarks(self) -> np.ndarray:
        """float (68, 2): x, y in pixels from the picture's top left corner."""
        ...


Render = Callable[[Any], Any]  # Spec -> Rendered


@dataclass(frozen=True)
class Failure:
    """A picture that could not be rendered, and why, on one line."""

    name: str
    reason: str


@dataclass(frozen=True)
class Summary:
    """What a run did: of `n_pictures` wanted, `n_rendered` now, the others before or failed."""

    n_pictures: int
    n_rendered: int
    failures: tuple[Failure, ...]


def describe(config: Mapping[str, Any], facekit: str) -> dict[str, Any]:
    """What decides the pixels beside the specs: for `render_dataset`'s `facts`.

    Args:
        config: the command's choices, as JSON values.
        facekit: `facekit.fingerprint` of the shapes.
    """
    packages = ("glow-jax", "mitsuba", "numpy")
    return {
        "config": dict(config),
        "facekit": facekit,
        "versions": {name: _version(name) for name in packages},
    }


def render_dataset(
    out: str | os.PathLike[str],
    specs: Sequence[Spec],
    make_render: Callable[[], Render],
    facts: Mapping[str, Any],
    *,
    workers: int = 1,
    format: Format = "webp",
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Render what is missing in a folder, then write its labels.

    One task is one identity's pictures, in order, so a renderer may keep what they share. An
    exception of the renderer is recorded as that picture's failure. A picture that kills its
    worker (a crash, out of memory) is tried once more, alone, and then recorded. Failures
    are tried again by the next run.

    Args:
        out: the folder; made if needed, and continued if its `dataset.json` says the same.
        specs: the pictures, in the order of the labels.
        make_render: called once in each worker process; picklable.
        facts: JSON values, as from `describe`; a run that continues must have the same.
        workers: processes.
        format: of the pictures; both are lossless.
        progress: called with the numbers of pictures dealt with and wanted.

    Raises:
        InputError: the folder is something else's or was made from other facts; it cannot
            be written; no worker can start; or pictures kill their workers in a row.
    """
    folder = Path(out)
    _check_names(specs)
    _claim(folder, specs, {**facts, "format": format})
    lines = {s.name: line for s in specs if (line := _line_on_disk(folder, s, format))}
    run = _Run(folder, make_render, format, len(specs), progress, lines)
    n_before = len(lines)
    run.report()
    run.render(_by_identity([s for s in specs if s.name not in lines]), workers)
    failed = [json.dumps({"name": f.name, "reason": f.reason}) for f in run.failures]
    if failed:
        write_atomically(folder / FAILURES, _text(failed))
    else:
        (folder / FAILURES).unlink(missing_ok=True)
    write_atomically(folder / LABELS, _text([lines[s.name] for s in specs if s.name in lines]))
    return Summary(len(specs), len(lines) - n_before, tuple(run.failures))


def read_labels(folder: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """The labels of a rendered folder, in order.

    Raises:
        InputError: no such folder, its rendering has not ended, or a line is damaged.
    """
    path = Path(folder) / LABELS
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{one_line(path)}: cannot be read ({reason(error)}); it is written when all pictures "
            "are rendered"
        ) from error
    yield from parse_labels(path, lines)


def mask_path(picture: Path) -> Path:
    """Where the mask of a rendered picture is."""
    return picture.parent / "masks" / f"{picture.stem}.png"


# What a folder holds.


def _check_names(specs: Sequence[Spec]) -> None:
    if not specs:
        raise InputError("no pictures to render")
    counts = Counter(spec.name for spec in specs)
    name, count = counts.most_common(1)[0]
    if count > 1:
        raise InputError(f"{count} pictures are named {one_line(name)}; each needs its own name")
    for name in counts:
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", name):
            raise InputError(f"{one_line(name)}: not a file name of letters, digits, _, - and .")


def _claim(folder: Path, specs: Sequence[Spec], facts: Mapping[str, Any]) -> None:
    """Write the folder's `dataset.json`, or check that it is this run's."""
    digest = hashlib.sha256()
    for spec in specs:
        digest.update(_json({"name": spec.name, **spec.label()}).encode())
    ours = {"name": NAME, **facts, "count": len(specs), "specs": digest.hexdigest()}
    ours = json.loads(_json(ours))  # as it will be read: no tuples
    path = folder / DATASET
    try:
        there = [p.name for p in folder.iterdir()] if folder.is_dir() else []
        theirs = json.loads(path.read_bytes()) if DATASET in there else None
        if theirs is None and any(n != "masks" and not n.startswith(".") for n in there):
            raise InputError(f"{one_line(folder)}: holds other files; render into a new folder")
        (folder / "masks").mkdir(parents=True, exist_ok=True)
    except InputError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{one_line(path)}: cannot be used ({reason(error)})") from error
    if theirs is None:
        write_atomically(path, (json.dumps(ours, indent=2, sort_keys=True) + "\n").encode())
        return
    for key, (value, wanted) in _differences(theirs, ours):
        raise InputError(
            f"{one_line(path)}: {one_line(key)} is {_brief(value)}, but {_brief(wanted)} in this "
            "run; continue with the same, or render into a new folder"
        )
    _remove_temporary(folder)


def _differences(theirs: Any, ours: Any, key: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Each place, dotted, at which two JSON values differ, with both values."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name in sorted({*theirs, *ours}):
            inner = f"{key}.{name}" if key else name
            yield from _differences(theirs.get(name), ours.get(name), inner)
    elif theirs != ours:
        yield key or "it", (theirs, ours)


def _brief(value: Any) -> str:
    return one_line(value if isinstance(value, str) else json.dumps(value))[:60]


def _remove_temporary(folder: Path) -> None:
    """What `write_atomically` leaves behind when it is killed."""
    for inside in (folder, folder / "masks"):
        for path in inside.glob(".*.tmp"):
            if re.fullmatch(r"\.[0-9a-f]{32}\.tmp", path.name):
                path.unlink(missing_ok=True)


def _line_on_disk(folder: Path, spec: Spec, format: Format) -> str | None:
    """The label that a finished picture carries; None where it has to be rendered."""
    path = folder / f"{spec.name}.{format}"
    if not path.exists() or not mask_path(path).exists():
        return None
    try:
        record = read_provenance(path)
    except InputError:
        return None
    label = dict(record.recipe) if record else {}
    wanted = json.loads(_json({"file": path.name, **spec.label()}))
    if "landmarks" not in label or any(label.get(k) != v for k, v in wanted.items()):
        return None
    return _json(label)


def _by_identity(specs: Sequence[Spec]) -> list[list[Spec]]:
    groups: dict[Any, list[Spec]] = {}
    for spec in specs:
        groups.setdefault(spec.label()["identity"], []).append(spec)
    return list(groups.values())


# The parent process.


@dataclass
class _Run:
    """One run's state; `lines` maps each finished picture to its label's line."""

    folder: Path
    make_render: Callable[[], Render]
    format: Format
    n_pictures: int
    progress: Callable[[int, int], None] | None
    lines: dict[str, str]
    failures: list[Failure] = field(default_factory=list)
    deaths: Counter[str] = field(default_factory=Counter)
    n_in_a_row: int = 0

    def report(self) -> None:
        if self.progress is not None:
            self.progress(len(self.lines) + len(self.failures), self.n_pictures)

    def render(self, groups: list[list[Spec]], workers: int) -> None:
        """Render every group; those that a dying worker cut short are tried one at a time."""
        crowd, suspects = deque(groups), deque[list[Spec]]()
        while crowd or suspects:
            queue, n = (suspects, 1) if suspects else (crowd, workers)
            for group in self._pool(queue, n):
                suspects.extend([spec] for spec in self._after_death(group))

    def _pool(self, queue: deque[list[Spec]], workers: int) -> list[list[Spec]]:
        """Render until the queue is empty or a worker dies; returns the unfinished groups."""
        flying: dict[Future[list[_Outcome]], list[Spec]] = {}
        context = multiprocessing.get_context("spawn")
        workers = max(1, min(workers, len(queue)))
        with ProcessPoolExecutor(workers, context, _start, (self.make_render,)) as pool:
            while queue or flying:
                try:
                    while queue and len(flying) < workers:
                        with interrupts_blocked():
                            work = pool.submit(_render_group, self.folder, queue[0], self.format)
                        flying[work] = queue.popleft()
                    done = wait(flying, return_when=FIRST_COMPLETED).done
                    for work in done:
                        self._record(work.result())
                        del flying[work]
                except BrokenProcessPool:
                    return list(flying.values())
        return []

    def _record(self, outcomes: "list[_Outcome]") -> None:
        for outcome in outcomes:
            if outcome.line is not None:
                self.lines[outcome.name] = outcome.line
                self.n_in_a_row = 0
            else:
                self.failures.append(Failure(outcome.name, outcome.reason))
        self.report()

    def _after_death(self, group: list[Spec]) -> list[Spec]:
        """The pictures of a group that remain when its worker may have died.

        Its first picture without a file was most likely in flight: it gets a second chance,
        and no third.
        """
        missing = []
        for spec in group:
            if line := _line_on_disk(self.folder, spec, self.format):
                self._record([_Outcome(spec.name, line)])
            else:
                missing.append(spec)
        if not missing:
            return []
        name = missing[0].name
        self.deaths[name] += 1
        if self.deaths[name] < 2:
            return missing
        self.n_in_a_row += 1
        if self.n_in_a_row == MAX_DEATHS:
            raise InputError(
                f"{MAX_DEATHS} pictures in a row killed their worker process, {name} last; "
                "is there enough memory? run it again, with fewer workers, to go on"
            )
        self._record([_Outcome(name, None, "its worker process died, twice")])
        return missing[1:]


# A worker process.


@dataclass(frozen=True)
class _Outcome:
    """A picture's label line; or None, and why it could not be rendered."""

    name: str
    line: str | None
    reason: str = ""


_render: Render | Exception = RuntimeError("not started")


def _start(make_render: Callable[[], Render]) -> None:
    """Prepare a worker; an exception is stored, since raising it would hide its reason."""
    global _render
    end_with_parent()
    try:
        _render = make_render()
    except Exception as error:
        _render = error


def _render_group(folder: Path, specs: list[Spec], format: Format) -> list[_Outcome]:
    if isinstance(_render, Exception):
        raise InputError(f"the renderer cannot start ({reason(_render)})")
    return [_render_one(folder, spec, format, _render) for spec in specs]


def _render_one(folder: Path, spec: Spec, format: Format, render: Render) -> _Outcome:
    """Render and write one picture. Raises InputError where it cannot be written."""
    path = folder / f"{spec.name}.{format}"
    try:
        made = render(spec)
        _check_rendered(made)
        points = np.round(np.asarray(made.landmarks, np.float64), 2) + 0.0  # no -0.0
        label = {"file": path.name, **spec.label(), "landmarks": points.tolist()}
        provenance = Provenance("algorithmicMedia", NAME, label)
    except Exception as error:  # whatever a renderer may raise is that picture's failure
        return _Outcome(spec.name, None, f"{type(error).__name__}: {reason(error)}")
    mask = Provenance("algorithmicMedia", NAME, {"mask_of": path.name})
    write_image(mask_path(path), made.mask, mask)
    write_image(path, made.image, provenance)
    return _Outcome(spec.name, _json(label))


def _check_rendered(made: Rendered) -> None:
    image, mask, points = np.asarray(made.image), np.asarray(made.mask), np.asarray(made.landmarks)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"the image is {image.dtype} {image.shape}; uint8 (H, W, 3) is needed")
    if mask.dtype != np.uint8 or mask.shape != image.shape[:2]:
        raise ValueError(f"the mask is {mask.dtype} {mask.shape}; uint8 {image.shape[:2]} needed")
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise ValueError("the landmarks are not (68, 2) finite numbers")


def _json(value: Mapping[str, Any]) -> str:
    """One line, the same for equal values."""
    return json.dumps(dict(value), sort_keys=True, allow_nan=False)


def _text(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
