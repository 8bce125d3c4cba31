"""Fit an `ExpressionModel` on rendered people."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glow_jax.io.errors import InputError
from transfer.expression import landmark_detector as lm
from transfer.expression import model as ex
from transfer.expression.au_regressor import fit_au_regressor, predict
from transfer.expression.features import features, make_template
from transfer.expression.model import ExpressionModel, Pairs
from transfer.expression.warp import warp

CALIBRATION = 10  # one person of so many is kept from training the reader, to calibrate it
REGRESSOR_PENALTY = 10.0
REGRESSOR_STEPS = 4500
BATCH = 64
RESIDUAL_SIDE = 64  # pixels of the mean shape's picture
RESIDUAL_PENALTY = 5.0


@dataclasses.dataclass(frozen=True)
class Faces:
    """Rendered pictures with what is true of them, in any order.

    Attributes:
        images: uint8 (N, H, W, 3).
        aus: names of the units.
        activations: (N, A), 0-1.
        landmarks: (N, 68, 2), right and down in sides of the picture.
        people: (N,) identities.
        conditions: (N,) numbers; pictures of one person and condition differ in expression only.
    """

    images: np.ndarray
    aus: tuple[str, ...]
    activations: np.ndarray
    landmarks: np.ndarray
    people: np.ndarray
    conditions: np.ndarray

    @classmethod
    def from_labels(
        cls, images: np.ndarray, labels: Sequence[dict[str, Any]], aus: tuple[str, ...]
    ) -> "Faces":
        """Of a folder that `glow-jax render` made.

        Raises:
            InputError: a label lacks something.
        """
        side = images.shape[1]
        try:
            return cls(
                images,
                aus,
                np.array([[row["aus"].get(au, 0.0) for au in aus] for row in labels]),
                np.array([row["landmarks"] for row in labels], float).reshape(-1, 68, 2) / side,
                np.array([row["identity"] for row in labels]),
                np.array([row["condition"] for row in labels]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"labels: not those of rendered faces ({error!r})") from None

    def of(self, rows: np.ndarray) -> "Faces":
        """The pictures that `rows` selects."""
        arrays = (self.activations, self.landmarks, self.people, self.conditions)
        return Faces(self.images[rows], self.aus, *(a[rows] for a in arrays))


def split(faces: Faces) -> tuple[Faces, Faces]:
    """People to train the reader on, and every tenth person to calibrate it with."""
    kept = faces.people % CALIBRATION == 0
    return faces.of(~kept), faces.of(kept)


def pairs_of(faces: Faces) -> Pairs:
    """Every expressive picture with the neutral one of the same person and condition.

    Raises:
        InputError: there are none.
    """
    neutral: dict[tuple[int, int], int] = {}
    quiet = faces.activations.sum(1) == 0
    for i in np.flatnonzero(quiet):
        neutral.setdefault((int(faces.people[i]), int(faces.conditions[i])), int(i))
    places = list(zip(faces.people.tolist(), faces.conditions.tolist(), strict=True))
    found = [(neutral[places[i]], i) for i in np.flatnonzero(~quiet) if places[i] in neutral]
    if not found:
        raise InputError("no pairs; render with `glow-jax render --setting pairs`")
    before, after = np.array(found).T
    return Pairs(
        faces.images[before],
        faces.images[after],
        faces.activations[after],
        faces.landmarks[before],
        faces.landmarks[after],
    )


def fit(
    faces: Faces,
    *,
    n_steps: int,
    n_regressor_steps: int = REGRESSOR_STEPS,
    seed: int = 0,
    landmark_detector: lm.Params | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> ExpressionModel:
    """Everything that `ExpressionModel` holds.

    Args:
        faces: rendered as pairs, none of them judged later.
        n_steps: of training the network that finds landmarks.
        n_regressor_steps: of training the reader's network.
        seed: of both.
        landmark_detector: its weights, instead of training it.
        progress: called with lines to show.

    Raises:
        InputError: too few people, or no pairs.
    """
    learning, kept = split(faces)
    pairs = pairs_of(faces)
    if len(np.unique(learning.people)) < 2 or not len(kept.people):
        raise InputError(
            f"{len(np.unique(faces.people))} people; use {2 * CALIBRATION} or more with "
            "consecutive numbers"
        )
    if landmark_detector is None:

        def told(step: int, loss: float) -> None:
            rms = float(np.sqrt(loss))
            progress(f"landmarks: step {step}/{n_steps}, off by {rms:.2f} of {lm.SIDE} pixels")

        data = lm.Batch(learning.images, learning.landmarks)
        landmark_detector = lm.train_landmark_detector(
            data, n_steps=n_steps, seed=seed, progress=told
        )
    template = make_template(learning.landmarks)
    seen = features_of(learning.images, landmark_detector, template)
    au_regressor = fit_au_regressor(
        seen,
        learning.activations,
        learning.people,
        penalty=REGRESSOR_PENALTY,
        n_steps=n_regressor_steps,
        seed=seed,
        progress=progress,
    )
    del seen
    found = np.asarray(
        _predict(au_regressor, features_of(kept.images, landmark_detector, template))
    )
    slope, noise = ex.calibrate(*differences(found, kept))
    displacements = ex.fit_displacements(pairs)
    mean_shape = ex.mean_shape_of(pairs.neutral_landmarks, displacements, faces.aus)
    colour_statistics = fit_colour_statistics(landmark_detector, pairs)
    mouth_mask = ex.mouth_mask_of(mean_shape, RESIDUAL_SIDE)
    no_residual = np.zeros((2, 4 * len(faces.aus) + 1, RESIDUAL_SIDE, RESIDUAL_SIDE, 3), np.float32)
    model = ExpressionModel(
        faces.aus,
        landmark_detector,
        template,
        au_regressor,
        slope,
        noise,
        displacements,
        mean_shape,
        mouth_mask,
        colour_statistics,
        no_residual,
    )
    progress(f"{len(pairs.aus)} pairs: what the warp leaves out")
    return dataclasses.replace(model, residual=fit_residual(model, pairs))


def fit_colour_statistics(landmark_detector: lm.Params, pairs: Pairs) -> np.ndarray:
    """(2, 3) float32: mean and standard deviation of neutral faces' colours; 1 at least."""
    found = [
        np.asarray(_colours(jnp.asarray(_filled(pairs.neutral[part])), landmark_detector))[
            : len(pairs.neutral[part])
        ]
        for part in _parts(len(pairs.neutral))
    ]
    colours = np.concatenate(found).astype(np.float64)
    return np.stack([colours.mean(0), np.maximum(colours.std(0), 1)]).astype(np.float32)


