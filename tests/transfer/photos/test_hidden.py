"""Parts of a face that may be hidden: which are told, and where that is said."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.truth.hidden import DRAWN, covered
from eval.faces import find_faces
from glow_jax.io.landmarks68 import LEFT_EYE, LIPS, RIGHT_EYE
from tests.support import photographs
from tests.support.expressions import SIDE, face, painting_models, random_expressions
from tests.support.linear import rows_of
from tests.support.photographs import face_of
from transfer import api, planned
from transfer.cli.report import lines_of_totals
from transfer.expression.edits import Edit
from transfer.expression.model import ExpressionModel
from transfer.models import load_models
from transfer.photos.align import Aligned, align
from transfer.photos.aligned_faces import READ_PX, AlignedFaces, Photographs
from transfer.photos.hidden import hidden_in, hidden_line, hidden_parts, light_of_eyes
from transfer.requests import EditRequest

DEMO = Path(planned.__file__).parent / "demo" / "photographs" / "people"
GREY = np.full((READ_PX, READ_PX, 3), 120, np.uint8)
BETWEEN_EYES = float(np.linalg.norm(face()[LEFT_EYE].mean(0) - face()[RIGHT_EYE].mean(0)))


def moved(part: slice, by: float) -> np.ndarray:
    """The plain face, a part of which is lower by some distances between the eyes."""
    marks = face().astype(np.float64)
    marks[part, 1] += by * BETWEEN_EYES
    return marks


def test_landmarks_that_differ_tell_what_is_hidden() -> None:
    parts = functools.partial(hidden_parts, GREY)
    assert parts(face(), face()) == ()
    assert parts(moved(LIPS, 0.07), face()) == ()
    assert parts(moved(LIPS, 0.09), face()) == ("mouth",)
    assert parts(moved(LEFT_EYE, 0.09), face()) == ("eyes",)
    assert parts(moved(slice(36, 68), -0.09), face()) == ("eyes", "mouth")
    assert parts(np.full((68, 2), np.nan), face()) == ("eyes", "mouth")


def test_dark_glasses_are_darker_than_the_cheeks() -> None:
    assert light_of_eyes(GREY, face()) == 1
    pixels = GREY.copy()
    for i, eye in enumerate((RIGHT_EYE, LEFT_EYE), 1):
        x, y = (READ_PX * face()[eye].mean(0)).astype(int)
        half = int(0.36 * BETWEEN_EYES * READ_PX)
        pixels[y - half // 2 : y + half // 2, x - half : x + half] = 20
        # A patch over one eye is no pair of glasses; the lighter eye counts.
        assert (light_of_eyes(pixels, face()) < 0.3) == (i == 2)
    assert hidden_parts(pixels, face(), face()) == ("eyes",)
    assert light_of_eyes(np.zeros_like(GREY), face()) == 1  # nothing to compare with


@pytest.fixture(scope="module")
def adapted() -> ExpressionModel:
    model = load_models("photo64").expression_model
    assert model is not None
    return model


@pytest.mark.parametrize("person", ["person-41", "person-740"])
def test_what_is_drawn_over_a_portrait(person: str, adapted: ExpressionModel) -> None:
    with Image.open(DEMO / f"{person}.jpg") as file:
        portrait = np.asarray(file.convert("RGB"))
    (found,) = find_faces(portrait)

    def told(pixels: np.ndarray) -> tuple[str, ...]:
        return hidden_in(adapted, with_details(pixels, find_faces(pixels)[0].landmarks))

    assert told(portrait) == ()
    assert told(covered("white mask", portrait, found.landmarks)) == ("mouth",)
    assert told(covered("dark glasses", portrait, found.landmarks)) == ("eyes",)
    for kind in DRAWN:
        assert (covered(kind, portrait, found.landmarks) != portrait).any()


def with_details(pixels: np.ndarray, landmarks: np.ndarray) -> Aligned:
    found = align(pixels, face_of(landmarks), READ_PX)
    return dataclasses.replace(found, details=found.pixels)


def test_only_a_model_that_was_adapted_is_asked() -> None:
    taken = photographs.photograph("29_1", width=400, height=300)
    shown = with_details(taken.pixels, taken.landmarks)
    assert hidden_in(None, shown) == hidden_in(random_expressions(), shown) == ()


def test_a_job_says_it_and_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two photographs, one with a mask: by a stand-in for what tells."""
    taken = {name: photographs.photograph(name, width=400, height=300) for name in ("29_1", "36_1")}
    for name, one in taken.items():
        Image.fromarray(one.pixels).save(tmp_path / f"{name}.png")
    marks = {one.pixels.tobytes(): one.landmarks for one in taken.values()}

    def detector(pixels: np.ndarray) -> list:
        return [face_of(marks[pixels.tobytes()])]

    def told(_: object, shown: Aligned) -> tuple[str, ...]:
        masked = np.array_equal(shown.landmarks, taken["29_1"].landmarks)
        return ("eyes", "mouth") if masked else ()

    faces = AlignedFaces(detector, Photographs(SIDE))
    monkeypatch.setattr(planned, "load_models", lambda *_, **__: painting_models())
    monkeypatch.setattr(planned, "check_installed", lambda *_: None)
    monkeypatch.setattr(planned, "loader_of", lambda *_: (faces, "photographs"))
    monkeypatch.setattr("transfer.complete.far_limit_of", lambda _: None)
    monkeypatch.setattr("transfer.jobs.inputs.hidden_in", told)
    pictures = [tmp_path / f"{name}.png" for name in taken]
    out, said = tmp_path / "out", list[str]()
    request = EditRequest(pictures, out, Edit(add={"smile": 0.5}), photographs=Photographs())
    done = api.edit(request, notify=said.append)
    line = hidden_line(str(pictures[0]), ("eyes", "mouth"))
    assert line in said and "the eyes and the mouth may be hidden" in line
    assert [row["hidden"] for row in rows_of(out, "inputs.csv")] == ["eyes, mouth", ""]
    assert done.totals.hidden == 1
    assert any("1 photograph in which the eyes" in one for one in lines_of_totals(done.totals, out))
    said.clear()
    assert api.edit(request, notify=said.append).made == 0  # all there, and still said
    assert line in said
