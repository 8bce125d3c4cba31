"""JPEGs of the quality of another JPEG, with the record of how they were made."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from glow_jax.io.containers import is_whole
from glow_jax.io.errors import InputError
from glow_jax.io.jpeg import JpegQuality, jpeg_quality
from glow_jax.io.picture_folders import list_pictures
from glow_jax.io.pictures import image_bytes, read_image, write_image
from glow_jax.io.provenance import Provenance, read_provenance

RECIPE = Provenance("compositeWithTrainedAlgorithmicMedia", "a model", {"pasted_into": "a.jpg"})


def smooth(height: int = 96, width: int = 128) -> np.ndarray:
    """A picture with gradients and an edge, uint8 (H, W, 3)."""
    y, x = np.mgrid[:height, :width]
    picture = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], -1).astype(np.uint8)
    picture[20:60, 30:70] = (200, 40, 90)
    return picture


def saved(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    Image.fromarray(pixels).save(path, "JPEG", **options)
    return path


@pytest.mark.parametrize("quality", [5, 75, 90, 100])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_the_quality_is_kept(quality: int, subsampling: int, tmp_path: Path) -> None:
    first = saved(tmp_path / "a.jpg", smooth(), quality=quality, subsampling=subsampling)
    found = jpeg_quality(first)
    assert found is not None and found.subsampling == subsampling
    pixels = read_image(first)
    write_image(tmp_path / "b.jpg", pixels, RECIPE, found)
    with Image.open(first) as one, Image.open(tmp_path / "b.jpg") as other:
        assert one.quantization == other.quantization
        assert JpegImagePlugin.get_sampling(other) == subsampling
    again = read_image(tmp_path / "b.jpg")
    assert np.abs(again.astype(int) - pixels).mean() < 1.5, "a second generation loses little"
    assert read_provenance(tmp_path / "b.jpg") == RECIPE
    other_bytes = image_bytes(pixels, RECIPE, ".jpg", jpeg=found)
    assert other_bytes == (tmp_path / "b.jpg").read_bytes()


def test_grey_and_cmyk_have_a_quality_too(tmp_path: Path) -> None:
    saved(tmp_path / "grey.jpg", smooth()[..., 0], quality=60)
    Image.fromarray(smooth()).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=60)
    for name in ("grey.jpg", "cmyk.jpg"):
        found = jpeg_quality(tmp_path / name)
        assert found is not None and found.subsampling in (0, 1, 2)
        write_image(tmp_path / "out.jpg", smooth(), RECIPE, found)
        assert np.abs(read_image(tmp_path / "out.jpg").astype(int) - smooth()).mean() < 8


def test_other_formats_have_none_and_damaged_files_are_errors(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "a.png")
    Image.fromarray(smooth()).save(tmp_path / "named.jpg", "PNG")
    assert jpeg_quality(tmp_path / "a.png") is jpeg_quality(tmp_path / "named.jpg") is None
    data = saved(tmp_path / "a.jpg", smooth()).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[:60])
    for name in ("cut.jpg", "nowhere.jpg"):
        with pytest.raises(InputError, match=name):
            jpeg_quality(tmp_path / name)


def test_tables_of_16_bits_are_held_in_8(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    table = [300] * 64
    Image.fromarray(smooth()).save(buffer, "JPEG", qtables=[table, table])
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    found = jpeg_quality(tmp_path / "a.jpg")
    assert found is not None and max(map(max, found.tables)) <= 255
    write_image(tmp_path / "b.jpg", smooth(), RECIPE, found)
    assert read_image(tmp_path / "b.jpg").shape == smooth().shape


def test_a_jpeg_without_a_quality_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="use .png or .webp"):
        write_image(tmp_path / "a.jpg", smooth(), RECIPE)
    wide = np.zeros((1, 70_000, 3), np.uint8)
    with pytest.raises(InputError, match="cannot be encoded"):
        write_image(tmp_path / "a.jpg", wide, RECIPE, JpegQuality(((1,) * 64,), 0))
    assert not list(tmp_path.iterdir())


def test_what_was_pasted_into_is_no_picture_of_a_person(tmp_path: Path) -> None:
    found = jpeg_quality(saved(tmp_path / "a.jpg", smooth()))
    write_image(tmp_path / "b.jpg", smooth(), RECIPE, found)
    listing = list_pictures(tmp_path)
    assert [path.name for path in listing.paths] == ["a.jpg"]
    assert "left out 1 picture that glow-jax wrote beside others" in listing.note


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_a_file_that_was_cut_off_or_overwritten_is_not_whole(name: str, tmp_path: Path) -> None:
    path, jpeg = tmp_path / name, jpeg_quality(saved(tmp_path / "b.jpg", smooth()))
    assert not is_whole(path)
    write_image(path, smooth(), RECIPE, jpeg if name == "a.jpg" else None)
    assert is_whole(path)
    whole = path.read_bytes()
    changed = whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:]
    for data in (b"x\n", b"", whole[:-1], whole[: len(whole) // 2], *[changed] * (name == "a.png")):
        path.write_bytes(data)
        assert not is_whole(path)
