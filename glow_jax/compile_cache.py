"""Compiled programs on disk, so that a model is compiled once and not once a process.

JAX runs what it finds in the folder as code, with the user's rights. The folder must therefore
be the user's own; a folder that others can write to is refused. A program for a CPU uses that
CPU's instructions, so that each kind of CPU has a folder of its own.
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

MIN_SECONDS = 0.5  # of compiling: below it, reading is no faster
ENDING = "-cache"  # of the files that JAX writes
LAST_CHECK = ".checked"
ZSTD = b"\x28\xb5\x2f\xfd"  # how its frames begin
MARGIN = 60.0  # seconds by which the clocks of machines that share a folder may differ


def use_compile_cache(folder: Path | None = None) -> Path:
    """Keep what is compiled from now on, and use what was kept.

    Args:
        folder: made, for the user alone, where it is missing; by default one in
            `glow_jax.io.cache_folders.cache_home()`.

    Raises:
        InputError: it cannot be made or written to, belongs to somebody else, or others can
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
    """A name of this CPU's instructions: 12 hexadecimal digits."""
    text = f"{platform.machine()} {platform.processor()}"
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        kinds = ("model name", "flags", "Features", "CPU implementer", "CPU part")
        text += "\n".join(sorted({line for line in lines if line.startswith(kinds)}))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def remove_damaged(folder: Path) -> None:
    """Remove programs that a killed process or a full disk left half written.

    JAX never replaces them, and warns each time. Only those are looked at that were written since
    the last call.
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
    """Whether a compressed program is whole, by the checksum or the length in its frame.

    Source: jax `_src/compilation_cache.py: decompress_executable`.
    """
    try:
        if data.startswith(ZSTD):  # JAX writes it where it finds one of two modules
            return len(_zstd_decompress(data)) > 0
        stream = zlib.decompressobj()
        stream.decompress(data)
        return stream.eof
    except Exception:  # each module has an error of its own
        return False


def _zstd_decompress(data: bytes) -> bytes:
    try:
        from compression import zstd  # from Python 3.14
    except ImportError:
        import zstandard as zstd
    return bytes(zstd.decompress(data))
