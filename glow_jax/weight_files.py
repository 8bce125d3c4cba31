"""The folder weights/ of a checkpoint: arrays by name, written and read with Orbax.

Names are nested dicts with text keys, such as levels -> 0 -> steps -> norm -> bias. No pickle is
read. The SHA-256 of every file is stored beside the folder and checked before Orbax reads it.
"""

import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from glow_jax.io.errors import InputError
from glow_jax.io.messages import errors_only, one_line, reason

Weights = dict[str, Any]


def quiet_orbax() -> contextlib.AbstractContextManager[None]:
    """Hide warnings of Orbax, which are about progress and sharding; errors are still raised."""
    return errors_only("absl")


def write_weights(folder: Path, weights: Weights) -> None:
    """Write arrays by name into a new folder."""
    with (
        quiet_orbax(),
        ocp.StandardCheckpointer(multiprocessing_options=_this_process_only()) as checkpointer,
    ):
        checkpointer.save(folder, weights)
        checkpointer.wait_until_finished()
    # Orbax writes the machine's path into this file, and nothing reads it back.
    (folder / "commit_success.txt").unlink(missing_ok=True)


def read_weights(path: Path, folder: Path, expected: Weights) -> Weights:
    """Read arrays by name, as NumPy arrays.

    Args:
        path: the checkpoint, for messages.
        folder: its weights.
        expected: shapes and types by name.

    Raises:
        InputError: the arrays are damaged, not finite, or not those that are expected.
    """
    options = _this_process_only()
    try:
        with (
            quiet_orbax(),
            ocp.StandardCheckpointer(multiprocessing_options=options) as checkpointer,
        ):
            stored = checkpointer.metadata(folder).item_metadata.tree
        check_arrays(path, expected, stored)
        # As NumPy arrays, because JAX would round float64 to float32.
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
            raise InputError(f"{path}: weight {_dotted(name)} has non-finite values")
    return dict(weights)


def check_arrays(path: Path, expected: Weights, stored: Any) -> None:
    """Raise InputError, naming every difference, unless the arrays are those of the config."""
    want = {_dotted(p): a for p, a in jax.tree_util.tree_leaves_with_path(expected)}
    have = {_dotted(p): a for p, a in jax.tree_util.tree_leaves_with_path(stored)}
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


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder, by its path inside the folder."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
    }


def check_files(path: Path, folder: Path, saved: Mapping[str, Any]) -> None:
    """Raise InputError unless the folder's files are those that were saved, by SHA-256."""
    found = file_hashes(folder)
    for name in sorted(set(saved) | set(found)):
        if name not in found:
            raise InputError(f"{path}: incomplete: weights/{one_line(name)} is missing")
        if name not in saved:
            raise InputError(f"{path}: weights/{one_line(name)} does not belong to it")
        if saved[name] != found[name]:
            raise InputError(f"{path}: damaged: weights/{one_line(name)} is not what was saved")


def _dotted(path: tuple[Any, ...]) -> str:
    return ".".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path)


def _this_process_only() -> ocp.options.MultiprocessingOptions:
    """Options of Orbax to write and read a folder in this process alone."""
    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    me = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process{me}"
    )
