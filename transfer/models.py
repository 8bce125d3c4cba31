"""Load a Glow, or a graph model, as a `Codec`, on one or several devices.

Several devices share the rows of a batch. Each runs the program that one device alone would run on
these rows, so the results are the same.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from glow_jax.checkpoints import far_limit, find, load
from glow_jax.config import Precision
from glow_jax.graph_model import GraphGlow
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line
from glow_jax.kept_programs import kept
from glow_jax.model import Glow
from glow_jax.model_card import BUNDLED, CARD, read_card
from glow_jax.products import Products
from transfer.codec import Codec, on_accelerator, to_bytes
from transfer.expression.absolute import mean_error
from transfer.expression.file import NAME, load_expression_model
from transfer.expression.model import ExpressionModel
from transfer.methods.base import Models

AXIS = "batch"
SHARED = "expressions_of"  # in a card: name of the bundled model whose expression model is used
UNKNOWN_WIDTH = 512  # assumed of a graph model's coupling networks
# Images of a batch on a CPU: more are not faster (faces64: 6.4 ms per image from 8 on).
CPU_PIXELS = 16 * 64 * 64
SHARE = 0.25  # share of a device's memory that a batch may use, by `bytes_per_image`
CPU_MAX_BATCH = 64
MAX_BATCH = 128  # a TPU's vector unit has 128 lanes; a batch of 64 leaves half of them idle
# Error in grey levels, far below the 0.5 at which bytes change, that three-pass products may make.
HIGH_BOUND = 0.01


def codec_of(
    model: Any,
    precision: Precision,
    exact: Codec | None = None,
    devices: Sequence[jax.Device] = (),
) -> Codec:
    """A folded Glow, or a graph model, as a `Codec`.

    Args:
        model: from `glow_jax.load`.
        precision: the precision that the model was folded with.
        exact: for precision "fast": the codec of the same model in precision "exact".
        devices: devices that share each batch; with one or none, JAX's default device computes.
    """
    config, place = model.config, lambda batch: batch
    mesh = Mesh(np.array(devices), (AXIS,)) if len(devices) > 1 else None
    method, part = _methods(model, mesh), _for_parts(model)
    if mesh is not None and mesh.devices[0].platform != "cpu":  # `transfer.jobs.schedule`
        place = functools.partial(jax.device_put, device=NamedSharding(mesh, PartitionSpec(AXIS)))
    encode, decode_x, bits_per_dim = (method(n) for n in ("encode", "decode_x", "bits_per_dim"))
    platform = devices[0].platform if devices else jax.default_backend()
    of_parts: dict[str, Any] = {}
    if part is not None:
        part_bits = _methods(part, mesh)("bits_per_dim")
        of_parts["part_size"] = (part.config.image_height, part.config.image_width)
        of_parts["part_bits"] = lambda parts: np.asarray(part_bits(parts))
    return Codec(
        name=model.name,
        fingerprint=model.fingerprint,
        size=(config.image_height, config.image_width),
        channels=config.n_channels,
        precision=precision,
        encode=encode,
        encode_float=_encode_float(model, method),
        decode=lambda eps: (np.asarray(decode_x(eps), np.float32) + 0.5) * 256,
        bits_per_dim=lambda images: np.asarray(bits_per_dim(images)),
        **of_parts,
        exact=exact,
        devices=tuple(devices) if len(devices) > 1 else (),
        place=place,
        bytes_per_image=_bytes_per_image(config),
        **({} if platform == "cpu" else on_accelerator(encode, decode_x)),
    )


def load_models(
    name: str | os.PathLike[str],
    precision: Precision = "exact",
    devices: Sequence[jax.Device] = (),
    *,
    neutralise: bool = False,
) -> Models:
    """Load a flow, and the expression model beside it if there is one.

    With precision "fast" the "exact" form is loaded too, for pictures whose round trip needs it.
    With precision "exact" on a TPU, two forms are loaded as well: coupling networks multiply in
    three bfloat16 passes, and a picture whose round trip then errs by 0.01 grey levels or more is
    encoded again with full float32 products, and counted.

    Args:
        name: a bundled name, or a checkpoint directory.
        precision: "exact" or "fast".
        devices: devices that share each batch; with one or none, JAX's default device computes.
        neutralise: as in `Models`.

    Raises:
        InputError: there is no such model, or it needs class labels.
    """
    model = load(name, fold=False)
    if model.config.n_classes:
        raise InputError(
            f"model {model.name!r} has classes; transfer needs a model without classes"
        )
    file = expression_file(find(name))
    expression_model = None if file is None else load_expression_model(file)
    platform = devices[0].platform if devices else jax.default_backend()
    codec = codec_of(_folded(model, "exact", platform), "exact", devices=devices)
    if precision == "fast":
        codec = codec_of(_folded(model, "fast", platform), "fast", codec, devices)
    elif platform == "tpu" and not isinstance(model, GraphGlow):
        high = codec_of(_folded(model, "high", platform), "exact", codec, devices)
        codec = dataclasses.replace(high, round_trip_bound=HIGH_BOUND)
    return Models(codec, expression_model, neutralise)


def load_expressions(name: str | os.PathLike[str]) -> ExpressionModel:
    """The expression model of a flow.

    Args:
        name: a bundled name, or a checkpoint directory.

    Raises:
        InputError: there is no such model, or it has no expression model.
    """
    file = expression_file(find(name))
    if file is None:
        raise InputError(f"model {one_line(name)} has no {NAME}, which Action Units need")
    return load_expression_model(file)


def expression_file(folder: Path) -> Path | None:
    """The expressions.npz of a flow: in its directory, or that of the flow that its card names.

    Raises:
        InputError: the card cannot be read, or names something else than a bundled model with such
            a file.
    """
    if (folder / NAME).exists():
        return folder / NAME
    name = read_card(folder).get(SHARED)
    if name is None:
        return None
    sharing = sorted(path.parent.name for path in BUNDLED.glob(f"*/{NAME}"))
    if name not in sharing:
        raise InputError(
            f"{one_line(folder / CARD)}: {SHARED} is {one_line(str(name))!r}; use one of "
            f"{', '.join(sharing)}"
        )
    return BUNDLED / name / NAME


def _folded(model: Glow | GraphGlow, products: Products, platform: str) -> Glow | GraphGlow:
    """The inference form for a platform; a graph model has one form only."""
    if isinstance(model, GraphGlow):
        return model.fold("fast" if products == "fast" else "exact")
    return model.fold(products, platform=platform)


def absolute_error(models: Models) -> float | None:
    """The error of activations estimated without a neutral picture; None where they cannot be.

    It is the root mean square over the pictures of the fit and all Action Units.
    """
    model = models.expression_model
    return None if model is None or model.population is None else mean_error(model.population)


def far_limit_of(name: str | os.PathLike[str]) -> float | None:
    """Bits/dim above which a picture is unlikely under a model; None if the card has none."""
    return far_limit(find(name))


def auto_batch_size(codec: Codec, platform: str, memory: int) -> int:
    """A batch size that a device computes efficiently: a power of two, at most 128 (CPU: 64).

    Args:
        codec: the model.
        platform: JAX's name of the device's platform; for "cpu", memory is not the limit.
        memory: memory of the device, bytes.
    """
    pixels = codec.size[0] * codec.size[1]
    most = (
        CPU_PIXELS // pixels if platform == "cpu" else int(memory * SHARE) // codec.bytes_per_image
    )
    limit = CPU_MAX_BATCH if platform == "cpu" else MAX_BATCH
    return 1 << max(0, min(most, limit).bit_length() - 1)


def _bytes_per_image(config: Any) -> int:
    """Size in float32 of two hidden layers and their 3x3 neighbourhoods at the finest level."""
    width = getattr(config, "hidden_width", UNKNOWN_WIDTH)
    pixels = config.image_height * config.image_width // 4
    return pixels * (2 * width + 9 * 8 * config.n_channels) * 4


def _methods(model: Any, mesh: Mesh | None) -> Callable[[str], Callable[[Any], Any]]:
    """The methods of a model by their names, compiled for one device or for a mesh."""
    if mesh is not None:
        return functools.partial(_shared_out, *_split(model, mesh), mesh)
    return functools.partial(getattr if isinstance(model, GraphGlow) else _alone, model)


def _for_parts(model: Glow | GraphGlow) -> Glow | None:
    """A Glow for images a quarter as high and wide, as a mouth is, or the next larger part.

    None where the model takes images of one size only.
    """
    if isinstance(model, GraphGlow) or model.config.prior == "position":
        return None
    multiple = 2**model.config.n_levels
    sides = (model.config.image_height, model.config.image_width)
    return model.at_size(*(-(-side // (4 * multiple)) * multiple for side in sides))


def _split(model: Any, mesh: Mesh) -> tuple[Callable[[Any], Any], Any]:
    """A function that rebuilds a model from its arrays, and the arrays, copied to every device."""
    everywhere = NamedSharding(mesh, PartitionSpec())
    if isinstance(model, GraphGlow):
        return model.with_constants, jax.device_put(model.constants, everywhere)
    graph, state = nnx.split(model)
    return functools.partial(nnx.merge, graph), jax.device_put(state, everywhere)


def _alone(model: Any, name: str) -> Callable[[Any], Any]:
    """A Glow's method that flattens the model once, not per call: 5 ms less per call on a CPU."""
    graph, state = nnx.split(model)
    arrays, structure = jax.tree.flatten(state)
    return functools.partial(_method, graph, structure, name, arrays)


