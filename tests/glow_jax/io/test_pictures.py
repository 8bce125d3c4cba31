"""Image files: exact bytes in, one-line errors out, provenance kept."""

import io
import json
import os
import random
import struct
import threading
import warnings
import zlib
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from glow_jax.io import containers, files, provenance
from glow_jax.io import pictures as images
from glow_jax.io.errors import InputError
from glow_jax.io.picture_folders import image_paths
from glow_jax.io.pictures import read_image, write_image
from glow_jax.io.provenance import Provenance, read_provenance, read_source_type

# Wrong arguments must meet our own messages, not the run-time check of annotations.
pytestmark = pytest.mark.usefixtures("unchecked")

PROVENANCE = Provenance(
    "compositeWithTrainedAlgorithmicMedia",
    'faces64 <&> "é" ]]>',
    {"job": "a1", "alpha": 0.3, "text": "</x:xmpmeta> é\n\x00", "nested": [{"k": None}, 1e-9]},
)


def pattern(height: int = 6, width: int = 4, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def save(folder: Path, data: bytes, name: str = "a.png") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG of given parts; `rows` holds a filter byte and the samples of each row."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(k + struct.pack("<I", len(d)) + d + b"\0" * (len(d) % 2) for k, d in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    magic = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(order + "HHIHH", 0x0112, kind, 1, orientation, 0)
    return b"Exif\0\0" + magic + struct.pack(order + "IH", 8, 1) + entry + bytes(4)


def rejected(path: str | Path, *words: str, **options: Any) -> str:
    """Read, expecting an InputError on one line that holds `words`."""
    with pytest.raises(InputError) as caught:
        read_image(path, **options)
    message = str(caught.value)
    assert message.isprintable(), message
    for word in words:
        assert word in message, message
    return message


# Reading: what the pixels become.


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.txt", "a"])
def test_lossless_files_are_read_exactly_whatever_their_suffix(
    tmp_path: Path, kind: str, name: str
) -> None:
    pixels = pattern()
    data = encode(Image.fromarray(pixels), kind, lossless=True)
    got = read_image(save(tmp_path, data, name))
    np.testing.assert_array_equal(got, pixels)
    assert got.dtype == np.uint8 and got.flags.writeable and got.flags.c_contiguous


def test_jpeg_is_close(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)
    got = read_image(str(save(tmp_path, encode(Image.fromarray(smooth), "JPEG", quality=95))))
    assert np.abs(got.astype(int) - smooth).max() < 12


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_one_pixel(tmp_path: Path, kind: str) -> None:
    data = encode(Image.new("RGB", (1, 1), (128, 128, 128)), kind)
    assert read_image(save(tmp_path, data), size=(1, 1)).tolist() == [[[128, 128, 128]]]


def test_grey_becomes_rgb_or_stays(tmp_path: Path) -> None:
    grey = pattern(channels=1)
    path = save(tmp_path, encode(Image.fromarray(grey), "PNG"))
    np.testing.assert_array_equal(read_image(path), np.stack([grey] * 3, axis=-1))
    np.testing.assert_array_equal(read_image(path, channels=1), grey[..., None])


def test_rgb_becomes_luma(tmp_path: Path) -> None:
    pixels = pattern()
    got = read_image(save(tmp_path, encode(Image.fromarray(pixels), "PNG")), channels=1)
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    assert got.shape == (6, 4, 1) and np.abs(got[..., 0] - luma).max() <= 0.51


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_other_channel_counts_are_refused(tmp_path: Path, channels: int) -> None:
    rejected(tmp_path / "a.png", str(channels), "1 or 3", channels=channels)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_is_laid_over_white(tmp_path: Path, mode: str, kind: str) -> None:
    image = Image.new(mode, (3, 1), "black")
    for x, alpha in enumerate((0, 51, 255)):
        image.putpixel((x, 0), (0,) * (len(mode) - 1) + (alpha,))
    path = save(tmp_path, encode(image, kind, lossless=True, exact=True))
    assert read_image(path)[0].tolist() == [[255] * 3, [204] * 3, [0] * 3]
    assert read_image(path, channels=1)[0, :, 0].tolist() == [255, 204, 0]


@pytest.mark.parametrize("transparency", [1, b"\xff\x00\x80"])
def test_palette_with_transparency(tmp_path: Path, transparency: int | bytes) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 0, 0, 0, 100, 100, 100])
    image.putdata([0, 1, 2])
    path = save(tmp_path, encode(image, "PNG", transparency=transparency))
    third = 100 if transparency == 1 else 177
    assert read_image(path)[0].tolist() == [[10, 20, 30], [255] * 3, [third] * 3]


