"""Texts in messages."""

import pytest

from glow_jax.io.messages import drawable, one_line
from glow_jax.io.terminal import END, MAX_CHARACTERS


@pytest.mark.parametrize("text", ["a.png", "é", "a" * MAX_CHARACTERS])
def test_a_printable_text_stays(text: str) -> None:
    assert one_line(text) == text


def test_a_long_text_keeps_its_beginning_and_its_end() -> None:
    line = one_line("first" + "x" * 10**6 + "last.png")
    assert line.startswith("firstxxx") and line.endswith("xlast.png") and " … " in line
    assert len(line) == MAX_CHARACTERS + 3
    assert line.index("…") == MAX_CHARACTERS - END + 1


def test_control_characters_are_escaped() -> None:
    assert one_line("a\x1b[31m\n") == r"'a\x1b[31m\n'"
    assert len(one_line("\n" * 10**6)) < 4 * MAX_CHARACTERS


def test_a_drawable_text_is_ascii_without_accents() -> None:
    assert drawable("José Ángel nº 1, été") == "Jose Angel no 1, ete"
    assert drawable("sourire Δ 张…") == "sourire ? ?..."
    assert drawable("plain text (1)") == "plain text (1)"
