"""† A model on disk: one directory of Orbax weights and three small JSON files.

    weights/      arrays by name; nothing is unpickled
    files.json    the SHA-256 of every file of weights/, so damage is found before Orbax meets it
    config.json   the GlowConfig
    card.json     origin, licence, data, bits/dim

A checkpoint is written beside its final place and renamed into it: it is whole or absent.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx

from glow_jax.config import GlowConfig, Precision
from glow_jax.graph_model import GraphConfig, GraphGlow, from_json, to_json
from glow_jax.io.errors import InputError
from glow_jax.io.files import write_atomically
from glow_jax.io.messages import one_line, reason
from glow_jax.model import Glow

BUNDLED = Path(__file__).parent / "models"
MAX_JSON_BYTES = 2**20
MIN_CALIBRATION = 100  # pictures
KNOWN = "known_bits_per_dim"  # in a card: how likely held-out pictures are
QUANTILES = (0.5, 0.95, 0.99, 0.999)
_N_FIRST_FIELDS = 12  # of GlowConfig, up to `checkpoint_coupling`

Weights = dict[str, Any]


def save(
    model: Glow,
    path: str | os.PathLike,
    card: Mapping[str, Any],
    dtype: Any = None,
    files: Mapping[str, bytes] | None = None,
) -> None:
    """Write a checkpoint directory, atomically.

    Args:
        model: in training form.
        path: the directory to make; it must not exist.
        card: what a stranger should know (origin, licence, data, bits/dim, ...); JSON-able.
        dtype: to store floating-point weights in, such as bfloat16; the model's by default.
        files: more to put into the directory, by name, such as a training curve.

    Raises:
        InputError: the path exists, or its parent does not.
        ValueError: the model is folded.
    """
    if model.folded:
        raise ValueError("a folded model cannot be saved; save its training form")
    weights = weights_of(model)
    if dtype is not None:
        weights = jax.tree.map(lambda a: _cast(a, dtype), weights)
    save_weights(model.config, weights, path, card, files)


def save_weights(
    config: GlowConfig,
    weights: Weights,
    path: str | os.PathLike,
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
    _check_arrays(path, _expected(config), weights)
    with _renamed_into(path) as partial:
        (partial / "config.json").write_text(config.to_json())
        (partial / "card.json").write_text(json.dumps(dict(card), indent=2) + "\n")
        for name, data in (files or {}).items():
            (partial / name).write_bytes(data)
        options = _alone()
        with (
            quiet_orbax(),
            ocp.StandardCheckpointer(multiprocessing_options=options) as checkpointer,
        ):
            checkpointer.save(partial / "weights", weights)
            checkpointer.wait_until_finished()
        # Orbax notes the machine's path here; nothing reads it back.
        (partial / "weights" / "commit_success.txt").unlink(missing_ok=True)
        hashes = json.dumps(_hashes(partial / "weights"), indent=2)
        (partial / "files.json").write_text(hashes + "\n")


def check_new(path: Path) -> None:
    """Raise InputError unless a directory can be made at `path`."""
    if os.path.lexists(path):
        raise InputError(f"{path}: already exists; choose a new directory")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist")


def load(
    name_or_path: str | os.PathLike,
    *,
    fold: bool = True,
    precision: Precision = "exact",
    dtype: Any = jnp.float32,
) -> Any:
    """Read a model: a bundled name such as "faces64", or a checkpoint directory.

    A directory that `glow-jax convert` made of a graph which is no canonical Glow gives a
    `graph_model.GraphGlow`, which has encode, decode and sample, and no likelihood.

    Args:
        name_or_path: what to load.
        fold: into the inference form; training and saving need False.
        precision: of the folded coupling networks.
        dtype: of the model's arrays, whatever they are stored in.

    Returns:
        A `Glow`, or in that one case a `GraphGlow`.

    Raises:
        InputError: no such model, or the directory is not a whole checkpoint.
    """
    path = find(name_or_path)
    if (path / "program.json").exists():
        graph = _load_graph(path)
        return graph.fold(precision) if fold else graph
    config = read_config(path)
    assert isinstance(config, GlowConfig)
    weights = _read_weights(path, config)
    model = from_weights(config, weights, dtype)
    model.name = path.name
    model.fingerprint = fingerprint(config, weights)
    return model.fold(precision) if fold else model


def from_weights(config: GlowConfig, weights: Weights, dtype: Any = jnp.float32) -> Glow:
    """A model in training form of arrays by name."""
    model = nnx.eval_shape(lambda: Glow(config, rngs=nnx.Rngs(0), dtype=dtype))
    graph, expected = nnx.split(model)
    arrays = jax.tree.map(lambda a: jnp.asarray(_cast(a, dtype)), weights)
    nnx.replace_by_pure_dict(expected, nnx.restore_int_paths(arrays))
    return nnx.merge(graph, expected)


def find(name_or_path: str | os.PathLike) -> Path:
    """The directory of a bundled model or of a checkpoint.

    Raises:
        InputError: neither exists.
    """
    path = Path(name_or_path)
    if not path.is_dir() and path.parent == Path(".") and (BUNDLED / path.name).is_dir():
        path = BUNDLED / path.name
    if not path.is_dir() or not str(name_or_path):
        bundled = sorted(p.name for p in BUNDLED.iterdir()) if BUNDLED.is_dir() else []
        raise InputError(
            f"{str(name_or_path)!r}: no such model; give a checkpoint directory or one of the "
            f"bundled models: {', '.join(bundled) or 'none'}"
        )
    return path


def save_graph(model: GraphGlow, path: Path, card: Mapping[str, Any]) -> None:
    """Write the directory of a graph model, atomically.

    Raises:
        InputError: the path exists, or its parent does not.
    """
    check_new(path)
    with _renamed_into(path) as partial:
        text = to_json(model.config, model.encoder, model.decoder)
        (partial / "program.json").write_text(text)
        (partial / "card.json").write_text(json.dumps(dict(card), indent=2) + "\n")
        arrays = {str(i): np.asarray(a) for i, a in enumerate(model.constants)}
        np.savez(partial / "constants.npz", **arrays)  # type: ignore[arg-type]
        names = ("program.json", "constants.npz")
        hashes = {name: hashlib.sha256((partial / name).read_bytes()).hexdigest() for name in names}
        (partial / "files.json").write_text(json.dumps(hashes, indent=2) + "\n")


def _load_graph(path: Path) -> GraphGlow:
    try:
        wanted = _read_json(path / "files.json")
        digest = hashlib.sha256()
        for name in ("program.json", "constants.npz"):
            if not (path / name).is_file():
                raise InputError(f"{name} is missing")
            data = (path / name).read_bytes()
            if wanted.get(name) != hashlib.sha256(data).hexdigest():
                raise InputError(f"damaged: {name} is not what was saved")
            digest.update(data)
        with np.load(path / "constants.npz", allow_pickle=False) as file:
            constants = [file[str(i)] for i in range(len(file.files))]
        model = from_json((path / "program.json").read_text(encoding="utf-8"), constants)
    except InputError as error:
        raise InputError(f"{path}: not a whole checkpoint: {error}") from None
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: its weights cannot be read ({reason(error)})") from None
    model.name, model.fingerprint = path.name, digest.hexdigest()
    return model


def read_config(path: Path) -> GlowConfig | GraphConfig:
    """The `config.json` of a checkpoint directory; of a graph, what its program tells.

    Raises:
        InputError: it is missing or malformed.
    """
    if (path / "program.json").exists():
        return _load_graph(path).config
    try:
        return GlowConfig.from_mapping(_read_json(path / "config.json"))
    except InputError as error:
        raise InputError(f"{path}: not a checkpoint directory: {error}") from None


def read_card(path: Path) -> dict[str, Any]:
    """The `card.json` of a checkpoint directory.

    Raises:
        InputError: it is missing or malformed.
    """
    try:
        return _read_json(path / "card.json")
    except InputError as error:
        raise InputError(f"{path}: not a whole checkpoint: {error}") from None


def calibrate(path: Path, bits_per_dim: np.ndarray) -> dict[str, float]:
    """Write into a model's card how likely pictures of the kind that it knows are.

    The fingerprint, of config and weights, stays.

    Args:
        path: the checkpoint directory.
        bits_per_dim: (N,) `bits_per_dim` of held-out pictures.

    Returns:
        Quantiles by name.

    Raises:
        InputError: too few pictures, or the card cannot be read or written.
    """
    if len(bits_per_dim) < MIN_CALIBRATION or not np.isfinite(bits_per_dim).all():
        raise InputError(
            f"{len(bits_per_dim)} pictures: {MIN_CALIBRATION} or more are needed, all of finite "
            "likelihood"
        )
    values = np.quantile(np.asarray(bits_per_dim, np.float64), QUANTILES)
    quantiles = {f"{q:g}": round(float(v), 4) for q, v in zip(QUANTILES, values, strict=True)}
    card = read_card(path) | {KNOWN: {"pictures": len(bits_per_dim), "quantiles": quantiles}}
    write_atomically(path / "card.json", (json.dumps(card, indent=2) + "\n").encode())
    return quantiles


def far_limit(path: Path) -> float | None:
    """Bits/dim beyond which a picture is far from what a model knows; None if its card says none.

    It is the 99.9th percentile of held-out pictures, from `calibrate`.

    Raises:
        InputError: the card cannot be read.
    """
    try:
        limit = float(read_card(path)[KNOWN]["quantiles"]["0.999"])
    except (KeyError, TypeError, ValueError):
        return None
    return limit if np.isfinite(limit) else None


def weights_of(model: Glow) -> Weights:
    """All arrays of a model in training form, by name: nested dicts with text keys."""
    return jax.tree.map(np.asarray, _text_keys(nnx.to_pure_dict(nnx.state(model))))


def fingerprint(config: GlowConfig, weights: Weights) -> str:
    """SHA-256 of the config and of every array's name, shape, type and bytes.

    Of the config, the fields that only converted models use count where they are not at their
    defaults, so that fingerprints older than those fields stay true.
    """
    always = [f.name for f in dataclasses.fields(config)][:_N_FIRST_FIELDS]
    defaults = {f.name: f.default for f in dataclasses.fields(config)}
    fields = dataclasses.asdict(config).items()
    told = {k: v for k, v in fields if k in always or v != defaults[k]}
    digest = hashlib.sha256((json.dumps(told, indent=2) + "\n").encode())
    leaves = jax.tree_util.tree_leaves_with_path(weights)
    for name, array in sorted((jax.tree_util.keystr(p), a) for p, a in leaves):
        digest.update(f"{name} {array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()


def _read_weights(path: Path, config: GlowConfig) -> Weights:
    if not (path / "weights").is_dir():
        raise InputError(f"{path}: not a checkpoint directory: it has no weights/")
    folder = (path / "weights").resolve()
    _check_files(path, folder)
    try:
        options = _alone()
        with (
            quiet_orbax(),
            ocp.StandardCheckpointer(multiprocessing_options=options) as checkpointer,
        ):
            stored = checkpointer.metadata(folder).item_metadata.tree
        _check_arrays(path, _expected(config), stored)
        # As NumPy arrays: JAX would round float64 away.
        numpy_arrays = jax.tree.map(lambda a: ocp.RestoreArgs(restore_type=np.ndarray), stored)
        with (
            quiet_orbax(),
            ocp.Checkpointer(
                ocp.PyTreeCheckpointHandler(multiprocessing_options=options),
                multiprocessing_options=options,
            ) as checkpointer,
        ):
            weights = checkpointer.restore(folder, restore_args=numpy_arrays)
    except InputError:
        raise
    except Exception as error:  # Orbax and TensorStore raise many types for a damaged store
        raise InputError(f"{path}: its weights cannot be read ({reason(error)})") from None
    weights = jax.tree.map(np.asarray, weights)
    for name, array in jax.tree_util.tree_leaves_with_path(weights):
        if array.dtype.kind not in "iu" and not np.isfinite(array.astype(np.float32)).all():
            raise InputError(f"{path}: weight {_name(name)} has non-finite values")
    return weights


def _expected(config: GlowConfig) -> Weights:
    """Shapes and types of a model's arrays, by name."""
    model = nnx.eval_shape(lambda: Glow(config, rngs=nnx.Rngs(0)))
    return _text_keys(nnx.to_pure_dict(nnx.state(model)))


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
    }


