"""Read the driver's face in every frame of a clip, in chunks, so that a stopped run can continue.

reading-00000.npz   what was found in the frames of a chunk
reading.json        number of frames; written when all chunks are

Only the readings are kept, about 1.5 kB for each frame: memory does not grow with the
pictures of a clip.
"""

import io
import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.files import read_json_object, write_atomically
from glow_jax.io.landmarks68 import N_LANDMARKS
from glow_jax.io.npz import read_npz
from glow_jax.io.video_reader import Clip, Frame, frames_of
from transfer.expression.estimate import read
from transfer.expression.model import ExpressionModel
from transfer.jobs.run import Progress
from transfer.photos.align import Box, FaceDetector
from transfer.photos.aligned_faces import READ_PX, Photographs
from transfer.photos.crop import crop
from transfer.video.timeline import CHUNK
from transfer.video.tracking import Seen, follow

BATCH = 16  # crops whose activations are computed at once
MAX_REASON = 200  # characters
MAX_BYTES = 2**24  # of a chunk's readings
DONE = "reading.json"


class Readings(NamedTuple):
    """What was found in T frames; A is the number of Action Units.

    Attributes:
        raw: (T, A) float32 raw activations; 0 where no face can be used.
        landmarks: (T, 68, 2) float32, right and down in sides of the crop; 0 as `raw`.
        known: (T,) bool: a face can be used.
        transform: (T, 2, 3) from a frame's pixels to sides of the crop; NaN where there is none.
        box: (T, 4) of the face, or of the last face before it; NaN before the first face.
        reason: (T,) text: why no face can be used; "" where one can.
        time: (T, 2) int64: seconds as a fraction; the denominator is 0 where a file does not say.
    """

    raw: np.ndarray
    landmarks: np.ndarray
    known: np.ndarray
    transform: np.ndarray
    box: np.ndarray
    reason: np.ndarray
    time: np.ndarray

    @property
    def times(self) -> list[Fraction | None]:
        """Seconds of each frame; None where a file does not say."""
        return [Fraction(int(a), int(b)) if b else None for a, b in self.time]


class FaceReader:
    """Finds the driver's face in frames, one after the other, and reads it."""

    def __init__(
        self, model: ExpressionModel, size: int, photographs: Photographs | None, detector: Any
    ):
        """No frame is read yet.

        Args:
            model: the expression model.
            size: side of the crops, pixels.
            photographs: settings by which faces are found; None if every frame is an aligned face.
            detector: `FaceDetector`; None without `photographs`.
        """
        self._model, self._size, self._photographs = model, size, photographs
        self._detector: FaceDetector | None = detector

    def read(self, frames: Sequence[Frame] | Iterator[Frame], last: Box | None) -> Readings:
        """The readings of a chunk's frames, of which one at a time is held in memory.

        Args:
            frames: in order.
            last: box of the face in the frame before.
        """
        crops, found, times = [], list[Seen](), []
        for frame in frames:
            seen, pixels = self._seen(frame, last)
            last = seen.box
            found.append(seen._replace(face=None))
            crops.append(pixels)
            times.append(frame.time)
        return self._readings(found, crops, times)

    def _seen(self, frame: Frame, last: Box | None) -> tuple[Seen, tuple | None]:
        """What was found, and the crop in which the face is read, with its transform."""
        if frame.damaged:
            return Seen(None, frame.reason or "the frame is damaged", last), None
        if self._photographs is None or self._detector is None:
            return Seen(None, "", None), (frame.pixels, np.full((2, 3), np.nan))
        settings = self._photographs
        seen = follow(
            frame.pixels, last, self._detector, self._size, settings.which, settings.limits
        )
        if seen.face is None:
            return seen, None
        transform = seen.face.transform
        if self._model.smoothing is None:
            return seen, (seen.face.pixels, transform)
        return seen, (crop(frame.pixels, transform, READ_PX), transform)

    def _readings(self, found: Sequence[Seen], crops: Sequence, times: Sequence) -> Readings:
        known = np.array([crop is not None for crop in crops], bool)
        pixels = [crop[0] for crop in crops if crop is not None]
        raw = np.zeros((len(found), len(self._model.aus)), np.float32)
        landmarks = np.zeros((len(found), N_LANDMARKS, 2), np.float32)
        frames = np.flatnonzero(known)
        for start in range(0, len(pixels), BATCH):
            some = slice(start, start + BATCH)
            raw[frames[some]], landmarks[frames[some]] = read(self._model, np.stack(pixels[some]))
        nowhere = np.full((2, 3), np.nan)
        transform = [nowhere if crop is None else crop[1] for crop in crops]
        box = [(np.nan,) * 4 if seen.box is None else seen.box for seen in found]
        fractions = [(0, 0) if t is None else t.as_integer_ratio() for t in times]
        return Readings(
            raw,
            landmarks,
            known,
            np.array(transform, np.float64),
            np.array(box, np.float64),
            np.array([seen.reason[:MAX_REASON] for seen in found], f"U{MAX_REASON}"),
            np.array(fractions, np.int64),
        )


