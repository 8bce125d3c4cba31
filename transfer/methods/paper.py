"""Method "paper": y = f⁻¹( z̄_target + α (z_expression − z̄_source) ), on the flow's eps.

z̄ is the mean of a person's pictures in latent space.

Source: Valenzuela, Segura, Diego, Gómez, CVPR Workshops 2021. The formula itself, and other
formulas on latents, are in `transfer.arithmetic`.
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
from transfer.codec import Images, Latents, to_bytes
from transfer.expression.estimate import PeopleActivations
from transfer.methods.base import Decoded, Models, Photograph, Reference, Rows
from transfer.methods.safe_decode import decode_safely
from transfer.photos.crop import transform_points
from transfer.photos.paste import paste_picture


@dataclasses.dataclass(frozen=True)
class PreparedLatents:
    """Latents (B, ...) of a batch's rows.

    Attributes:
        target: mean faces of the targets, in the host's memory.
        target_on_device: the same, on the devices.
        expression: expressions' pictures, in the host's memory: each edit donates a copy to JAX.
        source: mean faces of the sources, on the devices.
    """

    target: Latents
    target_on_device: Latents
    expression: Latents
    source: Latents


class Paper:
    """See the module."""

    name: ClassVar[str] = "paper"
    default_alphas: ClassVar[tuple[float, ...]] = (0.3, 0.4, 0.5)  # as its authors show
    reference_name: ClassVar[str] = "mean"

    def __init__(self, models: Models, faces: Any):
        """See `Method`."""
        self._codec, self._faces, model = models.codec, faces, models.expression_model
        self._people = None if model is None else PeopleActivations(model, faces)

    @classmethod
    def check(cls, models: Models) -> None:
        """Works with every flow, but cannot neutralise targets.

        Raises:
            InputError: `models.neutralise` is set.
        """
        if models.neutralise:
            raise InputError("method paper cannot `neutralise` a target; use `method` warp or glow")

    @classmethod
    def recipe(cls, models: Models) -> dict[str, str]:
        """Nothing but the flow determines the outputs."""
        return {}

    @classmethod
    def recipe_without_source(cls, models: Models) -> dict[str, str]:
        """Always fails: the formula needs the mean of other pictures of the source.

        Raises:
            InputError: always.
        """
        raise InputError(
            "method paper subtracts the mean face of the source: give `source`, a folder with "
            "other pictures of that person than the expression's, or use `method` warp or glow"
        )

    def prepare(self, rows: Rows) -> PreparedLatents:
        """See `Method`."""
        people = dict.fromkeys([*rows.sources, *rows.targets])
        means = {person: self._faces.mean(person) for person in people}
        tree, place = self._faces.tree, self._codec.place
        target = tree(np.stack([means[person] for person in rows.targets]))
        expression = tree(self._faces.latents(rows.expressions))
        source = tree(np.stack([means[person] for person in rows.sources]))
        return PreparedLatents(target, place(target), expression, place(source))

    def edit(self, prepared: PreparedLatents, alphas: np.ndarray) -> Decoded:
        """See `Method`."""
        place = self._codec.place
        edited = transfer_batch(
            prepared.target_on_device,
            place(prepared.expression),
            prepared.source,
            place(alphas),
        )
        return decode_safely(self._codec.decode, prepared.target, edited, self._codec.decode_there)

    def notes(self, prepared: PreparedLatents) -> list[str]:
        """See `Method`: NOTHING for an expression that equals the mean of its source."""
        pairs = zip(*map(jax.tree.leaves, (prepared.expression, prepared.source)), strict=True)
        same = [(e == np.asarray(s)).reshape(len(e), -1).all(1) for e, s in pairs]
        return [NOTHING if equal else "" for equal in np.all(same, axis=0)]

    def unedited(self, prepared: PreparedLatents) -> Images:
        """The mean faces of the targets, decoded."""
        return to_bytes(np.asarray(self._codec.decode(prepared.target)))

    def max_alphas(self, prepared: PreparedLatents) -> np.ndarray:
        """No alpha is known to be too large."""
        return np.full(len(jax.tree.leaves(prepared.target)[0]), np.inf)

    def reference(self, person: int) -> Reference:
        """A person's mean face."""
        return Reference(self._faces.mean(person), self._faces.usable(person))

    def photograph(self, person: int) -> int:
        """The target's most neutral photograph, which the expression model finds.

        Raises:
            InputError: there is no expression model.
        """
        if self._people is None:
            raise InputError(
                "the model has no expressions.npz, which is needed to find the most neutral "
                "photograph"
            )
        return self._people.most_neutral(person)

    def paste(
        self, expression: int, source: int, photograph: Photograph, alpha: float, result: Images
    ) -> np.ndarray:
        """The output is enlarged, and its colours are matched to those around the face."""
        face = photograph.face
        landmarks = transform_points(face.landmarks, face.transform)
        return paste_picture(photograph.pixels, face.transform, landmarks, result[0])


@partial(kept, donate_argnums=1)
def transfer_batch(
    z_tgt_mean: Latents, z_src: Latents, z_src_mean: Latents, alphas: Any
) -> Latents:
    """`arithmetic.transfer` of each row of a batch, at its own alpha; `z_src` is donated."""
    return jax.vmap(arithmetic.transfer)(z_tgt_mean, z_src, z_src_mean, alphas)
