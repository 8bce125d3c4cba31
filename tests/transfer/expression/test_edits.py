"""Edits stated in Action Units: what they change, how they are written, what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glow_jax.io.errors import InputError
from transfer.expression.action_units import ACTION_UNITS, WORDS, units_of
from transfer.expression.edits import Edit, change, edit_of, far_units, read_units

AUS = tuple(ACTION_UNITS)
LEVELS = st.floats(-1.5, 1.5, width=32)
NAMES = st.sampled_from(AUS)
OWN = st.lists(LEVELS, min_size=len(AUS), max_size=len(AUS)).map(lambda v: np.float32([v]))


def at(found: np.ndarray, unit: str) -> float:
    return float(found[0, AUS.index(unit)])


def test_setting_adding_and_taking_off() -> None:
    own = np.zeros((1, len(AUS)), np.float32)
    own[0, AUS.index("AU12")], own[0, AUS.index("AU4")] = 0.5, 0.25
    found = change(Edit(set={"AU12": 0.75}, add={"AU4": -0.5, "AU1": 1.0}), AUS, own)
    assert (at(found, "AU12"), at(found, "AU4"), at(found, "AU1")) == (0.25, -0.5, 1.0)
    assert np.count_nonzero(found) == 3
    neutral = change(Edit(set={"AU12": 0.75}, neutral=True), AUS, own)
    assert (at(neutral, "AU12"), at(neutral, "AU4")) == (0.25, -0.25)


@given(OWN)
def test_an_empty_edit_changes_nothing(own: np.ndarray) -> None:
    assert not change(Edit(), AUS, own).any() and Edit().is_empty
    assert not change(Edit(add={"AU1": 0.0}), AUS, own).any()


@given(OWN, NAMES, LEVELS)
def test_adding_and_then_subtracting_is_nothing(own: np.ndarray, unit: str, value: float) -> None:
    there, back = (change(Edit(add={unit: v}), AUS, own) for v in (value, -value))
    assert not (there + back).any()


@given(OWN, NAMES, LEVELS)
def test_setting_twice_is_setting_once(own: np.ndarray, unit: str, value: float) -> None:
    """To the rounding of float32 the second change is 0; so with `neutral`."""
    for edit in (Edit(set={unit: value}), Edit(set={unit: value}, neutral=True)):
        after = own + change(edit, AUS, own)
        np.testing.assert_allclose(change(edit, AUS, after), 0, atol=1e-6)


@given(OWN, NAMES)
def test_setting_what_is_shown_is_nothing(own: np.ndarray, unit: str) -> None:
    assert not change(Edit(set={unit: at(own, unit)}), AUS, own).any()


@given(NAMES, LEVELS, NAMES, LEVELS, st.booleans())
def test_an_edit_is_read_back_from_its_words(
    one: str, a: float, other: str, b: float, neutral: bool
) -> None:
    edit = Edit(set={one: a}, add={} if one == other else {other: b}, neutral=neutral)
    words = [word for word in edit.text.split(", ") if word not in ("neutral", "")]
    again = edit_of(words, neutral)
    assert again.text == edit.text
    assert again.set == pytest.approx(edit.set) and again.add == pytest.approx(edit.add)


def test_words_stand_for_units() -> None:
    assert edit_of(["smile=0.5", "au4-=.25"]) == Edit(set={"AU12": 0.5}, add={"AU4": -0.25})
    assert Edit(set={"surprise": 0.5}).set == dict.fromkeys(("AU1", "AU2", "AU5", "AU26"), 0.5)
    assert edit_of(["raise-inner-brows-0.3"]).add == {"AU1": -0.3}
    assert edit_of(["AU4=\u22120.3"]).set == {"AU4": -0.3}
    assert units_of("raise_inner_brows") == ("AU1",) and units_of("frown") == ()
    assert all(unit in ACTION_UNITS for units in WORDS.values() for unit in units)
    assert list(Edit(add={"AU26": 1.0, "AU1": 1.0}).add) == ["AU1", "AU26"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["AU12"], "'AU12' states no Action Unit; use NAME=NUMBER"),
        (["AU12=nan"], "states no Action Unit"),
        (["AU12=0_5"], "states no Action Unit"),
        (["AU12=2"], "AU12: 2; use a number from -1.5 to 1.5"),
        (["AU12=1e999"], "AU12: inf; use a number"),
        (["smlie=0.5"], "no Action Unit is called 'smlie'; did you mean smile?"),
        (["AU99=0.5"], "no Action Unit is called 'AU99'"),
        (["smile=0.5", "AU12+0.1"], r"AU12 is stated twice, by smile=0.5 and by AU12\+0.1"),
        (["smile=0.5", "happiness=0.1"], "AU12 is stated twice"),
    ],
)
def test_what_is_no_edit_is_one_line(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        edit_of(words)


def test_only_stated_units_are_read() -> None:
    assert read_units(Edit(set={"AU12": 0.5}, add={"AU4": 1.0}), ("AU4", "AU12")).tolist() == [
        False,
        True,
    ]
    with pytest.raises(InputError, match="has no AU12; it has AU1, AU4"):
        change(Edit(add={"AU12": 1.0}), ("AU1", "AU4"), np.zeros((1, 2), np.float32))


def test_unlikely_levels_are_named() -> None:
    assert far_units(Edit(set={"AU26": -0.5}, add={"AU12": 1.0})) == [
        "AU26: -0.5 is outside 0 to 1, the range that looks like a face"
    ]
