"""The gaps between upper and lower lids and between the lips, and the lips' thickness."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from glow_jax.io.landmarks68 import (
    BESIDE_LOWER,
    BESIDE_UPPER,
    CHEEKS,
    LEFT_EYE,
    LIP_INNER_EDGES,
    LIP_OUTER_EDGES,
    LIP_PAIRS,
    LOWER_EDGES,
    RIGHT_EYE,
    UPPER_EDGES,
)

Landmarks = Float[Array, "B 68 2"]

MIN_THICKNESS = 0.7  # least share of its thickness that a lip keeps
MIN_HEIGHT = 0.4  # least share of the mouth's height beside its corners that is kept
OPENING_NORM = 1.5  # of the gap between lips and the gap that an expression adds
MIN_CHEEK = 0.5  # least share of their distances from the jaw that the mouth's ends keep
MIN_GAP = 0.03  # distances between the eyes: the least opening that closing lids or lips keep
LEAST_OPEN, LEAST_PHOTO_OPEN = 1e-3, 0.05  # of `newly_open`; for models adapted to photographs
MIN_LID_GAP = 0.012  # the same for lids, where shut eyes are drawn (`transfer.expression.lids`)


def between_eyes(landmarks: Landmarks) -> Float[Array, "B 2"]:
    """The vector from the right eye to the left one."""
    return landmarks[:, LEFT_EYE].mean(1) - landmarks[:, RIGHT_EYE].mean(1)


def uncrossed(
    landmarks: Landmarks,
    displacements: Landmarks,
    down: Float[Array, "B 1 2"],
    lid_gap: float = MIN_GAP,
) -> Landmarks:
    """Displacements that leave a gap, or the old gap if it is smaller, between lids and lips.

    Args:
        landmarks: before they are displaced.
        displacements: in sides of the picture, as `landmarks`.
        down: the face's own downward direction, as long as the distance between its eyes.
        lid_gap: between lids, in distances between the eyes; between lips it is MIN_GAP.
    """
    before = _gaps(landmarks, down)
    least = jnp.full(len(UPPER_EDGES), lid_gap, before.dtype).at[LIP_PAIRS].set(MIN_GAP)
    wanted = jnp.minimum(before, least[None])
    missing = jnp.maximum(wanted - before - _gaps(displacements, down), 0)[..., None] * down / 2
    return displacements.at[:, UPPER_EDGES].add(-missing).at[:, LOWER_EDGES].add(missing)


def parted_less(
    landmarks: Landmarks, displacements: Landmarks, down: Float[Array, "B 1 2"]
) -> Landmarks:
    """Displacements that open a mouth less far if it is open already.

    A gap g to which an expression adds a becomes (g^p + a^p)^(1/p) in place of g + a, with p =
    OPENING_NORM. Only the lower lip, without its ends, moves less; the upper lip moves as before.

    Args:
        landmarks: before they are displaced.
        displacements: in sides of the picture, as `landmarks`.
        down: as in `uncrossed`.
    """
    before = jnp.maximum(_gaps(landmarks, down)[:, LIP_PAIRS], 0)
    added = _gaps(displacements, down)[:, LIP_PAIRS]
    wider = jnp.maximum(added, 0)
    combined = (before**OPENING_NORM + wider**OPENING_NORM) ** (1 / OPENING_NORM)
    less = jnp.where(wider > 0, before + wider - combined, 0)[..., None] * down
    lower = displacements.at[:, LOWER_EDGES[LIP_PAIRS]].add(-less)
    return lower.at[:, LIP_OUTER_EDGES[3:]].add(-less)


def unfolded(landmarks: Landmarks, displacements: Landmarks) -> Landmarks:
    """Displacements under which lips do not fold.

    Each lip keeps MIN_THICKNESS of its thickness: inner edges move as before, and outer ones
    farther. Beside its corners the mouth keeps MIN_HEIGHT of its height. Landmarks at and beside
    the ends of the mouth keep about MIN_CHEEK of their distances from the landmarks of the jaw
    beside them; these distances are short on the far side of a head that is turned.
    """
    for mouth, jaw in CHEEKS:
        short = _missing(landmarks, displacements, jaw, mouth, MIN_CHEEK)
        displacements = displacements.at[:, mouth].add(short)
    missing = _missing(landmarks, displacements, LIP_INNER_EDGES, LIP_OUTER_EDGES, MIN_THICKNESS)
    displacements = displacements.at[:, LIP_OUTER_EDGES].add(missing)
    missing = _missing(landmarks, displacements, BESIDE_UPPER, BESIDE_LOWER, MIN_HEIGHT) / 2
    return displacements.at[:, BESIDE_UPPER].add(-missing).at[:, BESIDE_LOWER].add(missing)


def _missing(
    landmarks: Landmarks,
    displacements: Landmarks,
    one: Int[np.ndarray, " P"],
    other: Int[np.ndarray, " P"],
    least: float,
) -> Float[Array, "B P 2"]:
    """How much farther from `one` landmarks must be of `other`, to keep `least` of the distance."""
    across = landmarks[:, other] - landmarks[:, one]
    before = jnp.linalg.norm(across, axis=-1, keepdims=True)
    away = across / jnp.maximum(before, 1e-6)
    change = displacements[:, other] - displacements[:, one]
    after = before + (change * away).sum(-1, keepdims=True)
    return jnp.maximum(least * before - after, 0) * away


def _gaps(points: Landmarks, down: Float[Array, "B 1 2"]) -> Float[Array, "B 7"]:
    """How far lower lids and lips are below the upper ones, in distances between the eyes."""
    return ((points[:, LOWER_EDGES] - points[:, UPPER_EDGES]) * down).sum(-1) / (down**2).sum(-1)


def newly_open(
    landmarks: Landmarks, displacements: Landmarks, least: float = LEAST_OPEN
) -> Float[Array, " B"]:
    """The share (0-1) of the opening between the lips that the displacements make.

    1 where shut lips open, 0 where the opening does not grow.

    Args:
        landmarks: before they are displaced.
        displacements: of the landmarks.
        least: distances between the eyes: of a smaller opening, what is new counts as a share of
            `least`.
    """
    before, after = lip_gap(landmarks, landmarks), lip_gap(landmarks + displacements, landmarks)
    return jnp.clip((after - before) / jnp.maximum(after, least), 0, 1)


def lip_gap(points: Landmarks, face: Landmarks) -> Float[Array, " B"]:
    """The mean gap between the lips, in distances between the eyes of `face`; 0 where they meet.

    Args:
        points: landmarks whose lips are measured.
        face: landmarks of the same face, with or without the expression.
    """
    across = between_eyes(face)
    down = jnp.stack([-across[:, 1], across[:, 0]], -1)[:, None]
    return jnp.maximum(_gaps(points, down)[:, LIP_PAIRS].mean(1), 0)


def smooth_step(t: Array) -> Array:
    """A smooth step from 0 where t is 0 or less to 1 where it is 1 or more."""
    t = jnp.clip(t, 0, 1)
    return t * t * (3 - 2 * t)
