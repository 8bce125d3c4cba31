"""What a person asks of the page, as data: the same as a request, and as a command line."""

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path

from glow_jax.io.containers import scan_file
from transfer.photos.align import Limits
from transfer.photos.aligned_faces import Photographs
from transfer.requests import TransferRequest

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
        number = f"{alpha:g}"
        return [
            *("glow-jax", "transfer", "--expression", self.expression.shown, *source),
            *("--target", self.target.shown),
            *(["--alpha", number] if alpha >= 0 else [f"--alpha={number}"]),
            *("--method", self.method, "--model", self.model, "--batch-size", str(BATCH_SIZE)),
            *photograph_words(self.photographs),
            *(["--paste-back"] if self.paste_back else []),
            *(["--neutralise"] if self.neutralise else []),
            *("-o", OUT),
        ]

    @property
    def pictures(self) -> dict[str, Path]:
        """Every input, by the path that the command line would name it or its folder by."""
        found = {}
        for person in (self.expression, self.source, self.target):
            if person is None:
                continue
            for path in person.pictures:
                inside = [path.name] if person.path.is_dir() else []
                found["/".join([person.shown, *inside])] = path
        return found


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
