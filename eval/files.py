"""Pictures as `glow_jax.io.pictures` reads them, and of formats that only Pillow knows."""

import contextlib
import dataclasses
import hashlib
import io
import os
import re
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from glow_jax.io.containers import is_known
from glow_jax.io.errors import InputError
from glow_jax.io.face_numbers import split_face
from glow_jax.io.files import read_bytes
from glow_jax.io.messages import one_line, reason
from glow_jax.io.pictures import MAX_PIXELS, MAX_SIDE, first_frame, flattened

MAX_SAID_BYTES = 2**16
# What libtiff says where pixels are missing; Fax4Decode goes on all the same.
LOST_PIXELS = re.compile(r"Decode|JPEGLib|FillStrip|FillTile|Read error|code not yet")
_one_at_a_time = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture read from a file.

    Attributes:
        path: of the file.
        sha256: of the file's bytes, hexadecimal.
        pixels: (H, W, 3) uint8 RGB, upright; transparency laid over white.
    """

    path: Path
    sha256: str
    pixels: np.ndarray


def read_picture(path: Path, data: bytes | None = None) -> Picture:
    """Read a picture as a transfer does, or of another format that Pillow knows (GIF, TIFF, BMP).

    Of several frames, the first counts.

    Args:
        path: of the file.
        data: its bytes, if they were read already.

    Raises:
        InputError: the file is missing, damaged, no picture, or too large.
    """
    data = read_bytes(Path(split_face(path)[0])) if data is None else data
    name = one_line(path)
    pixels = first_frame(data, name) if is_known(data) else _of_pillow(data, name)
    return Picture(path, content_hash(path, data), pixels)


def content_hash(path: Path, data: bytes | None = None) -> str:
    """What identifies a picture: SHA-256 of its bytes, or of these and the number of a face in it.

    Args:
        path: of the file, perhaps with the number of a face.
        data: its bytes, if they were read already.
    """
    file, face = split_face(path)
    data = read_bytes(Path(file)) if data is None else data
    number = b"" if face is None else f"#{face}".encode()
    return hashlib.sha256(data + number).hexdigest()


def _of_pillow(data: bytes, name: str) -> np.ndarray:
    """(H, W, 3) uint8 in sRGB, upright, of a format that only Pillow knows."""
    said: list[str] = []
    try:
        with _captured(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own, lower limit of pixels
            image = Image.open(io.BytesIO(data))
            if image.format == "EPS":
                raise InputError(f"{name}: EPS is not read; it is a program")
            if image.width * image.height > MAX_PIXELS:
                raise InputError(
                    f"{name}: {image.width} x {image.height} pixels; at most {MAX_PIXELS} accepted"
                )
            if max(image.size) > MAX_SIDE:
                raise InputError(
                    f"{name}: {image.width} x {image.height} pixels; a side of at most {MAX_SIDE} "
                    "accepted"
                )
            profile = image.info.get("icc_profile") or b""
            flat = flattened(_in_8_bits(ImageOps.exif_transpose(image)), profile)
            pixels = np.array(flat.convert("RGB"))
        if lost := next(filter(LOST_PIXELS.search, said), ""):
            raise InputError(f"{name}: not a readable picture ({one_line(lost)[:200]})")
        return pixels
    except InputError:
        raise
    except UnidentifiedImageError:  # its message holds a memory address
        raise InputError(f"{name}: not a readable picture (no known format)") from None
    except Exception as error:  # Pillow's decoders raise many types on damaged files
        why = one_line(said[0])[:200] if said else reason(error)
        raise InputError(f"{name}: not a readable picture ({why})") from None


@contextlib.contextmanager
def _captured(said: list[str]) -> Iterator[None]:
    """Append to `said` what libtiff writes to the process's standard error, line by line."""
    with _one_at_a_time, _scratch() as file:
        try:
            before = os.dup(2)
        except OSError:  # standard error is closed
            yield
            return
        try:
            os.dup2(file.fileno(), 2)
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
            file.seek(0)
            lines = file.read(MAX_SAID_BYTES).decode("utf-8", "replace").splitlines()
            # Pillow calls the file so.
            said += [line.removeprefix("tempfile.tif: ") for line in lines]


def _scratch() -> BinaryIO:
    """A temporary file, or nothing where there can be none."""
    try:
        return cast(BinaryIO, tempfile.TemporaryFile())
    except OSError:
        return open(os.devnull, "r+b")


def _in_8_bits(image: Image.Image) -> Image.Image:
    """16 or 32 bits of grey, or floating point, in 8 bits; Pillow's own conversion clips."""
    if not (image.mode.startswith("I;16") or image.mode in ("I", "F")):
        return image
    values = np.asarray(image, np.float64)
    scale = 257 if values.max(initial=0) > 255 else 1
    return Image.fromarray(np.clip(values / scale, 0, 255).astype(np.uint8))
