"""† Photographs on disk, read as aligned faces."""

import dataclasses
import functools
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason
from glow_jax.io.pictures import SUFFIXES, image_paths, read_image
from transfer.photos.align import LUMA, Aligned, FaceDetector, Limits, Which, faces_in
from transfer.photos.judge_adapter import face_detector

VERSION = 1  # of how crops are made: other pixels for the same photograph are another version
DEFAULT_LIMITS = Limits()
KEPT = 4096  # aligned faces that a reader remembers


@dataclasses.dataclass(frozen=True)
class Photographs:
    """What decides the aligned faces of a photograph.

    Attributes:
        size: of the crops, pixels; 0 is that of the model.
        which: of its faces.
        limits: what a face must be.
        detector: the name of what finds faces.
    """

    size: int = 0
    which: Which = "largest"
    limits: Limits = DEFAULT_LIMITS
    detector: str = "dlib"

    @property
    def key(self) -> str:
        """The same for settings that make the same crops of every photograph."""
        return json.dumps({"align": VERSION, **dataclasses.asdict(self)}, sort_keys=True)


class AlignedFaces:
    """Paths of photographs to the pixels of their faces: what a job reads pictures with.

    Several threads may call it.

    Attributes:
        settings: what decides them.
    """

    def __init__(self, find_faces: FaceDetector, settings: Photographs, channels: int = 3):
        """Nothing is read yet.

        Args:
            find_faces: gives all faces of a photograph.
            settings: one face a photograph.
            channels: of the result; 1 is luma.

        Raises:
            InputError: the settings ask for all faces.
        """
        if settings.which == "all":
            raise InputError("face all: a transfer takes one face of each photograph; use largest")
        self._find_faces, self.settings, self._channels = find_faces, settings, channels
        # Where a face is, is asked for again when it is pasted back.
        self.face = functools.lru_cache(KEPT)(self._face)

    def __call__(self, path: str) -> np.ndarray:
        """uint8 (size, size, channels).

        Raises:
            InputError: the photograph cannot be read, or its face cannot be used.
        """
        pixels = self.face(path).pixels
        if self._channels == 1:
            return np.rint(pixels @ np.array(LUMA)).astype(np.uint8)[..., None]
        return pixels

    def _face(self, path: str) -> Aligned:
        """The face of a photograph.

        Raises:
            InputError: as above.
        """
        settings, photograph = self.settings, read_image(path)
        try:
            good, bad = faces_in(
                photograph, self._find_faces, settings.size, settings.which, settings.limits
            )
        except ValueError as error:  # of the detector
            raise InputError(f"{one_line(path)}: {reason(error)}") from None
        if not good:
            raise InputError(f"{one_line(path)}: {bad[0]}")
        return good[0]


def loader_of(
    photographs: Photographs | None, size: tuple[int, int], channels: int
) -> tuple[Callable[[str], np.ndarray], str]:
    """What loads pictures for a model, and what of it decides outputs: "" where nothing does.

    Args:
        photographs: how faces are cut out; None: pictures must have the model's size.
        size: (height, width) of the model's pictures.
        channels: of the model's pictures.

    Raises:
        InputError: the model's pictures are not square, or the detector is not to be had.
    """
    if photographs is None:
        return lambda path: read_image(path, size, channels), ""
    if size[0] != size[1]:
        raise InputError(f"aligned faces are square; the model's pictures are {size[1]}x{size[0]}")
    photographs = dataclasses.replace(photographs, size=size[0])
    faces = AlignedFaces(face_detector(photographs.detector), photographs, channels)
    return faces, photographs.key


class Photograph(NamedTuple):
    """A file, and the folder of the person in it, relative to where crops go; "" is no folder."""

    path: Path
    person: str


def list_photographs(
    paths: Sequence[Path], leave_out: Path | None = None
) -> tuple[list[Photograph], Counter[str]]:
    """Photographs of files and folders; and how many other files of which suffix there are.

    A folder with photographs in it is a person, who is called like it. A folder of folders is a
    collection: those are the people. Hidden names are skipped, links to folders are not followed.

    Args:
        paths: files and folders.
        leave_out: a folder that is not searched.

    Raises:
        InputError: a path is not there, there is no photograph, or two folders are one person.
    """
    found: list[Photograph] = []
    others: Counter[str] = Counter()
    people: dict[str, Path] = {}
    hidden = None if leave_out is None else leave_out.resolve()
    for path in paths:
        if not path.exists():
            raise InputError(f"{one_line(path)}: no such file or folder")
        if not path.is_dir():
            found.append(Photograph(path, ""))
            continue
        inside = _walk(path, hidden, others)
        own = "" if all(folder != path for folder, _ in inside) else path.resolve().name
        for folder, files in inside:
            person = "/".join(part for part in (own, *folder.relative_to(path).parts) if part)
            if people.setdefault(person, folder).resolve() != folder.resolve():
                raise InputError(
                    f"{one_line(folder)} and {one_line(people[person])} are one person, "
                    f"{person!r}; rename one of them"
                )
            found += [Photograph(file, person) for file in files]
    if not found:
        seen = ", ".join(one_line(p) for p in paths)
        raise InputError(f"{seen}: no photographs; accepted: {', '.join(SUFFIXES)}")
    return list(dict.fromkeys(found)), others


def _walk(top: Path, hidden: Path | None, others: Counter[str]) -> list[tuple[Path, list[Path]]]:
    """Folders in one that hold photographs, and these, in natural order."""
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
