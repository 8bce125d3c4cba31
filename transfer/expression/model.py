"""The expression model: what facial expressions change in any face, fitted on rendered people.

`ExpressionModel` holds a landmark detector, a regressor of Action Units (AUs), the displacement of
each landmark per AU, and the residual: what a warped picture still lacks. An expression is
estimated as AU activations from pictures of the source person; pose, light and identity cancel
between two pictures of one person. It is applied to a picture of the target person in two steps:
the picture is warped by the displaced landmarks, and the residual is added. The residual lies over
a mean shape, where mouths and eyes of all faces meet (as in active appearance models; Cootes et
al. 1998). It adds folds and lids to the picture; between lips that part it replaces the picture by
the inside of the mouth. Nothing is trained for the people in the pictures.

Fitted by ridge regression in closed form, except the landmark detector and one half of the AU
regressor (`transfer.expression.fit`, `transfer.expression.au_regressor`).
"""

import dataclasses
import hashlib
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import Delaunay

from glow_jax.io.landmarks68 import (
    BROWS,
    CHIN,
    EYES,
    INNER_LIPS,
    LEFT_EYE,
    LIP_PAIRS,
    LOWER_EDGES,
    MIRROR,
    NOSE,
    RIGHT_EYE,
    UPPER_EDGES,
)
from transfer.expression.au_regressor import AuRegressor, predict, ridge
from transfer.expression.features import features
from transfer.expression.landmark_detector import Params, detect_landmarks
from transfer.expression.warp import carry, warp

Images = UInt8[Array, "B H W 3"]
Activations = Float[Array, "B A"]
Numbers = np.ndarray | Array  # NumPy's from the disk, JAX's inside a compiled function

MAX_ACTIVATION = 1.1  # an activation read as more is taken for this
LEAST_GAP = 0.03  # of the distance between the eyes: between lids, and lips, that were open
MAX_COLOUR_DEVIATIONS = 2.5  # standard deviations from the mean colour; larger ones are cut
MAX_SLOPE = 4.0  # a unit that is read so badly that its slope would be more stays weak


# The arrays of a model by their names in expressions.npz, in the order in which `fingerprint` takes
# them. Attributes may be renamed; these names may not: files and the ids of outputs hold them.
NAMES_ON_DISK = {
    "landmark_detector": "finder",
    "template": "template",
    "au_regressor": "reader",
    "slope": "slope",
    "noise": "noise",
    "displacements": "moves",
    "mean_shape": "shape",
    "mouth_mask": "mouth",
    "colour_statistics": "colours",
    "residual": "rest",
}
REGRESSOR_NAMES_ON_DISK = ("linear", "hidden", "bias", "out")  # of "reader", in order


@partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "landmark_detector",
        "template",
        "au_regressor",
        "slope",
        "noise",
        "displacements",
        "mean_shape",
        "mouth_mask",
        "colour_statistics",
        "residual",
    ],
    meta_fields=["aus"],
)
@dataclasses.dataclass(frozen=True)
class ExpressionModel:
    """See the module. A is the number of Action Units.

    Attributes:
        aus: names of the units.
        landmark_detector: the weights of the network that finds landmarks.
        template: (68, 2) of `transfer.expression.features`.
        au_regressor: of activations, up to an offset of the person's own.
        slope: (A,) what a difference of readings is multiplied by.
        noise: (A,) readings below it are taken for 0, softly.
        displacements: (A, 68, 2) of the landmarks at activation 1, in distances between the eyes.
        mean_shape: (68, 2) the mean shape, mouth and eyes open, in sides of the picture.
        mouth_mask: (S, S) 1 between the lips of `mean_shape`, 0 outside them.
        colour_statistics: (2, 3) mean and standard deviation of faces' `colour`, grey levels.
        residual: (2, 4 A + 1, S, S, 3) grey levels, laid over `mean_shape`, by `terms`: what the
            truth has that a warped picture has not, and what is between lips that part; of a face
            of the mean colour, and more of it for each standard deviation of colour.
    """

    aus: tuple[str, ...]
    landmark_detector: Params
    template: Numbers
    au_regressor: AuRegressor
    slope: Numbers
    noise: Numbers
    displacements: Numbers
    mean_shape: Numbers
    mouth_mask: Numbers
    colour_statistics: Numbers
    residual: Numbers


