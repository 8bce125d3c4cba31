"""† Training data: folders of images and TFDS data sets, read off the training thread.

No module here knows JAX: images are NumPy bytes until `training_run` hands them to a device.
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
