"""Estimate an expression's activations, relative to the neutral pictures of the same person.

With an expression model that was adapted to photographs, what is estimated from features (edges and
landmark shape) is corrected by how far the landmarks moved (`transfer.expression.movement`).

If there is no picture of the person but the expression's, activations are estimated absolutely,
relative to the neutral pictures of many people (`transfer.expression.absolute`), and bounded by how
far the eyes are open (`transfer.expression.seen_lids`).
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from glow_jax.kept_programs import kept
from transfer.codec import Images
from transfer.expression import model as em
from transfer.expression.model import ExpressionModel
from transfer.expression.movement import agreeing, movement, noise_of
from transfer.expression.paint import check_finite, landmarks_of
from transfer.expression.seen_lids import no_more_shut

# A picture is neutral whose `distance_from_neutral` exceeds the person's least one by at most this.
MAX_ABOVE_NEUTRAL = 0.15
MAX_KEPT = 65_536  # people, and expressions, whose activations are kept in memory
MULTIPLE = 8  # pictures are padded to a multiple of it, so that few shapes are compiled

_read_faces, _denoised = kept(em.read_faces), kept(em.denoise)
_absolute = kept(em.absolute_activations)


class Read(NamedTuple):
    """What is read in pictures.

    Attributes:
        raw: (N, A) float32 raw activations: only differences between one person's are meaningful.
        landmarks: (N, 68, 2) float32, right and down in sides of the picture.
    """

    raw: Float[np.ndarray, "N A"]
    landmarks: Float[np.ndarray, "N 68 2"]


def read(model: ExpressionModel, images: Images) -> Read:
    """What is read in pictures of faces, uint8 (N, H, W, 3).

    Raises:
        InputError: the model computes what is no finite number.
    """
    raw, landmarks = (np.asarray(a)[: len(images)] for a in _read_faces(model, _padded(images)))
    check_finite(activations=raw, landmarks=landmarks)
    return Read(raw, landmarks)


def are_neutral(raw: np.ndarray) -> np.ndarray:
    """(N,) bool: which pictures of one person are neutral; the most neutral one always is."""
    excess = em.distance_from_neutral(raw)
    return excess <= excess.min() + MAX_ABOVE_NEUTRAL


def most_neutral(model: ExpressionModel, images: Images) -> int:
    """Index of the most neutral of a person's pictures."""
    return int(em.distance_from_neutral(read(model, images).raw).argmin())


def expression_activations(model: ExpressionModel, expression: Read, source: Read) -> np.ndarray:
    """(A,) activations of an expression, relative to the neutral pictures of the same person.

    Args:
        model: the expression model.
        expression: of the expression's picture, N = 1.
        source: of the person's pictures.
    """
    neutral = are_neutral(source.raw)
    change = expression.raw - source.raw[neutral].mean(0)
    activations = denoised_changes(model, change)
    return with_movement(model, activations, expression.landmarks, source.landmarks[neutral])[0]


def with_movement(
    model: ExpressionModel,
    activations: np.ndarray,
    landmarks: Float[np.ndarray, "N 68 2"],
    neutral: Float[np.ndarray, "M 68 2"],
) -> np.ndarray:
    """(N, A) activations, corrected by how far landmarks moved from those of neutral pictures.

    Unchanged for a model that was not adapted to photographs.
    """
    if model.smoothing is None:
        return activations
    moved = [np.mean([movement(one, own) for own in neutral], 0) for one in landmarks]
    return agreeing(model, activations, np.stack(moved))


def denoised_changes(model: ExpressionModel, change: np.ndarray) -> np.ndarray:
    """(N, A) activations from differences of raw activations between pictures of one person."""
    return np.asarray(_denoised(model, change))


def absolute_activations(model: ExpressionModel, shown: Read) -> np.ndarray:
    """(N, A) activations of single pictures, without neutral pictures of the same people.

    Raises:
        ValueError: the model has no population.
    """
    return no_more_shut(model, np.asarray(_absolute(model, shown.raw)), shown.landmarks)


def is_below_noise(model: ExpressionModel, activations: np.ndarray, absolute: bool) -> bool:
    """Whether no activation (A,) is above the noise of its estimate: there is no expression."""
    return bool((np.abs(activations) <= noise_floor(model, absolute)).all())


