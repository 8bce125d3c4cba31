"""Write files atomically, and open files without waiting at a pipe."""

import contextlib
import errno
import json
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from glow_jax.io.errors import InputError, OutputError
from glow_jax.io.messages import one_line, reason
from glow_jax.io.unfinished import unfinished

MAX_BYTES = 2**28
MAX_JSON_BYTES = 2**20
# Of one file's name, not of its folder or disk.
ERRORS_OF_A_NAME = (errno.ENAMETOOLONG, errno.EISDIR, errno.EILSEQ, errno.EINVAL, errno.ENOTEMPTY)


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file under a temporary name in its folder, then rename it into place.

    Raises:
        OutputError: the folder is missing or cannot be written to.
        InputError: no file can have this name there.
    """
    target = Path(path)
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with unfinished(temporary):
            # Not with tempfile, whose files are readable by the user only.
            with open(temporary, "xb") as file:
                file.write(data)
            os.replace(temporary, target)
    except (OSError, ValueError) as error:
        of_name = isinstance(error, ValueError) or error.errno in ERRORS_OF_A_NAME
        kind = InputError if of_name else OutputError
        raise kind(f"{one_line(target)}: cannot be written ({reason(error)})") from error
    finally:
        with contextlib.suppress(OSError, ValueError):  # the file was renamed, or never created
            temporary.unlink()


def open_without_waiting(path: str, flags: int) -> int:
    """An `opener` for `open` that does not wait for a writer if the path is a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_bytes(path: Path, most: int = MAX_BYTES, *, follow_link: bool = True) -> bytes:
    """A file's bytes.

    Args:
        path: of an ordinary file.
        most: bytes that are read; a larger file is refused.
        follow_link: read the file that a link leads to; else a link is refused.

    Raises:
        InputError: it is missing, unreadable, no ordinary file or above `most` bytes.
    """
    with open_ordinary(path, most, follow_link=follow_link) as file:
        return file.read(most + 1)


@contextlib.contextmanager
def open_ordinary(
    path: Path, most: int | None = None, *, follow_link: bool = True
) -> Iterator[BinaryIO]:
    """An ordinary file, open for reading bytes.

    Args:
        path: of the file.
        most: bytes; a larger file is refused. None accepts any size.
        follow_link: open the file that a link leads to; else a link is refused.

    Raises:
        InputError: as `read_bytes`; also where reading inside the `with` block fails.
    """
    flag = 0 if follow_link else os.O_NOFOLLOW
    try:
        with open(path, "rb", opener=lambda p, f: open_without_waiting(p, f | flag)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device may never end
                raise InputError(f"{one_line(path)}: not an ordinary file")
            if most is not None and status.st_size > most:
                why = f"{status.st_size} bytes; at most {most} are read"
                raise InputError(f"{one_line(path)}: {why}")
            yield file
    except IsADirectoryError:
        raise InputError(f"{one_line(path)}: not an ordinary file") from None
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{one_line(path)}: cannot be read ({reason(error)})") from None


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file of at most `MAX_JSON_BYTES` whose content is an object.

    Raises:
        InputError: the file does not exist, is no ordinary file, is too large, or has other
            content. The message names the file without its folder.
    """
    try:
        with open(path, "rb", opener=open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"{path.name} is not a file")
            if status.st_size > MAX_JSON_BYTES:
                raise InputError(f"{path.name} is larger than {MAX_JSON_BYTES} bytes")
            content = json.loads(file.read(MAX_JSON_BYTES + 1).decode("utf-8"))
    except FileNotFoundError:
        raise InputError(f"it has no {path.name}") from None
    except IsADirectoryError:
        raise InputError(f"{path.name} is not a file") from None
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path.name} is not readable JSON ({type(error).__name__})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path.name} holds {type(content).__name__}, not an object")
    return content
