"""List the photographs of files and folders, by person."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from glow_jax.io.errors import InputError
from glow_jax.io.face_numbers import split_face
from glow_jax.io.messages import one_line
from glow_jax.io.picture_folders import Listing, add_files, left_out, walk
from glow_jax.io.picture_formats import suffixes


class PhotographFile(NamedTuple):
    """A photograph on disk.

    Attributes:
        path: of the file, perhaps with the number of a face (`glow_jax.io.face_numbers`).
        person: name of the person, and of the folder of the person's crops; "" where the
            photograph was given by itself, outside any folder.
    """

    path: Path
    person: str


def list_photographs(
    paths: Sequence[Path], leave_out: Path | None = None
) -> tuple[list[PhotographFile], str]:
    """List photographs, and describe what is left out.

    A folder that contains photographs is a person with the folder's name; a folder of folders is a
    collection of people. What counts as a photograph: `glow_jax.io.picture_folders`.

    Args:
        paths: files and folders.
        leave_out: a folder that is not searched, such as the output folder.

    Returns:
        Photographs, and a description of what was left out, "" for nothing.

    Raises:
        InputError: a path does not exist, there is no photograph, or two folders would be one
            person.
    """
    found: list[PhotographFile] = []
    files: Counter[str] = Counter()
    other: Counter[str] = Counter()
    people: dict[str, Path] = {}
    hidden = None if leave_out is None else leave_out.resolve()
    for path in paths:
        if not os.path.exists(split_face(path)[0]):
            raise InputError(f"{one_line(path)}: no such file or folder")
        if not path.is_dir():
            found.append(PhotographFile(path, ""))
            continue
        inside = []
        for folder, names in walk(path, other, hidden):
            listing = Listing(folder, [], files, other)
            add_files(listing, folder, names)
            inside += [(folder, listing.paths)] if listing.paths else []
        own = "" if all(folder != path for folder, _ in inside) else path.resolve().name
        for folder, photographs in inside:
            person = "/".join(part for part in (own, *folder.relative_to(path).parts) if part)
            if people.setdefault(person, folder).resolve() != folder.resolve():
                raise InputError(
                    f"{one_line(folder)} and {one_line(people[person])} would both be person "
                    f"{person!r}; rename one of them"
                )
            found += [PhotographFile(file, person) for file in photographs]
    note = left_out(files, other)
    if not found:
        why = f"no photographs; accepted: {', '.join(suffixes())}"
        why += f"; {note}" if note else ""
        raise InputError(f"{', '.join(one_line(p) for p in paths)}: {why}")
    return list(dict.fromkeys(found)), note