def test_palette_without_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    path = save(tmp_path, encode(image, "PNG"))
    assert read_image(path)[0].tolist() == [[10, 20, 30], [200, 100, 50]]


@pytest.mark.parametrize(("colour", "key"), [(0, b"\0\7"), (2, b"\0\7\0\7\0\7")])
def test_colour_key_is_transparent(tmp_path: Path, colour: int, key: bytes) -> None:
    samples = 3 if colour == 2 else 1
    rows = b"\0" + bytes([7] * samples + [8] * samples)
    path = save(tmp_path, png(2, 1, 8, colour, rows, chunk(b"tRNS", key)))
    assert read_image(path)[0].tolist() == [[255] * 3, [8] * 3]


def test_bits(tmp_path: Path) -> None:
    for depth, row, expected in [
        (1, 0b01000000, [0, 255]),
        (2, 0b01100000, [85, 170]),
        (4, 0x1F, [17, 255]),
    ]:
        path = save(tmp_path, png(2, 1, depth, 0, bytes([0, row]), chunk(b"tRNS", b"\0\2")))
        assert read_image(path, channels=1)[0, :, 0].tolist() == expected


def test_16_bit_grey_is_scaled_and_rounded(tmp_path: Path) -> None:
    values = np.array([0, 128, 129, 257, 12345, 32896, 65406, 65535])
    rows = b"\0" + values.astype(">u2").tobytes()
    for extra in [(), (chunk(b"tRNS", b"\x01\x01"),)]:
        got = read_image(save(tmp_path, png(8, 1, 16, 0, rows, *extra)))
        assert got[0, :, 1].tolist() == np.round(values / 257).astype(int).tolist()


@pytest.mark.parametrize(("colour", "samples"), [(2, 3), (4, 2), (6, 4)])
def test_16_bit_colour_made_from_8_bits_is_exact(tmp_path: Path, colour: int, samples: int) -> None:
    eight = pattern(1, 5, 4)[0][:, :samples]
    if samples != 3:
        eight[:, -1] = 255
    rows = b"\0" + (eight.astype(">u2") * 257).tobytes()
    extra = (chunk(b"tRNS", b"\0\1\0\1\0\1"),) if samples == 3 else ()
    got = read_image(save(tmp_path, png(5, 1, 16, colour, rows, *extra)))[0]
    np.testing.assert_array_equal(got, eight[:, :3] if samples > 2 else eight[:, [0, 0, 0]])


def test_cmyk_jpeg(tmp_path: Path) -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red = read_image(save(tmp_path, encode(image, "JPEG", quality=100)))
    assert red.shape == (8, 8, 3)
    assert np.abs(red.astype(int) - [255, 0, 0]).max() <= 3


def test_interlaced_and_progressive(tmp_path: Path) -> None:
    smooth = np.full((16, 16, 3), 90, np.uint8)
    data = encode(Image.fromarray(smooth), "JPEG", progressive=True)
    assert np.abs(read_image(save(tmp_path, data)).astype(int) - 90).max() <= 1


def test_first_picture_of_a_multi_picture_jpeg(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (8, 8), "black"), Image.new("RGB", (8, 8), "white")
    data = encode(first, "MPO", save_all=True, append_images=[second])
    assert read_image(save(tmp_path, data)).max() <= 1


# Reading: orientation.

