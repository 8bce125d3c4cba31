"""What is known of expressions in general, learned once from people who do not exist.

`Expressions` holds a network that finds landmarks, a reader of Action Units, where each unit moves
the landmarks, and what it changes besides. With it an expression is *read* as a few numbers from
the source's pictures, in which pose, light and identity cancel, and *painted* onto a picture of the
target: pixels are warped, and what a warp cannot make is added over a mean shape, where mouths and
eyes of all faces meet (as in active appearance models; Cootes et al. 1998): folds and lids are
added to what is there, the inside of a mouth that opens takes its place. Nothing is trained for the
people in the pictures.

Fitted by ridge regression in closed form, but for the network and half of the reader
(`transfer.expression.fit`, `transfer.expression.au_regressor`).
"""

import dataclasses
import hashlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import Delaunay

from transfer.expression import au_regressor as reader
from transfer.expression import landmark_detector as landmarks
from transfer.expression.au_regressor import Reader
from transfer.expression.features import MIRRORED, features
from transfer.expression.landmark_detector import find
from transfer.expression.warp import carry, warp

Images = UInt8[Array, "B H W 3"]
Codes = Float[Array, "B A"]
Numbers = np.ndarray | Array  # NumPy's from the disk, JAX's inside a compiled function

LARGEST = 1.1  # an activation read as more is taken for this
EYES = (slice(36, 42), slice(42, 48))
UPPER = np.array([37, 38, 43, 44, 61, 62, 63])  # lids and lips, inside
LOWER = np.array([41, 40, 47, 46, 67, 66, 65])
LIPS = slice(4, 7)  # of these
LEAST_GAP = 0.03  # between them, of the distance between the eyes, unless it was less before
NOSE = slice(27, 36)  # where a face's colour is read: no hair, lids or lips
OFF = 2.5  # standard deviations from the mean colour; colours beyond it are taken for it
STEEPEST = 4.0  # a unit that is read so badly that its slope would be more stays weak


@partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "finder",
        "template",
        "reader",
        "slope",
        "noise",
        "moves",
        "shape",
        "mouth",
        "colours",
        "rest",
    ],
    meta_fields=["aus"],
)
@dataclasses.dataclass(frozen=True)
class Expressions:
    """See the module. A is the number of Action Units.

    Attributes:
        aus: names of the units.
        finder: the weights of the network that finds landmarks.
        template: (68, 2) of `transfer.expression.features`.
        reader: of activations, up to an offset of the person's own.
        slope: (A,) what a difference of readings is multiplied by.
        noise: (A,) readings below it are taken for 0, softly.
        moves: (A, 68, 2) of the landmarks at activation 1, in distances between the eyes.
        shape: (68, 2) the mean shape, mouth and eyes open, in sides of the picture.
        mouth: (S, S) 1 between the lips of `shape`, 0 outside them.
        colours: (2, 3) mean and standard deviation of faces' `colour`, grey levels.
        rest: (2, 4 A + 1, S, S, 3) grey levels, laid over `shape`, by `terms`: what the truth has
            that a warped picture has not, and what is between lips that part; of a face of the
            mean colour, and more of it for each standard deviation of colour.
    """

    aus: tuple[str, ...]
    finder: landmarks.Params
    template: Numbers
    reader: Reader
    slope: Numbers
    noise: Numbers
    moves: Numbers
    shape: Numbers
    mouth: Numbers
    colours: Numbers
    rest: Numbers


def fingerprint(known: Expressions) -> str:
    """SHA-256 of all that is known: outputs with other expressions are other outputs."""
    digest = hashlib.sha256(repr(known.aus).encode())
    for path, leaf in jax.tree.leaves_with_path(known):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def denoised(known: Expressions, change: Codes) -> Codes:
    """Differences of readings to activations: small ones to 0, the others to their true size."""
    noise, slope = jnp.asarray(known.noise)[None], jnp.asarray(known.slope)[None]
    kept = change**3 / (change**2 + noise**2 + 1e-12)  # a soft threshold: Wiener's, of one number
    return jnp.clip(kept * slope, -LARGEST, LARGEST)


