"""The pictures and people in a job file, each path looked up once; and the file's errors."""

import glob
import os
import re
import stat
from collections.abc import Sequence

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason
from glow_jax.io.pictures import SUFFIXES, list_images

MAX_SHOWN = 20  # errors of which the message is kept; further ones are only counted


class JobErrors(InputError):
    """Errors in a job file: `lines` has one line for each of the first, `count` is their number."""

    def __init__(self, lines: Sequence[str], count: int):
        self.lines, self.count = list(lines), count
        super().__init__(lines[0] if count == 1 else f"{lines[0]} (the first of {count} errors)")


class Errors:
    """Collects the errors of a job file."""

    def __init__(self, name: str):
        """Without any errors; `name` is that of the file, for messages."""
        self.name, self.count, self.lines = name, 0, list[str]()

    def add(self, line: int, text: str) -> None:
        """Add an error in a line."""
        self.count += 1
        if len(self.lines) < MAX_SHOWN:
            self.lines.append(f"{self.name}: line {line}: {text}")

    def check(self) -> None:
        """Raise JobErrors if there are any errors."""
        if self.count:
            raise JobErrors(self.lines, self.count)


class Paths:
    """Numbers the pictures and people of a job file; each path is looked up once.

    Attributes:
        folder: folder in which relative paths start.
        errors: errors of the file so far.
        files: number of each picture, by path.
        people: number of each person, by the numbers of the person's pictures.
        of_people: path of each person, by number.
        notes: one line for each folder in which files were left out.
    """

    def __init__(self, folder: str, errors: Errors):
        """Without any paths; relative paths start at `folder`."""
        self.folder, self.errors = folder, errors
        self.files: dict[str, int] = {}
        self.people: dict[tuple[int, ...], int] = {}
        self.of_people: list[str] = []
        self.notes: dict[str, None] = {}
        self._by_number: list[str] = []
        self._expressions: dict[str, tuple[int, ...] | str] = {}
        self._people: dict[str, int | str] = {}

    def expressions(self, text: str, line: int) -> tuple[int, ...]:
        """The pictures that a path or glob stands for; without any, an error is added."""
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
        """The person with the pictures of a path or glob; without any, -1 and an added error."""
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
        """The person whose only picture is the one of this number."""
        return self._numbered((picture,), self._by_number[picture])

    def people_of(self, text: str, line: int) -> list[int]:
        """The people of a path or glob: one per folder that a glob matches, else one in all."""
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
            self.of_people.append(_named(path))
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
            found = [os.path.join(self.folder, m) for m in self._matches(text)]
            pictures = [p for p in found if os.path.splitext(p)[1].lower() in SUFFIXES]
            if not pictures:
                raise InputError(f"{one_line(text)}: matches no picture ({', '.join(SUFFIXES)})")
            return pictures
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError) as error:
            raise InputError(f"{one_line(text)}: {reason(error)}") from None
        if stat.S_ISREG(mode):
            return [path]
        if not stat.S_ISDIR(mode):
            raise InputError(f"{one_line(text)}: neither a picture nor a folder")
        images, line = list_images(path)
        if line:
            self.notes[line] = None
        return [str(p) for p in images]

    def _matches(self, text: str) -> list[str]:
        if os.path.isabs(text):
            return sorted(glob.glob(text, recursive=True))
        return sorted(glob.glob(text, root_dir=self.folder or ".", recursive=True))


def _named(path: str) -> str:
    """A person's path without the pattern of a glob: people/ann_*.png becomes people/ann."""
    if not glob.has_magic(path) or os.path.lexists(path):
        return path
    folder, name = os.path.split(path)
    parts = [*folder.split("/"), os.path.splitext(name)[0]]
    fixed = [
        re.sub(r"\[[^]]*\]|[*?]", "", p).strip("._- ") if glob.has_magic(p) else p for p in parts
    ]
    return "/".join(part for part in fixed if part) or "-"
