"""Make the frames of the output, and write them in parts.

Every frame is made by a transfer method, as a picture is; only its activations come from the
smoothed readings.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.pictures import Pixels
from glow_jax.io.video_reader import Clip, frames_of
from glow_jax.io.video_writer import count_frames, write_part
from transfer.codec import Images, padded
from transfer.jobs.compute import NOT_FINITE
from transfer.jobs.run import Progress
from transfer.methods.base import Photograph
from transfer.methods.warp import Warp
from transfer.photos.align import Aligned
from transfer.photos.crop import crop
from transfer.photos.pose import Pose
from transfer.video.mark import marked
from transfer.video.reading import Readings
from transfer.video.smoothing import last_known
from transfer.video.timeline import chunks

TARGET = 0  # number of the target's picture and of the target
NO_BOX = (0.0, 0.0, 0.0, 0.0)


class Target:
    """The target's face and photograph; `transfer.methods.base.Photographs`."""

    def __init__(self, face: Images, photograph: Photograph | None):
        """A target.

        Args:
            face: the aligned face, uint8 (1, S, S, 3).
            photograph: the one that the face was cut out of; None for an aligned face.
        """
        self.face, self.taken = face, photograph

    def usable(self, person: int) -> list[int]:
        """The one picture of the one person."""
        return [TARGET]

    def pixels(self, pictures: Sequence[int]) -> Images:
        """uint8 (N, S, S, 3)."""
        return np.repeat(self.face, len(pictures), axis=0)

    def detailed(self, pictures: Sequence[int]) -> Images:
        """uint8 (N, h, w, 3): the face as it is read."""
        details = None if self.taken is None else self.taken.face.details
        return self.pixels(pictures) if details is None else np.stack([details] * len(pictures))

    def photograph(self, picture: int) -> Photograph:
        """The photograph."""
        assert self.taken is not None
        return self.taken


class Shown(NamedTuple):
    """The last frame with a face.

    Attributes:
        crop: uint8 (S, S, 3).
        photograph: returns the whole frame with the face in it.
    """

    crop: np.ndarray
    photograph: Callable[[], Photograph]


def make_parts(
    method: Warp,
    target: Target,
    clip: Clip,
    readings: Readings,
    activations: np.ndarray,
    work: Path,
    *,
    paste_back: bool,
    mark: str,
    batch_size: int,
    progress: Progress,
) -> list[Path]:
    """Make the parts that are missing; returns all of them, in order.

    Args:
        method: makes the frames.
        target: the picture that gets the expressions.
        clip: the driver's.
        readings: of all frames.
        activations: (T, A) of each frame, already multiplied by alpha.
        work: folder of the parts.
        paste_back: whether frames are the photograph, at its size.
        mark: text on every frame; "" for none.
        batch_size: frames that are computed at once.
        progress: called with "make", the number of frames done, and their total.

    Raises:
        InputError: a frame's grey levels are not finite.
    """
    n_frames = len(activations)
    parts = chunks(n_frames)
    paths = [work / f"part-{number:05d}.mp4" for number in range(len(parts))]
    missing = [
        i
        for i, (path, part) in enumerate(zip(paths, parts, strict=True))
        if not path.exists() or count_frames(path) != len(part)
    ]
    shown: Iterator[Shown] | None = None
    if method.shows_source and missing:
        shown = _skipped(_shown(clip, readings, target), parts[missing[0]].start)
    whole = target.taken.pixels if paste_back and target.taken is not None else target.face[0]
    height, width = whole.shape[:2]
    next_shown = parts[missing[0]].start if missing else 0
    for i in missing:
        part = parts[i]
        if shown is not None:
            shown = _skipped(shown, part.start - next_shown)
            next_shown = part.stop
        pictures = _frames(
            method, target, part, activations, shown, paste_back=paste_back, batch_size=batch_size
        )
        marked_ones = (marked(p, mark) if mark else p for p in pictures)
        counted = _counted(marked_ones, part, n_frames, progress)
        write_part(paths[i], counted, (height, width))
    progress("make", n_frames, n_frames)
    return paths


def _frames(
    method: Warp,
    target: Target,
    part: range,
    activations: np.ndarray,
    shown: Iterator[Shown] | None,
    *,
    paste_back: bool,
    batch_size: int,
) -> Iterator[Pixels]:
    """The frames of a part, without a mark."""
    for start in range(part.start, part.stop, batch_size):
        batch = activations[start : min(start + batch_size, part.stop)].astype(np.float32)
        sources = None if shown is None else [next(shown) for _ in batch]
        if paste_back:
            for i, one in enumerate(batch):
                yield _pasted(method, target, one, None if sources is None else sources[i])
            continue
        crops = target.pixels([TARGET] * len(batch))
        if sources is not None:
            crops = np.stack([source.crop for source in sources])
        prepared = method.of_activations(
            TARGET, padded(batch, batch_size), padded(crops, batch_size)
        )
        decoded = method.edit(prepared, np.ones(batch_size, np.float32))
        if not decoded.finite.all():
            raise InputError(NOT_FINITE)
        yield from decoded.images[: len(batch)]


def _pasted(method: Warp, target: Target, activations: np.ndarray, source: Shown | None) -> Pixels:
    crops = target.face if source is None else source.crop[None]
    photograph = target.photograph(TARGET)
    details = (lambda: photograph) if source is None else source.photograph
    return method.pasted(photograph, activations, crops, details)


def _shown(clip: Clip, readings: Readings, target: Target) -> Iterator[Shown]:
    """For each frame, the last one with a face; before the first face, the target itself."""
    last, size = last_known(readings.known), target.face.shape[1]
    here = Shown(target.face[0], lambda: target.photograph(TARGET))
    for number, frame in enumerate(frames_of(clip)):
        if last[number] == number:
            here = _cut_out(frame.pixels, readings.transform[number], size)
        yield here


def _cut_out(pixels: Pixels, transform: np.ndarray, size: int) -> Shown:
    if np.isnan(transform).any():  # the frame is an aligned face
        return Shown(pixels, _no_photograph)  # results of aligned faces are not pasted
    face = crop(pixels, transform, size)
    aligned = Aligned(
        face, transform, np.zeros((68, 2)), NO_BOX, 1, 1, Pose(0.0, 0.0, 0.0), 0.0, 0.0
    )
    return Shown(face, lambda: Photograph(TARGET, pixels, aligned))


def _no_photograph() -> Photograph:
    raise ValueError("an aligned face has no photograph")


def _skipped(shown: Iterator[Shown], n: int) -> Iterator[Shown]:
    for _ in range(n):
        next(shown)
    return shown


def _counted(
    pictures: Iterator[Pixels], part: range, n_frames: int, progress: Progress
) -> Iterator[Pixels]:
    for number, pixels in zip(part, pictures, strict=True):
        yield pixels
        progress("make", number + 1, n_frames)