def fit_residual(model: ExpressionModel, pairs: Pairs) -> np.ndarray:
    """(2, 4 A + 1, S, S, 3) of `ExpressionModel`, by ridge regression channel by channel.

    With t the true picture, w the warped one, both on the mean shape, o how much of the space
    between the lips is new, and c the face's colour in the channel:

        outside the lips   t - w              on  (terms)          x (1, c)
        between them       t - (1 - o) w      on  o (1, terms)     x (1, c)
    """
    width, places = 2 * len(model.aus), RESIDUAL_SIDE * RESIDUAL_SIDE
    skin, inside = _Ridge(2 * width, places), _Ridge(2 * width + 2, places)
    for part in _parts(len(pairs.aus)):
        n = len(pairs.aus[part])
        activations = pairs.aus[part].astype(np.float32)
        arrays = (pairs.neutral[part], pairs.expressive[part], activations)
        found = _compared(model, *(jnp.asarray(_filled(a)) for a in arrays))
        true, moved, off, parting = (np.asarray(a, np.float64)[:n] for a in found)
        terms = np.asarray(ex.terms(jnp.asarray(activations)), np.float64)
        between = parting[:, None] * np.concatenate([np.ones((n, 1)), terms], 1)
        skin.add(terms, off, true - moved)
        inside.add(between, off, true - (1 - parting)[:, None, None, None] * moved)
    face = ex.face_mask(np.asarray(model.mean_shape), RESIDUAL_SIDE)[..., None]
    mouth = np.asarray(model.mouth_mask)[..., None]
    parts = [skin.solved() * face * (1 - mouth), inside.solved() * mouth]
    return np.concatenate(parts, 1).astype(np.float32)


