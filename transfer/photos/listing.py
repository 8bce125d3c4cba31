"""List the photographs of files and folders, by person."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line
from glow_jax.io.pictures import SUFFIXES, image_paths


class PhotographFile(NamedTuple):
    """A photograph on disk.

    Attributes:
        path: of the file.
        person: name of the person, and of the folder of the person's crops; "" where the
            photograph was given by itself, outside any folder.
    """

    path: Path
    person: str


def list_photographs(
    paths: Sequence[Path], leave_out: Path | None = None
) -> tuple[list[PhotographFile], Counter[str]]:
    """List photographs, and count the other files.

    A folder that contains photographs is a person with the folder's name; a folder of folders is a
    collection of people. Hidden files and folders are skipped, links to folders are not followed.

    Args:
        paths: files and folders.
        leave_out: a folder that is not searched, such as the output folder.

    Returns:
        Photographs, and the number of other files by suffix.

    Raises:
        InputError: a path does not exist, there is no photograph, or two folders would be one
            person.
    """
    found: list[PhotographFile] = []
    others: Counter[str] = Counter()
    people: dict[str, Path] = {}
    hidden = None if leave_out is None else leave_out.resolve()
    for path in paths:
        if not path.exists():
            raise InputError(f"{one_line(path)}: no such file or folder")
        if not path.is_dir():
            found.append(PhotographFile(path, ""))
            continue
        inside = _walk(path, hidden, others)
        own = "" if all(folder != path for folder, _ in inside) else path.resolve().name
        for folder, files in inside:
            person = "/".join(part for part in (own, *folder.relative_to(path).parts) if part)
            if people.setdefault(person, folder).resolve() != folder.resolve():
                raise InputError(
                    f"{one_line(folder)} and {one_line(people[person])} would both be person "
                    f"{person!r}; rename one of them"
                )
            found += [PhotographFile(file, person) for file in files]
    if not found:
        seen = ", ".join(one_line(p) for p in paths)
        raise InputError(f"{seen}: no photographs; accepted: {', '.join(SUFFIXES)}")
    return list(dict.fromkeys(found)), others


def _walk(top: Path, hidden: Path | None, others: Counter[str]) -> list[tuple[Path, list[Path]]]:
    """All folders in `top` that contain photographs, each with its photographs in natural order."""
    found = []
    for at, folders, files in os.walk(top):
        folder = Path(at)
        folders[:] = sorted(
            f for f in folders if not f.startswith(".") and (folder / f).resolve() != hidden
        )
        seen = [Path(name).suffix.lower() for name in files if not name.startswith(".")]
        others.update(suffix or "no suffix" for suffix in seen if suffix not in SUFFIXES)
        if any(suffix in SUFFIXES for suffix in seen):
            found.append((folder, image_paths(folder)))
    return found
