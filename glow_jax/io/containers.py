"""Containers of pictures: the header and metadata of a PNG, JPEG, WebP, HEIC or AVIF file.

A scan finds the size, the orientation and the metadata. Pillow gets only the parts of the file that
determine pixels, so that none of its metadata parsers runs (they emit warnings, and silencing a
warning is not thread-safe).
"""

import os
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from glow_jax.io.errors import InputError
from glow_jax.io.files import open_without_waiting
from glow_jax.io.heif_boxes import SEQUENCES, brands, read_boxes
from glow_jax.io.messages import install_hint, one_line, reason
from glow_jax.io.picture_formats import PHOTOS, accepted, reads_avif, reads_heic

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"  # how files of these kinds begin
MAX_FILE_BYTES = 2**28
MAX_METADATA_BYTES = 2**20
MAX_PART_PIXELS = 2**26  # of any picture in a HEIC or AVIF file
XMP_SIGNATURE = b"http://ns.adobe.com/xap/1.0/\0"  # of the JPEG segment

StrPath = str | os.PathLike[str]
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")
INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}  # TIFF types, as `struct` reads them


@dataclass(frozen=True)
class Scan:
    """The header and metadata of a picture file, before its pixels are decoded."""

    kind: Literal["PNG", "JPEG", "WEBP", "HEIC", "AVIF"]
    width: int
    height: int
    data: bytes  # for Pillow: the file without its metadata
    orientation: int = 1  # EXIF's number: how width and height are to be turned
    xmp: bytes = b""
    icc: bytes = b""
    animated: bool = False
    primaries: int = 2  # of colours without a profile, by ITU-T H.273; 2 is unspecified
    transfer: int = 2


def scan_file(path: StrPath) -> Scan:
    """Scan a picture file, whose format is found from its content.

    Raises:
        InputError: the file cannot be read as any of them, or what decodes it is not installed.
    """
    return scan_bytes(_read_bytes(path), one_line(path))


def is_known(data: bytes) -> bool:
    """Whether a file begins as a picture of a kind that `scan_bytes` knows."""
    return data[4:8] == b"ftyp" or not _why_not(data[:16])


def scan_bytes(data: bytes, name: str) -> Scan:
    """Scan a picture of a kind that is known by `is_known`; `name` is for messages.

    Raises:
        InputError: it is damaged, or what decodes it is not installed.
    """
    if why := _why_not(data[:16]):
        raise InputError(f"{name}: {why}; accepted: {accepted()}")
    try:
        if data.startswith(PNG):
            return _scan_png(data)
        if data.startswith(JPEG):
            return _scan_jpeg(data)
        return _scan_heif(data, name) if data[4:8] == b"ftyp" else _scan_webp(data)
    except InputError:
        raise
    except (IndexError, struct.error) as error:
        raise damaged(name, "image", "it ends inside its header") from error
    except ValueError as error:
        raise damaged(name, "image", reason(error)) from error


def is_whole(path: StrPath) -> bool:
    """Whether a PNG or JPEG that `pictures.write_image` wrote is neither cut off nor overwritten.

    Nothing is decoded: of a PNG every chunk's checksum must be right, of a JPEG the last marker.
    """
    try:
        data = _read_bytes(path)
    except InputError:
        return False
    if data.startswith(JPEG):
        return data.endswith(b"\xff\xd9")
    start, kind = len(PNG), b""
    while data.startswith(PNG) and start + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 8 + length
        if data[end : end + 4] != struct.pack(">I", zlib.crc32(data[start + 4 : end])):
            return False
        start = end + 4
    return kind == b"IEND" and start == len(data)


def _read_bytes(path: StrPath) -> bytes:
    name = one_line(path)
    try:
        with open(path, "rb", opener=open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"{name}: not an ordinary file; accepted: {accepted()}")
            start = file.read(16)
            if not start:
                raise InputError(f"{name}: the file is empty; accepted: {accepted()}")
            if why := _why_not(start):
                raise InputError(f"{name}: {why}; accepted: {accepted()}")
            if status.st_size > MAX_FILE_BYTES:
                limit = MAX_FILE_BYTES >> 20
                raise InputError(f"{name}: {status.st_size} bytes; at most {limit} MiB accepted")
            return start + file.read(MAX_FILE_BYTES)
    except InputError:
        raise
    except (OSError, ValueError, MemoryError) as error:  # ValueError: a null byte in the path
        raise InputError(f"{name}: cannot be read ({reason(error)})") from error


