"""Names of people, and parts of names of files."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from glow_jax.io.picture_formats import EVERY

MAX_NAME_BYTES = 80  # three such parts fit into the 255 bytes of a file's name


def file_name(text: str) -> str:
    """Text as part of a file name: other characters than letters, digits, ._+- become -."""
    name = os.fsencode(re.sub(r"[^\w.+-]+", "-", text))[:MAX_NAME_BYTES]
    return name.decode(errors="ignore") or "-"


def distinct_names(paths: Sequence[str]) -> list[str]:
    """Names of people from the paths of their pictures: as short as tells them apart.

    The last part of the path, without the suffix of a picture; where that is not enough, more of
    its parts; a number where even all of them are not. As file names, too, they differ.
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
    """A person's name from a folder, or from one picture."""
    return path.resolve().name if path.is_dir() else path.stem


def _parts(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part not in ("", ".")] or ["-"]
    return [*parts[:-1], _without_suffix(parts[-1])]


def _without_suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and stem and f".{suffix.lower()}" in EVERY else name
