"""Write moving pictures with provenance: GIF and WebP by Pillow, MP4 by `video_writer`.

Each file holds the XMP record of `glow_jax.io.provenance`: a GIF in an application extension, a
WebP in its XMP chunk, an MP4 in a `uuid` box and, for players that show it, as its comment.

Sources: XMP specification part 3 (2020), sections 1.1.2 (GIF) and 1.1.7.
"""

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from glow_jax.io.errors import InputError
from glow_jax.io.files import read_bytes, write_atomically
from glow_jax.io.messages import one_line, reason
from glow_jax.io.packages import need
from glow_jax.io.provenance import Provenance, provenance_in, xmp_packet
from glow_jax.io.video_reader import EXTRA
from glow_jax.io.video_writer import write_clip

Frames = npt.NDArray[np.uint8]
Kind = Literal["gif", "webp", "mp4"]
KINDS: tuple[str, ...] = get_args(Kind)

MAX_BYTES = 2**28  # of a file whose record is read
COLOURS = 256  # of a GIF
PALETTE_FRAMES = 16  # of a GIF, from which its colours are chosen
WEBP_QUALITY = 90
GIF_XMP = b"\x21\xff\x0bXMP DataXMP"
GIF_TRAILER = b"\x3b"
_PACKET = re.compile(rb"<\?xpacket begin=.*?<\?xpacket end=\"[rw]\"\?>", re.DOTALL)


def check_kind(kind: str) -> None:
    """Check that files of a kind can be written.

    Raises:
        InputError: the kind is not one of KINDS, or its package is not installed.
    """
    if kind not in KINDS:
        raise InputError(f"`animate` is {kind!r}; use {' or '.join(KINDS)}")
    if kind == "mp4":
        need(EXTRA, "av")


def write_animation(path: Path, frames: Frames, seconds: float, provenance: Provenance) -> None:
    """Write a moving picture that repeats for ever, atomically; equal input gives equal bytes.

    Args:
        path: ends in .gif, .webp or .mp4; its folder exists.
        frames: uint8 (N, H, W, 3), sRGB. An MP4 has even sides: the last row or column is repeated.
        seconds: how long each frame is shown; a GIF rounds it to a hundredth.
        provenance: of the whole file.

    Raises:
        InputError: another ending, dtype or shape, PyAV is not installed, or the frames cannot be
            encoded.
        OutputError: the file cannot be written.
    """
    kind = path.suffix.lower().removeprefix(".")
    check_kind(kind)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not frames.size:
        raise InputError(
            f"{one_line(path)}: frames of shape {frames.shape}; (N, H, W, 3) is needed"
        )
    if kind == "mp4":
        write_clip(path, list(frames), seconds, provenance)
        return
    try:
        data = {"gif": _gif, "webp": _webp}[kind](frames, seconds, provenance)
    except (OSError, ValueError) as error:  # a WebP has at most 16383 pixels a side
        raise InputError(f"{one_line(path)}: cannot be encoded ({reason(error)})") from error
    write_atomically(path, data)


def read_animation_provenance(path: Path) -> Provenance | None:
    """Read the record of `write_animation`; None if there is none.

    Raises:
        InputError: the file cannot be read, or is larger than MAX_BYTES.
    """
    packet = _PACKET.search(read_bytes(path, MAX_BYTES))
    return None if packet is None else provenance_in(packet[0])


def _gif(frames: Frames, seconds: float, provenance: Provenance) -> bytes:
    """All frames have one palette, without dithering: what does not move does not flicker."""
    places = np.linspace(0, len(frames) - 1, min(PALETTE_FRAMES, len(frames))).round().astype(int)
    sample = Image.fromarray(np.concatenate(list(frames[places])))
    palette = sample.quantize(COLOURS, Image.Quantize.MEDIANCUT)
    pictures = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]
    buffer = io.BytesIO()
    how = {"duration": 10 * round(100 * seconds), "loop": 0, "optimize": False}
    pictures[0].save(buffer, "GIF", save_all=True, append_images=pictures[1:], **how)
    data = buffer.getvalue()
    if not data.endswith(GIF_TRAILER):
        raise ValueError("a GIF without a trailer")
    # Readers that skip the packet as sub-blocks end in these bytes, wherever they enter them.
    magic = b"\x01" + bytes(range(255, -1, -1)) + b"\x00"
    return data[:-1] + GIF_XMP + xmp_packet(provenance).encode() + magic + GIF_TRAILER


def _webp(frames: Frames, seconds: float, provenance: Provenance) -> bytes:
    pictures = [Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    how: dict[str, Any] = {"duration": round(1000 * seconds), "loop": 0, "quality": WEBP_QUALITY}
    xmp = xmp_packet(provenance).encode()
    pictures[0].save(buffer, "WEBP", save_all=True, append_images=pictures[1:], xmp=xmp, **how)
    return buffer.getvalue()


def up_and_down(n: int, hold: int) -> Sequence[int]:
    """Places of `n` frames shown forwards and back, the first and last `hold` times each."""
    return [*[0] * hold, *range(1, n - 1), *[n - 1] * hold, *range(n - 2, 0, -1)]
