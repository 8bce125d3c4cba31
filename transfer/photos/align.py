"""Photographs to faces aligned as CelebA-HQ's are, and the transforms that find them again.

With e the vector between the eyes and m from the eyes' middle to the mouth's, in a photograph:

    x axis      e + (m_y, -m_x), normalised        (m turned by a right angle)
    half side   max(2 |e|, 1.8 |m|)
    centre      the eyes' middle + 0.1 m

The square is cut out of the photograph, which goes on beyond its borders as its own reflection,
more and more blurred. Where it is scaled down, a triangle two pixels wide is the filter: it leaves
little to alias, does not ring, and is of the usual ones nearest to what the renders that
`faces64` was trained on went through.

Pure functions of arrays; what finds faces is passed in. Places are right and down in pixels,
(0.5, 0.5) the centre of the first one. A transform is an affine map (2, 3) from the photograph's
pixels to sides of the crop (0-1).

Sources: Karras et al. 2018, appendix C; NVlabs/ffhq-dataset `download_ffhq.py` (the padding).
"""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from scipy import ndimage

from glow_jax.io.errors import InputError
from glow_jax.io.landmarks68 import LEFT_EYE, MOUTH_CORNERS, RIGHT_EYE
from transfer.photos.pose import Pose, pose_of

Pixels = UInt8[np.ndarray, "H W 3"]
Crop = UInt8[np.ndarray, "S S 3"]
Points = Float[np.ndarray, "N 2"]
Transform = Float[np.ndarray, "2 3"]
Box = tuple[float, float, float, float]

SAMPLES = 3  # a pixel's width of the crop, from a photograph that is shrunk (Lanczos) before
BORDER = 0.1  # of the side: kept around the square for the filters
REFLECTED = 0.3  # of the side: least width of a reflection
BLUR = 0.02  # of the side: sigma where the photograph has ended
CUT = 0.02  # of the side: how far a landmark may lie outside the photograph
OUTSIDE = 0.5  # largest share of the square that may lie outside
LUMA = (0.299, 0.587, 0.114)


@runtime_checkable
class Face(Protocol):
    """What a detector says of a face, in the photograph's pixels."""

    @property
    def landmarks(self) -> np.ndarray:
        """(68, 2) float."""
        ...

    @property
    def box(self) -> Box:
        """Left, top, right, bottom."""
        ...


FaceDetector = Callable[[Pixels], Sequence[Face]]


@dataclasses.dataclass(frozen=True)
class Aligned:
    """A face of a photograph, aligned.

    Attributes:
        pixels: uint8 (size, size, 3), RGB.
        transform: (2, 3), from the photograph's pixels to sides of the crop.
        landmarks: (68, 2) pixels of the photograph.
        box: the detector's: left, top, right, bottom, pixels of the photograph.
        number, count: which face it is from left to right, from 1, and of how many.
        pose: degrees.
        sharpness: see `sharpness_of`.
        outside: share of the crop that is not in the photograph, but its reflection.
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

    @property
    def side_px(self) -> float:
        """Side of the crop in the photograph's pixels."""
        return side_of(self.transform)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a face must be to be used.

    Attributes:
        side_px: least side of the crop in the photograph; None is the crop's own size, so that
            none is enlarged.
        sharpness: least; 0.6 lies between a Gaussian blur of 1 and of 2 pixels of the crop.
        yaw_deg, pitch_deg: largest.
    """

    side_px: float | None = None
    sharpness: float = 0.6
    yaw_deg: float = 30.0
    pitch_deg: float = 25.0


def crop_transform(landmarks: Float[np.ndarray, "68 2"]) -> Transform:
    """The square around a face, as a map from the landmarks' plane to its sides (0-1).

    Raises:
        ValueError: eyes and mouth are at one place.
    """
    one, other = landmarks[RIGHT_EYE].mean(0), landmarks[LEFT_EYE].mean(0)
    eyes, apart = (one + other) / 2, other - one
    down = landmarks[list(MOUTH_CORNERS)].mean(0) - eyes
    axis = apart + np.array([down[1], -down[0]])
    half = max(2.0 * float(np.hypot(*apart)), 1.8 * float(np.hypot(*down)))
    length = float(np.hypot(*axis))
    if not (half > 0 and length > 0 and np.isfinite(half)):
        raise ValueError("the landmarks are not those of a face")
    x, y = axis / length
    turn = np.array([[x, y], [-y, x]]) / (2 * half)
    return np.column_stack([turn, 0.5 - turn @ (eyes + 0.1 * down)])


def side_of(transform: Transform) -> float:
    """Side of the crop in the photograph's pixels."""
    return float(1 / np.sqrt(np.linalg.det(transform[:, :2])))


