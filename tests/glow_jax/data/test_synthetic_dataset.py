"""The rendered folder survives whatever happens to its processes; TFDS reads it without TF."""

import argparse
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

from glow_jax.data.synthetic_faces.cli import render
from glow_jax.data.synthetic_faces.dataset import Summary, read_labels, render_dataset
from glow_jax.data.synthetic_faces.people import AUS
from glow_jax.io.errors import InputError
from glow_jax.io.pictures import read_image
from glow_jax.io.provenance import read_provenance
from tests.support.fake_render import FACTS, draw, faulty, maker, pictures, unable
from tests.support.paths import ROOT

SPECS = pictures()


def files(folder: Path) -> dict[str, bytes]:
    there = (p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in there}


def rendered(out: Path, workers: int = 2, **how: Any) -> Summary:
    return render_dataset(out, SPECS, maker(**how), FACTS, workers=workers)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "new" / "folder"
    seen: list[tuple[int, int]] = []
    summary = render_dataset(
        out, SPECS, maker(), FACTS, workers=1, progress=lambda *at: seen.append(at)
    )
    assert summary == Summary(18, 18, ())
    assert seen == [(n, 18) for n in range(0, 19, 3)]
    return out


def test_a_folder_holds_pictures_masks_and_labels(undisturbed: Path) -> None:
    stems = [spec.name for spec in SPECS]
    expected = {f"{s}.webp" for s in stems} | {f"masks/{s}.png" for s in stems}
    assert set(files(undisturbed)) == expected | {"labels.jsonl", "dataset.json"}
    labels = list(read_labels(undisturbed))
    assert [label["file"] for label in labels] == [f"{s}.webp" for s in stems]
    for spec, label in zip(SPECS, labels, strict=True):
        made = draw(spec)
        path = undisturbed / label["file"]
        assert np.array_equal(read_image(path), made.image)
        mask = read_image(undisturbed / "masks" / f"{spec.name}.png", channels=1)
        assert np.array_equal(mask[..., 0], made.mask)
        assert np.abs(np.array(label["landmarks"]) - made.landmarks).max() <= 0.005001
        known = {k: v for k, v in label.items() if k not in ("file", "landmarks")}
        assert known == json.loads(json.dumps(spec.label()))
        record = read_provenance(path)
        assert record is not None and record.source_type == "algorithmicMedia"
        assert record.recipe == label
    facts = json.loads((undisturbed / "dataset.json").read_text())
    assert facts["count"] == 18 and facts["versions"] == {"mitsuba": "0"}


def test_two_workers_make_the_same_bytes_and_a_second_run_nothing(
    undisturbed: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    assert rendered(tmp_path / "out", log=log).n_rendered == 18
    assert files(tmp_path / "out") == files(undisturbed)
    assert rendered(tmp_path / "out", log=log) == Summary(18, 0, ())
    assert files(tmp_path / "out") == files(undisturbed)
    assert sorted(log.read_text().split()) == sorted(spec.name for spec in SPECS)


@pytest.mark.slow
@pytest.mark.parametrize("n_done", [1, 8, 17])
def test_kill_9_loses_only_pictures_in_flight(
    n_done: int, undisturbed: Path, tmp_path: Path
) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    words = [sys.executable, "-m", "tests.support.fake_render", str(out), str(log), "0.15"]
    process = subprocess.Popen(words, cwd=ROOT)
    deadline = time.monotonic() + 120
    while len(list(out.glob("*.webp"))) < n_done and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "labels.jsonl").exists()
    wait_until_silent(log)
    (out / f".{'0' * 32}.tmp").write_bytes(b"half a picture")
    done = {path.stem for path in out.glob("*.webp")}
    before = log.read_text().split()
    assert rendered(out, log=log).n_rendered == 18 - len(done)
    again = log.read_text().split()[len(before) :]
    assert not done & set(again)
    assert len(set(before) & set(again)) <= 2  # one a worker
    assert files(out) == files(undisturbed)


def wait_until_silent(log: Path) -> None:
    """Workers end with their parent: what they render does not grow."""
    for _ in range(100):
        size = log.stat().st_size
        time.sleep(0.6)
        if log.stat().st_size == size:
            return
    raise AssertionError("the workers outlive their parent")


@pytest.mark.slow
def test_a_worker_that_dies_is_tried_again(undisturbed: Path, tmp_path: Path) -> None:
    name = SPECS[7].name
    summary = rendered(tmp_path / "out", log=tmp_path / "log", dies_once=(name,))
    assert summary == Summary(18, 18, ())
    assert files(tmp_path / "out") == files(undisturbed)
    assert (tmp_path / "log").read_text().split().count(name) == 2


