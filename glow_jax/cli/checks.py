"""Checks of a command's arguments, made before a model is loaded."""

from pathlib import Path

from glow_jax.io.errors import InputError
from glow_jax.io.messages import counted, one_line


def check_can_be_written(path: Path) -> None:
    """Raise InputError unless the folder of an output file exists."""
    if not path.parent.is_dir():
        folder = one_line(path.parent)
        raise InputError(f"{one_line(path)}: cannot be written (there is no folder {folder})")


def check_unlabelled(model: str, n_classes: int) -> None:
    """Raise InputError for a class-conditional model: no verb takes labels."""
    if n_classes:
        raise InputError(
            f"model {one_line(model)} has {counted(n_classes, 'class', 'classes')}; no verb takes "
            "class labels, but the Python functions do"
        )
