"""A model as programs and weights in one file: encode and decode without the code of the flow.

The file is an .npz of `glow_jax.exporting`; docs/guides/serving.md describes it. Nothing in this
module knows how a flow works.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Integer, UInt8

from glow_jax.devices import check_platform
from glow_jax.io.errors import InputError
from glow_jax.io.messages import counted, one_line, reason
from glow_jax.io.npz import read_npz
from glow_jax.io.packages import need

FORMAT = "glow-jax exported model"
VERSION = 1  # of the format
MANIFEST = "manifest"
EXTRA = "export"
MAX_FILE_BYTES = 2**33
MAX_PROGRAM_BYTES = 2**24  # faces64's have 44 kB each
MAX_PIXELS = 2**24  # of an image, times its channels
# Calls that leave the program's own operations; this one only compares sizes.
HARMLESS_CALL = re.compile(r"custom_call @shape_assertion\(")
Images = UInt8[Array | np.ndarray, "B H W C"]
Latents = tuple[Float[Array | np.ndarray, "B _ _ _"], ...]
Labels = Integer[Array | np.ndarray, " B"]


class Value(NamedTuple):
    """Shape and type of an array; the first side of a program's values is the batch, "b"."""

    shape: tuple[int | str, ...]
    dtype: str


class Manifest(NamedTuple):
    """What the file says of itself; the fields are those of docs/guides/serving.md."""

    name: str
    fingerprint: str
    precision: str
    platforms: tuple[str, ...]
    image_shape: tuple[int, ...]
    latent_shapes: tuple[tuple[int, ...], ...]
    n_bits: int
    n_classes: int
    weights: tuple[str, ...]
    made_with: dict[str, str]
    card: dict[str, Any]
    sha256: dict[str, str]

    def values(self, function: str) -> tuple[list[Value], list[Value]]:
        """Inputs after the weights, and outputs, of "encode" or "decode"."""
        images = [Value(("b", *self.image_shape), "uint8")]
        latents = [Value(("b", *shape), "float32") for shape in self.latent_shapes]
        labels = [Value(("b",), "int32")] if self.n_classes else []
        if function == "encode":
            return images + labels, latents
        return latents + labels, images


class ExportedGlow:
    """Encode and decode by the programs of a file.

    Attributes:
        name: of the model.
        fingerprint: SHA-256 of the model's config and weights.
        precision: "exact" or "fast".
        platform: that the programs are for, such as "cpu".
        image_shape: (H, W, C) of the model's images.
        latent_shapes: (H, W, C) of each level's latent, finest first.
        n_bits: bits per channel at which the weights were trained.
        n_classes: number of class labels; 0 for a model without them.
        card: origin, licence and data of the weights.
        made_with: versions of the packages that made the file.
    """

    def __init__(
        self,
        manifest: Manifest,
        platform: str,
        weights: list[np.ndarray],
        encode: Callable[..., Any],
        decode: Callable[..., Any],
    ):
        self.name, self.fingerprint = manifest.name, manifest.fingerprint
        self.precision, self.platform = manifest.precision, platform
        self.image_shape, self.latent_shapes = manifest.image_shape, manifest.latent_shapes
        self.n_bits, self.n_classes = manifest.n_bits, manifest.n_classes
        self.card, self.made_with = manifest.card, manifest.made_with
        self._weights = [jax.numpy.asarray(a) for a in weights]
        self._encode, self._decode = jax.jit(encode), jax.jit(decode)

    def encode(self, images: Images, label: Labels | None = None) -> tuple[jax.Array, ...]:
        """As `Glow.encode`, with all 8 bits: bytes to standardised latents.

        Args:
            images: of `image_shape`; each batch size is compiled once.
            label: one whole number an image, for a model that has classes.

        Raises:
            ValueError: another shape or type, or a label too many or too few.
        """
        if images.dtype != np.uint8 or images.shape[1:] != self.image_shape:
            takes = ("B", *self.image_shape)
            raise ValueError(
                f"images are {images.dtype} of shape {images.shape}; need uint8 {_text(takes)}"
            )
        labels = self._labels(label, len(images))
        eps: tuple[jax.Array, ...] = self._encode(self._weights, images, *labels)
        return eps

    def decode(self, eps: Latents, label: Labels | None = None) -> jax.Array:
        """As `Glow.decode`, to 8 bits; pixels that come out non-finite are mid-grey.

        Args:
            eps: float32, in `latent_shapes`; each batch size is compiled once.
            label: one whole number an image, for a model that has classes.

        Raises:
            ValueError: other shapes or types, or a label too many or too few.
        """
        shapes = tuple(tuple(a.shape[1:]) for a in eps)
        if shapes != self.latent_shapes or any(a.dtype != np.float32 for a in eps):
            types = sorted({str(a.dtype) for a in eps})
            raise ValueError(
                f"latents are {', '.join(types)} of shapes {shapes}; need float32 of shapes "
                f"{self.latent_shapes}"
            )
        labels = self._labels(label, len(eps[0]))
        images: jax.Array = self._decode(self._weights, tuple(eps), *labels)
        return images

    def _labels(self, label: Labels | None, n: int) -> list[Any]:
        if self.n_classes and (label is None or label.shape != (n,)):
            given = "none" if label is None else f"shape {label.shape}"
            raise ValueError(f"label: {given}; the model needs one whole number an image, ({n},)")
        if label is not None and not self.n_classes:
            raise ValueError("the model has no classes, but a label is given")
        return [] if label is None else [jax.numpy.asarray(label, np.int32)]


