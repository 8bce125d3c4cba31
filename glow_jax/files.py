"""† Files that are whole or absent, and names and reasons that fit on one line."""

import contextlib
import os
import uuid
from pathlib import Path

from glow_jax.errors import InputError


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file under a temporary name in its folder, then rename it into place.

    Raises:
        InputError: the folder is missing or cannot be written to.
    """
    target = Path(path)
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:  # not tempfile: its files are private to the user
            file.write(data)
        os.replace(temporary, target)
    except (OSError, ValueError) as error:
        raise InputError(f"{one_line(target)}: cannot be written ({reason(error)})") from error
    finally:
        with contextlib.suppress(OSError, ValueError):  # renamed, or never created
            temporary.unlink()


def reason(error: Exception) -> str:
    """Why, in one line: the first line of the error's message, or its type."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    lines = text.strip().splitlines()
    return one_line(lines[0] if lines else type(error).__name__)[:300]


def one_line(text: object) -> str:
    """Text on one line: repr'd if it holds line ends or other control characters."""
    line = str(text)
    return line if line and line.isprintable() else repr(line)
