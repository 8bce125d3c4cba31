"""A flow given as a program of array operations: a frozen graph that no `GlowConfig` describes.

The model encodes and decodes like a `Glow`; its likelihood, its levels and its weights by name are
unknown. The program is data (`program.Program`) and is checked against a fixed table of operations.
"""

import copy
import dataclasses
import functools
import io
import json
import math
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, UInt8

from glow_jax import pixels
from glow_jax.config import Precision
from glow_jax.io.errors import InputError
from glow_jax.io.files import open_ordinary
from glow_jax.io.messages import reason
from glow_jax.io.npz import tail, zip_directory_bytes
from glow_jax.prior import draw_eps
from glow_jax.program import MAX_ALIVE_BYTES, Instruction, Program

MAX_TEXT_BYTES = 2**24  # limit of program.json
MAX_PIXELS = 2**20
MAX_CONSTANT_BYTES = 2**30  # of constants.npz: OpenAI's 256-pixel model has 705 MB
MAX_CONSTANTS = 20_000  # that model has 4 000
Images = UInt8[Array | np.ndarray, "B H W C"]
X = Float[Array | np.ndarray, "B H W C"]
Latents = tuple[Float[Array, "B ..."], ...]
LatentsIn = tuple[Float[Array | np.ndarray, "B ..."], ...]
Constant = Num[Array | np.ndarray, "..."]


