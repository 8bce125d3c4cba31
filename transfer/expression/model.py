"""The expression model: how facial expressions change a face, fitted on rendered people.

`ExpressionModel` holds a landmark detector, a regressor of Action Units (AUs), the displacement of
each landmark per AU, and the residual: the difference between a picture with the expression and a
warped neutral picture. An expression is estimated as AU activations from pictures of the source
person; pose, light and identity cancel between two pictures of one person. The expression is
applied to a picture of the target person in two steps: the picture is warped by the displaced
landmarks, and the residual is added. The residual is defined in the frame of a mean shape, in which
the mouths and eyes of all faces coincide (as in active appearance models; Cootes et al. 1998). The
residual adds folds and lids to the picture; between lips that part it replaces the picture by the
inside of the mouth. Nothing is trained for the people in the pictures.

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

from glow_jax.io.landmarks68 import LEFT_BROW, NOSE, RIGHT_BROW
from transfer.expression.absolute import Population
from transfer.expression.au_regressor import AuRegressor, predict
from transfer.expression.creases import with_creases
from transfer.expression.features import features, luma_of, mean_colour, mirrored
from transfer.expression.landmark_corrections import corrected
from transfer.expression.landmark_detector import Params, detect_landmarks
from transfer.expression.lids import closed_lids
from transfer.expression.openings import (
    LEAST_OPEN,
    LEAST_PHOTO_OPEN,
    MIN_LID_GAP,
    between_eyes,
    newly_open,
    parted_less,
    smooth_step,
    uncrossed,
    unfolded,
)
from transfer.expression.turned import of_turned, tangents
from transfer.expression.warp import SMOOTHING, Smoothing, warp, warp_to

Images = UInt8[Array, "B H W 3"]
Landmarks = Float[Array, "B 68 2"]
Activations = Float[Array, "B A"]
AnyArray = np.ndarray | Array  # NumPy after loading, JAX inside a compiled function

# Estimated activations are clipped to +- this; 1 is the full strength of an AU.
MAX_ACTIVATION = 1.1
# Version of what is estimated and made with models that were adapted to photographs; increased
# whenever the same photographs give other activations, or the same activations other pictures.
READING = "5"
WHITE = 48  # grey levels below white, of the darkest channel, within which an edit darkens less
# In sides of the mean shape: how far above a brow the residual darkens nothing, and the edge.
BROW_HEIGHT, BROW_FADE = 0.07, 0.02
MAX_COLOUR_DEVIATIONS = 2.5  # standard deviations: face colours are clipped to +- this

# Attributes by their names in expressions.npz, in the order in which `fingerprint` hashes them.
# An attribute may be renamed; a name on disk may not: files and the ids of outputs depend on it.
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
    "corrections": "corrections",
    "smoothing": "smoothing",
}
REGRESSOR_NAMES_ON_DISK = ("linear", "hidden", "bias", "out")  # such as "reader/linear"


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
        "population",
        "corrections",
        "smoothing",
    ],
    meta_fields=["aus"],
)
@dataclasses.dataclass(frozen=True)
class ExpressionModel:
    """The arrays that estimate expressions and apply them; A is the number of Action Units.

    Attributes:
        aus: names of the units, such as "AU12".
        landmark_detector: weights of `transfer.expression.landmark_detector`.
        template: (68, 2) the mean face of `transfer.expression.features`, in distances between its
            eyes from their midpoint.
        au_regressor: features to raw activations, which carry an unknown offset per person.
        slope: (A,) factor from differences of raw activations to activations; see `denoise`.
        noise: (A,) differences of raw activations below it are shrunk towards 0; see `denoise`.
        displacements: (A, 68, 2) of the landmarks at activation 1, right and down in the frame of
            the eyes, in distances between the eyes.
        mean_shape: (68, 2) landmarks with mouth and eyes open, in sides of the picture.
        mouth_mask: (S, S) 1 between the lips of `mean_shape`, 0 outside them.
        colour_statistics: (2, 3) mean and standard deviation of `face_colour`, grey levels.
        residual: (2, 4 A + 1, S, S, 3) grey levels in the frame of the mean shape; see
            `residual_edit`. The first half is for a face of the mean colour; the second half is
            added once per standard deviation of the face's colour. Rows: 2 A for the `terms` of
            the activations, then 1 + 2 A for the inside of a newly open mouth.
        population: statistics of neutral faces, for people without a neutral picture; None for a
            file of version 0.1. It does not enter `fingerprint`, because no other output depends
            on it.
        corrections: (S, F + 1, 136) of `transfer.expression.landmark_corrections`, S at most 3;
            None for a model that was fitted on renders alone.
        smoothing: () of the warp's spline, which then has the points of
            `transfer.expression.creases` too; None means `transfer.expression.warp.SMOOTHING`
            and a spline through the landmarks alone.
    """

    aus: tuple[str, ...]
    landmark_detector: Params
    template: AnyArray
    au_regressor: AuRegressor
    slope: AnyArray
    noise: AnyArray
    displacements: AnyArray
    mean_shape: AnyArray
    mouth_mask: AnyArray
    colour_statistics: AnyArray
    residual: AnyArray
    population: Population | None = None
    corrections: AnyArray | None = None
    smoothing: AnyArray | None = None


def named_arrays(model: ExpressionModel) -> dict[str, np.ndarray]:
    """The arrays of a model by their names in expressions.npz, such as "moves" or "reader/bias".

    The population is left out, and so is what a model does not have.
    """
    arrays: dict[str, Any] = {}
    for attribute, name in NAMES_ON_DISK.items():
        value = getattr(model, attribute)
        if value is None:
            continue
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
    """SHA-256 of the names of the units and of `named_arrays`; the ids of outputs depend on it."""
    digest = hashlib.sha256(repr(model.aus).encode())
    for name, values in named_arrays(model).items():
        array, (group, _, key) = np.ascontiguousarray(values), name.partition("/")
        label = f".{group}['{key}']" if group == "finder" else "." + name.replace("/", ".")
        digest.update(f"{label} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def expressions_recipe(model: ExpressionModel) -> dict[str, str]:
    """What determines what a model reads and makes, by name; ids of outputs depend on it."""
    adapted = {} if model.smoothing is None else {"expression_reading": READING}
    return {"expressions": fingerprint(model)} | adapted


def smoothing_of(model: ExpressionModel) -> Smoothing:
    """The smoothing of the model's warps."""
    return SMOOTHING if model.smoothing is None else jnp.asarray(model.smoothing, jnp.float32)


