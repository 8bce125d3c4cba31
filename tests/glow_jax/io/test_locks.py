"""Locks between processes: of file systems with flock and without, and of what lies in the way."""

import errno
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glow_jax.io import locks
from glow_jax.io.errors import InputError
from glow_jax.io.locks import LockedError, exclusive, is_held
from tests.support.paths import ROOT

HOLD = """
import errno, fcntl, sys
from pathlib import Path
from glow_jax.io.locks import exclusive
def none(*_): raise OSError(int(sys.argv[2]), "no flock")
if int(sys.argv[2]): fcntl.flock = none
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
WITHOUT = [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP]


@pytest.fixture(params=[0, *WITHOUT], ids=["flock", "ENOSYS", "ENOLCK", "EOPNOTSUPP"])
def missing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The error of flock on this file system; 0 where it works."""
    if request.param:
        without_flock(monkeypatch, request.param)
    return request.param


def without_flock(monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOSYS) -> None:
    def none(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", none)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / ".lock-1-of-1"


@pytest.fixture
def other(lock: Path, missing: int) -> Iterator[subprocess.Popen]:
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock), str(missing)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_one_at_a_time(lock: Path, other: subprocess.Popen) -> None:
    assert is_held(lock)
    with pytest.raises(LockedError), exclusive(lock):
        pytest.fail("held twice")
    other.communicate("")  # it lets go
    assert not is_held(lock)
    with exclusive(lock):
        assert is_held(lock)
    assert not is_held(lock)


def test_a_killed_process_holds_nothing(lock: Path, other: subprocess.Popen) -> None:
    other.kill()
    other.wait()
    assert not is_held(lock)
    with exclusive(lock):
        assert is_held(lock)
    assert sorted(p.name for p in lock.parent.iterdir()) == [lock.name]


def test_an_error_lets_go(lock: Path, missing: int) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(lock):
        raise ZeroDivisionError
    assert not is_held(lock)


def test_the_content_of_a_lock_stays(lock: Path, missing: int) -> None:
    lock.write_text("somebody's notes")
    with exclusive(lock):
        assert is_held(lock)
    assert lock.read_text() == "somebody's notes"


def test_links_and_pipes_are_no_locks(lock: Path, tmp_path: Path, missing: int) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    lock.symlink_to(victim)
    for use in (is_held, lambda path: exclusive(path).__enter__()):
        with pytest.raises(InputError, match="cannot be used as a lock .it is a link."):
            use(lock)
    lock.unlink()
    lock.symlink_to(tmp_path / "new")
    with pytest.raises(InputError, match="it is a link"):
        is_held(lock)
    assert not (tmp_path / "new").exists()
    lock.unlink()
    os.mkfifo(lock)
    with pytest.raises(InputError, match="not an ordinary file"):
        is_held(lock)
    assert victim.read_text() == "precious"


def test_a_planted_owner_is_not_followed(
    lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_flock(monkeypatch)
    victim = tmp_path / "victim"
    (tmp_path / ".owner-lock-1-of-1").symlink_to(victim)
    with pytest.raises(LockedError, match="remove that file"), exclusive(lock):
        pytest.fail("held")
    assert not victim.exists()


def owner_file(lock: Path, **changes: Any) -> Path:
    """As a run of this process would leave it, with changes."""
    path = lock.with_name(".owner-lock-1-of-1")
    path.write_text(json.dumps(locks._identity(os.getpid()) | {"token": "x"} | changes))
    return path


def test_owners_without_flock(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_flock(monkeypatch)
    living: list[dict[str, Any]] = [{}, {"host": "elsewhere boot pid:[1]"}]
    for changes in living:
        owner = owner_file(lock, **changes)
        assert is_held(lock)
        with pytest.raises(LockedError, match="process .* of host .* remove that file"):
            exclusive(lock).__enter__()
        assert owner.exists()
    # Its number may have gone to another process since.
    for changes in ({"started": "1"}, {"pid": 2**22 + 1}):
        owner = owner_file(lock, **changes)
        assert not is_held(lock)
        with exclusive(lock):
            assert is_held(lock)
        assert not owner.exists()
    for nonsense in ("", "{", "[]", '{"host": 1}'):
        owner.write_text(nonsense)
        with pytest.raises(LockedError, match="remove that file"):
            exclusive(lock).__enter__()


def test_an_owner_that_came_meanwhile_keeps_its_lock(
    lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs find the lock of one that has ended; the slower one must not remove the faster's."""
    without_flock(monkeypatch)
    stale = owner_file(lock, started="1").read_bytes()
    faster = owner_file(lock).read_bytes()
    locks._remove_stale(lock.with_name(".owner-lock-1-of-1"), stale)
    assert lock.with_name(".owner-lock-1-of-1").read_bytes() == faster


def test_other_errors_are_no_other_run(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_flock(monkeypatch, errno.EIO)
    with pytest.raises(InputError, match="cannot be locked") as caught, exclusive(lock):
        pytest.fail("held")
    assert not isinstance(caught.value, LockedError)
    missing = lock.parent / "no" / lock.name
    with pytest.raises(InputError, match="cannot be used as a lock .No such file"):
        is_held(missing)
