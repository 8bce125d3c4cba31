"""Training data: folders of images and TFDS data sets, read in background threads.

No module here imports JAX: images are NumPy bytes until `training.run` puts them on a device.
"""

from glow_jax.data.choose import check_data, default_held_out, open_data
from glow_jax.data.prefetch import prefetched
from glow_jax.data.sources import ArraySource, FolderSource, Source, load_folder

__all__ = [
    "ArraySource",
    "FolderSource",
    "Source",
    "check_data",
    "default_held_out",
    "load_folder",
    "open_data",
    "prefetched",
]
