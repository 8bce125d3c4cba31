"""Files of a cache folder: each begins with the hash of the rest, so that a damaged one is known.

The hash tells no stranger's file apart: what is in the folder is trusted, see
`glow_jax.io.cache_folders`.
"""

import contextlib
import hashlib
from pathlib import Path

from glow_jax.io.errors import InputError, OutputError
from glow_jax.io.files import read_bytes, write_atomically

DIGEST_BYTES = 32


def read(path: Path) -> bytes | None:
    """What `write` wrote; None if there is no such file, or a damaged one, which is removed."""
    try:
        data = read_bytes(path, follow_link=False)
    except (OSError, InputError):
        return None
    digest, data = data[:DIGEST_BYTES], data[DIGEST_BYTES:]
    if hashlib.sha256(data).digest() == digest:
        return data
    remove(path)
    return None


def write(path: Path, data: bytes) -> None:
    """Write a file, after its hash; a full disk only means that it is not there."""
    with contextlib.suppress(InputError, OutputError):
        write_atomically(path, hashlib.sha256(data).digest() + data)


def remove(path: Path) -> None:
    """Remove a file that cannot be used, if it is still there."""
    with contextlib.suppress(OSError):
        path.unlink()