class _Ridge:
    """Pictures on numbers and their products with a colour, channel by channel."""

    def __init__(self, width: int, places: int):
        self._normal = np.tile(RESIDUAL_PENALTY * np.eye(width), (3, 1, 1))
        self._sums = np.zeros((3, width, places))

    def add(self, numbers: np.ndarray, colours: np.ndarray, pictures: np.ndarray) -> None:
        """(N, C), (N, 3) and (N, S, S, 3) more."""
        for channel in range(3):
            columns = np.concatenate([numbers, numbers * colours[:, channel, None]], 1)
            self._normal[channel] += columns.T @ columns
            self._sums[channel] += columns.T @ pictures[..., channel].reshape(len(pictures), -1)

    def solved(self) -> np.ndarray:
        """(2, C, S, S, 3): at the mean colour, and by colour."""
        found = np.linalg.solve(self._normal, self._sums)
        return np.moveaxis(found.reshape(3, 2, -1, RESIDUAL_SIDE, RESIDUAL_SIDE), 0, -1)


_predict = jax.jit(predict)


@jax.jit
def _compared(
    model: ExpressionModel, neutral: Any, expressive: Any, activations: Any
) -> tuple[jax.Array, ...]:
    """True and warped pictures on the mean shape, colours off the mean, and new space of mouths."""
    landmarks = lm.detect_landmarks(model.landmark_detector, neutral)
    displacements = ex.displace(model, activations, landmarks)
    warped = warp(neutral.astype(jnp.float32), landmarks, displacements)
    both = jnp.concatenate([expressive.astype(jnp.float32), warped], -1)
    both = ex.to_mean_shape(model, both, landmarks + displacements, RESIDUAL_SIDE)
    off = ex.off_mean(model, ex.colour(neutral, landmarks))
    return both[..., :3], both[..., 3:], off, ex.newly_open(landmarks, displacements)


@jax.jit
def _colours(images: jax.Array, landmark_detector: lm.Params) -> jax.Array:
    return ex.colour(images, lm.detect_landmarks(landmark_detector, images))


@jax.jit
def _features(images: jax.Array, landmark_detector: lm.Params, template: jax.Array) -> jax.Array:
    return features(images, lm.detect_landmarks(landmark_detector, images), template)


def features_of(
    images: np.ndarray, landmark_detector: lm.Params, template: np.ndarray
) -> np.ndarray:
    """(N, F) features, in batches of one shape."""
    found = []
    for part in _parts(len(images)):
        seen = _features(jnp.asarray(_filled(images[part])), landmark_detector, template)
        found.append(np.asarray(seen)[: len(images[part])])
    return np.concatenate(found)


def _filled(batch: np.ndarray) -> np.ndarray:
    """Its first row again and again, up to BATCH."""
    return np.concatenate([batch, np.repeat(batch[:1], BATCH - len(batch), axis=0)])


def differences(read: np.ndarray, faces: Faces) -> tuple[np.ndarray, np.ndarray]:
    """Differences of readings, and of truths (both N, A).

    Of each expressive picture of people from the mean of that person's neutral pictures, in
    whatever conditions they are.

    Raises:
        InputError: nobody has both.
    """
    quiet = faces.activations.sum(1) == 0
    found = []
    for i in np.flatnonzero(~quiet):
        same = quiet & (faces.people == faces.people[i])
        if same.any():
            found.append((read[i] - read[same].mean(0), faces.activations[i]))
    if not found:
        raise InputError("no person has neutral and expressive pictures to calibrate with")
    one, other = (np.array(column) for column in zip(*found, strict=True))
    return one, other


def _parts(n: int) -> list[slice]:
    return [slice(start, min(start + BATCH, n)) for start in range(0, n, BATCH)]
