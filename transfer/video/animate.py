"""`transfer.animate`: a video drives a photograph.

    a(t)    = denoise( smooth( raw(t) - mean of raw over the driver's neutral frames ) )
              (then corrected by the landmarks, smoothed too: `transfer.expression.movement`)
    y(t)    = method( target, alpha a(t) )

The driver's face is read in every frame first (`reading`), because neutral frames and the filter
need the whole clip; then the frames are made, in parts (`making`), and joined with the sound.
Readings and parts stay in a work folder, OUT.work, until the file is written: the process may be
killed at any moment, and the same call continues where it stopped.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.face_numbers import split_face
from glow_jax.io.files import read_json_object, write_atomically
from glow_jax.io.locks import exclusive
from glow_jax.io.messages import one_line
from glow_jax.io.output_folders import make_folder
from glow_jax.io.packages import need
from glow_jax.io.pictures import read_image
from glow_jax.io.provenance import Provenance
from glow_jax.io.video_reader import EXTRA, Clip, frames_of, read_clip, sha256_of
from glow_jax.io.video_writer import MAX_SIDE, TICKS, join
from transfer.expression.estimate import (
    Read,
    absolute_activations,
    denoised_changes,
    with_movement,
)
from transfer.expression.model import ExpressionModel
from transfer.expression.movement import as_strong
from transfer.jobs.commit import SOURCE_TYPE
from transfer.jobs.run import Progress, no_progress
from transfer.methods import default_method, method_class
from transfer.methods.base import Models, Photograph
from transfer.models import load_models
from transfer.photos.align import FaceDetector
from transfer.photos.aligned_faces import AlignedFaces
from transfer.photos.hidden import hidden_in, hidden_line
from transfer.photos.judge_adapter import face_detector as detector_of
from transfer.requests import StrPath, model_of
from transfer.video.making import TARGET, Target, make_parts
from transfer.video.neutral_frames import NeutralFrames, neutral_frames, parse_neutral
from transfer.video.reading import FaceReader, Readings, read_faces
from transfer.video.request import METHODS, AnimateRequest
from transfer.video.smoothing import held, smoothed
from transfer.video.table import held_ranges, write_frames
from transfer.video.timeline import durations_of, is_variable, ranges_of, ticks_of

VERSION = 2  # of the readings and parts in a work folder
REQUEST, LOCK = "request.json", ".lock"

Notify = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Animated:
    """What `animate` made, or with `dry_run` would make.

    Attributes:
        out: the video.
        table: the table of its frames.
        width, height: of the video, pixels.
        frames: number of frames; None where only making them can tell.
        rate: frames a second, on average.
        seconds: length.
        model, method: their names.
        held: first and last frame of each series of frames without a usable face, and why.
        neutral: first and last frame of each series of the driver's neutral frames; empty for
            "absolute".
        delay_frames: of the filter over time: always 0.
        variable_rate: whether the clip's frame rate varies.
        sound: the codec of the clip's sound; "" without any.
    """

    out: Path
    table: Path
    width: int
    height: int
    frames: int | None
    rate: float
    seconds: float | None
    model: str
    method: str
    held: tuple[tuple[int, int, str], ...] = ()
    neutral: tuple[tuple[int, int], ...] = ()
    delay_frames: int = 0
    variable_rate: bool = False
    sound: str = ""


@dataclasses.dataclass(frozen=True)
class _Job:
    """A checked request, with everything loaded that it needs."""

    request: AnimateRequest
    clip: Clip
    method: str
    models: Models
    model: ExpressionModel
    target: Target
    reader: FaceReader
    wanted: NeutralFrames

    @property
    def out(self) -> Path:
        return Path(self.request.out)

    @property
    def table(self) -> Path:
        return self.out.with_suffix(".csv")

    @property
    def work(self) -> Path:
        return self.out.with_name(self.out.name + ".work")

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the video."""
        pasted = self.request.paste_back and self.target.taken is not None
        pixels = self.target.photograph(TARGET).pixels if pasted else self.target.face[0]
        height, width = pixels.shape[:2]
        return width + width % 2, height + height % 2


def animate(
    request: AnimateRequest,
    *,
    models: Models | None = None,
    dry_run: bool = False,
    face_detector: FaceDetector | None = None,
    progress: Progress = no_progress,
    notify: Notify = lambda line: None,
) -> Animated:
    """Make a video in which a photograph has the expressions of a clip.

    Args:
        request: the clip, the photograph and the settings.
        models: what `load_models` returns for the request's model and precision, where several
            requests share them; None loads them.
        dry_run: check everything, look for a face in the first frame, and make nothing.
        face_detector: finds all faces of a picture; None is the one that the request names.
        progress: called with the name of a stage, the number of frames done, and their total.
        notify: called with lines for the user.

    Raises:
        InputError: the clip or the photograph cannot be used, no face is found in any frame, the
            model lacks what the method needs, files are at `out` already, or the work folder is
            of another request.
        OutputError: a file cannot be written.
    """
    job = _prepared(request, models, face_detector)
    if job.target.taken and (parts := hidden_in(job.model, job.target.taken.face)):
        notify(hidden_line(os.fspath(request.target), parts))
    if dry_run:
        return _planned(job, notify)
    with _work_folder(job):
        readings = read_faces(job.clip, job.reader, job.work, progress)
        if not readings.known.any():
            first = str(readings.reason[0])
            raise InputError(
                f"{one_line(job.clip.path)}: no face can be used in any of {len(readings.known)} "
                f"frames; the first: {first}"
            )
        return _made(job, readings, progress, notify)


