"""Methods "direction" and "interpolate": arithmetic on the latents of single pictures.

    direction:    output = decode(eps + alpha d)
    interpolate:  output = decode((1 - alpha) eps + alpha eps'), or the spherical rule

eps are the flow's standardised latents of a picture, eps' those of another one, and d the
difference of two mean latents (`transfer.directions`). At alpha 0 the output is the picture itself,
byte by byte, and an interpolation at alpha 1 the other picture.

Source: Kingma & Dhariwal 2018 ("Glow"), sections 5 and 6, and its demonstration (openai/glow).
"""

import dataclasses
from functools import partial
from typing import Any, ClassVar

import jax
import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.output_schema import NOTHING
from glow_jax.kept_programs import kept
from transfer import arithmetic
from transfer.codec import FloatImages, Images, Latents
from transfer.directions import Direction, check_fits
from transfer.methods.base import (
    Decoded,
    Interpolation,
    Models,
    Photograph,
    Reference,
    Rows,
    Rule,
)
from transfer.methods.safe_decode import decode_safely
from transfer.photos.crop import transform_points
from transfer.photos.paste import paste_picture


@dataclasses.dataclass(frozen=True)
class PreparedLatents:
    """The inputs of a batch of edits.

    Attributes:
        pictures: the targets' pictures, uint8 (B, H, W, C).
        latents: of these pictures, (B, ...).
        others: the pictures of the rows' expressions, uint8 (B, H, W, C).
        other_latents: of the others, (B, ...).
    """

    pictures: Images
    latents: Latents
    others: Images
    other_latents: Latents


class LatentEdit:
    """What both methods share. Each target has one picture, which is edited."""

    default_alphas: ClassVar[tuple[float, ...]] = (1.0,)
    reference_name: ClassVar[str] = "picture"

    def __init__(self, models: Models, faces: Any):
        """See `Method`."""
        self._codec, self._faces, self._edit = models.codec, faces, models.edit

    def prepare(self, rows: Rows) -> PreparedLatents:
        """See `Method`."""
        pictures = [self.photograph(target) for target in rows.targets]
        pixels, latents = self._faces.pixels, self._faces.latents
        return PreparedLatents(
            pixels(pictures),
            self._faces.tree(latents(pictures)),
            pixels(rows.expressions),
            self._faces.tree(latents(rows.expressions)),
        )

    def unedited(self, prepared: PreparedLatents) -> Images:
        """The pictures."""
        return prepared.pictures

    def max_alphas(self, prepared: PreparedLatents) -> np.ndarray:
        """No alpha is known to be too large."""
        return np.full(len(prepared.pictures), np.inf)

    def reference(self, person: int) -> Reference:
        """The picture."""
        used = [self.photograph(person)]
        return Reference(self._faces.latents(used)[0], used)

    def photograph(self, person: int) -> int:
        """The target's picture."""
        return self._faces.usable(person)[0]

    def paste(
        self, expression: int, source: int, photograph: Photograph, alpha: float, result: Images
    ) -> np.ndarray:
        """The output is enlarged, and its colours are matched to those around the face."""
        face = photograph.face
        landmarks = transform_points(face.landmarks, face.transform)
        return paste_picture(photograph.pixels, face.transform, landmarks, result[0])


