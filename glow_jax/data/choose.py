"""The words for data on a command line, and what they open.

folder:DIR                   image files of the model's aspect ratio, in folders of any depth; with
                             DIR/train beside DIR/val or DIR/test, those parts (`folder_parts`)
tfds:NAME[/CONFIG][@SPLIT]   any image data set of TFDS; the split is "train" by default
NAME[@SPLIT]                 a data set of this project (`registered`), such as synthetic_faces
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from glow_jax.data.folder_parts import folder_parts
from glow_jax.data.registered import DATA_SETS, sizes_px
from glow_jax.data.sources import FolderSource, Source, in_memory
from glow_jax.data.tfds_source import TfdsSource, splits
from glow_jax.io.errors import InputError
from glow_jax.io.packages import need
from glow_jax.io.picture_folders import list_tree, walk
from glow_jax.io.picture_formats import suffixes

WORDS = " or ".join(
    ["folder:DIR, tfds:NAME[/CONFIG][@SPLIT]", *(f"{name}[@SPLIT]" for name in DATA_SETS)]
)
HELD_OUT_SPLITS = ("test", "validation")  # in the order of preference


def open_data(
    words: str,
    shape: tuple[int, int, int],
    *,
    crop: int = 0,
    data_dir: str | Path | None = None,
    held_out: bool = False,
    notify: Callable[[str], None] = lambda line: None,
) -> Source:
    """The images that `words` name, at a model's size; in memory where they fit.

    Args:
        words: as above.
        shape: (height, width, channels) of the model's images.
        crop: side in pixels of a centre crop before the resize; 0 for none.
        data_dir: TFDS's folder, its own default if None.
        held_out: of a folder with parts, take the one that is held out, not the one to train on.
        notify: called with one line about what was left out of a folder, if anything was.

    Raises:
        InputError: other words, or data that cannot be read.
    """
    kind, rest = _parsed(words)
    size, n_channels = shape[:2], shape[2]
    if kind == "folder":
        parts = folder_parts(rest)
        if parts is not None:
            rest = str(parts.held_out if held_out else parts.train)
            if not held_out:
                notify(parts.note)
        folder = FolderSource(rest, size, n_channels, crop)
        if folder.note:
            notify(folder.note)
        return in_memory(folder, shape)
    name, split = _tfds_name(kind, rest, size)
    source = TfdsSource(name, split or "train", size, n_channels, crop, data_dir)
    return in_memory(source, shape)


def check_data(words: str) -> None:
    """Raise InputError unless `words` name data; a folder must exist and hold images.

    For another data set the packages that read it must be installed.
    """
    kind, rest = _parsed(words)
    if kind != "folder":
        need("train", "tensorflow_datasets")
    elif not (Path(rest).is_dir() and _holds_pictures(Path(rest))):
        list_tree(rest)  # says why there are none


def default_held_out(words: str, size: int, data_dir: str | Path | None = None) -> str:
    """The held-out part of the data set that `words` train on: its test or validation split.

    Raises:
        InputError: a folder, which has none, or a data set without such a split.
    """
    kind, rest = _parsed(words)
    if kind == "folder":
        if folder_parts(rest) is not None:
            return words
        raise InputError(
            "a folder has no held-out images of its own: name other images as `held_out`, or put "
            "the images into two folders in it, train and val"
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


def _holds_pictures(folder: Path) -> bool:
    endings = suffixes()
    found = walk(folder, Counter())
    return any(name.lower().endswith(endings) for _, files in found for name in files)


def _tfds_name(kind: str, rest: str, size: tuple[int, int]) -> tuple[str, str]:
    """TFDS's name and the split, which may be empty."""
    name, _, split = rest.partition("@")
    if kind in DATA_SETS:
        sizes = sizes_px(kind)
        fitting = [s for s in sizes if s >= max(size)]
        name = f"{name}/{(fitting or sizes[-1:])[0]}"
    return name, split
