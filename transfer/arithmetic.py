"""Arithmetic on latents: means, directions, transfer, interpolation, combination.

A latent is any pytree of floating arrays. Here it is `eps`, the latents standardised by the
learned prior: a tuple of `(H_l, W_l, C_l)`, finest level first, with any batch axes in front.
Arguments may differ in batch axes: the latents of one image are broadcast to a batch. Leaves keep
their dtype; sums of float16 and bfloat16 are computed in float32. No function here needs a flow.

In norms and inner products the last `event_ndim` axes of every leaf, together, form one vector;
the axes before them are batch axes. Flat vectors need `event_ndim=1`.

Errors are `ValueError`s about structure, dtype and shape, never about values: non-finite
numbers propagate, except those that a zero `alpha` or weight excludes.

Sources: Valenzuela et al., CVPRW 2021 ("the paper"); Kingma & Dhariwal 2018 ("Glow").
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

Latents: TypeAlias = PyTree[Float[ArrayLike, "..."]]
Row: TypeAlias = ArrayLike | Sequence[float]  # one axis
Scalars: TypeAlias = PyTree[ArrayLike]  # one scalar, or one per level: a prefix of the tree


def mean(latents: Latents) -> Latents:
    """z̄ = (1/n) Σ z_i over the leading axis of every leaf: the paper's mean face."""
    return jax.tree.map(lambda z: z.mean(axis=0), _batch(latents)[0])


@partial(jax.tree_util.register_dataclass, data_fields=["mean", "weight"], meta_fields=["dtypes"])
@dataclasses.dataclass(frozen=True)
class RunningMean:
    """Weighted mean so far and sum of weights, both at least float32; the dtypes of the result."""

    mean: Latents
    weight: Float[Array, ""]
    dtypes: tuple[Any, ...]


def running_mean_init(like: PyTree) -> RunningMean:
    """The initial state, for latents shaped as `like`: one image, arrays or shape structs."""
    wide, dtypes = _wide(like), tuple(z.dtype for z in jax.tree.leaves(like))
    zeros = jax.tree.map(lambda z: jnp.zeros(z.shape, wide), like)
    return RunningMean(zeros, jnp.zeros((), wide), dtypes)


def running_mean_update(
    state: RunningMean, batch: Latents, weights: Row | None = None
) -> RunningMean:
    """W' = W + Σ w_i, m' = m + Σ w_i (z_i − m) / W': the same however the images are split.

    `weights` (B,) are non-negative, 1 by default; weight 0 leaves an image out, such as padding.
    """
    batch, n = _batch(batch)
    if jax.tree.map(lambda m: (n, *m.shape), state.mean) != jax.tree.map(jnp.shape, batch):
        raise ValueError("the batch differs in structure or shape from the running mean")
    w = _shaped(jnp.ones(n) if weights is None else weights, (n,), "weights")
    total = state.weight + w.astype(state.weight.dtype).sum()
    w = w.astype(total.dtype) / jnp.where(total > 0, total, 1)

    def step(m: Array, z: Array) -> Array:
        return m + _weighted_sum(w, z.astype(m.dtype) - m[None])

    return RunningMean(jax.tree.map(step, state.mean, batch), total, state.dtypes)


def running_mean_result(state: RunningMean) -> Latents:
    """The mean so far, in the dtypes of `like`; NaN where the weights seen sum to 0."""
    leaves, structure = jax.tree.flatten(state.mean)
    seen = [jnp.where(state.weight > 0, m, jnp.nan) for m in leaves]
    cast = [m.astype(dtype) for m, dtype in zip(seen, state.dtypes, strict=True)]
    return jax.tree.unflatten(structure, cast)


def expression_vector(z_src: Latents, z_src_mean: Latents) -> Latents:
    """z_src − z̄_src: how a picture differs from its person's mean. Paper, section "method"."""
    return jax.tree.map(jnp.subtract, *_align(z_src, z_src_mean))


def transfer(z_tgt_mean: Latents, z_src: Latents, z_src_mean: Latents, alpha: Scalars) -> Latents:
    """z̄_tgt + α (z_src − z̄_src): the source's expression on the target. Paper, section "method".

    `alpha` is one scalar, or a tree of scalars that is a prefix of the latents (a tuple: one per
    level); the paper sweeps 0.30 to 0.50. Where alpha is 0 the result is the target mean bit for
    bit, even if the source is not finite (0 · inf); ∂/∂α is z_src − z̄_src there too.
    """
    base, step = _align(z_tgt_mean, expression_vector(z_src, z_src_mean))
    return jax.tree.map(_add_scaled, base, step, _per_leaf(alpha, base))


