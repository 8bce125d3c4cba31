"""Locks between processes, also on file systems that do not support locks.

A lock is an empty file that the system locks with flock; the system releases the lock when the
process ends, however it ends. Some file systems do not support flock (NFS without a lock daemon,
Lustre without its option, FUSE). There the lock is a second file, `.owner-NAME`, which is created
exclusively and names host and process. If the process was on this host and has ended, the file is
removed; if it was on another host and was killed, the user must remove the file.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason

MAX_OWNER_BYTES = 4096
# Errors of a file system without flock. A lock that is held gives EWOULDBLOCK, or EACCES on NFS.
NO_FLOCK = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}


class LockedError(InputError):
    """Another process holds the lock."""


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock; raise an error at once if another process holds it.

    Args:
        path: path of the lock's file, which is made if it does not exist and is not removed; its
            content is not changed.

    Raises:
        LockedError: another process holds the lock.
        InputError: the file cannot be made, or is no ordinary file, but a link, for example.
    """
    file = _open(path)
    try:
        if _flock(path, file):
            yield
            return
        with _owned(path):
            yield
    finally:
        os.close(file)


def is_held(path: Path) -> bool:
    """Whether any process, this one included, holds a lock.

    Raises:
        InputError: the file cannot be opened, or is no ordinary file.
    """
    file = _open(path)
    try:
        return not _flock(path, file) and _owner_lives(_read_owner(_owner_file(path)))
    except LockedError:
        return True
    finally:
        os.close(file)


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        file = os.open(path, flags, 0o666)
    except OSError as error:
        why = "it is a link" if error.errno == errno.ELOOP else reason(error)
        raise InputError(f"{one_line(path)}: cannot be used as a lock ({why})") from None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise InputError(f"{one_line(path)}: cannot be used as a lock (not an ordinary file)")
    return file


def _flock(path: Path, file: int) -> bool:
    """Lock an open file; False if its file system does not support this."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            raise LockedError(f"{one_line(path)}: another process holds this lock") from None
        if error.errno in NO_FLOCK:
            return False
        raise InputError(f"{one_line(path)}: cannot be locked ({reason(error)})") from None
    return True


def _owner_file(path: Path) -> Path:
    return path.with_name(f".owner-{path.name.lstrip('.')}")


@contextlib.contextmanager
def _owned(path: Path) -> Iterator[None]:
    file = _owner_file(path)
    mine = json.dumps(_identity(os.getpid()) | {"token": uuid.uuid4().hex}).encode()
    _claim(file, mine)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if file.read_bytes() == mine:
                file.unlink()


def _claim(file: Path, mine: bytes) -> None:
    for _ in range(
        3
    ):  # try again: the file of an ended owner is removed, and another process may create it first
        try:
            _create(file, mine)
            return
        except FileExistsError:
            owner = _read_owner(file)
            if _owner_lives(owner):
                raise LockedError(_held_line(file, owner)) from None
            _remove_stale(file, owner)
        except OSError as error:
            raise InputError(f"{one_line(file)}: cannot be made ({reason(error)})") from None
    raise LockedError(
        f"{one_line(file)}: other processes are taking this lock at the same time; try again"
    )


def _create(file: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(file, flags, 0o666)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


def _read_owner(file: Path) -> bytes:
    """The content of an owner's file; empty if it cannot be read."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return b""
    except OSError:
        return b"?"
    try:
        return os.read(descriptor, MAX_OWNER_BYTES) or b"?"
    except OSError:
        return b"?"
    finally:
        os.close(descriptor)


def _owner_lives(owner: bytes) -> bool:
    """Whether an owner still runs; an owner on another host is assumed to run."""
    if not owner:
        return False
    try:
        record = json.loads(owner)
        host, pid, started = record["host"], int(record["pid"]), record["started"]
    except (ValueError, OverflowError, KeyError, TypeError):
        return True
    if host != _host():
        return True
    return bool(_started(pid)) and started == _started(pid)


def _remove_stale(file: Path, owner: bytes) -> None:
    """Remove the file of an owner that has ended, unless another process has replaced the file."""
    aside = file.with_name(f".{uuid.uuid4().hex}.tmp")
    with contextlib.suppress(OSError):
        os.rename(file, aside)
        if _read_owner(aside) != owner:
            with contextlib.suppress(FileExistsError):
                os.link(aside, file)
        aside.unlink()


def _held_line(file: Path, owner: bytes) -> str:
    try:
        record = json.loads(owner)
        host = one_line(record["host"].split(" ")[0])
        who = f"process {int(record['pid'])} of host {host}"
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError):
        who = "another process"
    return f"{who} holds the lock {one_line(file)}; where it has ended, remove that file"


def _identity(pid: int) -> dict[str, object]:
    return {"host": _host(), "pid": pid, "started": _started(pid)}


def _host() -> str:
    """An identifier of this host, its boot, and the namespace of its process numbers."""
    boot, space = "", ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with contextlib.suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return f"{socket.gethostname()} {boot} {space}"


def _started(pid: int) -> str:
    """The start time of a process of this host, in the system's format; empty if it has ended."""
    try:
        # Fields after the name, which may contain any text: state is field 3, start time field 22.
        state, *fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (OSError, ValueError):
        return "" if Path("/proc/self/stat").exists() else _exists(pid)
    return "" if state in (b"Z", b"X") else fields[18].decode()


def _exists(pid: int) -> str:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass
    return "running"
