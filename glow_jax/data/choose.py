"""Open the data that a text on the command line names.

folder:DIR                   image files of the model's aspect ratio
tfds:NAME[/CONFIG][@SPLIT]   any image data set of TFDS; the split is "train" by default
NAME[@SPLIT]                 a data set of this project (`registered`), such as synthetic_faces
"""

from pathlib import Path

from glow_jax.data.registered import DATA_SETS, sizes_px
from glow_jax.data.sources import FolderSource, Source, in_memory
from glow_jax.data.tfds_source import TfdsSource, splits
from glow_jax.io.errors import InputError
from glow_jax.io.packages import need
from glow_jax.io.pictures import image_paths

WORDS = " or ".join(
    ["folder:DIR, tfds:NAME[/CONFIG][@SPLIT]", *(f"{name}[@SPLIT]" for name in DATA_SETS)]
)
HELD_OUT_SPLITS = ("test", "validation")  # splits for held-out images, in order of preference


def open_data(
    words: str,
    shape: tuple[int, int, int],
    *,
    crop: int = 0,
    data_dir: str | Path | None = None,
) -> Source:
    """Open the images that `words` name, at a model's size; in memory if they fit.

    Args:
        words: a name of data; see the module.
        shape: (height, width, channels) of the model's images.
        crop: side in pixels of a centre crop before the resize; 0 for none.
        data_dir: TFDS's folder, its own default if None.

    Raises:
        InputError: `words` name no data, or the data cannot be read.
    """
    kind, rest = _parsed(words)
    size, n_channels = shape[:2], shape[2]
    if kind == "folder":
        return in_memory(FolderSource(rest, size, n_channels, crop), shape)
    name, split = _tfds_name(kind, rest, size)
    source = TfdsSource(name, split or "train", size, n_channels, crop, data_dir)
    return in_memory(source, shape)


def check_data(words: str) -> None:
    """Raise InputError unless `words` name data; a folder must exist and hold images.

    For a data set that is no folder, the packages that read it must be installed.
    """
    kind, rest = _parsed(words)
    if kind == "folder":
        image_paths(Path(rest))
    else:
        need("train", "tensorflow_datasets")


def default_held_out(words: str, size: int, data_dir: str | Path | None = None) -> str:
    """The held-out part of the data set that `words` name: its test or validation split.

    Raises:
        InputError: `words` name a folder, or a data set without such a split.
    """
    kind, rest = _parsed(words)
    if kind == "folder":
        raise InputError(
            "a folder has no held-out images of its own: name other images as `held_out`"
        )
    name, _ = _tfds_name(kind, rest, (size, size))
    there = splits(name, data_dir)
    for split in HELD_OUT_SPLITS:
        if split in there:
            return f"tfds:{name}@{split}"
    raise InputError(
        f"tfds:{name} has no test split (it has {', '.join(there)}): name other images as "
        f"`held_out`, such as tfds:{name}@train[90%:] where tfds:{name}@train[:90%] is trained on"
    )


def _parsed(words: str) -> tuple[str, str]:
    kind, colon, rest = words.partition(":")
    if kind in ("folder", "tfds") and rest.partition("@")[0]:
        return kind, rest
    name = words.partition("@")[0]
    if not colon and name in DATA_SETS:
        return name, words
    raise InputError(f"data {words!r}: use {WORDS}")


def _tfds_name(kind: str, rest: str, size: tuple[int, int]) -> tuple[str, str]:
    """TFDS's name and the split, which may be empty."""
    name, _, split = rest.partition("@")
    if kind in DATA_SETS:
        sizes = sizes_px(kind)
        fitting = [s for s in sizes if s >= max(size)]
        name = f"{name}/{(fitting or sizes[-1:])[0]}"
    return name, split