def activations(known: Expressions, images: Images) -> Codes:
    """The reader's activations of pictures (B, A); only differences mean something."""
    return reader.read(known.reader, features(images, find(known.finder, images), known.template))


def neutrality(read: np.ndarray) -> np.ndarray:
    """(N,) how far from neutral each picture of one person is read to be; 0 is nearest.

    The squared excess of each activation over the person's median one, summed: readings carry an
    offset of the person's own, and most activations of most pictures are 0.

    Args:
        read: (N, A) readings of pictures of one person.
    """
    return (np.maximum(read - np.median(read, axis=0), 0) ** 2).sum(1)


def move(known: Expressions, codes: Codes, marks: Float[Array, "B 68 2"]) -> Float[Array, "B 68 2"]:
    """How far each landmark goes, in sides of the picture: turned and scaled as the eyes are."""
    across = marks[:, EYES[1]].mean(1) - marks[:, EYES[0]].mean(1)
    moves = jnp.einsum("ba,anc->bnc", codes, jnp.asarray(known.moves, codes.dtype))
    right, down = moves[..., 0], moves[..., 1]
    x, y = across[:, :1], across[:, 1:]
    turned = jnp.stack([right * x - down * y, right * y + down * x], -1)
    return _uncrossed(marks, turned, jnp.stack([-y, x], -1))


def _uncrossed(
    marks: Float[Array, "B 68 2"], moves: Float[Array, "B 68 2"], down: Float[Array, "B 1 2"]
) -> Float[Array, "B 68 2"]:
    """Moves of lids and lips that meet and do not pass through each other.

    Args:
        marks: before.
        moves: of them.
        down: the face's own, as long as its eyes are apart.
    """
    before = _gaps(marks, down)
    least = jnp.minimum(before, LEAST_GAP)
    missing = jnp.maximum(least - before - _gaps(moves, down), 0)[..., None] * down / 2
    return moves.at[:, UPPER].add(-missing).at[:, LOWER].add(missing)


def _gaps(points: Float[Array, "B 68 2"], down: Float[Array, "B 1 2"]) -> Float[Array, "B 7"]:
    """How far lower lids and lips are below the upper ones, in distances between the eyes."""
    return ((points[:, LOWER] - points[:, UPPER]) * down).sum(-1) / (down**2).sum(-1)


def opened(marks: Float[Array, "B 68 2"], moves: Float[Array, "B 68 2"]) -> Float[Array, " B"]:
    """How much of the space between the lips was not there before, 0-1: 1 if they were shut."""
    across = marks[:, EYES[1]].mean(1) - marks[:, EYES[0]].mean(1)
    down = jnp.stack([-across[:, 1], across[:, 0]], -1)[:, None]
    gaps = (_gaps(points, down)[:, LIPS].mean(1) for points in (marks, marks + moves))
    before, after = (jnp.maximum(gap, 0) for gap in gaps)
    return jnp.clip((after - before) / jnp.maximum(after, 1e-3), 0, 1)


def warped(
    known: Expressions, images: Images, codes: Codes
) -> tuple[Float[Array, "B H W 3"], Float[Array, "B 68 2"]]:
    """Pictures whose features have moved by an expression, grey levels, and their landmarks."""
    marks = find(known.finder, images)
    moves = move(known, codes, marks)
    return warp(images.astype(jnp.float32), marks, moves), marks + moves


def painted(known: Expressions, images: Images, codes: Codes) -> Float[Array, "B H W 3"]:
    """Pictures with an expression on them: warped, and what is left added; grey levels."""
    marks = find(known.finder, images)
    moves = move(known, codes, marks)
    grey = warp(images.astype(jnp.float32), marks, moves)
    change = edit(known, images, marks, moves, codes)
    change = returned(known, change, marks + moves, (images.shape[1], images.shape[2]))
    return applied(change, grey)