def moved(points: Points, transform: Transform) -> Points:
    """(N, 2) points under a transform."""
    return points @ transform[:, :2].T + transform[:, 2]


def inverse(transform: Transform) -> Transform:
    """From sides of the crop back to the photograph's pixels."""
    back = np.linalg.inv(transform[:, :2])
    return np.column_stack([back, -back @ transform[:, 2]])


def crop(photograph: Pixels, transform: Transform, size: int) -> Crop:
    """The square of a transform, uint8 (size, size, 3); memory grows with `size`, not with it.

    Raises:
        ValueError: it lies outside the photograph altogether.
    """
    side, back = side_of(transform), inverse(transform)
    corners = moved(np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]), back)
    border = max(BORDER * side, 3.0)
    low = np.floor(corners.min(0) - border).astype(int)
    high = np.ceil(corners.max(0) + border).astype(int)
    ends = np.array(photograph.shape[1::-1])
    start, stop = np.clip(low, 0, ends), np.clip(high, 0, ends)
    if (start >= stop).any():
        raise ValueError("the face lies outside the photograph")
    seen = Image.fromarray(np.ascontiguousarray(photograph[start[1] : stop[1], start[0] : stop[0]]))
    shrunk = max(1.0, side / size / SAMPLES)
    part = seen.resize([max(1, round(n / shrunk)) for n in seen.size], Image.Resampling.LANCZOS)
    scale = np.array(part.size) / seen.size
    missing = np.ceil(np.concatenate([start - low, high - stop]) * np.tile(scale, 2)).astype(int)
    pixels, added = _extended(np.asarray(part, np.float32), missing.tolist(), side / shrunk)
    n = size * max(1, int(np.ceil(side / shrunk / size - 1e-6)))
    turn = back[:, :2] * scale[:, None] / n
    shift = (back[:, 2] - start) * scale + added
    numbers = (*turn[0], shift[0], *turn[1], shift[1])
    channels = []
    for channel in np.moveaxis(pixels, 2, 0):  # as numbers: of bytes Pillow rounds down
        sampled = Image.fromarray(np.ascontiguousarray(channel)).transform(
            (n, n), Image.Transform.AFFINE, numbers, Image.Resampling.BICUBIC
        )
        channels.append(np.asarray(sampled.resize((size, size), Image.Resampling.BILINEAR)))
    return np.clip(np.rint(np.stack(channels, -1)), 0, 255).astype(np.uint8)


def _extended(
    part: Float[np.ndarray, "H W 3"], missing: Sequence[int], side: float
) -> tuple[Float[np.ndarray, "H2 W2 3"], tuple[int, int]]:
    """The picture with its reflection around it, blurred there; and what was added left and above.

    Args:
        part: where one side is missing something, the photograph ends there.
        missing: pixels left, above, right, below.
        side: of the crop, pixels of `part`.
    """
    least = round(REFLECTED * side)
    left, top, right, bottom = (max(n, least) if n > 0 else 0 for n in missing)
    if not max(left, top, right, bottom):
        return part, (0, 0)
    wide = np.pad(part, ((top, bottom), (left, right), (0, 0)), "reflect")
    height, width = wide.shape[:2]
    row, column = np.arange(height)[:, None], np.arange(width)[None]
    # 0 where the photograph ends, 1 at the reflection's far end, negative inside.
    depth = np.full((height, width), -np.inf, np.float32)
    distances = (column, row, width - 1 - column, height - 1 - row)
    for n, distance in zip((left, top, right, bottom), distances, strict=True):
        if n:
            depth = np.maximum(depth, 1 - distance / np.float32(n))
    blurred = ndimage.gaussian_filter(wide, (BLUR * side, BLUR * side, 0))
    wide += (blurred - wide) * np.clip(3 * depth + 1, 0, 1)[..., None]
    middle = np.median(part, axis=(0, 1)).astype(np.float32)
    wide += (middle - wide) * np.clip(depth, 0, 1)[..., None]
    return wide, (left, top)


