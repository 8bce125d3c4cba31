"""Corrections of the landmarks that the detector finds: regressions on the features around them.

Each stage reads the features of the landmarks so far (`landmark_patches`) and shifts the landmarks
by a linear function of them, in the frame of the template (the supervised descent method; Xiong &
De la Torre 2013). Each stage sees finer than the one before; the last one is for pictures with more
detail than the detector sees. All stages are fitted in closed form. A stage is fitted on landmarks
that the stage before it found on people whom that stage was not fitted on (cross-fitting):
landmarks of its own people would be too good.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from glow_jax.io.landmarks68 import N_LANDMARKS
from transfer.expression.batches import batches, fill, in_batches
from transfer.expression.features import mirrored
from transfer.expression.landmark_detector import SIDE as DETECTOR_SIDE
from transfer.expression.landmark_detector import Params, detect_landmarks
from transfer.expression.landmark_patches import N_PATCH_FEATURES, patch_features

Images = UInt8[Array, "B H W 3"]
Landmarks = Float[Array, "B 68 2"]
AnyArray = np.ndarray | Array  # NumPy after loading, JAX inside a compiled function

SHAPE = (N_PATCH_FEATURES + 1, 2 * N_LANDMARKS)  # of a stage; the last row is added to all faces
SCALES = (16.0, 30.0, 48.0)  # of each stage's features: pixels per distance between the eyes
N_COARSE = 2  # stages for all pictures; the others are for those larger than the detector's input
N_FOLDS = 5  # parts of the people for the cross-fitting
PENALTY = 200.0  # of the ridge regressions, on the squared norm


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
    """Landmarks after all stages that are for pictures of this size.

    Args:
        corrections: (S, F + 1, 136) a matrix for each of S stages.
        images: uint8 RGB, square.
        landmarks: right and down, in sides of the picture.
        template: (68, 2) of `transfer.expression.features.make_template`.
    """
    height, width = images.shape[1:3]
    size = jnp.array([width, height], landmarks.dtype)[None, None]
    n_stages = sum(is_for(number, images) for number in range(len(corrections)))

    def after(landmarks: Landmarks, stage: tuple[Array, Array]) -> tuple[Landmarks, None]:
        weights, scale = stage
        seen, turn = patch_features(images, landmarks, template, scale)
        shift = jnp.dot(seen, weights[:-1], precision="highest") + weights[-1:]
        local = shift.reshape(-1, N_LANDMARKS, 2)
        moved = jnp.einsum("bij,bkj->bki", turn, local, precision="highest") / size
        return landmarks + moved, None

    stages = jnp.asarray(corrections[:n_stages], landmarks.dtype)
    scales = jnp.asarray(SCALES[:n_stages], landmarks.dtype)
    return jax.lax.scan(after, landmarks, (stages, scales))[0]


def is_for(number: int, images: np.ndarray | Array) -> bool:
    """Whether a stage is for pictures (N, H, W, 3) of this size."""
    return number < N_COARSE or images.shape[1] > DETECTOR_SIDE


def fit_corrections(
    detector: Params,
    template: np.ndarray,
    groups: Sequence[Marked],
    *,
    n_stages: int = len(SCALES),
    penalty: float = PENALTY,
    progress: Callable[[str], None] = lambda line: None,
) -> np.ndarray:
    """(S, F + 1, 136) float32: the corrections of a detector.

    Without pictures that are larger than the detector's input, the stages for them are left out.

    Args:
        detector: weights of the landmark detector.
        template: (68, 2) of `make_template`.
        groups: pictures to fit on, those of a size together; each is used with its mirror image.
        n_stages: S at most.
        penalty: of the ridge regressions.
        progress: called with a line for each stage.
    """
    pairs = [(group, _detected(detector, group)) for group in groups]
    n_stages = sum(any(is_for(k, group.images) for group in groups) for k in range(n_stages))
    stages = []
    for number in range(n_stages):
        pairs = [pair for pair in pairs if is_for(number, pair[0].images)]
        seen = [_seen(*pair, template, SCALES[number]) for pair in pairs]
        sums = _Sums()
        for (group, marks), (inputs, turns) in zip(pairs, seen, strict=True):
            weight = np.float32(group.weight**0.5)
            wanted = np.einsum("mnij,mnkj->mnki", np.linalg.inv(turns), _true(group) - marks)
            sums.add(weight * inputs, weight * wanted, group.people % N_FOLDS)
        stages.append(sums.solved(penalty))
        if number + 1 < n_stages:
            folds = [sums.solved(penalty, but=fold) for fold in range(N_FOLDS)]
            pairs = [
                (group, marks + _shifts(folds, group.people % N_FOLDS, *parts))
                for (group, marks), parts in zip(pairs, seen, strict=True)
            ]
        progress(f"landmark corrections: stage {number + 1}/{n_stages}")
    return np.stack(stages)


class _Sums:
    """The sums of a ridge regression, for each part of the people."""

    def __init__(self) -> None:
        self._squares = np.zeros((N_FOLDS, SHAPE[0], SHAPE[0]))
        self._products = np.zeros((N_FOLDS, *SHAPE))

    def add(self, inputs: np.ndarray, wanted: np.ndarray, folds: np.ndarray) -> None:
        """Add faces (N) and their mirror images (2, N, ...), which belong to the parts `folds`."""
        for fold in range(N_FOLDS):
            x = inputs[:, folds == fold].reshape(-1, SHAPE[0]).astype(np.float64)
            self._squares[fold] += x.T @ x
            self._products[fold] += x.T @ wanted[:, folds == fold].reshape(-1, SHAPE[1])

    def solved(self, penalty: float, but: int | None = None) -> np.ndarray:
        """(F + 1, 136) float32: the weights, of all parts but one if `but` is given."""
        kept = [fold for fold in range(N_FOLDS) if fold != but]
        squares, products = self._squares[kept].sum(0), self._products[kept].sum(0)
        return solve_ridge(squares, products, penalty)


def solve_ridge(squares: np.ndarray, products: np.ndarray, penalty: float) -> np.ndarray:
    """(F, K) float32: weights of a ridge regression, from x.T @ x and x.T @ y.

    `squares` is overwritten. Both are float64: the largest eigenvalues of x.T @ x are 10⁷ times
    the penalty, which rounding to float32 would drown.
    """
    from scipy import linalg

    squares[np.diag_indices(len(squares))] += penalty
    weights = linalg.solve(squares, products, assume_a="pos", overwrite_a=True)
    return np.asarray(weights, np.float32)


def _detected(detector: Params, group: Marked) -> np.ndarray:
    """(2, N, 68, 2) float32: landmarks of the pictures, and of their mirror images."""
    both = group.images, group.images[:, :, ::-1]
    return np.stack([in_batches(partial(_detect, detector), images) for images in both])


def _true(group: Marked) -> np.ndarray:
    """(2, N, 68, 2) float32: the true landmarks of the pictures, and of their mirror images."""
    true = group.landmarks.astype(np.float32)
    return np.stack([true, np.asarray(mirrored(jnp.asarray(true)))])


def _seen(
    group: Marked, found: np.ndarray, template: np.ndarray, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Features and a one (2, N, F + 1), and the matrices from the template to shares (2, N, 2, 2).

    Of the pictures, and of their mirror images.
    """
    inputs = np.ones((*found.shape[:2], SHAPE[0]), np.float32)
    turns = np.empty((*found.shape[:2], 2, 2), np.float32)
    for side in (0, 1):
        images = group.images[:, :, ::-1] if side else group.images
        for batch in batches(len(images)):
            parts = images[batch], found[side, batch]
            seen, turn = _features(*(jnp.asarray(fill(part)) for part in parts), template, scale)
            n = len(parts[0])
            inputs[side, batch, :-1], turns[side, batch] = (
                np.asarray(seen)[:n],
                np.asarray(turn)[:n],
            )
    return inputs, turns / np.array(group.images.shape[2:0:-1], np.float32)[:, None]


def _shifts(
    stages: Sequence[np.ndarray], part: np.ndarray, inputs: np.ndarray, turns: np.ndarray
) -> np.ndarray:
    """(2, N, 68, 2): shifts by the stage of each face's part of the people."""
    each = [np.einsum("mnf,fk->mnk", inputs, stage, optimize=True) for stage in stages]
    local = np.choose(part[None, :, None], each).reshape(*turns.shape[:2], N_LANDMARKS, 2)
    return np.einsum("mnij,mnkj->mnki", turns, local)


_features = jax.jit(patch_features, static_argnums=3)
_detect = jax.jit(detect_landmarks)
