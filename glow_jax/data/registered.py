"""The data sets of this project, by the word that names each; one more line adds one.

Each module registers a builder with TensorFlow Datasets when it is imported, under the word,
with one config a size: `SIZES_PX`, the side of its square pictures in pixels, smallest first.
"""

import importlib

DATA_SETS = {
    "synthetic_faces": "glow_jax.data.synthetic_faces.builder",
    "photoreal_faces": "glow_jax.data.photoreal_faces.builder",
}


def register(word: str) -> None:
    """Make a data set known to TensorFlow Datasets; nothing for a word that is not ours."""
    if word in DATA_SETS:
        importlib.import_module(DATA_SETS[word])


def sizes_px(word: str) -> tuple[int, ...]:
    """The sizes that a data set of ours comes in."""
    return tuple(importlib.import_module(DATA_SETS[word]).SIZES_PX)
