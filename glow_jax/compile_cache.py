"""Compiled programs on disk, so that a model is compiled once and not once a process.

JAX runs what it finds in the folder as code, with the user's rights. The folder must therefore
be the user's own; a folder that others can write to is refused.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import jax

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason

MIN_SECONDS = 0.5  # of compiling: a program that compiles faster is not kept


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
    set_option: Callable[[str, object], None] = jax.config.update
    set_option("jax_compilation_cache_dir", str(folder))
    set_option("jax_persistent_cache_min_compile_time_secs", MIN_SECONDS)
    return folder


def _check_private(path: Path) -> None:
    status = os.stat(path)
    why = ""
    if status.st_uid != os.getuid():
        why = "it belongs to somebody else"
    elif status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        why = "others can write to it (chmod 700 it)"
    if why:
        raise InputError(
            f"{one_line(path)}: {why}; compiled programs are kept there and run with your rights: "
            "use a folder of your own (XDG_CACHE_HOME), or keep no compiled programs "
            "(`compile_cache`)"
        )
