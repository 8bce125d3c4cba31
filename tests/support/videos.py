"""Tiny videos, made by PyAV."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.photographs import wall

RATE = 25
SOUND_RATE = 22050


def scene(number: int, height: int = 64, width: int = 96) -> np.ndarray:
    """uint8 (height, width, 3): red at the upper left, and a grey that tells the frame."""
    pixels = np.full((height, width, 3), 20 + 5 * (number % 40), np.uint8)
    pixels[: height // 2, : width // 2] = (230, 20, 20)
    return pixels


def write_video(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    at: Sequence[int] | None = None,
    rotation_deg: int = 0,
    sound: str = "",
    codec: str = "libx264",
) -> Path:
    """Write frames at 25 a second, or at the times `at`, in 1/25 seconds.

    Args:
        path: whose ending says the format.
        frames: uint8 (H, W, 3).
        at: times; None is one after the other.
        rotation_deg: metadata by which players turn the frames, anticlockwise.
        sound: codec of a tone as long as the frames; "" for none.
        codec: of the frames.
    """
    import av

    with av.open(str(path), "w") as container:
        height, width = frames[0].shape[:2]
        video: Any = container.add_stream(codec, rate=RATE, options={"bf": "0", "crf": "8"})
        video.height, video.width = height, width
        video.pix_fmt = "yuv444p" if height % 2 or width % 2 else "yuv420p"
        if rotation_deg:
            video.set_display_rotation(rotation_deg)
        audio: Any = container.add_stream(sound, rate=SOUND_RATE) if sound else None
        if audio is not None:
            audio.layout = "mono"
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number if at is None else at[number]
            frame.time_base = Fraction(1, RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            _tone(container, audio, len(frames) * SOUND_RATE // RATE)
    return path


def write_sound(path: Path) -> Path:
    """A file with sound, and without a video."""
    import av

    with av.open(str(path), "w") as container:
        audio: Any = container.add_stream("aac", rate=SOUND_RATE)
        audio.layout = "mono"
        _tone(container, audio, SOUND_RATE // 2)
    return path


def _tone(container: Any, stream: Any, n: int) -> None:
    import av

    wave = (8000 * np.sin(np.arange(n) / 20)).astype(np.int16)
    for start in range(0, n, 512):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + 512], "s16", "mono")
        frame.sample_rate, frame.pts = SOUND_RATE, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def empty_scene(height: int = 120, width: int = 160) -> np.ndarray:
    """A frame without a face."""
    return wall(width, height)
