"""Links, pipes and folders in the place of what a verb writes, and whether it wrote through one."""

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from glow_jax.io.errors import InputError

KINDS = ("link to a file", "link to nothing", "link to a folder", "hard link", "pipe", "folder")
SECONDS = 60


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Everything below a folder: its mode, and what it holds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        held = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (mode, held)
    return found


def plant(kind: str, place: Path, outside: Path) -> None:
    """Put a trap in a place; what was there is removed, or for a folder moved to `outside`."""
    shutil.rmtree(outside, ignore_errors=True)
    (outside / "folder").mkdir(parents=True)
    victim = outside / "victim"
    victim.write_bytes(place.read_bytes() if place.is_file() else b"precious")
    if place.is_dir():
        shutil.rmtree(outside / "folder")
        shutil.move(place, outside / "folder")
    elif os.path.lexists(place):
        place.unlink()
    targets = {"link to a file": victim, "link to nothing": outside / "new"}
    targets["link to a folder"] = outside / "folder"
    if kind in targets:
        place.symlink_to(targets[kind])
    elif kind == "hard link":
        os.link(victim, place)
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.mkdir()


@contextlib.contextmanager
def at_most(seconds: int = SECONDS) -> Iterator[None]:
    """Raise TimeoutError where it takes longer."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def spring(kind: str, place: Path, outside: Path, make: Callable[[], object]) -> str:
    """Plant a trap, run `make`, and check that nothing outside changed.

    Returns:
        "works", or the one line of the InputError.
    """
    plant(kind, place, outside)
    before, said = state(outside), "works"
    with at_most():
        try:
            make()
        except InputError as error:
            said = str(error)
            assert said.isprintable(), said
    assert state(outside) == before, f"{kind} at {place.name}: changed what is outside"
    return said
