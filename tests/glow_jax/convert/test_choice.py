"""Which of several sets of weights in a file becomes the model, and that it is said."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.robustness.files.pytorch_files import write_zip
from bench.robustness.files.wrappings import (
    AVERAGED,
    RAW,
    averaged,
    half,
    loose,
    prefixed,
    raw,
)
from glow_jax.io.errors import InputError
from tests.support.converted import Converted

ONE = np.ones(1, np.float32)

BOTH: dict[str, tuple[Callable[[], Any], str, str]] = {
    "model, ema": (lambda: {"model": raw(), "ema": averaged()}, "model", "ema"),
    "ema, model": (lambda: {"ema": averaged(), "model": raw()}, "model", "ema"),
    "Lightning": (
        lambda: {"state_dict": prefixed("ema_model.", averaged()) | prefixed("model.", raw())},
        "state_dict.model",
        "ema_model",
    ),
    "ema_pytorch": (
        lambda: (
            {"initted": loose(), "step": loose("y")}
            | prefixed("online_model.", raw())
            | prefixed("ema_model.", averaged())
        ),
        "online_model",
        "ema_model",
    ),
    "state_dict_ema": (
        lambda: {"state_dict": raw(), "state_dict_ema": averaged()},
        "state_dict",
        "state_dict_ema",
    ),
    "EMA in capitals": (
        lambda: {"modelEMA": averaged(), "model": raw()},
        "model",
        "modelEMA",
    ),
    "avg": (lambda: {"model_avg": averaged(), "model": raw()}, "model", "model_avg"),
    "AveragedModel": (
        lambda: {"net": raw(), "other": {"n_averaged": loose()} | prefixed("module.", averaged())},
        "net",
        "other",
    ),
}


@pytest.mark.parametrize("name", BOTH)
def test_raw_weights_come_first_and_ema_or_key_chooses(name: str, converted: Converted) -> None:
    saved, first, second = BOTH[name]
    path = write_zip(converted.folder / "a.pt", saved())
    made = converted(path)
    assert made.equals(RAW)
    assert f"took the weights in {first}; " in made.notes[0] and second in made.notes[0]
    assert "`ema` or `key` chooses" in made.notes[0]
    for options in ({"ema": True}, {"key": second}, {"ema": True, "key": second}):
        assert converted(path, **options).equals(AVERAGED)
    assert converted(path, key=first).equals(RAW)
    with pytest.raises(InputError, match="`ema`: the file has no averaged weights"):
        converted(path, ema=True, key=first)


def test_two_models_are_named_and_chosen_by_their_keys(converted: Converted) -> None:
    path = write_zip(converted.folder / "a.pt", {"nets": {"a": raw(), "b": averaged()}})
    made = converted(path)
    assert made.equals(RAW)
    assert "took the weights in nets.a; nets.b has others (`key` chooses)" in made.notes
    assert converted(path, key="b").equals(AVERAGED)
    assert converted(path, key="nets.b").equals(AVERAGED)
    with pytest.raises(InputError, match=r"`key` nets fits each of nets.a, nets.b"):
        converted(path, key="nets")


def test_one_dict_in_two_places_is_found_by_both_names(converted: Converted) -> None:
    shared = raw()
    saved = {"teacher": {"net": shared}, "student": {"net": shared}, "other": averaged()}
    path = write_zip(converted.folder / "a.pt", saved)
    for options in ({}, {"key": "teacher"}, {"key": "student.net"}, {"key": "net"}):
        assert converted(path, **options).equals(RAW)
    assert "took the weights in teacher.net; other has others (`key` chooses)" in (
        converted(path).notes
    )
    assert converted(path, key="other").equals(AVERAGED)


def test_what_ema_and_key_choose_is_said_exactly(converted: Converted) -> None:
    path = write_zip(converted.folder / "a.pt", {"a": raw(), "b": raw(), "ema": averaged()})
    note = "took the weights in a; b, ema have others (`key` chooses; `ema` takes ema)"
    assert note in converted(path).notes
    assert converted(path, ema=True).equals(AVERAGED)
    path = write_zip(converted.folder / "b.pt", {"ema": averaged(), "swa": averaged()})
    notes = converted(path).notes
    assert "took the weights in ema; swa has others (`key` chooses)" in notes
    assert "the weights taken (ema) are moving averages" in notes
    with_count = {"n_averaged": loose()} | prefixed("module.", averaged())
    path = write_zip(converted.folder / "c.pt", with_count | {"net": raw()})
    assert "its top level has others (`ema` chooses)" in converted(path).notes[0]


@pytest.mark.parametrize("name", ["grads", "optimizer", "exp_avg", "optim_state"])
def test_an_optimisers_numbers_by_the_weights_names_come_last(
    name: str, converted: Converted
) -> None:
    path = write_zip(converted.folder / "a.pt", {name: averaged(), "model": raw()})
    made = converted(path)
    assert made.equals(RAW)
    assert f"took the weights in model; {name} has others (`key` chooses)" in made.notes
    assert converted(path, key=name).equals(AVERAGED)
    with pytest.raises(InputError, match="`ema`: the file has no averaged weights"):
        converted(path, ema=True)


def test_a_part_of_the_weights_does_not_stand_in_the_way(converted: Converted) -> None:
    path = write_zip(converted.folder / "a.pt", {"best": half(averaged()), "model": raw()})
    made = converted(path)
    assert made.equals(RAW)
    assert any(note.startswith("left out best: ") and "missing" in note for note in made.notes)
    with pytest.raises(InputError, match="is missing"):
        converted(path, key="best")
    path = write_zip(converted.folder / "b.pt", {"model": half(raw()), "ema": averaged()})
    made = converted(path)
    assert made.equals(AVERAGED)
    assert any("(ema) are moving averages" in note for note in made.notes)
    assert any(note.startswith("left out model: ") and "missing" in note for note in made.notes)


def test_averages_without_buffers_are_whole_too(converted: Converted) -> None:
    """What is not trained is not averaged."""
    fewer = {n: t for n, t in averaged().items() if n != "learn_top_fn.conv.weight"}
    state = raw() | {"flow.layers.1.actnorm.initialized": loose()}
    path = write_zip(converted.folder / "a.pt", {"model": state, "ema": fewer})
    with pytest.raises(InputError, match="unexpected flow.layers.1.actnorm.initialized"):
        converted(path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ema": True}, "`ema`: the file has no averaged weights; it has weights in"),
        ({"key": "ema"}, "`key` ema: the file has weights in"),
        ({"key": ""}, "`key` '': the file has weights in"),
        ({"key": "flow"}, "`key` flow: the file has weights in"),
    ],
)
@pytest.mark.parametrize("saved", [raw, lambda: {"model": raw(), "optim": {}}])
def test_an_option_that_means_nothing_is_an_error(
    saved: Callable[[], Any], options: dict[str, Any], words: str, converted: Converted
) -> None:
    path = write_zip(converted.folder / "a.pt", saved())
    with pytest.raises(InputError, match=words):
        converted(path, **options)
