"""Sources of training images: arrays and folders, with random access by index.

A source that fits in `IN_MEMORY_BYTES` is decoded once, into one array; the images of a larger
one are decoded when they are read.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from glow_jax.io.errors import InputError
from glow_jax.io.picture_folders import list_tree
from glow_jax.io.pictures import read_image

Images = UInt8[np.ndarray, "N H W C"]

IN_MEMORY_BYTES = 2**30
DECODE_THREADS = 8


@runtime_checkable
class Source(Protocol):
    """Images by index; safe to read from several threads.

    Attributes:
        name: what the data are and which part of them, for messages and cards.
    """

    name: str

    def __len__(self) -> int: ...

    def read(self, indices: Sequence[int] | np.ndarray) -> Images:
        """The images at `indices`, in that order, of the size the source was opened with."""
        ...

    def sha256(self) -> str:
        """A digest of the data that does not depend on their place on the disk."""
        ...


class ArraySource:
    """Images in memory (or a memory-mapped file): uint8 (N, H, W, C)."""

    def __init__(self, images: Images, name: str = "arrays"):
        self.images = images
        self.name = name

    def __len__(self) -> int:
        return len(self.images)

    def read(self, indices: Sequence[int] | np.ndarray) -> Images:
        return self.images[np.asarray(indices, np.int64)]

    def sha256(self) -> str:
        """Of the images, byte by byte."""
        return hashlib.sha256(np.ascontiguousarray(self.images).data).hexdigest()


class FolderSource:
    """Image files of a folder and of the folders in it, decoded as they are read.

    Which files count, and their order: `glow_jax.io.picture_folders`.

    Args:
        path: the folder, or one picture.
        size: (height, width) in pixels; images must have this aspect ratio, or a crop.
        n_channels: 3 for RGB, 1 for grey.
        crop: side in pixels of a centre crop before the resize; 0 takes the whole image.

    Attributes:
        note: one line about what was left out; "" for nothing.

    Raises:
        InputError: no images; on reading, one that cannot be read or has another aspect.
    """

    def __init__(self, path: str | Path, size: tuple[int, int], n_channels: int = 3, crop: int = 0):
        listing = list_tree(path)
        self.top, self.paths, self.note = listing.folder, listing.paths, listing.note
        self.size, self.n_channels, self.crop = size, n_channels, crop
        self.name = f"folder:{Path(path).resolve().name}"

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, indices: Sequence[int] | np.ndarray) -> Images:
        return np.stack([self._one(self.paths[int(i)]) for i in indices])

    def sha256(self) -> str:
        """Of the files' names and lengths in bytes: large folders are not read for it."""
        top = self.top if self.top.is_dir() else self.top.parent
        facts = [f"{p.relative_to(top).as_posix()} {p.stat().st_size}" for p in self.paths]
        return hashlib.sha256("\n".join(facts).encode(errors="surrogateescape")).hexdigest()

    def _one(self, file: Path) -> np.ndarray:
        image = read_image(file, channels=self.n_channels)
        height, width = image.shape[:2]
        if not self.crop and height * self.size[1] != width * self.size[0]:
            raise InputError(
                f"{file}: {width}x{height} pixels; training needs the aspect "
                f"ratio of {self.size[1]}x{self.size[0]}"
            )
        return fitted(image, self.size, self.n_channels, self.crop)


def load_folder(
    path: str | Path, size: tuple[int, int], n_channels: int = 3
) -> UInt8[np.ndarray, "N H W C"]:
    """Every image of a folder and of the folders in it, in order, resized with antialiasing.

    Args:
        path: the folder, or one picture.
        size: (height, width) in pixels; images must have this aspect ratio.
        n_channels: 3 for RGB, 1 for grey.

    Raises:
        InputError: no images, one that cannot be read, or one of another aspect ratio.
    """
    return read_all(FolderSource(path, size, n_channels), (*size, n_channels))


def read_all(source: Source, shape: tuple[int, int, int]) -> Images:
    """Every image of a source as one array, decoded in threads."""
    images = np.empty((len(source), *shape), np.uint8)

    def read(i: int) -> None:
        images[i] = source.read([i])[0]

    with ThreadPoolExecutor(DECODE_THREADS) as pool:
        for _ in pool.map(read, range(len(source))):  # raises the first error
            pass
    return images


def in_memory(source: Source, shape: tuple[int, int, int]) -> Source:
    """The source decoded once where that fits in `IN_MEMORY_BYTES`, else as it is."""
    if len(source) * int(np.prod(shape)) > IN_MEMORY_BYTES:
        return source
    return ArraySource(read_all(source, shape), source.name)


def fitted(image: np.ndarray, size: tuple[int, int], n_channels: int, crop: int = 0) -> np.ndarray:
    """The largest centre crop of the wanted aspect ratio, resized with antialiasing.

    Args:
        image: uint8 (H, W, 1), (H, W, 3) or (H, W, 4), whose alpha is dropped.
        size: wanted (height, width) in pixels.
        n_channels: 3 or 1; grey is repeated, colour becomes ITU-R 601 luma.
        crop: side in pixels of a centre crop before anything else; 0 for none. A smaller
            image keeps what it has.
    """
    if crop:
        image = _centre(image, min(crop, image.shape[0]), min(crop, image.shape[1]))
    height, width = image.shape[:2]
    tall = min(height, max(1, round(width * size[0] / size[1])))
    wide = min(width, max(1, round(height * size[1] / size[0])))
    image = _centre(image, tall, wide)
    grey = image.shape[2] == 1
    if image.shape[:2] == size and image.shape[2] == n_channels:
        return image
    pil = Image.fromarray(np.ascontiguousarray(image[..., 0] if grey else image[..., :3]))
    pil = pil.convert("L" if n_channels == 1 else "RGB")
    resized = np.asarray(pil.resize((size[1], size[0]), Image.Resampling.LANCZOS))
    return resized.reshape(*size, n_channels)


def _centre(image: np.ndarray, height: int, width: int) -> np.ndarray:
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]
