"""The transfer methods, by name.

The module of a method is imported when the method is first used: its name alone loads no JAX.
"""

import importlib
from typing import TYPE_CHECKING

from glow_jax.io.errors import InputError

if TYPE_CHECKING:
    from transfer.methods.base import Method, Models

# Name of a transfer method -> its class, or "MODULE:CLASS". A plan stores a method as its place in
# `method_names`.
METHODS: dict[str, "str | type[Method]"] = {
    "warp": "transfer.methods.warp:Warp",
    "paper": "transfer.methods.paper:Paper",
    "glow": "transfer.methods.glow:Glow",
}

# The default is the first of these that works with the models; see `default_method`, which tries
# glow before them for faces out of photographs.
ORDER = ("warp", "paper")

# The methods that edit a picture without another person's expression, in the same form.
EDITS: dict[str, "str | type[Method]"] = {
    "edit": "transfer.methods.edit:ActionUnitEdit",
    "direction": "transfer.methods.latent_edits:DirectionEdit",
    "interpolate": "transfer.methods.latent_edits:InterpolationEdit",
}


def method_names() -> tuple[str, ...]:
    """The names of all methods: of `METHODS`, then of `EDITS`."""
    return (*METHODS, *EDITS)


def method_class(name: str) -> "type[Method]":
    """The class of a method; imports its module.

    Args:
        name: one of `method_names`.
    """
    entry = (METHODS | EDITS)[name]
    if not isinstance(entry, str):
        return entry
    module, _, attribute = entry.partition(":")
    return getattr(importlib.import_module(module), attribute)


def default_method(models: "Models", photographs: bool) -> str:
    """The name of the method that is used where none is named.

    It is the first one that can be used with the models, of glow, warp and paper for faces out of
    photographs, and of warp and paper for others. On photoreal people glow and warp move as much of
    the expression, and glow shows sharp teeth (docs/results/truth.md); on renders warp is nearer to
    the truth.

    Args:
        models: of the transfer.
        photographs: whether faces are cut out of photographs.

    Raises:
        InputError: no method can.
    """
    reasons = []
    for name in ("glow", *ORDER) if photographs else ORDER:
        try:
            method_class(name).check(models)
        except InputError as error:
            reasons.append(f"{name}: {error}")
        else:
            return name
    raise InputError(f"no method works with model {models.codec.name!r}: {'; '.join(reasons)}")
