"""Files as cameras, phones and editors write them: colours, orientation, containers, sizes."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from glow_jax.io import pictures
from glow_jax.io.errors import InputError
from glow_jax.io.pictures import read_image
from tests.support.icc import ADOBE_RGB, SRGB, matrix_profile, to_srgb


def saved(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def encoded(pixels: np.ndarray, kind: str, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    exact = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    Image.fromarray(pixels).convert(mode).save(buffer, kind, **exact | options)
    return buffer.getvalue()


def smooth(height: int = 24, width: int = 32) -> np.ndarray:
    down, across = np.mgrid[0:height, 0:width]
    planes = (40 + 5 * across, 60 + 6 * down, 200 - 3 * across)
    return np.stack(planes, -1).clip(0, 255).astype(np.uint8)


# -- colours


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_colours_of_a_profile_become_srgb(tmp_path: Path, kind: str) -> None:
    plain = read_image(saved(tmp_path / "plain", encoded(smooth(), kind)))
    icc = matrix_profile(ADOBE_RGB, 2.2)
    got = read_image(saved(tmp_path / "wide", encoded(smooth(), kind, icc_profile=icc)))
    wanted = to_srgb(plain.astype(float), ADOBE_RGB, 2.2)
    assert np.abs(got - wanted).max() <= 2
    assert np.abs(plain - wanted).max() > 15  # which is what ignoring it costs


@pytest.mark.parametrize("icc", [matrix_profile(SRGB, 2.2), b""], ids=["almost sRGB", "none"])
def test_numbers_of_srgb_stay(tmp_path: Path, icc: bytes) -> None:
    got = read_image(saved(tmp_path / "a", encoded(smooth(), "PNG", icc_profile=icc or None)))
    assert np.abs(got.astype(int) - smooth()).max() <= (6 if icc else 0)


def test_srgbs_own_profile_changes_no_byte(tmp_path: Path) -> None:
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    got = read_image(saved(tmp_path / "a", encoded(smooth(), "PNG", icc_profile=own)))
    np.testing.assert_array_equal(got, smooth())


def test_a_long_profile_in_pieces_is_one(tmp_path: Path) -> None:
    icc = matrix_profile(ADOBE_RGB, 2.2) + bytes(200_000)  # a JPEG's segment holds 64 kB
    icc = struct.pack(">I", len(icc)) + icc[4:]
    got = read_image(saved(tmp_path / "a", encoded(smooth(), "JPEG", icc_profile=icc)))
    plain = read_image(saved(tmp_path / "b", encoded(smooth(), "JPEG")))
    assert np.abs(got - to_srgb(plain.astype(float), ADOBE_RGB, 2.2)).max() <= 2


def test_grey_with_a_profile_becomes_srgb(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (4, 1))
    icc = matrix_profile(SRGB, 1.0, b"GRAY")
    got = read_image(saved(tmp_path / "a", encoded(ramp, "PNG", "L", icc_profile=icc)))
    linear = ramp[0] / 255
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(got[0, :, 0] - 255 * curved).max() <= 2 and (got == got[..., :1]).all()


def test_grey_with_a_profile_and_transparency_becomes_srgb(tmp_path: Path) -> None:
    icc = matrix_profile(SRGB, 1.0, b"GRAY")
    grey = np.full((8, 8), 64, np.uint8)
    opaque = np.dstack([grey, np.full_like(grey, 255)])
    with_alpha = encoded(opaque, "PNG", "LA", icc_profile=icc)
    with_key = encoded(grey, "PNG", "L", icc_profile=icc, transparency=3)
    plain = read_image(saved(tmp_path / "a", encoded(grey, "PNG", "L", icc_profile=icc)))
    assert abs(int(plain[0, 0, 0]) - 137) <= 2  # 255 * (1.055 * (64 / 255) ** (1 / 2.4) - 0.055)
    for data in (with_alpha, with_key):
        np.testing.assert_array_equal(read_image(saved(tmp_path / "b", data)), plain)


def with_chunk(png: bytes, kind: bytes, data: bytes) -> bytes:
    chunk = kind + data
    return png[:33] + struct.pack(">I", len(data)) + chunk + crc(chunk) + png[33:]


def crc(chunk: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(chunk))


def test_primaries_that_a_png_names_become_srgb(tmp_path: Path) -> None:
    """Display P3 by the chunk cICP; its red is outside sRGB, its greys are sRGB's."""
    pixels = np.array([[[200, 60, 30], [128, 128, 128], [0, 255, 0]]], np.uint8)
    png = encoded(pixels, "PNG")
    got = read_image(saved(tmp_path / "p3", with_chunk(png, b"cICP", bytes([12, 13, 0, 1]))))
    wanted = [[217, 42, 0], [128, 128, 128], [0, 255, 0]]
    assert np.abs(got[0].astype(int) - wanted).max() <= 1
    of_srgb = with_chunk(png, b"cICP", bytes([1, 13, 0, 1]))
    np.testing.assert_array_equal(read_image(saved(tmp_path / "srgb", of_srgb)), pixels)


