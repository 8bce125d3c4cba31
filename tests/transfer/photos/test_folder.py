"""Folders of photographs to folders of crops: `glow-jax align`."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from glow_jax.cli.main import main
from glow_jax.io.errors import InputError
from glow_jax.io.landmarks68 import crop_transform
from glow_jax.io.pictures import read_image, write_image
from glow_jax.io.provenance import Provenance, read_provenance
from tests.support import photographs
from tests.support.photographs import face_of
from transfer.photos.aligned_faces import AlignedFaces, Photographs
from transfer.photos.crop import crop, inverse, side_of, transform_points
from transfer.photos.folder import Summary, align_folder
from transfer.photos.listing import list_photographs
from transfer.photos.sheet import Tile, align_sheet

SETTINGS = Photographs(64)


def save(pixels: np.ndarray, path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people, and a folder of what goes wrong."""
    root = tmp_path_factory.mktemp("album")
    for person in ("29", "36"):
        for n in range(3):
            taken = photographs.photograph(f"{person}_{n}", width=900, height=700, scale=1.3)
            save(taken.pixels, root / f"person-{person}" / f"{n}.jpg", quality=95)
    save(photographs.wall(300, 200), root / "odd" / "wall.png")
    (root / "odd" / "broken.jpg").write_bytes(b"\xff\xd8\xff junk")
    (root / "odd" / "film.mov").write_bytes(b"x")
    small = photographs.photograph("36_1", width=500, height=400, scale=0.25)
    save(small.pixels, root / "odd" / "small.png")
    return root


def truth(pixels: np.ndarray) -> list:
    """A detector that knows the head of `photograph()`'s default place, if the middle has one."""
    height, width = pixels.shape[:2]
    if (height, width) != (700, 900):
        return []
    marks = np.array(photographs.labels()["36_1"]["landmarks"]) * 1.3
    return [face_of(marks - marks[30] + (width / 2, height / 2))]


def run(paths: list[Path], out: Path, **options: Any) -> Summary:
    found, _ = list_photographs(paths, out)
    return align_folder(found, out, options.pop("settings", SETTINGS), truth, **options)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# -- the command


def test_the_command(album: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    assert main(["align", str(album), "-o", str(out), "--size", "64"]) == 1
    printed = capsys.readouterr()
    assert "9 photographs" not in printed.out
    assert "8 photographs aligned; already there: 0; in all 6 crops of 2 people" in printed.out
    assert "3 could not be used" in printed.out
    assert "left out 1 file that is not PNG, JPEG, WebP" in printed.err
    reasons = {Path(r["photograph"]).name: r["reason"] for r in rows_of(out / "failures.csv")}
    assert reasons["wall.png"] == "no face found"
    assert reasons["small.png"].startswith("the face is too small: its crop is 5")
    assert reasons["broken.jpg"].startswith("damaged or truncated")
    rows = rows_of(out / "align.csv")
    assert [r["person"] for r in rows] == ["person-29"] * 3 + ["person-36"] * 3
    for row in rows:
        file = out / row["file"]
        assert file.parent == out / "faces" / row["person"]
        assert read_image(file).shape == (64, 64, 3)
        name = f"{row['person'][-2:]}_{row['photograph'][-5]}"
        taken = photographs.photograph(name, width=900, height=700, scale=1.3)
        matrix = np.array([float(row[k]) for k in ("xx", "xy", "x0", "yx", "yy", "y0")])
        true = crop_transform(taken.landmarks)
        centre = transform_points(np.array([[0.5, 0.5]]), inverse(true))
        np.testing.assert_allclose(
            transform_points(centre, matrix.reshape(2, 3)), [[32, 32]], atol=1
        )
        assert abs(np.log(side_of(true) / float(row["side_px"]))) < 0.08
        assert abs(float(row["yaw_deg"]) - photographs.labels()[name]["pose_deg"][0]) < 8
        assert float(row["sharpness"]) > 0.9 and row["bits_per_dim"] == ""
    # Picture 2 of both is a smile.
    assert [r["neutral_rank"] for r in rows if r["photograph"].endswith("2.jpg")] == ["3", "3"]
    lines = [json.loads(line) for line in (out / "landmarks.jsonl").read_text().splitlines()]
    assert [line["file"] for line in lines] == [row["file"] for row in rows]
    assert all(np.shape(line["landmarks"]) == (68, 2) for line in lines)
    assert read_image(out / "sheet.png").shape[1] >= 560
    record = read_provenance(out / rows[0]["file"])
    assert record is not None and record.source_type == "algorithmicallyEnhanced"
    assert record.recipe["photograph"] == "0.jpg" and len(record.recipe["sha256"]) == 64


def test_a_model_gives_the_size_and_the_likelihood(album: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    assert main(["align", f"{album}/person-36/1.jpg", "-o", str(out), "--no-rank"]) == 0
    printed = capsys.readouterr()
    (row,) = rows_of(out / "align.csv")
    assert row["person"] == "" and row["file"].startswith("faces/1_")
    bits = float(row["bits_per_dim"])
    assert 0.3 < bits < 2
    assert row["far"] == ("1" if "unlikely under the model" in printed.err else "0")
    noise = np.random.default_rng(0).integers(-30, 31, (140, 180, 3)).repeat(5, 0).repeat(5, 1)
    taken = photographs.photograph("36_1", width=900, height=700, scale=1.3)
    noisy = save((taken.pixels + noise).clip(0, 255).astype(np.uint8), tmp_path / "noisy.png")
    out = tmp_path / "far"
    assert main(["align", str(noisy), "-o", str(out), "--no-rank"]) == 0
    said = capsys.readouterr().err
    assert "unlikely under the model: 1 of 1 picture;" in said
    assert "99.9 % of the model's held-out pictures are below 2.1" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--size", "64", "--face", "0"], "use largest, all, or a number"),
        (["--size", "8"], "use a whole number from 16 to 4096"),
        (["--size", "64", "--max-yaw", "x"], "use a number from"),
        (["--size", "64", "--model", "faces64"], "not allowed with"),
        (["--model", "nowhere"], "no such model"),
    ],
)
def test_wrong_words(album: Path, tmp_path: Path, capsys, words: list[str], said: str) -> None:
    try:
        code = main(["align", str(album), "-o", f"{tmp_path}/out", *words])
    except SystemExit as exit_:
        code = exit_.code
    assert code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_wrong_folders(album: Path, tmp_path: Path, capsys) -> None:
    def fails(words: list[str]) -> str:
        assert main(["align", *words, "--size", "64"]) == 2
        return capsys.readouterr().err.splitlines()[-1]

    out = str(tmp_path / "out")
    assert "no such file or folder" in fails([f"{album}/nobody", "-o", out])
    (tmp_path / "empty").mkdir()
    assert "no photographs; accepted: .png" in fails([f"{tmp_path}/empty", "-o", out])
    assert "holds other files" in fails([str(album), "-o", str(album)])
    file = str(album / "odd" / "wall.png")
    assert "wall.png: is not a folder" in fails([str(album), "-o", file])


