"""Edited faces back into the photographs that they were cut out of, at full resolution.

`moved_back` is for faces that were edited by moving their features and adding to the result
(method "warp"). Only the addition has the model's few pixels; the movement is the same thin-plate
spline at any resolution, so the photograph's own pixels move:

    moved(p) = photograph( p + A⁻¹ s(A p) )
    out(p)   = moved(p) + m(A p) ( added(A p) - gone(A p) moved(p) )

with A from the photograph to the crop, s the spline's way back, m a soft mask of the face, and gone
the share of what is there that goes (between lips that part).
Where nothing moves and nothing is added the photograph comes back, to the byte.

`pasted` is for any other picture of the face (method "paper"): it is enlarged, its colours are
matched where it ends, and it is blended in by the mask. Matching adds the membrane

    Laplace(c) = 0 in the mask,   c = photograph - picture around it

so that at the seam both agree and inside the picture keeps its gradients.

Pure functions of arrays. Places as in `transfer.photos.align`; landmarks are in sides of the crop.

Sources: Pérez, Gangnet, Blake 2003 (the membrane); Keys 1981 (cubic convolution).
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve
from scipy.spatial import ConvexHull

from glow_jax.io.landmarks68 import BROWS, CHIN, EYES
from transfer.expression.warp import warp
from transfer.photos.align import Pixels, Transform, crop, inverse, moved

Landmarks = Float[np.ndarray, "68 2"]
Field = Float[np.ndarray, "G G 2"]
Mask = Float[np.ndarray, "G G"]
Change = Float[np.ndarray, "S S 4"]

GRID = 256  # places a side at which splines and masks are computed; between them they are smooth
EDGE = 0.06  # of the side: within this of the crop's border movements die away
GROWN, SOFT = 0.035, 0.025  # of the side: how far the mask goes beyond the face; sigma of its rim
FOREHEAD = 0.22  # of eyes to chin: how far the brows are raised for the mask
MATCHED = 96  # places a side at which colours are matched
STILL_PX = 0.02  # a smaller movement is none
BAND = 256  # rows of the photograph at once


def moved_back(
    photograph: Pixels,
    transform: Transform,
    landmarks: Landmarks,
    moves: Landmarks,
    change: Change,
) -> Pixels:
    """A photograph whose face has moved and changed as its small crop has.

    Args:
        photograph: that the crop was cut out of.
        transform: how.
        landmarks: of the crop before it was edited.
        moves: of each landmark.
        change: (S, S, 4) grey levels that are added, and the share that goes, of the moved crop.
    """
    shift = spline_shift(landmarks, moves)
    mask = face_mask(np.concatenate([landmarks, landmarks + moves]))
    change = np.asarray(change, np.float32)
    still, nothing = not shift.any(), not change.any()
    result = photograph.copy()
    if still and nothing:
        return result
    back = inverse(transform)[:, :2].astype(np.float32)
    for rows, columns, places in _bands(photograph, transform):
        pixels = photograph[rows, columns].astype(np.float32)
        if not still:
            way = np.stack([_at(shift[..., i], places) for i in (0, 1)], -1) @ back.T
            far = np.abs(way).max(-1) > STILL_PX
            row, column = np.nonzero(far)
            at = way[far] + np.stack([column + columns.start, row + rows.start], -1)
            pixels[far] = _cubic(photograph, at[:, 1], at[:, 0])
        if not nothing:
            weight = _at(mask, places)[..., None]
            new = _enlarged(change, transform, rows, columns)
            pixels += weight * (new[..., :3] - np.clip(new[..., 3:], 0, 1) * pixels)
        result[rows, columns] = np.clip(np.rint(pixels), 0, 255)
    return result


def pasted(
    photograph: Pixels,
    transform: Transform,
    landmarks: Landmarks,
    picture: UInt8[np.ndarray, "S S 3"],
) -> Pixels:
    """A photograph with another picture of its face in it, colours matched around the face.

    Args:
        photograph: that the face was cut out of.
        transform: how.
        landmarks: of the crop.
        picture: uint8 (S, S, 3), aligned as the crop was.
    """
    mask = face_mask(landmarks)
    match = membrane(crop(photograph, transform, MATCHED), picture, mask)
    result = photograph.copy()
    new = picture.astype(np.float32)
    for rows, columns, places in _bands(photograph, transform):
        weight = _at(mask, places)[..., None]
        ours = _enlarged(new, transform, rows, columns) + _enlarged(match, transform, rows, columns)
        theirs = photograph[rows, columns].astype(np.float32)
        result[rows, columns] = np.clip(np.rint(theirs + weight * (ours - theirs)), 0, 255)
    return result


def spline_shift(landmarks: Landmarks, moves: Landmarks) -> Field:
    """(G, G, 2) of each place of the edited crop, how far away its colour comes from, in sides.

    It is that of `transfer.expression.warp`, and 0 at the crop's border.
    """
    if not moves.any():
        return np.zeros((GRID, GRID, 2), np.float32)
    axis = (np.arange(GRID, dtype=np.float32) + 0.5) / GRID
    own = np.stack(np.meshgrid(axis, axis), -1)
    f32 = jnp.float32
    found = _warped(jnp.asarray(own)[None], jnp.asarray(landmarks, f32), jnp.asarray(moves, f32))
    t = np.clip(np.minimum(axis, 1 - axis) / EDGE, 0, 1)
    fade = t * t * (3 - 2 * t)
    return (np.asarray(found) - own) * fade[:, None, None] * fade[None, :, None]


@jax.jit
def _warped(places: jax.Array, landmarks: jax.Array, moves: jax.Array) -> jax.Array:
    """A picture of places, warped: where each now comes from."""
    return warp(places, landmarks[None], moves[None])[0]


def face_mask(landmarks: Float[np.ndarray, "N 2"]) -> Mask:
    """(G, G) 1 in the face, softly to 0 beyond it.

    Args:
        landmarks: of one or more states of the face, 68 each.
    """
    states = landmarks.reshape(-1, 68, 2)
    raised = [s[BROWS] - (s[CHIN] - s[EYES].mean(0)) * FOREHEAD for s in states]
    points = np.concatenate([landmarks, *raised])
    hull = points[ConvexHull(points).vertices]
    middle = hull.mean(0)
    away = hull - middle
    grown = middle + away * (1 + GROWN / np.linalg.norm(away, axis=1, keepdims=True))
    image = Image.new("L", (GRID, GRID))
    ImageDraw.Draw(image).polygon([(x * GRID - 0.5, y * GRID - 0.5) for x, y in grown], fill=255)
    soft = ndimage.gaussian_filter(np.asarray(image, np.float32) / 255, SOFT * GRID)
    # Its own border is a seam too.
    t = np.clip(
        np.minimum(np.arange(GRID) + 0.5, GRID - 0.5 - np.arange(GRID)) / (EDGE * GRID), 0, 1
    )
    fade = (t * t * (3 - 2 * t)).astype(np.float32)
    return soft * fade[:, None] * fade[None]


def membrane(
    around: UInt8[np.ndarray, "M M 3"], picture: UInt8[np.ndarray, "S S 3"], mask: Mask
) -> Float[np.ndarray, "M M 3"]:
    """What must be added to a picture to agree with what is around a mask: smooth in the mask."""
    n = len(around)
    small = Image.fromarray(picture).resize((n, n), Image.Resampling.BICUBIC)
    missing = around.astype(np.float64) - np.asarray(small, np.float64)
    # The seam matches colours, not every pore.
    missing = ndimage.gaussian_filter(missing, (0.02 * n, 0.02 * n, 0))
    inside = np.asarray(Image.fromarray(mask).resize((n, n), Image.Resampling.BILINEAR)) > 0.5
    inside[[0, -1]] = inside[:, [0, -1]] = False
    row, column = np.nonzero(inside)
    index = np.full((n, n), -1)
    index[row, column] = np.arange(len(row))
    system = sparse.lil_matrix((len(row), len(row)))
    system.setdiag(4)
    known = np.zeros((len(row), 3))
    for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        beside = index[row + down, column + right]
        free = beside >= 0
        system[np.flatnonzero(free), beside[free]] = -1
        known[~free] += missing[row[~free] + down, column[~free] + right]
    result = missing.copy()
    if len(row):
        result[row, column] = spsolve(system.tocsc(), known).reshape(-1, 3)
    return result.astype(np.float32)


def _bands(
    photograph: Pixels, transform: Transform
) -> Iterator[tuple[slice, slice, Float[np.ndarray, "h w 2"]]]:
    """The photograph's part in which the crop lies, some rows at a time, and its places there."""
    height, width = photograph.shape[:2]
    corners = moved(np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]), inverse(transform))
    low = np.maximum(np.floor(corners.min(0)).astype(int), 0)
    high = np.minimum(np.ceil(corners.max(0)).astype(int), (width, height))
    columns = slice(int(low[0]), int(max(high[0], low[0])))
    for top in range(int(low[1]), int(high[1]), BAND):
        rows = slice(top, min(top + BAND, int(high[1])))
        x = np.arange(columns.start, columns.stop) + 0.5
        y = np.arange(rows.start, rows.stop)[:, None] + 0.5
        places = [a * x + b * y + c for a, b, c in transform]
        yield rows, columns, np.stack(places, -1).astype(np.float32)