@pytest.mark.parametrize("transfer", [16, 18])
def test_a_high_dynamic_range_png_is_refused(tmp_path: Path, transfer: int) -> None:
    data = with_chunk(encoded(smooth(), "PNG"), b"cICP", bytes([9, transfer, 0, 1]))
    with pytest.raises(InputError, match="high-dynamic-range"):
        read_image(saved(tmp_path / "hdr.png", data))


def test_transparency_is_laid_over_white_after_the_colours(tmp_path: Path) -> None:
    rgba = np.dstack([smooth(), np.full((24, 32), 128, np.uint8)])
    icc = matrix_profile(ADOBE_RGB, 2.2)
    got = read_image(saved(tmp_path / "a", encoded(rgba, "PNG", "RGBA", icc_profile=icc)))
    share = 128 / 255
    wanted = share * to_srgb(smooth().astype(float), ADOBE_RGB, 2.2) + (1 - share) * 255
    assert np.abs(got - wanted).max() <= 2


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_profile_is_as_none(tmp_path: Path, seed: int) -> None:
    """Whatever is in it: the picture is read, whole, and nothing is raised."""
    rng = np.random.default_rng(seed)
    icc = bytearray(matrix_profile(ADOBE_RGB, 2.2))
    for at in rng.integers(40, len(icc), 1 + seed):
        icc[at] = rng.integers(256)
    cut = bytes(icc[: rng.integers(0, len(icc) + 1)] if seed % 2 else icc)
    path = saved(tmp_path / "a.png", encoded(smooth(), "PNG", icc_profile=cut or None))
    assert read_image(path).shape == (24, 32, 3)


@pytest.mark.parametrize("space", [b"CMYK", b"Lab ", b"GRAY"])
def test_a_profile_of_another_kind_of_picture_is_as_none(tmp_path: Path, space: bytes) -> None:
    icc = bytearray(matrix_profile(ADOBE_RGB, 2.2))
    icc[16:20] = space
    got = read_image(saved(tmp_path / "a", encoded(smooth(), "PNG", icc_profile=bytes(icc))))
    np.testing.assert_array_equal(got, smooth())


# -- orientation


@pytest.mark.parametrize(
    ("kind", "letter"), [(1, "B"), (3, "H"), (4, "I"), (6, "b"), (8, "h"), (9, "i")]
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_of_any_integer_type(
    tmp_path: Path, kind: int, letter: str, order: str
) -> None:
    value = struct.pack(order + letter, 6).ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 1)
    exif = b"Exif\0\0" + head + struct.pack(order + "HHI", 0x0112, kind, 1) + value + bytes(4)
    got = read_image(saved(tmp_path / "a.jpg", encoded(smooth(), "JPEG", exif=exif)))
    plain = read_image(saved(tmp_path / "b.jpg", encoded(smooth(), "JPEG")))
    np.testing.assert_array_equal(got, np.rot90(plain, -1))


