"""Align the faces of a photograph as in CelebA-HQ, measure them, and check them against limits.

`transfer.photos.crop` computes the square around a face and resamples it. Pure functions of arrays;
the face detector is an argument.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from glow_jax.io.errors import InputError
from glow_jax.io.landmarks68 import crop_transform
from transfer.grey import LUMA
from transfer.photos.crop import (
    Crop,
    Pixels,
    Points,
    Transform,
    crop,
    inverse,
    side_of,
    transform_points,
)
from transfer.photos.pose import Pose, pose_of
from transfer.values import is_number, wrong

Box = tuple[float, float, float, float]

TOO_SMALL = "the face is too small"
MAX_CUT = 0.02  # sides of the crop by which a landmark may be outside the photograph
MAX_OUTSIDE = 0.5  # share of the crop that may be outside the photograph
# Mean luma (0-255) of the darkest face that is used. The root mean square error of activations, of
# 16 people made darker, is 0.03 at luma 58, 0.09 at 29 and 0.14 at 17. The darkest of 3000
# photoreal people has 51.
MIN_LUMA = 16.0
OUTSIDE_SAMPLES = 64  # points per side of the crop at which that share is measured


@runtime_checkable
class Face(Protocol):
    """A face that a detector found; coordinates are in pixels of the photograph."""

    @property
    def landmarks(self) -> np.ndarray:
        """(68, 2) float, right and down."""
        ...

    @property
    def box(self) -> Box:
        """Left, top, right, bottom."""
        ...


FaceDetector = Callable[[Pixels], Sequence[Face]]
"""A function from a photograph to all faces in it."""
Details = UInt8[np.ndarray, "D D 3"]


@dataclasses.dataclass(frozen=True)
class Aligned:
    """A face cut out of a photograph and aligned.

    Attributes:
        pixels: uint8 (size, size, 3), RGB.
        transform: (2, 3), from the photograph's pixels to sides of the crop (0-1).
        landmarks: (68, 2), right and down, pixels of the photograph.
        box: the detector's box: left, top, right, bottom, pixels of the photograph.
        number: number of the face in the photograph, counted from left to right from 1.
        count: number of faces in the photograph.
        pose: degrees.
        sharpness: see `sharpness_of`, 1/pixel.
        outside: share (0-1) of the crop that is outside the photograph, filled by its reflection.
        details: the same crop of `transfer.photos.aligned_faces.READ_PX` pixels; None where nobody
            asked for it.
    """

    pixels: Crop
    transform: Transform
    landmarks: Points
    box: Box
    number: int
    count: int
    pose: Pose
    sharpness: float
    outside: float
    details: Details | None = None

    @property
    def side_px(self) -> float:
        """Side of the crop in pixels of the photograph."""
        return side_of(self.transform)


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits that a face must satisfy to be used.

    Attributes:
        side_px: smallest side of the crop, pixels of the photograph; None is the crop's size in
            pixels, so that no face is enlarged for the flow.
        sharpness: smallest `sharpness_of`, 1/pixel; 0.6 lies between a Gaussian blur of 1 pixel
            and one of 2 pixels of the crop.
        yaw_deg, pitch_deg: largest absolute yaw and pitch, degrees. Of a face that is turned both
            ways, the squares of yaw / yaw_deg and pitch / pitch_deg may add up to 1 at most.

    Raises:
        InputError: a limit is no finite number from 0.
    """

    side_px: float | None = None
    sharpness: float = 0.6
    yaw_deg: float = 30.0
    pitch_deg: float = 25.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            optional = name == "side_px"
            if optional and value is None:
                continue
            if not is_number(value) or not 0 <= value < math.inf:
                raise wrong(name, value, "a finite number from 0" + ", or None" * optional)


def sharpness_of(pixels: Crop) -> float:
    """Root mean square of the Laplacian over that of the gradient, of a face's luma; 1/pixel.

    It falls as a picture is blurred and depends little on the person: about 1.7 for a sharp crop of
    64 pixels, 0.8 after a Gaussian blur of 1 pixel, 0.5 after one of 2 pixels.
    """
    from scipy import ndimage  # late: imports of scipy take a tenth of a first call

    inner = _inner_luma(pixels)
    down, right = np.gradient(inner)
    slope = float((down**2 + right**2).mean())
    bend = ndimage.laplace(inner)[1:-1, 1:-1]
    return float(np.sqrt((bend**2).mean() / slope)) if slope > 0 else 0.0


