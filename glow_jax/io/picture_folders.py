"""The pictures of folders: which files count, in which order, and what is left out.

Whatever is named like a picture counts; broken links too, so that reading them reports them. Left
out and counted are files of other names, hidden folders and links to folders below the one that is
searched, and what glow-jax writes beside pictures (contact sheets, masks, mean faces, photographs
that outputs were pasted into), known by its metadata whatever its name. Hidden files are not
counted. In a folder that `align`, `transfer` or `batch` wrote, only the crops or outputs count.

Names sort naturally (2.png before 10.png), whatever the order on the disk: it is the same on
every host.
"""

import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from glow_jax.io.containers import StrPath
from glow_jax.io.errors import InputError
from glow_jax.io.face_numbers import split_face
from glow_jax.io.files import open_without_waiting
from glow_jax.io.messages import counted, one_line, reason
from glow_jax.io.output_schema import picture_part
from glow_jax.io.picture_formats import accepted, how_to_read, suffixes
from glow_jax.io.provenance import Provenance, read_provenance

AnyPath = TypeVar("AnyPath", str, Path)

MAX_KINDS = 8  # of files left out, that a line names
HEAD_BYTES = 2**17  # of a file, in which its metadata are looked for
READ_THREADS = 8
FEW = 32  # files that are looked into without threads

OWN = "picture that glow-jax wrote beside others"
HIDDEN, LINK, INSIDE = "hidden folder", "link to a folder", "folder of pictures"
# Keys of the recipes of what is written beside pictures; `is_beside_pictures` confirms.
_BESIDE = re.compile(rb'"(sheet|job|mask_of|mean_of|pasted_into|temperature)":')


@dataclass(frozen=True)
class Listing:
    """The pictures of a folder.

    Attributes:
        folder: that was searched, or the one in it where the pictures of one person lie.
        paths: of the pictures, in order.
        other_files: how many files were left out, by the endings of their names.
        other: how many hidden folders, links to folders and pictures of our own were left out.
    """

    folder: Path
    paths: list[Path] = field(default_factory=list)
    other_files: Counter[str] = field(default_factory=Counter)
    other: Counter[str] = field(default_factory=Counter)

    @property
    def note(self) -> str:
        """One line about what was left out; "" for nothing."""
        what = left_out(self.other_files, self.other)
        return f"{one_line(self.folder)}: {what}" if what else ""


def left_out(files: Counter[str], other: Counter[str]) -> str:
    """What was left out, in words; "" for nothing. The arguments are those of `Listing`."""
    parts = []
    if files:
        number = sum(files.values())
        are = "1 file that is" if number == 1 else f"{number} files that are"
        listed = ", ".join(f"{suffix} {n}" for suffix, n in files.most_common(MAX_KINDS))
        parts.append(f"{are} not {accepted()} ({one_line(listed)})")
    for kind in (OWN, INSIDE, HIDDEN, LINK):
        if n := other[kind]:
            head, space, tail = kind.partition(" ") if kind != HIDDEN else (kind, "", "")
            parts.append(f"{counted(n, head)}{space}{tail}")
    hints = dict.fromkeys(filter(None, map(how_to_read, files)))
    return "; ".join([f"left out {', '.join(parts)}", *hints]) if parts else ""


def image_paths(path: StrPath) -> list[Path]:
    """The pictures of a folder, or the one file given: `list_pictures` without what is left out."""
    return list_pictures(path).paths


def list_pictures(path: StrPath) -> Listing:
    """List the pictures of one person or kind: those that lie in a folder, or the one file given.

    Folders in it are counted and not searched, except where `align` wrote it: then the crops are
    listed, if they are of one person. A file given by name may have any ending.

    Raises:
        InputError: `path` does not exist, cannot be listed, holds no picture, or is a folder with
            the crops of several people.
    """
    folder = Path(path)
    if not _is_folder(folder):
        return Listing(folder, [folder])
    part = picture_part(folder)
    if part is not None:
        people = picture_folders(part)
        if len(people) > 1:
            raise InputError(
                f"{one_line(folder)}: pictures of {len(people)} people; name one of them, such as "
                f"{one_line(people[0])}"
            )
        place = people[0] if people else part
        folder = folder if place == part else place  # which names the person
    else:
        place = folder
    found = Listing(folder)
    folders, files, _, links = _entries(place)
    add_files(found, place, files)
    if not found.paths:
        raise _no_pictures(found, picture_folders(folder))
    found.other.update({INSIDE: sum(has_pictures(place / name) for name in folders), LINK: links})
    return found


def list_tree(path: StrPath) -> Listing:
    """List the pictures of a folder and of the folders in it, at any depth; or the one file given.

    Raises:
        InputError: `path` does not exist, cannot be listed or holds no picture.
    """
    top = Path(path)
    if not _is_folder(top):
        return Listing(top, [top])
    found = Listing(top)
    for folder, files in walk(top, found.other):
        add_files(found, folder, files)
    if not found.paths:
        raise _no_pictures(found, [])
    keys = {p: tuple(map(_part_key, p.relative_to(top).parts)) for p in found.paths}
    found.paths.sort(key=keys.__getitem__)
    return found