UPRIGHT = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40  # asymmetric, not square
# What a camera stores, so that orientation k shows UPRIGHT (Exif 2.32: row 0 is at the ...)
STORED = {
    1: UPRIGHT,  # top, column 0 at the left
    2: UPRIGHT[:, ::-1],  # top, right
    3: UPRIGHT[::-1, ::-1],  # bottom, right
    4: UPRIGHT[::-1],  # bottom, left
    5: UPRIGHT.T,  # left, top
    6: UPRIGHT[:, ::-1].T,  # right, top
    7: UPRIGHT[::-1, ::-1].T,  # right, bottom
    8: UPRIGHT[::-1].T,  # left, bottom
}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path: Path, kind: str, order: str, orientation: int) -> None:
    blocks = np.kron(STORED[orientation], np.ones((16, 16), np.uint8))
    image = Image.fromarray(np.stack([blocks] * 3, axis=-1))
    data = encode(image, kind, exif=exif(orientation, order), quality=95)
    got = read_image(save(tmp_path, data), size=(32, 48), channels=1)
    np.testing.assert_allclose(got[8::16, 8::16, 0].astype(int), UPRIGHT, atol=3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_agrees_with_pillow(orientation: int) -> None:
    image = Image.fromarray(pattern(3, 5))
    image.getexif()[0x0112] = orientation
    data = encode(image, "PNG", exif=image.getexif())
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    scan = containers._scan_png(data)
    got = images._upright(images._decode(scan, 3), scan.orientation)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        exif(0),
        exif(9),
        exif(6, kind=2),
        exif(6)[:20],
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        b"junk" * 9,
    ],
)
def test_broken_exif_is_ignored(tmp_path: Path, block: bytes) -> None:
    image = Image.new("RGB", (4, 2))
    for kind in ("PNG", "JPEG", "WEBP"):
        data = encode(image, kind, **({"exif": block} if block else {}))
        assert read_image(save(tmp_path, data)).shape == (2, 4, 3)


# Reading: what is refused, and how.


def test_wrong_size_says_what_to_do(tmp_path: Path) -> None:
    path = save(tmp_path, encode(Image.new("RGB", (7, 5)), "PNG"))
    words = (str(path), "7 wide and 5 high", "8 wide and 9 high", "glow-jax align")
    rejected(path, *words, size=(9, 8))
    rejected(path, size=(7, 5))
    assert read_image(path, size=(5, 7)).shape == (5, 7, 3)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animated_is_refused(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "green", "blue")]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    rejected(save(tmp_path, data), "animated")


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM", "ICO", "JPEG2000"])
def test_other_formats_are_refused(tmp_path: Path, kind: str) -> None:
    data = encode(Image.new("RGB", (16, 16)), kind)
    rejected(save(tmp_path, data), "accepted: PNG, JPEG")


@pytest.mark.parametrize("data", [b"hello\n", b"\x89PN", b"RIFF\4\0\0\0WAVE", b"\xff\xd8"])
def test_text_named_png(tmp_path: Path, data: bytes) -> None:
    rejected(save(tmp_path, data), "a.png", "accepted: PNG, JPEG")


def test_empty_file(tmp_path: Path) -> None:
    rejected(save(tmp_path, b""), "a.png", "empty")


def test_missing_folder_and_links(tmp_path: Path) -> None:
    rejected(tmp_path / "none.png", "none.png", "No such file")
    rejected(tmp_path, "directory")
    (tmp_path / "broken.png").symlink_to(tmp_path / "gone")
    rejected(tmp_path / "broken.png", "broken.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    rejected(tmp_path / "loop.png", "loop.png")
    rejected(str(tmp_path / "a\0b.png"), "null")
    rejected(tmp_path / ("x" * 300 + ".png"), "too long")
    rejected("")
    rejected(tmp_path / "\udcff.png", "udcff")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read anything")
def test_permission_denied(tmp_path: Path) -> None:
    path = save(tmp_path, encode(Image.new("RGB", (1, 1)), "PNG"))
    path.chmod(0)
    rejected(path, "Permission denied")


def test_permission_denied_for_root_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, flags: int) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(containers, "open_without_waiting", refuse)
    rejected(tmp_path / "a.png", "a.png", "Permission denied")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_special_files_do_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    done: list[str] = []
    reader = threading.Thread(
        target=lambda: done.append(rejected(tmp_path / "pipe.png", "ordinary file")), daemon=True
    )
    reader.start()
    reader.join(timeout=5)
    assert done, "reading a pipe hangs"
    rejected("/dev/zero", "ordinary file")


def test_control_characters_in_names_stay_on_one_line(tmp_path: Path) -> None:
    for name in ("a\nb.png", "a\x1b[31m.png", "a\u2028b.png"):
        message = rejected(save(tmp_path, b"text", name))
        assert repr(str(tmp_path / name)) in message
    with pytest.raises(InputError) as caught:
        image_paths(tmp_path / "a\nc")
    assert str(caught.value).isprintable()


