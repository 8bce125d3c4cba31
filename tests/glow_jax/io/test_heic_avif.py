"""HEIC and AVIF files as phones make them, and hostile ones. The files are made here."""

import io
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from glow_jax.io import containers, picture_formats
from glow_jax.io.errors import InputError
from glow_jax.io.pictures import read_image
from glow_jax.io.provenance import read_source_type
from tests.support.icc import ADOBE_RGB, matrix_profile, to_srgb

pillow_heif = pytest.importorskip("pillow_heif")
if not picture_formats.reads_avif():
    pytest.skip("this Pillow decodes no AVIF", allow_module_level=True)
KINDS = ("HEIC", "AVIF")
EMPTY_EXIF = b"Exif\0\0II*\0\x08\0\0\0" + bytes(6)
D65_P3 = np.array(  # Display P3's primaries, adapted to D50: columns of XYZ
    [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]
)


def smooth(height: int = 48, width: int = 64) -> np.ndarray:
    down, across = np.mgrid[0:height, 0:width]
    planes = (60 + 2 * across, 80 + 2 * down, 180 - across)
    return np.stack(planes, -1).clip(0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray | Image.Image, kind: str, **options: Any) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    if kind == "AVIF":
        image.save(buffer, "AVIF", quality=100, subsampling="4:4:4", **options)
    else:
        heif = pillow_heif.from_pillow(image)
        heif.save(buffer, quality=-1, chroma=444, **options)
    return buffer.getvalue()


def read(folder: Path, data: bytes, **options: Any) -> np.ndarray:
    path = folder / "a.bin"
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_image(path, **options).astype(int)