def _check_files(path: Path, folder: Path) -> None:
    """Raise InputError unless the weights' files are those that were saved."""
    try:
        wanted = _read_json(path / "files.json")
        found = _hashes(folder)
    except InputError as error:
        raise InputError(f"{path}: not a whole checkpoint: {error}") from None
    for name in sorted(set(wanted) | set(found)):
        if name not in found:
            raise InputError(f"{path}: incomplete: weights/{one_line(name)} is missing")
        if name not in wanted:
            raise InputError(f"{path}: weights/{one_line(name)} does not belong to it")
        if wanted[name] != found[name]:
            raise InputError(f"{path}: damaged: weights/{one_line(name)} is not what was saved")


def _check_arrays(path: Path, expected: Weights, stored: Any) -> None:
    want = {_name(p): a for p, a in jax.tree_util.tree_leaves_with_path(expected)}
    have = {_name(p): a for p, a in jax.tree_util.tree_leaves_with_path(stored)}
    wrong = [f"missing {name}" for name in sorted(set(want) - set(have))]
    wrong += [f"unexpected {name}" for name in sorted(set(have) - set(want))]
    for name in sorted(set(want) & set(have)):
        if tuple(have[name].shape) != want[name].shape:
            wrong.append(f"{name} has shape {tuple(have[name].shape)}, not {want[name].shape}")
        kind = jnp.floating if jnp.issubdtype(want[name].dtype, jnp.floating) else jnp.integer
        if not jnp.issubdtype(have[name].dtype, kind):
            wrong.append(f"{name} is {have[name].dtype}, not {want[name].dtype}")
    if wrong:
        raise InputError(f"{path}: weights do not match config.json: {'; '.join(wrong)}")