def edit(
    known: Expressions,
    images: Images,
    marks: Float[Array, "B 68 2"],
    moves: Float[Array, "B 68 2"],
    codes: Codes,
) -> Float[Array, "B S S 4"]:
    """What becomes of warped pictures, over the mean shape; see `applied`.

    Args:
        known: what is known of expressions.
        images: before they are warped.
        marks: of them.
        moves: of these.
        codes: activations.
    """
    parting = opened(marks, moves)[:, None]
    parts = jnp.concatenate([terms(codes), parting, parting * terms(codes)], 1)
    plain, more = jnp.asarray(known.rest, codes.dtype)
    tint = jnp.tensordot(parts, more, 1, precision="highest")
    tint *= off_mean(known, colour(images, marks))[:, None, None]
    added = jnp.tensordot(parts, plain, 1, precision="highest") + tint
    gone = parting[..., None] * jnp.asarray(known.mouth, codes.dtype)[None]
    return jnp.concatenate([added, gone[..., None]], -1)


def applied(
    change: Float[Array, "B H W 4"], grey: Float[Array, "B H W 3"]
) -> Float[Array, "B H W 3"]:
    """Pictures less the share of them that the last channel says, plus the others."""
    return grey - change[..., 3:] * grey + change[..., :3]


def terms(codes: Codes) -> Float[Array, "B C"]:
    """Activations and their squares, with their sign: (B, 2 A)."""
    return jnp.concatenate([codes, codes * abs(codes)], 1)


def colour(images: Images, marks: Float[Array, "B 68 2"]) -> Float[Array, "B 3"]:
    """The colour of faces: the mean of their pixels at landmarks of the nose, grey levels."""
    height, width = images.shape[1:3]
    across = jnp.clip((marks[:, NOSE, 0] * width).astype(int), 0, width - 1)
    down = jnp.clip((marks[:, NOSE, 1] * height).astype(int), 0, height - 1)
    rows = jnp.arange(len(images))[:, None]
    return images[rows, down, across].astype(jnp.float32).mean(1)


def off_mean(known: Expressions, colours: Float[Array, "B 3"]) -> Float[Array, "B 3"]:
    """Colours in standard deviations from the mean one, at most OFF."""
    mean, deviation = jnp.asarray(known.colours, colours.dtype)[:, None]
    return jnp.clip((colours - mean) / deviation, -OFF, OFF)


def aligned(
    known: Expressions, grey: Float[Array, "B H W C"], marks: Float[Array, "B 68 2"], side: int
) -> Float[Array, "B S S C"]:
    """Pictures laid over the mean shape."""
    return carry(grey, marks, _shapes(known, marks), (side, side))


def returned(
    known: Expressions,
    grey: Float[Array, "B S S C"],
    marks: Float[Array, "B 68 2"],
    size: tuple[int, int],
) -> Float[Array, "B H W C"]:
    """The way back from `aligned`, to pictures of (height, width)."""
    return carry(grey, _shapes(known, marks), marks, size)


def _shapes(known: Expressions, marks: Array) -> Array:
    return jnp.broadcast_to(jnp.asarray(known.shape, marks.dtype)[None], marks.shape)


# -- fitting

