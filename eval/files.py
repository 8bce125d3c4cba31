"""Pictures as `glow_jax.io.pictures` reads them, and of formats that only Pillow knows."""

import dataclasses
import hashlib
import io
import stat
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from glow_jax.io.containers import is_known
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason
from glow_jax.io.pictures import MAX_PIXELS, first_frame, flattened

MAX_BYTES = 256 * 2**20
MAX_SIDE = 2**16  # pixels: Pillow needs memory for each row besides its pixels


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


def read_bytes(path: Path, most: int = MAX_BYTES) -> bytes:
    """A file's bytes.

    Args:
        path: of an ordinary file.
        most: bytes that are read; a larger file is refused.

    Raises:
        InputError: it is missing, unreadable, no ordinary file or above `most` bytes.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device may never end
            raise InputError(f"{one_line(path)}: not an ordinary file")
        if status.st_size > most:
            raise InputError(f"{one_line(path)}: {status.st_size} bytes; at most {most} are read")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{one_line(path)}: cannot be read ({reason(error)})") from None


def read_picture(path: Path, data: bytes | None = None) -> Picture:
    """Read a picture as a transfer does, or of another format that Pillow knows (GIF, TIFF, BMP).

    Of several frames, the first counts.

    Args:
        path: of the file.
        data: its bytes, if they were read already.

    Raises:
        InputError: the file is missing, damaged, no picture, or too large.
    """
    data = read_bytes(path) if data is None else data
    name = one_line(path)
    pixels = first_frame(data, name) if is_known(data) else _of_pillow(data, name)
    return Picture(path, hashlib.sha256(data).hexdigest(), pixels)


def _of_pillow(data: bytes, name: str) -> np.ndarray:
    """(H, W, 3) uint8 in sRGB, upright, of a format that only Pillow knows."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own, lower limit of pixels
            image = Image.open(io.BytesIO(data))
            if image.format == "EPS":
                raise InputError(f"{name}: EPS is not read; it is a program")
            if image.width * image.height > MAX_PIXELS:
                raise InputError(
                    f"{name}: {image.width} x {image.height} pixels; at most {MAX_PIXELS} accepted"
                )
            profile = image.info.get("icc_profile") or b""
            flat = flattened(_in_8_bits(ImageOps.exif_transpose(image)), profile)
            return np.array(flat.convert("RGB"))
    except InputError:
        raise
    except UnidentifiedImageError:  # its message holds a memory address
        raise InputError(f"{name}: not a readable picture (no known format)") from None
    except Exception as error:  # Pillow's decoders raise many types on damaged files
        raise InputError(f"{name}: not a readable picture ({reason(error)})") from None


def _in_8_bits(image: Image.Image) -> Image.Image:
    """16 or 32 bits of grey, or floating point, in 8 bits; Pillow's own conversion clips."""
    if not (image.mode.startswith("I;16") or image.mode in ("I", "F")):
        return image
    values = np.asarray(image, np.float64)
    scale = 257 if values.max(initial=0) > 255 else 1
    return Image.fromarray(np.clip(values / scale, 0, 255).astype(np.uint8))