def sweep(z_tgt_mean: Latents, z_src: Latents, z_src_mean: Latents, alphas: Row) -> Latents:
    """`transfer` at each of `alphas`, shape (A,): leaves gain a leading axis A."""
    alphas = jnp.asarray(alphas)
    if alphas.ndim != 1 or alphas.size == 0:
        raise ValueError(f"alphas must have shape (A,) with A >= 1, got {alphas.shape}")
    return jax.vmap(partial(transfer, z_tgt_mean, z_src, z_src_mean))(alphas)


def neutralise(z: Latents, z_src: Latents, z_src_mean: Latents, alpha: Scalars = 1.0) -> Latents:
    """z − α (z_src − z̄_src): take an expression away; undoes `transfer` up to rounding."""
    return transfer(z, z_src, z_src_mean, jax.tree.map(lambda a: -a, alpha))


def interpolate(
    a: Latents,
    b: Latents,
    t: ArrayLike,
    method: Literal["linear", "spherical"] = "linear",
    *,
    event_ndim: int = 3,
) -> Latents:
    """From `a` at t = 0 to `b` at t = 1, exact at both ends; `t` is one scalar.

    linear:    (1 − t) a + t b
    spherical: r(t) [sin((1−t)Ω) a/|a| + sin(tΩ) b/|b|] / sin Ω, with r(t) = (1−t)|a| + t|b|
               and Ω the angle between the whole latents, so the norm moves linearly.

    For nearly parallel vectors the spherical rule passes smoothly into the linear rule. The linear
    rule is used where Ω gives no direction: for a zero vector and for opposite vectors. Values and
    gradients stay finite.
    """
    if method not in ("linear", "spherical"):
        raise ValueError(f"method must be 'linear' or 'spherical', got {method!r}")
    a, b = _align(a, b)
    t = _shaped(t, (), "t").astype(_wide(a))
    weights = (1 - t, t) if method == "linear" else _slerp_weights(a, b, t, event_ndim)
    parts = [_scale(w, z, event_ndim) for w, z in zip(weights, (a, b), strict=True)]
    return jax.tree.map(jnp.add, *parts)


def attribute_direction(positives: Latents, negatives: Latents) -> Latents:
    """mean(positives) − mean(negatives), two batches of any sizes. Glow, section 5."""
    return expression_vector(mean(positives), mean(negatives))


def inner(a: Latents, b: Latents, *, event_ndim: int = 3) -> Float[Array, "..."]:
    """⟨a, b⟩, summed over all leaves: one number per image, at least float32."""
    (a, b), axes = _align(a, b), tuple(range(-event_ndim, 0))
    wide, rank = _wide(a), min(z.ndim for z in jax.tree.leaves(a))
    if rank < event_ndim:
        raise ValueError(f"a leaf has {rank} axes, fewer than event_ndim={event_ndim}")
    parts = jax.tree.map(lambda x, y: (x.astype(wide) * y.astype(wide)).sum(axis=axes), a, b)
    return jax.tree.reduce(jnp.add, parts)


def norm(z: Latents, *, event_ndim: int = 3) -> Float[Array, "..."]:
    """|z| = √⟨z, z⟩: one number per image; about √(H W C) for a latent. Gradient 0 at z = 0."""
    square = inner(z, z, event_ndim=event_ndim)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def projection_coefficient(
    z: Latents, direction: Latents, *, event_ndim: int = 3
) -> Float[Array, "..."]:
    """c = ⟨z, d⟩ / ⟨d, d⟩: one number per image; 0 for a zero direction."""
    z, direction = _align(z, direction)
    square = inner(direction, direction, event_ndim=event_ndim)
    dot = inner(z, direction, event_ndim=event_ndim)
    return jnp.where(square > 0, dot / jnp.where(square > 0, square, 1), 0)


def project(z: Latents, direction: Latents, *, event_ndim: int = 3) -> Latents:
    """c d, the part of `z` along `direction`; z − c d is the part orthogonal to it."""
    z, direction = _align(z, direction)
    c = projection_coefficient(z, direction, event_ndim=event_ndim)
    return _scale(c, direction, event_ndim)


