"""Settings of photographs with a value that is not accepted are refused, on one line."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from glow_jax.io.errors import InputError
from transfer.photos.align import Limits, faces_in
from transfer.photos.aligned_faces import Photographs, check_installed

WRONG: list[tuple[Any, str, Any, str]] = [
    (Photographs, "size", -5, "a whole number from 0 to 4096"),
    (Photographs, "size", 10**9, "a whole number from 0 to 4096"),
    (Photographs, "size", 1.5, "a whole number from 0 to 4096"),
    (Photographs, "limits", None, "a Limits"),
    (Photographs, "detector", None, "text"),
    *(
        (Photographs, "which", value, "'largest', 'all', or a whole number from 1")
        for value in (0, -1, 10**5, True, 1.0, "x", "1", None)
    ),
    (Limits, "sharpness", math.nan, "a finite number from 0"),
    (Limits, "sharpness", math.inf, "a finite number from 0"),
    (Limits, "side_px", "x", "a finite number from 0, or None"),
    (Limits, "yaw_deg", -1.0, "a finite number from 0"),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("settings", "name", "value", "accepted"), WRONG)
def test_a_value_that_is_not_accepted_is_named(
    settings: Any, name: str, value: Any, accepted: str
) -> None:
    with pytest.raises(InputError) as error:
        settings(**{name: value})
    line = str(error.value)
    assert line.startswith(f"`{name}` is {value!r}; use ") and accepted in line


def test_no_face_is_chosen_from_the_end() -> None:
    """Face 0 was the last one of the photograph, by Python's indices."""
    with pytest.raises(InputError, match="`which` is 0"):
        faces_in(np.zeros((8, 8, 3), np.uint8), lambda _: [], 64, 0)


def test_an_unknown_detector_is_refused_with_those_that_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    modeling = SimpleNamespace(
        AVAILABLE_MODELS={"face_detector": {"ssd": 1, "dlib": 2, "mtcnn": 3}}
    )
    deepface = SimpleNamespace(modules=SimpleNamespace(modeling=modeling))
    monkeypatch.setattr("transfer.photos.judge_adapter.need", lambda *_: None)
    monkeypatch.setattr("eval.identity.load_deepface", lambda home: deepface)
    accepted = "`detector` is 'foo'; use dlib, or one of DeepFace: mtcnn, ssd$"
    with pytest.raises(InputError, match=accepted):
        check_installed(Photographs(detector="foo"))
