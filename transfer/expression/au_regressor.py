"""The AU regressor: from features of a face to Action Unit activations, up to a person's offset.

It is the mean of two regressors, whose errors differ: a ridge regression, and a network with one
hidden layer. Both are trained on differences between pictures of one person, in which the identity
cancels; so the activations of a single picture carry an unknown offset of the person.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

AnyArray = np.ndarray | Array  # NumPy after loading, JAX inside a compiled function

HIDDEN_WIDTH = 512  # units of the network's hidden layer
PEOPLE_PER_STEP = 32
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 1e-2  # of AdamW; the learning rate falls to 0 as a cosine
# Dropout: probabilities that a feature and a hidden unit are kept.
KEEP_FEATURES, KEEP_HIDDEN = 0.8, 0.5
DEVIATION_OFFSET = 0.02  # added to the standard deviations that features are divided by
STEPS_PER_LINE = 500  # training steps between two lines of progress


class AuRegressor(NamedTuple):
    """Weights of both regressors: F features to A activations.

    Attributes:
        linear: (F, A) of the ridge regression.
        hidden: (F, H) of the network's hidden layer.
        bias: (H,) of the network's hidden layer.
        out: (H, A) of the network's output.
    """

    linear: AnyArray
    hidden: AnyArray
    bias: AnyArray
    out: AnyArray


def predict(regressor: AuRegressor, inputs: Float[Array, "B F"]) -> Float[Array, "B A"]:
    """Activations plus an unknown offset per person, from features."""
    linear = jnp.dot(inputs, jnp.asarray(regressor.linear), precision="highest")
    return (linear + _network(regressor, inputs)) / 2


def _network(
    regressor: AuRegressor, inputs: Float[Array, "B F"], dropout: jax.Array | None = None
) -> Float[Array, "B A"]:
    units = hidden_units(regressor, inputs)
    if dropout is not None:
        units = _dropped(units, KEEP_HIDDEN, dropout)
    return jnp.dot(units, jnp.asarray(regressor.out), precision="highest")


def hidden_units(regressor: AuRegressor, inputs: Float[Array, "B F"]) -> Float[Array, "B H"]:
    """The network's hidden units, from features."""
    hidden = jnp.dot(inputs, jnp.asarray(regressor.hidden), precision="highest")
    return jax.nn.gelu(hidden + jnp.asarray(regressor.bias)[None])


def _dropped(values: Array, keep: float, key: jax.Array) -> Array:
    return jnp.where(jax.random.bernoulli(key, keep, values.shape), values / keep, 0)


def fit_au_regressor(
    inputs: Float[np.ndarray, "N F"],
    aus: Float[np.ndarray, "N A"],
    people: np.ndarray,
    *,
    penalty: float,
    n_steps: int,
    seed: int = 0,
    progress: Callable[[str], None] = lambda line: None,
) -> AuRegressor:
    """Fit both regressors.

    Args:
        inputs: features.
        aus: true activations.
        people: (N,) identities.
        penalty: of the ridge regression, on the squared norm.
        n_steps: gradient steps of the network's training.
        seed: of the network's weights, batches and dropout.
        progress: called with lines to show.

    Returns:
        Weights, float32 NumPy arrays.
    """
    import optax  # late: only a fit needs it

    linear = fit_linear(inputs, aus, people, penalty)
    mean, deviation = inputs.mean(0), inputs.std(0) + DEVIATION_OFFSET
    rows_of_people = _by_person(people)
    rng, key = np.random.default_rng(seed), jax.random.key(seed)
    network = _initial_network(key, inputs.shape[1], aus.shape[1])
    schedule = optax.cosine_decay_schedule(LEARNING_RATE, max(1, n_steps))
    optimiser = optax.adamw(schedule, weight_decay=WEIGHT_DECAY)
    state = optimiser.init(network)

    @jax.jit
    def step(network: AuRegressor, state: optax.OptState, x: Array, true: Array, key: jax.Array):
        value, gradient = jax.value_and_grad(_loss)(network, x, true, key)
        with jax.numpy_dtype_promotion("standard"):  # Optax's schedules mix types
            change, state = optimiser.update(gradient, state, network)
        return optax.apply_updates(network, change), state, value

    losses = []
    for i in range(n_steps):
        several = rows_of_people.shape[1] > 1
        rows = rng.permuted(rows_of_people, axis=1) if several else rows_of_people
        rows = rows[rng.choice(len(rows), min(PEOPLE_PER_STEP, len(rows)), replace=False)]
        x = ((inputs[rows.ravel()] - mean) / deviation).astype(np.float32)
        true = aus[rows].astype(np.float32)
        network, state, value = step(network, state, x, true, jax.random.fold_in(key, i + 2))
        losses.append(float(value))
        if (i + 1) % STEPS_PER_LINE == 0:
            error = np.mean(losses)
            progress(f"AU regressor: step {i + 1}/{n_steps}, mean squared error {error:.5f}")
            losses = []
    # The standardisation of the features goes into the weights.
    hidden = np.asarray(network.hidden) / deviation[:, None]
    bias = np.asarray(network.bias) - mean @ hidden
    parts = (linear, hidden, bias, network.out)
    return AuRegressor(*(np.asarray(part, np.float32) for part in parts))


