"""The pictures of folders: which count, in which order, and what is said of the others."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from glow_jax.io import picture_formats
from glow_jax.io.errors import InputError
from glow_jax.io.picture_folders import image_paths, list_pictures, list_tree, picture_folders, walk
from glow_jax.io.pictures import write_image
from glow_jax.io.provenance import Provenance

# Wrong arguments must meet our own messages, not the run-time check of annotations.
pytestmark = pytest.mark.usefixtures("unchecked")
SIX = np.zeros((6, 6, 3), np.uint8)


@pytest.fixture
def no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """As without the extra `photos`."""
    monkeypatch.setattr(picture_formats, "reads_heic", lambda: False)
    monkeypatch.setattr(picture_formats, "reads_avif", lambda: False)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def ours(path: Path, recipe: dict[str, Any], model: str = "glow-jax align") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, SIX, Provenance("compositeSynthetic", model, recipe))


def names(paths: list[Path], top: Path) -> list[str]:
    return [p.relative_to(top).as_posix() for p in paths]


# -- one folder


def test_names_sort_naturally_and_hidden_ones_are_skipped(tmp_path: Path) -> None:
    touch(tmp_path, "10.png", "2.PNG", "a10.webp", "a2.Jpg", "1.jpeg", "x.gif", ".hidden.png", "n")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "b.png").symlink_to(tmp_path / "gone")
    listed = ["1.jpeg", "2.PNG", "10.png", "a2.Jpg", "a10.webp", "b.png"]
    assert names(image_paths(tmp_path), tmp_path) == listed
    assert image_paths(str(tmp_path)) == image_paths(tmp_path)


def test_a_link_to_itself_is_a_broken_link(tmp_path: Path) -> None:
    """It made the whole folder unreadable."""
    touch(tmp_path, "a.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "loop").symlink_to("loop")
    found = list_pictures(tmp_path)
    assert names(found.paths, tmp_path) == ["a.png", "loop.png"]
    assert found.other_files == {"no suffix": 1}


def test_a_file_is_itself_whatever_its_ending(tmp_path: Path) -> None:
    touch(tmp_path, "photo.bin")
    for list_them in (list_pictures, list_tree):
        assert list_them(tmp_path / "photo.bin").paths == [tmp_path / "photo.bin"]


@pytest.mark.parametrize("list_them", [list_pictures, list_tree])
def test_nothing_to_list_is_an_error(tmp_path: Path, list_them: Any, no_extra: None) -> None:
    touch(tmp_path, "notes.txt", "a.heic")
    with pytest.raises(InputError, match=r"no images.*\.webp; left out 2 files.*extra `photos`"):
        list_them(tmp_path)
    for bad in (tmp_path / "none", str(tmp_path / "a\0b")):
        with pytest.raises(InputError, match="cannot be read"):
            list_them(bad)


def test_a_person_is_one_folder_and_the_message_says_which(tmp_path: Path) -> None:
    touch(tmp_path, "ann/1.png", "ben/2.png")
    with pytest.raises(InputError, match="no images in this folder.*has some: .*/ann$"):
        image_paths(tmp_path)


def test_jpegs_by_any_of_their_names_are_listed(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpe", "b.JFIF", "c.jpeg", "d.JPG", "e.tga", "f.txt")
    assert names(image_paths(tmp_path), tmp_path) == ["a.jpe", "b.JFIF", "c.jpeg", "d.JPG"]


@pytest.mark.usefixtures("no_extra")
def test_what_a_folder_leaves_out_is_counted_and_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.HEIC", "c.heic", "d.tga", "notes", ".hidden.heic")
    (tmp_path / "folder.heic").mkdir()
    assert list_pictures(tmp_path).note == (
        f"{tmp_path}: left out 4 files that are not PNG, JPEG or WebP "
        "(.heic 2, .tga 1, no suffix 1); to read HEIC, install the extra `photos`: "
        "pip install -e '.[photos]' in a clone of glow-jax"
    )
    touch(tmp_path, "one/a.png")
    assert list_pictures(tmp_path / "one").note == ""
    touch(tmp_path, "one/x.avif")
    note = list_pictures(tmp_path / "one").note
    assert "left out 1 file that is not PNG, JPEG or WebP (.avif 1); to read AVIF" in note


def test_with_the_extra_they_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_formats, "reads_heic", lambda: True)
    monkeypatch.setattr(picture_formats, "reads_avif", lambda: True)
    touch(tmp_path, "a.HEIC", "b.heif", "c.hif", "d.avif", "e.tga")
    found = list_pictures(tmp_path)
    assert names(found.paths, tmp_path) == ["a.HEIC", "b.heif", "c.hif", "d.avif"]
    assert "1 file that is not PNG, JPEG, WebP, HEIC or AVIF (.tga 1)" in found.note


# -- folders in folders


def test_every_depth_is_searched_in_one_order(tmp_path: Path) -> None:
    """The order on the disk, which is that of creation on some systems, does not matter."""
    tree = ["b.png", "a/10.png", "a/2.png", "a/deep/er/1.jpg", "B/1.png", "c10/x.png", "c9/x.png"]
    wanted = ["a/2.png", "a/10.png", "a/deep/er/1.jpg", "B/1.png", "b.png", "c9/x.png", "c10/x.png"]
    for number, order in enumerate((tree, tree[::-1], sorted(tree))):
        touch(tmp_path / str(number), *order)
        found = list_tree(tmp_path / str(number))
        assert names(found.paths, tmp_path / str(number)) == wanted
        assert found.note == ""


def test_one_name_in_two_normal_forms_sorts_alike(tmp_path: Path) -> None:
    touch(tmp_path, "e\u0301a.png", "f.png", "\u00e9b.png", "ez.png")
    found = [p.name for p in list_tree(tmp_path).paths]
    assert found == ["ez.png", "f.png", "e\u0301a.png", "\u00e9b.png"]


def test_hidden_and_linked_folders_are_skipped_and_counted(tmp_path: Path) -> None:
    touch(tmp_path / "data", "ann/1.png", ".cache/2.png", "ann/.thumbs/3.png", ".DS_Store", "n.txt")
    touch(tmp_path / "other", "4.png")
    (tmp_path / "data/linked").symlink_to(tmp_path / "other")
    (tmp_path / "data/ann/loop").symlink_to(tmp_path / "data")
    (tmp_path / "data/ann/5.png").symlink_to(tmp_path / "other/4.png")
    found = list_tree(tmp_path / "data")
    assert names(found.paths, tmp_path / "data") == ["ann/1.png", "ann/5.png"]
    assert found.note.endswith("(.txt 1), 2 hidden folders, 2 links to a folder")
    (tmp_path / "top").symlink_to(tmp_path / "data")  # the folder itself may be a link
    assert len(list_tree(tmp_path / "top").paths) == 2


def test_a_folder_may_be_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "out/2.png")
    found = [f.name for f, _ in walk(tmp_path, Counter(), (tmp_path / "out").resolve())]
    assert found == [tmp_path.name, "a"]
    assert [p.name for p in picture_folders(tmp_path)] == ["a", "out"]


# -- what we write beside pictures

BESIDE = {
    "align's sheet": {"sheet": True},
    "a transfer's sheet": {"job": ["1f", "2e"]},
    "sheet of samples": {"seed": 0, "temperature": 0.7, "n": 16},
    "sheet of a training run": {"step": 100, "seed": 0, "temperature": 0.7},
    "mask": {"mask_of": "id1.png"},
    "mean face": {"mean_of": ["1.png"]},
    "pasted photograph": {"id": "1f", "pasted_into": "bob.jpg", "alpha": 1.0},
}
PICTURES = {
    "crop": {"transform": [[1, 0, 0]], "box": [0, 0, 1, 1], "face": 1, "photograph": "sheet.png"},
    "output": {"id": "1f", "alpha": 0.3, "source": "ann", "target": "bob", "expression": "e.png"},
    "one sample": {"seed": 0, "temperature": 0.7, "n": 1},
    "render": {"file": "id1.png", "identity": 1, "expression": {"AU12": 3.0}},
}


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_sheets_and_the_like_are_known_by_their_metadata(tmp_path: Path, suffix: str) -> None:
    """Whatever their names, wherever they lie; and a picture that is called sheet.png counts."""
    for i, recipe in enumerate(BESIDE.values()):
        ours(tmp_path / f"ann/{i}{suffix}", recipe)
    for i, recipe in enumerate(PICTURES.values()):
        ours(tmp_path / f"ann/sheet{i}{suffix}", recipe)
    Image.fromarray(SIX).save(tmp_path / f"ann/sheet{suffix}")
    wanted = [f"sheet{suffix}", *(f"sheet{i}{suffix}" for i in range(len(PICTURES)))]
    for found in (list_tree(tmp_path), list_pictures(tmp_path / "ann")):
        assert sorted(p.name for p in found.paths) == sorted(wanted)
        assert "left out 7 pictures that glow-jax wrote beside others" in found.note


def test_a_sheet_that_another_program_saved_again_is_known(tmp_path: Path) -> None:
    ours(tmp_path / "sheet.png", {"sheet": True})
    with Image.open(tmp_path / "sheet.png") as sheet:
        packet = sheet.info["XML:com.adobe.xmp"].encode()
    long = {"xmp": packet, "icc_profile": b"x" * 60_000, "exif": b"Exif\0\0" + bytes(30_000)}
    Image.fromarray(SIX).save(tmp_path / "a.jpg", **long)
    Image.fromarray(SIX).save(tmp_path / "b.jpg")
    (tmp_path / "sheet.png").unlink()
    assert [p.name for p in list_tree(tmp_path).paths] == ["b.jpg"]


def test_what_only_looks_like_a_record_is_a_picture(tmp_path: Path) -> None:
    data = b'\x89PNG\r\n\x1a\n"sheet": true "mask_of": '
    (tmp_path / "a.png").write_bytes(data)
    (tmp_path / "b.webp").write_bytes(b"RIFF\x99\0\0\0WEBPVP8X\x0a\0\0\0\x04")
    (tmp_path / "c.webp").write_bytes(b"RIFF\x99\0\0\0WEBPVP8X")
    os.mkfifo(tmp_path / "d.png")
    assert len(list_tree(tmp_path).paths) == 4


def test_many_files_are_looked_into(tmp_path: Path) -> None:
    for i in range(70):
        ours(tmp_path / f"{i}.png", {"sheet": True} if i % 7 == 0 else {"box": i})
    assert names(list_tree(tmp_path).paths, tmp_path) == [f"{i}.png" for i in range(70) if i % 7]


# -- folders that we wrote


def aligned(out: Path, *crops: str) -> Path:
    for crop in crops:
        ours(out / "faces" / crop, {"box": [0, 0, 1, 1]})
        touch(out, f"records/{crop}.json")
    ours(out / "sheet.png", {"sheet": True})
    touch(out, "align.csv", "landmarks.jsonl", "failures.csv")
    (out / "align.json").write_text(json.dumps({"align": 1, "detector": "dlib", "size": 64}))
    return out


def test_of_aligns_folder_the_crops_count(tmp_path: Path) -> None:
    out = aligned(tmp_path / "out", "ann/1.png", "ben/x/2.png")
    found = list_tree(out)
    assert names(found.paths, out) == ["faces/ann/1.png", "faces/ben/x/2.png"]
    assert found.note == f"{out}: left out 1 picture that glow-jax wrote beside others"
    assert names(list_tree(tmp_path).paths, out) == names(found.paths, out)  # at any depth
    with pytest.raises(InputError, match="pictures of 2 people; name one of them, such as .*/ann"):
        list_pictures(out)


def test_aligns_folder_of_one_person_is_that_person(tmp_path: Path) -> None:
    # Crops of no named person: the person is called like the folder.
    for crops, folder in ((("ann/1.png", "ann/2.png"), "faces/ann"), (("1.png",), "")):
        out = aligned(tmp_path / crops[0].replace("/", "-"), *crops)
        found = list_pictures(out)
        assert found.folder == out / folder and len(found.paths) == len(crops)


def test_of_a_jobs_folder_the_outputs_count(tmp_path: Path) -> None:
    touch(tmp_path, "images/ab/1.png", "means/m.png", "pasted/1.png", "rows/1.csv")
    (tmp_path / "job.json").write_text(json.dumps({"digest": "1f", "outputs": 1, "chunks": 1}))
    ours(tmp_path / "sheet.png", {"job": ["1f"]})
    assert names(list_tree(tmp_path).paths, tmp_path) == ["images/ab/1.png"]


@pytest.mark.parametrize("text", ["{}", "[1]", "no", '{"digest": 1}'])
def test_another_programs_job_json_changes_nothing(tmp_path: Path, text: str) -> None:
    touch(tmp_path, "a/1.png", "images/2.png")
    for name in ("job.json", "align.json"):
        (tmp_path / name).write_text(text)
    assert len(list_tree(tmp_path).paths) == 2
