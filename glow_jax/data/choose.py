"""The words for data on a command line, and what they open.

folder:DIR                   image files of the model's aspect ratio
tfds:NAME[/CONFIG][@SPLIT]   any image data set of TFDS; the split is "train" by default
synthetic_faces[@SPLIT]      rendered people with known expressions, made by this project
"""

from pathlib import Path

from glow_jax.data.sources import FolderSource, Source, in_memory
from glow_jax.data.tfds_source import TfdsSource, splits
from glow_jax.io.errors import InputError
from glow_jax.io.pictures import image_paths

WORDS = "folder:DIR, tfds:NAME[/CONFIG][@SPLIT] or synthetic_faces[@SPLIT]"
SYNTHETIC_SIZES = (64, 128, 256)  # configs of the builder
HELD_OUT_SPLITS = ("test", "validation")  # in the order of preference


def open_data(
    words: str,
    shape: tuple[int, int, int],
    *,
    crop: int = 0,
    data_dir: str | Path | None = None,
) -> Source:
    """The images that `words` name, at a model's size; in memory where they fit.

    Args:
        words: as above.
        shape: (height, width, channels) of the model's images.
        crop: side in pixels of a centre crop before the resize; 0 for none.
        data_dir: TFDS's folder, its own default if None.

    Raises:
        InputError: other words, or data that cannot be read.
    """
    kind, rest = _parsed(words)
    size, n_channels = shape[:2], shape[2]
    if kind == "folder":
        return in_memory(FolderSource(rest, size, n_channels, crop), shape)
    name, split = _tfds_name(kind, rest, size)
    source = TfdsSource(name, split or "train", size, n_channels, crop, data_dir)
    return in_memory(source, shape)


def check_data(words: str) -> None:
    """Raise InputError unless `words` name data; a folder must exist and hold images."""
    kind, rest = _parsed(words)
    if kind == "folder":
        image_paths(Path(rest))


def default_held_out(words: str, size: int, data_dir: str | Path | None = None) -> str:
    """The held-out part of the data set that `words` train on: its test or validation split.

    Raises:
        InputError: a folder, which has none, or a data set without such a split.
    """
    kind, rest = _parsed(words)
    if kind == "folder":
        raise InputError("a folder has no held-out images of its own: give --held-out")
    name, _ = _tfds_name(kind, rest, (size, size))
    there = splits(name, data_dir)
    for split in HELD_OUT_SPLITS:
        if split in there:
            return f"tfds:{name}@{split}"
    raise InputError(
        f"tfds:{name} has no test split (it has {', '.join(there)}); give --held-out, such as "
        f"tfds:{name}@train[90%:] with --data tfds:{name}@train[:90%]"
    )


def _parsed(words: str) -> tuple[str, str]:
    kind, colon, rest = words.partition(":")
    if kind in ("folder", "tfds") and rest.partition("@")[0]:
        return kind, rest
    if not colon and words.partition("@")[0] == "synthetic_faces":
        return "synthetic_faces", words
    raise InputError(f"data {words!r}: use {WORDS}")


def _tfds_name(kind: str, rest: str, size: tuple[int, int]) -> tuple[str, str]:
    """TFDS's name and the split, which may be empty."""
    name, _, split = rest.partition("@")
    if kind == "synthetic_faces":
        fitting = [s for s in SYNTHETIC_SIZES if s >= max(size)]
        name = f"{name}/{(fitting or SYNTHETIC_SIZES[-1:])[0]}"
    return name, split
