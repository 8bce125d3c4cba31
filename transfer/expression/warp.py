"""Warping pictures by landmarks: thin-plate splines, bicubic sampling.

An expression moves brows, lids and lips. The addition of one latent vector to every face blends two
positions of them, which leaves ghosts; a warp moves the pixels themselves. The displacements of the
landmarks are those of `transfer.expression.model`. Pure functions of arrays.

Sources: Bookstein 1989 (thin-plate splines); Keys 1981 (cubic convolution).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

BHWC = Float[Array, "B H W C"]
Points = Float[Array, "B N 2"]
Smoothing = float | Float[Array, ""]

SMOOTHING = 1e-3  # added to the diagonal of the spline's kernel, in sides of the picture
ANCHORS_PER_SIDE = 5  # points on each side of the picture's border, which are not displaced


def warp(
    images: BHWC, landmarks: Points, displacements: Points, smoothing: Smoothing = SMOOTHING
) -> BHWC:
    """Pictures in which each landmark is displaced; pixels between landmarks follow smoothly.

    Args:
        images: any range.
        landmarks: right and down, in sides of the picture (0-1).
        displacements: of each landmark, in the same unit.
        smoothing: of the spline: the more, the less a landmark moves against its neighbours.

    Returns:
        Pictures of the same shape. Without displacements they equal `images` exactly; where a
        picture is not displaced, up to rounding.
    """
    size = (images.shape[1], images.shape[2])
    return warp_to(images, landmarks, landmarks + displacements, size, smoothing)


def warp_to(
    images: BHWC,
    landmarks: Points,
    to: Points,
    size: tuple[int, int],
    smoothing: Smoothing = SMOOTHING,
) -> Float[Array, "B h w C"]:
    """Pictures of any size, in which each landmark of `images` is at its position in `to`.

    Args:
        images: any range.
        landmarks: right and down, in sides of the picture (0-1).
        to: positions of the same landmarks, in sides of the result.
        size: (height, width) of the result.
        smoothing: of the spline.
    """

    def one(arrays: tuple[Array, Array, Array]) -> Array:
        return _warp_one(*arrays, size, smoothing)

    def together(*arrays: Array) -> Array:
        return jax.vmap(lambda *a: one(a))(*arrays)

    def in_turn(*arrays: Array) -> Array:  # the kernel of one picture fits into a CPU's cache
        return jax.lax.map(one, arrays)

    return jax.lax.platform_dependent(images, landmarks, to, cpu=in_turn, default=together)


def _warp_one(
    image: Float[Array, "H W C"],
    landmarks: Float[Array, "N 2"],
    to: Float[Array, "N 2"],
    size: tuple[int, int],
    smoothing: Smoothing,
) -> Float[Array, "h w C"]:
    height, width = size
    down, across = image.shape[0] / height, image.shape[1] / width
    anchors, dtype = _border(landmarks.dtype), landmarks.dtype
    # The reverse warp: for each pixel of the result, where in the picture its colour comes from.
    targets = jnp.concatenate([to, anchors])
    shifts = jnp.concatenate([landmarks - to, jnp.zeros_like(anchors)])
    row, column = jnp.meshgrid(
        jnp.arange(height, dtype=dtype), jnp.arange(width, dtype=dtype), indexing="ij"
    )
    grid = jnp.stack([(column.ravel() + 0.5) / width, (row.ravel() + 0.5) / height], 1)
    shift = _spline(targets, shifts, grid, smoothing).reshape(height, width, 2)
    rows = row * down + (down - 1) / 2 + shift[..., 1] * image.shape[0]
    columns = column * across + (across - 1) / 2 + shift[..., 0] * image.shape[1]
    return _bicubic(image, rows, columns)


def _border(dtype: jnp.dtype) -> Float[Array, "M 2"]:
    """Points around the picture's border, each once."""
    t = jnp.linspace(0.0, 1.0, ANCHORS_PER_SIDE, dtype=dtype)[:-1]
    zero, one = jnp.zeros_like(t), jnp.ones_like(t)
    sides = [(t, zero), (one, t), (1 - t, one), (zero, 1 - t)]
    return jnp.concatenate([jnp.stack(side, 1) for side in sides])


def _spline(
    points: Float[Array, "N 2"],
    values: Float[Array, "N 2"],
    at: Float[Array, "M 2"],
    smoothing: Smoothing = SMOOTHING,
) -> Float[Array, "M 2"]:
    """The smoothed thin-plate spline of `values` at `points`, evaluated at the points `at`."""
    n = points.shape[0]
    kernel = _kernel(points, points) + smoothing * jnp.eye(n, dtype=points.dtype)
    plane = jnp.concatenate([jnp.ones((n, 1), points.dtype), points], 1)
    zero = jnp.zeros((3, 3), points.dtype)
    system = jnp.block([[kernel, plane], [plane.T, zero]])
    right_side = jnp.concatenate([values, jnp.zeros((3, 2), values.dtype)])
    weights = _solve(system, right_side)
    plane_at = jnp.concatenate([jnp.ones((at.shape[0], 1), at.dtype), at], 1)
    hi = jax.lax.Precision.HIGHEST
    return jnp.dot(_kernel(at, points), weights[:n], precision=hi) + jnp.dot(
        plane_at, weights[n:], precision=hi
    )


def _solve(matrix: Float[Array, "K K"], right_side: Float[Array, "K 2"]) -> Float[Array, "K 2"]:
    """The solution of a symmetric linear system; on a CPU, the systems of a batch one by one.

    LAPACK's calls for batches wait for threads of the pool that they run in: two of them at a time,
    in one program or in two, can wait for each other for ever (seen with jaxlib 0.10.2, 2 cores).
    """

    def times(x: Array) -> Array:
        return jnp.dot(matrix, x, precision=jax.lax.Precision.HIGHEST)

    def solved(_: object, right: Array) -> Array:
        return jax.lax.platform_dependent(
            matrix, right, cpu=_solve_one_by_one, default=jnp.linalg.solve
        )

    return jax.lax.custom_linear_solve(times, right_side, solved, symmetric=True)


_solve_one_by_one = jax.custom_batching.sequential_vmap(jnp.linalg.solve)


def _kernel(a: Float[Array, "N 2"], b: Float[Array, "M 2"]) -> Float[Array, "N M"]:
    """(N, M) r² log r² of the distances r between points; about 0 where r is 0.

    Coordinate by coordinate: a sum over an axis of two is three times as slow on a CPU.
    """
    right, down = (a[:, i, None] - b[None, :, i] for i in range(2))
    square = jnp.maximum(right**2 + down**2, jnp.finfo(a.dtype).tiny)
    return square * jnp.log(square)


def _bicubic(
    image: Float[Array, "H W C"], rows: Float[Array, "P Q"], columns: Float[Array, "P Q"]
) -> Float[Array, "P Q C"]:
    """Keys' cubic (a = -1/2) at fractional rows and columns; border pixels repeat."""
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
    """The weight of a pixel at a distance, in pixels."""
    t = jnp.abs(distance)
    near = 1.5 * t**3 - 2.5 * t**2 + 1
    far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return jnp.where(t <= 1, near, jnp.where(t < 2, far, 0))
