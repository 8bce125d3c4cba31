"""Write frames as H.264 in parts, and join the parts, with sound, to one MP4 file.

Parts have no B-frames, so that their packets are in the order of the frames, and the times of the
joined file are set packet by packet. Equal frames give equal bytes. PyAV (extra `video`) encodes.
Every MP4 file that glow-jax writes is made here.
"""

import contextlib
import itertools
import os
import struct
import uuid
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from glow_jax.io.errors import InputError, OutputError
from glow_jax.io.messages import one_line, reason
from glow_jax.io.packages import need
from glow_jax.io.pictures import Pixels
from glow_jax.io.provenance import Provenance, xmp_packet
from glow_jax.io.unfinished import unfinished
from glow_jax.io.video_reader import EXTRA, interpolation, opened

# With several threads, or with macroblock trees, equal frames do not give equal bytes: x264 reads
# memory that it did not write (seen with the x264 of PyAV 18.1). Constant rate factor 14: 0 is
# lossless, 18 looks lossless.
CODEC = {"crf": "14", "preset": "medium", "x264-params": "threads=1:mbtree=0:bframes=0"}
KEY_FRAMES = 64  # frames from one key frame to the next, at most
BT709 = 1  # of ITU-T H.273: primaries, transfer and matrix
LIMITED_RANGE = 1
MAX_SIDE = 8192  # pixels
TICKS = 90_000  # a second: the unit of times, of which common frame rates are whole numbers
COPIED_SOUND = ("aac", "mp3", "ac3", "eac3", "alac", "opus")  # other codecs become AAC
AAC_RATES = (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
XMP_BOX = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac").bytes


def write_part(path: Path, frames: Iterable[Pixels], size: tuple[int, int]) -> int:
    """Write frames as one part, atomically; returns their number.

    Args:
        path: ends in .mp4.
        frames: uint8 (H, W, 3).
        size: (H, W) of all frames; H.264 needs even sides: a last row or column is repeated.

    Raises:
        InputError: FFmpeg refuses the size.
        OutputError: the file cannot be written.
    """
    need(EXTRA, "av")
    with _atomically(path) as temporary:
        return _encode(temporary, frames, size)


def _encode(path: Path, frames: Iterable[Pixels], size: tuple[int, int]) -> int:
    import av

    height, width = (side + side % 2 for side in size)
    n = 0
    with av.open(os.fspath(path), "w", "mp4") as container:
        stream: Any = container.add_stream("libx264", rate=25, options=dict(CODEC))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.gop_size = KEY_FRAMES
        context.color_primaries = context.color_trc = context.colorspace = BT709
        context.color_range = LIMITED_RANGE
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even(pixels)), format="rgb24")
            frame = frame.reformat(
                format="yuv420p",
                dst_colorspace="ITU709",
                dst_color_range="MPEG",
                interpolation=interpolation(),
            )
            frame.pts = n
            container.mux(stream.encode(frame))
            n += 1
        container.mux(stream.encode(None))
    return n


def even(pixels: Pixels) -> Pixels:
    """A picture (H, W, 3) with even sides: the last row or column is repeated."""
    height, width = pixels.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return pixels
    return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")


def write_clip(
    path: Path, frames: Sequence[Pixels], seconds: float, provenance: Provenance
) -> None:
    """Write frames that are shown equally long as one MP4 file without sound, atomically.

    Args:
        path: of the file; an older one is replaced.
        frames: uint8 (H, W, 3), at least one, all of one size.
        seconds: how long each frame is shown.
        provenance: as of `join`.

    Raises:
        InputError: FFmpeg refuses the size.
        OutputError: the file cannot be written.
    """
    part = path.with_name(f".{uuid.uuid4().hex}.tmp")
    height, width = frames[0].shape[:2]
    edges = np.rint(np.arange(len(frames) + 1) * seconds * TICKS).astype(np.int64)
    need(EXTRA, "av")
    with _temporary(part), _errors_of(path):
        _encode(part, frames, (height, width))
        join(path, [part], edges[:-1], np.diff(edges), provenance)


def count_frames(path: Path) -> int | None:
    """The number of frames of a part; None where it is missing or damaged."""
    try:
        with opened(path) as (container, stream):
            return sum(1 for packet in container.demux(stream) if packet.size > 0)
    except InputError:
        return None