def _inner_luma(pixels: Crop) -> Float[np.ndarray, "H W"]:
    """The luma (0-255) of the face in an aligned crop."""
    n = len(pixels)
    return pixels[n // 5 : n - n // 6, n // 5 : n - n // 5].astype(np.float64) @ np.array(LUMA)


def outside_of(transform: Transform, height: int, width: int) -> float:
    """Share (0-1) of a crop that is outside a photograph of `height` x `width` pixels."""
    n = OUTSIDE_SAMPLES
    row, column = np.divmod(np.arange(n * n), n)
    places = transform_points((np.stack([column, row], 1) + 0.5) / n, inverse(transform))
    inside = ((places >= 0) & (places < (width, height))).all(1)
    return float(1 - inside.mean())


def align(photograph: Pixels, face: Face, size: int, number: int = 1, count: int = 1) -> Aligned:
    """Cut a face out of a photograph and measure it.

    Args:
        photograph: uint8 RGB; the face may be turned in it.
        face: in the photograph.
        size: side of the crop, pixels.
        number, count: see `Aligned`.

    Raises:
        ValueError: the landmarks are not those of a face, or the face is outside the photograph.
    """
    landmarks = np.asarray(face.landmarks, np.float64)
    transform = crop_transform(landmarks)
    pixels = crop(photograph, transform, size)
    return Aligned(
        pixels=pixels,
        transform=transform,
        landmarks=landmarks,
        box=face.box,
        number=number,
        count=count,
        pose=pose_of(landmarks),
        sharpness=sharpness_of(pixels),
        outside=outside_of(transform, *photograph.shape[:2]),
    )


def why_not(face: Aligned, height: int, width: int, limits: Limits) -> str | None:
    """The reason why a face cannot be used, on one line; None if it can.

    Args:
        face: aligned.
        height, width: of the photograph, pixels.
        limits: limits that the face must satisfy.
    """
    size, side = len(face.pixels), face.side_px
    least = size if limits.side_px is None else limits.side_px
    if side < least:
        width_px = _rounded_down(side, 1)
        return f"{TOO_SMALL}: its crop is {width_px:g} pixels wide; {least:g} are needed"
    beyond = MAX_CUT * side
    low, high = face.landmarks.min(0), face.landmarks.max(0)
    if (low < -beyond).any() or (high > np.array((width, height)) + beyond).any():
        return "the face is cut by the photograph's border"
    if face.outside > MAX_OUTSIDE:
        percent = _rounded_up(100 * face.outside, 1)
        return (
            f"the face is too near the photograph's border: {percent:g} % of the crop are outside "
            f"the photograph; at most {100 * MAX_OUTSIDE:g} % may be"
        )
    for name, angle, most in (
        ("yaw", face.pose.yaw, limits.yaw_deg),
        ("pitch", face.pose.pitch, limits.pitch_deg),
    ):
        if abs(angle) > most:
            turned = _rounded_up(abs(angle), 1)
            return f"the face is turned too far: {name} {turned:g} degrees; at most {most:g}"
    shares = face.pose.yaw * limits.pitch_deg, face.pose.pitch * limits.yaw_deg
    if math.hypot(*shares) > limits.yaw_deg * limits.pitch_deg:
        yaw, pitch = (_rounded_up(abs(a), 1) for a in (face.pose.yaw, face.pose.pitch))
        return (
            f"the face is turned too far: yaw {yaw:g} of at most {limits.yaw_deg:g} degrees and "
            f"pitch {pitch:g} of at most {limits.pitch_deg:g}; the squares of these shares add up "
            "to more than 1"
        )
    luma = _inner_luma(face.pixels).mean()
    if luma < MIN_LUMA:
        darkness = _rounded_down(float(luma), 1)
        return f"the face is too dark: mean luma {darkness:g} of 255; {MIN_LUMA:g} is needed"
    if face.sharpness < limits.sharpness:
        return (
            f"the face is too blurred: sharpness {_rounded_down(face.sharpness, 2)}; "
            f"{limits.sharpness:g} is needed at {size} pixels"
        )
    return None


def _rounded_down(value: float, digits: int) -> float:
    """At most `value`: a number below a limit never reads as the limit."""
    return math.floor(value * 10**digits) / 10**digits


def _rounded_up(value: float, digits: int) -> float:
    """At least `value`: a number above a limit never reads as the limit."""
    return math.ceil(value * 10**digits) / 10**digits


Which = (
    str | int
)  # of a photograph's faces: "largest", "all", or a number from left to right, from 1


MAX_FACES = 9999


def check_which(which: Any) -> None:
    """Raise InputError unless a value selects faces: "largest", "all", or a number from 1.

    0 and -1 are no numbers of faces, though Python indexes by them.
    """
    is_number_of_face = type(which) is int and 1 <= which <= MAX_FACES
    if not (is_number_of_face or (isinstance(which, str) and which in ("largest", "all"))):
        accepted = f"'largest', 'all', or a whole number from 1 to {MAX_FACES}, from left to right"
        raise wrong("which", which, accepted)


def parse_which(word: str) -> Which:
    """Which faces to take, from text: "largest", "all", or a number from left to right, from 1.

    Raises:
        InputError: the text is something else.
    """
    if word in ("largest", "all"):
        return word
    if re.fullmatch("[1-9][0-9]{0,3}", word):
        return int(word)
    raise InputError(f"face {word!r}: use largest, all, or a number from left to right, from 1")


def faces_in(
    photograph: Pixels,
    face_detector: FaceDetector,
    size: int,
    which: Which = "largest",
    limits: Limits = Limits(),
) -> tuple[list[Aligned], list[str]]:
    """The chosen faces of a photograph that can be used, and reasons why others cannot.

    Args:
        photograph: uint8 RGB.
        face_detector: finds all faces of a photograph.
        size: side of the crops, pixels.
        which: selects the faces.
        limits: limits that a face must satisfy.

    Returns:
        Aligned faces, and one line for each chosen face that cannot be used.

    Raises:
        InputError: `which` selects no face of any photograph.
    """
    check_which(which)
    found = sorted(face_detector(photograph), key=lambda f: (f.box[0] + f.box[2], f.box[1]))
    if not found:
        return [], ["no face found"]
    numbers = list(range(1, len(found) + 1))
    if which == "largest":
        areas = [(f.box[2] - f.box[0]) * (f.box[3] - f.box[1]) for f in found]
        numbers = [areas.index(max(areas)) + 1]
    elif which != "all":
        if int(which) > len(found):
            return [], [f"there is no face {which}: {len(found)} found"]
        numbers = [int(which)]
    good, bad = [], []
    for number in numbers:
        try:
            face = align(photograph, found[number - 1], size, number, len(found))
            why = why_not(face, photograph.shape[0], photograph.shape[1], limits)
        except ValueError as error:
            why = str(error)
        if why is None:
            good.append(face)
        else:
            bad.append(why if len(numbers) == 1 else f"face {number}: {why}")
    return good, bad
