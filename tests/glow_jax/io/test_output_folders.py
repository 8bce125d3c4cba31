"""Folders and files inside an output folder, where somebody may have put links and pipes."""

import os
from pathlib import Path

import pytest

from glow_jax.io import output_folders as folders
from glow_jax.io.errors import InputError
from glow_jax.io.files import read_bytes, write_atomically
from glow_jax.io.tables import TableWriter
from glow_jax.io.unfinished import remove_unfinished
from tests.support.traps import at_most, plant, state

NO_FOLDER = ("link to a file", "link to nothing", "link to a folder", "pipe")


def test_folders_are_made_below_a_root_that_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to("disk")
    assert folders.make_folder(tmp_path / "out", "a/b", "c") == tmp_path / "out/a/b/c"
    assert (tmp_path / "disk/a/b/c").is_dir()
    assert folders.make_folder(tmp_path / "new" / "out").is_dir()
    assert folders.has_folder(tmp_path / "out", "a", "b/c")
    assert not folders.has_folder(tmp_path / "out", "a", "d")


@pytest.mark.parametrize("kind", NO_FOLDER)
def test_a_folder_is_not_made_where_a_trap_is(kind: str, tmp_path: Path) -> None:
    plant(kind, tmp_path / "images", tmp_path / "outside")
    before = state(tmp_path)
    with pytest.raises(InputError, match="images: is (a link, which is not followed|not a folder)"):
        folders.make_folder(tmp_path, "images", "a")
    assert state(tmp_path) == before
    assert not folders.has_folder(tmp_path, "images")
    folders.remove_temporary(tmp_path, "images")


def test_what_an_ended_process_left_is_removed_when_it_is_old(tmp_path: Path) -> None:
    old, new, other = (tmp_path / f".{c * 32}.tmp" for c in ("a", "b", "a.b"))
    for path in (old, new, other):
        path.touch()
    os.utime(old, (0, 0))
    os.utime(other, (0, 0))
    folders.remove_temporary(tmp_path, older_s=folders.ABANDONED_S)
    assert sorted(tmp_path.iterdir()) == sorted([new, other])
    folders.remove_temporary(tmp_path)
    assert list(tmp_path.iterdir()) == [other]


def test_a_table_that_a_signal_interrupts_leaves_nothing(tmp_path: Path) -> None:
    with TableWriter(tmp_path / "t.csv", ["a"]) as table:
        table.write({"a": 1})
        assert len(list(tmp_path.iterdir())) == 1
        remove_unfinished()
        assert not list(tmp_path.iterdir())
        (tmp_path / table._temporary.name).touch()  # for the rename at the end


@pytest.mark.parametrize("inside", ["..", "a/../../b", "/tmp", "a\0b"])
def test_names_that_lead_out_are_refused(inside: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leads out of the output folder|cannot be made"):
        folders.make_folder(tmp_path, inside)
    assert not folders.has_folder(tmp_path, inside) and not folders.has_file(tmp_path, inside)
    folders.remove_file(tmp_path, f"{inside}/x")


def test_what_is_appended_is_there(tmp_path: Path) -> None:
    for text in (b"one\n", b"two\n"):
        folders.append(tmp_path / "log", text)
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("kind", [*NO_FOLDER, "hard link", "folder"])
def test_nothing_is_appended_to_a_trap(kind: str, tmp_path: Path) -> None:
    plant(kind, tmp_path / "log", tmp_path / "outside")
    before = state(tmp_path)
    with at_most(5), pytest.raises(InputError, match="log: cannot be written"):
        folders.append(tmp_path / "log", b"x")
    assert state(tmp_path) == before


@pytest.mark.parametrize("kind", ["link to a file", "link to nothing", "hard link", "pipe"])
def test_a_trap_is_replaced_and_removed(kind: str, tmp_path: Path) -> None:
    plant(kind, tmp_path / "table", tmp_path / "outside")
    before = state(tmp_path / "outside")
    write_atomically(tmp_path / "table", b"new")
    assert (tmp_path / "table").read_bytes() == b"new" and not (tmp_path / "table").is_symlink()
    assert state(tmp_path / "outside") == before
    plant(kind, tmp_path / "table", tmp_path / "outside")
    before = state(tmp_path / "outside")
    assert folders.has_file(tmp_path, "table") == (kind == "hard link")
    folders.remove_file(tmp_path, "table")
    assert not os.path.lexists(tmp_path / "table")
    assert state(tmp_path / "outside") == before


def test_nothing_is_removed_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    victim = tmp_path / "outside" / f".{'0' * 32}.tmp"
    victim.write_bytes(b"precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "images").symlink_to(tmp_path / "outside")
    folders.remove_file(tmp_path / "out", f"images/{victim.name}")
    folders.remove_file(tmp_path / "out", f"../outside/{victim.name}")
    folders.remove_temporary(tmp_path / "out", "images")
    assert victim.read_bytes() == b"precious"
    folders.remove_temporary(tmp_path, "outside")
    assert not victim.exists()


def test_links_below_a_folder_are_found(tmp_path: Path) -> None:
    folders.check_no_links(tmp_path / "missing")
    (tmp_path / "a" / "b").mkdir(parents=True)
    folders.check_no_links(tmp_path)
    (tmp_path / "a" / "b" / "c").symlink_to("nowhere")
    with pytest.raises(InputError, match="a/b/c: is a link, which is not followed"):
        folders.check_no_links(tmp_path)
    (tmp_path / "d").symlink_to(tmp_path / "a")
    with pytest.raises(InputError, match="d: is a link"):
        folders.check_no_links(tmp_path / "d")


def test_only_an_ordinary_file_of_a_bounded_size_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert read_bytes(tmp_path / "file", 3) == read_bytes(tmp_path / "link", 3) == b"abc"
    with pytest.raises(InputError, match="link: cannot be read"):
        read_bytes(tmp_path / "link", follow_link=False)
    with pytest.raises(InputError, match="file: 3 bytes; at most 2 are read"):
        read_bytes(tmp_path / "file", 2)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with at_most(5), pytest.raises(InputError, match="not an ordinary file"):
            read_bytes(path)
