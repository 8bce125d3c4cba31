"""The protocol of a transfer method, `Method`, and the types that methods receive and return.

A method is a class. Before a job starts, the class methods `check` whether the models suffice and
name in a `recipe` the parts of the models that determine the outputs. Each job has one instance,
which prepares the rows of a batch and edits them at any alphas.

To add a method, write such a class in one file and add one line to `transfer.methods`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from transfer.codec import Codec, FloatImages, Images, Latents, Quantised, n_clipped, to_bytes
from transfer.directions import Direction
from transfer.expression.edits import Edit
from transfer.expression.estimate import Faces
from transfer.expression.model import ExpressionModel
from transfer.photos.align import Aligned

Rule = Literal["linear", "spherical"]


@dataclasses.dataclass(frozen=True)
class Interpolation:
    """From one picture to another through the latent space.

    Attributes:
        rule: of `transfer.arithmetic.interpolate`.
    """

    rule: Rule = "linear"


@dataclasses.dataclass(frozen=True)
class Models:
    """The models of a job.

    Attributes:
        codec: the flow as functions.
        expression_model: the expression model; None if there is none for this flow.
        neutralise: whether the target's own expression is removed from the edited picture.
        edit: what is done to each picture, by a method that transfers nothing; None for transfers.
    """

    codec: Codec
    expression_model: ExpressionModel | None = None
    neutralise: bool = False
    edit: "Edit | Direction | Interpolation | None" = None


@dataclasses.dataclass(frozen=True)
class Rows:
    """B outputs that are computed together.

    Attributes:
        expressions: numbers of the expressions' pictures in the job's plan.
        sources, targets: numbers of the people in the job's plan.
    """

    expressions: Sequence[int]
    sources: Sequence[int]
    targets: Sequence[int]


@runtime_checkable
class Pictures(Faces, Protocol):
    """The pictures of a job, by number, and their latents."""

    def latents(self, pictures: Sequence[int]) -> np.ndarray:
        """(N, D) latents of usable pictures, each as one vector."""
        ...

    def mean(self, person: int) -> np.ndarray:
        """(D,) mean of the latents of a person's usable pictures."""
        ...

    def tree(self, vectors: np.ndarray) -> Latents:
        """Latents (B, ...) of vectors (B, D)."""
        ...


@runtime_checkable
class Photographs(Faces, Protocol):
    """The faces of a job's photographs, by number, and the photographs themselves."""

    def photograph(self, picture: int) -> "Photograph":
        """A photograph and the face in it that is used."""
        ...


class Decoded(NamedTuple):
    """Edited pictures, and the share of each edit that was applied.

    Attributes:
        values: (B, H, W, C) grey levels, on a device where `quantised` has their bytes. They are
            finite, but where an expression model computes NaN; see `finite`.
        kept: (B,) share of the edit that was applied: 1, or 1/2, 1/4, ... where a larger share did
            not decode to finite values, or 0 where only the unedited picture did.
        lost: (B,) number of pixels that are not finite even then; they are set to mid-grey.
        quantised: bytes and counts that a device has computed; None where `values` are on the host.
    """

    values: FloatImages | jax.Array
    kept: np.ndarray
    lost: np.ndarray
    quantised: Quantised | None = None

    @property
    def images(self) -> Images:
        """uint8 (B, H, W, C)."""
        return (
            to_bytes(np.asarray(self.values)) if self.quantised is None else self.quantised.images
        )

    @property
    def finite(self) -> np.ndarray:
        """(B,) bool: outputs that are pictures; the bytes of others are grey where they are NaN."""
        if self.quantised is not None:  # which is made of finite values only
            return np.ones(len(self.kept), bool)
        return np.isfinite(np.asarray(self.values)).all((1, 2, 3))

    @property
    def clipped(self) -> np.ndarray:
        """(B,) share of an output's values that are outside the range of bytes."""
        values = self.values
        found = n_clipped(values) if self.quantised is None else self.quantised.n_clipped
        return np.asarray(found) / np.prod(values.shape[1:])


class Reference(NamedTuple):
    """The reference of a person: expressions are measured relative to it, or added to it.

    Attributes:
        latents: (D,) latents of the reference.
        pictures: numbers of the pictures that it was made of, in the job's plan.
    """

    latents: np.ndarray
    pictures: list[int]


@runtime_checkable
class Method(Protocol):
    """One way to transfer an expression from a source to a target.

    Attributes:
        name: name of the method on the command line, in tables and in metadata.
        default_alphas: alphas of a request that has none.
        reference_name: kind of the picture `reference`, for headings: "mean" or "neutral".
    """

    name: ClassVar[str]
    default_alphas: ClassVar[tuple[float, ...]]
    reference_name: ClassVar[str]

    def __init__(self, models: Models, faces: Any):
        """Prepare for one job.

        `faces` is `Pictures`, or `Photographs` if only `photograph` and `paste` will be called.
        """
        ...

    @classmethod
    def check(cls, models: Models) -> None:
        """Check that the method works with the models.

        Raises:
            InputError: it does not; the message names what the models lack.
        """
        ...

    @classmethod
    def recipe(cls, models: Models) -> dict[str, str]:
        """What determines an output besides pictures, alpha, flow and precision, by name."""
        ...

    @classmethod
    def recipe_without_source(cls, models: Models) -> dict[str, str]:
        """`recipe` of an output whose source has no picture but the expression's.

        Raises:
            InputError: the method needs other pictures of the source, or the models lack
                statistics that replace them.
        """
        ...

    def prepare(self, rows: Rows) -> Any:
        """The inputs of `edit` for rows; called in the main thread, in the order of the job."""
        ...

    def edit(self, prepared: Any, alphas: np.ndarray) -> Decoded:
        """The outputs at `alphas`, float32 (B,); at alpha 0 the unedited picture."""
        ...

    def notes(self, prepared: Any) -> list[str]:
        """The note of each row in results.csv: from `glow_jax.io.output_schema`, or ""."""
        ...

    def unedited(self, prepared: Any) -> Images:
        """The pictures that are edited, uint8 (B, H, W, C)."""
        ...

    def max_alphas(self, prepared: Any) -> np.ndarray:
        """(B,) largest alphas that a face allows, for alpha "auto"; infinite if not known."""
        ...

    def reference(self, person: int) -> Reference:
        """The reference of a person: expressions are measured relative to it, or added to it."""
        ...

    def photograph(self, person: int) -> int:
        """Number of the target's picture into which results are pasted."""
        ...

    def paste(
        self, expression: int, source: int, photograph: "Photograph", alpha: float, result: Images
    ) -> np.ndarray:
        """Paste an output into the target's photograph.

        Args:
            expression: number of the expression's picture.
            source: number of the source person.
            photograph: the photograph that the target's face was cut out of.
            alpha: alpha of the output.
            result: the output, uint8 (1, S, S, C).

        Returns:
            uint8 (H, W, 3), as large as the photograph.
        """
        ...


class Photograph(NamedTuple):
    """A photograph of a job.

    Attributes:
        picture: number of the photograph in the job's plan.
        pixels: uint8 (H, W, 3).
        face: the aligned face that was cut out of it.
    """

    picture: int
    pixels: np.ndarray
    face: Aligned
