"""Optional packages: checks that they are installed, made before any work is done."""

import importlib.util

from glow_jax.io.errors import InputError
from glow_jax.io.messages import install_hint


def installed(module: str) -> bool:
    """Whether a top-level module is installed; the module is not imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # from an import hook; from a module without a spec
        return False


def need(extra: str, *modules: str) -> None:
    """Check that modules of an extra of this package are installed.

    Raises:
        InputError: a module is not installed; the message names it and the way to install it.
    """
    for name in modules:
        if not installed(name):
            raise InputError(f"{name} is not installed: {install_hint(extra)}")