@functools.partial(kept, static=(0, 1, 2))
def _method(graph: Any, structure: Any, name: str, arrays: list[Any], batch: Any) -> Any:
    """A method as a function of a model's arrays: models of one structure share what XLA makes."""
    return getattr(nnx.merge(graph, jax.tree.unflatten(structure, arrays)), name)(batch)


def _shared_out(
    rebuilt: Callable[[Any], Any], arrays: Any, mesh: Mesh, name: str
) -> Callable[[Any], Any]:
    """A model's method on batches whose rows the devices share."""
    return functools.partial(on_mesh(rebuilt, mesh, name), arrays)


def on_mesh(rebuilt: Callable[[Any], Any], mesh: Mesh, name: str) -> Any:
    """A model's method, compiled as a function of its arrays and of a batch of the mesh's devices.

    Every device computes its own rows alone, with all arrays: no device waits for another.
    """

    def local(arrays: Any, batch: Any) -> Any:
        return getattr(rebuilt(arrays), name)(batch)

    rows, whole = PartitionSpec(AXIS), PartitionSpec()
    return jax.jit(
        jax.shard_map(local, mesh=mesh, in_specs=(whole, rows), out_specs=rows, check_vma=False)
    )


def _encode_float(
    model: Any, method: Callable[[str], Callable[[Any], Any]]
) -> Callable[[np.ndarray], Any]:
    """A function from continuous grey levels to latents; a graph model takes bytes only."""
    if isinstance(model, GraphGlow):
        encode = method("encode")
        return lambda values: encode(to_bytes(values))
    encode_x = method("encode_x")
    return lambda values: encode_x(np.asarray(values, np.float32) / 256 - 0.5)
