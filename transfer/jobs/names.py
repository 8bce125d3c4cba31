"""Names of people and of output files, from paths."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from glow_jax.io.face_numbers import NUMBERED, split_face
from glow_jax.io.picture_formats import EVERY

MAX_NAME_BYTES = 80  # three such parts fit into a file name of at most 255 bytes


def file_name(text: str) -> str:
    """Text as part of a file name: other characters than letters, digits, ._+- become -."""
    name = os.fsencode(re.sub(r"[^\w.+-]+", "-", text))[:MAX_NAME_BYTES]
    return name.decode(errors="ignore") or "-"


def distinct_names(paths: Sequence[str]) -> list[str]:
    """Distinct names of people from the paths of their pictures, as short as possible.

    A name is the last part of the path, without the suffix of a picture. Where these are equal,
    more parts of the path are included; where the whole paths are equal, a number is added. The
    names also differ as file names.
    """
    parts = [_parts(path) for path in paths]
    length = [1] * len(parts)
    names = [p[-1] for p in parts]
    while True:
        groups: dict[str, list[int]] = {}
        for i, name in enumerate(names):
            groups.setdefault(file_name(name).casefold(), []).append(i)
        longer = [
            i
            for group in groups.values()
            if len(group) > 1
            for i in group
            if length[i] < len(parts[i])
        ]
        if not longer:
            break
        for i in longer:
            length[i] += 1
            names[i] = "/".join(parts[i][-length[i] :])
    for group in groups.values():
        for number, i in enumerate(group[1:], 2):
            names[i] += f"~{number}"
    return names


def own_name(path: Path) -> str:
    """A person's name: that of the folder, or of the one picture without its suffix."""
    return path.resolve().name if path.is_dir() else picture_name(path)


def picture_name(path: str | os.PathLike[str]) -> str:
    """The name of a picture without its suffix, and the number of a face in it: "photo#2"."""
    file, face = split_face(path)
    stem = Path(file).stem
    return stem if face is None else f"{stem}#{face}"


def _parts(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part not in ("", ".")] or ["-"]
    return [*parts[:-1], _without_suffix(parts[-1])]


def _without_suffix(name: str) -> str:
    if numbered := NUMBERED.fullmatch(name):
        return f"{_without_suffix(numbered[1])}#{numbered[2]}"
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and stem and f".{suffix.lower()}" in EVERY else name
