"""Read the frames of a video file, or of a folder of pictures, one after the other.

Files may be hostile: only the formats below are opened, from an open file, so that a playlist names
no other file or address; sizes are checked before frames are decoded. Frames are upright (rotation
metadata is applied) and have square pixels. PyAV (extra `video`) decodes.
"""

import contextlib
import dataclasses
import hashlib
import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.files import open_ordinary
from glow_jax.io.messages import one_line, reason
from glow_jax.io.packages import need
from glow_jax.io.picture_folders import list_pictures
from glow_jax.io.pictures import Pixels, read_image

EXTRA = "video"
# Names of FFmpeg's demuxers that read a single file: none of them opens another one.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,gif,apng,mxf,nut,ivf,m4v"
)
ACCEPTED = "MP4, MOV, MKV, WebM, AVI, MPEG, and others that FFmpeg reads"
MAX_FRAME_PIXELS = 2**25  # 8192 x 4096
MAX_FRAMES = 2**17  # 36 minutes at 60 frames a second
MAX_SQUEEZE = 4  # of pixels that are not square
MAX_RATE = 1000  # frames a second; a higher rate that a file declares is ignored
DEFAULT_RATE = Fraction(25)
# How much earlier than declared packets may end; a file that ends earlier still was cut off.
MAX_MISSING_S, MAX_MISSING_SHARE = 1.0, 0.05
READ_BYTES = 2**20


@dataclasses.dataclass(frozen=True)
class Clip:
    """A video file, or a folder of pictures.

    Attributes:
        path: of the file or folder.
        files: the pictures of a folder, in order; empty for a video file.
        width, height: of the upright frames, pixels; of a folder's first picture.
        rate: frames a second: a folder's, or a file's average.
        declared: number of frames that the file declares; None where it does not.
        seconds: length that the file declares; None where it does not.
        rotated_deg: how far frames are turned by metadata, anticlockwise.
        sound: name of the sound's codec; "" without sound.
    """

    path: Path
    files: tuple[Path, ...]
    width: int
    height: int
    rate: Fraction
    declared: int | None
    seconds: float | None
    rotated_deg: int = 0
    sound: str = ""


class Frame(NamedTuple):
    """A frame.

    Attributes:
        pixels: uint8 (H, W, 3), sRGB as the file's own colours are.
        time: seconds; None where the file does not say.
        damaged: whether the decoder reports damage, or a folder's file cannot be used; then
            `pixels` may be black.
        reason: why a folder's file cannot be used; "" where that is not known.
    """

    pixels: Pixels
    time: Fraction | None
    damaged: bool
    reason: str = ""


def read_clip(path: Path, rate: Fraction | None = None) -> Clip:
    """The properties of a clip, whose first frame is decoded.

    Args:
        path: of a video file, or of a folder of pictures.
        rate: frames a second of a folder; None is `DEFAULT_RATE`.

    Raises:
        InputError: it is missing or damaged, of another format, without frames, or too large; a
            rate is given for a video file; or PyAV is not installed.
    """
    if path.is_dir():
        files = tuple(list_pictures(path).paths)
        _check_count(path, len(files))
        height, width = read_image(files[0]).shape[:2]
        rate = rate or DEFAULT_RATE
        return Clip(path, files, width, height, rate, len(files), float(len(files) / rate))
    if rate is not None:
        raise InputError(
            f"{one_line(path)}: is a video with a frame rate of its own; `rate` is for folders"
        )
    with opened(path) as (container, stream):
        first = next(_decoded(path, container, stream), None)
        if first is None:
            raise InputError(
                f"{one_line(path)}: no frame can be decoded; the file is damaged or empty"
            )
        frame, _ = first
        pixels = _upright(frame)
        sound = next((s.codec_context.name for s in container.streams.audio if s.codec_context), "")
        declared = stream.frames or None
        if declared is not None:
            _check_count(path, declared)
        seconds = None if not container.duration else container.duration / 1e6
        return Clip(
            path, (), pixels.shape[1], pixels.shape[0], _rate_of(stream), declared, seconds,
            frame.rotation, sound,
        )  # fmt: skip


def frames_of(clip: Clip) -> Iterator[Frame]:
    """The frames of a clip, each when it is asked for.

    Raises:
        InputError: a video file cannot be read on, is cut off or has frames of several sizes; or
            there are too many frames.
    """
    frames = _of_folder(clip) if clip.files else _of_file(clip)
    for number, frame in enumerate(frames):
        _check_count(clip.path, number + 1)
        if frame.pixels.shape[:2] != (clip.height, clip.width):
            height, width = frame.pixels.shape[:2]
            raise InputError(
                f"{one_line(clip.path)}: frame {number} is {width} wide and {height} high, but the "
                f"first one {clip.width} and {clip.height}"
            )
        yield frame


