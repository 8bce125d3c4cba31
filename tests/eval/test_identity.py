"""DeepFace behind its adaptor, offline: who is who, what is no face, and where weights go."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from eval.faces import dlib_file
from eval.files import read_picture
from eval.identity import METRICS, SHIPPED, IdentityModel
from glow_jax.io.errors import InputError
from tests.support.judged import FACES, face, picture
from tests.support.paths import DEMO

NAMES = ("20_0", "20_2", "20_4", "29_0", "29_1", "36_0", "36_2")
BLACK = picture(np.zeros((64, 64, 3), np.uint8))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def model(home: Path) -> IdentityModel:
    model = IdentityModel(home=home)
    model.check()
    return model


@pytest.fixture(scope="module")
def vectors(model: IdentityModel) -> dict[str, np.ndarray]:
    found = model.embed([face(name) for name in NAMES])
    assert all(e.faces == 1 and not e.problem and e.vector.shape == (128,) for e in found)
    return {name: e.vector for name, e in zip(NAMES, found, strict=True)}


def test_the_same_person_is_nearer_than_another(
    model: IdentityModel, vectors: dict[str, np.ndarray]
) -> None:
    apart = {
        (one, other): model.distance(vectors[one], vectors[other])
        for one in NAMES
        for other in NAMES
        if one < other
    }
    same = [d for (one, other), d in apart.items() if one[:2] == other[:2]]
    different = [d for (one, other), d in apart.items() if one[:2] != other[:2]]
    assert max(same) < min(different)
    assert max(same) < model.threshold


def test_faces_of_64_pixels_are_known_too(model: IdentityModel) -> None:
    shots = [("16", 0), ("16", 3), ("41", 0), ("41", 5)]
    paths = [DEMO / "people" / f"person-{who}" / f"neutral-{i}.png" for who, i in shots]
    a, b, c, d = (e.vector for e in model.embed([read_picture(p) for p in paths]))
    within = max(model.distance(a, b), model.distance(c, d))
    assert within < min(model.distance(x, y) for x in (a, b) for y in (c, d))


def test_the_metrics_are_what_they_say(home: Path) -> None:
    one, other = np.random.default_rng(0).normal(size=(2, 128))
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    by_hand = {
        "euclidean": np.linalg.norm(one - other),
        "euclidean_l2": np.sqrt(2 - 2 * cosine),
        "cosine": 1 - cosine,
        "angular": np.arccos(cosine) / np.pi,
    }
    assert set(by_hand) == set(METRICS)
    for metric, wanted in by_hand.items():
        model = IdentityModel(metric=metric, home=home)
        model.check()
        assert model.distance(one, other) == pytest.approx(wanted)
        assert 0 < model.threshold < 1.5


def test_no_face_and_two_faces_are_values(
    model: IdentityModel, vectors: dict[str, np.ndarray]
) -> None:
    two = picture(np.hstack([face("29_0").pixels, face("20_0").pixels]))
    tiny = picture(np.zeros((1, 1, 3), np.uint8))
    line = picture(np.zeros((1, 3000, 3), np.uint8))
    nobody, alone, pair, dot, long = model.embed([BLACK, face("20_0"), two, tiny, line])
    for none in (nobody, dot):
        assert (none.faces, none.vector.size, none.problem) == (0, 0, "no face found")
    assert (long.faces, long.vector.size) == (0, 0) and long.problem.startswith("DeepFace failed")
    np.testing.assert_allclose(alone.vector, vectors["20_0"], atol=1e-6)  # batched or not
    assert pair.faces == 2 and pair.vector.size == 128
    nearest = min(NAMES, key=lambda name: model.distance(pair.vector, vectors[name]))
    assert nearest[:2] in ("20", "29")


def test_the_callers_pictures_are_left_alone(model: IdentityModel) -> None:
    for pixels in (np.kron(face("20_0").pixels, np.ones((2, 2, 1), np.uint8)), BLACK.pixels):
        shot = picture(pixels.copy())
        shot.pixels.setflags(write=False)
        model.embed([shot])
        np.testing.assert_array_equal(shot.pixels, pixels)


def test_channels_go_in_blue_first(model: IdentityModel, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    deepface = model._deepface

    def represent(images: list[np.ndarray], **words: object) -> list:
        seen.extend(images)
        assert words["detector_backend"] == "dlib" and words["model_name"] == "Dlib"
        return []

    monkeypatch.setattr(deepface.DeepFace, "represent", represent)
    pixels = np.zeros((256, 256, 3), np.uint8)
    pixels[..., 0] = 200
    model.embed([picture(pixels)])
    assert seen[0][..., 2].min() == 200 and not seen[0][..., :2].any()


def test_a_picture_that_upsets_deepface_spoils_no_other(
    model: IdentityModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    deepface = model._deepface

    def represent(images: list[np.ndarray], **_: object) -> list:
        if any(not image.any() for image in images):
            raise RuntimeError("a black picture\nupsets me")
        area = {"w": 3, "h": 3}
        face = {"embedding": [1.0], "face_confidence": 1, "facial_area": area}
        bad = {"embedding": [float("nan")], "face_confidence": 1, "facial_area": area}
        faces = [[bad if image[0, 0, 0] == 7 else face] for image in images]
        return faces if len(faces) > 1 else faces[0]

    monkeypatch.setattr(deepface.DeepFace, "represent", represent)
    grey, seven = (picture(np.full((9, 9, 3), v, np.uint8)) for v in (90, 7))
    found = model.embed([grey, BLACK, seven])
    assert [e.problem for e in found] == [
        "",
        "DeepFace failed (a black picture)",
        "the embedding is not finite",
    ]


WRONG = [
    ({"model": "Nope"}, "identity model Nope: "),
    ({"model": "a\nb"}, "identity model 'a"),
    ({"detector": "nope"}, "face detector nope: "),
    ({"metric": "nope"}, "metric nope: use euclidean, euclidean_l2, cosine, angular"),
    ({"metric": ""}, "metric '': use"),
]


@pytest.mark.parametrize(("words", "said"), WRONG)
def test_unknown_names_are_said(home: Path, words: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        IdentityModel(**words, home=home).check()
    assert str(error.value).isprintable()


def test_missing_weights_are_named_with_their_place(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing is fetched by a test
    weights = home / ".deepface" / "weights"
    for words, file in (
        ({"model": "SFace"}, "face_recognition_sface_2021dec.onnx"),
        ({"detector": "yunet"}, "face_detection_yunet_2023mar.onnx"),
    ):
        with pytest.raises(InputError) as error:
            IdentityModel(**words, home=home).check()
        said = str(error.value)
        assert f"get {file} from https://" in said and f"{file} and put" in said
        assert said.endswith(f"put it at {weights / file}")
        assert said.isprintable()


def test_a_home_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file: cannot be made \("):
        IdentityModel(home=tmp_path / "file").check()


def test_weights_are_placed_whole_and_damaged_ones_again(tmp_path: Path) -> None:
    weights = tmp_path / ".deepface" / "weights"
    weights.mkdir(parents=True)
    (weights / SHIPPED[1]).write_bytes(b"cut")
    _ = IdentityModel(home=tmp_path).threshold
    assert sorted(p.name for p in weights.iterdir()) == sorted(SHIPPED)
    for name in SHIPPED:
        assert (weights / name).stat().st_size == dlib_file(name).stat().st_size


def test_nothing_is_left_in_the_users_home(tmp_path: Path) -> None:
    (tmp_path / "user").mkdir()
    (tmp_path / "work").mkdir()
    code = f"""
from pathlib import Path
from eval.identity import IdentityModel
from eval.files import read_picture
model = IdentityModel(home=Path({str(tmp_path / "home")!r}))
model.check()
(found,) = model.embed([read_picture(Path({str(FACES / "id00020_0.webp")!r}))])
assert found.faces == 1, found
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DEEPFACE", "XDG"))}
    environment |= {"HOME": str(tmp_path / "user"), "PYTHONPATH": str(FACES.parent.parent)}
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "work",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert not list((tmp_path / "user").rglob("*")) and not list((tmp_path / "work").iterdir())
    assert (tmp_path / "home" / ".deepface" / "weights" / SHIPPED[0]).is_file()
