"""Adapt an expression model of renders to photographs, by photoreal people who do not exist.

The renders' labels are true, those of photoreal people are MediaPipe's (`teacher`). What is fitted,
on both kinds, in closed form: corrections of the landmarks (`landmark_corrections`), a change of
the AU regressor, and the population. Pairs of photoreal pictures, if there are any, also change the
displacements, the residual, the smoothing of the warp, and the slope and the noise of estimated
changes. The rest of the model is kept.

The change of the AU regressor is linear in the features and in the hidden units of its network,
and it is penalised, so that the regressor stays what it was where the new pictures do not speak
against it. With d the change of the raw activations, the rows of the regression are

    renders     d = truth - raw activations, both less the mean of their person
    photoreal   d = MediaPipe's - raw activations, both less the mean of their person, or of all
                people with a single picture; d = 0 for units that are not taught
                (`teacher.UNREAD`); weight PAIR_WEIGHT where a person has several
    both        d of the mean neutral photoreal face less d of the mean neutral render = minus the
                difference of their raw activations, so that neutral faces of both kinds read alike
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from glow_jax.io.errors import InputError
from transfer.expression.au_regressor import AuRegressor, hidden_units, within
from transfer.expression.batches import in_batches
from transfer.expression.calibration import calibrate, fit_population
from transfer.expression.features import features
from transfer.expression.fit import fit_displacements
from transfer.expression.landmark_corrections import Marked, fit_corrections, solve_ridge
from transfer.expression.model import ExpressionModel, find_landmarks, raw_activations
from transfer.expression.pairs import Faces, Pairs, split
from transfer.expression.residual import fit_residual
from transfer.expression.teacher import Taught, pairs_of

PENALTY = 30.0  # of the ridge regression of the AU regressor's change, on the squared norm
HIDDEN_WEIGHT = 0.2  # of a hidden unit beside a feature: their deviations are about 0.9 and 0.1
RESIDUAL_PENALTY = 100.0  # of the residual's change, on the squared norm
SMOOTHING = 1e-4  # of the warp of a model that pairs changed: lids and lips move on their own
MIN_CHANGE = 0.03  # standard deviation of a unit's change that suffices to calibrate it
MOVES = ("aus", "neutral_landmarks", "landmarks")  # of `Pairs`
UNREAD_NOISE = 1.5  # noise of a unit that is not read, in root mean squares of its raw changes
# Weight of a photoreal picture of a person with several pictures; a person's only picture has
# weight 1. Among the 22,080 pictures of photo64's fit there are four of the latter to one of the
# former: with weight 1 for all, r of changes was .84 in place of .85 (split validation), and r of
# single pictures the same.
PAIR_WEIGHT = 3.0
NEUTRAL_WEIGHT = 300.0  # of the row of both kinds, beside a picture


def adapt(
    model: ExpressionModel,
    renders: Faces,
    photoreal: Sequence[Taught],
    calibration: Sequence[Taught],
    *,
    progress: Callable[[str], None] = lambda line: None,
) -> ExpressionModel:
    """Adapt a model to photographs, as the module says.

    The result has new corrections of the landmarks, AU regressor and population; if `photoreal` has
    pairs, also displacements, residual and smoothing; and if `calibration` has pairs, also slope
    and noise of estimated changes.

    Args:
        model: fitted on renders. Its own corrections are not used.
        renders: of the kind that it was fitted on. People whose number is a multiple of 10 are kept
            for the population.
        photoreal: of people to fit on.
        calibration: of other people, for slope and noise, and for the population.
        progress: called with lines for the user.

    Raises:
        InputError: there are no renders, or no photoreal people, to fit or to calibrate on.
    """
    training, kept = split(renders)
    for name, found in (("fit", len(training.people)), ("calibrate", len(kept.people))):
        if not found:
            raise InputError(
                f"no renders to {name} on; use 20 or more people of consecutive numbers"
            )
    if not photoreal or not calibration:
        raise InputError("no photoreal people to fit or to calibrate on; use 100 or more")
    n_photoreal = sum(len(taught.people) for taught in photoreal)
    marked = [Marked(p.images, p.landmarks, p.people) for p in photoreal]
    weight = n_photoreal / len(training.people)  # renders count as much as photoreal pictures
    marked.append(Marked(training.images, training.landmarks, training.people, weight))
    corrections = fit_corrections(
        model.landmark_detector, np.asarray(model.template), marked, progress=progress
    )
    model = dataclasses.replace(model, corrections=corrections)
    model = dataclasses.replace(model, au_regressor=_changed(model, training, photoreal))
    progress(f"AU regressor: adapted on {n_photoreal} photoreal pictures")
    model = _moved(model, photoreal, progress)
    model = _calibrated(model, calibration)
    return dataclasses.replace(model, population=fit_population(model, kept, *calibration))


def _moved(
    model: ExpressionModel, photoreal: Sequence[Taught], progress: Callable[[str], None]
) -> ExpressionModel:
    """Displacements and residual, changed by pairs of photoreal pictures, if there are any."""
    groups = [pairs for pairs in map(pairs_of, photoreal) if len(pairs.aus)]
    if not groups:
        return model
    arrays = [np.concatenate([getattr(one, name) for one in groups]) for name in MOVES]
    moves = Pairs(groups[0].neutral[:0], groups[0].neutral[:0], *arrays)
    model = dataclasses.replace(
        model,
        displacements=fit_displacements(moves, start=np.asarray(model.displacements, float)),
        smoothing=np.array(SMOOTHING, np.float32),
    )
    model = dataclasses.replace(model, residual=fit_residual(model, groups, RESIDUAL_PENALTY))
    progress(f"displacements and residual: adapted on {len(moves.aus)} photoreal pairs")
    return model


def _calibrated(model: ExpressionModel, calibration: Sequence[Taught]) -> ExpressionModel:
    """Slope and noise of estimated changes, where pairs of photoreal pictures show them.

    For a unit that is not taught, raw changes over pairs are taken as noise: only larger ones
    count.
    """
    if not any((taught.bases >= 0).any() for taught in calibration):
        return model
    estimated, true = [], []
    for taught in calibration:
        after = np.flatnonzero(taught.bases >= 0)
        raw = in_batches(partial(_raw, model), taught.images)
        estimated.append(raw[after] - raw[taught.bases[after]])
        true.append(taught.activations[after] - taught.activations[taught.bases[after]])
    x, y = np.concatenate(estimated), np.concatenate(true)
    known = np.isfinite(y).all(0) & (y.std(0) > MIN_CHANGE)
    slope, noise = np.array(model.slope), np.array(model.noise)
    slope[known], noise[known] = calibrate(x[:, known], y[:, known])
    unread = ~np.isfinite(y).all(0)
    rms = np.sqrt((x[:, unread].astype(np.float64) ** 2).mean(0)).astype(np.float32)
    noise[unread] = np.maximum(noise[unread], np.float32(UNREAD_NOISE) * rms)
    return dataclasses.replace(model, slope=slope, noise=noise)


def _changed(model: ExpressionModel, renders: Faces, photoreal: Sequence[Taught]) -> AuRegressor:
    seen, raw = inputs_of(model, renders.images)
    wanted = renders.activations - raw
    rows = [(within(seen, renders.people), within(wanted, renders.people))]
    means = [(seen[renders.neutral].mean(0), raw[renders.neutral].mean(0))]
    for taught in photoreal:
        seen, raw = inputs_of(model, taught.images)
        group = alone_together(taught.people)
        weight = np.where(group >= 0, PAIR_WEIGHT**0.5, 1).astype(np.float32)[:, None]
        wanted = np.nan_to_num(within(taught.activations - raw, group))
        rows.append((weight * within(seen, group), weight * wanted))
        means.append((seen[taught.neutral].mean(0), raw[taught.neutral].mean(0)))
    share = (NEUTRAL_WEIGHT / len(photoreal)) ** 0.5
    for mean in means[1:]:
        rows.append((share * (mean[0] - means[0][0])[None], share * (means[0][1] - mean[1])[None]))
    change = _ridge(rows)
    linear, hidden, bias, out = map(np.asarray, model.au_regressor)
    n = len(linear)  # the regressor is the mean of a linear one and of a network
    return AuRegressor(
        (linear + 2 * change[:n]).astype(np.float32),
        hidden,
        bias,
        (out + 2 * HIDDEN_WEIGHT * change[n:]).astype(np.float32),
    )


def _ridge(rows: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The ridge regression of several groups of rows (inputs, outputs) together."""
    squares = products = np.zeros(())
    for group in rows:  # one at a time: float64 of all is large
        inputs, outputs = (part.astype(np.float64) for part in group)
        squares, products = squares + inputs.T @ inputs, products + inputs.T @ outputs
    return solve_ridge(squares, products, PENALTY)


def alone_together(people: np.ndarray) -> np.ndarray:
    """People's numbers; -1 for each person with one picture."""
    _, index, counts = np.unique(people, return_inverse=True, return_counts=True)
    return np.where(counts[index] > 1, people, -1)


def inputs_of(model: ExpressionModel, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The inputs of the AU regressor's change (N, F + H) and the raw activations (N, A)."""
    seen, raw = in_batches(partial(_inputs, model), images)
    return seen, raw


_raw = jax.jit(raw_activations)


@jax.jit
def _inputs(model: ExpressionModel, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    seen = features(images, find_landmarks(model, images), model.template)
    linear = jnp.dot(seen, jnp.asarray(model.au_regressor.linear), precision="highest")
    units = hidden_units(model.au_regressor, seen)
    network = jnp.dot(units, jnp.asarray(model.au_regressor.out), precision="highest")
    return jnp.concatenate([seen, HIDDEN_WEIGHT * units], 1), (linear + network) / 2