def _why_not(start: bytes) -> str:
    """Why a file that begins so is not read; "" for one that is.

    Source: ISO 14496-12, 4.3 and ISO 23008-12, annex B (brands of HEIF); TIFF 6.0.
    """
    if start.startswith((PNG, JPEG)):
        return ""
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return ""
    major = start[8:12] if start[4:8] == b"ftyp" else b""
    if major in (b"avif", b"avis"):
        return "" if reads_avif() else _needs_photos("AVIF")
    if major in (b"mif1", b"mif2", b"msf1"):  # of either: the codec tells
        return "" if reads_avif() or reads_heic() else _needs_photos("HEIC")
    if major in HEIC_BRANDS:
        return "" if reads_heic() else _needs_photos("HEIC")
    known = {b"II*\0": "a TIFF", b"MM\0*": "a TIFF", b"GIF8": "a GIF", b"BM": "a BMP"}
    for magic, what in known.items():
        if start.startswith(magic):
            return f"{what} picture, which is not read; save it as one that is"
    return "not an image we can read"


def _needs_photos(kind: str) -> str:
    return (
        f"{'an AVIF' if kind == 'AVIF' else 'a HEIC'} picture; to read it, {install_hint(PHOTOS)}"
    )


def _scan_png(data: bytes) -> Scan:
    """Source: PNG specification, third edition, sections 5 (chunks) and 11 (their types)."""
    if data[12:16] != b"IHDR":
        raise ValueError("no header")
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    # Pillow would compare these colour keys with samples that it has already rescaled.
    ignored_key = depth == 16 or (depth in (2, 4) and colour == 0)
    wanted = {b"PLTE", b"IDAT", b"IEND"} | (set() if ignored_key else {b"tRNS"})
    kept, exif, xmp, icc, animated = [data[:33]], b"", b"", b"", False
    primaries = transfer = 2
    itxt = b"XML:com.adobe.xmp\0\0\0"  # if not compressed, language\0, translation\0, text follow
    pos = 33
    while pos + 8 <= len(data) and kept[-1][4:8] != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, pos)
        end = pos + 12 + length
        if kind in wanted:
            kept.append(data[pos:end])
        elif kind == b"eXIf":
            exif = data[pos + 8 : end - 4]
        elif kind == b"iTXt" and data.startswith(itxt, pos + 8):
            xmp = data[pos + 8 + len(itxt) : end - 4].split(b"\0", 2)[-1]
        elif kind == b"iCCP":
            icc = _inflated(data[pos + 8 : end - 4].partition(b"\0")[2][1:])
        elif kind == b"cICP" and length == 4:
            primaries, transfer = data[pos + 8 : pos + 10]
        if kind == b"acTL":  # the number of frames
            animated = struct.unpack_from(">I", data, pos + 8)[0] > 1
        pos = end
    turn = exif_orientation(exif)
    kept_data = b"".join(kept)
    return Scan("PNG", width, height, kept_data, turn, xmp, icc, animated, primaries, transfer)


def _inflated(data: bytes) -> bytes:
    """Decompress metadata; empty if they are damaged or too long."""
    unpack = zlib.decompressobj()
    try:
        whole = unpack.decompress(data, MAX_METADATA_BYTES)
    except zlib.error:
        return b""
    return b"" if unpack.unconsumed_tail else whole


