"""Paste edited faces back into their photographs, at full resolution.

`paste_warp` is for method "warp", whose edit is a warp and an addition. Only the addition has the
model's low resolution; the warp, a thin-plate spline, is applied to the photograph's own pixels:

    warped(p) = photograph( p + A⁻¹ s(A p) )
    out(p)    = warped(p) + m(A p) ( added(A p) - removed(A p) warped(p) )

A is the transform from the photograph to the crop, s the spline's reverse displacement, m a soft
mask of the face, and removed the share (0-1) of the warped photograph that is removed between lips
that part. Without displacements and additions the result is the photograph, byte for byte.

`paste_picture` is for any other picture of the face (method "paper"). The picture is enlarged, its
colours are matched to the photograph at the mask's edge, and it is blended in by the mask. The
matching adds the membrane c,

    Laplace(c) = 0 inside the mask,   c = photograph - picture outside

so that photograph and picture agree at the edge, and the picture keeps its gradients inside.

`paste_lids` blends in shut lids in the same way, but the logarithms of grey levels are matched:
lashes of a face in bright light, in a dark one, stay lashes and do not become black holes. Lids are
no brighter than the photograph around the eyes: the glitter of a dark face would glare in a light
one.

Pure functions of arrays. Points and transforms are those of `transfer.photos.crop`; landmarks are
in sides of the crop (0-1).

Sources: Pérez, Gangnet, Blake 2003 (the membrane); Keys 1981 (cubic convolution).
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from glow_jax.io.landmarks68 import N_LANDMARKS, raised_brows
from glow_jax.kept_programs import kept
from transfer.expression.warp import SMOOTHING, warp
from transfer.grey import is_grey, without_colour
from transfer.photos.crop import Pixels, Transform, crop, inverse, transform_points

Landmarks = Float[np.ndarray, "68 2"]
Points = Float[np.ndarray, "N 2"]
Field = Float[np.ndarray, "G G 2"]
Mask = Float[np.ndarray, "G G"]
Edit = Float[np.ndarray, "S S 4"]

GRID = 256  # points per side of the crop at which splines and masks are computed
FADE = 0.06  # distance from the crop's border over which edits fade to 0, in sides of the crop
MASK_MARGIN = 0.035  # distance by which the mask exceeds the face, in sides of the crop
MASK_BLUR = 0.025  # sigma of the mask's soft edge, in sides of the crop
FOREHEAD_HEIGHT = 0.22  # height of the mask above the brows, in distances from the eyes to the chin
MEMBRANE_SIDE = 96  # side in pixels of the picture on which colours are matched
SEAM_BLUR = 0.02  # sigma of the blur of the matched colours, in sides of that picture
MIN_SHIFT_PX = 0.02  # displacements below it, in pixels, are taken as 0
EDGE = 0.02  # of a mask: below it nothing is seen
BRIGHTEST = 99.0  # percentile of the photograph around the eyes that shut lids do not exceed
LOG_OFFSET = 8.0  # grey levels that are added before the logarithm, which spares noise in the dark
BAND_ROWS = 256  # rows of the photograph that are computed at once, to bound the memory


def paste_warp(
    photograph: Pixels,
    transform: Transform,
    points: Points,
    displacements: Points,
    edit: Edit,
    smoothing: float = SMOOTHING,
) -> Pixels:
    """A photograph whose face is warped and edited as its crop was; see the module.

    Args:
        photograph: the photograph that the crop was cut out of.
        transform: from the photograph's pixels to sides of the crop.
        points: of the unedited crop: its 68 landmarks, and then any others.
        displacements: displacement of each point.
        edit: (S, S, 4) over the warped crop: three channels to add, grey levels, and the share
            (0-1) of the warped crop to remove.
        smoothing: of the spline, as in `transfer.expression.warp`.

    Returns:
        uint8, as large as the photograph.
    """
    shift = spline_shift(points, displacements, smoothing)
    landmarks, moves = points[:N_LANDMARKS], displacements[:N_LANDMARKS]
    mask = face_mask(np.concatenate([landmarks, landmarks + moves]))
    edit = np.asarray(edit, np.float32)
    if is_grey(photograph):
        edit = np.concatenate([without_colour(edit[..., :3]), edit[..., 3:]], -1)
    has_shift, has_edit = shift.any(), edit.any()
    result = photograph.copy()
    if not (has_shift or has_edit):
        return result
    back = inverse(transform)[:, :2].astype(np.float32)
    for rows, columns, places in _bands(photograph, transform):
        pixels = photograph[rows, columns].astype(np.float32)
        if has_shift:
            shift_px = np.stack([_at(shift[..., i], places) for i in (0, 1)], -1) @ back.T
            shifted = np.abs(shift_px).max(-1) > MIN_SHIFT_PX
            row, column = np.nonzero(shifted)
            at = shift_px[shifted] + np.stack([column + columns.start, row + rows.start], -1)
            pixels[shifted] = _cubic(photograph, at[:, 1], at[:, 0])
        if has_edit:
            weight = _at(mask, places)[..., None]
            new = _enlarged(edit, transform, rows, columns)
            pixels += weight * (new[..., :3] - np.clip(new[..., 3:], 0, 1) * pixels)
        result[rows, columns] = np.clip(np.rint(pixels), 0, 255)
    return result


def paste_picture(
    photograph: Pixels,
    transform: Transform,
    landmarks: Landmarks,
    picture: UInt8[np.ndarray, "S S 3"],
) -> Pixels:
    """A photograph with another picture of its face blended in; see the module.

    Args:
        photograph: the photograph that the face was cut out of.
        transform: from the photograph's pixels to sides of the crop.
        landmarks: landmarks of the crop.
        picture: uint8 (S, S, 3), with the alignment of the crop.

    Returns:
        uint8, as large as the photograph.
    """
    around = crop(photograph, transform, MEMBRANE_SIDE)
    return _blended(photograph, transform, face_mask(landmarks), picture, around, LINEAR)


def paste_lids(
    photograph: Pixels, transform: Transform, mask: Mask, picture: UInt8[np.ndarray, "S S 3"]
) -> Pixels:
    """A photograph with the lids of another picture of the face blended in; see the module.

    Args:
        photograph: after `paste_warp`.
        transform: from the photograph's pixels to sides of the crop.
        mask: (G, G) share of the picture that is shown.
        picture: uint8 (S, S, 3), with the alignment of the crop.

    Returns:
        uint8, as large as the photograph.
    """
    around = crop(photograph, transform, MEMBRANE_SIDE)
    inside = _resized(mask, MEMBRANE_SIDE) > EDGE
    if not inside.any():
        return photograph
    brightest = np.percentile(around[inside], BRIGHTEST, axis=0).astype(np.float32)
    return _blended(photograph, transform, mask, picture, around, LOGARITHMIC, brightest)


class Scale(NamedTuple):
    """The scale on which colours are matched: a function of grey levels, and its inverse."""

    of_levels: Callable[[np.ndarray], np.ndarray]
    to_levels: Callable[[np.ndarray], np.ndarray]


LINEAR = Scale(lambda levels: levels, lambda values: values)
LOGARITHMIC = Scale(
    lambda levels: np.log(np.maximum(levels, 0) + LOG_OFFSET),
    lambda values: np.exp(np.minimum(values, 8)) - LOG_OFFSET,  # of 255 it is 5.6
)


def _blended(
    photograph: Pixels,
    transform: Transform,
    mask: Mask,
    picture: UInt8[np.ndarray, "S S 3"],
    around: UInt8[np.ndarray, "M M 3"],
    scale: Scale,
    brightest: Float[np.ndarray, "3"] | None = None,
) -> Pixels:
    """A photograph with a picture blended in by a mask, its colours matched at the mask's edge.

    Args:
        photograph, transform, mask, picture: as for `paste_lids`.
        around: the crop of the photograph, on which colours are matched.
        scale: on which they are matched.
        brightest: grey levels of each channel that what is blended in does not exceed.
    """
    if is_grey(photograph):
        picture = np.rint(without_colour(picture.astype(np.float32))).astype(np.uint8)
    match = membrane(around, picture, mask, scale)
    result = photograph.copy()
    new = scale.of_levels(picture.astype(np.float32))
    for rows, columns, places in _bands(photograph, transform):
        weight = _at(mask, places)[..., None]
        face = _enlarged(new, transform, rows, columns) + _enlarged(match, transform, rows, columns)
        before = photograph[rows, columns].astype(np.float32)
        levels = scale.to_levels(face)
        change = (levels if brightest is None else np.minimum(levels, brightest)) - before
        result[rows, columns] = np.clip(np.rint(before + weight * change), 0, 255)
    return result


def _resized(mask: Mask, side: int) -> Float[np.ndarray, "M M"]:
    """A mask at `side` pixels a side."""
    return np.asarray(Image.fromarray(mask).resize((side, side), Image.Resampling.BILINEAR))


def spline_shift(points: Points, displacements: Points, smoothing: float = SMOOTHING) -> Field:
    """(G, G, 2) from each point of the edited crop to its source in the unedited crop, in sides.

    This is the reverse displacement of `transfer.expression.warp`, faded to 0 at the crop's border.
    """
    if not displacements.any():
        return np.zeros((GRID, GRID, 2), np.float32)
    axis = (np.arange(GRID, dtype=np.float32) + 0.5) / GRID
    own = np.stack(np.meshgrid(axis, axis), -1)
    arrays = (np.asarray(a, np.float32) for a in (points, displacements, smoothing))
    found = _warped(own[None], *arrays)
    t = np.clip(np.minimum(axis, 1 - axis) / FADE, 0, 1)
    fade = t * t * (3 - 2 * t)
    return (np.asarray(found) - own) * fade[:, None, None] * fade[None, :, None]


@kept
def _warped(
    grid: jax.Array, points: jax.Array, displacements: jax.Array, smoothing: jax.Array
) -> jax.Array:
    """A grid of points, warped as a picture: each entry is the source of that point."""
    return warp(grid, points[None], displacements[None], smoothing)[0]


def face_mask(landmarks: Float[np.ndarray, "N 2"]) -> Mask:
    """(G, G) float32: 1 in the face, falling smoothly to 0 outside, and 0 at the crop's border.

    Args:
        landmarks: 68 landmarks of the face for each of one or more expressions.
    """
    from scipy import ndimage  # late: imports of scipy take a tenth of a first call
    from scipy.spatial import ConvexHull

    faces = landmarks.reshape(-1, 68, 2)
    raised = [raised_brows(face, FOREHEAD_HEIGHT) for face in faces]
    points = np.concatenate([landmarks, *raised])
    hull = points[ConvexHull(points).vertices]
    middle = hull.mean(0)
    away = hull - middle
    grown = middle + away * (1 + MASK_MARGIN / np.linalg.norm(away, axis=1, keepdims=True))
    image = Image.new("L", (GRID, GRID))
    ImageDraw.Draw(image).polygon([(x * GRID - 0.5, y * GRID - 0.5) for x, y in grown], fill=255)
    soft = ndimage.gaussian_filter(np.asarray(image, np.float32) / 255, MASK_BLUR * GRID)
    # The crop's border must not show in the photograph.
    t = np.clip(
        np.minimum(np.arange(GRID) + 0.5, GRID - 0.5 - np.arange(GRID)) / (FADE * GRID), 0, 1
    )
    fade = (t * t * (3 - 2 * t)).astype(np.float32)
    return soft * fade[:, None] * fade[None]


def membrane(
    around: UInt8[np.ndarray, "M M 3"],
    picture: UInt8[np.ndarray, "S S 3"],
    mask: Mask,
    scale: Scale = LINEAR,
) -> Float[np.ndarray, "M M 3"]:
    """The membrane: its sum with a picture agrees with the photograph at a mask's edge.

    Args:
        around: the crop of the photograph.
        picture: picture of the same square, of any size.
        mask: (G, G); inside is where it is above 0.5.
        scale: on which the two are compared.

    Returns:
        On that scale: the blurred difference outside the mask, its harmonic continuation inside.
    """
    from scipy import ndimage, sparse  # late: imports of scipy take a tenth of a first call
    from scipy.sparse.linalg import spsolve

    n = len(around)
    small = Image.fromarray(picture).resize((n, n), Image.Resampling.BICUBIC)
    one, other = (scale.of_levels(np.asarray(a, np.float64)) for a in (around, small))
    missing = one - other
    # The difference is blurred, so that colours are matched and not details.
    missing = ndimage.gaussian_filter(missing, (SEAM_BLUR * n, SEAM_BLUR * n, 0))
    inside = _resized(mask, n) > 0.5
    inside[[0, -1]] = inside[:, [0, -1]] = False
    row, column = np.nonzero(inside)
    index = np.full((n, n), -1)
    index[row, column] = np.arange(len(row))
    system = sparse.lil_matrix((len(row), len(row)))
    system.setdiag(4)
    right_side = np.zeros((len(row), 3))
    for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        beside = index[row + down, column + right]
        free = beside >= 0
        system[np.flatnonzero(free), beside[free]] = -1
        right_side[~free] += missing[row[~free] + down, column[~free] + right]
    result = missing.copy()
    if len(row):
        result[row, column] = spsolve(system.tocsc(), right_side).reshape(-1, 3)
    return result.astype(np.float32)


def _bands(
    photograph: Pixels, transform: Transform
) -> Iterator[tuple[slice, slice, Float[np.ndarray, "h w 2"]]]:
    """The pixels of the photograph in and around the crop, BAND_ROWS rows at a time.

    Yields:
        rows, columns: of the photograph.
        places: (h, w, 2) positions of these pixels in sides of the crop.
    """
    height, width = photograph.shape[:2]
    corners = transform_points(np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]), inverse(transform))
    low = np.maximum(np.floor(corners.min(0)).astype(int), 0)
    high = np.minimum(np.ceil(corners.max(0)).astype(int), (width, height))
    columns = slice(int(low[0]), int(max(high[0], low[0])))
    for top in range(int(low[1]), int(high[1]), BAND_ROWS):
        rows = slice(top, min(top + BAND_ROWS, int(high[1])))
        x = np.arange(columns.start, columns.stop) + 0.5
        y = np.arange(rows.start, rows.stop)[:, None] + 0.5
        places = [a * x + b * y + c for a, b, c in transform]
        yield rows, columns, np.stack(places, -1).astype(np.float32)


def _at(values: Mask, places: Float[np.ndarray, "h w 2"]) -> Float[np.ndarray, "h w"]:
    """A grid over the crop, bilinearly interpolated at `places` in sides of the crop; 0 outside."""
    from scipy import ndimage  # late: imports of scipy take a tenth of a first call

    n = len(values)
    index = np.stack([places[..., 1], places[..., 0]]) * n - 0.5
    found = ndimage.map_coordinates(values, index, order=1, mode="nearest")
    inside = ((places >= 0) & (places <= 1)).all(-1)
    return np.where(inside, found, 0).astype(np.float32)


def _enlarged(
    picture: Float[np.ndarray, "S S C"], transform: Transform, rows: slice, columns: slice
) -> Float[np.ndarray, "h w C"]:
    """A picture of the crop, resampled at the photograph's pixels; border pixels repeat."""
    n, edge = len(picture), 3
    turn, shift = transform[:, :2] * n, transform[:, 2] * n + edge
    shift = shift + turn @ (columns.start, rows.start)
    coefficients = (*turn[0], shift[0], *turn[1], shift[1])
    size = columns.stop - columns.start, rows.stop - rows.start
    wide = np.pad(picture, ((edge, edge), (edge, edge), (0, 0)), "edge").astype(np.float32)
    channels = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(channel)).transform(
                size, Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC
            )
        )
        for channel in np.moveaxis(wide, 2, 0)
    ]
    return np.stack(channels, -1)


def _cubic(
    photograph: Pixels, rows: Float[np.ndarray, " N"], columns: Float[np.ndarray, " N"]
) -> Float[np.ndarray, "N 3"]:
    """Keys' cubic (a = -1/2) at fractional rows and columns; border pixels repeat."""
    height, width = photograph.shape[:2]
    top, left = np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64)
    down, right = _keys(rows - top), _keys(columns - left)
    result = np.zeros((len(rows), 3), np.float32)
    for i in range(4):
        row = np.clip(top + i - 1, 0, height - 1)
        across = np.zeros_like(result)
        for j in range(4):
            column = np.clip(left + j - 1, 0, width - 1)
            across += right[j][:, None] * photograph[row, column]
        result += down[i][:, None] * across
    return result


def _keys(t: Float[np.ndarray, " N"]) -> list[Float[np.ndarray, " N"]]:
    """Weights of the four nearest pixels, at a fraction t (0-1) from the second to the third."""
    t = t.astype(np.float32)
    return [
        ((2 - t) * t - 1) * t / 2,
        ((3 * t - 5) * t * t + 2) / 2,
        ((4 - 3 * t) * t + 1) * t / 2,
        (t - 1) * t * t / 2,
    ]
