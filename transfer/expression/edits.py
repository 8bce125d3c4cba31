"""An edit of a face, stated in Action Units (AUs): activations that are set, added or taken off.

    change = (0 or -own) + (level - own for each unit that is set) + (each activation that is added)

`own` are the activations that are read in the picture; -own stands for every unit if `neutral`, and
a unit that is set is not taken off twice. A unit that is only added to is not read at all.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

import numpy as np
from jaxtyping import Float

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line
from transfer.expression.action_units import ACTION_UNITS, WORDS, units_of

MAX_STATED = 1.5  # largest activation, and its negative the least, that an edit may state
_NUMBER = r"(\d+\.?\d*|\.\d+)(e[+-]?\d+)?"
_STATED = re.compile(
    rf"([a-z][a-z0-9 _-]*?)(=[+\-\u2212]?|[+\-\u2212]=?)({_NUMBER})", re.ASCII | re.IGNORECASE
)


@dataclasses.dataclass(frozen=True)
class Edit:
    """Activations that a face gets; see the module.

    Names are those of Action Units, such as "AU12", or plain words, such as "smile"
    (`transfer.expression.action_units`). After construction both mappings have the names of units
    as keys, in order, so that equal edits compare equal.

    Attributes:
        set: activation that each of these units gets, whatever the face shows; 1 is full strength.
        add: activation that is added to each of these units.
        neutral: whether the activations that the face shows are taken off first.

    Raises:
        InputError: a name is not known, a unit is stated twice, or a number is beyond MAX_STATED.
    """

    set: Mapping[str, float] = dataclasses.field(default_factory=dict)
    add: Mapping[str, float] = dataclasses.field(default_factory=dict)
    neutral: bool = False

    def __post_init__(self) -> None:
        stated: dict[str, str] = {}
        for attribute in ("set", "add"):
            values = {}
            for name, value in getattr(self, attribute).items():
                for unit in _known(name):
                    if unit in stated:
                        raise InputError(_twice(unit, stated[unit], name))
                    stated[unit] = name
                    values[unit] = _checked(name, value)
            ordered = {unit: values[unit] for unit in ACTION_UNITS if unit in values}
            object.__setattr__(self, attribute, ordered)

    @property
    def reads(self) -> bool:
        """Whether the edit depends on the activations that the face shows."""
        return self.neutral or bool(self.set)

    @property
    def is_empty(self) -> bool:
        """Whether the edit states nothing, so that every picture stays as it is."""
        return not self.reads and not any(self.add.values())

    @property
    def text(self) -> str:
        """The edit in words, such as "neutral, AU12=0.8, AU4+0.3"; equal edits have equal words."""
        words = ["neutral"] * self.neutral
        words += [f"{unit}={value:.10g}" for unit, value in self.set.items()]
        words += [f"{unit}{value:+.10g}" for unit, value in self.add.items()]
        return ", ".join(words)


def edit_of(words: Iterable[str], neutral: bool = False) -> Edit:
    """An edit from words: "NAME=NUMBER" sets, "NAME+NUMBER" and "NAME-NUMBER" add.

    Args:
        words: such as "AU12=0.8", "smile+0.3", "AU4-0.2" or "AU4-=0.2".
        neutral: as in `Edit`.

    Raises:
        InputError: a word has another form, or as `Edit`.
    """
    stated: dict[str, str] = {}
    levels, added = dict[str, float](), dict[str, float]()
    for word in words:
        name, is_level, value = _parsed(word)
        for unit in _known(name):
            if unit in stated:
                raise InputError(_twice(unit, stated[unit], word))
            stated[unit] = word
            (levels if is_level else added)[unit] = _checked(name, value)
    return Edit(levels, added, neutral)


def change(
    edit: Edit, aus: Sequence[str], own: Float[np.ndarray, "B A"]
) -> Float[np.ndarray, "B A"]:
    """The activations to add to faces, float32; see the module.

    Args:
        edit: the edit.
        aus: names of the A units of an expression model.
        own: activations that the faces show; not used unless `edit.reads`.

    Raises:
        InputError: the edit states a unit that is not in `aus`.
    """
    check_units(edit, aus)
    own = np.asarray(own, np.float32)
    found = -own if edit.neutral else np.zeros_like(own)
    for unit, value in edit.set.items():
        found[:, aus.index(unit)] = np.float32(value) - own[:, aus.index(unit)]
    for unit, value in edit.add.items():
        found[:, aus.index(unit)] += np.float32(value)
    return found


def read_units(edit: Edit, aus: Sequence[str]) -> np.ndarray:
    """(A,) bool: units whose change depends on what the face shows."""
    return np.array([edit.neutral or unit in edit.set for unit in aus])


def check_units(edit: Edit, aus: Sequence[str]) -> None:
    """Raise InputError where an edit states a unit that an expression model does not have."""
    for unit in (*edit.set, *edit.add):
        if unit not in aus:
            raise InputError(f"the expression model has no {unit}; it has {', '.join(aus)}")


def far_units(edit: Edit) -> list[str]:
    """A line for each unit whose stated activation is outside the range that looks like a face."""
    return [
        f"{unit}: {value:g} is outside {ACTION_UNITS[unit].low:g} to {ACTION_UNITS[unit].high:g}, "
        "the range that looks like a face"
        for unit, value in (*edit.set.items(), *edit.add.items())
        if not ACTION_UNITS[unit].low <= value <= ACTION_UNITS[unit].high
    ]


def _parsed(word: str) -> tuple[str, bool, float]:
    """Name, whether the unit is set, and number, of a word of `edit_of`."""
    match = _STATED.fullmatch(word.strip())
    if match is None:
        raise InputError(
            f"{one_line(word)[:80]!r} states no Action Unit; use NAME=NUMBER to set one, such as "
            "AU12=0.8, or NAME+NUMBER or NAME-NUMBER to add to what the face shows"
        )
    name, sign, number = match.groups()[:3]
    is_negative = "-" in sign or "\u2212" in sign
    return name, sign[0] == "=", -float(number) if is_negative else float(number)


def _known(name: str) -> tuple[str, ...]:
    """The units of a name; raises InputError for a name that is not known."""
    if units := units_of(str(name)):
        return units
    every = [*ACTION_UNITS, *WORDS]
    near = get_close_matches(str(name).lower(), every, 1) or get_close_matches(
        str(name).upper(), every, 1
    )
    hint = f"did you mean {near[0]}?" if near else "`glow-jax aus` lists the names"
    raise InputError(f"no Action Unit is called {one_line(name)[:80]!r}; {hint}")


def _checked(name: str, value: float) -> float:
    number = float(value)
    if not math.isfinite(number) or abs(number) > MAX_STATED:
        raise InputError(
            f"{one_line(name)}: {number:g}; use a number from -{MAX_STATED:g} to {MAX_STATED:g}, "
            "where 0 is neutral and 1 is full strength"
        )
    return number + 0.0  # without the sign of a zero


def _twice(unit: str, one: str, other: str) -> str:
    return f"{unit} is stated twice, by {one_line(one)} and by {one_line(other)}; state it once"
