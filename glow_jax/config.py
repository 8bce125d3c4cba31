"""The configuration of a Glow: everything that is needed, beside the weights, to rebuild it."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

from glow_jax.io.errors import InputError
from glow_jax.io.messages import brief

Coupling = Literal["additive", "affine"]
Permutation = Literal["dense", "lu", "reverse", "shuffle"]
Conditioning = Literal["first", "second", "odd", "even"]
Scale = Literal["sigmoid", "sigmoid_plus", "inverse_sigmoid", "exp", "exp_tanh"]
Prior = Literal["conditional", "position"]
Precision = Literal["exact", "fast"]

# Upper limit of sides in pixels, channels and hidden units, against malformed files.
MAX_DIMENSION = 4096
MAX_DEPTH = 1024  # upper limit of steps of flow per level


@dataclasses.dataclass(frozen=True)
class GlowConfig:
    """Shape and function class of a Glow, in OpenAI's canonical form.

    The fields from `scale` on are OpenAI's by default. Others are there for checkpoints whose
    function no choice of weights can express in that form; each names the source that needs it. The
    last one, `n_detail_levels`, is our own.

    Attributes:
        image_height, image_width: pixels; each divisible by 2 ** n_levels.
        n_channels: image channels.
        n_levels: L, the number of squeezes (Kingma & Dhariwal 2018, figure 2).
        n_steps: K, steps of flow in every level; or one number per level, finest first
            (CACTuS-AI/GlowIP's last level has a single step).
        hidden_width: channels of the coupling networks' hidden layers.
        coupling: "additive" (z2 + f(z1)) or "affine" ((z2 + t) * sigmoid(s + 2)),
            openai/glow `model.py: revnet2d_step`.
        permutation: the operation that mixes channels: "dense", an invertible 1x1 convolution;
            "lu", the same with an LU parametrisation; "reverse" or "shuffle", a fixed permutation.
        learned_top_prior: whether the top latent's mean and log standard deviation are learned
            (openai/glow `learntop`); otherwise its prior is standard normal.
        n_classes: 0, or the number of labels that shift the top prior (openai/glow `ycond`).
        n_bits: bits per channel at which the weights were trained; used only as the default of
            likelihoods.
        checkpoint_coupling: whether coupling networks are recomputed in the backward pass, which
            needs less memory and more time.
        scale: s of an affine coupling, from the network's output h:
            "sigmoid" sigmoid(h + 2); "sigmoid_plus" sigmoid(h + 2) + c with a fixed c
            (CACTuS-AI/GlowIP); "inverse_sigmoid" 1 / sigmoid(h + 2) (normflows `sigmoid_inv`);
            "exp" exp(h) (normflows `exp`); "exp_tanh" exp(c tanh(h)) with a learned c
            (chrischute/glow).
        scale_first: whether an affine coupling is z2 * s + t (kamenbliznashki/normalizing_flows,
            CACTuS-AI/GlowIP) instead of (z2 + t) * s.
        conditioning: the half of the channels that is unchanged and conditions the other half: the
            "first" or the "second" (kamenbliznashki, GlowIP, chrischute, normflows
            `channel_inv`); or the "odd" or "even" squares of a checkerboard over channel, row
            and column (normflows `checkerboard`, `checkerboard_inv`).
        leaky_slope: slope of the coupling networks' LeakyReLU; 0 is ReLU (normflows `leaky`).
        input_norm: whether the coupling networks begin with an affine map of each channel and a
            ReLU (chrischute/glow's batch normalisation before the first convolution).
        prior: "conditional": each latent's mean and log standard deviation are functions of z1, the
            next level's input. "position": they are constants, one per position and channel, and
            per class if there are classes (normflows' base distributions).
        logit_alpha: a > 0 applies y = logit(a + (1 - 2 a)(x + 0.5)) before the flow
            (chrischute/glow with a = 0.05, normflows `Logit`); 0 is no transform.
        n_detail_levels: how many of the levels, finest first, pass only `n_channels` channels on to
            the next level, a picture of half the sides, and split off the rest, its details (Yu et
            al. 2020, "Wavelet Flow"); the other levels split off half of their channels, as
            Glow's do.

    Raises:
        InputError: a field is out of range; the message names the field and the accepted values.
    """

    image_height: int
    image_width: int
    n_levels: int
    n_steps: int | tuple[int, ...]
    hidden_width: int
    n_channels: int = 3
    coupling: Coupling = "additive"
    permutation: Permutation = "dense"
    learned_top_prior: bool = True
    n_classes: int = 0
    n_bits: int = 8
    checkpoint_coupling: bool = False
    scale: Scale = "sigmoid"
    scale_first: bool = False
    conditioning: Conditioning = "first"
    leaky_slope: float = 0.0
    input_norm: bool = False
    prior: Prior = "conditional"
    logit_alpha: float = 0.0
    n_detail_levels: int = 0

    def __post_init__(self) -> None:
        _check_int(self, "n_levels", 1, 12)
        self._check_steps()
        _check_int(self, "n_bits", 1, 8)
        _check_int(self, "n_classes", 0, 1_000_000)
        _check_int(self, "n_detail_levels", 0, self.n_levels - 1)
        for name in ("image_height", "image_width", "hidden_width", "n_channels"):
            _check_int(self, name, 1, MAX_DIMENSION)
        for name in ("image_height", "image_width"):
            if getattr(self, name) % 2**self.n_levels:
                raise InputError(
                    f"config: {name} is {getattr(self, name)}, which is not divisible by "
                    f"2 ** n_levels = {2**self.n_levels}"
                )
        for name, choices in _CHOICES.items():
            _check_choice(self, name, get_args(choices))
        for name in ("learned_top_prior", "checkpoint_coupling", "scale_first", "input_norm"):
            if not isinstance(getattr(self, name), bool):
                value = brief(getattr(self, name))
                raise InputError(f"config: {name} is {value}; use true or false")
        _check_float(self, "leaky_slope", 0.0, 1.0)
        _check_float(self, "logit_alpha", 0.0, 0.49)
        if self.conditioning in ("odd", "even") and self.image_width % 2 ** (self.n_levels + 1):
            raise InputError(
                f"config: image_width is {self.image_width}; a checkerboard needs one divisible "
                f"by 2 ** (n_levels + 1) = {2 ** (self.n_levels + 1)}"
            )

    def _check_steps(self) -> None:
        """Check n_steps; K becomes one number if it is the same in all levels."""
        if not isinstance(self.n_steps, tuple):
            _check_int(self, "n_steps", 1, MAX_DEPTH)
            return
        steps = self.n_steps
        whole = all(isinstance(k, int) and not isinstance(k, bool) for k in steps)
        if len(steps) != self.n_levels or not whole or not all(0 < k <= MAX_DEPTH for k in steps):
            raise InputError(
                f"config: n_steps is {brief(list(steps))}; use a whole number from 1 to "
                f"{MAX_DEPTH}, or {self.n_levels} of them, one a level"
            )
        object.__setattr__(self, "n_steps", steps[0] if len(set(steps)) == 1 else steps)

    @property
    def steps(self) -> tuple[int, ...]:
        """K of each level, finest first."""
        return self.n_steps if isinstance(self.n_steps, tuple) else (self.n_steps,) * self.n_levels

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
        channels = self.n_channels * 2 ** (max(0, level - self.n_detail_levels) + 2)
        return self.image_height // scale, self.image_width // scale, channels

    def n_passed(self, level: int) -> int:
        """Channels that level `level` passes on to the next; 0 of the last level."""
        if level == self.n_levels - 1:
            return 0
        is_detail = level < self.n_detail_levels
        return self.n_channels if is_detail else self.level_shape(level)[2] // 2

    @property
    def latent_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(H, W, C) of each level's latent, finest first: what the level does not pass on."""
        shapes = [self.level_shape(level) for level in range(self.n_levels)]
        return tuple((h, w, c - self.n_passed(i)) for i, (h, w, c) in enumerate(shapes))

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
        if isinstance(steps := fields.get("n_steps"), list):
            fields = {**fields, "n_steps": tuple(steps)}
        try:
            return cls(**fields)
        except TypeError as error:
            raise InputError(f"config: {error}") from None


_CHOICES: dict[str, Any] = {
    "coupling": Coupling,
    "permutation": Permutation,
    "scale": Scale,
    "conditioning": Conditioning,
    "prior": Prior,
}


def _check_float(config: GlowConfig, name: str, low: float, high: float) -> None:
    value = getattr(config, name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(f"config: {name} is {brief(value)}; use a number from {low:g} to {high:g}")


def _check_int(config: GlowConfig, name: str, low: int, high: int) -> None:
    value = getattr(config, name)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(
            f"config: {name} is {brief(value)}; use a whole number from {low} to {high}"
        )


def _check_choice(config: GlowConfig, name: str, accepted: tuple[str, ...]) -> None:
    value = getattr(config, name)
    if value not in accepted:
        raise InputError(f"config: {name} is {brief(value)}; use one of {', '.join(accepted)}")
