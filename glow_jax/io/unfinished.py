"""Files and folders under temporary names, which a signal that ends the process removes.

The process may end without unwinding (`glow_jax.cli.launcher`), so that no `finally` runs.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

_paths: set[Path] = set()


@contextlib.contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """While a file or folder of this name is written; at the end it is renamed or removed."""
    _paths.add(path)
    try:
        yield path
    finally:
        _paths.discard(path)


def remove_unfinished() -> None:
    """Remove what is being written now; another thread may go on writing meanwhile."""
    for path in list(_paths):
        with contextlib.suppress(OSError, ValueError):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
                shutil.rmtree(path, ignore_errors=True)  # what was written during the first
            else:
                os.unlink(path)
