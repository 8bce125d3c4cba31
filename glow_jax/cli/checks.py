"""Checks of a command's arguments, made before a model is loaded."""

import os
from pathlib import Path

from glow_jax.io.errors import InputError
from glow_jax.io.messages import counted, one_line


def check_can_be_written(path: Path) -> None:
    """Raise InputError unless the folder of an output file exists."""
    if not path.parent.is_dir():
        folder = one_line(path.parent)
        raise InputError(f"{one_line(path)}: cannot be written (there is no folder {folder})")


def check_new_file(path: Path, overwrite: bool) -> None:
    """Raise InputError if an output file cannot be made, or is there and must not be replaced."""
    check_can_be_written(path)
    if path.is_dir():
        raise InputError(f"{one_line(path)}: is a folder; name a file")
    if not overwrite and os.path.lexists(path):
        raise InputError(f"{one_line(path)}: exists; name another file, or give --overwrite")


def check_new_folder(path: Path, overwrite: bool) -> None:
    """Raise InputError if an output folder holds something that must not be replaced."""
    if os.path.lexists(path) and not path.is_dir():
        raise InputError(f"{one_line(path)}: is not a folder; name another")
    if not overwrite and path.is_dir() and any(path.iterdir()):
        raise InputError(
            f"{one_line(path)}: is not empty; name another folder, or give --overwrite"
        )


def check_unlabelled(model: str, n_classes: int) -> None:
    """Raise InputError for a class-conditional model: no verb takes labels."""
    if n_classes:
        raise InputError(
            f"model {one_line(model)} has {counted(n_classes, 'class', 'classes')}; no verb takes "
            "class labels, but the Python functions do"
        )
