"""A cache of compiled programs on disk, so that a model is not compiled again in every process.

JAX runs the files in the folder as code, with the user's rights. Therefore the folder must belong
to the user; a folder that others can write to is refused. A program for a CPU uses the instructions
of that CPU, so each kind of CPU has its own folder.
"""

import contextlib
import hashlib
import os
import platform
import stat
import zlib
from collections.abc import Callable
from pathlib import Path

import jax

from glow_jax.io.cache_folders import cache_folder, private_folder
from glow_jax.io.errors import InputError
from glow_jax.io.files import read_bytes
from glow_jax.io.output_folders import open_for_append

MIN_SECONDS = 0.1  # shortest compile time, in seconds, of a program that is kept
ENDING = "-cache"  # suffix of the files that JAX writes
LAST_CHECK = ".checked"
ZSTD = b"\x28\xb5\x2f\xfd"  # first bytes of its frames
MARGIN = 60.0  # seconds by which clocks of machines that share the folder may differ


def use_compile_cache(folder: Path | None = None) -> Path:
    """Keep programs that are compiled after this call, and use those of earlier processes.

    Args:
        folder: the folder; made, for the user alone, if it does not exist. None is a folder in
            `glow_jax.io.cache_folders.cache_home()`.

    Raises:
        InputError: the folder cannot be made or written to, belongs to another user, or others can
            write to it.
    """
    folder = private_folder(cache_folder("xla") / cpu()) if folder is None else folder
    private_folder(folder)
    remove_damaged(folder)
    set_option: Callable[[str, object], None] = jax.config.update
    set_option("jax_compilation_cache_dir", str(folder))
    set_option("jax_persistent_cache_min_compile_time_secs", MIN_SECONDS)
    return folder


def cpu() -> str:
    """12 hexadecimal digits that identify the kind of this CPU, for the name of its folder."""
    text = f"{platform.machine()} {platform.processor()}"
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        kinds = ("model name", "flags", "Features", "CPU implementer", "CPU part")
        text += "\n".join(sorted({line for line in lines if line.startswith(kinds)}))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def remove_damaged(folder: Path) -> None:
    """Remove programs that are incomplete, from a killed process or a full disk.

    JAX never replaces such a file, and warns at every use. Only files that were written since the
    last call are checked.
    """
    stamp = folder / LAST_CHECK
    try:
        since = stamp.lstat().st_mtime - MARGIN
    except OSError:
        since = 0.0
    with contextlib.suppress(OSError, InputError):  # another process may remove a file as well
        with open_for_append(stamp) as file:
            os.utime(file)
        for path in folder.glob(f"*{ENDING}"):
            with contextlib.suppress(OSError):
                status = path.lstat()
                ours = stat.S_ISREG(status.st_mode)
                if not ours or (status.st_mtime >= since and not is_whole(read_bytes(path))):
                    path.unlink()


def is_whole(data: bytes) -> bool:
    """Whether a compressed program is complete, by the checksum or the length in its frame.

    Source: jax `_src/compilation_cache.py: decompress_executable`.
    """
    try:
        if data.startswith(ZSTD):  # JAX writes zstd if it finds one of two modules
            return len(_zstd_decompress(data)) > 0
        stream = zlib.decompressobj()
        stream.decompress(data)
        return stream.eof
    except Exception:  # each module raises errors of its own
        return False


def _zstd_decompress(data: bytes) -> bytes:
    try:
        from compression import zstd  # from Python 3.14
    except ImportError:
        import zstandard as zstd
    return bytes(zstd.decompress(data))
