"""Moving averages without the weights' names, or without what training leaves as it is."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.robustness.files.pytorch_files import write_zip
from bench.robustness.files.wrappings import AVERAGED, RAW, averaged, half, loose, prefixed, raw
from glow_jax.convert.averages import with_averages
from glow_jax.convert.state_dict import Candidate
from glow_jax.io.budget import Budget
from glow_jax.io.errors import InputError
from tests.support.converted import Converted

BUFFER = "prior_h"
WANTED = AVERAGED | {BUFFER: RAW[BUFFER]}


def trained() -> dict[str, Any]:
    """The averages of what is trained: without the buffer."""
    return {name: value for name, value in averaged().items() if name != BUFFER}


def undotted(before: str = "") -> dict[str, Any]:
    return {(before + name).replace(".", ""): value for name, value in trained().items()}


def lit_ema(before: str = "") -> dict[str, Any]:
    return undotted(before) | {"decay": loose("d"), "num_updates": loose("n")}


def in_order() -> list[Any]:
    return list(trained().values())


EMA: dict[str, tuple[Callable[[], Any], str]] = {
    "LitEma of a LightningModule": (
        lambda: {"state_dict": prefixed("model.", raw()) | prefixed("model_ema.", lit_ema())},
        "model_ema",
    ),
    "LitEma of a wrapper": (
        lambda: {
            "state_dict": prefixed("model.net.", raw()) | prefixed("model_ema.", lit_ema("net."))
        },
        "model_ema",
    ),
    "LitEma of DataParallel": (
        lambda: {
            "net": prefixed("module.", raw()),
            "ema": lit_ema("module."),
        },
        "ema",
    ),
    "LitEma before the weights": (lambda: {"ema": lit_ema(), "net": raw()}, "ema"),
    "torch_ema": (
        lambda: {
            "model": raw(),
            "ema": {
                "decay": 0.999,
                "num_updates": 7,
                "shadow_params": in_order(),
                "collected_params": None,
            },
        },
        "ema.shadow_params",
    ),
    "diffusers' EMAModel": (
        lambda: {
            "net": raw(),
            "ema_state": {"decay": 0.99, "optimization_step": 3, "shadow_params": in_order()},
        },
        "shadow_params",
    ),
    "a list of all": (
        lambda: {"net": raw(), "ema": list((averaged() | {BUFFER: raw()[BUFFER]}).values())},
        "ema",
    ),
    "a tuple of an optimiser": (
        lambda: {"net": raw(), "optimizer_states": [{"opt": {}, "ema": tuple(in_order())}]},
        "optimizer_states.0.ema",
    ),
    "a shadow by name": (lambda: {"net": raw(), "ema": {"shadow": trained()}}, "ema.shadow"),
    "AveragedModel without buffers": (
        lambda: {
            "net": raw(),
            "swa": {"n_averaged": loose()} | prefixed("module.", trained()),
        },
        "swa",
    ),
}


@pytest.mark.parametrize("name", EMA)
def test_averages_are_found_named_and_chosen(name: str, converted: Converted) -> None:
    saved, key = EMA[name]
    path = write_zip(converted.folder / "a.pt", saved())
    plain = converted(path)
    assert plain.equals(RAW)
    assert "`ema` or `key` chooses" in plain.notes[0] and key in plain.notes[0]
    assert not any("left out" in note for note in plain.notes)
    for options in ({"ema": True}, {"key": key}):
        made = converted(path, **options)
        assert made.equals(WANTED) and not made.equals(RAW)
    if "all" not in name:
        assert any(
            f"lacks 1 array that training leaves as they are, such as {BUFFER}" in note
            for note in made.notes
        )


def test_lightnings_averages_are_in_state_dict(converted: Converted) -> None:
    saved = {
        "state_dict": prefixed("model.", averaged()),
        "current_model_state": prefixed("model.", raw()),
        "averaging_state": {"n_averaged": loose()},
    }
    path = write_zip(converted.folder / "a.pt", saved)
    assert converted(path).equals(RAW)
    assert converted(path, ema=True).equals(AVERAGED)


@pytest.mark.parametrize(
    "ema",
    [
        lambda: {"shadow_params": in_order()[:-1]},
        lambda: {"shadow_params": [*in_order(), loose()]},
        lambda: {"shadow_params": in_order()[::-1]},
        lambda: {"shadow_params": []},
        lambda: dict(list(lit_ema().items())[4:]),
        lambda: lit_ema() | {"other": loose()},
    ],
    ids=["too few", "too many", "another order", "none", "names lost", "names beside"],
)
def test_averages_that_fit_no_weights_are_none(ema: Any, converted: Converted) -> None:
    path = write_zip(converted.folder / "a.pt", {"net": raw(), "ema": ema()})
    assert converted(path).equals(RAW)
    with pytest.raises(InputError, match="`ema`: the file has no averaged weights"):
        converted(path, ema=True)


def test_a_part_of_what_is_trained_is_not_completed(converted: Converted) -> None:
    path = write_zip(converted.folder / "a.pt", {"net": raw(), "ema": {"shadow": half(trained())}})
    assert converted(path).equals(RAW)
    with pytest.raises(InputError, match="is missing"):
        converted(path, ema=True)


def test_a_list_that_fits_in_two_ways_is_none() -> None:
    """The second of each module may be a buffer: which one was left out cannot be told."""
    leaves = {name: np.zeros((2, 2)) for name in ("a.w", "a.v", "b.w", "b.v")}
    weights = Candidate(("net",), leaves, {}, [], averaged=False)
    for n, fits in ((4, True), (3, False), (2, True)):
        saved = {"net": leaves, "ema": [np.ones((2, 2))] * n}
        found = with_averages([weights], saved, Budget())
        assert len(found) == 1 + fits