def warp_points(
    model: ExpressionModel, landmarks: Landmarks, displacements: Landmarks
) -> tuple[Float[Array, "B N 2"], Float[Array, "B N 2"]]:
    """The points by which the model warps pictures, landmarks first, and their displacements."""
    if model.smoothing is None:
        return landmarks, displacements
    return with_creases(landmarks, displacements)


def warp_pictures(
    model: ExpressionModel,
    pixels: Float[Array, "B H W C"],
    landmarks: Landmarks,
    displacements: Landmarks,
) -> Float[Array, "B H W C"]:
    """Pictures whose landmarks are displaced."""
    return warp(pixels, *warp_points(model, landmarks, displacements), smoothing_of(model))


def find_landmarks(model: ExpressionModel, images: Images) -> Landmarks:
    """Landmarks of aligned faces, right and down in sides of the picture.

    With corrections they are the mean of those found in the picture and in its mirror image.
    """
    detector, corrections = model.landmark_detector, model.corrections
    if corrections is None:
        return detect_landmarks(detector, images)

    def found(some: Images) -> Landmarks:
        return corrected(corrections, some, detect_landmarks(detector, some), model.template)

    # A loop, so that one side is compiled.
    one, other = jax.lax.map(found, jnp.stack([images, images[:, :, ::-1]]))
    return (one + mirrored(other)) / 2


def raw_activations(model: ExpressionModel, images: Images) -> Activations:
    """AU activations plus an unknown offset per person: only differences are meaningful."""
    return read_faces(model, images)[0]


def read_faces(model: ExpressionModel, images: Images) -> tuple[Activations, Landmarks]:
    """`raw_activations` and `find_landmarks` of the same pictures."""
    landmarks = find_landmarks(model, images)
    return predict(model.au_regressor, features(images, landmarks, model.template)), landmarks


def denoise(model: ExpressionModel, change: Activations) -> Activations:
    """Activations from differences of raw activations between two pictures of one person.

    A difference d becomes slope * d³ / (d² + noise²): it is scaled by `slope`, and shrunk towards 0
    where it is not well above `noise`. The result is clipped to +- MAX_ACTIVATION.
    """
    return denoised(change, model.slope, model.noise)


