"""The directory of a zip archive is measured before `zipfile` reads it."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from glow_jax.convert.torch_file import Unzip
from glow_jax.io.budget import Budget
from glow_jax.io.errors import InputError
from glow_jax.io.npz import MAX_DIRECTORY_BYTES, read_npz, zip_directory_bytes

HUGE = 2**26
SMALL_END = struct.Struct("<4s4sHHIIH")
LARGE_END = struct.Struct("<4sQHHIIQQQQ")
LOCATOR = struct.Struct("<4sIQI")


def small_end(size: int = HUGE, disks: bytes = bytes(4), comment: int = 0) -> bytes:
    return SMALL_END.pack(b"PK\x05\x06", disks, 1, 1, size, 0, comment)


def large_end(size: int, named: int, inside: bytes = bytes(8)) -> bytes:
    """A large archive's three records; the locator names a place in the file."""
    made_by = struct.unpack("<II", inside)
    record = LARGE_END.pack(b"PK\x06\x06", 44, 45, 45, *made_by, 1, 1, size, 0)
    return record + LOCATOR.pack(b"PK\x06\x07", 0, named, 1) + small_end(0xFFFFFFFF)


DECOY = LARGE_END.pack(b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, 46, 0)
ENDS = {
    "plain": small_end(),
    "its signature again inside": small_end(disks=b"PK\x05\x06"),
    "a comment": small_end(comment=9) + b"a comment",
    "a large archive": large_end(HUGE, 0),
    "a large archive, its signature again inside": large_end(HUGE, 0, b"PK\x06\x06PK\x06\x06"),
    "a large archive whose locator names a decoy": DECOY + large_end(HUGE, 0),
    "a large archive whose locator names the record": DECOY.replace(
        struct.pack("<Q", 46), struct.pack("<Q", HUGE)
    )
    + large_end(46, 0),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_directory_is_measured_by_every_end_that_may_count(name: str, tmp_path: Path) -> None:
    data = ENDS[name]
    assert zip_directory_bytes(data, len(data)) >= HUGE > MAX_DIRECTORY_BYTES
    path = tmp_path / "a.npz"
    path.write_bytes(data)
    with pytest.raises(InputError, match="holds too many arrays"):
        read_npz(path, 2**30)
    with pytest.raises(InputError, match="whose directory is larger than 16 MiB"):
        Unzip(np.frombuffer(data, np.uint8), Budget())


def test_a_record_that_lies_before_the_end_that_was_read_counts_as_large() -> None:
    end = large_end(46, named=0)
    assert zip_directory_bytes(end, len(end) + 10**6) == 2**64


@pytest.mark.parametrize("comment", [b"", b"a comment"])
def test_an_honest_archive_has_its_own_directory(comment: bytes) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.comment = comment
        archive.writestr("a.npy", b"1234")
    size = 46 + len("a.npy")
    assert zip_directory_bytes(file.getvalue(), len(file.getvalue())) == size


def test_a_text_of_many_characters_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    header = io.BytesIO()
    about = {"descr": f"<U{2**28}", "fortran_order": False, "shape": (1,)}
    np.lib.format.write_array_header_1_0(header, about)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("names.npy", header.getvalue())
    with pytest.raises(InputError, match="a text of more than 1048576 characters"):
        read_npz(path, 2**31)
    np.savez(path, names=np.array(["a" * 1000]))
    assert read_npz(path, 2**20)["names"].tolist() == ["a" * 1000]
