"""Check converted weights without the original code: round trip, likelihood, conditioning."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from glow_jax.checkpoints import Weights, from_weights
from glow_jax.config import GlowConfig
from glow_jax.flops import flops_per_image
from glow_jax.graph_model import GraphConfig, GraphGlow
from glow_jax.io.errors import InputError
from glow_jax.io.messages import counted

BAD_CONDITION = 1e4  # condition number from which the inverse loses grey levels in float32
SINGULAR = 1e14
# Limits of the cost of a check; a 256-pixel Glow of 192 steps needs 5e11 FLOP per image.
MAX_FLOPS = 3e12
MAX_ACTIVATION = 2**28  # elements: pixels of the first level times the network's width
# Sum of the cubes of the channels of 1x1 convolutions, whose condition numbers are computed.
MAX_CUBES = 1e11


@dataclasses.dataclass(frozen=True)
class SelfCheck:
    """Results of the check of one conversion, for a smooth test picture with a little noise.

    Attributes:
        round_trip_max, round_trip_mean: error after encode and decode in float32, grey levels.
        non_finite: number of pixels of the round trip that are not finite.
        bits_per_dim: bits/dim of the test picture, which are finite in a valid model.
        worst_condition: largest condition number of a 1x1 convolution, and where it is; these
            and bits_per_dim are None for a graph model.
    """

    round_trip_max: float
    round_trip_mean: float
    non_finite: int
    bits_per_dim: float | None
    worst_condition: float | None
    worst_place: str | None

    def warnings(self) -> list[str]:
        """Warnings for the user of the model."""
        found = []
        if self.worst_condition is not None and self.worst_condition > BAD_CONDITION:
            found.append(
                f"the 1x1 convolution of {self.worst_place} has condition number "
                f"{self.worst_condition:.3g} (above {BAD_CONDITION:g}): expect errors in decoding"
            )
        if self.non_finite:
            are = "is" if self.non_finite == 1 else "are"
            found.append(f"{counted(self.non_finite, 'pixel')} of the round trip {are} not finite")
        elif self.round_trip_max > 0.5:
            found.append(f"the round trip is off by {self.round_trip_max:.3g} grey levels")
        if self.bits_per_dim is not None and not np.isfinite(self.bits_per_dim):
            found.append("the log-likelihood of the test picture is not finite")
        return found

    def lines(self) -> list[str]:
        """The results as lines to print."""
        found = [
            f"round trip    at most {self.round_trip_max:.3g}, on average "
            f"{self.round_trip_mean:.3g} grey levels off",
        ]
        if self.bits_per_dim is None:
            return [*found, "likelihood    unknown: the graph has no output for it"]
        return [
            *found,
            f"likelihood    {self.bits_per_dim:.4f} bits/dim of the test picture",
            f"conditioning  1x1 convolutions up to {self.worst_condition:.3g} ({self.worst_place})",
        ]


def self_check(config: GlowConfig, weights: Weights) -> SelfCheck:
    """Check converted weights.

    Raises:
        InputError: a 1x1 convolution is singular, so that the flow has no inverse; or one image
            needs more computation than in any known Glow.
    """
    _affordable(config)
    worst, place = _conditioning(weights, config)
    model = from_weights(config, weights, jnp.float32).fold()
    image = test_picture(config)
    label = jnp.zeros(1, jnp.int32) if config.n_classes else None
    bits = float(np.asarray(model.bits_per_dim(jnp.asarray(image), label))[0])
    return _checked(model, image, label, bits, worst, place)


def _affordable(config: GlowConfig) -> None:
    """Raise InputError if the check of a model would exceed the limits of time and memory."""
    size, width = f"{config.image_height}x{config.image_width}", config.hidden_width
    pixels = config.image_height * config.image_width // 4
    flops = flops_per_image(config)
    if flops > MAX_FLOPS or pixels * width > MAX_ACTIVATION:
        raise InputError(
            f"one image of {size} takes {flops:.3g} FLOP at a width of {width}: more than the "
            "check can run"
        )
    levels = range(config.n_levels)
    if sum(config.steps[i] * config.level_shape(i)[2] ** 3 for i in levels) > MAX_CUBES:
        raise InputError("1x1 convolutions of more channels than any known Glow has")


def check_graph(model: GraphGlow) -> SelfCheck:
    """Check a graph model, for which only the round trip can be computed."""
    return _checked(model, test_picture(model.config), None, None, None, None)


def _checked(
    model: Any,
    image: np.ndarray,
    label: Any,
    bits: float | None,
    worst: float | None,
    place: str | None,
) -> SelfCheck:
    eps = model.encode(jnp.asarray(image), label)
    back = (np.asarray(model.decode_x(eps, label), np.float64) + 0.5) * 256 - 0.5
    error = np.abs(back - image)
    finite = np.isfinite(error)
    return SelfCheck(
        round_trip_max=float(error[finite].max(initial=0.0)),
        round_trip_mean=float(error[finite].mean()) if finite.any() else 0.0,
        non_finite=int((~finite).sum()),
        bits_per_dim=bits,
        worst_condition=worst,
        worst_place=place,
    )


def test_picture(config: GlowConfig | GraphConfig) -> np.ndarray:
    """A soft bright disc on a gradient with a little noise: (1, H, W, C) bytes."""
    height, width, channels = config.image_shape
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    disc = 1 / (1 + np.exp(8 * (np.hypot(x, 1.2 * y) - 0.7)))
    tint = np.linspace(1.0, 0.8, channels)
    smooth = 60 + 30 * y[..., None] + 110 * disc[..., None] * tint
    noise = np.random.default_rng(0).normal(0, 4, config.image_shape)
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)[None]


def _conditioning(weights: Weights, config: GlowConfig) -> tuple[float, str]:
    worst, place = 1.0, "none"
    for i in range(config.n_levels):
        mix = weights["levels"][str(i)]["steps"]["mix"]
        for k in range(config.steps[i]):
            condition = _condition({name: np.asarray(a[k]) for name, a in mix.items()})
            where = f"level {i}, step {k}"
            if not condition < SINGULAR:
                raise InputError(
                    f"the 1x1 convolution of {where} is singular (condition number "
                    f"{condition:.3g}): the flow has no inverse"
                )
            if condition > worst or place == "none":
                worst, place = condition, where
    return worst, place


def _condition(mix: dict[str, Any]) -> float:
    if "kernel" in mix:
        matrix = mix["kernel"].astype(np.float64)
    elif "lower" in mix:
        lower = np.tril(mix["lower"].astype(np.float64), -1) + np.eye(len(mix["lower"]))
        diagonal = np.diag(mix["sign_s"] * np.exp(mix["log_s"].astype(np.float64)))
        matrix = lower @ (np.triu(mix["upper"].astype(np.float64), 1) + diagonal)
    else:
        return 1.0
    return float(np.linalg.cond(matrix)) if np.isfinite(matrix).all() else float("inf")
