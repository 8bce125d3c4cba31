"""Optional packages: whether they are installed, asked before any work is done."""

import importlib.util

from glow_jax.io.errors import InputError
from glow_jax.io.messages import install_hint


def installed(module: str) -> bool:
    """Whether a top-level module is there; it is not imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # of an import hook; of a module without a spec
        return False


def need(extra: str, *modules: str) -> None:
    """Check that modules of an extra of this package are installed.

    Raises:
        InputError: one is not; the message names it, and how to install the extra.
    """
    for name in modules:
        if not installed(name):
            raise InputError(f"{name} is not installed: {install_hint(extra)}")