def _text_keys(tree: Any) -> Any:
    """Orbax stores every key as text; a list's indices come out of NNX as integers."""
    if not isinstance(tree, dict):
        return tree
    return {str(key): _text_keys(value) for key, value in tree.items()}


def _name(path: tuple) -> str:
    return ".".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path)


def _cast(array: Any, dtype: Any) -> Any:
    return array.astype(dtype) if jnp.issubdtype(array.dtype, jnp.floating) else array


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise InputError(f"{path.name} is not a file")
        if path.stat().st_size > MAX_JSON_BYTES:
            raise InputError(f"{path.name} is larger than {MAX_JSON_BYTES} bytes")
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"it has no {path.name}") from None
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path.name} is not readable JSON ({type(error).__name__})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path.name} holds {type(content).__name__}, not an object")
    return content


@contextlib.contextmanager
def _renamed_into(path: Path) -> Iterator[Path]:
    """A temporary directory beside `path` that becomes it, or vanishes on an error."""
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent)).resolve()
    try:
        yield partial
        partial.chmod(0o755)
        os.rename(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _alone() -> ocp.options.MultiprocessingOptions:
    """A model's directory is written and read by one process, whatever others do meanwhile."""
    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    me = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process{me}"
    )


@contextlib.contextmanager
def quiet_orbax() -> Iterator[None]:
    """Orbax logs its progress and harmless sharding notes as warnings; errors still raise."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