def sharpness_of(pixels: Crop) -> float:
    """Root mean squares of the face's Laplacian over that of its gradient, of luma; 1/pixel.

    It falls as a picture is blurred and hardly depends on whose face it is: about 1.7 for a sharp
    crop of 64 pixels, 0.8 after a Gaussian of 1 pixel, 0.5 after 2.
    """
    n = len(pixels)
    inner = pixels[n // 5 : n - n // 6, n // 5 : n - n // 5].astype(np.float64) @ np.array(LUMA)
    down, right = np.gradient(inner)
    slope = float((down**2 + right**2).mean())
    bend = ndimage.laplace(inner)[1:-1, 1:-1]
    return float(np.sqrt((bend**2).mean() / slope)) if slope > 0 else 0.0


def outside_of(transform: Transform, height: int, width: int) -> float:
    """Share of the crop that lies outside a photograph."""
    n = 64
    row, column = np.divmod(np.arange(n * n), n)
    places = moved((np.stack([column, row], 1) + 0.5) / n, inverse(transform))
    inside = ((places >= 0) & (places < (width, height))).all(1)
    return float(1 - inside.mean())


def align(photograph: Pixels, face: Face, size: int, number: int = 1, count: int = 1) -> Aligned:
    """Cut a face out of a photograph.

    Args:
        photograph: upright.
        face: in it.
        size: of the crop, pixels.
        number, count: for the result.

    Raises:
        ValueError: the landmarks are not those of a face, or it lies outside.
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
    """Why a face cannot be used, on one line; None where it can.

    Args:
        face: aligned.
        height, width: of the photograph.
        limits: what is asked for.
    """
    size, side = len(face.pixels), face.side_px
    least = size if limits.side_px is None else limits.side_px
    if side < least:
        return f"the face is too small: its crop is {side:.0f} pixels wide; {least:g} are needed"
    beyond = CUT * side
    low, high = face.landmarks.min(0), face.landmarks.max(0)
    if (low < -beyond).any() or (high > np.array((width, height)) + beyond).any():
        return "the face is cut by the photograph's border"
    if face.outside > OUTSIDE:
        return (
            f"the face is too near the photograph's border: {face.outside:.0%} of the crop lies "
            f"outside; at most {OUTSIDE:.0%} can be reflected"
        )
    for name, angle, most in (
        ("yaw", face.pose.yaw, limits.yaw_deg),
        ("pitch", face.pose.pitch, limits.pitch_deg),
    ):
        if abs(angle) > most:
            return f"the face is too far turned: {name} {angle:.0f} degrees; at most {most:g}"
    if face.sharpness < limits.sharpness:
        return (
            f"the face is too blurred: sharpness {face.sharpness:.2f}; {limits.sharpness:g} is "
            f"needed at {size} pixels"
        )
    return None


Which = str | int  # "largest", "all", or a number from left to right, from 1


def parse_which(word: str) -> Which:
    """Which faces of a photograph are taken, from a word.

    Raises:
        InputError: it is something else.
    """
    if word in ("largest", "all"):
        return word
    if re.fullmatch("[1-9][0-9]{0,3}", word):
        return int(word)
    raise InputError(f"face {word!r}: use largest, all, or a number from left to right, from 1")


def faces_in(
    photograph: Pixels,
    find_faces: FaceDetector,
    size: int,
    which: Which = "largest",
    limits: Limits = Limits(),
) -> tuple[list[Aligned], list[str]]:
    """The faces of a photograph that can be used, and why those that were asked for cannot.

    Args:
        photograph: uint8 RGB, upright.
        find_faces: gives all faces.
        size: of the crops, pixels.
        which: the largest; all; or one, counted from left to right from 1.
        limits: what a face must be.
    """
    found = sorted(find_faces(photograph), key=lambda f: (f.box[0] + f.box[2], f.box[1]))
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