def activations_of(
    model: ExpressionModel,
    readings: Readings,
    neutral: np.ndarray,
    seconds: np.ndarray,
    smooth_s: float,
) -> np.ndarray:
    """(T, A) float32 activations of a clip's frames, smoothed over time; see the module.

    Args:
        model: the expression model.
        readings: of the frames.
        neutral: (T,) bool; without any, activations are absolute.
        seconds: (T,) times of the frames.
        smooth_s: width of the filter.

    Raises:
        ValueError: no frame is neutral, and the model has no population.
    """
    if neutral.any():
        start = readings.raw[neutral].mean(0)
    elif model.population is not None:
        start = np.asarray(model.population.neutral)
    else:
        raise ValueError("the expression model has no population")
    raw = held(readings.raw.astype(np.float64), readings.known, start.astype(np.float64))
    even = smoothed(raw, seconds, smooth_s)
    used = neutral if neutral.any() else readings.known
    own = readings.landmarks[used].mean(0, dtype=np.float64)
    marks = readings.landmarks
    if model.smoothing is not None:  # else landmarks are not used
        marks = _smoothed_landmarks(readings, own, seconds, smooth_s)
    if not neutral.any():
        return absolute_activations(model, Read(even.astype(np.float32), marks))
    activations = denoised_changes(model, (even - start).astype(np.float32))
    return as_strong(model, with_movement(model, activations, marks, own[None]))