@pytest.mark.slow
def test_pictures_that_fail_are_recorded_and_tried_by_the_next_run(
    undisturbed: Path, tmp_path: Path
) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    deadly, bad, odd = SPECS[4].name, SPECS[6].name, SPECS[17].name
    summary = rendered(out, log=log, dies=(deadly,), raises=(bad,), odd=(odd,))
    reasons = {failure.name: failure.reason for failure in summary.failures}
    assert reasons == {
        deadly: "its worker process died, twice",
        bad: f"FloatingPointError: no light reaches {bad}",
        odd: "ValueError: the mask is uint8 (63, 64); uint8 (64, 64) needed",
    }
    assert summary.n_rendered == 15 and len(list(read_labels(out))) == 15
    assert log.read_text().split().count(deadly) == 2
    lines = (out / "failures.jsonl").read_text().splitlines()
    assert {json.loads(line)["name"] for line in lines} == set(reasons)
    assert rendered(out) == Summary(18, 3, ())
    assert files(out) == files(undisturbed)


@pytest.mark.slow
def test_workers_that_always_die_end_the_run(tmp_path: Path) -> None:
    names = tuple(spec.name for spec in SPECS)
    with pytest.raises(InputError, match=r"5 pictures in a row killed their worker .*memory"):
        rendered(tmp_path / "out", workers=1, dies=names)


def test_a_renderer_that_cannot_start_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot start \(No module named 'mitsuba'\)"):
        render_dataset(tmp_path / "out", SPECS[:1], unable, FACTS)


def test_damaged_and_missing_files_are_rendered_again(undisturbed: Path, tmp_path: Path) -> None:
    for name, data in files(undisturbed).items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    (tmp_path / f"{SPECS[0].name}.webp").write_bytes(b"RIFF")
    (tmp_path / f"{SPECS[5].name}.webp").unlink()
    (tmp_path / "masks" / f"{SPECS[9].name}.png").unlink()
    other = tmp_path / f"{SPECS[11].name}.webp"
    other.write_bytes((tmp_path / f"{SPECS[12].name}.webp").read_bytes())
    assert rendered(tmp_path, workers=1).n_rendered == 4
    assert files(tmp_path) == files(undisturbed)


@pytest.mark.parametrize(
    ("facts", "specs", "message"),
    [
        ({"versions": {"mitsuba": "9"}}, SPECS, "versions.mitsuba is 0, but 9 in this run"),
        ({"facekit": "cd"}, SPECS, "facekit is ab, but cd"),
        ({"config": {"seed": 3}}, SPECS, "config.people is 98:104, but null"),
        ({}, SPECS[:9], "count is 18, but 9"),
        ({}, pictures(size_px=128)[::-1], "specs is "),
    ],
)
def test_a_folder_is_only_continued_from_the_same(
    facts: dict[str, Any], specs: list[Any], message: str, undisturbed: Path
) -> None:
    before = files(undisturbed)
    with pytest.raises(InputError, match=f"dataset.json: {message}.*continue with the same"):
        render_dataset(undisturbed, specs, maker(), {**FACTS, **facts})
    with pytest.raises(InputError, match=r"dataset\.json: format is webp, but png"):
        render_dataset(undisturbed, SPECS, maker(), FACTS, format="png")
    assert files(undisturbed) == before


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"photo")
    with pytest.raises(InputError, match="holds other files; render into a new folder"):
        rendered(tmp_path)
    assert files(tmp_path) == {"holiday.jpg": b"photo"}
    (tmp_path / "dataset.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"dataset\.json: cannot be used"):
        rendered(tmp_path)
    (tmp_path / "dataset.json").write_text("3")
    with pytest.raises(InputError, match=r"dataset\.json: it is 3, but"):
        rendered(tmp_path)


def test_names_must_be_unique_file_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 pictures are named id00098_0"):
        render_dataset(tmp_path, [*SPECS, SPECS[0]], maker(), FACTS)
    with pytest.raises(InputError, match="no pictures to render"):
        render_dataset(tmp_path, [], maker(), FACTS)


def test_labels_that_an_editor_saved_again(tmp_path: Path) -> None:
    text = '{"file": "a.webp"}\r\n\r\n{"file": "b\u2028.webp"}\r\n\r\n'
    (tmp_path / "labels.jsonl").write_bytes(text.encode("utf-8-sig"))
    assert [label["file"] for label in read_labels(tmp_path)] == ["a.webp", "b\u2028.webp"]


def test_labels_of_an_unfinished_or_damaged_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"labels\.jsonl: cannot be read .*when all pictures are rendered"
    ):
        list(read_labels(tmp_path))
    (tmp_path / "labels.jsonl").write_text('{"file": "a.webp"}\n{"fil')
    with pytest.raises(InputError, match=r"labels\.jsonl: line 2 is not a picture's label"):
        list(read_labels(tmp_path))


# TFDS.

WANTED = {"train": {150, 151}, "validation": {149}, "test": {98, 99}}


