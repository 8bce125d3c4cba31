"""The pictures and people in a job file, each path looked up once; and the file's errors."""

import glob
import os
import re
import stat
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from glow_jax.io.errors import InputError
from glow_jax.io.face_numbers import split_face
from glow_jax.io.messages import counted, one_line, reason
from glow_jax.io.output_schema import ALIGN, FACES, picture_part
from glow_jax.io.picture_folders import (
    INSIDE,
    has_pictures,
    left_out,
    list_pictures,
    only_pictures,
    picture_folders,
)
from glow_jax.io.picture_formats import suffixes
from glow_jax.io.spellings import spelled_as_there

MAX_FOLDERS = 50_000  # that a pattern searches
MAX_MATCHES = 2_000_000  # of a pattern
MAX_CPU_SECONDS = 10.0  # of one search
MAX_ROWS = 2**31 - 1  # outputs of one job
MAX_SHOWN = 20  # errors whose lines are kept; the others are counted


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

    def add(self, line: int, text: str, column: str = "") -> None:
        """Note an error of a line, and of a column of a table."""
        self.count += 1
        if len(self.lines) < MAX_SHOWN:
            where = f"column {column}: " if column else ""
            self.lines.append(f"{self.name}: line {line}: {where}{text}")

    def check(self) -> None:
        """Raise JobErrors if there are any errors."""
        if self.count:
            raise JobErrors(self.lines, self.count)


class Paths:
    """Numbers the pictures and people of a job file; each path is looked up once.

    Attributes:
        folder: folder in which relative paths start.
        errors: errors of the file so far.
        inside: whether a path may not lead out of that folder.
        max_rows: outputs that the file may ask for.
        files: number of each picture, by path.
        people: number of each person, by the numbers of the person's pictures.
        of_people: path of each person, by number.
        notes: one line for each folder in which files were left out.
    """

    def __init__(self, folder: str, errors: Errors, inside: bool = False, max_rows: int = MAX_ROWS):
        """Without any paths; relative paths start at `folder`."""
        self.folder, self.errors, self.inside = folder, errors, inside
        self.max_rows = max_rows
        self.files: dict[str, int] = {}
        self.people: dict[tuple[int, ...], int] = {}
        self.of_people: list[str] = []
        self.notes: dict[str, None] = {}
        self._by_number: list[str] = []
        self._expressions: dict[str, tuple[int, ...] | str] = {}
        self._people: dict[str, int | str] = {}

    def expressions(self, text: str, line: int, column: str = "") -> tuple[int, ...]:
        """The pictures that a text names; none, and an error, where there are none."""
        found = self._expressions.get(text)
        if found is None:
            try:
                found = self._numbers(self._pictures(self._spelled(text)))
            except InputError as error:
                found = str(error)
            self._expressions[text] = found
        if isinstance(found, str):
            self.errors.add(line, found, column)
            return ()
        return found

    def person(self, text: str, line: int, column: str = "") -> int:
        """The person whose pictures a text names; -1, and an error, where there are none."""
        found = self._people.get(text)
        if found is None:
            try:
                spelled = self._spelled(text)
                found = self._person(spelled, self._pictures(spelled))
            except InputError as error:
                found = str(error)
            self._people[text] = found
        if isinstance(found, str):
            self.errors.add(line, found, column)
            return -1
        return found

    def alone(self, picture: int) -> int:
        """The person whose only picture is the one of this number."""
        return self._numbered((picture,), self._by_number[picture])

    def people_of(self, text: str, line: int) -> list[int]:
        """People: of a glob that matches folders, or of a folder that `align` wrote, one each."""
        if self.inside and leads_out(text):
            return [self.person(text, line)]  # which notes the error
        text = self._spelled(text)
        if crops := self._crops(text):
            return [self.person(folder, line) for folder in crops]
        if glob.has_magic(text) and not os.path.lexists(os.path.join(self.folder, text)):
            matches = self._matches(text)
            folders = [m for m in matches if os.path.isdir(os.path.join(self.folder, m))]
            if folders:
                self._note_pictures_beside(text, set(matches) - set(folders))
                return [self.person(folder, line) for folder in folders]
        return [self.person(text, line)]

    def _note_pictures_beside(self, text: str, files: set[str]) -> None:
        n = sum(os.path.splitext(file)[1].lower() in suffixes() for file in files)
        if n:
            beside = f"left out {counted(n, 'picture')} beside the folders, which are a person each"
            self.notes[f"{one_line(text)}: {beside}"] = None

    def _spelled(self, text: str) -> str:
        """A path or glob, spelled as what it names is."""

        def exists(one: str) -> bool:
            if os.path.lexists(os.path.join(self.folder, one)):
                return True
            return glob.has_magic(one) and bool(self._matches(one))

        if self.inside and leads_out(text):
            raise InputError(f"{one_line(text)}: leads out of the folder of the job file")
        return spelled_as_there(text, exists)

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
            mode = os.stat(split_face(path)[0]).st_mode
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
        folders = set() if "**" in text else set(found) - set(files)
        other_files: Counter[str] = Counter()
        other = Counter({INSIDE: sum(map(has_pictures, folders))})
        kept = only_pictures(files, other_files, other)
        note = left_out(other_files, other)
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
        """Paths that a pattern matches, in order, of a bounded search."""
        parts = text.split("/")
        for n in range(1, len(parts)):
            if glob.has_magic(parts[n - 1]):
                searched = "/".join(parts[:n]) + "/"
                self._at_most(text, MAX_FOLDERS, "folders", searched)
        return sorted(self._at_most(text, MAX_MATCHES, "files", text))

    def _at_most(self, text: str, most: int, what: str, pattern: str) -> list[str]:
        root = None if os.path.isabs(pattern) else self.folder or "."
        found = glob.iglob(pattern, root_dir=root, recursive=True)
        some, start = [], time.process_time()
        for path in found:
            some.append(path)
            if len(some) > most or time.process_time() - start > MAX_CPU_SECONDS:
                why = f"searches too many folders (stopped after {len(some)} {what}); name fewer"
                raise InputError(f"{one_line(text)}: {why}")
        return some


def leads_out(text: str) -> bool:
    """Whether a path is absolute, or has a part ".."."""
    return os.path.isabs(text) or ".." in text.split("/")


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