def load_exported(path: str | os.PathLike[str], platform: str | None = None) -> ExportedGlow:
    """Read a file of `glow-jax export`.

    No code of the model is needed or imported. JAX reads the programs; they are refused if they
    call anything outside themselves, or take or give other arrays than the file says.

    Args:
        path: the file.
        platform: "cpu", "cuda" or "tpu"; that of JAX's default device by default.

    Raises:
        InputError: not such a file, damaged, of another version, or without a program for the
            platform; or the package flatbuffers, which JAX needs, is not installed.
    """
    path = Path(path)
    need(EXTRA, "flatbuffers")
    check_platform()
    platform = platform or jax.export.default_export_platform()
    size = path.stat().st_size if path.is_file() else 0
    arrays = read_npz(path, min(size, MAX_FILE_BYTES))
    try:
        manifest = _manifest(arrays)
        _check_arrays(manifest, arrays)
        if platform not in manifest.platforms:
            has = ", ".join(map(one_line, manifest.platforms))
            raise InputError(f"it has programs for {has}, but none for {platform}")
        weights = [arrays[name] for name in manifest.weights]
        encode, decode = (
            _program(manifest, arrays[f"{name}.{platform}"], name, platform, weights)
            for name in ("encode", "decode")
        )
    except InputError as error:
        raise InputError(f"{one_line(path)}: {error}") from None
    return ExportedGlow(manifest, platform, weights, encode.call, decode.call)


def _manifest(arrays: Mapping[str, np.ndarray]) -> Manifest:
    """The manifest, every field of it checked."""
    text = arrays.get(MANIFEST)
    if text is None or text.ndim or text.dtype.kind != "U":
        raise InputError("not a file of `glow-jax export`: it has no manifest")
    try:
        fields = json.loads(str(text))
        if fields.pop("format") != FORMAT:
            raise InputError("not a file of `glow-jax export`: its manifest is of another format")
        if (version := fields.pop("version")) != VERSION:
            raise InputError(
                f"version {one_line(version)} of the format; this glow-jax reads version {VERSION}"
            )
        tuples = {name: tuple(fields[name]) for name in ("platforms", "image_shape", "weights")}
        shapes = tuple(tuple(shape) for shape in fields["latent_shapes"])
        manifest = Manifest(**{**fields, **tuples, "latent_shapes": shapes})
        texts = (*manifest.platforms, *manifest.weights, manifest.name, manifest.fingerprint)
        maps = (manifest.made_with, manifest.card, manifest.sha256)
        shapes = (manifest.image_shape, *manifest.latent_shapes)
        right = (
            all(isinstance(t, str) for t in (*texts, manifest.precision))
            and all(isinstance(m, dict) for m in maps)
            and all(type(n) is int and 0 < n <= MAX_PIXELS for shape in shapes for n in shape)
            and all(len(shape) == 3 for shape in shapes)
            and sum(map(math.prod, shapes[1:])) == math.prod(shapes[0]) <= MAX_PIXELS
            and all(type(n) is int and n >= 0 for n in (manifest.n_bits, manifest.n_classes))
        )
    except InputError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        right = False
    if not right:
        raise InputError("its manifest is malformed")
    return manifest


