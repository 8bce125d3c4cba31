"""Writing inside a folder that may hold what somebody else put there: no link in it is followed.

The folder itself is named by the user, and may be a link or lie behind one. Whatever lies below it
must be a folder or a file of its own: a link there may lead anywhere.

Files are replaced, never opened and overwritten (`glow_jax.io.files.write_atomically`), so that a
link in a file's place is replaced as well. What must be written in place, is named here.
"""

import contextlib
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason

ABANDONED_S = 3600.0  # no single file takes so long to write
TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp")  # of `write_atomically`


def make_folder(root: Path, *inside: str | os.PathLike[str]) -> Path:
    """A folder below `root`, made where it is missing, as is `root`.

    Args:
        root: named by the user; it may be a link to a folder.
        inside: names of folders, or relative paths; without any, `root` itself is made.

    Raises:
        InputError: something below `root` is a link or a file, leads out of it, or cannot be made.
    """
    folder = Path(root)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _parts(inside):
            folder /= name
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
            _check_folder(folder)
    except FileExistsError:
        raise InputError(f"{one_line(folder)}: is not a folder") from None
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{one_line(folder)}: cannot be made ({reason(error)})") from None
    return folder


def has_folder(root: Path, *inside: str | os.PathLike[str]) -> bool:
    """Whether a folder below `root` is there; False also where a link leads to it."""
    folder = Path(root)
    try:
        if not folder.is_dir():
            return False
        for name in _parts(inside):
            folder /= name
            if not stat.S_ISDIR(folder.lstat().st_mode):
                return False
    except (OSError, ValueError):
        return False
    return True


def has_file(root: Path, inside: str | os.PathLike[str]) -> bool:
    """Whether an ordinary file below `root` is there; False also where a link leads to it."""
    try:
        is_file = stat.S_ISREG(Path(root, inside).lstat().st_mode)
    except (OSError, ValueError):
        return False
    return is_file and has_folder(root, Path(inside).parent)


def check_no_links(root: Path) -> None:
    """Check that no link lies anywhere below a folder, which another library will write in.

    Args:
        root: the folder; it may be missing. It must be no link either.

    Raises:
        InputError: a link, or a folder that cannot be listed.
    """

    def fail(error: OSError) -> None:
        raise InputError(f"{one_line(error.filename)}: cannot be listed ({reason(error)})")

    if not os.path.lexists(root):
        return
    _check_folder(root)
    for folder, folders, files in os.walk(root, onerror=fail):
        for name in (*folders, *files):
            if os.path.islink(path := os.path.join(folder, name)):
                raise InputError(f"{one_line(path)}: is a link, which is not followed; remove it")


def append(path: Path, data: bytes) -> None:
    """Add bytes to the end of a file, made where it is missing.

    Raises:
        InputError: it is a link, has another name elsewhere, is no ordinary file, or cannot be
            written.
    """
    with open_for_append(path) as file:
        os.write(file, data)


@contextlib.contextmanager
def open_for_append(path: Path) -> Iterator[int]:
    """A file's descriptor, for `append`; raises as it does."""
    if why := why_not_own(path):
        raise InputError(f"{one_line(path)}: cannot be written ({why})")
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        file = os.open(path, flags, 0o666)
        try:
            yield file
        finally:
            os.close(file)
    except OSError as error:
        raise InputError(f"{one_line(path)}: cannot be written ({reason(error)})") from None


def why_not_own(path: Path) -> str:
    """Why a file must not be written in place; "" where it may be, or is missing."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        return reason(error)
    if stat.S_ISLNK(status.st_mode):
        return "it is a link, which is not followed; remove it"
    if not stat.S_ISREG(status.st_mode):
        return "it is not an ordinary file"
    return "it has another name elsewhere, a hard link; remove it" if status.st_nlink > 1 else ""


def remove_file(root: Path, inside: str | os.PathLike[str]) -> None:
    """Remove a file below `root`, unless it is missing or a link leads to its folder.

    Raises:
        InputError: it cannot be removed.
    """
    path = Path(root, inside)
    if not has_folder(root, Path(inside).parent):
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{one_line(path)}: cannot be removed ({reason(error)})") from None


def temporary_files(root: Path, *inside: str | os.PathLike[str]) -> list[Path]:
    """What `write_atomically` left in a folder below `root` when it was killed."""
    if not has_folder(root, *inside):
        return []
    return [path for path in Path(root, *inside).glob(".*.tmp") if TEMPORARY.fullmatch(path.name)]


def remove_temporary(
    root: Path, *inside: str | os.PathLike[str], older_s: float | None = None
) -> None:
    """Remove what `write_atomically` left in a folder below `root` when it was killed.

    Args:
        root: as of `has_folder`.
        inside: as of `has_folder`.
        older_s: seconds since a file was last written, where another process may be writing.
    """
    for path in temporary_files(root, *inside):
        with contextlib.suppress(OSError):  # another process may remove it as well
            if older_s is None or path.lstat().st_mtime < time.time() - older_s:
                path.unlink()


def _parts(inside: tuple[str | os.PathLike[str], ...]) -> tuple[str, ...]:
    """Names of folders, each in the one before.

    Raises:
        InputError: they lead out of the first.
    """
    parts = tuple(part for path in inside for part in Path(path).parts)
    if ".." in parts or any(os.path.isabs(part) for part in parts):
        raise InputError(f"{one_line(Path(*inside))}: leads out of the output folder")
    return parts


def _check_folder(folder: Path) -> None:
    mode = folder.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise InputError(f"{one_line(folder)}: is a link, which is not followed; remove it")
    if not stat.S_ISDIR(mode):
        raise InputError(f"{one_line(folder)}: is not a folder")