FOREHEAD, RIM = 0.2, 0.06  # of eyes to chin; of the side
OPEN = {"AU26": 0.7, "AU25": 0.5, "AU5": 0.3}  # of the mean shape, so that mouths have an inside


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pictures of people without and with an expression, alike in everything else.

    Attributes:
        neutral, expressive: uint8 (N, H, W, 3).
        aus: (N, A) activations of the second.
        neutral_landmarks, landmarks: (N, 68, 2), right and down in sides of the picture.
    """

    neutral: np.ndarray
    expressive: np.ndarray
    aus: np.ndarray
    neutral_landmarks: np.ndarray
    landmarks: np.ndarray


def fit_moves(pairs: Pairs, penalty: float = 1.0) -> np.ndarray:
    """(A, 68, 2): landmark displacements, in the eyes' frame, regressed on activations."""
    across = pairs.neutral_landmarks[:, EYES[1]].mean(1)
    across = across - pairs.neutral_landmarks[:, EYES[0]].mean(1)
    shift = pairs.landmarks - pairs.neutral_landmarks
    x, y = across[:, :1], across[:, 1:]
    square = x**2 + y**2
    right = (shift[..., 0] * x + shift[..., 1] * y) / square
    down = (shift[..., 1] * x - shift[..., 0] * y) / square
    target = np.stack([right, down], -1).reshape(len(shift), -1)
    return reader.ridge(pairs.aus, target, penalty).reshape(-1, *shift.shape[1:]).astype(np.float32)


def make_shape(
    landmarks: Float[np.ndarray, "N 68 2"], moves: np.ndarray, aus: tuple[str, ...]
) -> np.ndarray:
    """(68, 2) float32: the mean of neutral landmarks, symmetric, with mouth and eyes open."""
    mean = landmarks.mean(0)
    mean = (mean + (1, 0) + mean[MIRRORED] * (-1, 1)) / 2
    across = mean[EYES[1]].mean(0) - mean[EYES[0]].mean(0)
    opened = sum(OPEN.get(au, 0.0) * moves[i] for i, au in enumerate(aus))
    return (mean + np.hypot(*across) * opened).astype(np.float32)


def face_of(shape: np.ndarray, side: int) -> np.ndarray:
    """(side, side) 1 where a shape's face is, softly 0 outside: where expressions change a picture.

    Within the hull of its landmarks, with the brows raised by a fifth of a face for the forehead.
    """
    raised = shape[17:27] - (shape[8] - shape[36:48].mean(0)) * FOREHEAD
    corners = Delaunay(np.concatenate([shape, raised]))
    axis = (np.arange(side) + 0.5) / side
    inside = corners.find_simplex(np.stack(np.meshgrid(axis, axis), -1)) >= 0
    away = ndimage.distance_transform_edt(~inside) / side
    return np.clip(1 - away / RIM, 0, 1).astype(np.float32)


def mouth_of(shape: np.ndarray, side: int) -> np.ndarray:
    """(side, side) float32: 1 between a shape's lips, less on their rim, 0 outside."""
    large = Image.new("L", (8 * side, 8 * side))
    ImageDraw.Draw(large).polygon([(x, y) for x, y in shape[60:68] * 8 * side - 0.5], fill=255)
    return np.asarray(large.resize((side, side), Image.Resampling.BOX), np.float32) / 255


def calibrate(read: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and noise (A,) that `denoised` needs for readings to grow with the truth, one to one.

    The noise is that with which denoised readings correlate best; the slope makes the regression
    of readings on truths 1, so that an expression arrives whole, where least squares would shrink
    it by how badly it is read.

    Args:
        read: (N, A) differences of readings of people who were not trained on.
        truth: (N, A) activations.
    """
    slopes, noises = [], []
    for column in range(read.shape[1]):
        x, y = read[:, column].astype(np.float64), truth[:, column]
        best = (-np.inf, 1.0, 0.0)
        for noise in np.linspace(0, 0.4, 21):
            kept = x**3 / (x**2 + noise**2 + 1e-12)
            product = float((kept * y).sum())
            likeness = product / max(float(np.sqrt((kept**2).sum() * (y**2).sum())), 1e-9)
            slope = float((y**2).sum()) / product if product > 0 else 0.0
            best = max(best, (likeness, min(slope, STEEPEST), float(noise)))
        slopes.append(best[1])
        noises.append(best[2])
    return np.array(slopes, np.float32), np.array(noises, np.float32)