def named_arrays(model: ExpressionModel) -> dict[str, np.ndarray]:
    """The arrays of a model by their names in expressions.npz, such as "moves" or "reader/bias"."""
    arrays: dict[str, Any] = {}
    for attribute, name in NAMES_ON_DISK.items():
        value = getattr(model, attribute)
        if attribute == "landmark_detector":
            arrays |= {f"{name}/{key}": value[key] for key in sorted(value)}
        elif attribute == "au_regressor":
            parts = (value.linear, value.hidden, value.bias, value.out)
            keys = (f"{name}/{key}" for key in REGRESSOR_NAMES_ON_DISK)
            arrays |= dict(zip(keys, parts, strict=True))
        else:
            arrays[name] = value
    return {name: np.asarray(array) for name, array in arrays.items()}


def fingerprint(model: ExpressionModel) -> str:
    """SHA-256 of the units' names and of all arrays; it enters the ids of outputs."""
    digest = hashlib.sha256(repr(model.aus).encode())
    for name, values in named_arrays(model).items():
        array, (group, _, key) = np.ascontiguousarray(values), name.partition("/")
        label = f".{group}['{key}']" if group == "finder" else "." + name.replace("/", ".")
        digest.update(f"{label} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def denoise(model: ExpressionModel, change: Activations) -> Activations:
    """Differences of readings to activations: small ones to 0, the others to their true size."""
    noise, slope = jnp.asarray(model.noise)[None], jnp.asarray(model.slope)[None]
    kept = change**3 / (change**2 + noise**2 + 1e-12)  # a soft threshold: Wiener's, of one number
    return jnp.clip(kept * slope, -MAX_ACTIVATION, MAX_ACTIVATION)


def raw_activations(model: ExpressionModel, images: Images) -> Activations:
    """The reader's activations of pictures (B, A); only differences mean something."""
    return predict(
        model.au_regressor,
        features(images, detect_landmarks(model.landmark_detector, images), model.template),
    )


def neutrality(read: np.ndarray) -> np.ndarray:
    """(N,) how far from neutral each picture of one person is read to be; 0 is nearest.

    The squared excess of each activation over the person's median one, summed: readings carry an
    offset of the person's own, and most activations of most pictures are 0.

    Args:
        read: (N, A) readings of pictures of one person.
    """
    return (np.maximum(read - np.median(read, axis=0), 0) ** 2).sum(1)


def displace(
    model: ExpressionModel, activations: Activations, landmarks: Float[Array, "B 68 2"]
) -> Float[Array, "B 68 2"]:
    """How far each landmark goes, in sides of the picture: turned and scaled as the eyes are."""
    across = landmarks[:, LEFT_EYE].mean(1) - landmarks[:, RIGHT_EYE].mean(1)
    displacements = jnp.einsum(
        "ba,anc->bnc", activations, jnp.asarray(model.displacements, activations.dtype)
    )
    right, down = displacements[..., 0], displacements[..., 1]
    x, y = across[:, :1], across[:, 1:]
    turned = jnp.stack([right * x - down * y, right * y + down * x], -1)
    return _uncrossed(landmarks, turned, jnp.stack([-y, x], -1))


def _uncrossed(
    landmarks: Float[Array, "B 68 2"],
    displacements: Float[Array, "B 68 2"],
    down: Float[Array, "B 1 2"],
) -> Float[Array, "B 68 2"]:
    """Displacements of lids and lips that meet and do not pass through each other.

    Args:
        landmarks: before.
        displacements: of them.
        down: the face's own, as long as its eyes are apart.
    """
    before = _gaps(landmarks, down)
    least = jnp.minimum(before, LEAST_GAP)
    missing = jnp.maximum(least - before - _gaps(displacements, down), 0)[..., None] * down / 2
    return displacements.at[:, UPPER_EDGES].add(-missing).at[:, LOWER_EDGES].add(missing)


def _gaps(points: Float[Array, "B 68 2"], down: Float[Array, "B 1 2"]) -> Float[Array, "B 7"]:
    """How far lower lids and lips are below the upper ones, in distances between the eyes."""
    return ((points[:, LOWER_EDGES] - points[:, UPPER_EDGES]) * down).sum(-1) / (down**2).sum(-1)


def newly_open(
    landmarks: Float[Array, "B 68 2"], displacements: Float[Array, "B 68 2"]
) -> Float[Array, " B"]:
    """How much of the space between the lips was not there before, 0-1: 1 if they were shut."""
    across = landmarks[:, LEFT_EYE].mean(1) - landmarks[:, RIGHT_EYE].mean(1)
    down = jnp.stack([-across[:, 1], across[:, 0]], -1)[:, None]
    gaps = (
        _gaps(points, down)[:, LIP_PAIRS].mean(1)
        for points in (landmarks, landmarks + displacements)
    )
    before, after = (jnp.maximum(gap, 0) for gap in gaps)
    return jnp.clip((after - before) / jnp.maximum(after, 1e-3), 0, 1)


def warped(
    model: ExpressionModel, images: Images, activations: Activations
) -> tuple[Float[Array, "B H W 3"], Float[Array, "B 68 2"]]:
    """Pictures whose features have moved by an expression, grey levels, and their landmarks."""
    landmarks = detect_landmarks(model.landmark_detector, images)
    displacements = displace(model, activations, landmarks)
    return warp(images.astype(jnp.float32), landmarks, displacements), landmarks + displacements


def with_expression(
    model: ExpressionModel, images: Images, activations: Activations
) -> Float[Array, "B H W 3"]:
    """Pictures with an expression on them: warped, and what is left added; grey levels."""
    landmarks = detect_landmarks(model.landmark_detector, images)
    displacements = displace(model, activations, landmarks)
    pixels = warp(images.astype(jnp.float32), landmarks, displacements)
    change = residual_edit(model, images, landmarks, displacements, activations)
    change = from_mean_shape(
        model, change, landmarks + displacements, (images.shape[1], images.shape[2])
    )
    return apply_edit(change, pixels)


def residual_edit(
    model: ExpressionModel,
    images: Images,
    landmarks: Float[Array, "B 68 2"],
    displacements: Float[Array, "B 68 2"],
    activations: Activations,
) -> Float[Array, "B S S 4"]:
    """What becomes of warped pictures, over the mean shape; see `apply_edit`.

    Args:
        model: of expressions.
        images: before they are warped.
        landmarks: of them.
        displacements: of these.
        activations: activations.
    """
    parting = newly_open(landmarks, displacements)[:, None]
    parts = jnp.concatenate([terms(activations), parting, parting * terms(activations)], 1)
    plain, more = jnp.asarray(model.residual, activations.dtype)
    tint = jnp.tensordot(parts, more, 1, precision="highest")
    tint *= off_mean(model, colour(images, landmarks))[:, None, None]
    added = jnp.tensordot(parts, plain, 1, precision="highest") + tint
    gone = parting[..., None] * jnp.asarray(model.mouth_mask, activations.dtype)[None]
    return jnp.concatenate([added, gone[..., None]], -1)


def apply_edit(
    change: Float[Array, "B H W 4"], pixels: Float[Array, "B H W 3"]
) -> Float[Array, "B H W 3"]:
    """Pictures less the share of them that the last channel says, plus the others."""
    return pixels - change[..., 3:] * pixels + change[..., :3]


def terms(activations: Activations) -> Float[Array, "B C"]:
    """Activations and their squares, with their sign: (B, 2 A)."""
    return jnp.concatenate([activations, activations * abs(activations)], 1)


def colour(images: Images, landmarks: Float[Array, "B 68 2"]) -> Float[Array, "B 3"]:
    """The colour of faces: the mean of their pixels at landmarks of the nose, grey levels."""
    height, width = images.shape[1:3]
    across = jnp.clip((landmarks[:, NOSE, 0] * width).astype(int), 0, width - 1)
    down = jnp.clip((landmarks[:, NOSE, 1] * height).astype(int), 0, height - 1)
    rows = jnp.arange(len(images))[:, None]
    return images[rows, down, across].astype(jnp.float32).mean(1)


def off_mean(model: ExpressionModel, colours: Float[Array, "B 3"]) -> Float[Array, "B 3"]:
    """Colours in standard deviations from the mean one, at most MAX_COLOUR_DEVIATIONS."""
    mean, deviation = jnp.asarray(model.colour_statistics, colours.dtype)[:, None]
    return jnp.clip((colours - mean) / deviation, -MAX_COLOUR_DEVIATIONS, MAX_COLOUR_DEVIATIONS)


def to_mean_shape(
    model: ExpressionModel,
    pixels: Float[Array, "B H W C"],
    landmarks: Float[Array, "B 68 2"],
    side: int,
) -> Float[Array, "B S S C"]:
    """Pictures laid over the mean shape."""
    return carry(pixels, landmarks, _shapes(model, landmarks), (side, side))


def from_mean_shape(
    model: ExpressionModel,
    pixels: Float[Array, "B S S C"],
    landmarks: Float[Array, "B 68 2"],
    size: tuple[int, int],
) -> Float[Array, "B H W C"]:
    """The way back from `to_mean_shape`, to pictures of (height, width)."""
    return carry(pixels, _shapes(model, landmarks), landmarks, size)


def _shapes(model: ExpressionModel, landmarks: Array) -> Array:
    return jnp.broadcast_to(jnp.asarray(model.mean_shape, landmarks.dtype)[None], landmarks.shape)


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


def fit_displacements(pairs: Pairs, penalty: float = 1.0) -> np.ndarray:
    """(A, 68, 2): landmark displacements, in the eyes' frame, regressed on activations."""
    across = pairs.neutral_landmarks[:, LEFT_EYE].mean(1)
    across = across - pairs.neutral_landmarks[:, RIGHT_EYE].mean(1)
    shift = pairs.landmarks - pairs.neutral_landmarks
    x, y = across[:, :1], across[:, 1:]
    square = x**2 + y**2
    right = (shift[..., 0] * x + shift[..., 1] * y) / square
    down = (shift[..., 1] * x - shift[..., 0] * y) / square
    target = np.stack([right, down], -1).reshape(len(shift), -1)
    return ridge(pairs.aus, target, penalty).reshape(-1, *shift.shape[1:]).astype(np.float32)


def mean_shape_of(
    landmarks: Float[np.ndarray, "N 68 2"], displacements: np.ndarray, aus: tuple[str, ...]
) -> np.ndarray:
    """(68, 2) float32: the mean of neutral landmarks, symmetric, with mouth and eyes open."""
    mean = landmarks.mean(0)
    mean = (mean + (1, 0) + mean[MIRROR] * (-1, 1)) / 2
    across = mean[LEFT_EYE].mean(0) - mean[RIGHT_EYE].mean(0)
    opening = sum(OPEN.get(au, 0.0) * displacements[i] for i, au in enumerate(aus))
    return (mean + np.hypot(*across) * opening).astype(np.float32)


def face_mask(shape: np.ndarray, side: int) -> np.ndarray:
    """(side, side) 1 where a shape's face is, softly 0 outside: where expressions change a picture.

    Within the hull of its landmarks, with the brows raised by a fifth of a face for the forehead.
    """
    raised = shape[BROWS] - (shape[CHIN] - shape[EYES].mean(0)) * FOREHEAD
    corners = Delaunay(np.concatenate([shape, raised]))
    axis = (np.arange(side) + 0.5) / side
    inside = corners.find_simplex(np.stack(np.meshgrid(axis, axis), -1)) >= 0
    away = ndimage.distance_transform_edt(~inside) / side
    return np.clip(1 - away / RIM, 0, 1).astype(np.float32)


def mouth_mask_of(shape: np.ndarray, side: int) -> np.ndarray:
    """(side, side) float32: 1 between a shape's lips, less on their rim, 0 outside."""
    large = Image.new("L", (8 * side, 8 * side))
    ImageDraw.Draw(large).polygon([(x, y) for x, y in shape[INNER_LIPS] * 8 * side - 0.5], fill=255)
    return np.asarray(large.resize((side, side), Image.Resampling.BOX), np.float32) / 255


def calibrate(read: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and noise (A,) that `denoise` needs for readings to grow with the truth, one to one.

    The noise is that with which denoise readings correlate best; the slope makes the regression
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
            best = max(best, (likeness, min(slope, MAX_SLOPE), float(noise)))
        slopes.append(best[1])
        noises.append(best[2])
    return np.array(slopes, np.float32), np.array(noises, np.float32)