def bombs() -> dict[str, bytes]:
    """Small files whose headers promise more than 64 Mi pixels."""
    side = 30000
    jpeg = bytearray(encode(Image.new("RGB", (16, 16)), "JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", side, side)
    lossless = bytearray(encode(Image.new("RGB", (16, 16)), "WEBP", lossless=True))
    at = lossless.index(b"VP8L") + 9
    lossless[at : at + 4] = struct.pack("<I", 0x3FFF | 0x3FFF << 14)
    lossy = bytearray(encode(Image.new("RGB", (16, 16)), "WEBP"))
    at = lossy.index(b"\x9d\x01\x2a") + 3
    lossy[at : at + 4] = struct.pack("<HH", 0x3FFF, 0x3FFF)
    extended = bytearray(encode(Image.new("RGB", (16, 16)), "WEBP", exif=exif(1)))
    at = extended.index(b"VP8X") + 12
    extended[at : at + 6] = b"\xff\x3f\0" * 2
    zeros = bytes(1 + side * 3) * 40
    return {
        "png": png(side, side, 8, 2, zeros),
        "png of 2**62 pixels": png(2**31 - 1, 2**31 - 1, 8, 2, b""),
        "jpeg": bytes(jpeg),
        "lossless": bytes(lossless),
        "lossy": bytes(lossy),
        "extended": bytes(extended),
    }


@pytest.mark.parametrize("name", list(bombs()))
def test_bombs_are_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("it was opened"))
    most = images.MAX_JPEG_PIXELS if name == "jpeg" else images.MAX_PIXELS
    rejected(save(tmp_path, bombs()[name]), "pixels", str(most))


def test_a_second_header_cannot_enlarge_the_picture(tmp_path: Path) -> None:
    second = chunk(b"IHDR", struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0))
    assert read_image(save(tmp_path, png(1, 1, 8, 2, b"\0abc", second))).shape == (1, 1, 3)
    jpeg = encode(Image.new("RGB", (16, 16)), "JPEG")
    at = jpeg.index(b"\xff\xc0")
    frame = bytearray(jpeg[at : at + 19])
    frame[5:9] = struct.pack(">HH", 20000, 20000)
    rejected(save(tmp_path, jpeg[:at] + bytes(frame) + jpeg[at:]))
    rejected(save(tmp_path, jpeg[: at + 19] + bytes(frame) + jpeg[at + 19 :]), "pixels")


def test_large_files_are_refused_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "MAX_FILE_BYTES", 100)
    rejected(save(tmp_path, encode(Image.fromarray(pattern(9, 9)), "PNG")), "at most")


def test_pillow_is_left_as_it_was(tmp_path: Path) -> None:
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    read_image(save(tmp_path, encode(Image.new("RGB", (2, 2)), "JPEG")))
    assert limit == Image.MAX_IMAGE_PIXELS
    assert warnings.filters == filters


def test_metadata_that_makes_pillow_warn_or_fail(tmp_path: Path) -> None:
    rows = b"\0abc"
    for extra in (
        chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(10_000_000))),
        chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(10_000_000))),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0junk"),
        chunk(b"eXIf", b"junk"),
        chunk(b"tEXt", b"") + chunk(b"pHYs", b"") + chunk(b"cHRM", b"") + chunk(b"sRGB", b""),
    ):
        assert read_image(save(tmp_path, png(1, 1, 8, 2, rows, extra))).tolist() == [[[*b"abc"]]]
    rejected(
        save(tmp_path, png(1, 1, 8, 2, rows, chunk(b"acTL", b"\0\0\0\2" + bytes(4)))), "animated"
    )
    odd = exif(1)[:16] + struct.pack("<HHII", 0x0128, 5, 9, 2**31) + bytes(4)
    data = encode(Image.new("RGB", (2, 2)), "JPEG", exif=odd, dpi=(0, 0))
    assert read_image(save(tmp_path, data)).shape == (2, 2, 3)


# A corpus of damaged files.