def absolute_activations(model: ExpressionModel, raw: Activations) -> Activations:
    """Activations from raw activations of single pictures, relative to a mean neutral face.

    See `transfer.expression.absolute`.

    Raises:
        ValueError: the model has no population.
    """
    if model.population is None:
        raise ValueError("the expression model has no population")
    neutral, slope, noise, _ = model.population
    return denoised(raw - jnp.asarray(neutral)[None], slope, noise)


def denoised(change: Activations, slope: AnyArray, noise: AnyArray) -> Activations:
    """`denoise` with the given slope and noise (A,)."""
    slope, noise = jnp.asarray(slope)[None], jnp.asarray(noise)[None]
    kept = change**3 / (change**2 + noise**2 + 1e-12)  # the Wiener filter of a single value
    return jnp.clip(kept * slope, -MAX_ACTIVATION, MAX_ACTIVATION)


def distance_from_neutral(raw: np.ndarray) -> np.ndarray:
    """(N,) distances of the pictures of one person from a neutral expression; 0 is neutral.

    The squared excess of each raw activation over the person's median, summed over the AUs. The
    median estimates the person's unknown offset, since most activations of most pictures are 0.

    Args:
        raw: (N, A) raw activations of pictures of one person.
    """
    return (np.maximum(raw - np.median(raw, axis=0), 0) ** 2).sum(1)


def displace(model: ExpressionModel, activations: Activations, landmarks: Landmarks) -> Landmarks:
    """Displacements of landmarks by an expression, in sides of the picture.

    The displacements are rotated and scaled as the eyes are. Lids and lips that meet do not cross.
    Where the model has a `smoothing`, the far side of a turned face moves less than the near one,
    lips do not fold, and open mouths open less.
    """
    across = between_eyes(landmarks)
    local = jnp.einsum(
        "ba,anc->bnc",
        activations,
        jnp.asarray(model.displacements, activations.dtype),
        precision="highest",
    )
    if model.smoothing is not None:
        local = of_turned(local, tangents(landmarks))
    right, down = local[..., 0], local[..., 1]
    x, y = across[:, :1], across[:, 1:]
    turned = jnp.stack([right * x - down * y, right * y + down * x], -1)
    face_down = jnp.stack([-y, x], -1)
    if model.smoothing is None:
        return uncrossed(landmarks, turned, face_down)
    turned = parted_less(landmarks, turned, face_down)
    return unfolded(landmarks, uncrossed(landmarks, turned, face_down, MIN_LID_GAP))


def warped(
    model: ExpressionModel, images: Images, activations: Activations
) -> tuple[Float[Array, "B H W 3"], Landmarks]:
    """Pictures warped by an expression, without the residual, and their landmarks afterwards.

    Args:
        model: of expressions.
        images: uint8 RGB, square, aligned.
        activations: of the expression, already multiplied by alpha.

    Returns:
        Pictures, grey levels (0-255), and landmarks, in sides of the picture.
    """
    landmarks = find_landmarks(model, images)
    displacements = displace(model, activations, landmarks)
    pixels = warp_pictures(model, images.astype(jnp.float32), landmarks, displacements)
    return pixels, landmarks + displacements


def with_expression(
    model: ExpressionModel, images: Images, landmarks: Landmarks, activations: Activations
) -> Float[Array, "B H W 3"]:
    """Pictures with an expression: warped, and the residual added; grey levels (0-255)."""
    displacements = displace(model, activations, landmarks)
    return with_displaced(model, images, landmarks, displacements, activations)


def with_displaced(
    model: ExpressionModel,
    images: Images,
    landmarks: Landmarks,
    displacements: Landmarks,
    activations: Activations,
) -> Float[Array, "B H W 3"]:
    """`with_expression` for known landmarks and displacements, in sides of the picture."""
    pixels = warp_pictures(model, images.astype(jnp.float32), landmarks, displacements)
    edit = residual_edit(model, images, landmarks, displacements, activations)
    edit = from_mean_shape(
        model, edit, landmarks + displacements, (images.shape[1], images.shape[2])
    )
    edit = limited(model, edit, pixels, face_colour(images, landmarks))
    return apply_edit(with_closed_lids(model, edit, images, landmarks, displacements), pixels)