# -- people


def test_folders_are_people(tmp_path: Path) -> None:
    for file in ("a/1.png", "a/10.png", "a/2.PNG", "a/.hidden.png", "c/ann/1.jpg", "c/ben/x/1.jpg"):
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "a/notes.txt").write_bytes(b"")
    (tmp_path / "a/README").write_bytes(b"")
    found, others = list_photographs([tmp_path / "a", tmp_path / "c", tmp_path / "c/ann/1.jpg"])
    told = [(p.path.relative_to(tmp_path).as_posix(), p.person) for p in found]
    assert told == [
        ("a/1.png", "a"),
        ("a/2.PNG", "a"),
        ("a/10.png", "a"),
        ("c/ann/1.jpg", "ann"),
        ("c/ben/x/1.jpg", "ben/x"),
        ("c/ann/1.jpg", ""),
    ]
    assert others.startswith("left out 2 files that are not PNG")
    assert others.endswith("(.txt 1, no suffix 1)")
    assert list_photographs([tmp_path / "c"], tmp_path / "c/ben")[0] == [found[3]]
    (tmp_path / "b/a").mkdir(parents=True)
    (tmp_path / "b/a/1.png").write_bytes(b"")
    with pytest.raises(InputError, match="would both be person 'a'; rename one"):
        list_photographs([tmp_path / "a", tmp_path / "b"])


def test_two_files_of_the_same_bytes_are_one_crop_and_named(tmp_path: Path) -> None:
    taken = photographs.photograph("36_1", width=900, height=700, scale=1.3)
    file = save(taken.pixels, tmp_path / "ann" / "1.jpg")
    (tmp_path / "ann" / "1.jpeg").write_bytes(file.read_bytes())
    for made in (1, 0):
        found = run([tmp_path / "ann"], tmp_path / "out")
        assert (found.made, found.kept) == (made, 1 - made)
        assert [len(crops) for crops in found.people.values()] == [1]
        assert [f.reason for f in found.failures] == [
            "the same file as another one of this person; it is aligned once"
        ]


