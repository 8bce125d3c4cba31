"""Method "warp": the source's Action Unit activations, applied to a picture of the target.

    a      = activations(expression) - mean over the source's neutral pictures of activations
    x'     = the target's most neutral picture, warped by alpha * a
    output = x' + A⁻¹( alpha * a * residual )

A⁻¹ maps the frame of the mean shape to the face. The flow is not part of the edit, because edits in
its latent space were measured to be worse (docs/results/truth.md).
"""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from glow_jax.io.errors import InputError
from transfer.codec import Images
from transfer.expression.estimate import PeopleActivations
from transfer.expression.model import MAX_ACTIVATION, ExpressionModel, fingerprint
from transfer.expression.paint import displaced, with_expression
from transfer.methods.base import Decoded, Models, Photograph, Reference, Rows
from transfer.photos.paste import paste_warp

# Of the strongest AU; weaker expressions count as this one in `max_alphas_of`.
MIN_ACTIVATION = 1e-6


@dataclasses.dataclass(frozen=True)
class PreparedPictures:
    """The inputs of a batch of edits.

    Attributes:
        pictures: the targets' most neutral pictures, uint8 (B, H, W, 3).
        activations: activations of the expressions, float32 (B, A).
    """

    pictures: Images
    activations: np.ndarray


class Warp:
    """See the module."""

    name: ClassVar[str] = "warp"
    default_alphas: ClassVar[tuple[float, ...]] = (1.0,)
    reference_name: ClassVar[str] = "neutral"

    def __init__(self, models: Models, faces: Any):
        """See `Method`."""
        self._model, self._codec, self._faces = _model_of(models), models.codec, faces
        self._people = PeopleActivations(self._model, faces)

    @classmethod
    def check(cls, models: Models) -> None:
        """Check that there is an expression model.

        Raises:
            InputError: there is none.
        """
        _model_of(models)

    @classmethod
    def recipe(cls, models: Models) -> dict[str, str]:
        """The expression model determines the outputs."""
        return {"expressions": fingerprint(_model_of(models))}

    def prepare(self, rows: Rows) -> PreparedPictures:
        """See `Method`."""
        pictures = self._faces.pixels([self._people.most_neutral(t) for t in rows.targets])
        pairs = zip(rows.expressions, rows.sources, strict=True)
        return PreparedPictures(pictures, np.stack([self._people.expression(*p) for p in pairs]))

    def edit(self, prepared: PreparedPictures, alphas: np.ndarray) -> Decoded:
        """See `Method`."""
        values = with_expression(
            self._model,
            prepared.pictures,
            prepared.activations * alphas[:, None],
            self._codec.devices,
        )
        return Decoded(values, np.ones(len(values)), np.zeros(len(values), int))

    def unedited(self, prepared: PreparedPictures) -> Images:
        """The targets' most neutral pictures."""
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
        picture = self._faces.pixels([photograph.picture])
        activations = alpha * self._people.expression(expression, source)
        change = displaced(self._model, picture, activations[None])
        return paste_warp(photograph.pixels, photograph.face.transform, *change)


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
