"""Bring any Glow: other codes' checkpoints as ours, with the same numbers.

locate    a checkpoint by its content, out of any archive         locate
read      its names and arrays; none of its code is run           torch_file, tf_checkpoint, graph
choose    one set of weights among those in the file              state_dict, choose
rewrite   into canonical parameters, exactly                      pytorch, openai (with build)
check     the result, without the original                        selfcheck
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from glow_jax.checkpoints import check_new, save_graph, save_weights
from glow_jax.config import GlowConfig
from glow_jax.convert import openai, pytorch
from glow_jax.convert.averages import with_averages
from glow_jax.convert.blob import mapped
from glow_jax.convert.build import Parts
from glow_jax.convert.choose import Asked, first_whole
from glow_jax.convert.graph import read_graph
from glow_jax.convert.hub import fetch, licence_of
from glow_jax.convert.locate import Files, content, locate, shards_of
from glow_jax.convert.openai_graph import graph_model, openai_graph
from glow_jax.convert.openai_walk import NotCanonical
from glow_jax.convert.options import Options
from glow_jax.convert.safetensors_file import read_safetensors
from glow_jax.convert.selfcheck import SelfCheck, check_graph, self_check
from glow_jax.convert.state_dict import candidates
from glow_jax.convert.tf_checkpoint import read_tf_checkpoint
from glow_jax.convert.torch_file import read_torch_file, read_torch_tar
from glow_jax.graph_model import GraphConfig, GraphGlow
from glow_jax.io.budget import Budget
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason

FORMATS = ("openai", "openai-graph", *pytorch.FAMILIES)
MAX_MESSAGE = 2000
UNKNOWN_LICENCE = "unknown: ask whoever trained it"


class Conversion(NamedTuple):
    """What was made: the checkpoint's directory, its config, and what to tell the user.

    `config` is a `GraphConfig` where a graph could only be kept as a program.
    """

    path: Path
    format: str
    config: GlowConfig | GraphConfig
    notes: list[str]
    check: SelfCheck


def convert(
    source: str | Path,
    out: str | Path,
    *,
    format: str | None = None,
    image_size: tuple[int, int] | None = None,
    bits: int | None = None,
    settings: Mapping[str, str] | None = None,
    ema: bool = False,
    key: str | None = None,
    licence: str | None = None,
) -> Conversion:
    """Convert a checkpoint of another implementation and write it as a checkpoint directory.

    Args:
        source: a file, a folder that holds one checkpoint, or `hf:OWNER/NAME[/FILE]`.
        out: the directory to make.
        format: one of `FORMATS`; told from the names in the file by default.
        image_size: (H, W), where the file does not tell.
        bits: that the weights were trained at, where the file does not tell.
        settings: the source's own constructor arguments that no file records, by name.
        ema: take the moving averages of the weights instead of the weights.
        key: which of several sets of weights in the file: the keys that lead to it, joined by
            dots, or any run of them.
        licence: of the weights, for the card.

    Raises:
        InputError: anything is wrong with the file or the answers; nothing is written.
    """
    out = Path(out)
    check_new(out)
    if format is not None and format not in FORMATS:
        raise InputError(f"format {one_line(format)}: use one of {', '.join(FORMATS)}")
    text = str(source)
    path, root = fetch(text) if text.startswith("hf:") else (Path(source), Path(source).parent)
    asked = Asked(format, ema, key, lambda: Options(image_size, bits, settings, ema))
    try:
        budget = Budget()
        files = locate(path, budget)
        name, model, notes = _read(files, asked, budget)
        if isinstance(model, GraphGlow):
            config: GlowConfig | GraphConfig = model.config
            _check_finite(dict(enumerate(model.constants)))
            check = check_graph(model)
        else:
            config = parts_config = model.config()
            weights = model.weights()
            _check_finite(weights)
            check = self_check(parts_config, weights)
    except InputError as error:
        raise InputError(f"{one_line(text)}: {str(error)[:MAX_MESSAGE]}") from None
    card = {
        "origin": f"converted from {files.main.name}",
        "format": name,
        "implementation": openai.URL if name.startswith("openai") else pytorch.FAMILIES[name].url,
        "source_sha256": {p.name: _sha256(p) for p in files.all},
        "licence": licence or licence_of(root) or UNKNOWN_LICENCE,
        "notes": notes,
        "self_check": {k: _json(v) for k, v in dataclasses.asdict(check).items()},
        "converted_by": f"glow-jax {version('glow-jax')}",
    }
    if isinstance(model, GraphGlow):
        save_graph(model, out, card)
    else:
        save_weights(parts_config, weights, out, card)
    return Conversion(out, name, config, notes, check)


def _read(files: Files, asked: Asked, budget: Budget) -> tuple[str, Parts | GraphGlow, list[str]]:
    """The format's name, its canonical parts or else its own operations, and notes."""
    if files.kind == "tensorflow":
        _expect_format(asked.format, "openai", "a TensorFlow checkpoint")
        _one_set(asked.key, "`key`", "a TensorFlow checkpoint")
        options = asked.options()
        openai.read_training_log(files.main.parent, options)
        source, parts = openai.openai(read_tf_checkpoint(files.main, budget), options)
        options.check()
        source.finish()
        return "openai", parts, options.notes + source.notes
    if files.kind == "graph":
        _expect_format(asked.format, "openai-graph", "no PyTorch file")
        _one_set(asked.key, "`key`", "a frozen graph")
        _one_set(asked.ema or None, "`ema`", "a frozen graph")
        return ("openai-graph", *_read_graph(files, asked.options()))
    if asked.format not in (None, *pytorch.FAMILIES):
        what = "safetensors" if files.kind in ("safetensors", "sharded") else "PyTorch"
        raise InputError(f"is a {what} file, not of format {asked.format}")
    held = _held(files, budget)
    sets = with_averages(candidates(held, budget), held, budget)
    return first_whole(sets, asked, budget, files)