def _initial_network(key: jax.Array, n_features: int, n_aus: int) -> AuRegressor:
    """Random weights of the network; the ridge regression's are empty."""
    hidden = jax.random.normal(jax.random.fold_in(key, 0), (n_features, HIDDEN_WIDTH))
    out = jax.random.normal(jax.random.fold_in(key, 1), (HIDDEN_WIDTH, n_aus))
    return AuRegressor(
        jnp.zeros(0),
        hidden / n_features**0.5,
        jnp.zeros(HIDDEN_WIDTH),
        0.3 * out / HIDDEN_WIDTH**0.5,
    )


def _loss(network: AuRegressor, x: Array, true: Array, key: jax.Array) -> jax.Array:
    """Mean squared error of differences from the person's mean; `true` is (people, n, A)."""
    first, second = jax.random.split(key)
    found = _network(network, _dropped(x, KEEP_FEATURES, first), second).reshape(true.shape)
    error = (found - found.mean(1, keepdims=True)) - (true - true.mean(1, keepdims=True))
    return (error**2).mean()


def _by_person(people: np.ndarray) -> np.ndarray:
    """(P, n) row indices of each person with two or more pictures.

    n is the smallest number of pictures of these people; with no such person it is 1, for all.
    """
    names, counts = np.unique(people, return_counts=True)
    n = min(counts[counts > 1].tolist(), default=1)
    return np.array([np.flatnonzero(people == name)[:n] for name in names[counts >= n]])


def fit_linear(
    inputs: np.ndarray, aus: np.ndarray, people: np.ndarray, penalty: float
) -> np.ndarray:
    """(F, A) float32: ridge regression of activations on features, both less their person's mean.

    With fewer pictures than features the dual problem is solved, of the size of the pictures.
    """
    x, y = (within(a.astype(np.float64), people) for a in (inputs, aus))
    if len(x) >= x.shape[1]:
        return ridge(x, y, penalty).astype(np.float32)
    kernel = x @ x.T + penalty * np.eye(len(x))
    return (x.T @ np.linalg.solve(kernel, y)).astype(np.float32)


def within(values: np.ndarray, people: np.ndarray) -> np.ndarray:
    """(N, C) rows of values less the mean row of their person.

    Args:
        values: (N, C).
        people: (N,) identities.
    """
    _, index = np.unique(people, return_inverse=True)
    sums = np.zeros((index.max() + 1, values.shape[1]))
    np.add.at(sums, index, values)
    return values - (sums / np.bincount(index)[:, None])[index]


def ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    """The W that minimises |x W - y|² + penalty |W|², in float64."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    return np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
