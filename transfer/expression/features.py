"""Features of a face for the AU regressor: edges around face, eyes and mouth, and its shape.

The edges are histograms of oriented gradients (Dalal & Triggs 2005) in three windows, which are
placed on the face by its landmarks. The features are averaged over the picture and its mirror
image, so that left and right count the same. Smoothing and pooling are matrix products, which are
fast on every device.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from glow_jax.io.landmarks68 import LEFT_EYE, MIRROR, RIGHT_EYE, STEADY
from transfer.grey import LUMA

Images = UInt8[Array, "B H W 3"]
Landmarks = Float[Array, "B 68 2"]

N_ORIENTATIONS = 8
CELL = 4  # side in pixels of the cell of one histogram
MAX_EDGE = 0.4  # normalised histograms are clipped at this value, as in FHOG
# Weight of a landmark's displacement by one pixel, beside edges from 0 to MAX_EDGE.
SHAPE_WEIGHT = 0.03


class Window(NamedTuple):
    """A rectangle on the face, in the frame of the eyes.

    Attributes:
        x, y: of its centre, right and down from the midpoint of the eyes, in distances between
            the eyes.
        width, height: of its picture, pixels.
        scale: pixels per distance between the eyes.
    """

    x: float
    y: float
    width: int
    height: int
    scale: float


WINDOWS = (
    Window(0.0, 0.42, 64, 72, 28.0),  # face
    Window(0.0, -0.08, 80, 36, 44.0),  # eyes and brows
    Window(0.0, 1.05, 60, 44, 44.0),  # mouth
)
N_FEATURES = 2 * 68 + sum(N_ORIENTATIONS * (w.width // CELL) * (w.height // CELL) for w in WINDOWS)


def features(
    images: Images, landmarks: Landmarks, template: np.ndarray | Array
) -> Float[Array, "B F"]:
    """The features of faces, F = N_FEATURES.

    Args:
        images: RGB bytes.
        landmarks: right and down, in sides of the picture.
        template: (68, 2) a mean face in the frame of its eyes; see `make_template`.
    """
    sides = (
        jnp.stack([images, images[:, :, ::-1]]),
        jnp.stack([landmarks, mirrored(landmarks)]),
    )

    def of(side: tuple[Array, Array]) -> Array:
        return sided_features(side[0], side[1], template)[0]

    one, other = jax.lax.map(of, sides)  # a loop, so that one side is compiled
    return (one + other) / 2


def luma_of(colours: Float[Array, "*N 3"]) -> Float[Array, "*N"]:
    """The luma of RGB values, exact on accelerators too."""
    return jnp.dot(colours, jnp.asarray(LUMA, colours.dtype), precision="highest")


def sided_features(
    images: Images, landmarks: Landmarks, template: np.ndarray | Array
) -> tuple[Float[Array, "B F"], Float[Array, "B 2 2"]]:
    """The features of faces without their mirror images', in which left and right differ.

    Returns:
        The features, and rotation times scale from the template to the picture, pixels.
    """
    return _one_side(luma_of(images.astype(jnp.float32)), landmarks, template)


def mirrored(landmarks: Landmarks) -> Landmarks:
    """The landmarks of mirrored pictures, from those of the pictures."""
    turned = landmarks[:, MIRROR]
    return jnp.stack([1 - turned[..., 0], turned[..., 1]], -1)


def make_template(landmarks: Float[np.ndarray, "N 68 2"]) -> np.ndarray:
    """(68, 2) float32: the mean of the landmarks, symmetric, in the frame of the eyes.

    Right and down from the midpoint of the eyes, in distances between the eyes.

    Args:
        landmarks: of upright or turned faces, any unit.
    """
    left, right = landmarks[:, LEFT_EYE].mean(1), landmarks[:, RIGHT_EYE].mean(1)
    middle, across = (left + right) / 2, left - right
    c = np.stack([across, np.stack([-across[:, 1], across[:, 0]], 1)], 1)
    local = np.einsum("nkd,nrd->nkr", landmarks - middle[:, None], c)
    shape = (local / (across**2).sum(1)[:, None, None]).mean(0)
    return ((shape + shape[MIRROR] * (-1, 1)) / 2).astype(np.float32)


def _one_side(
    luma: Float[Array, "B H W"], landmarks: Landmarks, template: np.ndarray | Array
) -> tuple[Float[Array, "B F"], Float[Array, "B 2 2"]]:
    points, turn, shift = placed(luma, landmarks, template)
    parts = []
    for window in WINDOWS:
        edges = histograms(_sampled(luma, turn, shift, window))
        parts.append(edges.reshape(len(edges), -1))
    return jnp.concatenate([*parts, shape_of(points, turn, shift, template)], 1), turn


def placed(
    luma: Float[Array, "B H W"], landmarks: Landmarks, template: np.ndarray | Array
) -> tuple[Landmarks, Float[Array, "B 2 2"], Float[Array, "B 2"]]:
    """Landmarks in pixels, and the similarity from the template to the picture, pixels.

    Returns:
        Landmarks, right and down; rotation times scale; and the midpoint of the eyes.
    """
    size = jnp.array([luma.shape[2], luma.shape[1]], landmarks.dtype)
    points = landmarks * size[None, None]
    return points, *_similarity(jnp.asarray(template)[STEADY], points[:, STEADY])


def shape_of(
    points: Landmarks,
    turn: Float[Array, "B 2 2"],
    shift: Float[Array, "B 2"],
    template: np.ndarray | Array,
) -> Float[Array, "B 136"]:
    """The shape of faces: their landmarks less the template's, in its frame, of SHAPE_WEIGHT.

    Args:
        points, turn, shift: of `placed`.
        template: (68, 2) of `make_template`.
    """
    centred = points - shift[:, None]
    scale_squared = (turn**2).sum((1, 2))[:, None, None] / 2
    local = jnp.einsum("bkd,bdr->bkr", centred, turn, precision="highest") / scale_squared
    shape = (local - template[None]) * WINDOWS[0].scale
    return shape.reshape(len(shape), -1) * SHAPE_WEIGHT


def _similarity(
    source: Float[Array, "N 2"], target: Float[Array, "B N 2"]
) -> tuple[Float[Array, "B 2 2"], Float[Array, "B 2"]]:
    """R (B, 2, 2), a rotation times a scale, and t of target = R source + t; least squares."""
    middle, centre = source.mean(0), target.mean(1)
    a, b = source - middle[None], target - centre[:, None]
    square = (a**2).sum()
    c = (a[None] * b).sum((1, 2)) / square
    s = (a[None, :, 0] * b[..., 1] - a[None, :, 1] * b[..., 0]).sum(1) / square
    turn = jnp.stack([jnp.stack([c, -s], 1), jnp.stack([s, c], 1)], 1)
    return turn, centre - jnp.einsum("bij,j->bi", turn, middle, precision="highest")


def _sampled(
    luma: Float[Array, "B H W"], turn: Array, shift: Array, window: Window
) -> Float[Array, "B h w"]:
    """The pixels of a window."""
    y, x = np.mgrid[: window.height, : window.width].astype(np.float32) + 0.5
    local = np.stack([x - window.width / 2, y - window.height / 2], -1) / window.scale
    local = local + np.array([window.x, window.y], np.float32)
    place = jnp.einsum("bij,hwj->bhwi", turn, jnp.asarray(local, jnp.float32), precision="highest")
    return bilinear(luma, place + shift[:, None, None])


def bilinear(luma: Float[Array, "B H W"], place: Float[Array, "B ... 2"]) -> Float[Array, "B ..."]:
    """Pixels at places between pixels; beyond the picture its border pixels repeat.

    Args:
        luma: pictures.
        place: right and down, pixels; the middle of the first pixel is at (0.5, 0.5).
    """
    place = place - 0.5
    height, width = luma.shape[1:]
    column = jnp.clip(place[..., 0], 0, width - 1.001)
    row = jnp.clip(place[..., 1], 0, height - 1.001)
    left, top = column.astype(jnp.int32), row.astype(jnp.int32)
    u, v = column - left.astype(column.dtype), row - top.astype(row.dtype)
    flat = luma.reshape(len(luma), -1)

    def at(r: Array, c: Array) -> Array:
        index = (r * width + c).reshape(len(flat), -1)
        return jnp.take_along_axis(flat, index, 1).reshape(r.shape)

    above = at(top, left) * (1 - u) + at(top, left + 1) * u
    below = at(top + 1, left) * (1 - u) + at(top + 1, left + 1) * u
    return above * (1 - v) + below * v


def mean_colour(
    images: UInt8[Array, "B H W 3"], places: Float[Array, "B N 2"]
) -> Float[Array, "B 3"]:
    """The mean RGB of the pixels at places, grey levels.

    Args:
        images: RGB bytes.
        places: right and down, in sides of the picture; those beyond it count at its border.
    """
    height, width = images.shape[1:3]
    across = jnp.clip((places[..., 0] * width).astype(int), 0, width - 1)
    down = jnp.clip((places[..., 1] * height).astype(int), 0, height - 1)
    rows = jnp.arange(len(images))[:, None]
    return images[rows, down, across].astype(jnp.float32).mean(1)


def histograms(luma: Float[Array, "B h w"]) -> Float[Array, "B K r c"]:
    """Histograms of oriented gradients in cells of CELL pixels, normalised by nearby cells."""
    height, width = luma.shape[1:]
    hi = "highest"  # precision
    down, across = _smooth(height, 1.0), _smooth(width, 1.0)
    slope_down, slope_across = _slope(height), _slope(width)
    x = jnp.einsum("rh,bhw,cw->brc", down, luma, slope_across, precision=hi)
    y = jnp.einsum("rh,bhw,cw->brc", slope_down, luma, across, precision=hi)
    size = jnp.sqrt(x**2 + y**2 + 1e-6)
    angles = np.arange(N_ORIENTATIONS) * 2 * np.pi / N_ORIENTATIONS
    towards = [
        jnp.maximum(x * float(np.cos(a)) + y * float(np.sin(a)), 0) ** 2 / size for a in angles
    ]
    edges = jnp.stack(towards, 1)
    rows, columns = _pooled(height), _pooled(width)
    cells = jnp.einsum("rh,bkhw,cw->bkrc", rows, edges, columns, precision=hi)
    energy = (cells**2).sum(1)
    near = jnp.einsum(
        "rh,bhw,cw->brc",
        _smooth(len(rows), 1.5),
        energy,
        _smooth(len(columns), 1.5),
        precision=hi,
    )
    return jnp.minimum(cells / (jnp.sqrt(near) + 1.0)[:, None], MAX_EDGE)


@functools.cache
def _smooth(n: int, sigma: float) -> np.ndarray:
    """(n, n) Gaussian smoothing of sigma pixels; rows sum to 1."""
    apart = np.arange(n)[:, None] - np.arange(n)[None]
    weights = np.exp(-(apart**2) / (2 * sigma**2))
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


@functools.cache
def _slope(n: int) -> np.ndarray:
    """(n, n) derivative of a Gaussian with a sigma of 1 pixel."""
    return np.gradient(_smooth(n, 1.0), axis=0).astype(np.float32)


@functools.cache
def _pooled(n: int) -> np.ndarray:
    """(n / CELL, n) Gaussian pooling into cells, with a sigma of half a cell."""
    centres = (np.arange(n // CELL) + 0.5) * CELL - 0.5
    weights = np.exp(-((centres[:, None] - np.arange(n)[None]) ** 2) / (2 * (CELL / 2) ** 2))
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
