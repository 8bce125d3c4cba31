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
    silent_s: float = 0.0,
) -> Path:
    """Write frames at 25 a second, or at the times `at`, in 1/25 seconds.

    Args:
        path: whose ending says the format.
        frames: uint8 (H, W, 3).
        at: times; None is one after the other.
        rotation_deg: metadata by which players turn the frames, anticlockwise.
        sound: codec of a tone as long as the frames; "" for none.
        codec: of the frames.
        silent_s: seconds of silence before the tone.
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
            _tone(container, audio, len(frames) * SOUND_RATE // RATE, silent_s)
    return path


def write_sound(path: Path) -> Path:
    """A file with sound, and without a video."""
    import av

    with av.open(str(path), "w") as container:
        audio: Any = container.add_stream("aac", rate=SOUND_RATE)
        audio.layout = "mono"
        _tone(container, audio, SOUND_RATE // 2)
    return path


def sound_of(path: Path) -> tuple[np.ndarray, int]:
    """The sound (-1 to 1) from time 0 on, and its rate, a second."""
    import av

    with av.open(str(path)) as container:
        parts = [(f.time or 0.0, f.to_ndarray(), f.sample_rate) for f in container.decode(audio=0)]
    rate = parts[0][2]
    scale = 2.0**15 if parts[0][1].dtype == np.int16 else 1.0
    before = round(parts[0][0] * rate)
    wave = np.concatenate([part[0] for _, part, _ in parts]) / scale
    return np.concatenate([np.zeros(max(before, 0)), wave[max(-before, 0) :]]), rate


def _tone(container: Any, stream: Any, n: int, silent_s: float = 0.0) -> None:
    import av

    wave = (8000 * np.sin(np.arange(n) / 20)).astype(np.int16)
    wave[: round(silent_s * SOUND_RATE)] = 0
    for start in range(0, n, 512):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + 512], "s16", "mono")
        frame.sample_rate, frame.pts = SOUND_RATE, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def empty_scene(height: int = 120, width: int = 160) -> np.ndarray:
    """A frame without a face."""
    return wall(width, height)