def walk(
    top: Path, other: Counter[str], leave_out: Path | None = None
) -> Iterator[tuple[Path, list[str]]]:
    """The folders below one, itself included, in order, with the names of their files.

    Hidden names and links to folders are left out, and counted in `other`; of a folder that
    glow-jax wrote, whatever are not its pictures.

    Raises:
        InputError: a folder cannot be listed.
    """
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        folders, files, n_hidden, n_links = _entries(folder)
        part = picture_part(folder)
        if part is not None:
            other[OWN] += sum(name.lower().endswith(suffixes()) for name in files)
            waiting += [part] if part.is_dir() else []
            continue
        other[HIDDEN] += n_hidden
        other[LINK] += n_links
        yield folder, files
        inside = (folder / name for name in reversed(folders))
        waiting += [p for p in inside if leave_out is None or p.resolve() != leave_out]


def picture_folders(top: Path) -> list[Path]:
    """The folders below one, itself included, in which there are files named like pictures."""
    endings = suffixes()
    return [
        folder
        for folder, files in walk(top, Counter())
        if any(name.lower().endswith(endings) for name in files)
    ]


def has_pictures(folder: StrPath) -> bool:
    """Whether files named like pictures lie in a folder, or it cannot be listed."""
    try:
        return any(name.lower().endswith(suffixes()) for name in _entries(Path(folder))[1])
    except InputError:
        return True


def is_beside_pictures(path: Path) -> bool:
    """Whether glow-jax wrote a picture beside others, by its metadata: a sheet, mask or the like.

    A file that cannot be read is none: whoever reads it reports it.
    """
    try:
        with open(path, "rb", opener=open_without_waiting) as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            head = file.read(HEAD_BYTES) if regular else b""
        at_end = head[8:16] == b"WEBPVP8X" and bool(head[20] & 0x04)  # where a WebP has its XMP
        if not at_end and not _BESIDE.search(head):
            return False
        record = read_provenance(path)
    except (OSError, ValueError, IndexError, InputError):
        return False
    return record is not None and _beside(record)


def _beside(record: Provenance) -> bool:
    """Whether a record is that of a contact sheet, mask, mean face or pasted photograph."""
    keys = set(record.recipe)
    if keys & {"sheet", "mask_of", "mean_of", "pasted_into"}:
        return True
    several = record.recipe.get("n") != 1  # samples on one picture
    return (
        keys == {"job"}
        or (keys == {"seed", "temperature", "n"} and several)
        or (keys == {"step", "seed", "temperature"})
    )


def add_files(found: Listing, folder: Path, files: Sequence[str]) -> None:
    """Add the pictures of a folder's files, in order, and count the others."""
    paths = [folder / name for name in files]
    found.paths.extend(only_pictures(paths, found.other_files, found.other))


def only_pictures(
    files: Sequence[AnyPath], other_files: Counter[str], other: Counter[str]
) -> list[AnyPath]:
    """The pictures among files, as they are given; the others are counted as in a `Listing`."""
    endings = suffixes()
    pictures = []
    for file in files:
        suffix = Path(file).suffix.lower()
        if suffix in endings:
            pictures.append(file)
        else:
            other_files[suffix or "no suffix"] += 1
    paths = [Path(picture) for picture in pictures]
    if len(paths) < FEW:
        own = [is_beside_pictures(path) for path in paths]
    else:
        with ThreadPoolExecutor(READ_THREADS) as pool:
            own = list(pool.map(is_beside_pictures, paths))
    other[OWN] += sum(own)
    return [picture for picture, ours in zip(pictures, own, strict=True) if not ours]


def _entries(folder: Path) -> tuple[list[str], list[str], int, int]:
    """Names of folders and of files in order, and the numbers of hidden and of linked folders."""
    folders, files, hidden, links = [], [], 0, 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if _leads_to_folder(entry):
                    if entry.is_symlink():
                        links += 1
                    elif entry.name.startswith("."):
                        hidden += 1
                    else:
                        folders.append(entry.name)
                elif not entry.name.startswith("."):
                    files.append(entry.name)
    except OSError as error:
        raise InputError(f"{one_line(folder)}: cannot be read ({reason(error)})") from error
    return sorted(folders, key=_part_key), sorted(files, key=_part_key), hidden, links


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one; a link to itself is a broken link."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(os.stat(split_face(path)[0]).st_mode)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise InputError(f"{one_line(path)}: cannot be read ({reason(error)})") from error


def _no_pictures(found: Listing, inside: Sequence[Path]) -> InputError:
    where, note = one_line(found.folder), left_out(found.other_files, found.other)
    line = f"{where}: no images in this folder; accepted: {', '.join(suffixes())}"
    if inside:
        line += f"; a folder in it has some: {one_line(inside[0])}"
    return InputError(f"{line}; {note}" if note else line)


def _part_key(name: str) -> tuple[list[str | int], str]:
    """By text and numbers in turn, text first, so that any two keys compare; then by bytes."""
    parts = re.split(r"([0-9]+)", unicodedata.normalize("NFC", name).casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name
