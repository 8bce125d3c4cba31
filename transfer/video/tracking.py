"""Follow one face through the frames of a clip.

The face of a frame is looked for around the box of the face in the frame before it; if there is
none, in the whole frame. Of several faces, the one that overlaps the last box most is taken.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from transfer.photos.align import (
    Aligned,
    Box,
    Face,
    FaceDetector,
    Limits,
    Which,
    align,
    why_not,
)
from transfer.photos.crop import Pixels

NEAR = 0.6  # sides of the last box that are searched around it
NEAR_PX = 400  # that region is reduced to this longer side for the detector
WHOLE_PX = 800  # a whole frame is reduced to this longer side
MIN_OVERLAP = 0.2  # of the last box's area: less is another face


class Seen(NamedTuple):
    """What was found in a frame.

    Attributes:
        face: None where no face can be used.
        reason: why no face can be used; "" where one can.
        box: of the face, or, where none was found, of the last face before; None before the first.
    """

    face: Aligned | None
    reason: str
    box: Box | None


class _Moved(NamedTuple):
    """A face in the coordinates of a whole frame; `transfer.photos.align.Face`."""

    landmarks: np.ndarray
    box: Box


def region_around(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part of a frame that is searched around a box."""
    margin = NEAR * max(box[2] - box[0], box[3] - box[1])
    low = [int(np.clip(v - margin, 0, n)) for v, n in zip(box[:2], (width, height), strict=True)]
    high = [int(np.clip(v + margin, 0, n)) for v, n in zip(box[2:], (width, height), strict=True)]
    return low[0], low[1], high[0], high[1]


def overlap(one: Box, other: Box) -> float:
    """The share (0-1) of the larger of two boxes that lies in both."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    larger = max(_area(one), _area(other))
    return max(across, 0.0) * max(down, 0.0) / larger if larger > 0 else 0.0


def chosen(faces: Sequence[Face], last: Box | None, which: Which) -> int | None:
    """The index of the face to follow; None where there is no such face.

    Args:
        faces: from left to right.
        last: the box in the frame before; None where no face was found yet.
        which: of the first frame with a face: "largest", or a number from 1.
    """
    if last is not None:
        shares = [overlap(face.box, last) for face in faces]
        best = int(np.argmax(shares)) if shares else 0
        if shares and shares[best] >= MIN_OVERLAP:
            return best
    if which == "largest":
        return int(np.argmax([_area(face.box) for face in faces])) if faces else None
    number = int(which)
    return number - 1 if last is None and number <= len(faces) else None


def follow(
    frame: Pixels,
    last: Box | None,
    face_detector: FaceDetector,
    size: int,
    which: Which,
    limits: Limits,
) -> Seen:
    """The followed face in a frame, aligned.

    Args:
        frame: upright.
        last: box of the face in the frame before; None where no face was found yet.
        face_detector: finds all faces of a picture.
        size: side of the crops, pixels.
        which: as of `chosen`.
        limits: limits that the face must satisfy to be read.
    """
    height, width = frame.shape[:2]
    whole = (0, 0, width, height)
    places = [] if last is None else [(region_around(last, width, height), NEAR_PX)]
    for region, side in [*places, (whole, WHOLE_PX)]:
        if min(region[2] - region[0], region[3] - region[1]) < 1:
            continue
        faces = sorted(_found(frame, region, side, face_detector), key=lambda face: face.box[0])
        index = chosen(faces, last, which) if faces else None
        if index is not None and (region == whole or overlap_is_kept(faces[index], last)):
            return _measured(frame, faces[index], size, index + 1, len(faces), limits)
    return Seen(None, "no face found" if not faces else "the face that was followed is gone", last)


def overlap_is_kept(face: Face, last: Box | None) -> bool:
    """Whether a face is the one of the frame before."""
    return last is not None and overlap(face.box, last) >= MIN_OVERLAP


def _measured(
    frame: Pixels, face: Face, size: int, number: int, count: int, limits: Limits
) -> Seen:
    try:
        aligned = align(frame, face, size, number, count)
        reason = why_not(aligned, frame.shape[0], frame.shape[1], limits)
    except ValueError as error:
        return Seen(None, str(error), face.box)
    return Seen(None if reason else aligned, reason or "", face.box)


def _found(
    frame: Pixels, region: tuple[int, int, int, int], side: int, face_detector: FaceDetector
) -> list[_Moved]:
    """The faces in a region of a frame, which the detector sees at most `side` pixels large."""
    left, top, right, bottom = region
    part = frame[top:bottom, left:right]
    scale = min(1.0, side / max(part.shape[:2]))
    if scale < 1:
        size = [max(1, round(n * scale)) for n in part.shape[1::-1]]
        part = np.asarray(Image.fromarray(part).resize(size, Image.Resampling.BOX, reducing_gap=2))
    x, y = (right - left) / part.shape[1], (bottom - top) / part.shape[0]
    return [
        _Moved(
            np.asarray(face.landmarks, np.float64) * (x, y) + (left, top),
            (
                face.box[0] * x + left,
                face.box[1] * y + top,
                face.box[2] * x + left,
                face.box[3] * y + top,
            ),
        )
        for face in face_detector(np.ascontiguousarray(part))
    ]


def _area(box: Box) -> float:
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)
