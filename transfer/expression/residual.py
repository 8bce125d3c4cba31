"""Fit the residual of an expression model on pairs: the error of warped neutral pictures.

Ridge regression, channel by channel. With t the true expressive picture and w the warped neutral
one, both on the mean shape, o the share of the mouth's opening that is new (`opening_of`), and c
the deviation of the face's colour in the channel:

    outside the lips   t - w              on  (terms)          x (1, c)
    between the lips   t - (1 - o) w      on  o (1, terms)     x (1, c)

What is fitted is the change of the model's residual, and the change is penalised. The residual of a
model that is not fitted yet is 0.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transfer.expression import model as em
from transfer.expression.batches import batches, fill
from transfer.expression.mean_shape import face_mask
from transfer.expression.model import ExpressionModel
from transfer.expression.pairs import Pairs

SIDE = 64  # side of the residual in pixels, in the frame of the mean shape
PENALTY = 5.0  # of the ridge regression, on the squared norm


def no_residual(n_aus: int) -> np.ndarray:
    """(2, 4 A + 1, S, S, 3) zeros: the residual of a model that is not fitted yet."""
    return np.zeros((2, 4 * n_aus + 1, SIDE, SIDE, 3), np.float32)


def fit_residual(
    model: ExpressionModel, groups: Sequence[Pairs], penalty: float = PENALTY
) -> np.ndarray:
    """(2, 4 A + 1, S, S, 3) float32, the residual of `ExpressionModel`; see the module.

    Args:
        model: an expression model of which everything but the residual is fitted.
        groups: pairs of the people that the model was trained on; those of a size together.
        penalty: of the ridge regression, on the squared norm of the change.
    """
    width = 2 * len(model.aus)
    start = np.asarray(model.residual, np.float64)
    skin = _Ridge(start[:, :width], penalty)
    mouth = _Ridge(start[:, width:], penalty)
    for pairs, batch in ((some, rows) for some in groups for rows in batches(len(some.aus))):
        n = len(pairs.aus[batch])
        activations = pairs.aus[batch].astype(np.float32)
        arrays = (pairs.neutral[batch], pairs.expressive[batch], activations)
        found = _compared(model, *(jnp.asarray(fill(a)) for a in arrays))
        true, warped, deviations, opening = (np.asarray(a, np.float64)[:n] for a in found)
        terms = np.asarray(em.terms(jnp.asarray(activations)), np.float64)
        between = opening[:, None] * np.concatenate([np.ones((n, 1)), terms], 1)
        skin.add(terms, deviations, true - warped)
        mouth.add(between, deviations, true - (1 - opening)[:, None, None, None] * warped)
    face = face_mask(np.asarray(model.mean_shape), start.shape[2])[..., None]
    mouth_mask = np.asarray(model.mouth_mask)[..., None]
    parts = [skin.solved() * face * (1 - mouth_mask), mouth.solved() * mouth_mask]
    return np.concatenate(parts, 1).astype(np.float32)


@jax.jit
def _compared(
    model: ExpressionModel, neutral: Any, expressive: Any, activations: Any
) -> tuple[jax.Array, ...]:
    """True and warped pictures on the mean shape, colour deviations, and new mouth openings."""
    landmarks = em.find_landmarks(model, neutral)
    displacements = em.displace(model, activations, landmarks)
    warped = em.warp_pictures(model, neutral.astype(jnp.float32), landmarks, displacements)
    nothing = jnp.zeros((*neutral.shape[:3], 4), warped.dtype)
    lids = em.with_closed_lids(model, nothing, neutral, landmarks, displacements)
    warped = em.apply_edit(lids, warped)
    both = jnp.concatenate([expressive.astype(jnp.float32), warped], -1)
    both = em.to_mean_shape(model, both, landmarks + displacements, model.residual.shape[2])
    deviations = em.colour_deviations(model, em.face_colour(neutral, landmarks))
    return both[..., :3], both[..., 3:], deviations, em.opening_of(model, landmarks, displacements)


class _Ridge:
    """Ridge regression of pictures on inputs and on inputs times colour, channel by channel.

    Only sums are kept, so that any number of pictures fits into memory.
    """

    def __init__(self, start: np.ndarray, penalty: float):
        """Without any pictures; `start` (2, C, S, S, 3) are the weights whose change is fitted."""
        width, side = 2 * start.shape[1], start.shape[2]
        self._start = start
        self._normal = np.tile(penalty * np.eye(width), (3, 1, 1))
        self._sums = np.zeros((3, width, side * side))

    def add(self, inputs: np.ndarray, colours: np.ndarray, pictures: np.ndarray) -> None:
        """Add N pictures: inputs (N, C), colours (N, 3), pictures (N, S, S, 3)."""
        for channel in range(3):
            columns = np.concatenate([inputs, inputs * colours[:, channel, None]], 1)
            known = columns @ self._start[..., channel].reshape(columns.shape[1], -1)
            wanted = pictures[..., channel].reshape(len(pictures), -1) - known
            self._normal[channel] += columns.T @ columns
            self._sums[channel] += columns.T @ wanted

    def solved(self) -> np.ndarray:
        """(2, C, S, S, 3): weights of the inputs, and of the inputs times the colour."""
        found = np.linalg.solve(self._normal, self._sums)
        change = found.reshape(3, 2, *self._start.shape[1:4])
        return self._start + np.moveaxis(change, 0, -1)
