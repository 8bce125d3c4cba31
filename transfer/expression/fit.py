"""Fit an `ExpressionModel` on rendered people."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.landmarks68 import LEFT_EYE, RIGHT_EYE
from glow_jax.io.messages import counted
from transfer.expression import landmark_detector as lm
from transfer.expression.au_regressor import AuRegressor, fit_au_regressor, predict, ridge
from transfer.expression.batches import in_batches
from transfer.expression.calibration import calibrate, fit_population
from transfer.expression.features import features, make_template
from transfer.expression.mean_shape import mean_shape_of, mouth_mask_of
from transfer.expression.model import ExpressionModel, face_colour
from transfer.expression.pairs import CALIBRATION_SHARE, Faces, Pairs, differences, pairs_of, split
from transfer.expression.residual import SIDE, fit_residual, no_residual

REGRESSOR_PENALTY = 10.0  # of the AU regressor's ridge regression, on the squared norm
REGRESSOR_STEPS = 4500  # of the AU regressor's network
DISPLACEMENT_PENALTY = 1.0  # of the displacements' ridge regression, on the squared norm
MIN_COLOUR_DEVIATION = 1.0  # grey levels


def fit(
    faces: Faces,
    *,
    n_steps: int,
    n_regressor_steps: int = REGRESSOR_STEPS,
    seed: int = 0,
    landmark_detector: lm.Params | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> ExpressionModel:
    """Fit a whole expression model.

    Args:
        faces: rendered with setting "pairs"; no evaluation may use these people.
        n_steps: gradient steps of the landmark detector's training.
        n_regressor_steps: gradient steps of the AU regressor's network.
        seed: of both trainings.
        landmark_detector: weights of a trained landmark detector; None trains one.
        progress: called with lines for the user.

    Raises:
        InputError: there are too few people, or no pairs.
    """
    training, calibration = split(faces)
    pairs = pairs_of(faces)
    if len(np.unique(training.people)) < 2 or not len(calibration.people):
        people = counted(len(np.unique(faces.people)), "person", "people")
        least = 2 * CALIBRATION_SHARE
        raise InputError(f"{people}; use {least} or more with consecutive numbers")
    if landmark_detector is None:
        landmark_detector = _trained_detector(training, n_steps, seed, progress)
    template = make_template(training.landmarks)
    au_regressor = fit_au_regressor(
        features_of(training.images, landmark_detector, template),
        training.activations,
        training.people,
        penalty=REGRESSOR_PENALTY,
        n_steps=n_regressor_steps,
        seed=seed,
        progress=progress,
    )
    slope, noise = _calibrated(au_regressor, calibration, landmark_detector, template)
    displacements = fit_displacements(pairs)
    mean_shape = mean_shape_of(pairs.neutral_landmarks, displacements, faces.aus)
    model = ExpressionModel(
        aus=faces.aus,
        landmark_detector=landmark_detector,
        template=template,
        au_regressor=au_regressor,
        slope=slope,
        noise=noise,
        displacements=displacements,
        mean_shape=mean_shape,
        mouth_mask=mouth_mask_of(mean_shape, SIDE),
        colour_statistics=colour_statistics_of(landmark_detector, pairs.neutral),
        residual=no_residual(len(faces.aus)),
    )
    progress(f"residual: fitted on {len(pairs.aus)} pairs")
    model = dataclasses.replace(model, residual=fit_residual(model, [pairs]))
    return dataclasses.replace(model, population=fit_population(model, calibration))


def _trained_detector(
    faces: Faces, n_steps: int, seed: int, progress: Callable[[str], None]
) -> lm.Params:
    def show(step: int, loss: float) -> None:
        error = float(np.sqrt(loss))
        progress(
            f"landmark detector: step {step}/{n_steps}, rms error {error:.2f} of {lm.SIDE} pixels"
        )

    data = lm.Batch(faces.images, faces.landmarks)
    return lm.train_landmark_detector(data, n_steps=n_steps, seed=seed, progress=show)


def _calibrated(
    au_regressor: AuRegressor, faces: Faces, detector: lm.Params, template: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Slope and noise (A,) of a regressor, on people it was not trained on."""
    raw = np.asarray(_predict(au_regressor, features_of(faces.images, detector, template)))
    return calibrate(*differences(raw, faces))


def fit_displacements(
    pairs: Pairs, penalty: float = DISPLACEMENT_PENALTY, start: np.ndarray | None = None
) -> np.ndarray:
    """(A, 68, 2) float32: displacements of landmarks, regressed on activations without intercept.

    They are in the frame of the eyes: right along the line between them and down, in distances
    between the eyes.

    Args:
        pairs: with true landmarks and activations.
        penalty: of the ridge regression, on the squared norm.
        start: (A, 68, 2) displacements whose change is fitted, and penalised; None means 0.
    """
    across = pairs.neutral_landmarks[:, LEFT_EYE].mean(1)
    across = across - pairs.neutral_landmarks[:, RIGHT_EYE].mean(1)
    shift = pairs.landmarks - pairs.neutral_landmarks
    x, y = across[:, :1], across[:, 1:]
    square = x**2 + y**2
    right = (shift[..., 0] * x + shift[..., 1] * y) / square
    down = (shift[..., 1] * x - shift[..., 0] * y) / square
    target = np.stack([right, down], -1).reshape(len(shift), -1)
    known = np.zeros((pairs.aus.shape[1], target.shape[1])) if start is None else start
    known = known.reshape(len(known), -1)
    change = ridge(pairs.aus, target - pairs.aus @ known, penalty)
    return (known + change).reshape(-1, *shift.shape[1:]).astype(np.float32)


def colour_statistics_of(detector: lm.Params, images: np.ndarray) -> np.ndarray:
    """(2, 3) float32: mean and standard deviation of the faces' colours, grey levels.

    Args:
        detector: weights of the landmark detector.
        images: uint8 (N, H, W, 3).
    """
    colours = in_batches(lambda batch: _colours(batch, detector), images).astype(np.float64)
    deviation = np.maximum(colours.std(0), MIN_COLOUR_DEVIATION)
    return np.stack([colours.mean(0), deviation]).astype(np.float32)


def features_of(images: np.ndarray, detector: lm.Params, template: np.ndarray) -> np.ndarray:
    """(N, F) features of pictures, computed in batches.

    Args:
        images: uint8 (N, H, W, 3).
        detector: weights of the landmark detector.
        template: (68, 2) of `make_template`.
    """
    found: np.ndarray = in_batches(lambda batch: _features(batch, detector, template), images)
    return found


_predict = jax.jit(predict)


@jax.jit
def _colours(images: jax.Array, detector: lm.Params) -> jax.Array:
    return face_colour(images, lm.detect_landmarks(detector, images))


@jax.jit
def _features(images: jax.Array, detector: lm.Params, template: jax.Array) -> jax.Array:
    return features(images, lm.detect_landmarks(detector, images), template)
