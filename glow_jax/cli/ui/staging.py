"""Put a user's files into a folder under the names that the user gave them.

The command that the page shows names the same files, and outputs hold the names of their inputs:
so the command makes the same bytes.
"""

import dataclasses
import re
import shutil
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason
from glow_jax.io.picture_formats import EVERY

MAX_PICTURE_BYTES = 20 * 10**6
MAX_PICTURES = 16  # of one person
MAX_ZIP_BYTES = 200 * 10**6  # of a batch's pictures, packed and unpacked
MAX_ZIP_FILES = 2000
MAX_NAME = 80  # characters
MAX_DEPTH = 8  # folders
BLOCK = 2**20
LINK = 0o120000  # type bits of a symbolic link, as ZIP files keep them


@dataclasses.dataclass(frozen=True)
class Upload:
    """A file that the browser sent: where it is, and its name on the user's disk."""

    path: Path
    name: str


def safe_name(name: str, taken: Iterable[str] = ()) -> str:
    """A user's file name, without folders, as a file name here that is not taken.

    Letters, digits, spaces and ._+- stay; other characters become -. Where the name without its
    ending is taken, a number is added: outputs are named by it.

    Args:
        name: of the user's file.
        taken: names in use.
    """
    last = re.split(r"[/\\]", name)[-1]
    last = re.sub(r"[^\w .+-]", "-", last).strip(" ").lstrip(".-") or "picture"
    stem, dot, ending = last.rpartition(".")
    if not dot or f".{ending.lower()}" not in EVERY:
        stem, ending = last, ""
    stem, end = stem[:MAX_NAME] or "picture", f".{ending}" if ending else ""
    used = {_stem(one).casefold() for one in taken}
    number, found = 2, stem
    while found.casefold() in used:
        found, number = f"{stem}-{number}", number + 1
    return found + end


def stage_person(uploads: Sequence[Upload], folder: Path, name: str, taken: Iterable[str]) -> Path:
    """Copy a person's pictures into a folder.

    Args:
        uploads: one or more pictures.
        folder: an existing folder.
        name: of the folder that several pictures get.
        taken: names in `folder` that are in use.

    Returns:
        The one picture, or the folder with the pictures.

    Raises:
        InputError: too many pictures, or a file is too large.
    """
    if len(uploads) > MAX_PICTURES:
        raise InputError(f"{len(uploads)} pictures of one person; at most {MAX_PICTURES}")
    if len(uploads) == 1:
        return _copied(uploads[0], folder / safe_name(uploads[0].name, taken))
    place = folder / safe_name(name, taken)
    place.mkdir()
    for upload in uploads:
        _copied(upload, place / safe_name(upload.name, (p.name for p in place.iterdir())))
    return place


def stage_file(upload: Upload, folder: Path, most: int, what: str) -> Path:
    """Copy a file into an empty folder under the user's name.

    Args:
        upload: the file.
        folder: an existing folder.
        most: largest accepted size, bytes.
        what: what the file is, such as "a clip".

    Raises:
        InputError: it is too large.
    """
    return _copied(upload, folder / safe_name(upload.name), most, what)


def unzip(archive: Path, folder: Path) -> list[Path]:
    """The files of a ZIP, below a folder.

    Args:
        archive: a ZIP file that may be hostile.
        folder: an existing folder.

    Raises:
        InputError: it is no ZIP, has too many or too large files, a link, an encrypted file, or a
            name that leads out of the folder.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [one for one in opened.infolist() if not one.is_dir()]
            _check_members(members)
            return _extracted(opened, members, folder)
    except InputError:
        raise
    except Exception as error:  # zipfile raises almost anything on damaged files
        raise InputError(f"{one_line(archive.name)}: not a ZIP file ({reason(error)})") from None


def _check_members(members: Sequence[zipfile.ZipInfo]) -> None:
    if len(members) > MAX_ZIP_FILES:
        raise InputError(f"the ZIP has {len(members)} files; at most {MAX_ZIP_FILES}")
    if (size := sum(one.file_size for one in members)) > MAX_ZIP_BYTES:
        raise InputError(f"the ZIP unpacks to {size} bytes; at most {MAX_ZIP_BYTES}")
    for one in members:
        parts = PurePosixPath(one.filename.replace("\\", "/")).parts
        name = one_line(one.filename)
        if not parts or parts[0] == "/" or ".." in parts or "\0" in one.filename or ":" in parts[0]:
            raise InputError(f"{name}: a path in the ZIP that leads out of it")
        if len(parts) > MAX_DEPTH or max(map(len, parts)) > 2 * MAX_NAME:
            raise InputError(f"{name}: too long a path in the ZIP")
        if (one.external_attr >> 16) & 0o170000 == LINK:
            raise InputError(f"{name}: a link in the ZIP; pack the file itself")
        if one.flag_bits & 1:
            raise InputError(f"{name}: encrypted in the ZIP; pack it without a password")


def _extracted(
    opened: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo], folder: Path
) -> list[Path]:
    """What the members hold; the sizes in their headers are not believed."""
    left, found = MAX_ZIP_BYTES, []
    for one in members:
        path = folder.joinpath(*PurePosixPath(one.filename.replace("\\", "/")).parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(one) as source, open(path, "xb") as target:
            while block := source.read(min(BLOCK, left + 1)):
                left -= len(block)
                if left < 0:
                    raise InputError(f"the ZIP unpacks to more than {MAX_ZIP_BYTES} bytes")
                target.write(block)
        found.append(path)
    return found


def _copied(upload: Upload, path: Path, most: int | None = None, what: str = "a picture") -> Path:
    most = MAX_PICTURE_BYTES if most is None else most
    size = upload.path.stat().st_size
    if size > most:
        raise InputError(f"{one_line(upload.name)}: {size} bytes; at most {most} in {what}")
    shutil.copyfile(upload.path, path)
    return path


def _stem(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return stem if dot and f".{ending.lower()}" in EVERY else name
