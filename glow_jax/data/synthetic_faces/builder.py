"""The TFDS data set `synthetic_faces`, made of a rendered folder, without TensorFlow.

    glow-jax render -o OUT --people 0:1000 --pictures 5 --size 64
    prepare("OUT", 64, data_dir)                        # once: ArrayRecord files
    tfds.data_source("synthetic_faces/64", split="train", data_dir=data_dir)

Splits are by identity: no person is in two splits.

TFDS needs TensorFlow to encode an array as an image, but it stores the bytes of a PNG file
unchanged. Therefore pictures are passed to it as PNG.
"""

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from glow_jax.data.labels import png_buffer
from glow_jax.data.synthetic_faces.dataset import NAME, SIZES_PX, mask_path, read_labels
from glow_jax.data.synthetic_faces.people import AUS
from glow_jax.io.errors import InputError
from glow_jax.io.messages import install_hint, one_line, reason
from glow_jax.io.pictures import read_image

VERSION = "1.0.0"
INSTRUCTIONS = f"render 5 pictures each of people 0 to 999, SIZE pixels wide, into {NAME}_SIZE"
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def split_of(identity: int) -> Split:
    """People 0-99 are for testing, 100-149 for validation, all others for training."""
    if identity < 100:
        return "test"
    return "validation" if identity < 150 else "train"


def prepare(
    source: str | os.PathLike[str], size_px: int, data_dir: str | os.PathLike[str] | None = None
) -> Any:
    """Write a rendered folder as ArrayRecord files, unless they exist already.

    Args:
        source: a complete folder of `dataset.render_dataset`.
        size_px: its pictures' side: 64, 128 or 256.
        data_dir: folder of TFDS; None means ~/tensorflow_datasets.

    Returns:
        The TFDS builder; `.as_data_source(split="train")` gives random access.

    Raises:
        InputError: tensorflow-datasets is not installed, or the folder is not complete, is
            damaged or of another size.
    """
    if size_px not in SIZES_PX:
        raise InputError(f"size {size_px}: {NAME} has {', '.join(map(str, SIZES_PX))}")
    made = builder_class()(
        source=source, config=str(size_px), data_dir=data_dir, file_format="array_record"
    )
    made.download_and_prepare(file_format="array_record")
    return made


