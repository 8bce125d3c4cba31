"""† Training data: folders of images, held in memory as bytes."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from glow_jax.errors import InputError
from glow_jax.images import image_paths, read_image


def load_folder(
    path: str | Path, size: tuple[int, int], n_channels: int = 3
) -> UInt8[np.ndarray, "N H W C"]:
    """Every image of a folder, in the order of its names, resized with antialiasing.

    Args:
        path: the folder.
        size: (height, width) in pixels; images must have this aspect ratio.
        n_channels: 3 for RGB, 1 for grey.

    Raises:
        InputError: no images, one that cannot be read, or one of another aspect ratio.
    """
    images = []
    for file in image_paths(Path(path)):
        image = read_image(file, channels=n_channels)
        if image.shape[0] * size[1] != image.shape[1] * size[0]:
            raise InputError(
                f"{file}: {image.shape[1]}x{image.shape[0]} pixels; training needs the aspect "
                f"ratio of {size[1]}x{size[0]}"
            )
        images.append(_resized(image, size))
    return np.stack(images)


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if image.shape[:2] == size:
        return image
    pil = Image.fromarray(image.squeeze(-1) if image.shape[2] == 1 else image)
    resized = np.asarray(pil.resize((size[1], size[0]), Image.Resampling.LANCZOS))
    return resized.reshape(*size, -1)