def _check_arrays(manifest: Manifest, arrays: Mapping[str, np.ndarray]) -> None:
    """Check that the arrays are those of the manifest, undamaged."""
    programs = [f"{f}.{p}" for f in ("encode", "decode") for p in manifest.platforms]
    wanted = {MANIFEST, *programs, *manifest.weights}
    if set(arrays) != wanted or len(wanted) != 1 + len(programs) + len(manifest.weights):
        n = len(set(arrays) ^ wanted)
        raise InputError(f"its manifest does not list what it holds ({counted(n, 'array')} differ)")
    for name in sorted(wanted - {MANIFEST}):
        if sha256(arrays[name]) != manifest.sha256.get(name):
            raise InputError(f"damaged: {one_line(name)} is not what was exported")
    for name in manifest.weights:
        if arrays[name].dtype != np.float32 and arrays[name].dtype.kind not in "iu":
            raise InputError(f"{one_line(name)} is {arrays[name].dtype}, not float32")
        if not np.isfinite(arrays[name]).all():
            raise InputError(f"{one_line(name)} has non-finite values")


def _program(
    manifest: Manifest, blob: np.ndarray, function: str, platform: str, weights: list[np.ndarray]
) -> jax.export.Exported:
    """A program, read by JAX; nothing of it is run."""
    name = f"program {function}.{platform}"
    if blob.dtype != np.uint8 or blob.ndim != 1 or blob.size > MAX_PROGRAM_BYTES:
        raise InputError(f"{name} is {blob.dtype} of shape {blob.shape}; need bytes, in one row")
    try:
        program = jax.export.deserialize(bytearray(blob.tobytes()))
        text = program.mlir_module()
    except Exception as error:  # flatbuffers and JAX raise many types for what they cannot read
        made = manifest.made_with.get("jax")
        raise InputError(
            f"{name} cannot be read by JAX {jax.__version__}; it was made with {one_line(made)} "
            f"({reason(error)})"
        ) from None
    if text.count("custom_call") != len(HARMLESS_CALL.findall(text)):
        raise InputError(f"{name} calls functions outside itself, which is refused")
    if tuple(program.platforms) != (platform,) or program.nr_devices != 1:
        raise InputError(f"{name} is for {program.platforms}, {program.nr_devices} devices")
    if program.ordered_effects or program.unordered_effects:
        raise InputError(f"{name} has effects besides its result, which is refused")
    inputs, outputs = manifest.values(function)
    given = [Value(a.shape, str(a.dtype)) for a in weights] + inputs
    for what, wanted, avals in (
        ("takes", given, program.in_avals),
        ("gives", outputs, program.out_avals),
    ):
        found = [Value(_sides(a.shape), str(a.dtype)) for a in avals]
        if found != wanted:
            raise InputError(f"{name} {what} other arrays than the manifest says")
    tree: Any = jax.tree.structure
    latents: Any = (0,) * len(manifest.latent_shapes)
    last = (0,) if manifest.n_classes else ()
    structure = ([0] * len(weights), 0 if function == "encode" else latents, *last)
    if tree((structure, {})) != program.in_tree:
        raise InputError(f"{name} takes its arguments in another order")
    if tree(latents if function == "encode" else 0) != program.out_tree:
        raise InputError(f"{name} gives its results in another order")
    return program


def _sides(shape: tuple[Any, ...]) -> tuple[int | str, ...]:
    """Sides of an array; a symbolic one as text."""
    return tuple(side if isinstance(side, int) else str(side) for side in shape)


def sha256(array: np.ndarray) -> str:
    """Of an array's bytes, row by row."""
    return hashlib.sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data).hexdigest()


def _text(shape: tuple[object, ...]) -> str:
    return f"({', '.join(map(str, shape))})"
