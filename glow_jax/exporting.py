"""Write a model as programs and weights in one file, which `glow_jax.exported` reads.

A program is StableHLO of `jax.export`, of any batch size, one for encode and decode and for each
platform. The weights are arguments of it, folded, and shared by all programs.
"""

import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from glow_jax.checkpoints import find, load
from glow_jax.config import Precision
from glow_jax.exported import EXTRA, FORMAT, MANIFEST, VERSION, Manifest, Value, sha256
from glow_jax.graph_model import GraphGlow
from glow_jax.io.errors import InputError
from glow_jax.io.files import write_atomically
from glow_jax.io.messages import one_line
from glow_jax.io.npz import MAX_CHARACTERS
from glow_jax.io.packages import need, version
from glow_jax.model import Glow
from glow_jax.model_card import read_card

PLATFORMS = ("cpu", "cuda", "tpu")
PACKAGES = ("glow-jax", "jax", "jaxlib", "flax")  # whose versions the file states
# From the weights in order, the images or latents, and labels where the model has classes.
Function = Callable[..., Any]


def export_model(
    name_or_path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    precision: Precision = "exact",
    platforms: Sequence[str] = PLATFORMS,
) -> Manifest:
    """Write the programs and weights of a model into one file.

    Args:
        name_or_path: name of a bundled model, or path of a checkpoint directory.
        out: the file to write; its suffix must be .npz.
        precision: of the coupling networks.
        platforms: that the file has programs for, of `PLATFORMS`. None of them needs to be here.

    Returns:
        What the file says of itself.

    Raises:
        InputError: there is no such model, the suffix or a platform is another, the package
            flatbuffers is not installed, or the file cannot be written.
    """
    if Path(out).suffix.lower() != ".npz":
        raise InputError(f"{one_line(out)}: an exported model is written as .npz")
    if not platforms or len(set(platforms)) < len(platforms) or set(platforms) - set(PLATFORMS):
        given = ", ".join(map(one_line, platforms)) or "none"
        raise InputError(f"`platforms`: {given}; use some of {', '.join(PLATFORMS)}, each once")
    need(EXTRA, "flatbuffers")
    model = load(name_or_path, fold=False)
    weights, functions_for = parts(model, precision)
    manifest = Manifest(
        name=model.name,
        fingerprint=model.fingerprint,
        precision=precision,
        platforms=tuple(platforms),
        image_shape=model.config.image_shape,
        latent_shapes=model.config.latent_shapes,
        n_bits=model.config.n_bits,
        n_classes=model.config.n_classes,
        weights=tuple(weights),
        made_with={name: version(name) for name in PACKAGES},
        card=read_card(find(name_or_path)),
        sha256={},
    )
    arrays = dict(weights)
    specs = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in weights.values()]
    for platform in platforms:
        for name, function in functions_for(platform).items():
            program = serialised(function, platform, specs, manifest.values(name)[0])
            arrays[f"{name}.{platform}"] = np.frombuffer(program, np.uint8)
    manifest.sha256.update({name: sha256(a) for name, a in arrays.items()})
    fields = {"format": FORMAT, "version": VERSION} | manifest._asdict()
    text = json.dumps(fields, indent=1)
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"{one_line(name_or_path)}: its card.json is too long to be exported")
    buffer = io.BytesIO()
    np.savez(buffer, **{MANIFEST: np.str_(text)}, **arrays)  # type: ignore[arg-type]
    write_atomically(out, buffer.getvalue())
    return manifest


def serialised(
    function: Function, platform: str, weights: list[Any], values: list[Value]
) -> bytearray:
    """A serialised program of any batch size."""
    (batch,) = jax.export.symbolic_shape("b")
    specs = [jax.ShapeDtypeStruct((batch, *shape[1:]), np.dtype(dtype)) for shape, dtype in values]
    images, latents = specs[:1], tuple(s for s in specs if s.dtype == np.float32)
    labels = [s for s in specs if s.dtype == np.int32]
    given = latents if latents else images[0]
    return jax.export.export(jax.jit(function), platforms=[platform])(
        weights, given, *labels
    ).serialize()


def parts(
    model: Glow | GraphGlow, precision: Precision
) -> tuple[dict[str, np.ndarray], Callable[[str], dict[str, Function]]]:
    """The folded weights of a model in training form by name, and its functions for a platform.

    The weights are those of a CPU's programs. Programs for other platforms lay them out first.
    """
    if isinstance(model, GraphGlow):
        return _parts_of_graph(model.fold(precision))
    graph, state = nnx.split(model.fold(precision, platform="cpu"))
    leaves, structure = jax.tree.flatten(state)
    names = [_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(state)]
    weights = {name: np.asarray(a) for name, a in zip(names, leaves, strict=True)}

    def functions_for(platform: str) -> dict[str, Function]:
        def method(name: str) -> Function:
            def run(weights: list[Any], *inputs: Any) -> Any:
                rebuilt: Any = nnx.merge(graph, jax.tree.unflatten(structure, weights))
                for level in rebuilt.levels:
                    level.steps.lay_out(platform)
                return getattr(rebuilt, name)(*inputs)

            return run

        return {"encode": method("encode"), "decode": method("decode")}

    return weights, functions_for


def _parts_of_graph(
    model: GraphGlow,
) -> tuple[dict[str, np.ndarray], Callable[[str], dict[str, Function]]]:
    weights = {f"weights.{i:05d}": np.asarray(a) for i, a in enumerate(model.constants)}

    def method(name: str) -> Function:
        def run(constants: list[Any], given: Any) -> Any:
            return getattr(model.with_constants(constants), name)(given)

        return run

    return weights, lambda platform: {"encode": method("encode"), "decode": method("decode")}


def _name(path: tuple[Any, ...]) -> str:
    """A weight's name, such as weights.levels.0.steps.kernel."""
    return ".".join(["weights", *(str(getattr(key, "key", key)) for key in path)])
