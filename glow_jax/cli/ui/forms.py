"""What a person asks of the page, as data: the same as a request, and as a command line."""

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glow_jax.io.containers import scan_file
from transfer.expression.edits import Edit
from transfer.photos.align import Limits
from transfer.photos.aligned_faces import Photographs
from transfer.requests import EditRequest, TransferRequest

# Of a face's crop in its photograph, pixels: the bundled pictures, of 64 pixels, can be combined
# with photographs.
MIN_FACE_PX = 40
BATCH_SIZE = 1  # so that a slider answers at once; the command line says so, for the same bytes
OUT = "result"
FOR_PHOTOGRAPHS, FOR_ALIGNED = "photo64", "faces64"


@dataclasses.dataclass(frozen=True)
class Person:
    """A picture, or a folder of pictures of one person.

    Attributes:
        path: where it is.
        shown: the path that the command line names.
    """

    path: Path
    shown: str

    @property
    def pictures(self) -> list[Path]:
        """The files."""
        return sorted(self.path.iterdir()) if self.path.is_dir() else [self.path]


@dataclasses.dataclass(frozen=True)
class TransferForm:
    """One expression for one target.

    Attributes:
        expression: a picture.
        target: who gets the expression.
        source: other pictures of the expression's person; None if there are none.
        method: name of the transfer method.
        model: a bundled name, or a checkpoint directory.
        photographs: whether faces are cut out of the pictures.
        paste_back: whether the result is pasted into the target's photograph.
        neutralise: whether the target's own expression is removed.
    """

    expression: Person
    target: Person
    source: Person | None = None
    method: str = "warp"
    model: str = FOR_ALIGNED
    photographs: bool = False
    paste_back: bool = False
    neutralise: bool = False

    def request(self, alpha: float, out: Path) -> TransferRequest:
        """The request that makes the files.

        Raises:
            InputError: the fields contradict each other.
        """
        return TransferRequest(
            expressions=[self.expression.path],
            source=None if self.source is None else self.source.path,
            targets=[self.target.path],
            out=out,
            model=self.model,
            method=self.method,
            alphas=[alpha],
            batch_size=BATCH_SIZE,
            photographs=photograph_settings() if self.photographs else None,
            paste_back=self.paste_back,
            neutralise=self.neutralise,
        )

    def words(self, alpha: float) -> list[str]:
        """The command line that makes the same files."""
        source = [] if self.source is None else ["--source", self.source.shown]
        return [
            *("glow-jax", "transfer", "--expression", self.expression.shown, *source),
            *("--target", self.target.shown),
            *alpha_words(alpha),
            *("--method", self.method, "--model", self.model, "--batch-size", str(BATCH_SIZE)),
            *photograph_words(self.photographs),
            *(["--paste-back"] if self.paste_back else []),
            *(["--neutralise"] if self.neutralise else []),
            *("-o", OUT),
        ]


@dataclasses.dataclass(frozen=True)
class Stated:
    """What the sliders of the tab Edit say.

    Attributes:
        neutral: whether the expression that the face shows is removed first.
        added: (name of an Action Unit, activation that is added), without zeros.
        alpha: how much of the edit is made; always 1, except for directions.
    """

    neutral: bool = False
    added: tuple[tuple[str, float], ...] = ()
    alpha: float = 1.0

    @property
    def edit(self) -> Edit:
        """The Action Units as an edit."""
        return Edit(add=dict(self.added), neutral=self.neutral)


@dataclasses.dataclass(frozen=True)
class EditForm:
    """One picture to edit.

    Attributes:
        picture: who is edited.
        reference: neutral pictures of the same person; used where the expression is removed.
        direction: a file of `glow-jax direction`, in place of Action Units.
        model: a bundled name, or a checkpoint directory.
        photographs: whether the face is cut out of the picture.
        paste_back: whether the result is pasted into the photograph.
    """

    picture: Person
    reference: Person | None = None
    direction: Person | None = None
    model: str = FOR_ALIGNED
    photographs: bool = False
    paste_back: bool = False

    def request(self, stated: Stated, out: Path) -> EditRequest:
        """The request that makes the files.

        Raises:
            InputError: the fields contradict each other, or an activation is too large.
        """
        reads = stated.neutral and self.reference is not None
        return EditRequest(
            pictures=[self.picture.path],
            out=out,
            edit=stated.edit,
            direction=None if self.direction is None else self.direction.path,
            reference=self.reference.path if reads and self.reference else None,
            model=self.model,
            alphas=[stated.alpha],
            batch_size=BATCH_SIZE,
            photographs=photograph_settings() if self.photographs else None,
            paste_back=self.paste_back,
        )

    def words(self, stated: Stated) -> list[str]:
        """The command line that makes the same files."""
        units = [f"{name}{value:+g}" for name, value in stated.added]
        reads = stated.neutral and self.reference is not None
        return [
            *("glow-jax", "edit", self.picture.shown),
            *(word for unit in units for word in ("--au", unit)),
            *(["--neutral"] if stated.neutral else []),
            *(["--reference", self.reference.shown] if reads and self.reference else []),
            *(["--direction", self.direction.shown] if self.direction else []),
            *(alpha_words(stated.alpha) if self.direction else []),
            *("--model", self.model, "--batch-size", str(BATCH_SIZE)),
            *photograph_words(self.photographs),
            *(["--paste-back"] if self.paste_back else []),
            *("-o", OUT),
        ]


Form = TransferForm | EditForm


def inputs_of(form: Any) -> dict[str, Path]:
    """Every input of a form, by the path that the command line would name it or its folder by."""
    found = {}
    for person in _people(form).values():
        for path in person.pictures:
            inside = [path.name] if person.path.is_dir() else []
            found["/".join([person.shown, *inside])] = path
    return found


def people_of(form: Any) -> list[Path]:
    """The pictures and folders of a form."""
    return [person.path for person in _people(form).values()]


def portable(form: Any) -> Any:
    """A form with its inputs under the names that they have in the ZIP of a result."""
    people = {name: Person(one.path, one.path.name) for name, one in _people(form).items()}
    return dataclasses.replace(form, **people)


def _people(form: Any) -> dict[str, Person]:
    values = {field.name: getattr(form, field.name) for field in dataclasses.fields(form)}
    return {name: value for name, value in values.items() if isinstance(value, Person)}


def alpha_words(alpha: float) -> list[str]:
    """The option --alpha."""
    number = f"{alpha:g}"
    return ["--alpha", number] if alpha >= 0 else [f"--alpha={number}"]


def photograph_settings() -> Photographs:
    """How the page cuts faces out of photographs."""
    return Photographs(limits=Limits(side_px=float(MIN_FACE_PX)))


def photograph_words(photographs: bool) -> list[str]:
    """`photograph_settings` as words of the command line."""
    return ["--align", "--min-face", str(MIN_FACE_PX)] if photographs else []


def are_aligned(people: Sequence[Person | None], size: tuple[int, int]) -> bool:
    """Whether every picture has exactly the model's (height, width): no face need be found.

    Raises:
        InputError: a picture's header cannot be read.
    """
    paths = [path for person in people if person for path in person.pictures]
    sizes = {(scan.height, scan.width) for scan in map(scan_file, paths)}
    return sizes == {size}


def command_text(words: Sequence[str]) -> str:
    """A command line for a POSIX shell, an option a line."""
    lines, line = [], ""
    for word in words:
        if word.startswith("-") and line:
            lines.append(line)
            line = ""
        line += (" " if line else "") + shlex.quote(word)
    return " \\\n    ".join([*lines, line])
