"""Names and reasons that fit on one line of a message, and loggers that stay quiet."""

import contextlib
import logging
from collections.abc import Iterator

MAX_CHARACTERS = 1500  # of a text in a message: a file may hold megabytes without a line end
END = 300  # of them, from the text's end, where the name of a file is


def reason(error: Exception) -> str:
    """Why, in one line: the system's words, the first line of the error's message, or its type."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    lines = text.strip().splitlines()
    return one_line(lines[0] if lines else type(error).__name__)[:300]


def one_line(text: object) -> str:
    """Text on one line: its `repr` if it holds line ends or other control characters.

    Of a text of more than `MAX_CHARACTERS` the beginning and the end.
    """
    line = str(text)
    if len(line) > MAX_CHARACTERS:
        line = f"{line[: MAX_CHARACTERS - END]} … {line[-END:]}"
    return line if line and line.isprintable() else repr(line)


def counted(number: int, noun: str) -> str:
    """A number and its noun: "1 image", "2 images"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@contextlib.contextmanager
def errors_only(logger_name: str) -> Iterator[None]:
    """Keep a library's logger from writing anything below an error."""
    logger = logging.getLogger(logger_name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def install_hint(extra: str) -> str:
    """How to install what an extra of setup.cfg brings: glow-jax is on no package index."""
    return f"install the extra `{extra}`: pip install -e '.[{extra}]' in a clone of glow-jax"
