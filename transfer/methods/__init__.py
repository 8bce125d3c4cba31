"""Transfer methods, one a file. The order of `METHODS` is that of their numbers in plans."""

from glow_jax.io.errors import InputError
from transfer.methods.base import Method, Models
from transfer.methods.paper import Paper
from transfer.methods.warp import Warp

METHODS: dict[str, type[Method]] = {method.name: method for method in (Warp, Paper)}


def method_names() -> tuple[str, ...]:
    """The methods by name, in the order of their numbers in plans."""
    return tuple(METHODS)


def default_method(models: Models) -> str:
    """The name of the first method that the models can do.

    Raises:
        InputError: there is none.
    """
    reasons = []
    for name, method in METHODS.items():
        try:
            method.check(models)
        except InputError as error:
            reasons.append(f"{name}: {error}")
        else:
            return name
    raise InputError(f"no method works with model {models.codec.name!r}: {'; '.join(reasons)}")


__all__ = ["METHODS", "Method", "Models", "default_method", "method_names"]
