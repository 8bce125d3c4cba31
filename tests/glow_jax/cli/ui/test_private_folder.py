"""The folder of a page: nobody else's, emptied in time, and gone at the end."""

import os
import time
from pathlib import Path

import pytest

from glow_jax.cli.ui.private_folder import (
    LOCK,
    PREFIX,
    delete_old,
    private_folder,
    size_of,
    swept,
)
from glow_jax.io.errors import InputError


def test_only_the_user_can_read_it_and_it_is_gone_at_the_end(tmp_path: Path) -> None:
    with private_folder(tmp_path) as folder:
        assert folder.parent == tmp_path.resolve() and folder.name.startswith(PREFIX)
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "uploads").mkdir()
        (folder / "uploads" / "ann.png").write_bytes(b"12345")
        assert size_of(folder) == 5
    assert not list(tmp_path.iterdir())


def test_what_a_killed_page_left_is_removed_and_a_running_page_is_not(tmp_path: Path) -> None:
    left, others = tmp_path / f"{PREFIX}left", tmp_path / "others"
    for folder in (left, others):
        folder.mkdir()
        (folder / LOCK).write_text("")
        (folder / "face.png").write_bytes(b"1")
    with private_folder(tmp_path) as running, private_folder(tmp_path) as second:
        assert running.is_dir() and second.is_dir() and running != second
        assert not left.exists() and others.is_dir()


def test_old_files_are_deleted(tmp_path: Path) -> None:
    old, new, lock = (tmp_path / "a" / "b" / name for name in ("old.png", "new.png", LOCK))
    old.parent.mkdir(parents=True)
    for path in (old, new, lock):
        path.write_bytes(b"1")
    now = time.time()
    for path in (old, lock):
        os.utime(path, (now - 4000, now - 4000))
    assert delete_old(tmp_path, now, 3600.0) == 1
    assert not old.exists() and new.exists() and lock.exists()
    for path in (new, lock):
        path.unlink()
    delete_old(tmp_path, now + 4000, 3600.0)
    assert not list(tmp_path.iterdir())  # the empty folders too


def test_a_thread_deletes_meanwhile(tmp_path: Path) -> None:
    face = tmp_path / "face.png"
    face.write_bytes(b"1")
    os.utime(face, (1, 1))
    with swept(tmp_path, every_s=0.01):
        deadline = time.monotonic() + 10
        while face.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert not face.exists()


def test_a_place_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    why = r"nowhere: no folder for uploads \(No such file"
    with pytest.raises(InputError, match=why), private_folder(tmp_path / "nowhere"):
        pass