def sha256_of(clip: Clip) -> str:
    """SHA-256 of the file, or of the names and contents of a folder's pictures.

    Raises:
        InputError: the file cannot be read; of a folder's pictures, some may be unreadable.
    """
    digest = hashlib.sha256()
    for path in clip.files or (clip.path,):
        if clip.files:
            digest.update(repr(path.name).encode())
        try:
            with open_ordinary(path) as file:
                while part := file.read(READ_BYTES):
                    digest.update(part)
        except InputError as error:
            if not clip.files:
                raise
            digest.update(str(error).encode())
    return digest.hexdigest()


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """PyAV's container of a file, and its video stream; PyAV's errors inside become InputError.

    Raises:
        InputError: it cannot be read, has no video, or is too large; or PyAV is not installed.
    """
    need(EXTRA, "av")
    import av

    with open_ordinary(path) as file:
        if not file.read(1):
            raise InputError(f"{one_line(path)}: the file is empty; accepted: {ACCEPTED}")
        file.seek(0)
        options = {"format_whitelist": FORMATS, "protocol_whitelist": "none"}
        try:
            with av.open(file, "r", container_options=options, metadata_errors="replace") as found:
                if not found.streams.video:
                    what = "sound only" if found.streams.audio else "no video in it"
                    raise InputError(f"{one_line(path)}: {what}; a video is needed")
                stream = found.streams.video[0]
                if stream.codec_context is None:
                    raise InputError(f"{one_line(path)}: its codec is not known")
                _check_size(path, stream.codec_context.width, stream.codec_context.height)
                stream.thread_type = "AUTO"
                yield found, stream
        except InputError:
            raise
        except (av.error.FFmpegError, ValueError, EOFError) as error:
            raise InputError(
                f"{one_line(path)}: cannot be read as a video ({reason(error)}); accepted: "
                f"{ACCEPTED}"
            ) from None


def _decoded(path: Path, container: Any, stream: Any) -> Iterator[tuple[Any, Fraction]]:
    """Each frame of PyAV's, and the end of all packets so far, sound included, in seconds."""
    end = Fraction(0)
    for packet in container.demux(stream, *container.streams.audio):
        if packet.pts is not None:
            end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
        for frame in packet.decode() if packet.stream is stream else ():
            _check_size(path, frame.width, frame.height)
            yield frame, end


def _of_file(clip: Clip) -> Iterator[Frame]:
    n, last = 0, Fraction(0)
    with opened(clip.path) as (container, stream):
        start = Fraction(container.start_time or 0, 1_000_000)
        for frame, end in _decoded(clip.path, container, stream):
            time = None if frame.pts is None else frame.pts * frame.time_base
            n, last = n + 1, end
            yield Frame(_upright(frame), time, bool(frame.is_corrupt))
    if clip.declared is not None and clip.declared > n:
        missing = float((clip.declared - n) / clip.rate)
    else:
        missing = (clip.seconds or 0.0) - float(last - start)
    if missing > max(MAX_MISSING_S, MAX_MISSING_SHARE * (clip.seconds or 0.0)):
        raise InputError(
            f"{one_line(clip.path)}: cut off or damaged: it ends {missing:.1f} s before it should, "
            f"after {n} frames"
        )


def _of_folder(clip: Clip) -> Iterator[Frame]:
    """A file that cannot be read, or is of another size than the first, is a damaged frame."""
    for number, path in zip(itertools.count(), clip.files, strict=False):
        try:
            pixels = read_image(path)
            _check_like_first(path, pixels, clip)
        except InputError as error:
            black = np.zeros((clip.height, clip.width, 3), np.uint8)
            why = str(error).removeprefix(f"{one_line(clip.path)}/")
            yield Frame(black, number / clip.rate, True, why)
        else:
            yield Frame(pixels, number / clip.rate, False)


def _check_like_first(path: Path, pixels: Pixels, clip: Clip) -> None:
    height, width = pixels.shape[:2]
    if (height, width) != (clip.height, clip.width):
        raise InputError(
            f"{one_line(path)}: is {width} wide and {height} high, but the first frame "
            f"{clip.width} and {clip.height}"
        )


def _upright(frame: Any) -> Pixels:
    """uint8 (H, W, 3), turned by the rotation of the metadata, with square pixels."""
    width = frame.width
    squeeze = getattr(frame, "sample_aspect_ratio", None) or 1
    if squeeze != 1 and 1 / MAX_SQUEEZE < squeeze < MAX_SQUEEZE:
        width = max(1, round(width * squeeze))
    pixels = frame.reformat(
        width=width, height=frame.height, format="rgb24", interpolation=interpolation()
    ).to_ndarray()
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


def interpolation() -> Any:
    """How FFmpeg converts colours, whose chroma has half the resolution.

    FFmpeg's default repeats chroma and rounds down: three times the error on renders (1.47 grey
    levels against 0.48, there and back).
    """
    from av.video.reformatter import Interpolation as Flag

    return Flag.BICUBIC | Flag.FULL_CHR_H_INT | Flag.FULL_CHR_H_INP | Flag.ACCURATE_RND


def _rate_of(stream: Any) -> Fraction:
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and 0 < rate <= MAX_RATE:
            return Fraction(rate)
    return DEFAULT_RATE


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_FRAME_PIXELS:
        raise InputError(
            f"{one_line(path)}: frames of {width} x {height} pixels; at most {MAX_FRAME_PIXELS} "
            "accepted"
        )


def _check_count(path: Path, n: int) -> None:
    if n > MAX_FRAMES:
        raise InputError(f"{one_line(path)}: more than {MAX_FRAMES} frames; cut it into parts")
