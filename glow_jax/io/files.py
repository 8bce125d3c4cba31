"""Files that are whole or absent."""

import contextlib
import os
import uuid
from pathlib import Path

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason


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


def open_without_waiting(path: str, flags: int) -> int:
    """An `opener` for `open`: as usual, except that a pipe without a writer does not block."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
