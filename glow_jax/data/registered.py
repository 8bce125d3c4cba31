"""The data sets of this project by name; to add one, add a line.

Each module registers a builder with TensorFlow Datasets under that name when it is imported. The
builder has one config per size: `SIZES_PX`, the sides of square pictures in pixels, smallest first.
"""

import importlib

DATA_SETS = {
    "synthetic_faces": "glow_jax.data.synthetic_faces.builder",
    "photoreal_faces": "glow_jax.data.photoreal_faces.builder",
}


def register(word: str) -> None:
    """Register a data set of this project with TensorFlow Datasets; ignore other names."""
    if word in DATA_SETS:
        importlib.import_module(DATA_SETS[word])


def sizes_px(word: str) -> tuple[int, ...]:
    """The sizes that a data set of ours comes in."""
    return tuple(importlib.import_module(DATA_SETS[word]).SIZES_PX)
