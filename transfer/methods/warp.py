"""Method "warp": the source's Action Unit activations, applied to a picture of the target.

    a      = activations(expression) - mean over the source's neutral pictures of activations
    x'     = the target's most neutral picture, warped by alpha * a
    output = x' + A⁻¹( alpha * a * residual )

With an expression model that was adapted to photographs, a is also corrected by how far the
source's landmarks moved (`transfer.expression.movement.agreeing`), and then multiplied by STRENGTH,
but for units of lips and chin, so that the target's face moves as far as the source's
(`movement.as_strong`).

If the source has no picture but the expression's, a is estimated absolutely, relative to neutral
pictures of many people (`transfer.expression.absolute`). With `Models.neutralise` the target's own
activations, estimated absolutely, are removed from its picture: alpha * a - a(target) replaces
alpha * a. Absolute activations are neither corrected nor multiplied.

A⁻¹ maps the frame of the mean shape to the face. The flow is not part of the edit, because edits in
its latent space were measured to be worse (docs/results/truth.md).
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import numpy as np
from jaxtyping import UInt8

from glow_jax.io.errors import InputError
from glow_jax.io.output_schema import ABSOLUTE, NOTHING
from transfer.codec import Images
from transfer.expression import seen_lids
from transfer.expression.absolute import Population
from transfer.expression.absolute import fingerprint as population_fingerprint
from transfer.expression.estimate import Estimate, PeopleActivations, is_below_noise
from transfer.expression.model import (
    MAX_ACTIVATION,
    ExpressionModel,
    expressions_recipe,
    smoothing_of,
)
from transfer.expression.movement import as_strong
from transfer.expression.paint import displaced, with_expression
from transfer.grey import as_grey_as
from transfer.methods.base import Decoded, Models, Photograph, Reference, Rows
from transfer.photos.paste import paste_warp

# Of the strongest AU; weaker expressions count as this one in `max_alphas_of`.
MIN_ACTIVATION = 1e-6


@dataclasses.dataclass(frozen=True)
class PreparedPictures:
    """The inputs of a batch of edits.

    Attributes:
        pictures: the targets' most neutral pictures, uint8 (B, H, W, 3).
        landmarks: of `pictures`, float32 (B, 68, 2), in sides of the picture.
        activations: activations of the expressions, float32 (B, A).
        own: activations of the targets to remove, float32 (B, A); 0 without `neutralise`.
        notes: note of each row, for results.csv.
    """

    pictures: Images
    landmarks: np.ndarray
    activations: np.ndarray
    own: np.ndarray
    notes: list[str]


class Warp:
    """See the module."""

    name: ClassVar[str] = "warp"
    default_alphas: ClassVar[tuple[float, ...]] = (1.0,)
    reference_name: ClassVar[str] = "neutral"
    shows_source: ClassVar[bool] = False  # whether pixels of the source's pictures are used

    def __init__(self, models: Models, faces: Any):
        """See `Method`."""
        self._model, self._codec, self._faces = _model_of(models), models.codec, faces
        self._people = PeopleActivations(self._model, faces)
        self._neutralise = models.neutralise

    @classmethod
    def check(cls, models: Models) -> None:
        """Check that there is an expression model, and a population if targets are neutralised.

        Raises:
            InputError: there is none.
        """
        model = _model_of(models)
        if models.neutralise:
            _population_of(models, model)

    @classmethod
    def recipe(cls, models: Models) -> dict[str, str]:
        """The expression model determines the outputs, and with `neutralise` its population."""
        model = _model_of(models)
        recipe = expressions_recipe(model)
        if models.neutralise:
            recipe["neutralise"] = _absolute_recipe(models)
        return recipe

    @classmethod
    def recipe_without_source(cls, models: Models) -> dict[str, str]:
        """The population determines the outputs too.

        Raises:
            InputError: the expression model has none.
        """
        return cls.recipe(models) | {"population": _absolute_recipe(models)}

    def prepare(self, rows: Rows) -> PreparedPictures:
        """See `Method`."""
        edited = [self._people.most_neutral(t) for t in rows.targets]
        pairs = zip(rows.expressions, rows.sources, strict=True)
        found = [self._expression(*pair) for pair in pairs]
        activations = np.stack([self._multiplied(one) for one in found])
        own = np.stack([self._own(i) for i in edited])
        notes = [self._note(one) for one in found]
        pixels, landmarks = self._faces.pixels(edited), self._people.landmarks(edited)
        return PreparedPictures(pixels, landmarks, activations, own, notes)

    def of_activations(
        self, target: int, activations: np.ndarray, shown: Images
    ) -> PreparedPictures:
        """The inputs of `edit` for activations that are known, as those of a clip's frames.

        Args:
            target: number of the picture that is edited.
            activations: float32 (B, A).
            shown: the source's pictures with the expressions, uint8 (B, H, W, 3).
        """
        n = len(activations)
        one = self._faces.pixels([target]), self._people.landmarks([target])
        pictures, landmarks, own = (
            np.repeat(part, n, axis=0) for part in (*one, self._own(target)[None])
        )
        return PreparedPictures(pictures, landmarks, activations, own, [""] * n)

    def _expression(self, expression: int, source: int) -> Estimate:
        """The activations of an expression as they are read."""
        return self._people.expression(expression, source)

    def _multiplied(self, found: Estimate) -> np.ndarray:
        """(A,) activations that alpha multiplies."""
        return found.activations if found.absolute else as_strong(self._model, found.activations)

    def _own(self, picture: int) -> np.ndarray:
        """(A,) activations to remove from a target's picture."""
        if self._neutralise:
            return self._people.own(picture)
        return np.zeros(len(self._model.aus), np.float32)

    def _note(self, found: Estimate) -> str:
        nothing = is_below_noise(self._model, *found)
        return "; ".join([ABSOLUTE] * found.absolute + [NOTHING] * nothing)

    def edit(self, prepared: PreparedPictures, alphas: np.ndarray) -> Decoded:
        """See `Method`."""
        values = with_expression(
            self._model,
            prepared.pictures,
            prepared.activations * alphas[:, None] - prepared.own,
            self._codec.devices,
            prepared.landmarks,
        )
        values = as_grey_as(prepared.pictures, values)
        return Decoded(values, np.ones(len(values)), np.zeros(len(values), int))

    def notes(self, prepared: PreparedPictures) -> list[str]:
        """See `Method`."""
        return prepared.notes

    def unedited(self, prepared: PreparedPictures) -> Images:
        """The targets' most neutral pictures, neutralised if `neutralise` is set."""
        if self._neutralise:
            return self.edit(prepared, np.zeros(len(prepared.own), np.float32)).images
        return prepared.pictures

    def max_alphas(self, prepared: PreparedPictures) -> np.ndarray:
        """See `max_alphas_of`."""
        return max_alphas_of(prepared.activations)

    def reference(self, person: int) -> Reference:
        """A person's most neutral picture."""
        used = [self._people.most_neutral(person)]
        return Reference(self._faces.latents(used)[0], used)

    def photograph(self, person: int) -> int:
        """The target's most neutral photograph."""
        return self._people.most_neutral(person)

    def paste(
        self, expression: int, source: int, photograph: Photograph, alpha: float, result: Images
    ) -> np.ndarray:
        """The photograph itself is warped, and the residual added; `result` is not used."""
        activations = alpha * self._multiplied(self._expression(expression, source))
        details = partial(self._faces.photograph, expression)
        return self.pasted(photograph, activations, self._faces.pixels([expression]), details)

    def pasted(
        self,
        photograph: Photograph,
        activations: np.ndarray,
        shown: Images,
        details: Callable[[], Photograph],
    ) -> np.ndarray:
        """A photograph, uint8 (H, W, 3), with an expression whose activations are known.

        Args:
            photograph: of the target.
            activations: (A,), already multiplied by alpha.
            shown: the source's picture with the expression, uint8 (1, S, S, 3); not used here.
            details: returns the source's photograph; not called here.
        """
        picture = self._as_read(photograph, self._faces.pixels([photograph.picture]))
        change = displaced(
            self._model, picture, (activations - self._own(photograph.picture))[None]
        )
        smoothing = float(smoothing_of(self._model))
        return paste_warp(photograph.pixels, photograph.face.transform, *change, smoothing)

    def _as_read(self, photograph: Photograph, aligned: Images) -> UInt8[np.ndarray, "1 s s C"]:
        """The face as the model reads it: of READ_PX pixels, if the model was adapted."""
        details = photograph.face.details
        return aligned if details is None or self._model.smoothing is None else details[None]


def max_alphas_of(activations: np.ndarray) -> np.ndarray:
    """(B,) largest alphas with which no activation (B, A) exceeds MAX_ACTIVATION."""
    return MAX_ACTIVATION / np.maximum(np.abs(activations).max(1), MIN_ACTIVATION)


def _model_of(models: Models) -> ExpressionModel:
    if models.expression_model is None:
        raise InputError(
            f"model {models.codec.name!r} has no expressions.npz: fit one with "
            "`glow-jax fit-expressions`, or use `method` paper"
        )
    return models.expression_model


def _absolute_recipe(models: Models) -> str:
    """What determines absolute activations, beside the expression model."""
    model = _model_of(models)
    found = population_fingerprint(_population_of(models, model))
    return found if model.smoothing is None else f"{found}, {seen_lids.UNITS}"


def _population_of(models: Models, model: ExpressionModel) -> Population:
    if model.population is None:
        raise InputError(
            f"the expressions.npz of model {models.codec.name!r} is of version 0.1, and cannot "
            "estimate an expression without a neutral picture: give `source`, with other pictures "
            "of that person, and leave out `neutralise`; or fit one with "
            "`glow-jax fit-expressions`"
        )
    return model.population
