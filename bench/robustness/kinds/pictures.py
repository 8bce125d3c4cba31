"""Pictures, as every verb reads them and as the judge does."""

import functools
import importlib.util
import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from bench.robustness.damage import Files, one_changed
from bench.robustness.kind import Kind
from eval.files import read_picture
from glow_jax.io.errors import InputError
from glow_jax.io.picture_folders import image_paths
from glow_jax.io.pictures import image_bytes, read_image
from glow_jax.io.provenance import Provenance, read_provenance, read_source_type

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
COLOUR = Image.fromarray(PIXELS)
GREY16 = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257)
MADE = Provenance("trainedAlgorithmicMedia", "faces64", {"alpha": 1.0})


def read(folder: Path) -> None:
    """The first picture of a folder, by each reader; refused where both refuse it."""
    path = next(p for p in sorted(folder.iterdir()) if p.is_file())
    refused = []
    for reader in (read_image, read_picture):
        try:
            reader(path)
        except InputError as error:
            refused.append(error)
    for of in (read_source_type, read_provenance):
        try:
            of(path)
        except InputError:
            continue
    image_paths(path)
    if len(refused) == 2:
        raise refused[0]


def saved(kind: str, image: Image.Image = COLOUR, **options: Any) -> bytes:
    """A picture as Pillow writes it."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    return exif.tobytes()


def _profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _png() -> list[Files]:
    pictures = [
        image_bytes(PIXELS, MADE),
        saved("PNG", GREY16),
        saved("PNG", COLOUR.convert("P"), transparency=3),
        saved("PNG", COLOUR.convert("RGBA"), icc_profile=_profile(), exif=_exif()),
        saved("PNG", COLOUR.convert("L"), transparency=9),
        saved("PNG", COLOUR.convert("1")),
        saved("PNG", COLOUR.convert("LA")),
    ]
    return [{"a.png": data} for data in pictures]


def png_of(width: int, height: int, data: bytes, colour: int = 2, depth: int = 8) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c))
        for n, c in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    )


def _hostile_png() -> list[Files]:
    zeros = zlib.compress(bytes(2**22), 9)
    bomb = zlib.compress(bytes(2**26), 9)
    packed = saved("PNG", COLOUR)
    profile = b"x\0\0" + bomb
    chunk = struct.pack(">I", len(profile)) + b"iCCP" + profile
    chunk += struct.pack(">I", zlib.crc32(b"iCCP" + profile))
    pictures = [
        b"",
        b"\x89PNG\r\n\x1a\n",
        *(png_of(w, h, zeros) for w, h in ((2**31, 2**31), (2**16, 2**16), (0, 4), (1, 2**26))),
        png_of(8000, 8000, bomb, 0, 1),
        png_of(8192, 8192, bomb[:100]),
        packed[:33] + chunk + packed[33:],
        packed[:33] + chunk * 200 + packed[33:],
        packed + packed,
        b"<!DOCTYPE html><html><body>Not found</body></html>",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"%PDF-1.4\n",
    ]
    return [{"a.png": data} for data in pictures]


def _jpeg() -> list[Files]:
    pictures = [
        saved("JPEG"),
        saved("JPEG", progressive=True, quality=60, subsampling=2),
        saved("JPEG", COLOUR.convert("CMYK")),
        saved("JPEG", COLOUR.convert("L"), exif=_exif(), icc_profile=_profile()),
        saved("JPEG", comment=b"x" * 900, restart_marker_blocks=1),
    ]
    return [{"a.jpg": data} for data in pictures]


def _hostile_jpeg() -> list[Files]:
    whole = saved("JPEG")
    at = whole.index(b"\xff\xc0")
    large = whole[: at + 5] + struct.pack(">HH", 65535, 65535) + whole[at + 9 :]
    scans = saved("JPEG", progressive=True)
    scan = scans[scans.index(b"\xff\xda") : -2]
    pictures = [
        large,
        whole[: at + 5] + struct.pack(">HH", 0, 0) + whole[at + 9 :],
        scans[:-2] + scan * 3000 + scans[-2:],
        whole[:2] + b"\xff\xe1\xff\xff" + bytes(65533) + whole[2:],
        b"\xff\xd8\xff" + b"\xff" * 2**20,
        b"\xff\xd8\xff\xe0\0\2" * 50_000,
        whole[:-2],
        whole + bytes(10_000),
    ]
    return [{"a.jpg": data} for data in pictures]


def _webp() -> list[Files]:
    pictures = [
        image_bytes(PIXELS, MADE, ".webp"),
        saved("WEBP", quality=50),
        saved("WEBP", COLOUR.convert("RGBA"), lossless=True, exif=_exif(), icc_profile=_profile()),
        saved("WEBP", save_all=True, append_images=[COLOUR.rotate(180)], duration=9),
    ]
    return [{"a.webp": data} for data in pictures]


def _hostile_webp() -> list[Files]:
    whole = saved("WEBP", COLOUR, exif=_exif())
    at = whole.index(b"VP8X") + 12
    large = whole[:at] + b"\xff" * 6 + whole[at + 6 :]
    empty = b"RIFF\xff\xff\xff\xffWEBP"
    return [{"a.webp": data} for data in (large, empty, empty + b"EXIF\0\0\0\0" * 200_000)]


def _others() -> list[Files]:
    """Kinds that only the judge reads, or nobody."""
    turned = COLOUR.rotate(180)
    found = {
        "a.gif": saved("GIF", COLOUR.convert("P"), save_all=True, append_images=[turned]),
        "a.bmp": saved("BMP"),
        "a.tif": saved("TIFF", compression="tiff_lzw"),
        "a.ppm": saved("PPM"),
        "a.tga": saved("TGA"),
        "a.ico": saved("ICO"),
    }
    return [{name: data} for name, data in found.items()]


def _hostile_others() -> list[Files]:
    gif = saved("GIF", COLOUR.convert("P"))
    tiff = saved("TIFF")
    found = {
        "large.gif": gif[:6] + b"\xff\xff\xff\xff" + gif[10:],
        "large.ppm": b"P6 99999 99999 255\n" + bytes(100),
        "large.bmp": saved("BMP")[:18] + struct.pack("<ii", 2**31 - 1, 2**31 - 1) + bytes(64),
        "loop.tif": tiff[:4] + struct.pack("<I", 4) + tiff[8:],
        "a.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) run\n",
        "a.psd": b"8BPS\0\1" + bytes(6) + b"\0\3" + b"\xff" * 20,
    }
    return [{name: data} for name, data in found.items()]


def _avif() -> list[Files]:
    return [{"a.avif": saved("AVIF")}]


@functools.cache
def _heic() -> list[Files]:
    """HEIC, where this Python can write it; it is read with the extra `photos` alone."""
    if not importlib.util.find_spec("pillow_heif"):
        return []
    import pillow_heif

    file = io.BytesIO()
    pillow_heif.from_pillow(COLOUR.resize((64, 64))).save(file)
    return [{"a.heic": file.getvalue()}]


def _phone(rng: random.Random, sound: list[Files]) -> Files:
    return one_changed(rng, rng.choice([*sound, *_heic()]))


KINDS = (
    Kind("PNG", 700, _png, read, _hostile_png),
    Kind("JPEG", 700, _jpeg, read, _hostile_jpeg),
    Kind("WebP", 500, _webp, read, _hostile_webp),
    Kind("GIF, BMP, TIFF, PPM, TGA, ICO", 500, _others, read, _hostile_others),
    Kind("AVIF, HEIC", 400, _avif, read, _heic, _phone),
)
