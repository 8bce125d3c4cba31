"""Corrections of the landmarks that the detector finds: regressions on the features around them.

Each stage reads the features of the face at the landmarks so far and shifts the landmarks by a
linear function of them, in the frame of the template (the supervised descent method; Xiong & De la
Torre 2013). All stages are fitted in closed form. A stage is fitted on landmarks that the stage
before it found on people whom that stage was not fitted on (cross-fitting): landmarks of its own
people would be too good.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from scipy import linalg

from glow_jax.io.landmarks68 import N_LANDMARKS
from transfer.expression.batches import batches, fill
from transfer.expression.features import N_FEATURES, mirrored, sided_features
from transfer.expression.landmark_detector import Params, detect_landmarks

Images = UInt8[Array, "B H W 3"]
Landmarks = Float[Array, "B 68 2"]
AnyArray = np.ndarray | Array  # NumPy after loading, JAX inside a compiled function

SHAPE = (N_FEATURES + 1, 2 * N_LANDMARKS)  # of a stage; the last row is added to all faces
N_STAGES = 2
N_FOLDS = 2  # parts of the people for the cross-fitting
PENALTY = 30.0  # of the ridge regressions, on the squared norm


class Marked(NamedTuple):
    """Pictures of one size with landmarks.

    Attributes:
        images: uint8 (N, H, W, 3).
        landmarks: (N, 68, 2), right and down in sides of the picture.
        people: (N,) identity numbers; they decide which part of the people a person belongs to.
        weight: of a picture in the fit.
    """

    images: np.ndarray
    landmarks: np.ndarray
    people: np.ndarray
    weight: float = 1.0


def corrected(
    corrections: AnyArray, images: Images, landmarks: Landmarks, template: AnyArray
) -> Landmarks:
    """Landmarks after all stages.

    Args:
        corrections: (S, F + 1, 136) a matrix for each of S stages.
        images: uint8 RGB, square.
        landmarks: right and down, in sides of the picture.
        template: (68, 2) of `transfer.expression.features.make_template`.
    """
    for stage in jnp.asarray(corrections, landmarks.dtype):
        seen, turn = sided_features(images, landmarks, template)
        landmarks = _shifted(stage, seen, turn, landmarks, images.shape[1:3])
    return landmarks


def _shifted(
    stage: Array, seen: Array, turn: Array, landmarks: Landmarks, size: tuple[int, int]
) -> Landmarks:
    shift = jnp.dot(seen, stage[:-1], precision="highest") + stage[-1:]
    shift = jnp.einsum("bij,bkj->bki", turn, shift.reshape(-1, N_LANDMARKS, 2), precision="highest")
    return landmarks + shift / jnp.array(size[::-1], landmarks.dtype)[None, None]


def fit_corrections(
    detector: Params,
    template: np.ndarray,
    groups: Sequence[Marked],
    *,
    n_stages: int = N_STAGES,
    penalty: float = PENALTY,
    progress: Callable[[str], None] = lambda line: None,
) -> np.ndarray:
    """(S, F + 1, 136) float32: the corrections of a detector.

    Args:
        detector: weights of the landmark detector.
        template: (68, 2) of `make_template`.
        groups: pictures to fit on, those of a size together; each is used with its mirror image.
        n_stages: S.
        penalty: of the ridge regressions.
        progress: called with a line for each stage.
    """
    found = [_detected(detector, group) for group in groups]
    stages = []
    for number in range(n_stages):
        sums = _Sums()
        for group, rows, images, landmarks, true in _parts(groups, found):
            n = len(rows)
            seen, turn = _features(
                jnp.asarray(fill(images)), jnp.asarray(fill(landmarks)), template
            )
            inputs = np.concatenate([np.asarray(seen)[:n], np.ones((n, 1), np.float32)], 1)
            sides = np.array(images.shape[2:0:-1], np.float32)
            back = np.linalg.inv(np.asarray(turn)[:n])
            shift = np.einsum("bij,bkj->bki", back, (true - landmarks) * sides)
            share = np.float32(group.weight**0.5)
            sums.add(share * inputs, share * shift.reshape(n, -1), group.people[rows] % N_FOLDS)
        stages.append(sums.solved(penalty))
        if number + 1 < n_stages:
            folds = jnp.asarray(np.stack([sums.solved(penalty, k) for k in range(N_FOLDS)]))
            found = [_moved(folds, *pair, template) for pair in zip(groups, found, strict=True)]
        progress(f"landmark corrections: stage {number + 1}/{n_stages}")
    return np.stack(stages)


class _Sums:
    """The sums of a ridge regression, for each part of the people."""

    def __init__(self) -> None:
        self._squares = np.zeros((N_FOLDS, SHAPE[0], SHAPE[0]), np.float32)
        self._products = np.zeros((N_FOLDS, *SHAPE), np.float32)

    def add(self, inputs: np.ndarray, outputs: np.ndarray, folds: np.ndarray) -> None:
        """Add rows that belong to the parts `folds`."""
        for fold in range(N_FOLDS):
            x, y = inputs[folds == fold], outputs[folds == fold].astype(np.float32)
            self._squares[fold] += x.T @ x
            self._products[fold] += x.T @ y

    def solved(self, penalty: float, but: int | None = None) -> np.ndarray:
        """(F + 1, 136) float32: the weights, of all parts but one if `but` is given."""
        kept = [fold for fold in range(N_FOLDS) if fold != but]
        squares = self._squares[kept].sum(0).astype(np.float64)
        squares[np.diag_indices(len(squares))] += penalty
        products = self._products[kept].sum(0)
        return linalg.solve(squares, products, assume_a="pos", overwrite_a=True).astype(np.float32)


def _detected(detector: Params, group: Marked) -> np.ndarray:
    """(2, N, 68, 2) float32: landmarks of the pictures, and of their mirror images."""
    found = [
        np.asarray(_detect(detector, jnp.asarray(fill(group.images[b]))))[: len(group.images[b])]
        for b in batches(len(group.images))
    ]
    landmarks = np.concatenate(found)
    return np.stack([landmarks, np.asarray(mirrored(jnp.asarray(landmarks)))])


def _parts(
    groups: Sequence[Marked], found: Sequence[np.ndarray]
) -> Iterator[tuple[Marked, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Batches: group, row numbers, pictures, landmarks so far, true ones; mirrored ones too."""
    for group, landmarks in zip(groups, found, strict=True):
        true = group.landmarks.astype(np.float32)
        both = true, np.asarray(mirrored(jnp.asarray(true)))
        for batch in batches(len(group.images)):
            rows, images = np.arange(len(group.images))[batch], group.images[batch]
            yield group, rows, images, landmarks[0, batch], both[0][batch]
            yield group, rows, images[:, :, ::-1], landmarks[1, batch], both[1][batch]


def _moved(folds: jax.Array, group: Marked, found: np.ndarray, template: np.ndarray) -> np.ndarray:
    """The landmarks after a stage, each person's by the weights fitted on the others."""
    moved = np.empty_like(found)
    for side in (0, 1):
        images = group.images[:, :, ::-1] if side else group.images
        for batch in batches(len(images)):
            part = images[batch], found[side, batch], (group.people[batch] % N_FOLDS)
            out = _correct(folds, *(jnp.asarray(fill(p)) for p in part), template)
            moved[side, batch] = np.asarray(out)[: len(part[0])]
    return moved


@jax.jit
def _correct(
    folds: jax.Array, images: jax.Array, landmarks: jax.Array, part: jax.Array, template: jax.Array
) -> jax.Array:
    seen, turn = sided_features(images, landmarks, template)
    size = images.shape[1:3]
    each = jnp.stack([_shifted(stage, seen, turn, landmarks, size) for stage in folds])
    return jnp.take_along_axis(each, part[None, :, None, None], 0)[0]


_features, _detect = jax.jit(sided_features), jax.jit(detect_landmarks)
