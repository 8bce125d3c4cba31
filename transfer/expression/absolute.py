"""Activations of a single picture, without a neutral picture of the same person.

The raw activations of a picture contain an offset that depends on the person, and that a neutral
picture of the person would show. Without one, the offset is taken to be that of the mean person,
and the differences between people are noise:

    a = denoise(raw - neutral)

`neutral` is the mean of the raw activations of neutral pictures of many people; the slope and the
noise of `transfer.expression.model.denoise` are fitted on single pictures. The errors on people
whom nothing was fitted on are in docs/results/truth.md, "One picture of each person".
"""

import hashlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Array

AnyArray = np.ndarray | Array  # NumPy after loading, JAX inside a compiled function

N_ROWS = 4  # of the array on disk: the fields below, in their order


class Population(NamedTuple):
    """Statistics that replace a person's neutral pictures; A is the number of Action Units.

    Attributes:
        neutral: (A,) mean raw activations of neutral pictures of many people.
        slope, noise: (A,) as in `ExpressionModel`, for differences from `neutral`.
        error: (A,) root mean square error of the activations, on the pictures of the fit.
    """

    neutral: AnyArray
    slope: AnyArray
    noise: AnyArray
    error: AnyArray


def fingerprint(population: Population) -> str:
    """SHA-256 of the arrays that determine activations; a part of the ids of the outputs."""
    digest = hashlib.sha256()
    for values in (population.neutral, population.slope, population.noise):
        digest.update(np.asarray(values, "<f4").tobytes())
    return digest.hexdigest()


def mean_error(population: Population) -> float:
    """The root mean square of the errors of all units."""
    return float(np.sqrt(np.mean(np.asarray(population.error, np.float64) ** 2)))
