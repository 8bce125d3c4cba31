"""Apply expressions to pictures, compiled, on one or several devices."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from glow_jax.io.errors import InputError
from glow_jax.kept_programs import kept
from transfer.codec import FloatImages, Images, padded
from transfer.expression import model as em
from transfer.expression.model import ExpressionModel
from transfer.expression.mouth import source_mouth, with_source_mouth
from transfer.expression.warp import warp_to

EDIT_PX = 256  # side of the residual that is computed for a photograph
AT_ONCE = 4  # faces whose landmarks are found at once: landmarks do not depend on the batch

_warped, _with_expression = kept(em.warped), kept(em.with_expression)
_find_landmarks = kept(em.find_landmarks)
_source_mouth, _with_source_mouth = kept(source_mouth), kept(with_source_mouth)


def landmarks_of(model: ExpressionModel, images: Images) -> Float[np.ndarray, "N 68 2"]:
    """Landmarks of aligned faces, float32, right and down in sides of the picture.

    Args:
        model: the expression model.
        images: uint8 (N, H, W, 3).

    Raises:
        InputError: the model computes what is no finite number.
    """
    starts = range(0, len(images), AT_ONCE)
    parts = [padded(images[i : i + AT_ONCE], AT_ONCE) for i in starts]
    found = np.concatenate([np.asarray(_find_landmarks(model, p)) for p in parts])[: len(images)]
    check_finite(landmarks=found)
    return found


def check_finite(**arrays: np.ndarray) -> None:
    """Check what an expression model computed: a NaN in it would become a grey picture.

    Args:
        arrays: by what they hold, in words of the message.

    Raises:
        InputError: a number is infinite or NaN.
    """
    for what, array in arrays.items():
        if not np.isfinite(array).all():
            raise InputError(
                f"the expression model gives {what} that are not finite numbers; its "
                "expressions.npz is damaged, or the numbers in it are too large"
            )


def with_expression(
    model: ExpressionModel,
    images: Images,
    activations: np.ndarray,
    devices: Sequence[jax.Device] = (),
    landmarks: Float[np.ndarray, "B 68 2"] | None = None,
) -> FloatImages:
    """Apply an expression to each picture: warp it, and add the residual.

    Args:
        model: the expression model.
        images: uint8 (B, H, W, 3).
        activations: (B, A), already multiplied by alpha.
        devices: devices that share the rows of the batch; B is a multiple of their number. Empty
            means JAX's default device. Each device runs the program that one device alone would
            run on these rows.
        landmarks: of `images`, where `landmarks_of` has found them already.

    Returns:
        (B, H, W, 3) finite grey levels. Where all activations are 0, the unchanged picture.
    """
    marks = landmarks_of(model, images) if landmarks is None else landmarks
    arrays = (np.asarray(images), marks, np.asarray(activations, np.float32))
    return _on_devices(_with_expression, model, arrays, devices) + np.float32(0.5)


def with_mouths(
    model: ExpressionModel,
    images: Images,
    landmarks: Float[np.ndarray, "B 68 2"],
    activations: np.ndarray,
    own: np.ndarray,
    expressions: Images,
    shown: Float[np.ndarray, "B 68 2"],
    devices: Sequence[jax.Device] = (),
) -> tuple[FloatImages, np.ndarray]:
    """`with_expression` of activations without `own`, and `mouths` for it, by one program.

    Args:
        model: the expression model.
        images: the targets' pictures, uint8 (B, H, W, 3).
        landmarks: of `images`.
        activations: (B, A), already multiplied by alpha.
        own: (B, A) activations that are removed from `images`.
        expressions: the sources' pictures, uint8 (B, H, W, 3).
        shown: landmarks of `expressions`.
        devices: as in `with_expression`.

    Returns:
        (B, H, W, 3) and (B, H, W, 4), float32.
    """
    added, removed = np.asarray(activations, np.float32), np.asarray(own, np.float32)
    arrays = (images, landmarks, added, removed, expressions, shown)
    base, mouth = _on_devices(_with_source_mouth, model, arrays, devices)
    return base + np.float32(0.5), mouth


def mouths(
    model: ExpressionModel,
    images: Images,
    landmarks: Float[np.ndarray, "B 68 2"],
    activations: np.ndarray,
    own: np.ndarray,
    expressions: UInt8[np.ndarray, "B M N C"],
    shown: Float[np.ndarray, "B 68 2"],
    details: UInt8[np.ndarray, "B h w C"],
) -> np.ndarray:
    """`transfer.expression.mouth.source_mouth` of each row, float32 (B, h, w, 4).

    Args:
        model: the expression model.
        images: the targets' pictures, uint8 (B, H, W, 3).
        landmarks: of `images`.
        activations: (B, A), already multiplied by alpha.
        own: (B, A) activations that are removed from `images`.
        expressions: the sources' pictures, uint8 (B, M, N, 3), of any size.
        shown: landmarks of `expressions`.
        details: the same pictures at the size of the result, uint8 (B, h, w, 3).
    """
    added, removed = np.asarray(activations, np.float32), np.asarray(own, np.float32)
    fine = np.asarray(details, np.float32)
    arrays = (images, added, removed, expressions, fine, landmarks, shown)
    return np.asarray(_source_mouth(model, *arrays))


def _on_devices(
    function: Callable[..., Any],
    model: ExpressionModel,
    arrays: Sequence[np.ndarray],
    devices: Sequence[jax.Device],
) -> Any:
    """What a compiled function makes of a model and arrays, whose rows the devices share."""
    found = []
    parts = zip(*(np.split(array, max(1, len(devices))) for array in arrays), strict=True)
    for i, part in enumerate(parts):
        placed = jax.device_put((model, *part), devices[i]) if devices else (model, *part)
        found.append(function(*placed))
    return jax.tree.map(lambda *ones: np.concatenate([np.asarray(one) for one in ones]), *found)


def moved_to(
    model: ExpressionModel, images: Images, landmarks: np.ndarray, to: np.ndarray
) -> Images:
    """Pictures, uint8 (B, S, S, 3), warped so that their landmarks are at those of other faces.

    Args:
        model: the expression model, for the spline's smoothing.
        images: uint8 (B, S, S, 3).
        landmarks: (B, 68, 2), of `images`, in sides of the picture.
        to: (B, 68, 2), where they shall be.
    """
    arrays = (np.asarray(a, np.float32) for a in (images, landmarks, to))
    moved = _moved_to(*arrays, np.float32(em.smoothing_of(model)), len(images[0]))
    return np.clip(np.rint(np.asarray(moved)), 0, 255).astype(np.uint8)


@partial(kept, static=(4,))
def _moved_to(
    images: jax.Array, landmarks: jax.Array, to: jax.Array, smoothing: jax.Array, side: int
) -> jax.Array:
    return warp_to(images, landmarks, to, (side, side), smoothing)


def warped(model: ExpressionModel, images: Images, activations: np.ndarray) -> np.ndarray:
    """(B, H, W, 3) grey levels of warped pictures, without the residual."""
    return np.asarray(_warped(model, np.asarray(images), np.asarray(activations, np.float32))[0])


def displaced(
    model: ExpressionModel, image: Images, activations: np.ndarray, side: int = EDIT_PX
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The displacements and the residual of an expression in one crop, for `paste_warp`.

    Args:
        model: the expression model.
        image: uint8 (1, S, S, 3).
        activations: (1, A), already multiplied by alpha.
        side: of the residual edit, pixels.

    Returns:
        The points of the warp (N, 2), landmarks first, their displacements (N, 2), both in sides
        of the crop; and the residual edit (side, side, 4).

    Raises:
        InputError: the model computes what is no finite number.
    """
    parts = _displaced(model, np.asarray(image), np.asarray(activations, np.float32), side)
    points, moves, change = (np.asarray(part)[0] for part in parts)
    check_finite(landmarks=points, displacements=moves, edits=change)
    return points, moves, change


@partial(kept, static=(3,))
def _displaced(
    model: ExpressionModel, images: jax.Array, activations: jax.Array, side: int
) -> tuple[jax.Array, ...]:
    landmarks = em.find_landmarks(model, images)
    displacements = em.displace(model, activations, landmarks)
    points = em.warp_points(model, landmarks, displacements)
    change = em.residual_edit(model, images, landmarks, displacements, activations)
    change = em.from_mean_shape(model, change, landmarks + displacements, (side, side))
    pixels = em.warp_pictures(model, images.astype(jnp.float32), landmarks, displacements)
    pixels = jax.image.resize(pixels, (len(pixels), side, side, pixels.shape[3]), "linear")
    colours = em.face_colour(images, landmarks)
    change = em.limited(model, change, pixels, colours)
    return *points, em.with_closed_lids(model, change, images, landmarks, displacements)