def test_exif_in_several_segments_is_one(tmp_path: Path) -> None:
    """More than 64 kB of it: the orientation is in the first segment."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(smooth(), "JPEG", exif=exif.tobytes())
    more = b"Exif\0\0" + bytes(100)
    at = segments(data)[2]  # after JFIF's and EXIF's
    longer = data[:at] + b"\xff\xe1" + struct.pack(">H", len(more) + 2) + more + data[at:]
    got = read_image(saved(tmp_path / "a.jpg", longer))
    plain = read_image(saved(tmp_path / "b.jpg", encoded(smooth(), "JPEG")))
    np.testing.assert_array_equal(got, np.rot90(plain, -1))


# -- JPEG as libjpeg takes it


def segments(data: bytes) -> list[int]:
    """Where the segments before the scan begin."""
    at, found = 2, []
    while data[at + 1] != 0xDA:
        found.append(at)
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return [*found, at]


@pytest.mark.parametrize(
    "stray",
    [
        b"\0",
        b"\x12\x34",
        b"\0" * 40,
        b"\xff",
        b"\xff\xff\xff",
        b"a\xff\0b",
        b"\0\xda",
        b"\xff\xd3\0",
    ],
)
def test_stray_bytes_between_segments_are_skipped(tmp_path: Path, stray: bytes) -> None:
    data = encoded(smooth(), "JPEG")
    plain = read_image(saved(tmp_path / "plain", data))
    for at in segments(data)[1:]:
        path = saved(tmp_path / "a.jpg", data[:at] + stray + data[at:])
        np.testing.assert_array_equal(read_image(path), plain)


@pytest.mark.parametrize("trailer", [b"\0" * 9, b"junk" * 99, b"\xff\xd8\xff\xe1 and more"])
def test_what_follows_the_end_is_left_alone(tmp_path: Path, trailer: bytes) -> None:
    data = encoded(smooth(), "JPEG")
    plain = read_image(saved(tmp_path / "plain", data))
    np.testing.assert_array_equal(read_image(saved(tmp_path / "a.jpg", data + trailer)), plain)


@pytest.mark.parametrize("progressive", [False, True])
def test_only_the_end_marker_may_be_missing(tmp_path: Path, progressive: bool) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(noise, "JPEG", progressive=progressive)
    plain = read_image(saved(tmp_path / "plain", data))
    for cut in (1, 2):
        np.testing.assert_array_equal(read_image(saved(tmp_path / "a.jpg", data[:-cut])), plain)
    for cut in (12, 100, len(data) // 2):
        with pytest.raises(InputError, match="damaged or truncated"):
            read_image(saved(tmp_path / "a.jpg", data[:-cut]))


# -- one frame


def chunk(kind: bytes, body: bytes) -> bytes:
    crc = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


@pytest.mark.parametrize("frames", [1, 2])
def test_an_animation_of_one_frame_is_a_picture(tmp_path: Path, frames: int) -> None:
    data = encoded(smooth(), "PNG")
    path = saved(
        tmp_path / "a.png", data[:33] + chunk(b"acTL", struct.pack(">II", frames, 0)) + data[33:]
    )
    several = [Image.fromarray(smooth()), Image.fromarray(smooth()[::-1].copy())][:frames]
    several[0].save(
        tmp_path / "a.webp",
        save_all=True,
        append_images=several[1:],
        lossless=True,
        minimize_size=False,
    )
    for name in (path, tmp_path / "a.webp"):
        if frames == 1:
            np.testing.assert_array_equal(read_image(name), smooth())
        else:
            with pytest.raises(InputError, match="animated"):
                read_image(name)


# -- large


def test_a_large_jpeg_is_decoded_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = np.kron(smooth(), np.ones((8, 8, 1), np.uint8))
    path = saved(tmp_path / "a.jpg", encoded(large, "JPEG"))
    monkeypatch.setattr(pictures, "MAX_PIXELS", large.size // 3 // 4)
    half = read_image(path)
    assert half.shape == (96, 128, 3)
    blocks = large.reshape(96, 2, 128, 2, 3).mean((1, 3))
    assert np.abs(half - blocks).mean() < 3
    monkeypatch.setattr(pictures, "MAX_PIXELS", large.size // 3 // 16)
    assert read_image(path).shape == (48, 64, 3)
    with pytest.raises(InputError, match=r"256 x 192 pixels"):
        read_image(saved(tmp_path / "a.png", encoded(large, "PNG")))
    monkeypatch.setattr(pictures, "MAX_JPEG_PIXELS", large.size // 3 - 1)
    with pytest.raises(InputError, match=r"256 x 192 pixels"):
        read_image(path)


# -- other kinds


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"II*\0\x08\0\0\0", "a TIFF picture"),
        (b"GIF89a\1\0\1\0", "a GIF picture"),
        (b"BM\x36\0\0\0\0\0", "a BMP picture"),
    ],
)
def test_a_picture_of_another_kind_is_named(tmp_path: Path, start: bytes, what: str) -> None:
    with pytest.raises(InputError, match=f"{what}, which is not read; save it as"):
        read_image(saved(tmp_path / "a.jpg", start + bytes(99)))
