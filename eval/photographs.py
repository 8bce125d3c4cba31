"""The face of a photograph, cut out and aligned as `glow-jax transfer --align` does, for a report.

It is for the eye: the square is the transfer's own, the pixels are only resampled like it.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from eval.faces import find_faces
from eval.files import Picture, read_picture
from glow_jax.io.errors import InputError
from glow_jax.io.face_numbers import split_face
from glow_jax.io.landmarks68 import crop_transform
from glow_jax.io.messages import one_line

FACE_PX = 256  # side of a face that is judged by itself
OVERSAMPLED = 3  # pixels of the photograph per pixel of the crop, at most


def face_cutter(number: int | None, size_px: int) -> Callable[[np.ndarray], np.ndarray | None]:
    """A function from a photograph to its aligned face; None where no face is found.

    Args:
        number: of the face, from left to right from 1; None is the largest.
        size_px: side of the crop.
    """

    def cut(photograph: np.ndarray) -> np.ndarray | None:
        try:
            found = find_faces(photograph)
            found.sort(key=lambda face: (face.box[0] + face.box[2], face.box[1]))
            if number is None:
                found.sort(key=lambda f: (f.box[2] - f.box[0]) * (f.box[3] - f.box[1]))
            chosen = found[-1:] if number is None else found[number - 1 : number]
            return _cut(photograph, chosen[0].landmarks, size_px) if chosen else None
        except (InputError, ValueError):  # dlib is not installed; no landmarks of a face
            return None

    return cut


def read_face(path: Path) -> Picture:
    """A picture as `eval.files.read_picture`; of "photo.jpg#2" the second face alone, cut out.

    Raises:
        InputError: as `read_picture`; or there is no such face.
    """
    picture, number = read_picture(path), split_face(path)[1]
    if number is None:
        return picture
    pixels = face_cutter(number, FACE_PX)(picture.pixels)
    if pixels is None:
        raise InputError(f"{one_line(path)}: there is no face {number}")
    return dataclasses.replace(picture, pixels=pixels)


def _cut(photograph: np.ndarray, landmarks: np.ndarray, size_px: int) -> np.ndarray:
    """The aligned square around a face, uint8 (size_px, size_px, 3); black beyond the border."""
    whole, to_crop = Image.fromarray(photograph), crop_transform(landmarks)
    back = np.linalg.inv(to_crop[:, :2])  # from sides of the crop to pixels
    side_px = float(np.sqrt(np.linalg.det(back)))
    shrunk = max(1.0, side_px / size_px / OVERSAMPLED)
    small = whole.resize([max(1, round(n / shrunk)) for n in whole.size], Image.Resampling.LANCZOS)
    scale, large = np.array(small.size) / whole.size, OVERSAMPLED * size_px
    turn, shift = back * scale[:, None] / large, -(back @ to_crop[:, 2]) * scale
    found = small.transform(
        (large, large),
        Image.Transform.AFFINE,
        (*turn[0], shift[0], *turn[1], shift[1]),
        Image.Resampling.BICUBIC,
    )
    return np.asarray(found.resize((size_px, size_px), Image.Resampling.BOX))
