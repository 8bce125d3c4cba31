"""Arrays of a .npz file: sizes and types are known before anything is unpacked."""

import math
import os
import stat
import struct
import zipfile
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.files import open_without_waiting
from glow_jax.io.messages import one_line, reason

MAX_DIRECTORY_BYTES = 2**23
MAX_AXES = 32
KINDS = "fciubU"  # of NumPy's types: numbers, booleans, text
MAX_CHARACTERS = 2**20  # of one text
PART = 2**20  # bytes that are unpacked at once


def read_npz(path: Path, most: int) -> dict[str, np.ndarray]:
    """All arrays of a file that `np.savez` or `np.savez_compressed` wrote, by name.

    Args:
        path: of an ordinary file.
        most: bytes that the arrays may have in all.

    Raises:
        InputError: no such file, not of that form, damaged, an array of objects, or more than
            `most` bytes.
    """
    try:
        with open(path, "rb", opener=open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(f"{one_line(path)}: not an ordinary file")
            return _arrays(path, file, most)
    except FileNotFoundError:
        raise InputError(f"{one_line(path)}: no such file") from None
    except InputError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise many types for damaged files
        raise InputError(f"{one_line(path)}: not a readable .npz ({reason(error)})") from None


def zip_directory_bytes(end: bytes, size: int) -> int:
    """The largest size that the end records of a zip archive give its directory; 0 without any.

    Python's versions choose differently where several records may be meant, so all of these count.

    Args:
        end: last 2**16 + 98 bytes of the archive, or all of them.
        size: of the archive, in bytes.

    Source: CPython `Lib/zipfile: _EndRecData, _EndRecData64`; PKWARE APPNOTE 6.3.10, 4.3.14-16.
    """
    found = [0]
    for at in {len(end) - 22, end.rfind(b"PK\x05\x06")}:
        if not 0 <= at <= len(end) - 22 or end[at : at + 4] != b"PK\x05\x06":
            continue
        found.append(struct.unpack_from("<I", end, at + 12)[0] % 0xFFFFFFFF)
        if at < 20 or end[at - 20 : at - 16] != b"PK\x06\x07":
            continue
        named = struct.unpack_from("<Q", end, at - 12)[0] - (size - len(end))
        for record in (at - 76, named):  # of a large archive
            if record < 0:
                found.append(2**64)
            elif end[record : record + 4] == b"PK\x06\x06":
                found.append(struct.unpack_from("<Q", end + bytes(56), record + 40)[0])
    return max(found)


def tail(file: BinaryIO, size: int) -> bytes:
    """The end of an archive of `size` bytes, for `zip_directory_bytes`."""
    file.seek(max(0, size - 2**16 - 98))
    return file.read(2**16 + 98)


def _arrays(path: Path, file: BinaryIO, most: int) -> dict[str, np.ndarray]:
    size = file.seek(0, os.SEEK_END)
    if zip_directory_bytes(tail(file, size), size) > MAX_DIRECTORY_BYTES:
        raise InputError(f"{one_line(path)}: it holds too many arrays")
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if len({member.filename for member in members}) < len(members):
            raise InputError(f"{one_line(path)}: two arrays have one name")
        if sum(member.file_size for member in members) > most:
            raise InputError(f"{one_line(path)}: unpacks to more than {most} bytes")
        found = {}
        for member in members:
            with archive.open(member) as stream:
                found[member.filename.removesuffix(".npy")] = _array(stream, member.file_size)
    return found


def _array(stream: IO[bytes] | zipfile.ZipExtFile, size: int) -> np.ndarray:
    """Of a .npy file's stream of so many bytes; raises ValueError where it is not one."""
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("an array of another version")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.kind not in KINDS or not dtype.itemsize or dtype.shape:
        raise ValueError(f"an array of {str(dtype)[:40]}, neither of numbers nor of text")
    if dtype.kind == "U" and dtype.itemsize > 4 * MAX_CHARACTERS:
        raise ValueError(f"a text of more than {MAX_CHARACTERS} characters")
    if len(shape) > MAX_AXES or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"an array of shape {str(shape)[:80]}")
    n_bytes = dtype.itemsize * math.prod(shape)
    if n_bytes + stream.tell() != size:
        raise ValueError("an array that is not all there, or longer than it says")
    array = np.empty(shape, dtype, order="F" if fortran else "C")
    data = array.reshape(-1, order="A").view(np.uint8).data if n_bytes else memoryview(b"")
    for start in range(0, n_bytes, PART):
        part = stream.read(min(PART, n_bytes - start))
        data[start : start + len(part)] = part
        if len(part) < min(PART, n_bytes - start):
            raise ValueError("an array that is cut off")
    if stream.read(1):
        raise ValueError("an array that is longer than it says")
    return array
