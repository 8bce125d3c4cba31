"""Helpers for messages of one line, and a way to silence loggers."""

import contextlib
import logging
import unicodedata
from collections.abc import Iterator

from glow_jax.io.errors import InputError
from glow_jax.io.terminal import shortened

MAX_VALUE = 100  # characters of a value in a message


def reason(error: Exception) -> str:
    """An error as one line: the system's text, the first line of its message, or its type."""
    text = getattr(error, "strerror", None) or str(error)  # of OSError, and of FFmpeg's errors
    lines = text.strip().splitlines()
    return one_line(lines[0] if lines else type(error).__name__)[:300]


def one_line(text: object) -> str:
    """Text on one line: its `repr` if it has line ends or other control characters.

    A long text is `shortened`.
    """
    line = shortened(str(text))
    return line if line and line.isprintable() else repr(line)


def brief(value: object) -> str:
    """The `repr` of a value on one line, of which a long one is cut."""
    text = one_line(repr(value))
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…"


def failure(item: object, error: Exception) -> str:
    """Why one item of many failed, on one line that begins with its name."""
    if isinstance(error, InputError):
        return str(error)
    kind, why = type(error).__name__, reason(error)
    known = isinstance(error, OSError) or why == kind
    return f"{one_line(item)}: {why if known else f'{kind}: {why}'}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number and its noun: "1 image", "2 images"; `plural` is for nouns like "person"."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


@contextlib.contextmanager
def silenced(logger_name: str) -> Iterator[None]:
    """Keep a library from logging anything; what it logs as an error, it raises too."""
    logger = logging.getLogger(logger_name)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def install_hint(extra: str) -> str:
    """How to install an extra of setup.cfg, from a clone: glow-jax is on no package index."""
    return f"install the extra `{extra}`: pip install -e '.[{extra}]' in a clone of glow-jax"


def drawable(text: str) -> str:
    """Text in ASCII, which is what Pillow's own font has: letters without accents, and ?.

    So "Jos\u00e9" becomes "Jose", and a letter of another alphabet "?".
    """
    plain = unicodedata.normalize("NFKD", text.replace("\u2026", "..."))
    letters = "".join(c for c in plain if not unicodedata.combining(c))
    return letters.encode("ascii", "replace").decode()