@pytest.fixture(scope="module")
def split_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    people = [s for s in pictures(range(98, 152)) if any(s.identity in p for p in WANTED.values())]
    out = tmp_path_factory.mktemp("split") / "out"
    render_dataset(out, people, maker(), FACTS)
    return out


def test_tfds_splits_by_identity_and_keeps_every_label(split_folder: Path, tmp_path: Path) -> None:
    tfds = pytest.importorskip("tensorflow_datasets")
    builder = pytest.importorskip("glow_jax.data.synthetic_faces.builder")
    made = builder.prepare(split_folder, 64, tmp_path)
    assert set(made.info.splits) == set(WANTED)
    labels = {label["file"]: label for label in read_labels(split_folder)}
    specs = {f"{s.name}.webp": s for s in pictures(range(98, 152))}
    seen = []
    for split, people in WANTED.items():
        source = tfds.data_source("synthetic_faces/64", split=split, data_dir=tmp_path)
        assert len(source) == 3 * len(people)
        assert {int(e["identity"]) for e in source} == people
        for index in reversed(range(len(source))):  # in any order
            example = source[index]
            name = example["file"].decode()
            seen.append(name)
            check_example(example, labels[name], draw(specs[name]))
    assert sorted(seen) == sorted(labels)
    assert "tensorflow" not in sys.modules or not hasattr(sys.modules["tensorflow"], "Tensor")


def check_example(example: dict[str, Any], label: dict[str, Any], made: Any) -> None:
    assert np.array_equal(example["image"], made.image)
    assert np.array_equal(example["mask"][..., 0], made.mask)
    aus = {au: float(v) for au, v in zip(AUS, example["aus"], strict=True) if v}
    assert aus == pytest.approx(label["aus"], abs=1e-6)
    for name in ("landmarks", "pose_deg", "gaze", "distance_cm"):
        assert np.allclose(example[name], label[name], rtol=1e-6), name
    for name, value in label["light"].items():
        assert np.allclose(example["light"][name], value, rtol=1e-6), name
    for name in ("identity", "seed", "condition"):
        assert int(example[name]) == label[name]
    for name in ("expression", "picture", "crop"):
        assert example[name].decode() == label[name]


def test_tfds_names_what_is_wrong(split_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow_datasets")
    builder = pytest.importorskip("glow_jax.data.synthetic_faces.builder")
    with pytest.raises(InputError, match="size 65: synthetic_faces has 64, 128, 256"):
        builder.prepare(split_folder, 65, tmp_path)
    with pytest.raises(InputError, match="64 wide and 64 high, but 128 wide"):
        builder.prepare(split_folder, 128, tmp_path)
    with pytest.raises(
        InputError, match=r"labels\.jsonl: cannot be read .*when all pictures are rendered"
    ):
        builder.prepare(tmp_path, 64, tmp_path)
    with pytest.raises(
        InputError, match="nothing is rendered yet: render 5 pictures each .* into synth"
    ):
        builder.builder_class()(config="64", data_dir=tmp_path).download_and_prepare()


@pytest.mark.parametrize("identity", [0, 99, 100, 149, 150, 7000])
def test_splits_are_by_identity(identity: int) -> None:
    builder = pytest.importorskip("glow_jax.data.synthetic_faces.builder")
    expected = "test" if identity < 100 else "validation" if identity < 150 else "train"
    assert builder.split_of(identity) == expected


# The command line.


def run_render(*words: str) -> int:
    parser = argparse.ArgumentParser()
    render.add_options(parser)
    args = parser.parse_args(words)
    return args.run(args)


@pytest.mark.parametrize("people", ["5", "5:5", "9:3", "-1:3", "a:b", "0:9999999", "٣:٩"])
def test_people_are_a_range(people: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_render("-o", "x", f"--people={people}")
    assert "use FROM:TO, such as 0:100" in capsys.readouterr().err


def test_render_says_where_facekit_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLOW_JAX_FACEKIT", raising=False)
    with pytest.raises(InputError, match="give `facekit` or set GLOW_JAX_FACEKIT"):
        run_render("-o", "x")


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.skipif("GLOW_JAX_FACEKIT" not in os.environ, reason="set GLOW_JAX_FACEKIT")
def test_render_with_mitsuba(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mitsuba")
    words = ("--people", "0:2", "--pictures", "2", "--size", "64")
    assert run_render("-o", str(tmp_path / "one"), *words, "--workers", "1") == 0
    assert run_render("-o", str(tmp_path / "two"), *words, "--workers", "2") == 0
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert "4 pictures rendered; already there: 0" in capsys.readouterr().out
    assert len(list(read_labels(tmp_path / "one"))) == 4


def test_the_fake_is_what_the_writer_expects() -> None:
    from glow_jax.data.synthetic_faces.dataset import Rendered, Spec

    assert isinstance(SPECS[0], Spec) and isinstance(faulty()(SPECS[0]), Rendered)
