"""† Compiled programs on disk, so that a model is compiled once and not once a process.

JAX loads them as code: whoever can write to the folder can make us run what they like. It is the
user's own, therefore, and one that others can write to is refused.
"""

import os
import stat
from pathlib import Path

import jax

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason

MIN_SECONDS = 0.5  # of compiling: below it, reading is no faster


def cache_folder() -> Path:
    """A folder of our own in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "glow-jax" / "xla"


def use_compile_cache(folder: Path | None = None) -> Path:
    """Keep what is compiled from now on, and use what was kept.

    Args:
        folder: `cache_folder()` by default; made, for the user alone, where it is missing.

    Raises:
        InputError: it cannot be made, belongs to somebody else, or others can write to it.
    """
    folder = cache_folder() if folder is None else folder
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        for path in (folder, folder.parent):
            _check_private(path)
    except OSError as error:
        raise InputError(f"{one_line(folder)}: cannot be made ({reason(error)})") from None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_SECONDS)
    return folder


def _check_private(path: Path) -> None:
    told = os.stat(path)
    why = ""
    if told.st_uid != os.getuid():
        why = "it belongs to somebody else"
    elif told.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        why = "others can write to it (chmod 700 it)"
    if why:
        raise InputError(
            f"{one_line(path)}: {why}; compiled programs are kept there, and run as yours: use a "
            "folder of your own (XDG_CACHE_HOME), or --no-compile-cache"
        )
