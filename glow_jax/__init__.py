"""Glow in Flax: exact, fast, and with anybody's weights. See README.md."""

from glow_jax.checkpoints import load, save
from glow_jax.config import GlowConfig
from glow_jax.io.errors import InputError
from glow_jax.latents import load_latents, save_latents
from glow_jax.model import Glow, flatten, unflatten
from glow_jax.training.presets import PRESETS, Preset

__all__ = [
    "PRESETS",
    "Glow",
    "GlowConfig",
    "InputError",
    "Preset",
    "flatten",
    "load",
    "load_latents",
    "save",
    "save_latents",
    "unflatten",
]
