"""A flow that is a program of array operations: a frozen graph that no `GlowConfig` describes.

It encodes and decodes like a `Glow`; its likelihood, its levels and its weights by name are not
known. The program is data (`Program`), checked against a fixed table of operations.
"""

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, UInt8

from glow_jax import pixels
from glow_jax.config import Precision
from glow_jax.io.errors import InputError
from glow_jax.prior import draw_eps

MAX_INSTRUCTIONS = 1_000_000
Images = UInt8[Array | np.ndarray, "B H W C"]
X = Float[Array | np.ndarray, "B H W C"]
Latents = tuple[Float[Array, "B ..."], ...]
LatentsIn = tuple[Float[Array | np.ndarray, "B ..."], ...]
Constant = Num[Array | np.ndarray, "..."]


class Instruction(NamedTuple):
    """One operation of one image (leading axis 1).

    Attributes:
        op: a key of `OPERATIONS`, or "input".
        args: of each argument, ("value", number of an earlier instruction) or ("constant", number).
        shape: of the result.
        detail: what the operation needs besides: slices, axes, an order, a padding.
    """

    op: str
    args: tuple[tuple[str, int], ...]
    shape: tuple[int, ...]
    detail: Any = None


@dataclasses.dataclass(frozen=True)
class Program:
    """Instructions in order; which are inputs and which are outputs."""

    instructions: tuple[Instruction, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def check(self, n_constants: int) -> None:
        """Raise InputError unless every instruction is known and refers backwards."""
        for i, (op, args, shape, _) in enumerate(self.instructions):
            if op not in OPERATIONS and op != "input":
                raise InputError(f"instruction {i}: unknown operation {op!r}")
            for kind, number in args:
                limit = {"value": i, "constant": n_constants}.get(kind, 0)
                if not isinstance(number, int) or not 0 <= number < limit:
                    raise InputError(f"instruction {i}: no {kind!r} {number}")
            if not all(isinstance(n, int) and 0 < n <= 2**20 for n in shape):
                raise InputError(f"instruction {i}: shape {shape}")
        for number in (*self.inputs, *self.outputs):
            if not 0 <= number < len(self.instructions):
                raise InputError(f"no instruction {number}")

    def run(self, constants: Sequence[Any], inputs: Sequence[Any]) -> tuple[Any, ...]:
        """Outputs for one image; every array has a leading axis 1."""
        values: list[Any] = []
        given = dict(zip(self.inputs, inputs, strict=True))
        for i, instruction in enumerate(self.instructions):
            if instruction.op == "input":
                values.append(given[i])
                continue
            pools = {"value": values, "constant": constants}
            args = [pools[kind][number] for kind, number in instruction.args]
            values.append(OPERATIONS[instruction.op](instruction, *args))
        return tuple(values[i] for i in self.outputs)


@dataclasses.dataclass(frozen=True)
class GraphConfig:
    """What is known of the flow; the names are `GlowConfig`'s."""

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
        config: what is known.
        name, fingerprint: of the checkpoint it was loaded from.
    """

    def __init__(
        self, config: GraphConfig, encoder: Program, decoder: Program, constants: Sequence[Constant]
    ):
        """Check the programs; InputError if one is malformed."""
        encoder.check(len(constants))
        decoder.check(len(constants))
        self.config, self.encoder, self.decoder = config, encoder, decoder
        self.constants = [
            jnp.asarray(a, jnp.float32 if np.asarray(a).dtype.kind == "f" else jnp.int32)
            for a in constants
        ]
        self.name, self.fingerprint = "unsaved", ""

        def of_batch(program: Program, constants: Any, inputs: Any) -> Any:
            def one(inputs: Any) -> Any:
                outputs = program.run(constants, [a[None] for a in inputs])
                return tuple(a[0] for a in outputs)

            return jax.vmap(one)(inputs)

        self._encode = jax.jit(functools.partial(of_batch, encoder))
        self._decode = jax.jit(functools.partial(of_batch, decoder))

    def fold(self, precision: Precision = "exact") -> "GraphGlow":
        """Itself: its constants are folded already.

        Raises:
            InputError: `precision` is "fast": which of its products could be bfloat16 is unknown.
        """
        if precision != "exact":
            raise InputError("a model that is a TensorFlow graph runs in precision exact only")
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
        """NaN for every image: the graph computes no likelihood that its interface gives out."""
        return np.full(len(images), np.nan, np.float32)


def _conv(instruction: Instruction, x: Any, kernel: Any) -> Any:
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (1, 1),
        instruction.detail,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=jax.lax.Precision.HIGHEST,
    )


def _slice(instruction: Instruction, x: Any) -> Any:
    index = [slice(a, None if b < 0 else b, s) for a, b, s in instruction.detail]
    return x[tuple(index)]


def _elementwise(run: Callable[..., Any]) -> Callable[..., Any]:
    """Of arguments of any shape that broadcasts, as float32."""

    def broadcast(instruction: Instruction, *args: Any) -> Any:
        return run(*(jnp.broadcast_to(a, instruction.shape).astype(jnp.float32) for a in args))

    return broadcast


def _reduced(run: Callable[..., Any]) -> Callable[..., Any]:
    return lambda i, x: run(x, axis=tuple(i.detail)).reshape(i.shape)


OPERATIONS: dict[str, Callable[..., Any]] = {
    "Add": _elementwise(jnp.add),
    "Sub": _elementwise(jnp.subtract),
    "Mul": _elementwise(jnp.multiply),
    "RealDiv": _elementwise(jnp.divide),
    "Pow": _elementwise(jnp.power),
    "Minimum": _elementwise(jnp.minimum),
    "Maximum": _elementwise(jnp.maximum),
    "Exp": _elementwise(jnp.exp),
    "Log": _elementwise(jnp.log),
    "Abs": _elementwise(jnp.abs),
    "Neg": _elementwise(jnp.negative),
    "Floor": _elementwise(jnp.floor),
    "Square": _elementwise(jnp.square),
    "Sqrt": _elementwise(jnp.sqrt),
    "Rsqrt": _elementwise(jax.lax.rsqrt),
    "Relu": _elementwise(jax.nn.relu),
    "Sigmoid": _elementwise(jax.nn.sigmoid),
    "Tanh": _elementwise(jnp.tanh),
    "Sum": _reduced(jnp.sum),
    "Mean": _reduced(jnp.mean),
    "Max": _reduced(jnp.max),
    "Reshape": lambda i, x: x.reshape(i.shape),
    "Transpose": lambda i, x: x.transpose(tuple(i.detail)),
    "ConcatV2": lambda i, *parts: jnp.concatenate(
        [jnp.broadcast_to(p, (1, *p.shape[1:])) for p in parts], axis=i.detail
    ),
    "Pad": lambda i, x: jnp.pad(x, [tuple(pair) for pair in i.detail]),
    "Gather": lambda i, x, indices: jnp.take(x, indices, axis=i.detail),
    "StridedSlice": _slice,
    "Conv2D": _conv,
}


# -- on disk: program.json (config and both programs) and constants.npz


def to_json(config: GraphConfig, encoder: Program, decoder: Program) -> str:
    """Both programs and the config as JSON text."""
    told = {
        "config": dataclasses.asdict(config),
        "encoder": [encoder.instructions, encoder.inputs, encoder.outputs],
        "decoder": [decoder.instructions, decoder.inputs, decoder.outputs],
    }
    return json.dumps(told, separators=(",", ":")) + "\n"


def from_json(text: str, constants: Sequence[Constant]) -> GraphGlow:
    """Inverse of `to_json`.

    Raises:
        InputError: malformed.
    """
    try:
        told = json.loads(text)
        shapes = tuple(tuple(map(int, s)) for s in told["config"].pop("latent_shapes"))
        config = GraphConfig(**told["config"], latent_shapes=shapes)
        encoder, decoder = (_program(told[name]) for name in ("encoder", "decoder"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("program.json is malformed") from None
    return GraphGlow(config, encoder, decoder, constants)


def _program(fields: list[Any]) -> Program:
    instructions, inputs, outputs = fields
    if len(instructions) > MAX_INSTRUCTIONS:
        raise InputError(f"program.json has more than {MAX_INSTRUCTIONS} instructions")
    made = tuple(
        Instruction(op, tuple((kind, number) for kind, number in args), tuple(shape), detail)
        for op, args, shape, detail in instructions
    )
    return Program(made, tuple(inputs), tuple(outputs))
