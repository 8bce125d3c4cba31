"""A reader of Action Units: features of a face to activations, up to an offset of the person's own.

The mean of two: a ridge regression, and a network with one hidden layer. Both see differences
within a person only, so that what makes a face that person's cancels; each errs in its own way.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

Numbers = np.ndarray | Array  # NumPy's from the disk, JAX's inside a compiled function

WIDTH = 512  # of the hidden layer
PEOPLE = 32  # a step
RATE, DECAY = 1e-3, 1e-2  # of Adam
KEPT, KEPT_HIDDEN = 0.8, 0.5  # shares of features and of hidden units that a step sees
FLOOR = 0.02  # added to a feature's deviation


class AuRegressor(NamedTuple):
    """F features to A activations.

    Attributes:
        linear: (F, A).
        hidden: (F, WIDTH).
        bias: (WIDTH,).
        out: (WIDTH, A).
    """

    linear: Numbers
    hidden: Numbers
    bias: Numbers
    out: Numbers


def predict(regressor: AuRegressor, seen: Float[Array, "B F"]) -> Float[Array, "B A"]:
    """Activations; only differences within a person mean something."""
    linear = jnp.dot(seen, jnp.asarray(regressor.linear), precision="highest")
    return (linear + _network(regressor, seen)) / 2


def _network(
    regressor: AuRegressor, seen: Float[Array, "B F"], dropout: jax.Array | None = None
) -> Float[Array, "B A"]:
    hidden = jnp.dot(seen, jnp.asarray(regressor.hidden), precision="highest")
    units = jax.nn.gelu(hidden + jnp.asarray(regressor.bias)[None])
    if dropout is not None:
        units = _dropped(units, KEPT_HIDDEN, dropout)
    return jnp.dot(units, jnp.asarray(regressor.out), precision="highest")


def _dropped(values: Array, kept: float, key: jax.Array) -> Array:
    return jnp.where(jax.random.bernoulli(key, kept, values.shape), values / kept, 0)


def fit_au_regressor(
    seen: Float[np.ndarray, "N F"],
    aus: Float[np.ndarray, "N A"],
    people: np.ndarray,
    *,
    penalty: float,
    n_steps: int,
    seed: int = 0,
    progress: Callable[[str], None] = lambda line: None,
) -> AuRegressor:
    """Fit both halves.

    Args:
        seen: features.
        aus: activations.
        people: (N,) identities.
        penalty: of the ridge regression, on the squared norm.
        n_steps: of training the network.
        seed: of its weights, batches and dropout.
        progress: called with lines to show.
    """
    linear = fit_linear(seen, aus, people, penalty)
    middle, scale = seen.mean(0), seen.std(0) + FLOOR
    which = _by_person(people)
    rng, key = np.random.default_rng(seed), jax.random.key(seed)
    n = seen.shape[1]
    half = AuRegressor(
        jnp.zeros(0),
        jax.random.normal(jax.random.fold_in(key, 0), (n, WIDTH)) / n**0.5,
        jnp.zeros(WIDTH),
        0.3 * jax.random.normal(jax.random.fold_in(key, 1), (WIDTH, aus.shape[1])) / WIDTH**0.5,
    )
    optimiser = optax.adamw(optax.cosine_decay_schedule(RATE, max(1, n_steps)), weight_decay=DECAY)
    state = optimiser.init(half)

    def loss(half: AuRegressor, x: jax.Array, wanted: jax.Array, key: jax.Array) -> jax.Array:
        first, second = jax.random.split(key)
        got = _network(half, _dropped(x, KEPT, first), second).reshape(wanted.shape)
        apart = (got - got.mean(1, keepdims=True)) - (wanted - wanted.mean(1, keepdims=True))
        return (apart**2).mean()

    @jax.jit
    def step(half: AuRegressor, state: optax.OptState, x: Array, wanted: Array, key: jax.Array):
        value, slope = jax.value_and_grad(loss)(half, x, wanted, key)
        with jax.numpy_dtype_promotion("standard"):  # Optax's schedules mix types
            change, state = optimiser.update(slope, state, half)
        return optax.apply_updates(half, change), state, value

    recent = []
    for i in range(n_steps):
        rows = rng.permuted(which, axis=1) if which.shape[1] > 1 else which
        rows = rows[rng.choice(len(rows), min(PEOPLE, len(rows)), replace=False)]
        x = ((seen[rows.ravel()] - middle) / scale).astype(np.float32)
        wanted = aus[rows].astype(np.float32)
        half, state, value = step(half, state, x, wanted, jax.random.fold_in(key, i + 2))
        recent.append(float(value))
        if (i + 1) % 500 == 0:
            progress(f"reader: step {i + 1}/{n_steps}, squared error {np.mean(recent):.5f}")
            recent = []
    hidden = np.asarray(half.hidden) / scale[:, None]
    bias = np.asarray(half.bias) - middle @ hidden
    parts = (linear, hidden, bias, half.out)
    return AuRegressor(*(np.asarray(part, np.float32) for part in parts))


def _by_person(people: np.ndarray) -> np.ndarray:
    """(P, n) rows of each person who has two or more, as many of each as the least has."""
    names, counts = np.unique(people, return_counts=True)
    n = min(counts[counts > 1].tolist(), default=1)
    return np.array([np.flatnonzero(people == name)[:n] for name in names[counts >= n]])


def fit_linear(seen: np.ndarray, aus: np.ndarray, people: np.ndarray, penalty: float) -> np.ndarray:
    """(F, A): ridge regression of activations on features, both less their person's mean.

    Fewer pictures than features are solved in the pictures' space.
    """
    x, y = (within(a.astype(np.float64), people) for a in (seen, aus))
    if len(x) >= x.shape[1]:
        return ridge(x, y, penalty).astype(np.float32)
    kernel = x @ x.T + penalty * np.eye(len(x))
    return (x.T @ np.linalg.solve(kernel, y)).astype(np.float32)


def within(values: np.ndarray, people: np.ndarray) -> np.ndarray:
    """Rows less the mean of their person's rows."""
    _, index = np.unique(people, return_inverse=True)
    sums = np.zeros((index.max() + 1, values.shape[1]))
    np.add.at(sums, index, values)
    return values - (sums / np.bincount(index)[:, None])[index]


def ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    """W of least |x W - y|² + penalty |W|²."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    return np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
