"""Run without jaxtyping, which a machine that is lent for minutes may lack.

glow_jax names it in annotations alone; nothing is computed with it.
"""

import importlib.util
import sys
import types
from typing import Any


class _Annotation:
    """Stands for every shape: `Float[Array, "B H W C"]` is `Any`."""

    def __class_getitem__(cls, item: object) -> Any:
        return Any


def _annotation(name: str) -> type[_Annotation]:
    if name.startswith("__"):  # what Python asks of a module
        raise AttributeError(name)
    return _Annotation


def stand_in_for_jaxtyping() -> None:
    """Where jaxtyping is not installed, let its names stand for `Any` in this process."""
    if "jaxtyping" in sys.modules or importlib.util.find_spec("jaxtyping") is not None:
        return
    module = types.ModuleType("jaxtyping")
    module.__getattr__ = _annotation  # type: ignore[method-assign]
    sys.modules["jaxtyping"] = module
