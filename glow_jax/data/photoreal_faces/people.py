"""A person is a seed and a number, from which a latent and a truncation are drawn."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

N_LATENT = 512
SIZES_PX = (64, 128, 256)  # sides of the data set's pictures
# Drawn uniformly: below it people look alike, above it pictures have artefacts.
TRUNCATION = (0.7, 1.0)
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Person:
    """A person who does not exist.

    Args:
        seed: of the data set, 0 to 2**31 - 1.
        number: which of its people, from 0.
    """

    seed: int
    number: int

    @property
    def name(self) -> str:
        """The person's part of file names."""
        return f"p{self.number:06d}"

    @property
    def split(self) -> Split:
        """The split: of 20 people one is for testing, one for validation, 18 for training."""
        return {0: "test", 1: "validation"}.get(self.number % 20, "train")  # type: ignore[return-value]

    def draw(self) -> tuple[Float[np.ndarray, "512"], float]:
        """The person's latent, standard normal, and truncation, from the person's random stream."""
        random = np.random.Generator(np.random.PCG64([self.seed, self.number]))
        latent = random.standard_normal(N_LATENT, dtype=np.float64).astype(np.float32)
        return latent, round(float(random.uniform(*TRUNCATION)), 4)