def noise_floor(model: ExpressionModel, absolute: bool) -> np.ndarray:
    """(A,) activations that an estimate of a neutral face reaches by its noise."""
    slope, noise = model.slope, model.noise
    if absolute and model.population is not None:
        slope, noise = model.population.slope, model.population.noise
    floor = np.asarray(slope) * noise / 2
    is_corrected = model.smoothing is not None and not absolute
    return np.maximum(floor, noise_of(model)) if is_corrected else floor


@runtime_checkable
class Faces(Protocol):
    """Pictures of faces, by the numbers of pictures and people in a job's plan."""

    def usable(self, person: int) -> list[int]:
        """A person's pictures that can be used."""
        ...

    def pixels(self, pictures: Sequence[int]) -> Images:
        """uint8 (N, H, W, 3)."""
        ...

    def detailed(self, pictures: Sequence[int]) -> Images:
        """The faces as models that were adapted to photographs read them, uint8 (N, h, w, 3).

        In photographs of `transfer.photos.aligned_faces.READ_PX` pixels, else as `pixels`.
        """
        ...


class Estimate(NamedTuple):
    """An expression as activations (A,), and whether it was estimated absolutely."""

    activations: np.ndarray
    absolute: bool


class PeopleActivations:
    """Activations of a job's pictures; each person and each expression is estimated once."""

    def __init__(self, model: ExpressionModel, faces: Faces):
        """Nothing is estimated yet."""
        self._model, self._faces = model, faces
        self._read: dict[int, Read] = {}
        self._landmarks: dict[int, np.ndarray] = {}
        self._expressions: dict[tuple[int, int], Estimate] = {}

    def read(self, person: int) -> Read:
        """What is read in a person's pictures that can be used."""
        if person not in self._read:
            if len(self._read) >= MAX_KEPT:
                self._read.clear()
            self._read[person] = self._read_pictures(self._faces.usable(person))
        return self._read[person]

    def _read_pictures(self, pictures: Sequence[int]) -> Read:
        faces, adapted = self._faces, self._model.smoothing is not None
        return read(self._model, faces.detailed(pictures) if adapted else faces.pixels(pictures))

    def landmarks(self, pictures: Sequence[int]) -> Float[np.ndarray, "N 68 2"]:
        """Landmarks of pictures of the flow's size; each picture's are found once."""
        missing = sorted(set(pictures) - self._landmarks.keys())
        if missing:
            if len(self._landmarks) + len(missing) > MAX_KEPT:
                self._landmarks.clear()
                missing = sorted(set(pictures))
            found = landmarks_of(self._model, self._faces.pixels(missing))
            self._landmarks |= zip(missing, found, strict=True)
        return np.stack([self._landmarks[i] for i in pictures])

    def most_neutral(self, person: int) -> int:
        """A person's most neutral picture."""
        usable = self._faces.usable(person)
        if len(usable) == 1:
            return usable[0]
        return usable[int(em.distance_from_neutral(self.read(person).raw).argmin())]

    def expression(self, picture: int, source: int) -> "Estimate":
        """The activations of an expression, relative to the source's neutral pictures.

        They are absolute if the source has no other picture and the model has a population.
        """
        key = (picture, source)
        if key not in self._expressions:
            if len(self._expressions) >= MAX_KEPT:
                self._expressions.clear()
            absolute = self._model.population is not None and self._is_alone(picture, source)
            if absolute:
                activations = self.own(picture)
            else:
                shown = self._read_pictures([picture])
                activations = expression_activations(self._model, shown, self.read(source))
            self._expressions[key] = Estimate(activations, absolute)
        return self._expressions[key]

    def own(self, picture: int) -> np.ndarray:
        """(A,) the activations of a picture, estimated absolutely."""
        return absolute_activations(self._model, self._read_pictures([picture]))[0]

    def _is_alone(self, picture: int, source: int) -> bool:
        """Whether an expression's picture, or copies of it, are the person's only pictures."""
        shown = self._faces.pixels([picture])[0]
        others = (i for i in self._faces.usable(source) if i != picture)
        return all(np.array_equal(self._faces.pixels([i])[0], shown) for i in others)


def _padded(images: np.ndarray) -> np.ndarray:
    """Pictures filled up to a multiple of MULTIPLE with copies of the first one."""
    missing = -len(images) % MULTIPLE if len(images) > 1 else 0
    return np.concatenate([images, np.repeat(images[:1], missing, axis=0)])