@dataclasses.dataclass(frozen=True)
class GraphConfig:
    """The known properties of the flow; the fields are named as in `GlowConfig`."""

    image_height: int
    image_width: int
    n_channels: int
    latent_shapes: tuple[tuple[int, ...], ...]
    n_bits: int
    n_classes: int = 0

    @property
    def n_levels(self) -> int:
        return len(self.latent_shapes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.image_height, self.image_width, self.n_channels

    @property
    def n_dims(self) -> int:
        return math.prod(self.image_shape)


class GraphGlow:
    """Encode and decode by two programs over the same constants.

    Attributes:
        config: the known properties.
        name, fingerprint: of the checkpoint from which the model was loaded.
    """

    def __init__(
        self, config: GraphConfig, encoder: Program, decoder: Program, constants: Sequence[Constant]
    ):
        """Check the programs; InputError if one is malformed, or costs too much."""
        arrays = [np.asarray(a) for a in constants]
        picture, latents = (1, *config.image_shape), [(1, *s) for s in config.latent_shapes]
        for name, program, inputs, outputs in (
            ("encoder", encoder, [picture], latents),
            ("decoder", decoder, latents, [picture]),
        ):
            program.check(arrays)
            for numbers, shapes in ((program.inputs, inputs), (program.outputs, outputs)):
                if [program.instructions[i].shape for i in numbers] != shapes:
                    raise InputError(f"the {name} does not take pictures to latents and back")
        self.config, self.encoder, self.decoder = config, encoder, decoder
        self.constants = [
            jnp.asarray(a, jnp.float32 if a.dtype.kind == "f" else jnp.int32) for a in arrays
        ]
        self.name, self.fingerprint = "unsaved", ""

        def at_once(program: Program) -> int:
            """Images whose values fit into the memory that a program may take."""
            return max(1, MAX_ALIVE_BYTES // program.alive_bytes())

        def of_batch(program: Program, at_once: int, constants: Any, inputs: Any) -> Any:
            def one(inputs: Any) -> Any:
                outputs = program.run(constants, [a[None] for a in inputs])
                return tuple(a[0] for a in outputs)

            known = isinstance(inputs[0].shape[0], int)  # not in a program of any batch size
            return jax.lax.map(one, inputs, batch_size=at_once if known else None)

        self._encode = jax.jit(functools.partial(of_batch, encoder, at_once(encoder)))
        self._decode = jax.jit(functools.partial(of_batch, decoder, at_once(decoder)))

    def with_constants(self, constants: list[Any]) -> "GraphGlow":
        """The same model with other constants, of the same shapes; they may be traced."""
        other = copy.copy(self)
        other.constants = constants
        return other

    def fold(self, precision: Precision = "exact") -> "GraphGlow":
        """The model itself: its constants are folded already.

        Raises:
            InputError: `precision` is "fast": which of its products could be bfloat16 is unknown.
        """
        if precision != "exact":
            raise InputError("a TensorFlow graph runs in precision exact only")
        return self

    def encode(self, images: Images, label: None = None, *, n_bits: int = 8) -> Latents:
        """As `Glow.encode`."""
        return self.encode_x(pixels.centred(jnp.asarray(images), n_bits), label)

    def encode_x(self, x: X, label: None = None) -> Latents:
        """As `Glow.encode_x`."""
        if label is not None:
            raise ValueError("the label was fixed when the graph was converted")
        if x.shape[1:] != self.config.image_shape:
            takes = ", ".join(map(str, self.config.image_shape))
            raise ValueError(f"x has shape {x.shape}; the model takes (B, {takes})")
        eps: Latents = self._encode(self.constants, (jnp.asarray(x, jnp.float32),))
        return eps

    def decode(
        self, eps: LatentsIn, label: None = None, *, n_bits: int = 8
    ) -> UInt8[Array, "B H W C"]:
        """As `Glow.decode`."""
        return pixels.to_uint8(self.decode_x(eps, label), n_bits)

    def decode_x(self, eps: LatentsIn, label: None = None) -> Float[Array, "B H W C"]:
        """As `Glow.decode_x`."""
        if label is not None:
            raise ValueError("the label was fixed when the graph was converted")
        shapes = tuple(a.shape[1:] for a in eps)
        if shapes != self.config.latent_shapes:
            raise ValueError(
                f"latents have shapes {shapes}; the model's are {self.config.latent_shapes}"
            )
        x: jax.Array = self._decode(self.constants, tuple(eps))[0]
        return x

    def sample(
        self, key: jax.Array, n: int, temperature: float = 1.0, label: None = None
    ) -> UInt8[Array, "B H W C"]:
        """As `Glow.sample`."""
        return pixels.to_uint8(self.sample_x(key, n, temperature, label))

    def sample_x(
        self, key: jax.Array, n: int, temperature: float = 1.0, label: None = None
    ) -> Float[Array, "B H W C"]:
        """As `Glow.sample_x`."""
        return self.decode_x(draw_eps(key, self.config.latent_shapes, n, temperature), label)

    def bits_per_dim(self, images: Images, label: None = None) -> Float[np.ndarray, " B"]:
        """NaN for every image: the graph has no output for the likelihood."""
        return np.full(len(images), np.nan, np.float32)


# -- on disk: program.json (config and both programs) and constants.npz


def to_json(config: GraphConfig, encoder: Program, decoder: Program) -> str:
    """Both programs and the config as JSON text."""
    fields = {
        "config": dataclasses.asdict(config),
        "encoder": [encoder.instructions, encoder.inputs, encoder.outputs],
        "decoder": [decoder.instructions, decoder.inputs, decoder.outputs],
    }
    return json.dumps(fields, separators=(",", ":")) + "\n"


def from_json(text: str, constants: Sequence[Constant]) -> GraphGlow:
    """Inverse of `to_json`.

    Raises:
        InputError: malformed.
    """
    if len(text) > MAX_TEXT_BYTES:
        raise InputError(f"program.json is longer than {MAX_TEXT_BYTES >> 20} MiB")
    try:
        fields = json.loads(text)
        config = _config(fields["config"])
        encoder, decoder = (_program(fields[name]) for name in ("encoder", "decoder"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("program.json is malformed") from None
    return GraphGlow(config, encoder, decoder, constants)


def _config(fields: dict[str, Any]) -> GraphConfig:
    shapes = tuple(map(tuple, fields["latent_shapes"]))
    config = GraphConfig(**{**fields, "latent_shapes": shapes})
    sizes = (*config.image_shape, *(n for shape in shapes for n in shape))
    if not all(type(n) is int and 0 < n <= MAX_PIXELS for n in sizes) or not shapes:
        raise InputError("program.json: an image or latent of impossible size")
    if config.n_dims > MAX_PIXELS * 4 or sum(map(math.prod, shapes)) != config.n_dims:
        raise InputError("program.json: its latents are not of its images' size")
    if type(config.n_bits) is not int or not 1 <= config.n_bits <= 8 or config.n_classes != 0:
        raise InputError("program.json: impossible bits or classes")
    return config


def _program(fields: list[Any]) -> Program:
    """A program from JSON; `Program.check` validates every number."""
    instructions, inputs, outputs = fields
    made = []
    for op, args, shape, detail in instructions:
        if not isinstance(op, str) or not all(isinstance(kind, str) for kind, _ in args):
            raise InputError("program.json: an operation that is no text")
        pairs = tuple((kind, number) for kind, number in args)
        made.append(Instruction(op, pairs, tuple(shape), detail))
    return Program(tuple(made), tuple(inputs), tuple(outputs))


def read_constants(path: Path) -> list[np.ndarray]:
    """The arrays of constants.npz, which `np.savez` wrote; read-only.

    Raises:
        InputError: another layout, or an array that is not all there.
    """
    try:
        with open_ordinary(path, MAX_CONSTANT_BYTES) as file:
            size = os.fstat(file.fileno()).st_size
            if zip_directory_bytes(tail(file, size), size) > 100 * MAX_CONSTANTS:
                raise InputError(f"constants.npz has more than {MAX_CONSTANTS} arrays")
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                stored = all(info.compress_type == zipfile.ZIP_STORED for info in members)
                if not stored or sum(info.file_size for info in members) > size:
                    raise InputError(
                        "constants.npz is compressed, but it is saved without compression"
                    )
                return [_array(archive.read(f"{i}.npy")) for i in range(len(members))]
    except InputError:
        raise
    except Exception as error:  # zipfile's, NumPy's, and what damaged sizes lead to
        raise InputError(f"constants.npz is malformed ({reason(error)})") from None


def _array(data: bytes) -> np.ndarray:
    """The array of a .npy file, from its bytes; it needs no further memory."""
    file = io.BytesIO(data)
    if np.lib.format.read_magic(file) != (1, 0):
        raise InputError("constants.npz has arrays of another version")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.kind not in "fiub":
        raise InputError(f"constants.npz has an array of {dtype}, not of numbers")
    array = np.frombuffer(data, dtype, offset=file.tell())
    return array.reshape(shape, order="F" if fortran else "C")
