"""The folder of a running page: uploads and results, deleted after an hour and at the end.

Only the user can read it. A lock on a file in it says that its page runs: what a page that was
killed left behind is removed by the next one.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason
from glow_jax.io.unfinished import unfinished

PREFIX = "glow-jax-ui-"
LOCK = ".running"
KEPT_S = 3600.0
SWEEP_S = 60.0


@contextlib.contextmanager
def private_folder(parent: Path | None = None) -> Iterator[Path]:
    """A new folder that only this user can use; it is removed at the end.

    Args:
        parent: an existing folder; None is the system's folder for temporary files.

    Raises:
        InputError: it cannot be made.
    """
    parent = Path(tempfile.gettempdir()) if parent is None else parent
    _remove_abandoned(parent)
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent)).resolve()
        folder.chmod(0o700)
        with unfinished(folder), open(folder / LOCK, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise InputError(f"{one_line(parent)}: no folder for uploads ({reason(error)})") from None


def delete_old(folder: Path, now: float, kept_s: float = KEPT_S) -> int:
    """Delete files that were last changed before `now - kept_s`; returns how many.

    Folders that are empty and as old are deleted too.

    Args:
        folder: of `private_folder`.
        now: seconds since the epoch.
        kept_s: seconds.
    """
    n = 0
    for place, folders, files in os.walk(folder, topdown=False):
        for name in files:
            path = Path(place, name)
            with contextlib.suppress(OSError):
                if name != LOCK and path.lstat().st_mtime < now - kept_s:
                    path.unlink()
                    n += 1
        for name in folders:
            path = Path(place, name)
            with contextlib.suppress(OSError):  # not empty
                if path.lstat().st_mtime < now - kept_s:
                    path.rmdir()
    return n


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += Path(place, name).lstat().st_size
    return total


@contextlib.contextmanager
def swept(folder: Path, kept_s: float = KEPT_S, every_s: float = SWEEP_S) -> Iterator[None]:
    """Meanwhile, a thread deletes old files of a folder."""
    ended = threading.Event()

    def sweep() -> None:
        while not ended.wait(every_s):
            delete_old(folder, time.time(), kept_s)

    thread = threading.Thread(target=sweep, daemon=True, name="sweep")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _remove_abandoned(parent: Path) -> None:
    """Remove this user's folders of pages that no longer run."""
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.lstat().st_uid != os.geteuid():
                continue
            with open(folder / LOCK, "r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError: its page runs
                shutil.rmtree(folder, ignore_errors=True)
