"""Laws of latent arithmetic, in float32 under strict promotion, on small multi-level latents."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transfer import arithmetic as la

SHAPES = ((4, 4, 2), (2, 2, 3))  # two levels, 44 numbers in all
few = hypothesis.settings(max_examples=12, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 10_000)

# Compiled once a shape: eagerly, each operation would be. Laws of both forms are below.
jit: Any = jax.jit
expression_vector, transfer = jit(la.expression_vector), jit(la.transfer)
neutralise, project = jit(la.neutralise), jit(la.project)
mean, combine = jit(la.mean), jit(la.combine)
update, result = jit(la.running_mean_update), jit(la.running_mean_result)
lerp, slerp = (jax.jit(partial(la.interpolate, method=m)) for m in ("linear", "spherical"))


@pytest.fixture(autouse=True, scope="module")
def strict() -> Iterator[None]:
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


def latent(seed: int, batch: tuple[int, ...] = (), dtype: Any = np.float32) -> Any:
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(batch + s).astype(dtype) for s in SHAPES)


def latents(batch: tuple[int, ...] = (), dtype: Any = np.float32, first: int = 0) -> Any:
    return [latent(first + i, batch, dtype) for i in range(3)]


def images(batch: Any) -> list[Any]:
    return list(zip(*batch, strict=True))


def stack(latents: list[Any]) -> Any:
    return jax.tree.map(lambda *z: np.stack(z), *latents)


def vector(z: Any) -> np.ndarray:
    return np.concatenate([np.asarray(leaf).ravel() for leaf in jax.tree.leaves(z)]).astype(
        np.float64
    )


def assert_close(got: Any, want: Any, tol: float = 1e-5) -> None:
    assert str(jax.tree.structure(got)) == str(jax.tree.structure(want))
    pairs = zip(jax.tree.leaves_with_path(got), jax.tree.leaves(want), strict=True)
    for (path, g), w in pairs:
        assert (np.shape(g), jnp.result_type(g)) == (np.shape(w), jnp.result_type(w)), path
        np.testing.assert_allclose(g, w, rtol=tol, atol=tol, err_msg=jax.tree_util.keystr(path))


def assert_bits(got: Any, want: Any) -> None:
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert (g.shape, g.dtype) == (w.shape, w.dtype)
        assert np.asarray(g).tobytes() == np.asarray(w).tobytes()


def assert_finite(tree: Any) -> None:
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))


@jax.jit
def each(a: Any, b: Any, c: Any) -> dict[str, Any]:
    """Functions of one image or a batch, together: one compilation a shape keeps tests fast."""
    mu = jax.tree.map(lambda m, z: m.astype(z.dtype), latent(9), a)
    counts: Any = {"n_tgt": 5, "n_src": 4}
    return {
        "expression_vector": la.expression_vector(a, b),
        "transfer": la.transfer(a, b, c, 0.4),
        "transfer per level": la.transfer(a, b, c, (0.3, 0.0)),
        "neutralise": la.neutralise(a, b, c, 0.7),
        "restored": la.variance_restored_transfer(
            a, b, c, (0.3, 0.4), **counts, src_in_mean=False, mu=mu
        ),
        "linear": la.interpolate(a, b, 0.3),
        "spherical": la.interpolate(a, b, 0.3, "spherical"),
        "project": la.project(a, b),
        "wide": (la.inner(a, b), la.projection_coefficient(a, b)),
    }


@jax.jit
def across(a: Any, b: Any, c: Any) -> dict[str, Any]:
    """Functions that know the batch of three."""
    start = la.running_mean_init(jax.tree.map(lambda z: z[0], a))
    return {
        "mean": la.mean(a),
        "attribute_direction": la.attribute_direction(a, b),
        "combine": la.combine(a, jnp.arange(1.0, 4.0)),
        "combine mu": la.combine(a, jnp.arange(1.0, 4.0), la.mean(c)),
        "sweep": la.sweep(a, b, c, (0.0, 0.3, 0.5)),
        "running": la.running_mean_result(la.running_mean_update(start, a, jnp.arange(3.0))),
    }


def test_batch_and_vmap_equal_loop() -> None:
    args = latents((3,))
    loop = stack([each(*rows) for rows in zip(*map(images, args), strict=True)])
    assert_close(each(*args), loop)
    assert_close(jax.vmap(each)(*args), loop)


def test_one_image_meets_a_batch() -> None:
    a, b, c = latent(0), latent(1, (3,)), latent(2)
    assert_close(each(a, b, c), stack([each(a, row, c) for row in images(b)]))
    assert_close(each(b, a, c), stack([each(row, a, c) for row in images(b)]))


@pytest.mark.parametrize("f", [each, across])
def test_jit_equals_eager_and_arguments_stay(f: Any) -> None:
    args = latents((3,))
    before = jax.tree.map(np.array, args)
    out = f.__wrapped__(*args)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(out))
    assert_close(f(*args), out)
    assert_bits(args, before)


def test_gradients_are_derivatives() -> None:
    def total(z: Any) -> Any:
        return sum(jnp.sin(x).sum() for f in (each, across) for x in jax.tree.leaves(f(*z)))

    with jax.enable_x64(True):
        value_and_grad = jit(jax.value_and_grad(total))
        z, v = latents((3,), np.float64), latents((3,), np.float64, first=10)
        ahead, _ = value_and_grad(jax.tree.map(lambda x, y: x + 1e-5 * y, z, v))
        behind, _ = value_and_grad(jax.tree.map(lambda x, y: x - 1e-5 * y, z, v))
        gradient, difference = vector(value_and_grad(z)[1]), float(ahead) - float(behind)
    np.testing.assert_allclose(gradient @ vector(v), difference / 2e-5, rtol=1e-6)


@pytest.mark.parametrize("f", [each, across])
def test_half_precision_keeps_its_dtype(f: Any) -> None:
    half = latents((3,), jnp.bfloat16)
    got, want = f(*half), f(*jax.tree.map(lambda z: z.astype(jnp.float32), half))
    assert_close(got.pop("wide", 0.0), want.pop("wide", 0.0), 1e-5)
    assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(got))
    assert_close(jax.tree.map(lambda z: z.astype(jnp.float32), got), want, 0.05)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("alpha", [0, (0.0, -0.0)])
def test_alpha_zero_is_the_target_mean_to_the_bit(wrap: Any, alpha: Any) -> None:
    target, source, source_mean = jax.tree.map(np.array, latents())
    for t, s in zip(target, source, strict=True):
        t[0, 0, :2] = -0.0, np.nan
        s[..., 0], s[..., 1] = np.inf, -1
    assert_bits(wrap(la.transfer)(target, source, source_mean, alpha), target)
    batch = wrap(la.transfer)(target, stack([source] * 2), source_mean, alpha)
    assert_bits(batch, stack([target] * 2))


def test_gradient_at_alpha_zero_is_the_formulas() -> None:
    z = latents()
    total = lambda *a: sum(x.sum() for x in transfer(*a))  # noqa: E731
    gradient = jax.jit(jax.grad(total, argnums=(0, 1, 3)))
    d_target, d_source, d_alpha = gradient(*z, 0.0)
    np.testing.assert_allclose(d_alpha, (vector(z[1]) - vector(z[2])).sum(), rtol=1e-5)
    assert_bits(d_target, jax.tree.map(np.ones_like, z[0]))
    assert_bits(d_source, jax.tree.map(np.zeros_like, z[0]))
    infinite = jax.tree.map(lambda s: np.where(s > 1, np.float32(np.inf), s), z[1])
    assert_finite(gradient(z[0], infinite, z[2], 0.0)[:2])


@few
@hypothesis.given(seeds, st.floats(-2, 2, allow_subnormal=False))
def test_transfer_is_its_formula_and_neutralise_undoes_it(seed: int, alpha: float) -> None:
    target, source, source_mean = (latent(seed + i) for i in range(3))
    out = transfer(target, source, source_mean, alpha)
    want = vector(target) + alpha * (vector(source) - vector(source_mean))
    np.testing.assert_allclose(vector(out), want, rtol=1e-5, atol=1e-5)
    assert_close(neutralise(out, source, source_mean, alpha), target)
    assert_close(transfer(source_mean, source, source_mean, 1.0), source)
    assert_close(neutralise(source, source, source_mean), source_mean)


@few
@hypothesis.given(seeds)
def test_expression_vector_is_antisymmetric(seed: int) -> None:
    a, b = latent(seed), latent(seed + 1)
    negated = jax.tree.map(np.negative, expression_vector(b, a))
    assert_bits(expression_vector(a, b), negated)


def test_each_level_has_its_alpha() -> None:
    z = latents()
    alphas = (0.3, 0.0)
    levels = [transfer(*level, a) for level, a in zip(zip(*z, strict=True), alphas, strict=True)]
    assert_close(transfer(*z, alphas), tuple(levels))
    assert_close(neutralise(transfer(*z, alphas), *z[1:], alphas), z[0])
    nested: Any = [{"fine": leaf, "coarse": (leaf, leaf)} for leaf, *_ in z]
    one = transfer(*nested, {"fine": 0.0, "coarse": 0.5})  # a prefix: one for both coarse
    assert_bits(one["fine"], z[0][0])
    assert_close(one["coarse"][1], transfer(*[t[0] for t in z], 0.5))


def test_sweep_stacks_transfers() -> None:
    z, alphas = (latent(0), latent(1, (3,)), latent(2)), np.linspace(0.3, 0.5, 11)
    assert_close(jit(la.sweep)(*z, alphas), stack([transfer(*z, a) for a in alphas]))


@few
@hypothesis.given(seeds, st.lists(st.integers(1, 3), min_size=1, max_size=6))
def test_running_mean_ignores_how_the_images_are_split(seed: int, sizes: list[int]) -> None:
    everything = [np.asarray(z) + 100 for z in latent(seed, (sum(sizes),))]
    weights = np.random.default_rng(seed).uniform(0.1, 3, sum(sizes)).astype(np.float32)
    like = tuple(jax.ShapeDtypeStruct(z.shape[1:], z.dtype) for z in everything)
    plain = weighted = la.running_mean_init(like)
    for stop, size in zip(np.cumsum(sizes), sizes, strict=True):
        part = tuple(z[stop - size : stop] for z in everything)
        plain = update(plain, part)
        weighted = update(weighted, part, weights[stop - size : stop])
    np.testing.assert_allclose(plain.weight, sum(sizes))
    assert_close(result(plain), tuple(z.mean(0) for z in everything))
    want = tuple(np.average(z, 0, weights).astype(np.float32) for z in everything)
    assert_close(result(weighted), want)


def test_running_mean_scans_skips_weight_zero_and_is_stable() -> None:
    batches = latent(0, (5, 3))
    start = la.running_mean_init(latent(1))
    last = jax.lax.scan(lambda s, z: (update(s, z), None), start, batches)[0]
    flat = jax.tree.map(lambda z: z.reshape(15, *z.shape[2:]), batches)
    assert_close(result(last), mean(flat))

    padded = latent(2, (3,))
    for leaf in padded:
        leaf[2] = np.nan
    state = la.running_mean_update(start, padded, [1.0, 1.0, 0.0])
    assert_close(result(state), mean(jax.tree.map(lambda z: z[:2], padded)))
    nothing = la.running_mean_update(start, padded, [0.0, 0.0, 0.0])
    assert np.isnan(vector(result(nothing))).all()
    assert_close(result(update(nothing, flat)), mean(flat))

    ones = (np.full((64, 2), 1.0078125, jnp.bfloat16),)
    state = la.running_mean_init((ones[0][0],))
    for _ in range(20):  # a bfloat16 sum would stall at 256
        state = update(state, ones)
    assert_bits(result(state), (ones[0][0],))


@few
@hypothesis.given(seeds, st.floats(0, 1, allow_subnormal=False), st.floats(0.01, 100))
def test_spherical_norm_is_linear_and_angle_proportional(seed: int, t: float, k: float) -> None:
    a, b = latent(seed), jax.tree.map(lambda z: z * np.float32(k), latent(seed + 1))
    out, va, vb = vector(slerp(a, b, t)), vector(a), vector(b)
    length = np.linalg.norm
    np.testing.assert_allclose(length(out), (1 - t) * length(va) + t * length(vb), rtol=1e-5)
    angle = lambda x, y: np.arccos(np.clip(x @ y / length(x) / length(y), -1, 1))  # noqa: E731
    np.testing.assert_allclose(angle(va, out), t * angle(va, vb), atol=2e-3)


@pytest.mark.parametrize("method", [lerp, slerp])
def test_interpolation_ends_are_exact(method: Any) -> None:
    a, b = latent(0), latent(1)
    assert_bits(method(a, b, 0.0), a)
    assert_bits(method(a, b, 1.0), b)


def awkward() -> dict[str, tuple[Any, Any]]:
    a, other = latent(0), latent(1)
    shift = lambda k: jax.tree.map(lambda x, y: x + np.float32(k) * y, a, other)  # noqa: E731
    scale = lambda k: jax.tree.map(lambda x: np.float32(k) * x, a)  # noqa: E731
    return {
        "same": (a, a),
        "longer": (a, scale(3)),
        "close": (a, shift(1e-4)),
        "zero first": (scale(0), a),
        "zero second": (a, scale(0)),
        "both zero": (scale(0), scale(0)),
        "opposite": (a, scale(-1)),
        "opposite, longer": (a, scale(-2.5)),
    }


@jax.jit
def slerp_gradients(a: Any, b: Any, t: Any) -> Any:
    total = lambda a, b, t: sum(x.sum() for x in slerp(a, b, t))  # noqa: E731
    measured = lambda z: la.norm(z) + la.projection_coefficient(z, b)  # noqa: E731
    return jax.grad(total, argnums=(0, 1, 2))(a, b, t), jax.grad(measured)(a)


@pytest.mark.parametrize("name", awkward())
def test_spherical_becomes_linear_without_nan(name: str) -> None:
    a, b = awkward()[name]
    for t in (0.0, 0.3, 1.0):
        assert_close(slerp(a, b, t), lerp(a, b, t))
    assert_finite(slerp_gradients(a, b, 0.3))


def test_sine_ratio_is_smooth_where_the_series_takes_over() -> None:
    ratio = jax.jit(jax.vmap(jax.value_and_grad(lambda u: la._sine_ratio(jnp.float64(0.3), u))))
    angle = np.geomspace(1e-3, 3.0, 400)
    with jax.enable_x64(True):
        value, slope = ratio(2 * np.sin(angle / 2) ** 2)
    np.testing.assert_allclose(value, np.sin(0.3 * angle) / np.sin(angle), rtol=1e-10)
    by_angle = 0.3 * np.cos(0.3 * angle) - np.sin(0.3 * angle) / np.tan(angle)
    np.testing.assert_allclose(slope, by_angle / np.sin(angle) ** 2, rtol=1e-4, atol=1e-6)


@few
@hypothesis.given(seeds)
def test_projection_splits_a_latent_in_two(seed: int) -> None:
    z, d = latent(seed, (3,)), latent(seed + 1)
    along = project(z, d)
    assert_close(project(along, d), along)
    assert np.abs(la.inner(expression_vector(z, along), d)).max() < 1e-4
    coefficient = la.projection_coefficient(z, d)
    want = [vector(row) @ vector(d) / (vector(d) @ vector(d)) for row in images(z)]
    np.testing.assert_allclose(coefficient, want, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(la.norm(z)[1], np.linalg.norm(vector(images(z)[1])), rtol=1e-6)
    nothing = jax.tree.map(np.zeros_like, d)
    assert_bits(project(z, nothing), jax.tree.map(np.zeros_like, z))


def test_flat_vectors_state_their_event_ndim() -> None:
    a, b = np.eye(3, 5, dtype=np.float32), np.full((3, 5), np.float32(2))
    halfway = jit(partial(la.interpolate, method="spherical", event_ndim=1))(a, b, 0.5)
    length = 1 / 2 + np.sqrt(20) / 2  # of each row, between |a| = 1 and |b| = √20
    np.testing.assert_allclose(np.linalg.norm(halfway, axis=1), [length] * 3, rtol=1e-6)
    with pytest.raises(ValueError, match="a leaf has 2 axes, fewer than event_ndim=3"):
        la.norm(a)


def test_attribute_direction_points_from_negatives_to_positives() -> None:
    negatives = latent(0, (4,))
    positives = jax.tree.map(lambda z: np.concatenate([z, z]) + np.float32(0.5), negatives)
    direction = jit(la.attribute_direction)(positives, negatives)
    assert_close(direction, jax.tree.map(lambda z: np.full(z.shape[1:], 0.5, z.dtype), negatives))


@pytest.mark.parametrize("weights", [[1, 1, 1, 1], [2.0, -1.0, 0.5, 0.0], [0.25] * 4])
@pytest.mark.parametrize("centre", [None, 3.0])
def test_combine_keeps_mean_and_variance(weights: Any, centre: float | None) -> None:
    rng, shift = np.random.default_rng(0), np.float32(centre or 0)
    z = (rng.standard_normal((4, 100, 100, 3)).astype(np.float32) + shift,)
    mu = None if centre is None else (np.full((100, 100, 3), centre, np.float32),)
    (out,) = combine(z, np.array(weights), mu)
    assert abs(float(out.mean()) - shift) < 0.02
    assert abs(float(out.var()) - 1) < 0.02
    assert float(mean(z)[0].var()) < 0.3  # what the restoration is for
    assert_close(combine(z, 7 * np.array(weights), mu), (out,), 1e-5)


@few
@hypothesis.given(seeds, st.integers(0, 2))
def test_one_hot_combination_is_that_latent(seed: int, i: int) -> None:
    z, hot = latent(seed, (3,)), np.eye(3)[i]
    assert_close(combine(z, hot), images(z)[i], 0)
    assert_close(combine(z, 5 * hot, latent(seed + 1)), images(z)[i])
    assert_close(combine(z, 0 * hot, latent(seed + 1)), latent(seed + 1), 0)
    z[0][i - 1] = np.nan
    assert_close(combine(z, hot), images(z)[i], 0)


@pytest.mark.parametrize("member", [True, False])
@pytest.mark.parametrize("mu", [None, latent(7)])
def test_restored_transfer_is_combine_with_the_papers_weights(member: bool, mu: Any) -> None:
    targets, sources, alpha = latent(0, (5,)), latent(1, (4,)), 0.4
    source = images(sources)[2] if member else latent(2)
    everything = images(targets) + images(sources) + [source]
    weights = np.array([1 / 5] * 5 + [-alpha / 4] * 4 + [alpha])
    if member:
        weights[7] += alpha
        weights, everything = weights[:-1], everything[:-1]
    want = combine(stack(everything), weights, mu)
    restored = partial(la.variance_restored_transfer, n_tgt=5, n_src=4, src_in_mean=member)
    assert_close(jax.jit(restored)(mean(targets), source, mean(sources), alpha, mu=mu), want)


def test_restored_transfer_of_one_image_without_expression_is_that_image() -> None:
    z = latent(0)
    got = la.variance_restored_transfer(z, latent(1), latent(2), 0.0, n_tgt=1, n_src=9)
    assert_close(got, z, 0)


A, B3 = latent(0), latent(1, (3,))
SMALL = (A[0][:, :1], *A[1:])
MISTAKES = {
    "structure": (
        lambda: la.expression_vector(A, A[:1]),
        "empty or differ in structure: PyTreeDef",
    ),
    "empty tree": (lambda: la.norm(()), "empty or differ in structure"),
    "shape": (
        lambda: la.transfer(A, SMALL, A, 0.4),
        r"differ in shape: \[\(4, 1, 2\), \(4, 4, 2\)\]",
    ),
    "batch sizes": (lambda: la.expression_vector(B3, latent(0, (2,))), "differ in shape"),
    "mixed batches": (
        lambda: la.expression_vector((B3[0], A[1]), A),
        "leaves differ in the batch axes they lack",
    ),
    "dtype": (lambda: la.mean((jnp.zeros((2, 3), jnp.uint8),)), r"floating dtype, got \['uint8'\]"),
    "two dtypes": (
        lambda: la.expression_vector(A, latent(0, (), jnp.bfloat16)),
        r"share a floating dtype, got \['bfloat16', 'float32'\]",
    ),
    "empty batch": (lambda: la.mean(latent(0, (0,))), r"leading batch axis >= 1, got \[\(0,\)\]"),
    "not a batch": (lambda: la.mean(A), r"leading batch axis >= 1, got \[\(2,\), \(4,\)\]"),
    "alpha length": (
        lambda: la.transfer(A, A, A, (0.3, 0.4, 0.5)),
        r"a scalar or one per level of PyTreeDef\(\(\*, \*\)\), got PyTreeDef\(\(\*, \*, \*\)\)",
    ),
    "alpha array": (
        lambda: la.transfer(A, A, A, jnp.ones(3)),
        r"alpha must have shape \(\), got \(3,\)",
    ),
    "alphas": (
        lambda: la.sweep(A, A, A, 0.4),
        r"alphas must have shape \(A,\) with A >= 1, got \(\)",
    ),
    "no alphas": (lambda: la.sweep(A, A, A, ()), r"with A >= 1, got \(0,\)"),
    "t": (lambda: la.interpolate(A, A, jnp.ones(2)), r"t must have shape \(\), got \(2,\)"),
    "method": (
        lambda: la.interpolate(A, A, 0.5, "cubic"),  # type: ignore[arg-type]
        "method must be 'linear' or 'spherical', got 'cubic'",
    ),
    "weights": (lambda: la.combine(B3, [1.0, 2.0]), r"weights must have shape \(3,\), got \(2,\)"),
    "counts": (
        lambda: la.variance_restored_transfer(A, A, A, 0.4, n_tgt=0, n_src=3),
        "counts must be at least 1, got n_tgt=0, n_src=3",
    ),
    "running": (
        lambda: la.running_mean_update(la.running_mean_init(A[:1]), B3),
        "the batch differs in structure or shape from the running mean",
    ),
    "running, one image": (
        lambda: la.running_mean_update(la.running_mean_init(A[:1]), A[:1]),
        "the batch differs in structure or shape from the running mean",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.usefixtures("unchecked")
def test_mistakes_are_named_in_one_line(name: str) -> None:
    call, message = MISTAKES[name]
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
