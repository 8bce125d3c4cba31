"""The pictures and people that a job's file names, each path looked up once; and its errors."""

import glob
import os
import re
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason
from glow_jax.io.output_schema import ALIGN, FACES, picture_part
from glow_jax.io.picture_folders import (
    OWN,
    is_beside_pictures,
    left_out,
    list_pictures,
    picture_folders,
)
from glow_jax.io.picture_formats import suffixes

MAX_SHOWN = 20  # errors whose lines are kept; the others are counted


class JobErrors(InputError):
    """What is wrong with a job's file; `lines` tells the first few errors, one each."""

    def __init__(self, lines: Sequence[str], count: int):
        self.lines, self.count = list(lines), count
        super().__init__(lines[0] if count == 1 else f"{lines[0]} (the first of {count} errors)")


class Errors:
    """Errors of a file, the first few in words."""

    def __init__(self, name: str):
        """No error yet in the file of a name."""
        self.name, self.count, self.lines = name, 0, list[str]()

    def add(self, line: int, text: str) -> None:
        """Note an error of a line."""
        self.count += 1
        if len(self.lines) < MAX_SHOWN:
            self.lines.append(f"{self.name}: line {line}: {text}")

    def check(self) -> None:
        """Raise JobErrors if there were any."""
        if self.count:
            raise JobErrors(self.lines, self.count)


class Paths:
    """Pictures and people by number, each text looked up once.

    Attributes:
        folder: in which relative paths start.
        errors: of the file so far.
        files: numbers of pictures, by path.
        people: numbers of people, by their pictures.
        of_people: each person's path, by number.
        notes: a line for each folder in which files were left out.
    """

    def __init__(self, folder: str, errors: Errors):
        """Nothing is looked up yet; relative paths start at `folder`."""
        self.folder, self.errors = folder, errors
        self.files: dict[str, int] = {}
        self.people: dict[tuple[int, ...], int] = {}
        self.of_people: list[str] = []
        self.notes: dict[str, None] = {}
        self._by_number: list[str] = []
        self._expressions: dict[str, tuple[int, ...] | str] = {}
        self._people: dict[str, int | str] = {}

    def expressions(self, text: str, line: int) -> tuple[int, ...]:
        """The pictures that a text names; none, and an error, where there are none."""
        found = self._expressions.get(text)
        if found is None:
            try:
                found = self._numbers(self._pictures(text))
            except InputError as error:
                found = str(error)
            self._expressions[text] = found
        if isinstance(found, str):
            self.errors.add(line, found)
            return ()
        return found

    def person(self, text: str, line: int) -> int:
        """The person whose pictures a text names; -1, and an error, where there are none."""
        found = self._people.get(text)
        if found is None:
            try:
                found = self._person(text, self._pictures(text))
            except InputError as error:
                found = str(error)
            self._people[text] = found
        if isinstance(found, str):
            self.errors.add(line, found)
            return -1
        return found

    def alone(self, picture: int) -> int:
        """The person of whom a picture, by number, is all there is."""
        return self._numbered((picture,), self._by_number[picture])

    def people_of(self, text: str, line: int) -> list[int]:
        """People: of a glob that matches folders, or of a folder that `align` wrote, one each."""
        if crops := self._crops(text):
            return [self.person(folder, line) for folder in crops]
        if glob.has_magic(text) and not os.path.lexists(os.path.join(self.folder, text)):
            matches = self._matches(text)
            folders = [m for m in matches if os.path.isdir(os.path.join(self.folder, m))]
            if folders:
                return [self.person(folder, line) for folder in folders]
        return [self.person(text, line)]

    def _person(self, text: str, pictures: list[str]) -> int:
        return self._numbered(self._numbers(pictures), os.path.join(self.folder, text))

    def _numbered(self, pictures: tuple[int, ...], path: str) -> int:
        person = self.people.setdefault(pictures, len(self.people))
        if person == len(self.of_people):
            # The crops of one person may be named by the folder that `align` wrote.
            part = picture_part(Path(path))
            place = os.path.dirname(self._by_number[pictures[0]])
            self.of_people.append(_named(path) if part in (None, Path(place)) else place)
        return person

    def _numbers(self, paths: Sequence[str]) -> tuple[int, ...]:
        for path in paths:
            if path not in self.files:
                self.files[path] = len(self.files)
                self._by_number.append(path)
        return tuple(self.files[path] for path in paths)

    def _pictures(self, text: str) -> list[str]:
        path = os.path.join(self.folder, text)
        if not text:
            raise InputError("an empty path; name a picture, a folder or a glob")
        if glob.has_magic(text) and not os.path.lexists(path):
            matches = [os.path.join(self.folder, m) for m in self._matches(text)]
            return self._of_glob(text, matches)
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError) as error:
            raise InputError(f"{one_line(text)}: {reason(error)}") from None
        if stat.S_ISREG(mode):
            return [path]
        if not stat.S_ISDIR(mode):
            raise InputError(f"{one_line(text)}: neither a picture nor a folder")
        found = list_pictures(path)
        if found.note:
            self.notes[found.note] = None
        return list(map(str, found.paths))

    def _of_glob(self, text: str, found: list[str]) -> list[str]:
        """The pictures among what a glob matches; the other files are noted."""
        files = [p for p in found if not os.path.isdir(p)]
        endings = {p: os.path.splitext(p)[1].lower() for p in files}
        pictures = [p for p in files if endings[p] in suffixes()]
        others = Counter(e or "no suffix" for e in endings.values() if e not in suffixes())
        kept = [p for p in pictures if not is_beside_pictures(Path(p))]
        note = left_out(others, Counter({OWN: len(pictures) - len(kept)}))
        if not kept:
            line = f"{one_line(text)}: matches no picture ({', '.join(suffixes())})"
            raise InputError(f"{line}; {note}" if note else line)
        if note:
            self.notes[f"{one_line(text)}: {note}"] = None
        return kept

    def _crops(self, text: str) -> list[str]:
        """The folders of people in a folder that `align` wrote, or in its `faces`; else none."""
        path = Path(self.folder, text)
        part = path / FACES if (path / ALIGN).is_file() else path
        if not text or not part.is_dir() or picture_part(part.parent) != part:
            return []
        return [os.path.relpath(p, self.folder or ".") for p in picture_folders(part)]

    def _matches(self, text: str) -> list[str]:
        if os.path.isabs(text):
            return sorted(glob.glob(text, recursive=True))
        return sorted(glob.glob(text, root_dir=self.folder or ".", recursive=True))


def _named(path: str) -> str:
    """A person's path without what is a pattern in it: people/ann_*.png is people/ann."""
    if not glob.has_magic(path) or os.path.lexists(path):
        return path
    folder, name = os.path.split(path)
    parts = [*folder.split("/"), os.path.splitext(name)[0]]
    fixed = [
        re.sub(r"\[[^]]*\]|[*?]", "", p).strip("._- ") if glob.has_magic(p) else p for p in parts
    ]
    return "/".join(part for part in fixed if part) or "-"
