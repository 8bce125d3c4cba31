"""A transfer method of one's own, in pixel space: y = x_target + alpha (x - mean x_source).

It is the simplest method that works, and a poor one: it cross-fades (docs/results/truth.md).

python examples/custom_method.py OUT
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import transfer
import transfer.methods
from glow_jax.io.errors import InputError
from transfer.codec import FloatImages, Images
from transfer.methods import METHODS
from transfer.methods.base import Decoded, Models, Photograph, Pictures, Reference, Rows
from transfer.photos.align import transform_points
from transfer.photos.paste import paste_picture

DEMO = Path(transfer.__file__).parent / "demo"  # people who do not exist


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What the rows of a batch need, grey levels (B, H, W, 3).

    Attributes:
        targets: uint8, the pictures that are edited.
        changes: float32, what an expression's picture has over the mean of its person's pictures.
    """

    targets: Images
    changes: FloatImages


class PixelAddition:
    """See the module; `transfer.methods.base.Method` says what each function is for."""

    name: ClassVar[str] = "pixels"
    default_alphas: ClassVar[tuple[float, ...]] = (0.5, 1.0)
    reference_name: ClassVar[str] = "first"

    def __init__(self, models: Models, faces: Pictures):
        self._faces = faces

    @classmethod
    def check(cls, models: Models) -> None:
        """Every model will do: none is used."""

    @classmethod
    def recipe(cls, models: Models) -> dict[str, str]:
        """Nothing but the pictures and alpha decides an output."""
        return {}

    @classmethod
    def recipe_without_source(cls, models: Models) -> dict[str, str]:
        """The expression's picture alone does not tell what the expression changed."""
        raise InputError("method pixels needs pictures of the source: give `source`")

    def prepare(self, rows: Rows) -> Prepared:
        pixels = self._faces.pixels
        means = [pixels(self._faces.usable(s)).mean(0, dtype=np.float32) for s in rows.sources]
        changes = pixels(rows.expressions) - np.stack(means)
        return Prepared(pixels([self.photograph(t) for t in rows.targets]), changes)

    def edit(self, prepared: Prepared, alphas: np.ndarray) -> Decoded:
        values = prepared.targets + alphas[:, None, None, None] * prepared.changes
        # A byte b is the interval [b, b + 1): its middle, so that alpha 0 gives the target's bytes.
        values = (values + 0.5).astype(np.float32)
        return Decoded(values, np.ones(len(values)), np.zeros(len(values), int))

    def notes(self, prepared: Prepared) -> list[str]:
        return [""] * len(prepared.targets)

    def unedited(self, prepared: Prepared) -> Images:
        return prepared.targets

    def max_alphas(self, prepared: Prepared) -> np.ndarray:
        return np.full(len(prepared.targets), np.inf)

    def reference(self, person: int) -> Reference:
        first = self.photograph(person)
        return Reference(self._faces.latents([first])[0], [first])

    def photograph(self, person: int) -> int:
        return self._faces.usable(person)[0]

    def paste(
        self, expression: int, source: int, photograph: Photograph, alpha: float, result: Images
    ) -> Any:
        face = photograph.face
        landmarks = transform_points(face.landmarks, face.transform)
        return paste_picture(photograph.pixels, face.transform, landmarks, result[0])


# A script adds its class; a file of transfer/methods/ is added by its "MODULE:CLASS".
METHODS[PixelAddition.name] = PixelAddition


def main(out: str) -> None:
    request = transfer.TransferRequest(
        expressions=[DEMO / "expressions" / "smile.png"],
        source=DEMO / "people" / "person-41",
        targets=[DEMO / "people" / "person-16"],
        out=out,
        method="pixels",
    )
    summary = transfer.transfer(request)
    print(f"{summary.made} images by method {summary.method}; sheet: {summary.sheet}")


if __name__ == "__main__":
    main(*sys.argv[1:])
