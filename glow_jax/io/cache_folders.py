"""The cache folders, for data that later runs use: compiled programs, scores, a judge's weights.

Some of these data run as code. Therefore each folder must belong to the user, and a folder that
others can write to is refused.
"""

import os
import stat
from pathlib import Path

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason

VARIABLE = "GLOW_JAX_CACHE"
HINT = f"name a folder of your own in {VARIABLE}"


def cache_home() -> Path:
    """The parent of the cache folders: `GLOW_JAX_CACHE`, or else `glow-jax` in the user's cache.

    The user's cache is `XDG_CACHE_HOME`, or else `~/.cache`. No folder is made.

    Raises:
        InputError: the user has no home folder.

    Source: XDG Base Directory Specification 0.8 (a relative `XDG_CACHE_HOME` is ignored).
    """
    try:
        if named := os.environ.get(VARIABLE):
            return Path(named).expanduser().absolute()
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        return (base if base.is_absolute() else Path("~/.cache").expanduser()) / "glow-jax"
    except RuntimeError:
        raise InputError(f"no home folder is known (HOME is not set): {HINT}") from None


def cache_folder(name: str = "") -> Path:
    """A private folder in `cache_home()`, made if it does not exist.

    Args:
        name: name of the folder in `cache_home()`; "" is `cache_home()` itself.

    Raises:
        InputError: the folder cannot be made or written to, belongs to another user, or others
            can write to it.
    """
    home = cache_home()
    if not os.environ.get(VARIABLE):
        _close(home)
    return private_folder(private_folder(home) / name)


def private_folder(path: Path) -> Path:
    """A folder that only the user can write to, made if it does not exist, with any umask.

    Raises:
        InputError: the folder cannot be made or written to, belongs to another user, or others
            can write to it.
    """
    status = make_private(path).stat()
    why = ""
    if status.st_uid != os.geteuid():
        why = "it belongs to another user"
    elif status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        why = "others can write to it (chmod 700 it)"
    elif not os.access(path, os.W_OK | os.X_OK):
        why = "it cannot be written to"
    if why:
        raise InputError(f"{one_line(path)}: {why}; {HINT}")
    return path


def make_private(path: Path) -> Path:
    """Make a folder that only the user can access, if it does not exist, with any umask.

    Raises:
        InputError: the folder cannot be made.
    """
    try:
        for folder in reversed([path, *path.parents]):
            if not folder.is_dir():
                folder.mkdir(mode=0o700, exist_ok=True)
                folder.chmod(0o700)  # an umask can take the user's own permissions
    except OSError as error:
        raise InputError(f"{one_line(path)}: cannot be made ({reason(error)}); {HINT}") from None
    return path


def _close(path: Path) -> None:
    """Remove the write permission of others from a folder that was made with umask 002."""
    try:
        status = path.lstat()
        ours = status.st_uid == os.geteuid() and stat.S_ISDIR(status.st_mode)
        if ours and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            path.chmod(0o700)
    except OSError:
        return  # `private_folder` reports the problem
