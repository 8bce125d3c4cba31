"""Training pictures in folders: `align`'s, image classification's, and of mixed depths."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glow_jax.data import FolderSource, check_data, default_held_out, load_folder, open_data
from glow_jax.io.errors import InputError
from glow_jax.io.pictures import write_image
from glow_jax.io.provenance import Provenance

SHAPE = (8, 8, 3)


def picture(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (level,) * 3).save(path)


def levels(words: str, **options: object) -> list[int]:
    source = open_data(words, SHAPE, **options)  # type: ignore[arg-type]
    return source.read(range(len(source)))[:, 0, 0, 0].tolist()


@pytest.fixture
def aligned(tmp_path: Path) -> Path:
    """A folder as `align` leaves it: three crops of two people, tables, a sheet."""
    out = tmp_path / "out"
    for name, level in (("ann/1.png", 10), ("ann/2.png", 20), ("ben/1.png", 30)):
        (out / "faces" / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((8, 8, 3), level, np.uint8)
        recipe = {"box": [0, 0, 1, 1], "face": 1}
        write_image(out / "faces" / name, pixels, Provenance("compositeSynthetic", "a", recipe))
    sheet = np.full((8, 8, 3), 99, np.uint8)
    write_image(out / "sheet.png", sheet, Provenance("compositeSynthetic", "a", {"sheet": True}))
    (out / "align.json").write_text(json.dumps({"align": 1, "detector": "dlib"}))
    (out / "align.csv").write_text("file\n")
    return out


def test_aligns_folder_is_training_data_as_it_is(aligned: Path) -> None:
    for place in (aligned, aligned / "faces"):
        check_data(f"folder:{place}")
        assert levels(f"folder:{place}") == [10, 20, 30]
    assert len(load_folder(aligned, (8, 8))) == 3


def test_a_sheet_is_no_data_wherever_it_was_copied_to(aligned: Path, tmp_path: Path) -> None:
    (aligned / "faces/ann/face.png").write_bytes((aligned / "sheet.png").read_bytes())
    said: list[str] = []
    assert levels(f"folder:{aligned}", notify=said.append) == [10, 20, 30]
    assert said == [f"{aligned}: left out 2 pictures that glow-jax wrote beside others"]


def test_every_depth_is_data(tmp_path: Path) -> None:
    for name, level in (("2.png", 3), ("a/1.png", 4), ("a/b/c/1.png", 5), ("10.png", 6)):
        picture(tmp_path / name, level)
    picture(tmp_path / ".trash/1.png", 9)
    said: list[str] = []
    assert levels(f"folder:{tmp_path}", notify=said.append) == [3, 6, 4, 5]
    assert said == [f"{tmp_path}: left out 1 hidden folder"]


@pytest.mark.parametrize("names", [("train", "val"), ("Train", "TEST"), ("training", "valid")])
def test_the_held_out_part_of_a_folder_is_not_trained_on(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    for i, part in enumerate(names):
        for k, name in enumerate(("cat/1.png", "dog/1.png")):
            picture(tmp_path / part / name, 10 * i + k)
    picture(tmp_path / "extra/1.png", 99)
    words, said = f"folder:{tmp_path}", list[str]()
    assert levels(words, notify=said.append) == [0, 1]
    assert said == [
        f"{tmp_path}: {names[0]} is trained on, {names[1]} is held out; not used: extra"
    ]
    assert default_held_out(words, 8) == words
    assert levels(words, held_out=True) == [10, 11]
    assert levels(f"folder:{tmp_path / names[1]}") == [10, 11]


def test_a_test_part_comes_before_a_validation_part(tmp_path: Path) -> None:
    for level, part in enumerate(("train", "val", "test")):
        picture(tmp_path / part / "1.png", level)
    assert levels(f"folder:{tmp_path}", held_out=True) == [2]


def test_a_folder_without_both_parts_is_one_set(tmp_path: Path) -> None:
    for level, name in enumerate(("val/1.png", "train.png", "a/1.png")):
        picture(tmp_path / name, level)
    assert levels(f"folder:{tmp_path}") == [2, 1, 0]
    with pytest.raises(InputError, match="name other images as `held_out`, or put.*train and val"):
        default_held_out(f"folder:{tmp_path}", 8)


def test_the_digest_is_of_names_in_the_folder(tmp_path: Path) -> None:
    for folder, names in (("x", ("a/1.png", "b/1.png")), ("y", ("a/1.png", "b/1.png"))):
        for name in names:
            picture(tmp_path / folder / name, 5)
    picture(tmp_path / "z/a/1.png", 5)
    picture(tmp_path / "z/c/1.png", 5)
    x, y, z = (FolderSource(tmp_path / name, (8, 8)).sha256() for name in "xyz")
    assert x == y != z
