"""What is read, by the part of the project that reads it."""

import importlib

from bench.robustness.kind import Kind

# Modules by what they need: a worker imports them in turn until it has its kind.
MODULES = ("pictures", "tables", "folders", "checkpoints", "models", "commands")


def all_kinds() -> list[Kind]:
    """Every kind, in the table's order."""
    return [kind for name in MODULES for kind in _of(name)]


def find(name: str) -> Kind:
    """The kind of a name."""
    return next(kind for module in MODULES for kind in _of(module) if kind.name == name)


def _of(module: str) -> tuple[Kind, ...]:
    found: tuple[Kind, ...] = importlib.import_module(f"bench.robustness.kinds.{module}").KINDS
    return found