def refused(folder: Path, data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read(folder, data)
    assert str(caught.value).isprintable()


# -- what the pixels become


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_close(tmp_path: Path, kind: str) -> None:
    got = read(tmp_path, encoded(smooth(), kind), size=(48, 64))
    assert np.abs(got - smooth()).max() <= 3
    grey = read(tmp_path, encoded(smooth(), kind), channels=1)
    luma = np.asarray(Image.fromarray(smooth()).convert("L"), int)
    assert np.abs(grey[..., 0] - luma).max() <= 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path: Path, kind: str, orientation: int) -> None:
    """The encoders turn EXIF's number into the container's rotation and mirror."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = read(tmp_path, encoded(smooth(), kind, exif=exif.tobytes()))
    buffer = io.BytesIO()
    Image.fromarray(smooth()).save(buffer, "PNG", exif=exif.tobytes())
    upright = read(tmp_path, buffer.getvalue())
    assert turned.shape == upright.shape
    assert np.abs(turned - upright).max() <= 3


@pytest.mark.parametrize("kind", KINDS)
def test_exif_alone_turns_nothing(tmp_path: Path, kind: str) -> None:
    """As in other readers: the container's orientation counts (ISO 23008-12, 6.5.10)."""
    data = bytearray(encoded(smooth(), kind, exif=EMPTY_EXIF))
    tag = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    at = data.index(b"II*\0\x08\0\0\0") + 8
    data[at : at + 2] = b"\1\0"
    data = data[: at + 2] + tag[:4] + data[at + 6 :]
    assert read(tmp_path, bytes(data)).shape == (48, 64, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_colours_of_a_profile_become_srgb(tmp_path: Path, kind: str) -> None:
    icc = matrix_profile(ADOBE_RGB, 2.2)
    options = {"icc_profile": icc} if kind == "AVIF" else {}
    image = Image.fromarray(smooth())
    image.info["icc_profile"] = icc
    got = read(tmp_path, encoded(image, kind, **options))
    plain = read(tmp_path, encoded(smooth(), kind))
    wanted = to_srgb(plain.astype(float), ADOBE_RGB, 2.2)
    assert np.abs(got - wanted).max() <= 2
    assert np.abs(plain - wanted).max() > 15  # which is what ignoring it costs


def with_primaries(kind: str, primaries: int, transfer: int) -> bytes:
    data = bytearray(encoded(smooth(), kind))
    at = data.index(b"colrnclx") + 8
    data[at : at + 4] = struct.pack(">HH", primaries, transfer)
    return bytes(data)


@pytest.mark.parametrize("kind", KINDS)
def test_primaries_without_a_profile_become_srgb(tmp_path: Path, kind: str) -> None:
    plain = read(tmp_path, with_primaries(kind, 1, 13))
    curve = plain / 255
    linear = np.where(curve <= 0.04045, curve / 12.92, ((curve + 0.055) / 1.055) ** 2.4)
    wanted = to_srgb(255 * linear, D65_P3, 1.0)
    got = read(tmp_path, with_primaries(kind, 12, 13))
    assert np.abs(got - wanted).max() <= 2
    assert np.abs(plain - wanted).max() > 15
    for same in (2, 6):
        np.testing.assert_array_equal(read(tmp_path, with_primaries(kind, same, 13)), plain)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_high_dynamic_range_is_named(tmp_path: Path, kind: str, transfer: int, name: str) -> None:
    refused(tmp_path, with_primaries(kind, 9, transfer), rf"high-dynamic-range picture \({name}\)")


@pytest.mark.parametrize("kind", KINDS)
def test_transparency_is_laid_over_white(tmp_path: Path, kind: str) -> None:
    alpha = np.full((48, 64), 255, np.uint8)
    alpha[:, :16], alpha[:, 16:32] = 0, 128
    got = read(tmp_path, encoded(np.dstack([smooth(), alpha]), kind))
    share = alpha[..., None] / 255
    assert np.abs(got - (share * smooth() + (1 - share) * 255)).max() <= 4
    assert (got[:, :16] >= 254).all()


@pytest.mark.parametrize("depth", [10, 12])
def test_more_bits_are_scaled(tmp_path: Path, depth: int) -> None:
    deep = smooth().astype(np.uint16) * 257
    heif = pillow_heif.from_bytes("RGB;16", (64, 48), deep.tobytes())
    buffer = io.BytesIO()
    pillow_heif.options.SAVE_HDR_TO_12_BIT = depth == 12
    try:
        heif.save(buffer, quality=-1, chroma=444)
    finally:
        pillow_heif.options.SAVE_HDR_TO_12_BIT = False
    assert np.abs(read(tmp_path, buffer.getvalue()) - smooth()).max() <= 2


def test_grey_and_tiles(tmp_path: Path) -> None:
    grey = smooth()[..., 0]
    assert np.abs(read(tmp_path, encoded(grey, "HEIC")) - grey[..., None]).max() <= 2
    large = smooth(300, 420)
    tiled = encoded(large, "HEIC", tile_size=128)
    assert tiled.count(b"hvc1") > 6
    assert np.abs(read(tmp_path, tiled, size=(300, 420)) - large).max() <= 3


def test_a_thumbnail_is_not_the_picture(tmp_path: Path) -> None:
    image = pillow_heif.from_pillow(Image.fromarray(smooth(240, 320)))
    image.info["thumbnails"] = [64]
    buffer = io.BytesIO()
    image.save(buffer, quality=-1, chroma=444)
    assert read(tmp_path, buffer.getvalue()).shape == (240, 320, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_metadata_are_read_and_damaged_ones_harm_nothing(tmp_path: Path, kind: str) -> None:
    packet = (
        b'<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><r:Description '
        b'xmlns:i="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"><i:DigitalSourceType>'
        b"digitalCapture</i:DigitalSourceType></r:Description></r:RDF>"
    )
    data = encoded(smooth(), kind, xmp=packet, exif=EMPTY_EXIF)
    (tmp_path / "a.heic").write_bytes(data)
    assert read_source_type(tmp_path / "a.heic") == "digitalCapture"
    bad = data.replace(EMPTY_EXIF[6:], b"II*\0\x08\0\0\0" + b"\xff" * 6)
    assert bad != data
    np.testing.assert_array_equal(read(tmp_path, bad), read(tmp_path, data))


# -- without the extra, and hostile files


@pytest.mark.parametrize("kind", KINDS)
def test_without_what_decodes_it_the_extra_is_named(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(smooth(), kind)
    monkeypatch.setattr(containers, "reads_heic", lambda: False)
    monkeypatch.setattr(containers, "reads_avif", lambda: False)
    refused(tmp_path, data, f"{kind} picture; to read it, install the extra `photos`: pip install")
    generic = data[:8] + b"mif1" + data[12:]
    refused(tmp_path, generic, f"(HEIC|{kind}) picture; to read it, install the extra")


@pytest.mark.parametrize("kind", KINDS)
def test_a_generic_brand_is_read_by_its_codec(tmp_path: Path, kind: str) -> None:
    data = encoded(smooth(), kind)
    got = read(tmp_path, data[:8] + b"mif1" + data[12:])
    assert np.abs(got - smooth()).max() <= 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", [30_000, 2**32 - 1])
def test_large_sizes_are_refused_before_decoding(tmp_path: Path, kind: str, side: int) -> None:
    data = bytearray(encoded(smooth(), kind))
    at = data.index(b"ispe") + 8
    data[at : at + 8] = struct.pack(">II", side, side)
    refused(tmp_path, bytes(data), "pixels")


def test_an_animation_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    frames = [Image.fromarray(smooth()), Image.fromarray(smooth()[::-1].copy())]
    frames[0].save(buffer, "AVIF", save_all=True, append_images=frames[1:])
    refused(tmp_path, buffer.getvalue(), "animated images are not accepted")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(12))
def test_damaged_files_give_one_line(tmp_path: Path, kind: str, seed: int) -> None:
    """Cut anywhere, or with bytes changed in the container: pixels, or one line."""
    data = bytearray(encoded(smooth(), kind, exif=EMPTY_EXIF))
    rng = np.random.default_rng(seed)
    header = bytes(data).index(b"mdat")
    for _ in range(20):
        bad = bytearray(data)
        for at in rng.integers(0, header, rng.integers(1, 5)):
            bad[at] = rng.integers(256)
        if rng.random() < 0.3:
            del bad[rng.integers(len(bad)) :]
        path = tmp_path / "a.heic"
        path.write_bytes(bad)
        try:
            assert read_image(path).dtype == np.uint8
        except InputError as error:
            assert str(error).isprintable()
