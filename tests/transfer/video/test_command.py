"""`glow-jax animate`: what it prints, and one line for clips that cannot be used."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glow_jax.cli.main import main
from glow_jax.io.animations import read_animation_provenance
from glow_jax.io.video_reader import frames_of, read_clip
from tests.support import photographs
from tests.support.command_line import fails
from tests.support.videos import empty_scene, scene, sound_of, write_sound, write_video


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(empty_scene()).save(path)
    return path


def words(driving: Path, photo: Path, *more: str) -> list[str]:
    target = ["--target", str(photo), "-o", str(photo.parent / "out.mp4")]
    return ["animate", "--driving", str(driving), *target, "--detector", "dlib", *more]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("text.mp4", b"not a video\n" * 9, "text.mp4: cannot be read as a video"),
        ("clip.jpg", b"\xff\xd8\xff\xe0" + bytes(40), "clip.jpg: cannot be read as a video"),
        ("empty.mp4", b"", "empty.mp4: the file is empty"),
        ("", b"", "clip.mp4: no such file or folder"),
    ],
)
def test_clips_that_are_none(
    tmp_path: Path,
    photo: Path,
    name: str,
    data: bytes,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if name:
        (tmp_path / name).write_bytes(data)
    before = sorted(tmp_path.iterdir())
    assert message in fails(capsys, words(tmp_path / (name or "clip.mp4"), photo))
    assert sorted(tmp_path.iterdir()) == before


def test_sound_only_and_an_empty_folder(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "a.m4a: sound only; a video is needed" in fails(
        capsys, words(write_sound(tmp_path / "a.m4a"), photo)
    )
    (tmp_path / "none").mkdir()
    assert "none: no images in this folder" in fails(capsys, words(tmp_path / "none", photo))
    clip = write_video(tmp_path / "a.mp4", [scene(i) for i in range(3)])
    assert "--rate is for folders" in fails(capsys, words(clip, photo, "--rate", "10"))
    assert "--source-neutral is x: use auto" in fails(
        capsys, words(clip, photo, "--source-neutral", "x")
    )
    unaligned = [
        word for word in words(clip, photo, "--no-align") if word not in ("--detector", "dlib")
    ]
    assert "--paste-back needs --align: aligned faces" in fails(
        capsys, [*unaligned, "--paste-back"]
    )
    needed = "96 wide and 64 high, but the model's 64 and 64 are needed without --align"
    assert needed in fails(capsys, unaligned)
    for rate in ("nan", "1/0", "1e-9", "-1", "1e99999"):
        assert "use a number from 0.001 to 1000" in fails(
            capsys, words(clip, photo, "--rate", rate)
        )
    (tmp_path / "out.csv").write_text("mine")
    assert "out.csv: exists; name another file, or set --overwrite" in fails(
        capsys, words(clip, photo)
    )
    assert (tmp_path / "out.csv").read_text() == "mine"


@pytest.mark.slow
def test_a_face_that_moves_drives_a_photograph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Person 29, still and then smiling, walks to the right; person 36 gets the smile."""
    frames = []
    for number in range(12):
        name, at = ("29_1", "29_2")[number >= 6], (0.35 + 0.025 * number, 0.5)
        taken = photographs.photograph(name, width=640, height=480, scale=0.9, at=at)
        frames.append(photographs.wall(640, 480) if number == 8 else taken.pixels)
    clip = write_video(tmp_path / "clip.mp4", frames, sound="aac")
    photo, out = tmp_path / "photo.png", tmp_path / "out.mp4"
    before = photographs.photograph("36_1", width=481, height=361, scale=0.8).pixels
    Image.fromarray(before).save(photo)
    command = words(clip, photo, "--paste-back", "--json", "--smooth", "0")
    assert main([*command, "--dry-run"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert (planned["frames"], planned["width"], planned["height"]) == (12, 482, 362)
    assert not out.exists()
    assert main(command) == 0
    said = capsys.readouterr()
    done = json.loads(said.out)
    assert done["held"] == [[8, 8, "no face found"]] and done["sound"] == "aac"
    assert "not read: frame 8: no face found; the last expression is held" in said.err
    assert done["model"] == "photo64" and not out.with_suffix(".mp4.work").exists()
    with out.with_suffix(".csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    smile = np.array([float(row["AU12"]) for row in rows])
    assert smile[9:].min() > 0.3 > np.abs(smile[:6]).max()
    assert smile[8] == smile[7] and [row["face"] for row in rows].index("held") == 8
    assert all(int(row["frame"]) < 6 for row in rows if row["neutral"] == "1")
    wave, rate = sound_of(out)
    assert len(wave) / rate == pytest.approx(12 / 25, abs=0.1) and np.abs(wave).max() > 0.1
    record = read_animation_provenance(out)
    assert record is not None and record.recipe["driving"] == "clip.mp4"
    assert (record.model, record.recipe["target"]) == ("photo64", "photo.png")
    made = np.stack([frame.pixels for frame in frames_of(read_clip(out))]).astype(int)
    change = np.abs(made[:, :361, :481] - before).mean((1, 2, 3))
    assert change[7:].min() > 1.2 * change[:6].max()
