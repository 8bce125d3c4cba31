"""The aligned faces of photographs on disk, and the settings by which they are cut out."""

import dataclasses
import functools
import json
from collections.abc import Callable

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.face_numbers import split_face
from glow_jax.io.messages import one_line, reason
from glow_jax.io.pictures import read_image
from transfer.grey import LUMA
from transfer.photos.align import Aligned, FaceDetector, Limits, Which, check_which, faces_in
from transfer.photos.crop import crop
from transfer.photos.judge_adapter import check_measuring, face_detector
from transfer.values import check_type, check_whole

VERSION = 2  # of the alignment; increased whenever the same photograph gives other pixels
DEFAULT_LIMITS = Limits()
KEPT_BYTES = 2**30  # of aligned faces that are kept in memory
MAX_SIZE = 4096  # of a crop, pixels
READ_PX = 128  # side of the crop in which an adapted model reads a face, pixels


@dataclasses.dataclass(frozen=True)
class Photographs:
    """How faces are cut out of photographs.

    Attributes:
        size: side of the crops, pixels; 0 is the model's image size.
        which: the face of a photograph to use: "largest", "all", or a number, counted from left to
            right from 1. A path that ends in a number ("photo.jpg#2") chooses for itself.
        limits: limits that a face must satisfy.
        detector: name of the face detector, such as "dlib".

    Raises:
        InputError: a field has a value that is not accepted.
    """

    size: int = 0
    which: Which = "largest"
    limits: Limits = DEFAULT_LIMITS
    detector: str = "dlib"

    def __post_init__(self) -> None:
        check_whole("size", self.size, 0, MAX_SIZE)
        check_which(self.which)
        check_type("limits", self.limits, Limits)
        check_type("detector", self.detector, str)

    @property
    def key(self) -> str:
        """The settings as JSON text, which is part of output ids: equal keys give equal crops."""
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
    """A function from the path of a photograph to its aligned face, for jobs to load pictures.

    It may be called from several threads. The faces used last are kept in memory.

    Attributes:
        settings: how faces are cut out.
        unchosen: from the path of a photograph with several faces, of which none was chosen and the
            largest was taken, to the number of that face and the number of faces.
    """

    def __init__(self, face_detector: FaceDetector, settings: Photographs, channels: int = 3):
        """No photograph is read yet.

        Args:
            face_detector: finds all faces of a photograph.
            settings: settings that select one face per photograph.
            channels: channels of the result, 3 (RGB) or 1 (luma).

        Raises:
            InputError: the settings ask for all faces.
        """
        if settings.which == "all":
            raise InputError("face all: a transfer takes one face of each photograph; use largest")
        self._face_detector, self.settings, self._channels = face_detector, settings, channels
        self.unchosen: dict[str, tuple[int, int]] = {}
        # A face that was read for its crop is needed again to paste a result back.
        face_bytes = 3 * (max(1, settings.size) ** 2 + READ_PX**2)
        self.face = functools.lru_cache(max(1, KEPT_BYTES // face_bytes))(self._face)

    def __call__(self, path: str) -> np.ndarray:
        """uint8 (size, size, channels).

        Raises:
            InputError: the photograph cannot be read, or its face cannot be used.
        """
        pixels = self.face(path).pixels
        if self._channels == 1:
            return np.rint(pixels @ np.array(LUMA)).astype(np.uint8)[..., None]
        return pixels

    def detailed(self, path: str) -> np.ndarray:
        """The same face as it is read, uint8 (READ_PX, READ_PX, 3).

        Raises:
            InputError: as `__call__`.
        """
        details = self.face(path).details
        assert details is not None
        return details

    def _face(self, path: str) -> Aligned:
        """The aligned face of a photograph, with details.

        Raises:
            InputError: the photograph cannot be read, or its face cannot be used.
        """
        settings, (file, number) = self.settings, split_face(path)
        photograph = read_image(file)
        which = settings.which if number is None else number
        try:
            good, bad = faces_in(
                photograph, self._face_detector, settings.size, which, settings.limits
            )
        except ValueError as error:  # of the face detector
            raise InputError(f"{one_line(path)}: {reason(error)}") from None
        if not good:
            raise InputError(f"{one_line(path)}: {bad[0]}")
        if which == "largest" and good[0].count > 1:
            self.unchosen[path] = good[0].number, good[0].count
        details = crop(photograph, good[0].transform, READ_PX)
        return dataclasses.replace(good[0], details=details)


def unchosen_line(path: str, number: int, count: int) -> str:
    """A line about a photograph with several faces, of which none was chosen."""
    return (
        f"{one_line(path)}: {count} faces; the largest was taken, number {number} from the left; "
        f"{one_line(path)}#N names another"
    )


def loader_of(
    photographs: Photographs | None, size: tuple[int, int], channels: int
) -> tuple[Callable[[str], np.ndarray], str]:
    """The function that loads pictures for a model, and its settings as text for output ids.

    Args:
        photographs: settings by which faces are cut out of photographs; None if the pictures are
            aligned faces of the model's size, for which the text is "".
        size: (height, width) of the model's pictures.
        channels: number of channels of the model's pictures.

    Raises:
        InputError: the model's pictures are not square, or the face detector is not available.
    """
    if photographs is None:
        return lambda path: _aligned_already(path, size, channels), ""
    if size[0] != size[1]:
        raise InputError(
            f"aligned faces are square, but the model's pictures are {size[1]}x{size[0]}"
        )
    photographs = dataclasses.replace(photographs, size=size[0])
    faces = AlignedFaces(face_detector(photographs.detector), photographs, channels)
    return faces, photographs.key


def _aligned_already(path: str, size: tuple[int, int], channels: int) -> np.ndarray:
    file, number = split_face(path)
    if number is not None:
        why = "the number of a face needs `photographs`: without it no face is looked for"
        raise InputError(f"{one_line(path)}: {why}")
    return read_image(file, size, channels)


def check_installed(photographs: Photographs | None, n_neutral: int | None = None) -> None:
    """Check that the packages are installed that find faces, and measure how neutral they are.

    Raises:
        InputError: the detector is unknown, or a package is not installed.
    """
    if photographs is not None:
        face_detector(photographs.detector)
    if n_neutral is not None:
        check_measuring()