class DirectionEdit(LatentEdit):
    """Method "direction"; see the module."""

    name: ClassVar[str] = "direction"

    @classmethod
    def check(cls, models: Models) -> None:
        """Check that the direction is one of this flow.

        Raises:
            InputError: it is not, or the models have no direction.
        """
        check_fits(_direction_of(models), models.codec.name, models.codec.fingerprint)

    @classmethod
    def recipe(cls, models: Models) -> dict[str, str]:
        """The direction determines the outputs."""
        return {"edit": f"direction {_direction_of(models).sha256}"}

    @classmethod
    def recipe_without_source(cls, models: Models) -> dict[str, str]:
        """The same: there is no source."""
        return cls.recipe(models)

    def edit(self, prepared: PreparedLatents, alphas: np.ndarray) -> Decoded:
        """See `Method`."""
        assert isinstance(self._edit, Direction)
        latents, place = prepared.latents, self._codec.place
        direction = jax.tree.unflatten(jax.tree.structure(latents), self._edit.levels)
        edited = _moved(place(latents), direction, place(alphas))
        decoded = decode_safely(self._codec.decode, latents, edited, self._codec.decode_there)
        return _exact_where(alphas == 0, prepared.pictures, decoded)

    def notes(self, prepared: PreparedLatents) -> list[str]:
        """See `Method`: NOTHING for a direction of zeros."""
        assert isinstance(self._edit, Direction)
        return [NOTHING if self._edit.is_zero else ""] * len(prepared.pictures)


class InterpolationEdit(LatentEdit):
    """Method "interpolate"; see the module. In each row, the expression is the other picture."""

    name: ClassVar[str] = "interpolate"

    @classmethod
    def check(cls, models: Models) -> None:
        """Works with every flow.

        Raises:
            InputError: the models have no rule of interpolation.
        """
        _rule_of(models)

    @classmethod
    def recipe(cls, models: Models) -> dict[str, str]:
        """The rule determines the outputs."""
        return {"edit": f"{_rule_of(models)} interpolation"}

    @classmethod
    def recipe_without_source(cls, models: Models) -> dict[str, str]:
        """The same: the other picture stands alone."""
        return cls.recipe(models)

    def edit(self, prepared: PreparedLatents, alphas: np.ndarray) -> Decoded:
        """See `Method`."""
        assert isinstance(self._edit, Interpolation)
        latents, place = prepared.latents, self._codec.place
        edited = _between(
            place(latents), place(prepared.other_latents), place(alphas), self._edit.rule
        )
        decoded = decode_safely(self._codec.decode, latents, edited, self._codec.decode_there)
        decoded = _exact_where(alphas == 0, prepared.pictures, decoded)
        return _exact_where(alphas == 1, prepared.others, decoded)

    def notes(self, prepared: PreparedLatents) -> list[str]:
        """See `Method`: NOTHING between two pictures that are the same."""
        same = (prepared.pictures == prepared.others).all((1, 2, 3))
        return [NOTHING if equal else "" for equal in same]


def _exact_where(exact: np.ndarray, pictures: Images, decoded: Decoded) -> Decoded:
    """Outputs, in which pictures (B, H, W, C) are put where `exact` (B,) is set."""
    if not exact.any():
        return decoded
    bytes_as_values: FloatImages = pictures.astype(np.float32) + np.float32(0.5)
    values = np.where(exact[:, None, None, None], bytes_as_values, decoded.values)
    return Decoded(values, np.where(exact, 1.0, decoded.kept), np.where(exact, 0, decoded.lost))


@kept
def _moved(latents: Latents, direction: Latents, alphas: Any) -> Latents:
    """eps + alpha d of each row."""

    def one(eps: Latents, alpha: Any) -> Latents:
        return jax.tree.map(lambda a, d: a + alpha.astype(a.dtype) * d, eps, direction)

    return jax.vmap(one)(latents, alphas)


@partial(kept, static=(3,))
def _between(first: Latents, second: Latents, alphas: Any, rule: Rule) -> Latents:
    """`arithmetic.interpolate` of each row."""
    return jax.vmap(partial(arithmetic.interpolate, method=rule))(first, second, alphas)


def _direction_of(models: Models) -> Direction:
    if not isinstance(models.edit, Direction):
        raise InputError("method direction needs a direction; use `glow-jax edit --direction`")
    return models.edit


def _rule_of(models: Models) -> Rule:
    if not isinstance(models.edit, Interpolation):
        raise InputError("method interpolate needs a rule; use `glow-jax interpolate`")
    return models.edit.rule
