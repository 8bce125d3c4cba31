"""Files of a cache folder that tell when they are damaged."""

from pathlib import Path

import pytest

from glow_jax.io import kept_files


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert kept_files.read(path) is None
    for content in (b"", b"some bytes"):
        kept_files.write(path, content)
        assert kept_files.read(path) == content


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: d[:20], lambda d: b"x" + d[1:]])
def test_a_damaged_file_is_removed(tmp_path: Path, damage) -> None:
    path = tmp_path / "file"
    kept_files.write(path, b"some bytes")
    path.write_bytes(damage(path.read_bytes()))
    assert kept_files.read(path) is None
    assert not path.exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    kept_files.write(tmp_path / "file", b"some bytes")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert kept_files.read(tmp_path / "link") is None


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path) -> None:
    kept_files.write(tmp_path / "missing" / "file", b"some bytes")
    assert kept_files.read(tmp_path / "missing" / "file") is None