def limited(
    model: ExpressionModel,
    edit: Float[Array, "B H W 4"],
    pixels: Float[Array, "B H W 3"],
    colours: Float[Array, "B 3"],
) -> Float[Array, "B H W 4"]:
    """An edit whose additions suit skin and hair; it is fitted on skin of the mean face.

    Pixels that it darkens lose the share of each channel that the face's own colour would lose, and
    at most all of it; those that are lighter than the face lose the same luma as the face, not the
    same share, and white ones, which are overexposed, nothing. Pixels that it brightens get light
    of the face's hue, up to the face's luma. So no skin turns grey, and hair is hardly darkened.
    Where a channel of the face is more than MAX_COLOUR_DEVIATIONS below the mean face's, as in
    little or coloured light, the edit is scaled by the face's colour over that bound.

    Inside lips that part, and for a model without a `smoothing`, the edit is unchanged.

    Args:
        model: the expression model.
        edit: as from `residual_edit`, in the frame of the pictures.
        pixels: the warped pictures.
        colours: of the faces, see `face_colour`.
    """
    if model.smoothing is None:
        return edit
    face = jnp.maximum(colours, 1)[:, None, None]
    mean, deviation = jnp.asarray(model.colour_statistics, colours.dtype)[:, None]
    known = mean + colour_deviations(model, colours) * deviation
    fitted = jnp.maximum(face, known[:, None, None])  # the colour that the edit is for
    added, removed = edit[..., :3], edit[..., 3:]
    light, luma, face_luma, fitted_luma = (
        luma_of(part)[..., None] for part in (added, pixels, face, fitted)
    )
    share = jnp.clip(added / fitted, -1, 0)  # of each channel, at most all of it
    darker = share * pixels * (face_luma / jnp.maximum(luma, face_luma)) * _seen(pixels)
    room = jnp.maximum(face_luma - luma, 0)
    brighter = jnp.clip(light * face_luma / fitted_luma, 0, room) * face / face_luma
    suited = jnp.where(removed > 0, added, jnp.where(light < 0, darker, brighter))
    return jnp.concatenate([suited, removed], -1)


def _seen(pixels: Float[Array, "B H W 3"]) -> Float[Array, "B H W 1"]:
    """0 where a pixel is white, as overexposed skin is, to 1 where a channel is WHITE below that.

    The brightness of overexposed skin is not known: it may be white in a fold too.
    """
    return jnp.clip((255 - pixels.min(-1, keepdims=True)) / WHITE, 0, 1)


def with_closed_lids(
    model: ExpressionModel,
    edit: Float[Array, "B h w 4"],
    images: Images,
    landmarks: Landmarks,
    displacements: Landmarks,
) -> Float[Array, "B h w 4"]:
    """An edit for `apply_edit` and, over it, the lines of eyes that shut.

    Args:
        model: the expression model.
        edit: in the frame of the pictures with the expression.
        images: before they are warped.
        landmarks: of `images`.
        displacements: of `landmarks`.

    Returns:
        An edit as large as `edit`. It is `edit` where no eye shuts, and for a model without a
        `smoothing`.
    """
    if model.smoothing is None:
        return edit
    size = (edit.shape[1], edit.shape[2])
    line = closed_lids(images, landmarks, landmarks + displacements, size)
    return line + edit - line[..., 3:] * edit


def residual_edit(
    model: ExpressionModel,
    images: Images,
    landmarks: Landmarks,
    displacements: Landmarks,
    activations: Activations,
) -> Float[Array, "B S S 4"]:
    """The residual of warped pictures, in the frame of the mean shape: the edit of `apply_edit`.

    Args:
        model: of expressions.
        images: before they are warped.
        landmarks: of `images`.
        displacements: of `landmarks`.
        activations: of the expression.

    Returns:
        Three channels to add, grey levels; the fourth channel is the share (0-1) of the warped
        picture to remove.
    """
    opening = opening_of(model, landmarks, displacements)[:, None]
    parts = jnp.concatenate([terms(activations), opening, opening * terms(activations)], 1)
    at_mean_colour, per_deviation = jnp.asarray(model.residual, activations.dtype)
    by_colour = jnp.tensordot(parts, per_deviation, 1, precision="highest")
    by_colour *= colour_deviations(model, face_colour(images, landmarks))[:, None, None]
    added = jnp.tensordot(parts, at_mean_colour, 1, precision="highest") + by_colour
    if model.smoothing is not None:
        added = jnp.maximum(added, 0) + above_brows(model, added) * jnp.minimum(added, 0)
    removed = opening[..., None] * jnp.asarray(model.mouth_mask, activations.dtype)[None]
    return jnp.concatenate([added, removed[..., None]], -1)


