"""How teeth follow the light of a face."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.truth import teeth
from bench.truth.photoreal_pairs import SIDE
from glow_jax.io.landmarks68 import INNER_LIPS
from transfer.expression.mouth import MIN_COLOUR


def picture(folder: Path, face: tuple[int, int, int], mouth: tuple[int, int, int]) -> Path:
    pixels = np.empty((SIDE, SIDE, 3), np.uint8)
    pixels[:] = face
    pixels[150:] = mouth  # teeth, where the lips of `landmarks` are
    Image.fromarray(pixels).save(folder / "face.png")
    return folder / "face.png"


def landmarks(height: float = 0.12) -> np.ndarray:
    marks = np.full((68, 2), 0.5)
    turn = np.linspace(np.pi, 3 * np.pi, 8, endpoint=False)
    marks[INNER_LIPS] = np.stack([0.5 + 0.1 * np.cos(turn), 0.75 + height * np.sin(turn)], 1)
    return marks


def test_colours_are_of_the_face_and_of_teeth_alone(tmp_path: Path) -> None:
    found = teeth.colours(picture(tmp_path, (180, 120, 90), (200, 190, 180)), landmarks())
    assert found is not None
    np.testing.assert_allclose(found, np.array([[180, 120, 90], [200, 190, 180]]) + MIN_COLOUR)
    red = picture(tmp_path, (180, 120, 90), (160, 100, 90))
    assert teeth.colours(red, landmarks()) is None  # a tongue
    assert teeth.colours(red, landmarks(0.01)) is None  # a mouth that is shut


def test_the_slope_is_about_the_means() -> None:
    faces = np.random.default_rng(0).normal(5, 0.3, 200)
    slope, left = teeth.slope_of(faces, 0.7 * faces + 2)
    assert slope == pytest.approx(0.7) and left == pytest.approx(0, abs=1e-9)


def test_a_folder_without_people_is_one_line(tmp_path: Path, capsys: Any) -> None:
    assert teeth.main([str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "holds no pictures" in said
