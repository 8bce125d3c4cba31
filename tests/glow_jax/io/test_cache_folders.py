"""Where things are kept between runs: which folder, and who else can write to it."""

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from glow_jax.io.cache_folders import VARIABLE, cache_folder, cache_home, private_folder
from glow_jax.io.errors import InputError


@pytest.fixture(autouse=True)
def no_cache_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=[0o000, 0o002, 0o022, 0o077, 0o777], ids="umask {:03o}".format)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a container's user without HOME and without an entry in the table of users."""

    def none(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", none)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_which_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert cache_home() == Path("/home/ann/.cache/glow-jax")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert cache_home() == Path("/home/ann/.cache/glow-jax")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/ann")
    assert cache_home() == Path("/var/cache/ann/glow-jax")
    monkeypatch.setenv(VARIABLE, "~/kept")
    assert cache_home() == Path("/home/ann/kept")
    monkeypatch.setenv("HOME", "/")
    monkeypatch.delenv(VARIABLE)
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_home() == Path("/.cache/glow-jax")


def test_no_home(homeless: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for find in (cache_home, cache_folder):
        with pytest.raises(InputError, match="no home folder is known.*GLOW_JAX_CACHE"):
            find()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "kept"))
    assert cache_folder("xla") == tmp_path / "kept" / "xla"


def test_folders_are_private_whatever_the_umask(
    umask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new" / "cache"))
    folder = cache_folder("xla")
    assert folder == tmp_path / "new" / "cache" / "glow-jax" / "xla"
    for made in (folder, folder.parent, folder.parent.parent, folder.parent.parent.parent):
        assert mode(made) == 0o700, made


def test_a_folder_that_an_umask_left_open_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "glow-jax"
    home.mkdir()
    home.chmod(0o775)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == home
    assert mode(home) == 0o700


def test_a_folder_that_the_user_named_is_refused_and_not_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "shared"))
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    with pytest.raises(InputError, match="others can write to it") as caught:
        cache_folder()
    assert str(caught.value).isprintable()
    assert mode(tmp_path / "shared") == 0o1777


def test_folders_of_others_and_folders_that_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert private_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "x", Path("/dev/null/x")):
        with pytest.raises(InputError, match="cannot be made.*GLOW_JAX_CACHE"):
            private_folder(path)
    monkeypatch.setattr(os, "access", lambda path, how: False)
    with pytest.raises(InputError, match="cannot be written to"):
        private_folder(tmp_path / "a")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(InputError, match="belongs to another user"):
        private_folder(tmp_path / "a")
