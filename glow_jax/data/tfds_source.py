"""Any image data set of TensorFlow Datasets (TFDS), read by index without TensorFlow.

TFDS prepares a data set (downloads, checks, writes records) at first use; this needs TensorFlow for
most data sets, and the network. A prepared data set is read here from its ArrayRecord or TFRecord
files by index; each picture is decoded when it is read.
"""

import contextlib
import hashlib
import importlib
import io
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from glow_jax.data.registered import register
from glow_jax.data.sources import Images, fitted
from glow_jax.data.tfrecord import Shard, TFRecords
from glow_jax.io.errors import InputError
from glow_jax.io.messages import install_hint, one_line, silenced

INSTALL = install_hint("train")


class TfdsSource:
    """A split of a TFDS data set, in the order of its records.

    Args:
        name: as `tfds.builder` takes it: "cifar10", "celeb_a", "celeb_a_hq/256".
        split: "train", "test", "train[:90%]".
        size: (height, width) in pixels: the largest centre crop of that aspect is resized.
        n_channels: 3 or 1.
        crop: side in pixels of a centre crop before the resize; 0 for none.
        data_dir: folder of TFDS; None means ~/tensorflow_datasets.

    Raises:
        InputError: TFDS is not installed, has no such data set or split, or cannot prepare it (the
            message has the reason, such as a download that the user must make); or the data set
            has no pictures.
    """

    def __init__(
        self,
        name: str,
        split: str,
        size: tuple[int, int],
        n_channels: int = 3,
        crop: int = 0,
        data_dir: str | Path | None = None,
    ):
        builder = _prepared(name, data_dir)
        self._features = builder.info.features
        self._image = _image_feature(name, self._features)
        self._records = _records(name, builder, split)
        self._decoders = {self._image: _tfds().decode.SkipDecoding()}
        self.size, self.n_channels, self.crop = size, n_channels, crop
        self.name = f"tfds:{builder.info.full_name}@{split}"
        if not len(self._records):
            raise InputError(f"{self.name}: this split is empty")

    def __len__(self) -> int:
        return len(self._records)

    def read(self, indices: Sequence[int] | np.ndarray) -> Images:
        return np.stack([self._one(int(i)) for i in indices])

    def sha256(self) -> str:
        """SHA-256 of name, version, split and length, and of the first and last record."""
        digest = hashlib.sha256(f"{self.name} {len(self)}".encode())
        for index in (0, len(self) - 1):
            digest.update(self._records[index])
        return digest.hexdigest()

    def _one(self, index: int) -> np.ndarray:
        try:
            example = self._features.deserialize_example_np(
                self._records[index], decoders=self._decoders
            )
            with Image.open(io.BytesIO(example[self._image])) as picture:
                if picture.mode not in ("L", "RGB"):
                    picture = picture.convert("RGB")  # type: ignore[assignment]
                image = np.asarray(picture, np.uint8)
        except (OSError, ValueError, KeyError, SyntaxError, struct.error) as error:
            raise InputError(
                f"{self.name}: record {index} is damaged ({_message(error)})"
            ) from error
        image = image[..., None] if image.ndim == 2 else image
        return fitted(image, self.size, self.n_channels, self.crop)


class _RawRecords:
    """The records of a TFDS data source, undecoded."""

    def __init__(self, source: Any):
        self._source = source.data_source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> bytes:
        return self._source[index]


def splits(name: str, data_dir: str | Path | None = None) -> list[str]:
    """The splits of a data set, which is prepared if necessary."""
    return list(_prepared(name, data_dir).info.splits)


def _tfds() -> Any:
    try:
        with _quiet():
            return importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise InputError(
            f"tfds: data need tensorflow-datasets ({_message(error)}); {INSTALL}"
        ) from error


def _prepared(name: str, data_dir: str | Path | None) -> Any:
    """The builder of a data set, which is prepared if necessary."""
    tfds = _tfds()
    register(name.partition("/")[0])
    try:
        with _quiet():
            builder = tfds.builder(name, data_dir=data_dir, try_gcs=False)
    except tfds.core.DatasetNotFoundError as error:
        raise InputError(
            f"tfds:{name}: TFDS {tfds.__version__} has no such data set; its catalogue: "
            "tensorflow.org/datasets/catalog"
        ) from error
    except Exception as error:  # the constructor of a data set may raise any type of error
        raise InputError(f"tfds:{name}: {_message(error)}") from error
    if not builder.info.splits:
        builder = _prepare(name, builder, data_dir)
    return builder


def _prepare(name: str, builder: Any, data_dir: str | Path | None) -> Any:
    tfds = _tfds()
    try:
        with _quiet(), contextlib.redirect_stdout(io.StringIO()):
            builder = tfds.builder(
                name, data_dir=data_dir, file_format="array_record", try_gcs=False
            )
            builder.download_and_prepare()
    except ModuleNotFoundError as error:
        raise InputError(
            f"tfds:{name}: preparing it needs the package {error.name}, which is not installed; "
            f"install it, or prepare the set elsewhere and copy {builder.data_dir}"
        ) from error
    except Exception as error:  # TFDS and the code of a data set raise many types of errors
        if isinstance(error.__cause__, ModuleNotFoundError) or "tensorflow" in str(error):
            missing = getattr(error.__cause__, "name", None) or "tensorflow"
            raise InputError(
                f"tfds:{name}: preparing it needs the package {missing}, which is not "
                f"installed; install it, or prepare the set elsewhere and copy {builder.data_dir}"
            ) from error
        raise InputError(f"tfds:{name}: TFDS could not prepare it: {_message(error)}") from error
    return builder


def _image_feature(name: str, features: Any) -> str:
    """The name of the picture feature: "image" if there is one, else the only one."""
    kind = _tfds().features.Image
    found = [key for key, feature in features.items() if type(feature) is kind]
    if "image" in found:
        return "image"
    if len(found) != 1:
        raise InputError(
            f"tfds:{name}: it has {len(found)} picture features ({', '.join(found) or 'none'}), "
            "none of them named image"
        )
    return found[0]


def _records(name: str, builder: Any, split: str) -> Any:
    try:
        info = builder.info.splits[split]
        formats = {f.value for f in builder.info.available_file_formats()}
        if "array_record" in formats:
            with _quiet():
                return _RawRecords(builder.as_data_source(split=split, file_format="array_record"))
        shards = [Shard(str(f.filename), f.skip, f.take) for f in info.file_instructions]
    except (KeyError, ValueError, AssertionError) as error:
        there = ", ".join(builder.info.splits)
        raise InputError(
            f"tfds:{name}: no split {one_line(split)} ({_message(error)}); it has {there}"
        ) from error
    except ImportError as error:
        raise InputError(f"tfds:{name}: {_message(error)}; {INSTALL}") from error
    if "tfrecord" not in formats:
        raise InputError(
            f"tfds:{name}: prepared as {', '.join(sorted(formats))}; prepare it as array_record"
        )
    return TFRecords(shards)


def _message(error: BaseException) -> str:
    """An error's whole message on one line, or its type where the message is empty."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    line = " ".join(text.split())
    return one_line(line[:600] if line else type(error).__name__)


def _quiet() -> contextlib.AbstractContextManager[None]:
    """Hide TFDS's warnings about data sets that are not prepared; errors are still raised."""
    return silenced("absl")
