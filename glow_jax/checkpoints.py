"""A model on disk: one directory of Orbax weights and three small JSON files.

    weights/      arrays by name (`weight_files`)
    files.json    the SHA-256 of every file of weights/
    config.json   the GlowConfig
    card.json     origin, licence, data, bits/dim (`model_card`)

A card may name a bundled model whose levels are the coarser ones of this model; weights/ then holds
the others only (`shared_levels`).

A model that is a TensorFlow graph (`graph_model`) has program.json and constants.npz in place of
config.json and weights/. A checkpoint is written to a temporary directory and then renamed, so it
is complete or absent.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from glow_jax.config import GlowConfig, Precision
from glow_jax.devices import check_platform
from glow_jax.graph_model import (
    MAX_CONSTANT_BYTES,
    MAX_TEXT_BYTES,
    GraphConfig,
    GraphGlow,
    from_json,
    read_constants,
    to_json,
)
from glow_jax.io.errors import InputError
from glow_jax.io.files import open_ordinary, read_bytes, read_json_object
from glow_jax.io.messages import reason
from glow_jax.io.unfinished import unfinished
from glow_jax.kept_programs import kept_result
from glow_jax.model import Glow
from glow_jax.model_card import BUNDLED, CARD, bundled_names, calibrate, far_limit, read_card
from glow_jax.shared_levels import (
    COARSER,
    COARSER_FINGERPRINT,
    joined,
    left_out,
    n_own,
    own_levels,
)
from glow_jax.weight_files import (
    Weights,
    check_arrays,
    check_files,
    file_hashes,
    read_weights,
    write_weights,
)

__all__ = [
    "Weights",
    "calibrate",
    "check_new",
    "far_limit",
    "find",
    "fingerprint",
    "from_weights",
    "load",
    "read_card",
    "read_config",
    "save",
    "save_graph",
    "save_weights",
    "weights_of",
]

GRAPH_FILES = {"program.json": MAX_TEXT_BYTES, "constants.npz": MAX_CONSTANT_BYTES}  # most bytes
PART_BYTES = 2**20  # that are read at once
MAX_OVERHEAD_BYTES = 2**26  # of weights/, besides its arrays
MAX_NAME_BYTES = 200  # of a name's beginning, in the name of a temporary directory
MAX_ITEM_BYTES = 8  # of a number in it: float64
STORED_NAMES = {"inv_conv": "mix"}  # of a module's arrays: attribute -> name on disk
# Fields of GlowConfig that count in a fingerprint whatever their value, in this order.
FINGERPRINTED = (
    "image_height",
    "image_width",
    "n_levels",
    "n_steps",
    "hidden_width",
    "n_channels",
    "coupling",
    "permutation",
    "learned_top_prior",
    "n_classes",
    "n_bits",
    "checkpoint_coupling",
)
# Fields that enter a fingerprint only if they are not at their defaults, so that fingerprints from
# before these fields existed stay valid.
FINGERPRINTED_IF_SET = (
    "scale",
    "scale_first",
    "conditioning",
    "leaky_slope",
    "input_norm",
    "prior",
    "logit_alpha",
    "n_detail_levels",
)


def save(
    model: Glow,
    path: str | os.PathLike[str],
    card: Mapping[str, Any],
    dtype: DTypeLike | None = None,
    files: Mapping[str, bytes] | None = None,
    coarser: str | None = None,
) -> None:
    """Write a checkpoint directory, atomically.

    Args:
        model: in training form.
        path: the directory to make; it must not exist.
        card: what a user of the model should know (origin, licence, data, bits/dim, ...);
            JSON-able.
        dtype: to store floating-point weights in, such as bfloat16; the model's by default.
        files: further files for the directory, by name, such as a training curve.
        coarser: name of a bundled model whose levels are this model's coarser levels, which are
            then not stored (`shared_levels`); None stores all.

    Raises:
        InputError: the path exists, or its parent does not; there is no such bundled model, or the
            config is not that of it with levels of details.
        ValueError: the model is folded, or a level that would be left out differs.
    """
    if model.folded:
        raise ValueError("a folded model cannot be saved; save its training form")
    weights = weights_of(model)
    if dtype is not None:
        weights = jax.tree.map(lambda a: _cast(a, dtype), weights)
    if coarser is None:
        save_weights(model.config, weights, path, card, files)
        return
    check_new(Path(path))
    n, others, found = _coarser(coarser, model.config)
    own = left_out(weights, others, n)
    named = {COARSER: coarser, COARSER_FINGERPRINT: found}
    _write(model.config, own, Path(path), {**card, **named}, files)


def save_weights(
    config: GlowConfig,
    weights: Weights,
    path: str | os.PathLike[str],
    card: Mapping[str, Any],
    files: Mapping[str, bytes] | None = None,
) -> None:
    """Write a checkpoint directory of arrays by name, each kept in its own type, atomically.

    Raises:
        InputError: the path exists, its parent does not, or the arrays are not those of a
            model of this config.
    """
    path = Path(path)
    check_new(path)
    check_arrays(path, _expected(config), weights)
    shared = (COARSER, COARSER_FINGERPRINT)
    whole = {name: value for name, value in card.items() if name not in shared}
    _write(config, weights, path, whole, files)


def _write(
    config: GlowConfig,
    weights: Weights,
    path: Path,
    card: Mapping[str, Any],
    files: Mapping[str, bytes] | None,
) -> None:
    with _renamed_into(path) as partial:
        (partial / "config.json").write_text(config.to_json())
        (partial / CARD).write_text(json.dumps(dict(card), indent=2) + "\n")
        for name, data in (files or {}).items():
            (partial / name).write_bytes(data)
        write_weights(partial / "weights", weights)
        hashes = json.dumps(file_hashes(partial / "weights"), indent=2)
        (partial / "files.json").write_text(hashes + "\n")


def check_new(path: Path) -> None:
    """Raise InputError unless a directory can be made at `path`."""
    if os.path.lexists(path):
        raise InputError(f"{path}: already exists; choose a new directory")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist")
    try:
        str(path.parent.resolve()).encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{path}: the folder's name is not UTF-8, which the weights' format needs"
        ) from None


@overload
def load(
    name_or_path: Literal["faces64", "photo64", "photo128", "photo256"],
    *,
    fold: bool = ...,
    precision: Precision = ...,
    dtype: DTypeLike = ...,
) -> Glow: ...
@overload
def load(
    name_or_path: str | os.PathLike[str],
    *,
    fold: bool = ...,
    precision: Precision = ...,
    dtype: DTypeLike = ...,
) -> Glow | GraphGlow: ...
def load(
    name_or_path: str | os.PathLike[str],
    *,
    fold: bool = True,
    precision: Precision = "exact",
    dtype: DTypeLike = jnp.float32,
) -> Glow | GraphGlow:
    """Read a model: a bundled name such as "faces64", or a checkpoint directory.

    A TensorFlow graph that is no canonical Glow was converted as a program of its operations. It
    gives a `graph_model.GraphGlow`, which has encode, decode and sample, but no likelihood.

    Args:
        name_or_path: name of a bundled model, or path of a checkpoint directory.
        fold: whether to fold the model into its inference form; training and saving need False.
        precision: precision of the folded coupling networks.
        dtype: dtype of the model's arrays, whatever dtype they are stored in.

    Returns:
        A `Glow`, or, for a converted graph, a `GraphGlow`.

    Raises:
        InputError: no such model, or the directory is not a whole checkpoint.
    """
    path = find(name_or_path)
    check_platform()
    if _is_graph(path):
        graph = _load_graph(path)
        return graph.fold(precision) if fold else graph
    config = _read_glow_config(path)
    weights = _checked_weights(path, config)
    model = from_weights(config, weights, dtype)
    model.name = path.name
    model.fingerprint = fingerprint(config, weights)
    if not fold:
        return model
    try:
        return model.fold(precision)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def from_weights(config: GlowConfig, weights: Weights, dtype: DTypeLike = jnp.float32) -> Glow:
    """A model in training form, made of arrays by name."""
    graph, empty = _shapes(config, jnp.dtype(dtype))
    attributes = {stored: name for name, stored in STORED_NAMES.items()}
    cast = jax.tree.map(lambda a: np.asarray(_cast(a, dtype)), _renamed(weights, attributes))
    # Not jnp.asarray, which compiles a program for each shape.
    arrays = jax.device_put(cast, may_alias=False)
    state = jax.tree.map(lambda a: a, empty)  # a copy, which is filled
    nnx.replace_by_pure_dict(state, nnx.restore_int_paths(arrays))
    model: Glow = nnx.merge(graph, state)
    return model


@functools.lru_cache(maxsize=4)
def _shapes(config: GlowConfig, dtype: jnp.dtype) -> tuple[Any, Any]:
    """A model's structure, and shapes and types in place of its arrays; half a second to trace."""

    def traced() -> tuple[Any, Any]:
        return nnx.split(nnx.eval_shape(lambda: Glow(config, rngs=None, dtype=dtype)))

    found: tuple[Any, Any] = kept_result(f"shapes {dtype} {config.to_json()}", traced)
    return found