def _at(values: Mask, places: Float[np.ndarray, "h w 2"]) -> Float[np.ndarray, "h w"]:
    """Values of a grid over the crop at places of it, bilinearly; 0 outside the crop."""
    n = len(values)
    index = np.stack([places[..., 1], places[..., 0]]) * n - 0.5
    found = ndimage.map_coordinates(values, index, order=1, mode="nearest")
    inside = ((places >= 0) & (places <= 1)).all(-1)
    return np.where(inside, found, 0).astype(np.float32)


def _enlarged(
    picture: Float[np.ndarray, "S S C"], transform: Transform, rows: slice, columns: slice
) -> Float[np.ndarray, "h w C"]:
    """A picture of the crop in the photograph's pixels, bicubically; its border is repeated."""
    n, edge = len(picture), 3
    turn, shift = transform[:, :2] * n, transform[:, 2] * n + edge
    shift = shift + turn @ (columns.start, rows.start)
    numbers = (*turn[0], shift[0], *turn[1], shift[1])
    size = columns.stop - columns.start, rows.stop - rows.start
    wide = np.pad(picture, ((edge, edge), (edge, edge), (0, 0)), "edge").astype(np.float32)
    channels = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(channel)).transform(
                size, Image.Transform.AFFINE, numbers, Image.Resampling.BICUBIC
            )
        )
        for channel in np.moveaxis(wide, 2, 0)
    ]
    return np.stack(channels, -1)


def _cubic(
    photograph: Pixels, rows: Float[np.ndarray, " N"], columns: Float[np.ndarray, " N"]
) -> Float[np.ndarray, "N 3"]:
    """Keys' cubic (a = -1/2) at fractional rows and columns; the border is repeated."""
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
    """Weights of the four neighbours at a fraction t beyond the second."""
    t = t.astype(np.float32)
    return [
        ((2 - t) * t - 1) * t / 2,
        ((3 * t - 5) * t * t + 2) / 2,
        ((4 - 3 * t) * t + 1) * t / 2,
        (t - 1) * t * t / 2,
    ]