def combine(latents: Latents, weights: Row, mu: Latents | None = None) -> Latents:
    """μ + Σ w_i (z_i − μ) / √(Σ w_i²): mix n latents and keep their mean and variance.

    For z_i iid N(μ, Σ), the plain y = Σ w_i z_i has mean μ Σw and covariance Σ Σw²; this is
    μ (1 − Σw/√Σw²) + y/√Σw², distributed as one z_i. The scale of `weights` (n,) cancels; all
    zero gives μ. `mu` (one image; default 0, as for standardised eps) may be a population's mean
    latent. Pictures of one person are not independent: the division amplifies what they share.

    Source: Bodin et al., arXiv 2408.08558.
    """
    latents, n = _batch(latents)
    w = _shaped(weights, (n,), "weights").astype(_wide(latents))
    length = norm(w, event_ndim=1)
    unit = w / jnp.where(length > 0, length, 1)
    centre = jax.tree.map(lambda z: jnp.zeros_like(z[0]), latents) if mu is None else mu
    y = jax.tree.map(partial(_weighted_sum, unit), expression_vector(latents, centre))
    return jax.tree.map(jnp.add, *_align(y, centre))


def variance_restored_transfer(
    z_tgt_mean: Latents,
    z_src: Latents,
    z_src_mean: Latents,
    alpha: Scalars,
    *,
    n_tgt: int,
    n_src: int,
    src_in_mean: bool = True,
    mu: Latents | None = None,
) -> Latents:
    """μ + (transfer(…) − μ) / s: `combine` applied to the paper's formula.

    The paper's output weighs each target image 1/n_tgt, each source image −α/n_src and z_src
    itself α: these sum to 1, and s² = Σ w² = 1/n_tgt + α² (1 − 1/n_src) where z_src is one of
    the averaged images (`src_in_mean`, the usual case), or α² (1 + 1/n_src) where it is not.
    So means and counts suffice. At α = 0 it is the target mean restored, √n_tgt times as far
    from μ. Treats pictures as independent; see `combine`, also for `mu`.
    """
    if n_tgt < 1 or n_src < 1:
        raise ValueError(f"counts must be at least 1, got n_tgt={n_tgt}, n_src={n_src}")
    y = transfer(z_tgt_mean, z_src, z_src_mean, alpha)
    source = 1 + (-1 if src_in_mean else 1) / n_src

    def restore(y: Array, centre: Array, alpha: Array) -> Array:
        return centre + (y - centre) / jnp.sqrt(1 / n_tgt + alpha * alpha * source)

    centre = jax.tree.map(jnp.zeros_like, y) if mu is None else mu
    return jax.tree.map(restore, *_align(y, centre), _per_leaf(alpha, y))


@jax.custom_jvp
def _add_scaled(base: Array, step: Array, alpha: Array) -> Array:
    """base + alpha step; where alpha = 0, `base` bit for bit."""
    return jnp.where(alpha == 0, base, base + alpha * step)


@_add_scaled.defjvp
def _add_scaled_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    """The derivative of the formula; the derivative of `where` in alpha would be 0 at alpha = 0."""
    (_, step, alpha), (d_base, d_step, d_alpha) = primals, tangents
    return _add_scaled(*primals), d_base + alpha * d_step + d_alpha * step


def _slerp_weights(a: Latents, b: Latents, t: Array, event_ndim: int) -> tuple[Array, Array]:
    """The factors of `a` and `b` in the spherical rule of `interpolate`."""
    norm_a, norm_b = norm(a, event_ndim=event_ndim), norm(b, event_ndim=event_ndim)
    zero = (norm_a == 0) | (norm_b == 0)
    norm_a, norm_b = jnp.where(zero, 1, norm_a), jnp.where(zero, 1, norm_b)
    u = 1 - inner(a, b, event_ndim=event_ndim) / norm_a / norm_b
    straight = zero | (u > 2 - 1e-6)
    u = jnp.where(straight, 1, u)
    radius = (1 - t) * norm_a + t * norm_b
    weight_a = jnp.where(straight, 1 - t, _sine_ratio(1 - t, u) * (radius / norm_a))
    weight_b = jnp.where(straight, t, _sine_ratio(t, u) * (radius / norm_b))
    return weight_a, weight_b


