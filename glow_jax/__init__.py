"""Glow in Flax: exact, fast, and with anybody's weights. See README.md.

`import glow_jax` loads no JAX: each name is imported from its module when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glow_jax.checkpoints import load, save
    from glow_jax.compile_cache import use_compile_cache
    from glow_jax.config import GlowConfig
    from glow_jax.exported import ExportedGlow, load_exported
    from glow_jax.exporting import export_model
    from glow_jax.io.errors import InputError
    from glow_jax.latents import load_latents, save_latents
    from glow_jax.model import Glow, flatten, unflatten
    from glow_jax.training.presets import PRESETS, Preset

__version__ = "0.2.0"
__all__ = [
    "PRESETS",
    "ExportedGlow",
    "Glow",
    "GlowConfig",
    "InputError",
    "Preset",
    "export_model",
    "flatten",
    "load",
    "load_exported",
    "load_latents",
    "save",
    "save_latents",
    "unflatten",
    "use_compile_cache",
]

_MODULES = {
    "PRESETS": "glow_jax.training.presets",
    "ExportedGlow": "glow_jax.exported",
    "Glow": "glow_jax.model",
    "GlowConfig": "glow_jax.config",
    "InputError": "glow_jax.io.errors",
    "Preset": "glow_jax.training.presets",
    "export_model": "glow_jax.exporting",
    "flatten": "glow_jax.model",
    "load": "glow_jax.checkpoints",
    "load_exported": "glow_jax.exported",
    "load_latents": "glow_jax.latents",
    "save": "glow_jax.checkpoints",
    "save_latents": "glow_jax.latents",
    "unflatten": "glow_jax.model",
    "use_compile_cache": "glow_jax.compile_cache",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
