"""All faces of photographs: dlib's, and those of DeepFace's detectors."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from eval import detectors, faces
from eval.faces import find_faces
from glow_jax.io.errors import InputError
from glow_jax.io.landmarks68 import crop_transform
from glow_jax.io.pictures import read_image
from tests.support import photographs
from tests.support.paths import ROOT
from transfer.photos.crop import inverse, side_of, transform_points

PEOPLE = ROOT / "transfer" / "demo" / "photographs"


def errors(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Of the aligned square: right, down and growth, in shares of its side."""
    one, other = crop_transform(found), crop_transform(true)
    centre = transform_points(np.array([[0.5, 0.5]]), inverse(one))
    shift = transform_points(centre, other)[0] - 0.5
    return np.array([*shift, np.log(side_of(one) / side_of(other))])


@pytest.mark.parametrize(
    ("name", "width", "height", "scale", "turn_deg"),
    [
        ("36_1", 4000, 3000, 6.0, 0),
        ("36_2", 3000, 4000, 2.0, -12),
        ("29_1", 1200, 900, 1.5, 15),
        ("29_3", 640, 480, 0.6, 0),
    ],
)
def test_a_face_is_found_to_a_hundredth_of_its_crop(
    name: str, width: int, height: int, scale: float, turn_deg: float
) -> None:
    taken = photographs.photograph(
        name, width=width, height=height, scale=scale, turn_deg=turn_deg, at=(0.45, 0.55)
    )
    (face,) = find_faces(taken.pixels)
    off = np.abs(errors(face.landmarks, taken.landmarks))
    assert (off < (0.01, 0.015, 0.08)).all(), off
    left, top, right, bottom = face.box
    inner = taken.landmarks[27:]
    assert ((inner > (left, top)) & (inner < (right, bottom))).all()


def test_all_faces_are_found() -> None:
    taken = photographs.photograph("29_1", width=2000, height=1200, scale=1.2, at=(0.25, 0.5))
    taken = photographs.add(taken, "36_1", 1.6, 0, (0.7, 0.5))
    found = sorted(find_faces(taken.pixels), key=lambda f: f.box[0])
    assert len(found) == 2
    assert np.abs(errors(found[1].landmarks, taken.landmarks)).max() < 0.06


def test_where_there_is_no_face_none_is_found() -> None:
    assert find_faces(photographs.wall(500, 400)) == []
    for shape in ((3, 900), (1, 3000), (3000, 1)):
        assert find_faces(np.zeros((*shape, 3), np.uint8)) == []


def test_the_network_looks_closer_at_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the quick detector is blind."""

    class Blind:
        def __call__(self, picture: np.ndarray, upsampled: int) -> list:
            return []

        def run(self, picture: np.ndarray, upsampled: int, threshold: float) -> tuple:
            return [], [], []

    monkeypatch.setattr(faces, "_own", lambda name, make: make())
    monkeypatch.setattr(faces, "_detector", Blind)
    taken = photographs.photograph("36_1", width=1200, height=900, scale=1.4)
    (face,) = find_faces(taken.pixels)
    assert np.abs(errors(face.landmarks, taken.landmarks)).max() < 0.06


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_photograph_has_the_landmarks_of_the_upright_one(turns: int) -> None:
    photograph = read_image(sorted(PEOPLE.rglob("*.jpg"))[0])
    (upright,) = find_faces(photograph)
    (turned,) = find_faces(np.ascontiguousarray(np.rot90(photograph, turns)))
    height, width = photograph.shape[:2]

    def back(points: np.ndarray) -> np.ndarray:
        x, y = points.T
        return np.stack(
            {1: (width - y, x), 2: (width - x, height - y), 3: (y, height - x)}[turns], -1
        )

    np.testing.assert_allclose(back(turned.landmarks), upright.landmarks, atol=1e-6)
    corners = back(np.reshape(turned.box, (2, 2)))
    np.testing.assert_allclose((*corners.min(0), *corners.max(0)), upright.box, atol=1e-6)


def test_threads_do_not_disturb_each_other() -> None:
    """dlib's detectors keep what they look at in themselves, and let other threads run."""
    taken = [
        photographs.photograph("36_1", width=900, height=600, scale=0.9, at=(x, 0.5)).pixels
        for x in (0.25, 0.4, 0.6, 0.75)
    ]
    alone = [find_faces(pixels)[0] for pixels in taken]
    with ThreadPoolExecutor(4) as pool:
        for again in range(3):
            for found, one in zip(pool.map(find_faces, taken), alone, strict=True):
                assert [f.box for f in found] == [one.box], again
                np.testing.assert_array_equal(found[0].landmarks, one.landmarks)


