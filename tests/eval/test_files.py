"""Pictures as they are read: formats, orientation, depth, and files that are none."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval.files import read_picture
from glow_jax.io.errors import InputError
from glow_jax.io.files import read_bytes, write_atomically
from glow_jax.io.messages import one_line, reason
from glow_jax.io.pictures import read_image
from tests.support.icc import ADOBE_RGB, matrix_profile

RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


def pixels(path: Path) -> np.ndarray:
    found = read_picture(path).pixels
    assert found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] == 3
    assert found.flags.writeable and found.flags.owndata
    return found


def test_depths_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    path, wanted = tmp_path / "a.png", np.repeat(RAMP[..., None], 3, 2)
    for array in (RAMP, RAMP.astype(np.uint16) * 257):
        Image.fromarray(array).save(path)
        np.testing.assert_array_equal(pixels(path), wanted)
    for array in (RAMP.astype(np.int32) * 257, RAMP.astype(np.int32), RAMP.astype(np.float32)):
        Image.fromarray(array).save(tmp_path / "a.tiff")
        np.testing.assert_array_equal(pixels(tmp_path / "a.tiff"), wanted)


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    image = np.zeros((2, 3, 4), np.uint8)
    image[:, 1, 3], image[:, 2, 3] = 128, 255
    Image.fromarray(image).save(tmp_path / "a.png")
    assert list(pixels(tmp_path / "a.png")[0, :, 0]) == [255, 127, 0]
    Image.fromarray(image).convert("LA").save(tmp_path / "b.png")
    assert list(pixels(tmp_path / "b.png")[0, :, 0]) == [255, 127, 0]
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([9, 9, 9, 5, 6, 7])
    palette.save(tmp_path / "c.png", transparency=0)
    np.testing.assert_array_equal(pixels(tmp_path / "c.png"), [[[255] * 3, [5, 6, 7]]])


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_are_those_that_a_transfer_sees(tmp_path: Path, mode: str) -> None:
    values = np.random.default_rng(0).integers(0, 256, (8, 8, len(mode)), np.uint8)
    wide = matrix_profile(ADOBE_RGB, 2.2)
    seen = {}
    for name, profile in (("plain", None), ("wide", wide), ("damaged", wide[:200])):
        path = tmp_path / f"{name}.png"
        Image.fromarray(values).save(path, icc_profile=profile)
        seen[name] = pixels(path)
        np.testing.assert_array_equal(seen[name], read_image(path))
    np.testing.assert_array_equal(seen["damaged"], seen["plain"])
    assert np.abs(seen["wide"].astype(int) - seen["plain"]).max() > 10


def test_a_jpeg_of_a_phone_is_read_at_half_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glow_jax.io.pictures.MAX_PIXELS", 5000)
    Image.new("RGB", (100, 60), "teal").save(tmp_path / "a.jpg")
    assert pixels(tmp_path / "a.jpg").shape == (30, 50, 3)
    Image.new("RGB", (100, 60), "teal").save(tmp_path / "a.png")
    with pytest.raises(InputError, match="100 x 60 pixels; at most 5000 accepted"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_of_an_animation_the_first_frame_counts(tmp_path: Path, name: str) -> None:
    frames = [Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in (40, 200)]
    options = {"lossless": True} if name == "a.webp" else {}
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
    assert (pixels(tmp_path / name) == 40).all()


@pytest.mark.parametrize("suffix", [".tiff", ".bmp", ".ppm"])
def test_what_a_transfer_does_not_read(tmp_path: Path, suffix: str) -> None:
    values = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(values).save(path)
    np.testing.assert_array_equal(pixels(path), values)
    with pytest.raises(InputError, match="accepted: PNG"):
        read_image(path)


def test_what_a_phone_makes_is_as_a_transfer_reads_it(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    values = np.repeat(np.repeat(RAMP, 8, 0), 8, 1)
    pillow_heif.from_pillow(Image.fromarray(values)).save(tmp_path / "a.heic", quality=-1)
    found = pixels(tmp_path / "a.heic")
    np.testing.assert_array_equal(found, read_image(tmp_path / "a.heic"))
    assert np.abs(found[..., 0].astype(int) - values).max() <= 2


def test_a_picture_knows_its_bytes(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    one, other = read_picture(tmp_path / "a.png"), read_picture(Path("elsewhere"), data)
    assert one.sha256 == other.sha256 and len(one.sha256) == 64
    np.testing.assert_array_equal(one.pixels, other.pixels)


@pytest.mark.parametrize("make", ["mkdir", "fifo", "device", "none", "long", "nul"])
def test_what_is_no_ordinary_file_is_refused(tmp_path: Path, make: str) -> None:
    path = tmp_path / {"long": "x" * 300, "nul": "a\0b"}.get(make, "a.png")
    if make == "mkdir":
        path.mkdir()
    elif make == "fifo":
        os.mkfifo(path)
    elif make == "device":
        path.symlink_to("/dev/zero")
    with pytest.raises(InputError) as error:
        read_bytes(path)
    said = str(error.value)
    assert said.isprintable() and said.startswith(one_line(path))
    assert ("not an ordinary file" if make in ("mkdir", "fifo", "device") else "cannot be") in said


def test_a_picture_is_known_by_its_content(tmp_path: Path) -> None:
    for data in (b"", b"text", bytes(999)):
        (tmp_path / "a.png").write_bytes(data)
        with pytest.raises(InputError, match=r"a.png: not a readable picture \(no known format\)$"):
            read_picture(tmp_path / "a.png")
    Image.fromarray(np.dstack([RAMP] * 3)).save(tmp_path / "a.eps")
    with pytest.raises(InputError, match="EPS is not read"):
        read_picture(tmp_path / "a.eps")


def test_files_are_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atomically(tmp_path / "a", b"one")
    write_atomically(tmp_path / "a", b"two")
    assert [p.name for p in tmp_path.iterdir()] == ["a"] and read_bytes(tmp_path / "a") == b"two"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match=r"a: cannot be written \(No space left on device\)"):
        write_atomically(tmp_path / "a", b"three")
    assert [p.name for p in tmp_path.iterdir()] == ["a"] and read_bytes(tmp_path / "a") == b"two"
    with pytest.raises(InputError, match="cannot be written"):
        write_atomically(tmp_path / "none" / "a", b"")


def test_reasons_fit_on_one_line() -> None:
    assert reason(ValueError("one\ntwo")) == "one"
    assert reason(ValueError("")) == "ValueError"
    assert reason(OSError(2, "No such file")) == "No such file"
    assert reason(ValueError("\x1b[2J")) == "'\\x1b[2J'"
    assert len(reason(ValueError("x" * 5000))) == 300
    assert one_line("") == "''" and one_line("a\nb") == "'a\\nb'" and one_line("ä b") == "ä b"


@pytest.mark.parametrize(
    ("compression", "mode", "at", "why"),
    [
        ("tiff_lzw", "RGB", 40, "code not yet in table"),
        ("tiff_adobe_deflate", "RGB", 40, "ZIPDecode: Decoding error at scanline 0"),
        ("group4", "1", 12, "Fax4Decode: Bad code word"),
    ],
)
def test_a_damaged_tiff_is_one_line_with_its_cause(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    compression: str,
    mode: str,
    at: int,
    why: str,
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    path = tmp_path / "a.tif"
    Image.fromarray(noise).convert(mode).save(path, compression=compression)
    assert pixels(path).shape == (40, 40, 3)
    data = bytearray(path.read_bytes())
    data[at : at + 20] = b"\xff" * 20
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"a.tif: not a readable picture .*{why}"):
        read_picture(path)
    assert capfd.readouterr().err == ""
