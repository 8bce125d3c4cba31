"""Checks of the values of a request, each with one line: its name, the value, what is accepted."""

import numbers
import os
from collections.abc import Sequence
from typing import Any

from glow_jax.io.errors import InputError
from glow_jax.io.messages import brief

StrPath = str | os.PathLike[str]


def check_path(name: str, value: Any, *, optional: bool = False) -> None:
    """Raise InputError unless a value is a path, or None where that is `optional`."""
    if not (is_path(value) or (optional and value is None)):
        raise wrong(name, value, "a path, text or a pathlib.Path" + ", or None" * optional)


def check_paths(name: str, value: Any) -> None:
    """Raise InputError unless a value is a list of one or more paths."""
    if not is_filled_list(value):
        raise wrong(name, value, "a list of one or more paths")
    for number, one in enumerate(value):
        check_path(f"{name}[{number}]", one)


def is_filled_list(value: Any) -> bool:
    """Whether a value is a list, tuple or array with elements, and neither text nor a path."""
    is_other = isinstance(value, str | bytes | os.PathLike | dict)
    return not is_other and hasattr(value, "__len__") and len(value) > 0


def is_path(value: Any) -> bool:
    """Whether a value is text, or a path that is text."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    return isinstance(value, str)


def check_choice(name: str, value: Any, accepted: Sequence[str], *, optional: bool = False) -> None:
    """Raise InputError unless a value is one of some words, or None where that is `optional`."""
    if (isinstance(value, str) and value in accepted) or (optional and value is None):
        return
    words = [*map(repr, accepted), *["None"] * optional]
    raise wrong(
        name, value, " or ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)
    )


def check_flag(name: str, value: Any) -> None:
    """Raise InputError unless a value is True or False."""
    if not isinstance(value, bool):
        raise wrong(name, value, "True or False")


def check_whole(
    name: str, value: Any, low: int, high: int | None = None, *, optional: bool = False
) -> None:
    """Raise InputError unless a value is a whole number in a range, or None where `optional`."""
    if optional and value is None:
        return
    if not is_whole(value) or value < low or (high is not None and value > high):
        to = "" if high is None else f" to {high}"
        raise wrong(name, value, f"a whole number from {low}{to}" + ", or None" * optional)


def is_whole(value: Any) -> bool:
    """Whether a value is an integer, and not True or False."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a real number, and not True or False; NaN is one."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_type(name: str, value: Any, kind: type, *, optional: bool = False) -> None:
    """Raise InputError unless a value is of a class, or None where that is `optional`."""
    if not (isinstance(value, kind) or (optional and value is None)):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        accepted = "text" if kind is str else f"{article} {kind.__name__}"
        raise wrong(name, value, accepted + ", or None" * optional)


def wrong(name: str, value: Any, accepted: str) -> InputError:
    """The error of a parameter that has a value which is not accepted."""
    return InputError(f"`{name}` is {brief(value)}; use {accepted}")
