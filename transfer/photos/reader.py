"""Photographs on disk: which there are, and their aligned faces."""

import dataclasses
import functools
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason
from glow_jax.io.picture_folders import Listing, add_files, left_out, walk
from glow_jax.io.picture_formats import suffixes
from glow_jax.io.pictures import read_image
from transfer.photos.align import LUMA, Aligned, FaceDetector, Limits, Which, faces_in
from transfer.photos.judge_adapter import check_measuring, face_detector

VERSION = 1  # of the alignment; it changes when a photograph gives other pixels
DEFAULT_LIMITS = Limits()
MAX_KEPT_FACES = 4096  # aligned faces that are kept in memory


@dataclasses.dataclass(frozen=True)
class Photographs:
    """How faces are cut out of photographs.

    Attributes:
        size: of the crops, pixels; 0 is that of the model.
        which: of a photograph's faces: "largest", "all", or a number from left to right, from 1.
        limits: that a face must satisfy.
        detector: name of the face detector, such as "dlib".
    """

    size: int = 0
    which: Which = "largest"
    limits: Limits = DEFAULT_LIMITS
    detector: str = "dlib"

    @property
    def key(self) -> str:
        """JSON text; equal keys make equal crops of every photograph. It enters output ids."""
        limits = {
            "pitch_deg": self.limits.pitch_deg,
            "sharpness": self.limits.sharpness,
            "side_px": self.limits.side_px,
            "yaw_deg": self.limits.yaw_deg,
        }
        settings = {
            "align": VERSION,
            "detector": self.detector,
            "limits": limits,
            "size": self.size,
            "which": self.which,
        }
        return json.dumps(settings, sort_keys=True)


class AlignedFaces:
    """A function from paths of photographs to their aligned faces, for jobs to load pictures with.

    It may be called from several threads. The last faces are kept in memory.

    Attributes:
        settings: how faces are cut out.
    """

    def __init__(self, face_detector: FaceDetector, settings: Photographs, channels: int = 3):
        """No photograph is read yet.

        Args:
            face_detector: finds all faces of a photograph.
            settings: with one face of each photograph.
            channels: of the result, 3 (RGB) or 1 (luma).

        Raises:
            InputError: the settings ask for all faces.
        """
        if settings.which == "all":
            raise InputError("face all: a transfer takes one face of each photograph; use largest")
        self._face_detector, self.settings, self._channels = face_detector, settings, channels
        # Pasting back needs each face again.
        self.face = functools.lru_cache(MAX_KEPT_FACES)(self._face)

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
        """The aligned face of a photograph.

        Raises:
            InputError: the photograph cannot be read, or its face cannot be used.
        """
        settings, photograph = self.settings, read_image(path)
        try:
            good, bad = faces_in(
                photograph, self._face_detector, settings.size, settings.which, settings.limits
            )
        except ValueError as error:  # of the face detector
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


def check_installed(photographs: Photographs | None, n_neutral: int | None = None) -> None:
    """Check, before a model is loaded, what finds faces and measures how neutral they are.

    Raises:
        InputError: the detector is not to be had, or a package is not installed.
    """
    if photographs is not None:
        face_detector(photographs.detector)
    if n_neutral is not None:
        check_measuring()


class Photograph(NamedTuple):
    """A file, and the name of its person, which is the folder of the crops; "" is no folder."""

    path: Path
    person: str


def list_photographs(
    paths: Sequence[Path], leave_out: Path | None = None
) -> tuple[list[Photograph], str]:
    """List photographs, and say what is left out.

    A folder that contains photographs is a person with the folder's name; a folder of folders is a
    collection of people. What counts as a photograph: `glow_jax.io.picture_folders`.

    Args:
        paths: files and folders.
        leave_out: a folder that is not searched.

    Returns:
        Photographs, and in words what was left out, "" for nothing.

    Raises:
        InputError: a path does not exist, there is no photograph, or two folders have the name of
            one person.
    """
    found: list[Photograph] = []
    files: Counter[str] = Counter()
    other: Counter[str] = Counter()
    people: dict[str, Path] = {}
    hidden = None if leave_out is None else leave_out.resolve()
    for path in paths:
        if not path.exists():
            raise InputError(f"{one_line(path)}: no such file or folder")
        if not path.is_dir():
            found.append(Photograph(path, ""))
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
                    f"{one_line(folder)} and {one_line(people[person])} are one person, "
                    f"{person!r}; rename one of them"
                )
            found += [Photograph(file, person) for file in photographs]
    note = left_out(files, other)
    if not found:
        why = f"no photographs; accepted: {', '.join(suffixes())}"
        why += f"; {note}" if note else ""
        raise InputError(f"{', '.join(one_line(p) for p in paths)}: {why}")
    return list(dict.fromkeys(found)), note
