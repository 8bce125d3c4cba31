"""How a JPEG was compressed, and the same for another picture."""

import dataclasses
import io
from pathlib import Path
from typing import Any

from PIL import Image, JpegImagePlugin

from glow_jax.io.containers import scan_file
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason
from glow_jax.io.provenance import Provenance, xmp_packet

MAX_TABLES = 4
SUBSAMPLINGS = (0, 1, 2)  # Pillow's numbers of 4:4:4, 4:2:2 and 4:2:0


@dataclasses.dataclass(frozen=True)
class JpegQuality:
    """How much of a picture a JPEG keeps.

    Attributes:
        tables: 1 to 4 quantisation tables of 64 numbers from 1 to 255 each.
        subsampling: of the colours, Pillow's number: 0 is 4:4:4, 1 is 4:2:2, 2 is 4:2:0.
    """

    tables: tuple[tuple[int, ...], ...]
    subsampling: int


def jpeg_quality(path: Path) -> JpegQuality | None:
    """How a JPEG was compressed; None of a file of another format.

    A colour subsampling that Pillow does not write (4:1:1, of one channel) counts as 4:4:4, which
    keeps more.

    Raises:
        InputError: the file cannot be read, or is damaged.
    """
    scan = scan_file(path)
    if scan.kind != "JPEG":
        return None
    try:
        with Image.open(io.BytesIO(scan.data), formats=["JPEG"]) as image:
            assert isinstance(image, JpegImagePlugin.JpegImageFile)
            tables = [table for _, table in sorted(image.quantization.items())][:MAX_TABLES]
            subsampling = JpegImagePlugin.get_sampling(image)
    except Exception as error:  # Pillow's readers raise almost anything on damaged files
        raise InputError(f"{one_line(path)}: damaged JPEG ({reason(error)})") from error
    if not tables or any(len(table) != 64 for table in tables):
        raise InputError(f"{one_line(path)}: damaged JPEG (no quantisation table)")
    kept = tuple(tuple(min(max(int(n), 1), 255) for n in table) for table in tables)
    return JpegQuality(kept, subsampling if subsampling in SUBSAMPLINGS else 0)


def encode_jpeg(picture: Image.Image, provenance: Provenance, quality: JpegQuality) -> bytes:
    """A picture as a JPEG of a quality, with its provenance as XMP."""
    buffer = io.BytesIO()
    how: dict[str, Any] = {"qtables": [list(t) for t in quality.tables], "optimize": True}
    how |= {"subsampling": quality.subsampling, "xmp": xmp_packet(provenance).encode()}
    picture.save(buffer, "JPEG", **how)
    return buffer.getvalue()
