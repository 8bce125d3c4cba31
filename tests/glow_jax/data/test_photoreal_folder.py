"""A folder of generated people survives whatever happens to its processes; TFDS reads it."""

import functools
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glow_jax.cli.main import main
from glow_jax.data.photoreal_faces import files as network_files
from glow_jax.data.photoreal_faces.labels import pose_deg
from glow_jax.data.photoreal_faces.people import Person
from glow_jax.data.photoreal_faces.shards import Summary, make_folder, read_labels
from glow_jax.data.photoreal_faces.singles import people_plan
from glow_jax.data.synthetic_faces.people import AUS
from glow_jax.io.errors import InputError
from glow_jax.io.pictures import read_image
from glow_jax.io.provenance import read_provenance
from tests.support.fake_people import NO_FACE, SMILES, draw, start_people, unable
from tests.support.paths import ROOT

N = 66  # people: three shards and a bit


def plan(people: range = range(N), sizes: tuple[int, ...] = (64, 128, 256), seed: int = 0) -> Any:
    return people_plan(people, sizes, seed)


def contents(folder: Path) -> dict[str, bytes]:
    there = (p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in there}


def made(out: Path, people: range = range(N), workers: int = 1) -> Summary:
    return make_folder(out, plan(people), start_people, workers=workers)


def copied(source: Path, to: Path) -> Path:
    for name, data in contents(source).items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_bytes(data)
    return to


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "new" / "folder"
    seen: list[tuple[int, int]] = []
    summary = make_folder(out, plan(), start_people, progress=lambda *at: seen.append(at))
    assert summary == Summary(n_pictures=N - 1, n_rejected=1, n_people_made=N)
    assert seen == [(0, N), (20, N), (40, N), (60, N), (N, N)]
    return out


def test_a_folder_holds_pictures_and_labels_at_every_size(undisturbed: Path) -> None:
    stems = [f"p{i:06d}_0" for i in range(N) if i != NO_FACE]
    expected = {f"{s}/{stem}.webp" for s in (64, 128, 256) for stem in stems}
    expected |= {f"{s}/labels.jsonl" for s in (64, 128, 256)} | {"dataset.json", "README.md"}
    expected |= {f"shards/{k:06d}.jsonl" for k in range(4)} | {"rejected.jsonl"}
    assert set(contents(undisturbed)) == expected
    for side in (64, 256):
        labels = list(read_labels(undisturbed, side, "people"))
        assert [label["file"] for label in labels] == [f"{stem}.webp" for stem in stems]
        last = labels[-1]
        pixels = draw(Person(0, N - 1)).astype(float)
        k = 512 // side
        small = pixels.reshape(side, k, side, k, 3).mean((1, 3))
        path = undisturbed / str(side) / last["file"]
        assert np.abs(read_image(path) - small).max() <= 1  # Pillow rounds after each direction
        points = np.linspace(0.2, 0.8, 136).reshape(68, 2) * side
        assert np.abs(np.array(last["landmarks"]) - points).max() < 0.011
        record = read_provenance(path)
        assert record is not None and record.source_type == "trainedAlgorithmicMedia"
        keys = ("file", "identity", "picture", "seed", "truncation", "expression")
        assert record.recipe == {key: last[key] for key in keys}
    smiler = labels[SMILES - 1]
    assert smiler["identity"] == SMILES and smiler["aus"]["AU12"] == 0.5
    assert set(smiler["aus"]) == set(AUS) and len(smiler["blendshapes"]) == 52
    (rejected,) = map(json.loads, (undisturbed / "rejected.jsonl").read_text().splitlines())
    assert (rejected["identity"], rejected["reason"]) == (NO_FACE, "no face found")
    assert "non-commercial" in (undisturbed / "README.md").read_text()


def test_two_workers_make_the_same_bytes_and_a_second_run_nothing(
    undisturbed: Path, tmp_path: Path
) -> None:
    assert made(tmp_path, workers=2).n_people_made == N
    assert contents(tmp_path) == contents(undisturbed)
    assert made(tmp_path) == Summary(N - 1, 1, 0)
    assert contents(tmp_path) == contents(undisturbed)


def test_more_people_continue_a_folder(undisturbed: Path, tmp_path: Path) -> None:
    assert made(tmp_path, range(30)).n_people_made == 30
    assert made(tmp_path).n_people_made == N - 20  # the shard of 20 to 29 was not full
    assert contents(tmp_path) == contents(undisturbed)


