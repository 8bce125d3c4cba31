"""The transfer methods, by name.

The module of a method is imported when the method is first used: its name alone loads no JAX.
"""

import importlib
from typing import TYPE_CHECKING

from glow_jax.io.errors import InputError

if TYPE_CHECKING:
    from transfer.methods.base import Method, Models

# Name of a method -> its class, or "MODULE:CLASS". A plan stores a method as its place in this
# order.
METHODS: dict[str, "str | type[Method]"] = {
    "warp": "transfer.methods.warp:Warp",
    "paper": "transfer.methods.paper:Paper",
    "glow": "transfer.methods.glow:Glow",
}


def method_names() -> tuple[str, ...]:
    """The names of the methods, in the order of `METHODS`."""
    return tuple(METHODS)


def method_class(name: str) -> "type[Method]":
    """The class of a method; imports its module.

    Args:
        name: a key of `METHODS`.
    """
    entry = METHODS[name]
    if not isinstance(entry, str):
        return entry
    module, _, attribute = entry.partition(":")
    return getattr(importlib.import_module(module), attribute)


def default_method(models: "Models") -> str:
    """The name of the first method that can be used with the models.

    Raises:
        InputError: no method can.
    """
    reasons = []
    for name in METHODS:
        try:
            method_class(name).check(models)
        except InputError as error:
            reasons.append(f"{name}: {error}")
        else:
            return name
    raise InputError(f"no method works with model {models.codec.name!r}: {'; '.join(reasons)}")