def test_the_detector_is_unpacked_once_and_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GLOW_JAX_CACHE", str(tmp_path))
    faces._detector_bytes.cache_clear()
    taken = photographs.photograph("36_1", width=900, height=600, scale=0.9).pixels
    box = [(b.left(), b.top(), b.right(), b.bottom()) for b in faces._detector()(taken, 0)]
    assert len(list((tmp_path / "dlib").iterdir())) == 1
    own = faces.load_dlib().get_frontal_face_detector()(taken, 0)
    assert box == [(b.left(), b.top(), b.right(), b.bottom()) for b in own] != []

    faces._detector_bytes.cache_clear()  # as in another process
    monkeypatch.setattr(faces.load_dlib(), "get_frontal_face_detector", None)
    assert len(faces._detector()(taken, 0)) == 1
    faces._detector_bytes.cache_clear()


def test_a_face_at_the_border(capfd: pytest.CaptureFixture[str]) -> None:
    taken = photographs.photograph("36_1", width=900, height=900, scale=1.5)
    left = int(taken.landmarks[:, 0].min()) - 5
    (face,) = find_faces(taken.pixels[:, left:])
    assert np.abs(errors(face.landmarks, taken.landmarks - (left, 0))).max() < 0.06


# -- DeepFace's detectors


def deepface(boxes: list[dict], seen: list[np.ndarray]) -> SimpleNamespace:
    """A DeepFace whose detector finds these boxes."""

    def extract_faces(image: np.ndarray, **options: object) -> list[dict]:
        seen.append(image)
        assert options["detector_backend"] == "somebodys" and options["align"] is False
        return [{"facial_area": box, "confidence": confidence} for *_, box, confidence in boxes]

    def build_model(task: str, name: str) -> None:
        if name != "somebodys":
            raise ValueError(f"Invalid model_name passed - face_detector/{name}")

    modeling = SimpleNamespace(build_model=build_model)
    return SimpleNamespace(
        DeepFace=SimpleNamespace(extract_faces=extract_faces),
        modules=SimpleNamespace(modeling=modeling),
    )


def test_another_detectors_boxes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Higher and larger than dlib's: the same landmarks to the pixel."""
    taken = photographs.photograph("36_1", width=1000, height=1000, scale=1.5)
    (dlibs,) = find_faces(taken.pixels)
    left, top, right, _ = dlibs.box
    side = right - left
    box = {
        "x": round(left - 0.1 * side),
        "y": round(top - 0.25 * side),
        "w": round(1.2 * side),
        "h": round(1.3 * side),
    }
    whole = {"x": 0, "y": 0, "w": 1000, "h": 1000}
    seen: list[np.ndarray] = []
    fake = deepface([("", box, 0.98), ("", whole, 0)], seen)
    monkeypatch.setattr(detectors, "load_deepface", lambda home: fake)
    find = detectors.face_detector("somebodys", tmp_path)
    (face,) = find(taken.pixels)
    np.testing.assert_array_equal(seen[0][..., ::-1], taken.pixels)  # blue first
    assert np.abs(errors(face.landmarks, dlibs.landmarks)).max() < 0.02
    with pytest.raises(InputError, match="face detector nobodys: Invalid model_name"):
        detectors.face_detector("nobodys", tmp_path)


def test_a_detector_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = deepface([], [])

    def fails(*_: object, **__: object) -> list:
        raise RuntimeError("CUDA\nis unhappy")

    fake.DeepFace.extract_faces = fails
    monkeypatch.setattr(detectors, "load_deepface", lambda home: fake)
    find = detectors.face_detector("somebodys", tmp_path)
    with pytest.raises(InputError, match=r"face detector somebodys: DeepFace failed \(CUDA\)"):
        find(photographs.wall(300, 300))


def test_the_default_needs_no_deepface() -> None:
    detector: Any = detectors.face_detector("dlib")
    assert detector.func is find_faces