def above_brows(model: ExpressionModel, added: Float[Array, "B S S 3"]) -> Float[Array, "1 S S 1"]:
    """The share (0-1) that is kept of what darkens: 0 above the brows, where it is a second brow.

    A brow of a person moves a little more or less than the warp's, and the residual, which is
    linear, darkens the place of the mean face's brow.
    """
    side = added.shape[1]
    shape, kept = jnp.asarray(model.mean_shape, added.dtype), jnp.ones((), added.dtype)
    at = (jnp.arange(side, dtype=added.dtype) + 0.5) / side
    for brow in (RIGHT_BROW, LEFT_BROW):
        x, y = shape[brow].T
        height = jnp.interp(at, x, y)[None] - at[:, None]  # above the brow
        beside = jnp.maximum(jnp.maximum(x[0] - at, at - x[-1]), 0)[None]
        near = smooth_step((BROW_HEIGHT - height) / BROW_FADE) * smooth_step(1 + height / BROW_FADE)
        kept = kept * (1 - near * smooth_step(1 - beside / BROW_FADE))
    return kept[None, ..., None]


def opening_of(
    model: ExpressionModel, landmarks: Landmarks, displacements: Landmarks
) -> Float[Array, " B"]:
    """`newly_open`; in photographs lips that part by less than a landmark's noise show little."""
    return newly_open(
        landmarks, displacements, LEAST_OPEN if model.smoothing is None else LEAST_PHOTO_OPEN
    )


def apply_edit(
    edit: Float[Array, "B H W 4"], pixels: Float[Array, "B H W 3"]
) -> Float[Array, "B H W 3"]:
    """Pixels after an edit: (1 - share removed) * pixels + what is added."""
    return pixels - edit[..., 3:] * pixels + edit[..., :3]


def terms(activations: Activations) -> Float[Array, "B C"]:
    """The inputs of the residual's regression, (B, 2 A): activations a, then a |a|."""
    return jnp.concatenate([activations, activations * abs(activations)], 1)


def face_colour(images: Images, landmarks: Landmarks) -> Float[Array, "B 3"]:
    """The mean RGB of a face at the landmarks of its nose, grey levels.

    The nose is free of hair, lids and lips.
    """
    return mean_colour(images, landmarks[:, NOSE])


def colour_deviations(model: ExpressionModel, colours: Float[Array, "B 3"]) -> Float[Array, "B 3"]:
    """Face colours in standard deviations from the mean one, at most +- MAX_COLOUR_DEVIATIONS."""
    mean, deviation = jnp.asarray(model.colour_statistics, colours.dtype)[:, None]
    return jnp.clip((colours - mean) / deviation, -MAX_COLOUR_DEVIATIONS, MAX_COLOUR_DEVIATIONS)


def to_mean_shape(
    model: ExpressionModel, pixels: Float[Array, "B H W C"], landmarks: Landmarks, side: int
) -> Float[Array, "B S S C"]:
    """Pictures warped so that their landmarks are the mean shape's; `side` pixels wide."""
    to = _mean_shapes(model, landmarks)
    return warp_to(pixels, landmarks, to, (side, side), smoothing_of(model))


def from_mean_shape(
    model: ExpressionModel,
    pixels: Float[Array, "B S S C"],
    landmarks: Landmarks,
    size: tuple[int, int],
) -> Float[Array, "B H W C"]:
    """The reverse of `to_mean_shape`: from the mean shape to pictures of (height, width)."""
    return warp_to(pixels, _mean_shapes(model, landmarks), landmarks, size, smoothing_of(model))


def _mean_shapes(model: ExpressionModel, landmarks: Array) -> Array:
    return jnp.broadcast_to(jnp.asarray(model.mean_shape, landmarks.dtype)[None], landmarks.shape)