def read_faces(clip: Clip, reader: FaceReader, work: Path, progress: Progress) -> Readings:
    """The readings of all frames of a clip; those of an earlier run are kept.

    Args:
        clip: the driver's.
        reader: reads a chunk.
        work: folder for the readings.
        progress: called with "read", the number of frames done, and their total.

    Raises:
        InputError: a frame cannot be read, or there is none.
    """
    parts = list(_kept(work))
    n_done = sum(len(part.known) for part in parts)
    if _n_frames(work) != n_done:
        frames = frames_of(clip)
        for number in range(n_done):
            if next(frames, None) is None:
                raise InputError(f"{clip.path}: has {number} frames now, and had more before")
        while chunk := _some(frames, CHUNK):
            last = _last_box(parts)
            parts.append(reader.read(_counted(chunk, n_done, clip, progress), last))
            _write(work / _name(len(parts) - 1), parts[-1])
            n_done += len(parts[-1].known)
        write_atomically(work / DONE, json.dumps({"frames": n_done}).encode())
    if not n_done:
        raise InputError(f"{clip.path}: no frame can be decoded")
    progress("read", n_done, n_done)
    return Readings(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _some(frames: Iterator[Frame], n: int) -> Iterator[Frame] | None:
    """The next n frames, read when they are asked for; None at the end."""
    first = next(frames, None)
    if first is None:
        return None

    def some() -> Iterator[Frame]:
        yield first
        for _ in range(n - 1):
            frame = next(frames, None)
            if frame is None:
                return
            yield frame

    return some()


def _counted(
    frames: Iterator[Frame], n_done: int, clip: Clip, progress: Progress
) -> Iterator[Frame]:
    for number, frame in enumerate(frames, n_done + 1):
        yield frame
        progress("read", number, max(clip.declared or 0, number))


def _name(chunk: int) -> str:
    return f"reading-{chunk:05d}.npz"


def _last_box(parts: Sequence[Readings]) -> Box | None:
    if not parts or np.isnan(parts[-1].box[-1]).any():
        return None
    left, top, right, bottom = parts[-1].box[-1].tolist()
    return left, top, right, bottom


def _write(path: Path, readings: Readings) -> None:
    data = io.BytesIO()
    np.savez(data, **readings._asdict())
    write_atomically(path, data.getvalue())


def _kept(work: Path) -> Iterator[Readings]:
    """The readings of an earlier run, up to the first chunk that is missing or not whole."""
    for chunk in range(1 << 20):
        try:
            arrays = read_npz(work / _name(chunk), MAX_BYTES)
            found = Readings(**{name: arrays[name] for name in Readings._fields})
        except (InputError, KeyError):
            return
        yield found
        if len(found.known) < CHUNK:
            return


def _n_frames(work: Path) -> int | None:
    try:
        return int(read_json_object(work / DONE)["frames"])
    except (InputError, KeyError, TypeError, ValueError):
        return None
