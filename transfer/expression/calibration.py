"""Calibrate an AU regressor on people whom it was not fitted on: slopes, noises, the population."""

from functools import partial
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from glow_jax.io.errors import InputError
from transfer.expression.absolute import Population
from transfer.expression.batches import in_batches
from transfer.expression.model import ExpressionModel, denoised, raw_activations

MAX_SLOPE = 4.0  # largest slope: an AU that is estimated too weakly for it stays too weak
NOISES = np.linspace(0, 0.4, 21)  # noise levels that the calibration tries


@runtime_checkable
class Shown(Protocol):
    """Pictures of faces, and what they show."""

    @property
    def images(self) -> np.ndarray:
        """uint8 (N, H, W, 3)."""
        ...

    @property
    def activations(self) -> np.ndarray:
        """(N, A); NaN where they are not known."""
        ...

    @property
    def neutral(self) -> np.ndarray:
        """(N,) bool."""
        ...


def fit_population(model: ExpressionModel, *groups: Shown) -> Population:
    """The population that replaces the neutral pictures of a person without any.

    Its neutral face is the mean of the groups' mean neutral faces; slopes, noises and errors are of
    all pictures together.

    Args:
        model: its population is not used.
        groups: neutral and expressive pictures, those of a size and kind together, of people whom
            the AU regressor was not fitted on.

    Raises:
        InputError: no picture of a group is neutral, or all are.
    """
    if any(group.neutral.all() or not group.neutral.any() for group in groups):
        raise InputError(
            "neutral and expressive pictures are needed; render with setting free or pairs"
        )
    raws = [in_batches(partial(_raw, model), group.images) for group in groups]
    means = [raw[group.neutral].mean(0) for raw, group in zip(raws, groups, strict=True)]
    neutral = np.mean(means, 0)
    changes = np.concatenate(raws) - neutral
    true = np.concatenate([group.activations for group in groups])
    units = [_calibrated_unit(x, y) for x, y in zip(changes.T, true.T, strict=True)]
    return Population(neutral, *np.array(units, np.float32).T)


def _calibrated_unit(change: np.ndarray, true: np.ndarray) -> tuple[float, float, float]:
    """Slope, noise and root mean square error of a unit, where the truth is known."""
    known = np.isfinite(true)
    x, y = change[known, None], true[known, None]
    slope, noise = calibrate(x, y)
    found = np.asarray(denoised(jnp.asarray(x, jnp.float32), slope, noise))
    return float(slope[0]), float(noise[0]), float(np.sqrt(((found - y) ** 2).mean()))


_raw = jax.jit(raw_activations)


def calibrate(estimated: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and noise (A,), float32, of `transfer.expression.model.denoise`.

    The noise is chosen so that denoised estimates correlate best with the truth. The slope is
    chosen so that the regression of denoised estimates on the truth has slope 1: an expression
    keeps its strength. Least squares would weaken it, more so where estimates are noisier.

    Args:
        estimated: (N, A) differences of raw activations, of people the regressor was not trained
            on: from a neutral picture of the person, or from the mean person's.
        true: (N, A) activations.
    """
    slopes, noises = [], []
    for column in range(estimated.shape[1]):
        x, y = estimated[:, column].astype(np.float64), true[:, column]
        best = (-np.inf, 1.0, 0.0)
        for noise in NOISES:
            kept = x**3 / (x**2 + noise**2 + 1e-12)
            product = float((kept * y).sum())
            norms = max(float(np.sqrt((kept**2).sum() * (y**2).sum())), 1e-9)
            slope = float((y**2).sum()) / product if product > 0 else 0.0
            best = max(best, (product / norms, min(slope, MAX_SLOPE), float(noise)))
        slopes.append(best[1])
        noises.append(best[2])
    return np.array(slopes, np.float32), np.array(noises, np.float32)