@functools.cache
def builder_class() -> Any:
    """The TFDS builder, registered with TFDS under its name.

    Its argument `source` is the rendered folder; by default `synthetic_faces_64` (or another
    size) in TFDS's manual_dir.
    """
    try:
        import array_record.python  # noqa: F401
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise InputError(
            f"{error.name}, which TFDS data sets need, is not installed: {install_hint('data')}"
        ) from None

    class SyntheticFaces(tfds.core.GeneratorBasedBuilder):
        """Rendered pictures of people who do not exist, with true labels."""

        VERSION = tfds.core.Version(VERSION)
        BUILDER_CONFIGS = [  # noqa: RUF012
            tfds.core.BuilderConfig(name=str(s), description=f"{s} x {s} pixels") for s in SIZES_PX
        ]
        MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS

        def __init__(self, *, source: str | os.PathLike[str] | None = None, **kwargs: Any):
            self._source = None if source is None else Path(source)
            super().__init__(**kwargs)

        def _info(self) -> Any:
            return tfds.core.DatasetInfo(
                builder=self,
                description="Faces of people who do not exist, rendered from ICT FaceKit's shapes "
                "with known identity and known Action Units. Split by identity.",
                features=_features(tfds, int(self.builder_config.name)),
                homepage="https://github.com/ICT-VGL/ICT-FaceKit",
                metadata=tfds.core.MetadataDict(aus=list(AUS)),
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            folder = self._source or _manual_folder(dl_manager, self.builder_config.name)
            people = {label.get("identity") for label in read_labels(folder)}
            there = {split_of(p) for p in people if isinstance(p, int)}
            return {s: self._generate_examples(folder, s) for s in SPLITS if s in there}

        def _generate_examples(self, folder: Path, split: Split) -> Iterator[tuple[str, Any]]:
            size_px = int(self.builder_config.name)
            for label in read_labels(folder):
                example = _example(folder, label, size_px)
                if split_of(example["identity"]) == split:
                    yield label["file"], example

    return SyntheticFaces


def _manual_folder(dl_manager: Any, size: str) -> Path:
    """The rendered folder in TFDS's manual_dir."""
    name = f"{NAME}_{size}"
    try:
        return Path(dl_manager.manual_dir) / name
    except AssertionError as error:  # raised by TFDS if the folder is missing or empty
        raise InputError(
            f"{NAME}: nothing is rendered yet: {INSTRUCTIONS.replace('SIZE', size)}, and move "
            "the folder into TFDS's manual_dir (downloads/manual in its data_dir) or name it as "
            "source"
        ) from error


def _features(tfds: Any, size_px: int) -> Any:
    def numbers(*shape: int, doc: str = "") -> Any:
        return tfds.features.Tensor(shape=shape, dtype=np.float32, doc=doc)

    text = tfds.features.Text
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(size_px, size_px, 3), encoding_format="png"),
            "mask": tfds.features.Image(
                shape=(size_px, size_px, 1), encoding_format="png", doc="255 inside the face"
            ),
            "file": text(),
            "identity": tfds.features.Scalar(np.int64),
            "picture": text(),
            "seed": tfds.features.Scalar(np.int64),
            "expression": text(doc="a canonical one's name, or random"),
            "aus": numbers(len(AUS), doc=f"activations, 0 to 1: {', '.join(AUS)}"),
            "landmarks": numbers(68, 2, doc="x, y in pixels; Multi-PIE's 68"),
            "condition": tfds.features.Scalar(np.int64),
            "pose_deg": numbers(3, doc="yaw, pitch, roll"),
            "gaze": numbers(2, doc="right, up; -1 to 1"),
            "distance_cm": numbers(doc="camera to face: the lens"),
            "crop": text(),
            "light": {
                "key_direction": numbers(3, doc="unit vector towards the main light"),
                "key": numbers(),
                "ambient": numbers(),
                "tint": numbers(3, doc="of the ambient light, linear RGB"),
                "exposure": numbers(),
            },
        }
    )


def _example(folder: Path, label: Mapping[str, Any], size_px: int) -> dict[str, Any]:
    """A picture, its mask and its label in the form of the features."""
    path = folder / Path(str(label["file"])).name
    image = read_image(path, (size_px, size_px))
    mask = read_image(mask_path(path), (size_px, size_px), channels=1)
    try:
        unknown = sorted(set(label["aus"]) - set(AUS))
        if unknown:
            raise ValueError(f"unknown {', '.join(unknown)}")
        light = label["light"]
        return {
            "image": png_buffer(image),
            "mask": png_buffer(mask[..., 0]),
            **{name: str(label[name]) for name in ("file", "picture", "expression", "crop")},
            **{name: int(label[name]) for name in ("identity", "seed", "condition")},
            "aus": np.array([label["aus"].get(au, 0.0) for au in AUS], np.float32),
            "landmarks": np.array(label["landmarks"], np.float32).reshape(68, 2),
            "pose_deg": np.array(label["pose_deg"], np.float32).reshape(3),
            "gaze": np.array(label["gaze"], np.float32).reshape(2),
            "distance_cm": np.float32(label["distance_cm"]),
            "light": {
                "key_direction": np.array(light["key_direction"], np.float32).reshape(3),
                "tint": np.array(light["tint"], np.float32).reshape(3),
                **{name: np.float32(light[name]) for name in ("key", "ambient", "exposure")},
            },
        }
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise InputError(f"{one_line(path)}: its label is not whole ({reason(error)})") from error


# TFDS registers a data set when its class is defined, hence when this module is imported.
with contextlib.suppress(InputError):
    builder_class()
