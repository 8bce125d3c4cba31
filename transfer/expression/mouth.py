"""The inside of a mouth that an expression opens: the source's own, placed between the lips.

A warp cannot make teeth, and a regressed inside of the mouth is the blurred mean of many. The
picture with the expression shows the inside of the source's mouth, sharply. It is warped so that
its lips cover the target's lips after the expression, tinted by the colours of the two faces
(the lights of two pictures differ), and multiplied by a gain:

    result = base + w (gain * tint * mouth - base)

`base` is the target's picture after the expression, w is the share (0-1) of the source's mouth: 1
between lips that were shut, 0 outside them. Pure functions of arrays; the gain is chosen in
`transfer.methods.glow`.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from transfer.expression import model as em
from transfer.expression.features import luma_of
from transfer.expression.model import (
    Activations,
    ExpressionModel,
    Images,
    Landmarks,
)
from transfer.expression.openings import LEAST_PHOTO_OPEN, lip_gap, newly_open, smooth_step
from transfer.expression.warp import warp_to
from transfer.grey import LUMA

# `newly_open` of a mouth that shows nothing of the source's, and of one that shows only that.
OWN_MOUTH, SOURCE_MOUTH = 0.2, 0.6
# Shares of the difference between two faces' colours that is light, which falls on teeth too; the
# rest is skin. They are of logarithms: luma, red over blue, green over the mean of red and blue.
# Measured on photoreal people (`python -m bench.truth.teeth`).
LIGHT, WARMTH, GREEN = 0.64, 0.56, 0.33
# Differences, of the same logarithms, that 99 % of pairs of photoreal people do not exceed. The
# part of a difference beyond these is taken for light alone, as in the dark or in coloured light.
USUAL = (0.74, 0.65, 0.22)
# Columns: from the logarithms of red, green and blue to these three.
COMPONENTS = np.array([[*LUMA], [1, 0, -1], [-0.5, 1, -0.5]]).T
MIN_COLOUR = 8.0  # grey levels that are added to a colour, for dark pictures
MAX_TINT = 8.0
# The share of the target's gap that the source's gap must have, so that the source's mouth is used.
MIN_GAP_RATIO = 0.5
# Gaps of the source's lips, in distances between its eyes: at SHUT or less none of the source's
# mouth is used, because what seems to be inside is lips; from OPEN on all of it.
SHUT, OPEN = 0.015, 0.035


def with_source_mouth(
    model: ExpressionModel,
    images: Images,
    landmarks: Landmarks,
    activations: Activations,
    own: Activations,
    expressions: UInt8[Array, "B H W 3"],
    shown: Landmarks,
) -> tuple[Float[Array, "B H W 3"], Float[Array, "B H W 4"]]:
    """Pictures with an expression, and the sources' mouths for them, from one program.

    Args, as in `source_mouth`; `expressions` are as large as `images`.

    Returns:
        `transfer.expression.model.with_expression`, and `source_mouth`.
    """
    base = em.with_expression(model, images, landmarks, activations - own)
    details = expressions.astype(jnp.float32)
    marks = landmarks, shown
    return base, source_mouth(model, images, activations, own, expressions, details, *marks)


def source_mouth(
    model: ExpressionModel,
    images: Images,
    activations: Activations,
    own: Activations,
    expressions: UInt8[Array, "B M N 3"],
    details: Float[Array, "B h w 3"],
    landmarks: Landmarks,
    shown: Landmarks,
) -> Float[Array, "B h w 4"]:
    """The source's mouth in the frame of the target's picture after the expression.

    Args:
        model: of expressions.
        images: the targets' pictures.
        activations: of the expressions, already multiplied by alpha.
        own: activations that are removed from `images`.
        expressions: the sources' pictures, for the colours of faces, of any size.
        details: the same pictures at the size of the result, grey levels.
        landmarks, shown: of `images` and of `expressions`, in sides of the picture.

    Returns:
        Grey levels of the mouth (three channels), and w. All w are 0 if `activations` are.
    """
    before = landmarks + em.displace(model, -own, landmarks)
    after = landmarks + em.displace(model, activations - own, landmarks)
    colours = em.face_colour(images, landmarks), em.face_colour(expressions, shown)
    return mouth_between(model, before, after, shown, tinted(details, *colours))


def tinted(
    details: Float[Array, "B h w 3"], target: Float[Array, "B 3"], source: Float[Array, "B 3"]
) -> Float[Array, "B h w 3"]:
    """The sources' pictures, grey levels, times `tint` of the colours of the faces."""
    return details * tint(target, source).astype(details.dtype)[:, None, None]


def tint(target: Float[Array, "B 3"], source: Float[Array, "B 3"]) -> Float[Array, "B 3"]:
    """Factors that give the teeth of the source's picture the target's light.

    The share of each difference that is light counts, and of the part beyond USUAL all.

    Args:
        target, source: colours of the faces, grey levels (0-255).

    Returns:
        Of red, green and blue, between 1 / MAX_TINT and MAX_TINT; 1 for faces of equal colour.
    """
    ratio = jnp.log((target + MIN_COLOUR) / (source + MIN_COLOUR))
    parts = jnp.dot(ratio, jnp.asarray(COMPONENTS, ratio.dtype), precision="highest")
    usual, skin = jnp.asarray([USUAL, [1 - LIGHT, 1 - WARMTH, 1 - GREEN]], ratio.dtype)[:, None]
    light, warmth, green = jnp.moveaxis(parts - skin * jnp.clip(parts, -usual, usual), -1, 0)
    hue = jnp.stack([warmth / 2, green, -warmth / 2], -1)
    factors = jnp.exp(hue + (light - luma_of(hue))[..., None])
    return jnp.clip(factors, 1 / MAX_TINT, MAX_TINT)


def mouth_between(
    model: ExpressionModel,
    before: Landmarks,
    after: Landmarks,
    shown: Landmarks,
    details: Float[Array, "B h w 3"],
) -> Float[Array, "B h w 4"]:
    """`source_mouth` for known landmarks.

    Args:
        model: of expressions.
        before, after: landmarks of the targets without and with the expression.
        shown: landmarks of `details`.
        details: the sources' pictures with the expression, grey levels.
    """
    size = (details.shape[1], details.shape[2])
    mask = jnp.asarray(model.mouth_mask, details.dtype)[None, ..., None]
    mask = jnp.broadcast_to(mask, (len(details), *mask.shape[1:]))
    inside = jnp.clip(em.from_mean_shape(model, mask, after, size), 0, 1)
    pixels = jnp.clip(warp_to(details, shown, after, size, em.smoothing_of(model)), 0, 255)
    return jnp.concatenate([pixels, share(before, after, shown)[:, None, None, None] * inside], -1)


def share(before: Landmarks, after: Landmarks, shown: Landmarks) -> Float[Array, " B"]:
    """How much (0-1) of the inside of a mouth is the source's.

    Args:
        before, after: landmarks of the target without and with the expression.
        shown: landmarks of the source with the expression.

    Returns:
        0 where the mouth does not open further, or the source's mouth is shut.
    """
    new = newly_open(before, after - before, LEAST_PHOTO_OPEN)
    opened = (new - OWN_MOUTH) / (SOURCE_MOUTH - OWN_MOUTH)
    gap = lip_gap(shown, shown)
    enough = gap / jnp.maximum(MIN_GAP_RATIO * lip_gap(after, before), 1e-3)
    shows = smooth_step((gap - SHUT) / (OPEN - SHUT))
    return smooth_step(opened) * smooth_step(enough) * shows
