"""A request with a value that is not accepted is refused where it is made, on one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transfer
from glow_jax.io.errors import InputError
from transfer.photos.align import Limits

TRANSFER = {"expressions": ["e"], "targets": ["t"], "out": "out"}
EDIT = {"pictures": ["p"], "out": "out"}
BATCH = {"job": "job.csv", "out": "out"}
ANIMATE = {"driving": "d", "target": "t", "out": "x.mp4"}
INTERPOLATE = {"first": "a", "second": "b", "out": "out"}

WRONG: list[tuple[Any, dict[str, Any], str, Any, str]] = [
    (transfer.TransferRequest, TRANSFER, name, value, accepted)
    for name, value, accepted in (
        ("precision", "half", "'exact' or 'fast'"),
        ("paste_format", "bmp", "'auto' or 'png'"),
        ("format", "jpg", "'png' or 'webp'"),
        ("alphas", [], "a list of one or more numbers"),
        ("alphas", "auto", "a list of one or more numbers"),
        ("alphas", [None], "a list of one or more numbers"),
        ("alphas", 1.0, "a list of one or more numbers"),
        ("photographs", True, "a Photographs, or None"),
        ("batch_size", "x", "a whole number from 1 to 65536"),
        ("batch_size", True, "a whole number from 1"),
        ("batch_size", None, "a whole number from 1"),
        ("n_neutral", 1.5, "a whole number from 1"),
        ("out", None, "a path"),
        ("source", 3, "a path, text or a pathlib.Path, or None"),
        ("expressions", None, "a list of one or more paths"),
        ("expressions", [3], "a path"),
        ("targets", [b"t"], "a path"),
        ("method", "foo", "'warp', 'paper'"),
        ("neutralise", "no", "True or False"),
        ("paste_back", 1, "True or False"),
        ("model", 1, "a path"),
    )
] + [
    (transfer.EditRequest, EDIT, "edit", {"AU12": 1}, "an Edit"),
    (transfer.EditRequest, EDIT, "direction", 1, "a path"),
    (transfer.EditRequest, EDIT, "alphas", [], "a list of one or more numbers"),
    (transfer.EditRequest, EDIT, "precision", "half", "'exact' or 'fast'"),
    (transfer.InterpolateRequest, INTERPOLATE, "first", None, "a path"),
    (transfer.InterpolateRequest, INTERPOLATE, "steps", 2.0, "a whole number from 2 to 1000"),
    (transfer.InterpolateRequest, INTERPOLATE, "rule", [], "'linear' or 'spherical'"),
    (transfer.BatchRequest, BATCH, "job", 1, "a path"),
    (transfer.BatchRequest, BATCH, "format", "jpg", "'png', 'webp', 'tfrecord'"),
    (transfer.BatchRequest, BATCH, "shard", "1/2", "(i, n)"),
    (transfer.BatchRequest, BATCH, "limit", "3", "a whole number from 1, or None"),
    (transfer.BatchRequest, BATCH, "batch_size", 0, "a whole number from 1 to 65536, or None"),
    (transfer.BatchRequest, BATCH, "method", "foo", "'warp', 'paper'"),
    (transfer.AnimateRequest, ANIMATE, "precision", "half", "'exact' or 'fast'"),
    (transfer.AnimateRequest, ANIMATE, "out", None, "a path"),
    (transfer.AnimateRequest, ANIMATE, "mark", 1, "text"),
    (transfer.AnimateRequest, ANIMATE, "alpha", "x", "a number from -10 to 10"),
    (transfer.AnimateRequest, ANIMATE, "photographs", "yes", "a Photographs, or None"),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("request_class", "right", "name", "value", "accepted"), WRONG)
def test_a_value_that_is_not_accepted_is_named(
    request_class: Any, right: dict[str, Any], name: str, value: Any, accepted: str
) -> None:
    with pytest.raises(InputError) as error:
        request_class(**right | {name: value})
    line = str(error.value)
    assert line.startswith(f"`{name}") and accepted in line and "\n" not in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alphas", None),
        ("alphas", ("auto", 0.5, "0:1:0.5")),
        ("expressions", (Path("e"), "f")),
        ("method", "glow"),
        ("photographs", transfer.Photographs(which=2, limits=Limits(side_px=0.0))),
    ],
)
def test_values_that_are_accepted(name: str, value: Any) -> None:
    assert getattr(transfer.TransferRequest(**TRANSFER | {name: value}), name) is value


@pytest.mark.usefixtures("unchecked")
def test_numbers_of_numpy_are_accepted() -> None:
    more = {"alphas": np.array([0.5, 1.0]), "batch_size": np.int64(4)}
    transfer.TransferRequest(**TRANSFER | more)