def test_a_crop_whose_likelihood_is_not_a_number_is_far(tmp_path: Path) -> None:
    taken = photographs.photograph("36_1", width=900, height=700, scale=1.3)
    save(taken.pixels, tmp_path / "ann" / "1.png")
    for bits, far in ((0.5, False), (np.nan, True)):
        of_all = {"bits": lambda x, bits=bits: np.full(len(x), bits), "far_bits": 0.9}
        found = run([tmp_path / "ann"], tmp_path / "out", **of_all)
        assert [crop.far for crop in found.people["ann"]] == [far]


# -- what happens again


def snapshot(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def test_a_second_run_makes_nothing_anew(album: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run([album], out, workers=2)
    assert (first.made, first.kept) == (8, 0)
    before = snapshot(out)
    second = run([album], out)
    assert (second.made, second.kept) == (0, 8)
    assert snapshot(out) == before
    # What is lost is made again, to the same bytes.
    victim = next((out / "faces").rglob("*.png"))
    victim.unlink()
    next((out / "records").rglob("wall*.json")).write_text("{")
    assert run([album], out).made == 2
    assert snapshot(out) == before


def test_another_run_adds_and_an_edited_photograph_replaces(album: Path, tmp_path: Path) -> None:
    mine, out = shutil.copytree(album, tmp_path / "mine"), tmp_path / "out"
    one = run([mine / "person-29"], out)
    assert list(one.people) == ["person-29"]
    both = run([mine / "person-36"], out)
    assert {name: len(crops) for name, crops in both.people.items()} == {
        "person-29": 3,
        "person-36": 3,
    }
    pixels = read_image(mine / "person-36/0.jpg")
    save(255 - pixels, mine / "person-36/0.jpg", quality=95)
    after = run([mine / "person-36"], out)
    assert (after.made, after.kept) == (1, 2)
    files = sorted(p.name for p in (out / "faces/person-36").iterdir())
    assert len(files) == 3
    (edited,) = [c for c in after.people["person-36"] if c.row["photograph"].endswith("0.jpg")]
    transform = crop_transform(truth(pixels)[0].landmarks)
    edited_pixels = read_image(mine / "person-36/0.jpg")
    np.testing.assert_array_equal(read_image(out / edited.file), crop(edited_pixels, transform, 64))
    # A photograph that was moved is not another one.
    (mine / "person-36").rename(mine / "elsewhere")
    (mine / "person-36").mkdir()
    for name in ("0.jpg", "1.jpg", "2.jpg"):
        shutil.move(mine / "elsewhere" / name, mine / "person-36" / name)
    assert run([mine / "person-36"], out).made == 0


def test_other_settings_need_another_folder(album: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run([album / "person-36"], out)
    with pytest.raises(InputError, match="made with other settings"):
        run([album / "person-36"], out, settings=Photographs(128))


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_killed_anywhere_it_ends_with_the_same_files(album: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "killed"
    words = ["align", str(album), "--size", "64", "--no-rank", "--workers", "1"]
    assert main([*words, "-o", str(whole)]) == 1
    command = [sys.executable, "-m", "glow_jax.cli", *words, "-o", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    for _ in range(600):
        if len(list(out.glob("records/*/*.json"))) >= 2 or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "align.csv").exists()
    assert main([*words, "-o", str(out)]) == 1
    left = {name: data for name, data in snapshot(out).items() if not name.endswith(".tmp")}
    assert left == snapshot(whole)


# -- what photographs are


@pytest.mark.parametrize("kind", ["exif", "cmyk", "grey16", "webp", "alpha", "profile"])
def test_every_kind_of_photograph(tmp_path: Path, kind: str) -> None:
    taken = photographs.photograph("36_1", width=900, height=700, scale=1.3)
    image = Image.fromarray(taken.pixels)
    path = tmp_path / "photo.jpg"
    if kind == "exif":
        exif = Image.Exif()
        exif[0x112] = 6
        image.rotate(90, expand=True).save(path, quality=95, exif=exif)
    elif kind == "cmyk":
        image.convert("CMYK").save(path, quality=95)
    elif kind == "grey16":
        path = tmp_path / "photo.png"
        Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(path)
    elif kind == "webp":
        path = tmp_path / "photo.webp"
        image.save(path, quality=95)
    elif kind == "alpha":
        path = tmp_path / "photo.png"
        image.putalpha(255)
        image.save(path)
    else:
        from PIL import ImageCms

        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        image.save(path, quality=95, icc_profile=srgb)
    summary = run([path], tmp_path / "out")
    assert not summary.failures
    ((made,),) = summary.people.values()
    got = read_image(tmp_path / "out" / made.file).astype(float)
    wanted = crop(taken.pixels, crop_transform(taken.landmarks), 64).astype(float)
    if kind == "grey16":
        wanted = np.repeat((wanted @ (0.299, 0.587, 0.114))[..., None], 3, axis=2)
    assert np.abs(got - wanted).mean() < 2


def test_animated_is_one_line(tmp_path: Path) -> None:
    frame = Image.fromarray(photographs.wall(90, 70))
    other = Image.fromarray(255 - photographs.wall(90, 70))
    frame.save(tmp_path / "a.webp", save_all=True, append_images=[other])
    summary = run([tmp_path / "a.webp"], tmp_path / "out")
    (failure,) = summary.failures
    assert failure.reason == "animated images are not accepted; save one frame"


def test_a_generated_photograph_stays_generated(tmp_path: Path) -> None:
    taken = photographs.photograph("36_1", width=900, height=700, scale=1.3)
    made = Provenance("trainedAlgorithmicMedia", "somebody's", {})
    write_image(tmp_path / "a.png", taken.pixels, made)
    ((one,),) = run([tmp_path / "a.png"], tmp_path / "out").people.values()
    record = read_provenance(tmp_path / "out" / one.file)
    assert record is not None and record.source_type == "trainedAlgorithmicMedia"
    assert record.recipe["photograph_source_type"] == "trainedAlgorithmicMedia"


def test_a_detector_that_fails_is_not_fatal(album: Path, tmp_path: Path) -> None:
    def unhappy(pixels: np.ndarray) -> list:
        raise ValueError("DeepFace failed (CUDA)")

    found, _ = list_photographs([album / "person-36"])
    summary = align_folder(found, tmp_path / "out", SETTINGS, unhappy)
    assert [f.reason for f in summary.failures] == ["ValueError: DeepFace failed (CUDA)"] * 3
    assert align_folder(found, tmp_path / "out", SETTINGS, truth).made == 3  # tried again


def test_all_faces_of_a_group(tmp_path: Path) -> None:
    taken = photographs.photograph("29_1", width=1400, height=700, scale=1.1, at=(0.25, 0.5))
    one = face_of(taken.landmarks)
    taken = photographs.add(taken, "36_1", 1.3, 0, (0.75, 0.5))
    faces = [face_of(taken.landmarks), one]
    save(taken.pixels, tmp_path / "group.png")
    found, _ = list_photographs([tmp_path / "group.png"])
    settings = Photographs(64, "all")
    summary = align_folder(found, tmp_path / "out", settings, lambda pixels: faces)
    crops = summary.people[""]
    assert [c.row["face"] for c in crops] == [1, 2]
    assert [c.file[-6:] for c in crops] == ["_1.png", "_2.png"]
    matrix = np.array([float(crops[1].row[k]) for k in ("xx", "xy", "x0", "yx", "yy", "y0")])
    np.testing.assert_allclose(
        matrix.reshape(2, 3), 64 * crop_transform(taken.landmarks), rtol=1e-6
    )


# -- the reader of a job


def test_the_reader(album: Path) -> None:
    reader = AlignedFaces(truth, SETTINGS)
    path = str(album / "person-36" / "1.jpg")
    pixels = reader(path)
    assert pixels.shape == (64, 64, 3) and pixels.dtype == np.uint8
    face = reader.face(path)
    np.testing.assert_array_equal(crop(read_image(path), face.transform, 64), pixels)
    assert reader.face(path) is face  # remembered
    grey = AlignedFaces(truth, SETTINGS, channels=1)(path)
    assert grey.shape == (64, 64, 1)
    with pytest.raises(InputError, match=r"wall\.png: no face found"):
        reader(str(album / "odd" / "wall.png"))
    with pytest.raises(InputError, match=r"broken\.jpg: damaged"):
        reader(str(album / "odd" / "broken.jpg"))
    with pytest.raises(InputError, match="one face of each photograph"):
        AlignedFaces(truth, Photographs(64, "all"))


# -- the sheet


def test_the_sheet_shows_some_of_very_many() -> None:
    asked: list[str] = []

    def read(file: str) -> np.ndarray:
        asked.append(file)
        return np.full((16, 16, 3), 99, np.uint8)

    tiles = [Tile(f"{i}.png", ("name", "yaw"), i == 0) for i in range(2000)]
    people = {"ann": tiles, "bob": tiles[:2]}
    sheet = align_sheet(people, [f"photo {i}: no face found" for i in range(100)], read)
    assert len(asked) < 500 and sheet.shape[0] < 9000
    assert (sheet == 99).all(-1).sum() >= 128 * 128 * 100
    assert align_sheet({}, ["a: no face found"], read).shape[1] >= 560
