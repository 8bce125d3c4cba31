"""† Bring any Glow: other codes' checkpoints as ours, with the same numbers.

read      the file's names and arrays; none of its code is run    torch_file, tf_checkpoint, graph
rewrite   into canonical parameters, exactly                      pytorch, openai (with build)
check     the result, without the original                        selfcheck
"""

import dataclasses
import glob
import hashlib
import json
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from glow_jax.checkpoints import check_new, save_graph, save_weights
from glow_jax.config import GlowConfig
from glow_jax.convert import openai, pytorch
from glow_jax.convert.build import Parts, Source
from glow_jax.convert.graph import read_graph
from glow_jax.convert.hub import WEIGHTS, fetch, licence_of
from glow_jax.convert.openai_graph import NotCanonical, graph_model, openai_graph
from glow_jax.convert.options import Options
from glow_jax.convert.safetensors_file import read_safetensors
from glow_jax.convert.selfcheck import SelfCheck, check_graph, self_check
from glow_jax.convert.tf_checkpoint import checkpoint_prefix, read_tf_checkpoint
from glow_jax.convert.torch_file import is_torch_file, read_torch_file
from glow_jax.graph_model import GraphConfig, GraphGlow
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
        ema: take openai's exponential moving averages instead of the raw weights.
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
    options = Options(image_size, bits, settings, ema)
    try:
        files = _locate(path, format)
        model: Any
        if files.kind == "graph":
            _expect_format(format, "openai-graph", "no PyTorch file")
            name, (model, notes) = "openai-graph", _read_graph(files.main, options)
        else:
            name, parts, notes = _read(files, format, options)
            model = parts
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


def _read_graph(path: Path, options: Options) -> tuple[Parts | GraphGlow, list[str]]:
    """Canonical parts if the graph has them, else its own operations; and notes."""
    nodes = read_graph(path)
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


class _Files(NamedTuple):
    """A checkpoint on disk: its kind, the file or prefix to read, and every file of it."""

    kind: str  # "torch", "safetensors", "tensorflow", "graph"
    main: Path
    all: list[Path]


def _locate(path: Path, format: str | None) -> _Files:
    """The checkpoint that a path names.

    Raises:
        InputError: there is none, or several.
    """
    prefix = checkpoint_prefix(path)
    if prefix is not None and not (path.is_file() and path.suffix == ".pb"):
        shards = sorted(prefix.parent.glob(f"{glob.escape(prefix.name)}.data-*"))
        index = prefix.with_name(f"{prefix.name}.index")
        return _Files("tensorflow", prefix, [p for p in (index, *shards) if p.is_file()])
    if path.is_dir():
        if (path / "weights").is_dir() and (path / "config.json").is_file():
            raise InputError("is a glow-jax model already; load it as it is")
        candidates = sorted(p for p in path.iterdir() if p.name.endswith(WEIGHTS) and p.is_file())
        if len(candidates) != 1:
            listed = ", ".join(one_line(p.name) for p in candidates[:8]) or "none"
            raise InputError(f"a folder with {len(candidates)} checkpoints ({listed}); name a file")
        path = candidates[0]
    if not path.exists():
        raise InputError("no such file")
    if not path.is_file():
        raise InputError("is neither a file nor a folder")
    if not path.stat().st_size:
        raise InputError("the file is empty")
    if path.suffix == ".safetensors":
        return _Files("safetensors", path, [path])
    if format == "openai-graph" or (format is None and path.suffix == ".pb"):
        return _Files("graph", path, [path])
    return _Files("torch" if is_torch_file(path) else "graph", path, [path])


def _read(files: _Files, format: str | None, options: Options) -> tuple[str, Parts, list[str]]:
    """The format's name, its canonical parts, and notes for the user."""
    if files.kind == "tensorflow":
        _expect_format(format, "openai", "a TensorFlow checkpoint")
        openai.read_training_log(files.main.parent, options)
        source, parts = openai.openai(read_tf_checkpoint(files.main), options)
        options.check()
        source.finish()
        return "openai", parts, options.notes + source.notes
    arrays = _state_dict(files, format)
    name = format or pytorch.family_of(list(arrays))
    if name is None:
        some = ", ".join(one_line(n)[:80] for n in list(arrays)[:3])
        raise InputError(f"none of the known implementations has names like {some}")
    if name not in pytorch.FAMILIES:
        raise InputError(f"is a PyTorch file, not of format {name}")
    if name == "glowip":
        _read_configs(files.main.parent / "configs.json", options)
    source = Source(arrays)
    parts = pytorch.FAMILIES[name].read(source, options)
    options.check()
    source.finish()
    return name, parts, options.notes + source.notes


def _expect_format(given: str | None, found: str, what: str) -> None:
    if given not in (None, found):
        raise InputError(f"is {what}, not of format {given}")


def _state_dict(files: _Files, format: str | None) -> dict[str, np.ndarray]:
    """The flow's arrays: out of the wrapping, without DataParallel's prefix.

    Raises:
        InputError: no dict of arrays of a known family is in the file.
    """
    if files.kind == "safetensors":
        return _without_prefix(read_safetensors(files.main))
    found = read_torch_file(files.main)
    if isinstance(found, np.ndarray) or not isinstance(found, dict):
        raise InputError("holds no state_dict")
    wrapped = [found, *(v for v in found.values() if isinstance(v, dict))]
    dicts = [_without_prefix(d) for d in wrapped]
    dicts = [d for d in dicts if d]
    if not dicts:
        raise InputError("holds no arrays")
    if format in pytorch.FAMILIES:
        key = pytorch.FAMILIES[format].key
        known = [d for d in dicts if any(re.fullmatch(key, n) for n in d)]
    else:
        known = [d for d in dicts if pytorch.family_of(list(d))]
    return known[0] if known else max(dicts, key=len)


def _without_prefix(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays, without what wrappers (DataParallel, trainers) put before all their names."""
    named = {k.removeprefix("module."): v for k, v in arrays.items() if isinstance(v, np.ndarray)}
    inner = named
    while inner and pytorch.family_of(list(inner)) is None:
        first = {name.split(".", 1)[0] for name in inner}
        if len(first) > 1 or any("." not in name for name in inner):
            return named
        inner = {name.split(".", 1)[1]: array for name, array in inner.items()}
    return inner


def _read_configs(path: Path, options: Options) -> None:
    """GlowIP's configs.json, which its training writes beside the weights."""
    if not path.is_file() or path.stat().st_size > 2**20:
        return
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        size, bits = told.get("size"), told.get("n_bits_x")
    except (ValueError, AttributeError, RecursionError):
        raise InputError("configs.json beside it is not readable JSON") from None
    if isinstance(size, int):
        options.suggest_size(size, size)
    if isinstance(bits, int):
        options.found_bits(bits)
    for name in ("last_zeros", "squeeze_contig", "coupling_bias"):
        if isinstance(told.get(name), bool):
            options.found(name, str(told[name]).lower())
        elif isinstance(told.get(name), int | float):
            options.found(name, str(told[name]))


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
