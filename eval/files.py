"""Pictures of any format that Pillow reads, within limits of size."""

import dataclasses
import hashlib
import io
import stat
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from glow_jax.io.colour import to_srgb
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason

MAX_BYTES = 256 * 2**20
MAX_PIXELS = 100_000_000
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
    """Read a picture of any format that Pillow knows; of several frames, the first.

    Colours are converted to sRGB by the picture's profile, as in `glow_jax.io.pictures`. A JPEG of
    more than 100 megapixels is decoded at half its size.

    Args:
        path: of the file.
        data: its bytes, if they were read already.

    Raises:
        InputError: the file is missing, damaged, no picture, or too large.
    """
    data = read_bytes(path) if data is None else data
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own, lower limit of pixels
            image = Image.open(io.BytesIO(data))
            if image.format == "EPS":
                raise InputError(f"{one_line(path)}: EPS is not read; it is a program")
            if image.format == "JPEG" and image.width * image.height > MAX_PIXELS:
                image.draft(image.mode, (image.width // 2, image.height // 2))
            if image.width * image.height > MAX_PIXELS:
                raise InputError(
                    f"{one_line(path)}: {image.width}x{image.height} pixels; "
                    f"at most {MAX_PIXELS // 10**6} megapixels are read"
                )
            if max(image.size) > MAX_SIDE:
                raise InputError(
                    f"{one_line(path)}: {image.width}x{image.height} pixels; a side of at most "
                    f"{MAX_SIDE} is read"
                )
            profile = image.info.get("icc_profile") or b""
            pixels = _rgb(ImageOps.exif_transpose(image), profile)
    except InputError:
        raise
    except UnidentifiedImageError:  # its message holds a memory address
        raise InputError(f"{one_line(path)}: not a readable picture (no known format)") from None
    except Exception as error:  # Pillow's decoders raise many types on damaged files
        raise InputError(f"{one_line(path)}: not a readable picture ({reason(error)})") from None
    return Picture(path, hashlib.sha256(data).hexdigest(), pixels)


def _rgb(image: Image.Image, profile: bytes) -> np.ndarray:
    """(H, W, 3) uint8 in sRGB; `profile` is the ICC profile of the picture's numbers."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        # 16 bits to 8; Pillow's own conversion clips instead.
        values = np.asarray(image, np.float64)
        scale = 257 if values.max(initial=0) > 255 else 1
        image = Image.fromarray(np.clip(values / scale, 0, 255).astype(np.uint8))
    if "transparency" in image.info or image.mode in ("LA", "PA", "RGBA", "La", "RGBa"):
        rgba = image.convert("RGBA")
        colours = to_srgb(rgba.convert("RGB"), profile).convert("RGB")
        colours.putalpha(rgba.getchannel("A"))
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), colours)
    else:
        image = to_srgb(image.convert("RGB") if image.mode == "P" else image, profile)
    return np.array(image.convert("RGB"))