def join(
    path: Path,
    parts: Sequence[Path],
    ticks: np.ndarray,
    durations: np.ndarray,
    provenance: Provenance,
    sound: Path | None = None,
) -> None:
    """Join parts to one MP4 file, atomically.

    Args:
        path: of the file; an older one is replaced.
        parts: in order.
        ticks, durations: (T,) int64: when each frame is shown, from 0, and how long, in `TICKS`.
        provenance: embedded as XMP, and in words in the comment.
        sound: a video file whose sound is added; its first frame is at time 0.

    Raises:
        InputError: the sound cannot be read, or the numbers of frames and of times differ.
        OutputError: the file cannot be written.
    """
    need(EXTRA, "av")
    import av

    words = f"edited with {provenance.model}: {provenance.source_type} (glow-jax)"
    with _atomically(path) as temporary:
        options = {"movflags": "+faststart", "fflags": "+bitexact"}
        with (
            av.open(os.fspath(temporary), "w", "mp4", container_options=options) as container,
            contextlib.ExitStack() as stack,
        ):
            container.metadata["comment"] = words
            with opened(parts[0]) as (_, template):
                stream = container.add_stream_from_template(template)
            stream.time_base = Fraction(1, TICKS)
            added = _added_sound(stack, container, sound) if sound is not None else iter(())
            packets = _with_times(parts, stream, ticks, durations)
            _mux_in_order(container, packets, added)
        with open(temporary, "ab") as file:
            file.write(_xmp_box(provenance))


def _with_times(
    parts: Sequence[Path], stream: Any, ticks: np.ndarray, durations: np.ndarray
) -> Iterator[Any]:
    n = 0
    for part in parts:
        with opened(part) as (container, source):
            for packet in container.demux(source):
                if not packet.size:
                    continue
                if n == len(ticks):
                    raise InputError(f"{one_line(part)}: more frames than it should have")
                packet.time_base = Fraction(1, TICKS)
                packet.pts = packet.dts = int(ticks[n])
                packet.duration = int(durations[n])
                packet.stream = stream
                n += 1
                yield packet
    if n != len(ticks):
        raise InputError(f"{one_line(parts[-1])}: {n} frames in all parts, {len(ticks)} are needed")


def _added_sound(stack: contextlib.ExitStack, container: Any, path: Path) -> Iterator[Any]:
    """The packets of the sound of a video, copied where MP4 takes its codec, else encoded as AAC.

    The first frame of the video is at time 0.
    """
    source, video = stack.enter_context(opened(path))
    if not source.streams.audio:
        return iter(())
    audio = source.streams.audio[0]
    unit = video.time_base or Fraction(0)
    start = (video.start_time or 0) * unit
    if audio.codec_context.name in COPIED_SOUND:
        stream = container.add_stream_from_template(audio)
        return _copied(source, audio, stream, start)
    rate = audio.codec_context.sample_rate
    stream = container.add_stream("aac", rate=min(AAC_RATES, key=lambda r: abs(r - rate)))
    stream.layout = "mono" if audio.codec_context.channels == 1 else "stereo"
    return _encoded(source, audio, stream, start)


def _copied(source: Any, audio: Any, stream: Any, start: Fraction) -> Iterator[Any]:
    shift = round(start / audio.time_base)
    for packet in source.demux(audio):
        if packet.dts is None or packet.pts is None:
            continue
        packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
        packet.stream = stream
        if packet.pts + (packet.duration or 0) > 0:
            yield packet


def _encoded(source: Any, audio: Any, stream: Any, start: Fraction) -> Iterator[Any]:
    import av

    resampler = av.AudioResampler(
        format="fltp", layout=stream.layout, rate=stream.codec_context.sample_rate
    )
    unit = Fraction(1, stream.codec_context.sample_rate)
    for frame in itertools.chain(source.decode(audio), (None,)):
        for part in resampler.resample(frame):
            if part.pts is not None and part.time_base is not None:
                part.pts = max(0, round(part.pts * part.time_base / unit - start / unit))
                part.time_base = unit
            yield from stream.encode(part)
    yield from stream.encode(None)


def _mux_in_order(container: Any, video: Iterator[Any], sound: Iterator[Any]) -> None:
    """Write packets of both by time, so that a player reads the file from front to back."""
    later = next(sound, None)
    for packet in video:
        while later is not None and later.dts * later.time_base <= packet.dts * packet.time_base:
            container.mux_one(later)
            later = next(sound, None)
        container.mux_one(packet)
    while later is not None:
        container.mux_one(later)
        later = next(sound, None)


def _xmp_box(provenance: Provenance) -> bytes:
    """The record as a box at the end of an MP4 file.

    Source: XMP specification part 3, section 2.1.2 (MPEG-4); ISO 14496-12, 4.2 (boxes).
    """
    content = XMP_BOX + xmp_packet(provenance).encode()
    return struct.pack(">I4s", len(content) + 8, b"uuid") + content


@contextlib.contextmanager
def _atomically(path: Path) -> Iterator[Path]:
    """A temporary file that is renamed to `path` at the end; errors become the project's."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    with _temporary(temporary), _errors_of(path):
        yield temporary
        os.replace(temporary, path)


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[None]:
    """A file of this name is renamed or removed at the end, also by a signal."""
    try:
        with unfinished(path):
            yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


@contextlib.contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Turn errors of FFmpeg and of the disk into the project's, which name `path`."""
    import av

    try:
        yield
    except (InputError, OutputError):
        raise
    except OSError as error:  # also FFmpeg's, such as "no space left on device"
        raise OutputError(f"{one_line(path)}: cannot be written ({reason(error)})") from None
    except av.error.FFmpegError as error:
        raise InputError(f"{one_line(path)}: cannot be encoded ({reason(error)})") from None
