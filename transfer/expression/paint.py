"""Apply expressions to pictures, compiled, on one or several devices."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from transfer.codec import FloatImages, Images
from transfer.expression import model as em
from transfer.expression.model import ExpressionModel

CROP_PX = 256  # side of the residual that is computed for a photograph

_warped, _with_expression = jax.jit(em.warped), jax.jit(em.with_expression)


def with_expression(
    model: ExpressionModel,
    images: Images,
    activations: np.ndarray,
    devices: Sequence[jax.Device] = (),
) -> FloatImages:
    """Apply an expression to each picture: warp it, and add the residual.

    Args:
        model: the expression model.
        images: uint8 (B, H, W, 3).
        activations: (B, A), already multiplied by alpha.
        devices: devices that share the rows of the batch; B is a multiple of their number. Empty
            means JAX's default device. Each device runs the program that one device alone would
            run on these rows.

    Returns:
        (B, H, W, 3) finite grey levels. Where all activations are 0, the unchanged picture.
    """
    n = max(1, len(devices))
    parts = zip(
        np.split(np.asarray(images), n),
        np.split(np.asarray(activations, np.float32), n),
        strict=True,
    )
    painted = []
    for i, part in enumerate(parts):
        placed = jax.device_put((model, *part), devices[i]) if devices else (model, *part)
        painted.append(_with_expression(*placed))
        if (
            jax.default_backend() == "cpu"
        ):  # on a CPU two programs with `solve` would wait for each other
            painted[-1].block_until_ready()
    return np.concatenate([np.asarray(p) for p in painted]) + np.float32(0.5)


def warped(model: ExpressionModel, images: Images, activations: np.ndarray) -> np.ndarray:
    """(B, H, W, 3) grey levels of warped pictures, without the residual."""
    return np.asarray(_warped(model, jnp.asarray(images), jnp.asarray(activations, jnp.float32))[0])


def displaced(
    model: ExpressionModel, image: Images, activations: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The displacements and the residual of an expression in one crop, for `paste_warp`.

    Args:
        model: the expression model.
        image: uint8 (1, S, S, 3).
        activations: (1, A), already multiplied by alpha.

    Returns:
        landmarks (68, 2), their displacements (68, 2), both in sides of the crop; and the residual
        edit (CROP_PX, CROP_PX, 4).
    """
    parts = _displaced(model, jnp.asarray(image), jnp.asarray(activations, jnp.float32))
    landmarks, displacements, change = (np.asarray(part)[0] for part in parts)
    return landmarks, displacements, change


@jax.jit
def _displaced(
    model: ExpressionModel, images: jax.Array, activations: jax.Array
) -> tuple[jax.Array, ...]:
    landmarks = em.find_landmarks(model, images)
    displacements = em.displace(model, activations, landmarks)
    change = em.residual_edit(model, images, landmarks, displacements, activations)
    size = (CROP_PX, CROP_PX)
    return (
        landmarks,
        displacements,
        em.from_mean_shape(model, change, landmarks + displacements, size),
    )
