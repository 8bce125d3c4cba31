"""The one description of a Glow: everything needed to rebuild it from its weights."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

from glow_jax.errors import InputError

Coupling = Literal["additive", "affine"]
Permutation = Literal["dense", "lu", "reverse", "shuffle"]
Precision = Literal["exact", "fast"]

MAX_DIMENSION = 4096  # pixels a side, channels, hidden units: guards against absurd files
MAX_DEPTH = 1024  # steps of flow a level


@dataclasses.dataclass(frozen=True)
class GlowConfig:
    """Shape and function class of a Glow, in OpenAI's canonical form.

    Attributes:
        image_height, image_width: pixels; each divisible by 2 ** n_levels.
        n_channels: image channels.
        n_levels: L, the number of squeezes (Kingma & Dhariwal 2018, figure 2).
        n_steps: K, steps of flow in every level.
        hidden_width: channels of the coupling networks' hidden layers.
        coupling: "additive" (z2 + f(z1)) or "affine" ((z2 + t) * sigmoid(s + 2)),
            openai/glow `model.py: revnet2d_step`.
        permutation: what mixes channels: a "dense" invertible 1x1 convolution, the same
            "lu"-parametrised, or a fixed "reverse" or "shuffle" of the channels.
        learned_top_prior: the top latent's mean and log standard deviation are learned
            (openai/glow `learntop`), else it is standard normal.
        n_classes: 0, or the number of labels that shift the top prior (openai/glow `ycond`).
        n_bits: bits a channel the weights were trained at; the default for likelihoods only.
        checkpoint_coupling: recompute the coupling networks in the backward pass, which
            trades time for training memory.

    Raises:
        InputError: a field is out of range; the message names it and what is accepted.
    """

    image_height: int
    image_width: int
    n_levels: int
    n_steps: int
    hidden_width: int
    n_channels: int = 3
    coupling: Coupling = "additive"
    permutation: Permutation = "dense"
    learned_top_prior: bool = True
    n_classes: int = 0
    n_bits: int = 8
    checkpoint_coupling: bool = False

    def __post_init__(self) -> None:
        _check_int(self, "n_levels", 1, 12)
        _check_int(self, "n_steps", 1, MAX_DEPTH)
        _check_int(self, "n_bits", 1, 8)
        _check_int(self, "n_classes", 0, 1_000_000)
        for name in ("image_height", "image_width", "hidden_width", "n_channels"):
            _check_int(self, name, 1, MAX_DIMENSION)
        for name in ("image_height", "image_width"):
            if getattr(self, name) % 2**self.n_levels:
                raise InputError(
                    f"config: {name} is {getattr(self, name)}, which is not divisible by "
                    f"2 ** n_levels = {2**self.n_levels}"
                )
        _check_choice(self, "coupling", get_args(Coupling))
        _check_choice(self, "permutation", get_args(Permutation))
        for name in ("learned_top_prior", "checkpoint_coupling"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"config: {name} is {getattr(self, name)!r}; use true or false")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of an image."""
        return self.image_height, self.image_width, self.n_channels

    @property
    def n_dims(self) -> int:
        """Numbers in one image, H * W * C."""
        return self.image_height * self.image_width * self.n_channels

    def level_shape(self, level: int) -> tuple[int, int, int]:
        """(H, W, C) inside level `level`, after its squeeze; 0 is the finest."""
        scale = 2 ** (level + 1)
        channels = self.n_channels * 2 ** (level + 2)
        return self.image_height // scale, self.image_width // scale, channels

    @property
    def latent_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(H, W, C) of each level's latent, finest first; all but the top are half a level."""
        shapes = [self.level_shape(level) for level in range(self.n_levels)]
        return (*((h, w, c // 2) for h, w, c in shapes[:-1]), shapes[-1])

    def to_json(self) -> str:
        """The config as JSON text, one field a line."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_mapping(cls, fields: Mapping[str, Any]) -> "GlowConfig":
        """Rebuild a config from parsed JSON.

        Raises:
            InputError: fields are unknown, missing or out of range.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(fields) - known)
        if unknown:
            raise InputError(f"config: unknown fields {unknown}; known: {sorted(known)}")
        try:
            return cls(**fields)
        except TypeError as error:
            raise InputError(f"config: {error}") from None


def _check_int(config: GlowConfig, name: str, low: int, high: int) -> None:
    value = getattr(config, name)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(f"config: {name} is {value!r}; use a whole number from {low} to {high}")


def _check_choice(config: GlowConfig, name: str, accepted: tuple[str, ...]) -> None:
    value = getattr(config, name)
    if value not in accepted:
        raise InputError(f"config: {name} is {value!r}; use one of {', '.join(accepted)}")
