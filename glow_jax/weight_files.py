"""The folder weights/ of a checkpoint: arrays by name, written and read with Orbax.

Names are nested dicts with text keys, such as levels -> 0 -> steps -> norm -> bias. No pickle is
read. The SHA-256 of every file is stored beside the folder and checked before Orbax reads it.
"""

import contextlib
import hashlib
import math
import os
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.files import open_without_waiting
from glow_jax.io.messages import one_line, reason, silenced

Weights = dict[str, Any]
MAX_FILES = 100_000  # of one folder
MAX_FREE_BYTES = 2**28  # of arrays, whatever their files hold
MAX_EXPANSION = 8
LATE_READS_S = 0.1  # that reads in flight are waited for, after one has failed
MAX_NAMED = 8  # of the differences in a message


def quiet_orbax() -> contextlib.AbstractContextManager[None]:
    """Hide what Orbax logs: its warnings are about progress and sharding, its errors are raised."""
    return silenced("absl")


def write_weights(folder: Path, weights: Weights) -> None:
    """Write arrays by name into a new folder."""
    import orbax.checkpoint as ocp  # late: kept weights need no Orbax

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
    import orbax.checkpoint as ocp

    options = _this_process_only()
    try:
        with (
            _late_reads_ignored(),
            quiet_orbax(),
            ocp.StandardCheckpointer(multiprocessing_options=options) as checkpointer,
        ):
            stored = checkpointer.metadata(folder).item_metadata.tree
        check_arrays(path, expected, stored)
        check_expands(path, folder, stored)
        # As NumPy arrays: JAX would round float64 away.
        numpy_arrays = jax.tree.map(lambda a: ocp.RestoreArgs(restore_type=np.ndarray), stored)
        with (
            _late_reads_ignored(),
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


@contextlib.contextmanager
def _late_reads_ignored() -> Iterator[None]:
    """Print no traceback for reads that end after another read has failed.

    Orbax has closed its event loop then, and TensorStore's threads report that the loop is closed.
    """
    before = sys.unraisablehook

    def hook(args: Any) -> None:
        if not (args.exc_type is RuntimeError and "loop is closed" in str(args.exc_value)):
            before(args)

    sys.unraisablehook = hook
    try:
        yield
    except BaseException:
        time.sleep(LATE_READS_S)
        raise
    finally:
        sys.unraisablehook = before


def check_arrays(path: Path, expected: Weights, stored: Any) -> None:
    """Raise InputError, naming the first differences, unless the arrays are those of the config."""
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
        more = f"; and {len(wrong) - MAX_NAMED} more" if len(wrong) > MAX_NAMED else ""
        named = "; ".join(one_line(w) for w in wrong[:MAX_NAMED])
        raise InputError(f"{path}: weights do not match config.json: {named}{more}")


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder, by its path inside the folder."""
    return {name: _sha256(folder / name) for name in sorted(_file_sizes(folder))}


def _sha256(path: Path) -> str:
    with open(path, "rb", opener=open_without_waiting) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file_sizes(folder: Path) -> dict[str, int]:
    """Bytes of every file of a folder, by its path inside the folder; links to files count.

    Raises:
        InputError: it cannot be listed, or holds pipes, devices or more than `MAX_FILES` files.
    """

    def fail(error: OSError) -> None:
        raise InputError(f"{one_line(error.filename)}: cannot be listed ({reason(error)})")

    sizes: dict[str, int] = {}
    for at, _, names in os.walk(folder, onerror=fail):
        for name in names:
            path = Path(at, name)
            inside = path.relative_to(folder).as_posix()
            try:
                status = path.stat()
            except OSError:  # a link to nothing, or to itself
                continue
            if not stat.S_ISREG(status.st_mode):
                why = f"weights/{one_line(inside)} is not an ordinary file"
                raise InputError(f"{one_line(folder.parent)}: {why}")
            sizes[inside] = status.st_size
        if len(sizes) > MAX_FILES:
            raise InputError(f"{one_line(folder)}: more than {MAX_FILES} files")
    return sizes


def check_files(path: Path, folder: Path, saved: Mapping[str, Any], most: int) -> None:
    """Check that the folder's files are those that were saved, by SHA-256.

    Args:
        path: the checkpoint, for messages.
        folder: its weights.
        saved: SHA-256 by path inside the folder.
        most: bytes of all files; more are not read.

    Raises:
        InputError: a file is missing, is damaged or does not belong to it, or they are too large.
    """
    sizes = _file_sizes(folder)
    for name in sorted(set(saved) ^ set(sizes)):
        if name in saved:
            raise InputError(f"{path}: incomplete: weights/{one_line(name)} is missing")
        raise InputError(f"{path}: weights/{one_line(name)} does not belong to it")
    if (size := sum(sizes.values())) > most:
        why = f"weights/ holds {size} bytes; the arrays of its config.json need at most {most}"
        raise InputError(f"{path}: {why}")
    for name in sorted(sizes):
        try:
            found = _sha256(folder / name)
        except OSError as error:
            why = f"weights/{one_line(name)} cannot be read ({reason(error)})"
            raise InputError(f"{path}: {why}") from None
        if saved[name] != found:
            raise InputError(f"{path}: damaged: weights/{one_line(name)} is not what was saved")


def check_expands(path: Path, folder: Path, stored: Any) -> None:
    """Raise InputError where a folder's arrays unpack to much more than its files.

    Trained weights hardly compress; arrays of one value do, those of a new model's last layers.
    """
    n_bytes = sum(_unpacked_bytes(a) for a in jax.tree.leaves(stored))
    size = sum(_file_sizes(folder).values())
    if n_bytes > MAX_FREE_BYTES + MAX_EXPANSION * size:
        raise InputError(f"{path}: {size} bytes of weights/ that unpack to {n_bytes} are refused")


def _unpacked_bytes(array: Any) -> int:
    """Of an array by its metadata; it is stored in chunks, one of which may be larger than it."""
    chunk = getattr(array.storage, "chunk_shape", None) or array.shape
    sides = map(max, array.shape, chunk)
    return int(math.prod(sides) * jnp.dtype(array.dtype).itemsize)


def _dotted(path: tuple[Any, ...]) -> str:
    return ".".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path)


def _this_process_only() -> Any:
    """Options of Orbax to write and read a folder in this process alone."""
    import orbax.checkpoint as ocp

    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    me = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process{me}"
    )