def _sine_ratio(t: Array, u: Array) -> Array:
    """sin(tΩ)/sin Ω for u = 1 − cos Ω in [0, 2): smooth in u, and t where u = 0.

    arccos has no finite slope at 1. Below u = 1e-3 a series in Ω² = 2u + u²/3 + … is used, with an
    error below 1e-10 for t in [0, 1].
    """
    near, square = u < 1e-3, 2 * u + u * u / 3
    series = t * (1 + (1 - t * t) * (square / 6 + (7 - 3 * t * t) * square * square / 360))
    angle = jnp.arccos(1 - jnp.where(near, 1, u))
    return jnp.where(near, series, jnp.sin(t * angle) / jnp.sin(angle))


def _weighted_sum(w: Float[Array, " n"], z: Float[Array, "n ..."]) -> Float[Array, "..."]:
    """Σ w_i z_i in the dtype of `w`, as products and a sum: a GPU computes dot products in TF32."""
    w = w.reshape(w.shape + (1,) * (z.ndim - 1))
    kept = jnp.where((w == 0) & ~jnp.isfinite(z), 0, z).astype(w.dtype)
    return (w * kept).sum(axis=0).astype(z.dtype)


def _scale(weight: Array, z: Latents, event_ndim: int) -> Latents:
    """Multiply each image by its own factor, or all images by one factor."""
    column = weight.reshape(weight.shape + (1,) * (event_ndim if weight.ndim else 0))
    return jax.tree.map(lambda leaf: column.astype(leaf.dtype) * leaf, z)


def _align(*latents: Latents) -> tuple[Any, ...]:
    """Check structures and dtypes; broadcast leading axes that all leaves of an argument lack."""
    trees = [jax.tree.map(jnp.asarray, z) for z in latents]
    structure: Any = jax.tree.structure(trees[0])
    for other in map(jax.tree.structure, trees):
        if other != structure or not structure.num_leaves:
            raise ValueError(f"latents are empty or differ in structure: {structure}, {other}")
    rows, batches = [], set()
    for row in zip(*map(jax.tree.leaves, trees), strict=True):
        dtypes, shape = {str(z.dtype) for z in row}, max((z.shape for z in row), key=len)
        if len(dtypes) > 1 or not jnp.issubdtype(row[0].dtype, jnp.floating):
            raise ValueError(f"latents must share a floating dtype, got {sorted(dtypes)}")
        if any(shape[len(shape) - z.ndim :] != z.shape for z in row):
            raise ValueError(f"latents differ in shape: {[z.shape for z in row]}")
        batches.add(tuple(shape[: len(shape) - z.ndim] for z in row))
        rows.append([jnp.broadcast_to(z, shape) for z in row])
    if len(batches) > 1:
        raise ValueError(f"leaves differ in the batch axes they lack: {sorted(batches)}")
    return tuple(jax.tree.unflatten(structure, column) for column in zip(*rows, strict=True))


def _batch(latents: Latents) -> tuple[Latents, int]:
    """The latents as arrays, and the size of the leading axis that all leaves share."""
    (arrays,) = _align(latents)
    sizes = {z.shape[:1] for z in jax.tree.leaves(arrays)}
    if len(sizes) > 1 or not all(size and size[0] for size in sizes):
        raise ValueError(f"leaves must share a leading batch axis >= 1, got {sorted(sizes)}")
    return arrays, sizes.pop()[0]


def _per_leaf(alpha: Scalars, latents: Latents) -> Latents:
    """One scalar for every leaf, in the leaf's dtype."""
    try:
        alphas = jax.tree.broadcast(alpha, latents)
    except ValueError:
        got, like = jax.tree.structure(alpha), jax.tree.structure(latents)
        raise ValueError(f"alpha must be a scalar or one per level of {like}, got {got}") from None
    return jax.tree.map(lambda a, z: _shaped(a, (), "alpha").astype(z.dtype), alphas, latents)


def _shaped(value: Row, shape: tuple[int, ...], name: str) -> Array:
    array = jnp.asarray(value)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    return array


def _wide(latents: PyTree) -> Any:
    """The dtype of sums: the widest dtype of the leaves, at least float32."""
    dtypes = [jnp.dtype(jnp.float32), *(z.dtype for z in jax.tree.leaves(latents))]
    return max(dtypes, key=lambda dtype: jnp.finfo(dtype).bits)