def test_what_a_killed_run_leaves_is_mended(undisturbed: Path, tmp_path: Path) -> None:
    out = copied(undisturbed, tmp_path / "out")
    (out / "shards" / "000001.jsonl").write_text('{"identity": 20')
    (out / "64" / "p000025_0.webp").write_bytes(b"RIFF")  # of the shard that is not done
    (out / "128" / "p000065_0.webp").unlink()
    (out / "256" / f".{'0' * 32}.tmp").write_bytes(b"half a picture")
    (out / "64" / "labels.jsonl").unlink()
    assert made(out).n_people_made == 26
    assert contents(out) == contents(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("n_done", [1, 30, 50])
def test_kill_9_ends_in_the_same_folder(n_done: int, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [sys.executable, "-m", "tests.support.fake_people", str(out), "0.05"]
    process = subprocess.Popen(words, cwd=ROOT)
    deadline = time.monotonic() + 120
    while len(list(out.glob("256/*.webp"))) < n_done and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "256" / "labels.jsonl").exists()
    time.sleep(2)  # workers end with their parent
    assert made(out).n_pictures == N - 1
    assert contents(out) == contents(undisturbed)


def test_trouble_with_workers_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot start \(No module named 'openvino'\)"):
        make_folder(tmp_path / "a", plan(range(2)), unable)
    dying = functools.partial(start_people, dies=1)
    with pytest.raises(InputError, match=r"a worker process died; .* run the same command again"):
        make_folder(tmp_path / "b", plan(range(2)), dying)


def test_a_folder_is_only_continued_from_the_same(undisturbed: Path, tmp_path: Path) -> None:
    before = contents(undisturbed)
    with pytest.raises(InputError, match=r"dataset\.json: seed is 0, but 1 in this run"):
        make_folder(undisturbed, plan(seed=1), start_people)
    with pytest.raises(InputError, match=r"sizes_px is \[64, 128, 256\], but \[64\] in this"):
        make_folder(undisturbed, plan(sizes=(64,)), start_people)
    assert contents(undisturbed) == before
    (tmp_path / "holiday.jpg").write_bytes(b"photo")
    with pytest.raises(InputError, match="holds other files; make a new folder"):
        made(tmp_path)
    for text in ("[" * 100_000, "3"):
        (tmp_path / "dataset.json").write_text(text)
        with pytest.raises(InputError, match=r"dataset\.json: (cannot be used|is not a data set)"):
            made(tmp_path)


def test_labels_of_an_unfinished_damaged_or_other_folder_are_refused(
    undisturbed: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"labels\.jsonl: cannot be read .*glow-jax generate -o"):
        list(read_labels(tmp_path, 64))
    with pytest.raises(InputError, match="holds people; pairs are needed"):
        list(read_labels(undisturbed, 64, "pairs"))
    out = copied(undisturbed, tmp_path / "out")
    (out / "64" / "labels.jsonl").write_text('{"file": "a.webp"}\n{"fil')
    with pytest.raises(InputError, match=r"labels\.jsonl: line 2 is not a picture's label"):
        list(read_labels(out, 64))


def test_a_person_is_the_same_in_any_order_and_in_one_split() -> None:
    (latent, truncation), again = Person(4, 7).draw(), Person(4, 7).draw()
    assert np.array_equal(latent, again[0]) and truncation == again[1]
    assert 0.7 <= truncation <= 1
    for other in (Person(4, 8), Person(5, 7)):
        assert abs(np.corrcoef(latent, other.draw()[0])[0, 1]) < 0.2
    splits = [Person(0, i).split for i in range(40)]
    assert splits == 2 * ["test", "validation", *["train"] * 18]


def test_pose_is_that_of_the_renders() -> None:
    from glow_jax.data.synthetic_faces.scene import _rotation

    for pose in ((20.0, 0.0, 0.0), (0.0, 10.0, 0.0), (0.0, 0.0, 5.0), (-30.0, 12.0, -8.0)):
        turned = 1.7 * _rotation(pose).T  # of columns; the landmarker's may be scaled
        assert pose_deg(turned) == pytest.approx(pose, abs=1e-9)


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:  # fmt: skip # noqa: E501
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["generate", "-o", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "openvino is not installed: " in message and "'.[photoreal]' in a clone" in message
    assert message.count("\n") == 1 and not (tmp_path / "out").exists()
    monkeypatch.setattr(network_files, "package_folder", lambda package: tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "MappingNetwork.xml").write_bytes(b"<net/>")
    with pytest.raises(InputError, match=r"MappingNetwork\.xml: its SHA-256 starts with .*73e2096"):
        network_files.network_file("mapping")


@pytest.mark.parametrize("people", ["5", "5:5", "9:3", "-1:3", "a:b", "0:9999999", "٣:٩"])
def test_people_are_a_range(people: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["generate", "-o", "x", f"--people={people}"])
    assert "use FROM:TO, such as 0:100" in capsys.readouterr().err
