"""What a transfer method is: the protocol `Method`, and what methods are given.

A method is a class. Before a job starts, the class says whether the models can do it (`check`) and
what of the models decides its outputs (`recipe`). During a job one instance serves the pictures of
that job: it prepares the rows of a batch, and edits them at any alphas.

To add a method: one file with such a class, and one line in `transfer.methods`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np

from transfer.codec import Codec, FloatImages, Images, Latents
from transfer.expression.estimate import Faces
from transfer.expression.model import ExpressionModel
from transfer.photos.align import Aligned


@dataclasses.dataclass(frozen=True)
class Models:
    """What a job computes with.

    Attributes:
        codec: the flow as functions.
        expression_model: activations and what they do to faces, where the model has been fitted.
        neutralise: whether a target's own expression is taken off the picture that is edited.
    """

    codec: Codec
    expression_model: ExpressionModel | None = None
    neutralise: bool = False


@dataclasses.dataclass(frozen=True)
class Rows:
    """B outputs that are computed together.

    Attributes:
        expressions: pictures, by number in the job's plan.
        sources, targets: people, by number in the job's plan.
    """

    expressions: Sequence[int]
    sources: Sequence[int]
    targets: Sequence[int]


@runtime_checkable
class Pictures(Faces, Protocol):
    """The faces of a job's pictures, and their latents."""

    def latents(self, pictures: Sequence[int]) -> np.ndarray:
        """(N, D) latents of usable pictures, each as one vector."""
        ...

    def mean(self, person: int) -> np.ndarray:
        """(D,) the mean of the latents of a person's usable pictures."""
        ...

    def tree(self, vectors: np.ndarray) -> Latents:
        """Latents (B, ...) of vectors (B, D)."""
        ...


class Decoded(NamedTuple):
    """Edited pictures, and how much of each edit they hold.

    Attributes:
        values: (B, H, W, C) finite grey levels.
        kept: (B,) 1 where the whole edit decoded; a half, a quarter, ... where less did; 0 where
            only the unedited picture did.
        lost: (B,) pixels that even then are not finite; they are mid-grey.
    """

    values: FloatImages
    kept: np.ndarray
    lost: np.ndarray


class Reference(NamedTuple):
    """What the edit of a person's rows is measured from, or added to.

    Attributes:
        latents: (D,) one vector.
        pictures: that it was made of, by number in the job's plan.
    """

    latents: np.ndarray
    pictures: list[int]


@runtime_checkable
class Method(Protocol):
    """One way to put the expression of a source on a target.

    Attributes:
        name: on the command line, in tables and in metadata.
        default_alphas: where a request names none.
        reference_name: what `reference` is, for headings: "mean" or "neutral".
    """

    name: ClassVar[str]
    default_alphas: ClassVar[tuple[float, ...]]
    reference_name: ClassVar[str]

    def __init__(self, models: Models, faces: Any):
        """Serve the pictures of one job: `Pictures`, or `Faces` where only `paste` is called."""
        ...

    @classmethod
    def check(cls, models: Models) -> None:
        """Nothing, if the models can do this method.

        Raises:
            InputError: what they lack.
        """
        ...

    @classmethod
    def recipe(cls, models: Models) -> dict[str, str]:
        """What decides an output besides pictures, alpha, flow and precision, by name."""
        ...

    @classmethod
    def recipe_without_source(cls, models: Models) -> dict[str, str]:
        """The same, of an output whose source has no picture but the expression's.

        Raises:
            InputError: the method needs others, or the models lack what it needs instead.
        """
        ...

    def prepare(self, rows: Rows) -> Any:
        """What `edit` needs of rows; called in the main thread, in the order of the job."""
        ...

    def edit(self, prepared: Any, alphas: np.ndarray) -> Decoded:
        """The outputs at alphas, float32 (B,); at 0 the unedited picture."""
        ...

    def notes(self, prepared: Any) -> list[str]:
        """Of each row what results.csv is to say: words of `glow_jax.io.output_schema`, or ""."""
        ...

    def unedited(self, prepared: Any) -> Images:
        """uint8 (B, H, W, C): what the rows edit."""
        ...

    def max_alphas(self, prepared: Any) -> np.ndarray:
        """(B,) alphas beyond which no face goes; infinite where none is known."""
        ...

    def reference(self, person: int) -> Reference:
        """What the expressions of a person are measured from, or added to."""
        ...

    def photograph(self, person: int) -> int:
        """The picture of a target that results are put back into."""
        ...

    def paste(
        self, expression: int, source: int, photograph: "Photograph", alpha: float, result: Images
    ) -> np.ndarray:
        """A target's photograph with an output in it.

        Args:
            expression: picture, by number.
            source: person, by number.
            photograph: from which the target's face was cut out.
            alpha: of the output.
            result: uint8 (1, S, S, C), the output.

        Returns:
            uint8 (H, W, 3), as large as the photograph.
        """
        ...


class Photograph(NamedTuple):
    """A target's photograph.

    Attributes:
        picture: its number in the job's plan.
        pixels: uint8 (H, W, 3).
        face: cut out of it.
    """

    picture: int
    pixels: np.ndarray
    face: Aligned