def originals() -> list[bytes]:
    """Small valid files of every kind we read, with metadata."""
    colour, grey = Image.fromarray(pattern(24, 20)), Image.fromarray(pattern(24, 20, 1))
    text = PngInfo()
    text.add_text("glow_jax:model", "x")
    text.add_itxt("XML:com.adobe.xmp", "<x/>")
    block, icc = exif(6), bytes(range(200))
    return [
        encode(colour, "PNG", pnginfo=text, exif=block, icc_profile=icc),
        encode(colour.quantize(8), "PNG", transparency=b"\0\x80\xff"),
        encode(Image.fromarray(pattern(24, 20, 4)), "PNG"),
        png(20, 24, 16, 0, bytes(24 * 41)),
        encode(colour, "JPEG", exif=block, icc_profile=icc, comment=b"x", xmp=b"<x/>"),
        encode(colour, "JPEG", progressive=True),
        encode(grey, "JPEG"),
        encode(colour.convert("CMYK"), "JPEG"),
        encode(colour, "MPO", save_all=True, append_images=[colour]),
        encode(colour, "WEBP", lossless=True, exif=block, xmp=b"<x/>", icc_profile=icc),
        encode(colour, "WEBP"),
        encode(Image.fromarray(pattern(24, 20, 4)), "WEBP"),
        encode(colour, "WEBP", save_all=True, append_images=[grey.convert("RGB")]),
    ]


def damaged(data: bytes, other: bytes, rng: random.Random) -> list[bytes]:
    """Ways for a file to go wrong; the first half of each kind aims at the header."""
    cuts = [rng.randrange(1, 64), *(rng.randrange(1, len(data)) for _ in range(4))]
    out = [data[:n] for n in cuts] + [data[:-1], data[:12], data[:16], data + b"\0" * 7]
    for reach in (40, 40, 120, 400, len(data), len(data)):
        flipped = bytearray(data)
        for _ in range(rng.choice((1, 1, 4, 16))):
            flipped[rng.randrange(min(reach, len(data)))] ^= 1 << rng.randrange(8)
        out.append(bytes(flipped))
    for width in (1, 2, 4):
        overwritten, at = bytearray(data), rng.randrange(8, min(200, len(data) - 4))
        overwritten[at : at + width] = rng.choice((b"\xff", b"\0")) * width
        out.append(bytes(overwritten))
    i, j = sorted(rng.randrange(len(data)) for _ in range(2))
    k = rng.randrange(len(other))
    out += [data[:i] + data[j:], data[:j] + data[i:], data[:i] + other[k:], data[:20] + other[20:]]
    out += [data[:i] + rng.randbytes(50) + data[i:], data[:i] + bytes(j - i) + data[j:]]
    return out


def corpus(seed: int) -> list[bytes]:
    rng, files = random.Random(seed), originals()
    return [bad for data in files for bad in damaged(data, rng.choice(files), rng)]


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_decode_or_say_why(tmp_path: Path, seed: int) -> None:
    files = corpus(seed)
    assert len(files) >= 120
    refused = 0
    for i, data in enumerate(files):
        path = save(tmp_path, data, f"{i}.png")
        try:
            got = read_image(path, channels=3 if i % 3 else 1)
        except InputError as error:
            refused += 1
            message = str(error)
            assert message.isprintable(), message
            assert message.startswith(str(path)), message
            assert "object at 0x" not in message, message
        else:
            assert got.dtype == np.uint8 and got.ndim == 3 and got.size
        try:
            read_provenance(path)
        except InputError as error:
            assert str(error).isprintable()
    assert len(files) // 3 < refused < len(files)


def test_the_undamaged_originals_decode(tmp_path: Path) -> None:
    *still, animated = originals()
    for data in still:
        assert sorted(read_image(save(tmp_path, data)).shape) == [3, 20, 24]
    rejected(save(tmp_path, animated), "animated")


# Listing.


# Writing.


@pytest.mark.parametrize("suffix", [".png", ".webp", ".PNG", ".WebP"])
@pytest.mark.parametrize("shape", [(6, 4, 3), (6, 4, 1), (6, 4), (1, 1, 3)])
def test_written_pixels_and_provenance_come_back(
    tmp_path: Path, suffix: str, shape: tuple[int, ...]
) -> None:
    image = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    before, path = image.copy(), tmp_path / f"a{suffix}"
    write_image(path, image, PROVENANCE)
    channels = 3 if shape[2:] == (3,) else 1
    got = read_image(path, size=(shape[0], shape[1]), channels=channels)
    np.testing.assert_array_equal(got.reshape(shape), before)
    np.testing.assert_array_equal(image, before)
    assert read_provenance(path) == PROVENANCE
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    recipe = dict(reversed(list(PROVENANCE.recipe.items())))
    same = Provenance(PROVENANCE.source_type, PROVENANCE.model, recipe)
    for suffix in ("png", "webp"):
        one, two = tmp_path / f"1.{suffix}", tmp_path / f"2.{suffix}"
        write_image(one, pattern(), PROVENANCE)
        write_image(two, np.asfortranarray(pattern()), same)
        assert one.read_bytes() == two.read_bytes()