def _scan_jpeg(data: bytes) -> Scan:
    """Source: ITU-T T.81, annex B; the size sits in the start-of-frame segment."""
    width = height = 0
    kept, exif, xmp = [data[:2]], b"", b""
    profile: dict[int, bytes] = {}
    pos = 2
    while True:
        pos = data.find(b"\xff", pos)  # after stray bytes, which libjpeg skips
        if pos < 0:
            raise IndexError
        marker = data[pos + 1]
        if marker == 0xDA:  # start of scan
            break
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD7:  # without a length
            pos += 1
            continue
        end = pos + 2 + struct.unpack_from(">H", data, pos + 2)[0]
        segment = data[pos:end]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", segment, 5)
        if marker == 0xE1 and segment.startswith(b"Exif\0\0", 4):
            # More than 64 kB go on in another segment.
            exif += segment[10:] if len(exif) < MAX_METADATA_BYTES else b""
        if marker == 0xE1 and segment.startswith(XMP_SIGNATURE, 4):
            xmp = segment[4 + len(XMP_SIGNATURE) :]
        if marker == 0xE2 and segment.startswith(b"ICC_PROFILE\0", 4) and len(segment) > 18:
            profile[segment[16]] = segment[18:]
        if not 0xE1 <= marker <= 0xEF or marker == 0xEE:  # 0xEE: how CMYK is stored
            kept.append(segment)
        pos = end
    icc = b"".join(profile[i] for i in sorted(profile))
    turn = exif_orientation(exif)
    return Scan("JPEG", width, height, b"".join(kept) + data[pos:], turn, xmp, icc)


def _scan_webp(data: bytes) -> Scan:
    """Source: RFC 9649, section 2 (container), 3.4 and RFC 6386, 9.1 (sizes)."""
    exif = xmp = icc = b""
    for kind, start, end in _riff_chunks(data):
        if kind == b"EXIF":
            exif = data[start:end]
        elif kind == b"XMP ":
            xmp = data[start:end]
        elif kind == b"ICCP":
            icc = data[start:end]
    first, animated = data[12:16], False
    if first == b"VP8X":
        n_frames = sum(kind == b"ANMF" for kind, _, _ in _riff_chunks(data))
        animated = bool(data[20] & 0x02) and n_frames > 1
        width = 1 + int.from_bytes(data[24:27], "little")
        height = 1 + int.from_bytes(data[27:30], "little")
    elif first == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif first == b"VP8 ":
        width, height = (n & 0x3FFF for n in struct.unpack_from("<HH", data, 26))
    else:
        raise ValueError("no picture in the WebP file")
    turn = exif_orientation(exif)
    return Scan("WEBP", width, height, data, turn, xmp, icc, animated)


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    pos = 12
    while pos + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, pos)
        yield kind, pos + 8, pos + 8 + length
        pos += 8 + length + length % 2


def _scan_heif(data: bytes, name: str) -> Scan:
    """EXIF's orientation does not count: the container has its own (ISO 23008-12, 6.5.10)."""
    if brands(data)[0] in SEQUENCES and b"moov" in data[:MAX_METADATA_BYTES]:
        return Scan("HEIC", 0, 0, b"", animated=True)
    picture = read_boxes(data)
    kind: Literal["HEIC", "AVIF"] = "AVIF" if picture.codec == b"av01" else "HEIC"
    if not (reads_avif() if kind == "AVIF" else reads_heic()):  # the brand may say neither
        raise InputError(f"{name}: {_needs_photos(kind)}; accepted: {accepted()}")
    if picture.largest > MAX_PART_PIXELS:
        raise ValueError(f"a picture of {picture.largest} pixels in it")
    bare = bytearray(data)
    for at in picture.metadata:  # items of this type are skipped
        bare[at : at + 4] = b"skip"
    for at in picture.turns:  # no rotation: both decoders are to give the pixels as they are stored
        bare[at : at + 5] = b"irot\0"
    width, height = picture.shown if kind == "HEIC" else (picture.width, picture.height)
    return Scan(
        kind,
        width,
        height,
        bytes(bare),
        picture.orientation,
        picture.xmp[:MAX_METADATA_BYTES],
        picture.icc,
        primaries=picture.primaries,
        transfer=picture.transfer,
    )


def exif_orientation(exif: bytes) -> int:
    """Orientation 1 to 8 from the first directory; 1 when absent or malformed.

    Source: Exif 2.32, section 4.6 (tag 0x0112, type SHORT; writers use other integers too).
    """
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for i in range(count):
            at = start + 2 + 12 * i
            tag, kind = struct.unpack_from(order + "HH", tiff, at)
            if tag == 0x0112:
                letter = INTEGERS.get(kind)
                value = 1 if letter is None else struct.unpack_from(order + letter, tiff, at + 8)[0]
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def damaged(name: str, kind: str, reason: str) -> InputError:
    """The error for a damaged or truncated picture file."""
    return InputError(f"{name}: damaged or truncated {kind} file ({reason})")