def _expect_format(given: str | None, found: str, what: str) -> None:
    if given not in (None, found):
        raise InputError(f"is {what}, not of format {given}")


def _one_set(given: Any, name: str, what: str) -> None:
    if given is not None:
        raise InputError(f"{name} means nothing here: {what} holds one set of weights")


def _read_graph(files: Files, options: Options) -> tuple[Parts | GraphGlow, list[str]]:
    """Canonical parts if the graph has them, else its own operations; and notes."""
    try:
        nodes = read_graph(files.data)
    except InputError as error:
        if files.main.suffix == ".pb":
            raise
        raise InputError(
            f"not a PyTorch, safetensors or TensorFlow file, or a damaged one ({error})"
        ) from None
    try:
        with np.errstate(all="ignore"):  # what becomes non-finite is met further on
            try:
                parts = openai_graph(nodes, options)
            except NotCanonical as error:
                options.check()
                note = f"kept as the graph's own operations, without a likelihood, because {error}"
                return graph_model(nodes, options), [*options.notes, note]
    except InputError:
        raise
    except Exception as error:  # a graph can be wrong in more ways than are worth naming
        raise InputError(f"a graph that cannot be followed ({reason(error)})") from None
    options.check()
    return parts, [*options.notes, "its weights were read off the graph: a canonical Glow"]


def _held(files: Files, budget: Budget) -> Any:
    """What a PyTorch or safetensors file holds, in its own nesting."""
    if files.kind == "torch tar":
        return read_torch_tar(files.data, budget)
    if files.kind != "sharded":
        return _unwrapped(files.kind, files.data, budget)
    places = shards_of(files.main, files.data)
    shards = {path: _shard(path, budget) for path in dict.fromkeys(places.values())}
    missing = [name for name, path in places.items() if name not in shards[path]]
    if missing:
        where = one_line(places[missing[0]].name)
        raise InputError(f"{one_line(missing[0])[:200]} is not in {where}, as the index says")
    files.all.extend(shards)
    return {name: shards[path][name] for name, path in places.items()}


def _shard(path: Path, budget: Budget) -> Mapping[str, Any]:
    try:
        found = _unwrapped(*content(mapped(path), budget), budget)
    except InputError as error:
        raise InputError(f"{one_line(path.name)}: {error}") from None
    pairs = getattr(found, "pairs", None)
    return found if pairs is None else {k: v for k, v in pairs if isinstance(k, str)}


def _unwrapped(kind: str, data: Any, budget: Budget) -> Any:
    return read_safetensors(data) if kind == "safetensors" else read_torch_file(data, budget)


def _json(value: Any) -> Any:
    """JSON has no word for what is not finite."""
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


def _check_finite(weights: Any) -> None:
    """Raise InputError for values that a model in float32 cannot hold."""
    for path, array in jax.tree_util.tree_leaves_with_path(weights):
        largest = np.abs(array).max(initial=0)
        if not largest <= np.finfo(np.float32).max:
            name = ".".join(str(key.key) for key in path)
            raise InputError(f"weight {name} has values that are not finite in float32")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