def test_metadata_is_where_other_tools_look(tmp_path: Path) -> None:
    for suffix in ("png", "webp"):
        write_image(tmp_path / f"a.{suffix}", pattern(), PROVENANCE)
    with Image.open(tmp_path / "a.png") as image:
        assert image.info["Software"].startswith("glow-jax ")
        assert image.info["glow_jax:model"] == PROVENANCE.model
        assert json.loads(image.info["glow_jax:recipe"]) == PROVENANCE.recipe
        packet = image.info["XML:com.adobe.xmp"]
    with Image.open(tmp_path / "a.webp") as image:
        assert image.info["xmp"].decode() == packet
    kind = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
    assert f"<Iptc4xmpExt:DigitalSourceType>{kind}</Iptc4xmpExt:DigitalSourceType>" in packet
    assert "<xmp:CreatorTool>glow-jax " in packet


def test_version_falls_back_to_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert provenance.creator.__wrapped__() == "glow-jax unknown"  # it is kept


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.png.tmp", ".png"])
def test_other_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"\.png or \.webp"):
        write_image(tmp_path / name, pattern(), PROVENANCE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3)),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.int8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.uint8(3),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, image: Any) -> None:
    with pytest.raises(InputError, match="needed"):
        write_image(tmp_path / "a.png", image, PROVENANCE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("failing", ["replace", "write", "interrupt"])
def test_a_failed_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    class FullDisk(io.FileIO):
        def write(self, data: Any) -> int:
            super().write(bytes(data)[:10])
            raise OSError(28, "No space left on device")

    def fail(*_: Any) -> None:
        raise KeyboardInterrupt if failing == "interrupt" else OSError(5, "Input/output error")

    old = save(tmp_path, b"old", "a.png")
    if failing == "write":
        monkeypatch.setattr(files, "open", FullDisk, raising=False)
    else:
        monkeypatch.setattr(os, "replace", fail)
    expected = KeyboardInterrupt if failing == "interrupt" else InputError
    with pytest.raises(expected):
        write_image(old, pattern(), PROVENANCE)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    assert old.read_bytes() == b"old"


def test_unwritable_targets(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    bad = [tmp_path / "none" / "a.png", tmp_path / "folder.png", tmp_path / "a\0.png"]
    for target in bad:
        with pytest.raises(InputError, match="cannot be written"):
            write_image(target, pattern(), PROVENANCE)
    with pytest.raises(InputError, match="cannot be encoded"):
        write_image(tmp_path / "a.webp", np.zeros((1, 16384), np.uint8), PROVENANCE)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.png"]


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_written_files_have_ordinary_permissions(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", pattern(), PROVENANCE)
    plain = save(tmp_path, b"", "plain")
    assert (tmp_path / "a.png").stat().st_mode == plain.stat().st_mode


# Provenance.


@pytest.mark.parametrize(
    "fields",
    [
        ("photograph", "m", {}),
        ("trainedAlgorithmicMedia", "", {}),
        ("trainedAlgorithmicMedia", "a\nb", {}),
        ("trainedAlgorithmicMedia", "\udcff", {}),
        ("trainedAlgorithmicMedia", "m", {"alpha": float("nan")}),
        ("trainedAlgorithmicMedia", "m", {"x": np.float32(1)}),
        ("trainedAlgorithmicMedia", "m", {"x": object()}),
    ],
)
def test_bad_provenance_is_refused_when_made(fields: tuple[Any, ...]) -> None:
    with pytest.raises(InputError) as caught:
        Provenance(*fields)
    assert str(caught.value).isprintable()


def with_xmp(folder: Path, xmp: bytes) -> Path:
    return save(folder, png(1, 1, 8, 2, b"\0abc", chunk(b"iTXt", b"XML:com.adobe.xmp" + xmp)))


def test_pictures_without_our_record(tmp_path: Path) -> None:
    for kind in ("PNG", "JPEG", "WEBP"):
        path = save(tmp_path, encode(Image.new("RGB", (2, 2)), kind))
        assert read_provenance(path) is None
    with pytest.raises(InputError, match="No such file"):
        read_provenance(tmp_path / "none.png")


def test_record_survives_other_tools(tmp_path: Path) -> None:
    """A JPEG copy with the packet, and Adobe's form of it: properties as attributes."""
    packet = provenance.xmp_packet(PROVENANCE).encode()
    path = save(tmp_path, encode(Image.new("RGB", (2, 2)), "JPEG", xmp=packet))
    assert read_provenance(path) == PROVENANCE
    source = provenance._SOURCE_TYPES + "trainedAlgorithmicMedia"
    xmp = (
        f'<r:RDF xmlns:r="{provenance._RDF}"><r:Description xmlns:i="{provenance._IPTC}" '
        f'xmlns:g="{provenance._OURS}" i:DigitalSourceType="{source}" g:model="m" '
        'g:recipe="{&quot;a&quot;:1}"/></r:RDF>'
    )
    got = read_provenance(with_xmp(tmp_path, b"\0\0\0en\0\0" + xmp.encode()))
    assert got == Provenance("trainedAlgorithmicMedia", "m", {"a": 1})


def hostile_packets() -> dict[str, bytes]:
    good = provenance.xmp_packet(Provenance("trainedAlgorithmicMedia", "m", {"a": 1}))
    laughs = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    external = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    head = '<?xml version="1.0" encoding="UTF-16"?>'
    return {
        "laughs": (laughs + "]>" + good.replace(">m<", ">&i;<")).encode(),
        "external": (external + good.replace(">m<", ">&a;<")).encode(),
        "utf-16": (head + external + good.replace(">m<", ">&a;<")).encode("utf-16"),
        "undefined entity": good.replace(">m<", ">&nope;<").encode(),
        "not xml": b"junk",
        "nothing": b"",
        "invalid utf-8": good.encode().replace(b">m<", b">\xff<"),
        "deep": b"<a>" * 300_000,
        "deep and whole": b"<a>" * 100_000 + b"</a>" * 100_000,
        "huge": good.encode() + b" " * 2**20,
        "no model": good.replace(">m<", "><").encode(),
        "model on two lines": good.replace(">m<", ">m\nn<").encode(),
        "no source": good.replace("digitalsourcetype/", "other/").encode(),
        "unknown source": good.replace("trainedAlgorithmic", "some").encode(),
        "recipe cut": good.replace('{"a": 1}', '{"a": ').encode(),
        "recipe a list": good.replace('{"a": 1}', "[1]").encode(),
        "recipe nan": good.replace('{"a": 1}', '{"a": NaN}').encode(),
        "recipe deep": good.replace('{"a": 1}', '{"a": ' + "[" * 200_000).encode(),
        "recipe long number": good.replace('{"a": 1}', '{"a": ' + "1" * 5000 + "}").encode(),
    }


@pytest.mark.parametrize("name", list(hostile_packets()))
def test_hostile_records_are_no_records(tmp_path: Path, name: str) -> None:
    packet = hostile_packets()[name]
    assert read_provenance(with_xmp(tmp_path, b"\0\0\0\0\0" + packet)) is None


def test_compressed_or_cut_text_is_no_record(tmp_path: Path) -> None:
    packet = provenance.xmp_packet(PROVENANCE).encode()
    for xmp in (b"\0\1\0\0\0" + zlib.compress(packet), b"\0", b"", b"\0\0\0", b"\0\0\0" + packet):
        got = read_provenance(with_xmp(tmp_path, xmp))
        assert got is None or got == PROVENANCE


# -- what others say of a file


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_source_type_that_others_declare(tmp_path: Path, kind: str) -> None:
    def declared(value: str) -> str | None:
        xmp = (
            f'<r:RDF xmlns:r="{provenance._RDF}"><r:Description xmlns:i="{provenance._IPTC}">'
            f"<i:DigitalSourceType>{value}</i:DigitalSourceType></r:Description></r:RDF>"
        ).encode()
        if kind == "PNG":
            return read_source_type(with_xmp(tmp_path, b"\0\0\0\0\0" + xmp))
        return read_source_type(save(tmp_path, encode(Image.new("RGB", (2, 2)), kind, xmp=xmp)))

    assert declared(provenance._SOURCE_TYPES + "digitalCapture") == "digitalCapture"
    assert declared("digitalCapture") == "digitalCapture"
    for nothing in ("", "http://example.com/", "a b", "x" * 65, "<b/>"):
        assert declared(nothing) is None
    assert read_source_type(save(tmp_path, encode(Image.new("RGB", (2, 2)), kind))) is None