def find(name_or_path: str | os.PathLike[str]) -> Path:
    """The directory of a bundled model or of a checkpoint.

    Raises:
        InputError: neither exists.
    """
    path = Path(name_or_path)
    if not path.is_dir() and path.parent == Path(".") and (BUNDLED / path.name).is_dir():
        path = BUNDLED / path.name
    if not path.is_dir() or not str(name_or_path):
        raise InputError(
            f"{str(name_or_path)!r}: no such model; give a checkpoint directory or one of the "
            f"bundled models: {', '.join(bundled_names()) or 'none'}"
        )
    return path


def read_config(path: Path) -> GlowConfig | GraphConfig:
    """The config of a checkpoint directory: a `GlowConfig`, or the `GraphConfig` of a graph.

    Raises:
        InputError: it is missing or malformed.
    """
    return _load_graph(path).config if _is_graph(path) else _read_glow_config(path)


def weights_of(model: Glow) -> Weights:
    """All arrays of a model in training form, by name: nested dicts with text keys."""
    names = _renamed(nnx.to_pure_dict(nnx.state(model)), STORED_NAMES)
    return dict(jax.tree.map(np.asarray, names))


def fingerprint(config: GlowConfig, weights: Weights) -> str:
    """SHA-256 of the config and of the name, shape, dtype and bytes of every array."""
    defaults = {f.name: f.default for f in dataclasses.fields(config)}
    values = {name: getattr(config, name) for name in (*FINGERPRINTED, *FINGERPRINTED_IF_SET)}
    counted = {k: v for k, v in values.items() if k in FINGERPRINTED or v != defaults[k]}
    digest = hashlib.sha256((json.dumps(counted, indent=2) + "\n").encode())
    leaves = jax.tree_util.tree_leaves_with_path(weights)
    for name, array in sorted((jax.tree_util.keystr(p), a) for p, a in leaves):
        digest.update(f"{name} {array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()


def _read_glow_config(path: Path) -> GlowConfig:
    try:
        return GlowConfig.from_mapping(read_json_object(path / "config.json"))
    except InputError as error:
        raise InputError(f"{path}: not a checkpoint directory: {error}") from None


def _checked_weights(path: Path, config: GlowConfig) -> Weights:
    """The arrays of a checkpoint directory, as saved."""
    if not (path / "weights").is_dir():
        raise InputError(f"{path}: not a checkpoint directory: it has no weights/")
    try:
        saved = read_json_object(path / "files.json")
    except InputError as error:
        raise InputError(f"{path}: not a whole checkpoint: {error}") from None
    card = read_card(path) if (path / CARD).exists() else {}
    name = card.get(COARSER)
    if name is None:
        return _read_weights(path, config, saved, _expected(config))
    try:
        n, others, found = _coarser(name, config)
        if card.get(COARSER_FINGERPRINT) != found:
            raise InputError(
                f"the bundled {name} is not the one whose levels this model shares: its "
                f"fingerprint is not {COARSER_FINGERPRINT} of the card"
            )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    own = _read_weights(path, config, saved, own_levels(_expected(config), n))
    return joined(own, others, n)


def _coarser(name: Any, config: GlowConfig) -> tuple[int, Weights, str]:
    """Of the bundled model `name`, whose levels a model of `config` shares, and of that model.

    Returns:
        The number of levels that are not shared, and the bundled model's arrays and fingerprint.

    Raises:
        InputError: there is no such bundled model, or its levels are not those of `config`.
    """
    if name not in bundled_names():
        raise InputError(
            f"{COARSER} is {repr(name)[:80]}, which is no bundled model; those are "
            f"{', '.join(bundled_names())}"
        )
    coarser = _read_glow_config(BUNDLED / name)
    weights = _checked_weights(BUNDLED / name, coarser)
    return n_own(name, config, coarser), weights, fingerprint(coarser, weights)


def _read_weights(
    path: Path, config: GlowConfig, saved: Mapping[str, Any], expected: Weights
) -> Weights:
    folder = (path / "weights").resolve()
    n_elements = sum(math.prod(a.shape) for a in jax.tree.leaves(expected))
    check_files(path, folder, saved, MAX_OVERHEAD_BYTES + 2 * MAX_ITEM_BYTES * n_elements)
    levels = sorted(expected["levels"])  # a part of them, if others are shared
    facts = json.dumps([saved, config.to_json(), levels], sort_keys=True)
    weights: Weights = kept_result(f"weights {facts}", lambda: read_weights(path, folder, expected))
    return weights


def _expected(config: GlowConfig) -> Weights:
    """Shapes and types of a model's arrays, by name."""
    _, shapes = _shapes(config, jnp.dtype(jnp.float32))
    return dict(_renamed(nnx.to_pure_dict(shapes), STORED_NAMES))


def _renamed(tree: Any, names: Mapping[str, str]) -> Any:
    """A tree with text keys, some of them renamed; NNX uses integers for indices of lists."""
    if not isinstance(tree, dict):
        return tree
    return {names.get(str(k), str(k)): _renamed(v, names) for k, v in tree.items()}


def _cast(array: Any, dtype: Any) -> Any:
    return array.astype(dtype) if jnp.issubdtype(array.dtype, jnp.floating) else array


# -- a model that is a TensorFlow graph


def _is_graph(path: Path) -> bool:
    return (path / "program.json").exists()


def save_graph(model: GraphGlow, path: Path, card: Mapping[str, Any]) -> None:
    """Write the directory of a graph model, atomically.

    Raises:
        InputError: the path exists, or its parent does not.
    """
    check_new(path)
    n_bytes = sum(a.nbytes for a in model.constants)
    if n_bytes > MAX_CONSTANT_BYTES - MAX_OVERHEAD_BYTES:
        raise InputError(
            f"{path}: the graph's {n_bytes >> 20} MiB of constants are more than can be loaded"
        )
    with _renamed_into(path) as partial:
        text = to_json(model.config, model.encoder, model.decoder)
        (partial / "program.json").write_text(text)
        (partial / CARD).write_text(json.dumps(dict(card), indent=2) + "\n")
        arrays = {str(i): np.asarray(a) for i, a in enumerate(model.constants)}
        np.savez(partial / "constants.npz", **arrays)  # type: ignore[arg-type]
        hashes = {n: hashlib.sha256((partial / n).read_bytes()).hexdigest() for n in GRAPH_FILES}
        (partial / "files.json").write_text(json.dumps(hashes, indent=2) + "\n")


def _load_graph(path: Path) -> GraphGlow:
    try:
        saved = read_json_object(path / "files.json")
        digest = hashlib.sha256()
        for name, most in GRAPH_FILES.items():
            if not (path / name).is_file():
                raise InputError(f"{name} is missing")
            one = hashlib.sha256()
            with open_ordinary(path / name, most) as file:
                while part := file.read(PART_BYTES):
                    one.update(part)
                    digest.update(part)
            if saved.get(name) != one.hexdigest():
                raise InputError(f"damaged: {name} is not what was saved")
        text = read_bytes(path / "program.json", MAX_TEXT_BYTES).decode("utf-8")
        constants = read_constants(path / "constants.npz")
        model = from_json(text, constants)
    except InputError as error:
        raise InputError(f"{path}: not a whole checkpoint: {error}") from None
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: its weights cannot be read ({reason(error)})") from None
    model.name, model.fingerprint = path.name, digest.hexdigest()
    return model


@contextlib.contextmanager
def _renamed_into(path: Path) -> Iterator[Path]:
    """A temporary directory that is renamed to `path` at the end, or removed on an error."""
    # TensorStore takes no name that is not UTF-8.
    start = f".{path.name}".encode("ascii", "ignore").decode()[:MAX_NAME_BYTES]
    partial = path.parent.resolve() / f"{start}.{uuid.uuid4().hex}"
    with unfinished(partial):
        try:
            partial.mkdir()
            yield partial
            os.rename(partial, path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
