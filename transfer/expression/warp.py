"""Moving a picture's pixels by landmarks: thin-plate splines, bicubic samples.

An expression moves brows, lids and lips; adding the same vector to every face cross-fades them
instead, which leaves ghosts. Here the picture itself is moved, for which landmarks of the face
and how far each goes must be known (`transfer.expression.model`). Pure functions of arrays.

Sources: Bookstein 1989 (thin-plate splines); Keys 1981 (cubic convolution).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

BHWC = Float[Array, "B H W C"]
Points = Float[Array, "B N 2"]

SMOOTHING = 1e-3  # of the spline; displacements are in sides of the picture
ANCHORS_A_SIDE = 5  # points of the picture's border, which stay where they are


def warp(images: BHWC, landmarks: Points, moves: Points) -> BHWC:
    """Pictures whose `landmarks` have gone by `moves`; what is between follows smoothly.

    Args:
        images: any range.
        landmarks: right and down, in sides of the picture (0-1).
        moves: of each landmark, in the same unit; where all are 0 the picture comes back exactly.

    Returns:
        Pictures of the same shape; where nothing moves, to rounding the same numbers.
    """
    return carry(images, landmarks, landmarks + moves, (images.shape[1], images.shape[2]))


def carry(
    images: BHWC, landmarks: Points, to: Points, size: tuple[int, int]
) -> Float[Array, "B h w C"]:
    """Pictures of another size, in which what lay at `landmarks` lies at `to`.

    Args:
        images: any range.
        landmarks: right and down, in sides of the picture (0-1).
        to: the same, in sides of the result.
        size: (height, width) of the result.
    """
    return jax.vmap(lambda image, a, b: _carry_one(image, a, b, size))(images, landmarks, to)


def _carry_one(
    image: Float[Array, "H W C"],
    landmarks: Float[Array, "N 2"],
    to: Float[Array, "N 2"],
    size: tuple[int, int],
) -> Float[Array, "h w C"]:
    height, width = size
    down, across = image.shape[0] / height, image.shape[1] / width
    fixed, kind = _border(landmarks.dtype), landmarks.dtype
    # Backwards: for each place of the result, where in the picture its colour is.
    placed = jnp.concatenate([to, fixed])
    back = jnp.concatenate([landmarks - to, jnp.zeros_like(fixed)])
    row, column = jnp.meshgrid(
        jnp.arange(height, dtype=kind), jnp.arange(width, dtype=kind), indexing="ij"
    )
    grid = jnp.stack([(column.ravel() + 0.5) / width, (row.ravel() + 0.5) / height], 1)
    shift = _spline(placed, back, grid).reshape(height, width, 2)
    rows = row * down + (down - 1) / 2 + shift[..., 1] * image.shape[0]
    columns = column * across + (across - 1) / 2 + shift[..., 0] * image.shape[1]
    return _bicubic(image, rows, columns)


def _border(kind: jnp.dtype) -> Float[Array, "M 2"]:
    t = jnp.linspace(0.0, 1.0, ANCHORS_A_SIDE, dtype=kind)[:-1]
    zero, one = jnp.zeros_like(t), jnp.ones_like(t)
    sides = [(t, zero), (one, t), (1 - t, one), (zero, 1 - t)]
    return jnp.concatenate([jnp.stack(side, 1) for side in sides])


def _spline(
    points: Float[Array, "N 2"], values: Float[Array, "N 2"], at: Float[Array, "M 2"]
) -> Float[Array, "M 2"]:
    """The thin-plate spline through `values` at `points`, smoothed, evaluated `at` others."""
    n = points.shape[0]
    kernel = _kernel(points, points) + SMOOTHING * jnp.eye(n, dtype=points.dtype)
    plane = jnp.concatenate([jnp.ones((n, 1), points.dtype), points], 1)
    zero = jnp.zeros((3, 3), points.dtype)
    system = jnp.block([[kernel, plane], [plane.T, zero]])
    known = jnp.concatenate([values, jnp.zeros((3, 2), values.dtype)])
    weights = jnp.linalg.solve(system, known)
    plane_at = jnp.concatenate([jnp.ones((at.shape[0], 1), at.dtype), at], 1)
    hi = jax.lax.Precision.HIGHEST
    return jnp.dot(_kernel(at, points), weights[:n], precision=hi) + jnp.dot(
        plane_at, weights[n:], precision=hi
    )


def _kernel(a: Float[Array, "N 2"], b: Float[Array, "M 2"]) -> Float[Array, "N M"]:
    """r² log r² of all distances; 0 where r is 0."""
    square = ((a[:, None] - b[None]) ** 2).sum(-1)
    return jnp.where(square > 0, square * jnp.log(jnp.where(square > 0, square, 1)), 0)


def _bicubic(
    image: Float[Array, "H W C"], rows: Float[Array, "P Q"], columns: Float[Array, "P Q"]
) -> Float[Array, "P Q C"]:
    """Keys' cubic (a = -1/2) at fractional rows and columns; the border is repeated."""
    height, width = image.shape[:2]
    top, left = jnp.floor(rows), jnp.floor(columns)
    result = jnp.zeros((*rows.shape, image.shape[2]), image.dtype)
    for i in range(-1, 3):
        row = jnp.clip(top.astype(jnp.int32) + i, 0, height - 1)
        across = jnp.zeros_like(result)
        for j in range(-1, 3):
            column = jnp.clip(left.astype(jnp.int32) + j, 0, width - 1)
            weight = _keys(columns - left - j)[..., None]
            across = across + weight * image[row, column]
        result = result + _keys(rows - top - i)[..., None] * across
    return result


def _keys(distance: Float[Array, "P Q"]) -> Float[Array, "P Q"]:
    t = jnp.abs(distance)
    near = 1.5 * t**3 - 2.5 * t**2 + 1
    far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return jnp.where(t <= 1, near, jnp.where(t < 2, far, 0))