def _smoothed_landmarks(
    readings: Readings, start: np.ndarray, seconds: np.ndarray, smooth_s: float
) -> np.ndarray:
    """(T, 68, 2) landmarks, smoothed over time; `start` (68, 2) stands before the first known."""
    flat = readings.landmarks.reshape(len(seconds), -1).astype(np.float64)
    held_marks = held(flat, readings.known, start.ravel())
    parts = np.split(held_marks, len(start) // 4, axis=1)  # so that little memory is used at once
    marks = np.concatenate([smoothed(part, seconds, smooth_s) for part in parts], 1)
    return marks.reshape(-1, *start.shape)


def _prepared(
    request: AnimateRequest, models: Models | None, face_detector: FaceDetector | None
) -> _Job:
    """Check a request, cheap checks first, and load what it needs."""
    need(EXTRA, "av")
    out, table = Path(request.out), Path(request.out).with_suffix(".csv")
    if not out.parent.is_dir():
        raise InputError(f"{one_line(out)}: cannot be written (there is no folder {out.parent})")
    for path in (out, table):
        if path.is_dir():
            raise InputError(f"{one_line(path)}: is a folder; name another file")
        if os.path.lexists(path) and not request.overwrite:
            raise InputError(f"{one_line(path)}: exists; name another file, or set `overwrite`")
    for path in (Path(request.driving), _photograph(request)):
        if not path.exists():
            raise InputError(f"{one_line(path)}: no such file or folder")
        if any(written.exists() and written.samefile(path) for written in (out, table)):
            raise InputError(f"{one_line(path)}: is an input; name another file for the result")
    wanted = parse_neutral(request.source_neutral)
    of_frames = face_detector
    if request.photographs is not None and face_detector is None:
        face_detector = detector_of(request.photographs.detector)
        of_frames = detector_of(request.photographs.detector, turned=False)
    clip = read_clip(Path(request.driving), request.rate)
    models = models or load_models(model_of(request), request.precision)
    models = dataclasses.replace(models, neutralise=request.neutralise)
    method = request.method or default_method(models, request.photographs is not None)
    chosen = method_class(method if method in METHODS else "warp")
    chosen.check(models)
    if wanted.kind == "absolute":
        chosen.recipe_without_source(models)
    model, (height, width) = models.expression_model, models.codec.size
    assert model is not None
    if height != width:
        raise InputError(f"model {models.codec.name!r}: its pictures are not square")
    photographs = request.photographs
    if photographs is None and (clip.height, clip.width) != (height, width):
        raise InputError(
            f"{one_line(clip.path)}: frames are {clip.width} wide and {clip.height} high, but the "
            f"model's {width} and {height} are needed without `photographs`"
        )
    if photographs is not None:
        photographs = dataclasses.replace(photographs, size=height)
    target = _target_of(request.target, photographs, face_detector, height)
    reader = FaceReader(model, height, photographs, of_frames)
    job = _Job(request, clip, method, models, model, target, reader, wanted)
    if max(job.size) > MAX_SIDE:
        raise InputError(
            f"{one_line(request.target)}: a video of {job.size[0]} x {job.size[1]} pixels; at most "
            f"{MAX_SIDE} a side: reduce the photograph"
        )
    return job


def _photograph(request: AnimateRequest) -> Path:
    """The target's file: a path that ends in a number ("photo.jpg#2") chooses a face in it."""
    return Path(split_face(os.fspath(request.target))[0])


def _target_of(
    target: StrPath, photographs: Any, detector: FaceDetector | None, size: int
) -> Target:
    path = Path(split_face(os.fspath(target))[0])
    if path.is_dir():
        raise InputError(f"{one_line(path)}: is a folder; `target` is one photograph")
    if photographs is None or detector is None:
        return Target(read_image(path, (size, size))[None], None)
    face = AlignedFaces(detector, photographs).face(os.fspath(target))
    return Target(face.pixels[None], Photograph(TARGET, read_image(path), face))


def _planned(job: _Job, notify: Notify) -> Animated:
    """What a request would make; the face of the first frame is looked for."""
    first = next(frames_of(job.clip))
    found = job.reader.read([first], None)
    if not found.known[0]:
        notify(f"frame 0: {found.reason[0]}")
    width, height = job.size
    rate, n = float(job.clip.rate), job.clip.declared
    seconds = n / rate if n is not None else job.clip.seconds
    return Animated(
        job.out, job.table, width, height, n, rate, seconds, job.models.codec.name, job.method,
        tuple(held_ranges(found)), sound=job.clip.sound,
    )  # fmt: skip


def _made(job: _Job, readings: Readings, progress: Progress, notify: Notify) -> Animated:
    request, clip = job.request, job.clip
    neutral = neutral_frames(job.wanted, readings.raw, readings.known)
    ticks = ticks_of(readings.times, clip.rate)
    activations = activations_of(job.model, readings, neutral, ticks / TICKS, request.smooth_s)
    held_frames = held_ranges(readings)
    method = method_class(job.method)(job.models, job.target)
    parts = make_parts(
        method,  # type: ignore[arg-type]
        job.target,
        clip,
        readings,
        request.alpha * activations,
        job.work,
        paste_back=request.paste_back,
        mark=request.mark,
        batch_size=request.batch_size,
        progress=progress,
    )
    durations = durations_of(ticks, clip.rate)
    sound = clip.path if clip.sound else None
    write_frames(job.table, job.model.aus, readings, neutral, activations, ticks)
    join(job.out, parts, ticks, durations, _provenance(job), sound)
    width, height = job.size
    seconds = float(ticks[-1] + durations[-1]) / TICKS
    return Animated(
        job.out,
        job.table,
        width,
        height,
        len(ticks),
        len(ticks) / seconds,
        seconds,
        job.models.codec.name,
        job.method,
        tuple(held_frames),
        tuple(ranges_of(np.flatnonzero(neutral).tolist())),
        variable_rate=is_variable(ticks),
        sound=clip.sound,
    )


def _recipe(job: _Job) -> dict[str, Any]:
    """What determines the bytes of the output, apart from the clip and the photograph."""
    request = job.request
    return {
        "animate": VERSION,
        "method": job.method,
        "alpha": request.alpha,
        "source_neutral": request.source_neutral,
        "smooth_s": request.smooth_s,
        "rate": None if request.rate is None else str(request.rate),
        "precision": request.precision,
        "align": "" if request.photographs is None else request.photographs.key,
        "paste_back": request.paste_back,
        "mark": request.mark,
        "model_fingerprint": job.models.codec.fingerprint,
        **method_class(job.method).recipe(job.models),
    }


def _provenance(job: _Job) -> Provenance:
    names = {"driving": job.clip.path.name, "target": Path(job.request.target).name}
    return Provenance(SOURCE_TYPE, job.models.codec.name, {**_recipe(job), **names})


@contextlib.contextmanager
def _work_folder(job: _Job) -> Iterator[None]:
    """The work folder of a request, locked; removed at the end, and after an InputError.

    Raises:
        InputError: the folder is of another request, or another process works in it.
    """
    target = hashlib.sha256(_photograph(job.request).read_bytes()).hexdigest()
    face = split_face(os.fspath(job.request.target))[1]
    batch = {"batch_size": job.request.batch_size, "target_face": face}
    ours = {**_recipe(job), **batch, "driving_sha256": sha256_of(job.clip), "target_sha256": target}
    work, path = job.work, job.work / REQUEST
    if work.is_dir() and any(work.iterdir()) and not (work / LOCK).exists():
        raise InputError(
            f"{one_line(work)}: is not the work folder of a video; name another output"
        )
    make_folder(work)
    with exclusive(work / LOCK):
        if any(p.name not in (REQUEST, LOCK) for p in work.iterdir()):
            try:
                theirs = read_json_object(path)
            except InputError:
                theirs = {}
            if theirs != ours:
                differ = sorted(k for k in {*theirs, *ours} if theirs.get(k) != ours.get(k))
                raise InputError(
                    f"{one_line(work)}: is of another request (other: {', '.join(differ)}); remove "
                    "it, or name another output"
                )
        write_atomically(path, json.dumps(ours, indent=1, sort_keys=True).encode())
        try:
            yield
        except InputError:
            shutil.rmtree(work, ignore_errors=True)
            raise
        shutil.rmtree(work, ignore_errors=True)
